"""Entries of exchangeInfo for symbols that tests add: what kind of contract a name stands for."""

from __future__ import annotations

import copy
import re
from datetime import datetime, timedelta, timezone
from typing import Any

from . import recordings

PERPETUAL_DELIVERY_MS = 4_133_404_800_000
_DATED = re.compile(r"(?P<pair>.+)_(?P<day>\d{6})", re.ASCII)
_QUOTES = ("USDT", "USDC", "BUSD", "USD1", "BTC", "U")
_DELIVERED_AT = timedelta(hours=8)


def quote_of(symbol: str) -> str:
    """The quote asset that a name ends with, "USDT" where none is known: BTCUSDC, ETHBTC, BTCUSDT_250328."""
    dated = _DATED.fullmatch(symbol)
    pair = dated["pair"] if dated else symbol
    return next((quote for quote in _QUOTES if pair.endswith(quote) and pair != quote), "USDT")


def contract_of(symbol: str) -> str:
    """The contract type that a name stands for: those with a date are delivered at the end of a quarter."""
    return "CURRENT_QUARTER" if _DATED.fullmatch(symbol) else "PERPETUAL"


def listed_symbol(symbol: str, onboard_ms: int, status: str, contract_type: str, quote_asset: str) -> dict[str, Any]:
    """The entry of exchangeInfo of a symbol."""
    dated = _DATED.fullmatch(symbol)
    pair = dated["pair"] if dated else symbol
    delivery_ms = PERPETUAL_DELIVERY_MS
    if dated:
        delivered = datetime.strptime(dated["day"], "%y%m%d").replace(tzinfo=timezone.utc) + _DELIVERED_AT
        delivery_ms = int(delivered.timestamp()) * 1000
    entry: dict[str, Any] = copy.deepcopy(recordings.exchange_info()["symbols"][0])
    entry |= {
        "symbol": symbol,
        "pair": pair,
        "contractType": contract_type,
        "deliveryDate": delivery_ms,
        "onboardDate": onboard_ms,
        "status": status,
        "baseAsset": pair.removesuffix(quote_asset),
        "quoteAsset": quote_asset,
        "marginAsset": quote_asset,
    }
    if contract_type == "TRADIFI_PERPETUAL":
        entry |= {"underlyingType": "EQUITY", "underlyingSubType": ["TradFi"]}
    return entry
