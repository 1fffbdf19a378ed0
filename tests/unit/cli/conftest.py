"""What `main` changes in its process is as before after each test: the package's logger and the signal handlers."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

from cryptoservice.progress import use_display


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    logger = logging.getLogger("cryptoservice")
    logging_before = (list(logger.handlers), logger.level, logger.propagate)
    signals_before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    logger.handlers[:], logger.propagate = logging_before[0], logging_before[2]
    logger.setLevel(logging_before[1])
    use_display(None)
    for number, handler in signals_before.items():
        signal.signal(number, handler)
