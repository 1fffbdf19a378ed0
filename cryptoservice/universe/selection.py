"""The parameters of a ranking: how many symbols a day keeps, by which volume, and when the choice is drawn anew."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, ClassVar

from cryptoservice.days import shorten
from cryptoservice.errors import UsageError
from cryptoservice.models import Record, Word

LONGEST_LOOKBACK = 3650
_MOST = 100_000


class Rebalance(Word):
    """When the ranking is drawn anew: each UTC day, each ISO week, or each month."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def day_of(self, day: date) -> date:
        """The rebalance day that `day` belongs to: itself, its Monday, or the first of its month."""
        if self is Rebalance.WEEK:
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self is Rebalance.MONTH else day


@dataclass(frozen=True)
class Selection(Record):
    """Keep the `top` symbols with the highest sum of quote volume over the `lookback_days` days before the rebalance day.

    Raises UsageError for a number below 1 and for an unknown rebalance.
    """

    KEYS: ClassVar = ("top", "by", "lookback_days", "rebalance")
    by: ClassVar[str] = "quote_volume"

    top: int
    lookback_days: int = 30
    rebalance: Rebalance = Rebalance.DAY

    def __post_init__(self) -> None:
        _require_count("top", self.top, _MOST)
        _require_count("lookback days", self.lookback_days, LONGEST_LOOKBACK)
        try:
            object.__setattr__(self, "rebalance", Rebalance(self.rebalance))
        except ValueError:
            valid = ", ".join(Rebalance)
            raise UsageError(f"rebalance is {shorten(self.rebalance)}", hint=f"it must be one of: {valid}") from None

    def lookback_start(self, day: date) -> date:
        """The first day whose volume counts for the choice that holds on `day`."""
        return self.rebalance.day_of(day) - timedelta(days=self.lookback_days)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Selection:
        """The selection that a universe file holds. Raises UsageError when it is none."""
        if record.get("by") != cls.by:
            raise UsageError(f"by is {shorten(record.get('by'))}, not {cls.by!r}")
        return cls(record.get("top"), record.get("lookback_days"), record.get("rebalance"))  # type: ignore[arg-type]


def _require_count(name: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(f"{name} is {shorten(value)}", hint=f"it must be a whole number from 1 to {most:,}")
