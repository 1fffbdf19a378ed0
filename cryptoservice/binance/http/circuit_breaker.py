"""The circuit breaker of one host: it counts failed calls in a row, and tells when the host is to be given up."""

from __future__ import annotations

import threading

# A call fails when all its attempts are used up. The breaker opens after three failed calls a worker: by then at least one
# worker has seen three calls fail one after the other, whatever the number of workers. Jitter at most halves the pauses between
# attempts, so this takes longer than any outage that the retries of a single call would outlast.
CALLS_A_WORKER = 3


class CircuitBreaker:
    """Counts the calls in a row that failed while the host sent nothing at all. Thread-safe."""

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
        """The host sent something, be it an error: the count of failed calls starts again."""
        with self._lock:
            self._responses += 1
            self._failed_calls = 0

    def call_failed(self, responses: int) -> bool:
        """A call has failed without a response; `responses` is the count at the beginning of the call.

        The call counts only when no other call got a response meanwhile: a host that drops some requests is not dead. True for
        the one call that reaches the limit.
        """
        with self._lock:
            self._failed_calls += responses == self._responses
            return self._failed_calls == self.limit and responses == self._responses
