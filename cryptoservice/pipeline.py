"""The download pipeline: cases -> fetch (worker threads) -> read -> settle -> store, with one thread that reads and writes.

Jobs are opened as room allows, so that what waits in memory does not grow with the window: a job is one symbol's wanted days
of one month, and its fetches are bounded in number and therefore in bytes.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from cryptoservice.clock import Clock, check
from cryptoservice.config import WorkerConfig
from cryptoservice.feeds import Feed
from cryptoservice.models import Dataset, Status
from cryptoservice.plan import DayCase, Evidence, Fetch, Outcome, Source, Witness, at_least_as_good
from cryptoservice.progress import Progress
from cryptoservice.reading import Fetched, witnesses_of
from cryptoservice.store import LedgerLine, Series, Store, SymbolDay

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
# Rows waiting for one commit: large enough to make fsync cheap, small enough to lose little work to a kill.
_BATCH_ROWS = 20_000
_BATCH_DAYS = 400
# Fetches under way or waiting to be read, beyond one a worker: enough that no worker ever waits for the reader.
_READ_AHEAD = 4


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


class _Arrival(NamedTuple):
    job: Job
    fetch: Fetch
    fetched: Fetched | BaseException


class _Lane:
    """A pool of fetching threads with its own backlog: the API and the archive do not wait for each other."""

    def __init__(self, name: str, workers: int, arrivals: queue.SimpleQueue[_Arrival]) -> None:
        self.workers = workers
        self.backlog: deque[tuple[Job, Fetch]] = deque()
        self.under_way = 0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._arrivals = arrivals

    def start_some(self) -> None:
        while self.backlog and self.under_way < self.workers + _READ_AHEAD:
            job, fetch = self.backlog.popleft()
            self.under_way += 1
            self._pool.submit(self._work, job, fetch)

    def _work(self, job: Job, fetch: Fetch) -> None:
        try:
            fetched: Fetched | BaseException = job.feed.fetch(fetch)
        except BaseException as error:  # noqa: BLE001 - raised again by the reading thread
            fetched = error
        self._arrivals.put(_Arrival(job, fetch, fetched))

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


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
        self._store = store
        self._clock = clock
        self._progress = progress
        self._stop = stop
        self._arrivals: queue.SimpleQueue[_Arrival] = queue.SimpleQueue()
        self._archive = _Lane("archive", workers.vision, self._arrivals)
        self._api = _Lane("api", workers.api, self._arrivals)
        self._max_jobs = 2 * (workers.vision + workers.api)
        self._open_jobs = 0
        self._batch: list[SymbolDay] = []
        self._batch_rows = 0
        self._known: dict[Series, dict[date, LedgerLine]] = {}
        self.tallies: dict[Dataset, Tally] = {}

    def run(self, jobs: Iterable[Job], known: dict[Series, dict[date, LedgerLine]]) -> None:
        """Work until every day of every job is settled or given up; Interrupted keeps what is finished."""
        self._known = known
        source = iter(jobs)
        try:
            self._loop(source)
        finally:
            self._archive.close()
            self._api.close()
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
                arrival = self._arrivals.get_nowait()
            except queue.Empty:
                # Nothing to read just now: the best moment to commit what is finished.
                self._flush()
                try:
                    arrival = self._arrivals.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
            self._receive(arrival)

    def _has_room(self) -> bool:
        hungry = len(self._archive.backlog) < self._archive.workers or len(self._api.backlog) < self._api.workers
        return hungry and self._open_jobs < self._max_jobs

    def _receive(self, arrival: _Arrival) -> None:
        job, fetch, fetched = arrival
        self._lane(fetch.source).under_way -= 1
        job.fetches_open -= 1
        if isinstance(fetched, BaseException):
            raise fetched
        for day, witness in witnesses_of(fetch, fetched).items():
            job.evidence.setdefault(day, {})[fetch.source] = witness
        self._advance(job, list(fetch.days))

    def _lane(self, source: Source) -> _Lane:
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
            self._lane(fetch.source).backlog.append((job, fetch))

    def _settle(self, job: Job, day: date, outcome: Outcome, evidence: Evidence) -> None:
        series = Series(job.feed.dataset, job.feed.freq, job.symbol)
        tally = self.tallies.setdefault(series.dataset, Tally())
        known = self._known.get(series, {}).get(day)
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
        self._progress.advance()

    def _put(self, series: Series, day: date, outcome: Outcome, evidence: Evidence) -> None:
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
        if self._batch_rows >= _BATCH_ROWS or len(self._batch) >= _BATCH_DAYS:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            batch, self._batch, self._batch_rows = self._batch, [], 0
            self._store.write(batch)
