"""universe export, as a user runs it: every byte of the CSV files and every number of the coverage report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import truth
from tests.e2e.conftest import RECORDED, Workspace
from tests.e2e.steps import addresses, assert_refused, contents, stamps, universe, write_universe
from tests.exchange import Fault, Market, ReplayExchange

HOUR = 60 * truth.MINUTE
NOON = truth.moment("2026-02-02T12:00")
# ALGOUSDT on 2 February: one hour and twenty minutes that nobody has. AVAXUSDT: nothing on 3 February.
HOLES = {
    "ALGOUSDT": [(NOON, NOON + 80 * truth.MINUTE)],
    "AVAXUSDT": [(truth.moment("2026-02-03"), truth.moment("2026-02-04"))],
}


def folder_of(freq: str, day: str) -> str:
    return f"klines/freq={freq}/date={day}"


def due_files(freq: str, first: str = truth.FIRST, last: str = truth.LAST) -> dict[str, bytes]:
    """CSV files of all recorded symbols, by name."""
    return {
        f"{folder_of(freq, day)}/klines.csv": truth.csv_text(
            {symbol: truth.rows(symbol, freq, day, day) for symbol in RECORDED}
        ).encode()
        for day in truth.days(first, last)
    }


def csv_files(folder: Path) -> dict[str, bytes]:
    """CSV files below a folder, by name."""
    return {name: body for name, body in contents(folder).items() if body is not None and name.endswith(".csv")}


def coverage(folder: Path, name: str) -> dict[str, Any]:
    """A coverage report."""
    record = json.loads((folder / name).read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


@pytest.fixture(scope="module")
def february(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The whole month at 5m, and three days of it at 1m, in one database; after that no network at all."""
    folder = tmp_path_factory.mktemp("february")
    write_universe(folder)
    with ReplayExchange(Market.recorded()) as exchange:
        workspace = Workspace(folder, addresses(exchange))
        assert workspace.download().code == 0
        assert workspace.download("--end-date", "2026-02-03", interval="1m").code == 0
    workspace.environment = dict.fromkeys(workspace.environment, "http://127.0.0.1:9")
    yield workspace


@pytest.mark.parametrize(("target", "files"), [("5m", 28), ("1h", 28), ("4h", 28), ("1d", 28)])
def test_every_field_equals_the_recordings(february: Workspace, target: str, files: int) -> None:
    outcome = february.export(target=target, folder=f"all-{target}")
    assert outcome.code == 0, outcome
    base = february.folder / f"all-{target}"
    due = due_files(target)
    found = csv_files(base)
    assert found.keys() == due.keys()
    for name, body in due.items():
        assert found[name].splitlines() == body.splitlines(), name
        assert found[name] == body, name
    assert contents(base).keys() - {"klines", f"klines/freq={target}"} == {
        *due, *(name.rsplit("/", 1)[0] for name in due), f"coverage_{target}_2026-02-01_2026-02-28.json",
        f"datapackage_{target}_2026-02-01_2026-02-28.json",
    }  # fmt: skip
    bars = 84 * 1440 // truth.INTERVALS[target]
    report = outcome.report
    assert report["report_path"] == f"all-{target}/coverage_{target}_2026-02-01_2026-02-28.json"
    assert (report["files"], report["rows"]["klines"]) == (files, bars)
    summary = {"days": 28, "active_symbol_days": 84, "complete": 84, "partial": 0, "missing": 0, "coverage_ratio": 1.0}
    assert report["summary"].items() >= {**summary, "expected_bars": bars, "exported_bars": bars}.items()


def test_minutes_make_the_same_bars_as_the_exchange(february: Workspace) -> None:
    assert february.export("--end-date", "2026-02-03", source="1m", target="5m", folder="from-1m").code == 0
    assert csv_files(february.folder / "from-1m") == due_files("5m", last="2026-02-03")


def test_the_format_of_a_file(february: Workspace) -> None:
    assert february.export("--end-date", "2026-02-01", folder="format").code == 0
    text = (february.folder / "format" / folder_of("5m", "2026-02-01") / "klines.csv").read_bytes().decode()
    assert "\r" not in text
    assert '"' not in text
    assert text.endswith("\n")
    header, *lines = text.splitlines()
    assert header == ",".join(truth.COLUMNS)
    places = [(line.split(",")[0], int(line.split(",")[1])) for line in lines]
    assert places == sorted(places)
    assert len(places) == 3 * 288
    for line in lines:
        values = line.split(",")
        assert values[8].isdigit(), "trades are whole"
        assert all(repr(float(value)) == value for value in values[2:8] + values[9:])


def test_exporting_twice_gives_identical_bytes(february: Workspace) -> None:
    assert february.export(target="1h", folder="once").code == 0
    once = contents(february.folder / "once")
    assert february.export(target="1h", folder="once").code == 0
    assert february.export(target="1h", folder="twice").code == 0
    for other in ("once", "twice"):
        assert csv_files(february.folder / other) == csv_files(february.folder / "once")
        assert contents(february.folder / other).keys() == once.keys()
    reports = [coverage(february.folder / other, "coverage_1h_2026-02-01_2026-02-28.json") for other in ("once", "twice")]
    assert [report.pop("generated_at")[:2] for report in reports] == ["20", "20"]
    assert reports[0] == reports[1]
    package = "datapackage_1h_2026-02-01_2026-02-28.json"
    assert once[package] == contents(february.folder / "once")[package] == contents(february.folder / "twice")[package]


def test_a_smaller_window_touches_only_its_own_days(february: Workspace) -> None:
    base = february.folder / "windows"
    assert february.export(target="4h", folder="windows").code == 0
    before, times = contents(base), stamps(base)
    outcome = february.export("--start-date", "2026-02-10", "--end-date", "2026-02-12", target="4h", folder="windows")
    assert (outcome.code, outcome.report["files"], outcome.report["summary"]["days"]) == (0, 3, 3)
    new = "coverage_4h_2026-02-10_2026-02-12.json"
    assert outcome.report["report_path"] == f"windows/{new}"
    assert coverage(base, new)["window"] == {"start_date": "2026-02-10", "end_date": "2026-02-12"}
    after, later = contents(base), stamps(base)
    assert None not in (after.pop(new), after.pop("datapackage_4h_2026-02-10_2026-02-12.json"))
    assert after == before
    written = {name for name in times if later[name] != times[name]}
    assert written == {f"{folder_of('4h', day)}/klines.csv" for day in truth.days("2026-02-10", "2026-02-12")}


def test_only_active_symbol_days_are_exported(february: Workspace) -> None:
    record = universe(missing={"ALGOUSDT": ["2026-02-02"], "AVAXUSDT": truth.days(), "LINKUSDT": ["2026-02-02"]})
    (february.folder / "fewer.json").write_text(json.dumps(record))
    stale = february.folder / "fewer" / folder_of("1d", "2026-02-02")
    stale.mkdir(parents=True)
    (stale / "klines.csv").write_text("from an earlier universe\n")
    command = ("universe", "export", "--universe-file", "fewer.json", "--db-path", "market.db", "--export-base-path", "fewer")
    outcome = february.run(*command, "--source-freq", "5m", "--export-freq", "1d", "--end-date", "2026-02-03")
    assert outcome.code == 0
    found = csv_files(february.folder / "fewer")
    due = {
        f"{folder_of('1d', day)}/klines.csv": truth.csv_text(
            {symbol: truth.rows(symbol, "1d", day, day) for symbol in ("ALGOUSDT", "LINKUSDT")}
        ).encode()
        for day in ("2026-02-01", "2026-02-03")
    }
    assert found == due
    report = coverage(february.folder / "fewer", "coverage_1d_2026-02-01_2026-02-03.json")
    assert report["export_missing"] == {}
    assert report["days"][1].items() >= {"active": 0, "complete": 0, "partial": 0, "missing": 0, "expected_bars": 0}.items()


def test_keys_are_taken_silently_and_no_network_is_needed(february: Workspace) -> None:
    before = {name: february.folder.joinpath(name).stat().st_mtime_ns for name in ("universe.json", "market.db")}
    flags = ("--api-key", "K-is-a-key", "--api-secret", "S-is-a-secret", "--end-date", "2026-02-01")
    outcome = february.export(*flags, folder="keys")
    assert outcome.code == 0
    assert "K-is-a-key" not in outcome.stderr + outcome.stdout
    assert csv_files(february.folder / "keys") == due_files("5m", last="2026-02-01")
    assert {name: february.folder.joinpath(name).stat().st_mtime_ns for name in before} == before


def test_no_metrics_leaves_the_klines_alone(february: Workspace) -> None:
    assert february.export("--no-metrics", "--end-date", "2026-02-01", folder="klines-only").code == 0
    assert csv_files(february.folder / "klines-only") == due_files("5m", last="2026-02-01")


def test_leftovers_of_dead_runs_are_cleaned_up(february: Workspace) -> None:
    folder = february.folder / "leftovers" / folder_of("1d", "2026-02-01")
    folder.mkdir(parents=True)
    (folder / ".klines.csv.4194399.tmp").write_text("half a fi")
    assert february.export("--end-date", "2026-02-01", target="1d", folder="leftovers").code == 0
    assert [path.name for path in folder.iterdir()] == ["klines.csv"]


def test_a_report_for_symbols_of_any_script(february: Workspace) -> None:
    record = universe([*RECORDED, "币安人生USDT"])
    (february.folder / "wide.json").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    command = ("universe", "export", "--universe-file", "wide.json", "--db-path", "market.db", "--export-base-path", "wide")
    assert february.run(*command, "--source-freq", "5m", "--export-freq", "1d", "--end-date", "2026-02-01").code == 0
    entry = coverage(february.folder / "wide", "coverage_1d_2026-02-01_2026-02-01.json")["export_missing"]["2026-02-01"]
    assert entry == {"币安人生USDT": {"klines": {"expected": 1, "actual": 0, "reason": "not_downloaded"}}}


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """1 to 5 February with everything that can go missing; 5 February was never downloaded."""
    folder = tmp_path_factory.mktemp("holed")
    market = Market.recorded()
    for symbol, holes in HOLES.items():
        for start, end in holes:
            market.drop_klines(symbol, start, end)
    market.drop_klines("LINKUSDT", truth.moment("2026-02-04"), truth.moment("2026-02-05"), sources=("monthly", "daily"))
    with ReplayExchange(market) as exchange:
        exchange.faults.add(
            Fault.server_error(503, host="api", when=lambda request: request.params["symbol"] == "LINKUSDT", times=None)
        )
        workspace = Workspace(folder, addresses(exchange))
        record = universe([*RECORDED, "NOSUCHUSDT"], "2026-02-01", "2026-02-05", missing={"NOSUCHUSDT": truth.days()})
        for day in record["daily_snapshots"]:
            day["missing_symbols"]["NOSUCHUSDT"] = "not_in_current_trading_list"
        record["daily_snapshots"][0]["active_symbols"].remove("AVAXUSDT")
        record["daily_snapshots"][0]["missing_symbols"] = {
            "AVAXUSDT": "no_kline_on_date",
            "NOSUCHUSDT": "not_in_current_trading_list",
        }
        (folder / "universe.json").write_text(json.dumps(record))
        outcome = workspace.download("--end-date", "2026-02-04", "--max-retries", "0")
        assert (outcome.code, outcome.report["confirmed_gaps"], len(outcome.report["failed"])) == (3, 2, 1), outcome
    yield workspace


UNLISTED = {"NOSUCHUSDT": "not_in_current_trading_list"}


def test_the_coverage_report_counts_what_is_there_and_says_why_the_rest_is_not(holed: Workspace) -> None:
    outcome = holed.export()
    assert outcome.code == 0
    report = coverage(holed.folder / "exports", "coverage_5m_2026-02-01_2026-02-05.json")
    assert set(report) == {
        "schema_version", "generated_at", "universe", "window", "source_freq", "export_freq", "summary", "define_missing",
        "export_missing", "merged_missing", "days", "datasets",
    }  # fmt: skip
    assert (report["schema_version"], report["source_freq"], report["export_freq"]) == ("1.0", "5m", "5m")
    body = (holed.folder / "universe.json").read_bytes()
    assert report["universe"] == {
        "file": "universe.json", "sha256": hashlib.sha256(body).hexdigest(), "start_date": "2026-02-01", "end_date": "2026-02-05",
    }  # fmt: skip
    assert report["window"] == {"start_date": "2026-02-01", "end_date": "2026-02-05"}

    # Active: 2 + 3 + 3 + 3 + 3. ALGOUSDT lacks 16 bars on the 2nd, AVAXUSDT the 3rd, LINKUSDT the 4th, everyone the 5th.
    exported = 9 * 288 - 16
    summary = {
        "days": 5, "active_symbol_days": 14, "complete": 8, "partial": 1, "missing": 5, "expected_bars": 14 * 288,
        "exported_bars": exported, "coverage_ratio": exported / (14 * 288),
    }  # fmt: skip
    assert report["summary"].items() >= summary.items()
    assert outcome.report["summary"] == report["summary"]
    assert outcome.report["rows"]["klines"] == exported
    assert outcome.report["files"] == 4
    assert report["datasets"]["klines"].items() >= summary.items()
    assert set(report["datasets"]) == {"klines"}, "a klines-only download is not missing metrics"
    assert report["define_missing"] == {
        "2026-02-01": {"AVAXUSDT": "no_kline_on_date", **UNLISTED},
        **dict.fromkeys(truth.days("2026-02-02", "2026-02-05"), UNLISTED),
    }

    def lacks(actual: int, reason: str) -> dict[str, Any]:
        return {"klines": {"expected": 288, "actual": actual, "reason": reason}}

    assert report["export_missing"] == {
        "2026-02-02": {"ALGOUSDT": lacks(272, "confirmed_gap")},
        "2026-02-03": {"AVAXUSDT": lacks(0, "confirmed_gap")},
        "2026-02-04": {"LINKUSDT": lacks(0, "failed")},
        "2026-02-05": dict.fromkeys(RECORDED, lacks(0, "not_downloaded")),
    }
    assert report["merged_missing"] == {
        "2026-02-01": {"AVAXUSDT": "no_kline_on_date", **UNLISTED},
        "2026-02-02": UNLISTED,
        "2026-02-03": {**UNLISTED, "AVAXUSDT": "missing_in_export"},
        "2026-02-04": {**UNLISTED, "LINKUSDT": "missing_in_export"},
        "2026-02-05": {**UNLISTED, **dict.fromkeys(RECORDED, "missing_in_export")},
    }
    days = [(day["date"], *(day[key] for key in ("active", "complete", "partial", "missing"))) for day in report["days"]]
    assert days == [
        ("2026-02-01", 2, 2, 0, 0), ("2026-02-02", 3, 2, 1, 0), ("2026-02-03", 3, 2, 0, 1), ("2026-02-04", 3, 2, 0, 1),
        ("2026-02-05", 3, 0, 0, 3),
    ]  # fmt: skip
    bars = [(day["expected_bars"], day["exported_bars"]) for day in report["days"]]
    assert bars == [(576, 576), (864, 848), (864, 576), (864, 576), (864, 0)]


def test_bars_are_never_invented(holed: Workspace) -> None:
    assert holed.export("--end-date", "2026-02-04", target="1h", folder="hours").code == 0
    report = coverage(holed.folder / "hours", "coverage_1h_2026-02-01_2026-02-04.json")
    # Eighty minutes: one hour without any bar, one with eight of its twelve.
    entry = report["export_missing"]["2026-02-02"]["ALGOUSDT"]["klines"]
    assert entry == {"expected": 24, "actual": 23, "reason": "confirmed_gap", "partial_bars": 1}
    assert (report["summary"]["partial_bars"], report["days"][1]["partial_bars"]) == (1, 1)
    text = (holed.folder / "hours" / folder_of("1h", "2026-02-02") / "klines.csv").read_text()
    day = {"first": "2026-02-02", "last": "2026-02-02"}
    assert text == truth.csv_text({symbol: truth.rows(symbol, "1h", **day, holes=HOLES.get(symbol, ())) for symbol in RECORDED})
    assert f"ALGOUSDT,{NOON}," not in text
    assert f"ALGOUSDT,{NOON + HOUR}," in text


def test_a_file_of_a_day_without_rows_is_kept_until_it_is_pruned(holed: Workspace) -> None:
    """It may be another machine's, which has that day: a folder can be filled from several databases."""
    folder = holed.folder / "stale" / folder_of("5m", "2026-02-05")
    folder.mkdir(parents=True)
    (folder / "klines.csv").write_text("rows of another machine\n")
    other = holed.folder / "stale" / folder_of("5m", "2026-02-06")
    other.mkdir()
    (other / "klines.csv").write_text("not of this window\n")
    outcome = holed.export(folder="stale")
    assert (outcome.code, outcome.report["kept_files"]) == (0, 1)
    assert (folder / "klines.csv").read_text() == "rows of another machine\n"
    kept = [line for line in outcome.said.splitlines() if "kept" in line]
    span = "from 2026-02-05 to 2026-02-05"
    assert kept == [f"warning: 1 day files from before were kept, {span}: this database has no rows for them"]
    assert "export again with --prune" in outcome.stderr
    outcome = holed.export("--prune", folder="stale")
    assert (outcome.code, outcome.report["kept_files"]) == (0, 0)
    assert not folder.exists()
    assert (other / "klines.csv").read_text() == "not of this window\n"


def test_a_damaged_universe_is_noticed_before_anything_is_written(holed: Workspace) -> None:
    (holed.folder / "bad.json").write_text("{")
    command = ("universe", "export", "--universe-file", "bad.json", "--db-path", "market.db", "--export-base-path", "never")
    assert_refused(holed.run(*command, "--source-freq", "5m", "--export-freq", "5m"), "bad.json", "line 1")
    assert not (holed.folder / "never").exists()
