"""The few lines with which a run ends on a terminal, letter by letter."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from cryptoservice.audit.archive_audit.result import AuditResult, GoneObject, RepublishedObject
from cryptoservice.audit.dataset_lock.command import LockResult
from cryptoservice.audit.dataset_lock.comparison import LockComparison
from cryptoservice.audit.dataset_lock.digests import DatasetContents
from cryptoservice.audit.findings import CheckedDataset, SampleResult, VerifyResult
from cryptoservice.audit.status import StatusResult
from cryptoservice.audit.verification.cross_check import Sampled
from cryptoservice.audit.verification.differences import Difference
from cryptoservice.cli import endings
from cryptoservice.days import Window
from cryptoservice.define.result import DefineResult
from cryptoservice.download.result import DatasetCounts, DownloadResult, Unsettled
from cryptoservice.export.command import ExportResult
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.reasons import MissingReason
from cryptoservice.sources.evidence import KlineSource
from cryptoservice.universe.model import DailySnapshot, Universe

FIRST, LAST = date(2026, 2, 1), date(2026, 2, 2)
WINDOW = Window(FIRST, LAST)
PLACES = "--universe-file 'my data/u.json' --db-path 'my data/m.db'"


def arguments(**changes: Any) -> argparse.Namespace:
    values = {
        "universe_file": "my data/u.json",
        "db_path": "my data/m.db",
        "export_base_path": "out",
        "no_klines": False,
        "lock": "l",
    }
    return argparse.Namespace(**{**values, **changes})


def universe(*active: tuple[str, ...]) -> DefineResult:
    """A universe of two symbols over two days, of which these are active."""
    snapshots = tuple(
        DailySnapshot(day, names, {name: MissingReason.NO_KLINE_ON_DATE for name in ("A", "B") if name not in names})
        for day, names in zip((FIRST, LAST), active, strict=True)
    )
    made = Universe(("A", "B"), FIRST, LAST, snapshots, "2026-03-05T00:00:00+00:00")
    return DefineResult("data/u.json", made, {}, 0, 0.0, 0.0, {})


def test_define_leads_to_the_download() -> None:
    assert list(endings.define_ending(universe(("A", "B"), ("A", "B")))) == [
        "universe data/u.json: 2 symbols, 2026-02-01 to 2026-02-02, 4 of 4 symbol-days active (100 %)",
        "next: cryptoservice universe download --universe-file data/u.json --db-path data/market.db",
    ]
    assert list(endings.define_ending(universe((), ("A",))))[:2] == [
        "universe data/u.json: 2 symbols, 2026-02-01 to 2026-02-02, 1 of 4 symbol-days active (25.0 %)",
        "not active: 3 no_kline_on_date",
    ]
    # There is nothing to download.
    assert list(endings.define_ending(universe((), ())))[1:] == ["not active: 4 no_kline_on_date"]


def test_a_status_without_a_database_leads_to_the_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(database: str | None, active: int, **changes: Any) -> list[str]:
        result = StatusResult("u.json", database, WINDOW, 2, 2, active, {}, ())
        return list(endings.status_ending(arguments(**changes), result))

    line = "next: cryptoservice universe download --universe-file 'my data/u.json' --db-path 'my data/market.db'"
    assert told(None, 4) == [line]
    # A database says itself what the next download would do. Without an active day there is none, and a pipe is read once.
    assert told("m.db", 4) == told(None, 0) == told(None, 4, universe_file="-") == []
    monkeypatch.setenv("CRYPTOSERVICE_UNIVERSE_FILE", "my data/u.json")
    monkeypatch.setenv("CRYPTOSERVICE_DB_PATH", "m.db")
    assert told(None, 4) == ["next: cryptoservice universe download"]


def download(wanted: int, *failed: tuple[Dataset, str], gaps: int = 0) -> DownloadResult:
    items = tuple(Unsettled(dataset, "A", FIRST, reason, Status.FAILED) for dataset, reason in failed)
    counts = DatasetCounts(wanted, 0, wanted - len(items) - gaps, gaps, len(items), 1_234_567)
    return DownloadResult(WINDOW, Freq.m5, {Dataset.KLINES: counts}, items, {"api": 1_000, "vision": 1}, 0, 0, 0.0, 61.0)


def test_download_leads_to_the_export_when_it_is_complete() -> None:
    assert list(endings.download_ending(arguments(), download(5_040, gaps=1))) == [
        "database my data/m.db: 5,040 of 5,040 symbol-days settled (100 %), in 1 min 01 s, 1,001 requests",
        "  klines: 5,040 of 5,040, 1,234,567 new rows, 1 confirmed gap found",
        f"next: cryptoservice universe export {PLACES} --export-base-path 'my data/exports' --source-freq 5m",
    ]
    reasons = [(Dataset.KLINES, word) for word in "aaabbcdefg"]
    assert list(endings.download_ending(arguments(), download(5_040, *reasons))) == [
        "database my data/m.db: 5,030 of 5,040 symbol-days settled (99.8 %), in 1 min 01 s, 1,001 requests",
        "  klines: 5,030 of 5,040, 1,234,567 new rows",
        "  not settled: 3 symbol-days of klines, a",
        "  not settled: 2 symbol-days of klines, b",
        "  not settled: 1 symbol-day of klines, c",
        "  not settled: 1 symbol-day of klines, d",
        "  not settled: 1 symbol-day of klines, e",
        "  not settled: 2 symbol-days for other reasons",
    ]
    # Of standard input the next command cannot read the same once more; and where nothing is active there is nothing to export.
    for args, result in ((arguments(universe_file="-"), download(1)), (arguments(), download(0))):
        assert not [line for line in endings.download_ending(args, result) if line.startswith("next:")]


def test_what_the_environment_says_is_not_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("CRYPTOSERVICE_UNIVERSE_FILE", "~/u.json")
    monkeypatch.setenv("CRYPTOSERVICE_DB_PATH", "m.db")
    monkeypatch.setenv("CRYPTOSERVICE_EXPORT_BASE_PATH", "/csv")

    def next_line(**changes: str) -> str:
        return list(endings.download_ending(arguments(**changes), download(1)))[-1]

    export = "next: cryptoservice universe export"
    assert next_line(universe_file="/home/me/u.json", db_path="m.db") == f"{export} --source-freq 5m"
    assert next_line(universe_file="u.json", db_path="m.db") == f"{export} --universe-file u.json --source-freq 5m"
    made = list(endings.define_ending(universe(("A",), ())))[-1]
    assert made == "next: cryptoservice universe download --universe-file data/u.json"


def export(complete: int, partial: int, missing: int, expected: int, exported: int) -> ExportResult:
    summary = {"complete": complete, "partial": partial, "missing": missing, "expected_bars": expected, "exported_bars": exported}
    return ExportResult("out/coverage.json", 84, {Dataset.KLINES: 24_192, Dataset.METRICS: 0}, summary)


def test_an_export_says_how_much_there_is() -> None:
    assert list(endings.export_ending(arguments(), export(84, 0, 0, 24_192, 24_192))) == [
        "exported into out: 84 CSV files: 24,192 rows of klines",
        "coverage of klines: 100 % of 24,192 bars; symbol-days: 84 complete, 0 partial, 0 missing",
        "report: out/coverage.json",
    ]
    lacking = replace(export(83, 1, 0, 24_192, 24_191), coverage_html_path="out/coverage.html")
    assert list(endings.export_ending(arguments(no_klines=True), lacking))[1:] == [
        "coverage of metrics: 99.9 % of 24,192 bars; symbol-days: 83 complete, 1 partial, 0 missing",
        "report: out/coverage.json",
        "map: out/coverage.html",
        f"next: cryptoservice universe status {PLACES}",
    ]
    nothing = replace(export(0, 0, 0, 0, 0), rows={})
    assert list(endings.export_ending(arguments(), nothing))[:2] == [
        "exported into out: 84 CSV files",
        "coverage of klines: - of 0 bars; symbol-days: 0 complete, 0 partial, 0 missing",
    ]


def test_a_verification() -> None:
    sound = VerifyResult(WINDOW, (CheckedDataset(Dataset.KLINES, "5m", 2, 2, 576),), (), None, {}, 0, 0, 0.0, 0.0)
    assert list(endings.verify_ending(arguments(), sound)) == [
        "sound: 2 symbol-days checked, 2026-02-01 to 2026-02-02",
        f"next: cryptoservice universe verify {PLACES} --sample 20",
    ]
    sampled = (Sampled(Freq.m5, "A", FIRST, "daily", KlineSource.API),) * 2
    compared = replace(sound, sample=SampleResult(7, 2, sampled, 1, 1_440, 0, ()), lock=LockComparison("1" * 64, "1" * 64, ()))
    assert list(endings.verify_ending(arguments(), compared))[1:] == [
        "sample: 1 of 2 sampled symbol-days compared with the other source, 1,440 rows",
        "lock l: the same, root and all",
    ]
    kinds = ("row_count", "off_grid", "row_count")
    different = replace(sound, differences=tuple(Difference(kind, Dataset.KLINES, "5m", "A", "2026-02-01") for kind in kinds))
    assert list(endings.verify_ending(arguments(), different)) == [
        "different: 2 symbol-days checked, 2026-02-01 to 2026-02-02",
        "  off_grid: 1 difference",
        "  row_count: 2 differences",
    ]


def test_a_lock_leads_to_its_verification() -> None:
    contents = (DatasetContents("klines/5m", 2, 2, 576), DatasetContents("funding_rates", 2, 2, 6))
    result = LockResult("lock.json", "1.0", "1" * 64, WINDOW, contents, 1_200, 2, 0.0)
    assert list(endings.lock_ending(arguments(), result)) == [
        "lock lock.json: 1,200 symbol-months of 2 datasets, 2026-02-01 to 2026-02-02, from 2 archive files",
        f"next: cryptoservice universe verify {PLACES} --lock lock.json",
    ]


def test_an_audit() -> None:
    anew = (RepublishedObject("x.zip", "A", "2026-02", "1", "2"),)
    gone = (GoneObject("y.zip", "A", "2026-02"),)
    result = AuditResult(WINDOW, 1_998, anew, gone, 0, (), {}, 0, 0.0, 0.0)
    assert list(endings.audit_ending(result)) == ["unchanged: 99.9 % of 2,000 archive files"]
    assert list(endings.audit_ending(replace(result, republished=(), gone=()))) == ["unchanged: 100 % of 1,998 archive files"]
