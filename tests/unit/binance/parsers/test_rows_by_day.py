"""Rows by UTC day: midnights, duplicates, conflicts, rows left out, headers."""

from __future__ import annotations

from array import array
from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.binance.parsers.rows_by_day import (
    InvalidData,
    Sieve,
    collapse,
    column_days,
    join_left_out,
    lines_of,
    split_days,
    sum_of,
)
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS

NEXT = date(2026, 2, 2)
BEFORE = date(2026, 1, 31)
EDGES = [(FEBRUARY_MS - 1, 1), (FEBRUARY_MS, 2), (FEBRUARY_MS + DAY - 1, 3), (FEBRUARY_MS + DAY, 4)]
BY_DAY = {BEFORE: EDGES[:1], FEBRUARY: EDGES[1:3], NEXT: EDGES[3:]}


def test_rows_are_cut_at_midnight() -> None:
    assert split_days(EDGES) == BY_DAY
    assert split_days([]) == {}


def test_columns_are_cut_like_rows() -> None:
    columns = (array("q", [row[0] for row in EDGES]), array("q", [row[1] for row in EDGES]))
    assert {day: list(rows) for day, rows in column_days(columns).items()} == BY_DAY
    assert column_days((array("q"), array("q"))) == {}


def test_rows_are_sorted_and_identical_duplicates_count_once() -> None:
    sieve = Sieve()
    assert collapse([*reversed(EDGES), *EDGES], sieve) == BY_DAY
    assert sieve.left_out(8) == {}


@pytest.mark.parametrize("others", [[9], [9, 8], [9, 9], [9, 2, 2]])
def test_a_conflict_takes_out_every_row_of_its_time_and_no_other(others: list[int]) -> None:
    sieve = Sieve()
    days = collapse([*EDGES, *((FEBRUARY_MS, value) for value in others)], sieve)
    assert days == {BEFORE: EDGES[:1], FEBRUARY: EDGES[2:3], NEXT: EDGES[3:]}
    assert sieve.left_out(100) == {FEBRUARY: {"conflicting_rows": 1 + len(others)}}


def test_the_key_decides_what_a_duplicate_is() -> None:
    rows = [(FEBRUARY_MS, "b"), (FEBRUARY_MS, "a")]
    assert collapse(list(rows), Sieve()) == {}
    both = {FEBRUARY: [(FEBRUARY_MS, "a"), (FEBRUARY_MS, "b")]}
    assert collapse(list(rows), Sieve(), key_of=lambda row: row) == both


@given(st.lists(st.tuples(st.integers(FEBRUARY_MS - DAY, FEBRUARY_MS + 2 * DAY), st.integers(0, 2)), max_size=30))
def test_every_time_without_a_conflict_stands_once_under_its_day(rows: list[tuple[int, int]]) -> None:
    sieve = Sieve()
    days = collapse(list(rows), sieve)
    found = [row for day in sorted(days) for row in days[day]]
    clashing = [one for one in rows if any(one[0] == other[0] and one != other for other in rows)]
    assert found == sorted(set(rows) - set(clashing))
    for day, of_day in days.items():
        start = FEBRUARY_MS + (day - FEBRUARY).days * DAY
        assert all(start <= moment < start + DAY for moment, _ in of_day)
    counts = Counter(FEBRUARY + timedelta(days=(moment - FEBRUARY_MS) // DAY) for moment, _ in clashing)
    assert sieve.left_out(10**6) == {day: {"conflicting_rows": count} for day, count in counts.items()}


# -- what is left out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bad", "rows"), [(0, 0), (1, 10), (28, 288), (4032, 40320)])
def test_up_to_a_tenth_may_be_bad(bad: int, rows: int) -> None:
    sieve = Sieve()
    for _ in range(bad):
        sieve.leave_out("why", FEBRUARY_MS)
    assert sieve.left_out(rows) == ({FEBRUARY: {"why": bad}} if bad else {})


@pytest.mark.parametrize(("bad", "rows"), [(1, 1), (1, 9), (2, 19), (29, 288), (4033, 40320)])
def test_more_than_a_tenth_makes_all_rows_doubtful(bad: int, rows: int) -> None:
    sieve = Sieve()
    for _ in range(bad):
        sieve.leave_out("often", FEBRUARY_MS)
    with pytest.raises(InvalidData, match="often"):
        sieve.left_out(rows)
    assert sieve.left_out(rows, at_least=bad) == {FEBRUARY: {"often": bad}}
    with pytest.raises(InvalidData, match="often"):
        sieve.left_out(rows, at_least=bad - 1)


def test_the_most_frequent_reason_is_named() -> None:
    sieve = Sieve()
    for reason in ("rare", "often", "seldom", "often", "seldom", "often"):
        sieve.leave_out(reason, FEBRUARY_MS)
    with pytest.raises(InvalidData, match="often"):
        sieve.left_out(6)


def test_reasons_are_counted_by_day_and_can_be_summed_and_joined() -> None:
    sieve = Sieve()
    for at, reason in ((0, "a"), (DAY - 1, "a"), (DAY, "a"), (DAY, "b")):
        sieve.leave_out(reason, FEBRUARY_MS + at)
    left_out = sieve.left_out(100)
    assert left_out == {FEBRUARY: {"a": 2}, NEXT: {"a": 1, "b": 1}}
    assert sum_of(left_out) == {"a": 3, "b": 1}
    assert join_left_out([left_out, {}, {NEXT: {"b": 4}, BEFORE: {"c": 1}}]) == {
        FEBRUARY: {"a": 2}, NEXT: {"a": 1, "b": 5}, BEFORE: {"c": 1},
    }  # fmt: skip


def test_some_reasons_are_the_fault_of_all() -> None:
    sieve = Sieve()
    sieve.leave_out("small", FEBRUARY_MS)
    sieve.refuse_any("grave")
    sieve.leave_out("grave", FEBRUARY_MS)
    with pytest.raises(InvalidData, match="grave"):
        sieve.refuse_any("grave")


# -- lines ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a,b\n1,2\n", ["1,2"]), ("1,2", ["1,2"]), ("", []), ("a,b", []), ("1,2\na,b", ["1,2", "a,b"]),
        ("\ufeffa,b\n1,2", ["1,2"]),
        ("\n\na,b\n\n1,2\n\n", ["1,2"]), ("a,b\r\n1,2\r\n3,4\r\n", ["1,2", "3,4"]), ("1,2\r", ["1,2"]), ("1\r2,3\n", ["1\r2,3"]),
        (",b\n1,2", [",b", "1,2"]), ("-5,2\n1,2", ["-5,2", "1,2"]),
    ],
)  # fmt: skip
def test_lines_are_rows_without_a_header_and_without_blank_lines(text: str, lines: list[str]) -> None:
    assert lines_of(text, "a,b") == lines


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("b,a", "unknown_columns"), ("a", "wrong_column_count"), ("a,b,c", "wrong_column_count"), ('"b","a"', "unknown_columns"),
        (" b,a", "unknown_columns"), ("\ufeff\ufeffb,a", "unknown_columns"),
    ],
)  # fmt: skip
def test_another_header_is_no_invalid_row_but_other_columns(header: str, reason: str) -> None:
    with pytest.raises(InvalidData, match=reason):
        lines_of(f"{header}\n" + "1,2\n" * 100, "a,b")
