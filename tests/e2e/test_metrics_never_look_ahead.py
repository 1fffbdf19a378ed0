"""Metrics and funding rates as CSV: their text, their place in the coverage report, and the join with klines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import metrics_truth as mt
from tests.e2e import truth
from tests.e2e.conftest import RECORDED, Workspace
from tests.e2e.steps import addresses, contents, query, write_universe
from tests.exchange import Market, ReplayExchange

WITH_METRICS = "--download-market-metrics"
WINDOW = ("2026-02-09", "2026-02-12")
DAYS = truth.days(*WINDOW)
# LINK lacks an hour and a half, ALGO a whole day, AVAX has blanks and is not active on the first day.
HOLE = (truth.moment("2026-02-10T03:10"), truth.moment("2026-02-10T04:30"))
ALGO_DAY = "2026-02-11"
AVAX_DAY = "2026-02-12"


def blanked(rows: Iterable[mt.Row]) -> list[mt.Row]:
    """Rows whose open interest is blank from 06:00 to 08:05 and whose taker ratio is at the end of each hour."""
    changed = []
    for at, *values in rows:
        clock = at % truth.DAY
        if 6 * mt.HOUR <= clock < 8 * mt.HOUR + mt.FIVE:
            values[0] = None
        if clock % mt.HOUR >= 50 * truth.MINUTE:
            values[5] = None
        changed.append((at, *values))
    return changed


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Market]]:
    """A database of four days, downloaded once; nobody talks to the exchange after that."""
    folder = tmp_path_factory.mktemp("stored")
    market = Market.recorded()
    market.drop_metrics("LINKUSDT", *HOLE)
    market.drop_metrics("ALGOUSDT", truth.moment(ALGO_DAY), truth.moment(ALGO_DAY) + truth.DAY)
    odd = blanked(mt.metrics(market, "AVAXUSDT", AVAX_DAY, AVAX_DAY))
    mt.put(market, "AVAXUSDT", AVAX_DAY, mt.text("AVAXUSDT", odd, mt.FIVE))
    write_universe(folder, RECORDED, *WINDOW, {"AVAXUSDT": [DAYS[0]]})
    with ReplayExchange(market) as exchange:
        workspace = Workspace(folder, addresses(exchange))
        assert workspace.download(WITH_METRICS).code == 0
        assert workspace.download(interval="1m").code == 0
    yield workspace, market


def active(day: str) -> list[str]:
    return [symbol for symbol in RECORDED if (symbol, day) != ("AVAXUSDT", DAYS[0])]


def rows_of(market: Market, symbol: str, day: str) -> list[mt.Row]:
    """What the source really held."""
    holes = {"LINKUSDT": [HOLE], "ALGOUSDT": [(truth.moment(ALGO_DAY), truth.moment(ALGO_DAY) + truth.DAY)]}.get(symbol, [])
    rows = mt.metrics(market, symbol, day, day, holes)
    return blanked(rows) if (symbol, day) == ("AVAXUSDT", AVAX_DAY) else rows


def last_known(rows: Iterable[mt.Row], width: int) -> list[mt.Row]:
    """The last value that is not blank of each column, by bucket."""
    buckets: dict[int, list[Any]] = {}
    for at, *values in rows:
        bucket = buckets.setdefault(at // width * width, [None] * len(values))
        for column, value in enumerate(values):
            if value is not None:
                bucket[column] = value
    return [(at, *values) for at, values in sorted(buckets.items())]


def csv_text(columns: Iterable[str], parts: dict[str, list[mt.Row]]) -> str:
    """A CSV file as docs/formats.md describes it."""
    lines = [",".join(columns)]
    for symbol in sorted(parts):
        lines += [",".join([symbol, *("" if value is None else str(value) for value in row)]) for row in parts[symbol]]
    return "\n".join(lines) + "\n"


def files_below(folder: Path, dataset: str) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in sorted((folder / dataset).rglob("*.csv"))}


def expected_metrics(market: Market, freq: str) -> dict[str, str]:
    width = truth.INTERVALS[freq] * truth.MINUTE
    wanted = {}
    for day in DAYS:
        parts = {symbol: last_known(rows_of(market, symbol, day), width) for symbol in active(day)}
        wanted[f"metrics/freq={freq}/date={day}/metrics.csv"] = csv_text(mt.COLUMNS, parts)
    return wanted


def expected_funding(market: Market) -> dict[str, str]:
    return {
        f"funding_rates/date={day}/funding_rates.csv": csv_text(
            mt.FUNDING_COLUMNS, {symbol: mt.funding(market, symbol, day, day) for symbol in active(day)}
        )
        for day in DAYS
    }


@pytest.mark.parametrize(("target", "freq"), [("5m", "5m"), ("15m", "15m"), ("1h", "1h"), ("4h", "4h"), ("1d", "1d")])
def test_csv_files_hold_the_last_known_values(stored: tuple[Workspace, Market], tmp_path: Path, target: str, freq: str) -> None:
    workspace, market = stored
    outcome = workspace.export(target=target, folder=str(tmp_path))
    assert outcome.code == 0, outcome
    assert files_below(tmp_path, "metrics") == expected_metrics(market, freq)
    assert files_below(tmp_path, "funding_rates") == expected_funding(market)
    assert len(files_below(tmp_path, "klines")) == 4
    report = outcome.report
    assert report["files"] == 12
    counted = {dataset: report["rows"][dataset] for dataset in ("metrics", "funding_rates")}
    lines = {name: sum(text.count("\n") - 1 for text in files_below(tmp_path, name).values()) for name in counted}
    assert counted == lines


def test_finer_than_five_minutes_there_are_no_metrics(stored: tuple[Workspace, Market], tmp_path: Path) -> None:
    workspace, market = stored
    for target in ("1m", "3m"):
        outcome = workspace.export(source="1m", target=target, folder=str(tmp_path / target))
        assert outcome.code == 0, outcome
        assert files_below(tmp_path / target, "metrics") == expected_metrics(market, "5m")
        assert set(files_below(tmp_path / target, "klines")) == {f"klines/freq={target}/date={day}/klines.csv" for day in DAYS}
        [report] = (tmp_path / target).glob("coverage_*.json")
        assert report.name == f"coverage_{target}_2026-02-09_2026-02-12.json"
        assert json.loads(report.read_text())["datasets"]["metrics"]["expected_bars"] == 11 * 288


def test_no_metrics_and_no_klines(stored: tuple[Workspace, Market], tmp_path: Path) -> None:
    workspace, market = stored
    both, klines, metrics = (tmp_path / name for name in ("both", "klines", "metrics"))
    assert workspace.export(folder=str(both)).code == 0
    assert workspace.export("--no-metrics", folder=str(klines)).code == 0
    assert workspace.export("--no-klines", folder=str(metrics)).code == 0
    beside = {"coverage_5m_2026-02-09_2026-02-12.json", "datapackage_5m_2026-02-09_2026-02-12.json"}
    assert {path.name for path in klines.iterdir()} == {"klines", *beside}
    assert {path.name for path in metrics.iterdir()} == {"metrics", "funding_rates", *beside}
    alone = {name: body for part in (klines, metrics) for name, body in contents(part).items() if name.endswith(".csv")}
    assert alone == {name: body for name, body in contents(both).items() if name.endswith(".csv")}
    assert files_below(metrics, "metrics") == expected_metrics(market, "5m")
    refused = workspace.export("--no-klines", "--no-metrics")
    assert (refused.code, refused.stdout) == (2, "")


def coverage(outcome: Any) -> dict[str, Any]:
    record = json.loads(Path(outcome.report["report_path"]).read_text("utf-8"))
    assert isinstance(record, dict)
    return record


def test_the_report_knows_the_place_of_each_dataset(stored: tuple[Workspace, Market], tmp_path: Path) -> None:
    workspace, market = stored
    report = coverage(workspace.export(folder=str(tmp_path)))
    gap = (HOLE[1] - HOLE[0]) // mt.FIVE
    assert report["export_missing"] == {
        "2026-02-10": {"LINKUSDT": {"metrics": {"expected": 288, "actual": 288 - gap, "reason": "confirmed_gap"}}},
        ALGO_DAY: {"ALGOUSDT": {"metrics": {"expected": 288, "actual": 0, "reason": "confirmed_gap"}}},
    }
    assert report["merged_missing"] == {DAYS[0]: {"AVAXUSDT": "no_kline_on_date"}}, "ALGO has its klines"
    keys = ("active_symbol_days", "complete", "partial", "missing", "expected_bars", "exported_bars")
    totals = {name: [entry[key] for key in keys] for name, entry in report["datasets"].items()}
    rates = sum(len(mt.funding(market, symbol, day, day)) for day in DAYS for symbol in active(day))
    assert totals == {
        "klines": [11, 11, 0, 0, 11 * 288, 11 * 288],
        "metrics": [11, 9, 1, 1, 11 * 288, 10 * 288 - gap],
        "funding_rates": [11, 11, 0, 0, rates, rates],
    }
    assert report["summary"] == report["datasets"]["klines"]
    hourly = coverage(workspace.export(target="1h", folder=str(tmp_path / "hourly")))
    # 03:10 to 04:30: both hours are there, from fewer rows.
    assert hourly["export_missing"]["2026-02-10"]["LINKUSDT"]["metrics"] == {
        "expected": 24, "actual": 24, "reason": "confirmed_gap", "partial_bars": 2,
    }  # fmt: skip
    assert hourly["datasets"]["metrics"]["partial_bars"] == 2
    alone = coverage(workspace.export("--no-klines", folder=str(tmp_path / "alone")))
    assert set(alone["datasets"]) == {"metrics", "funding_rates"}
    assert alone["summary"] == alone["datasets"]["metrics"] == report["datasets"]["metrics"]
    assert [day["missing"] for day in alone["days"]] == [0, 0, 1, 0]
    assert alone["merged_missing"] == {DAYS[0]: {"AVAXUSDT": "no_kline_on_date"}, ALGO_DAY: {"ALGOUSDT": "missing_in_export"}}


@pytest.mark.slow
def test_datasets_are_judged_only_when_they_are_known(workspace: Workspace) -> None:
    exports = workspace.folder / "exports"
    write_universe(workspace.folder, ["LINKUSDT"], *WINDOW)
    assert workspace.download().code == 0
    report = coverage(workspace.export(folder=str(exports)))
    assert set(report["datasets"]) == {"klines"}
    assert (report["export_missing"], report["merged_missing"]) == ({}, {})
    assert {path.name for path in exports.iterdir() if path.is_dir()} == {"klines"}
    outcome = workspace.export("--no-klines", folder="none")
    assert outcome.code == 2
    assert WITH_METRICS in outcome.stderr

    assert workspace.download(WITH_METRICS, "--end-date", "2026-02-10").code == 0
    report = coverage(workspace.export(folder=str(exports)))
    assert set(report["datasets"]) == {"klines", "metrics", "funding_rates"}
    lost = {"expected": 288, "actual": 0, "reason": "not_downloaded"}
    assert {day: entry["LINKUSDT"]["metrics"] for day, entry in report["export_missing"].items()} == dict.fromkeys(DAYS[2:], lost)
    later = coverage(workspace.export("--start-date", "2026-02-11", folder=str(exports)))
    assert set(later["datasets"]) == {"klines"}, "the ledger knows no metrics of these days"


def test_a_second_export_is_the_same_and_a_stale_file_goes(workspace: Workspace, market: Market) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], "2026-02-09", "2026-02-10")
    assert workspace.download(WITH_METRICS).code == 0
    assert workspace.export().code == 0
    before = {name: body for name, body in contents(workspace.folder / "exports").items() if name.endswith(".csv")}
    assert len(before) == 6
    assert workspace.export("--start-date", "2026-02-10").code == 0
    assert {name: body for name, body in contents(workspace.folder / "exports").items() if name.endswith(".csv")} == before
    write_universe(workspace.folder, ["LINKUSDT"], "2026-02-09", "2026-02-10", {"LINKUSDT": ["2026-02-10"]})
    assert workspace.export().code == 0
    left = {name for name, body in contents(workspace.folder / "exports").items() if name.endswith(".csv")}
    assert left == {name for name in before if "date=2026-02-09" in name}


def seconds(at: int) -> int:
    return at // 1000


CLOCKS = {"labels at bar end": (mt.FIVE, "labels_end_bars"), "labels at bar start": (0, "labels_start_bars")}


@pytest.mark.parametrize("name", CLOCKS)
def test_the_join_with_klines_never_shows_the_future(workspace: Workspace, market: Market, name: str) -> None:
    """A metric that says when it was known: open interest and ratios carry the second of their snapshot."""
    shift, word = CLOCKS[name]
    symbol, day = "CLOCKUSDT", "2026-05-04"
    market.add_symbol(symbol, date(2026, 5, 1))
    klines = {row[0]: row for row in market.kline_rows(symbol, "5m", truth.moment(day), truth.moment(day) + truth.DAY)}
    takers: dict[int, float] = {}
    lines = [mt.HEADER]
    for start in range(truth.moment(day), truth.moment(day) + truth.DAY, mt.FIVE):
        clock, close = seconds(start + mt.FIVE), Decimal(klines[start][4])
        taker = takers[start] = float(
            round(Decimal(klines[start][9]) / (Decimal(klines[start][5]) - Decimal(klines[start][9])), 8)
        )
        lines.append(mt.line(symbol, start + shift, [clock, clock * close, clock, clock, clock, taker]))
    mt.put(market, symbol, day, "\n".join(lines) + "\n")
    write_universe(workspace.folder, [symbol], day, day)
    assert workspace.download(WITH_METRICS).code == 0
    for freq in ("5m", "1h"):
        width = truth.INTERVALS[freq] * truth.MINUTE
        assert workspace.export(target=freq).code == 0
        read = {}
        for dataset in ("klines", "metrics"):
            path = workspace.folder / "exports" / dataset / f"freq={freq}" / f"date={day}" / f"{dataset}.csv"
            read[dataset] = {(row["symbol"], int(row["open_time"])): row for row in csv.DictReader(path.read_text().splitlines())}
        assert read["klines"].keys() == read["metrics"].keys()
        assert len(read["klines"]) == truth.DAY // width
        for (_, open_time), row in read["metrics"].items():
            close_time = open_time + width
            known = {float(row[name]) for name in mt.COLUMNS[2:7] if name != "open_interest_value"}
            assert known == {seconds(close_time)}, "the snapshot at the bar's close, not one bar later"
            assert float(row["taker_volume_ratio"]) == takers[close_time - mt.FIVE], "the flow that ends at the bar's close"
    reason = query(workspace.folder / "market.db", "SELECT reason FROM symbol_days WHERE dataset = 'metrics'")
    assert reason == [(word,)]
