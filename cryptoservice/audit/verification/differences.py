"""A difference: one thing in a database that is not as it should be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cryptoservice.models import Dataset, Record


@dataclass(frozen=True)
class Difference(Record):
    """One thing that is not as it should be, on one day of one dataset."""

    KEYS: ClassVar = ("kind", "dataset", "freq", "symbol", "date")

    kind: str
    """A short stable word, such as `row_count` or `high_below_low`."""
    dataset: Dataset
    freq: str
    """The kline interval, `5m` for metrics, empty for funding rates."""
    symbol: str | None
    """None when the database does not say whose rows they are."""
    date: str
    """The UTC day as YYYY-MM-DD, or a day number that no calendar has."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The facts of this kind of difference, as the database or the source holds them."""

    def to_dict(self) -> dict[str, Any]:
        """An entry of `differences`; the details stand beside the other keys."""
        return {**super().to_dict(), **{name: _as_json(value) for name, value in self.details.items()}}


def _as_json(value: Any) -> Any:
    """The value as JSON can say it. A damaged database can hold infinity or bytes: those become their repr."""
    return value if isinstance(value, (int, str)) or (isinstance(value, float) and math.isfinite(value)) else repr(value)
