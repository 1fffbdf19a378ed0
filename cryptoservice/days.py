"""UTC days: their text, their milliseconds, and inclusive windows of days."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from typing import NamedTuple

from cryptoservice.errors import UsageError
from cryptoservice.models import DAY_MS

ONE_DAY = timedelta(days=1)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_DAY_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
# Binance opened in July 2017. An older date is a mistake, and would cost a request for every 499 empty days.
_EARLIEST = date(2017, 1, 1)
_LATEST = date(2100, 12, 31)
FORM_HINT = "write it as YYYY-MM-DD"
_AGO_FORM = re.compile(r"([0-9]{1,5})d\Z")


def parse_day(value: str | date, what: str) -> date:
    """The UTC day that `value` names: YYYY-MM-DD, a date, or a datetime or pandas Timestamp at midnight UTC.

    A datetime without a time zone is in UTC. Raises UsageError, in which `what` says where the value stood.
    """
    if isinstance(value, datetime):
        day = _day_of_datetime(value, what)
    elif isinstance(value, date):
        day = date(value.year, value.month, value.day)
    elif isinstance(value, str) and _DAY_FORM.match(value):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise UsageError(f"{what}: {value} is not a day of the calendar", hint=FORM_HINT) from None
    else:
        raise UsageError(f"{what}: {shorten(value)} is not a date", hint=FORM_HINT)
    if day < _EARLIEST:
        raise UsageError(f"{what}: {day} is before any Binance market", hint=f"the earliest accepted day is {_EARLIEST}")
    if day > _LATEST:
        raise UsageError(f"{what}: {day} is too far ahead", hint=f"the latest accepted day is {_LATEST}")
    return day


def relative_day(text: str, today: date) -> date | None:
    """The day that `yesterday` or `7d` means, the day before `today` or seven days before it; None for any other text."""
    ago = _AGO_FORM.match("1d" if text == "yesterday" else text)
    return None if ago is None else today - timedelta(int(ago[1]))


def _day_of_datetime(value: datetime, what: str) -> date:
    """The UTC day that begins at that moment. A time of day is refused: whoever gives one expects it to count."""
    # NaT of pandas is a datetime, too. Like NaN it does not equal itself.
    if value != value:  # noqa: PLR0124
        raise UsageError(f"{what}: {value} is not a date", hint=FORM_HINT)
    try:
        moment = value if value.utcoffset() is None else value.astimezone(timezone.utc)
    except (OverflowError, ValueError):
        raise UsageError(f"{what}: {value} has no day in UTC", hint=FORM_HINT) from None
    # A Timestamp has nanoseconds, of which its time() says nothing.
    if moment.time() != time() or getattr(moment, "nanosecond", False):
        raise UsageError(f"{what}: {value} is not the beginning of a UTC day", hint="give a day without a time of day")
    return date(moment.year, moment.month, moment.day)


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
    def parse(cls, start: str | date, end: str | date) -> Window:
        """The window of two days (`parse_day`). Raises UsageError when one is not a day, and when they are reversed."""
        window = cls(parse_day(start, "start date"), parse_day(end, "end date"))
        if window.end < window.start:
            raise UsageError(f"the end date {window.end} lies before the start date {window.start}", hint="swap the two dates")
        return window

    @classmethod
    def between(cls, start: str | date | None, end: str | date | None) -> Window:
        """The window of two days, of which None leaves that side open. Raises UsageError as `parse` does."""
        return cls.parse(_EARLIEST if start is None else start, _LATEST if end is None else end)


def month_of(day: date) -> date:
    """The first day of that day's month."""
    return day.replace(day=1)


def month_end(day: date) -> date:
    """The last day of that day's month."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - ONE_DAY
