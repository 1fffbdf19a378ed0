"""The circuit breaker of one host: it counts failed calls in a row and says when the run gives the host up."""

from __future__ import annotations

import threading

# A call fails when all its attempts are used up. One short outage can fail one call of every worker at once, so the limit
# grows with the number of workers. Three calls in a row last longer than any outage that the retries of one call can outlast.
CALLS_A_WORKER = 3


class CircuitBreaker:
    """Counts consecutive calls that failed while the host sent nothing at all. Thread-safe."""

    def __init__(self, workers: int) -> None:
        self.limit = CALLS_A_WORKER * workers
        self._lock = threading.Lock()
        self._responses = 0
        self._failed_calls = 0

    @property
    def responses(self) -> int:
        """How often the host has responded so far."""
        return self._responses

    def responded(self) -> None:
        """Note that the host sent something, even an error: the count of failed calls starts again."""
        with self._lock:
            self._responses += 1
            self._failed_calls = 0

    def call_failed(self, responses: int) -> bool:
        """Note that a call failed without a response; `responses` is what the property said when the call began.

        The call counts only when no other call got a response meanwhile: a host that drops some requests is not dead. Returns
        True for the one call that reaches the limit.
        """
        with self._lock:
            self._failed_calls += responses == self._responses
            return self._failed_calls == self.limit and responses == self._responses
