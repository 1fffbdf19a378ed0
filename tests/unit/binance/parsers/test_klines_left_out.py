"""Klines with bad rows: each costs its own bar alone, many disqualify the file, and what is not stored costs nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
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
MONTH = Window(date(2026, 2, 1), date(2026, 2, 28))
HEADER, *LINES = recorded_csv("LINKUSDT").rstrip("\n").split("\n")
ROWS = recorded_rows("LINKUSDT")
TIME, HIGH, LOW, CLOSE, VOLUME, CLOSE_TIME, COUNT, IGNORE = 0, 2, 3, 4, 5, 6, 8, 11


def changed(line: str, **changes: object) -> str:
    """A line with other fields at these places (`at2="1"`)."""
    fields = line.split(",")
    for place, value in changes.items():
        fields[int(place[2:])] = str(value)
    return ",".join(fields)


def pieces_of(lines: list[str], length: int) -> Iterator[str]:
    for start in range(0, len(lines), length):
        yield "".join(f"{line}\n" for line in lines[start : start + length])


def parse(lines: list[str], window: Window = ONE_DAY, freq: Freq = Freq.m1) -> RowsByDay:
    """The same table in one piece, line by line, and in pieces of between."""
    table = klines.parse_csv(["\n".join(lines)], freq, window)
    for length in (1, 7, 500):
        if length > 1 or len(lines) < 5000:
            assert klines.parse_csv(pieces_of(lines, length), freq, window) == table
    return table


def rows_of(table: RowsByDay) -> list[tuple[Any, ...]]:
    return [row for day in sorted(table.days) for row in table.days[day]]


BAD_ROWS = {
    "a stamp off by 3 s": ({"at0": FEBRUARY_MS + 700 * MINUTE + 3_000}, "time_off_grid"),
    "a stamp off by -3 s": ({"at0": FEBRUARY_MS + 700 * MINUTE - 3_000}, "time_off_grid"),
    "a stamp in microseconds, off by one": ({"at0": (FEBRUARY_MS + 700 * MINUTE) * 1000 + 1}, "time_off_grid"),
    "a stamp in seconds, off by one": ({"at0": (FEBRUARY_MS + 700 * MINUTE) // 1000 + 1}, "time_off_grid"),
    "a stamp of another day": ({"at0": FEBRUARY_MS + DAY}, "row_outside_range"),
    "no stamp": ({"at0": ""}, "not_a_number"),
    "a stamp with a digit less": ({"at0": str(FEBRUARY_MS)[:-1]}, "row_outside_range"),
    "a stamp with too many digits": ({"at0": "9" * 40}, "time_off_grid"),
    "a stamp with a fraction": ({"at0": f"{FEBRUARY_MS}.5"}, "time_or_count_not_whole"),
    "high below low": ({"at2": "0.1", "at3": "0.2"}, "high_below_low"),
    "a close above the high": ({"at4": "999999"}, "high_below_low"),
    "a price of zero": ({"at3": "0"}, "price_not_positive"),
    "a negative volume": ({"at5": "-1"}, "number_out_of_range"),
    "NaN": ({"at5": "NaN"}, "not_finite"),
    "a blank": ({"at9": ""}, "not_a_number"),
    "quotes": ({"at9": '""'}, "not_a_number"),
    "a broken byte": ({"at5": "1\ufffd5"}, "not_a_number"),
    "a carriage return": ({"at5": "1\r5"}, "not_a_number"),
    "a NUL": ({"at5": "1\x005"}, "not_a_number"),
    "an ideographic digit": ({"at5": "１"}, "not_a_number"),
    "half a trade": ({"at8": "1.5"}, "time_or_count_not_whole"),
    "a field more": ({"at11": "0,0"}, "wrong_column_count"),
    "an open list": ({"at5": "[1"}, "not_a_number"),
    "a list over two fields": ({"at4": "[1", "at5": "2]"}, "not_a_number"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
@pytest.mark.parametrize("number", [0, 700, 1439], ids=["first", "middle", "last"])
@pytest.mark.parametrize("header", [True, False], ids=["header", "headerless"])
def test_a_bad_row_costs_its_own_bar_alone(name: str, number: int, header: bool) -> None:
    changes, reason = BAD_ROWS[name]
    lines = LINES[:1440]
    lines[number] = changed(lines[number], **changes)
    table = parse([*([HEADER] if header else []), *lines])
    assert rows_of(table) == [*ROWS[:number], *ROWS[number + 1 : 1440]]
    assert table.left_out == {FEBRUARY: {reason: 1}}


def test_a_row_that_breaks_off_costs_its_own_bar_alone() -> None:
    for length in (1, 13, 14, 40):
        table = parse([*LINES[:900], LINES[900][:length], *LINES[901:1440]])
        assert rows_of(table) == [*ROWS[:900], *ROWS[901:1440]]
        assert [sum(reasons.values()) for reasons in table.left_out.values()] == [1]


def test_rows_at_both_edges_of_a_piece_are_no_special_case() -> None:
    for number in (6, 7, 499, 500, 501):
        lines = LINES[:1440]
        lines[number] = changed(lines[number], at0="x")
        assert rows_of(parse(lines)) == [*ROWS[:number], *ROWS[number + 1 : 1440]]


@pytest.mark.parametrize(("place", "value"), [(VOLUME, "7.5"), (CLOSE, LINES[500].split(",")[LOW]), (COUNT, "7")])
def test_one_conflicting_double_takes_both_out(place: int, value: str) -> None:
    double = changed(LINES[500], **{f"at{place}": value})
    assert double != LINES[500]
    for at in (0, 500, 501, 1440):
        table = parse([*LINES[:at], double, *LINES[at:1440]])
        assert rows_of(table) == [*ROWS[:500], *ROWS[501:1440]]
        assert table.left_out == {FEBRUARY: {"conflicting_rows": 2}}


@pytest.mark.parametrize(
    "value", ["", "x", "NaN", "-1", "1e999", "0", "1.5", '"0"', "[", "\ufffd", " ", "null", "9" * 5000, str(FEBRUARY_MS)]
)
@pytest.mark.parametrize("place", [CLOSE_TIME, IGNORE])
def test_what_is_not_stored_disqualifies_nothing(place: int, value: str) -> None:
    for numbers in ([700], range(1440)):
        lines = LINES[:1440]
        for number in numbers:
            lines[number] = changed(lines[number], **{f"at{place}": value})
        table = parse([HEADER, *lines])
        assert rows_of(table) == list(ROWS[:1440])
        assert table.left_out == {}


def test_doubles_that_differ_in_what_is_not_stored_are_identical() -> None:
    lines = [LINES[0], changed(LINES[0], at6="0", at11="7"), *LINES[1:100]]
    assert parse(lines) == RowsByDay({FEBRUARY: list(ROWS[:100])})


@pytest.mark.parametrize(("bad", "trusted"), [(144, True), (145, False), (1440, False)])
def test_more_than_a_tenth_of_bad_rows_disqualify_the_file(bad: int, trusted: bool) -> None:
    numbers = set(random.Random(7).sample(range(1440), bad))
    lines = [changed(line, at4="0") if number in numbers else line for number, line in enumerate(LINES[:1440])]
    if not trusted:
        for pieces in (["\n".join(lines)], pieces_of(lines, 1), pieces_of(lines, 100)):
            with pytest.raises(InvalidData, match="high_below_low"):
                klines.parse_csv(pieces, Freq.m1, ONE_DAY)
        return
    table = parse(lines)
    assert rows_of(table) == [row for number, row in enumerate(ROWS[:1440]) if number not in numbers]
    assert table.left_out == {FEBRUARY: {"high_below_low": bad}}


def test_a_file_of_nothing_but_bad_rows_is_not_read_to_its_end() -> None:
    read = 0

    def pieces() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "1\n" * 1000

    with pytest.raises(InvalidData, match="wrong_column_count"):
        klines.parse_csv(pieces(), Freq.m1, ONE_DAY)
    assert read <= 2


@pytest.mark.parametrize(
    "header",
    [
        "open_time,high,open,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore",
        '"open_time","high","open"',
        " open_time,open",
        "x",
    ],
)
def test_other_columns_are_no_bad_row(header: str) -> None:
    with pytest.raises(InvalidData):
        klines.parse_csv(["\n".join([header, *LINES[:1440]])], Freq.m1, ONE_DAY)


@pytest.mark.parametrize("symbol", RECORDED_SYMBOLS)
def test_a_recorded_month_with_bad_rows_equals_an_independent_reading_of_the_others(symbol: str) -> None:
    pick = random.Random(symbol)
    bad = dict.fromkeys(pick.sample(range(40320), 300), "")
    lines = recorded_csv(symbol).rstrip("\n").split("\n")
    counts: dict[date, int] = {}
    for number in sorted(bad):
        place, value = pick.choice([(TIME, "12"), (HIGH, "0.00001"), (LOW, "99999"), (VOLUME, "-1"), (COUNT, "x")])
        lines[1 + number] = changed(lines[1 + number], **{f"at{place}": value})
        # A row without a time of its own counts under the day of the row before it.
        shown = number
        while place == TIME and shown in bad and shown >= 0:
            shown -= 1
        day = FEBRUARY + timedelta(days=max(shown, 0) // 1440)
        counts[day] = counts.get(day, 0) + 1
    pick.shuffle(doubled := [line for number, line in enumerate(lines[1:]) if number not in bad][:200])
    table = parse([*lines, *doubled], MONTH)
    wanted = [row_of(fields) for number, fields in enumerate(recorded_fields(symbol)) if number not in bad]
    assert rows_of(table) == wanted
    assert {day: sum(reasons.values()) for day, reasons in table.left_out.items()} == counts


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.integers(0, 199), st.tuples(st.integers(0, 10), st.text(max_size=8)), max_size=15), st.integers(1, 60))
def test_odd_text_in_a_row_never_changes_another(edits: dict[int, tuple[int, str]], length: int) -> None:
    lines = LINES[:200]
    for number, (place, junk) in edits.items():
        lines[number] = changed(lines[number], **{f"at{place}": junk.replace("\n", "").replace(",", "")})
    table = klines.parse_csv(pieces_of([HEADER, *lines], length), Freq.m1, ONE_DAY)
    found = {row[0]: row for row in rows_of(table)}
    whole = {row[0]: row for number, row in enumerate(ROWS[:200]) if number not in edits}
    assert whole.items() <= found.items()
    assert len(found) + sum(sum(reasons.values()) for reasons in table.left_out.values()) == 200


# -- REST -----------------------------------------------------------------------------------------------------------------


def wire(number: int) -> list[Any]:
    """A recorded row as REST writes it (docs/wire.md, klines)."""
    values: list[Any] = LINES[number].split(",")
    for column in (TIME, CLOSE_TIME, COUNT):
        values[column] = int(values[column])
    return values


REST_FAULTS = {
    "a stamp off by 3 s": (TIME, FEBRUARY_MS + 5 * MINUTE + 3_000, "time_off_grid"),
    "a stamp off by 3 s at the end": (TIME, FEBRUARY_MS + DAY - MINUTE + 3_000, "time_off_grid"),
    "a stamp off by 3 s before the start": (TIME, FEBRUARY_MS - 3_000, "time_off_grid"),
    "a stamp that is no time": (TIME, None, "not_a_number"),
    "high below low": (HIGH, "0.1", "high_below_low"),
    "a null": (VOLUME, None, "not_a_number"),
    "a truth value": (COUNT, True, "not_a_number"),
    "a float": (COUNT, 1.5, "not_a_number"),
    "two numbers": (VOLUME, "1,2", "not_a_number"),
}


@pytest.mark.parametrize("name", REST_FAULTS)
def test_a_bad_row_of_a_page_costs_its_own_bar_alone(name: str) -> None:
    column, value, reason = REST_FAULTS[name]
    page = [wire(number) for number in range(20)]
    page[5][column] = value
    table = parse_rest(page, Freq.m1, ONE_DAY)
    assert rows_of(table) == [*ROWS[:5], *ROWS[6:20]]
    assert table.left_out == {FEBRUARY: {reason: 1}}
    # What it says will not be better the next time, even where it is all of the page.
    assert parse_rest([page[5]], Freq.m1, ONE_DAY) == RowsByDay({}, {FEBRUARY: {reason: 1}})
    with pytest.raises(InvalidData, match=reason):
        parse_rest([*page[:5], page[5], page[5]], Freq.m1, ONE_DAY)


@pytest.mark.parametrize("column", [CLOSE_TIME, IGNORE])
def test_what_is_not_stored_disqualifies_no_page(column: int) -> None:
    for value in (None, True, "", "x", 0, -1, 1.5, [1], {}):
        page = [wire(number) for number in range(20)]
        for row in page:
            row[column] = value
        assert parse_rest(page, Freq.m1, ONE_DAY) == RowsByDay({FEBRUARY: list(ROWS[:20])}), value


def test_one_conflicting_double_of_a_page_takes_both_out() -> None:
    page = [wire(number) for number in (*range(30), 3)]
    page[-1][CLOSE] = page[-1][LOW]
    assert float(page[-1][CLOSE]) != ROWS[3][4]
    table = parse_rest(page, Freq.m1, ONE_DAY)
    assert rows_of(table) == [*ROWS[:3], *ROWS[4:30]]
    assert table.left_out == {FEBRUARY: {"conflicting_rows": 2}}
