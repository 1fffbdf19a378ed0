"""A difference: one thing in a database that is not as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptoservice.models import Dataset
from cryptoservice.records import Record


@dataclass(frozen=True)
class Difference(Record):
    """One thing that is not as it should be."""

    kind: str
    """A short stable word, such as `row_count` or `high_below_low`."""
    dataset: Dataset
    freq: str
    symbol: str | None
    """None when the database does not say whose rows they are."""
    date: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """An entry of `differences`; the details stand beside the other keys."""
        record = super().to_dict()
        return {**record, **record.pop("details")}
