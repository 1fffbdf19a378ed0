"""How far a run is: one updating line on a terminal, sampled lines in a log. Never on stdout."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from typing import TextIO

from cryptoservice.clock import Clock

log = logging.getLogger(__name__)

_STEPS = 20
_LOG_EVERY = 30.0
_REDRAW_EVERY = 0.2
_QUIET_SECONDS = 2.0

Gauge = Callable[[], Mapping[str, float]]
"""Figures to show beside the count: `requests`, `waited_seconds`, and `pause_seconds` while a host keeps the run waiting."""

_NO_NETWORK: Mapping[str, float] = {"requests": 0, "waited_seconds": 0.0, "pause_seconds": 0.0}


class Display:
    """The one line of a terminal that is drawn over and over. Log lines pass above it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""
        # Threads log while the main one draws.
        self._lock = threading.RLock()

    def show(self, line: str) -> None:
        """Draw this line in place of the one before."""
        with self._lock:
            self._line = line[: self._columns() - 1]
            self._stream.write("\r" + self._line + "\x1b[K")
            self._stream.flush()

    def clear(self) -> None:
        """Leave an empty line."""
        with self._lock:
            if self._line:
                self._stream.write("\r\x1b[K")
                self._stream.flush()
                self._line = ""

    def write_above(self, text: str) -> None:
        """Write a line that stays, and draw the progress below it again."""
        with self._lock:
            line = self._line
            self.clear()
            self._stream.write(text + "\n")
            self._stream.flush()
            if line:
                self.show(line)

    def _columns(self) -> int:
        """The width of this very terminal: stdout may be a file."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return max(20, columns or shutil.get_terminal_size().columns)


_display: Display | None = None


def use_display(display: Display | None) -> None:
    """Draw on this terminal from now on; None for log lines. A process has one terminal, hence one display."""
    global _display  # noqa: PLW0603
    _display = display


class Progress:
    """Counts finished units of one stage. Work that is over within two seconds says nothing."""

    def __init__(self, stage: str, unit: str, total: int, clock: Clock, gauge: Gauge | None = None) -> None:
        self._stage = stage
        self._unit = unit
        self._total = total
        self._clock = clock
        self._gauge = gauge
        self._done = 0
        self._rows = 0
        self._started = clock.monotonic()
        self._drawn_at = self._started
        self._said_at = self._started
        self._said_done = 0

    def advance(self, count: int = 1, rows: int = 0) -> None:
        """So many more units, and rows, are finished."""
        self._done += count
        self._rows += rows
        self.tick()

    def tick(self) -> None:
        """Time has passed: show what is due."""
        now = self._clock.monotonic()
        if now - self._started < _QUIET_SECONDS:
            return
        if _display is not None:
            if now - self._drawn_at >= _REDRAW_EVERY:
                self._drawn_at = now
                _display.show(self._text(now))
            return
        step = (self._done - self._said_done) * _STEPS >= self._total and self._done > self._said_done
        if step or now - self._said_at >= _LOG_EVERY:
            self._said_at, self._said_done = now, self._done
            log.info("%s", self._text(now), extra={"fields": self._fields(now)})

    def end(self) -> None:
        """The stage is over: its line goes, whatever it showed."""
        if _display is not None:
            _display.clear()

    def _fields(self, now: float) -> dict[str, object]:
        elapsed = now - self._started
        left = self._total - self._done
        return {
            "event": "progress",
            "stage": self._stage,
            "unit": self._unit,
            "done": self._done,
            "total": self._total,
            "rows": self._rows,
            "rows_per_second": round(self._rows / elapsed),
            "elapsed_seconds": round(elapsed, 1),
            "eta_seconds": round(elapsed * left / self._done, 1) if self._done else None,
            **(self._gauge() if self._gauge is not None else _NO_NETWORK),
        }

    def _text(self, now: float) -> str:
        fields = self._fields(now)
        share = 100 * self._done // max(1, self._total)
        parts = [f"{self._stage}: {self._done:,} of {self._total:,} {self._unit} ({share} %)"]
        if self._rows:
            parts.append(f"{fields['rows_per_second']:,} rows/s")
        for name, unit in (("requests", "requests"), ("waited_seconds", "s waited")):
            value = fields.get(name)
            if isinstance(value, (int, float)) and value >= 1:
                parts.append(f"{value:,.0f} {unit}")
        pause = fields.get("pause_seconds")
        eta = fields["eta_seconds"]
        if isinstance(pause, float) and pause >= 1:
            parts.append(f"paused by the host, {pause:.0f} s to go")
        elif isinstance(eta, float) and self._done < self._total:
            parts.append(f"about {_duration(eta)} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
