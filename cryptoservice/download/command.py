"""download: fetch the wanted symbol-days of a universe into SQLite, resumably and verified."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from cryptoservice.binance.client import BinanceClient, policies
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import AnyWindow, NetworkConfig, require_controls, require_flags, require_kind
from cryptoservice.days import utc_text
from cryptoservice.download.commit_batch import CommitBatch
from cryptoservice.download.forecast.duration import ROWS_FOR_HELPERS, Durations
from cryptoservice.download.forecast.machine import Machine
from cryptoservice.download.forecast.time_left import TimeLeft
from cryptoservice.download.forecast.workload import Workload
from cryptoservice.download.pipeline import Pipeline
from cryptoservice.download.result import DatasetCounts, DownloadResult, Tally
from cryptoservice.download.worklist import Wanted, Worklist, retried_gaps
from cryptoservice.errors import Interrupted
from cryptoservice.files import make_folder, path_of
from cryptoservice.models import Dataset, Freq
from cryptoservice.progress import Progress, Report, duration
from cryptoservice.sources.datasets import DatasetPlan, dataset_plans
from cryptoservice.sources.evidence import KlineSource, Source
from cryptoservice.sources.fetcher import DatasetFetcher
from cryptoservice.storage.database import refuse_foreign
from cryptoservice.storage.lock import DatabaseLock
from cryptoservice.storage.writer import StoreWriter
from cryptoservice.universe.model import ActiveDays
from cryptoservice.universe.notices import nothing_active_notice

log = logging.getLogger(__name__)


def download_universe_data(
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
    executor: Executor | None = None,
    progress: Report | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> DownloadResult:
    """Fetch every active symbol-day of the window that the ledger does not know as settled; with `symbols` of these alone.

    A confirmed gap is asked for again with `retry_gaps`, and by itself once in 30 days where it rests on an archive object
    that could not be trusted.

    Rows and ledger line of a symbol-day are committed together; an interrupted run is continued by the next. With an
    `executor`, such as a ProcessPoolExecutor, long runs decode archive objects there; it is left open. Raises UsageError for
    bad input, StoreBusy when another run holds the database, StoreError when it cannot be used, Interrupted when `stop` is
    set. A source that refuses or fails is no exception but part of the result.
    """
    require_flags(download_market_metrics=download_market_metrics, incremental=incremental, retry_gaps=retry_gaps)
    require_kind("network", network, NetworkConfig)
    require_controls(executor=executor, progress=progress, clock=clock, stop=stop)
    clock = clock or Clock()
    network = network or NetworkConfig()
    started = clock.monotonic()
    wanted = Wanted.of(universe_file, interval, window, symbols, stop)
    plans = dataset_plans(wanted.interval, KlineSource.parse(kline_source), clock.time(), metrics=download_market_metrics)
    database = path_of(db_path, "database")
    refuse_foreign(database)
    make_folder(database.absolute().parent)
    with (
        DatabaseLock(database, utc_text(clock.time())),
        StoreWriter.open(database, stop) as store,
        BinanceClient(network, clock) as client,
    ):
        retried = retried_gaps(clock.time(), all_gaps=retry_gaps)
        may_list = network.endpoints.lists_its_archive
        worklist = Worklist(
            store, plans, wanted.active, wanted.window, incremental=incremental, retried=retried, may_list=may_list
        )
        _say_what_is_to_do(wanted, worklist)
        shown = Progress("download", "symbol-days", worklist.symbol_days, clock, client.gauge, progress)
        is_long = worklist.expected_rows >= ROWS_FOR_HELPERS
        fetcher = DatasetFetcher(client)
        batch = CommitBatch(store, clock)
        tallies: dict[Dataset, Tally] = {}
        try:
            if worklist.symbol_days:
                workload = Workload.of(worklist, stop)
                durations = Durations(network, Machine(), has_helpers=executor is not None and is_long)
                _say_which_budgets_bind(workload, durations)
                time_left = TimeLeft(workload, worklist.datasets, durations, client, clock)
                shown.foretell(time_left.outlook)
                pipeline = Pipeline(
                    batch, fetcher.fetch, network.workers, clock, shown,
                    time_left=time_left, executor=executor if is_long else None, stop=stop,
                )  # fmt: skip
                tallies = pipeline.tallies
                client.open()
                pipeline.run(worklist.jobs(batch.commit))
            raise_if_stopped(stop)
        except Interrupted as interrupted:
            raise Interrupted(kept=_kept(wanted, plans, worklist, tallies), hint=interrupted.hint) from None
        finally:
            shown.end()
    failed = tuple(sorted(item for tally in tallies.values() for item in tally.unsettled))
    return DownloadResult(
        window=wanted.window,
        interval=wanted.interval,
        datasets={plan.dataset: _counts(wanted.active, plan, worklist, tallies) for plan in plans},
        failed=failed,
        requests=client.traffic.requests,
        checksums_by_listing=client.archive.verified_by_listing,
        retries=client.traffic.retries,
        waited_seconds=round(client.waited_seconds, 3),
        elapsed_seconds=round(clock.monotonic() - started, 3),
        refused=client.refusal if failed else None,
    )


def _say_what_is_to_do(wanted: Wanted, worklist: Worklist) -> None:
    settled = sum(worklist.settled.values())
    nothing_active = nothing_active_notice(wanted.universe, wanted.window)
    if nothing_active:
        log.warning("nothing to do: %s", nothing_active)
    elif not wanted.active:
        log.warning(
            "nothing to do: none of these symbols is active on any day of %s to %s", wanted.window.start, wanted.window.end
        )
    elif worklist.symbol_days:
        log.info("%s symbol-days to fetch, %s settled already", f"{worklist.symbol_days:,}", f"{settled:,}")
    else:
        log.info("nothing to do: all %s symbol-days are settled, no data is requested", f"{settled:,}")


def _say_which_budgets_bind(workload: Workload, durations: Durations) -> None:
    """Name the budgets that alone make this run long, and for how long."""
    for share in workload.shares:
        weight = workload.work(share.dataset).weight
        seconds = durations.budget_seconds(share.dataset, weight)
        if share.source is not Source.REST or not seconds:
            continue
        policy = policies(durations.network.rates)[share.dataset]
        unit = "request weight" if share.dataset is Dataset.KLINES else "requests"
        log.info(
            "%s over the API: %s %s, at most %s in %g min, take at least %s",
            share.dataset, f"{weight:,.0f}", unit, f"{policy.max_weight:,}", policy.window / 60, duration(seconds),
        )  # fmt: skip
        if share.dataset is Dataset.METRICS and workload.not_published:
            log.info(
                "the archive has probably not published %s metrics files yet: after 09:00 UTC no API request is needed for them",
                f"{workload.not_published:,}",
            )


def _kept(wanted: Wanted, plans: Sequence[DatasetPlan], worklist: Worklist, tallies: Mapping[Dataset, Tally]) -> str:
    """What an interrupted run leaves behind, in words."""
    settled = sum(worklist.settled.values()) + sum(tally.downloaded + tally.confirmed_gaps for tally in tallies.values())
    return f"{settled:,} of {len(plans) * sum(map(len, wanted.active.values())):,} symbol-days stored"


def _counts(active: ActiveDays, plan: DatasetPlan, worklist: Worklist, tallies: Mapping[Dataset, Tally]) -> DatasetCounts:
    tally = tallies.get(plan.dataset, Tally())
    return DatasetCounts(
        wanted_symbol_days=sum(map(len, active.values())),
        already_complete=worklist.settled[plan.dataset],
        downloaded=tally.downloaded,
        confirmed_gaps=tally.confirmed_gaps,
        failed=len(tally.unsettled),
        rows=tally.rows,
    )
