"""The probe: days by the API, by the archive, and by both where one of them refuses."""

from __future__ import annotations

import json
import logging
from datetime import date, datetime, timezone

import pytest

from cryptoservice.binance.client import BinanceClient
from cryptoservice.config import NetworkConfig
from cryptoservice.days import Window
from cryptoservice.define.probe import Probe, refuse_unfinished
from cryptoservice.define.symbol_days import BROKEN_KLINE, SymbolDays
from cryptoservice.errors import SourceError, SourceRefused, UsageError
from cryptoservice.universe.model import Listing
from tests.exchange import Fault, ReplayExchange
from tests.unit.fakes import DAY, FEBRUARY_MS, FakeClock

WINDOW = Window(date(2026, 2, 1), date(2026, 2, 4))
CLOCK = FakeClock(1_773_144_000.0)


def probe(
    network: NetworkConfig, listing: Listing, *symbols: str, window: Window = WINDOW
) -> tuple[dict[str, SymbolDays], dict[str, int]]:
    """The days of listed symbols, and the requests by source."""
    with BinanceClient(network, CLOCK) as client, Probe(client, network.workers, CLOCK) as made:
        found = made.days(made.listed(listing), symbols, window)
        return found, client.traffic.requests


def test_what_is_known_of_each_symbol(
    exchange: ReplayExchange, network: NetworkConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "propagate", True)
    caplog.set_level(logging.INFO, "cryptoservice")
    exchange.market.drop_klines("LINKUSDT", FEBRUARY_MS + DAY, FEBRUARY_MS + 3 * DAY)
    exchange.market.refuse("ALGOUSDT")
    found, _ = probe(network, Listing.EXCHANGE, "LINKUSDT", "ALGOUSDT")
    assert {symbol: set(days) for symbol, days in found.items()} == {
        "LINKUSDT": {date(2026, 2, 1), date(2026, 2, 4)},
        "ALGOUSDT": set(),
    }
    ((line,),) = [[record.getMessage() for record in caplog.records if "refused" in record.getMessage()]]
    assert line.startswith("ALGOUSDT is listed, but its klines are refused (error -1121")


def test_one_request_covers_499_days(exchange: ReplayExchange, network: NetworkConfig) -> None:
    window = Window(date(2024, 2, 1), date(2026, 2, 28))
    # 759 days.
    assert probe(network, Listing.EXCHANGE, "LINKUSDT", window=window)[1] == {"exchange_info": 1, "klines": 2}


def test_the_archive_answers_for_what_the_api_does_not_serve(exchange: ReplayExchange, network: NetworkConfig) -> None:
    add = exchange.market.add_symbol
    add("GONEUSDT", date(2026, 1, 5), date(2026, 2, 3), fate="removed")
    add("ENDEDUSDT", date(2026, 1, 5), fate="settling", settled_at=datetime(2026, 2, 3, tzinfo=timezone.utc))
    exchange.market.refuse("AVAXUSDT", -1122)
    names = ("LINKUSDT", "AVAXUSDT", "GONEUSDT", "ENDEDUSDT")
    found, requests = probe(network, Listing.ARCHIVE, *names)
    assert {symbol: [day.day for day, kline in sorted(days.items()) if kline.is_traded] for symbol, days in found.items()} == {
        "LINKUSDT": [1, 2, 3, 4], "AVAXUSDT": [1, 2, 3, 4], "GONEUSDT": [1, 2, 3], "ENDEDUSDT": [1, 2],
    }  # fmt: skip
    assert sorted(day.day for day in found["ENDEDUSDT"]) == [1, 2, 3, 4]
    # GONEUSDT is not in the exchange information, so REST is not asked for it.
    assert requests["klines"] == 3
    # What is known of a day does not depend on who said it.
    exchange.faults.add(Fault.restricted_451(host="api", times=None))
    again, requests = probe(network, Listing.ARCHIVE, *names)
    assert again == found
    assert requests["exchange_info"] == 1
    assert "klines" not in requests


def test_days_that_the_api_has_forgotten_of_an_ended_contract_come_from_the_archive(
    exchange: ReplayExchange, network: NetworkConfig
) -> None:
    settled = datetime(2026, 2, 3, tzinfo=timezone.utc)
    exchange.market.add_symbol("ENDEDUSDT", date(2026, 1, 5), fate="settling", settled_at=settled)
    exchange.market.drop_klines("ENDEDUSDT", 0, FEBRUARY_MS + 30 * DAY, ["rest"])
    exchange.market.drop_klines("LINKUSDT", 0, FEBRUARY_MS + 30 * DAY, ["rest"])
    found, _ = probe(network, Listing.ARCHIVE, "ENDEDUSDT", "LINKUSDT")
    assert sorted(day.day for day, kline in found["ENDEDUSDT"].items() if kline.is_traded) == [1, 2]
    # Of what trades now, an empty answer is believed.
    assert found["LINKUSDT"] == {}


def test_an_api_that_begins_to_refuse_gives_way_to_the_archive(exchange: ReplayExchange, network: NetworkConfig) -> None:
    exchange.faults.add(Fault.restricted_451(path="/fapi/v1/klines", times=None))
    found, _ = probe(network, Listing.ARCHIVE, "LINKUSDT", "AVAXUSDT")
    assert {symbol: len(days) for symbol, days in found.items()} == {"LINKUSDT": 4, "AVAXUSDT": 4}
    with pytest.raises(SourceRefused):
        probe(network, Listing.EXCHANGE, "LINKUSDT", "AVAXUSDT")


def _break_one(body: bytes) -> bytes:
    """The kline of 2 February with a high below its low."""
    rows = json.loads(body)
    for row in rows:
        if row[0] == FEBRUARY_MS + DAY:
            row[2] = "0.0001"
    return json.dumps(rows).encode()


def test_a_kline_that_cannot_be_read_is_not_a_day_without_one(exchange: ReplayExchange, network: NetworkConfig) -> None:
    window = Window(date(2026, 2, 1), date(2026, 2, 28))
    exchange.faults.add(Fault.rewrite(_break_one, path="/fapi/v1/klines", times=None))
    found, _ = probe(network, Listing.EXCHANGE, "LINKUSDT", window=window)
    assert len(found["LINKUSDT"]) == 28
    assert found["LINKUSDT"][date(2026, 2, 2)] is BROKEN_KLINE
    # With the archive at hand its word stands in for the broken one.
    sound, requests = probe(network, Listing.ARCHIVE, "LINKUSDT", window=window)
    exchange.faults.clear()
    assert sound == probe(network, Listing.EXCHANGE, "LINKUSDT", window=window)[0]
    assert requests["archive"] == 1
    exchange.faults.add(Fault.rewrite(_break_one, path="/fapi/v1/klines", times=None))
    exchange.market.drop_klines("LINKUSDT", FEBRUARY_MS + DAY, FEBRUARY_MS + 2 * DAY, ["daily"])
    with pytest.raises(SourceError, match="LINKUSDT on 2026-02-02 cannot be read"):
        probe(network, Listing.ARCHIVE, "LINKUSDT", window=window)


@pytest.mark.parametrize(("now", "refused"), [(1_770_249_599.9, True), (1_770_249_600.0, False)])
def test_the_last_day_must_be_over(now: float, refused: bool) -> None:
    """2026-02-05 00:00:00 UTC is 1770249600, as `date -u -d 2026-02-05 +%s` says."""
    if refused:
        with pytest.raises(UsageError, match=r"2026-02-04 is not a finished UTC day \(today is 2026-02-04\)"):
            refuse_unfinished(WINDOW, now, "today")
    else:
        refuse_unfinished(WINDOW, now, "today")
