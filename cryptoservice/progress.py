"""Shows how far a run is: as one line on a terminal that changes, or as a few lines in a log. Nothing goes to stdout.

The progress line is hand-made because a package for it would be one more dependency for a single line of text.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TextIO

from cryptoservice.clock import Clock
from cryptoservice.days import utc_text

log = logging.getLogger(__name__)

# A stage logs a line for each twentieth of its units, and at least every thirty seconds.
_LOG_STEPS = 20
_LOG_SECONDS = 30.0
_REDRAW_SECONDS = 0.2
_QUIET_SECONDS = 2.0
# The time left goes by the pace of the last third of a stage, and of this time at least.
_RECENT_SECONDS = 10.0
_RECENT_SHARE = 1 / 3
_SAMPLE_SECONDS = 0.5
# A wait for a budget is worth a word from the first of these on, and a line of its own from the second on.
_SHORT_WAIT = 1.0
_LONG_WAIT = 10.0
# As people call a dataset, where that is not its name.
_PART_NAMES = {"funding_rates": "funding"}

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
    seconds_left: float | None = None
    """About how many seconds the rest takes; None when nobody can say, or nothing is left."""


@dataclass(frozen=True)
class Outlook:
    """What a stage knows of itself beside the count of its units."""

    seconds_left: float | None = None
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Units that are done and all of them, by the name of each part."""
    requests: int | None = None
    """All requests of the stage, as far as they can be foretold."""
    rows: int | None = None
    """All rows of the stage, as far as they can be foretold."""
    full_until: Mapping[str, float] = field(default_factory=dict)
    """The parts that wait for their budget of requests, and until when (epoch seconds)."""


_NO_OUTLOOK = Outlook()


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
        self._unsettled = 0
        self._started = clock.monotonic()
        self._drawn_at = self._started
        self._logged_at = self._started
        self._logged_done = 0
        self._samples: deque[tuple[float, int]] = deque([(self._started, 0)])
        """How much was done when, in the recent past."""
        self._outlook: Callable[[], Outlook] | None = None
        self._said_until = 0.0
        """The end of the last wait for a budget that was spoken of (epoch seconds)."""
        self._report = report
        self._tell(self._started)

    def foretell(self, outlook: Callable[[], Outlook]) -> None:
        """Take the time left, and what else there is to say, from somebody who knows more of the stage than its count."""
        self._outlook = outlook

    def advance(self, count: int = 1, rows: int = 0, unsettled: int = 0) -> None:
        """Count so many more finished units and rows, and show what is due. `unsettled` of the units did not come out well."""
        self._done += count
        self._rows += rows
        self._unsettled += unsettled
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
                _display.show(self._text(now, self._ahead(now)))
            return
        step = (self._done - self._logged_done) * _LOG_STEPS >= self._total and self._done > self._logged_done
        if step or now - self._logged_at >= _LOG_SECONDS or self._begins_to_wait(now):
            self._logged_at, self._logged_done = now, self._done
            outlook = self._ahead(now)
            log.info("%s", self._text(now, outlook), extra={"fields": self._fields(now, outlook)})

    def _begins_to_wait(self, moment: float) -> bool:
        """Whether a budget is full that was not when it was last spoken of, and stays so for a while."""
        if self._outlook is None or moment - self._drawn_at < _REDRAW_SECONDS:
            return False
        self._drawn_at = moment
        latest = max(self._outlook().full_until.values(), default=0.0)
        now = self._clock.time()
        is_news = self._said_until < now and latest - now >= _LONG_WAIT
        if is_news:
            self._said_until = latest
        return is_news

    def _ahead(self, now: float) -> Outlook:
        """What lies ahead: as it was foretold, else by the pace of the recent past."""
        if self._outlook is not None:
            return self._outlook()
        if now - self._samples[-1][0] >= _SAMPLE_SECONDS or len(self._samples) == 1:
            self._samples.append((now, self._done))
        recent = max(_RECENT_SECONDS, _RECENT_SHARE * (now - self._started))
        while len(self._samples) > 2 and self._samples[1][0] <= now - recent:
            self._samples.popleft()
        since, before = self._samples[0]
        if self._done == before:
            since, before = self._started, 0
        return Outlook((now - since) * (self._total - self._done) / (self._done - before)) if self._done else _NO_OUTLOOK

    def _tell(self, now: float) -> None:
        self._told_at = now
        if self._report is not None:
            left = self._ahead(now).seconds_left if 0 < self._done < self._total else None
            counts = (self._done, self._total, self._rows)
            self._report(ProgressEvent(self._stage, self._unit, *counts, now - self._started, left))

    def end(self) -> None:
        """End the stage and remove its line from the terminal."""
        if _display is not None:
            _display.clear()

    def _fields(self, now: float, outlook: Outlook) -> dict[str, object]:
        elapsed = now - self._started
        return {
            "event": "progress",
            "stage": self._stage,
            "unit": self._unit,
            "done": self._done,
            "total": self._total,
            "unsettled": self._unsettled,
            "rows": self._rows,
            "rows_per_second": round(self._rows / elapsed),
            "elapsed_seconds": round(elapsed, 1),
            "eta_seconds": None if outlook.seconds_left is None else round(outlook.seconds_left, 1),
            **(self._gauge() if self._gauge is not None else _NO_NETWORK),
            "requests_planned": outlook.requests,
            "rows_planned": outlook.rows,
            "parts": {name: {"done": done, "total": total} for name, (done, total) in outlook.parts.items()},
            "full_until": {name: utc_text(until) for name, until in outlook.full_until.items()},
        }

    def _text(self, now: float, outlook: Outlook) -> str:
        """The count and the time left come first, since a narrow terminal cuts the line."""
        fields = self._fields(now, outlook)
        share = 100 * self._done // max(1, self._total)
        parts = [f"{self._stage}: {self._done:,} of {self._total:,} {self._unit} ({share} %)"]
        if self._unsettled:
            parts.append(f"{self._unsettled:,} of them not settled")
        pause = fields.get("pause_seconds")
        if isinstance(pause, float) and pause >= 1:
            parts.append(f"paused by the host, {pause:.0f} s to go")
        elif outlook.seconds_left is not None and self._done < self._total:
            parts.append(f"about {duration(outlook.seconds_left)} left")
        for name, until in outlook.full_until.items():
            if until - self._clock.time() >= _SHORT_WAIT:
                moment = datetime.fromtimestamp(until, timezone.utc)
                parts.append(f"{_PART_NAMES.get(name, name)}: budget full until {moment:%H:%M:%S} UTC")
        if len(outlook.parts) > 1:
            parts.extend(_part_text(_PART_NAMES.get(name, name), *counts) for name, counts in outlook.parts.items())
        if self._rows:
            parts.append(f"{fields['rows_per_second']:,} rows/s")
        for name, unit in (("requests", "requests"), ("waited_seconds", "s waited")):
            value = fields.get(name)
            if isinstance(value, (int, float)) and value >= 1:
                # Retries are not planned, and with many of them the number would say nothing.
                is_foretold = name == "requests" and outlook.requests is not None and value <= outlook.requests
                planned = f" of {outlook.requests:,}" if is_foretold else ""
                parts.append(f"{value:,.0f}{planned} {unit}")
        return ", ".join(parts)


def _part_text(name: str, done: int, total: int) -> str:
    """Such as `klines done` or `metrics 80 of 1,680`."""
    return f"{name} done" if done >= total else f"{name} {done:,} of {total:,}"


def duration(seconds: float) -> str:
    """Such as `1 h 05 min`, `2 min 30 s` or `7 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
