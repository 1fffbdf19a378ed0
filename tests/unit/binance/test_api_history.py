"""Funding rates and metrics over the API: how answers are paged, and where history ends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cryptoservice.binance.api import FuturesApi
from cryptoservice.binance.client import DATA_POLICY, FUNDING_POLICY
from cryptoservice.binance.http.host import Call
from cryptoservice.binance.http.responses import Response, Transient, api_response_parser
from cryptoservice.binance.parsers.funding import MarketRates
from cryptoservice.binance.parsers.rows_by_day import RowsByDay
from cryptoservice.days import Window
from cryptoservice.errors import HistoryEnded, SourceError, SymbolRefused
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.decoding import decode_rows
from cryptoservice.sources.evidence import AnswerKind, Source
from cryptoservice.sources.grouping import Fetch
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, FakeClock

FIVE = 300_000
HOUR = 3_600_000


class Wire:
    """A host whose answers are made by a function of the call."""

    def __init__(self, answer: Callable[[Call], Any]) -> None:
        self.calls: list[Call] = []
        self._answer = answer
        limits: Any = SimpleNamespace(weighted="weighted", funding="funding", data="data")
        self.api = FuturesApi(self, limits, FakeClock())  # type: ignore[arg-type]

    def fetch(self, call: Call, parse: Callable[[Response], Any]) -> Any:
        self.calls.append(call)
        record = self._answer(call)
        status = 400 if isinstance(record, dict) else 200
        return parse(Response(status, {}, json.dumps(record).encode()))


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


@pytest.mark.parametrize("number", [3, 997, 998, 999, 1000, 1001, 1200, 1439])
def test_a_conflict_takes_out_its_own_moment_alone(number: int) -> None:
    """Also where the two rows stand on two pages, or the page after shows both of them once more."""
    other = rate(HOURS[number]["fundingTime"], "0.9")
    for conflict in ([HOURS[number], other], [other, HOURS[number]]):
        table, _ = funding_of([*HOURS[:number], *conflict, *HOURS[number + 1 :]])
        assert moments(table) == [entry["fundingTime"] for entry in HOURS if entry is not HOURS[number]]
        assert {row[1] for rows in table.days.values() for row in rows} == {0.0001}
        day = FEBRUARY + timedelta(days=number // 24)
        assert table.left_out == {day: {"conflicting_rows": 2}}
        answers = decode_rows(Fetch(Dataset.FUNDING_RATES, Freq.h1, Source.REST, "BTCUSDT", tuple(SIXTY.days())), table)
        assert {of: len(answer.rows) for of, answer in answers.items() if len(answer.rows) != 24} == {day: 23}
        assert answers[day].kind is AnswerKind.ROWS


@pytest.mark.parametrize("first", [0, 400, 950, 995, 999, 1000, 1400])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_rows_left_out_neither_end_the_pages_nor_loop_them(first: int, count: int) -> None:
    numbers = range(first, first + count)
    bad = [{**entry, "fundingRate": "x"} if number in numbers else entry for number, entry in enumerate(HOURS)]
    table, pages = funding_of(bad)
    assert moments(table) == [entry["fundingTime"] for number, entry in enumerate(HOURS) if number not in numbers]
    counts = Counter(FEBRUARY + timedelta(days=number // 24) for number in numbers)
    assert table.left_out == {day: {"not_a_number": found} for day, found in counts.items()}
    assert pages == 2


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_full_last_page_that_ends_with_bad_rows_is_the_last_of_them(count: int) -> None:
    """The page after shows nothing but what was judged before: it is no answer of nothing but bad rows."""
    entries = [*HOURS[: 1000 - count], *({**entry, "markPrice": "-1"} for entry in HOURS[1000 - count : 1000])]
    table, pages = funding_of(entries)
    assert moments(table) == [entry["fundingTime"] for entry in HOURS[: 1000 - count]]
    assert sum(sum(reasons.values()) for reasons in table.left_out.values()) == count
    assert pages == 2


@pytest.mark.parametrize("fault", [{"fundingRate": "x"}, {"fundingTime": 7}])
def test_a_server_that_sends_the_same_bad_row_for_ever_is_given_up(fault: dict[str, Any]) -> None:
    wire = Wire(lambda call: [{**HOURS[0], **fault}] * 1000)
    with pytest.raises(Transient) as caught:
        wire.api.funding_rates("BTCUSDT", SIXTY)
    assert (caught.value.reason, len(wire.calls)) == ("unexpected_answer", 1)


def test_a_full_page_with_too_many_bad_rows_is_not_trusted() -> None:
    with pytest.raises(Transient) as caught:
        funding_of([*HOURS[:899], *({**entry, "fundingRate": "x"} for entry in HOURS[899:1000]), *HOURS[1000:]])
    assert caught.value.reason == "not_a_number"


def of_all(*symbols: str, hours: int = 8) -> list[dict[str, Any]]:
    """Sixty days of rates of these symbols, all of one moment at the same millisecond, as without `symbol`."""
    moments = range(FEBRUARY_MS, SIXTY.end_ms, hours * HOUR)
    return [{**rate(at), "symbol": symbol} for at in moments for symbol in sorted(symbols)]


def market_of(entries: list[dict[str, Any]], *symbols: str, window: Window = SIXTY) -> tuple[MarketRates, Wire]:
    wire = Wire(served(entries))
    rates = MarketRates(symbols, window)
    wire.api.market_funding_rates(rates)
    return rates, wire


def test_all_symbols_at_once_are_asked_for_without_a_symbol_and_from_the_last_moment_on() -> None:
    names = [f"S{number:03}USDT" for number in range(900)]
    window = Window(FEBRUARY, FEBRUARY)
    rates, wire = market_of(of_all(*names), "S007USDT", window=window)
    assert [dict(call.params) for call in wire.calls] == [
        {"startTime": FEBRUARY_MS + number * 8 * HOUR, "endTime": window.end_ms - 1, "limit": 1000} for number in range(3)
    ]
    assert {(call.source, call.path, str(call.limiter), call.weight) for call in wire.calls} == {
        ("funding_rates", "/fapi/v1/fundingRate", "funding", 1.0)
    }
    assert moments(rates.of("S007USDT")) == [FEBRUARY_MS + number * 8 * HOUR for number in range(3)]
    assert rates.known_until == window.end_ms


@pytest.mark.parametrize("count", [0, 1, 5])
def test_less_than_a_page_of_all_symbols_proves_nothing(count: int) -> None:
    """Whether the limit holds without a symbol, a full page must have shown."""
    rates, wire = market_of(of_all(*(f"S{number}USDT" for number in range(count))), "S0USDT")
    assert (len(wire.calls), rates.known_until, rates.trouble) == (1, FEBRUARY_MS, "no_full_page")


@pytest.mark.parametrize(("count", "pages"), [(6, 2), (30, 6), (999, 180)])
def test_the_pages_of_all_symbols_hold_every_moment(count: int, pages: int) -> None:
    names = [f"S{number:03}USDT" for number in range(count)]
    rates, wire = market_of(of_all(*names), names[-1])
    assert moments(rates.of(names[-1])) == list(range(FEBRUARY_MS, SIXTY.end_ms, 8 * HOUR))
    assert len(wire.calls) == pages


@pytest.mark.parametrize("count", [1000, 1001])
def test_a_full_page_of_a_single_moment_is_where_all_symbols_at_once_end(count: int) -> None:
    names = [f"S{number:04}USDT" for number in range(count)]
    entries = [*of_all("AUSDT")[:5], *({**rate(FEBRUARY_MS + 40 * HOUR), "symbol": name} for name in names)]
    rates, wire = market_of(entries, "AUSDT")
    assert [call.params["startTime"] for call in wire.calls] == [FEBRUARY_MS, FEBRUARY_MS + 40 * HOUR]
    assert rates.known_until == FEBRUARY_MS + 40 * HOUR
    assert rates.trouble == "one_moment_fills_a_page"
    assert len(moments(rates.of("AUSDT"))) == 5


def test_what_is_known_when_a_page_fails_stays_known() -> None:
    names = [f"S{number:03}USDT" for number in range(900)]
    answer, pages = served(of_all(*names)), 0

    def failing(call: Call) -> Any:
        nonlocal pages
        pages += 1
        return answer(call) if pages < 5 else {"code": -1102, "msg": "Mandatory parameter 'symbol' was not sent."}

    rates = MarketRates(["S000USDT"], SIXTY)
    with pytest.raises(SourceError) as caught:
        Wire(failing).api.market_funding_rates(rates)
    assert caught.value.reason == "api_error_-1102"
    assert rates.known_until == FEBRUARY_MS + 4 * 8 * HOUR
    assert moments(rates.of("S000USDT"))[:4] == [FEBRUARY_MS + number * 8 * HOUR for number in range(4)]


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


def test_a_bad_value_of_an_endpoint_is_null_and_counted() -> None:
    def answer(call: Call) -> Any:
        page = data(call)
        if "taker" in call.path:
            page[7]["buySellRatio"] = "NaN"
        return page

    table = Wire(answer).api.metrics("BTCUSDT", Window(FEBRUARY, FEBRUARY))
    blank = [row for row in table.days[FEBRUARY] if None in row]
    assert blank == [(FEBRUARY_MS + 7 * FIVE, 1.5, 1.5, 1.5, 1.5, 1.5, None)]
    assert len(table.days[FEBRUARY]) == 288
    assert table.left_out == {FEBRUARY: {"not_finite": 1}}


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


def test_a_parser_reads_the_end_of_history_in_either_key_order() -> None:
    parse = api_response_parser(FakeClock())
    for body in (TOO_OLD, dict(reversed(TOO_OLD.items()))):
        with pytest.raises(HistoryEnded):
            parse(Response(400, {}, json.dumps(body).encode()))
