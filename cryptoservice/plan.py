"""Which symbol-days come from which source, and what the evidence so far means. Pure functions: no I/O, no clock.

Every wanted symbol-day has a route, the sources to ask in order. After each answer `next_step` either names the source to
ask next or settles the day with its status, its rows and the reason.

There are two witnesses, the archive (monthly and daily objects together) and REST. All expected rows from one witness make a
day complete; a hole is believed when both witnesses have been heard, or when only one can exist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timezone
from enum import Enum

from cryptoservice.days import ONE_DAY, Window, month_end, month_of
from cryptoservice.models import Freq, Row, SourceObject, Status

# Daily objects of day D appear on D+1 between 07 and 09 UTC, sometimes later (wire facts 5.2).
ARCHIVE_AGE_DAYS = 2
# From this age on, an absent daily object is the archive's answer: it was never published.
ABSENCE_AGE_DAYS = 7
# A monthly object pays from two wanted days on.
MONTHLY_LEAST_DAYS = 2
# By this hour of the following day metrics objects have appeared (wire facts 5.2); before it, REST is asked first.
PUBLISHED_AT = time(9, 0)
# No symbol has metrics in the archive before this day (wire facts 5.1).
METRICS_START = date(2020, 9, 1)
# /futures/data keeps about thirty days; a day that started longer ago than this is not asked for there (wire facts 3.2).
METRICS_REST_DAYS = 29
# The monthly funding object of a month has appeared by then, if it ever will.
MONTHLY_ABSENCE_AGE_DAYS = 62


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
    NOT_SERVED = "not_served"
    """The API does not serve this symbol, or not so far back: it cannot be a witness."""
    REFUSED = "refused"
    """The host refuses this address for now, whatever it is asked."""
    FAILED = "failed"
    """No usable answer, this time."""


@dataclass(frozen=True)
class Witness:
    """What one source said of one symbol-day."""

    testimony: Testimony
    rows: Sequence[Row] = ()
    reason: str | None = None
    """Why there are no rows, or how the rows were read where that took a decision."""
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
    wanted_in_month = Counter(map(month_of, days))
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


def metrics_routes(days: Sequence[date], now: datetime) -> list[DayCase]:
    """The routes of a symbol's wanted metrics days: daily objects, and REST as far back as it serves."""
    cases = []
    for day in days:
        age = (now.date() - day).days
        published = now >= datetime.combine(day + ONE_DAY, PUBLISHED_AT, timezone.utc)
        if day < METRICS_START:
            route: tuple[Source, ...] = ()
        elif age > METRICS_REST_DAYS:
            route = (Source.DAILY,)
        else:
            route = (Source.DAILY, Source.REST) if published else (Source.REST, Source.DAILY)
        cases.append(DayCase(day, age, route, Freq.m5.bars_per_day))
    return cases


def funding_routes(days: Sequence[date], today: date) -> list[DayCase]:
    """The routes of a symbol's wanted funding days. How many rows a day has is for the source to say."""
    return [DayCase(day, (today - day).days, (Source.REST, Source.MONTHLY), 0) for day in days]


def next_step(case: DayCase, evidence: Evidence) -> Source | Outcome:
    """The source to ask next for a day of klines or metrics, or how the day ends."""
    if case.age < 1:
        return _unfinished(case)
    for source, witness in evidence.items():
        if _is_whole(case, source, witness):
            return Outcome(Status.COMPLETE, witness.reason, witness.rows, (source,), case.expected_rows)
    for source in case.route:
        if source not in evidence:
            return source
    return _settle(case, evidence)


def next_funding_step(case: DayCase, evidence: Evidence) -> Source | Outcome:
    """The same for funding rates: one answer that covers a day settles it; the archive stands in for a REST that refuses."""
    if case.age < 1:
        return _unfinished(case)
    for source in case.route:
        witness = evidence.get(source)
        if witness is None:
            return source
        if witness.testimony is Testimony.ROWS:
            if witness.rows:
                return Outcome(Status.COMPLETE, None, witness.rows, (source,), len(witness.rows))
            return Outcome(Status.CONFIRMED_GAP, f"no_funding_in_{source}", (), (), 0)
        if witness.testimony is Testimony.FAILED:
            break
    monthly = evidence.get(Source.MONTHLY)
    if monthly is not None and monthly.testimony is Testimony.ABSENT:
        rest = evidence[Source.REST]
        final = rest.testimony is Testimony.NOT_SERVED and case.age >= MONTHLY_ABSENCE_AGE_DAYS
        return Outcome(Status.CONFIRMED_GAP if final else Status.INCOMPLETE, f"{Source.REST}: {rest.reason}", (), (), 0)
    return Outcome(Status.FAILED, _trouble(evidence), (), (), 0)


def _unfinished(case: DayCase) -> Outcome:
    """A day that is not over cannot be fetched; a universe made by hand can hold one."""
    return Outcome(Status.INCOMPLETE, "day_not_finished", (), (), case.expected_rows)


def _reading_note(evidence: Evidence) -> str | None:
    """How the daily object's rows were read, where that took a decision."""
    daily = evidence.get(Source.DAILY)
    return daily.reason if daily is not None and daily.testimony is Testimony.ROWS else None


def _is_whole(case: DayCase, source: Source, witness: Witness) -> bool:
    """All expected rows from one source. A blank in the archive is what the exchange published; in REST it may yet be filled."""
    if witness.testimony is not Testimony.ROWS or len(witness.rows) != case.expected_rows:
        return False
    return source is not Source.REST or not any(None in row for row in witness.rows)


def _settle(case: DayCase, evidence: Evidence) -> Outcome:
    union = _unite(evidence)

    def end(status: Status, reason: str | None) -> Outcome:
        parts = (reason, _reading_note(evidence))
        return Outcome(status, "; ".join(filter(None, parts)) or None, union.rows, union.sources, case.expected_rows)

    if not case.route:
        return end(Status.CONFIRMED_GAP, "before_history")
    archive = _archive_answer(case, evidence)
    rest = _rest_answer(evidence)
    rest_possible = Source.REST in case.route and evidence[Source.REST].testimony is not Testimony.NOT_SERVED
    daily = evidence.get(Source.DAILY)
    old = case.age >= ABSENCE_AGE_DAYS
    # An object that is still broken after a week is as good as none: REST is the only witness that can exist.
    broken = any(witness.testimony is Testimony.DISTRUSTED for source, witness in evidence.items() if source is not Source.REST)
    archive_possible = daily is not None and not (archive is None and broken and old)
    if len(union.rows) == case.expected_rows and (not union.blank or (old and archive is not None)):
        return end(Status.COMPLETE, None)
    if archive is not None and rest is not None:
        if archive == rest:
            return end(Status.CONFIRMED_GAP, "sources_agree")
        # Both have been heard; once the archive will say no more, what the union lacks both lack.
        return end(Status.CONFIRMED_GAP if old else Status.INCOMPLETE, "sources_differ")
    if archive is not None and not rest_possible:
        return end(Status.CONFIRMED_GAP, "archive_alone")
    if rest is not None and not archive_possible and case.age >= ARCHIVE_AGE_DAYS:
        trouble = _trouble(evidence, Testimony.DISTRUSTED)
        return end(Status.CONFIRMED_GAP, f"rest_alone ({trouble})" if trouble else "rest_alone")
    reason = _trouble(evidence)
    if reason is None and daily is not None and daily.testimony is Testimony.ABSENT:
        return end(Status.INCOMPLETE, "not_published_yet")
    reason = reason or _trouble(evidence, Testimony.NOT_SERVED) or "too_young_for_one_witness"
    return end(Status.INCOMPLETE if union.rows else Status.FAILED, reason)


@dataclass(frozen=True)
class _Union:
    rows: list[Row]
    sources: tuple[Source, ...]
    blank: bool
    """A REST row lacks a value that the archive may yet bring."""


def _unite(evidence: Evidence) -> _Union:
    """Rows of all sources by time. The more trusted source wins, but its blanks do not wipe out another's values."""
    rows: dict[int, tuple[Row, Source]] = {}
    for source in Source:
        witness = evidence.get(source)
        for row in witness.rows if witness is not None else ():
            known = rows.get(row[0])
            if known is not None and None in row:
                row = tuple(old if new is None else new for old, new in zip(known[0], row, strict=True))  # noqa: PLW2901
            rows[row[0]] = (row, source)
    used = {source for _, source in rows.values()}
    blank = any(source is Source.REST and None in row for row, source in rows.values())
    return _Union([rows[moment][0] for moment in sorted(rows)], tuple(source for source in Source if source in used), blank)


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
    # A month that is there but could not be read may hold what the absent day does not.
    unread = monthly is not None and monthly.testimony not in (Testimony.ROWS, Testimony.ABSENT)
    if daily.testimony is Testimony.ABSENT and case.age >= ABSENCE_AGE_DAYS and not unread:
        return from_monthly
    return None


def _rest_answer(evidence: Evidence) -> frozenset[int] | None:
    rest = evidence.get(Source.REST)
    return _times(rest.rows) if rest is not None and rest.testimony is Testimony.ROWS else None


def _trouble(evidence: Evidence, *kinds: Testimony) -> str | None:
    """The reason that helps most: bad data before a host that refuses before a failed request."""
    for testimony in kinds or (Testimony.DISTRUSTED, Testimony.REFUSED, Testimony.FAILED):
        for source in reversed(Source):
            witness = evidence.get(source)
            if witness is not None and witness.testimony is testimony:
                return f"{source}: {witness.reason}"
    return None


def group(symbol: str, steps: Mapping[date, Source], *, max_days: int, max_gap: int = 0) -> Iterator[Fetch]:
    """Join days into as few requests as possible: a month's object once, REST over runs of neighbouring days.

    A run holds at most `max_days` wanted days, and bridges at most `max_gap` unwanted ones between two of them.
    """
    months: dict[date, list[date]] = {}
    run: list[date] = []
    for day in sorted(steps):
        source = steps[day]
        if source is Source.MONTHLY:
            months.setdefault(month_of(day), []).append(day)
        elif source is Source.DAILY:
            yield Fetch(Source.DAILY, symbol, (day,))
        else:
            if run and ((day - run[-1]).days > max_gap + 1 or len(run) >= max_days):
                yield Fetch(Source.REST, symbol, tuple(run))
                run = []
            run.append(day)
    if run:
        yield Fetch(Source.REST, symbol, tuple(run))
    for days in months.values():
        yield Fetch(Source.MONTHLY, symbol, tuple(days))


def keep_stored(outcome: Outcome, stored: Sequence[Row]) -> Outcome:
    """The same outcome with the rows that an earlier run has stored and that no source holds any more."""
    rows = {row[0]: row for row in (*stored, *outcome.rows)}
    return replace(outcome, rows=[rows[moment] for moment in sorted(rows)])


_QUALITY = {Status.FAILED: 0, Status.INCOMPLETE: 1, Status.CONFIRMED_GAP: 2, Status.COMPLETE: 3}


def at_least_as_good(new: Status, new_rows: int, old: Status, old_rows: int) -> bool:
    """May a result replace what is stored? Only when neither its status nor its rows are a step back."""
    if _QUALITY[new] != _QUALITY[old]:
        return _QUALITY[new] > _QUALITY[old] and new_rows >= old_rows
    return new_rows >= old_rows
