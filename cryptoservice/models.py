"""Small value types that every room shares: frequencies, datasets, reasons and statuses."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from cryptoservice.errors import UsageError

MINUTE_MS = 60_000
DAY_MS = 86_400_000

Row = tuple[Any, ...]
"""One row of market data, its time (ms UTC) first; the dataset says what the other fields are."""


class Freq(str, Enum):
    """A kline interval that divides a UTC day evenly, named as the exchange names it (`5m`, `1h`, ...)."""

    m1 = "1m"
    m3 = "3m"
    m5 = "5m"
    m15 = "15m"
    m30 = "30m"
    h1 = "1h"
    h2 = "2h"
    h4 = "4h"
    h6 = "6h"
    h8 = "8h"
    h12 = "12h"
    d1 = "1d"

    def __str__(self) -> str:
        return self.value

    @property
    def milliseconds(self) -> int:
        """Length of one bar in milliseconds."""
        return _FREQ_MS[self]

    @property
    def bars_per_day(self) -> int:
        """How many bars a full UTC day holds."""
        return DAY_MS // self.milliseconds

    @classmethod
    def parse(cls, text: str | Freq) -> Freq:
        """The frequency of that name; UsageError lists the valid ones."""
        try:
            return cls(text)
        except ValueError:
            valid = " ".join(freq.value for freq in cls)
            raise UsageError(f"unknown interval {text!r}", hint=f"one of: {valid}") from None


def _length_ms(freq: Freq) -> int:
    unit = {"m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": DAY_MS}[freq.value[-1]]
    return int(freq.value[:-1]) * unit


_FREQ_MS = {freq: _length_ms(freq) for freq in Freq}


class Dataset(str, Enum):
    """A kind of market data; the value is its table's name."""

    KLINES = "klines"
    METRICS = "metrics"
    FUNDING_RATES = "funding_rates"

    def __str__(self) -> str:
        return self.value


class MissingReason(str, Enum):
    """Why `define` found a requested symbol without market data on a day."""

    NOT_IN_CURRENT_TRADING_LIST = "not_in_current_trading_list"
    NO_KLINE_ON_DATE = "no_kline_on_date"

    def __str__(self) -> str:
        return self.value


class Status(str, Enum):
    """What the ledger says of one symbol-day of one dataset."""

    COMPLETE = "complete"
    """Every expected row is stored."""
    CONFIRMED_GAP = "confirmed_gap"
    """Fewer rows than expected (zero included), and no source has more."""
    INCOMPLETE = "incomplete"
    """Fetched, but not confirmed: a later run asks again."""
    FAILED = "failed"
    """Nothing usable could be fetched: a later run asks again."""

    def __str__(self) -> str:
        return self.value

    @property
    def settled(self) -> bool:
        """True when later incremental runs have nothing left to ask."""
        return self in (Status.COMPLETE, Status.CONFIRMED_GAP)


class SourceObject(NamedTuple):
    """An archive object that rows came from."""

    name: str
    """Its whole name inside the archive."""
    sha256: str
    last_modified: str | None
    fetched_at: str
