"""The command `symbols`: names of both listings, and the days that the exchange names."""

from __future__ import annotations

from datetime import date, datetime, timezone

import pytest

from cryptoservice.config import NetworkConfig
from cryptoservice.define.symbol_list import ListedSymbol, SymbolList, list_symbols
from cryptoservice.errors import Remedy, SourceRefused, UsageError
from cryptoservice.universe.model import Listing
from tests.exchange import Fault, Market, ReplayExchange
from tests.unit.fakes import FakeClock

CLOCK = FakeClock(1_773_144_000.0)


def test_names_and_the_days_that_cost_nothing(exchange: ReplayExchange, network: NetworkConfig) -> None:
    exchange.market = market = Market()
    for name, moment in (("BBUSDT", 1_569_398_400_000), ("CCUSDT", 0), ("币安人生USDT", 4_133_404_800_000)):
        market.add_symbol(name, date(2026, 1, 5))
        market.set_listing(name, onboardDate=moment)
    market.add_symbol("AUSDT", date(2026, 1, 5))
    market.add_symbol("ENDEDUSDT", date(2026, 1, 7), fate="settling", settled_at=datetime(2026, 2, 15, tzinfo=timezone.utc))
    market.add_symbol("GONEUSDT", date(2026, 1, 5), date(2026, 2, 20), fate="removed")
    with ReplayExchange(market) as running:
        reached = NetworkConfig(
            type(network.endpoints)(running.api_url, running.vision_url, running.listing_url), retry=network.retry
        )
        first = date(2026, 1, 5)
        trading = [
            ListedSymbol("AUSDT", first, None),
            # The first is a placeholder for a day that the exchange does not know, the others are no days at all.
            ListedSymbol("BBUSDT", None, None),
            ListedSymbol("CCUSDT", None, None),
            ListedSymbol("币安人生USDT", None, None),
        ]
        found = list_symbols(network=reached, clock=CLOCK)
        assert found == SymbolList(Listing.EXCHANGE, tuple(trading))
        assert found.to_dict()["symbols"][0] == {"symbol": "AUSDT", "first_day": "2026-01-05", "last_day": None}
        ended = ListedSymbol("ENDEDUSDT", date(2026, 1, 7), date(2026, 2, 15))
        gone = ListedSymbol("GONEUSDT", None, None)
        everyone = (*trading[:3], ended, gone, trading[3])
        assert list_symbols("archive", network=reached, clock=CLOCK) == SymbolList(Listing.ARCHIVE, everyone)
        assert len(running.requests) == 1 + 3
        running.faults.add(Fault.restricted_451(host="api", times=None))
        names = [one.symbol for one in everyone]
        alone = list_symbols("archive", network=reached, clock=CLOCK)
        assert alone.symbols == tuple(ListedSymbol(name, None, None) for name in names)
        with pytest.raises(SourceRefused) as caught:
            list_symbols(network=reached, clock=CLOCK)
        assert caught.value.remedy is Remedy.LIST_ARCHIVE


def test_an_unknown_listing_is_refused(network: NetworkConfig) -> None:
    with pytest.raises(UsageError, match="unknown listing 'bucket'"):
        list_symbols("bucket", network=network, clock=CLOCK)
