"""Silence: how many calls in a row a host has left without any answer at all. A host that is silent long enough is given up."""

from __future__ import annotations

import threading

# With three calls a worker, some worker has seen three end one after the other, each with all its retries. As jitter halves a
# call's waits at most, no outage that is shorter than the retries of one call lasts that long, however many workers there are.
CALLS_A_WORKER = 3


class Silence:
    """The row of calls to one host that used up their attempts while it answered nobody. Thread-safe."""

    def __init__(self, workers: int) -> None:
        self.limit = CALLS_A_WORKER * workers
        self._lock = threading.Lock()
        self._answers = 0
        self._calls = 0

    @property
    def answers(self) -> int:
        """How often the host has been heard so far."""
        return self._answers

    def heard(self) -> None:
        """It sent something, be it an error: the row is broken."""
        with self._lock:
            self._answers += 1
            self._calls = 0

    def unanswered(self, answers: int) -> bool:
        """A call has ended without an answer; `answers` is the count at its beginning.

        It counts only when nobody else was answered meanwhile: a host that drops some requests is no dead host. True for the
        call that makes the row as long as the limit, and for no other.
        """
        with self._lock:
            self._calls += answers == self._answers
            return self._calls == self.limit and answers == self._answers
