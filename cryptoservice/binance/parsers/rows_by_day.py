"""Checked rows by UTC day: what every parser returns, whatever the source of the rows."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from cryptoservice.days import day_of_ms, day_start_ms
from cryptoservice.models import DAY_MS, Row
from cryptoservice.rows import ColumnRows


class InvalidData(Exception):
    """The content cannot be trusted as a whole. `reason` is a short stable word for reports."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RowsByDay(NamedTuple):
    """Rows by UTC day. The rows of a day are ordered by time (the first field, ms UTC) and hold no duplicates."""

    days: Mapping[date, Sequence[Row]]
    conflicting: frozenset[date] = frozenset()
    """Days in which two rows of one time differ. Such a day does not count."""
    note: str | None = None
    """How the rows were read, where there was a choice."""


def drop_header(lines: list[str], header: str) -> None:
    """Remove the header row where there is one. Raises InvalidData when it names other columns, or the same in another order."""
    if lines and lines[0][:1].isalpha():
        if lines[0] != header:
            raise InvalidData("unknown_columns" if lines[0].count(",") == header.count(",") else "wrong_column_count")
        del lines[0]


def column_days(columns: Sequence[array[Any]]) -> dict[date, Sequence[Row]]:
    """Columns that are ordered by time (the first column), cut at UTC midnights."""
    times = columns[0]
    days: dict[date, Sequence[Row]] = {}
    start = 0
    while start < len(times):
        day = day_of_ms(times[start])
        end = bisect_left(times, day_start_ms(day) + DAY_MS, lo=start)
        days[day] = ColumnRows(columns, start, end)
        start = end
    return days


def _time(row: Row) -> Any:
    return row[0]


def collapse(rows: list[Row], *, key_of: Callable[[Row], Any] = _time, note: str | None = None) -> RowsByDay:
    """Rows in any order, by day: sorted, identical duplicates collapsed to one, days with conflicting duplicates named.

    `key_of` says which rows are duplicates; by default those of one time.
    """
    rows.sort(key=key_of)
    unique: dict[Any, Row] = {}
    conflicting: set[date] = set()
    for row in rows:
        if unique.setdefault(key_of(row), row) != row:
            conflicting.add(day_of_ms(row[0]))
    return RowsByDay(split_days(list(unique.values())), frozenset(conflicting), note)


def split_days(rows: Sequence[Row]) -> dict[date, Sequence[Row]]:
    """Rows that are ordered by time, cut at UTC midnights."""
    days: dict[date, Sequence[Row]] = {}
    start = 0
    while start < len(rows):
        day = day_of_ms(rows[start][0])
        end = bisect_left(rows, day_start_ms(day) + DAY_MS, lo=start, key=lambda row: row[0])
        days[day] = rows[start:end]
        start = end
    return days
