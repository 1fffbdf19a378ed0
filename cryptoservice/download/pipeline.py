"""The pipeline of a download: fetch in threads, decode in an executor, then decide and store in the one thread that writes.

Jobs are opened as room allows, so that what waits in memory does not grow with the window. A job is one symbol's wanted days
of one month, and its fetches are limited in number and in bytes.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from datetime import date

from cryptoservice.clock import POLL_SECONDS, Clock, raise_if_stopped
from cryptoservice.config import WorkerConfig
from cryptoservice.download.commit_batch import CommitBatch
from cryptoservice.download.pools import Decoded, DecodePool, Fetched, FetchPool, Messages, Task
from cryptoservice.download.result import Tally
from cryptoservice.download.worklist import Job
from cryptoservice.models import Dataset, Status
from cryptoservice.progress import Progress
from cryptoservice.sources.decoding import Answers
from cryptoservice.sources.evidence import Evidence, Source
from cryptoservice.sources.fetcher import FetchResult
from cryptoservice.sources.grouping import Fetch
from cryptoservice.sources.verdict import Verdict, against_stored
from cryptoservice.storage.ledger import SymbolDay
from cryptoservice.storage.writer import StoreWriter

log = logging.getLogger(__name__)


class Pipeline:
    """Runs jobs to their end; what is stored is never replaced by less.

    `fetch` runs in worker threads. With an `executor` archive objects are decoded there, else in this thread.
    """

    def __init__(
        self,
        store: StoreWriter,
        fetch: Callable[[Fetch], FetchResult],
        workers: WorkerConfig,
        clock: Clock,
        progress: Progress,
        *,
        executor: Executor | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._store = store
        self._batch = CommitBatch(store, clock)
        self._clock = clock
        self._progress = progress
        self._stop = stop
        self._messages: Messages[Job] = queue.SimpleQueue()
        self._archive: FetchPool[Job] = FetchPool("archive", workers.vision, fetch, self._messages)
        self._api: FetchPool[Job] = FetchPool("api", workers.api, fetch, self._messages)
        self._decoder: DecodePool[Job] = DecodePool(executor, self._messages)
        self._max_jobs = 2 * (workers.vision + workers.api)
        self._open_jobs = 0
        self.tallies: dict[Dataset, Tally] = {}

    def run(self, jobs: Iterable[Job]) -> None:
        """Work until every day of every job is settled or given up; Interrupted keeps what is finished."""
        try:
            self._loop(iter(jobs))
        finally:
            self._archive.close()
            self._api.close()
            self._decoder.close()
            self._batch.commit()

    def _loop(self, jobs: Iterator[Job]) -> None:
        exhausted = False
        while True:
            raise_if_stopped(self._stop)
            while not exhausted and self._has_room():
                job = next(jobs, None)
                exhausted = job is None
                if job is not None:
                    self._open_jobs += 1
                    self._advance(job, list(job.routes))
            self._archive.start_some()
            self._api.start_some()
            if exhausted and self._open_jobs == 0:
                return
            try:
                message = self._messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                # There is nothing to decide just now: the best moment to commit what is finished.
                self._batch.commit()
                self._progress.tick()
            else:
                self._receive(message)

    def _has_room(self) -> bool:
        hungry = len(self._archive.backlog) < self._archive.workers or len(self._api.backlog) < self._api.workers
        return hungry and self._open_jobs < self._max_jobs

    def _receive(self, message: Fetched[Job] | Decoded[Job]) -> None:
        if isinstance(message, Decoded):
            answers = self._decoder.answers(message)
            if answers is not None:
                self._collect(message.task, answers)
            return
        result = message.future.result()
        if result.archived is None:
            self._collect(message.task, result.answers)
        else:
            self._decoder.add(message.task, result.archived)

    def _collect(self, task: Task[Job], answers: Answers) -> None:
        job, fetch = task.job, task.fetch
        self._pool(fetch.source).finished(task)
        job.fetches_open -= 1
        for day, answer in answers.items():
            job.evidence.setdefault(day, {})[fetch.source] = answer
        self._advance(job, list(fetch.days))

    def _pool(self, source: Source) -> FetchPool[Job]:
        return self._api if source is Source.REST else self._archive

    def _advance(self, job: Job, days: list[date]) -> None:
        steps: dict[date, Source] = {}
        for day in days:
            evidence = job.evidence.get(day, {})
            step = job.plan.next_step(job.routes[day], evidence)
            if isinstance(step, Verdict):
                self._settle(job, day, step, evidence)
                del job.routes[day]
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
        for fetch in job.plan.group(job.symbol, steps):
            job.fetches_open += 1
            if fetch.source is not Source.REST:
                self._decoder.warm_up()
            self._pool(fetch.source).backlog.append(Task(job, fetch, job.plan.cost(fetch).bytes))

    def _settle(self, job: Job, day: date, verdict: Verdict, evidence: Evidence) -> None:
        series = job.series
        tally = self.tallies.setdefault(series.dataset, Tally())
        verdict, kept = against_stored(verdict, job.known.get(day), lambda: self._store.rows(series, day))
        if kept is None:
            self._batch.add(
                SymbolDay(
                    series=series,
                    day=day,
                    status=verdict.status,
                    reason=verdict.reason,
                    rows=verdict.rows,
                    expected_rows=verdict.expected_rows,
                    source="+".join(verdict.sources) or None,
                    checked_at=self._clock.time(),
                    origin=verdict.origin(evidence),
                )
            )
            tally.rows += len(verdict.rows)
            tally.add(series.dataset, series.symbol, day, verdict.status, verdict.reason)
        else:
            tally.add(series.dataset, series.symbol, day, Status.FAILED, kept)
        self._progress.advance(rows=len(verdict.rows))
