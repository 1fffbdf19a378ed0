"""universe download, as a user runs it: where rows come from, what is stored, and what happens when sources fail."""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import RECORDED, Outcome, Workspace
from tests.e2e.steps import (
    addresses,
    asked,
    assert_ledger_agrees,
    assert_stored,
    contents,
    dump,
    klines,
    ledger,
    objects,
    query,
    write_universe,
)  # fmt: skip
from tests.exchange import Fault, Market, ReplayExchange

REPORT_KEYS = {
    "status", "window", "interval", "wanted_symbol_days", "already_complete", "downloaded", "confirmed_gaps", "failed", "rows",
    "requests", "retries", "waited_seconds", "elapsed_seconds",
}  # fmt: skip
MONTH_OBJECTS = [f"{symbol}-5m-2026-02" for symbol in RECORDED]
FIRST_HOURS = (truth.moment("2026-02-10T03:00"), truth.moment("2026-02-10T04:30"))
WHOLE_DAY = (truth.moment("2026-02-10"), truth.moment("2026-02-11"))
AROUND = {"first": "2026-02-09", "last": "2026-02-11"}
KEY = "data/futures/um/{}/klines/LINKUSDT/5m/LINKUSDT-5m-{}.zip"


def link(workspace: Workspace) -> Workspace:
    """The workspace with a universe of LINKUSDT on three days in the middle of the month."""
    write_universe(workspace.folder, ["LINKUSDT"], **AROUND)
    return workspace


@pytest.fixture
def three_days(workspace: Workspace) -> Workspace:
    """LINKUSDT on 9, 10 and 11 February."""
    return link(workspace)


def assert_settled(workspace: Workspace, exchange: ReplayExchange) -> None:
    """A second run asks nobody, says so and changes nothing."""
    exchange.reset_requests()
    before, files = dump(workspace.folder / "market.db"), contents(workspace.folder).keys()
    outcome = workspace.download()
    assert (outcome.code, outcome.report["status"], outcome.report["requests"]) == (0, "complete", {})
    assert outcome.report["already_complete"] == outcome.report["wanted_symbol_days"]
    assert (outcome.report["downloaded"], outcome.report["failed"], exchange.requests) == (0, [], [])
    assert "no data is requested" in outcome.stderr
    assert (dump(workspace.folder / "market.db"), contents(workspace.folder).keys()) == (before, files)


def test_a_closed_month_costs_two_requests_a_symbol(workspace: Workspace, exchange: ReplayExchange) -> None:
    path = write_universe(workspace.folder)
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    outcome = workspace.download()
    assert outcome.code == 0, outcome
    assert outcome.stdout.count("\n") == 1
    report = outcome.report
    assert set(report) >= REPORT_KEYS
    assert (report["status"], report["interval"], report["failed"]) == ("complete", "5m", [])
    assert report["window"] == {"start_date": truth.FIRST, "end_date": truth.LAST}
    counts = [report[key] for key in ("wanted_symbol_days", "already_complete", "downloaded", "confirmed_gaps")]
    assert counts == [84, 0, 84, 0]
    assert report["rows"] == {"klines": 84 * 288, "metrics": 0, "funding_rates": 0}
    assert sum(report["requests"].values()) == 6
    assert objects(exchange) == MONTH_OBJECTS
    assert len(asked(exchange, ".CHECKSUM")) == 3
    assert len(exchange.requests) == 6

    database = workspace.folder / "market.db"
    for symbol in RECORDED:
        assert_stored(workspace, symbol)
    assert_ledger_agrees(database)
    lines = ledger(database)
    assert sorted(lines) == [(symbol, day) for symbol in RECORDED for day in truth.days()]
    assert {line[:4] for line in lines.values()} == {("complete", None, 288, 288)}
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, stamp)
    assert contents(workspace.folder).keys() == {"universe.json", "market.db", "market.db.lock"}, "one file, no journal"
    assert_settled(workspace, exchange)


def test_every_archive_object_is_on_record(three_days: Workspace, market: Market) -> None:
    market.drop_klines("LINKUSDT", *WHOLE_DAY, sources=("monthly",))
    assert three_days.download().code == 0
    database = three_days.folder / "market.db"
    named = query(database, "SELECT d.date, o.name, o.sha256, o.last_modified, o.fetched_at FROM symbol_days d "
                            "JOIN source_objects o ON o.id = d.object_id ORDER BY d.date")  # fmt: skip
    month, day = KEY.format("monthly", "2026-02"), KEY.format("daily", "2026-02-10")
    assert [(date_, name) for date_, name, *_ in named] == [("2026-02-09", month), ("2026-02-10", day), ("2026-02-11", month)]
    for _, name, sha256, last_modified, fetched_at in named:
        assert len(sha256) == 64, name
        assert last_modified.endswith(" GMT")
        assert fetched_at[:2] == "20"
    sources = query(database, "SELECT source FROM symbol_days ORDER BY date")
    assert sources == [("monthly",), ("daily",), ("monthly",)]


def days_of(interval: str) -> dict[str, str]:
    """The finest interval is fetched whole, the others a day each: another day for each interval."""
    day = f"2026-02-{5 + list(truth.INTERVALS).index(interval):02d}"
    return {"first": truth.FIRST, "last": truth.LAST} if interval == "1m" else {"first": day, "last": day}


@pytest.fixture(scope="module")
def all_intervals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Workspace, Outcome]]:
    """Every interval in a database of its own, two at a time."""
    base = tmp_path_factory.mktemp("intervals")
    with ReplayExchange(Market.recorded()) as exchange, ThreadPoolExecutor(2) as pool:

        def fetch(interval: str) -> tuple[Workspace, Outcome]:
            workspace = Workspace(base / interval, addresses(exchange))
            workspace.folder.mkdir()
            write_universe(workspace.folder)
            days = days_of(interval)
            return workspace, workspace.download("--start-date", days["first"], "--end-date", days["last"], interval=interval)

        return dict(zip(truth.INTERVALS, pool.map(fetch, truth.INTERVALS), strict=True))


@pytest.mark.parametrize("interval", truth.INTERVALS)
def test_every_interval_equals_the_recordings(all_intervals: dict[str, tuple[Workspace, Outcome]], interval: str) -> None:
    workspace, outcome = all_intervals[interval]
    assert outcome.code == 0, outcome
    for symbol in RECORDED:
        assert_stored(workspace, symbol, interval, **days_of(interval))
    assert_ledger_agrees(workspace.folder / "market.db", interval)


def test_the_default_interval_is_one_minute(three_days: Workspace) -> None:
    command = ("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db")
    outcome = three_days.run(*command, "--start-date", "2026-02-11")
    assert outcome.report["interval"] == "1m"
    assert_stored(three_days, "LINKUSDT", "1m", first="2026-02-11", last="2026-02-11")


def test_a_window_and_then_the_rest(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder)
    outcome = workspace.download("--start-date", "2026-02-10", "--end-date", "2026-02-12")
    assert (outcome.code, outcome.report["wanted_symbol_days"]) == (0, 9)
    assert outcome.report["window"] == {"start_date": "2026-02-10", "end_date": "2026-02-12"}
    assert objects(exchange) == MONTH_OBJECTS
    for symbol in RECORDED:
        assert_stored(workspace, symbol, first="2026-02-10", last="2026-02-12")
    outcome = workspace.download("--start-date", "2026-02-12")
    assert (outcome.report["wanted_symbol_days"], outcome.report["already_complete"]) == (51, 3)
    for symbol in RECORDED:
        assert_stored(workspace, symbol, first="2026-02-10")


def test_a_single_day_costs_its_daily_object(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder, ["AVAXUSDT"])
    assert workspace.download("--start-date", "2026-02-28").code == 0
    assert objects(exchange) == ["AVAXUSDT-5m-2026-02-28"]
    assert_stored(workspace, "AVAXUSDT", first="2026-02-28")


def test_no_incremental_fetches_again_and_changes_no_row(three_days: Workspace, exchange: ReplayExchange) -> None:
    assert three_days.download().code == 0
    exchange.reset_requests()
    outcome = three_days.download("--no-incremental")
    report = outcome.report
    assert (outcome.code, report["already_complete"], report["downloaded"]) == (0, 0, 3)
    assert objects(exchange) == ["LINKUSDT-5m-2026-02"]
    assert_stored(three_days, "LINKUSDT", **AROUND)


def test_a_refetch_never_replaces_rows_by_fewer(three_days: Workspace, exchange: ReplayExchange, market: Market) -> None:
    assert three_days.download().code == 0
    market.drop_klines("LINKUSDT", *FIRST_HOURS)
    outcome = three_days.download("--no-incremental")
    assert (outcome.code, outcome.report["failed"]) == (0, []), "both sources answered, and what is stored has all rows"
    assert_stored(three_days, "LINKUSDT", **AROUND)
    assert_settled(three_days, exchange)


@pytest.mark.parametrize(("source", "host"), [("vision", "vision"), ("api", "api"), ("auto", "vision")])
def test_the_source_can_be_chosen(three_days: Workspace, exchange: ReplayExchange, source: str, host: str) -> None:
    assert three_days.download("--kline-source", source).code == 0
    assert {request.host for request in exchange.requests} == {host}
    assert len(exchange.requests) == 2, "a month and its checksum, or 864 bars in pages of 499"
    assert_stored(three_days, "LINKUSDT", **AROUND)


def cut_month(market: Market) -> None:
    market.drop_klines("LINKUSDT", *WHOLE_DAY, sources=("monthly",))


def cut_hours(market: Market) -> None:
    market.drop_klines("LINKUSDT", *FIRST_HOURS, sources=("monthly",))


def cut_archive(market: Market) -> None:
    market.drop_klines("LINKUSDT", *WHOLE_DAY, sources=("monthly", "daily"))


def cut_archive_hours(market: Market) -> None:
    market.drop_klines("LINKUSDT", *FIRST_HOURS, sources=("monthly", "daily"))


def cut_apart(market: Market) -> None:
    middle = sum(FIRST_HOURS) // 2
    market.drop_klines("LINKUSDT", FIRST_HOURS[0], middle, sources=("monthly", "daily"))
    market.drop_klines("LINKUSDT", middle, FIRST_HOURS[1], sources=("rest",))


def no_months(market: Market) -> None:
    market.without_objects(lambda key: "/monthly/" in key)


def no_archive(market: Market) -> None:
    market.without_objects(lambda key: True)


def nothing_published(market: Market) -> None:
    market.archive_until = date(2026, 1, 31)


def bad_rows(market: Market) -> None:
    market.replace_object(KEY.format("monthly", "2026-02"), zipped("LINKUSDT-5m-2026-02.csv", "1770595200000,9,8,7,6\n"))
    market.replace_object(KEY.format("daily", "2026-02-10"), b"no zip at all")


def zipped(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


DAILIES = [f"LINKUSDT-5m-2026-02-{day:02d}" for day in (9, 10, 11)]
MONTH = "LINKUSDT-5m-2026-02"
# What is wrong with the sources, the objects that are asked for, the REST requests, and the sources that the ledger names.
WAYS = {
    "no monthly object": (no_months, [MONTH, *DAILIES], 0, "daily daily daily"),
    "a month that lacks a day": (cut_month, [MONTH, DAILIES[1]], 0, "monthly daily monthly"),
    "a month that lacks hours": (cut_hours, [MONTH, DAILIES[1]], 0, "monthly daily monthly"),
    "an archive that lacks a day": (cut_archive, [MONTH, DAILIES[1]], 1, "monthly rest monthly"),
    "an archive that lacks hours": (cut_archive_hours, [MONTH, DAILIES[1]], 1, "monthly rest monthly"),
    "holes in different places": (cut_apart, [MONTH, DAILIES[1]], 1, None),
    "no archive at all": (no_archive, [MONTH, *DAILIES], 2, "rest rest rest"),
    "nothing published yet": (nothing_published, [MONTH, *DAILIES], 2, "rest rest rest"),
    "objects with bad content": (bad_rows, [MONTH, *DAILIES], 1, "daily rest daily"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_the_whole_truth(three_days: Workspace, exchange: ReplayExchange, market: Market, way: str) -> None:
    spoil, expected_objects, pages, sources = WAYS[way]
    spoil(market)
    outcome = three_days.download()
    assert (outcome.code, outcome.report["downloaded"]) == (0, 3), outcome
    assert objects(exchange) == expected_objects
    assert len(asked(exchange, "/fapi/v1/klines")) == pages
    assert_stored(three_days, "LINKUSDT", **AROUND)
    lines = ledger(three_days.folder / "market.db")
    assert {line.status for line in lines.values()} == {"complete"}
    if sources is not None:
        assert " ".join(str(lines["LINKUSDT", day].source) for day in truth.days(**AROUND)) == sources
    assert_ledger_agrees(three_days.folder / "market.db")


def test_files_without_a_header_are_read(three_days: Workspace, market: Market) -> None:
    market.headerless = True
    assert three_days.download().code == 0
    assert_stored(three_days, "LINKUSDT", **AROUND)


@pytest.mark.parametrize("hole", [FIRST_HOURS, WHOLE_DAY], ids=["hours", "whole day"])
def test_a_hole_that_both_sources_show_is_a_confirmed_gap(
    three_days: Workspace, exchange: ReplayExchange, market: Market, hole: tuple[int, int]
) -> None:
    market.drop_klines("LINKUSDT", *hole)
    outcome = three_days.download()
    report = outcome.report
    assert (outcome.code, report["status"], report["downloaded"], report["confirmed_gaps"]) == (0, "complete", 2, 1)
    assert_stored(three_days, "LINKUSDT", **AROUND, holes=[hole])
    line = ledger(three_days.folder / "market.db")["LINKUSDT", "2026-02-10"]
    assert (line.status, line.rows) == ("confirmed_gap", 288 - (hole[1] - hole[0]) // (5 * truth.MINUTE))
    assert_ledger_agrees(three_days.folder / "market.db")
    assert_settled(three_days, exchange)


def test_a_checksum_that_is_wrong_once_is_fetched_again(three_days: Workspace, exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.wrong_checksum())
    assert three_days.download().code == 0
    assert objects(exchange) == [MONTH, MONTH]
    assert len(asked(exchange, ".CHECKSUM")) == 2
    assert_stored(three_days, "LINKUSDT", **AROUND)


@pytest.mark.parametrize("path", ["/monthly/", "/klines/"])
@pytest.mark.parametrize("fault", ["checksum", "body"])
def test_what_cannot_be_verified_is_never_stored(three_days: Workspace, exchange: ReplayExchange, path: str, fault: str) -> None:
    if fault == "checksum":
        exchange.faults.add(Fault.wrong_checksum(when=lambda request: path in request.path, times=None))
    else:
        exchange.faults.add(
            Fault.corrupt(when=lambda request: path in request.path and request.path.endswith(".zip"), times=None)
        )
    assert three_days.download().code == 0
    assert objects(exchange) == ([MONTH, MONTH, *DAILIES] if path == "/monthly/" else sorted([MONTH, *DAILIES] * 2))
    assert len(asked(exchange, "/fapi/")) == (0 if path == "/monthly/" else 2)
    assert_stored(three_days, "LINKUSDT", **AROUND)


def test_an_archive_alone_that_cannot_be_verified_ends_as_a_gap_that_says_so(
    three_days: Workspace, exchange: ReplayExchange
) -> None:
    database = three_days.folder / "market.db"
    exchange.faults.add(Fault.wrong_checksum(times=None))
    outcome = three_days.download("--kline-source", "vision")
    assert (outcome.code, outcome.report["confirmed_gaps"]) == (0, 3)
    assert {line.status for line in ledger(database).values()} == {"confirmed_gap"}
    assert all("distrusted daily: checksum" in (line.reason or "") for line in ledger(database).values())
    assert klines(database, "LINKUSDT") == []
    exchange.faults.clear()
    assert three_days.download("--retry-gaps").code == 0
    assert_stored(three_days, "LINKUSDT", **AROUND)


def test_young_days_come_from_the_api(tmp_path: Path) -> None:
    now = truth.moment("2026-02-11T12:00")
    with ReplayExchange(Market.recorded(), now=lambda: now) as exchange:
        workspace = Workspace(tmp_path, addresses(exchange))
        write_universe(tmp_path, ["LINKUSDT"], "2026-02-07", "2026-02-10")
        assert workspace.download(at="2026-02-11T12:00:00+00:00").code == 0
        assert objects(exchange) == [f"LINKUSDT-5m-2026-02-{day:02d}" for day in (7, 8, 9)], "the month is not over"
        assert len(asked(exchange, "/fapi/v1/klines")) == 1
        assert_stored(workspace, "LINKUSDT", first="2026-02-07", last="2026-02-10")


def test_a_young_hole_stays_open_until_the_archive_has_had_its_time(tmp_path: Path) -> None:
    market = Market.recorded()
    market.drop_klines("LINKUSDT", *FIRST_HOURS)
    market.archive_until = date(2026, 2, 9)
    now = [truth.moment("2026-02-13T12:00")]
    with ReplayExchange(market, now=lambda: now[0]) as exchange:
        workspace = link(Workspace(tmp_path, addresses(exchange)))
        outcome = workspace.download(at="2026-02-13T12:00:00+00:00")
        assert (outcome.code, [entry["date"] for entry in outcome.report["failed"]]) == (3, ["2026-02-10"])
        assert_stored(workspace, "LINKUSDT", **AROUND, holes=[FIRST_HOURS])
        now[0] = truth.moment("2026-02-18T12:00")
        outcome = workspace.download(at="2026-02-18T12:00:00+00:00")
        assert (outcome.code, outcome.report["already_complete"], outcome.report["confirmed_gaps"]) == (0, 2, 1)
