"""The grid of the coverage map: the symbol-days of one dataset, with one row for each symbol, as the page carries them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptoservice.export.coverage_map.states import (
    COMPLETE,
    MISSING,
    ORDINARY,
    PARTIAL,
    REASON_INDEX,
    REASONS,
    STATE_OF_REASON,
    STATES,
)
from cryptoservice.models import Dataset, Freq

Cell = tuple[int | str, ...]
"""What the page knows of a symbol-day: (state), (state, expected, actual), or the same with a reason and partial bars."""


@dataclass
class CellCounts:
    """How many symbol-days have each state, the rows of the active ones, and why the incomplete ones lack rows."""

    states: list[int] = field(default_factory=lambda: [0] * len(STATES))
    reasons: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)] * len(REASONS))
    """For each reason how many symbol-days are partial, and how many are missing."""
    expected: int = 0
    actual: int = 0

    def add(self, cell: Cell) -> None:
        """Count one symbol-day."""
        state = int(cell[0])
        self.states[state] += 1
        if len(cell) > 1:
            self.expected += int(cell[1])
            self.actual += int(cell[2])
        if state in (PARTIAL, MISSING):
            index = REASON_INDEX[str(cell[3])]
            partial, missing = self.reasons[index]
            self.reasons[index] = (partial + (state == PARTIAL), missing + (state == MISSING))

    @property
    def active(self) -> int:
        """Symbol-days that the universe has."""
        return self.states[COMPLETE] + self.lacking

    @property
    def shown_states(self) -> list[int]:
        """The states that are worth a card and a column, when this counts all symbol-days.

        A state without any symbol-day is shown only where a reader expects it, in the words of that kind of universe.
        """
        expected = MISSING + 1 if any(self.states[ORDINARY:]) else ORDINARY
        return [index for index, count in enumerate(self.states) if count or index < expected]

    @property
    def lacking(self) -> int:
        """Symbol-days that are partial or missing."""
        return self.states[PARTIAL] + self.states[MISSING]


class Grid:
    """The symbol-days of one dataset, as the page carries them, and their totals."""

    def __init__(self, report: Mapping[str, Any], dataset: Dataset, symbols: Sequence[str]) -> None:
        self.dataset = dataset
        self.whole_day = _whole_day(dataset, Freq.parse(report["export_freq"]))
        """Rows of a complete symbol-day; None for funding rates, of which only the exchange knows the number."""
        self.days = [str(day["date"]) for day in report["days"]]
        self.by_symbol = [CellCounts() for _ in symbols]
        self.by_day = [CellCounts() for _ in self.days]
        self.total = CellCounts()
        self.kinds, self.rows = self._cells(report, symbols)
        """All different cells, and for each symbol a row of indexes into them; -n repeats the index before it n times."""

    def _cells(self, report: Mapping[str, Any], symbols: Sequence[str]) -> tuple[list[Cell], list[list[int]]]:
        """All different cells, and one packed row of indexes for each symbol. The totals are counted on the way."""
        unlisted = [report["define_missing"].get(day, {}) for day in self.days]
        lacking = [report["export_missing"].get(day, {}) for day in self.days]
        full = self.whole_day or 0
        known: dict[Cell, int] = {}
        rows: list[list[int]] = []
        for index, symbol in enumerate(symbols):
            row: list[int] = []
            for day in range(len(self.days)):
                reason = unlisted[day].get(symbol)
                if reason is not None:
                    kind: Cell = (STATE_OF_REASON[reason],)
                else:
                    kind = self._active_cell(lacking[day].get(symbol, {}).get(self.dataset.value), full)
                for counts in (self.by_symbol[index], self.by_day[day], self.total):
                    counts.add(kind)
                row.append(known.setdefault(kind, len(known)))
            rows.append(packed(row))
        return list(known), rows

    def _active_cell(self, entry: Mapping[str, Any] | None, full: int) -> Cell:
        """The cell of an active symbol-day, from its entry in the report's `export_missing`."""
        if entry is None:
            return (COMPLETE, full, full) if full else (COMPLETE,)
        expected, actual = entry["expected"], entry["actual"]
        # A complete symbol-day has all its bars, also when some of them lack source bars: so the report counts.
        state = MISSING if not actual else PARTIAL if actual < expected else COMPLETE
        return (state, expected, actual, entry["reason"], entry.get("partial_bars", 0))


def _whole_day(dataset: Dataset, freq: Freq) -> int | None:
    if dataset is Dataset.FUNDING_RATES:
        return None
    # Metrics are never finer than five minutes.
    return min(freq.bars_per_day, Freq.m5.bars_per_day) if dataset is Dataset.METRICS else freq.bars_per_day


def packed(row: Sequence[int]) -> list[int]:
    """The row with repeats as negative numbers: 3 3 3 5 becomes 3 -2 5."""
    short: list[int] = []
    repeats = 0
    for before, kind in zip((None, *row), row, strict=False):
        if kind == before:
            repeats += 1
            continue
        short += [-repeats, kind] if repeats else [kind]
        repeats = 0
    return [*short, -repeats] if repeats else short
