"""Checked rows by UTC day: what every parser returns, whatever the source of the rows."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

from cryptoservice.days import day_of_ms, day_start_ms
from cryptoservice.models import DAY_MS, Row
from cryptoservice.rows import ColumnRows


class InvalidData(Exception):
    """The content cannot be trusted as a whole. `reason` is a short stable word for reports."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


LeftOut = Mapping[date, Mapping[str, int]]
"""By UTC day, how many rows were left out for which reason."""


class RowsByDay(NamedTuple):
    """Rows by UTC day. The rows of a day are ordered by time (the first field, ms UTC) and hold no duplicates."""

    days: Mapping[date, Sequence[Row]]
    left_out: LeftOut = MappingProxyType({})
    """Invalid rows: they do not count, and the other rows of their day do."""


class Sieve:
    """Counts the rows that are left out, and says when there are too many of them to trust the rest.

    A single bad row costs its own bar. When more than a tenth of the rows are bad, something is wrong with all of them.
    """

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._days: dict[date, Counter[str]] = {}

    def leave_out(self, reason: str, time_ms: int) -> None:
        """Count a row under the day of `time_ms` (ms UTC)."""
        self._reasons[reason] += 1
        self._days.setdefault(day_of_ms(time_ms), Counter())[reason] += 1

    def refuse_any(self, reason: str) -> None:
        """Raise InvalidData when even one row was left out for that reason."""
        if self._reasons[reason]:
            raise InvalidData(reason)

    def left_out(self, rows: int, *, at_least: int = 0) -> LeftOut:
        """What was left out of so many rows. InvalidData when it is more than a tenth of them, and more than `at_least`."""
        bad = sum(self._reasons.values())
        if bad > at_least and 10 * bad > rows:
            raise InvalidData(self._reasons.most_common(1)[0][0])
        return self._days


def sum_of(left_out: LeftOut) -> Mapping[str, int]:
    """The counts of all days together."""
    total: Counter[str] = Counter()
    for reasons in left_out.values():
        total.update(reasons)
    return total


def join_left_out(parts: Iterable[LeftOut]) -> LeftOut:
    """The sum of several counts."""
    joined: dict[date, Counter[str]] = {}
    for part in parts:
        for day, reasons in part.items():
            joined.setdefault(day, Counter()).update(reasons)
    return joined


def lines_of(text: str, header: str) -> list[str]:
    """The rows of a CSV text, one line each, without the header row and blank lines.

    Raises InvalidData when the header names other columns, or the same in another order.
    """
    # A carriage return that ends no line stays, since it may stand inside a number.
    lines = [line for line in text.removeprefix("\ufeff").replace("\r\n", "\n").rstrip("\r").split("\n") if line]
    if lines and starts_with_a_name(lines[0]):
        if lines[0] != header:
            raise InvalidData("unknown_columns" if lines[0].count(",") == header.count(",") else "wrong_column_count")
        del lines[0]
    return lines


def starts_with_a_name(line: str) -> bool:
    """Whether a line looks like a header row, in quotes or not: an invalid row would be left out, other columns never."""
    return line.lstrip(" \t\"'\ufeff")[:1].isalpha()


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


def collapse(rows: list[Row], sieve: Sieve, *, key_of: Callable[[Row], Any] = _time) -> dict[date, Sequence[Row]]:
    """Rows in any order, by day: sorted, identical duplicates collapsed to one, conflicting ones left out, all of them.

    `key_of` says which rows are duplicates; by default those of one time.
    """
    rows.sort(key=key_of)
    unique: dict[Any, Row] = {}
    conflicting: set[Any] = set()
    for row in rows:
        key = key_of(row)
        if unique.setdefault(key, row) != row:
            conflicting.add(key)
    if conflicting:
        for row in rows:
            if key_of(row) in conflicting:
                unique.pop(key_of(row), None)
                sieve.leave_out("conflicting_rows", row[0])
    return split_days(list(unique.values()))


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
