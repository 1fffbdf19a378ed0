"""What an export writes of one dataset: from which frequency, to which frequency, and into which file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptoservice.errors import Remedy, UsageError
from cryptoservice.export import resampling
from cryptoservice.export.resampling import Resampled
from cryptoservice.models import Dataset, Freq, Row
from cryptoservice.storage.ledger import LedgerLine
from cryptoservice.storage.reader import StoreReader


def stored_interval(store: StoreReader, freq: Freq | None) -> Freq:
    """The kline interval to read: that one, else the only one that the database has. UsageError where there is no such klines."""
    known = store.frequencies(Dataset.KLINES)
    if not known:
        what = "klines" if freq is None else f"{freq} klines"
        raise UsageError(f"database {store.path} holds no {what}", hint=Remedy.DOWNLOAD_FIRST)
    if freq is None and len(known) > 1:
        what = f"database {store.path} holds klines of several intervals"
        raise UsageError(what, hint=Remedy.CHOOSE_INTERVAL, intervals=" ".join(known))
    if freq is not None and freq.value not in known:
        raise UsageError(f"database {store.path} holds no {freq} klines", hint=f"it has: {' '.join(known)}")
    return Freq.parse(known[0]) if freq is None else freq


@dataclass(frozen=True)
class ExportSpec:
    """How one dataset is exported."""

    dataset: Dataset
    source: Freq
    """The frequency of the rows in the database: 5m for metrics, without meaning for funding rates."""
    target: Freq
    """The frequency of the rows to write; without meaning for funding rates."""

    @classmethod
    def of(cls, dataset: Dataset, source: Freq, target: Freq) -> ExportSpec:
        """The spec of that dataset in an export from `source` to `target`."""
        if dataset is Dataset.KLINES:
            return cls(dataset, source, target)
        # Metrics are never finer than five minutes.
        return cls(dataset, Freq.m5, target if target.milliseconds > Freq.m5.milliseconds else Freq.m5)

    @property
    def stored_freq(self) -> str:
        """The frequency under which the ledger knows the dataset: empty for funding rates."""
        return "" if self.dataset is Dataset.FUNDING_RATES else self.source.value

    @property
    def written_freq(self) -> str:
        """The frequency that the files have in their path: empty for funding rates."""
        return "" if self.dataset is Dataset.FUNDING_RATES else self.target.value

    def name(self, day: date) -> str:
        """The file of that day, in Hive-style folders: its path below the export folder, with `/` on every system."""
        parts = [f"freq={self.written_freq}"] if self.written_freq else []
        return "/".join((self.dataset.value, *parts, f"date={day}", f"{self.dataset}.csv"))

    def path(self, base: Path, day: date) -> Path:
        """The file of that day below the export folder."""
        return base / self.name(day)

    def resample(self, rows: Sequence[Row]) -> Resampled:
        """The rows of one symbol-day at the target frequency."""
        if self.dataset is Dataset.KLINES:
            return resampling.resample_klines(rows, self.source, self.target)
        if self.dataset is Dataset.METRICS:
            return resampling.resample_metrics(rows, self.target)
        return Resampled(rows, 0)

    def expected(self, line: LedgerLine | None) -> int:
        """How many rows a whole symbol-day has. For funding rates only its ledger line knows that."""
        if self.dataset is Dataset.FUNDING_RATES:
            return line.expected_rows if line else 0
        return self.target.bars_per_day
