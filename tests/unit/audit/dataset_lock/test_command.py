"""lock as a whole: what it writes and reports, and what it refuses before it writes anything."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.audit.dataset_lock.command import LockResult, lock_universe
from cryptoservice.config import WindowBounds
from cryptoservice.errors import Interrupted, Remedy, StoreError, UsageError
from cryptoservice.files import TargetExists
from cryptoservice.models import Dataset, Status
from cryptoservice.storage.ledger import SymbolDay
from cryptoservice.universe.file import UniverseFile
from tests.unit.audit.dataset_lock import by_hand
from tests.unit.audit.dataset_lock.samples import ACTIVE, DAYS, SYMBOLS, A, all_days, origin, store, symbol_day, universe
from tests.unit.fakes import FakeClock
from tests.unit.storage.samples import run_script


class Sample:
    """The universe and the database of the sample, and a place for its lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.universe = universe(folder)
        self.database = store(folder / "market.db", all_days())
        self.output = folder / "locks" / "dataset.lock.json"

    def lock(self, **options: Any) -> LockResult:
        return lock_universe(self.universe, self.database, self.output, clock=FakeClock(), **options)

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.output.read_text(encoding="utf-8"))
        return found


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path)


def test_what_is_written_and_what_is_reported(sample: Sample) -> None:
    result = sample.lock()
    expected = by_hand.lock_of(sample.database, ACTIVE)
    record = sample.record
    assert list(record) == ["lock_version", "root", "universe_sha256", "window", "datasets", "days", "objects"]
    assert (record["datasets"], record["root"], by_hand.days_of(record["days"])) == (
        expected.datasets, expected.root, expected.days
    )  # fmt: skip
    assert record["universe_sha256"] == UniverseFile.load(sample.universe).sha256
    objects = sorted((one.name, one.sha256) for dataset in Dataset for symbol in SYMBOLS for one in [origin(dataset, symbol)])
    assert [(entry["name"], entry["sha256"]) for entry in record["objects"]] == objects
    assert result.to_dict() == {
        "lock_file": str(sample.output),
        "lock_version": "1.0",
        "root": expected.root,
        "window": {"start_date": "2026-01-30", "end_date": "2026-02-02"},
        "datasets": [
            {"dataset": name, "active_symbol_days": 8, "symbol_days": 8, "rows": rows}
            for name, rows in (("funding_rates", 24), ("klines/12h", 16), ("klines/4h", 48), ("metrics/5m", 48))
        ],
        "symbol_months": 16,
        "objects": 6,
        "elapsed_seconds": 0.0,
    }
    assert len(repr(result)) < 500


def test_the_same_database_gives_the_same_bytes(sample: Sample) -> None:
    sample.lock()
    before = sample.output.read_bytes()
    run_script(sample.database, "VACUUM")
    sample.lock(force=True)
    assert sample.output.read_bytes() == before


def test_a_window_and_the_active_days_alone_count(sample: Sample) -> None:
    missing = {"2026-02-01": {A: "no_kline_on_date"}}
    sample.universe = universe(sample.folder, missing=missing)
    sample.lock(window=WindowBounds("2026-01-31", "2026-02-01"))
    active = {symbol: [day for day in DAYS[1:3] if (symbol, day) != (A, DAYS[2])] for symbol in SYMBOLS}
    expected = by_hand.lock_of(sample.database, active)
    assert (sample.record["datasets"], sample.record["root"]) == (expected.datasets, expected.root)
    assert sample.record["window"] == {"start_date": "2026-01-31", "end_date": "2026-02-01"}
    assert by_hand.days_of(sample.record["days"]) == expected.days


def test_what_has_no_rows_is_told(sample: Sample, caplog: pytest.LogCaptureFixture) -> None:
    sample.database.unlink()
    kept = [day for day in all_days() if (day.series.freq, day.day) != ("4h", DAYS[0])]
    gap = symbol_day(Dataset.KLINES, "4h", A, DAYS[0])
    kept.append(SymbolDay(gap.series, gap.day, Status.CONFIRMED_GAP, "sources_agree", (), 6, "daily", 0.0))
    store(sample.database, kept)
    with caplog.at_level(logging.INFO):
        result = sample.lock()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "klines/4h: 2 of 8 active symbol-days have no rows, and the lock says so"),
        ("INFO", f"124 rows locked, root {result.root}"),
    ]
    assert sample.record["days"]["klines/4h"][A]["2026-01"].split()[29:] != ["-", "-"]
    assert sample.record["days"]["klines/4h"][A]["2026-01"].split()[:30] == ["-"] * 30


def test_what_is_refused(sample: Sample, tmp_path: Path) -> None:
    def refused(words: str, remedy: Remedy | None, **options: Any) -> None:
        with pytest.raises(UsageError, match=words) as caught:
            sample.lock(**options)
        assert caught.value.remedy is remedy
        assert not sample.output.exists()

    refused("outside the universe", None, window=WindowBounds("2026-01-01"))
    write = {"2026-01-30": dict.fromkeys(SYMBOLS, "no_kline_on_date")}
    universe(sample.folder, missing=write)
    refused("nothing to lock: no requested symbol is active", None, window=WindowBounds("2026-01-30", "2026-01-30"))
    run_script(sample.database, "DELETE FROM kline_rows; DELETE FROM metric_rows; DELETE FROM funding_rows")
    refused("holds no row of an active symbol-day of 2026-01-30 to 2026-02-02", Remedy.DOWNLOAD_FIRST)
    sample.database = tmp_path / "none.db"
    refused("does not exist", Remedy.DOWNLOAD_FIRST)
    sample.output = tmp_path
    with pytest.raises(UsageError, match="is a folder"):
        sample.lock()


def test_an_existing_output_and_the_inputs_are_kept(sample: Sample) -> None:
    sample.lock()
    before = sample.output.read_bytes()
    with pytest.raises(TargetExists) as caught:
        sample.lock()
    assert (caught.value.remedy, caught.value.exit_code) == (Remedy.REPLACE_FILE, 2)
    for path, what in ((sample.universe, "universe file"), (sample.database, "database")):
        content = path.read_bytes()
        link = sample.folder / "link"
        link.symlink_to(path)
        for output in (path, link):
            with pytest.raises(UsageError, match=f"is the {what}"):
                lock_universe(sample.universe, sample.database, output, force=True)
        link.unlink()
        assert path.read_bytes() == content
    assert sample.output.read_bytes() == before


def test_a_value_that_no_download_stores_is_not_locked(sample: Sample) -> None:
    run_script(sample.database, "UPDATE kline_rows SET close = 'text' WHERE open_time = (SELECT max(open_time) FROM kline_rows)")
    with pytest.raises(StoreError, match=r"klines/4h .* 2026-02 holds a value that no download stores") as caught:
        sample.lock()
    assert caught.value.remedy is Remedy.VERIFY_DATABASE
    assert not sample.output.exists()


def test_it_can_be_stopped(sample: Sample) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        sample.lock(stop=stop)
    assert not sample.output.exists()
