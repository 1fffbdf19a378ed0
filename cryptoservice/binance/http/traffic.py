"""Counters of what was sent, and of what was tried again."""

from __future__ import annotations

import threading
from collections import Counter


class Traffic:
    """Counts what was sent, by source name, and how often something was tried again. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._retries = 0
        self._waited = 0.0

    def sent(self, source: str) -> None:
        """One request went out."""
        with self._lock:
            self._requests[source] += 1

    def retried(self, waited: float) -> None:
        """One more attempt after so many seconds of back-off."""
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
        """Attempts after the first, over all requests."""
        with self._lock:
            return self._retries

    @property
    def backoff_seconds(self) -> float:
        """Time spent between attempts, summed over threads."""
        with self._lock:
            return self._waited
