"""verify: does the database hold what its ledger says, do its rows make sense, and does the other source agree? Reads only."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from cryptoservice.audit import integrity
from cryptoservice.audit.cross_check import CrossCheck, Sampled, compare, cross_checks, other_source
from cryptoservice.audit.findings import CheckedDataset, Findings, SampleResult, VerifyResult
from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import NetworkConfig, WindowBounds
from cryptoservice.days import Window, day_number, day_of_number, utc_day
from cryptoservice.errors import Remedy, UsageError
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.progress import Progress
from cryptoservice.sources.fetching import DatasetFetcher
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
    """Recount and check every active symbol-day of the window that the ledger knows, all datasets and frequencies.

    Rows that the ledger does not know are looked for in the whole database. With `sample`, so many complete kline
    symbol-days (or all, when there are fewer) are fetched again from the source that they did not come from; `seed` decides
    which. Nothing is written, and without `sample` the network is not touched. Differences are no exception but the result,
    as is a source that refuses. Raises UsageError for bad input or a database that knows nothing of the universe, StoreError
    when it cannot be read, Interrupted when `stop` is set.
    """
    clock = clock or Clock()
    network = network or NetworkConfig()
    started = clock.monotonic()
    if sample < 0:
        raise UsageError(f"a sample of {sample} symbol-days cannot be drawn", hint="sample 1 or more, or 0 for none")
    if seed is not None and not sample:
        raise UsageError("a seed without a sample means nothing", hint=Remedy.NAME_A_SAMPLE)
    universe = UniverseFile.load(Path(universe_file)).universe
    days = universe.subwindow(window)
    nothing_active = nothing_active_notice(universe, days)
    if nothing_active:
        raise UsageError(f"nothing to verify: {nothing_active}", hint="name a universe, or a window, with active symbols")
    database = Path(db_path)
    findings = Findings()
    with StoreReader.open(database) as store:
        datasets, candidates = _check_all(store, universe.active_days(days), days, findings, clock, stop)
        if not any(checked.checked_symbol_days for checked in datasets):
            what = f"database {database} knows no active symbol-day of {days.start} to {days.end}"
            raise UsageError(what, hint=Remedy.DOWNLOAD_FIRST)
        findings.add(integrity.rows_outside(store))
    checked_days, rows = sum(one.checked_symbol_days for one in datasets), sum(one.rows for one in datasets)
    log.info("%d symbol-days with %d rows checked, %d differences", checked_days, rows, findings.total)
    result = VerifyResult(
        window=days,
        datasets=tuple(datasets),
        differences_by_kind={},
        differences=(),
        sample=None,
        requests={},
        retries=0,
        waited_seconds=0.0,
        elapsed_seconds=0.0,
    )
    # The database is closed while the network is slow: a long reading would keep a download from tidying up behind itself.
    if sample:
        seed = int(clock.random() * _LARGEST_SEED) if seed is None else seed
        chosen = random.Random(seed).sample(candidates, min(sample, len(candidates)))  # noqa: S311 - a sample, not a secret
        draw = _Draw(seed, len(candidates), chosen)
        with BinanceClient(network, clock) as client:
            client.open()
            drawn = _cross_check(database, draw, client, network, findings, clock, stop)
        raise_if_stopped(stop)
        result = replace(
            result,
            sample=drawn,
            requests=client.traffic.requests,
            retries=client.traffic.retries,
            waited_seconds=round(client.waited_seconds, 3),
            refused=client.refusal if drawn.failed else None,
        )
    return replace(
        result,
        differences_by_kind=dict(sorted(findings.kinds.items())),
        differences=tuple(findings.listed),
        elapsed_seconds=round(clock.monotonic() - started, 3),
    )


def _check_all(
    store: StoreReader,
    active: Mapping[str, Sequence[date]],
    window: Window,
    findings: Findings,
    clock: Clock,
    stop: threading.Event | None,
) -> tuple[list[CheckedDataset], list[Sampled]]:
    """What was checked, in the order of the universe, and the kline symbol-days that another source can be asked about."""
    wanted = {symbol: set(map(day_number, days)) for symbol, days in active.items()}
    known = [(dataset, freq) for dataset in Dataset for freq in store.frequencies(dataset)]
    progress = Progress("verify", "symbol-days", len(known) * sum(map(len, wanted.values())), clock)
    checked: list[CheckedDataset] = []
    candidates: list[Sampled] = []
    try:
        for dataset, name in known:
            freq = Freq.parse(name) if name else None
            series = integrity.series_ids(store, dataset, name)
            count = rows = 0
            for symbol, numbers in wanted.items():
                raise_if_stopped(stop)
                before = rows
                for day in (
                    integrity.check_series(store, dataset, freq, symbol, series[symbol], window) if symbol in series else ()
                ):
                    if day.number not in numbers:
                        continue
                    count += 1
                    rows += day.rows
                    findings.add(day.differences)
                    other = other_source(day.source)
                    if dataset is Dataset.KLINES and freq and day.source and other and day.status == Status.COMPLETE:
                        candidates.append(Sampled(freq, symbol, day_of_number(day.number), day.source, other))
                progress.advance(len(numbers), rows=rows - before)
            checked.append(CheckedDataset(dataset, name, sum(map(len, wanted.values())), count, rows))
    finally:
        progress.end()
    return checked, candidates


@dataclass(frozen=True)
class _Draw:
    seed: int
    candidates: int
    chosen: list[Sampled]


def _cross_check(
    database: Path,
    draw: _Draw,
    client: BinanceClient,
    network: NetworkConfig,
    findings: Findings,
    clock: Clock,
    stop: threading.Event | None,
) -> SampleResult:
    """Fetch the drawn symbol-days again and compare them with what is stored."""
    compared = rows = lacking = 0
    not_compared: list[CrossCheck] = []
    log.info("%d of %d complete kline symbol-days are fetched again, seed %d", len(draw.chosen), draw.candidates, draw.seed)
    progress = Progress("verify", "symbol-days", len(draw.chosen), clock, client.gauge)
    workers = max(network.workers.api, network.workers.vision)
    try:
        for check in cross_checks(DatasetFetcher(client), utc_day(clock.time()), draw.chosen, workers, stop):
            if not check.has_rows:
                progress.advance()
                not_compared.append(check)
                continue
            item = check.sampled
            with StoreReader.open(database) as store:
                stored = store.rows(Series(Dataset.KLINES, item.freq.value, item.symbol), item.date)
            comparison = compare(stored, check)
            findings.add(comparison.differences)
            compared += 1
            rows += comparison.compared
            lacking += comparison.lacking
            progress.advance(rows=comparison.compared)
    finally:
        progress.end()
    return SampleResult(draw.seed, draw.candidates, tuple(draw.chosen), compared, rows, lacking, tuple(not_compared))
