"""Provenance: where the stored values of one symbol-day come from, as the ledger tells it for every dataset.

It reads only, and it never touches the network.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar

from cryptoservice.clock import raise_if_stopped
from cryptoservice.config import require_controls
from cryptoservice.days import Window, parse_day, shorten, utc_text
from cryptoservice.errors import UsageError
from cryptoservice.files import path_of
from cryptoservice.models import Dataset, Record, SourceObject, Status
from cryptoservice.reasons import NOT_DOWNLOADED, MissingReason
from cryptoservice.sources.alignment import Reading
from cryptoservice.sources.evidence import sources_of
from cryptoservice.storage.ledger import LedgerOrigin
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.model import Universe

_SYMBOLS_SHOWN = 5


@dataclass(frozen=True)
class DatasetProvenance(Record):
    """One dataset at one frequency: how the symbol-day ended, and where its rows came from."""

    KEYS: ClassVar = (
        "dataset", "freq", "status", "reason", "rows", "expected_rows", "checked_at", "source", "rows_by_source", "labels",
        "object", "sha256", "last_modified", "fetched_at",
    )  # fmt: skip

    dataset: Dataset
    freq: str
    """The kline interval, `5m` for metrics, empty for funding rates."""
    status: Status | None
    """None when the ledger has no line: no download has asked for the symbol-day."""
    reason: str | None
    rows: int
    expected_rows: int | None
    """None without a ledger line."""
    checked_at: str | None
    """UTC time of the ledger line, such as `2026-03-01T11:59:00+00:00`."""
    source: str | None
    """The sources of the rows by rising trust, such as `daily` or `monthly+rest`; None without rows."""
    rows_by_source: Mapping[str, int]
    """How many rows hold the values of which source."""
    labels: Reading | None
    """Metrics from archive files: whether the labels of the file end or start their bars, or that nothing proves it."""
    origin: SourceObject | None
    """The archive object of the most trusted archive source; None where all rows came from the API."""

    @property
    def object(self) -> str | None:
        """The path of the archive object inside the archive."""
        return self.origin.name if self.origin else None

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the archive object, as the archive published it and as it was verified."""
        return self.origin.sha256 if self.origin else None

    @property
    def last_modified(self) -> str | None:
        """When the archive published that version of the object, in the form of its Last-Modified header."""
        return self.origin.last_modified if self.origin else None

    @property
    def fetched_at(self) -> str | None:
        """UTC time at which that version was fetched first."""
        return self.origin.fetched_at if self.origin else None


@dataclass(frozen=True, repr=False)
class ProvenanceResult(Record):
    """One symbol-day, and where everything comes from that a database holds of it."""

    KEYS: ClassVar = ("universe_file", "db_path", "symbol", "date", "active", "missing_reason", "provenance")

    universe_file: str
    db_path: str
    symbol: str
    date: date
    missing_reason: MissingReason | None
    """Why the universe does not have the symbol-day; None when it is active."""
    provenance: tuple[DatasetProvenance, ...]
    """Every dataset and frequency that the database knows of any symbol-day."""

    @property
    def active(self) -> bool:
        """Whether the universe has the symbol-day."""
        return self.missing_reason is None


def symbol_day_provenance(
    universe_file: str | Path,
    db_path: str | Path,
    symbol: str,
    day: str | date,
    *,
    stop: threading.Event | None = None,
) -> ProvenanceResult:
    """Say for one symbol on one UTC day where the values of every dataset come from.

    Nothing is written and the network is not touched; a download may be running meanwhile. Raises UsageError for bad input, which
    includes a symbol or a day that the universe does not have, StoreError when the database cannot be read, and Interrupted when
    `stop` is set.
    """
    require_controls(stop=stop)
    universe = UniverseFile.load(universe_file, stop).universe
    name, at = _place(universe, symbol, day)
    raise_if_stopped(stop)
    with StoreReader.open(path_of(db_path, "database")) as store:
        origins = store.origins(name, at)
        known = [(dataset, freq) for dataset in Dataset for freq in store.frequencies(dataset)]
    (snapshot,) = universe.snapshots(Window(at, at))
    return ProvenanceResult(
        universe_file=str(universe_file),
        db_path=str(db_path),
        symbol=name,
        date=at,
        missing_reason=snapshot.missing_symbols.get(name),
        provenance=tuple(_of_dataset(dataset, freq, origins.get((dataset, freq))) for dataset, freq in known),
    )


def _place(universe: Universe, symbol: str, day: str | date) -> tuple[str, date]:
    """The symbol and the day, which the universe must have."""
    name = symbol.strip().upper() if isinstance(symbol, str) else symbol
    if name not in universe.requested_symbols:
        shown = ", ".join(universe.requested_symbols[:_SYMBOLS_SHOWN])
        more = ", ..." if len(universe.requested_symbols) > _SYMBOLS_SHOWN else ""
        raise UsageError(f"the universe has no symbol {shorten(name)}", hint=f"it has {shown}{more}")
    at = parse_day(day, "date")
    if at not in universe.window:
        hint = f"the universe covers {universe.start_date} to {universe.end_date}"
        raise UsageError(f"the date {at} lies outside the universe", hint=hint)
    return name, at


def _of_dataset(dataset: Dataset, freq: str, found: LedgerOrigin | None) -> DatasetProvenance:
    if found is None:
        return DatasetProvenance(dataset, freq, None, NOT_DOWNLOADED, 0, None, None, None, {}, None, None)
    entry = found.entry
    return DatasetProvenance(
        dataset=dataset,
        freq=freq,
        status=entry.status,
        reason=entry.reason,
        rows=entry.rows,
        expected_rows=entry.expected_rows,
        checked_at=utc_text(entry.checked_at),
        source=entry.source,
        rows_by_source=_rows_by_source(found),
        labels=Reading.of_reason(entry.reason) if dataset is Dataset.METRICS else None,
        origin=found.object,
    )


def _rows_by_source(found: LedgerOrigin) -> dict[str, int]:
    """How many rows have each mark. A row has two sources when one filled the blanks of the other."""
    if found.marks is None:
        return {found.entry.source: found.entry.rows} if found.entry.source and found.entry.rows else {}
    return {"+".join(sources_of([mark])): count for mark, count in sorted(Counter(found.marks).items())}
