"""What a download achieved, as its report says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date as Date  # noqa: N812 - a field is named date
from typing import Any, ClassVar

from cryptoservice.days import Window
from cryptoservice.errors import SourceRefused
from cryptoservice.models import Dataset, Freq, Record, Status, encode

MAX_LISTED = 1_000
"""So many symbol-days are named where a result is short; the others are only counted."""


@dataclass(frozen=True, order=True)
class Unsettled(Record):
    """A wanted symbol-day that this run could not settle: a later run asks for it again."""

    dataset: Dataset
    symbol: str
    date: Date
    reason: str
    status: Status


@dataclass
class Tally:
    """Symbol-days of one dataset that this run has ended, counted while it goes on."""

    downloaded: int = 0
    confirmed_gaps: int = 0
    rows: int = 0
    unsettled: list[Unsettled] = field(default_factory=list)

    def add(self, dataset: Dataset, symbol: str, day: Date, status: Status, reason: str | None) -> None:
        """Count one symbol-day."""
        if status is Status.COMPLETE:
            self.downloaded += 1
        elif status is Status.CONFIRMED_GAP:
            self.confirmed_gaps += 1
        else:
            self.unsettled.append(Unsettled(dataset, symbol, day, reason or "", status))


@dataclass(frozen=True)
class DatasetCounts(Record):
    """Symbol-days of one dataset. The first count is the sum of the other four."""

    KEYS: ClassVar = ("wanted_symbol_days", "already_complete", "downloaded", "confirmed_gaps", "failed")

    wanted_symbol_days: int
    already_complete: int
    downloaded: int
    confirmed_gaps: int
    failed: int
    """Those that a later run asks for again, for whatever reason."""
    rows: int
    """Rows written by this run."""


@dataclass(frozen=True, repr=False)
class DownloadResult(Record):
    """What a download achieved. `refused` says that a host refused this address before all was fetched."""

    KEYS: ClassVar = (
        "status", "window", "interval", "wanted_symbol_days", "already_complete", "downloaded", "confirmed_gaps", "failed",
        "failed_total", "failed_by_reason", "rows", "datasets", "requests", "checksums_by_listing", "retries", "waited_seconds",
        "elapsed_seconds",
    )  # fmt: skip

    window: Window
    interval: Freq
    datasets: Mapping[Dataset, DatasetCounts]
    failed: tuple[Unsettled, ...]
    requests: Mapping[str, int]
    """Requests sent, by source name."""
    checksums_by_listing: int
    """Archive objects whose published checksum the bucket listing has verified, without a request for it."""
    retries: int
    waited_seconds: float
    elapsed_seconds: float
    refused: SourceRefused | None = None

    @property
    def complete(self) -> bool:
        """True when every wanted symbol-day is complete or a confirmed gap."""
        return not self.failed

    @property
    def status(self) -> str:
        """`complete` or `incomplete`."""
        return "complete" if self.complete else "incomplete"

    @property
    def wanted_symbol_days(self) -> int:
        """Symbol-days that the universe wants, over all datasets."""
        return sum(count.wanted_symbol_days for count in self.datasets.values())

    @property
    def already_complete(self) -> int:
        """Symbol-days that were settled before this run."""
        return sum(count.already_complete for count in self.datasets.values())

    @property
    def downloaded(self) -> int:
        """Symbol-days that this run made complete."""
        return sum(count.downloaded for count in self.datasets.values())

    @property
    def confirmed_gaps(self) -> int:
        """Symbol-days of which this run found that no source has more."""
        return sum(count.confirmed_gaps for count in self.datasets.values())

    @property
    def failed_total(self) -> int:
        """How many symbol-days a later run asks for again, listed or not."""
        return len(self.failed)

    @property
    def failed_by_reason(self) -> dict[Dataset, dict[str, int]]:
        """How many they are by dataset and reason, the most frequent reason first."""
        counts = Counter((item.dataset, item.reason) for item in self.failed)
        ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        return {
            dataset: {reason: count for (of, reason), count in ranked if of is dataset}
            for dataset in self.datasets
            if any(of is dataset for of, _ in counts)
        }

    def to_dict(self, *, most: int | None = MAX_LISTED) -> dict[str, Any]:
        """The result as a JSON object whose list `failed` holds so many entries at most; None: all of them."""
        # A failed run can have millions of them: what is not shown is not encoded either.
        shown = super(DownloadResult, replace(self, failed=self.failed[:most])).to_dict()
        return {**shown, "failed_total": self.failed_total, "failed_by_reason": encode(self.failed_by_reason)}

    @property
    def rows(self) -> dict[Dataset, int]:
        """Rows written by this run, for every dataset."""
        return {dataset: self.datasets[dataset].rows if dataset in self.datasets else 0 for dataset in Dataset}
