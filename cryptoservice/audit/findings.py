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
from cryptoservice.models import Dataset
from cryptoservice.records import Record

MAX_LISTED = 500
"""Differences that a result names; the others are only counted."""


@dataclass
class Findings:
    """Differences, counted by kind; the first MAX_LISTED are kept."""

    kinds: Counter[str] = field(default_factory=Counter)
    listed: list[Difference] = field(default_factory=list)

    def add(self, differences: Iterable[Difference]) -> None:
        """Count them."""
        for difference in differences:
            self.kinds[difference.kind] += 1
            if len(self.listed) < MAX_LISTED:
                self.listed.append(difference)

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.kinds.values())


@dataclass(frozen=True)
class CheckedDataset(Record):
    """One dataset at one frequency."""

    dataset: Dataset
    freq: str
    active_symbol_days: int
    """Of the universe in the window."""
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
    """Those for which the other source had rows."""
    rows: int
    """Rows that both sources have."""
    rows_other_lacks: int
    """Stored rows that the other source does not have; its hole, and no difference."""
    not_compared: tuple[CrossCheck, ...]
    """Those that the other source does not have at all, or could not be asked for."""

    @property
    def failed(self) -> tuple[CrossCheck, ...]:
        """Those for which the other source should have answered and did not."""
        return tuple(item for item in self.not_compared if item.failed)


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
    requests: Mapping[str, int]
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
