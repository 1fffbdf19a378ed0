"""A universe of two symbols and three days, with every kind of day."""

from __future__ import annotations

from datetime import date

from cryptoservice.models import MissingReason
from cryptoservice.universe.model import DailySnapshot, Universe

UNLISTED = MissingReason.NOT_IN_CURRENT_TRADING_LIST
NO_KLINE = MissingReason.NO_KLINE_ON_DATE

EXAMPLE = Universe(
    requested_symbols=("BTCUSDT", "币安人生USDT"),
    start_date=date(2024, 2, 28),
    end_date=date(2024, 3, 1),
    daily_snapshots=(
        DailySnapshot(date(2024, 2, 28), ("BTCUSDT",), {"币安人生USDT": UNLISTED}),
        DailySnapshot(date(2024, 2, 29), ("BTCUSDT", "币安人生USDT"), {}),
        DailySnapshot(date(2024, 3, 1), (), {"BTCUSDT": NO_KLINE, "币安人生USDT": NO_KLINE}),
    ),
    created_at="2026-02-21T00:00:00+00:00",
    description='tests "éà"',
)
