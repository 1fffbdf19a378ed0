"""Verdicts: after each answer, the source to ask next, or how the symbol-day ends. Pure functions: no I/O, no clock.

The archive (monthly and daily objects together) and REST are two independent sources, and what is stored has the trust of
the source that it came from. All expected rows, whatever their sources, make a day complete. A hole is believed when archive
and REST have both answered, or when only one of them can exist. Only a failure of transport leaves a past day open for long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptoservice.models import Row, SourceObject, Status
from cryptoservice.sources.evidence import AnswerKind, Evidence, Source, SourceAnswer, sources_of
from cryptoservice.sources.routing import ARCHIVE_AGE_DAYS, DayRoute
from cryptoservice.sources.union import (
    ABSENCE_AGE_DAYS,
    RowUnion,
    archive_times,
    by_time,
    by_time_and_type,
    marks_of,
    rest_times,
    unite,
)
from cryptoservice.storage.ledger import StoredDay

# By this age the monthly funding object of a day's month has appeared, if it ever will.
MONTHLY_ABSENCE_AGE_DAYS = 62
# In the reason of a gap: it rests on an object that could not be trusted, and is asked for again after a month.
DISTRUSTED_MARK = "distrusted"


class PublishedAnew(NamedTuple):
    """An archive object that has changed since rows were stored from it."""

    name: str
    """The path of the object inside the archive."""
    old: str
    """SHA-256 of the version that the stored rows came from."""
    new: str
    """SHA-256 of the version that has answered now."""


@dataclass(frozen=True)
class Verdict:
    """How a symbol-day ends in this run."""

    status: Status
    reason: str | None
    rows: Sequence[Row]
    marks: bytes
    """For each row the bits of the sources whose values it holds."""
    expected_rows: int
    is_news: bool = True
    """False when what is stored stays as it is, the ledger line too."""
    trouble: str | None = None
    """Why this run failed although what is stored is settled; for this run's report alone."""
    superseded: PublishedAnew | None = None
    """The archive object that the ledger names, when it has been published anew."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Sources of the rows, by rising trust."""
        return sources_of(self.marks)


def next_step(route: DayRoute, evidence: Evidence, stored: StoredDay | None = None) -> Source | Verdict:
    """The source to ask next for a day of klines or metrics, or how the day ends."""
    if route.age < 1:
        return _unfinished(route, stored)
    for source, answer in evidence.items():
        if _is_whole(route, source, answer):
            if stored is None or stored.is_stale:
                marks = marks_of(source, answer.rows)
                return Verdict(Status.COMPLETE, answer.reason, answer.rows, marks, route.expected_rows)
            return _end(route, {source: answer}, stored, superseded=_superseded(evidence, stored))
    for source in _in_order(route, stored):
        if source not in evidence:
            return source
    return _end(route, evidence, stored)


def _in_order(route: DayRoute, stored: StoredDay | None) -> Sequence[Source]:
    """The sources of the route. A settled day begins with the object that its rows came from, which may have changed.

    A day's own object outranks that of the month, so after it the month's alone would bring nothing new. And a month's object
    is asked for a single day too, where rows of its older version are stored.
    """
    if stored is None or not stored.status.settled or Source.DAILY not in route.sources:
        return route.sources
    archived = [source for source in sources_of(stored.marks) if source is not Source.REST]
    return list(dict.fromkeys((*archived[-1:], *route.sources)))


def next_funding_step(route: DayRoute, evidence: Evidence, stored: StoredDay | None = None) -> Source | Verdict:
    """The same for funding rates: one answer that covers a day settles it. The archive stands in for a REST that refuses.

    Nobody knows how many rates a day has, so an answer of which rows were left out covers no day.
    """
    if route.age < 1:
        return _unfinished(route, stored)
    for source in route.sources:
        answer = evidence.get(source)
        if answer is None:
            return source
        if _covers(answer):
            return _end(route, evidence, stored, judge=_judge_funding, key_of=by_time_and_type)
        if answer.kind is AnswerKind.FAILED:
            break
    return _end(route, evidence, stored, judge=_judge_funding, key_of=by_time_and_type)


def origin_of(sources: Sequence[Source], evidence: Evidence) -> SourceObject | None:
    """The most trusted archive object of this run among these sources."""
    for source in reversed(sources):
        answer = evidence.get(source)
        if answer is not None and answer.origin is not None:
            return answer.origin
    return None


_Judgement = tuple[Status, "str | None"]


def _end(
    route: DayRoute,
    evidence: Evidence,
    stored: StoredDay | None,
    *,
    judge: Callable[[DayRoute, Evidence, RowUnion], _Judgement] | None = None,
    key_of: Callable[[Row], Any] = by_time,
    superseded: PublishedAnew | None = None,
) -> Verdict:
    """The verdict on all evidence, with what is stored as a part of it. What is stored never becomes less.

    The newer version of an object brings its values. A row that it lacks stays: it was published once, and verified.
    """
    judge = judge or _judge
    if stored is not None and stored.is_stale:
        return _replace(route, evidence, stored)
    union = unite(evidence, stored, key_of)
    status, reason = judge(route, evidence, union)
    if stored is not None and stored.status is Status.COMPLETE:
        # It has all its rows still, blanks that a source gave as final among them.
        status, reason = Status.COMPLETE, None
    superseded = superseded or _superseded(evidence, stored)
    anew = f"published_anew (was {superseded.old})" if superseded else None
    reason = "; ".join(filter(None, (reason, *_notes(evidence), anew))) or None
    expected = route.expected_rows or len(union.rows)
    if stored is None:
        return Verdict(status, reason, union.rows, union.marks, expected)
    origin = origin_of(union.sources, evidence)
    same_object = origin is None or (origin.name, origin.sha256) == stored.object_key
    adds_nothing = (union.rows, union.marks) == (list(stored.rows), stored.marks)
    fresh = unite(evidence, None, key_of)
    fresh_status, fresh_reason = judge(route, evidence, fresh)
    if not adds_nothing or not stored.status.settled or (status.settled and (status is not stored.status or not same_object)):
        return Verdict(status, reason, union.rows, union.marks, expected, superseded=superseded)
    if not fresh_status.settled or (len(fresh.rows) < len(stored.rows) and _trouble(evidence, AnswerKind.DISTRUSTED)):
        brought = f"refetch brought {fresh_status} with {len(fresh.rows)} rows ({fresh_reason})"
        trouble = f"{brought}: {stored.status} with {len(stored.rows)} kept"
        return Verdict(stored.status, stored.reason, stored.rows, stored.marks, expected, is_news=False, trouble=trouble)
    # The age of a gap that rests on a distrusted object counts from the last time that its sources said so.
    renewed = status is Status.CONFIRMED_GAP and DISTRUSTED_MARK in (stored.reason or "")
    return Verdict(stored.status, stored.reason, stored.rows, stored.marks, expected, is_news=renewed)


def _superseded(evidence: Evidence, stored: StoredDay | None) -> PublishedAnew | None:
    """The object that the ledger names, when a source has answered with another version of it."""
    if stored is None or stored.object_key is None:
        return None
    name, old = stored.object_key
    for answer in evidence.values():
        if answer.origin is not None and answer.origin.name == name and answer.origin.sha256 != old:
            return PublishedAnew(name, old, answer.origin.sha256)
    return None


def _replace(route: DayRoute, evidence: Evidence, stored: StoredDay) -> Verdict:
    """The verdict on a day whose stored rows may stand under the wrong bar: any rows take their place, all of it."""
    verdict = _end(route, evidence, None)
    if verdict.rows:
        return verdict
    if verdict.status.settled:
        # No source has the day any more: what is stored is all there is, and nobody can say how its labels were meant.
        reason = f"{verdict.reason}; labels_unproven"
        return Verdict(Status.CONFIRMED_GAP, reason, stored.rows, stored.marks, route.expected_rows)
    return Verdict(
        stored.status, stored.reason, stored.rows, stored.marks, route.expected_rows, is_news=False, trouble=verdict.reason
    )


def _unfinished(route: DayRoute, stored: StoredDay | None) -> Verdict:
    """A day that is not over cannot be fetched; a universe made by hand can hold one."""
    rows, marks = ((), b"") if stored is None else (stored.rows, stored.marks)
    return Verdict(Status.INCOMPLETE, "day_not_finished", rows, marks, route.expected_rows)


def _is_whole(route: DayRoute, source: Source, answer: SourceAnswer) -> bool:
    """All expected rows from one source. A blank in the archive is what the exchange published; in REST it may yet be filled."""
    if answer.kind is not AnswerKind.ROWS or len(answer.rows) != route.expected_rows:
        return False
    return source is not Source.REST or not any(None in row for row in answer.rows)


def _judge(route: DayRoute, evidence: Evidence, union: RowUnion) -> _Judgement:
    if not route.sources:
        return Status.CONFIRMED_GAP, "before_history"
    archive, rest = archive_times(route, evidence), rest_times(evidence)
    old = route.age >= ABSENCE_AGE_DAYS
    if len(union.rows) == route.expected_rows and (not union.has_blanks or (old and archive is not None)):
        return Status.COMPLETE, None
    distrusted = _trouble(evidence, AnswerKind.DISTRUSTED)
    not_served = _trouble(evidence, AnswerKind.NOT_SERVED)
    if archive is not None and rest is not None:
        if distrusted and not archive:
            return Status.CONFIRMED_GAP, _with("rest_alone", distrusted)
        if archive == rest:
            return Status.CONFIRMED_GAP, _with("sources_agree", distrusted)
        # Both have answered. Once the archive will say no more, both lack what the union lacks.
        return (Status.CONFIRMED_GAP if old else Status.INCOMPLETE), _with("sources_differ", distrusted)
    if archive is not None and (not_served or Source.REST not in route.sources):
        return Status.CONFIRMED_GAP, _with("archive_alone", distrusted)
    if Source.DAILY not in route.sources and route.age >= ARCHIVE_AGE_DAYS and rest is not None:
        return Status.CONFIRMED_GAP, "rest_alone"
    if Source.DAILY not in route.sources and old and not_served:
        return Status.CONFIRMED_GAP, not_served
    return _open(evidence, union)


def _open(evidence: Evidence, union: RowUnion) -> _Judgement:
    """A day that a later run asks for again, with the reason that helps most."""
    reason = _trouble(evidence, AnswerKind.DISTRUSTED, AnswerKind.REFUSED, AnswerKind.FAILED)
    daily = evidence.get(Source.DAILY)
    if reason is None and daily is not None and daily.kind is AnswerKind.ABSENT:
        return Status.INCOMPLETE, "not_published_yet"
    reason = reason or _trouble(evidence, AnswerKind.NOT_SERVED) or "too_young_for_one_source"
    return (Status.INCOMPLETE if union.rows else Status.FAILED), reason


def _covers(answer: SourceAnswer | None) -> bool:
    """Whether it holds all the funding rates of a day. A reason beside rows says that some were left out."""
    return answer is not None and answer.kind is AnswerKind.ROWS and answer.reason is None


def _judge_funding(route: DayRoute, evidence: Evidence, union: RowUnion) -> _Judgement:
    for source in route.sources:
        if _covers(evidence.get(source)):
            return (Status.COMPLETE, None) if union.rows else (Status.CONFIRMED_GAP, f"no_funding_in_{source}")
    if any(answer.kind is AnswerKind.ROWS for answer in evidence.values()):
        unheard = _trouble(evidence, AnswerKind.REFUSED, AnswerKind.FAILED)
        distrusted = _trouble(evidence, AnswerKind.DISTRUSTED)
        # The archive will say no more by then.
        if route.age >= MONTHLY_ABSENCE_AGE_DAYS and not unheard:
            return Status.CONFIRMED_GAP, _with("rest_alone", distrusted)
        return (Status.INCOMPLETE if union.rows else Status.FAILED), unheard or distrusted
    rest, monthly = evidence[Source.REST], evidence.get(Source.MONTHLY)
    if monthly is not None and monthly.kind in (AnswerKind.ABSENT, AnswerKind.DISTRUSTED):
        reason = f"{Source.REST}: {rest.reason}"
        if rest.kind is AnswerKind.NOT_SERVED and route.age >= MONTHLY_ABSENCE_AGE_DAYS:
            return Status.CONFIRMED_GAP, _with(reason, _trouble(evidence, AnswerKind.DISTRUSTED))
        if monthly.kind is AnswerKind.ABSENT:
            return Status.INCOMPLETE, reason
    return (Status.INCOMPLETE if union.rows else Status.FAILED), _trouble(
        evidence, AnswerKind.DISTRUSTED, AnswerKind.REFUSED, AnswerKind.FAILED
    )


def _with(reason: str, distrusted: str | None) -> str:
    return f"{reason} ({DISTRUSTED_MARK} {distrusted})" if distrusted else reason


def _notes(evidence: Evidence) -> list[str]:
    """How rows were read, and which were left out, where a source says so."""
    return [answer.reason for answer in evidence.values() if answer.kind is AnswerKind.ROWS and answer.reason]


def _trouble(evidence: Evidence, *kinds: AnswerKind) -> str | None:
    """Source and reason of the first of these kinds that there is."""
    for kind in kinds:
        for source in reversed(Source):
            answer = evidence.get(source)
            if answer is not None and answer.kind is kind:
                return f"{source}: {answer.reason}"
    return None
