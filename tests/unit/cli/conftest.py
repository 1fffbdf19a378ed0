"""What `main` changes in its process is as before after each test: the package's logger and the signal handlers.

And no variable of the developer stands for a flag.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

from cryptoservice.cli.flags.shared import VARIABLES
from cryptoservice.progress import use_display


@pytest.fixture(autouse=True)
def _process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    logger = logging.getLogger("cryptoservice")
    logging_before = (list(logger.handlers), logger.level, logger.propagate)
    signals_before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    logger.handlers[:], logger.propagate = logging_before[0], logging_before[2]
    logger.setLevel(logging_before[1])
    use_display(None)
    for number, handler in signals_before.items():
        signal.signal(number, handler)
