"""What every number must be, straight from the recordings: knows neither the product nor the replay exchange."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings" / "klines_1m"
SYMBOLS = ("ALGOUSDT", "AVAXUSDT", "LINKUSDT")
FIRST, LAST = "2026-02-01", "2026-02-28"
MINUTE = 60_000
DAY = 1440 * MINUTE
# Length of every interval in minutes.
INTERVALS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60,
    "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip
COLUMNS = (
    "symbol", "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume",
    "taker_buy_quote_volume",
)  # fmt: skip

Row = tuple[int, float, float, float, float, float, float, int, float, float]
"""A stored kline: open_time and the columns after it."""


class Bar(NamedTuple):
    """One bar, exact."""

    time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote: Decimal
    trades: int
    taker: Decimal
    taker_quote: Decimal


def moment(text: str) -> int:
    """Epoch milliseconds of `2026-02-01` or `2026-02-01T10:00`, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000)


def days(first: str = FIRST, last: str = LAST) -> list[str]:
    """Every day from first to last inclusive."""
    start, count = date.fromisoformat(first), (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    return [(start + timedelta(days=number)).isoformat() for number in range(count)]


@cache
def minutes(symbol: str) -> tuple[Bar, ...]:
    """The recorded month of a symbol."""
    with zipfile.ZipFile(RECORDINGS / f"{symbol}-1m-2026-02.zip") as archive:
        lines = csv.DictReader(io.StringIO(archive.read(archive.namelist()[0]).decode()))
        return tuple(_minute(line) for line in lines)


def _minute(line: dict[str, str]) -> Bar:
    prices = (Decimal(line[name]) for name in ("open", "high", "low", "close", "volume", "quote_volume"))
    taker, taker_quote = Decimal(line["taker_buy_volume"]), Decimal(line["taker_buy_quote_volume"])
    return Bar(int(line["open_time"]), *prices, int(line["count"]), taker, taker_quote)


def _merged(start: int, bars: list[Bar]) -> Bar:
    return Bar(
        start,
        bars[0].open,
        max([bar.high for bar in bars]),
        min([bar.low for bar in bars]),
        bars[-1].close,
        sum([bar.volume for bar in bars], Decimal(0)),
        sum([bar.quote for bar in bars], Decimal(0)),
        sum([bar.trades for bar in bars]),
        sum([bar.taker for bar in bars], Decimal(0)),
        sum([bar.taker_quote for bar in bars], Decimal(0)),
    )


def _aggregate(bars: Iterable[Bar], interval: str) -> list[Bar]:
    width = INTERVALS[interval] * MINUTE
    buckets: dict[int, list[Bar]] = {}
    for bar in bars:
        buckets.setdefault(bar.time - bar.time % width, []).append(bar)
    return [_merged(start, bucket) for start, bucket in buckets.items()]


@cache
def month(symbol: str, interval: str) -> tuple[Bar, ...]:
    """All bars of February at an interval, without holes; sums are exact, so it does not matter what they are made from."""
    if interval == "1m":
        return minutes(symbol)
    finer = [name for name, length in INTERVALS.items() if length < INTERVALS[interval] and INTERVALS[interval] % length == 0]
    return tuple(_aggregate(month(symbol, finer[-1]), interval))


def _row(bar: Bar) -> Row:
    """As it is stored and exported; the recordings have at most five decimals, so rounding to eight changes nothing."""
    prices = (float(bar.open), float(bar.high), float(bar.low), float(bar.close))
    return (bar.time, *prices, float(bar.volume), float(bar.quote), bar.trades, float(bar.taker), float(bar.taker_quote))


def rows(symbol: str, interval: str, first: str = FIRST, last: str = LAST, holes: Iterable[tuple[int, int]] = ()) -> list[Row]:
    """Bars of the days first to last; `holes` are [start, end) milliseconds whose minutes nobody has."""
    start, end = moment(first), moment(last) + DAY
    holes = list(holes)
    if not holes:
        return [_row(bar) for bar in month(symbol, interval) if start <= bar.time < end]
    kept = (
        bar for bar in minutes(symbol) if start <= bar.time < end and not any(since <= bar.time < until for since, until in holes)
    )
    return [_row(bar) for bar in _aggregate(kept, interval)]


def csv_text(bars: dict[str, list[Row]]) -> str:
    """A CSV file of these symbols' bars, as docs/formats.md describes it."""
    lines = [",".join(COLUMNS)]
    for symbol in sorted(bars):
        lines += [",".join((symbol, *map(repr, row))) for row in bars[symbol]]
    return "\n".join(lines) + "\n"
