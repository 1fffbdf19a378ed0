"""The lanes of a download: every end is reported, whatever goes wrong."""

from __future__ import annotations

import queue
import sys
from datetime import date
from typing import Any

import pytest

from cryptoservice import lanes
from cryptoservice.binance.objects import ArchivedZip, ArchiveObject
from cryptoservice.lanes import Arrivals, ReadLane, Task
from cryptoservice.models import Dataset, Freq
from cryptoservice.plan import Fetch, Source

DAY = date(2026, 2, 1)


def test_a_reading_that_fails_after_its_helper_was_lost_arrives_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both happen for lack of memory. An end that nobody hears of would keep the run waiting for ever."""

    def without_memory(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(lanes, "witnesses_of", without_memory)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    arrivals: Arrivals[None] = queue.SimpleQueue()
    lane: ReadLane[None] = ReadLane(arrivals)
    source = ArchiveObject.daily(Dataset.KLINES, "BTCUSDT", Freq.m5, DAY)
    try:
        lane.add(Task(None, Fetch(Source.DAILY, "BTCUSDT", (DAY,)), 1), ArchivedZip(source, b"", "", None, 0.0))
        assert isinstance(arrivals.get(timeout=10).outcome, MemoryError)
    finally:
        lane.close()
