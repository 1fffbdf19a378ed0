"""What a verification finds: differences, what was checked, and the result that holds both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cryptoservice.audit.dataset_lock.comparison import LockComparison, LockDifference
from cryptoservice.audit.verification.cross_check import CrossCheck, Sampled
from cryptoservice.audit.verification.differences import Difference
from cryptoservice.days import Window
from cryptoservice.errors import SourceRefused
from cryptoservice.models import Dataset, Record, Status

MAX_LISTED = 500
"""So many differences are named where a result is short; the others are only counted."""


@dataclass
class Findings:
    """Differences, in the order in which they were found."""

    listed: list[Difference] = field(default_factory=list)
    contradictions: list[tuple[CrossCheck, list[Difference]]] = field(default_factory=list)
    """Sampled symbol-days whose other source contradicts them, with what it contradicts."""

    def add(self, differences: Iterable[Difference]) -> None:
        """Keep these differences."""
        self.listed += differences


@dataclass(frozen=True)
class CheckedDataset(Record):
    """What was checked of one dataset at one frequency."""

    dataset: Dataset
    freq: str
    """The kline interval, `5m` for metrics, empty for funding rates."""
    active_symbol_days: int
    """Active symbol-days of the universe in the window."""
    checked_symbol_days: int
    """Those of them that the ledger knows."""
    rows: int
    """Rows counted in the checked symbol-days."""


@dataclass(frozen=True, repr=False)
class SampleResult(Record):
    """Symbol-days that were fetched again. The same seed draws the same ones from the same database."""

    KEYS: ClassVar = ("seed", "candidates", "symbol_days", "compared", "rows", "rows_other_lacks", "not_compared")

    seed: int
    candidates: int
    """Complete kline symbol-days that came from one source alone."""
    symbol_days: tuple[Sampled, ...]
    compared: int
    """Symbol-days that the other source had an answer for."""
    rows: int
    """Rows that both sources have."""
    rows_other_lacks: int
    """Stored rows that the other source does not have. That is a hole of the other source and no difference."""
    not_compared: tuple[CrossCheck, ...]
    """Symbol-days that the other source does not have at all, or could not be asked for."""
    known_differences: tuple[Difference, ...] = ()
    """Where the archive still differs from what REST has overruled it with. REST was asked again and says the same."""

    @property
    def failed(self) -> tuple[CrossCheck, ...]:
        """Symbol-days for which the other source should have answered and did not."""
        return tuple(check for check in self.not_compared if check.failed)


@dataclass(frozen=True)
class RepairedDay(Record):
    """A symbol-day that differed, and what became of it."""

    dataset: Dataset
    freq: str
    symbol: str | None
    date: str
    mended: bool
    """True when it was verified again and nothing differs any more."""
    status: Status | None
    """As the sources judge it now; None when they could not be asked."""
    reason: str | None


@dataclass(frozen=True, repr=False)
class RepairResult(Record):
    """What a repair achieved."""

    KEYS: ClassVar = ("symbol_days", "mended", "differences_total", "differences", "days")

    days: tuple[RepairedDay, ...]
    differences: tuple[Difference, ...]
    """What still differs."""

    @property
    def symbol_days(self) -> int:
        """Symbol-days that differed."""
        return len(self.days)

    @property
    def mended(self) -> int:
        """Those of them that are as they should be now."""
        return sum(day.mended for day in self.days)

    @property
    def differences_total(self) -> int:
        """How many differences are left."""
        return len(self.differences)


@dataclass(frozen=True, repr=False)
class VerifyResult(Record):
    """What a verification found. `refused` says that a host refused this address before all of the sample was fetched."""

    KEYS: ClassVar = (
        "status", "window", "checked_symbol_days", "rows", "datasets", "differences_total", "differences_by_kind", "differences",
        "known_differences_total", "known_differences", "lock", "repair", "sample", "requests", "retries", "waited_seconds",
        "elapsed_seconds",
    )  # fmt: skip

    window: Window
    datasets: tuple[CheckedDataset, ...]
    differences: tuple[Difference, ...]
    """All of them, as they were found, before any repair."""
    sample: SampleResult | None
    """None when no sample was asked for."""
    requests: Mapping[str, int]
    """Requests by source; empty without a sample, as are the next two."""
    retries: int
    waited_seconds: float
    elapsed_seconds: float
    refused: SourceRefused | None = None
    repair: RepairResult | None = None
    """None when no repair was asked for."""
    lock: LockComparison | None = None
    """None when no lock file was named."""

    @property
    def sound(self) -> bool:
        """True when nothing differs any more, and every sampled symbol-day that another source has could be fetched."""
        return not self.remaining and not self.unlike_lock and not (self.sample and self.sample.failed)

    @property
    def unlike_lock(self) -> Sequence[LockDifference]:
        """The symbol-months that are not what the lock says."""
        return () if self.lock is None else self.lock.differs

    @property
    def remaining(self) -> Sequence[Difference]:
        """The differences that the database still has."""
        return self.differences if self.repair is None else self.repair.differences

    @property
    def status(self) -> str:
        """`sound`, `repaired`, `different` or `not_verified`."""
        if self.sound:
            return "repaired" if self.differences else "sound"
        return "different" if self.remaining or self.unlike_lock else "not_verified"

    @property
    def known_differences(self) -> tuple[Difference, ...]:
        """Those of the sample."""
        return self.sample.known_differences if self.sample else ()

    @property
    def known_differences_total(self) -> int:
        """How many known differences there are."""
        return len(self.known_differences)

    def to_dict(self, *, most: int | None = MAX_LISTED) -> dict[str, Any]:
        """The result as a JSON object whose lists of differences hold so many entries at most; None: all of them."""
        record = super().to_dict()
        for name in ("differences", "known_differences"):
            record[name] = record[name][:most]
        if self.repair is not None:
            record["repair"]["differences"] = record["repair"]["differences"][:most]
        return record

    @property
    def differences_total(self) -> int:
        """How many differences there are, listed or not."""
        return len(self.differences)

    @property
    def differences_by_kind(self) -> dict[str, int]:
        """How many differences there are of each kind."""
        return dict(sorted(Counter(difference.kind for difference in self.differences).items()))

    @property
    def checked_symbol_days(self) -> int:
        """Symbol-days that were recounted, over all datasets."""
        return sum(checked.checked_symbol_days for checked in self.datasets)

    @property
    def rows(self) -> dict[Dataset, int]:
        """Rows that were counted, for every dataset."""
        return {dataset: sum(one.rows for one in self.datasets if one.dataset is dataset) for dataset in Dataset}
