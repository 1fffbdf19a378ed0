"""preview: what a download would fetch, from where and at what cost. It sends nothing and opens no connection."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cryptoservice.clock import Clock
from cryptoservice.config import AnyWindow, NetworkConfig, require_controls, require_flags, require_kind, require_seconds
from cryptoservice.days import Window
from cryptoservice.download.forecast.disk import DiskSpace
from cryptoservice.download.forecast.duration import ASSUMED_LATENCY, ROWS_FOR_HELPERS, Bound, Durations
from cryptoservice.download.forecast.machine import Machine
from cryptoservice.download.forecast.workload import Share, Workload
from cryptoservice.download.worklist import Wanted, Worklist, retried_gaps
from cryptoservice.files import path_of
from cryptoservice.models import Dataset, Freq, Record
from cryptoservice.sources.datasets import dataset_plans
from cryptoservice.sources.evidence import KlineSource, Source
from cryptoservice.storage.database import is_unfilled
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.notices import nothing_active_notice

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class PreviewResult(Record):
    """First choices only: a day that its first source lacks goes on to the next, at a cost that nobody knows before."""

    KEYS: ClassVar = (
        "window", "interval", "already_complete", "symbol_days", "without_request", "requests", "archive_objects", "weight",
        "rows", "bytes", "minutes", "shares", "seconds", "bound_by", "assumed_latency", "not_published", "disk_needed",
        "disk_free",
    )  # fmt: skip

    window: Window
    interval: Freq
    already_complete: int
    without_request: int
    """Symbol-days that are settled without asking anybody, or cannot be asked for yet."""
    shares: tuple[Share, ...]
    seconds: float
    """From start to end, at the limits in force, on this machine, and with the assumed latency."""
    bound_by: Bound | None
    """What most of that time goes to; None when there is nothing to do."""
    assumed_latency: float
    """Seconds from a request to its answer."""
    not_published: int
    """Symbol-days of metrics of which the archive has probably no file yet at this hour, so that the API is asked as well."""
    disk_needed: int
    """Bytes by which the database will grow, with the log beside it."""
    disk_free: int
    """Bytes free on its disk."""

    @property
    def minutes(self) -> float:
        """The seconds as minutes."""
        return round(self.seconds / 60, 2)

    @property
    def symbol_days(self) -> int:
        """All symbol-days that are not settled yet."""
        return sum(share.symbol_days for share in self.shares) + self.without_request

    @property
    def requests(self) -> int:
        """Requests to all sources, checksums and pages of the bucket listing included."""
        return sum(share.requests for share in self.shares)

    @property
    def archive_objects(self) -> int:
        """Archive objects to fetch."""
        return sum(share.fetches for share in self.shares if share.source is not Source.REST)

    @property
    def weight(self) -> int:
        """Request weight on the API."""
        return sum(share.weight for share in self.shares if share.dataset is Dataset.KLINES)

    @property
    def rows(self) -> int:
        """Rows to store."""
        return sum(share.rows for share in self.shares)

    @property
    def bytes(self) -> int:
        """Bytes on the wire."""
        return sum(share.bytes for share in self.shares)


def plan_download(
    universe_file: str | Path,
    db_path: str | Path,
    *,
    interval: Freq | str = Freq.m1,
    window: AnyWindow | None = None,
    symbols: Iterable[str] | None = None,
    download_market_metrics: bool = False,
    incremental: bool = True,
    retry_gaps: bool = False,
    kline_source: KlineSource | str = KlineSource.AUTO,
    network: NetworkConfig | None = None,
    assumed_latency: float = ASSUMED_LATENCY,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> PreviewResult:
    """What `download_universe_data` with these arguments would fetch, from where and at what cost.

    Nothing is sent and nothing written, so how long a request takes is assumed (seconds) and not measured. A long run is taken
    to have helper processes. Raises UsageError for bad input, StoreError when the database cannot be read, and Interrupted
    when `stop` is set.
    """
    require_flags(download_market_metrics=download_market_metrics, incremental=incremental, retry_gaps=retry_gaps)
    require_kind("network", network, NetworkConfig)
    require_seconds("assumed latency", assumed_latency)
    require_controls(clock=clock, stop=stop)
    clock = clock or Clock()
    wanted = Wanted.of(universe_file, interval, window, symbols, stop)
    nothing_active = nothing_active_notice(wanted.universe, wanted.window)
    if nothing_active:
        log.warning("nothing to do: %s", nothing_active)
    database = path_of(db_path, "database")
    network = network or NetworkConfig()
    may_list = network.endpoints.lists_its_archive
    plans = dataset_plans(wanted.interval, KlineSource.parse(kline_source), clock.time(), metrics=download_market_metrics)
    retried = retried_gaps(clock.time(), all_gaps=retry_gaps)
    with contextlib.ExitStack() as opened:
        # Download fills an empty file as it fills a new one.
        store = None if is_unfilled(database) else opened.enter_context(StoreReader.open(database))
        worklist = Worklist(
            store, plans, wanted.active, wanted.window, incremental=incremental, retried=retried, may_list=may_list
        )
        workload = Workload.of(worklist, stop)
    durations = Durations(network, Machine.measured(), has_helpers=worklist.expected_rows >= ROWS_FOR_HELPERS)
    forecast = durations.of({work.plan.dataset: workload.work(work.plan.dataset) for work in worklist.datasets}, assumed_latency)
    disk = DiskSpace.of(workload, database)
    if not disk.suffices:
        log.warning(
            "the database needs %s MB more, and its disk has %s MB free", f"{disk.needed / 1e6:,.0f}", f"{disk.free / 1e6:,.0f}"
        )
    return PreviewResult(
        window=wanted.window,
        interval=wanted.interval,
        already_complete=sum(worklist.settled.values()),
        without_request=workload.without_request,
        shares=workload.shares,
        seconds=round(forecast.seconds, 1),
        bound_by=forecast.bound_by,
        assumed_latency=assumed_latency,
        not_published=workload.not_published,
        disk_needed=disk.needed,
        disk_free=disk.free,
    )
