"""How fast requests may go: one adaptive budget for each limit that a host keeps.

The budget is hand-made because its requests have weights, the host reports weight that others used, and refusals must cut it.
It computes a wait under its lock, and the caller sleeps outside the lock. All times are seconds of the injected clock.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass

from cryptoservice.binance.http.bans import COUNTDOWN_EVERY, Gate
from cryptoservice.binance.http.counters import WaitingTime
from cryptoservice.clock import Clock, raise_if_stopped


@dataclass(frozen=True)
class LimitPolicy:
    """The numbers of one budget: how much it allows, how it yields to refusals, and how it recovers."""

    max_weight: int | None
    """Weight per rolling window; None means that only the spacing of the host holds."""
    window: float = 60.0
    jitter_margin: float = 1.0
    """Seconds added to the window: two requests that leave a minute apart can arrive a little closer together."""
    restart_share: float = 0.5
    """A refusal cuts the budget to this share of what it was."""
    recovery_share: float = 0.1
    """Share of the full budget that comes back after each `recovery_every` without a refusal."""
    recovery_every: float = 60.0
    """Seconds."""
    announced_share: float = 0.9
    """The budget uses at most this share of the limit that the host itself announces."""

    def seconds_for(self, weight: float) -> float:
        """The least time in which so much weight can be granted, to a budget of which nothing has been used yet."""
        if self.max_weight is None:
            return 0.0
        return max(0, math.ceil(weight / self.max_weight) - 1) * (self.window + self.jitter_margin)


class Spacing:
    """The shortest time in seconds between two requests to one host, over all threads and over all budgets that share it."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.lock = threading.Lock()
        """The lock of every budget that shares this spacing: a grant changes both at once."""
        self.next_grant = -math.inf


class Paused(Exception):
    """The host pauses the run, and the caller would not wait for the end of that."""


class RateLimiter:
    """One budget of request weight per rolling window, shared by all threads. A refusal cuts it, and it recovers with time.

    All budgets of one host are given the same `spacing`, and those of a run the same `waiting` time.
    """

    def __init__(
        self, policy: LimitPolicy, gate: Gate, clock: Clock, spacing: Spacing | None = None, waiting: WaitingTime | None = None
    ) -> None:
        self._policy = policy
        self._gate = gate
        self._clock = clock
        self._spacing = spacing or Spacing()
        self._lock = self._spacing.lock
        self._full = float(policy.max_weight) if policy.max_weight is not None else None
        self._base = self._full
        """The budget at the time `_restarted`; from there it grows until it is full again."""
        self._restarted = clock.monotonic()
        self._penalised = self._restarted - 1.0
        self._spent: deque[tuple[float, float]] = deque()
        self._total = 0.0
        self._next_grant = self._restarted
        self._waiting = waiting or WaitingTime(clock)
        self._wakes: list[float] = []
        """When each thread that waits for the budget, and not only for the spacing, will try again."""

    @property
    def waited_seconds(self) -> float:
        """The time during which a thread was waiting, here or at another budget with the same waiting time."""
        return self._waiting.seconds

    @property
    def full_until(self) -> float | None:
        """When the first of the threads that wait for the budget goes on (epoch seconds); None when none waits."""
        with self._lock:
            return self._clock.time() + min(self._wakes) - self._clock.monotonic() if self._wakes else None

    def seconds_for(self, weight: float) -> float:
        """Seconds until so much more weight has been granted, if only the budget holds it up."""
        with self._lock:
            now = self._clock.monotonic()
            budget = self._budget(now)
            if budget is None or weight <= 0:
                return 0.0
            self._expire(now)
            length = self._policy.window + self._policy.jitter_margin
            # What is granted comes back one window later: whole budgets take whole windows, and the rest what leaves before.
            windows = max(0, math.ceil(weight / budget) - 1)
            rest, leaves = weight - windows * budget - (budget - self._total), now
            for sent, amount in self._spent:
                if rest <= 0:
                    break
                rest -= amount
                leaves = sent + length
            return leaves - now + windows * length

    def budget(self) -> float | None:
        """The weight per window that is allowed now; None when only the spacing holds."""
        with self._lock:
            return self._budget(self._clock.monotonic())

    def acquire(self, weight: float, stop: threading.Event | None = None, *, waits_out_pauses: bool = True) -> float:
        """Wait until a request of that weight may be sent. Returns the monotonic time of the grant.

        Raises the gate's error when the host is closed to this run, and Interrupted when `stop` is set. Without
        `waits_out_pauses` it raises Paused when the host pauses the run, before the wait or in the midst of it.
        """
        while True:
            raise_if_stopped(stop)
            shut = self._gate.wait()
            if shut > 0 and not waits_out_pauses:
                raise Paused
            if shut > 0:
                self._gate.countdown(shut)
                # Short sleeps keep the countdown going, and notice a gate that is closed meanwhile.
                with self._waiting:
                    self._clock.sleep(min(shut, COUNTDOWN_EVERY), stop)
                continue
            with self._lock:
                now = self._clock.monotonic()
                spaced, full = self._spaced(now), self._full_for(now, weight)
                if max(spaced, full) <= 0:
                    self._grant(now, weight)
                    return now
                if full > spaced:
                    self._wakes.append(now + full)
            try:
                with self._waiting:
                    self._clock.sleep(max(spaced, full), stop)
            finally:
                if full > spaced:
                    with self._lock:
                        self._wakes.remove(now + full)

    def observe(self, used: int) -> None:
        """Take over the host's own count of used weight where it is higher than ours: others may share this IP address."""
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
        """Stay under the limit per minute that the host announces, whatever was configured."""
        if self._full is None or self._base is None or limit <= 0:
            return
        with self._lock:
            self._full = min(self._full, max(2.0, limit * self._policy.announced_share))
            self._base = min(self._base, self._full)

    def penalise(self, granted_at: float) -> None:
        """Cut the budget, because the request granted at that time was refused.

        Requests that were under way together cut it once: a grant older than the last cut changes nothing.
        """
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

    def _spaced(self, now: float) -> float:
        """Seconds until the next grant may follow the last one."""
        return max(self._next_grant, self._spacing.next_grant) - now

    def _full_for(self, now: float, weight: float) -> float:
        """Seconds until the budget has room for that weight; 0 when it has."""
        budget = self._budget(now)
        if budget is None:
            return 0.0
        self._expire(now)
        excess = self._total + weight - budget
        if excess > 0 and self._spent:
            # Wait until enough of the oldest weight has left the window.
            leaves = now
            for sent, amount in self._spent:
                leaves = sent + self._policy.window + self._policy.jitter_margin
                excess -= amount
                if excess <= 0:
                    break
            return leaves - now
        return 0.0

    def _grant(self, now: float, weight: float) -> None:
        self._spacing.next_grant = self._next_grant = now + self._spacing.seconds
        budget = self._budget(now)
        if budget is not None and self._full is not None:
            self._spent.append((now, weight))
            self._total += weight
            if budget < self._full:
                # During recovery requests are spread over the window, so that not all threads start at once after a pause.
                self._next_grant = now + weight * self._policy.window / budget
