"""A clock whose time moves without waiting, and small builders that several test modules share."""

from __future__ import annotations

import csv
import io
import threading
import zipfile
from datetime import date
from functools import cache
from pathlib import Path

from cryptoservice.clock import Clock
from cryptoservice.errors import Interrupted

RECORDINGS = Path(__file__).parents[1] / "recordings"
RECORDED_SYMBOLS = ("ALGOUSDT", "AVAXUSDT", "LINKUSDT")
# 2026-02-01 00:00:00 UTC, as `date -d @1769904000` says.
FEBRUARY_MS = 1_769_904_000_000
FEBRUARY = date(2026, 2, 1)
MINUTE = 60_000
DAY = 86_400_000


class FakeClock(Clock):
    """A sleep takes no time and moves the clock. Sleeps of several threads overlap, as real ones do."""

    def __init__(self, epoch: float = 1_770_000_000.0, *, chance: float = 0.0) -> None:
        self._epoch = epoch
        self._now = 0.0
        self._chance = chance
        self._lock = threading.Lock()
        self.sleeps: list[float] = []

    def time(self) -> float:
        with self._lock:
            return self._epoch + self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._now

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
        if stop is not None and stop.is_set():
            raise Interrupted
        with self._lock:
            self.sleeps.append(seconds)
            wake = self._now + max(0.0, seconds)
            self._now = max(self._now, wake)

    def random(self) -> float:
        return self._chance

    def advance(self, seconds: float) -> None:
        """Let time pass without a sleep."""
        with self._lock:
            self._now += seconds


@cache
def recorded_csv(symbol: str) -> str:
    """The text of a recorded archive object, which holds the 1m klines of February 2026."""
    stem = f"{symbol}-1m-2026-02"
    with zipfile.ZipFile(RECORDINGS / "klines_1m" / f"{stem}.zip") as zipped:
        return zipped.read(f"{stem}.csv").decode("utf-8")


@cache
def recorded_fields(symbol: str) -> tuple[tuple[str, ...], ...]:
    """The data rows of that object as text fields, read with the csv module."""
    lines = csv.reader(io.StringIO(recorded_csv(symbol)))
    next(lines)
    return tuple(tuple(line) for line in lines)


def row_of(fields: tuple[str, ...]) -> tuple[int | float, ...]:
    """The twelve text fields of a line as the ten values of a row, made with int() and float() alone."""
    opened, high, low, close, volume, quote, taker, taker_quote = (float(fields[i]) for i in (1, 2, 3, 4, 5, 7, 9, 10))
    return (int(fields[0]), opened, high, low, close, volume, quote, int(fields[8]), taker, taker_quote)


@cache
def recorded_rows(symbol: str) -> tuple[tuple[int | float, ...], ...]:
    """All 40,320 rows of that object."""
    return tuple(row_of(fields) for fields in recorded_fields(symbol))


def kline(open_time: int, price: float = 1.0, volume: float = 2.0) -> tuple[int | float, ...]:
    """A kline whose four prices are equal."""
    return (open_time, price, price, price, price, volume, volume * price, 3, volume / 2, volume * price / 2)
