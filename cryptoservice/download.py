"""download: fetch the wanted symbol-days of a universe into SQLite, resumably and verified."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

from cryptoservice.binance.connection import Connection
from cryptoservice.clock import Clock, check
from cryptoservice.config import NetworkConfig, WindowBounds
from cryptoservice.days import Window, utc_day, utc_text
from cryptoservice.errors import SourceRefused
from cryptoservice.feeds import Feed, FundingFeed, KlineFeed, MetricsFeed
from cryptoservice.files import make_folder
from cryptoservice.lock import DatabaseLock
from cryptoservice.models import Dataset, Freq
from cryptoservice.pipeline import Job, Pipeline, Tally, Unsettled
from cryptoservice.plan import KlineSource
from cryptoservice.progress import Progress
from cryptoservice.store import LedgerLine, Series, Store, refuse_foreign
from cryptoservice.universe import UniverseFile

log = logging.getLogger(__name__)

ActiveDays = dict[str, list[date]]


@dataclass(frozen=True)
class DatasetCounts:
    """Symbol-days of one dataset. `wanted` is the sum of the other four, the unsettled ones included."""

    wanted: int
    already_complete: int
    downloaded: int
    confirmed_gaps: int
    failed: int
    rows: int


@dataclass(frozen=True)
class DownloadResult:
    """What a download achieved. `refused` tells that a host closed its door before all was fetched."""

    window: Window
    interval: Freq
    datasets: dict[Dataset, DatasetCounts]
    failed: tuple[Unsettled, ...]
    requests: dict[str, int]
    retries: int
    waited_seconds: float
    elapsed_seconds: float
    refused: SourceRefused | None = None

    @property
    def complete(self) -> bool:
        """True when every wanted symbol-day is complete or a confirmed gap."""
        return not self.failed

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of stdout."""
        counts = self.datasets.values()
        return {
            "status": "complete" if self.complete else "incomplete",
            "window": {"start_date": self.window.start.isoformat(), "end_date": self.window.end.isoformat()},
            "interval": self.interval.value,
            "wanted_symbol_days": sum(count.wanted for count in counts),
            "already_complete": sum(count.already_complete for count in counts),
            "downloaded": sum(count.downloaded for count in counts),
            "confirmed_gaps": sum(count.confirmed_gaps for count in counts),
            "failed": [
                {
                    "dataset": item.dataset.value,
                    "symbol": item.symbol,
                    "date": item.day.isoformat(),
                    "reason": item.reason,
                    "status": item.status.value,
                }
                for item in self.failed
            ],
            "rows": {dataset.value: self.datasets[dataset].rows if dataset in self.datasets else 0 for dataset in Dataset},
            "datasets": {
                dataset.value: {
                    "wanted_symbol_days": count.wanted,
                    "already_complete": count.already_complete,
                    "downloaded": count.downloaded,
                    "confirmed_gaps": count.confirmed_gaps,
                    "failed": count.failed,
                }
                for dataset, count in self.datasets.items()
            },
            "requests": self.requests,
            "retries": self.retries,
            "waited_seconds": round(self.waited_seconds, 3),
            "elapsed_seconds": round(self.elapsed_seconds, 3),
        }


def download_universe_data(
    universe_file: str | Path,
    db_path: str | Path,
    *,
    interval: Freq | str = Freq.m1,
    window: WindowBounds | None = None,
    download_market_metrics: bool = False,
    incremental: bool = True,
    kline_source: KlineSource = KlineSource.AUTO,
    network: NetworkConfig | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> DownloadResult:
    """Fetch every active symbol-day of the window that the ledger does not know as settled.

    Rows and ledger line of a symbol-day are committed together; an interrupted run is continued by the next. Raises
    UsageError for bad input, StoreBusy when another run holds the database, StoreError when it cannot be used, Interrupted
    when `stop` is set. A source that refuses or fails is no exception but part of the result.
    """
    clock = clock or Clock()
    network = network or NetworkConfig()
    started = clock.monotonic()
    freq = Freq.parse(interval)
    universe = UniverseFile.load(Path(universe_file)).universe
    bounds = window or WindowBounds()
    days = universe.subwindow(bounds.start_date, bounds.end_date)
    active = universe.active_days(days)
    database = Path(db_path)
    refuse_foreign(database)
    make_folder(database.absolute().parent)
    halt = threading.Event()
    with (
        DatabaseLock(database, utc_text(clock.time())),
        Store.create(database) as store,
        Connection(network, clock, halt) as connection,
    ):
        today = utc_day(clock.time())
        feeds: list[Feed] = [KlineFeed(connection, freq, today, kline_source)]
        if download_market_metrics:
            now = datetime.fromtimestamp(clock.time(), timezone.utc)
            feeds += [MetricsFeed(connection, now), FundingFeed(connection, today)]
        todo = _Todo(store, feeds, active, days, incremental=incremental)
        settled = sum(todo.settled.values())
        if todo.symbol_days:
            log.info("%d symbol-days to fetch, %d settled already", todo.symbol_days, settled)
        else:
            log.info("nothing to do: all %d symbol-days are settled, no data is requested", settled)
        progress = Progress("download", "symbol-days", todo.symbol_days, clock, connection.gauge)
        pipeline = Pipeline(store, network.workers, clock, progress, stop)
        try:
            if todo.symbol_days:
                pipeline.run(todo.jobs(), todo.known, todo.expected_rows)
        finally:
            halt.set()
            progress.end()
    check(stop)
    traffic = connection.traffic
    counts = {feed.dataset: _counts(active, todo.settled[feed.dataset], pipeline.tallies.get(feed.dataset)) for feed in feeds}
    failed = sorted(item for tally in pipeline.tallies.values() for item in tally.unsettled)
    return DownloadResult(
        window=days,
        interval=freq,
        datasets=counts,
        failed=tuple(failed),
        requests=traffic.requests,
        retries=traffic.retries,
        waited_seconds=connection.waited_seconds,
        elapsed_seconds=clock.monotonic() - started,
        refused=connection.refusal if failed else None,
    )


class _Todo:
    """Wanted symbol-days less those that the ledger knows as settled."""

    def __init__(self, store: Store, feeds: Sequence[Feed], active: ActiveDays, window: Window, *, incremental: bool) -> None:
        self.known: dict[Series, dict[date, LedgerLine]] = {}
        self.settled: dict[Dataset, int] = {}
        self._wanted: list[tuple[Feed, str, list[date]]] = []
        for feed in feeds:
            ledger = store.ledger(feed.dataset, feed.freq, window)
            self.settled[feed.dataset] = 0
            for symbol, days in active.items():
                lines = ledger.get(symbol, {})
                wanted = days
                if incremental and lines:
                    wanted = [day for day in days if day not in lines or not lines[day].status.settled]
                self.settled[feed.dataset] += len(days) - len(wanted)
                if wanted:
                    self._wanted.append((feed, symbol, wanted))
                    self.known[Series(feed.dataset, feed.freq, symbol)] = lines

    @property
    def symbol_days(self) -> int:
        """How many are left to fetch."""
        return sum(len(days) for _, _, days in self._wanted)

    @property
    def expected_rows(self) -> int:
        """A guess at the rows that they hold."""
        return sum(len(days) * (Freq(feed.freq).bars_per_day if feed.freq else 3) for feed, _, days in self._wanted)

    def jobs(self) -> Iterator[Job]:
        """Jobs in the order of the universe; made one by one, as there may be many."""
        for feed, symbol, days in self._wanted:
            for part in feed.split(days):
                yield Job.of(feed, symbol, part)


def _counts(active: ActiveDays, settled: int, tally: Tally | None) -> DatasetCounts:
    tally = tally or Tally()
    wanted = sum(map(len, active.values()))
    return DatasetCounts(wanted, settled, tally.downloaded, tally.confirmed_gaps, len(tally.unsettled), tally.rows)
