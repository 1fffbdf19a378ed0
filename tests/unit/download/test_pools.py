"""The pools of a download: what may be under way at once, and that every end is reported, whatever goes wrong."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from cryptoservice.binance.archive_files import VerifiedZip
from cryptoservice.download import pools
from cryptoservice.download.pools import Decoded, DecodePool, Fetched, FetchPool, InlineExecutor, Messages, Task
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.evidence import AnswerKind, Source
from cryptoservice.sources.fetcher import FetchResult
from cryptoservice.sources.grouping import Fetch

DAY = date(2026, 2, 1)
FETCH = Fetch(Dataset.KLINES, Freq.m5, Source.DAILY, "BTCUSDT", (DAY,))
# Not even a zip: its decoding is an answer all the same.
BROKEN = VerifiedZip(FETCH.archive_file, b"", "", None, 0.0)


def task(size: int = 1) -> Task[None]:
    return Task(None, FETCH, size)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Warnings of the package, as they come."""
    told: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "handlers", [handler])
    return told


@pytest.mark.parametrize(
    ("sizes", "started"),
    [
        ([1] * 30, 3 + 16),
        ([3_000_000] * 5, 2),
        ([9_000_000, 1], 1),
        ([1, 9_000_000], 1),
    ],
)
def test_what_is_under_way_is_limited_in_number_and_in_bytes(sizes: list[int], started: int) -> None:
    """Three workers and sixteen ahead, eight megabytes; one that is larger than all of it goes alone."""
    messages: Messages[None] = queue.SimpleQueue()
    pool: FetchPool[None] = FetchPool("test", 3, lambda _: FetchResult(), messages)
    tasks = [task(size) for size in sizes]
    pool.backlog.extend(tasks)
    try:
        pool.start_some()
        assert len(tasks) - len(pool.backlog) == started
        for _ in tasks:
            done = messages.get(timeout=10)
            assert isinstance(done, Fetched)
            pool.finished(done.task)
            pool.start_some()
        assert not pool.backlog
    finally:
        pool.close()


def test_a_fetch_that_fails_is_reported_with_its_error() -> None:
    def fail(_: Fetch) -> FetchResult:
        raise MemoryError

    messages: Messages[None] = queue.SimpleQueue()
    pool: FetchPool[None] = FetchPool("test", 1, fail, messages)
    pool.backlog.append(task())
    try:
        pool.start_some()
        with pytest.raises(MemoryError):
            messages.get(timeout=10).future.result()
    finally:
        pool.close()


def received(pool: DecodePool[None], messages: Messages[None]) -> Any:
    message = messages.get(timeout=10)
    assert isinstance(message, Decoded)
    return pool.answers(message)


def test_without_an_executor_decoding_happens_at_once() -> None:
    messages: Messages[None] = queue.SimpleQueue()
    pool: DecodePool[None] = DecodePool(None, messages)
    pool.warm_up()
    pool.add(task(), BROKEN)
    ((_, answers),) = received(pool, messages)
    assert [(answer.kind, answer.reason) for answer in answers.values()] == [(AnswerKind.DISTRUSTED, "zip_unreadable")]


class Gated(Executor):
    """An executor whose work begins when the gate opens."""

    def __init__(self, executor: Executor) -> None:
        self.gate = threading.Event()
        self.lengths: list[int] = []
        self._executor = executor

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.lengths.append(len(args[0]))
        return self._executor.submit(lambda: (self.gate.wait(10), fn(*args, **kwargs))[1])


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        # The first three go at once. Of the nine that have waited, a helper gets its half, of what is left half again.
        (100, [1, 1, 1, 5, 2, 1, 1]),
        # Two of these make a batch, and of larger ones each goes alone.
        (40_000, [1, 1, 1, 2, 2, 2, 2, 1]),
        (60_000, [1] * 12),
        (200_000, [1] * 12),
    ],
)
def test_small_objects_that_wait_are_decoded_together(size: int, lengths: list[int]) -> None:
    """No more than three batches are decoded or wait decoded, since what is decoded takes fifty times the memory."""
    with ThreadPoolExecutor(1) as threads:
        executor = Gated(threads)
        messages: Messages[None] = queue.SimpleQueue()
        pool: DecodePool[None] = DecodePool(executor, messages)
        tasks = [task() for _ in range(12)]
        for one in tasks:
            pool.add(one, replace(BROKEN, body=bytes(size)))
        assert executor.lengths == [1, 1, 1]
        executor.gate.set()
        found: list[Task[None]] = []
        for number in range(len(lengths)):
            assert executor.lengths == lengths[: 3 + number]
            found += [one for one, answers in received(pool, messages) if answers]
        assert found == tasks


class Breaking(Executor):
    """An executor whose helper is lost: at submission, or when the result is asked for."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.calls = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        if self.at == "submit":
            raise BrokenExecutor("a helper was killed")
        if self.at == "start":
            raise BlockingIOError(11, "Resource temporarily unavailable")
        future: Future[Any] = Future()
        future.set_exception(BrokenExecutor("a helper was killed"))
        return future


@pytest.mark.parametrize("at", ["submit", "start", "result"])
@pytest.mark.parametrize("warm", [True, False])
def test_lost_helpers_are_told_of_once_and_the_work_goes_on_here(at: str, warm: bool, warnings: list[str]) -> None:
    messages: Messages[None] = queue.SimpleQueue()
    pool: DecodePool[None] = DecodePool(Breaking(at), messages)
    if warm:
        pool.warm_up()
    for _ in range(5):
        pool.add(task(), BROKEN)
    decoded = 0
    while decoded < 5:
        for _, answers in received(pool, messages):
            assert answers[DAY].reason == "zip_unreadable"
            decoded += 1
    assert len(warnings) == 1, warnings
    assert "decoding in this process instead" in warnings[0]


def test_decoding_that_fails_after_its_helper_was_lost_arrives_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both happen for lack of memory. An end that nobody hears of would keep the run waiting for ever."""

    def without_memory(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(pools, "decode_zips", without_memory)
    messages: Messages[None] = queue.SimpleQueue()
    pool: DecodePool[None] = DecodePool(Breaking("submit"), messages)
    pool.add(task(), BROKEN)
    with pytest.raises(MemoryError):
        received(pool, messages)


def test_a_closed_pool_starts_nothing_more() -> None:
    waiting: list[Future[Any]] = []

    class Slow(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            waiting.append(Future())
            return waiting[-1]

    messages: Messages[None] = queue.SimpleQueue()
    pool: DecodePool[None] = DecodePool(Slow(), messages)
    for _ in range(5):
        pool.add(task(), BROKEN)
    pool.close()
    assert len(waiting) == 3
    assert all(future.cancelled() for future in waiting)


def test_the_inline_executor_keeps_what_was_raised() -> None:
    future = InlineExecutor().submit(divmod, 7, 0)
    assert future.done()
    with pytest.raises(ZeroDivisionError):
        future.result()
    assert InlineExecutor().submit(divmod, 7, 2).result() == (3, 1)
