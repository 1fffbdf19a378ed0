"""What a verification finds: differences, what was checked, and the result that holds both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from cryptoservice.audit.cross_check import CrossCheck, Sampled
from cryptoservice.audit.differences import Difference
from cryptoservice.days import Window
from cryptoservice.errors import SourceRefused
from cryptoservice.models import Dataset, Record

MAX_LISTED = 500
"""So many differences are named in a result; the others are only counted."""


@dataclass
class Findings:
    """Differences, counted by kind; the first MAX_LISTED of them are kept."""

    kinds: Counter[str] = field(default_factory=Counter)
    listed: list[Difference] = field(default_factory=list)

    def add(self, differences: Iterable[Difference]) -> None:
        """Count these differences, and keep them while there is room."""
        for difference in differences:
            self.kinds[difference.kind] += 1
            if len(self.listed) < MAX_LISTED:
                self.listed.append(difference)

    @property
    def total(self) -> int:
        """How many differences there are."""
        return sum(self.kinds.values())


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


@dataclass(frozen=True)
class SampleResult(Record):
    """Symbol-days that were fetched again. The same seed draws the same ones from the same database."""

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

    @property
    def failed(self) -> tuple[CrossCheck, ...]:
        """Symbol-days for which the other source should have answered and did not."""
        return tuple(check for check in self.not_compared if check.failed)


@dataclass(frozen=True)
class VerifyResult(Record):
    """What a verification found. `refused` says that a host refused this address before all of the sample was fetched."""

    KEYS: ClassVar = (
        "status", "window", "checked_symbol_days", "rows", "datasets", "differences_total", "differences_by_kind", "differences",
        "sample", "requests", "retries", "waited_seconds", "elapsed_seconds",
    )  # fmt: skip

    window: Window
    datasets: tuple[CheckedDataset, ...]
    differences_by_kind: Mapping[str, int]
    differences: tuple[Difference, ...]
    """The first MAX_LISTED of them."""
    sample: SampleResult | None
    """None when no sample was asked for."""
    requests: Mapping[str, int]
    """Requests by source; empty without a sample, as are the next two."""
    retries: int
    waited_seconds: float
    elapsed_seconds: float
    refused: SourceRefused | None = None

    @property
    def sound(self) -> bool:
        """True when nothing differs, and every sampled symbol-day that another source has could be fetched."""
        return not self.differences_by_kind and not (self.sample and self.sample.failed)

    @property
    def status(self) -> str:
        """`sound`, `different` or `not_verified`."""
        return "sound" if self.sound else "different" if self.differences_by_kind else "not_verified"

    @property
    def differences_total(self) -> int:
        """How many differences there are, listed or not."""
        return sum(self.differences_by_kind.values())

    @property
    def checked_symbol_days(self) -> int:
        """Symbol-days that were recounted, over all datasets."""
        return sum(checked.checked_symbol_days for checked in self.datasets)

    @property
    def rows(self) -> dict[Dataset, int]:
        """Rows that were counted, for every dataset."""
        return {dataset: sum(one.rows for one in self.datasets if one.dataset is dataset) for dataset in Dataset}
