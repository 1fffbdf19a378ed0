"""An export as a library caller runs it: files, report, map, warnings and refusals."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.config import WindowBounds
from cryptoservice.errors import Interrupted, OutputError, Remedy, StoreError, UsageError
from cryptoservice.export.command import ExportResult, export_universe_data
from cryptoservice.models import Dataset
from cryptoservice.storage.ledger import Series
from tests.unit.audit.stored import BTC, ETH, HOURS, METRICS, NEXT_DAY, RATES, Stored, symbol_day, write_universe
from tests.unit.fakes import DAY, FakeClock, kline

# 2026-03-01 12:00:00 UTC, as `date -d @1772366400` says.
NOON = 1_772_366_400.0


def export(stored: Stored, folder: Path, **options: Any) -> ExportResult:
    options = {"source_freq": "1h", "export_freq": "4h", "clock": FakeClock(NOON), **options}
    return export_universe_data(stored.universe, stored.database, folder, **options)


def report_of(result: ExportResult) -> dict[str, Any]:
    record = json.loads(Path(result.report_path).read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def filled(stored: Stored) -> Stored:
    """The first day of BTC in all datasets; ETH and the second day were never fetched."""
    stored.fill_all()
    return stored


def test_files_and_report(filled: Stored, tmp_path: Path) -> None:
    result = export(filled, tmp_path / "out")
    assert names(tmp_path / "out") == {
        "klines/freq=4h/date=2026-02-01/klines.csv", "metrics/freq=4h/date=2026-02-01/metrics.csv",
        "funding_rates/date=2026-02-01/funding_rates.csv", "coverage_4h_2026-02-01_2026-02-02.json",
        "datapackage_4h_2026-02-01_2026-02-02.json",
    }  # fmt: skip
    assert result.report_path == str(tmp_path / "out/coverage_4h_2026-02-01_2026-02-02.json")
    assert (result.files, result.rows) == (3, {Dataset.KLINES: 6, Dataset.METRICS: 6, Dataset.FUNDING_RATES: 3})
    report = report_of(result)
    assert list(report) == [
        "schema_version", "generated_at", "universe", "window", "source_freq", "export_freq", "summary", "define_missing",
        "export_missing", "merged_missing", "days", "datasets",
    ]  # fmt: skip
    assert (report["schema_version"], report["generated_at"]) == ("1.0", "2026-03-01T12:00:00+00:00")
    assert (report["source_freq"], report["export_freq"]) == ("1h", "4h")
    window = {"start_date": "2026-02-01", "end_date": "2026-02-02"}
    digest = hashlib.sha256(filled.universe.read_bytes()).hexdigest()
    assert report["universe"] == {"file": str(filled.universe), "sha256": digest, **window}
    assert report["window"] == window
    assert report["summary"] == result.summary
    assert {key: report["summary"][key] for key in ("active_symbol_days", "complete", "missing", "exported_bars")} == {
        "active_symbol_days": 4, "complete": 1, "missing": 3, "exported_bars": 6,
    }  # fmt: skip
    assert set(report["datasets"]) == {"klines", "metrics", "funding_rates"}
    assert result.to_dict() == {
        "report_path": result.report_path, "files": 3, "rows": {"klines": 6, "metrics": 6, "funding_rates": 3},
        "summary": report["summary"], "kept_files": 0,
        "package_path": str(tmp_path / "out/datapackage_4h_2026-02-01_2026-02-02.json"),
    }  # fmt: skip


def test_a_window_and_a_universe_of_its_own(filled: Stored, tmp_path: Path) -> None:
    filled.fill([symbol_day(Dataset.KLINES, [kline(row[0] + DAY, 10.0) for row in HOURS], NEXT_DAY)])
    write_universe(filled.universe, "2026-02-01", "2026-02-02", {"2026-02-02": {ETH: "no_kline_on_date"}})
    result = export(filled, tmp_path / "out", window=WindowBounds("2026-02-02", None), metrics=False)
    assert names(tmp_path / "out") == {
        "klines/freq=4h/date=2026-02-02/klines.csv", "coverage_4h_2026-02-02_2026-02-02.json",
        "datapackage_4h_2026-02-02_2026-02-02.json",
    }  # fmt: skip
    report = report_of(result)
    assert report["define_missing"] == {"2026-02-02": {ETH: "no_kline_on_date"}}
    assert (report["export_missing"], report["summary"]["coverage_ratio"]) == ({}, 1.0)


def test_datasets_that_are_left_out(filled: Stored, tmp_path: Path) -> None:
    assert set(report_of(export(filled, tmp_path / "klines", metrics=False))["datasets"]) == {"klines"}
    alone = report_of(export(filled, tmp_path / "metrics", klines=False))
    assert set(alone["datasets"]) == {"metrics", "funding_rates"}
    assert alone["summary"] == alone["datasets"]["metrics"]
    assert alone["merged_missing"]["2026-02-01"] == {ETH: "missing_in_export"}


def test_a_download_of_klines_alone_does_not_lack_metrics(stored: Stored, tmp_path: Path) -> None:
    stored.fill([symbol_day(Dataset.KLINES, HOURS)])
    assert set(report_of(export(stored, tmp_path / "out"))["datasets"]) == {"klines"}


def test_the_coverage_map_comes_and_goes(filled: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with_map = export(filled, tmp_path / "out", coverage_html=True)
    page = tmp_path / "out/coverage_4h_2026-02-01_2026-02-02.html"
    assert with_map.coverage_html_path == with_map.to_dict()["coverage_html_path"] == str(page)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    with caplog.at_level(logging.INFO):
        without = export(filled, tmp_path / "out")
    assert (without.coverage_html_path, page.exists()) == (None, False)
    assert f"the coverage map of an earlier export is out of date and was removed: {page}" in caplog.messages


def package_of(result: ExportResult) -> dict[str, Any]:
    assert result.package_path is not None
    record = json.loads(Path(result.package_path).read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


def test_the_package_lists_what_was_written_and_not_what_was_kept(filled: Stored, tmp_path: Path) -> None:
    kept = tmp_path / "out/klines/freq=4h/date=2026-02-02/klines.csv"
    kept.parent.mkdir(parents=True)
    kept.write_text("from another machine\n")
    result = export(filled, tmp_path / "out")
    assert result.kept_files == 1
    listed = {entry["path"]: (entry["bytes"], entry["hash"]) for entry in package_of(result)["resources"]}
    bodies = {str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in (tmp_path / "out").rglob("*.csv")}
    assert bodies.pop("klines/freq=4h/date=2026-02-02/klines.csv") == b"from another machine\n"
    assert listed == {name: (len(body), f"sha256:{hashlib.sha256(body).hexdigest()}") for name, body in bodies.items()}


def test_an_older_package_that_holds_no_longer_is_named(filled: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    older = Path(str(export(filled, tmp_path / "out").package_path))
    before = older.read_bytes()
    first_day = WindowBounds("2026-02-01", "2026-02-01")
    caplog.clear()
    export(filled, tmp_path / "out", window=first_day)
    assert [line for line in caplog.messages if "data packages" in line] == []
    # One price more, and the day's file is another one.
    filled.fill([symbol_day(Dataset.KLINES, [kline(row[0], 10.5) for row in HOURS])])
    export(filled, tmp_path / "out", window=first_day)
    assert [line for line in caplog.messages if "data packages" in line] == [
        f"files that older data packages list have changed, export their windows anew to renew them: {older.name}"
    ]
    assert older.read_bytes() == before
    caplog.clear()
    # No more than five are named.
    for number in range(3, 10):
        (tmp_path / f"out/datapackage_4h_2026-02-01_2026-02-0{number}.json").write_bytes(before)
    export(filled, tmp_path / "out", window=first_day)
    (line,) = [line for line in caplog.messages if "data packages" in line]
    assert line.endswith("datapackage_4h_2026-02-01_2026-02-06.json and 3 more")


def test_a_day_that_is_pruned_makes_an_older_package_untrue(
    filled: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = Path(str(export(filled, tmp_path / "out").package_path))
    first = {"2026-02-01": dict.fromkeys((BTC, ETH), "no_kline_on_date")}
    write_universe(filled.universe, "2026-02-01", "2026-02-02", first)
    result = export(filled, tmp_path / "out", window=WindowBounds("2026-02-01", "2026-02-01"))
    assert result.package_path is None
    assert f"export their windows anew to renew them: {older.name}" in caplog.text
    # Nothing is left to list for its own window either, so that package goes.
    export(filled, tmp_path / "out")
    assert names(tmp_path / "out") == {
        "coverage_4h_2026-02-01_2026-02-02.json", "coverage_4h_2026-02-01_2026-02-01.json",
    }  # fmt: skip


def test_what_is_missing_is_said(filled: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for day in ("2026-02-01", "2026-02-02"):
        stale = tmp_path / f"out/klines/freq=4h/date={day}/klines.csv"
        stale.parent.mkdir(parents=True)
        stale.write_text("from an earlier export\n")
    gone = tmp_path / "out/klines/freq=4h/date=2026-02-02/klines.csv"
    fate = "{}, from 2026-02-02 to 2026-02-02: this database has no rows for them"
    for prune, word in ((False, "from before were kept"), (True, "of an earlier export were removed")):
        caplog.clear()
        result = export(filled, tmp_path / "out", metrics=False, prune=prune)
        assert caplog.messages == [
            f"1 day files {fate.format(word)}",
            f"3 of 4 symbol-days are missing and 0 partial: why, says {result.report_path}",
        ]
        assert (result.kept_files, gone.exists()) == ((0, False) if prune else (1, True))
    caplog.clear()
    write_universe(filled.universe, "2026-02-01", "2026-02-01", symbols=[BTC])
    export(filled, tmp_path / "out", metrics=False)
    assert caplog.messages == []


def test_without_active_symbols_there_is_a_report_alone(stored: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stored.fill([])
    gone = dict.fromkeys((BTC, ETH), "not_in_current_trading_list")
    write_universe(stored.universe, "2026-02-01", "2026-02-02", {"2026-02-01": gone, "2026-02-02": gone})
    result = export(stored, tmp_path / "out")
    assert names(tmp_path / "out") == {"coverage_4h_2026-02-01_2026-02-02.json"}
    assert (result.files, result.summary["active_symbol_days"], result.to_dict()["package_path"]) == (0, 0, None)
    (message,) = caplog.messages
    assert message.startswith("nothing to export but the coverage report: no requested symbol is active")


def test_what_is_refused(filled: Stored, tmp_path: Path) -> None:
    def refused(words: str, hint: str | Remedy, **options: Any) -> None:
        with pytest.raises(UsageError, match=words) as caught:
            export(filled, tmp_path / "out", **options)
        assert (caught.value.remedy or caught.value.hint) == hint
        assert not (tmp_path / "out").exists()

    refused("5m is not a whole multiple of 1h", "from 1h these can be made: 1h 2h 4h 6h 8h 12h 1d", export_freq="5m")
    refused("unknown interval '7m'", "one of: 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d", source_freq="7m")
    refused("nothing is left to export", Remedy.KEEP_SOMETHING, klines=False, metrics=False)
    refused("outside the universe", "the universe covers 2026-02-01 to 2026-02-02", window=WindowBounds("2026-01-31"))
    refused("holds no 15m klines", "it has: 1h", source_freq="15m")
    (tmp_path / "taken").write_text("a file\n")
    with pytest.raises(UsageError, match="is a file") as caught:
        export(filled, tmp_path / "taken")
    assert caught.value.remedy is Remedy.NAME_A_FOLDER


def test_frequencies_that_are_not_said_come_from_the_database(filled: Stored, tmp_path: Path) -> None:
    plain = {"source_freq": None, "export_freq": None}
    report = report_of(export(filled, tmp_path / "plain", **plain))
    assert (report["source_freq"], report["export_freq"]) == ("1h", "1h")
    report = report_of(export(filled, tmp_path / "coarser", source_freq=None))
    assert (report["source_freq"], report["export_freq"]) == ("1h", "4h")
    with pytest.raises(UsageError, match="5m is not a whole multiple of 1h"):
        export(filled, tmp_path / "finer", source_freq=None, export_freq="5m")
    filled.fill([replace(symbol_day(Dataset.KLINES, HOURS[:1]), series=Series(Dataset.KLINES, "1d", BTC))])
    with pytest.raises(UsageError, match="holds klines of several intervals") as caught:
        export(filled, tmp_path / "several", **plain)
    assert (caught.value.remedy, caught.value.hint) == (Remedy.CHOOSE_INTERVAL, "choose one of: 1h 1d")
    report = report_of(export(filled, tmp_path / "chosen", source_freq="1d", export_freq=None))
    assert (report["source_freq"], report["export_freq"]) == ("1d", "1d")


def test_metrics_alone_have_an_interval_of_their_own(stored: Stored, tmp_path: Path) -> None:
    stored.fill([symbol_day(Dataset.METRICS, METRICS)])
    plain = {"source_freq": None, "export_freq": None}
    assert report_of(export(stored, tmp_path / "out", klines=False, **plain))["export_freq"] == "5m"
    with pytest.raises(UsageError, match="holds no klines") as caught:
        export(stored, tmp_path / "none", **plain)
    assert caught.value.remedy is Remedy.DOWNLOAD_FIRST


def test_a_database_without_what_is_wanted(stored: Stored, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        export(stored, tmp_path / "out")
    stored.fill([])
    with pytest.raises(UsageError, match="holds no 1h klines") as caught:
        export(stored, tmp_path / "out")
    assert caught.value.remedy is Remedy.DOWNLOAD_FIRST
    with pytest.raises(UsageError, match="holds no metrics") as caught:
        export(stored, tmp_path / "out", klines=False)
    assert caught.value.remedy is Remedy.DOWNLOAD_METRICS
    # Either of the two datasets will do.
    stored.fill([symbol_day(Dataset.FUNDING_RATES, RATES)])
    assert export(stored, tmp_path / "out", klines=False).files == 1
    stored.fill([symbol_day(Dataset.METRICS, METRICS)])
    assert export(stored, tmp_path / "out", klines=False).files == 2


def test_a_damaged_ledger_and_a_blocked_report(filled: Stored, tmp_path: Path) -> None:
    (tmp_path / "out/coverage_4h_2026-02-01_2026-02-02.json").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot write"):
        export(filled, tmp_path / "out")
    filled.tamper("UPDATE ledger SET status = 'fine'")
    with pytest.raises(StoreError, match="unknown status 'fine'"):
        export(filled, tmp_path / "other")


def test_a_stop_leaves_no_report(filled: Stored, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        export(filled, tmp_path / "out", stop=stop)
    assert names(tmp_path / "out") == set()
