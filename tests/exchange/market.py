"""The market that an exchange serves: what symbols there are, what data they have, and what a test took away."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Iterable
from datetime import date
from typing import Any, Literal

from . import metrics, recordings
from .calendar import DAY_MS, INTERVALS, MINUTE_MS, day_number
from .funding import FundingRow, derived_rows
from .klines import Activity, Series, SyntheticSeries, forming, holds, recorded_series
from .metrics import STEP_MS, MetricsRow
from .spans import NO_SPANS, Spans

KlineRow = tuple[int, str, str, str, str, str, int, str, int, str, str, str]
Source = Literal["monthly", "daily", "rest"]
Labels = Literal["start", "end", "reaching_midnight"]
"""What the labels of a metrics file are: 00:00 to 23:55 that start their bars, 00:00 to 23:55 that end their bars (the first
row closes the last bar of the day before), or 00:05 to 24:00 that end their bars."""
Convention = Literal["auto", "start", "end", "reaching_midnight"]
# Real files follow no date (docs/wire.md, metrics files). "auto" is a rough picture of what was published first.
LABELLED_AT_START_SINCE = day_number(date(2026, 6, 25))
_PERPETUAL_DELIVERY_MS = 4_133_404_800_000


class Market:
    """Symbols and their data. Everything may be changed while an exchange serves it."""

    def __init__(self) -> None:
        self.archive_until: date | None = None
        """Last day whose daily archive objects are published; None: all that has data."""
        self.metrics_convention: Convention = "auto"
        """How the archive labels its metrics files. "auto": those before 2026-06-25 reach midnight, later ones "start"."""
        self.headerless = False
        """Kline CSVs without the header row, as before mid 2022."""
        self.version = 0
        """Counts changes: whoever caches what is derived from this market compares it."""
        self._series: dict[str, Series] = {}
        self._info: dict[str, Any] = {"timezone": "UTC", "serverTime": 0, "rateLimits": [], "symbols": []}
        self._listed: dict[str, dict[str, Any]] = {}
        self._funding: dict[str, list[FundingRow]] = {}
        self._kline_holes: dict[tuple[str, str], Spans] = {}
        self._metrics_holes: dict[tuple[str, str], Spans] = {}
        self._metrics_labels: list[tuple[str, int, int, Labels]] = []
        self._refused: dict[str, int] = {}
        self._withheld: list[Callable[[str], bool]] = []
        self._replaced: dict[str, tuple[bytes, bytes | None]] = {}

    @classmethod
    def recorded(cls) -> Market:
        """The recorded market: klines of three symbols in February 2026, exchangeInfo, funding; metrics are derived."""
        market = cls()
        market._info = recordings.exchange_info()
        market._listed = {entry["symbol"]: entry for entry in market._info["symbols"]}
        market._series = {symbol: recorded_series(symbol) for symbol in recordings.KLINE_SYMBOLS}
        market._funding = {symbol: list(rows) for symbol, rows in recordings.funding().items()}
        return market

    # -- changes -----------------------------------------------------------------------------------------------

    def add_symbol(
        self,
        symbol: str,
        first_day: date | None = None,
        last_day: date | None = None,
        status: str = "TRADING",
        contract_type: str = "PERPETUAL",
        quote_asset: str = "USDT",
        listed: bool = True,
        activity: Activity = "usual",
    ) -> None:
        """Add a symbol with synthetic data on whole days, both ends inclusive; None as first day: no data at all.

        A symbol that was there before is replaced, its recorded data included. Not listed: in the archive alone. `activity`
        makes a market without information: "thin" trades in a few minutes a day, "flat" always the same at one price.
        """
        self._series.pop(symbol, None)
        self._funding.pop(symbol, None)
        self._listed.pop(symbol, None)
        if first_day is not None:
            last = None if last_day is None else day_number(last_day)
            self._series[symbol] = SyntheticSeries(symbol, day_number(first_day), last, activity)
        if listed:
            model = copy.deepcopy(recordings.exchange_info()["symbols"][0])
            model |= {
                "symbol": symbol,
                "pair": symbol,
                "contractType": contract_type,
                "deliveryDate": _PERPETUAL_DELIVERY_MS,
                "onboardDate": 0 if first_day is None else day_number(first_day) * DAY_MS,
                "status": status,
                "baseAsset": symbol.removesuffix(quote_asset),
                "quoteAsset": quote_asset,
                "marginAsset": quote_asset,
            }
            self._listed[symbol] = model
        self.version += 1

    def set_listing(self, symbol: str, **fields: Any) -> None:
        """Change fields of a symbol in exchangeInfo by their wire names, e.g. status="SETTLING"."""
        self._listed[symbol] = {**self._listed[symbol], **fields}
        self.version += 1

    def delist(self, symbol: str) -> None:
        """Take a symbol out of exchangeInfo: REST answers -1121 from now on, the archive keeps its objects."""
        del self._listed[symbol]
        self.version += 1

    def refuse(self, symbol: str, code: Literal[-1121, -1122] = -1121) -> None:
        """Let REST refuse a symbol, listed or not."""
        self._refused[symbol] = code
        self.version += 1

    def drop_klines(
        self, symbol: str, start_ms: int, end_ms: int, sources: Iterable[Source] = ("monthly", "daily", "rest")
    ) -> None:
        """Cut the minutes of [start, end) out of these sources. A coarser bar is absent where all its minutes are."""
        for source in sources:
            key = (symbol, source)
            self._kline_holes[key] = self._kline_holes.get(key, NO_SPANS).plus(start_ms, end_ms)
        self.version += 1

    def drop_metrics(
        self, symbol: str, start_ms: int, end_ms: int, sources: Iterable[Literal["daily", "rest"]] = ("daily", "rest")
    ) -> None:
        """Cut the metrics whose bar starts in [start, end) out of these sources."""
        for source in sources:
            key = (symbol, source)
            self._metrics_holes[key] = self._metrics_holes.get(key, NO_SPANS).plus(start_ms, end_ms)
        self.version += 1

    def label_metrics(self, symbol: str, first: date, last: date, labels: Labels) -> None:
        """Publish the metrics files of these days, both ends inclusive, with such labels; the latest call counts."""
        self._metrics_labels.append((symbol, day_number(first), day_number(last), labels))
        self.version += 1

    def add_funding(self, symbol: str, rows: Iterable[FundingRow]) -> None:
        """Add funding rows in wire form (fundingTime, fundingRate, optional markPrice and rateType) to those there are."""
        known = self._funding.setdefault(symbol, [])
        for row in rows:
            known.append({"symbol": symbol, "markPrice": "", "rateType": "Regular", **row})
        known.sort(key=lambda row: int(row["fundingTime"]))
        self.version += 1

    def without_objects(self, which: Callable[[str], bool] | Collection[str]) -> None:
        """Let archive objects (by key) answer 404; their CHECKSUM goes with them. May be called repeatedly."""
        if callable(which):
            self._withheld.append(which)
        else:
            self._withheld.append(frozenset([which] if isinstance(which, str) else which).__contains__)
        self.version += 1

    def replace_object(self, key: str, body: bytes, checksum: bytes | None = None) -> None:
        """Serve this body under a key, published or not; None as checksum: the right line for it."""
        self._replaced[key] = (body, checksum)
        self.version += 1

    # -- questions ---------------------------------------------------------------------------------------------

    @property
    def info(self) -> dict[str, Any]:
        """The exchangeInfo body with the symbols as they are listed now."""
        return {**self._info, "symbols": list(self._listed.values())}

    def refusal(self, symbol: str) -> int | None:
        """The code with which REST refuses a symbol, or None."""
        return self._refused.get(symbol, None if symbol in self._listed else -1121)

    def series(self, symbol: str) -> Series | None:
        """The klines of a symbol, if it has any."""
        return self._series.get(symbol)

    def kline_holes(self, symbol: str, source: Source) -> Spans:
        """What is cut out of a symbol's klines."""
        return self._kline_holes.get((symbol, source), NO_SPANS)

    def metrics_holes(self, symbol: str, source: Literal["daily", "rest"]) -> Spans:
        """What is cut out of a symbol's metrics, by bar start."""
        return self._metrics_holes.get((symbol, source), NO_SPANS)

    def series_with_metrics(self, symbol: str, day: int) -> Series | None:
        """The klines that a symbol's metrics of a day belong to: there are metrics where there are klines."""
        series = self._series.get(symbol)
        return series if series is not None and holds(series, day) else None

    def withheld(self, key: str) -> bool:
        """Whether a test took this archive object away."""
        return any(gone(key) for gone in self._withheld)

    def replaced(self, key: str) -> tuple[bytes, bytes | None] | None:
        """Hand-made body and CHECKSUM of an object, if a test made one."""
        return self._replaced.get(key)

    def metrics_labels(self, symbol: str, day: int) -> Labels:
        """How the metrics file of a day is labelled."""
        for name, first, last, labels in reversed(self._metrics_labels):
            if name == symbol and first <= day <= last:
                return labels
        if self.metrics_convention == "auto":
            return "reaching_midnight" if day < LABELLED_AT_START_SINCE else "start"
        return self.metrics_convention

    # -- the truth, for tests ----------------------------------------------------------------------------------

    def kline_json(
        self, symbol: str, interval: str, start_ms: int, end_ms: int, *, holes: Spans = NO_SPANS,
        limit: int | None = None, newest: bool = False, now_ms: int | None = None,
    ) -> list[str]:  # fmt: skip
        """REST rows (JSON text) with open time in [start, end), ascending: the oldest `limit`, or the newest ones.

        With now: bars that have not opened are left out and the one still forming shows the data so far.
        """
        series = self._series.get(symbol)
        if series is None:
            return []
        minutes = INTERVALS[interval]
        width = minutes * MINUTE_MS
        first = max(-(-start_ms // width), series.first_day * DAY_MS // width)
        last = (end_ms - 1) // width  # inclusive, in bars since 1970
        if series.last_day is not None:
            last = min(last, (series.last_day + 1) * DAY_MS // width - 1)
        if now_ms is not None:
            last = min(last, now_ms // width)
        # Holes are rare: without one the page is known by arithmetic, with one it is cut after filtering.
        if limit is not None and not holes:
            if newest:
                first = max(first, last - limit + 1)
            else:
                last = min(last, first + limit - 1)
        rows: list[str] = []
        per_day = DAY_MS // width
        bar = first
        while bar <= last:
            day, index = divmod(bar, per_day)
            stop = min(per_day, index + last - bar + 1)
            pairs = series.json_pairs(minutes, day)
            if stop - index < per_day:
                pairs = pairs[index:stop]
            opened = bar * width
            bar += stop - index
            times = range(opened, bar * width, width)
            shift = width - 1
            timed = zip(times, pairs, strict=True)
            if holes and holes.touch(opened, bar * width):
                rows += [f'[{t},{a},{t + shift},{b},"0"]' for t, (a, b) in timed if not holes.cover(t, t + width)]
            else:
                rows += [f'[{t},{a},{t + shift},{b},"0"]' for t, (a, b) in timed]
        if now_ms is not None and first <= last == now_ms // width:
            opened = last * width
            if not holes.cover(opened, opened + width):
                rows.pop()
            if not holes.cover(opened, now_ms + 1):
                head, tail = forming(series, opened, now_ms)
                rows.append(f'[{opened},{head},{opened + width - 1},{tail},"0"]')
        if limit is not None and len(rows) > limit:
            return rows[-limit:] if newest else rows[:limit]
        return rows

    def kline_rows(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> list[KlineRow]:
        """Finished bars with open time in [start, end) as REST sends them, without holes."""
        return [tuple(json.loads(row)) for row in self.kline_json(symbol, interval, start_ms, end_ms)]

    def metrics_rows(self, symbol: str, start_ms: int, end_ms: int) -> dict[int, MetricsRow]:
        """Metrics by bar start in [start, end), without holes."""
        first = -(-start_ms // STEP_MS)
        rows: dict[int, MetricsRow] = {}
        for step in range(first, -(-end_ms // STEP_MS)):
            day, index = divmod(step, metrics.DAY_ROWS)
            series = self.series_with_metrics(symbol, day)
            if series is not None:
                rows[step * STEP_MS] = metrics.day_texts(series, day)[index].row()
        return rows

    def funding_rows(self, symbol: str, start_ms: int, end_ms: int) -> list[FundingRow]:
        """Funding rows with funding time in [start, end), as REST sends them, ascending."""
        series = self._series.get(symbol)
        rows = [row for row in self._funding.get(symbol, ()) if start_ms <= row["fundingTime"] < end_ms]
        if isinstance(series, SyntheticSeries):
            first = max(start_ms // DAY_MS, series.first_day)
            last = (end_ms - 1) // DAY_MS
            if series.last_day is not None:
                last = min(last, series.last_day)
            derived = derived_rows(symbol, first, last)
            rows += [row for row in derived if start_ms <= row["fundingTime"] < end_ms]
            rows.sort(key=lambda row: int(row["fundingTime"]))
        return rows
