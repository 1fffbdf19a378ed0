"""The API host: endpoints, their parameters, weights and errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from . import metrics
from .calendar import INTERVALS, UNREPLAYED_INTERVALS
from .funding import FundingOfAll
from .limits import Bucket, Limits
from .market import Market
from .metrics import STEP_MS
from .wire import (
    ApiError,
    Reply,
    Request,
    UnknownRequestError,
    invalid_interval,
    invalid_symbol,
    invalid_symbol_status,
    json_bytes,
    missing,
    reversed_times,
)

FUTURES_DATA = (
    "openInterestHist", "topLongShortPositionRatio", "topLongShortAccountRatio", "globalLongShortAccountRatio",
    "takerlongshortRatio",
)  # fmt: skip
_PERIODS = frozenset({"5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"})
_RETENTION_MS = 30 * 86_400_000
_FOREVER_MS = 253_402_300_800_000  # year 10000


class Endpoint(NamedTuple):
    """How a path is answered: what it costs in which bucket, and who answers."""

    bucket: Bucket
    weight: Callable[[dict[str, str]], int]
    params: frozenset[str]
    answer: Callable[[Request], Reply]


class Api:
    """Answers requests of the API host from a market."""

    def __init__(self, market: Market, limits: Limits, now_ms: Callable[[], int]) -> None:
        self._market = market
        self._limits = limits
        self._now_ms = now_ms
        self._funding_of_all = FundingOfAll(market)
        self._symbols = (-1, b"")  # a megabyte of JSON, made once per version of the market
        window = {"symbol", "startTime", "endTime", "limit"}
        self._endpoints = {
            "/fapi/v1/time": Endpoint("weight", _one, frozenset(), self._time),
            "/fapi/v1/exchangeInfo": Endpoint("weight", _one, frozenset(), self._exchange_info),
            "/fapi/v1/klines": Endpoint("weight", klines_weight, frozenset(window | {"interval"}), self._klines),
            "/fapi/v1/fundingRate": Endpoint("funding", _one, frozenset(window), self._funding),
        }
        for name in FUTURES_DATA:
            path = f"/futures/data/{name}"
            self._endpoints[path] = Endpoint("futures_data", _one, frozenset(window | {"period"}), self._futures_data)

    def endpoint(self, request: Request) -> Endpoint:
        """Who answers this request. Raises UnknownRequestError."""
        endpoint = self._endpoints.get(request.path)
        if endpoint is None:
            raise UnknownRequestError("no such endpoint is replayed")
        strange = sorted(set(request.params) - endpoint.params)
        if strange:
            raise UnknownRequestError(f"parameters that this endpoint does not have: {', '.join(strange)}")
        return endpoint

    def _time(self, _: Request) -> Reply:
        return Reply(200, json_bytes({"serverTime": self._now_ms()}))

    def _exchange_info(self, _: Request) -> Reply:
        info = {**self._market.info, "serverTime": self._now_ms()}
        symbols = info.pop("symbols")
        if self._symbols[0] != self._market.version:
            self._symbols = (self._market.version, json_bytes(symbols))
        if self._limits.enforced and self._limits.announce:
            others = [entry for entry in info["rateLimits"] if entry["rateLimitType"] != "REQUEST_WEIGHT"]
            info["rateLimits"] = [announced(self._limits), *others]
        body = json_bytes(info)[:-1] + b',"symbols":' + self._symbols[1] + b"}"
        return Reply(200, body, compressible=True)

    def _klines(self, request: Request) -> Reply:
        params = request.params
        symbol = _required(params, "symbol")
        interval = _required(params, "interval")
        limit = _limit(params, default=500, most=1500)
        start, end = _instant(params, "startTime"), _instant(params, "endTime")
        if interval not in INTERVALS:
            if interval in UNREPLAYED_INTERVALS:
                raise UnknownRequestError(f"klines of interval {interval} are not replayed")
            raise invalid_interval()
        self._check_symbol(symbol)
        if start is not None and end is not None and start > end:
            raise reversed_times()
        now = self._now_ms()
        stop = now + 1 if end is None else end + 1
        holes = self._market.kline_holes(symbol, "rest")
        rows = self._market.kline_json(
            symbol, interval, start or 0, stop, holes=holes, limit=limit, newest=start is None, now_ms=now
        )
        return Reply(200, ("[" + ",".join(rows) + "]").encode(), compressible=True)

    def _funding(self, request: Request) -> Reply:
        params = request.params
        symbol = _required(params, "symbol") if "symbol" in params else None
        start, end = _instant(params, "startTime"), _instant(params, "endTime")
        text = params.get("limit", "100" if start is not None or end is not None else "200")
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise _bad_limit()
        limit = int(text)
        if limit > 1000:
            return Reply(400, json_bytes(_FUNDING_LIMIT_BODY))
        if symbol is not None:
            self._check_symbol(symbol)
        if start is not None and end is not None and start > end:
            raise reversed_times()
        stop = min(self._now_ms(), _FOREVER_MS if end is None else end) + 1
        if symbol is None:
            rows = self._funding_of_all.rows(start or 0, stop, limit, newest=start is None)
        else:
            rows = self._market.funding_rows(symbol, start or 0, stop)
            rows = rows[-limit:] if start is None else rows[:limit]
        return Reply(200, json_bytes(rows), compressible=True)

    def _futures_data(self, request: Request) -> Reply:
        params = request.params
        symbol, period = _required(params, "symbol"), _required(params, "period")
        if period not in _PERIODS:
            raise _bad_parameter("period")
        if period != "5m":
            raise UnknownRequestError(f"/futures/data/ with period {period} is not replayed")
        text = params.get("limit", "30")
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 500:
            raise _bad_parameter("limit")
        limit = int(text)
        start, end = _instant(params, "startTime"), _instant(params, "endTime")
        now = self._now_ms()
        if start is not None and start < now - _RETENTION_MS:
            raise _bad_parameter("startTime")
        if start is not None and end is not None and start > end:
            raise _bad_parameter("endTime")
        self._check_symbol(symbol)
        endpoint = request.path.rsplit("/", 1)[-1]
        rows = self._futures_rows(endpoint, symbol, start, end, limit, now)
        return Reply(200, ("[" + ",".join(rows) + "]").encode(), compressible=True)

    def _futures_rows(self, endpoint: str, symbol: str, start: int | None, end: int | None, limit: int, now: int) -> list[str]:
        """Ascending; with a start the oldest rows from there, without one the newest."""
        # Open interest and ratios are labelled at the end of their period, the taker ratio at its start.
        shift = 0 if endpoint == "takerlongshortRatio" else STEP_MS
        oldest = now - _RETENTION_MS if start is None else start
        first = -(-(oldest - shift) // STEP_MS)
        last = now // STEP_MS - 1  # a period is known when it has ended
        if end is not None:
            last = min(last, (end - shift) // STEP_MS)
        holes = self._market.metrics_holes(symbol, "rest")
        # Oldest first walks up until the page is full, newest first walks down.
        steps = range(first, last + 1) if start is not None else range(last, first - 1, -1)
        rows: list[str] = []
        known_day, texts = -1, None
        for step in steps:
            day, index = divmod(step, metrics.DAY_ROWS)
            if day != known_day:
                known_day = day
                series = self._market.series_with_metrics(symbol, day)
                texts = None if series is None else metrics.day_json(endpoint, series, day)
            if texts is None or not texts[index] or (holes and holes.cover(step * STEP_MS, step * STEP_MS + 1)):
                continue
            rows.append(f"{texts[index]}{step * STEP_MS + shift}}}")
            if len(rows) == limit:
                break
        return rows if start is not None else rows[::-1]

    def _check_symbol(self, symbol: str) -> None:
        code = self._market.refusal(symbol)
        if code is not None:
            raise invalid_symbol() if code == -1121 else invalid_symbol_status()


_FUNDING_LIMIT_BODY: dict[str, Any] = {
    "status": "ERROR", "type": "VALID", "code": "000002",
    "errorData": {"limit": "limit can not greater than 1000"}, "data": None, "subData": None, "params": None,
}  # fmt: skip


def _one(_: dict[str, str]) -> int:
    return 1


def klines_weight(params: dict[str, str]) -> int:
    """Weight of a klines request, by the limit it asks for (not by the rows it gets)."""
    text = params.get("limit", "500")
    limit = int(text) if text.isascii() and text.isdigit() else 0
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def announced(limits: Limits) -> dict[str, Any]:
    """The weight limit as exchangeInfo announces it."""
    seconds = max(1, math.ceil(limits.window))
    interval, number = ("MINUTE", seconds // 60) if seconds % 60 == 0 else ("SECOND", seconds)
    return {"rateLimitType": "REQUEST_WEIGHT", "interval": interval, "intervalNum": number, "limit": limits.weight}


def _required(params: dict[str, str], name: str) -> str:
    value = params.get(name, "")
    if not value:
        raise missing(name)
    return value


def _limit(params: dict[str, str], default: int, most: int) -> int:
    text = params.get("limit", str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise _bad_limit()
    return int(text)


def _bad_limit() -> ApiError:
    return ApiError(-1130, "Data sent for parameter 'limit' is not valid.")


def _bad_parameter(name: str) -> ApiError:
    return ApiError(-1130, f"parameter '{name}' is invalid.", code_last=True)


def _instant(params: dict[str, str], name: str) -> int | None:
    """Epoch milliseconds of a time parameter."""
    text = params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        legal = "legal range is '^[0-9]{1,20}$'."
        raise ApiError(-1100, f"Illegal characters found in parameter '{name}'; {legal}")
    return int(text)
