"""The coverage report, schema 1.0: what an export holds, what is missing, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from cryptoservice.models import Dataset
from cryptoservice.reasons import MISSING_IN_EXPORT, MissingReason

SCHEMA_VERSION = "1.0"


@dataclass
class Totals:
    """Symbol-days and bars of one dataset, over a day or over the window."""

    active: int = 0
    complete: int = 0
    partial: int = 0
    missing: int = 0
    expected_bars: int = 0
    exported_bars: int = 0
    partial_bars: int = 0
    labels_unproven: int = 0
    """Symbol-days of metrics for which nothing says whether the labels of their file start or end bars."""

    def add(self, expected: int, actual: int, partial_bars: int) -> None:
        """Count one symbol-day. A complete one has all its bars, a missing one has none."""
        self.active += 1
        self.expected_bars += expected
        self.exported_bars += actual
        self.partial_bars += partial_bars
        if not actual:
            self.missing += 1
        elif actual < expected:
            self.partial += 1
        else:
            self.complete += 1

    def merge(self, other: Totals) -> None:
        """Add the counts of other symbol-days."""
        for name, count in asdict(other).items():
            setattr(self, name, getattr(self, name) + count)

    def of_day(self, day: date) -> dict[str, Any]:
        """The entry for that day in the report's `days`."""
        return {"date": day.isoformat(), **self._counts()}

    def of_window(self, days: int) -> dict[str, Any]:
        """The totals over so many days: the report's `summary`, or an entry of its `datasets`."""
        counts = self._counts()
        # Where nothing was expected there is no share of it: a day without active symbols is not a day that is all there.
        ratio = self.exported_bars / self.expected_bars if self.expected_bars else None
        return {"days": days, "active_symbol_days": counts.pop("active"), **counts, "coverage_ratio": ratio}

    def _counts(self) -> dict[str, int]:
        """The counts that every dataset has."""
        counts = asdict(self)
        del counts["labels_unproven"]
        return counts


@dataclass
class Coverage:
    """Collects the report while days are exported."""

    main: Dataset
    """The dataset that `summary`, `days` and `merged_missing` count."""
    days: dict[date, Totals] = field(default_factory=dict)
    datasets: dict[Dataset, Totals] = field(default_factory=dict)
    define_missing: dict[date, dict[str, MissingReason]] = field(default_factory=dict)
    export_missing: dict[date, dict[str, dict[Dataset, dict[str, Any]]]] = field(default_factory=dict)

    def defined(self, day: date, missing: dict[str, MissingReason]) -> None:
        """Take in a day of the universe, and why symbols were not active on it."""
        self.days[day] = Totals()
        if missing:
            self.define_missing[day] = missing

    def exported(self, dataset: Dataset, day: date, totals: Totals, missing: dict[str, dict[str, Any]]) -> None:
        """Take in one day of a dataset, and each symbol that is not whole, as {expected, actual, reason}."""
        self.datasets.setdefault(dataset, Totals()).merge(totals)
        if dataset is self.main:
            self.days[day] = totals
        for symbol, entry in missing.items():
            self.export_missing.setdefault(day, {}).setdefault(symbol, {})[dataset] = entry

    def to_dict(self) -> dict[str, Any]:
        """The part of the report that depends on the data, with its keys in order."""
        return {
            "summary": self._of_window(self.main),
            "define_missing": {
                day.isoformat(): {symbol: reason.value for symbol, reason in symbols.items()}
                for day, symbols in self.define_missing.items()
            },
            "export_missing": {
                day.isoformat(): {
                    symbol: {dataset.value: entry for dataset, entry in entries.items()} for symbol, entries in symbols.items()
                }
                for day, symbols in sorted(self.export_missing.items())
            },
            "merged_missing": self._merged(),
            "days": [totals.of_day(day) for day, totals in self.days.items()],
            "datasets": {dataset.value: self._of_window(dataset) for dataset in self.datasets},
        }

    def _of_window(self, dataset: Dataset) -> dict[str, Any]:
        totals = self.datasets.get(dataset, Totals())
        counts = totals.of_window(len(self.days))
        return {**counts, "labels_unproven": totals.labels_unproven} if dataset is Dataset.METRICS else counts

    def _merged(self) -> dict[str, dict[str, str]]:
        merged: dict[str, dict[str, str]] = {}
        for day in self.days:
            reasons = {symbol: reason.value for symbol, reason in self.define_missing.get(day, {}).items()}
            for symbol, entries in self.export_missing.get(day, {}).items():
                if self.main in entries and not entries[self.main]["actual"]:
                    reasons[symbol] = MISSING_IN_EXPORT
            if reasons:
                merged[day.isoformat()] = reasons
        return merged
