"""Digests over the rows of a database: one for each symbol and month, marks for its days, and one root over all of them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from typing import NamedTuple

from cryptoservice.audit.dataset_lock.records import canonical_day
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.days import Window, day_number, month_end, month_of
from cryptoservice.models import Record
from cryptoservice.progress import Progress, Report
from cryptoservice.storage.ledger import Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.model import ActiveDays

NO_ROWS = "-"
"""The mark of a day without rows."""
UNREADABLE = "unreadable"
"""Stands in the place of a digest where a value is of a type that no download stores."""
_MARK_DIGITS = 8


class SymbolMonth(NamedTuple):
    """What one digest is about."""

    dataset: str
    """`klines/5m`, `metrics/5m` or `funding_rates`."""
    symbol: str
    month: str
    """Such as `2024-10`."""


class MonthDigest(NamedTuple):
    """The rows of a symbol-month, in short."""

    sha256: str
    """64 hexadecimal digits over all rows, or UNREADABLE."""
    marks: str
    """One word for each day of the calendar month: the first digits of the SHA-256 over its rows, or NO_ROWS. Empty: unknown."""


@dataclass
class DatasetContents(Record):
    """How much of one dataset a database holds of the universe."""

    dataset: str
    active_symbol_days: int
    """Active symbol-days of the universe in the window."""
    symbol_days: int = 0
    """Those of them that have rows."""
    rows: int = 0


@dataclass
class Contents:
    """What a database holds of the active symbol-days of a universe, at one moment."""

    digests: dict[SymbolMonth, MonthDigest] = field(default_factory=dict)
    datasets: list[DatasetContents] = field(default_factory=list)
    object_ids: set[int] = field(default_factory=set)
    """Ids of the archive objects that the ledger names for the days with rows."""


def dataset_name(series: Series) -> str:
    """How a lock names the dataset of a series: with its frequency, where it has one."""
    return f"{series.dataset}/{series.freq}" if series.freq else series.dataset.value


def root_of(digests: Mapping[SymbolMonth, MonthDigest]) -> str:
    """SHA-256 over one line for each symbol-month, `dataset symbol month digest`; the lines are sorted by their bytes."""
    lines = sorted(f"{' '.join(place)} {digest.sha256}\n".encode() for place, digest in digests.items())
    return hashlib.sha256(b"".join(lines)).hexdigest()


def read_contents(
    store: StoreReader, active: ActiveDays, clock: Clock, stop: threading.Event | None, report: Report | None = None
) -> Contents:
    """Digest the rows of all active symbol-days, whatever the ledger says of them. A symbol-month without rows has no digest.

    Raises StoreError when the database cannot be read, and Interrupted when `stop` is set.
    """
    contents = Contents()
    wanted = sum(map(len, active.values()))
    known = {name: list(group) for name, group in groupby(store.series(), dataset_name)}
    progress = Progress("lock", "symbol-days", len(known) * wanted, clock, report=report)
    try:
        for name, of_dataset in known.items():
            counts = DatasetContents(name, wanted)
            for series in of_dataset:
                for days in _months(active.get(series.symbol, ())):
                    raise_if_stopped(stop)
                    month = _read_month(store, series, days)
                    if month.days:
                        contents.digests[SymbolMonth(name, series.symbol, f"{days[0]:%Y-%m}")] = month.digest
                        contents.object_ids |= _object_ids(store, series, month.days)
                    counts.symbol_days += len(month.days)
                    counts.rows += month.rows
                    progress.advance(len(days), rows=month.rows)
            if counts.rows:
                contents.datasets.append(counts)
    finally:
        progress.end()
    return contents


class _Month(NamedTuple):
    digest: MonthDigest
    days: list[date]
    """Those with rows."""
    rows: int


def _months(days: Sequence[date]) -> Iterator[list[date]]:
    """The days of each month; they come in order."""
    for _, group in groupby(days, month_of):
        yield list(group)


def _read_month(store: StoreReader, series: Series, days: Sequence[date]) -> _Month:
    whole = hashlib.sha256()
    marks = [NO_ROWS] * month_end(days[0]).day
    with_rows = []
    count = 0
    is_readable = True
    for day in days:
        records = canonical_day(store, series, day)
        if records is None:
            is_readable = False
            marks[day.day - 1] = UNREADABLE
            with_rows.append(day)
        elif records:
            content = b"".join(records)
            whole.update(content)
            marks[day.day - 1] = hashlib.sha256(content).hexdigest()[:_MARK_DIGITS]
            with_rows.append(day)
            count += len(records)
    return _Month(MonthDigest(whole.hexdigest() if is_readable else UNREADABLE, " ".join(marks)), with_rows, count)


def _object_ids(store: StoreReader, series: Series, days: Sequence[date]) -> set[int]:
    named = store.object_ids(series, Window(days[0], days[-1]))
    return {named[number] for number in map(day_number, days) if number in named}
