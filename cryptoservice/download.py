"""download: fetch the wanted symbol-days of a universe into SQLite, resumably and verified."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptoservice.binance.connection import Connection
from cryptoservice.clock import Clock, check
from cryptoservice.config import NetworkConfig, WindowBounds
from cryptoservice.days import Window, utc_text
from cryptoservice.errors import SourceRefused
from cryptoservice.files import make_folder
from cryptoservice.lock import DatabaseLock
from cryptoservice.models import Dataset, Freq
from cryptoservice.pipeline import Pipeline, Tally, Unsettled
from cryptoservice.plan import KlineSource
from cryptoservice.progress import Progress
from cryptoservice.store import Store, refuse_foreign
from cryptoservice.universe import UniverseFile
from cryptoservice.worklist import ActiveDays, Worklist, make_feeds

log = logging.getLogger(__name__)


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

    @property
    def shortfall(self) -> str | None:
        """What is lacking, mostly why, and what to do, in one line; None when the download is complete."""
        if self.complete:
            return None
        wanted = sum(count.wanted for count in self.datasets.values())
        ((reason, count),) = Counter(item.reason for item in self.failed).most_common(1)
        what = f"{len(self.failed)} of {wanted} symbol-days could not be fetched whole"
        return f'{what}, {count} of them with the reason "{reason}": run the same command again to ask for them'

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
    with (
        DatabaseLock(database, utc_text(clock.time())),
        Store.create(database, stop) as store,
        Connection(network, clock) as connection,
    ):
        feeds = make_feeds(connection, freq, kline_source, clock.time(), metrics=download_market_metrics)
        worklist = Worklist(store, feeds, active, days, incremental=incremental)
        settled = sum(worklist.settled.values())
        nothing_active = universe.nothing_active(days)
        if nothing_active:
            log.warning("nothing to do: %s", nothing_active)
        elif worklist.symbol_days:
            log.info("%s symbol-days to fetch, %s settled already", f"{worklist.symbol_days:,}", f"{settled:,}")
        else:
            log.info("nothing to do: all %s symbol-days are settled, no data is requested", f"{settled:,}")
        progress = Progress("download", "symbol-days", worklist.symbol_days, clock, connection.gauge)
        pipeline = Pipeline(store, network.workers, clock, progress, stop)
        try:
            if worklist.symbol_days:
                connection.open()
                pipeline.run(worklist.jobs(), worklist.known, worklist.expected_rows)
        finally:
            progress.end()
    check(stop)
    traffic = connection.traffic
    counts = {feed.dataset: _counts(active, worklist.settled[feed.dataset], pipeline.tallies.get(feed.dataset)) for feed in feeds}
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


def _counts(active: ActiveDays, settled: int, tally: Tally | None) -> DatasetCounts:
    tally = tally or Tally()
    wanted = sum(map(len, active.values()))
    return DatasetCounts(wanted, settled, tally.downloaded, tally.confirmed_gaps, len(tally.unsettled), tally.rows)
