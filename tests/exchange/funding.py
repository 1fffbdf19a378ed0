"""Funding rates of symbols that have no recorded ones: derived, every 8 hours, with the jitter that real rows have."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

from .calendar import DAY_MS
from .seeds import VARIANTS, decimal_text, variant

FundingRow = dict[str, Any]
EIGHT_HOURS_MS = 28_800_000


@lru_cache(maxsize=4_000)
def _day(symbol: str, number: int) -> tuple[tuple[int, str, str], ...]:
    """(milliseconds into the day, rate, mark price) of the three rows of a day."""
    rng = random.Random(f"funding-{symbol}-{number}-of-{VARIANTS}")
    return tuple(
        (
            i * EIGHT_HOURS_MS + rng.randint(0, 14),
            decimal_text(rng.randint(-30_000, 40_000), 8),
            decimal_text(rng.randint(10**7, 9 * 10**12), 8),
        )
        for i in range(3)
    )


def derived_rows(symbol: str, first_day: int, last_day: int) -> list[FundingRow]:
    """The rows of whole days, both inclusive, as REST sends them."""
    return [
        {
            "symbol": symbol,
            "fundingTime": day * DAY_MS + offset,
            "fundingRate": rate,
            "markPrice": mark,
            "rateType": "Regular",
        }
        for day in range(first_day, last_day + 1)
        for offset, rate, mark in _day(symbol, variant(symbol, day))
    ]


def archive_lines(rows: list[FundingRow]) -> list[str]:
    """CSV lines of the monthly archive object: time, hours since the row before (or to the next one), rate."""
    regular = [row for row in rows if row.get("rateType", "Regular") == "Regular"]
    lines = []
    for i, row in enumerate(regular):
        near = regular[i - 1] if i else regular[min(1, len(regular) - 1)]
        hours = round(abs(row["fundingTime"] - near["fundingTime"]) / 3_600_000) or 8
        lines.append(f"{row['fundingTime']},{hours},{row['fundingRate']}\n")
    return lines
