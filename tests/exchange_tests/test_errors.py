"""Error bodies, and the responses to requests that the replay does not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.exchange import Market, ReplayExchange

from .client import FEBRUARY, Client, kline_key

ERRORS = Path(__file__).resolve().parent.parent / "recordings" / "errors"


def recorded(code: int, status: int) -> Any:
    return json.loads((ERRORS / f"error_{code}.http{status}.json").read_text())


def test_refused_symbols_get_the_recorded_bodies(market: Market, client: Client) -> None:
    market.refuse("ALGOUSDT", code=-1122)
    response = client.klines("NOSUCHUSDT")
    assert (response.status, response.json) == (400, recorded(-1121, 400))
    response = client.klines("ALGOUSDT")
    assert (response.status, response.json) == (400, recorded(-1122, 400))
    assert client.api("/fapi/v1/fundingRate", symbol="NOSUCHUSDT").json == recorded(-1121, 400)
    market.delist("AVAXUSDT")
    assert client.klines("AVAXUSDT").json == recorded(-1121, 400)
    assert client.vision(kline_key("AVAXUSDT", "1d", "2026-02-01")).status == 200


@pytest.mark.parametrize(
    ("params", "code", "msg"),
    [
        ({"symbol": "ALGOUSDT", "interval": "7m"}, -1120, "Invalid interval."),
        ({"symbol": "ALGOUSDT", "interval": "1m", "startTime": 2, "endTime": 1}, -1023, "Start time is greater than end time."),
        ({"interval": "1m"}, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ({"symbol": "ALGOUSDT"}, -1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed."),
        ({"symbol": "ALGOUSDT", "interval": "1m", "limit": 1501}, -1130, "Data sent for parameter 'limit' is not valid."),
        ({"symbol": "ALGOUSDT", "interval": "1m", "limit": 0}, -1130, "Data sent for parameter 'limit' is not valid."),
    ],
)
def test_bad_parameters(client: Client, params: dict[str, Any], code: int, msg: str) -> None:
    response = client.api("/fapi/v1/klines", **params)
    assert (response.status, response.json) == (400, {"code": code, "msg": msg})
    assert response.headers["content-type"] == "application/json;charset=UTF-8"
    assert "x-mbx-used-weight-1m" in response.headers


def test_the_odd_body_of_a_funding_limit(client: Client) -> None:
    response = client.api("/fapi/v1/fundingRate", symbol="BTCUSDT", limit=1001)
    assert response.status == 400
    assert response.json["code"] == "000002"
    assert response.json["errorData"] == {"limit": "limit can not greater than 1000"}


def ask(client: Client, what: str) -> int:
    if what == "delete":
        return client.api("/fapi/v1/time", method="DELETE").status
    if what == "params":
        return client.klines(starttime=FEBRUARY).status
    if what == "week":
        return client.klines(interval="1w").status
    if what == "path":
        return client.api("/fapi/v1/ticker/price").status
    return client.vision(what).status


@pytest.mark.parametrize(
    "what",
    ["delete", "params", "week", "path", "data/spot/daily/klines/A/1m/A-1m-2024-01-01.zip",
     kline_key("ALGOUSDT", "1w", "2026-02"),
     "data/futures/um/monthly/metrics/ALGOUSDT/ALGOUSDT-metrics-2026-02.zip", kline_key("ALGOUSDT", "1m", "2026-13-01")],
)  # fmt: skip
def test_an_unknown_request_fails_loudly(what: str) -> None:
    with (
        pytest.raises(AssertionError, match="does not know"),
        ReplayExchange() as exchange,
    ):
        assert ask(Client(exchange), what) == 501
        assert len(exchange.unknown_requests) == 1
        assert exchange.requests[-1].status == 501


def test_unknown_requests_can_be_allowed() -> None:
    with ReplayExchange() as exchange:
        exchange.allow_unknown = True
        assert Client(exchange).api("/nothing").status == 501


def test_an_error_of_the_test_is_not_hidden() -> None:
    with pytest.raises(KeyError), ReplayExchange() as exchange:
        Client(exchange).api("/nothing")
        raise KeyError
