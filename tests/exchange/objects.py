"""The objects of the archive: how their keys are formed, which of them there are, and their text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from . import metrics, recordings
from .calendar import DAY_MS, INTERVALS, MINUTE_MS, UNREPLAYED_INTERVALS, day_date, day_number, month_days
from .funding import archive_lines
from .klines import holds
from .market import Labels, Market, Source
from .recordings import ORIGINAL_FUNDING_OBJECT
from .wire import UnknownRequestError

UM = "data/futures/um"
_KEY = re.compile(
    r"data/futures/um/(?P<span>daily|monthly)/(?P<kind>klines|metrics|fundingRate)/(?P<symbol>[^/]+)/"
    r"(?:(?P<interval>[^/]+)/)?(?P<name>[^/]+)\.zip"
)
_PERIOD = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?")
_ORIGINAL_SYMBOL = "BTCUSDT"
_NO_END = 10**9  # a day number beyond all dates


class ObjectName(NamedTuple):
    """What a key asks for: days [first, after) of one kind of data."""

    span: Source
    kind: str
    symbol: str
    interval: str
    name: str
    first: int
    after: int


def parse(key: str) -> ObjectName:
    """What a key asks for. Raises UnknownRequestError for keys that are not replayed."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise UnknownRequestError("no such kind of archive object is replayed")
    span, kind, symbol, interval, name = match.group("span", "kind", "symbol", "interval", "name")
    middle = interval if kind == "klines" else kind
    if (kind == "klines") != (interval is not None) or not name.startswith(f"{symbol}-{middle}-"):
        raise UnknownRequestError("the object's name does not fit its folder")
    if interval is not None and interval not in INTERVALS:
        known = interval in UNREPLAYED_INTERVALS
        raise UnknownRequestError("this interval is not replayed" if known else "no such interval")
    period = _PERIOD.fullmatch(name.removeprefix(f"{symbol}-{middle}-"))
    if period is None or (period[3] is None) != (span == "monthly"):
        raise UnknownRequestError("the date in the object's name does not fit its folder")
    if (kind, span) in (("metrics", "monthly"), ("fundingRate", "daily")):
        raise UnknownRequestError("metrics are published daily only, funding rates monthly only")
    try:
        if period[3] is None:
            first, after = month_days(int(period[1]), int(period[2]))
        else:
            first = day_number(date(int(period[1]), int(period[2]), int(period[3])))
            after = first + 1
    except ValueError as error:
        raise UnknownRequestError("no such date") from error
    source: Source = "monthly" if span == "monthly" else "daily"
    return ObjectName(source, kind, symbol, interval or "", name, first, after)


class Objects:
    """What there would be in the archive if everything were published."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def text(self, wanted: ObjectName) -> str | None:
        """The CSV of an object, None where there is no data."""
        if wanted.kind == "klines":
            return self._klines(wanted)
        return self._metrics(wanted) if wanted.kind == "metrics" else self._funding(wanted)

    def exists(self, wanted: ObjectName) -> bool:
        """Whether there is data for an object: what `text` would say, found without making the text."""
        if wanted.kind == "klines":
            return self._has_klines(wanted)
        return self._has_metrics(wanted) if wanted.kind == "metrics" else self._has_funding(wanted)

    def symbols(self, kind: str) -> list[str]:
        """The symbols that may have objects of a kind."""
        if kind == "fundingRate":
            return sorted({*self._market.symbols_with_funding(), _ORIGINAL_SYMBOL})
        return sorted(self._market.symbols_with_klines())

    def keys(self, span: str, kind: str, symbol: str, interval: str, until: int) -> Iterator[str]:
        """The keys that a folder may hold, ascending, for days up to `until`; whether they exist is another question."""
        known = self._days(kind, symbol)
        if known is None:
            return
        first, last = known[0], min(known[1], until)
        folder = f"{UM}/{span}/{kind}/{symbol}/" + (f"{interval}/" if interval else "")
        name = f"{symbol}-{interval or kind}-"
        day = first
        while day <= last:
            that = day_date(day)
            if span == "daily":
                yield f"{folder}{name}{that.isoformat()}.zip"
                day += 1
            else:
                yield f"{folder}{name}{that.year}-{that.month:02d}.zip"
                day = month_days(that.year, that.month)[1]

    def _days(self, kind: str, symbol: str) -> tuple[int, int] | None:
        """First and last day that an object of a symbol can be about."""
        series = self._market.series(symbol)
        spans = []
        if series is not None:
            # The last bar of the last day can stand in the next day's metrics file.
            last = _NO_END if series.last_day is None else series.last_day + (kind == "metrics")
            spans.append((series.first_day, last))
        if kind == "fundingRate":
            if times := self._market.funding_times(symbol):
                spans.append((times[0] // DAY_MS, times[-1] // DAY_MS))
            if symbol == _ORIGINAL_SYMBOL:
                original = parse(ORIGINAL_FUNDING_OBJECT)
                spans.append((original.first, original.after - 1))
        return (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else None

    def _has_klines(self, wanted: ObjectName) -> bool:
        series = self._market.series(wanted.symbol)
        if series is None:
            return False
        width = INTERVALS[wanted.interval] * MINUTE_MS
        holes = self._market.kline_holes(wanted.symbol, wanted.span)
        for day in range(wanted.first, wanted.after):
            start, end = day * DAY_MS, (day + 1) * DAY_MS
            if holds(series, day) and not (
                holes.touch(start, end) and all(holes.cover(t, t + width) for t in range(start, end, width))
            ):
                return True
        return False

    def _has_metrics(self, wanted: ObjectName) -> bool:
        holes = self._market.metrics_holes(wanted.symbol, "daily")
        for t in self._metrics_times(wanted):
            if self._market.series_with_metrics(wanted.symbol, t // DAY_MS) is not None and not holes.cover(t, t + 1):
                return True
        return False

    def _has_funding(self, wanted: ObjectName) -> bool:
        start, end = wanted.first * DAY_MS, wanted.after * DAY_MS
        series = self._market.series(wanted.symbol)
        # Derived rates, which cost most, are there on all days with klines until the settlement.
        if self._market.derives_funding(wanted.symbol) and series is not None:
            first = max(series.first_day, wanted.first)
            if first < wanted.after and holds(series, first) and not self._market.is_settled(wanted.symbol, first + 1):
                return True
        return bool(archive_lines(self._market.funding_rows(wanted.symbol, start, end)))

    def _klines(self, wanted: ObjectName) -> str | None:
        series = self._market.series(wanted.symbol)
        if series is None:
            return None
        minutes = INTERVALS[wanted.interval]
        width = minutes * MINUTE_MS
        shift = width - 1
        holes = self._market.kline_holes(wanted.symbol, wanted.span)
        lines: list[str] = []
        for day in range(wanted.first, wanted.after):
            if not holds(series, day):
                continue
            start = day * DAY_MS
            times = range(start, start + DAY_MS, width)
            rows = zip(times, series.pairs(minutes, day), strict=True)
            if holes.touch(start, start + DAY_MS):
                lines += [f"{t},{a},{t + shift},{b},0\n" for t, (a, b) in rows if not holes.cover(t, t + width)]
            else:
                lines += [f"{t},{a},{t + shift},{b},0\n" for t, (a, b) in rows]
        if not lines:
            return None
        return ("" if self._market.headerless else recordings.KLINE_HEADER + "\n") + "".join(lines)

    def _metrics(self, wanted: ObjectName) -> str | None:
        day = wanted.first
        labels = self._market.metrics_labels(wanted.symbol, day)
        first = _first_bar(labels)
        holes = self._market.metrics_holes(wanted.symbol, "daily")
        times = self._metrics_times(wanted)
        tails = self._metrics_tails(wanted.symbol, day)[metrics.DAY_ROWS + first : 2 * metrics.DAY_ROWS + first]
        rows = zip(times, _labels(day, reach_midnight=labels == "reaching_midnight"), tails, strict=True)
        lines = [label + tail for t, label, tail in rows if tail and (not holes or not holes.cover(t, t + 1))]
        return recordings.METRICS_HEADER + "\n" + "".join(lines) if lines else None

    def _metrics_times(self, wanted: ObjectName) -> range:
        """The starts of the bars that a metrics file is about."""
        first = _first_bar(self._market.metrics_labels(wanted.symbol, wanted.first)) * metrics.STEP_MS
        return range(wanted.first * DAY_MS + first, wanted.after * DAY_MS + first, metrics.STEP_MS)

    def _metrics_tails(self, symbol: str, day: int) -> list[str]:
        """The lines of the day before and of the day, by bar and without labels; empty where there is no such bar."""
        tails: list[str] = []
        for number in (day - 1, day):
            series = self._market.series_with_metrics(symbol, number)
            tails += [""] * metrics.DAY_ROWS if series is None else metrics.day_csv(series, number)
        return tails

    def _funding(self, wanted: ObjectName) -> str | None:
        rows = self._market.funding_rows(wanted.symbol, wanted.first * DAY_MS, wanted.after * DAY_MS)
        lines = archive_lines(rows)
        return recordings.FUNDING_HEADER + "\n" + "".join(lines) if lines else None


def _first_bar(labels: Labels) -> int:
    """The first bar of a metrics file, in bars after midnight."""
    return -1 if labels == "end" else 0


_CLOCKS = [f" {minute // 60:02d}:{minute % 60:02d}:00" for minute in range(0, 1440, 5)]


def _labels(day: int, *, reach_midnight: bool) -> list[str]:
    """The 288 labels of a metrics file, from 00:00 or from 00:05 on, as "YYYY-MM-DD HH:MM:SS"."""
    today, tomorrow = day_date(day).isoformat(), day_date(day + 1).isoformat()
    labels = [today + clock for clock in _CLOCKS]
    return [*labels[1:], f"{tomorrow} 00:00:00"] if reach_midnight else labels
