"""The market that an exchange serves: what symbols there are, what data they have, and what a test took away."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Literal

from . import metrics, recordings
from .calendar import DAY_MS, INTERVALS, MINUTE_MS, day_number
from .funding import FundingRow, derived_rows
from .klines import Activity, Series, SyntheticSeries, forming, holds, recorded_series
from .listed_symbol import contract_of, listed_symbol, quote_of
from .metrics import STEP_MS, MetricsRow
from .publication import Publication
from .settled import SettledSeries
from .spans import NO_SPANS, Spans

KlineRow = tuple[int, str, str, str, str, str, int, str, int, str, str, str]
Source = Literal["monthly", "daily", "rest"]
Labels = Literal["start", "end", "reaching_midnight"]
"""What the labels of a metrics file are: 00:00 to 23:55 that start their bars, 00:00 to 23:55 that end their bars (the first
row closes the last bar of the day before), or 00:05 to 24:00 that end their bars."""
Convention = Literal["auto", "start", "end", "reaching_midnight"]
# Real files follow no date (docs/wire.md, metrics files). "auto" is a rough picture of what was published first.
LABELLED_AT_START_SINCE = day_number(date(2026, 6, 25))
Fate = Literal["trading", "settling", "removed", "alias"]
"""What became of a symbol. "settling": listed with that status, REST and archive go on with flat bars. "removed": not listed,
REST answers -1121, the archive keeps its objects. "alias": the same, for an earlier life of a name (`LITUSDTSETTLED`)."""
_FOREVER_MS = 253_402_300_800_000  # year 10000


class Market(Publication):
    """Symbols and their data. Everything may be changed while an exchange serves it."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics_convention: Convention = "auto"
        """How the archive labels its metrics files. "auto": those before 2026-06-25 reach midnight, later ones "start"."""
        self.headerless = False
        """Kline CSVs without the header row, as before mid 2022."""
        self._series: dict[str, Series] = {}
        self._info: dict[str, Any] = {"timezone": "UTC", "serverTime": 0, "rateLimits": [], "symbols": []}
        self._listed: dict[str, dict[str, Any]] = {}
        self._funding: dict[str, list[FundingRow]] = {}
        self._kline_holes: dict[tuple[str, str], Spans] = {}
        self._metrics_holes: dict[tuple[str, str], Spans] = {}
        self._metrics_labels: list[tuple[str, int, int, Labels]] = []
        self._refused: dict[str, int] = {}
        self._funding_hours: dict[str, int] = {}

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
        status: str | None = None,
        contract_type: str | None = None,
        quote_asset: str | None = None,
        listed: bool | None = None,
        activity: Activity = "usual",
        *,
        fate: Fate = "trading",
        settled_at: datetime | None = None,
        funding_hours: int = 8,
    ) -> None:
        """Add a symbol with synthetic data on whole days, both ends inclusive; None as first day: no data at all.

        A symbol that was there before is replaced, its recorded data included. Not listed: in the archive alone. `activity`
        makes a market without information: "thin" trades in a few minutes a day, "flat" always the same at one price.
        Status and `listed` follow the fate, contract type and quote asset the name, unless they are given. `settled_at`: no
        trade, no metrics and no funding from this minute on, klines are flat up to last_day. `funding_hours`: from one funding
        rate to the next.
        """
        self._funding_hours[symbol] = funding_hours
        for data in (self._series, self._funding, self._listed):
            data.pop(symbol, None)
        if (settled_at is None and fate == "settling") or (settled_at is not None and first_day is None):
            raise ValueError("a settled symbol has a minute of settlement and klines before it")
        if first_day is not None:
            last = None if last_day is None else day_number(last_day)
            self._series[symbol] = SyntheticSeries(symbol, day_number(first_day), last, activity)
        if listed or (listed is None and fate in ("trading", "settling")):
            onboard_ms = 0 if first_day is None else day_number(first_day) * DAY_MS
            self._listed[symbol] = listed_symbol(
                symbol, onboard_ms, status or "TRADING", contract_type or contract_of(symbol), quote_asset or quote_of(symbol)
            )
        if settled_at is not None:
            self.settle(symbol, settled_at, last_day, status=status or "SETTLING")
        self.version += 1

    def settle(self, symbol: str, at: datetime, last_day: date | None = None, status: str = "SETTLING") -> None:
        """Let a symbol have traded until this minute alone; its klines go on, flat, up to last_day (None: no end).

        If exchangeInfo lists it, it gets that status, and the settlement as its deliveryDate.
        """
        settled_ms = int(at.timestamp()) * 1000
        last = None if last_day is None else day_number(last_day)
        self._series[symbol] = SettledSeries(self._series[symbol], settled_ms, last)
        if symbol in self._listed:
            self.set_listing(symbol, status=status, deliveryDate=settled_ms)
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

    # -- questions ---------------------------------------------------------------------------------------------

    @property
    def info(self) -> dict[str, Any]:
        """The exchangeInfo body with the symbols as they are listed now."""
        return {**self._info, "symbols": list(self._listed.values())}

    def refusal(self, symbol: str) -> int | None:
        """The code with which REST refuses a symbol, or None."""
        return self._refused.get(symbol, None if symbol in self._listed else -1121)

    def symbols_with_klines(self) -> list[str]:
        """All symbols that have klines, listed or not."""
        return list(self._series)

    def symbols_with_funding(self) -> list[str]:
        """All symbols that may have funding rates, listed or not."""
        return list(self._series | self._funding)

    def funding_times(self, symbol: str) -> list[int]:
        """When the funding rows were that are recorded or added, ascending; derived ones are on every day with klines."""
        return [int(row["fundingTime"]) for row in self._funding.get(symbol, ())]

    def derives_funding(self, symbol: str) -> bool:
        """Whether funding is derived for all days with klines, until the settlement."""
        series = self._series.get(symbol)
        return isinstance(series.traded if isinstance(series, SettledSeries) else series, SyntheticSeries)

    def is_settled(self, symbol: str, day: int) -> bool:
        """Whether a symbol was settled before a day began."""
        return self._settled_ms(symbol) < day * DAY_MS

    def series(self, symbol: str) -> Series | None:
        """The klines of a symbol, if it has any."""
        return self._series.get(symbol)

    def kline_holes(self, symbol: str, source: Source) -> Spans:
        """What is cut out of a symbol's klines."""
        return self._kline_holes.get((symbol, source), NO_SPANS)

    def metrics_holes(self, symbol: str, source: Literal["daily", "rest"]) -> Spans:
        """What a symbol's metrics lack, by bar start: what is cut out, and all bars since its settlement."""
        holes = self._metrics_holes.get((symbol, source), NO_SPANS)
        settled_ms = self._settled_ms(symbol)
        return holes if settled_ms == _FOREVER_MS else holes.plus(-(-settled_ms // STEP_MS) * STEP_MS, _FOREVER_MS)

    def series_with_metrics(self, symbol: str, day: int) -> Series | None:
        """The klines that a symbol's metrics of a day belong to: there are metrics where there are klines."""
        series = self._series.get(symbol)
        return series if series is not None and holds(series, day) and day * DAY_MS < self._settled_ms(symbol) else None

    def _settled_ms(self, symbol: str) -> int:
        series = self._series.get(symbol)
        return series.settled_ms if isinstance(series, SettledSeries) else _FOREVER_MS

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
            if series is not None and step * STEP_MS < self._settled_ms(symbol):
                rows[step * STEP_MS] = metrics.day_texts(series, day)[index].row()
        return rows

    def funding_rows(self, symbol: str, start_ms: int, end_ms: int) -> list[FundingRow]:
        """Funding rows with funding time in [start, end), as REST sends them, ascending."""
        series = self._series.get(symbol)
        if isinstance(series, SettledSeries):
            end_ms, series = min(end_ms, series.settled_ms), series.traded
        rows = [row for row in self._funding.get(symbol, ()) if start_ms <= row["fundingTime"] < end_ms]
        if isinstance(series, SyntheticSeries):
            first = max(start_ms // DAY_MS, series.first_day)
            last = (end_ms - 1) // DAY_MS
            if series.last_day is not None:
                last = min(last, series.last_day)
            derived = derived_rows(symbol, first, last, self._funding_hours[symbol])
            rows += [row for row in derived if start_ms <= row["fundingTime"] < end_ms]
            rows.sort(key=lambda row: int(row["fundingTime"]))
        return rows
