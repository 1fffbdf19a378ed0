"""Reason codes: why a symbol-day is not there, as universe.json and the coverage report say it."""

from __future__ import annotations

from enum import Enum

NOT_DOWNLOADED = "not_downloaded"
"""In a coverage report: the ledger knows nothing of the symbol-day."""
MISSING_IN_EXPORT = "missing_in_export"
"""In a coverage report: the symbol was active that day, and not one row of it was exported."""


class MissingReason(str, Enum):
    """Why a requested symbol has no market data on a UTC day of the universe."""

    NOT_IN_CURRENT_TRADING_LIST = "not_in_current_trading_list"
    """The exchange's list of trading USDT perpetuals does not hold it."""
    NOT_IN_ARCHIVE = "not_in_archive"
    """The archive's listing does not hold it, or it is no USDT perpetual."""
    BELOW_RANK = "below_rank"
    """Its rank by quote volume is not among those that were asked for."""
    NO_KLINE_ON_DATE = "no_kline_on_date"
    """It is listed, and that day has no kline of it."""
    NO_TRADES_ON_DATE = "no_trades_on_date"
    """That day has a kline without a single trade, such as the exchange writes after a contract has ended."""

    def __str__(self) -> str:
        return self.value
