"""Metrics and funding rates: who is asked for a day, how REST is paged, and what the answers mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from cryptoservice.binance.api import FuturesApi
from cryptoservice.binance.client import DATA_POLICY, FUNDING_POLICY
from cryptoservice.binance.http.host import Call
from cryptoservice.binance.http.responses import Response, api_response_parser
from cryptoservice.binance.parsers.rows_by_day import RowsByDay
from cryptoservice.days import Window
from cryptoservice.errors import HistoryEnded, SymbolRefused
from cryptoservice.models import Row, Status
from cryptoservice.sources.datasets import FundingPlan, MetricsPlan
from cryptoservice.sources.decoding import decode
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.fetches import Fetch
from cryptoservice.sources.routing import DayRoute, funding_routes, metrics_routes
from cryptoservice.sources.verdict import Verdict, next_funding_step, next_step
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, FakeClock

DAILY, REST, MONTHLY = Source.DAILY, Source.REST, Source.MONTHLY
COMPLETE, GAP, INCOMPLETE, FAILURE = Status.COMPLETE, Status.CONFIRMED_GAP, Status.INCOMPLETE, Status.FAILED
FIVE = 300_000
HOUR = 3_600_000
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

# -- routes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "now", "route"),
    [
        ("2020-08-31", NOON, ()),
        ("2020-09-01", NOON, (DAILY,)),
        ("2026-01-30", NOON, (DAILY,)),
        ("2026-01-31", NOON, (DAILY, REST)),
        ("2026-02-27", NOON, (DAILY, REST)),
        ("2026-02-28", NOON, (DAILY, REST)),
        ("2026-02-28", NOON.replace(hour=9), (DAILY, REST)),
        ("2026-02-28", NOON.replace(hour=8, minute=59), (REST, DAILY)),
        ("2026-03-01", NOON, (REST, DAILY)),
    ],
)
def test_who_may_know_the_metrics_of_a_day(day: str, now: datetime, route: tuple[Source, ...]) -> None:
    of = date.fromisoformat(day)
    assert metrics_routes([of], now) == [DayRoute(of, (now.date() - of).days, route, 288)]


def test_rest_is_never_asked_for_more_than_it_keeps() -> None:
    """Thirty days are served (wire facts 3.2); no label of an asked day is older, at any time of the day."""
    for minutes in range(0, 24 * 60, 7):
        now = NOON.replace(hour=0) + timedelta(minutes=minutes)
        for case in metrics_routes([now.date() - timedelta(days=age) for age in range(40)], now):
            start = datetime(case.day.year, case.day.month, case.day.day, tzinfo=timezone.utc)
            assert REST not in case.route or now - start < timedelta(days=30)
            assert REST in case.route or now - start >= timedelta(days=29)


def test_funding_is_asked_of_rest_first_at_any_age() -> None:
    days = [date(2020, 1, 1), date(2026, 2, 28)]
    for case in funding_routes(days, NOON.date()):
        assert (case.route, case.expected_rows) == ((REST, MONTHLY), 0)


# -- what answers mean ----------------------------------------------------------------------------------------------------


def metric(number: int, value: float | None = 1.0) -> Row:
    return (FEBRUARY_MS + number * FIVE, value, 2.0, 3.0, 4.0, 5.0, 6.0)


WHOLE = [metric(number) for number in range(288)]
BLANK = [metric(number, None if number == 7 else 1.0) for number in range(288)]


def said(rows: list[Row], note: str | None = None) -> SourceAnswer:
    return SourceAnswer(AnswerKind.ROWS, rows, note)


ABSENT = SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive")
DISTRUSTED = SourceAnswer(AnswerKind.DISTRUSTED, reason="conflicting_rows")
NOT_SERVED = SourceAnswer(AnswerKind.NOT_SERVED, reason="history_ended")
REFUSED = SourceAnswer(AnswerKind.REFUSED, reason="http_451")
FAILED = SourceAnswer(AnswerKind.FAILED, reason="http_503")
OLD, WEEK, YOUNG = 40, 7, 1

SETTLED: list[tuple[int, Mapping[Source, SourceAnswer], Status, str | None, list[Row]]] = [
    (OLD, {DAILY: said(WHOLE, "labels_at_bar_end")}, COMPLETE, "labels_at_bar_end", WHOLE),
    (OLD, {DAILY: said(BLANK, "labels_at_bar_end")}, COMPLETE, "labels_at_bar_end", BLANK),
    (OLD, {DAILY: ABSENT}, GAP, "archive_alone", []),
    (OLD, {DAILY: FAILED}, FAILURE, "daily: http_503", []),
    (YOUNG, {DAILY: ABSENT, REST: said(WHOLE)}, COMPLETE, None, WHOLE),
    (YOUNG, {DAILY: ABSENT, REST: said(BLANK)}, INCOMPLETE, "not_published_yet", BLANK),
    (YOUNG, {DAILY: ABSENT, REST: NOT_SERVED}, INCOMPLETE, "not_published_yet", []),
    (YOUNG, {DAILY: ABSENT, REST: FAILED}, FAILURE, "rest: http_503", []),
    (YOUNG, {DAILY: ABSENT, REST: REFUSED}, FAILURE, "rest: http_451", []),
    (YOUNG, {DAILY: DISTRUSTED, REST: said(WHOLE)}, COMPLETE, None, WHOLE),
    (YOUNG, {DAILY: said(WHOLE[:100]), REST: said(WHOLE)}, COMPLETE, None, WHOLE),
    (YOUNG, {DAILY: said(WHOLE[:200]), REST: said(WHOLE[100:])}, COMPLETE, None, WHOLE),
    (YOUNG, {DAILY: said(WHOLE[9:]), REST: said(WHOLE[9:])}, GAP, "sources_agree", WHOLE[9:]),
    (YOUNG, {DAILY: said(WHOLE[:100]), REST: said(BLANK)}, COMPLETE, None, WHOLE),
    (YOUNG, {DAILY: said(WHOLE[8:]), REST: said(BLANK)}, INCOMPLETE, "sources_differ", [*BLANK[:8], *WHOLE[8:]]),
    (WEEK, {DAILY: ABSENT, REST: NOT_SERVED}, GAP, "archive_alone", []),
    (WEEK, {DAILY: ABSENT, REST: said(BLANK)}, COMPLETE, None, BLANK),
]


def metrics_case(age: int) -> DayRoute:
    return DayRoute(FEBRUARY, age, (DAILY,) if age == OLD else (DAILY, REST), 288)


@pytest.mark.parametrize(("age", "evidence", "status", "reason", "rows"), SETTLED)
def test_how_a_day_of_metrics_ends(
    age: int, evidence: Mapping[Source, SourceAnswer], status: Status, reason: str | None, rows: list[Row]
) -> None:
    outcome = next_step(metrics_case(age), evidence)
    assert isinstance(outcome, Verdict)
    assert (outcome.status, outcome.reason, list(outcome.rows)) == (status, reason, rows)


def test_half_a_file_whose_labels_were_guessed_says_so() -> None:
    outcome = next_step(metrics_case(OLD), {DAILY: said(WHOLE[50:90], "labels_at_bar_end_by_date")})
    assert isinstance(outcome, Verdict)
    assert (outcome.status, list(outcome.rows)) == (GAP, WHOLE[50:90])
    assert "labels_at_bar_end_by_date" in str(outcome.reason)


RATES: list[Row] = [(FEBRUARY_MS, 0.0001, None, "Regular"), (FEBRUARY_MS + 8 * HOUR, 0.0002, None, "Regular")]
UNKNOWN = SourceAnswer(AnswerKind.NOT_SERVED, reason="api_error_-1121")

FUNDING: list[tuple[int, Mapping[Source, SourceAnswer], Status, str | None, int]] = [
    (YOUNG, {REST: said(RATES)}, COMPLETE, None, 2),
    (YOUNG, {REST: said([])}, GAP, "no_funding_in_rest", 0),
    (OLD, {REST: FAILED}, FAILURE, "rest: http_503", 0),
    (OLD, {REST: DISTRUSTED, MONTHLY: said(RATES)}, COMPLETE, None, 2),
    (OLD, {REST: DISTRUSTED, MONTHLY: DISTRUSTED}, FAILURE, "rest: conflicting_rows", 0),
    (OLD, {REST: UNKNOWN, MONTHLY: said(RATES)}, COMPLETE, None, 2),
    (OLD, {REST: REFUSED, MONTHLY: said(RATES)}, COMPLETE, None, 2),
    (OLD, {REST: UNKNOWN, MONTHLY: said([])}, GAP, "no_funding_in_monthly", 0),
    (OLD, {REST: UNKNOWN, MONTHLY: ABSENT}, INCOMPLETE, "rest: api_error_-1121", 0),
    (70, {REST: UNKNOWN, MONTHLY: ABSENT}, GAP, "rest: api_error_-1121", 0),
    (70, {REST: REFUSED, MONTHLY: ABSENT}, INCOMPLETE, "rest: http_451", 0),
    (OLD, {REST: UNKNOWN, MONTHLY: FAILED}, FAILURE, "monthly: http_503", 0),
]


@pytest.mark.parametrize(("age", "evidence", "status", "reason", "rows"), FUNDING)
def test_how_a_day_of_funding_rates_ends(
    age: int, evidence: Mapping[Source, SourceAnswer], status: Status, reason: str | None, rows: int
) -> None:
    outcome = next_funding_step(DayRoute(FEBRUARY, age, (REST, MONTHLY), 0), evidence)
    assert isinstance(outcome, Verdict)
    assert (outcome.status, outcome.reason, len(outcome.rows), outcome.expected_rows) == (status, reason, rows, rows)


@pytest.mark.parametrize("witness", [UNKNOWN, REFUSED, NOT_SERVED])
def test_the_archive_stands_in_where_rest_refuses(witness: SourceAnswer) -> None:
    case = DayRoute(FEBRUARY, OLD, (REST, MONTHLY), 0)
    assert next_funding_step(case, {}) is REST
    assert next_funding_step(case, {REST: witness}) is MONTHLY


# -- pages ----------------------------------------------------------------------------------------------------------------


class Wire:
    """A host whose answers are made by a function of the call."""

    def __init__(self, answer: Callable[[Call], Any]) -> None:
        self.calls: list[Call] = []
        self._answer = answer
        limits: Any = SimpleNamespace(weighted="weighted", funding="funding", data="data")
        self.api = FuturesApi(self, limits, FakeClock())  # type: ignore[arg-type]

    def fetch(self, call: Call, judge: Callable[[Response], Any]) -> Any:
        self.calls.append(call)
        record = self._answer(call)
        status = 400 if isinstance(record, dict) else 200
        return judge(Response(status, {}, json.dumps(record).encode()))


def test_each_kind_of_request_has_a_budget_of_its_own() -> None:
    assert (FUNDING_POLICY.window, DATA_POLICY.window) == (300.0, 300.0)
    assert FUNDING_POLICY.max_weight is not None and FUNDING_POLICY.max_weight <= 500
    assert DATA_POLICY.max_weight is not None and DATA_POLICY.max_weight <= 1000
    wire = Wire(lambda call: [])
    wire.api.funding_rates("BTCUSDT", Window(FEBRUARY, FEBRUARY))
    with pytest.raises(HistoryEnded):
        wire.api.metrics("BTCUSDT", Window(FEBRUARY, FEBRUARY))
    assert [str(call.limiter) for call in wire.calls] == ["funding", *["data"] * 5]
    assert {call.weight for call in wire.calls} == {1.0}


def rate(at: int, value: str = "0.0001", **more: Any) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "fundingTime": at, "fundingRate": value, "markPrice": "", **more}


def served(entries: list[dict[str, Any]]) -> Callable[[Call], Any]:
    """As the exchange answers: from start to end, both included, the oldest `limit`."""

    def answer(call: Call) -> Any:
        start, end, limit = (int(call.params[name]) for name in ("startTime", "endTime", "limit"))
        return [entry for entry in entries if start <= entry["fundingTime"] <= end][:limit]

    return answer


SIXTY = Window(FEBRUARY, FEBRUARY + timedelta(days=59))
HOURS = [rate(FEBRUARY_MS + number * HOUR) for number in range(60 * 24)]


def funding_of(entries: list[dict[str, Any]]) -> tuple[RowsByDay, int]:
    wire = Wire(served(entries))
    return wire.api.funding_rates("BTCUSDT", SIXTY), len(wire.calls)


def moments(table: RowsByDay) -> list[int]:
    return [row[0] for rows in table.days.values() for row in rows]


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (999, 1), (1000, 2), (1001, 2), (1440, 2)])
def test_funding_pages_are_asked_for_until_one_is_not_full(count: int, pages: int) -> None:
    table, asked = funding_of(HOURS[:count])
    assert (moments(table), asked) == ([entry["fundingTime"] for entry in HOURS[:count]], pages)


def test_a_page_with_a_doubled_row_is_still_a_full_page() -> None:
    table, _ = funding_of(sorted([*HOURS, HOURS[3]], key=lambda entry: int(entry["fundingTime"])))
    assert moments(table) == [entry["fundingTime"] for entry in HOURS]


@pytest.mark.parametrize("number", [3, 1200])
def test_a_conflict_spoils_its_own_day_alone(number: int) -> None:
    """A conflict on one page says nothing of days on another: they must not look as if nothing was paid."""
    other = rate(HOURS[number]["fundingTime"], "0.9")
    table, _ = funding_of(sorted([*HOURS, other], key=lambda entry: int(entry["fundingTime"])))
    day = FEBRUARY + timedelta(days=number // 24)
    assert table.conflicting == {day}
    witnesses = decode(Fetch(REST, "BTCUSDT", tuple(SIXTY.days())), table)
    empty = [of for of, witness in witnesses.items() if of != day and len(witness.rows) != 24]
    assert empty == []
    assert witnesses[day].kind is AnswerKind.DISTRUSTED


def data(call: Call) -> Any:
    """A point for every label asked for."""
    start, end = int(call.params["startTime"]), int(call.params["endTime"])
    names = ("sumOpenInterest", "sumOpenInterestValue", "longShortRatio", "buySellRatio")
    return [{**dict.fromkeys(names, "1.5"), "timestamp": at} for at in range(start, end + 1, FIVE)]


@pytest.mark.parametrize(("days", "pages"), [(1, 1), (2, 2), (17, 10)])
def test_metrics_pages_cover_the_window_exactly(days: int, pages: int) -> None:
    wire = Wire(data)
    window = Window(FEBRUARY, FEBRUARY + timedelta(days=days - 1))
    table = wire.api.metrics("BTCUSDT", window)
    expected = [FEBRUARY_MS + number * FIVE for number in range(days * 288)]
    assert moments(table) == expected
    assert {row[1:] for rows in table.days.values() for row in rows} == {(1.5,) * 6}
    assert len(wire.calls) == 5 * pages
    for call in wire.calls:
        assert (call.params["symbol"], call.params["period"]) == ("BTCUSDT", "5m")
        assert int(call.params["limit"]) <= 500
        assert int(call.params["endTime"]) - int(call.params["startTime"]) == (int(call.params["limit"]) - 1) * FIVE
    firsts = {call.path.rsplit("/", 1)[-1]: call.params["startTime"] for call in reversed(wire.calls)}
    assert {name: int(start) - FEBRUARY_MS for name, start in firsts.items()} == {
        "openInterestHist": FIVE, "topLongShortAccountRatio": FIVE, "topLongShortPositionRatio": FIVE,
        "globalLongShortAccountRatio": FIVE, "takerlongshortRatio": 0,
    }  # fmt: skip


TOO_OLD = {"msg": "parameter 'startTime' is invalid.", "code": -1130}


def test_an_endpoint_without_history_leaves_its_column_null() -> None:
    wire = Wire(lambda call: TOO_OLD if "taker" in call.path else data(call))
    table = wire.api.metrics("BTCUSDT", Window(FEBRUARY, FEBRUARY))
    assert {row[1:] for row in table.days[FEBRUARY]} == {(1.5, 1.5, 1.5, 1.5, 1.5, None)}


@pytest.mark.parametrize("answer", [TOO_OLD, []])
def test_no_endpoint_with_history_is_the_end_of_it(answer: Any) -> None:
    wire = Wire(lambda call: answer)
    with pytest.raises(HistoryEnded):
        wire.api.metrics("BTCUSDT", Window(FEBRUARY, FEBRUARY))
    assert len(wire.calls) == 5, "nothing is asked twice"


@pytest.mark.parametrize("code", [-1121, -1122])
def test_an_unknown_symbol_is_one_answer(code: int) -> None:
    wire = Wire(lambda call: {"code": code, "msg": "Invalid symbol."})
    with pytest.raises(SymbolRefused):
        wire.api.metrics("BTCUSDT", Window(FEBRUARY, FEBRUARY))
    assert len(wire.calls) == 1


# -- feeds ----------------------------------------------------------------------------------------------------------------


def test_fetches_are_bounded_and_bridge_no_more_than_is_useful() -> None:
    connection: Any = None
    month = [FEBRUARY + timedelta(days=number) for number in range(40)]
    feed = MetricsPlan(connection, NOON)
    runs = [fetch.days for fetch in feed.group("A", dict.fromkeys(month, REST))]
    assert [day for run in runs for day in run] == month
    assert 1 < max(map(len, runs)) <= 20, "neighbours share pages, but a failure costs days, not months"
    apart = dict.fromkeys([month[0], month[2]], REST)
    assert [fetch.days for fetch in feed.group("A", apart)] == [(month[0],), (month[2],)], "no unwanted day of metrics"
    assert [fetch.days for fetch in feed.group("A", dict.fromkeys(month[:3], DAILY))] == [(day,) for day in month[:3]]
    rates = FundingPlan(connection, NOON.date())
    assert [fetch.days for fetch in rates.group("A", apart)] == [(month[0], month[2])], "one page covers both"
    months = [fetch.days for fetch in rates.group("A", dict.fromkeys(month, MONTHLY))]
    assert months == [tuple(month[:28]), tuple(month[28:])]
    assert list(rates.split(month)) == [month]
    assert [len(part) for part in feed.split(month)] == [28, 12]


def test_a_judge_reads_the_end_of_history_in_either_key_order() -> None:
    judge = api_response_parser(FakeClock())
    for body in (TOO_OLD, dict(reversed(TOO_OLD.items()))):
        with pytest.raises(HistoryEnded):
            judge(Response(400, {}, json.dumps(body).encode()))
