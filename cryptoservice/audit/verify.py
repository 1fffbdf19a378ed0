"""verify: does the database hold what its ledger says, do its rows make sense, and does the other source agree? It only reads."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from cryptoservice.audit import integrity
from cryptoservice.audit.cross_check import CrossCheck, Sampled, compare, cross_checks, other_source
from cryptoservice.audit.findings import CheckedDataset, Findings, SampleResult, VerifyResult
from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import NetworkConfig, WindowBounds
from cryptoservice.days import Window, day_number, day_of_number, utc_day
from cryptoservice.errors import Remedy, SourceRefused, UsageError
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.progress import Progress
from cryptoservice.sources.fetcher import DatasetFetcher
from cryptoservice.storage.ledger import Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.notices import nothing_active_notice

log = logging.getLogger(__name__)

_LARGEST_SEED = 2**32


def verify_universe(
    universe_file: str | Path,
    db_path: str | Path,
    *,
    window: WindowBounds | None = None,
    sample: int = 0,
    seed: int | None = None,
    network: NetworkConfig | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> VerifyResult:
    """Recount and check every active symbol-day of the window that the ledger knows, in all datasets and frequencies.

    Rows that the ledger does not know are looked for in the whole database. A `sample` of N draws N complete kline
    symbol-days, or all when there are fewer, and fetches each from the source that it did not come from. The same `seed`
    draws the same symbol-days. Nothing is written, and without a sample the network is not touched.

    Differences are part of the result and raise nothing; neither does a source that refuses. Raises UsageError for bad input
    or a database that knows nothing of the universe, StoreError when it cannot be read, and Interrupted when `stop` is set.
    """
    run = _Run(Path(db_path), clock or Clock(), stop)
    network = network or NetworkConfig()
    started = run.clock.monotonic()
    if sample < 0:
        raise UsageError(f"a sample of {sample} symbol-days cannot be drawn", hint="sample 1 or more, or 0 for none")
    if seed is not None and not sample:
        raise UsageError("a seed without a sample means nothing", hint=Remedy.NAME_A_SAMPLE)
    universe = UniverseFile.load(Path(universe_file)).universe
    days = universe.subwindow(window)
    nothing_active = nothing_active_notice(universe, days)
    if nothing_active:
        raise UsageError(f"nothing to verify: {nothing_active}", hint="name a universe, or a window, with active symbols")
    datasets, candidates = _check_database(run, universe.active_days(days), days)
    # The database is closed by now: a reader that stays while the network is slow would keep a download from tidying up.
    drawn, use = None, _NetworkUse()
    if sample:
        drawn, use = _check_sample(run, _draw(candidates, sample, seed, run.clock), network)
    return VerifyResult(
        window=days,
        datasets=tuple(datasets),
        differences_by_kind=dict(sorted(run.findings.kinds.items())),
        differences=tuple(run.findings.listed),
        sample=drawn,
        requests=use.requests,
        retries=use.retries,
        waited_seconds=use.waited_seconds,
        elapsed_seconds=round(run.clock.monotonic() - started, 3),
        refused=use.refused,
    )


@dataclass(frozen=True)
class _Run:
    """What all steps of one verification share."""

    database: Path
    clock: Clock
    stop: threading.Event | None
    findings: Findings = field(default_factory=Findings)


@dataclass(frozen=True)
class _Draw:
    """The sample before it is fetched."""

    seed: int
    candidates: int
    chosen: list[Sampled]


@dataclass(frozen=True)
class _NetworkUse:
    """What a verification asked of the network: nothing without a sample."""

    requests: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    waited_seconds: float = 0.0
    refused: SourceRefused | None = None


def _check_database(
    run: _Run, active: Mapping[str, Sequence[date]], window: Window
) -> tuple[list[CheckedDataset], list[Sampled]]:
    """What was checked, and the kline symbol-days that another source can be asked about."""
    with StoreReader.open(run.database) as store:
        datasets, candidates = _check_datasets(run, store, active, window)
        checked_days = sum(one.checked_symbol_days for one in datasets)
        if not checked_days:
            what = f"database {run.database} knows no active symbol-day of {window.start} to {window.end}"
            raise UsageError(what, hint=Remedy.DOWNLOAD_FIRST)
        run.findings.add(integrity.rows_outside(store))
    rows = sum(one.rows for one in datasets)
    log.info("%d symbol-days with %d rows checked, %d differences", checked_days, rows, run.findings.total)
    return datasets, candidates


def _check_datasets(
    run: _Run, store: StoreReader, active: Mapping[str, Sequence[date]], window: Window
) -> tuple[list[CheckedDataset], list[Sampled]]:
    wanted = {symbol: frozenset(map(day_number, days)) for symbol, days in active.items()}
    wanted_days = sum(map(len, wanted.values()))
    known = [(dataset, freq) for dataset in Dataset for freq in store.frequencies(dataset)]
    progress = Progress("verify", "symbol-days", len(known) * wanted_days, run.clock)
    datasets: list[CheckedDataset] = []
    candidates: list[Sampled] = []
    try:
        for dataset, freq in known:
            ids = integrity.series_ids(store, dataset, freq)
            count = rows = 0
            for symbol, numbers in wanted.items():
                raise_if_stopped(run.stop)
                series = Series(dataset, freq, symbol)
                before = rows
                for day in integrity.check_series(store, series, ids[symbol], window) if symbol in ids else ():
                    if day.number not in numbers:
                        continue
                    count += 1
                    rows += day.rows
                    run.findings.add(day.differences)
                    candidates += _candidates(series, day)
                progress.advance(len(numbers), rows=rows - before)
            datasets.append(CheckedDataset(dataset, freq, wanted_days, count, rows))
    finally:
        progress.end()
    return datasets, candidates


def _candidates(series: Series, day: integrity.CheckedDay) -> list[Sampled]:
    """The symbol-day if it can be drawn: complete klines that came from one source alone. Otherwise nothing."""
    other = other_source(day.source)
    if series.dataset is not Dataset.KLINES or day.status != Status.COMPLETE or not day.source or other is None:
        return []
    return [Sampled(Freq.parse(series.freq), series.symbol, day_of_number(day.number), day.source, other)]


def _draw(candidates: Sequence[Sampled], size: int, seed: int | None, clock: Clock) -> _Draw:
    seed = int(clock.random() * _LARGEST_SEED) if seed is None else seed
    chosen = random.Random(seed).sample(candidates, min(size, len(candidates)))  # noqa: S311 - a sample, not a secret
    return _Draw(seed, len(candidates), chosen)


def _check_sample(run: _Run, draw: _Draw, network: NetworkConfig) -> tuple[SampleResult, _NetworkUse]:
    """Fetch the drawn symbol-days again and compare them with what is stored."""
    with BinanceClient(network, run.clock) as client:
        client.open()
        result = _compare_sample(run, draw, client, max(network.workers.api, network.workers.vision))
    raise_if_stopped(run.stop)
    traffic = client.traffic
    refused = client.refusal if result.failed else None
    return result, _NetworkUse(traffic.requests, traffic.retries, round(client.waited_seconds, 3), refused)


def _compare_sample(run: _Run, draw: _Draw, client: BinanceClient, workers: int) -> SampleResult:
    compared = rows = lacking = 0
    not_compared: list[CrossCheck] = []
    log.info("%d of %d complete kline symbol-days are fetched again, seed %d", len(draw.chosen), draw.candidates, draw.seed)
    progress = Progress("verify", "symbol-days", len(draw.chosen), run.clock, client.gauge)
    today = utc_day(run.clock.time())
    try:
        for check in cross_checks(DatasetFetcher(client), today, draw.chosen, workers, run.stop):
            if not check.has_rows:
                not_compared.append(check)
                progress.advance()
                continue
            item = check.sampled
            with StoreReader.open(run.database) as store:
                stored = store.rows(Series(Dataset.KLINES, item.freq.value, item.symbol), item.date)
            comparison = compare(stored, check)
            run.findings.add(comparison.differences)
            compared += 1
            rows += comparison.compared
            lacking += comparison.lacking
            progress.advance(rows=comparison.compared)
    finally:
        progress.end()
    return SampleResult(draw.seed, draw.candidates, tuple(draw.chosen), compared, rows, lacking, tuple(not_compared))
