"""The probe: days with a kline, a symbol that is refused, a symbol that is not listed."""

from __future__ import annotations

import logging
from datetime import date

import pytest

from cryptoservice.binance.client import BinanceClient
from cryptoservice.config import NetworkConfig
from cryptoservice.days import Window
from cryptoservice.define.probe import Probe, refuse_unfinished
from cryptoservice.errors import UsageError
from tests.exchange import ReplayExchange
from tests.unit.fakes import DAY, FEBRUARY_MS, FakeClock

WINDOW = Window(date(2026, 2, 1), date(2026, 2, 4))


def test_what_is_known_of_each_symbol(
    exchange: ReplayExchange, network: NetworkConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "propagate", True)
    caplog.set_level(logging.INFO, "cryptoservice")
    exchange.market.drop_klines("LINKUSDT", FEBRUARY_MS + DAY, FEBRUARY_MS + 3 * DAY)
    exchange.market.refuse("ALGOUSDT")
    symbols = ["LINKUSDT", "ALGOUSDT", *(f"NO{number}USDT" for number in range(10))]
    clock = FakeClock(1_773_144_000.0)
    with BinanceClient(network, clock) as client:
        found = Probe(client, WINDOW, 2, clock).active_days(symbols)
    assert found == {
        "LINKUSDT": {date(2026, 2, 1), date(2026, 2, 4)},
        "ALGOUSDT": frozenset(),
        **{f"NO{number}USDT": None for number in range(10)},
    }
    lines = [record.getMessage() for record in caplog.records]
    assert "2 of 12 symbols are in the current trading list" in lines
    names = ", ".join(f"NO{number}USDT" for number in range(8))
    assert f"not in the current trading list, so never active: {names} and 2 more" in lines
    assert any(line.startswith("ALGOUSDT is listed, but its klines are refused (error -1121") for line in lines)


def test_one_request_covers_499_days(exchange: ReplayExchange, network: NetworkConfig) -> None:
    clock = FakeClock(1_773_144_000.0)
    window = Window(date(2024, 2, 1), date(2026, 2, 28))
    with BinanceClient(network, clock) as client:
        Probe(client, window, 2, clock).active_days(["LINKUSDT"])
        # 759 days.
        assert client.traffic.requests == {"exchange_info": 1, "klines": 2}


@pytest.mark.parametrize(("now", "refused"), [(1_770_249_599.9, True), (1_770_249_600.0, False)])
def test_the_last_day_must_be_over(now: float, refused: bool) -> None:
    """2026-02-05 00:00:00 UTC is 1770249600, as `date -u -d 2026-02-05 +%s` says."""
    if refused:
        with pytest.raises(UsageError, match=r"2026-02-04 is not a finished UTC day \(today is 2026-02-04\)"):
            refuse_unfinished(WINDOW, now, "today")
    else:
        refuse_unfinished(WINDOW, now, "today")
