"""`python -m tests.e2e.at_time 2026-03-01T12:00:00+00:00 universe download ...`: the real command at another time."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime

from cryptoservice.cli.main import main
from cryptoservice.clock import Clock


class ShiftedClock(Clock):
    """The machine's clock, moved by a fixed amount."""

    def __init__(self, start: datetime) -> None:
        self._shift = start.timestamp() - time.time()

    def time(self) -> float:
        return time.time() + self._shift


if __name__ == "__main__":
    code = main(sys.argv[2:], clock=ShiftedClock(datetime.fromisoformat(sys.argv[1])))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
