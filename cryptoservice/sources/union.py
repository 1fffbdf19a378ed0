"""The union of evidence: the rows of all sources by time, the more trusted source first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptoservice.models import Row
from cryptoservice.sources.evidence import AnswerKind, Evidence, Source
from cryptoservice.sources.routing import DayRoute

# From this age on, an absent daily object is the archive's answer: it was never published.
ABSENCE_AGE_DAYS = 7


@dataclass(frozen=True)
class RowUnion:
    """The rows that all sources together have."""

    rows: list[Row]
    sources: tuple[Source, ...]
    """Where the rows came from, by rising trust."""
    has_blanks: bool
    """True when a REST row lacks a value that the archive may yet bring."""


def unite(evidence: Evidence) -> RowUnion:
    """Rows of all sources by time. The more trusted source wins, but its blanks do not wipe out the values of another."""
    rows: dict[int, tuple[Row, Source]] = {}
    for source in Source:
        answer = evidence.get(source)
        for row in answer.rows if answer is not None else ():
            known = rows.get(row[0])
            if known is not None and None in row:
                row = tuple(old if new is None else new for old, new in zip(known[0], row, strict=True))  # noqa: PLW2901
            rows[row[0]] = (row, source)
    used = {source for _, source in rows.values()}
    has_blanks = any(source is Source.REST and None in row for row, source in rows.values())
    return RowUnion(
        [rows[moment][0] for moment in sorted(rows)], tuple(source for source in Source if source in used), has_blanks
    )


def archive_times(route: DayRoute, evidence: Evidence) -> frozenset[int] | None:
    """The open times that the archive holds; None while the archive has not really answered."""
    monthly, daily = evidence.get(Source.MONTHLY), evidence.get(Source.DAILY)
    if daily is None:
        return None
    from_monthly = _times(monthly.rows) if monthly is not None else frozenset()
    if daily.kind is AnswerKind.ROWS:
        return from_monthly | _times(daily.rows)
    # A month that is there but could not be read may hold what the absent day does not.
    unread = monthly is not None and monthly.kind not in (AnswerKind.ROWS, AnswerKind.ABSENT)
    if daily.kind is AnswerKind.ABSENT and route.age >= ABSENCE_AGE_DAYS and not unread:
        return from_monthly
    return None


def rest_times(evidence: Evidence) -> frozenset[int] | None:
    """The open times that REST holds; None while REST has not answered."""
    rest = evidence.get(Source.REST)
    return _times(rest.rows) if rest is not None and rest.kind is AnswerKind.ROWS else None


def _times(rows: Iterable[Row]) -> frozenset[int]:
    return frozenset(row[0] for row in rows)
