"""verify: does the database hold what its ledger says, do its rows make sense, and does the other source agree?

It only reads, unless it is told to repair what differs.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from cryptoservice.audit.dataset_lock.comparison import compare_with_lock, expected_lock
from cryptoservice.audit.findings import CheckedDataset, Findings, RepairedDay, RepairResult, SampleResult, VerifyResult
from cryptoservice.audit.verification import consistency, integrity
from cryptoservice.audit.verification.cross_check import CrossCheck, Sampled, compare, cross_checks, other_source
from cryptoservice.audit.verification.differences import Difference
from cryptoservice.audit.verification.repair import OVERRULED, Answered, Place, place_of, places_of, repair
from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import AnyWindow, NetworkConfig, require_controls, require_count, require_flags, require_kind
from cryptoservice.days import Window, day_number, day_of_number, utc_day, utc_text
from cryptoservice.errors import Remedy, SourceRefused, UsageError
from cryptoservice.files import path_of
from cryptoservice.models import Dataset, Freq, Row, Status
from cryptoservice.progress import Progress, Report
from cryptoservice.sources.evidence import Source
from cryptoservice.sources.fetcher import DatasetFetcher
from cryptoservice.storage.ledger import Series
from cryptoservice.storage.lock import DatabaseLock
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.notices import nothing_active_notice

log = logging.getLogger(__name__)

_LARGEST_SEED = 2**32


def verify_universe(
    universe_file: str | Path,
    db_path: str | Path,
    *,
    window: AnyWindow | None = None,
    sample: int = 0,
    seed: int | None = None,
    repair: bool = False,
    lock_file: str | Path | None = None,
    network: NetworkConfig | None = None,
    progress: Report | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> VerifyResult:
    """Recount and check every active symbol-day of the window that the ledger knows, in all datasets and frequencies.

    Rows that the ledger does not know are looked for in the whole database. A `sample` of N draws N complete kline
    symbol-days, or all when there are fewer, and fetches each from the source that it did not come from. The same `seed`
    draws the same symbol-days. Without a sample and without `repair` the network is not touched.

    With `repair` every source is asked for exactly the symbol-days that differ; what the most trusted of them say is stored,
    and these days are verified again. Otherwise nothing is written.

    With a `lock_file` the rows are compared with that dataset lock as well, after any repair. Its window holds then, and a
    `window` may only say the same.

    Differences are part of the result and raise nothing; neither does a source that refuses. Raises UsageError for bad input
    or a database that knows nothing of the universe, StoreError when it cannot be read, StoreBusy when a repair finds it held
    by another run, and Interrupted when `stop` is set.
    """
    require_flags(repair=repair)
    require_kind("network", network, NetworkConfig)
    require_controls(progress=progress, clock=clock, stop=stop)
    require_count("sample", sample, 0)
    if seed is not None:
        require_count("seed", seed, -math.inf)
    run = _Run(path_of(db_path, "database"), network or NetworkConfig(), clock or Clock(), stop, progress)
    started = run.clock.monotonic()
    if seed is not None and not sample:
        raise UsageError("a seed without a sample means nothing", hint=Remedy.NAME_A_SAMPLE)
    loaded = UniverseFile.load(universe_file, stop)
    universe = loaded.universe
    lock = None if lock_file is None else expected_lock(path_of(lock_file, "lock file"), loaded, window)
    days = universe.subwindow(window) if lock is None else lock.window
    nothing_active = nothing_active_notice(universe, days)
    if nothing_active:
        raise UsageError(f"nothing to verify: {nothing_active}", hint="name a universe, or a window, with active symbols")
    drawn = mended = None
    with _locked(run) if repair else contextlib.nullcontext():
        datasets, candidates = _check_database(run, universe.active_days(days), days)
        # The database is closed by now: a reader that stays while the network is slow would keep a download from tidying up.
        if sample:
            drawn = _check_sample(run, _draw(candidates, sample, seed, run.clock))
        if repair:
            mended = _repair(run)
        compared = None if lock is None else compare_with_lock(run.database, loaded, lock, run.clock, stop, progress)
    return VerifyResult(
        window=days,
        datasets=tuple(datasets),
        differences=tuple(run.findings.listed),
        sample=drawn,
        requests=dict(run.traffic.requests),
        retries=run.traffic.retries,
        waited_seconds=round(run.traffic.waited_seconds, 3),
        elapsed_seconds=round(run.clock.monotonic() - started, 3),
        refused=run.traffic.refused,
        repair=mended,
        lock=compared,
    )


@dataclass
class _Traffic:
    """What a verification asked of the network."""

    requests: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    waited_seconds: float = 0.0
    refused: SourceRefused | None = None


@dataclass(frozen=True)
class _Run:
    """What all steps of one verification share."""

    database: Path
    network: NetworkConfig
    clock: Clock
    stop: threading.Event | None
    report: Report | None
    findings: Findings = field(default_factory=Findings)
    traffic: _Traffic = field(default_factory=_Traffic)

    @contextlib.contextmanager
    def client(self) -> Iterator[BinanceClient]:
        """A connection for one step, whose requests are counted when it ends."""
        with BinanceClient(self.network, self.clock) as client:
            client.open()
            yield client
        raise_if_stopped(self.stop)
        self.traffic.requests.update(client.traffic.requests)
        self.traffic.retries += client.traffic.retries
        self.traffic.waited_seconds += client.waited_seconds


@dataclass(frozen=True)
class _Draw:
    """The sample before it is fetched."""

    seed: int
    candidates: int
    chosen: list[Sampled]


@contextlib.contextmanager
def _locked(run: _Run) -> Iterator[None]:
    # What is no database of this program, or none at all, is refused before a lock file appears beside it.
    with StoreReader.open(run.database):
        pass
    with DatabaseLock(run.database, utc_text(run.clock.time())):
        yield


# -- the database alone ---------------------------------------------------------------------------------------------------


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
    log.info("%d symbol-days with %d rows checked, %d differences", checked_days, rows, len(run.findings.listed))
    return datasets, candidates


def _check_datasets(
    run: _Run, store: StoreReader, active: Mapping[str, Sequence[date]], window: Window
) -> tuple[list[CheckedDataset], list[Sampled]]:
    wanted = {symbol: frozenset(map(day_number, days)) for symbol, days in active.items()}
    wanted_days = sum(map(len, wanted.values()))
    checker = _Checker(store)
    progress = Progress("verify", "symbol-days", len(checker.known) * wanted_days, run.clock, report=run.report)
    datasets: list[CheckedDataset] = []
    candidates: list[Sampled] = []
    try:
        for dataset, freq in checker.known:
            count = rows = 0
            for symbol, numbers in wanted.items():
                raise_if_stopped(run.stop)
                series = Series(dataset, freq, symbol)
                days = checker.days(series, numbers, window)
                run.findings.add(checker.differences(series, days, window))
                for day in days:
                    candidates += _candidates(series, day)
                count += len(days)
                counted = sum(day.rows for day in days)
                rows += counted
                progress.advance(len(numbers), rows=counted)
            datasets.append(CheckedDataset(dataset, freq, wanted_days, count, rows))
    finally:
        progress.end()
    return datasets, candidates


class _Checker:
    """Checks symbol-days of one open database: each by itself, and against the other series of its symbol."""

    def __init__(self, store: StoreReader) -> None:
        self._store = store
        self.known = [(dataset, freq) for dataset in Dataset for freq in store.frequencies(dataset)]
        """Datasets and frequencies that the ledger knows."""
        self._ids = {place: integrity.series_ids(store, *place) for place in self.known}
        valid = {freq.value for freq in Freq}
        self._kline_freqs = [Freq(freq) for dataset, freq in self.known if dataset is Dataset.KLINES and freq in valid]

    def days(self, series: Series, numbers: frozenset[int], window: Window) -> list[integrity.CheckedDay]:
        """The days of these numbers that the ledger knows of a series, recounted."""
        series_id = self._ids.get((series.dataset, series.freq), {}).get(series.symbol)
        if series_id is None:
            return []
        checked = integrity.check_series(self._store, series, series_id, window)
        return [day for day in checked if day.number in numbers]

    def differences(self, series: Series, days: Sequence[integrity.CheckedDay], window: Window) -> Iterator[Difference]:
        """What is wrong with these days, within themselves and against other series."""
        for day in days:
            yield from day.differences
        with_rows = [day_of_number(day.number) for day in days if day.rows]
        if series.dataset is Dataset.METRICS:
            yield from consistency.misaligned_metrics(self._store, series.symbol, with_rows, self._kline_freqs)
        ids = {freq: self._ids[Dataset.KLINES, freq.value].get(series.symbol) for freq in self._kline_freqs}
        known = {freq: series_id for freq, series_id in ids.items() if series_id is not None}
        # A symbol need not be stored at all intervals.
        if series.dataset is Dataset.KLINES and series.freq in known:
            unequal = consistency.unequal_aggregates(self._store, series.symbol, Freq(series.freq), known, window)
            dates = {day.isoformat() for day in with_rows}
            yield from (difference for difference in unequal if difference.date in dates)


def _candidates(series: Series, day: integrity.CheckedDay) -> list[Sampled]:
    """The symbol-day if it can be drawn: complete klines that came from one source alone. Otherwise nothing."""
    other = other_source(day.source)
    if series.dataset is not Dataset.KLINES or day.status != Status.COMPLETE or not day.source or other is None:
        return []
    is_known = OVERRULED in (day.reason or "")
    return [Sampled(Freq.parse(series.freq), series.symbol, day_of_number(day.number), day.source, other, is_known)]


# -- the sample -----------------------------------------------------------------------------------------------------------


def _draw(candidates: Sequence[Sampled], size: int, seed: int | None, clock: Clock) -> _Draw:
    seed = int(clock.random() * _LARGEST_SEED) if seed is None else seed
    chosen = random.Random(seed).sample(candidates, min(size, len(candidates)))  # noqa: S311 - a sample, not a secret
    return _Draw(seed, len(candidates), chosen)


def _check_sample(run: _Run, draw: _Draw) -> SampleResult:
    """Fetch the drawn symbol-days again and compare them with what is stored."""
    with run.client() as client:
        result = _compare_sample(run, draw, client)
    run.traffic.refused = client.refusal if result.failed else None
    return result


def _compare_sample(run: _Run, draw: _Draw, client: BinanceClient) -> SampleResult:
    compared = rows = lacking = 0
    not_compared: list[CrossCheck] = []
    known: list[Difference] = []
    log.info("%d of %d complete kline symbol-days are fetched again, seed %d", len(draw.chosen), draw.candidates, draw.seed)
    progress = Progress("verify", "symbol-days", len(draw.chosen), run.clock, client.gauge, run.report)
    workers = max(run.network.workers.api, run.network.workers.vision)
    today = utc_day(run.clock.time())
    try:
        for check in cross_checks(DatasetFetcher(client), today, draw.chosen, workers, run.stop):
            untold = next((one for one in (check, check.confirmation) if one is not None and one.failed), None)
            if untold is not None or not check.has_rows:
                not_compared.append(untold or check)
                progress.advance()
                continue
            item = check.sampled
            stored = _stored_rows(run, Place(Series(Dataset.KLINES, item.freq.value, item.symbol), item.date))
            comparison = compare(stored, check)
            contradicted = comparison.differences
            if item.is_known:
                known += comparison.differences
                confirmation = check.confirmation
                has_rows = confirmation is not None and confirmation.has_rows
                contradicted = compare(stored, confirmation).differences if confirmation and has_rows else []
                check = confirmation if confirmation and has_rows else check  # noqa: PLW2901 - REST is who contradicts
            if contradicted:
                run.findings.add(contradicted)
                run.findings.contradictions.append((check, contradicted))
            compared += 1
            rows += comparison.compared
            lacking += comparison.lacking
            progress.advance(rows=comparison.compared)
    finally:
        progress.end()
    drawn = tuple(draw.chosen)
    return SampleResult(draw.seed, draw.candidates, drawn, compared, rows, lacking, tuple(not_compared), tuple(known))


def _stored_rows(run: _Run, place: Place) -> list[Row]:
    with StoreReader.open(run.database) as store:
        return store.rows(place.series, place.day)


# -- the repair -----------------------------------------------------------------------------------------------------------


def _repair(run: _Run) -> RepairResult:
    """Mend what was found, and verify those symbol-days again."""
    kinds: dict[Place, set[str]] = {}
    for difference in run.findings.listed:
        for place in places_of(difference):
            kinds.setdefault(place, set()).add(difference.kind)
    answered: dict[Place, Answered] = {}
    if kinds:
        log.info("%d symbol-days are asked of every source", len(kinds))
        with run.client() as client:
            places = {place: frozenset(of_place) for place, of_place in kinds.items()}
            answered = repair(run.database, places, client, run.network.workers, run.clock, run.stop, run.report)
    left = list(_differences_left(run, kinds, answered)) if run.findings.listed else []
    if kinds and left:
        run.traffic.refused = client.refusal or run.traffic.refused
    unmended = {_where(difference) for difference in left}
    days = [_repaired_day(where, where not in unmended, answered) for where in dict.fromkeys(map(_where, run.findings.listed))]
    log.info("%d of %d symbol-days that differed are repaired", sum(day.mended for day in days), len(days))
    return RepairResult(tuple(days), tuple(left))


_Where = tuple[Dataset, str, "str | None", str]


def _where(difference: Difference) -> _Where:
    return difference.dataset, difference.freq, difference.symbol, difference.date


def _repaired_day(where: _Where, mended: bool, answered: Mapping[Place, Answered]) -> RepairedDay:
    place = place_of(*where)
    answer = None if place is None else answered.get(place)
    status, reason = (None, None) if answer is None else (answer.verdict.status, answer.verdict.reason)
    return RepairedDay(*where, mended=mended, status=status, reason=reason)


def _differences_left(run: _Run, places: Mapping[Place, object], answered: Mapping[Place, Answered]) -> Iterator[Difference]:
    """What the same checks find now: on the symbol-days that were asked for, and outside the ledger."""
    with StoreReader.open(run.database) as store:
        checker = _Checker(store)
        for series, day in places:
            window = Window(day, day)
            yield from checker.differences(series, checker.days(series, frozenset((day_number(day),)), window), window)
        yield from integrity.rows_outside(store)
    for check, contradicted in run.findings.contradictions:
        item = check.sampled
        place = Place(Series(Dataset.KLINES, item.freq.value, item.symbol), item.date)
        heard = answered.get(place)
        evidence = {} if heard is None else heard.evidence
        # REST has the last word. Where it says nothing, the source that contradicted the rows must say that they are right.
        source = (
            Source.REST
            if Source.REST in evidence and CrossCheck(item, Source.REST, evidence[Source.REST]).has_rows
            else check.source
        )
        again = CrossCheck(item, source, evidence[source]) if source in evidence else None
        yield from compare(_stored_rows(run, place), again).differences if again and again.has_rows else contradicted
