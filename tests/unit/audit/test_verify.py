"""verify as a whole: what is checked, what is refused, and a sample that is fetched from a small server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cryptoservice.audit.dataset_lock.command import lock_universe
from cryptoservice.audit.dataset_lock.comparison import LockComparison
from cryptoservice.audit.findings import VerifyResult
from cryptoservice.audit.verify import verify_universe
from cryptoservice.config import Endpoints, NetworkConfig, RetryConfig, WindowBounds
from cryptoservice.errors import Interrupted, Remedy, SourceRefused, StoreBusy, UsageError
from cryptoservice.models import Dataset, Status
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.lock import DatabaseLock
from tests.unit.audit.stored import BTC, ETH, HOUR, HOURS, NEXT_DAY, RATES, Stored, symbol_day, write_universe
from tests.unit.binance.loopback import Loopback, Reply, Seen
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, FakeClock, kline


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of bans belongs to the machine; a test has its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def verify(stored: Stored, **options: Any) -> VerifyResult:
    return verify_universe(stored.universe, stored.database, clock=FakeClock(chance=0.25), **options)


def test_a_sound_database(stored: Stored) -> None:
    result = verify(stored)
    assert result.sound
    assert result.to_dict() == {
        "status": "sound",
        "window": {"start_date": "2026-02-01", "end_date": "2026-02-02"},
        "checked_symbol_days": 3,
        "rows": {"klines": 24, "metrics": 288, "funding_rates": 3},
        "datasets": [
            {"dataset": "klines", "freq": "1h", "active_symbol_days": 4, "checked_symbol_days": 1, "rows": 24},
            {"dataset": "metrics", "freq": "5m", "active_symbol_days": 4, "checked_symbol_days": 1, "rows": 288},
            {"dataset": "funding_rates", "freq": "", "active_symbol_days": 4, "checked_symbol_days": 1, "rows": 3},
        ],
        "differences_total": 0,
        "differences_by_kind": {},
        "differences": [],
        "known_differences_total": 0,
        "known_differences": [],
        "lock": None,
        "repair": None,
        "sample": None,
        "requests": {},
        "retries": 0,
        "waited_seconds": 0.0,
        "elapsed_seconds": 0.0,
    }


def test_rows_ledger_and_rows_outside_are_all_looked_at(stored: Stored) -> None:
    stored.tamper(
        f"UPDATE kline_rows SET trades = -1 WHERE open_time = {FEBRUARY_MS}",
        "UPDATE ledger SET rows = 287 WHERE rows = 288",
        f"UPDATE funding_rows SET funding_time = funding_time + {DAY} WHERE funding_time = {RATES[2][0]}",
    )
    result = verify(stored)
    assert list(result.differences_by_kind.items()) == [
        ("ledger_status", 1), ("number_out_of_range", 1), ("outside_ledger", 1), ("row_count", 2),
    ]  # fmt: skip
    assert [(item.kind, item.dataset.value) for item in result.differences] == [
        ("number_out_of_range", "klines"), ("row_count", "metrics"), ("ledger_status", "metrics"),
        ("row_count", "funding_rates"), ("outside_ledger", "funding_rates"),
    ]  # fmt: skip
    assert result.status == "different"


def test_only_active_symbol_days_of_the_window_are_recounted(stored: Stored) -> None:
    stored.fill([symbol_day(Dataset.KLINES, [kline(row[0] + DAY) for row in HOURS], NEXT_DAY)])
    stored.tamper(f"DELETE FROM kline_rows WHERE open_time = {FEBRUARY_MS + DAY}")
    assert verify(stored).differences_by_kind == {"row_count": 1}
    assert verify(stored, window=WindowBounds(None, "2026-02-01")).sound
    write_universe(stored.universe, "2026-02-01", "2026-02-02", {"2026-02-02": {BTC: "no_kline_on_date"}})
    result = verify(stored)
    assert (result.sound, result.checked_symbol_days) == (True, 3)


def test_what_is_refused(stored: Stored, tmp_path: Path) -> None:
    def refused(words: str, remedy: Remedy | None, **options: Any) -> None:
        with pytest.raises(UsageError, match=words) as caught:
            verify(stored, **options)
        assert caught.value.remedy is remedy

    refused("seed without a sample", Remedy.NAME_A_SAMPLE, seed=1)
    refused("sample is -1", None, sample=-1)
    refused("outside the universe", None, window=WindowBounds("2026-01-31", None))
    refused("knows no active symbol-day of 2026-02-02 to 2026-02-02", Remedy.DOWNLOAD_FIRST, window=WindowBounds("2026-02-02"))
    write_universe(stored.universe, "2026-02-01", "2026-02-01", {"2026-02-01": dict.fromkeys((BTC, ETH), "no_kline_on_date")})
    refused("nothing to verify: no requested symbol is active", None)
    write_universe(stored.universe, "2026-02-01", "2026-02-01")
    with pytest.raises(UsageError, match="does not exist"):
        verify_universe(stored.universe, tmp_path / "none.db")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        verify(stored, stop=stop)


# -- samples ------------------------------------------------------------------------------------------------------------

Answer = Callable[[str, int], Reply]


def rest_klines(start: int, price: str = "10.0") -> Reply:
    """24 flat hours as the API writes them, the same as HOURS but for the day."""
    ends = range(start, start + DAY, HOUR)
    lines = [[time, price, price, price, price, "2", time + HOUR - 1, "20", 3, "1", "10", "0"] for time in ends]
    return Reply(body=json.dumps(lines).encode())


def sampled(stored: Stored, answer: Answer, sample: int = 9, **options: Any) -> tuple[VerifyResult, list[Seen]]:
    """A verification whose API answers for a symbol and a start (ms UTC)."""

    def script(_: int, seen: Seen) -> Reply:
        query = parse_qs(urlsplit(seen.target).query)
        return answer(query["symbol"][0], int(query["startTime"][0]))

    with Loopback(script).running() as server:
        network = NetworkConfig(Endpoints(server.url, server.url), retry=RetryConfig(max_retries=0))
        return verify(stored, sample=sample, network=network, **options), server.seen


def two_days(stored: Stored) -> None:
    stored.fill([symbol_day(Dataset.KLINES, [kline(row[0] + DAY, 10.0) for row in HOURS], NEXT_DAY)])


def test_a_sample_that_the_other_source_confirms(stored: Stored) -> None:
    two_days(stored)
    result, seen = sampled(stored, lambda _, start: rest_klines(start))
    assert result.sample is not None
    # A quarter of 2**32, as the clock's chance says.
    assert (result.sample.seed, result.sample.candidates) == (1_073_741_824, 2)
    assert (result.sample.compared, result.sample.rows, result.sample.rows_other_lacks) == (2, 48, 0)
    assert (result.status, result.refused, result.requests, len(seen)) == ("sound", None, {"klines": 2}, 2)
    assert {item.date.isoformat() for item in result.sample.symbol_days} == {"2026-02-01", "2026-02-02"}


def test_a_seed_draws_the_same_symbol_days_again(stored: Stored) -> None:
    two_days(stored)
    drawn = set()
    for seed in range(4):
        first, _ = sampled(stored, lambda _, start: rest_klines(start), 1, seed=seed)
        again, _ = sampled(stored, lambda _, start: rest_klines(start), 1, seed=seed)
        assert first.sample == again.sample
        assert first.sample is not None
        drawn.add(first.sample.symbol_days)
    assert len(drawn) == 2


def test_a_sample_that_the_other_source_contradicts(stored: Stored) -> None:
    stored.tamper(f"DELETE FROM kline_rows WHERE open_time = {FEBRUARY_MS}")
    result, _ = sampled(stored, lambda _, start: rest_klines(start, "11.0"))
    assert result.differences_by_kind == {"row_count": 1, "row_not_stored": 1, "value": 23 * 4}
    assert result.sample is not None
    assert (result.sample.compared, result.sample.rows) == (1, 23)


def test_what_could_not_be_fetched_is_not_called_sound(stored: Stored) -> None:
    result, _ = sampled(stored, lambda *_: Reply(status=503))
    assert (result.status, result.refused, result.differences_total) == ("not_verified", None, 0)
    assert result.sample is not None
    assert [check.reason for check in result.sample.not_compared] == ["rest: http_503"]


def test_a_symbol_that_the_other_source_does_not_serve_is_no_fault(stored: Stored) -> None:
    body = json.dumps({"code": -1121, "msg": "Invalid symbol."}).encode()
    result, _ = sampled(stored, lambda *_: Reply(status=400, body=body))
    assert result.status == "sound"
    assert result.sample is not None
    assert (result.sample.compared, len(result.sample.not_compared)) == (0, 1)


def test_a_source_that_refuses_is_part_of_the_result(stored: Stored) -> None:
    result, _ = sampled(stored, lambda *_: Reply(status=451))
    assert isinstance(result.refused, SourceRefused)
    assert result.status == "not_verified"


def test_a_symbol_day_of_two_sources_or_of_other_datasets_is_never_drawn(stored: Stored) -> None:
    stored.fill([symbol_day(Dataset.KLINES, HOURS, source="daily+rest")])
    result, seen = sampled(stored, lambda _, start: rest_klines(start))
    assert result.sample is not None
    assert (result.sample.candidates, result.sample.symbol_days, seen) == (0, (), [])
    assert result.sound


def test_a_stop_during_the_sample_ends_the_verification(stored: Stored) -> None:
    stop = threading.Event()

    def answer(_: str, start: int) -> Reply:
        stop.set()
        return rest_klines(start)

    with pytest.raises(Interrupted):
        sampled(stored, answer, stop=stop)


# -- series that contradict one another -----------------------------------------------------------------------------------


def test_klines_of_two_intervals_and_metrics_are_held_against_each_other(stored: Stored) -> None:
    halves = [kline(FEBRUARY_MS + number * HOUR // 2, 10.0, 1.0) for number in range(48)]
    stored.fill([SymbolDay(Series(Dataset.KLINES, "30m", BTC), FEBRUARY, Status.COMPLETE, None, halves, 48, "daily", 0.0)])
    # Two halves of three trades are six trades.
    result = verify(stored)
    assert result.differences_by_kind == {"aggregate": 24}
    stored.tamper("UPDATE kline_rows SET trades = 6 WHERE trades = 3 AND series_id = (SELECT id FROM series WHERE freq = '1h')")
    assert verify(stored).sound
    # A price that moves every five minutes, and metrics that know it one bar too early.
    prices = [100.0 + (number * 7919 % 101) for number in range(289)]
    fives = [(FEBRUARY_MS + n * 300_000, prices[n], 300.0, 1.0, prices[n + 1], 2.0, 2.0, 3, 1.0, 1.0) for n in range(288)]
    metrics = [(FEBRUARY_MS + n * 300_000, 1.0, prices[min(n + 2, 288)], None, None, None, None) for n in range(288)]
    stored.tamper("DELETE FROM kline_rows", "DELETE FROM ledger WHERE rows IN (24, 48)")
    stored.fill(
        [
            SymbolDay(Series(dataset, "5m", BTC), FEBRUARY, Status.COMPLETE, None, rows, 288, "daily", 0.0)
            for dataset, rows in ((Dataset.KLINES, fives), (Dataset.METRICS, metrics))
        ]
    )
    (difference,) = verify(stored).differences
    assert (difference.kind, difference.details["rows_stand"]) == ("metrics_misaligned", "one_bar_early")


def test_symbols_need_not_be_stored_at_the_same_intervals(stored: Stored) -> None:
    days = [
        SymbolDay(Series(Dataset.KLINES, freq, symbol), FEBRUARY, Status.COMPLETE, None, rows, len(rows), "daily", 0.0)
        for freq, symbol, rows in (
            ("2h", ETH, HOURS[::2]),
            ("30m", ETH, [kline(FEBRUARY_MS + number * HOUR // 2, 10.0) for number in range(48)]),
        )
    ]
    stored.fill(days)
    stored.fill_all()
    # Four halves make four times the sums of a bar, and the other symbol has hours alone: five sums of twelve bars differ.
    assert verify(stored).differences_by_kind == {"aggregate": 60}


# -- a dataset lock -------------------------------------------------------------------------------------------------------


def test_a_lock_is_compared_beside_the_usual_checks(stored: Stored, tmp_path: Path) -> None:
    lock = tmp_path / "lock.json"
    root = lock_universe(stored.universe, stored.database, lock).root
    same = verify(stored, lock_file=lock)
    assert (same.status, same.lock) == ("sound", LockComparison(root, root, ()))
    stored.tamper(f"UPDATE kline_rows SET close = 9.5, low = 9.5 WHERE open_time = {FEBRUARY_MS}")
    result = verify(stored, lock_file=str(lock))
    assert (result.status, result.sound, result.differences) == ("different", False, ())
    assert result.lock is not None
    assert [(one.dataset, one.month, one.kind.value, dict(one.days)) for one in result.lock.differs] == [
        ("klines/1h", "2026-02", "differs", {"2026-02-01": "differs"})
    ]
    stored.tamper("UPDATE ledger SET rows = 287 WHERE rows = 288")
    assert verify(stored, lock_file=lock).differences_by_kind == {"row_count": 1, "ledger_status": 1}


def test_the_window_is_that_of_the_lock(stored: Stored, tmp_path: Path) -> None:
    two_days(stored)
    lock = tmp_path / "lock.json"
    lock_universe(stored.universe, stored.database, lock, window=WindowBounds("2026-02-02"))
    result = verify(stored, lock_file=lock)
    assert (result.sound, result.checked_symbol_days, result.window.start) == (True, 1, NEXT_DAY)
    assert verify(stored, lock_file=lock, window=WindowBounds("2026-02-02", "2026-02-02")).sound
    with pytest.raises(UsageError, match="covers 2026-02-02 to 2026-02-02, not 2026-02-01 to 2026-02-02"):
        verify(stored, lock_file=lock, window=WindowBounds("2026-02-01"))


def test_a_lock_that_cannot_be_used_is_refused_before_any_work(stored: Stored, tmp_path: Path) -> None:
    lock = tmp_path / "lock.json"
    lock.write_text("{")
    stored.database.unlink()
    for repair in (False, True):
        with pytest.raises(UsageError, match=r"lock file .* not JSON at line 1"):
            verify(stored, lock_file=lock, repair=repair)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock.json", "universe.json"]


def test_a_repair_is_a_run_that_writes(stored: Stored) -> None:
    with DatabaseLock(stored.database, "2026-03-01T00:00:00+00:00"), pytest.raises(StoreBusy):
        verify(stored, repair=True)
    with pytest.raises(UsageError):
        verify_universe(stored.universe, stored.database.with_name("none.db"), repair=True)
    assert not stored.database.with_name("none.db.lock").exists()
