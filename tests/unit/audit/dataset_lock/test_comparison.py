"""What differs from a lock, by symbol-month and day, and which locks are those of something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cryptoservice.audit.dataset_lock.command import lock_universe
from cryptoservice.audit.dataset_lock.comparison import (
    LockComparison,
    LockDifference,
    LockKind,
    compare_with_lock,
    differences,
    expected_lock,
)
from cryptoservice.audit.dataset_lock.digests import MonthDigest, SymbolMonth
from cryptoservice.audit.dataset_lock.lock_file import LockError
from cryptoservice.clock import Clock
from cryptoservice.config import WindowBounds
from cryptoservice.errors import Remedy, UsageError
from cryptoservice.models import Dataset
from cryptoservice.storage.writer import StoreWriter
from cryptoservice.universe.file import UniverseFile
from tests.unit.audit.dataset_lock import by_hand
from tests.unit.audit.dataset_lock.samples import ACTIVE, DAYS, KINDS, A, B, all_days, rows_of, store, symbol_day, universe
from tests.unit.storage.samples import run_script

DIFFERS, MISSING, EXTRA = LockKind.DIFFERS, LockKind.MISSING, LockKind.EXTRA
PLACE = SymbolMonth("klines/5m", A, "2026-02")


def digest(number: int, *marks: str) -> MonthDigest:
    """A digest, and the marks of the first days of February."""
    return MonthDigest(str(number) * 64, " ".join([*marks, *["-"] * (28 - len(marks))]) if marks else "")


def one_difference(locked: MonthDigest | None, stored: MonthDigest | None) -> tuple[LockKind, dict[str, LockKind]]:
    sides = [{} if side is None else {PLACE: side} for side in (locked, stored)]
    (found,) = differences(*sides)
    assert (found.dataset, found.symbol, found.month) == PLACE
    return found.kind, dict(found.days)


def test_the_days_of_a_month_that_differs() -> None:
    locked, stored = digest(1, "a" * 8, "b" * 8, "-", "d" * 8), digest(2, "a" * 8, "c" * 8, "e" * 8)
    days = {"2026-02-02": DIFFERS, "2026-02-03": EXTRA, "2026-02-04": MISSING}
    assert one_difference(locked, stored) == (DIFFERS, days)
    assert one_difference(locked, None) == (MISSING, {f"2026-02-0{number}": MISSING for number in (1, 2, 4)})
    assert one_difference(None, stored) == (EXTRA, {f"2026-02-0{number}": EXTRA for number in (1, 2, 3)})


def test_a_lock_without_days_names_months_alone() -> None:
    assert one_difference(digest(1), digest(2, "a" * 8)) == (DIFFERS, {})
    assert one_difference(digest(1), None) == (MISSING, {})
    # The digest decides, and the marks only help.
    assert not list(differences({PLACE: digest(1, "a" * 8)}, {PLACE: digest(1, "b" * 8)}))
    assert one_difference(digest(1, "a" * 8), digest(2, "a" * 8)) == (DIFFERS, {})


def test_differences_come_in_order() -> None:
    places = [SymbolMonth(*words.split()) for words in ("a/1 A 2026-01", "a/1 A 2026-02", "a/1 B 2025-01", "b A 2024-01")]
    locked = {place: digest(1) for place in reversed(places)}
    assert [found.month for found in differences(locked, {})] == ["2026-01", "2026-02", "2025-01", "2024-01"]


def test_the_words_of_a_report() -> None:
    comparison = LockComparison("1" * 64, "2" * 64, (LockDifference(*PLACE, kind=DIFFERS, days={"2026-02-03": MISSING}),))
    assert json.loads(json.dumps(comparison.to_dict())) == {
        "expected_root": "1" * 64,
        "root": "2" * 64,
        "differs_total": 1,
        "differs": [
            {
                "dataset": "klines/5m", "symbol": A, "month": "2026-02", "kind": "differs", "days": {"2026-02-03": "missing"}
            }
        ],
    }  # fmt: skip
    many = LockComparison("1" * 64, "2" * 64, comparison.differs * 1000)
    assert len(repr(many)) < 500


# -- databases ------------------------------------------------------------------------------------------------------------


class Locked:
    """A universe, a database, and its lock."""

    def __init__(self, folder: Path) -> None:
        self.universe = universe(folder)
        self.database = store(folder / "market.db", all_days())
        self.lock = folder / "lock.json"
        lock_universe(self.universe, self.database, self.lock)
        self.record = json.loads(self.lock.read_text())

    def expected(self, window: WindowBounds | None = None) -> object:
        return expected_lock(self.lock, UniverseFile.load(self.universe), window)

    def compared(self, database: Path | None = None) -> LockComparison:
        loaded = UniverseFile.load(self.universe)
        return compare_with_lock(database or self.database, loaded, expected_lock(self.lock, loaded, None), Clock(), None)


@pytest.fixture
def locked(tmp_path: Path) -> Locked:
    return Locked(tmp_path)


def named(comparison: LockComparison) -> dict[str, tuple[str, dict[str, str]]]:
    return {
        f"{one.dataset} {one.symbol} {one.month}": (one.kind.value, {day: kind.value for day, kind in one.days.items()})
        for one in comparison.differs
    }


def test_the_same_database_is_the_same(locked: Locked) -> None:
    root = by_hand.lock_of(locked.database, ACTIVE).root
    assert locked.compared() == LockComparison(root, root, ())


def test_every_symbol_month_and_day_that_differs_is_named(locked: Locked, tmp_path: Path) -> None:
    """The expectation comes from what was done to the database, row by row."""
    other = tmp_path / "other.db"
    other.write_bytes(locked.database.read_bytes())
    january, february = DAYS[1], DAYS[2]
    first = rows_of(Dataset.METRICS, "5m", B, january)[0][0]
    series = "series_id = (SELECT id FROM series WHERE symbol = '{}' AND dataset = '{}' AND freq = '{}')"
    metrics, hours, rates = (series.format(*one) for one in ((B, "metrics", "5m"), (A, "klines", "4h"), (A, "funding_rates", "")))
    run_script(
        other,
        f"UPDATE metric_rows SET open_interest = 7 WHERE {metrics} AND open_time = {first};"
        f"DELETE FROM kline_rows WHERE {hours} AND open_time < {first};"
        f"DELETE FROM funding_rows WHERE {rates} AND funding_time >= {first + 86_400_000}",
    )
    with StoreWriter.open(other) as writer:
        writer.write([symbol_day(Dataset.KLINES, "1h", A, february)])
    found = locked.compared(other)
    assert named(found) == {
        f"metrics/5m {B} 2026-01": ("differs", {"2026-01-31": "differs"}),
        f"klines/4h {A} 2026-01": ("differs", {"2026-01-30": "missing"}),
        f"funding_rates {A} 2026-02": ("missing", {"2026-02-01": "missing", "2026-02-02": "missing"}),
        f"klines/1h {A} 2026-02": ("extra", {"2026-02-01": "extra"}),
    }
    assert (found.expected_root, found.root) == (locked.record["root"], by_hand.lock_of(other, ACTIVE).root)


def test_a_value_that_no_download_stores_differs(locked: Locked) -> None:
    run_script(locked.database, "UPDATE kline_rows SET close = 'text' WHERE open_time = (SELECT min(open_time) FROM kline_rows)")
    assert set(named(locked.compared())) == {f"klines/{freq} {symbol} 2026-01" for freq in ("12h", "4h") for symbol in (A, B)}


def test_only_the_window_of_the_lock_is_compared(locked: Locked) -> None:
    lock_universe(locked.universe, locked.database, locked.lock, window=WindowBounds("2026-01-31", "2026-02-01"), force=True)
    keep = [symbol_day(dataset, freq, symbol, day) for dataset, freq in KINDS for symbol in (A, B) for day in DAYS[1:3]]
    other = store(locked.database.with_name("window.db"), keep)
    assert locked.compared(other).differs == ()


# -- locks of something else ----------------------------------------------------------------------------------------------


def test_the_locks_own_window_may_be_named(locked: Locked) -> None:
    for window in (None, WindowBounds(), WindowBounds("2026-01-30"), WindowBounds(None, "2026-02-02")):
        assert locked.expected(window) == locked.expected()
    lock_universe(locked.universe, locked.database, locked.lock, window=WindowBounds("2026-01-31"), force=True)
    assert locked.expected(WindowBounds("2026-01-31", "2026-02-02")) == locked.expected(WindowBounds(None, "2026-02-02"))


@pytest.mark.parametrize("window", [WindowBounds("2026-01-31"), WindowBounds(None, "2026-02-01")])
def test_another_window_is_refused(locked: Locked, window: WindowBounds) -> None:
    with pytest.raises(LockError) as caught:
        locked.expected(window)
    asked = f"{window.start_date or '2026-01-30'} to {window.end_date or '2026-02-02'}"
    assert f"covers 2026-01-30 to 2026-02-02, not {asked}" in caught.value.message
    assert caught.value.remedy is Remedy.LOCK_WINDOW
    with pytest.raises(UsageError, match="lies outside the universe"):
        locked.expected(WindowBounds("2026-01-29"))


def test_another_universe_is_refused(locked: Locked) -> None:
    """Byte by byte: a universe that was only defined again is another file, although its root is the same."""
    root = locked.record["root"]
    text = locked.universe.read_text()
    locked.universe.write_text(text.replace("2026-03-01T00:00:00", "2026-03-02T00:00:00"))
    with pytest.raises(LockError, match="was made for another universe file") as caught:
        locked.expected()
    assert locked.record["universe_sha256"] in caught.value.message
    assert caught.value.hint
    assert UniverseFile.load(locked.universe).sha256 in caught.value.hint
    assert lock_universe(locked.universe, locked.database, locked.lock, force=True).root == root
