"""Counters of requests, of retries, and of the calls that are under way."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType


class Traffic:
    """Counts requests by source name, retries, and the seconds waited before retries. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._retries = 0
        self._waited = 0.0

    def sent(self, source: str) -> None:
        """Count one request of that source, such as `klines`."""
        with self._lock:
            self._requests[source] += 1

    def retried(self, waited: float) -> None:
        """Count one retry, made after so many seconds of back-off."""
        with self._lock:
            self._retries += 1
            self._waited += waited

    @property
    def requests(self) -> dict[str, int]:
        """Requests sent so far, by source name."""
        with self._lock:
            return dict(sorted(self._requests.items()))

    @property
    def retries(self) -> int:
        """Retries so far, over all requests."""
        with self._lock:
            return self._retries

    @property
    def backoff_seconds(self) -> float:
        """Seconds spent between attempts, summed over threads."""
        with self._lock:
            return self._waited


class UnderWay:
    """Counts what is under way: each call enters it and leaves it. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait_until_none(self, seconds: float) -> bool:
        """Wait at most so many seconds until nothing is under way; whether that came about."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, seconds)
