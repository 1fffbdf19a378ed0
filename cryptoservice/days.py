"""UTC days: their text, their milliseconds, and inclusive windows of days."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import NamedTuple

from cryptoservice.errors import UsageError
from cryptoservice.models import DAY_MS

ONE_DAY = timedelta(days=1)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_DAY_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
# Binance opened in July 2017. An older date is a mistake, and would cost a request for every 499 empty days.
_EARLIEST = date(2017, 1, 1)
_LATEST = date(2100, 12, 31)


def parse_day(text: str, what: str) -> date:
    """The UTC day that `text` (YYYY-MM-DD) names. Raises UsageError, in which `what` says where the text stood."""
    if not isinstance(text, str) or not _DAY_FORM.match(text):
        raise UsageError(f"{what}: {shorten(text)} is not a date", hint="write it as YYYY-MM-DD")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{what}: {text} is not a day of the calendar", hint="write it as YYYY-MM-DD") from None
    if day < _EARLIEST:
        raise UsageError(f"{what}: {text} is before any Binance market", hint=f"the earliest accepted day is {_EARLIEST}")
    if day > _LATEST:
        raise UsageError(f"{what}: {text} is too far ahead", hint=f"the latest accepted day is {_LATEST}")
    return day


def shorten(value: object, limit: int = 60) -> str:
    """A value as an error shows it: its repr, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def day_start_ms(day: date) -> int:
    """The epoch millisecond at which that UTC day begins."""
    return (day.toordinal() - _EPOCH_ORDINAL) * DAY_MS


def day_number(day: date) -> int:
    """The number of days from 1970-01-01 to that day."""
    return day.toordinal() - _EPOCH_ORDINAL


def day_of_number(number: int) -> date:
    """The day that lies so many days after 1970-01-01."""
    return date.fromordinal(number + _EPOCH_ORDINAL)


def day_of_ms(milliseconds: int) -> date:
    """The UTC day that an epoch millisecond lies in."""
    return date.fromordinal(milliseconds // DAY_MS + _EPOCH_ORDINAL)


def utc_day(seconds: float) -> date:
    """The UTC day of an epoch second."""
    return datetime.fromtimestamp(seconds, timezone.utc).date()


def utc_text(seconds: float) -> str:
    """An epoch second as ISO 8601 text in UTC, without its fraction: `2026-02-01T00:00:00+00:00`."""
    return datetime.fromtimestamp(int(seconds), timezone.utc).isoformat()


class Window(NamedTuple):
    """An inclusive range of UTC days."""

    start: date
    end: date

    def days(self) -> Iterator[date]:
        """Every day from start to end inclusive."""
        for ordinal in range(self.start.toordinal(), self.end.toordinal() + 1):
            yield date.fromordinal(ordinal)

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.start <= day <= self.end

    @property
    def length(self) -> int:
        """The number of days."""
        return self.end.toordinal() - self.start.toordinal() + 1

    @property
    def start_ms(self) -> int:
        """The first epoch millisecond of the window."""
        return day_start_ms(self.start)

    @property
    def end_ms(self) -> int:
        """The first epoch millisecond after the window."""
        return day_start_ms(self.end) + DAY_MS

    def to_dict(self) -> dict[str, str]:
        """The window as the JSON object of reports."""
        return {"start_date": self.start.isoformat(), "end_date": self.end.isoformat()}

    @classmethod
    def parse(cls, start: str, end: str) -> Window:
        """The window of two YYYY-MM-DD texts. Raises UsageError when one is not a day, and when they are reversed."""
        window = cls(parse_day(start, "start date"), parse_day(end, "end date"))
        if window.end < window.start:
            raise UsageError(f"the end date {window.end} lies before the start date {window.start}", hint="swap the two dates")
        return window


def month_of(day: date) -> date:
    """The first day of that day's month."""
    return day.replace(day=1)


def month_end(day: date) -> date:
    """The last day of that day's month."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - ONE_DAY
