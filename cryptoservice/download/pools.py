"""The pools of a download: threads that fetch, and an executor that decodes archive objects. Both limit what waits in memory."""

from __future__ import annotations

import logging
import queue
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cryptoservice.binance.archive_files import VerifiedZip
from cryptoservice.sources.decoding import Answers, decode_zips
from cryptoservice.sources.fetcher import FetchResult
from cryptoservice.sources.grouping import Fetch

log = logging.getLogger(__name__)

J = TypeVar("J")
# Fetches under way or waiting to be decoded, beyond one a worker: enough that no worker ever waits for the decoder, and that
# small objects can be decoded some at a time.
_FETCH_AHEAD = 16
# The same in bytes, for long objects: a month of minutes is a hundred times a day of five minutes.
_MOST_BYTES = 8_000_000
# Two decoders and one writer share two cores well; more cores would only wait for the writer. One more object is on its way to
# a decoder. Further ones wait compressed, since decoded they would only take memory.
_DECODERS = 2
_MOST_DECODING = _DECODERS + 1
# Small objects that wait go to a helper together: the way there and back takes as long as to decode one of them.
_BATCH_BYTES = 100_000


@dataclass(frozen=True, eq=False)
class Task(Generic[J]):
    """A fetch of a job."""

    job: J
    fetch: Fetch
    bytes: int
    """An estimate of what it brings."""
    is_first: bool = True
    """Whether it was chosen before anything had been heard of its days."""


@dataclass(frozen=True)
class Fetched(Generic[J]):
    """A task was fetched: the future holds the result, or what went wrong."""

    task: Task[J]
    future: Future[FetchResult]


Waiting = tuple[Task[J], VerifiedZip]
"""A fetched archive object that is not decoded yet."""


@dataclass(frozen=True)
class Decoded(Generic[J]):
    """Fetched archive objects were decoded: the future holds the answers of each, or what went wrong."""

    batch: Sequence[Waiting[J]]
    future: Future[list[Answers]]


Messages = queue.SimpleQueue[Fetched[J] | Decoded[J]]
"""What the pools report to the thread that writes."""


class FetchPool(Generic[J]):
    """Threads that fetch from one host, with a backlog of their own, so that API and archive do not wait for each other."""

    def __init__(self, name: str, workers: int, fetch: Callable[[Fetch], FetchResult], messages: Messages[J]) -> None:
        self.workers = workers
        self.backlog: deque[Task[J]] = deque()
        self._under_way = 0
        self._bytes = 0
        self._fetch = fetch
        self._messages = messages
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=name)

    def start_some(self) -> None:
        """Start as much of the backlog as may be under way."""
        while self.backlog and self._has_room(self.backlog[0]):
            task = self.backlog.popleft()
            self._under_way += 1
            self._bytes += task.bytes
            future = self._threads.submit(self._fetch, task.fetch)
            future.add_done_callback(lambda done, task=task: self._messages.put(Fetched(task, done)))  # type: ignore[misc]

    def _has_room(self, task: Task[J]) -> bool:
        if not self._under_way:
            return True
        return self._under_way < self.workers + _FETCH_AHEAD and self._bytes + task.bytes <= _MOST_BYTES

    def finished(self, task: Task[J]) -> None:
        """A task of this pool was fetched and decoded."""
        self._under_way -= 1
        self._bytes -= task.bytes

    def close(self) -> None:
        """Start nothing more; what is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class InlineExecutor(Executor):
    """Runs each call at once, in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done already."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever asks the future
            future.set_exception(error)
        return future


class DecodePool(Generic[J]):
    """Decodes archive objects in an executor. Compressed objects wait here, in order, until it has room."""

    def __init__(self, executor: Executor | None, messages: Messages[J]) -> None:
        self._executor = executor or InlineExecutor()
        self._messages = messages
        self._waiting: deque[Waiting[J]] = deque()
        self._under_way: set[Future[list[Answers]]] = set()
        self._is_warm = False

    def warm_up(self) -> None:
        """Let helper processes start now, while the first object is on its way. Only the first call does anything."""
        if self._is_warm:
            return
        self._is_warm = True
        try:
            for _ in range(_DECODERS):
                self._executor.submit(len, ())
        except (BrokenExecutor, OSError) as error:
            self._go_on_without(error)

    def add(self, task: Task[J], archived: VerifiedZip) -> None:
        """Decode it when its turn comes."""
        self._waiting.append((task, archived))
        self._start_some()

    def answers(self, message: Decoded[J]) -> list[tuple[Task[J], Answers]]:
        """The decoded objects with their answers; none when their helper process was lost, and they are decoded once more."""
        self._under_way.discard(message.future)
        try:
            decoded = message.future.result()
        except BrokenExecutor as error:
            self._go_on_without(error)
            self._waiting.extendleft(reversed(message.batch))
            decoded = []
        self._start_some()
        return [(task, answers) for (task, _), answers in zip(message.batch, decoded, strict=False)]

    def close(self) -> None:
        """Start nothing more; the executor belongs to whoever made it."""
        self._waiting.clear()
        for future in self._under_way:
            future.cancel()

    def _start_some(self) -> None:
        while self._waiting and len(self._under_way) < _MOST_DECODING:
            batch = self._next_batch()
            fetched = [(task.fetch, archived) for task, archived in batch]
            try:
                future = self._executor.submit(decode_zips, fetched)
            except (BrokenExecutor, OSError) as error:
                self._go_on_without(error)
                future = self._executor.submit(decode_zips, fetched)
            self._under_way.add(future)
            future.add_done_callback(lambda done, batch=batch: self._messages.put(Decoded(batch, done)))  # type: ignore[misc]

    def _next_batch(self) -> list[Waiting[J]]:
        """Objects that wait, in order: its share for each decoder, of a limited length, and at least one."""
        most = -(-len(self._waiting) // _DECODERS)
        batch = [self._waiting.popleft()]
        size = len(batch[0][1].body)
        while len(batch) < most and size + len(self._waiting[0][1].body) <= _BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][1].body)
        return batch

    def _go_on_without(self, error: BaseException) -> None:
        """What has befallen one helper process, for instance for lack of memory, may befall all of them: none is used again."""
        if not isinstance(self._executor, InlineExecutor):
            log.warning("helper processes cannot be used any more (%s): decoding in this process instead", error)
            self._executor = InlineExecutor()
