"""status: what a database holds of a universe, what it lacks and why, and what the next download would ask for.

It reads only, and it never touches the network.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import AnyWindow, require_controls
from cryptoservice.days import Window, utc_text
from cryptoservice.download.worklist import retried_gaps
from cryptoservice.files import path_of
from cryptoservice.models import Dataset, Record, Status
from cryptoservice.reasons import MissingReason
from cryptoservice.sources.datasets import first_sources, plan_of
from cryptoservice.sources.evidence import Source
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.model import ActiveDays

_REASONS_SHOWN = 5


@dataclass(frozen=True)
class UnsettledReason(Record):
    """How many symbol-days share one status and reason that make a later download ask for them again."""

    status: Status
    reason: str | None
    symbol_days: int


@dataclass(frozen=True)
class NextDownload(Record):
    """What the next incremental download of a dataset would do."""

    KEYS: ClassVar = ("symbol_days", "first_source", "without_request")

    symbol_days: int
    """Active symbol-days that are not settled."""
    first_source: Mapping[Source, int]
    """For each source: how many of them it would be asked for first."""

    @property
    def without_request(self) -> int:
        """Symbol-days that no source would be asked for: the dataset did not exist yet, or the day is not over."""
        return self.symbol_days - sum(self.first_source.values())


@dataclass(frozen=True)
class DatasetStatus(Record):
    """One dataset at one frequency: the active symbol-days of the window, counted by what the ledger says of them."""

    KEYS: ClassVar = (
        "dataset", "freq", "active_symbol_days", "complete", "confirmed_gaps", "incomplete", "failed", "never_fetched", "rows",
        "last_checked", "unsettled_reasons", "next_download",
    )  # fmt: skip

    dataset: Dataset
    freq: str
    """The kline interval, `5m` for metrics, empty for funding rates."""
    complete: int
    confirmed_gaps: int
    incomplete: int
    failed: int
    never_fetched: int
    rows: int
    """Rows that the ledger says are stored."""
    last_checked: str | None
    """UTC time of the newest ledger line, such as `2026-03-01T11:59:00+00:00`; None without any."""
    unsettled_reasons: tuple[UnsettledReason, ...]
    """The most frequent reasons, the most frequent first."""
    next_download: NextDownload

    @property
    def active_symbol_days(self) -> int:
        """All symbol-days that the universe wants: the sum of the five counts."""
        return self.complete + self.confirmed_gaps + self.incomplete + self.failed + self.never_fetched


@dataclass(frozen=True, repr=False)
class StatusResult(Record):
    """A universe, and what a database holds of it."""

    KEYS: ClassVar = (
        "universe_file", "db_path", "window", "days", "requested_symbols", "active_symbols", "active_symbol_days",
        "define_missing", "datasets",
    )  # fmt: skip

    universe_file: str
    db_path: str | None
    window: Window
    requested_symbols: int
    active_symbols: int
    """Symbols with at least one active day in the window."""
    active_symbol_days: int
    define_missing: Mapping[MissingReason, int]
    """Symbol-days that are not active, by the reason that define found."""
    datasets: tuple[DatasetStatus, ...]
    """Those that the ledger knows; empty without a database."""

    @property
    def days(self) -> int:
        """How many days the window has."""
        return self.window.length


def universe_status(
    universe_file: str | Path,
    db_path: str | Path | None = None,
    *,
    window: AnyWindow | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> StatusResult:
    """Count the active symbol-days of the window by what the ledger says. Without a database, count those of the universe.

    Nothing is written and the network is not touched; a download may be running meanwhile. The clock says how old a day is,
    which decides the source that would be asked first. Raises UsageError for bad input, StoreError when the database cannot
    be read, and Interrupted when `stop` is set.
    """
    require_controls(clock=clock, stop=stop)
    now = (clock or Clock()).time()
    universe = UniverseFile.load(universe_file, stop).universe
    days = universe.subwindow(window)
    active = universe.active_days(days)
    missing = universe.missing_counts(days)
    datasets: list[DatasetStatus] = []
    if db_path is not None:
        with StoreReader.open(path_of(db_path, "database")) as store:
            for dataset, freq in _known(store):
                raise_if_stopped(stop)
                datasets.append(_dataset_status(store, dataset, freq, active, days, now))
    return StatusResult(
        universe_file=str(universe_file),
        db_path=None if db_path is None else str(db_path),
        window=days,
        requested_symbols=len(universe.requested_symbols),
        active_symbols=len(active),
        active_symbol_days=sum(map(len, active.values())),
        define_missing={reason: missing[reason] for reason in universe.known_reasons},
        datasets=tuple(datasets),
    )


def _known(store: StoreReader) -> Iterator[tuple[Dataset, str]]:
    for dataset in Dataset:
        for freq in store.frequencies(dataset):
            yield dataset, freq


def _dataset_status(
    store: StoreReader, dataset: Dataset, freq: str, active: ActiveDays, window: Window, now: float
) -> DatasetStatus:
    wanted = {symbol: set(days) for symbol, days in active.items()}
    statuses = Counter(dict.fromkeys(Status, 0))
    reasons: Counter[tuple[Status, str | None]] = Counter()
    rows, last_checked = 0, None
    retried = retried_gaps(now)
    for entry in store.entries(dataset, freq, window):
        left = wanted.get(entry.symbol)
        if left is None or entry.day not in left:
            continue
        statuses[entry.status] += 1
        rows += entry.rows
        last_checked = max(last_checked or 0, entry.checked_at)
        if entry.status.settled:
            if not retried.holds(entry.status, entry.reason, entry.checked_at):
                left.remove(entry.day)
        else:
            reasons[entry.status, entry.reason] += 1
    # What is left is what a download would fetch: unsettled, or never asked for.
    todo = [sorted(left) for left in wanted.values() if left]
    symbol_days = sum(map(len, todo))
    plan = plan_of(dataset, freq, now)
    first = Counter(source for days in todo for source in first_sources(plan, days).values())
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0][0].value, item[0][1] or ""))
    return DatasetStatus(
        dataset=dataset,
        freq=freq,
        complete=statuses[Status.COMPLETE],
        confirmed_gaps=statuses[Status.CONFIRMED_GAP],
        incomplete=statuses[Status.INCOMPLETE],
        failed=statuses[Status.FAILED],
        never_fetched=sum(map(len, active.values())) - sum(statuses.values()),
        rows=rows,
        last_checked=None if last_checked is None else utc_text(last_checked),
        unsettled_reasons=tuple(UnsettledReason(*key, count) for key, count in ranked[:_REASONS_SHOWN]),
        next_download=NextDownload(symbol_days, {source: first[source] for source in Source}),
    )
