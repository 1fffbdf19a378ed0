"""Which symbol-days come from which source, and what the evidence so far means. Pure functions: no I/O, no clock.

Every wanted symbol-day has a route, the sources to ask in order. After each answer `next_step` either names the source to
ask next or settles the day with its status, its rows and the reason.

There are two witnesses, the archive (monthly and daily objects together) and REST. All expected rows from one witness make a
day complete; a hole is believed when both witnesses have been heard, or when only one can exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum

from cryptoservice.days import ONE_DAY, Window, month_end, month_of
from cryptoservice.models import Row, SourceObject, Status

# Daily objects of day D appear on D+1 between 07 and 09 UTC, sometimes later (wire facts 5.2).
ARCHIVE_AGE_DAYS = 2
# From this age on, an absent daily object is the archive's answer: it was never published.
ABSENCE_AGE_DAYS = 7
# A monthly object pays from two wanted days on.
MONTHLY_LEAST_DAYS = 2


class Source(str, Enum):
    """Where rows can come from; the order is the order of trust when they differ."""

    MONTHLY = "monthly"
    DAILY = "daily"
    REST = "rest"

    def __str__(self) -> str:
        return self.value


class KlineSource(str, Enum):
    """The `--kline-source` flag."""

    AUTO = "auto"
    VISION = "vision"
    API = "api"


class Testimony(Enum):
    """What kind of answer a source gave for a symbol-day."""

    ROWS = "rows"
    """A verified answer that covers the day, with or without rows."""
    ABSENT = "absent"
    """The archive does not hold the object."""
    DISTRUSTED = "distrusted"
    """The object is there, but its content or checksum cannot be trusted."""
    UNKNOWN_SYMBOL = "unknown_symbol"
    """The API does not serve this symbol, or not so far back: it cannot be a witness."""
    FAILED = "failed"
    """No usable answer, this time."""


@dataclass(frozen=True)
class Witness:
    """What one source said of one symbol-day."""

    testimony: Testimony
    rows: Sequence[Row] = ()
    reason: str | None = None
    origin: SourceObject | None = None
    """The archive object that said so."""


Evidence = Mapping[Source, Witness]


@dataclass(frozen=True)
class DayCase:
    """What is known of a symbol-day before any source is asked."""

    day: date
    age: int
    """Whole days between the day and today; yesterday is 1."""
    route: tuple[Source, ...]
    expected_rows: int


@dataclass(frozen=True)
class Outcome:
    """How a symbol-day ends in this run."""

    status: Status
    reason: str | None
    rows: Sequence[Row]
    sources: tuple[Source, ...]
    """Sources of the rows, by rising trust."""
    expected_rows: int

    def origin(self, evidence: Evidence) -> SourceObject | None:
        """The most trusted archive object among the sources of the rows."""
        for source in reversed(self.sources):
            if evidence[source].origin is not None:
                return evidence[source].origin
        return None


@dataclass(frozen=True)
class Fetch:
    """One unit of fetching: an archive object, or REST pages over a span of days."""

    source: Source
    symbol: str
    days: tuple[date, ...]
    """In order; neighbouring ones for REST klines."""

    @property
    def window(self) -> Window:
        """From the first to the last of its days."""
        return Window(self.days[0], self.days[-1])


def kline_routes(days: Sequence[date], today: date, choice: KlineSource, bars_per_day: int) -> list[DayCase]:
    """The routes of a symbol's wanted kline days."""
    wanted_in_month: dict[date, int] = {}
    for day in days:
        month = month_of(day)
        wanted_in_month[month] = wanted_in_month.get(month, 0) + 1
    cases = []
    for day in days:
        age = (today - day).days
        closed = month_end(day) < today
        monthly = closed and wanted_in_month[month_of(day)] >= MONTHLY_LEAST_DAYS
        archive = (Source.MONTHLY, Source.DAILY) if monthly else (Source.DAILY,)
        if choice is KlineSource.API:
            route: tuple[Source, ...] = (Source.REST,)
        elif choice is KlineSource.VISION:
            route = archive
        elif age < ARCHIVE_AGE_DAYS:
            route = (Source.REST, Source.DAILY)
        else:
            route = (*archive, Source.REST)
        cases.append(DayCase(day, age, route, bars_per_day))
    return cases


def next_step(case: DayCase, evidence: Evidence) -> Source | Outcome:
    """The source to ask next, or how the day ends."""
    for source, witness in evidence.items():
        if witness.testimony is Testimony.ROWS and len(witness.rows) == case.expected_rows:
            return Outcome(Status.COMPLETE, None, witness.rows, (source,), case.expected_rows)
    for source in case.route:
        if source not in evidence:
            return source
    return _settle(case, evidence)


def _settle(case: DayCase, evidence: Evidence) -> Outcome:
    rows, sources = _union(evidence)
    if len(rows) == case.expected_rows:
        return Outcome(Status.COMPLETE, None, rows, sources, case.expected_rows)
    archive = _archive_answer(case, evidence)
    rest = _rest_answer(evidence)
    rest_possible = Source.REST in case.route and evidence[Source.REST].testimony is not Testimony.UNKNOWN_SYMBOL
    archive_possible = Source.DAILY in case.route
    if archive is not None and rest is not None:
        if archive == rest:
            return Outcome(Status.CONFIRMED_GAP, "sources_agree", rows, sources, case.expected_rows)
        if case.age >= ABSENCE_AGE_DAYS:
            # Both have been heard and neither will say more: what the union lacks, both lack.
            return Outcome(Status.CONFIRMED_GAP, "sources_differ", rows, sources, case.expected_rows)
        return Outcome(Status.INCOMPLETE, "sources_differ", rows, sources, case.expected_rows)
    if archive is not None and not rest_possible:
        return Outcome(Status.CONFIRMED_GAP, "archive_alone", rows, sources, case.expected_rows)
    if rest is not None and not archive_possible:
        return Outcome(Status.CONFIRMED_GAP, "rest_alone", rows, sources, case.expected_rows)
    reason = _trouble(evidence)
    if reason is None or rows:
        return Outcome(Status.INCOMPLETE, reason or "not_published_yet", rows, sources, case.expected_rows)
    return Outcome(Status.FAILED, reason, (), (), case.expected_rows)


def _union(evidence: Evidence) -> tuple[list[Row], tuple[Source, ...]]:
    """Rows of all sources by time, the more trusted source winning."""
    rows: dict[int, tuple[Row, Source]] = {}
    for source in Source:
        witness = evidence.get(source)
        if witness is not None:
            rows.update((row[0], (row, source)) for row in witness.rows)
    used = {source for _, source in rows.values()}
    return [rows[moment][0] for moment in sorted(rows)], tuple(source for source in Source if source in used)


def _times(rows: Iterable[Row]) -> frozenset[int]:
    return frozenset(row[0] for row in rows)


def _archive_answer(case: DayCase, evidence: Evidence) -> frozenset[int] | None:
    """The open times that the archive holds, or None while it has not really answered."""
    monthly, daily = evidence.get(Source.MONTHLY), evidence.get(Source.DAILY)
    if daily is None:
        return None
    from_monthly = _times(monthly.rows) if monthly is not None else frozenset()
    if daily.testimony is Testimony.ROWS:
        return from_monthly | _times(daily.rows)
    if daily.testimony is Testimony.ABSENT and case.age >= ABSENCE_AGE_DAYS:
        return from_monthly
    if daily.testimony is Testimony.DISTRUSTED and monthly is not None and monthly.testimony is Testimony.ROWS:
        return from_monthly
    return None


def _rest_answer(evidence: Evidence) -> frozenset[int] | None:
    rest = evidence.get(Source.REST)
    return _times(rest.rows) if rest is not None and rest.testimony is Testimony.ROWS else None


def _trouble(evidence: Evidence) -> str | None:
    """The reason that helps most: bad data before a failed request before an unknown symbol."""
    for testimony in (Testimony.DISTRUSTED, Testimony.FAILED, Testimony.UNKNOWN_SYMBOL):
        for source in reversed(Source):
            witness = evidence.get(source)
            if witness is not None and witness.testimony is testimony:
                return f"{source.value}: {witness.reason}"
    return None


def group(symbol: str, steps: Mapping[date, Source], max_rest_days: int) -> Iterator[Fetch]:
    """Join days into as few requests as possible: a month's object once, REST over runs of neighbouring days."""
    months: dict[date, list[date]] = {}
    run: list[date] = []
    for day in sorted(steps):
        source = steps[day]
        if source is Source.MONTHLY:
            months.setdefault(month_of(day), []).append(day)
        elif source is Source.DAILY:
            yield Fetch(Source.DAILY, symbol, (day,))
        else:
            if run and (day - run[-1] != ONE_DAY or len(run) >= max_rest_days):
                yield Fetch(Source.REST, symbol, tuple(run))
                run = []
            run.append(day)
    if run:
        yield Fetch(Source.REST, symbol, tuple(run))
    for days in months.values():
        yield Fetch(Source.MONTHLY, symbol, tuple(days))


_QUALITY = {Status.FAILED: 0, Status.INCOMPLETE: 1, Status.CONFIRMED_GAP: 2, Status.COMPLETE: 3}


def at_least_as_good(new: Status, new_rows: int, old: Status, old_rows: int) -> bool:
    """May a result replace what is stored? Only when neither its status nor its rows are a step back."""
    if _QUALITY[new] != _QUALITY[old]:
        return _QUALITY[new] > _QUALITY[old] and new_rows >= old_rows
    return new_rows >= old_rows
