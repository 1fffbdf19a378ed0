"""Shows how far a run is: as one line on a terminal that changes, or as a few lines in a log. Nothing goes to stdout.

The progress line is hand-made because a package for it would be one more dependency for a single line of text.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TextIO

from cryptoservice.clock import Clock

log = logging.getLogger(__name__)

# A stage logs a line for each twentieth of its units, and at least every thirty seconds.
_LOG_STEPS = 20
_LOG_SECONDS = 30.0
_REDRAW_SECONDS = 0.2
_QUIET_SECONDS = 2.0

Gauge = Callable[[], Mapping[str, float]]
"""Gives the figures beside the count: `requests`, `waited_seconds`, and `pause_seconds` for which a host pauses the run."""

_NO_NETWORK: Mapping[str, float] = {"requests": 0, "waited_seconds": 0.0, "pause_seconds": 0.0}


@dataclass(frozen=True)
class ProgressEvent:
    """How far one stage of a run is."""

    stage: str
    """What is done: `define`, `download`, `export`, `verify`, `repair`, `lock` or `audit`."""
    unit: str
    """What is counted: `symbol-days`, or `series` in an audit."""
    done: int
    total: int
    rows: int
    """Rows that were stored, written or checked so far."""
    elapsed: float
    """Seconds since the stage began."""


Report = Callable[[ProgressEvent], None]
"""Receives the progress of a run, in the thread that runs it. What it raises ends the run, as Ctrl-C would."""


class Display:
    """The line of a terminal that is drawn again and again. Log lines appear above it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""
        # Other threads write log lines while the main thread draws.
        self._lock = threading.RLock()

    def show(self, line: str) -> None:
        """Draw this line in the place of the one before it."""
        with self._lock:
            self._line = line[: self._columns() - 1]
            self._send("\r" + self._line + "\x1b[K")

    def clear(self) -> None:
        """Make the line empty."""
        with self._lock:
            if self._line:
                self._send("\r\x1b[K")
                self._line = ""

    def write_above(self, text: str) -> None:
        """Write a line that stays, and draw the progress line again below it."""
        with self._lock:
            line = self._line
            self.clear()
            self._send(text + "\n")
            if line:
                self.show(line)

    def _send(self, text: str) -> None:
        # A terminal may be gone while the work goes on, as after `nohup`: nobody needs to read how far it is.
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()

    def _columns(self) -> int:
        """The width of the terminal behind this stream, since stdout may be a file."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 0
        return max(20, columns or shutil.get_terminal_size().columns)


_display: Display | None = None


def use_display(display: Display | None) -> None:
    """Show progress on this display from now on, or in the log with None. A process has one terminal, hence one display."""
    global _display  # noqa: PLW0603
    _display = display


class Progress:
    """Counts the finished units of one stage. A stage that ends within two seconds shows nothing.

    `report` is told more: that the stage begins, how far it is at most five times a second, and that all units are finished.
    """

    def __init__(
        self, stage: str, unit: str, total: int, clock: Clock, gauge: Gauge | None = None, report: Report | None = None
    ) -> None:
        self._stage = stage
        self._unit = unit
        self._total = total
        self._clock = clock
        self._gauge = gauge
        self._done = 0
        self._rows = 0
        self._started = clock.monotonic()
        self._drawn_at = self._started
        self._logged_at = self._started
        self._logged_done = 0
        self._report = report
        self._tell(self._started)

    def advance(self, count: int = 1, rows: int = 0) -> None:
        """Count so many more finished units and rows, and show what is due."""
        self._done += count
        self._rows += rows
        self.tick()
        if count and self._done >= self._total:
            self._tell(self._clock.monotonic())

    def tick(self) -> None:
        """Show what is due after the time that has passed."""
        now = self._clock.monotonic()
        if self._done < self._total and now - self._told_at >= _REDRAW_SECONDS:
            self._tell(now)
        if now - self._started < _QUIET_SECONDS:
            return
        if _display is not None:
            if now - self._drawn_at >= _REDRAW_SECONDS:
                self._drawn_at = now
                _display.show(self._text(now))
            return
        step = (self._done - self._logged_done) * _LOG_STEPS >= self._total and self._done > self._logged_done
        if step or now - self._logged_at >= _LOG_SECONDS:
            self._logged_at, self._logged_done = now, self._done
            log.info("%s", self._text(now), extra={"fields": self._fields(now)})

    def _tell(self, now: float) -> None:
        self._told_at = now
        if self._report is not None:
            self._report(ProgressEvent(self._stage, self._unit, self._done, self._total, self._rows, now - self._started))

    def end(self) -> None:
        """End the stage and remove its line from the terminal."""
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
