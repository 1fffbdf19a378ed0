"""Who is listed, by either listing; what is near to a name that is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timezone

import pytest

from cryptoservice.binance.client import BinanceClient
from cryptoservice.config import NetworkConfig
from cryptoservice.define.listed import ListedSymbols, listed_symbols, location_advice
from cryptoservice.errors import Remedy, SourceError, SourceRefused
from cryptoservice.universe.model import Listing
from tests.exchange import Fault, ReplayExchange
from tests.unit.fakes import FakeClock

CLOCK = FakeClock(1_773_144_000.0)
JANUARY = date(2026, 1, 5)


def listed(network: NetworkConfig, listing: Listing) -> ListedSymbols:
    with BinanceClient(network, CLOCK) as client:
        return listed_symbols(client, listing)


@pytest.fixture
def market(exchange: ReplayExchange) -> ReplayExchange:
    """The recorded symbols, and one of each fate."""
    add = exchange.market.add_symbol
    add("GONEUSDT", JANUARY, date(2026, 2, 20), fate="removed")
    add("LITUSDTSETTLED", JANUARY, date(2026, 2, 7), fate="alias")
    add("ICPUSDT_SETTLED", JANUARY, date(2026, 2, 7), fate="alias")
    add("AERGOUSDTSETTLEDSETTLED", JANUARY, date(2026, 2, 7), fate="alias")
    add("ENDEDUSDT", JANUARY, fate="settling", settled_at=datetime(2026, 2, 15, tzinfo=timezone.utc))
    add("币安人生USDT", JANUARY)
    add("TSLAUSDT", JANUARY, contract_type="TRADIFI_PERPETUAL")
    add("BTCUSDT_260327", JANUARY)
    add("BTCUSDC", JANUARY)
    add("ETHBTC", JANUARY)
    return exchange


NAMES = {
    "ALGOUSDT", "AVAXUSDT", "LINKUSDT", "GONEUSDT", "LITUSDTSETTLED", "ICPUSDT_SETTLED", "AERGOUSDTSETTLEDSETTLED", "ENDEDUSDT",
    "币安人生USDT",
}  # fmt: skip


def test_the_archive_holds_perpetuals_of_every_fate(market: ReplayExchange, network: NetworkConfig) -> None:
    found = listed(network, Listing.ARCHIVE)
    assert found.names == NAMES
    assert {name for name in NAMES if name not in found.contracts} == {
        "GONEUSDT", "LITUSDTSETTLED", "ICPUSDT_SETTLED", "AERGOUSDTSETTLEDSETTLED",
    }  # fmt: skip
    assert found.server_time is not None


@pytest.mark.parametrize("fault", [Fault.restricted_451, Fault.forbidden_html])
def test_where_the_api_refuses_nobody_knows_the_contract_types(
    market: ReplayExchange, network: NetworkConfig, fault: Callable[..., Fault]
) -> None:
    market.faults.add(fault(host="api", times=None))
    found = listed(network, Listing.ARCHIVE)
    assert found.names == NAMES | {"TSLAUSDT"}
    assert (found.contracts, found.server_time) == ({}, None)


def test_an_api_that_fails_or_bans_is_no_refusal(market: ReplayExchange, network: NetworkConfig) -> None:
    market.faults.add(Fault.server_error(503, host="api", times=1))
    with pytest.raises(SourceError) as caught:
        listed(network, Listing.ARCHIVE)
    assert caught.value.reason == "http_503"
    market.faults.add(Fault.banned(until_ms=1_773_144_000_000 + 3_600_000, host="api", times=1))
    with pytest.raises(SourceRefused) as refused:
        listed(network, Listing.ARCHIVE)
    assert refused.value.remedy is Remedy.WAIT_FOR_BAN


def test_one_page_that_fails_is_no_shorter_listing(market: ReplayExchange, network: NetworkConfig) -> None:
    """The second folder fails: without its names the universe would be wrong and look right."""
    market.faults.add(Fault.server_error(503, host="listing", skip=1, times=None))
    with pytest.raises(SourceError, match="HTTP 503"):
        listed(network, Listing.ARCHIVE)


def test_an_archive_without_any_perpetual_is_not_believed(exchange: ReplayExchange, network: NetworkConfig) -> None:
    exchange.market.hide_from_listing(lambda key: "USDT/" in key)
    with pytest.raises(SourceError) as caught:
        listed(network, Listing.ARCHIVE)
    assert caught.value.reason == "empty_listing"


NEAR = ListedSymbols(Listing.EXCHANGE, frozenset(("BTCUSDT", "ETHUSDT", "1000PEPEUSDT", "LINKUSDT", "币安人生USDT")), {}, None)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("BTC", "BTCUSDT"), ("BTC-USDT", "BTCUSDT"), ("BTC_USDT", "BTCUSDT"), ("BTCUSD", "BTCUSDT"), ("BTCUSDC", "BTCUSDT"),
        ("BTCBUSD", "BTCUSDT"), ("BTC-PERP", "BTCUSDT"), ("BTCUSDTPERP", "BTCUSDT"), ("BTCUSTD", "BTCUSDT"),
        ("LINKUSDTT", "LINKUSDT"), ("LINKKUSDT", "LINKUSDT"), ("ETHUSD_PERP", "ETHUSDT"),
        ("PEPEUSDT", "1000PEPEUSDT"), ("PEPE", "1000PEPEUSDT"), ("币安人生", "币安人生USDT"), ("NOSUCHUSDT", None), ("X", None),
        # These have ended, and stood in lists beside the living. None of them was a typing error.
        ("BTSUSDT", None), ("HNTUSDT", None), ("LITUSDT", None), ("BTCSTUSDT", None),
        ("-", None), ("USDT", None),
    ],
)  # fmt: skip
def test_a_typing_error_finds_what_was_meant(written: str, meant: str | None) -> None:
    assert NEAR.near(written) == meant
    assert NEAR.suggestions([written]) == ({written: meant} if meant else {})


def test_the_advice_where_the_location_is_refused_depends_on_what_was_asked() -> None:
    refused = SourceRefused("no", reason="http_451", hint=Remedy.USE_ARCHIVE)
    for listing, remedy in ((Listing.EXCHANGE, Remedy.LIST_ARCHIVE), (Listing.ARCHIVE, None)):
        with pytest.raises(SourceRefused) as caught, location_advice(listing):
            raise refused
        assert (caught.value.remedy, caught.value.reason) == (remedy, "http_451")
    banned = SourceRefused("no", reason="banned", hint="wait")
    with pytest.raises(SourceRefused) as caught, location_advice(Listing.EXCHANGE):
        raise banned
    assert caught.value is banned
