"""Half-open time spans, for the holes that tests cut into the data."""

from __future__ import annotations


class Spans:
    """A set of half-open [start, end) spans of epoch milliseconds, merged and immutable once built."""

    __slots__ = ("_spans",)

    def __init__(self, spans: tuple[tuple[int, int], ...] = ()) -> None:
        merged: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        self._spans = tuple(merged)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def plus(self, start: int, end: int) -> Spans:
        """These spans and one more."""
        return Spans((*self._spans, (start, end))) if start < end else self

    def touch(self, start: int, end: int) -> bool:
        """Whether any span overlaps [start, end)."""
        return any(s < end and e > start for s, e in self._spans)

    def cover(self, start: int, end: int) -> bool:
        """Whether one span holds all of [start, end)."""
        return any(s <= start and e >= end for s, e in self._spans)


NO_SPANS = Spans()
