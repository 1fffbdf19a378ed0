"""The values that pass between the database and its users: a series, a symbol-day to be written, and lines of the ledger.

The ledger is the table that holds one line for every symbol-day that a download has asked for: how it ended, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from cryptoservice.models import Dataset, Row, SourceObject, Status


class Series(NamedTuple):
    """One symbol of one dataset at one frequency; `freq` is `5m` for metrics and empty for funding rates."""

    dataset: Dataset
    freq: str
    symbol: str


class LedgerLine(NamedTuple):
    """The outcome in a ledger line: how a symbol-day ended, why, and how many of the expected rows are stored."""

    status: Status
    reason: str | None
    rows: int
    expected_rows: int


class LedgerEntry(NamedTuple):
    """A whole line of the ledger, for reports."""

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
    """One symbol-day that is ready to be written: its rows in time order, and what its ledger line will say."""

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
    """The archive object that the rows came from, if there was one."""
