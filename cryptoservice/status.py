"""status: what is there of a universe, what is not and why, and what the next download would ask for. Offline, reads only."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from cryptoservice import plan
from cryptoservice.clock import Clock, check
from cryptoservice.config import WindowBounds
from cryptoservice.days import Window, utc_day, utc_text
from cryptoservice.models import Dataset, Freq, MissingReason, Status
from cryptoservice.plan import DayCase, KlineSource, Outcome, Source
from cryptoservice.store import Store
from cryptoservice.universe import UniverseFile

ActiveDays = Mapping[str, Sequence[date]]

_REASONS_SHOWN = 5


@dataclass(frozen=True)
class UnsettledReason:
    """How many symbol-days a later run would ask for again, for one and the same reason."""

    status: Status
    reason: str | None
    symbol_days: int

    def to_dict(self) -> dict[str, Any]:
        """An entry of `unsettled_reasons`."""
        return {"status": self.status.value, "reason": self.reason, "symbol_days": self.symbol_days}


@dataclass(frozen=True)
class NextDownload:
    """What the next incremental download of a dataset would do."""

    symbol_days: int
    """Active symbol-days that are not settled."""
    first_source: Mapping[Source, int]
    """How many of them each source would be asked for first."""

    @property
    def without_request(self) -> int:
        """Symbol-days for which nobody need be asked: before the dataset's history, or not over yet."""
        return self.symbol_days - sum(self.first_source.values())

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `next_download`."""
        sources = {source.value: self.first_source.get(source, 0) for source in Source}
        return {"symbol_days": self.symbol_days, "first_source": sources, "without_request": self.without_request}


@dataclass(frozen=True)
class DatasetStatus:
    """One dataset at one frequency: active symbol-days of the window by what the ledger says of them."""

    dataset: Dataset
    freq: str
    """The kline interval, `5m` for metrics, empty for funding rates."""
    statuses: Mapping[Status, int]
    never_fetched: int
    rows: int
    """Rows that the ledger says are stored."""
    last_checked: int | None
    """Epoch seconds of the newest ledger line."""
    reasons: tuple[UnsettledReason, ...]
    """The most frequent reasons, the most frequent first."""
    next_download: NextDownload

    @property
    def active_symbol_days(self) -> int:
        """All that the universe wants; the sum of the five counts."""
        return sum(self.statuses.values()) + self.never_fetched

    def to_dict(self) -> dict[str, Any]:
        """An entry of `datasets`."""
        return {
            "dataset": self.dataset.value,
            "freq": self.freq,
            "active_symbol_days": self.active_symbol_days,
            "complete": self.statuses[Status.COMPLETE],
            "confirmed_gaps": self.statuses[Status.CONFIRMED_GAP],
            "incomplete": self.statuses[Status.INCOMPLETE],
            "failed": self.statuses[Status.FAILED],
            "never_fetched": self.never_fetched,
            "rows": self.rows,
            "last_checked": None if self.last_checked is None else utc_text(self.last_checked),
            "unsettled_reasons": [reason.to_dict() for reason in self.reasons],
            "next_download": self.next_download.to_dict(),
        }


@dataclass(frozen=True)
class StatusResult:
    """A universe, and what a database holds of it."""

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

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of stdout."""
        return {
            "universe_file": self.universe_file,
            "db_path": self.db_path,
            "window": {"start_date": self.window.start.isoformat(), "end_date": self.window.end.isoformat()},
            "days": self.window.length,
            "requested_symbols": self.requested_symbols,
            "active_symbols": self.active_symbols,
            "active_symbol_days": self.active_symbol_days,
            "define_missing": {reason.value: self.define_missing[reason] for reason in MissingReason},
            "datasets": [dataset.to_dict() for dataset in self.datasets],
        }


def universe_status(
    universe_file: str | Path,
    db_path: str | Path | None = None,
    *,
    window: WindowBounds | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> StatusResult:
    """Count the active symbol-days of the window by what the ledger says; without a database look at the universe alone.

    Never touches the network and writes nothing; a download may be running. The clock decides how old a day is, and so which
    source would be asked first. Raises UsageError for bad input, StoreError when the database cannot be read, Interrupted
    when `stop` is set.
    """
    now = datetime.fromtimestamp((clock or Clock()).time(), timezone.utc)
    universe = UniverseFile.load(Path(universe_file)).universe
    bounds = window or WindowBounds()
    days = universe.subwindow(bounds.start_date, bounds.end_date)
    active = universe.active_days(days)
    missing = Counter(reason for snapshot in universe.snapshots(days) for reason in snapshot.missing_symbols.values())
    datasets: list[DatasetStatus] = []
    if db_path is not None:
        with Store.read(Path(db_path)) as store:
            for dataset, freq in _known(store):
                check(stop)
                datasets.append(_dataset_status(store, dataset, freq, active, days, now))
    return StatusResult(
        universe_file=str(universe_file),
        db_path=None if db_path is None else str(db_path),
        window=days,
        requested_symbols=len(universe.requested_symbols),
        active_symbols=len(active),
        active_symbol_days=sum(map(len, active.values())),
        define_missing=missing,
        datasets=tuple(datasets),
    )


def _known(store: Store) -> Iterator[tuple[Dataset, str]]:
    for dataset in Dataset:
        for freq in store.frequencies(dataset):
            yield dataset, freq


def _dataset_status(
    store: Store, dataset: Dataset, freq: str, active: ActiveDays, window: Window, now: datetime
) -> DatasetStatus:
    wanted = {symbol: set(days) for symbol, days in active.items()}
    statuses = Counter(dict.fromkeys(Status, 0))
    reasons: Counter[tuple[Status, str | None]] = Counter()
    rows, last_checked = 0, None
    for entry in store.entries(dataset, freq, window):
        left = wanted.get(entry.symbol)
        if left is None or entry.day not in left:
            continue
        statuses[entry.status] += 1
        rows += entry.rows
        last_checked = max(last_checked or 0, entry.checked_at)
        if entry.status.settled:
            left.remove(entry.day)
        else:
            reasons[entry.status, entry.reason] += 1
    # What is left is what a download would fetch: unsettled, or never asked for.
    todo = [sorted(left) for left in wanted.values() if left]
    symbol_days = sum(map(len, todo))
    first = Counter(source for days in todo for source in _first_sources(dataset, freq, days, now))
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0][0].value, item[0][1] or ""))
    return DatasetStatus(
        dataset=dataset,
        freq=freq,
        statuses=statuses,
        never_fetched=symbol_days - sum(reasons.values()),
        rows=rows,
        last_checked=last_checked,
        reasons=tuple(UnsettledReason(*key, count) for key, count in ranked[:_REASONS_SHOWN]),
        next_download=NextDownload(symbol_days, first),
    )


def _first_sources(dataset: Dataset, freq: str, days: Sequence[date], now: datetime) -> Iterator[Source]:
    """The planner's first source for each of a symbol's days; none for those that it settles without asking."""
    step = plan.next_funding_step if dataset is Dataset.FUNDING_RATES else plan.next_step
    for case in _routes(dataset, freq, days, now):
        first = step(case, {})
        if not isinstance(first, Outcome):
            yield first


def _routes(dataset: Dataset, freq: str, days: Sequence[date], now: datetime) -> list[DayCase]:
    today = utc_day(now.timestamp())
    if dataset is Dataset.KLINES:
        return plan.kline_routes(days, today, KlineSource.AUTO, Freq.parse(freq).bars_per_day)
    return plan.metrics_routes(days, now) if dataset is Dataset.METRICS else plan.funding_routes(days, today)
