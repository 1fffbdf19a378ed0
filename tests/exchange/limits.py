"""The request limits of one (fake) IP address, really enforced."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Bucket = Literal["weight", "funding", "futures_data"]


class Verdict(NamedTuple):
    """What the limits say to one request; used is the weight used in the running window, this request included."""

    status: Literal[200, 429, 418]
    used: int
    limit: int
    retry_after: int | None
    banned_until_ms: int


@dataclass
class _Window:
    """A fixed window: all used weight is forgotten when the next one begins."""

    limit: int
    seconds: float
    number: int = -1
    used: float = 0.0
    refused: int = 0


class Limits:
    """Limits per IP: weight per window, and the request counts of funding and /futures/data, which have their own.

    Windows are fixed and begin at multiples of their length on the wall clock, as a minute does. Refused requests
    weigh too. More than `tolerance` further requests after a 429 within its window are answered with a ban of
    `ban_seconds`, twice as long each time.
    """

    def __init__(
        self,
        weight: int = 2400,
        window: float = 60.0,
        *,
        funding: int = 500,
        futures_data: int = 1000,
        slow_window: float = 300.0,
        tolerance: int = 10,
        ban_seconds: float = 120.0,
        retry_after: bool = True,
        announce: bool = True,
        enforced: bool = True,
    ) -> None:
        self.tolerance = tolerance
        self.ban_seconds = ban_seconds
        self.retry_after = retry_after
        self.announce = announce
        self.enforced = enforced
        self.count_429 = 0
        self.count_418 = 0
        self.clock: Callable[[], float] = time.monotonic
        self.now_ms: Callable[[], int] = lambda: int(time.time() * 1000)
        # Monotonic time moved so that windows begin where the wall clock's do.
        self._phase = time.time() - time.monotonic()
        self._windows: dict[Bucket, _Window] = {
            "weight": _Window(weight, window),
            "funding": _Window(funding, slow_window),
            "futures_data": _Window(futures_data, slow_window),
        }
        self._banned_until = -math.inf
        self._offences = 0
        self._burn_rate = 0.0
        self._burned_at = 0.0
        self._lock = threading.Lock()

    @classmethod
    def off(cls) -> Limits:
        """Nothing is refused; weight is still counted and reported."""
        return cls(enforced=False)

    @property
    def weight(self) -> int:
        """Weight allowed per window."""
        return self._windows["weight"].limit

    @property
    def window(self) -> float:
        """Length of the weight window in seconds."""
        return self._windows["weight"].seconds

    def set(
        self,
        *,
        weight: int | None = None,
        window: float | None = None,
        funding: int | None = None,
        futures_data: int | None = None,
        slow_window: float | None = None,
    ) -> None:
        """Change limits while the exchange runs; what is used stays used until its window ends."""
        with self._lock:
            for bucket, limit in (("weight", weight), ("funding", funding), ("futures_data", futures_data)):
                if limit is not None:
                    self._windows[bucket].limit = limit  # type: ignore[index]
            if window is not None:
                self._windows["weight"].seconds = window
            if slow_window is not None:
                self._windows["funding"].seconds = self._windows["futures_data"].seconds = slow_window

    def burn(self, weight: int, bucket: Bucket = "weight") -> None:
        """Use weight now, as another client on the same IP would."""
        with self._lock:
            self._current(bucket, self._time()).used += weight

    def burn_rate(self, per_second: float) -> None:
        """Use weight continuously from now on, as another client on the same IP would; 0 ends it."""
        with self._lock:
            self._current("weight", self._time())
            self._burn_rate = per_second

    def used(self, bucket: Bucket = "weight") -> int:
        """What is used in the running window."""
        with self._lock:
            return int(self._current(bucket, self._time()).used)

    def admit(self, bucket: Bucket, weight: int) -> Verdict:
        """Count one request and say whether it is answered."""
        with self._lock:
            now = self._time()
            window = self._current(bucket, now)
            window.used += weight
            used = int(window.used)
            if not self.enforced:
                return Verdict(200, used, window.limit, None, 0)
            if now < self._banned_until:
                return self._ban(used, window.limit, now)
            if used <= window.limit:
                return Verdict(200, used, window.limit, None, 0)
            window.refused += 1
            if window.refused > self.tolerance + 1:
                self._banned_until = now + self.ban_seconds * 2**self._offences
                self._offences += 1
                window.refused = 0
                return self._ban(used, window.limit, now)
            self.count_429 += 1
            left = (window.number + 1) * window.seconds - now
            return Verdict(429, used, window.limit, math.ceil(left) if self.retry_after else None, 0)

    def _ban(self, used: int, limit: int, now: float) -> Verdict:
        self.count_418 += 1
        left = self._banned_until - now
        return Verdict(418, used, limit, math.ceil(left), self.now_ms() + math.ceil(left * 1000))

    def _time(self) -> float:
        return self.clock() + self._phase

    def _current(self, bucket: Bucket, now: float) -> _Window:
        window = self._windows[bucket]
        number = int(now // window.seconds)
        if number != window.number:
            window.number, window.used, window.refused = number, 0.0, 0
        if bucket == "weight":
            since = max(self._burned_at, number * window.seconds)
            window.used += self._burn_rate * max(0.0, now - since)
            self._burned_at = now
        return window
