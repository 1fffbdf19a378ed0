"""The retry rule: how often a failed request is tried again, and how long to wait before each attempt.

It is hand-made. urllib3's Retry works inside one request, so it could neither share one pause among all threads, nor count the
wait for a ban against a deadline, nor look at the content of a response.
"""

from __future__ import annotations

import logging
import threading

from cryptoservice.binance.http.responses import Transient
from cryptoservice.clock import Clock
from cryptoservice.config import RetryConfig

log = logging.getLogger(__name__)


class Retries:
    """The attempts of one call. Waiting for a limit or for a ban is no attempt and uses none up."""

    def __init__(self, config: RetryConfig, clock: Clock, stop: threading.Event) -> None:
        self._config = config
        self._clock = clock
        self._stop = stop
        self._failed = 0

    @property
    def attempts(self) -> int:
        """How many attempts have failed."""
        return self._failed

    @property
    def are_used_up(self) -> bool:
        """True when the last failure was that of the last attempt."""
        return self._failed > self._config.max_retries

    def failed(self) -> None:
        """Count a failed attempt."""
        self._failed += 1

    def wait(self, what: str, trouble: Transient) -> float:
        """Wait before the next attempt; the seconds waited. Interrupted when the run is asked to stop."""
        delay = delay_before(self._failed - 1, self._config, self._clock.random(), patience=trouble.patience)
        log.info("%s: %s, next attempt in %.1f s", what, trouble, delay)
        self._clock.sleep(delay, self._stop)
        return delay


def delay_before(retry: int, config: RetryConfig, chance: float, *, patience: float = 1.0) -> float:
    """Seconds before retry number `retry` (from 0): exponential, and with jitter between half and all of that.

    `chance` is a number in [0, 1). `patience` multiplies the delay for trouble that wants more time; `max_delay` is the limit
    all the same.
    """
    try:
        full = min(config.max_delay, patience * config.base_delay * config.backoff_multiplier**retry)
    except OverflowError:
        full = config.max_delay if config.base_delay else 0.0
    return full * (0.5 + chance / 2) if config.jitter else full
