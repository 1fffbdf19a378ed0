"""Repair: every source is asked for exactly the symbol-days that differ, and what the most trusted of them say is stored.

The machinery is that of a download. Two things are different: no source is spared because another has all rows, and what is
stored counts as evidence only where it is not itself what is wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from pathlib import Path
from typing import NamedTuple

from cryptoservice.audit.verification.consistency import MISALIGNED
from cryptoservice.audit.verification.differences import Difference
from cryptoservice.audit.verification.integrity import sound_day
from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock
from cryptoservice.config import WorkerConfig
from cryptoservice.days import month_end
from cryptoservice.download.commit_batch import CommitBatch
from cryptoservice.download.jobs.job import Job
from cryptoservice.download.jobs.metrics_job import MetricsJob
from cryptoservice.download.pipeline import Pipeline
from cryptoservice.download.worklist import StoredSymbol
from cryptoservice.errors import UsageError
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.progress import Progress, Report
from cryptoservice.sources.datasets import DatasetPlan, FundingPlan, KlinesPlan, MetricsPlan, by_month
from cryptoservice.sources.evidence import AnswerKind, Evidence, Source
from cryptoservice.sources.fetcher import DatasetFetcher
from cryptoservice.sources.routing import DayRoute
from cryptoservice.sources.union import by_time, by_time_and_type, unite
from cryptoservice.sources.verdict import Verdict
from cryptoservice.storage.ledger import Series, StoredDay
from cryptoservice.storage.writer import StoreWriter

OVERRULED = "rest_overrules_archive"
"""In the reason of a day: REST and the archive have different values for the same rows, and those of REST are stored."""


class Place(NamedTuple):
    """Where something differs: one symbol-day of one series."""

    series: Series
    day: date


@dataclass
class Answered:
    """What the sources said of a symbol-day, and how it was judged."""

    evidence: Evidence
    verdict: Verdict


def place_of(dataset: Dataset, freq: str, symbol: str | None, day: str) -> Place | None:
    """The place that a difference names; None when a source cannot be asked for it, since no calendar or interval has it."""
    try:
        if freq:
            Freq.parse(freq)
        return Place(Series(dataset, freq, symbol), date.fromisoformat(day)) if symbol else None
    except (UsageError, ValueError):
        return None


def places_of(difference: Difference) -> Iterator[Place]:
    """Every symbol-day that may be at fault; two where two intervals contradict each other."""
    for freq in (difference.freq, difference.details.get("aggregated_freq")):
        place = None if freq is None else place_of(difference.dataset, freq, difference.symbol, difference.date)
        if place is not None:
            yield place


def repair(
    database: Path,
    places: Mapping[Place, frozenset[str]],
    client: BinanceClient,
    workers: WorkerConfig,
    clock: Clock,
    stop: threading.Event | None,
    report: Report | None = None,
) -> dict[Place, Answered]:
    """Fetch these symbol-days, with the kinds of their differences, and store what is better than what is there.

    The caller holds the DatabaseLock. The result says of each symbol-day that was judged what the sources said.
    """
    answered: dict[Place, Answered] = {}
    with StoreWriter.open(database, stop) as store:
        batch = CommitBatch(store, clock)
        progress = Progress("repair", "symbol-days", len(places), clock, client.gauge, report)
        pipeline = Pipeline(batch, DatasetFetcher(client).fetch, workers, clock, progress, stop=stop)
        try:
            pipeline.run(repair_jobs(store, places, clock.time(), batch.commit, answered))
        finally:
            progress.end()
    return answered


def repair_jobs(
    store: StoreWriter,
    places: Mapping[Place, frozenset[str]],
    now: float,
    commit: Callable[[], None],
    answered: dict[Place, Answered],
) -> Iterator[Job]:
    """The jobs of these symbol-days; what their sources said is noted in `answered`."""
    moment = datetime.fromtimestamp(now, timezone.utc)
    days: dict[Series, list[date]] = {}
    # Klines come first: they say what the labels of metrics mean.
    for place in sorted(places, key=lambda place: (list(Dataset).index(place.series.dataset), place)):
        days.setdefault(place.series, []).append(place.day)
    for series, wanted in days.items():
        stored = _StoredEvidence(store, series, places)
        note = _Notes(series, stored, answered)
        for part in by_month(wanted):
            if series.dataset is Dataset.METRICS:
                bars = StoredSymbol(store, series, {}, commit).bars
                klines = KlinesPlan(Freq.m5, moment.date())
                yield MetricsJob(_MetricsRepair(moment, notes=note), series.symbol, part, klines, stored.read, bars)
            else:
                yield Job(_plan(series, moment.date(), note), series.symbol, part, stored.read)


def _plan(series: Series, today: date, notes: _Notes) -> DatasetPlan:
    if series.dataset is Dataset.KLINES:
        return _KlinesRepair(Freq.parse(series.freq), today, notes=notes)
    return _FundingRepair(today, notes=notes)


@dataclass(frozen=True)
class _StoredEvidence:
    """What is stored of a series, as far as it can be believed."""

    store: StoreWriter
    series: Series
    places: Mapping[Place, frozenset[str]]

    def read(self, day: date) -> StoredDay | None:
        """The rows that keep all rules. Its status is open, so that the day is judged anew.

        It is stale where the rows as a whole are what is wrong: under the wrong bar, or more than were ever written.
        """
        found = sound_day(self.store, self.series, day)
        is_stale = found.has_strangers or MISALIGNED in self.places[Place(self.series, day)]
        return StoredDay(Status.INCOMPLETE, None, found.rows, found.marks, is_stale=is_stale)


@dataclass(frozen=True)
class _Notes:
    """Judges days of a series, and keeps what was said of them."""

    series: Series
    stored: _StoredEvidence
    answered: dict[Place, Answered]

    def judge(
        self,
        route: DayRoute,
        evidence: Evidence,
        stored: StoredDay | None,
        next_step: Callable[[DayRoute, Evidence, StoredDay | None], Source | Verdict],
    ) -> Source | Verdict:
        """The verdict on the union of all evidence; the source to ask next where a dataset needs another one."""
        key_of = by_time_and_type if self.series.dataset is Dataset.FUNDING_RATES else by_time
        believed = None if stored is None or stored.is_stale else stored
        union = unite(evidence, believed, key_of)
        # The plan may look at one whole answer alone; with the union as what is stored it decides nothing about values.
        verdict = next_step(route, evidence, StoredDay(Status.INCOMPLETE, None, union.rows, union.marks))
        if not isinstance(verdict, Verdict):
            return verdict
        brought = any(answer.kind is AnswerKind.ROWS for answer in evidence.values())
        if believed is None:
            # Rows that may not be believed are replaced by a settled answer with rows, and kept when there is none.
            is_news = verdict.status.settled and bool(verdict.rows)
        else:
            # An answer that leaves the day open and brings nothing must not undo a settled line.
            is_news = verdict.status.settled or (union.rows, union.marks) != (believed.rows, believed.marks)
        reason = verdict.reason
        if overrules(evidence):
            reason = "; ".join(filter(None, (reason, OVERRULED)))
        verdict = replace(verdict, reason=reason, is_news=is_news and brought)
        self.answered[Place(self.series, route.day)] = Answered(dict(evidence), verdict)
        return verdict


def overrules(evidence: Evidence) -> bool:
    """True when REST has other values than an archive object for the same row."""
    rest = evidence.get(Source.REST)
    if rest is None or rest.kind is not AnswerKind.ROWS:
        return False
    said = {row[0]: row for row in rest.rows}
    return any(
        row[0] in said and any(a != b for a, b in zip(row, said[row[0]], strict=True) if a is not None and b is not None)
        for source, answer in evidence.items()
        if source is not Source.REST and answer.kind is AnswerKind.ROWS
        for row in answer.rows
    )


def _first_unasked(route: DayRoute, evidence: Evidence) -> Source | None:
    if route.age < 1:
        return None
    return next((source for source in route.sources if source not in evidence), None)


@dataclass(frozen=True)
class _KlinesRepair(KlinesPlan):
    """Klines from the month's object, the day's object and REST, all three."""

    notes: _Notes = field(kw_only=True)

    def routes(self, days: Sequence[date]) -> list[DayRoute]:
        """As ever, but with the month's object for a single day too, and REST after the archive."""
        routes = []
        for route in super().routes(days):
            monthly = (Source.MONTHLY,) if month_end(route.day) < self.today else ()
            routes.append(replace(route, sources=(*monthly, Source.DAILY, Source.REST)))
        return routes

    def next_step(self, route: DayRoute, evidence: Evidence, stored: StoredDay | None = None) -> Source | Verdict:
        """Every source, then the verdict."""
        return _first_unasked(route, evidence) or self.notes.judge(route, evidence, stored, super().next_step)


@dataclass(frozen=True)
class _MetricsRepair(MetricsPlan):
    """Metrics from the day's object, and from REST as far back as it serves."""

    notes: _Notes = field(kw_only=True)

    def next_step(self, route: DayRoute, evidence: Evidence, stored: StoredDay | None = None) -> Source | Verdict:
        """Every source, then the verdict."""
        return _first_unasked(route, evidence) or self.notes.judge(route, evidence, stored, super().next_step)


@dataclass(frozen=True)
class _FundingRepair(FundingPlan):
    """Funding rates: one answer of REST holds all there is, so the archive is asked only where there is none."""

    notes: _Notes = field(kw_only=True)

    def next_step(self, route: DayRoute, evidence: Evidence, stored: StoredDay | None = None) -> Source | Verdict:
        """As ever; the verdict is on the union."""
        return self.notes.judge(route, evidence, stored, super().next_step)
