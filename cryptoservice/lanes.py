"""Lanes: the threads that fetch and the helper processes that read. What waits in them is bounded, and every end is reported."""

from __future__ import annotations

import logging
import queue
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

from cryptoservice.binance.objects import ArchivedZip
from cryptoservice.plan import Fetch, Witness
from cryptoservice.reading import Fetched, witnesses_of
from cryptoservice.workers import HelperLost, HelperPool

log = logging.getLogger(__name__)

J = TypeVar("J")
# Fetches under way or waiting to be read, beyond one a worker: enough that no worker ever waits for the reader.
_READ_AHEAD = 4
# The same in bytes, for long objects: a month of minutes is a hundred times a day of five minutes.
_MOST_BYTES = 8_000_000
# Reading takes more time than writing. Two readers and one writer share two cores well; more cores would wait for the writer.
_READERS = 2
# To each reader one object at work and one on its way: more would only wait, unpacked, in memory.
_READINGS_AT_ONCE = 1 + _READERS


@dataclass(frozen=True)
class Task(Generic[J]):
    """A fetch of a job."""

    job: J
    fetch: Fetch
    bytes: int
    """A guess at what it brings."""


@dataclass(frozen=True)
class Arrival(Generic[J]):
    """The end of a task's fetching or reading: what it brought, or what went wrong."""

    task: Task[J]
    outcome: Fetched | dict[date, Witness] | BaseException


Arrivals = queue.SimpleQueue[Arrival[J]]


class FetchLane(Generic[J]):
    """A pool of fetching threads with its own backlog, so that the API and the archive do not wait for each other."""

    def __init__(self, name: str, workers: int, fetch: Callable[[Task[J]], Fetched], arrivals: Arrivals[J]) -> None:
        self.workers = workers
        self.backlog: deque[Task[J]] = deque()
        self._under_way = 0
        self._bytes = 0
        self._fetch = fetch
        self._arrivals = arrivals
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=name)

    def start_some(self) -> None:
        """Hand out as much of the backlog as may be under way."""
        while self.backlog and self._has_room(self.backlog[0]):
            task = self.backlog.popleft()
            self._under_way += 1
            self._bytes += task.bytes
            self._pool.submit(self._work, task)

    def _has_room(self, task: Task[J]) -> bool:
        if not self._under_way:
            return True
        return self._under_way < self.workers + _READ_AHEAD and self._bytes + task.bytes <= _MOST_BYTES

    def finished(self, task: Task[J]) -> None:
        """A task of this lane was fetched and read."""
        self._under_way -= 1
        self._bytes -= task.bytes

    def close(self) -> None:
        """Start nothing more; what is under way ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, task: Task[J]) -> None:
        try:
            outcome: Fetched | BaseException = self._fetch(task)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that receives it
            outcome = error
        self._arrivals.put(Arrival(task, outcome))


class ReadLane(Generic[J]):
    """Reads archive objects in helper processes; compressed ones wait here, in order."""

    def __init__(self, arrivals: Arrivals[J]) -> None:
        self._arrivals = arrivals
        self._waiting: deque[tuple[Task[J], ArchivedZip]] = deque()
        self._under_way = 0
        self._helpers = HelperPool(_READERS)
        self._helpers.warm_up()
        self._closed = False
        self._has_lost = False

    def add(self, task: Task[J], archived: ArchivedZip) -> None:
        """Read it when its turn comes; its witnesses arrive like everything else."""
        self._waiting.append((task, archived))
        self._start_some()

    def finished(self) -> None:
        """The witnesses of one object were received."""
        self._under_way -= 1
        self._start_some()

    def close(self) -> None:
        """End the helpers."""
        self._closed = True
        self._helpers.close()

    def _start_some(self) -> None:
        while self._waiting and self._under_way < _READINGS_AT_ONCE:
            task, archived = self._waiting.popleft()
            self._under_way += 1
            future = self._helpers.submit(witnesses_of, task.fetch, archived)
            future.add_done_callback(lambda done, task=task, archived=archived: self._put(done, task, archived))  # type: ignore[misc]

    def _put(self, done: Future[dict[date, Witness]], task: Task[J], archived: ArchivedZip) -> None:
        if done.cancelled() or self._closed:
            return
        error = done.exception()
        if isinstance(error, HelperLost):
            # What has befallen one may befall every helper, at every object.
            log.log(logging.DEBUG if self._has_lost else logging.WARNING, "%s: reading in this process instead", error.message)
            self._has_lost = True
            try:
                outcome: Fetched | dict[date, Witness] | BaseException = witnesses_of(task.fetch, archived)
            except BaseException as failure:  # noqa: BLE001 - raised again by the thread that receives it
                outcome = failure
            self._arrivals.put(Arrival(task, outcome))
        else:
            self._arrivals.put(Arrival(task, error if error is not None else done.result()))
