"""A bare HTTP client: what is on the wire, as it is."""

from __future__ import annotations

import http.client
import io
import json
import zipfile
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote, urlencode

from tests.exchange import ReplayExchange

KLINES = "/fapi/v1/klines"
UM = "data/futures/um"
FEBRUARY = int(datetime(2026, 2, 1, tzinfo=timezone.utc).timestamp() * 1000)
MINUTE = 60_000
DAY = 86_400_000


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    def __init__(self, exchange: ReplayExchange) -> None:
        self._exchange = exchange

    def api(self, path: str, headers: dict[str, str] | None = None, method: str = "GET", **params: Any) -> Response:
        query = "?" + urlencode(params) if params else ""
        return self._send(self._exchange.api_url, path + query, headers or {}, method)

    def klines(self, symbol: str = "ALGOUSDT", interval: str = "1m", **params: Any) -> Response:
        return self.api(KLINES, symbol=symbol, interval=interval, **params)

    def vision(self, key: str) -> Response:
        return self._send(self._exchange.vision_url, "/" + quote(key), {}, "GET")

    def listing(self, path: str = "/data.binance.vision", method: str = "GET", **params: Any) -> Response:
        host = "/".join(self._exchange.listing_url.split("/")[:3])
        query = "?" + urlencode({name.replace("_", "-"): value for name, value in params.items()}) if params else ""
        return self._send(host, path + query, {}, method)

    def csv(self, key: str) -> str:
        response = self.vision(key)
        assert response.status == 200, (key, response)
        return unzipped(response.body)

    @staticmethod
    def _send(url: str, target: str, headers: dict[str, str], method: str) -> Response:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
        try:
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            body = response.read()
            return Response(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
        finally:
            connection.close()


def unzipped(body: bytes) -> str:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
        (name,) = archive.namelist()
        return archive.read(name).decode()


def kline_key(symbol: str, interval: str, period: str) -> str:
    span = "monthly" if len(period) == 7 else "daily"
    return f"{UM}/{span}/klines/{symbol}/{interval}/{symbol}-{interval}-{period}.zip"


def metrics_key(symbol: str, day: str) -> str:
    return f"{UM}/daily/metrics/{symbol}/{symbol}-metrics-{day}.zip"


def funding_key(symbol: str, month: str) -> str:
    return f"{UM}/monthly/fundingRate/{symbol}/{symbol}-fundingRate-{month}.zip"
