"""Checked rows by UTC day: what every parser hands on, whichever source the rows came from."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

from cryptoservice.days import day_of_ms, day_start_ms
from cryptoservice.models import DAY_MS, Row


class InvalidTable(Exception):
    """The content cannot be trusted as a whole; `reason` is a short stable word for reports."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DayTable(NamedTuple):
    """Rows by day, each day ordered by time (the first field, ms UTC) without duplicates."""

    days: Mapping[date, Sequence[Row]]
    conflicting: frozenset[date]
    """Days in which two rows of one time differ: they do not count in this object."""


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
