"""What an export writes of one dataset: from which frequency, at which frequency, and into which file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptoservice.export import resampling
from cryptoservice.export.resampling import Resampled
from cryptoservice.models import Dataset, Freq, Row
from cryptoservice.storage.ledger import LedgerLine


@dataclass(frozen=True)
class ExportSpec:
    """How one dataset is exported."""

    dataset: Dataset
    source: Freq
    """Frequency of the rows in the database; 5m for metrics."""
    target: Freq
    """Frequency of the rows to write; neither counts for funding rates."""

    @classmethod
    def of(cls, dataset: Dataset, source: Freq, target: Freq) -> ExportSpec:
        """The spec of that dataset in an export from `source` to `target`."""
        if dataset is Dataset.KLINES:
            return cls(dataset, source, target)
        # Five minutes is the finest that metrics have.
        return cls(dataset, Freq.m5, target if target.milliseconds > Freq.m5.milliseconds else Freq.m5)

    @property
    def stored_freq(self) -> str:
        """Its frequency in the ledger."""
        return "" if self.dataset is Dataset.FUNDING_RATES else self.source.value

    def path(self, base: Path, day: date) -> Path:
        """The file of that day, in Hive-style folders."""
        parts = [] if self.dataset is Dataset.FUNDING_RATES else [f"freq={self.target}"]
        return base.joinpath(self.dataset.value, *parts, f"date={day}", f"{self.dataset}.csv")

    def resample(self, rows: Sequence[Row]) -> Resampled:
        """Rows of one symbol-day at the target frequency."""
        if self.dataset is Dataset.KLINES:
            return resampling.resample_klines(rows, self.source, self.target)
        if self.dataset is Dataset.METRICS:
            return resampling.resample_metrics(rows, self.target)
        return Resampled(rows, 0)

    def expected(self, line: LedgerLine | None) -> int:
        """Rows that a whole symbol-day has. Of funding rates only the ledger knows how many the source held."""
        if self.dataset is Dataset.FUNDING_RATES:
            return line.expected_rows if line else 0
        return self.target.bars_per_day
