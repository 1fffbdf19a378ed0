"""The grid of the coverage map: one dataset's symbol-days, a row a symbol, as the page carries them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptoservice.export.coverage_map.states import COMPLETE, MISSING, PARTIAL, STATE_OF_REASON, STATES
from cryptoservice.models import Dataset, Freq


@dataclass
class CellCounts:
    """Symbol-days by state, and the rows of those that were active."""

    states: list[int] = field(default_factory=lambda: [0] * len(STATES))
    expected: int = 0
    actual: int = 0

    def add(self, state: int, expected: int, actual: int) -> None:
        """Count one symbol-day."""
        self.states[state] += 1
        self.expected += expected
        self.actual += actual

    @property
    def active(self) -> int:
        """Symbol-days that the universe has."""
        return self.states[COMPLETE] + self.states[PARTIAL] + self.states[MISSING]


class Grid:
    """One dataset's symbol-days, as the page carries them, and their totals."""

    def __init__(self, report: Mapping[str, Any], dataset: Dataset, symbols: Sequence[str]) -> None:
        self.dataset = dataset
        self.whole_day = _whole_day(dataset, Freq.parse(report["export_freq"]))
        """Rows of a complete symbol-day; None where only the exchange knows (funding rates)."""
        self.days = [str(day["date"]) for day in report["days"]]
        self.by_symbol = [CellCounts() for _ in symbols]
        self.by_day = [CellCounts() for _ in self.days]
        self.total = CellCounts()
        self.kinds: list[list[int | str]] = []
        """The different cells: [state], and for active ones [state, expected, actual, reason, partial bars]."""
        self.rows = self._rows(report, symbols)
        """A row a symbol: indexes into `kinds`; a negative number -n says that the one before it comes n more times."""

    def _rows(self, report: Mapping[str, Any], symbols: Sequence[str]) -> list[list[int]]:
        unlisted = [report["define_missing"].get(day, {}) for day in self.days]
        lacking = [report["export_missing"].get(day, {}) for day in self.days]
        full = self.whole_day or 0
        known: dict[tuple[int | str, ...], int] = {}
        rows: list[list[int]] = []
        for index, symbol in enumerate(symbols):
            row: list[int] = []
            for day in range(len(self.days)):
                reason = unlisted[day].get(symbol)
                if reason is not None:
                    kind: tuple[int | str, ...] = (STATE_OF_REASON[reason],)
                else:
                    kind = self._kind(lacking[day].get(symbol, {}).get(self.dataset.value), full)
                for counts in (self.by_symbol[index], self.by_day[day], self.total):
                    counts.add(int(kind[0]), int(kind[1]) if len(kind) > 1 else 0, int(kind[2]) if len(kind) > 1 else 0)
                row.append(known.setdefault(kind, len(known)))
            rows.append(_packed(row))
        self.kinds = [list(kind) for kind in known]
        return rows

    def _kind(self, entry: Mapping[str, Any] | None, full: int) -> tuple[int | str, ...]:
        if entry is None:
            return (COMPLETE, full, full) if full else (COMPLETE,)
        expected, actual = entry["expected"], entry["actual"]
        # The report's own rule: complete has all its bars, also when some of them lack source bars.
        state = MISSING if not actual else PARTIAL if actual < expected else COMPLETE
        return (state, expected, actual, entry["reason"], entry.get("partial_bars", 0))


def _whole_day(dataset: Dataset, freq: Freq) -> int | None:
    if dataset is Dataset.FUNDING_RATES:
        return None
    # Metrics are never finer than five minutes.
    return min(freq.bars_per_day, Freq.m5.bars_per_day) if dataset is Dataset.METRICS else freq.bars_per_day


def _packed(row: Sequence[int]) -> list[int]:
    packed: list[int] = []
    repeats = 0
    for before, kind in zip((None, *row), row, strict=False):
        if kind == before:
            repeats += 1
            continue
        packed += [-repeats, kind] if repeats else [kind]
        repeats = 0
    return [*packed, -repeats] if repeats else packed
