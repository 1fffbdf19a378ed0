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


class LedgerOrigin(NamedTuple):
    """A whole ledger line, and where the rows came from that it speaks of."""

    entry: LedgerEntry
    marks: bytes | None
    """For each row the bits of the sources whose values it holds; None when all came from the line's source."""
    object: SourceObject | None
    """The archive object that the line names: that of the most trusted source among its rows."""


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
    marks: bytes | None = None
    """For each row the bits of the sources whose values it holds; None when all came from `source`."""


class StoredDay(NamedTuple):
    """A symbol-day as it is stored: what its ledger line says, its rows, and where each row came from."""

    status: Status
    reason: str | None
    rows: Sequence[Row]
    marks: bytes
    """For each row the bits of the sources whose values it holds (`Source.mark`)."""
    object_key: tuple[str, str] | None = None
    """Name and SHA-256 of the archive object that the ledger line names."""
    is_stale: bool = False
    """The rows may stand under the wrong bar: another answer replaces them as a whole (`migration.STALE_METRICS`)."""


_MARKS = {"monthly": 1, "daily": 2, "rest": 4}


def mark_of_text(source: str | None) -> bytes:
    """The mark of a row of which the ledger only says from which sources its day came, such as `monthly+daily`.

    The row may be from any of them, so it has the trust of the best: it is not replaced by anything less.
    """
    return bytes([sum(_MARKS.get(part, 0) for part in (source or "").split("+"))])
