"""The records of the ledger: what is written and read for one symbol-day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from cryptoservice.models import Dataset, Row, SourceObject, Status


class Series(NamedTuple):
    """One symbol of one dataset at one frequency (empty for funding rates)."""

    dataset: Dataset
    freq: str
    symbol: str


class LedgerLine(NamedTuple):
    """What the ledger says of one symbol-day."""

    status: Status
    reason: str | None
    rows: int
    expected_rows: int


class LedgerEntry(NamedTuple):
    """A whole line of the ledger, for those who report on it."""

    symbol: str
    day: date
    status: Status
    reason: str | None
    rows: int
    expected_rows: int
    source: str | None
    checked_at: int
    """Epoch seconds."""


@dataclass(frozen=True)
class SymbolDay:
    """One symbol-day ready to be written: its rows, in time order, and its ledger line."""

    series: Series
    day: date
    status: Status
    reason: str | None
    rows: Sequence[Row]
    expected_rows: int
    source: str | None
    checked_at: float
    """Epoch seconds."""
    origin: SourceObject | None = None
