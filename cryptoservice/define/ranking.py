"""The ranking: the symbols with the highest quote volume before a rebalance day. Pure: it sees nothing of that day or later."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date

from cryptoservice.days import ONE_DAY, Window
from cryptoservice.define.symbol_days import DailyKline, SymbolDays
from cryptoservice.universe.selection import Selection


def chosen_symbols(days: Mapping[str, SymbolDays], selection: Selection, rebalance_day: date) -> frozenset[str]:
    """The symbols that the ranking keeps from that rebalance day to the next.

    Candidates are those with a trade in the lookback. Ties are broken by name, and fewer candidates than `top` are all kept.
    """
    lookback = Window(selection.lookback_start(rebalance_day), rebalance_day - ONE_DAY)
    volumes = {}
    for symbol, known in days.items():
        klines = [kline for day in lookback.days() if (kline := known.get(day)) is not None]
        if any(kline.is_traded for kline in klines):
            volumes[symbol] = _sum(klines)
    ranked = sorted(volumes, key=lambda symbol: (-volumes[symbol], symbol))
    return frozenset(ranked[: selection.top])


def choices(days: Mapping[str, SymbolDays], selection: Selection, window: Window) -> dict[date, frozenset[str]]:
    """For each day of the window, the symbols that the ranking keeps."""
    by_rebalance: dict[date, frozenset[str]] = {}
    for rebalance_day in {selection.rebalance.day_of(day) for day in window.days()}:
        by_rebalance[rebalance_day] = chosen_symbols(days, selection, rebalance_day)
    return {day: by_rebalance[selection.rebalance.day_of(day)] for day in window.days()}


def _sum(klines: Iterable[DailyKline]) -> float:
    # fsum is exact, so that no order of the days can decide a tie.
    return math.fsum(kline.quote_volume for kline in klines)
