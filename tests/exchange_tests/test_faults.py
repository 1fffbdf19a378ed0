"""Each fault does on the wire what it says."""

from __future__ import annotations

import http.client
import json
import time
import zipfile
import zlib
from io import BytesIO

import pytest

from tests.exchange import Fault, ReplayExchange

from .client import FEBRUARY, KLINES, Client, kline_key

KEY = kline_key("ALGOUSDT", "1m", "2026-02-01")


def test_too_many(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.too_many(retry_after=7), Fault.too_many(retry_after=None))
    first, second, third = (client.klines() for _ in range(3))
    assert (first.status, first.headers["retry-after"], first.json["code"]) == (429, "7", -1003)
    assert second.status == 429
    assert "retry-after" not in second.headers
    assert "x-mbx-used-weight-1m" in second.headers
    assert third.status == 200


def test_banned(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.banned(1790931239698))
    response = client.klines()
    assert response.status == 418
    assert "banned until 1790931239698." in response.json["msg"]
    assert "retry-after" not in response.headers


def test_forbidden_restricted_and_server_errors(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.forbidden_html(), Fault.restricted_451(), Fault.server_error(502), Fault.api_error(-1000, "No."))
    forbidden, restricted, server, error = (client.klines() for _ in range(4))
    assert forbidden.status == 403
    assert forbidden.headers["content-type"] == "text/html"
    assert b"Request blocked." in forbidden.body
    assert "x-mbx-used-weight-1m" not in forbidden.headers
    assert (restricted.status, restricted.json["code"]) == (451, 0)
    assert server.status == 502
    assert (error.status, error.json) == (400, {"code": -1000, "msg": "No."})


def test_any_status_body_and_headers(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.status(599, b"{}", {"X-Odd": "yes"}))
    response = client.klines()
    assert (response.status, response.body, response.headers["x-odd"]) == (599, b"{}", "yes")


def test_reset_before_any_byte(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.reset(path=KLINES))
    with pytest.raises(ConnectionResetError):
        client.klines()
    assert exchange.requests[-1].status == 0
    assert client.klines().status == 200


def test_reset_in_the_body(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.reset_mid_body())
    with pytest.raises(ConnectionResetError):
        client.vision(KEY)


def test_truncated(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.truncated(share=0.25))
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.vision(KEY)
    whole = client.vision(KEY).body
    assert whole.startswith(caught.value.partial)
    assert len(caught.value.partial) == len(whole) // 4


def test_corrupt_keeps_the_length(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.corrupt(path=KEY))
    bad, good = client.vision(KEY).body, client.vision(KEY).body
    assert len(bad) == len(good)
    assert bad != good
    with zipfile.ZipFile(BytesIO(bad)) as archive, pytest.raises((zipfile.BadZipFile, zlib.error)):
        archive.read(archive.namelist()[0])


def test_unreadable_answers_with_status_200(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.invalid_json(), Fault.html())
    for content_type in ("application/json;charset=UTF-8", "text/html"):
        response = client.klines()
        assert (response.status, response.headers["content-type"]) == (200, content_type)
        with pytest.raises(json.JSONDecodeError):
            _ = response.json


def test_wrong_checksum_strikes_checksums_alone(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.wrong_checksum())
    assert client.vision(KEY).status == 200
    wrong, right = client.vision(KEY + ".CHECKSUM").body, client.vision(KEY + ".CHECKSUM").body
    assert wrong[64:] == right[64:]
    assert wrong != right


def test_slow_and_dripping(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.slow(0.15), Fault.drip(0.15))
    for _ in range(2):
        began = time.monotonic()
        assert client.klines(startTime=FEBRUARY).status == 200
        assert 0.15 <= time.monotonic() - began < 2
        record = exchange.requests[-1]
        assert record.finished_at - record.received_at >= 0.14


def test_redirect_replace_and_rewrite(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(
        Fault.redirect("http://127.0.0.1:9/"), Fault.replace(b"[]"), Fault.rewrite(lambda body: body.replace(b"ALGO", b"OGLA"))
    )
    redirect = client.klines()
    assert (redirect.status, redirect.headers["location"]) == (302, "http://127.0.0.1:9/")
    assert client.klines(startTime=FEBRUARY).json == []
    assert client.api("/fapi/v1/fundingRate", symbol="ALGOUSDT").json[0]["symbol"] == "OGLAUSDT"


def test_faults_strike_where_and_as_often_as_told(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.server_error(503, host="vision", path=".zip", skip=1, times=2))
    assert client.klines().status == 200
    assert [client.vision(KEY).status for _ in range(4)] == [200, 503, 503, 200]
    exchange.faults.add(Fault.server_error(500, when=lambda request: request.params.get("limit") == "7", times=None))
    assert [client.klines(limit=limit).status for limit in (7, 8, 7, 7)] == [500, 200, 500, 500]
    assert exchange.faults.struck == 5
    exchange.faults.clear()
    assert client.klines(limit=7).status == 200


def test_a_rate_is_drawn_from_its_seed(exchange: ReplayExchange, client: Client) -> None:
    runs = []
    for _ in range(2):
        exchange.faults.clear()
        exchange.faults.add(Fault.server_error(rate=0.3, seed=4))
        runs.append([client.api("/fapi/v1/time").status for _ in range(40)])
    assert runs[0] == runs[1]
    assert 4 <= runs[0].count(503) <= 22
