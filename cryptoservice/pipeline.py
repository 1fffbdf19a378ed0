"""The download pipeline: cases -> fetch (worker threads) -> read -> settle -> store, with one thread that settles and writes.

That thread reads as well, but for long runs, whose archive objects are read in helper processes.

Jobs are opened as room allows, so that what waits in memory does not grow with the window: a job is one symbol's wanted days
of one month, and its fetches are bounded in number and in bytes.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from cryptoservice.binance.objects import ArchivedZip
from cryptoservice.clock import Clock, check
from cryptoservice.config import WorkerConfig
from cryptoservice.feeds import Feed
from cryptoservice.lanes import Arrival, Arrivals, FetchLane, ReadLane, Task
from cryptoservice.models import Dataset, Status
from cryptoservice.plan import DayCase, Evidence, Outcome, Source, Witness, at_least_as_good, keep_stored
from cryptoservice.progress import Progress
from cryptoservice.reading import Fetched, witnesses_of
from cryptoservice.store import LedgerLine, Series, Store, SymbolDay

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
# What waits for one commit: enough to make fsync cheap, little enough that a kill costs little work.
_BATCH_ROWS = 50_000
_BATCH_SECONDS = 0.25
# Helper processes take some 0.1 s to start: they pay when there is more to read than that.
_ROWS_FOR_HELPERS = 100_000


@dataclass
class Job:
    """One symbol's wanted days, and what has been heard of them."""

    feed: Feed
    symbol: str
    cases: dict[date, DayCase]
    evidence: dict[date, dict[Source, Witness]] = field(default_factory=dict)
    fetches_open: int = 0
    waiting_for_rest: dict[date, Source] = field(default_factory=dict)
    """Days that need REST, held back until the archive has spoken on all of them, so that neighbours share pages."""

    @classmethod
    def of(cls, feed: Feed, symbol: str, days: list[date]) -> Job:
        """A job for these days."""
        return cls(feed, symbol, {case.day: case for case in feed.cases(days)})


class Unsettled(NamedTuple):
    """A wanted symbol-day that this run could not settle."""

    dataset: Dataset
    symbol: str
    day: date
    reason: str
    status: Status


@dataclass
class Tally:
    """What the run achieved."""

    downloaded: int = 0
    confirmed_gaps: int = 0
    rows: int = 0
    unsettled: list[Unsettled] = field(default_factory=list)


def _fetch(task: Task[Job]) -> Fetched:
    return task.job.feed.fetch(task.fetch)


class Pipeline:
    """Runs jobs to their end. `known` is the ledger as it stood; what is stored is never replaced by less."""

    def __init__(
        self,
        store: Store,
        workers: WorkerConfig,
        clock: Clock,
        progress: Progress,
        stop: threading.Event | None,
    ) -> None:
        self._is_long = False
        self._store = store
        self._clock = clock
        self._progress = progress
        self._stop = stop
        self._arrivals: Arrivals[Job] = queue.SimpleQueue()
        self._archive: FetchLane[Job] = FetchLane("archive", workers.vision, _fetch, self._arrivals)
        self._api: FetchLane[Job] = FetchLane("api", workers.api, _fetch, self._arrivals)
        self._reader: ReadLane[Job] | None = None
        self._max_jobs = 2 * (workers.vision + workers.api)
        self._open_jobs = 0
        self._batch: list[SymbolDay] = []
        self._batch_rows = 0
        self._batch_began = 0.0
        self._known: dict[Series, dict[date, LedgerLine]] = {}
        self.tallies: dict[Dataset, Tally] = {}

    def run(self, jobs: Iterable[Job], known: dict[Series, dict[date, LedgerLine]], expected_rows: int) -> None:
        """Work until every day of every job is settled or given up; Interrupted keeps what is finished.

        `expected_rows` is a guess at all rows together: with many of them helper processes do the reading.
        """
        self._known = known
        self._is_long = expected_rows >= _ROWS_FOR_HELPERS and (os.cpu_count() or 1) > 1
        try:
            self._loop(iter(jobs))
        finally:
            self._archive.close()
            self._api.close()
            if self._reader is not None:
                self._reader.close()
            self._flush()

    def _loop(self, source: Iterator[Job]) -> None:
        exhausted = False
        while True:
            check(self._stop)
            while not exhausted and self._has_room():
                job = next(source, None)
                exhausted = job is None
                if job is not None:
                    self._open_jobs += 1
                    self._advance(job, list(job.cases))
            self._archive.start_some()
            self._api.start_some()
            if exhausted and self._open_jobs == 0:
                return
            try:
                arrival = self._arrivals.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                # Nothing to read just now: the best moment to commit what is finished.
                self._flush()
                self._progress.tick()
            else:
                self._receive(arrival)

    def _has_room(self) -> bool:
        hungry = len(self._archive.backlog) < self._archive.workers or len(self._api.backlog) < self._api.workers
        return hungry and self._open_jobs < self._max_jobs

    def _receive(self, arrival: Arrival[Job]) -> None:
        task, outcome = arrival.task, arrival.outcome
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(outcome, dict):
            assert self._reader is not None  # noqa: S101 - only the reader sends witnesses
            self._reader.finished()
            self._hear(task, outcome)
        elif isinstance(outcome, ArchivedZip) and self._reader is not None:
            self._reader.add(task, outcome)
        else:
            self._hear(task, witnesses_of(task.fetch, outcome))

    def _hear(self, task: Task[Job], witnesses: dict[date, Witness]) -> None:
        job, fetch = task.job, task.fetch
        self._lane(fetch.source).finished(task)
        job.fetches_open -= 1
        for day, witness in witnesses.items():
            job.evidence.setdefault(day, {})[fetch.source] = witness
        self._advance(job, list(fetch.days))

    def _lane(self, source: Source) -> FetchLane[Job]:
        return self._api if source is Source.REST else self._archive

    def _advance(self, job: Job, days: list[date]) -> None:
        steps: dict[date, Source] = {}
        for day in days:
            evidence = job.evidence.get(day, {})
            step = job.feed.step(job.cases[day], evidence)
            if isinstance(step, Outcome):
                self._settle(job, day, step, evidence)
                del job.cases[day]
                job.evidence.pop(day, None)
            elif step is Source.REST:
                job.waiting_for_rest[day] = step
            else:
                steps[day] = step
        self._start(job, steps)
        if job.fetches_open == 0 and job.waiting_for_rest:
            self._start(job, job.waiting_for_rest)
            job.waiting_for_rest = {}
        if job.fetches_open == 0:
            self._open_jobs -= 1

    def _start(self, job: Job, steps: dict[date, Source]) -> None:
        for fetch in job.feed.group(job.symbol, steps):
            job.fetches_open += 1
            if self._is_long and self._reader is None and fetch.source is not Source.REST:
                # Before the first object is there: the helpers start while it is on its way.
                self._reader = ReadLane(self._arrivals)
            self._lane(fetch.source).backlog.append(Task(job, fetch, job.feed.cost(fetch).bytes))

    def _settle(self, job: Job, day: date, outcome: Outcome, evidence: Evidence) -> None:
        series = Series(job.feed.dataset, job.feed.freq, job.symbol)
        tally = self.tallies.setdefault(series.dataset, Tally())
        known = self._known.get(series, {}).get(day)
        if known is not None and not known.status.settled and outcome.status.settled and len(outcome.rows) < known.rows:
            outcome = keep_stored(outcome, self._store.rows(series, day))
        count = len(outcome.rows)
        keep = known is not None and not at_least_as_good(outcome.status, count, known.status, known.rows)
        if keep and known is not None:
            reason = (
                f"refetch brought {outcome.status} with {count} rows ({outcome.reason}): {known.status} with {known.rows} kept"
            )
            tally.unsettled.append(Unsettled(series.dataset, series.symbol, day, reason, Status.FAILED))
        else:
            self._put(series, day, outcome, evidence)
            tally.rows += count
            if outcome.status is Status.COMPLETE:
                tally.downloaded += 1
            elif outcome.status is Status.CONFIRMED_GAP:
                tally.confirmed_gaps += 1
            else:
                tally.unsettled.append(Unsettled(series.dataset, series.symbol, day, outcome.reason or "", outcome.status))
        self._progress.advance(rows=count)

    def _put(self, series: Series, day: date, outcome: Outcome, evidence: Evidence) -> None:
        now = self._clock.monotonic()
        if not self._batch:
            self._batch_began = now
        self._batch.append(
            SymbolDay(
                series=series,
                day=day,
                status=outcome.status,
                reason=outcome.reason,
                rows=outcome.rows,
                expected_rows=outcome.expected_rows,
                source="+".join(outcome.sources) or None,
                checked_at=self._clock.time(),
                origin=outcome.origin(evidence),
            )
        )
        self._batch_rows += len(outcome.rows)
        if self._batch_rows >= _BATCH_ROWS or now - self._batch_began >= _BATCH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            batch, self._batch, self._batch_rows = self._batch, [], 0
            self._store.write(batch)
