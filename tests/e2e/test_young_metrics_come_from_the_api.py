"""Metrics over REST where the archive has none yet, and funding rates: REST, and the archive where REST refuses."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import metrics_truth as mt
from tests.e2e import truth
from tests.e2e.conftest import RECORDED, Workspace
from tests.e2e.steps import addresses, assert_stored, query, write_universe
from tests.exchange import Fault, Market, ReplayExchange

WITH_METRICS = "--download-market-metrics"
NO_RETRY = ("--max-retries", "0")
ENDPOINTS = {
    "openInterestHist": mt.FIVE,
    "topLongShortAccountRatio": mt.FIVE,
    "topLongShortPositionRatio": mt.FIVE,
    "globalLongShortAccountRatio": mt.FIVE,
    "takerlongshortRatio": 0,
}
RECORDINGS = Path(__file__).resolve().parent.parent / "recordings" / "funding_rates"


class Scene:
    """An exchange and a command that both believe in one time."""

    def __init__(self, folder: Path, exchange: ReplayExchange, moment: list[str]) -> None:
        self.workspace = Workspace(folder, addresses(exchange))
        self.exchange = exchange
        self.database = folder / "market.db"
        self._moment = moment

    def goes_on_at(self, moment: str) -> None:
        """Time passes."""
        self._moment[0] = moment
        self.exchange.reset_requests()

    def download(self, *arguments: str) -> Any:
        """`download --download-market-metrics` at that time."""
        return self.workspace.download(WITH_METRICS, *NO_RETRY, *arguments, at=self._moment[0] + ":00+00:00")

    def data_requests(self) -> list[Any]:
        """Requests of /futures/data."""
        return [request for request in self.exchange.requests if request.path.startswith("/futures/data/")]

    def reasons(self, dataset: str, day: str) -> mt.Line:
        """The only ledger line of a day."""
        [line] = [line for (_, of), line in mt.ledger(self.database, dataset).items() if of == day]
        return line


@contextmanager
def scene(folder: Path, market: Market, moment: str) -> Iterator[Scene]:
    """A running exchange at a time such as `2026-03-01T06:00`."""
    now = [moment]
    with ReplayExchange(market, now=lambda: truth.moment(now[0])) as exchange:
        yield Scene(folder, exchange, now)


def nothing(market: Market) -> None:
    market.archive_until = date(2026, 1, 31)


def some(market: Market) -> None:
    market.archive_until = date(2026, 2, 24)
    market.without_objects(lambda key: mt.is_metrics(key) and key.endswith(("-05.zip", "-06.zip", "-20.zip")))


# What is not published, REST requests of metrics, archive objects that are there, and the day to look at with its source.
PUBLISHED = {"nothing": (nothing, 3 * 5 * 17, 0), "some": (some, 3 * 5 * (2 + 1 + 3), 3 * 21)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_month_from_rest_is_the_same_as_from_the_archive(tmp_path: Path, market: Market, name: str) -> None:
    withhold, pages, objects = PUBLISHED[name]
    withhold(market)
    write_universe(tmp_path)
    with scene(tmp_path, market, "2026-03-01T06:00") as at:
        outcome = at.download()
        assert (outcome.code, outcome.report["status"], outcome.report["downloaded"]) == (0, "complete", 252), outcome
        for symbol in RECORDED:
            assert_stored(at.workspace, symbol)
            mt.assert_holds(at.database, market, symbol, truth.FIRST, truth.LAST)
        mt.assert_ledgers_agree(at.database)
        assert len(at.data_requests()) == pages
        found = mt.count(
            at.exchange, lambda request: mt.is_metrics(request.path) and request.path.endswith(".zip") and request.status == 200
        )
        assert found == objects
        assert mt.count(at.exchange, lambda request: "fundingRate" in request.path) == 3
        for request in at.data_requests():
            assert set(request.params) == {"symbol", "period", "startTime", "endTime", "limit"}
            start, end, limit = (int(request.params[key]) for key in ("startTime", "endTime", "limit"))
            assert (end - start) // mt.FIVE + 1 == limit <= 500
            assert (request.params["period"], request.status) == ("5m", 200)
        asked = {request.path.rsplit("/", 1)[-1] for request in at.data_requests()}
        assert asked == set(ENDPOINTS)
        sources = query(at.database, "SELECT source, count(*) FROM symbol_days WHERE dataset = 'metrics' GROUP BY 1 ORDER BY 1")
        assert dict(sources) == {key: count for key, count in (("daily", objects), ("rest", 84 - objects)) if count}
        at.exchange.reset_requests()
        assert at.download().code == 0
        assert at.exchange.requests == []


def test_only_young_days_that_the_archive_lacks_are_asked_for(tmp_path: Path, market: Market) -> None:
    """Thirty days back is the edge of what REST serves: nobody asks it for a day that starts there."""
    market.add_symbol("LONGUSDT", date(2026, 1, 1))
    absent = ["2026-01-28", "2026-01-29", "2026-01-30", "2026-01-31", "2026-02-26"]
    market.without_objects({mt.key("LONGUSDT", day) for day in absent})
    write_universe(tmp_path, ["LONGUSDT"], "2026-01-27", "2026-02-28")
    with scene(tmp_path, market, "2026-03-01T12:00") as at:
        outcome = at.download()
        assert outcome.code == 0, outcome
        days = {int(request.params["startTime"]) // truth.DAY for request in at.data_requests()}
        assert days == {truth.moment(day) // truth.DAY for day in absent[3:]}
        assert len(at.data_requests()) == 10
        holes = [(truth.moment("2026-01-28"), truth.moment("2026-01-31"))]
        rows = mt.metrics(market, "LONGUSDT", "2026-01-27", "2026-02-28", holes)
        assert mt.stored_metrics(at.database, "LONGUSDT") == rows
        for day in absent[:3]:
            assert at.reasons("metrics", day)[:3] == ("confirmed_gap", "archive_alone", 0)
        for day in absent[3:]:
            assert at.reasons("metrics", day) == mt.Line("complete", None, 288, 288, "rest")


def test_yesterday_comes_from_rest_where_its_object_is_not_there_yet(tmp_path: Path, market: Market) -> None:
    """The object is asked for first, at any hour; one 404 says that it is not there."""
    write_universe(tmp_path, ["LINKUSDT"], "2026-02-27", "2026-02-28")
    market.archive_until = date(2026, 2, 27)
    with scene(tmp_path, market, "2026-03-01T06:00") as at:
        assert at.download().code == 0
        assert mt.count(at.exchange, lambda request: mt.key("LINKUSDT", "2026-02-28") in request.path) == 1
        assert len(at.data_requests()) == 5
        for endpoint, shift in ENDPOINTS.items():
            [request] = [request for request in at.data_requests() if request.path.endswith("/" + endpoint)]
            start = truth.moment("2026-02-28") + shift
            last = start + truth.DAY - mt.FIVE
            assert (int(request.params["startTime"]), int(request.params["endTime"])) == (start, last)
        mt.assert_holds(at.database, market, "LINKUSDT", "2026-02-27", "2026-02-28")


def test_yesterday_comes_from_the_archive_as_soon_as_its_object_is_there(tmp_path: Path, market: Market) -> None:
    """Long before the usual hour of publication. REST is not asked; today's object, which cannot be there, is not either."""
    write_universe(tmp_path, ["LINKUSDT"], "2026-02-27", "2026-02-28")
    with scene(tmp_path, market, "2026-03-01T03:00") as at:
        assert at.download().code == 0
        assert at.data_requests() == []
        mt.assert_holds(at.database, market, "LINKUSDT", "2026-02-27", "2026-02-28")
        assert at.reasons("metrics", "2026-02-28") == mt.Line("complete", "labels_end_bars", 288, 288, "daily")


def test_the_last_bar_of_yesterday_is_on_rest_alone(tmp_path: Path, market: Market) -> None:
    """Under end labels from 00:00 it will stand in today's object, which is published tomorrow."""
    market.metrics_convention = "end"
    write_universe(tmp_path, ["LINKUSDT"], "2026-02-27", "2026-02-28")
    with scene(tmp_path, market, "2026-03-01T12:00") as at:
        assert at.download().code == 0
        mt.assert_holds(at.database, market, "LINKUSDT", "2026-02-27", "2026-02-28")
        assert len(at.data_requests()) == 5
        asked = {request.path.rsplit("-metrics-", 1)[-1] for request in at.exchange.requests if mt.is_metrics(request.path)}
        assert asked == {f"2026-02-{day}.zip{ending}" for day in (27, 28) for ending in ("", ".CHECKSUM")}
        assert at.reasons("metrics", "2026-02-27") == mt.Line("complete", "labels_end_bars", 288, 288, "daily")
        assert at.reasons("metrics", "2026-02-28") == mt.Line("complete", None, 288, 288, "rest")


@pytest.mark.parametrize("answer", ["-1130", "[]"])
def test_the_end_of_history_is_no_failure(tmp_path: Path, market: Market, answer: str) -> None:
    """Young: it may yet be published. Older than a week: a gap. Nothing is tried twice."""
    days = truth.days("2026-02-20", "2026-02-27")
    market.without_objects({mt.key("LINKUSDT", days[0]), mt.key("LINKUSDT", days[-1])})
    if answer == "[]":
        for day in (days[0], days[-1]):
            market.drop_metrics("LINKUSDT", truth.moment(day), truth.moment(day) + truth.DAY, ("rest",))
    write_universe(tmp_path, ["LINKUSDT"], days[0], days[-1])
    with scene(tmp_path, market, "2026-03-01T12:00") as at:
        if answer == "-1130":
            at.exchange.faults.add(Fault.api_error(-1130, "parameter 'startTime' is invalid.", path="/futures/data/", times=None))
        outcome = at.download("--max-retries", "3")
        assert (outcome.code, outcome.report["retries"]) == (3, 0)
        assert [(entry["dataset"], entry["date"]) for entry in outcome.report["failed"]] == [("metrics", days[-1])]
        assert at.reasons("metrics", days[0])[:3] == ("confirmed_gap", "archive_alone", 0)
        assert at.reasons("metrics", days[-1])[:3] == ("incomplete", "not_published_yet", 0)
        assert len(at.data_requests()) == 10
        assert mt.stored_metrics(at.database, "LINKUSDT") == mt.metrics(market, "LINKUSDT", days[1], days[-2])


def test_a_history_that_ends_within_a_span_ends_for_its_older_days_alone(tmp_path: Path, market: Market) -> None:
    """How far back it goes varies (docs/wire.md, market metrics: 28 to 30 days). Days before that end are worth asking for."""
    days = truth.days("2026-02-01", "2026-02-05")
    edge = truth.moment("2026-02-02T12:00")
    market.without_objects({mt.key("LINKUSDT", day) for day in days})
    write_universe(tmp_path, ["LINKUSDT"], days[0], days[-1])
    with scene(tmp_path, market, "2026-03-01T12:00") as at:

        def too_old(request: Any) -> bool:
            return request.path.startswith("/futures/data/") and int(request.params["startTime"]) < edge

        at.exchange.faults.add(Fault.api_error(-1130, "parameter 'startTime' is invalid.", when=too_old, times=None))
        assert at.download().code == 0
        served = mt.metrics(market, "LINKUSDT", days[2], days[-1])
        assert [row for row in mt.stored_metrics(at.database, "LINKUSDT") if row[0] >= served[0][0]] == served
        assert at.reasons("metrics", days[0]).status == "confirmed_gap"


def drop_points(body: bytes) -> bytes:
    """A response that lacks its points 10 to 19, as seen in the wild."""
    record = json.loads(body)
    return json.dumps(record[:10] + record[20:]).encode()


BLANK_COLUMNS = {"openInterestHist": (1, 2), "takerlongshortRatio": (6,)}


@pytest.mark.parametrize("endpoint", BLANK_COLUMNS)
def test_missing_points_are_null_until_the_archive_has_them(tmp_path: Path, market: Market, endpoint: str) -> None:
    day = "2026-02-28"
    market.archive_until = date(2026, 2, 27)
    write_universe(tmp_path, ["LINKUSDT"], day, day)
    whole = mt.metrics(market, "LINKUSDT", day, day)
    with scene(tmp_path, market, "2026-03-01T12:00") as at:
        at.exchange.faults.add(Fault.rewrite(drop_points, path=endpoint, times=None))
        outcome = at.download()
        assert (outcome.code, outcome.report["rows"]["metrics"]) == (3, 288)
        blank = [
            tuple(None if 10 <= number < 20 and column in BLANK_COLUMNS[endpoint] else value for column, value in enumerate(row))
            for number, row in enumerate(whole)
        ]
        assert mt.stored_metrics(at.database, "LINKUSDT") == blank
        assert at.reasons("metrics", day)[:3] == ("incomplete", "not_published_yet", 288)
        market.archive_until = None
        at.goes_on_at("2026-03-02T12:00")
        assert at.download().code == 0
        assert mt.stored_metrics(at.database, "LINKUSDT") == whole
        filled = at.reasons("metrics", day)
        assert filled == mt.Line("complete", "labels_end_bars", 288, 288, "daily+rest"), (
            "REST's rows stay, their blanks are filled"
        )
        assert at.data_requests() == []


def test_points_that_rest_once_lacked_do_not_keep_a_day_open_for_ever(tmp_path: Path, market: Market) -> None:
    """The archive never publishes the day and REST no longer serves it: nobody will ever know more."""
    day = "2026-02-28"
    market.without_objects(mt.key("LINKUSDT", day))
    write_universe(tmp_path, ["LINKUSDT"], day, day)
    with scene(tmp_path, market, "2026-03-01T12:00") as at:
        at.exchange.faults.add(Fault.rewrite(drop_points, path="openInterestHist", times=None))
        assert at.download().code == 3
        rows = mt.stored_metrics(at.database, "LINKUSDT")
        assert len(rows) == 288
        at.goes_on_at("2026-04-15T12:00")
        assert at.download().code == 0, "no past day stays incomplete for ever"
        assert mt.stored_metrics(at.database, "LINKUSDT") == rows


# -- funding rates --------------------------------------------------------------------------------------------------------


def test_intervals_that_change_make_whole_days(workspace: Workspace, exchange: ReplayExchange) -> None:
    """Recorded: ALICE and ANKR go from 8 hours to 4 and 1 and back. Before their recordings nobody has any."""
    symbols, window = ["ALICEUSDT", "ANKRUSDT"], ("2026-01-24", "2026-03-19")
    expected: dict[tuple[str, str], list[mt.Row]] = {}
    for symbol in symbols:
        for line in csv.DictReader((RECORDINGS / f"history.{symbol}.csv").read_text().splitlines()):
            at = int(line["timestamp"])
            row = (at, float(Decimal(line["funding_rate"])), None, "Regular")
            expected.setdefault((symbol, mt.label(at)[:10]), []).append(row)
    assert {len(rows) for rows in expected.values()} >= {3, 6, 24}, "8, 4 and 1 hours"
    write_universe(workspace.folder, symbols, *window)
    assert workspace.download(WITH_METRICS, *NO_RETRY).code == 0
    database = workspace.folder / "market.db"
    for symbol in symbols:
        rows = [row for day in truth.days(*window) for row in expected.get((symbol, day), [])]
        assert mt.stored_funding(database, symbol) == rows
    lines = mt.ledger(database, "funding_rates")
    assert sorted(lines) == [(symbol, day) for symbol in symbols for day in truth.days(*window)]
    for place, line in lines.items():
        count = len(expected.get(place, ()))
        status, reason = ("complete", None) if count else ("confirmed_gap", "no_funding_in_rest")
        assert line[:4] == (status, reason, count, count), place
    assert mt.count(exchange, lambda request: "fundingRate" in request.path) == 2


def test_special_rates_and_more_than_a_page(workspace: Workspace, exchange: ReplayExchange, market: Market) -> None:
    """Row 1000 and row 1001 are the Regular and the Special rate of one moment."""
    market.add_symbol("HOURUSDT", None)
    start = truth.moment("2026-04-01")
    hours = [{"fundingTime": start + n * mt.HOUR + n % 15, "fundingRate": f"0.000{n:05}"} for n in range(61 * 24)]
    hours[5]["markPrice"] = "123.45600000"
    twice = [{**hours[n], "fundingRate": "-0.01", "rateType": "Special"} for n in (3, 998, 1200)]
    # The Special rate of hour 3 makes hour 998 the 1000th row.
    market.add_funding("HOURUSDT", [*hours, *twice])
    window = ("2026-04-01", "2026-05-31")
    for day in truth.days(*window):
        market.without_objects(mt.key("HOURUSDT", day))
    write_universe(workspace.folder, ["HOURUSDT"], *window)
    assert workspace.download(WITH_METRICS, *NO_RETRY).code == 0
    rows = mt.stored_funding(workspace.folder / "market.db", "HOURUSDT")
    assert len(rows) == 61 * 24 + 3
    assert rows == mt.funding(market, "HOURUSDT", *window)
    assert [row[3] for row in rows if row[0] == hours[998]["fundingTime"]] == ["Regular", "Special"]
    assert {row[2] for row in rows} == {None, 123.456}
    pages = [request for request in exchange.requests if "fundingRate" in request.path]
    assert [int(request.params["limit"]) for request in pages] == [1000, 1000]
    assert all("startTime" in request.params and "endTime" in request.params for request in pages)


def original_month() -> list[mt.Row]:
    """The one original archive object, read with csv and Decimal."""
    with zipfile.ZipFile(RECORDINGS / "BTCUSDT-fundingRate-2026-04.zip") as archive:
        lines = csv.DictReader(io.StringIO(archive.read(archive.namelist()[0]).decode()))
        return [(int(line["calc_time"]), float(Decimal(line["last_funding_rate"])), None, "Regular") for line in lines]


def test_a_refused_symbol_has_its_funding_from_the_archive(
    workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    market.refuse("BTCUSDT", -1121)
    write_universe(workspace.folder, ["BTCUSDT"], "2026-04-01", "2026-04-30")
    outcome = workspace.download(WITH_METRICS, *NO_RETRY)
    rows = mt.stored_funding(workspace.folder / "market.db", "BTCUSDT")
    assert rows == original_month()
    assert len(rows) == 90
    lines = mt.ledger(workspace.folder / "market.db", "funding_rates")
    assert set(lines.values()) == {mt.Line("complete", None, 3, 3, "monthly")}
    name = "BTCUSDT-fundingRate-2026-04.zip"
    asked = [request for request in exchange.requests if "funding" in request.path]
    assert [request.path.rsplit("/", 1)[-1] for request in asked] == ["fundingRate", name, name + ".CHECKSUM"]
    assert outcome.report["rows"]["funding_rates"] == 90


REFUSALS: dict[str, Callable[..., Fault]] = {"403": Fault.forbidden_html, "451": Fault.restricted_451}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_closed_api_leaves_what_the_archive_has(tmp_path: Path, market: Market, status: str) -> None:
    """January and February are published, March is not: its days stay open and the run ends with 4."""
    write_universe(tmp_path, ["LINKUSDT"], "2026-02-26", "2026-03-03")
    with scene(tmp_path, market, "2026-03-04T12:00") as at:
        at.exchange.faults.add(REFUSALS[status](host="api", times=None))
        outcome = at.download("--end-date", "2026-02-28")
        assert (outcome.code, outcome.report["status"]) == (0, "complete"), "nothing is missing, so nobody need care"
        assert_stored(at.workspace, "LINKUSDT", first="2026-02-26")
        mt.assert_holds(at.database, market, "LINKUSDT", "2026-02-26", "2026-02-28")
        outcome = at.download()
        assert outcome.code == 4
        assert outcome.report["status"] == "incomplete"
        assert status in outcome.stderr
        open_days = {(entry["dataset"], entry["date"]): entry["reason"] for entry in outcome.report["failed"]}
        for day in truth.days("2026-03-01", "2026-03-03"):
            assert open_days["funding_rates", day] == f"rest: http_{status}"
        mt.assert_holds(at.database, market, "LINKUSDT", "2026-02-26", "2026-02-28")
        at.exchange.faults.clear()
        at.download()
        assert mt.stored_funding(at.database, "LINKUSDT") == mt.funding(market, "LINKUSDT", "2026-02-26", "2026-03-03")


def test_a_day_that_is_not_over_is_not_settled(tmp_path: Path, market: Market) -> None:
    """A universe file made by hand can hold today and tomorrow."""
    market.add_symbol("LONGUSDT", date(2026, 1, 1))
    write_universe(tmp_path, ["LONGUSDT"], "2026-02-27", "2026-03-01")
    with scene(tmp_path, market, "2026-02-28T12:00") as at:
        assert at.download().code == 3
        sql = "SELECT dataset, date FROM symbol_days WHERE status IN ('complete', 'confirmed_gap') ORDER BY 1, 2"
        assert query(at.database, sql) == [(dataset, "2026-02-27") for dataset in ("funding_rates", "klines", "metrics")]
        at.goes_on_at("2026-03-02T12:00")
        assert at.download().code == 0
        mt.assert_holds(at.database, market, "LONGUSDT", "2026-02-27", "2026-03-01")
