"""What define learns of a symbol: for each UTC day with a kline, whether anything was traded, and for how much."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from cryptoservice.binance.parsers.rows_by_day import RowsByDay

# Positions in a row of klines.
_QUOTE_VOLUME, _TRADES = 6, 7


class DailyKline(NamedTuple):
    """One UTC day of a symbol."""

    is_traded: bool
    quote_volume: float
    """In the quote asset."""


SymbolDays = Mapping[date, DailyKline]
"""The days of a symbol that have a kline; a day that is not there has none."""

BROKEN_KLINE = DailyKline(is_traded=True, quote_volume=0.0)
"""A kline that is there but cannot be read. It must not pass for a day without one, and no ranking can count its volume."""


def symbol_days(table: RowsByDay) -> dict[date, DailyKline]:
    """The days of checked daily klines."""
    return {day: DailyKline(rows[0][_TRADES] > 0, rows[0][_QUOTE_VOLUME]) for day, rows in table.days.items()}
