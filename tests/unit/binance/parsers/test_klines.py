"""The kline parser: recordings against csv and float(), and everything that must not pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.binance.parsers import klines
from cryptoservice.binance.parsers.klines import parse_rest
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import Window
from cryptoservice.models import Freq
from tests.unit.fakes import (
    DAY,
    FEBRUARY,
    FEBRUARY_MS,
    MINUTE,
    RECORDED_SYMBOLS,
    recorded_csv,
    recorded_fields,
    recorded_rows,
    row_of,
)

ONE_DAY = Window(FEBRUARY, FEBRUARY)
TWO_DAYS = Window(FEBRUARY, FEBRUARY + timedelta(days=1))
MONTH = Window(date(2026, 2, 1), date(2026, 2, 28))
HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"


def fields(minute: int = 0, **changes: str) -> list[str]:
    """Twelve text fields of a valid 1m kline."""
    start = FEBRUARY_MS + minute * MINUTE
    values = {
        "open_time": str(start), "open": "10.5", "high": "11", "low": "10.25", "close": "10.75", "volume": "100.5",
        "close_time": str(start + MINUTE - 1), "quote_volume": "1055.25", "count": "7", "taker_buy_volume": "50.25",
        "taker_buy_quote_volume": "527.5", "ignore": "0",
    }  # fmt: skip
    assert set(changes) <= set(values)
    return list({**values, **changes}.values())


def line(minute: int = 0, **changes: str) -> str:
    return ",".join(fields(minute, **changes))


def text(*lines: str) -> str:
    return "\n".join((HEADER, *lines)) + "\n"


def expected(*minutes: int) -> list[tuple[Any, ...]]:
    return [row_of(tuple(fields(minute))) for minute in minutes]


def rows_of(table: RowsByDay) -> list[tuple[Any, ...]]:
    return [row for day in sorted(table.days) for row in table.days[day]]


def parse_csv(content: str, freq: Freq, window: Window) -> RowsByDay:
    """In one piece, after a look at what line by line gives: the same rows, or no rows either."""
    lines = [line + "\n" for line in content.split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    try:
        whole = klines.parse_csv([content], freq, window)
    except InvalidData:
        with pytest.raises(InvalidData):
            klines.parse_csv(lines, freq, window)
        raise
    assert klines.parse_csv(lines, freq, window) == whole
    return whole


def refusal(content: str, window: Window = ONE_DAY, freq: Freq = Freq.m1) -> str:
    with pytest.raises(InvalidData) as caught:
        parse_csv(content, freq, window)
    return caught.value.reason


@pytest.mark.parametrize("symbol", RECORDED_SYMBOLS)
def test_recordings_equal_an_independent_parse(symbol: str) -> None:
    table = parse_csv(recorded_csv(symbol), Freq.m1, MONTH)
    assert table.left_out == {}
    days = [date(2026, 2, number) for number in range(1, 29)]
    assert list(table.days) == days
    wanted = recorded_rows(symbol)
    for index, day in enumerate(days):
        assert len(table.days[day]) == 1440
        assert list(table.days[day]) == list(wanted[index * 1440 : (index + 1) * 1440])


@pytest.mark.parametrize("symbol", RECORDED_SYMBOLS)
def test_rest_pages_of_the_recordings_give_the_same_rows(symbol: str) -> None:
    strings = (1, 2, 3, 4, 5, 7, 9, 10, 11)
    page = [
        [value if column in strings else int(value) for column, value in enumerate(record)]
        for record in recorded_fields(symbol)[1440:1939]
    ]
    assert rows_of(parse_rest(page, Freq.m1, MONTH)) == list(recorded_rows(symbol)[1440:1939])


@pytest.mark.parametrize(
    "content",
    [
        text(line(0), line(1), line(2)),
        "\n".join((line(0), line(1), line(2))) + "\n",
        "\n".join((line(0), line(1), line(2))),
        text(line(0), line(1), line(2)).replace("\n", "\r\n"),
        "\r\n".join((line(0), line(1), line(2))),
        "\ufeff" + text(line(0), line(1), line(2)),
        text(line(0), line(1), line(2)) + "\n\n\r\n",
        text(line(0), "", line(1), "\r\n", line(2)),
        "\n\r\n" + text("", line(0), line(1), line(2)),
        text(line(2), line(0), line(1)),
        text(line(0), line(1), line(1), line(2), line(0)),
    ],
    ids=[
        "header",
        "headerless",
        "no last line end",
        "crlf",
        "headerless crlf",
        "bom",
        "blank end",
        "blank lines between",
        "blank lines before",
        "unsorted",
        "identical doubles",
    ],
)
def test_forms_that_archives_really_have(content: str) -> None:
    assert rows_of(parse_csv(content, Freq.m1, ONE_DAY)) == expected(0, 1, 2)


@pytest.mark.parametrize("content", ["", "\n", HEADER, HEADER + "\r\n", "\ufeff" + HEADER + "\n"])
def test_a_file_without_rows_is_an_answer_without_rows(content: str) -> None:
    assert parse_csv(content, Freq.m1, ONE_DAY) == RowsByDay({})


NO_PLAIN_NUMBERS = [
    "NaN", "nan", "inf", "Infinity", "-Infinity", "1e999", "-1", "-0.5", "-1e-300", "0x10", "1_000", '"10.5"', "'10.5'",
    "", " ", "null", "true", "false", "abc", "[10.5]", "[]", "{}", "1,5", "+1", "1.", ".5", "01", "1e", "--1", "１０",
    "1" * 400, "1" * 5000, "2e18", "10\r.5x", "/*1*/1", "10.5 11",
]  # fmt: skip


@pytest.mark.parametrize("column", ["open", "high", "volume", "quote_volume", "taker_buy_volume"])
def test_what_is_no_plain_number_in_range_never_passes(column: str) -> None:
    for value in NO_PLAIN_NUMBERS:
        assert refusal(text(line(0), line(1, **{column: value}), line(2))), value


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"volume": "NaN"}, "not_finite"),
        ({"volume": "1e999"}, "number_out_of_range"),
        ({"volume": "-1"}, "number_out_of_range"),
        ({"count": "-1"}, "number_out_of_range"),
        ({"volume": "null"}, "not_a_number"),
        ({"volume": "true"}, "not_a_number"),
        ({"volume": '"7"'}, "not_a_number"),
        ({"volume": "[7]"}, "not_a_number"),
        ({"count": "7.5"}, "time_or_count_not_whole"),
        ({"count": "1e3"}, "time_or_count_not_whole"),
        ({"open_time": f"{FEBRUARY_MS}.0"}, "time_or_count_not_whole"),
        ({"high": "10.2"}, "high_below_low"),
        ({"low": "10.6"}, "high_below_low"),
        ({"low": "10.6", "open": "10.7"}, ""),
        ({"close": "11.01"}, "high_below_low"),
        ({"open": "10.24"}, "high_below_low"),
        ({"low": "0"}, "price_not_positive"),
        ({"open": "0", "high": "0", "low": "0", "close": "0"}, "price_not_positive"),
    ],
)
def test_a_rule_that_a_row_breaks_is_named(changes: dict[str, str], reason: str) -> None:
    content = text(line(0, **changes))
    if reason:
        assert refusal(content) == reason
    else:
        assert len(rows_of(parse_csv(content, Freq.m1, ONE_DAY))) == 1


@pytest.mark.parametrize("value", ["10\r5", "10\r.5", "\r\r1\r0", "1e\r2"])
def test_a_carriage_return_inside_a_number_does_not_join_its_digits(value: str) -> None:
    assert refusal(text(line(0, volume=value))) == "not_a_number"


def test_flat_klines_without_trades_are_valid() -> None:
    flat = {"open": "1.678", "high": "1.678", "low": "1.678", "close": "1.678", "volume": "0.0", "quote_volume": "0.0000"}
    quiet = line(0, **flat, count="0", taker_buy_volume="0.0", taker_buy_quote_volume="0.0000")
    assert rows_of(parse_csv(text(quiet), Freq.m1, ONE_DAY)) == [(FEBRUARY_MS, 1.678, 1.678, 1.678, 1.678, 0.0, 0.0, 0, 0.0, 0.0)]


@pytest.mark.parametrize("minute", [-1, 1440])
def test_rows_outside_the_file_disqualify_it(minute: int) -> None:
    assert refusal(text(line(0), line(minute))) == "row_outside_range"


@pytest.mark.parametrize("offset", [1, 999, 30_000, 59_999])
def test_rows_off_the_grid_disqualify_it(offset: int) -> None:
    moment = FEBRUARY_MS + offset
    shifted = line(0, open_time=str(moment), close_time=str(moment + 59_999))
    assert refusal(text(line(5), shifted)) == "time_off_grid"


def test_the_grid_is_that_of_the_frequency() -> None:
    moment = FEBRUARY_MS + 60_000
    shifted = line(0, open_time=str(moment), close_time=str(moment + 300_000 - 1))
    assert refusal(text(shifted), freq=Freq.m5) == "time_off_grid"
    moment += 240_000
    aligned = line(0, open_time=str(moment), close_time=str(moment + 300_000 - 1))
    assert [row[0] for row in rows_of(parse_csv(text(aligned), Freq.m5, ONE_DAY))] == [moment]


def in_unit(minute: int, open_of: Callable[[int], int], close_of: Callable[[int], int]) -> str:
    start = FEBRUARY_MS + minute * MINUTE
    return line(minute, open_time=str(open_of(start)), close_time=str(close_of(start)))


def test_microseconds_and_seconds_are_told_by_their_magnitude() -> None:
    micro = text(*(in_unit(m, lambda t: t * 1000, lambda t: t * 1000 + 59_999_999) for m in (0, 1)))
    second = text(*(in_unit(m, lambda t: t // 1000, lambda t: t // 1000 + 59) for m in (0, 1)))
    assert rows_of(parse_csv(micro, Freq.m1, ONE_DAY)) == expected(0, 1)
    assert rows_of(parse_csv(second, Freq.m1, ONE_DAY)) == expected(0, 1)


def test_microseconds_off_the_millisecond_are_off_the_grid() -> None:
    assert refusal(text(in_unit(0, lambda t: t * 1000 + 1, lambda t: t * 1000 + 60_000_000))) == "time_off_grid"


@pytest.mark.parametrize("scale", [1_000_000, 10**20])
def test_absurd_times_disqualify_the_file(scale: int) -> None:
    assert refusal(text(in_unit(0, lambda t: t * scale, lambda t: t * scale + 59_999)))


def test_the_unit_is_told_for_each_row() -> None:
    # Seconds, milliseconds and microseconds of one moment are far apart, so a time of the window has one meaning.
    micro, second = (
        in_unit(1, lambda t: t * 1000, lambda t: t * 1000 + 59_999_999),
        in_unit(2, lambda t: t // 1000, lambda t: t // 1000),
    )
    table = parse_csv(text(line(0), micro, second, line(3)), Freq.m1, ONE_DAY)
    assert table == RowsByDay({FEBRUARY: expected(0, 1, 2, 3)})


@pytest.mark.parametrize(
    "content",
    [
        text(",".join(fields(0)[:-1])),
        text(line(0) + ",0"),
        text(line(0), ",".join(fields(1)[:-1]), line(2)),
        text(",".join(fields(0)[:-1]), line(1) + ",0"),
        text(line(0) + ",0", ",".join(fields(1)[:-1])),
        text(line(0) + ",0", ",".join(fields(1)[1:])),
        text(",".join(fields(0)[1:]), line(1) + ",0"),
        text(line(0) + "," + line(1), ""),
        text(line(0), "\r\r", line(1)),
        text("," * 11),
        text(line(0) + ","),
        text("," + line(0)),
        text(line(0).replace(",", ";")),
        HEADER.removesuffix(",ignore") + "\n" + line(0),
        HEADER + ",more\n" + line(0),
        HEADER + "\n" + HEADER + "\n" + line(0),
        line(0) + "\n" + HEADER,
        "\x00" + line(0),
    ],
)
def test_a_wrong_number_of_columns_never_passes(content: str) -> None:
    assert refusal(content, TWO_DAYS) in ("wrong_column_count", "not_a_number", "time_or_count_not_whole", "time_off_grid")


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_whatever_is_done_to_a_file_the_parse_is_right_or_refused(data: st.DataObject) -> None:
    content = "\n".join(line(minute) for minute in range(3))
    place = data.draw(st.integers(0, len(content) - 1))
    width = data.draw(st.integers(0, 30))
    junk = data.draw(st.text(st.sampled_from('0159.,-+eE"[]{}\n\r \tntrueNaI\ufeff'), max_size=6))
    changed = content[:place] + junk + content[place + width :]
    try:
        table = parse_csv(changed, Freq.m1, ONE_DAY)
    except InvalidData:
        return
    for row in rows_of(table):
        assert len(row) == 10
        assert 0 <= row[0] - FEBRUARY_MS < DAY
        assert (row[0] - FEBRUARY_MS) % MINUTE == 0
        assert 0 < row[3] <= min(row[1], row[4]) <= max(row[1], row[4]) <= row[2] <= 1e18
        assert all(isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1e18 for value in row)
        assert isinstance(row[7], int)


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), max_size=4))
def test_order_and_identical_doubles_do_not_matter(order: list[int], doubles: list[int]) -> None:
    table = parse_csv(text(*(line(minute) for minute in (*order, *doubles))), Freq.m1, ONE_DAY)
    assert table == RowsByDay({FEBRUARY: expected(*range(8))})


# -- REST --------------------------------------------------------------------------------------------------------


def wire(minute: int = 0) -> list[Any]:
    """A row as REST writes it (docs/wire.md, klines)."""
    values: list[Any] = fields(minute)
    for column in (0, 6, 8):
        values[column] = int(values[column])
    return values


def test_a_rest_row_that_was_published() -> None:
    page = [
        [1616338800000, "57212.69", "57315.00", "57196.19", "57300.00", "496.263", 1616339099999, "28425514.78940", 7160,
         "273.108", "15642623.69718", "0"],
    ]  # fmt: skip
    day = date(2021, 3, 21)
    assert parse_rest(page, Freq.m5, Window(day, day)).days == {
        day: [(1616338800000, 57212.69, 57315.0, 57196.19, 57300.0, 496.263, 28425514.7894, 7160, 273.108, 15642623.69718)]
    }


def test_an_empty_page_is_an_answer_without_rows() -> None:
    assert parse_rest([], Freq.m1, ONE_DAY) == RowsByDay({})


@pytest.mark.parametrize(
    "page",
    [
        None, {}, "[]", 7, [None], [[]], [{}], ["abcdefghijkl"], [wire()[:-1]], [[*wire(), "0"]],
        [wire()[:-1], [*wire(1), "0"]], [wire(), None], [wire(), {"code": -1121}],
    ],
)  # fmt: skip
def test_a_page_of_another_shape_is_refused(page: object) -> None:
    with pytest.raises(InvalidData, match="wrong_column_count"):
        parse_rest(page, Freq.m1, ONE_DAY)


NO_REST_NUMBERS: list[Any] = [
    None, True, False, [1], {}, "", " ", "null", "true", "NaN", "Infinity", "1,2", "[1]", "[", "1],[2", "0x1", "1_0", 1.5, "-1",
    "1e999", -1,
]  # fmt: skip


@pytest.mark.parametrize("column", [1, 5, 8])
def test_rest_values_that_are_no_plain_numbers_never_pass(column: int) -> None:
    for value in NO_REST_NUMBERS:
        row = wire()
        row[column] = value
        table = parse_rest([row, wire(1)], Freq.m1, ONE_DAY)
        assert rows_of(table) == expected(1)
        assert [sum(reasons.values()) for reasons in table.left_out.values()] == [1]


def test_rest_miscounts_that_cancel_out_never_pass() -> None:
    first, second = wire(0), wire(1)
    first[5], second[5] = "1,2", ""
    with pytest.raises(InvalidData, match="not_a_number"):
        parse_rest([first, second], Freq.m1, ONE_DAY)


def test_a_bar_outside_the_window_disqualifies_its_page() -> None:
    """A server that ignores the bounds must not make a day look empty, however few its rows are."""
    for page in ([wire(1440)], [wire(-1)], [*map(wire, range(100)), wire(1440)]):
        with pytest.raises(InvalidData, match="row_outside_range"):
            parse_rest(page, Freq.m1, ONE_DAY)


def test_a_time_as_text_is_a_time() -> None:
    text_times = json.loads(json.dumps(wire()).replace(str(FEBRUARY_MS) + ",", f'"{FEBRUARY_MS}",'))
    assert isinstance(text_times[0], str)
    assert rows_of(parse_rest([text_times], Freq.m1, ONE_DAY)) == expected(0)
