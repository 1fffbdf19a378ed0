"""verify: does the database hold what its ledger says, do its rows make sense, and does the other source agree? Reads only."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from cryptoservice import audit
from cryptoservice.audit import Difference
from cryptoservice.binance.connection import Connection
from cryptoservice.clock import Clock, check
from cryptoservice.config import NetworkConfig, WindowBounds
from cryptoservice.days import Window, day_number, day_of_number, utc_day
from cryptoservice.errors import SourceRefused, UsageError
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.progress import Progress
from cryptoservice.second_opinion import Opinion, Sampled, compare, opinions, other_source
from cryptoservice.store import Series, Store
from cryptoservice.universe import UniverseFile

log = logging.getLogger(__name__)

MAX_LISTED = 500
"""Differences that a result names; the others are only counted."""
_LARGEST_SEED = 2**32


@dataclass(frozen=True)
class CheckedDataset:
    """One dataset at one frequency."""

    dataset: Dataset
    freq: str
    active_symbol_days: int
    """Of the universe in the window."""
    checked_symbol_days: int
    """Those of them that the ledger knows."""
    rows: int
    """Rows counted in the checked symbol-days."""

    def to_dict(self) -> dict[str, Any]:
        """An entry of `datasets`."""
        return {
            "dataset": self.dataset.value,
            "freq": self.freq,
            "active_symbol_days": self.active_symbol_days,
            "checked_symbol_days": self.checked_symbol_days,
            "rows": self.rows,
        }


@dataclass(frozen=True)
class SampleResult:
    """Symbol-days that were fetched again. The same seed draws the same ones from the same database."""

    seed: int
    candidates: int
    """Complete kline symbol-days that came from one source alone."""
    symbol_days: tuple[Sampled, ...]
    compared: int
    """Those that the other source answered for."""
    rows: int
    """Rows that both sources have."""
    rows_other_lacks: int
    """Stored rows that the other source does not have; its hole, and no difference."""
    not_compared: tuple[Opinion, ...]
    """Those that the other source does not have at all, or could not be asked for."""

    @property
    def troubled(self) -> tuple[Opinion, ...]:
        """Those that should have been answered for and were not."""
        return tuple(item for item in self.not_compared if item.troubled)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `sample`."""
        return {
            "seed": self.seed,
            "candidates": self.candidates,
            "symbol_days": [item.to_dict() for item in self.symbol_days],
            "compared": self.compared,
            "rows": self.rows,
            "rows_other_lacks": self.rows_other_lacks,
            "not_compared": [{**item.sampled.to_dict(), "reason": item.reason} for item in self.not_compared],
        }


@dataclass(frozen=True)
class VerifyResult:
    """What a verification found. `refused` tells that a host closed its door before all of the sample was fetched."""

    window: Window
    datasets: tuple[CheckedDataset, ...]
    kinds: Mapping[str, int]
    """How many differences there are of each kind."""
    differences: tuple[Difference, ...]
    """The first MAX_LISTED of them."""
    sample: SampleResult | None
    requests: Mapping[str, int]
    retries: int
    waited_seconds: float
    elapsed_seconds: float
    refused: SourceRefused | None = None

    @property
    def sound(self) -> bool:
        """True when nothing differs, and every sampled symbol-day that another source has could be fetched."""
        return not self.kinds and not (self.sample and self.sample.troubled)

    @property
    def shortfall(self) -> str | None:
        """What is not sound, mostly of what kind or why, and what to do, in one line; None when all is."""
        parts = []
        if self.kinds:
            total = sum(self.kinds.values())
            ((kind, count),) = Counter(self.kinds).most_common(1)
            what = f'{total} difference{"s" if total > 1 else ""}, {count} of them of the kind "{kind}"'
            parts.append(f"{what}: look them up in the report, then fetch those days again with download --no-incremental")
        if self.sample and self.sample.troubled:
            troubled, drawn = self.sample.troubled, len(self.sample.symbol_days)
            ((reason, count),) = Counter(item.reason for item in troubled).most_common(1)
            what = f"{len(troubled)} of {drawn} sampled symbol-days could not be compared"
            parts.append(f'{what}, {count} of them with the reason "{reason}": run the same command again')
        return "; ".join(parts) or None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of stdout."""
        rows = Counter(dict.fromkeys(Dataset, 0))
        for checked in self.datasets:
            rows[checked.dataset] += checked.rows
        return {
            "status": "sound" if self.sound else "different" if self.kinds else "not_verified",
            "window": {"start_date": self.window.start.isoformat(), "end_date": self.window.end.isoformat()},
            "checked_symbol_days": sum(checked.checked_symbol_days for checked in self.datasets),
            "rows": {dataset.value: rows[dataset] for dataset in Dataset},
            "datasets": [checked.to_dict() for checked in self.datasets],
            "differences_total": sum(self.kinds.values()),
            "differences_by_kind": dict(self.kinds),
            "differences": [difference.to_dict() for difference in self.differences],
            "sample": None if self.sample is None else self.sample.to_dict(),
            "requests": dict(self.requests),
            "retries": self.retries,
            "waited_seconds": round(self.waited_seconds, 3),
            "elapsed_seconds": round(self.elapsed_seconds, 3),
        }


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
        raise UsageError("a seed without a sample means nothing", hint="say with --sample how many symbol-days to draw")
    universe = UniverseFile.load(Path(universe_file)).universe
    bounds = window or WindowBounds()
    days = universe.subwindow(bounds.start_date, bounds.end_date)
    nothing_active = universe.nothing_active(days)
    if nothing_active:
        raise UsageError(f"nothing to verify: {nothing_active}", hint="name a universe, or a window, with active symbols")
    database = Path(db_path)
    findings = _Findings()
    with Store.read(database) as store:
        datasets, candidates = _check_all(store, universe.active_days(days), days, findings, clock, stop)
        if not any(checked.checked_symbol_days for checked in datasets):
            hint = "is it the right one? It is filled by: cryptoservice universe download"
            raise UsageError(f"database {database} knows no active symbol-day of {days.start} to {days.end}", hint=hint)
        findings.add(audit.rows_outside(store))
    checked_days, rows = sum(one.checked_symbol_days for one in datasets), sum(one.rows for one in datasets)
    log.info("%d symbol-days with %d rows checked, %d differences", checked_days, rows, findings.total)
    # The database is closed while the network is slow: a long reading would keep a download from tidying up behind itself.
    drawn, connection = None, None
    if sample:
        seed = int(clock.random() * _LARGEST_SEED) if seed is None else seed
        chosen = random.Random(seed).sample(candidates, min(sample, len(candidates)))  # noqa: S311 - a sample, not a secret
        drawn, connection = _second_opinions(database, _Draw(seed, len(candidates), chosen), network, findings, clock, stop)
    return VerifyResult(
        window=days,
        datasets=tuple(datasets),
        kinds=dict(sorted(findings.kinds.items())),
        differences=tuple(findings.listed),
        sample=drawn,
        requests=connection.traffic.requests if connection else {},
        retries=connection.traffic.retries if connection else 0,
        waited_seconds=connection.waited_seconds if connection else 0.0,
        elapsed_seconds=clock.monotonic() - started,
        refused=connection.refusal if connection and drawn and drawn.troubled else None,
    )


@dataclass
class _Findings:
    kinds: Counter[str] = field(default_factory=Counter)
    listed: list[Difference] = field(default_factory=list)

    def add(self, differences: Iterable[Difference]) -> None:
        for difference in differences:
            self.kinds[difference.kind] += 1
            if len(self.listed) < MAX_LISTED:
                self.listed.append(difference)

    @property
    def total(self) -> int:
        return sum(self.kinds.values())


def _check_all(
    store: Store,
    active: Mapping[str, Sequence[date]],
    window: Window,
    findings: _Findings,
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
            series = audit.series_ids(store, dataset, name)
            count = rows = 0
            for symbol, numbers in wanted.items():
                check(stop)
                before = rows
                for day in audit.check_series(store, dataset, freq, symbol, series[symbol], window) if symbol in series else ():
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


def _second_opinions(
    database: Path, draw: _Draw, network: NetworkConfig, findings: _Findings, clock: Clock, stop: threading.Event | None
) -> tuple[SampleResult, Connection]:
    compared = rows = lacking = 0
    not_compared: list[Opinion] = []
    log.info("%d of %d complete kline symbol-days are fetched again, seed %d", len(draw.chosen), draw.candidates, draw.seed)
    with Connection(network, clock) as connection:
        connection.open()
        progress = Progress("verify", "symbol-days", len(draw.chosen), clock, connection.gauge)
        try:
            workers = max(network.workers.api, network.workers.vision)
            for opinion in opinions(connection, utc_day(clock.time()), draw.chosen, workers, stop):
                if not opinion.heard:
                    progress.advance()
                    not_compared.append(opinion)
                    continue
                item = opinion.sampled
                with Store.read(database) as store:
                    stored = store.rows(Series(Dataset.KLINES, item.freq.value, item.symbol), item.day)
                comparison = compare(stored, opinion)
                findings.add(comparison.differences)
                compared += 1
                rows += comparison.compared
                lacking += comparison.lacking
                progress.advance(rows=comparison.compared)
        finally:
            progress.end()
    check(stop)
    result = SampleResult(draw.seed, draw.candidates, tuple(draw.chosen), compared, rows, lacking, tuple(not_compared))
    return result, connection
