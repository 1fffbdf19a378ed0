"""The union of evidence: the rows of all sources and of what is stored, by key, each with a mark of where it came from.

A row is never dropped. Its value changes only to that of a source of at least the same trust, and a blank is filled by whoever
has a value. So the order in which answers come, in one run or over many, decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cryptoservice.models import Row
from cryptoservice.sources.evidence import AnswerKind, Evidence, Source, sources_of
from cryptoservice.sources.routing import DayRoute
from cryptoservice.storage.ledger import StoredDay

# From this age on, an absent or broken daily object is the archive's answer: nothing better will be published.
ABSENCE_AGE_DAYS = 7


@dataclass(frozen=True)
class RowUnion:
    """The rows that all evidence together has, in order."""

    rows: list[Row]
    marks: bytes
    """For each row the bits of the sources whose values it holds (`Source.mark`)."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where the rows came from, by rising trust."""
        return sources_of(self.marks)

    @property
    def has_blanks(self) -> bool:
        """True when a row of REST alone lacks a value that the archive may yet bring."""
        return any(None in row for row, mark in zip(self.rows, self.marks, strict=True) if mark == Source.REST.mark)


def by_time(row: Row) -> Any:
    """The key of klines and metrics."""
    return row[0]


def by_time_and_type(row: Row) -> Any:
    """The key of funding rates: at one moment there can be rates of two types."""
    return (row[0], row[3])


def unite(evidence: Evidence, stored: StoredDay | None = None, key_of: Callable[[Row], Any] = by_time) -> RowUnion:
    """All rows of the evidence and of what is stored."""
    rows: dict[Any, tuple[Row, int]] = {}
    if stored is not None:
        for row, mark in zip(stored.rows, stored.marks, strict=True):
            rows[key_of(row)] = (row, mark)
    for source in Source:
        answer = evidence.get(source)
        for row in answer.rows if answer is not None else ():
            key = key_of(row)
            known = rows.get(key)
            rows[key] = (row, source.mark) if known is None else _merged(known, (row, source.mark))
    ordered = [rows[key] for key in sorted(rows)]
    return RowUnion([row for row, _ in ordered], bytes(mark for _, mark in ordered))


def _merged(known: tuple[Row, int], new: tuple[Row, int]) -> tuple[Row, int]:
    """The row of the more trusted one, its blanks filled by the other; of two with the same trust the newer one is right."""
    # The highest bit of a mark is the source of its trust.
    first, second = (new, known) if new[1].bit_length() >= known[1].bit_length() else (known, new)
    if None not in first[0]:
        return first
    # What is blank in both is a blank that both have seen, so both stand for the row as it is now.
    filled = tuple(other if value is None else value for value, other in zip(first[0], second[0], strict=True))
    return filled, first[1] | second[1]


def archive_times(route: DayRoute, evidence: Evidence) -> frozenset[int] | None:
    """The open times that the archive holds; None while the archive has not really answered.

    From a week on, an object that is absent or cannot be trusted is an answer too: there is nothing in it.
    """
    monthly, daily = evidence.get(Source.MONTHLY), evidence.get(Source.DAILY)
    if daily is None:
        return None
    old = route.age >= ABSENCE_AGE_DAYS
    from_monthly = times(monthly.rows) if monthly is not None else frozenset()
    if daily.kind is AnswerKind.ROWS:
        return from_monthly | times(daily.rows)
    if monthly is not None and not _has_answered(monthly.kind, old=True):
        # A month that is there but could not be had may hold what the absent day does not.
        return None
    return from_monthly if _has_answered(daily.kind, old=old) else None


def rest_times(evidence: Evidence) -> frozenset[int] | None:
    """The open times that REST holds; None while REST has not answered."""
    rest = evidence.get(Source.REST)
    return times(rest.rows) if rest is not None and rest.kind is AnswerKind.ROWS else None


def times(rows: Iterable[Row]) -> frozenset[int]:
    """The open times of rows."""
    return frozenset(row[0] for row in rows)


def _has_answered(kind: AnswerKind, *, old: bool) -> bool:
    return kind is AnswerKind.ROWS or (old and kind in (AnswerKind.ABSENT, AnswerKind.DISTRUSTED))


def marks_of(source: Source, rows: Sequence[Row]) -> bytes:
    """The marks of rows that all came from one source."""
    return bytes([source.mark]) * len(rows)
