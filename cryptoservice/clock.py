"""Time, sleep and chance as one small object, so that tests can own all three."""

from __future__ import annotations

import random
import threading
import time

from cryptoservice.errors import Interrupted


class Clock:
    """The machine's clock. Tests pass a subclass that moves by itself."""

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean anything."""
        return time.monotonic()

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
        """Wait; Interrupted as soon as `stop` is set."""
        if stop is None:
            time.sleep(max(0.0, seconds))
        elif stop.wait(max(0.0, seconds)):
            raise Interrupted

    def random(self) -> float:
        """A number in [0, 1) for jitter; nothing secret hangs on it."""
        return random.random()  # noqa: S311


def check(stop: threading.Event | None) -> None:
    """Interrupted when the run was asked to stop."""
    if stop is not None and stop.is_set():
        raise Interrupted
