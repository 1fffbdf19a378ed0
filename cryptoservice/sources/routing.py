"""Routes: which sources to ask for a symbol-day, in which order, by the age of the day. Pure functions: no I/O, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from cryptoservice.days import month_end, month_of
from cryptoservice.models import Freq
from cryptoservice.sources.evidence import KlineSource, Source

# The daily object of day D appears on D+1 between 07 and 09 UTC, sometimes later (docs/wire.md, publication).
ARCHIVE_AGE_DAYS = 2
# From this hour on, UTC, the archive has mostly published the day before.
PUBLISHED_BY_HOUR = 9
# A monthly object pays from two wanted days on.
MONTHLY_LEAST_DAYS = 2
# No symbol has metrics in the archive before this day (docs/wire.md, archive layout).
METRICS_START = date(2020, 9, 1)
# /futures/data keeps about thirty days. A day that started longer ago than this is not asked for there (docs/wire.md).
METRICS_REST_DAYS = 29


@dataclass(frozen=True, slots=True)
class DayRoute:
    """A symbol-day before any source is asked: the sources to ask, in order, and what a whole day has."""

    day: date
    age: int
    """Whole days between the day and today; yesterday is 1."""
    sources: tuple[Source, ...]
    expected_rows: int
    """0 where only the source knows (funding rates)."""


def kline_routes(days: Sequence[date], today: date, choice: KlineSource, bars_per_day: int) -> list[DayRoute]:
    """The routes of a symbol's wanted kline days."""
    wanted_in_month = Counter(map(month_of, days))
    routes = []
    for day in days:
        age = (today - day).days
        monthly = month_end(day) < today and wanted_in_month[month_of(day)] >= MONTHLY_LEAST_DAYS
        archive = (Source.MONTHLY, Source.DAILY) if monthly else (Source.DAILY,)
        if choice is KlineSource.API:
            sources: tuple[Source, ...] = (Source.REST,)
        elif choice is KlineSource.VISION:
            sources = archive
        elif age < ARCHIVE_AGE_DAYS:
            sources = (Source.REST, Source.DAILY)
        else:
            sources = (*archive, Source.REST)
        routes.append(DayRoute(day, age, sources, bars_per_day))
    return routes


def metrics_routes(days: Sequence[date], now: datetime) -> list[DayRoute]:
    """The routes of a symbol's wanted metrics days: daily objects, and REST as far back as it serves.

    The daily object comes first at any hour: some appear before 03:00 UTC, some days late (docs/wire.md, publication).
    """
    routes = []
    for day in days:
        age = (now.date() - day).days
        if day < METRICS_START:
            sources: tuple[Source, ...] = ()
        elif age > METRICS_REST_DAYS:
            sources = (Source.DAILY,)
        else:
            sources = (Source.DAILY, Source.REST)
        routes.append(DayRoute(day, age, sources, Freq.m5.bars_per_day))
    return routes


def funding_routes(days: Sequence[date], today: date) -> list[DayRoute]:
    """The routes of a symbol's wanted funding days: REST, else the monthly object."""
    return [DayRoute(day, (today - day).days, (Source.REST, Source.MONTHLY), 0) for day in days]


def comparison_sources(day: date, today: date, choice: KlineSource) -> tuple[Source, ...]:
    """The sources to ask, in order, for a second answer about a kline day: REST, or the archive's objects."""
    if choice is KlineSource.API:
        return (Source.REST,)
    # Some days stand in the month's object alone.
    return (Source.DAILY, Source.MONTHLY) if month_end(day) < today else (Source.DAILY,)
