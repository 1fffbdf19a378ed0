"""Funding rates of all symbols on one page: what is kept, what is left out, and what makes a page useless."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.binance.parsers.funding import MarketRates, parse_rest
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.days import Window
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS

HOUR = 3_600_000
FIRST, NEXT = FEBRUARY, FEBRUARY + timedelta(days=1)
WINDOW = Window(FIRST, NEXT)
LIMIT = 10
Row = tuple[Any, ...]


def entry(symbol: str, at: int = 0, rate: Any = "0.0001", **changes: Any) -> dict[str, Any]:
    return {"symbol": symbol, "fundingTime": FEBRUARY_MS + at, "fundingRate": rate, "markPrice": "50.5", **changes}


def collected(*pages: Any, symbols: tuple[str, ...] = ("AUSDT", "BUSDT")) -> MarketRates:
    rates = MarketRates(symbols, WINDOW)
    for page in pages:
        rates.add(rates.parse(page, LIMIT))
    return rates


def flat(rates: MarketRates, symbol: str) -> list[Row]:
    return [row for _, rows in sorted(rates.of(symbol).days.items()) for row in rows]


def refused(page: Any, known: list[Any] | None = None) -> str:
    rates = collected(*([known] if known else []))
    with pytest.raises(InvalidData) as caught:
        rates.parse(page, LIMIT)
    return caught.value.reason


def test_rows_of_the_wanted_symbols_are_kept_by_day() -> None:
    page = [
        entry("AUSDT"), entry("BUSDT", rate="-0.5", markPrice=""), entry("CUSDT"), entry("BUSDT", 5, rateType="Special"),
        entry("AUSDT", DAY - 1), entry("AUSDT", DAY),
    ]  # fmt: skip
    rates = collected([*page, *(entry("CUSDT", DAY + number) for number in range(LIMIT - len(page)))], [])
    assert flat(rates, "AUSDT") == [(FEBRUARY_MS + at, 0.0001, 50.5, "Regular") for at in (0, DAY - 1, DAY)]
    assert {day: len(rows) for day, rows in rates.of("AUSDT").days.items()} == {FIRST: 2, NEXT: 1}
    assert flat(rates, "BUSDT") == [
        (FEBRUARY_MS, -0.5, None, "Regular"),
        (FEBRUARY_MS + 5, 0.0001, 50.5, "Special"),
    ]
    with pytest.raises(KeyError):
        rates.of("CUSDT")
    assert rates.known_until == WINDOW.end_ms


def test_a_full_page_is_known_up_to_its_last_moment() -> None:
    page = [entry(f"S{number}USDT", number // 4 * HOUR) for number in range(LIMIT)]
    rates = MarketRates(["AUSDT"], WINDOW)
    found = rates.parse(page, LIMIT)
    assert (found.known_until, found.is_last, found.trouble) == (FEBRUARY_MS + 2 * HOUR, False, None)
    assert rates.known_until == FEBRUARY_MS, "only what is added counts"
    rates.add(found)
    found = rates.parse(page[8:], LIMIT)
    assert (found.known_until, found.is_last, found.trouble) == (WINDOW.end_ms, True, None)


def test_a_full_page_of_one_moment_is_the_last_and_leaves_that_moment_open() -> None:
    rates = MarketRates(["AUSDT"], WINDOW)
    found = rates.parse([entry(f"S{number}USDT", HOUR) for number in range(LIMIT)], LIMIT)
    assert (found.known_until, found.is_last, found.trouble) == (FEBRUARY_MS + HOUR, True, "one_moment_fills_a_page")
    rates.add(found)
    assert rates.trouble == "one_moment_fills_a_page"


@pytest.mark.parametrize("count", [0, 1, LIMIT - 1])
def test_a_first_page_that_is_not_full_may_be_cut_short(count: int) -> None:
    """A server that sends fewer rows than it is asked for must not make a day look whole."""
    rates = MarketRates(["AUSDT"], WINDOW)
    found = rates.parse([entry("AUSDT", number * HOUR) for number in range(count)], LIMIT)
    assert (found.known_until, found.is_last, found.trouble) == (WINDOW.start_ms, True, "no_full_page")


def test_entries_that_two_pages_share_count_once() -> None:
    shared = [entry("AUSDT", HOUR), entry("BUSDT", HOUR, "x")]
    fill = [entry(f"S{number}USDT") for number in range(LIMIT - 2)]
    rates = collected([*fill, *shared], [*shared, entry("AUSDT", HOUR, rateType="Special")])
    assert flat(rates, "AUSDT") == [(FEBRUARY_MS + HOUR, 0.0001, 50.5, kind) for kind in ("Regular", "Special")]
    assert rates.of("AUSDT").left_out == {}
    assert (rates.of("BUSDT").days, rates.of("BUSDT").left_out) == ({}, {FIRST: {"not_a_number": 1}})


@pytest.mark.parametrize("other", [{"fundingRate": "0.5"}, {"markPrice": "1"}, {"markPrice": ""}])
def test_rows_that_contradict_each_other_are_left_out_on_one_page_or_two(other: dict[str, Any]) -> None:
    fill = [entry(f"S{number}USDT") for number in range(LIMIT - 1)]
    first, second = entry("AUSDT", HOUR), {**entry("AUSDT", HOUR), **other}
    for pages in (
        [[entry("AUSDT"), entry("BUSDT"), first, second]],
        [[*fill[1:], entry("AUSDT"), first], [first, second]],
        [[*fill[1:], entry("AUSDT"), first], [second, first]],
    ):
        rates = collected(*pages)
        assert flat(rates, "AUSDT") == [(FEBRUARY_MS, 0.0001, 50.5, "Regular")]
        assert rates.of("AUSDT").left_out == {FIRST: {"conflicting_rows": 2}}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"fundingRate": "x"}, "not_a_number"),
        ({"fundingRate": None}, "not_a_number"),
        ({"fundingRate": "101"}, "number_out_of_range"),
        ({"markPrice": "-1"}, "number_out_of_range"),
        ({"rateType": "a,b"}, "unknown_rate_type"),
        ({"fundingTime": (FEBRUARY_MS + DAY) // 1000}, "time_not_milliseconds"),
        ({"fundingTime": "soon"}, "not_a_number"),
    ],
)
def test_a_bad_entry_costs_its_own_symbol_alone(fault: dict[str, Any], reason: str) -> None:
    page = [entry("AUSDT", DAY), entry("BUSDT", DAY), {**entry("AUSDT", DAY + HOUR), **fault}, entry("BUSDT", DAY + HOUR)]
    rates = collected(page)
    assert flat(rates, "AUSDT") == [(FEBRUARY_MS + DAY, 0.0001, 50.5, "Regular")]
    assert rates.of("AUSDT").left_out == {NEXT: {reason: 1}}
    assert len(flat(rates, "BUSDT")) == 2
    assert rates.of("BUSDT").left_out == {}
    # The same fault in a symbol that nobody wants costs nobody anything.
    assert collected([{**one, "symbol": "CUSDT"} if one is page[2] else one for one in page]).of("AUSDT").left_out == {}


def test_a_bad_time_without_anything_before_it_is_counted_where_the_page_begins() -> None:
    rates = collected(
        [entry(f"S{number}USDT", DAY + number) for number in range(LIMIT)],
        [entry("AUSDT", fundingTime="x"), entry("S9USDT", DAY + 9)],
    )
    assert rates.of("AUSDT").left_out == {NEXT: {"not_a_number": 1}}


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ({"code": 0}, "unexpected_answer"),
        ([1], "unexpected_answer"),
        ([["AUSDT", 1]], "unexpected_answer"),
        ([{"fundingTime": FEBRUARY_MS, "fundingRate": "0.1"}], "unexpected_answer"),
        ([entry("")], "unexpected_answer"),
        ([{**entry("AUSDT"), "symbol": 7}], "unexpected_answer"),
        ([entry("CUSDT", -1)], "row_outside_range"),
        ([entry("CUSDT", 2 * DAY)], "row_outside_range"),
        ([entry("CUSDT", 5), entry("CUSDT", 4)], "rows_not_in_order"),
        ([entry("CUSDT", rate="x"), entry("CUSDT", 1, rate="x"), entry("CUSDT", 2)], "not_a_number"),
        ([entry("CUSDT", fundingTime="x")] * LIMIT, "not_a_number"),
    ],
)
def test_a_page_that_cannot_be_trusted(page: Any, reason: str) -> None:
    assert refused(page) == reason


def test_a_page_from_before_what_was_asked_for_is_not_trusted() -> None:
    """A server that ignores the start would be asked for the same page for ever."""
    page = [entry(f"S{number}USDT", number) for number in range(LIMIT)]
    assert refused(page, known=page) == "row_outside_range"


def test_a_full_page_without_any_time_is_not_trusted() -> None:
    """Each of these entries was judged on a page before, so that the share of bad ones alone does not tell."""
    bad = [entry(f"S{number}USDT", fundingTime=7) for number in range(LIMIT)]
    rates = collected(*([*(entry("CUSDT", hour * HOUR + at) for at in range(LIMIT - 1)), one] for hour, one in enumerate(bad)))
    with pytest.raises(InvalidData, match="unexpected_answer"):
        rates.parse(bad, LIMIT)


SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")
ENTRIES = st.lists(
    st.builds(
        entry,
        st.sampled_from(SYMBOLS),
        st.integers(0, 2 * DAY - 1) | st.integers(0, 3),
        st.sampled_from(["0.1", "0.2"]),
        markPrice=st.sampled_from(["", "1"]),
        rateType=st.sampled_from(["Regular", "Special"]),
    ),
    max_size=60,
)


@given(ENTRIES, st.integers(2, 12))
def test_pages_of_any_size_say_what_the_parser_of_one_symbol_says(entries: list[dict[str, Any]], limit: int) -> None:
    entries = sorted(entries, key=lambda one: (one["fundingTime"], one["symbol"]))
    rates = MarketRates(SYMBOLS, WINDOW)
    is_last = False
    while not is_last:
        start = rates.known_until
        page = rates.parse([one for one in entries if one["fundingTime"] >= start][:limit], limit)
        rates.add(page)
        is_last = page.is_last
    known = [one for one in entries if one["fundingTime"] < rates.known_until]
    for symbol in SYMBOLS:
        # By hand: what is said twice counts once, and what is contradicted not at all.
        said: dict[tuple[int, str], set[Row]] = {}
        for one in known:
            if one["symbol"] == symbol:
                mark = float(one["markPrice"]) if one["markPrice"] else None
                row = (one["fundingTime"], float(one["fundingRate"]), mark, one["rateType"])
                said.setdefault((row[0], row[3]), set()).add(row)
        expected = [next(iter(said[key])) for key in sorted(said) if len(said[key]) == 1]
        assert [row for row in flat(rates, symbol) if row[0] < rates.known_until] == expected
        alone = parse_rest([one for one in known if one["symbol"] == symbol], symbol, WINDOW, is_judged=True)
        assert [row for _, rows in sorted(alone.days.items()) for row in rows] == expected


def test_days_are_those_of_the_calendar() -> None:
    rates = collected([entry("AUSDT", number * DAY // 2) for number in range(4)])
    assert list(rates.of("AUSDT").days) == [date(2026, 2, 1), date(2026, 2, 2)]
