"""Verdicts: after each answer, the source to ask next, or how the symbol-day ends. Pure functions: no I/O, no clock.

The archive (monthly and daily objects together) and REST are two independent sources. All expected rows from one of them
make a day complete. A hole is believed when both have answered, or when only one of them can exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptoservice.models import Row, SourceObject, Status
from cryptoservice.sources.evidence import AnswerKind, Evidence, Source, SourceAnswer
from cryptoservice.sources.routing import ARCHIVE_AGE_DAYS, DayRoute
from cryptoservice.sources.union import ABSENCE_AGE_DAYS, archive_times, rest_times, unite
from cryptoservice.storage.ledger import LedgerLine

# By this age the monthly funding object of a day's month has appeared, if it ever will.
MONTHLY_ABSENCE_AGE_DAYS = 62
_QUALITY = {Status.FAILED: 0, Status.INCOMPLETE: 1, Status.CONFIRMED_GAP: 2, Status.COMPLETE: 3}


@dataclass(frozen=True)
class Verdict:
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


def next_step(route: DayRoute, evidence: Evidence) -> Source | Verdict:
    """The source to ask next for a day of klines or metrics, or how the day ends."""
    if route.age < 1:
        return _unfinished(route)
    for source, answer in evidence.items():
        if _is_whole(route, source, answer):
            return Verdict(Status.COMPLETE, answer.reason, answer.rows, (source,), route.expected_rows)
    for source in route.sources:
        if source not in evidence:
            return source
    return _settle(route, evidence)


def next_funding_step(route: DayRoute, evidence: Evidence) -> Source | Verdict:
    """The same for funding rates: one answer that covers a day settles it. The archive stands in for a REST that refuses."""
    if route.age < 1:
        return _unfinished(route)
    for source in route.sources:
        answer = evidence.get(source)
        if answer is None:
            return source
        if answer.kind is AnswerKind.ROWS:
            if answer.rows:
                return Verdict(Status.COMPLETE, None, answer.rows, (source,), len(answer.rows))
            return Verdict(Status.CONFIRMED_GAP, f"no_funding_in_{source}", (), (), 0)
        if answer.kind is AnswerKind.FAILED:
            break
    monthly = evidence.get(Source.MONTHLY)
    if monthly is not None and monthly.kind is AnswerKind.ABSENT:
        rest = evidence[Source.REST]
        final = rest.kind is AnswerKind.NOT_SERVED and route.age >= MONTHLY_ABSENCE_AGE_DAYS
        return Verdict(Status.CONFIRMED_GAP if final else Status.INCOMPLETE, f"{Source.REST}: {rest.reason}", (), (), 0)
    return Verdict(Status.FAILED, _trouble(evidence), (), (), 0)


def against_stored(
    verdict: Verdict, known: LedgerLine | None, stored_rows: Callable[[], Sequence[Row]]
) -> tuple[Verdict, str | None]:
    """The verdict as it may be written, and why nothing may be written (None when it may).

    `known` is the ledger line of an earlier run and `stored_rows` reads its rows: what is stored is never replaced by less.
    """
    if known is None:
        return verdict, None
    count = len(verdict.rows)
    if not known.status.settled and verdict.status.settled and count < known.rows:
        rows = {row[0]: row for row in (*stored_rows(), *verdict.rows)}
        verdict = replace(verdict, rows=[rows[moment] for moment in sorted(rows)])
        count = len(verdict.rows)
    better = _QUALITY[verdict.status] - _QUALITY[known.status]
    if better >= 0 and count >= known.rows:
        return verdict, None
    brought = f"refetch brought {verdict.status} with {count} rows ({verdict.reason})"
    return verdict, f"{brought}: {known.status} with {known.rows} kept"


def _unfinished(route: DayRoute) -> Verdict:
    """A day that is not over cannot be fetched; a universe made by hand can hold one."""
    return Verdict(Status.INCOMPLETE, "day_not_finished", (), (), route.expected_rows)


def _is_whole(route: DayRoute, source: Source, answer: SourceAnswer) -> bool:
    """All expected rows from one source. A blank in the archive is what the exchange published; in REST it may yet be filled."""
    if answer.kind is not AnswerKind.ROWS or len(answer.rows) != route.expected_rows:
        return False
    return source is not Source.REST or not any(None in row for row in answer.rows)


def _settle(route: DayRoute, evidence: Evidence) -> Verdict:
    union = unite(evidence)

    def end(status: Status, reason: str | None) -> Verdict:
        parts = (reason, _decoding_note(evidence))
        return Verdict(status, "; ".join(filter(None, parts)) or None, union.rows, union.sources, route.expected_rows)

    if not route.sources:
        return end(Status.CONFIRMED_GAP, "before_history")
    archive, rest = archive_times(route, evidence), rest_times(evidence)
    rest_possible = Source.REST in route.sources and evidence[Source.REST].kind is not AnswerKind.NOT_SERVED
    daily = evidence.get(Source.DAILY)
    old = route.age >= ABSENCE_AGE_DAYS
    # An object that is still broken after a week is as good as none: REST is the only source that can exist.
    broken = any(answer.kind is AnswerKind.DISTRUSTED for source, answer in evidence.items() if source is not Source.REST)
    archive_possible = daily is not None and not (archive is None and broken and old)
    if len(union.rows) == route.expected_rows and (not union.has_blanks or (old and archive is not None)):
        return end(Status.COMPLETE, None)
    if archive is not None and rest is not None:
        if archive == rest:
            return end(Status.CONFIRMED_GAP, "sources_agree")
        # Both have answered. Once the archive will say no more, both lack what the union lacks.
        return end(Status.CONFIRMED_GAP if old else Status.INCOMPLETE, "sources_differ")
    if archive is not None and not rest_possible:
        return end(Status.CONFIRMED_GAP, "archive_alone")
    if rest is not None and not archive_possible and route.age >= ARCHIVE_AGE_DAYS:
        trouble = _trouble(evidence, AnswerKind.DISTRUSTED)
        return end(Status.CONFIRMED_GAP, f"rest_alone ({trouble})" if trouble else "rest_alone")
    reason = _trouble(evidence)
    if reason is None and daily is not None and daily.kind is AnswerKind.ABSENT:
        return end(Status.INCOMPLETE, "not_published_yet")
    reason = reason or _trouble(evidence, AnswerKind.NOT_SERVED) or "too_young_for_one_source"
    return end(Status.INCOMPLETE if union.rows else Status.FAILED, reason)


def _decoding_note(evidence: Evidence) -> str | None:
    """How the daily object's rows were read, where that took a decision."""
    daily = evidence.get(Source.DAILY)
    return daily.reason if daily is not None and daily.kind is AnswerKind.ROWS else None


def _trouble(evidence: Evidence, *kinds: AnswerKind) -> str | None:
    """The reason that helps most: bad data before a host that refuses before a failed request."""
    for kind in kinds or (AnswerKind.DISTRUSTED, AnswerKind.REFUSED, AnswerKind.FAILED):
        for source in reversed(Source):
            answer = evidence.get(source)
            if answer is not None and answer.kind is kind:
                return f"{source}: {answer.reason}"
    return None
