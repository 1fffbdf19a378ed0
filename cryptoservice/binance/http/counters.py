"""Counters of requests, of retries, of the time that was waited, and of the calls that are under way."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from types import TracebackType

from cryptoservice.clock import Clock

# So many answers of a source say how long it takes to answer now.
_RECENT_ANSWERS = 50
# The quick ones among them: a slow one has mostly waited for this machine.
_QUICK_SHARE = 0.25


class WaitingTime:
    """The time during which at least one thread waits: each wait enters it and leaves it. Thread-safe.

    Waits that overlap count once, so it is never longer than the run.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting = 0
        self._since = 0.0
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """Seconds so far, those of a wait that goes on included."""
        with self._lock:
            return self._seconds + (self._clock.monotonic() - self._since if self._waiting else 0.0)

    def __enter__(self) -> None:
        with self._lock:
            if not self._waiting:
                self._since = self._clock.monotonic()
            self._waiting += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._waiting -= 1
            if not self._waiting:
                self._seconds += self._clock.monotonic() - self._since


class Traffic:
    """Counts requests by source name, retries, and the time that was waited. Thread-safe."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.waiting = WaitingTime(clock or Clock())
        """For limits, for pauses, and before retries."""
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._retries = 0
        self._answers: dict[str, deque[float]] = {}

    def sent(self, source: str) -> None:
        """Count one request of that source, such as `klines`."""
        with self._lock:
            self._requests[source] += 1

    def retried(self) -> None:
        """Count one retry."""
        with self._lock:
            self._retries += 1

    def answered(self, source: str, seconds: float) -> None:
        """Note how long an answer of that source took, from the request to its last byte."""
        with self._lock:
            self._answers.setdefault(source, deque(maxlen=_RECENT_ANSWERS)).append(seconds)

    def answer_seconds(self, sources: Iterable[str]) -> float | None:
        """How long these sources take to answer just now, without what this machine adds to it; None before an answer."""
        with self._lock:
            recent = sorted(seconds for source in sources for seconds in self._answers.get(source, ()))
        return recent[int(len(recent) * _QUICK_SHARE)] if recent else None

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
