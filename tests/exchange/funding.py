"""Funding rates of symbols that have no recorded ones: derived, with the jitter that real rows have; and pages of all symbols."""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from .calendar import DAY_MS
from .seeds import VARIANTS, decimal_text, variant

if TYPE_CHECKING:
    from .market import Market

FundingRow = dict[str, Any]
HOUR_MS = 3_600_000
_MOST_DAYS_KEPT = 16


@lru_cache(maxsize=4_000)
def _day(symbol: str, number: int, count: int) -> tuple[tuple[str, str], ...]:
    """(rate, mark price) of the rows of a day."""
    rng = random.Random(f"funding-{symbol}-{number}-of-{VARIANTS}")
    return tuple(
        (decimal_text(rng.randint(-30_000, 40_000), 8), decimal_text(rng.randint(10**7, 9 * 10**12), 8)) for _ in range(count)
    )


@lru_cache(maxsize=4_000)
def _jitter(day: int) -> tuple[int, ...]:
    """The milliseconds by which each hour of a day is late: the same for all symbols that are paid then (docs/wire.md)."""
    rng = random.Random(f"funding-of-day-{day}")
    return tuple(rng.randint(0, 14) for _ in range(24))


def derived_rows(symbol: str, first_day: int, last_day: int, hours: int = 8) -> list[FundingRow]:
    """The rows of whole days, both inclusive, as REST sends them, one every so many hours."""
    return [
        {
            "symbol": symbol,
            "fundingTime": day * DAY_MS + hour * HOUR_MS + _jitter(day)[hour],
            "fundingRate": rate,
            "markPrice": mark,
            "rateType": "Regular",
        }
        for day in range(first_day, last_day + 1)
        for hour, (rate, mark) in zip(range(0, 24, hours), _day(symbol, variant(symbol, day), 24 // hours), strict=True)
    ]


class FundingOfAll:
    """The funding rates of all symbols that REST serves, as one list ordered by time and then by symbol."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._lock = threading.Lock()
        self._version = -1
        self._days: OrderedDict[int, list[FundingRow]] = OrderedDict()

    def rows(self, start_ms: int, stop_ms: int, limit: int, *, newest: bool) -> list[FundingRow]:
        """Rows with funding time in [start, stop), ascending: the oldest `limit`, or the newest ones."""
        symbols = [symbol for symbol in self._market.symbols_with_funding() if self._market.refusal(symbol) is None]
        first = max(start_ms // DAY_MS, min((self._first_day(symbol) for symbol in symbols), default=stop_ms))
        days = range(first, -(-stop_ms // DAY_MS))
        found = list(islice(self._walk(reversed(days) if newest else days, symbols, start_ms, stop_ms, newest), limit))
        return found[::-1] if newest else found

    def _walk(self, days: Iterable[int], symbols: list[str], start_ms: int, stop_ms: int, newest: bool) -> Iterator[FundingRow]:
        for day in days:
            rows = self._of_day(day, symbols)
            for row in reversed(rows) if newest else rows:
                if start_ms <= row["fundingTime"] < stop_ms:
                    yield row

    def _of_day(self, day: int, symbols: list[str]) -> list[FundingRow]:
        with self._lock:
            if self._version != self._market.version:
                self._version, self._days = self._market.version, OrderedDict()
            rows = self._days.get(day)
            if rows is None:
                start = day * DAY_MS
                rows = [row for symbol in symbols for row in self._market.funding_rows(symbol, start, start + DAY_MS)]
                rows.sort(key=lambda row: (row["fundingTime"], row["symbol"]))
                self._days[day] = rows
                if len(self._days) > _MOST_DAYS_KEPT:
                    self._days.popitem(last=False)
            return rows

    def _first_day(self, symbol: str) -> int:
        series, times = self._market.series(symbol), self._market.funding_times(symbol)
        found = [series.first_day] if series is not None and self._market.derives_funding(symbol) else []
        return min([*found, *(moment // DAY_MS for moment in times[:1])], default=10**9)


def archive_lines(rows: list[FundingRow]) -> list[str]:
    """CSV lines of the monthly archive object: time, hours since the row before (or to the next one), rate."""
    regular = [row for row in rows if row.get("rateType", "Regular") == "Regular"]
    lines = []
    for i, row in enumerate(regular):
        near = regular[i - 1] if i else regular[min(1, len(regular) - 1)]
        hours = round(abs(row["fundingTime"] - near["fundingTime"]) / HOUR_MS) or 8
        lines.append(f"{row['fundingTime']},{hours},{row['fundingRate']}\n")
    return lines
