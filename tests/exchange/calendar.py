"""UTC days as whole numbers: epoch milliseconds, days since 1970 and months."""

from __future__ import annotations

from datetime import date, timedelta

MINUTE_MS = 60_000
DAY_MS = 86_400_000
DAY_MINUTES = 1440
_EPOCH = date(1970, 1, 1)

# Kline intervals in minutes. All of them divide a UTC day, so no bar ever spans two days.
INTERVALS: dict[str, int] = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60,
    "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip
# Intervals that the real exchange has and this one does not replay: asking for one is a loud error, not a -1120.
UNREPLAYED_INTERVALS = frozenset({"3d", "1w", "1M", "1mo"})


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days


def day_date(number: int) -> date:
    """The date of a day number."""
    return _EPOCH + timedelta(days=number)


def month_days(year: int, month: int) -> tuple[int, int]:
    """First day number of a month and of the month after it (half-open)."""
    first = date(year, month, 1)
    after = date(year + month // 12, month % 12 + 1, 1)
    return day_number(first), day_number(after)
