"""Evidence: what the sources have said of one symbol-day so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

from cryptoservice.errors import UsageError
from cryptoservice.models import Row, SourceObject, Word


class Source(Word):
    """Where rows can come from. The order is the order of trust: where two sources differ, the later one is right."""

    MONTHLY = "monthly"
    DAILY = "daily"
    REST = "rest"

    @property
    def mark(self) -> int:
        """The bit of this source in the mark of a row. A greater mark is of greater trust."""
        return _MARKS[self]


_MARKS = {source: 1 << number for number, source in enumerate(Source)}


def sources_of(marks: Iterable[int]) -> tuple[Source, ...]:
    """The sources in these marks of rows, by rising trust."""
    found = 0
    for mark in set(marks):
        found |= mark
    return _sources_in(found)


@cache
def _sources_in(bits: int) -> tuple[Source, ...]:
    return tuple(source for source in Source if source.mark & bits)


class KlineSource(Word):
    """Where klines may come from: the archive and then the API, the archive alone, or the API alone."""

    AUTO = "auto"
    VISION = "vision"
    API = "api"

    @classmethod
    def parse(cls, text: str | KlineSource) -> KlineSource:
        """The source of that name. Raises UsageError, which lists the valid names."""
        try:
            return cls(text)
        except ValueError:
            raise UsageError(f"unknown kline source {text!r}", hint=f"one of: {' '.join(cls)}") from None


class AnswerKind(Enum):
    """What kind of answer a source gave for a symbol-day."""

    ROWS = "rows"
    """A verified answer that covers the day, with or without rows."""
    ABSENT = "absent"
    """The archive does not hold the object."""
    DISTRUSTED = "distrusted"
    """The object is there, but its content or checksum cannot be trusted."""
    NOT_SERVED = "not_served"
    """The API does not serve this symbol, or not so far back: it has nothing to say about the day."""
    REFUSED = "refused"
    """The host refuses this address for now, whatever it is asked."""
    FAILED = "failed"
    """The source gave no usable answer this time."""


@dataclass(frozen=True)
class SourceAnswer:
    """What one source said of one symbol-day."""

    kind: AnswerKind
    rows: Sequence[Row] = ()
    reason: str | None = None
    """Why there are no rows, which rows were left out, or how the rows were read where that took a decision."""
    origin: SourceObject | None = None
    """The archive object that said so."""


Evidence = Mapping[Source, SourceAnswer]
