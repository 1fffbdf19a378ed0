"""preview: what a download would fetch, from where and at what cost. It sends nothing and opens no connection."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar

from cryptoservice.binance.archive_files import FileRange
from cryptoservice.binance.checksums import TRIALS
from cryptoservice.binance.client import DATA_POLICY, FUNDING_POLICY
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import AnyWindow, NetworkConfig, require_controls, require_flags, require_kind
from cryptoservice.days import Window
from cryptoservice.download.worklist import Wanted, Worklist, retried_gaps
from cryptoservice.files import path_of
from cryptoservice.models import Dataset, Freq, Record
from cryptoservice.sources.datasets import DatasetPlan, dataset_plans, first_sources
from cryptoservice.sources.evidence import KlineSource, Source
from cryptoservice.sources.grouping import Fetch
from cryptoservice.storage.database import is_unfilled
from cryptoservice.storage.ledger import StoredDay, mark_of_text
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.notices import nothing_active_notice

log = logging.getLogger(__name__)

# A request to the archive, connection kept alive, takes about this long over the public network.
_ARCHIVE_SECONDS = 0.15
# An object and its CHECKSUM, in the listing (docs/wire.md, bucket listing).
_BYTES_A_LISTED_OBJECT = 540


@dataclass
class Share(Record):
    """What one dataset would ask of one source."""

    dataset: Dataset
    source: Source
    symbol_days: int = 0
    fetches: int = 0
    requests: int = 0
    weight: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True, repr=False)
class PreviewResult(Record):
    """First choices only: a day that its first source lacks goes on to the next, at a cost that nobody knows before."""

    KEYS: ClassVar = (
        "window", "interval", "already_complete", "symbol_days", "without_request", "requests", "archive_objects", "weight",
        "rows", "bytes", "minutes", "shares",
    )  # fmt: skip

    window: Window
    interval: Freq
    already_complete: int
    without_request: int
    """Symbol-days that are settled without asking anybody, or cannot be asked for yet."""
    shares: tuple[Share, ...]
    minutes: float
    """At the limits in force, and the archive at its usual speed."""

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
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> PreviewResult:
    """What `download_universe_data` with these arguments would fetch, from where and at what cost.

    Nothing is sent and nothing written. Raises UsageError for bad input, StoreError when the database cannot be read, and
    Interrupted when `stop` is set.
    """
    require_flags(download_market_metrics=download_market_metrics, incremental=incremental, retry_gaps=retry_gaps)
    require_kind("network", network, NetworkConfig)
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
    fetched_before: dict[tuple[Dataset, str], dict[date, StoredDay]] = {}
    # Download fills an empty file as it fills a new one.
    if not is_unfilled(database):
        with StoreReader.open(database) as store:
            retried = retried_gaps(clock.time(), all_gaps=retry_gaps)
            worklist = Worklist(
                store, plans, wanted.active, wanted.window, incremental=incremental, retried=retried, may_list=may_list
            )
            if not incremental or retry_gaps:
                fetched_before = _settled(store, plans, wanted.window)
    else:
        worklist = Worklist(None, plans, wanted.active, wanted.window, incremental=incremental, may_list=may_list)
    shares = _Shares()
    without_request = 0
    for work in worklist.datasets:
        shares.add(work.plan, work.at_once)
        for symbol, days in work.by_symbol():
            raise_if_stopped(stop)
            plan = worklist.plan_of(work, symbol, days)
            for part in plan.split(days):
                sources = first_sources(plan, part, fetched_before.get((plan.dataset, symbol)))
                without_request += len(part) - len(sources)
                shares.add(plan, plan.group(symbol, sources))
            shares.end_symbol()
    parts = shares.in_order()
    settled = sum(worklist.settled.values())
    minutes = round(_minutes(parts, network), 1)
    return PreviewResult(wanted.window, wanted.interval, settled, without_request, parts, minutes)


def _settled(
    store: StoreReader, plans: Iterable[DatasetPlan], window: Window
) -> dict[tuple[Dataset, str], dict[date, StoredDay]]:
    """The settled days of each dataset and symbol, without their rows: by their sources a refetch knows where to begin."""
    found: dict[tuple[Dataset, str], dict[date, StoredDay]] = {}
    for plan in plans:
        for entry in store.entries(plan.dataset, plan.freq, window):
            if entry.status.settled:
                day = StoredDay(entry.status, entry.reason, (), mark_of_text(entry.source))
                found.setdefault((plan.dataset, entry.symbol), {})[entry.day] = day
    return found


class _Shares:
    """The shares of a plan, while fetches are added to them."""

    def __init__(self) -> None:
        self._shares: dict[tuple[Dataset, Source], Share] = {}
        self._pages: set[FileRange] = set()
        """Of this symbol."""
        self._trials = TRIALS

    def add(self, plan: DatasetPlan, fetches: Iterable[Fetch]) -> None:
        """Count these fetches, and the pages of the bucket listing that they are the first to need."""
        for fetch in fetches:
            share = self._shares.setdefault((plan.dataset, fetch.source), Share(plan.dataset, fetch.source))
            cost = plan.cost(fetch)
            share.symbol_days += fetch.symbol_days
            share.fetches += 1
            share.requests += cost.requests
            share.weight += cost.weight
            share.rows += cost.rows
            share.bytes += cost.bytes
            if fetch.among is not None:
                if fetch.among not in self._pages:
                    self._pages.add(fetch.among)
                    share.requests += 1
                    share.bytes += fetch.among.length * _BYTES_A_LISTED_OBJECT
                # The first of a run are verified by their CHECKSUM as well.
                share.requests += self._trials > 0
                self._trials -= self._trials > 0

    def end_symbol(self) -> None:
        """No page is shared with the next one."""
        self._pages.clear()

    def in_order(self) -> tuple[Share, ...]:
        """By dataset and source."""
        order = [(dataset, source) for dataset in Dataset for source in Source]
        return tuple(self._shares[key] for key in order if key in self._shares)


def _minutes(shares: tuple[Share, ...], network: NetworkConfig) -> float:
    """The slowest of what runs side by side: each limit of the API, and the archive."""
    budgets = {
        Dataset.KLINES: network.rates.max_weight_per_minute,
        Dataset.METRICS: (DATA_POLICY.max_weight or 1) * 60 / DATA_POLICY.window,
        Dataset.FUNDING_RATES: (FUNDING_POLICY.max_weight or 1) * 60 / FUNDING_POLICY.window,
    }
    rates = network.rates
    rest = [share for share in shares if share.source is Source.REST]
    spacing = sum(share.requests for share in rest) * rates.api_request_delay / 60
    requests = sum(share.requests for share in shares if share.source is not Source.REST)
    archive = requests * max(rates.vision_request_delay, _ARCHIVE_SECONDS / network.workers.vision) / 60
    return max([archive, spacing, *(share.weight / budgets[share.dataset] for share in rest)])
