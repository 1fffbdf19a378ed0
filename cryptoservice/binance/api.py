"""The futures API (fapi): its endpoints, read to checked rows. Weights and limits are those of docs/wire.md."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple, TypeVar

from cryptoservice.binance.http.host import Call, Host
from cryptoservice.binance.http.limiter import RateLimiter
from cryptoservice.binance.http.responses import Response, Transient, api_response_parser
from cryptoservice.binance.parsers import funding, klines, metrics
from cryptoservice.binance.parsers.funding import MarketRates
from cryptoservice.binance.parsers.metrics import RestSeries, RestValues
from cryptoservice.binance.parsers.numbers import parse_timestamp
from cryptoservice.binance.parsers.rows_by_day import InvalidData, LeftOut, RowsByDay, join_left_out
from cryptoservice.clock import Clock
from cryptoservice.days import Window
from cryptoservice.errors import HistoryEnded
from cryptoservice.models import DAY_MS, Freq, Row

# 499 rows weigh 2 and 500 rows weigh 5, so this page gives the most rows for its weight (docs/wire.md, klines).
KLINES_PAGE_ROWS = 499
FUNDING_PAGE_ROWS = 1000
METRICS_PAGE_ROWS = 500
# 820 symbols take one megabyte. Every other response is a page of rows, far below the default limit.
_EXCHANGE_INFO_BYTES = 32 * 1024 * 1024
_LARGEST_LIMIT = 10**7

T = TypeVar("T")


def klines_weight(limit: int) -> int:
    """Request weight of a klines page with that `limit`, whatever number of rows it returns."""
    if limit < 100:
        return 1
    if limit < 500:
        return 2
    return 5 if limit <= 1000 else 10


@dataclass(frozen=True)
class ApiLimits:
    """One budget for each limit that the API keeps for an IP address: request weight, funding rates, /futures/data."""

    weighted: RateLimiter
    funding: RateLimiter
    data: RateLimiter


class Contract(NamedTuple):
    """One entry of the exchange information; a field that the exchange leaves out is empty or None."""

    contract_type: str
    status: str
    quote_asset: str
    onboard_ms: int | None
    """When trading began (ms UTC), by the exchange's word: a relisting resets it, and some values are placeholders."""
    delivery_ms: int | None
    """When the contract ends (ms UTC); a perpetual that trades has a day in the year 2100."""

    @property
    def is_trading_perpetual(self) -> bool:
        """Whether it is a USDT perpetual that trades now."""
        return (self.contract_type, self.status, self.quote_asset) == ("PERPETUAL", "TRADING", "USDT")


class TradingList(NamedTuple):
    """The symbols with contractType PERPETUAL, status TRADING and quoteAsset USDT."""

    symbols: frozenset[str]
    server_time: float | None
    """The exchange's clock in epoch seconds, or None when it does not say."""
    contracts: Mapping[str, Contract]
    """Every contract that the exchange names, whatever its type and status."""


class FuturesApi:
    """Public market data of USDT-M futures over REST. Safe to use from many threads.

    All methods raise SymbolRefused for a symbol that the API does not serve, SourceRefused when the host is closed to this
    run, SourceError when retries did not help, and Interrupted when the client is closed meanwhile. Error texts of the API
    pass through `redact`.
    """

    def __init__(self, host: Host, limits: ApiLimits, clock: Clock, redact: Callable[[str], str] = str) -> None:
        self._host = host
        self._limits = limits
        self._clock = clock
        self._parse_response = api_response_parser(clock, redact)

    def trading_list(self) -> TradingList:
        """The symbols that trade now (GET /fapi/v1/exchangeInfo, weight 1)."""

        def parse_response(response: Response) -> TradingList:
            record = self._parse_response(response)
            try:
                contracts: dict[str, Contract] = {}
                for entry in record["symbols"]:
                    contract = _contract(entry)
                    name = entry["symbol"] if contract.is_trading_perpetual else entry.get("symbol")
                    # Of a name that stands there twice, the contract that trades is the one that counts.
                    if isinstance(name, str) and not (name in contracts and contracts[name].is_trading_perpetual):
                        contracts[name] = contract
                limit = _minute_limit(record.get("rateLimits"))
            except (KeyError, TypeError, AttributeError):
                raise Transient("unexpected_answer", "the exchange information has no list of symbols") from None
            names = frozenset(name for name, one in contracts.items() if one.is_trading_perpetual)
            if not names:
                # No exchange is without a market, and a universe built on this list would be empty for good.
                raise Transient("unexpected_answer", "the exchange information lists no trading USDT perpetual")
            if limit:
                self._limits.weighted.announce(limit)
            return TradingList(names, response.server_time, contracts)

        return self._host.fetch(
            Call("exchange_info", "/fapi/v1/exchangeInfo", {}, self._limits.weighted, max_bytes=_EXCHANGE_INFO_BYTES),
            parse_response,
        )

    def klines(self, symbol: str, freq: Freq, window: Window) -> RowsByDay:
        """Finished klines of the window by day (GET /fapi/v1/klines, pages of 499 rows, weight 2 or less each)."""
        days: dict[date, list[Row]] = {}
        left_out: list[LeftOut] = []
        for page in self._kline_pages(symbol, freq, window):
            left_out.append(page.left_out)
            for day, rows in page.days.items():
                days.setdefault(day, []).extend(rows)
        return RowsByDay(days, join_left_out(left_out))

    def funding_rates(self, symbol: str, window: Window) -> RowsByDay:
        """Funding rates of the window by day (GET /fapi/v1/fundingRate, pages of 1000 rows, 500 requests in 5 minutes)."""
        entries: dict[str, Any] = {}
        start, last = window.start_ms, window.end_ms - 1

        def parse_record(record: Any) -> tuple[dict[str, Any], int]:
            """The entries of a page, and the moment up to which all are known (ms UTC)."""
            page = funding.entries_of(record)
            # Entries that the page before held as well are judged already.
            funding.parse_rest([entry for text, entry in page.items() if text not in entries], symbol, window)
            table = funding.parse_rest(list(page.values()), symbol, window, is_judged=True)
            moments = [row[0] for rows in table.days.values() for row in rows]
            # Rows as they were sent: one that was sent twice or left out does not make a full page the last.
            is_full = len(record) >= FUNDING_PAGE_ROWS
            if moments and moments[0] < start:
                # A server that ignores the start would be asked for the same page again and again.
                raise InvalidData("row_outside_range")
            if is_full and not moments:
                raise InvalidData("unexpected_answer")
            return page, moments[-1] if is_full else window.end_ms

        while start <= last:
            page, latest = self._host.fetch(self._funding_call(start, last, symbol), self._parser(parse_record))
            entries |= page
            # The next page starts at the last valid moment, not after it: another rate type of that moment may come first.
            start = max(latest, start + 1)
        # All at once, because two entries that contradict each other may stand on two pages.
        return funding.parse_rest(list(entries.values()), symbol, window, is_judged=True)

    def market_funding_rates(self, rates: MarketRates) -> None:
        """Fill in the rates of all symbols at once, from the same endpoint and budget.

        Whatever is raised, they hold what is known by then (`known_until`), and where pages end early, the reason (`trouble`).
        """
        is_last = False
        while not is_last:
            call = self._funding_call(rates.known_until, rates.window.end_ms - 1)
            page = self._host.fetch(call, self._parser(lambda record: rates.parse(record, FUNDING_PAGE_ROWS)))
            rates.add(page)
            is_last = page.is_last

    def _funding_call(self, start: int, last: int, symbol: str | None = None) -> Call:
        """One page of funding rates from start to last (ms UTC, both inclusive), of one symbol or of all."""
        params: dict[str, str | int] = {} if symbol is None else {"symbol": symbol}
        params |= {"startTime": start, "endTime": last, "limit": FUNDING_PAGE_ROWS}
        return Call("funding_rates", "/fapi/v1/fundingRate", params, self._limits.funding)

    def metrics(self, symbol: str, window: Window) -> RowsByDay:
        """5-minute metrics of the window by day (five GET /futures/data endpoints, pages of 500, 1000 requests in 5 minutes).

        An endpoint that keeps no data so far back leaves its columns None. Raises HistoryEnded when no endpoint has any row.
        """
        parts: list[RestValues] = []
        for series in RestSeries:
            for first in range(window.start_ms, window.end_ms, METRICS_PAGE_ROWS * metrics.PERIOD.milliseconds):
                end = min(window.end_ms, first + METRICS_PAGE_ROWS * metrics.PERIOD.milliseconds)
                parts.extend(self._metric_span(series, symbol, first, end))
        table = metrics.join_rest(parts, window)
        if not table.days:
            raise HistoryEnded(f"no metrics of {symbol} are served for {window.start} to {window.end}", reason="history_ended")
        return table

    def _metric_span(self, series: RestSeries, symbol: str, start: int, end: int) -> Iterator[RestValues]:
        """Values of the bars that start in [start, end), ms UTC: one page, or the later days of it when the first is too old."""
        # Both bounds are always sent: without the end other rows come back (docs/wire.md, market metrics).
        first, last = start + series.label_shift, end - metrics.PERIOD.milliseconds + series.label_shift
        params: Mapping[str, str | int] = {
            "symbol": symbol,
            "period": "5m",
            "startTime": first,
            "endTime": last,
            "limit": (end - start) // metrics.PERIOD.milliseconds,
        }

        def parse_record(record: Any) -> RestValues:
            return metrics.parse_rest(series, record, symbol, range(start, end))

        try:
            yield self._host.fetch(Call("metrics", series.path, params, self._limits.data), self._parser(parse_record))
        except HistoryEnded:
            # The whole page is refused when its start is too old, though its later days may still be served.
            midnight = start - start % DAY_MS + DAY_MS
            if midnight < end:
                yield from self._metric_span(series, symbol, midnight, end)

    def _parser(self, parse_record: Callable[[Any], T]) -> Callable[[Response], T]:
        """A parser of responses that checks their content too, inside the retry: bad content may be good at the next attempt."""

        def parse_response(response: Response) -> T:
            record = self._parse_response(response)
            try:
                return parse_record(record)
            except InvalidData as invalid:
                raise Transient(invalid.reason, f"a response that cannot be trusted: {invalid.reason}") from None

        return parse_response

    def _kline_pages(self, symbol: str, freq: Freq, window: Window) -> Iterator[RowsByDay]:
        length = freq.milliseconds
        bars = (window.end_ms - window.start_ms) // length
        for first in range(0, bars, KLINES_PAGE_ROWS):
            count = min(KLINES_PAGE_ROWS, bars - first)
            start = window.start_ms + first * length
            # Both bounds are inclusive and compare with the open time, so this page holds exactly `count` bars.
            end = start + count * length - 1
            params = {"symbol": symbol, "interval": freq.value, "startTime": start, "endTime": end, "limit": count}
            call = Call("klines", "/fapi/v1/klines", params, self._limits.weighted, weight=klines_weight(count))
            yield self._host.fetch(call, self._klines_parser(freq, window, start, end))

    def _klines_parser(self, freq: Freq, window: Window, start: int, end: int) -> Callable[[Response], RowsByDay]:
        def parse_response(response: Response) -> RowsByDay:
            record = self._parse_response(response)
            try:
                finished = self._finished(record, freq, response)
                table = klines.parse_rest(finished, freq, window)
            except InvalidData as invalid:
                raise Transient(invalid.reason, f"klines that cannot be trusted: {invalid.reason}") from None
            if any(rows[0][0] < start or rows[-1][0] > end for rows in table.days.values()):
                # A server that ignores the bounds would make other days look empty.
                raise Transient("row_outside_range", "klines from outside the requested range")
            return table

        return parse_response

    def _finished(self, record: Any, freq: Freq, response: Response) -> Any:
        """The page without the candle that is still forming, by the server's clock, because ours may run ahead."""
        now = response.server_time
        now_ms = math.floor((self._clock.time() if now is None else now) * 1000)
        if isinstance(record, list) and record and isinstance(record[-1], list) and record[-1]:
            # What is no time here is refused by the parser of the rows.
            with contextlib.suppress(InvalidData):
                if 0 < now_ms <= parse_timestamp(record[-1][0]) + freq.milliseconds:
                    return record[:-1]
        return record


def _contract(entry: Any) -> Contract:
    words = [value if isinstance(value := entry.get(key), str) else "" for key in ("contractType", "status", "quoteAsset")]
    moments = [_moment(entry.get(key)) for key in ("onboardDate", "deliveryDate")]
    return Contract(words[0], words[1], words[2], moments[0], moments[1])


def _moment(value: Any) -> int | None:
    with contextlib.suppress(InvalidData):
        return parse_timestamp(value)
    return None


def _minute_limit(limits: Any) -> int | None:
    for limit in limits if isinstance(limits, list) else ():
        if limit.get("rateLimitType") == "REQUEST_WEIGHT" and limit.get("interval") == "MINUTE" and limit.get("intervalNum") == 1:
            value = limit.get("limit")
            return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_LIMIT else None
    return None
