"""The command `symbols`: who exists by the exchange's list or by the archive's listing."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from cryptoservice.binance.api import Contract
from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock
from cryptoservice.config import NetworkConfig, require_controls, require_kind
from cryptoservice.days import day_of_ms
from cryptoservice.define.listed import location_advice
from cryptoservice.define.probe import Probe
from cryptoservice.models import Record
from cryptoservice.universe.model import Listing

# The exchange gives this moment for contracts whose true one it does not know, and the other for those without an end.
_ONBOARD_PLACEHOLDER_MS = 1_569_398_400_000
_NO_DELIVERY_MS = 4_133_404_800_000
_LATEST_MS = 4_102_444_800_000


@dataclass(frozen=True)
class ListedSymbol(Record):
    """One symbol of a listing. The days are the exchange's own word, and None where it has none."""

    symbol: str
    first_day: date | None
    last_day: date | None


@dataclass(frozen=True, repr=False)
class SymbolList(Record):
    """The symbols of a listing, sorted by name."""

    KEYS: ClassVar = ("listing", "count", "symbols")

    listing: Listing
    symbols: tuple[ListedSymbol, ...]

    @property
    def count(self) -> int:
        """How many symbols there are."""
        return len(self.symbols)


def list_symbols(
    listing: Listing | str = Listing.EXCHANGE,
    *,
    network: NetworkConfig | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> SymbolList:
    """The USDT perpetuals of a listing: those that trade now, or all that the archive holds.

    First and last days come from the exchange information, where the API answers; no request is made for them alone. Raises
    SourceError, SourceRefused and Interrupted as define does.
    """
    require_kind("network", network, NetworkConfig)
    require_controls(clock=clock, stop=stop)
    listing = Listing.parse(listing)
    network = network or NetworkConfig()
    clock = clock or Clock()
    with (
        location_advice(listing),
        BinanceClient(network, clock) as client,
        Probe(client, network.workers, clock, stop) as probe,
    ):
        listed = probe.listed(listing)
    return SymbolList(listing, tuple(_listed(name, listed.contracts.get(name)) for name in sorted(listed.names)))


def _listed(name: str, contract: Contract | None) -> ListedSymbol:
    if contract is None:
        return ListedSymbol(name, None, None)
    return ListedSymbol(name, _day(contract.onboard_ms), _day(contract.delivery_ms))


def _day(moment_ms: int | None) -> date | None:
    known = moment_ms is not None and 0 < moment_ms < _LATEST_MS and moment_ms not in (_ONBOARD_PLACEHOLDER_MS, _NO_DELIVERY_MS)
    return day_of_ms(moment_ms) if known and moment_ms is not None else None
