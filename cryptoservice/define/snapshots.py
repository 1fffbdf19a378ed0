"""From what is known of each symbol to the snapshots of a universe: who is active on which day, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from cryptoservice.days import Window
from cryptoservice.define.ranking import choices
from cryptoservice.define.symbol_days import SymbolDays
from cryptoservice.reasons import MissingReason
from cryptoservice.universe.model import DailySnapshot, Listing
from cryptoservice.universe.selection import Selection


def snapshots_of(
    requested: Sequence[str], window: Window, days: Mapping[str, SymbolDays], listing: Listing, selection: Selection | None
) -> Iterator[DailySnapshot]:
    """The snapshot of each day. `days` holds the listed symbols, and with a ranking the days of its lookback too."""
    candidates = {symbol: days[symbol] for symbol in requested if symbol in days}
    chosen = choices(candidates, selection, window) if selection is not None else {}
    for day in window.days():
        active: list[str] = []
        missing: dict[str, MissingReason] = {}
        for symbol in requested:
            reason = _reason(symbol, day, days, listing, chosen.get(day))
            if reason is None:
                active.append(symbol)
            else:
                missing[symbol] = reason
        yield DailySnapshot(day, tuple(active), missing)


def _reason(
    symbol: str, day: date, days: Mapping[str, SymbolDays], listing: Listing, chosen: frozenset[str] | None
) -> MissingReason | None:
    """Why the symbol is not active that day, or None when it is."""
    by_archive = listing is Listing.ARCHIVE
    known = days.get(symbol)
    if known is None:
        return MissingReason.NOT_IN_ARCHIVE if by_archive else MissingReason.NOT_IN_CURRENT_TRADING_LIST
    if chosen is not None and symbol not in chosen:
        return MissingReason.BELOW_RANK
    kline = known.get(day)
    if kline is None:
        return MissingReason.NO_KLINE_ON_DATE
    # By the exchange's list a kline is enough: a contract that trades now has no flat rows of a settlement.
    return MissingReason.NO_TRADES_ON_DATE if by_archive and not kline.is_traded else None
