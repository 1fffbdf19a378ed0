"""The gate of one host: while a pause or a ban keeps it shut, no thread sends anything to that host."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

from cryptoservice.clock import Clock
from cryptoservice.days import utc_text
from cryptoservice.errors import CryptoserviceError, Remedy, SourceRefused

log = logging.getLogger(__name__)

COUNTDOWN_EVERY = 10.0
"""Seconds between two lines that say how long a run still waits."""


class Gate:
    """Pauses and bans of one host. Thread-safe. All times are epoch seconds.

    A shut gate opens by itself at a known time. A closed gate stays closed for the rest of the run, and `wait` raises its error.
    `on_ban` is called with the host and the end of every ban, before any thread can learn of the ban.
    """

    def __init__(self, host: str, clock: Clock, max_wait: float, *, on_ban: Callable[[str, float], None] | None = None) -> None:
        self.host = host
        self._clock = clock
        self._max_wait = max_wait
        self._on_ban = on_ban
        self._lock = threading.Lock()
        self._shut_until = 0.0
        self._throttled_since: float | None = None
        self._closed: CryptoserviceError | None = None
        self._noted_until = 0.0
        """The end of the longest ban that is written down."""
        self._next_countdown = 0.0

    @property
    def refusal(self) -> SourceRefused | None:
        """Why the host refuses this run, or None."""
        with self._lock:
            return self._closed if isinstance(self._closed, SourceRefused) else None

    def wait(self) -> float:
        """Seconds until the gate opens, 0 when it is open. Raises the error of a closed gate."""
        with self._lock:
            if self._closed is not None:
                # One error serves all later calls: its traceback must not grow with each, and keep their frames in memory.
                raise self._closed.with_traceback(None)
            return self._remaining()

    def remaining(self) -> float:
        """Seconds until the pause or ban ends, also for a gate that is closed for this run."""
        with self._lock:
            return self._remaining()

    def countdown(self, remaining: float) -> None:
        """Log that the run is waiting: one line every ten seconds, from whichever thread comes first."""
        with self._lock:
            now = self._clock.monotonic()
            due = remaining > COUNTDOWN_EVERY and now >= self._next_countdown
            if due:
                self._next_countdown = now + COUNTDOWN_EVERY
        if due:
            log.warning("%s: waiting, %.0f s to go", self.host, remaining)

    def responded(self) -> None:
        """Note any response that does not ask for time: it ends the run of consecutive 429s."""
        if self._throttled_since is not None:
            with self._lock:
                self._throttled_since = None

    def throttle(self, until: float, what: str, *, has_deadline: bool) -> None:
        """HTTP 429, or 503 with a time: shut the gate until that epoch second. `what` names the answer.

        Consecutive answers of this kind for longer than the wait limit close it for this run. So does a deadline beyond the limit
        that the host named itself (`has_deadline`).
        """
        with self._lock:
            now, clock = self._clock.time(), self._clock.monotonic()
            if self._throttled_since is None:
                self._throttled_since = clock
            lasting = clock - self._throttled_since
            if lasting > 0 and lasting >= self._max_wait:
                self._close(f"{self.host} has answered nothing but {what} for {lasting:.0f} s", until)
            elif has_deadline and until - now > self._max_wait:
                self._close(f"{self.host} asks for a pause until {utc_text(until)} ({what})", until)
            elif until > self._shut_until:
                if self._shut_until <= now:
                    log.warning("%s: %s, pausing %.1f s", self.host, what, until - now)
                self._shut_until = until

    def ban(self, until: float, *, remembered: bool = False) -> None:
        """HTTP 418: shut the gate until that epoch second; a ban beyond the wait limit closes it for this run."""
        with self._lock:
            now = self._clock.time()
            if until <= max(now, self._noted_until):
                return
            if self._on_ban is not None and not remembered:
                # Under the lock: no other thread may end the run before the ban is written down. A ban that ends before a pause
                # does is written down too, because the next run knows nothing of the pause.
                self._on_ban(self.host, until)
            self._noted_until = until
            if until <= self._shut_until:
                return
            self._shut_until = until
            until_text = utc_text(math.ceil(until))
            if until - now > self._max_wait:
                self._close(f"{self.host} has banned this IP address until {until_text}", until)
            else:
                log.warning("%s: this IP address is banned until %s, waiting %.0f s", self.host, until_text, until - now)

    def close(self, error: CryptoserviceError) -> None:
        """Close the gate for this run, since nothing can be had of the host: every later `wait` raises this error."""
        with self._lock:
            self._closed = self._closed or error

    def _remaining(self) -> float:
        return max(0.0, self._shut_until - self._clock.time())

    def _close(self, message: str, until: float) -> None:
        facts = {"until": utc_text(math.ceil(until)), "longest": self._max_wait}
        self._closed = self._closed or SourceRefused(message, reason="banned", hint=Remedy.WAIT_FOR_BAN, **facts)
