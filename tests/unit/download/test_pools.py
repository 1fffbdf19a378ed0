"""The lanes of a download: every end is reported, whatever goes wrong."""

from __future__ import annotations

import logging
import queue
import sys
from datetime import date
from typing import Any

import pytest

from cryptoservice.binance.archive_files import ArchiveFile, VerifiedZip
from cryptoservice.download.pools import Arrivals, DecodePool, Task
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.evidence import Source
from cryptoservice.sources.fetches import Fetch

DAY = date(2026, 2, 1)
EMPTY = (
    Task(None, Fetch(Source.DAILY, "BTCUSDT", (DAY,)), 1),
    VerifiedZip(ArchiveFile.daily(Dataset.KLINES, "BTCUSDT", Freq.m5, DAY), b"", "", None, 0.0),
)


def test_a_reading_that_fails_after_its_helper_was_lost_arrives_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both happen for lack of memory. An end that nobody hears of would keep the run waiting for ever."""

    def without_memory(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(lanes, "decode", without_memory)
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    arrivals: Arrivals[None] = queue.SimpleQueue()
    lane: DecodePool[None] = DecodePool(arrivals)
    try:
        lane.add(*EMPTY)
        assert isinstance(arrivals.get(timeout=10).outcome, MemoryError)
    finally:
        lane.close()


def test_helpers_that_cannot_be_started_are_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each of a hundred thousand objects."""
    told: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "handlers", [handler])
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    arrivals: Arrivals[None] = queue.SimpleQueue()
    lane: DecodePool[None] = DecodePool(arrivals)
    try:
        for _ in range(3):
            lane.add(*EMPTY)
            assert isinstance(arrivals.get(timeout=10).outcome, dict)
            lane.finished()
    finally:
        lane.close()
    assert len(told) == 1, told
