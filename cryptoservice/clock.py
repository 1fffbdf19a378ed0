"""Time, sleep and chance as one small object that tests can replace, and waits that a stop event ends."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from cryptoservice.errors import Interrupted

T = TypeVar("T")
POLL_SECONDS = 0.1
"""How often a wait looks at its stop event, in seconds."""


class Clock:
    """The clock of the machine. Tests pass a subclass whose time moves without waiting."""

    def time(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never run backwards. Only the difference of two of them has a meaning."""
        return time.monotonic()

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
        """Wait so many seconds. Raises Interrupted as soon as `stop` is set."""
        if stop is None:
            time.sleep(max(0.0, seconds))
        elif stop.wait(max(0.0, seconds)):
            raise Interrupted

    def random(self) -> float:
        """A random number in [0, 1) for jitter; no secret depends on it."""
        return random.random()  # noqa: S311


def raise_if_stopped(stop: threading.Event | None) -> None:
    """Raise Interrupted when the run was asked to stop."""
    if stop is not None and stop.is_set():
        raise Interrupted


def wait_for_some(futures: Collection[Future[T]], stop: threading.Event | None) -> set[Future[T]]:
    """The futures that are done, after a wait of at most POLL_SECONDS for the first. Raises Interrupted when `stop` is set."""
    raise_if_stopped(stop)
    done: set[Future[Any]] = wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done
    return done


def result_of(future: Future[T], stop: threading.Event | None) -> T:
    """The result of the future, however long it takes. Raises what the future raised, and Interrupted when `stop` is set."""
    while not wait_for_some([future], stop):
        pass
    return future.result()
