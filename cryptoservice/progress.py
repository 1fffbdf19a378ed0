"""How far a run is: a line in the log every twentieth of the work, or every half minute."""

from __future__ import annotations

import logging

from cryptoservice.clock import Clock

log = logging.getLogger(__name__)

_STEPS = 20
_EVERY_SECONDS = 30.0
_QUIET_SECONDS = 2.0


class Progress:
    """Counts finished units of one stage. Work that is over within two seconds says nothing."""

    def __init__(self, stage: str, unit: str, total: int, clock: Clock) -> None:
        self._stage = stage
        self._unit = unit
        self._total = total
        self._clock = clock
        self._done = 0
        self._started = clock.monotonic()
        self._said_at = self._started
        self._said_done = 0

    def advance(self, count: int = 1) -> None:
        """So many more units are finished."""
        self._done += count
        now = self._clock.monotonic()
        if now - self._started < _QUIET_SECONDS:
            return
        step = (self._done - self._said_done) * _STEPS >= self._total
        if step or now - self._said_at >= _EVERY_SECONDS:
            self._said_at, self._said_done = now, self._done
            share = 100 * self._done // max(1, self._total)
            log.info("%s: %d of %d %s (%d %%)", self._stage, self._done, self._total, self._unit, share)
