"""How fast requests may go: one gate a host, one adaptive budget for each limit that the host keeps.

Both answer "wait this long" under a lock, and the caller sleeps outside it. All times are seconds of the injected clock.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cryptoservice.clock import Clock, check
from cryptoservice.days import utc_text
from cryptoservice.errors import SourceError, SourceRefused

log = logging.getLogger(__name__)

_COUNTDOWN_EVERY = 10.0


@dataclass(frozen=True)
class LimitPolicy:
    """One budget. This is the place to adjust how it yields and recovers."""

    max_weight: int | None
    """Weight per rolling window; None leaves only the spacing."""
    window: float = 60.0
    spacing: float = 0.0
    """Least time between two grants, over all threads."""
    jitter_margin: float = 1.0
    """Added to the window: two requests sent a minute apart can arrive a little closer."""
    restart_share: float = 0.5
    """After a refusal the budget restarts at this share of what it was."""
    recovery_share: float = 0.1
    """Share of the full budget that comes back with each clean minute."""
    recovery_every: float = 60.0
    announced_share: float = 0.9
    """Share of a limit that the host announces of itself which this budget will use at most."""


class Gate:
    """Pauses and bans of one host: while it is shut no thread sends anything there."""

    def __init__(self, host: str, clock: Clock, max_wait: float, *, on_ban: Callable[[str, float], None] | None = None) -> None:
        self.host = host
        self._clock = clock
        self._max_wait = max_wait
        self._on_ban = on_ban
        self._lock = threading.Lock()
        self._shut_until = 0.0
        self._throttled_since: float | None = None
        self._closed: SourceError | None = None
        self._next_countdown = 0.0

    @property
    def refusal(self) -> SourceRefused | None:
        """Why the host refuses this run, or None."""
        with self._lock:
            return self._closed if isinstance(self._closed, SourceRefused) else None

    def wait(self) -> float:
        """Seconds until the gate opens, 0 when it is open; the error that closed it when it stays shut for this run."""
        with self._lock:
            if self._closed is not None:
                # Without what it has gathered so far: all frames that it ever went through would stay in memory.
                raise self._closed.with_traceback(None)
            return self._remaining()

    def remaining(self) -> float:
        """Seconds until the gate opens, whether or not this run will see it."""
        with self._lock:
            return self._remaining()

    def countdown(self, remaining: float) -> None:
        """Tell people that the run is waiting: one line every ten seconds, whichever thread comes first."""
        with self._lock:
            now = self._clock.monotonic()
            due = remaining > _COUNTDOWN_EVERY and now >= self._next_countdown
            if due:
                self._next_countdown = now + _COUNTDOWN_EVERY
        if due:
            log.warning("%s: waiting, %.0f s to go", self.host, remaining)

    def answered(self) -> None:
        """The host gave another answer than 429 or 418: a row of them is broken."""
        if self._throttled_since is not None:
            with self._lock:
                self._throttled_since = None

    def throttle(self, until: float, what: str, *, told: bool) -> None:
        """HTTP 429: shut until that epoch second. Closed for this run when the host has answered nothing else for longer than
        the wait limit, or has `told` a time beyond it.
        """
        with self._lock:
            now, clock = self._clock.time(), self._clock.monotonic()
            if self._throttled_since is None:
                self._throttled_since = clock
            row = clock - self._throttled_since
            if row > 0 and row >= self._max_wait:
                self._close(f"{self.host} has answered nothing but {what} for {row:.0f} s", until)
            elif told and until - now > self._max_wait:
                self._close(f"{self.host} asks for a pause until {utc_text(until)} ({what})", until)
            elif until > self._shut_until:
                if self._shut_until <= now:
                    log.warning("%s: %s, pausing %.1f s", self.host, what, until - now)
                self._shut_until = until

    def ban(self, until: float, *, remembered: bool = False) -> None:
        """HTTP 418: shut until that epoch second. Closed for this run when that is beyond the wait limit."""
        with self._lock:
            now = self._clock.time()
            if until <= max(now, self._shut_until):
                return
            self._shut_until = until
            until_text = utc_text(math.ceil(until))
            if until - now > self._max_wait:
                self._close(f"{self.host} has banned this IP address until {until_text}", until)
            else:
                log.warning("%s: this IP address is banned until %s, waiting %.0f s", self.host, until_text, until - now)
        if self._on_ban is not None and not remembered:
            self._on_ban(self.host, until)

    def close(self, error: SourceError) -> None:
        """The host refuses for good (403, 451) or is given up: every later `wait` raises this error."""
        with self._lock:
            self._closed = self._closed or error

    def _remaining(self) -> float:
        return max(0.0, self._shut_until - self._clock.time())

    def _close(self, message: str, until: float) -> None:
        hint = (
            f"run again after {utc_text(math.ceil(until))}, or allow a longer wait with --max-ban-wait (now {self._max_wait:g} s)"
        )
        self._closed = self._closed or SourceRefused(message, reason="banned", hint=hint)


class RateLimiter:
    """One budget of weight per rolling window, shared by all threads; it yields to refusals and recovers by itself."""

    def __init__(self, policy: LimitPolicy, gate: Gate, clock: Clock) -> None:
        self._policy = policy
        self._gate = gate
        self._clock = clock
        self._lock = threading.Lock()
        self._full = float(policy.max_weight) if policy.max_weight is not None else None
        self._base = self._full
        """The budget at `_restarted`; it grows from there until it is full again."""
        self._restarted = clock.monotonic()
        self._penalised = self._restarted - 1.0
        self._spent: deque[tuple[float, float]] = deque()
        self._total = 0.0
        self._next_grant = self._restarted
        self._waited = 0.0

    @property
    def waited_seconds(self) -> float:
        """Time that callers spent waiting here, summed over threads."""
        with self._lock:
            return self._waited

    def budget(self) -> float | None:
        """The weight per window in force now; None when there is only a spacing."""
        with self._lock:
            return self._budget(self._clock.monotonic())

    def acquire(self, weight: float, stop: threading.Event | None = None) -> float:
        """Wait for permission to send a request of that weight; the monotonic time at which it was granted.

        The gate's error when the host is closed to this run, Interrupted when `stop` is set.
        """
        while True:
            check(stop)
            shut = self._gate.wait()
            if shut > 0:
                self._gate.countdown(shut)
                # Short naps: the countdown goes on, and a gate that is closed for good meanwhile ends the wait.
                self._sleep(min(shut, _COUNTDOWN_EVERY), stop)
                continue
            with self._lock:
                now = self._clock.monotonic()
                pause = self._pause(now, weight)
                if pause <= 0:
                    self._grant(now, weight)
                    return now
            self._sleep(pause, stop)

    def observe(self, used: int) -> None:
        """Take over the host's own count of used weight when it is higher: others share this IP address."""
        if self._full is None or used < 0:
            return
        with self._lock:
            now = self._clock.monotonic()
            self._expire(now)
            unseen = used - self._total
            if unseen > 0:
                self._spent.append((now, unseen))
                self._total += unseen

    def announce(self, limit: int) -> None:
        """The host says its limit per minute: stay under it, whatever was configured."""
        if self._full is None or self._base is None or limit <= 0:
            return
        with self._lock:
            self._full = min(self._full, max(2.0, limit * self._policy.announced_share))
            self._base = min(self._base, self._full)

    def penalise(self, granted_at: float) -> None:
        """A request granted at that time was refused: cut the budget, once for all requests that were under way together."""
        if self._full is None:
            return
        with self._lock:
            if granted_at <= self._penalised:
                return
            now = self._clock.monotonic()
            budget = self._budget(now)
            self._base = max(2.0, (budget or 2.0) * self._policy.restart_share)
            self._penalised = now
            self._restarted = now + self._gate.remaining()

    def _sleep(self, seconds: float, stop: threading.Event | None) -> None:
        self._clock.sleep(seconds, stop)
        with self._lock:
            self._waited += seconds

    def _budget(self, now: float) -> float | None:
        if self._full is None or self._base is None:
            return None
        steps = max(0, int((now - self._restarted) / self._policy.recovery_every))
        return min(self._full, self._base + steps * self._policy.recovery_share * self._full)

    def _expire(self, now: float) -> None:
        horizon = now - self._policy.window - self._policy.jitter_margin
        while self._spent and self._spent[0][0] <= horizon:
            self._total -= self._spent.popleft()[1]
        if not self._spent:
            self._total = 0.0

    def _pause(self, now: float, weight: float) -> float:
        pause = self._next_grant - now
        budget = self._budget(now)
        if budget is None:
            return pause
        self._expire(now)
        excess = self._total + weight - budget
        if excess > 0 and self._spent:
            # As much of the oldest weight must leave the window as stands in the way now.
            leaves = now
            for sent, amount in self._spent:
                leaves = sent + self._policy.window + self._policy.jitter_margin
                excess -= amount
                if excess <= 0:
                    break
            pause = max(pause, leaves - now)
        return pause

    def _grant(self, now: float, weight: float) -> None:
        spacing = self._policy.spacing
        budget = self._budget(now)
        if budget is not None and self._full is not None:
            self._spent.append((now, weight))
            self._total += weight
            if budget < self._full:
                # While recovering, requests are spread over the window: the end of a pause is no starting gun.
                spacing = max(spacing, weight * self._policy.window / budget)
        self._next_grant = now + spacing
