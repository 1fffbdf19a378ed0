"""Counters of requests and of retries."""

from __future__ import annotations

import threading
from collections import Counter


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
