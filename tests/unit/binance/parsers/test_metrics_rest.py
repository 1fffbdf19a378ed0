"""Market metrics over REST: five endpoints to rows by bar."""

from __future__ import annotations

import json
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from cryptoservice.binance.parsers.metrics import RestSeries, RestValues, join_rest, parse_rest
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import Window
from tests.unit.fakes import RECORDINGS

RECORDED = RECORDINGS / "metrics"
EVER = range(10**15)
FIVE = 300_000
DAY = 86_400_000
OLD, NEW = date(2026, 6, 24), date(2026, 6, 25)

Row = tuple[Any, ...]


def midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()) * 1000


def row(at: int, value: Any = 1) -> Row:
    """Six different numbers, or the same six blanks."""
    return (at, *(None if value is None else float(value) + column for column in range(6)))


def rows(day: date, first: int = 0, after: int = 288) -> list[Row]:
    return [row(midnight(day) + number * FIVE, number) for number in range(first, after)]


def test_recorded_answers_are_read() -> None:
    page = json.loads((RECORDED / "rest.openInterestHist.BTCUSDT.5m.json").read_text())
    expected = {
        entry["timestamp"] - FIVE: {0: float(Decimal(entry["sumOpenInterest"])), 1: float(Decimal(entry["sumOpenInterestValue"]))}
        for entry in page
    }
    assert parse_rest(RestSeries.OPEN_INTEREST, page, "BTCUSDT", EVER) == RestValues(expected)
    assert len(expected) == 3
    page = json.loads((RECORDED / "rest.globalLongShortAccountRatio.BTCUSDT.5m.json").read_text())
    assert parse_rest(RestSeries.GLOBAL_ACCOUNT, page, "BTCUSDT", EVER) == RestValues({1788786600000: {4: 1.1133}})


FIELDS = {
    RestSeries.OPEN_INTEREST: {"sumOpenInterest": 0, "sumOpenInterestValue": 1},
    RestSeries.TOP_ACCOUNT: {"longShortRatio": 2},
    RestSeries.TOP_POSITION: {"longShortRatio": 3},
    RestSeries.GLOBAL_ACCOUNT: {"longShortRatio": 4},
    RestSeries.TAKER_VOLUME: {"buySellRatio": 5},
}


def page_of(series: RestSeries, found: list[Row]) -> list[dict[str, Any]]:
    """The endpoint's page of these rows."""
    shift = 0 if series is RestSeries.TAKER_VOLUME else FIVE
    named = {} if series is RestSeries.TAKER_VOLUME else {"symbol": "BTCUSDT"}
    return [
        {**named, **{field: f"{one[1 + column]:.8f}" for field, column in FIELDS[series].items()}, "timestamp": one[0] + shift}
        for one in found
    ]


def test_five_endpoints_give_the_rows_of_the_window() -> None:
    assert {series.path for series in RestSeries} == {
        f"/futures/data/{name}"
        for name in ("openInterestHist", "topLongShortAccountRatio", "topLongShortPositionRatio",
                     "globalLongShortAccountRatio", "takerlongshortRatio")
    }  # fmt: skip
    wide = [*rows(date(2026, 6, 23))[-3:], *rows(OLD), *rows(NEW)[:3]]
    parts = [parse_rest(series, page_of(series, wide), "BTCUSDT", EVER) for series in RestSeries]
    table = join_rest(parts, Window(OLD, OLD))
    assert table == RowsByDay({OLD: rows(OLD)})


def test_what_one_endpoint_lacks_is_null() -> None:
    some = [one for number, one in enumerate(rows(OLD)) if number % 10]
    parts = [
        parse_rest(series, page_of(series, some if series is RestSeries.TAKER_VOLUME else rows(OLD)), "BTCUSDT", EVER)
        for series in RestSeries
    ]
    expected = [one if number % 10 else (*one[:6], None) for number, one in enumerate(rows(OLD))]
    assert list(join_rest(parts, Window(OLD, OLD)).days[OLD]) == expected
    assert join_rest([], Window(OLD, OLD)).days == {}


def entry(**changes: Any) -> list[dict[str, Any]]:
    return [{"symbol": "BTCUSDT", "longShortRatio": "1.5", "timestamp": midnight(OLD) + FIVE, **changes}]


def test_forms_of_an_answer() -> None:
    expected = RestValues({midnight(OLD): {2: 1.5}})
    assert parse_rest(RestSeries.TOP_ACCOUNT, entry(timestamp=str(midnight(OLD) + FIVE)), "BTCUSDT", EVER) == expected
    assert parse_rest(RestSeries.TOP_ACCOUNT, entry(longShortRatio=1.5, new_field=1), "BTCUSDT", EVER) == expected
    assert parse_rest(RestSeries.TOP_ACCOUNT, entry() * 2, "BTCUSDT", EVER) == expected
    for blank in ("", None):
        page = entry(longShortRatio=blank)
        assert parse_rest(RestSeries.TOP_ACCOUNT, page, "BTCUSDT", EVER) == RestValues({midnight(OLD): {2: None}})
    assert parse_rest(RestSeries.TOP_ACCOUNT, [], "BTCUSDT", EVER) == RestValues({})


BARS = range(midnight(OLD), midnight(OLD) + DAY, FIVE)
BAD_ENTRIES = [
    (entry(timestamp=midnight(OLD) + FIVE + 3_000), "time_off_grid"),
    (entry(timestamp=midnight(OLD) + DAY + 3_000), "time_off_grid"),
    (entry(timestamp=midnight(OLD) + FIVE - 3_000), "time_off_grid"),
    (entry(longShortRatio="NaN"), "not_finite"),
    (entry(longShortRatio="x"), "not_a_number"),
    (entry(longShortRatio="1,2"), "not_a_number"),
    (entry(longShortRatio=True), "not_a_number"),
    (entry(longShortRatio=[1]), "not_a_number"),
    (entry(longShortRatio="-1"), "number_out_of_range"),
]


@pytest.mark.parametrize(("bad", "expected"), BAD_ENTRIES)
def test_a_bad_entry_costs_itself_alone(bad: list[dict[str, Any]], expected: str) -> None:
    more = page_of(RestSeries.TOP_ACCOUNT, rows(OLD, 1))
    found = parse_rest(RestSeries.TOP_ACCOUNT, [*bad, *more], "BTCUSDT", BARS)
    assert found == RestValues({one[0]: {2: one[3]} for one in rows(OLD, 1)}, {OLD: {expected: 1}})
    assert parse_rest(RestSeries.TOP_ACCOUNT, bad, "BTCUSDT", BARS) == RestValues({}, {OLD: {expected: 1}})
    with pytest.raises(InvalidData, match=expected):
        parse_rest(RestSeries.TOP_ACCOUNT, [*bad * 2, *more[:10]], "BTCUSDT", BARS)


def test_conflicting_entries_are_left_out_both_and_counted_with_the_rows() -> None:
    pages = {series: page_of(series, rows(OLD)) for series in RestSeries}
    pages[RestSeries.TOP_ACCOUNT] += entry(longShortRatio="9")
    pages[RestSeries.TAKER_VOLUME][5]["buySellRatio"] = "x"
    table = join_rest([parse_rest(series, page, "BTCUSDT", BARS) for series, page in pages.items()], Window(OLD, OLD))
    expected = rows(OLD)
    expected[0] = (*expected[0][:3], None, *expected[0][4:])
    expected[5] = (*expected[5][:6], None)
    assert table == RowsByDay({OLD: expected}, {OLD: {"conflicting_rows": 2, "not_a_number": 1}})


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ({"code": 1}, "unexpected_answer"),
        ([1], "unexpected_answer"),
        ([{}], "unexpected_answer"),
        (entry(timestamp="soon"), "unexpected_answer"),
        (entry(timestamp=None), "unexpected_answer"),
        (entry(timestamp=float("inf")), "unexpected_answer"),
        (entry(symbol="ETHUSDT"), "wrong_symbol"),
        (entry(timestamp=midnight(OLD)), "row_outside_range"),
        (entry(timestamp=midnight(NEW) + FIVE), "row_outside_range"),
        (entry() + entry(longShortRatio="2"), "conflicting_rows"),
    ],
)
def test_answers_that_cannot_be_trusted(page: Any, expected: str) -> None:
    with pytest.raises(InvalidData) as caught:
        parse_rest(RestSeries.TOP_ACCOUNT, page, "BTCUSDT", BARS)
    assert caught.value.reason == expected
