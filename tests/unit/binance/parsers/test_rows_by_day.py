"""Rows by UTC day: midnights, duplicates, conflicts, headers."""

from __future__ import annotations

from array import array
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay, collapse, column_days, drop_header, split_days
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
    assert collapse([*reversed(EDGES), *EDGES], note="how") == RowsByDay(BY_DAY, frozenset(), "how")


def test_a_conflict_names_its_day_alone() -> None:
    table = collapse([*EDGES, (FEBRUARY_MS, 9)])
    assert table.conflicting == {FEBRUARY}
    assert list(table.days) == [BEFORE, FEBRUARY, NEXT]


def test_the_key_decides_what_a_duplicate_is() -> None:
    rows = [(FEBRUARY_MS, "b"), (FEBRUARY_MS, "a")]
    assert collapse(list(rows)).conflicting == {FEBRUARY}
    assert collapse(list(rows), key_of=lambda row: row) == RowsByDay({FEBRUARY: [(FEBRUARY_MS, "a"), (FEBRUARY_MS, "b")]})


@given(st.lists(st.tuples(st.integers(FEBRUARY_MS - DAY, FEBRUARY_MS + 2 * DAY), st.integers(0, 2)), max_size=30))
def test_every_time_stands_once_under_its_day(rows: list[tuple[int, int]]) -> None:
    table = collapse(list(rows))
    found = [row for day in sorted(table.days) for row in table.days[day]]
    assert [row[0] for row in found] == sorted({moment for moment, _ in rows})
    assert set(found) <= set(rows)
    for day, of_day in table.days.items():
        start = FEBRUARY_MS + (day - FEBRUARY).days * DAY
        assert all(start <= moment < start + DAY for moment, _ in of_day)
    clashing = {one[0] for one in rows for other in rows if one[0] == other[0] and one != other}
    days = {FEBRUARY + timedelta(days=(moment - FEBRUARY_MS) // DAY) for moment in clashing}
    assert table.conflicting == days


@pytest.mark.parametrize(
    ("lines", "left"), [(["a,b", "1,2"], ["1,2"]), (["1,2"], ["1,2"]), ([], []), (["a,b"], []), (["1,2", "a,b"], ["1,2", "a,b"])]
)
def test_a_header_is_dropped_where_there_is_one(lines: list[str], left: list[str]) -> None:
    drop_header(lines, "a,b")
    assert lines == left


@pytest.mark.parametrize(
    ("header", "reason"), [("b,a", "unknown_columns"), ("a", "wrong_column_count"), ("a,b,c", "wrong_column_count")]
)
def test_another_header_is_refused(header: str, reason: str) -> None:
    with pytest.raises(InvalidData, match=reason):
        drop_header([header, "1,2"], "a,b")
