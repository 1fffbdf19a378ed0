"""The pipeline of a download: fetch in threads, decode in an executor, then decide and store in the one thread that writes.

Jobs are opened as room allows, so that what waits in memory does not grow with the window. A job is mostly one symbol's wanted
days of one month, and its fetches are limited in number and in bytes.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor

from cryptoservice.clock import POLL_SECONDS, Clock, raise_if_stopped
from cryptoservice.config import WorkerConfig
from cryptoservice.download.commit_batch import CommitBatch
from cryptoservice.download.forecast.time_left import TimeLeft
from cryptoservice.download.jobs.job import EndedDay, Job, Step
from cryptoservice.download.jobs.market_job import MarketJob
from cryptoservice.download.pools import Decoded, DecodePool, Fetched, FetchPool, Messages, Task
from cryptoservice.download.result import Tally
from cryptoservice.models import Dataset, Status
from cryptoservice.progress import Progress
from cryptoservice.sources.decoding import Answers
from cryptoservice.sources.evidence import Source
from cryptoservice.sources.fetcher import FetchResult
from cryptoservice.sources.grouping import Fetch
from cryptoservice.sources.verdict import PublishedAnew
from cryptoservice.storage.ledger import SymbolDay

log = logging.getLogger(__name__)

AnyJob = Job | MarketJob


class Pipeline:
    """Runs jobs to their end.

    `fetch` runs in worker threads. With an `executor` archive objects are decoded there, else in this thread.
    """

    def __init__(
        self,
        batch: CommitBatch,
        fetch: Callable[[Fetch], FetchResult],
        workers: WorkerConfig,
        clock: Clock,
        progress: Progress,
        *,
        time_left: TimeLeft | None = None,
        executor: Executor | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._batch = batch
        self._time_left = time_left
        self._clock = clock
        self._progress = progress
        self._stop = stop
        self._messages: Messages[AnyJob] = queue.SimpleQueue()
        self._archive: FetchPool[AnyJob] = FetchPool("archive", workers.vision, fetch, self._messages)
        self._api: FetchPool[AnyJob] = FetchPool("api", workers.api, fetch, self._messages)
        self._decoder: DecodePool[AnyJob] = DecodePool(executor, self._messages)
        self._max_jobs = 2 * (workers.vision + workers.api)
        self._open_jobs = 0
        self._open_klines: Counter[str] = Counter()
        self._deferred: dict[str, list[AnyJob]] = {}
        self.tallies: dict[Dataset, Tally] = {}
        self._published_anew: set[PublishedAnew] = set()

    def run(self, jobs: Iterable[AnyJob]) -> None:
        """Work until every day of every job is settled or given up; Interrupted keeps what is finished."""
        try:
            self._loop(iter(jobs))
        finally:
            self._archive.close()
            self._api.close()
            self._decoder.close()
            self._batch.commit()

    def _loop(self, jobs: Iterator[AnyJob]) -> None:
        exhausted = False
        while True:
            raise_if_stopped(self._stop)
            while not exhausted and self._has_room():
                job = next(jobs, None)
                exhausted = job is None
                if job is not None:
                    self._open(job)
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

    def _open(self, job: AnyJob) -> None:
        """Begin a job. Metrics wait for the klines of their symbol, since these say what the metrics' labels mean."""
        self._open_jobs += 1
        if job.plan.dataset is Dataset.METRICS and self._open_klines[job.symbol]:
            self._deferred.setdefault(job.symbol, []).append(job)
            return
        if job.plan.dataset is Dataset.KLINES:
            self._open_klines[job.symbol] += 1
        self._carry_out(job, job.begin(), is_first=True)

    def _receive(self, message: Fetched[AnyJob] | Decoded[AnyJob]) -> None:
        if isinstance(message, Decoded):
            for task, answers in self._decoder.answers(message):
                self._collect(task, [(task.fetch, answers)])
            return
        result = message.future.result()
        if result.archived is None:
            self._collect(message.task, result.parts(message.task.fetch))
        else:
            self._decoder.add(message.task, result.archived)

    def _collect(self, task: Task[AnyJob], parts: Iterable[tuple[Fetch, Answers]]) -> None:
        self._pool(task.fetch.source).finished(task)
        if self._time_left is not None:
            plan, fetch = task.job.plan, task.fetch
            self._time_left.brought(plan.dataset, fetch.source, plan.cost(fetch), is_first=task.is_first)
        for fetch, answers in parts:
            self._carry_out(task.job, task.job.receive(fetch, answers))

    def _pool(self, source: Source) -> FetchPool[AnyJob]:
        return self._api if source is Source.REST else self._archive

    def _carry_out(self, job: AnyJob, step: Step, *, is_first: bool = False) -> None:
        for ended in step.ended:
            self._settle(ended)
        for fetch in step.fetches:
            if fetch.source is not Source.REST:
                self._decoder.warm_up()
            cost = job.plan.cost(fetch)
            if self._time_left is not None and not is_first:
                self._time_left.asked(job.plan.dataset, fetch.source, cost)
            self._pool(fetch.source).backlog.append(Task(job, fetch, cost.bytes, is_first))
        if job.is_finished:
            self._close(job)

    def _close(self, job: AnyJob) -> None:
        self._open_jobs -= 1
        if job.plan.dataset is not Dataset.KLINES:
            return
        self._open_klines[job.symbol] -= 1
        if not self._open_klines[job.symbol]:
            for deferred in self._deferred.pop(job.symbol, ()):
                self._carry_out(deferred, deferred.begin(), is_first=True)

    def _settle(self, ended: EndedDay) -> None:
        series, day, verdict, origin = ended
        tally = self.tallies.setdefault(series.dataset, Tally())
        if verdict.is_news:
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
                    origin=origin,
                    marks=verdict.marks if len(set(verdict.marks)) > 1 else None,
                )
            )
            tally.rows += len(verdict.rows)
            if verdict.superseded is not None:
                self._say_anew(verdict.superseded)
        status, reason = (Status.FAILED, verdict.trouble) if verdict.trouble else (verdict.status, verdict.reason)
        tally.add(series.dataset, series.symbol, day, status, reason)
        if self._time_left is not None:
            self._time_left.ended(series.dataset, len(verdict.rows))
        self._progress.advance(rows=len(verdict.rows), unsettled=not status.settled)

    def _say_anew(self, anew: PublishedAnew) -> None:
        """Name an object that has changed since it was stored; once, as it may hold many days."""
        if anew not in self._published_anew:
            self._published_anew.add(anew)
            fields = {"event": "published_anew", "object": anew.name, "old": anew.old, "new": anew.new}
            log.warning("%s was published anew: SHA-256 was %s, is %s", *anew, extra={"fields": fields})
