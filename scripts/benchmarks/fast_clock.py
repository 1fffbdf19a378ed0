"""`python fast_clock.py 10 2026-03-01T03:30:00+00:00 universe download ...`: the real command on a clock that is so much faster.

A wait of five minutes lasts half a minute then, and so everything else seems to take ten times as long.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cryptoservice.cli.main import main
from cryptoservice.clock import Clock


class FastClock(Clock):
    """Starts at a given time, and runs a given number of times as fast as the machine's."""

    def __init__(self, factor: float, start: datetime) -> None:
        self._factor = factor
        self._start = start.timestamp()
        self._began = time.monotonic()

    def time(self) -> float:
        return self._start + self.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self._factor

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
        super().sleep(seconds / self._factor, stop)


if __name__ == "__main__":
    code = main(sys.argv[3:], clock=FastClock(float(sys.argv[1]), datetime.fromisoformat(sys.argv[2])))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
