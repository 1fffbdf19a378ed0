"""Which symbols exist, by the exchange's list of what trades now or by the folders of the archive."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from cryptoservice.binance.api import Contract, TradingList
from cryptoservice.binance.client import BinanceClient
from cryptoservice.errors import Remedy, SourceError, SourceRefused
from cryptoservice.universe.model import Listing
from cryptoservice.universe.symbols import fault_of

log = logging.getLogger(__name__)

# Some symbols have daily files before their first monthly one, and a few have monthly files alone.
_KLINE_FOLDERS = ("data/futures/um/daily/klines/", "data/futures/um/monthly/klines/")
# A USDT perpetual, or an alias of one's earlier life: `LITUSDTSETTLED`, `ICPUSDT_SETTLED`. A dated delivery ends with its date.
_PERPETUAL_FORM = re.compile(r".+USDT(?:_?SETTLED[0-9]*)*\Z")
# A perpetual that is being settled has the second type, and a dead contract may have none (docs/wire.md, exchange information).
_PERPETUAL_TYPES = ("PERPETUAL", "PERPETUAL_DELIVERING", "")
# The host does not serve this address or location at all. A long ban is no such thing: it ends.
_LOCATION_REFUSALS = ("http_403", "http_451")
_QUOTE = re.compile(r"(?:USDC|BUSD|USDT|USD)?(?:PERP)?\Z")
# How alike two whole names must be, or two base assets, which are shorter.
_NEAR, _NEAR_BASE = 0.75, 0.8


@dataclass(frozen=True)
class ListedSymbols:
    """The symbols of one listing, and what the exchange says of them where it answered."""

    listing: Listing
    names: frozenset[str]
    contracts: Mapping[str, Contract]
    """By symbol, whatever its type; empty where the API refuses this address."""
    server_time: float | None
    """The exchange's clock in epoch seconds, or None when it did not say."""

    def near(self, symbol: str) -> str | None:
        """The listed symbol that someone who wrote `symbol` most likely means, or None."""
        bare = re.sub(r"[^\w]|_", "", symbol)
        stem = _QUOTE.sub("", bare) or bare
        for guess in (bare, f"{bare}USDT", f"{stem}USDT", f"1000{stem}USDT"):
            if guess in self.names:
                return guess
        if stem == bare:
            return next(iter(difflib.get_close_matches(bare, sorted(self.names), 1, _NEAR)), None)
        # The quote asset is no typing error, and compared with it every dead contract of a short name is like a living one.
        bases = {name.removesuffix("USDT"): name for name in sorted(self.names)}
        return next((bases[base] for base in difflib.get_close_matches(stem, bases, 1, _NEAR_BASE)), None)

    def suggestions(self, unlisted: Iterable[str]) -> dict[str, str]:
        """For each of these symbols that has one, the near listed name. A name that the exchange knows is no typing error."""
        unknown = (symbol for symbol in unlisted if symbol not in self.contracts)
        return {symbol: near for symbol in unknown if (near := self.near(symbol)) is not None}


def listed_symbols(client: BinanceClient, listing: Listing) -> ListedSymbols:
    """Ask who that listing holds.

    Raises SourceError when a part of it could not be had: a failed page is not an absence. The archive's listing does without
    the API where that refuses this address.
    """
    if listing is Listing.EXCHANGE:
        trading = client.api.trading_list()
        return ListedSymbols(listing, trading.symbols, trading.contracts, trading.server_time)
    folders = {name for prefix in _KLINE_FOLDERS for name in client.listing.folders(prefix)}
    trading = _contracts(client)
    names = frozenset(name for name in folders if _is_perpetual(name, trading.contracts.get(name)))
    if not names:
        # The archive has never been without a market, and a universe built on this would be empty for good.
        raise SourceError("the archive's listing holds no USDT perpetual", reason="empty_listing")
    return ListedSymbols(listing, names, trading.contracts, trading.server_time)


@contextmanager
def location_advice(listing: Listing) -> Iterator[None]:
    """Say what helps in a define where a host does not serve this location: the archive's listing does without the API."""
    try:
        yield
    except SourceRefused as refused:
        if refused.remedy is not Remedy.USE_ARCHIVE:
            raise
        hint: str | Remedy = Remedy.LIST_ARCHIVE if listing is Listing.EXCHANGE else "run it from another location"
        raise SourceRefused(refused.message, reason=refused.reason, hint=hint) from None


def is_location_refusal(refused: SourceRefused) -> bool:
    """Whether the host does not serve this address at all, so that another source has to do."""
    return refused.reason in _LOCATION_REFUSALS


def _contracts(client: BinanceClient) -> TradingList:
    try:
        return client.api.trading_list()
    except SourceRefused as refused:
        if not is_location_refusal(refused):
            raise
        log.warning("the API refuses this address (%s): all days are taken from the archive alone", refused.reason)
        return TradingList(frozenset(), None, {})


def _is_perpetual(name: str, contract: Contract | None) -> bool:
    if not _PERPETUAL_FORM.match(name):
        return False
    fault = fault_of(name)
    if fault:
        log.warning("the archive holds a symbol that cannot be used: %r %s", name, fault)
        return False
    return contract is None or (contract.contract_type in _PERPETUAL_TYPES and contract.quote_asset in ("USDT", ""))
