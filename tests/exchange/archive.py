"""The archive host: object keys, publication, and objects built with deterministic bytes."""

from __future__ import annotations

import io
import re
import threading
import zipfile
from collections.abc import Callable
from datetime import date
from typing import NamedTuple
from xml.sax.saxutils import escape

from . import metrics, recordings
from .cache import ObjectCache, StoredObject
from .calendar import DAY_MS, INTERVALS, MINUTE_MS, UNREPLAYED_INTERVALS, day_date, day_number, month_days
from .funding import archive_lines
from .klines import holds
from .market import Market, Source
from .recordings import ORIGINAL_FUNDING_OBJECT
from .wire import Reply, Request, UnknownRequestError

_KEY = re.compile(
    r"data/futures/um/(?P<span>daily|monthly)/(?P<kind>klines|metrics|fundingRate)/(?P<symbol>[^/]+)/"
    r"(?:(?P<interval>[^/]+)/)?(?P<name>[^/]+)\.zip"
)
_PERIOD = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?")
_XML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.'
    "</Message><Key>{key}</Key><RequestId>REPLAY0000000000</RequestId><HostId>replay</HostId></Error>"
)
_PUBLISHED_AFTER_MS = 8 * 3_600_000  # objects are published about 8 hours after their day (docs/wire.md, publication)

_REPLACED_AT = 1_780_000_000  # Last-Modified of hand-made objects, epoch seconds


class ObjectName(NamedTuple):
    """What a key asks for: days [first, after) of one kind of data."""

    span: Source
    kind: str
    symbol: str
    interval: str
    name: str
    first: int
    after: int


class Archive:
    """Answers requests of the archive host from a market."""

    def __init__(self, market: Market, now_ms: Callable[[], int]) -> None:
        self._market = market
        self._now_ms = now_ms
        self._cache = ObjectCache()
        self._building = [threading.Lock() for _ in range(64)]

    def answer(self, request: Request) -> Reply:
        """The object, its CHECKSUM, or S3's 404. Raises UnknownRequestError for keys that are not replayed."""
        key = request.path.lstrip("/")
        if request.params:
            raise UnknownRequestError("the archive is asked without a query (listings are not replayed)")
        wants_checksum = key.endswith(".CHECKSUM")
        zip_key = key.removesuffix(".CHECKSUM")
        replaced = self._market.replaced(zip_key)
        if replaced is not None:
            body, checksum = replaced
            stored = StoredObject.of(body, _REPLACED_AT)
        else:
            if self._market.withheld(key) or self._market.withheld(zip_key):
                return not_found(key)
            found = self._stored(zip_key)
            if found is None:
                return not_found(key)
            stored, checksum = found, None
            if zip_key == ORIGINAL_FUNDING_OBJECT:
                checksum = recordings.original_funding_object()[1]
        if wants_checksum:
            line = checksum or f"{stored.sha256}  {zip_key.rsplit('/', 1)[-1]}\n".encode()
            return _object_reply(StoredObject.of(line, stored.modified), "binary/octet-stream")
        return _object_reply(stored, "application/zip")

    def body(self, key: str) -> bytes | None:
        """The bytes of an object as if everything were published; None where there is no data."""
        stored = self._build(self._parse(key), key)
        return None if stored is None else stored.body

    def _stored(self, key: str) -> StoredObject | None:
        wanted = self._parse(key)
        until = self._market.archive_until
        if wanted.after * DAY_MS > self._now_ms() or (until is not None and wanted.after - 1 > day_number(until)):
            return None
        return self._build(wanted, key)

    def _build(self, wanted: ObjectName, key: str) -> StoredObject | None:
        market = self._market
        mark = (key, market.version, market.headerless, market.metrics_convention)
        # A client asks for an object and its CHECKSUM at the same time: it is built once.
        with self._building[hash(key) % len(self._building)]:
            return self._cache.get(mark) or self._built(wanted, key, mark)

    def _built(self, wanted: ObjectName, key: str, mark: object) -> StoredObject | None:
        market = self._market
        modified = (wanted.after * DAY_MS + _PUBLISHED_AFTER_MS) // 1000
        if key == ORIGINAL_FUNDING_OBJECT and market.series("BTCUSDT") is None:
            return self._cache.put(mark, StoredObject.of(recordings.original_funding_object()[0], modified))
        text = {"klines": self._klines, "metrics": self._metrics, "fundingRate": self._funding}[wanted.kind](wanted)
        if text is None:
            return None
        return self._cache.put(mark, StoredObject.of(zipped(wanted.name + ".csv", text), modified))

    def _parse(self, key: str) -> ObjectName:
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
        # The first bar of the file, in bars after midnight.
        first = -1 if labels == "end" else 0
        holes = self._market.metrics_holes(wanted.symbol, "daily")
        times = range(day * DAY_MS + first * metrics.STEP_MS, (day + 1) * DAY_MS + first * metrics.STEP_MS, metrics.STEP_MS)
        tails = self._metrics_tails(wanted.symbol, day)[metrics.DAY_ROWS + first : 2 * metrics.DAY_ROWS + first]
        rows = zip(times, _labels(day, reach_midnight=labels == "reaching_midnight"), tails, strict=True)
        lines = [label + tail for t, label, tail in rows if tail and (not holes or not holes.cover(t, t + 1))]
        return recordings.METRICS_HEADER + "\n" + "".join(lines) if lines else None

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


_CLOCKS = [f" {minute // 60:02d}:{minute % 60:02d}:00" for minute in range(0, 1440, 5)]


def _labels(day: int, *, reach_midnight: bool) -> list[str]:
    """The 288 labels of a metrics file, from 00:00 or from 00:05 on, as "YYYY-MM-DD HH:MM:SS"."""
    today, tomorrow = day_date(day).isoformat(), day_date(day + 1).isoformat()
    labels = [today + clock for clock in _CLOCKS]
    return [*labels[1:], f"{tomorrow} 00:00:00"] if reach_midnight else labels


def zipped(member: str, text: str) -> bytes:
    """A zip with one member and fixed dates: the same text gives the same bytes."""
    info = zipfile.ZipInfo(member, date_time=(2020, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o644 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compresslevel=1) as archive:
        archive.writestr(info, text.encode(), compresslevel=1)
    return buffer.getvalue()


def not_found(key: str) -> Reply:
    """S3's answer for a key that does not exist."""
    return Reply(404, _XML.format(key=escape(key)).encode(), "application/xml", (("Server", "AmazonS3"),))


def _object_reply(stored: StoredObject, content_type: str) -> Reply:
    headers = (
        ("Last-Modified", http_date(stored.modified)),
        ("ETag", f'"{stored.etag}"'),
        ("Server", "AmazonS3"),
        ("Accept-Ranges", "bytes"),
        ("X-Cache", "Miss from cloudfront"),
    )
    return Reply(200, stored.body, content_type, headers)


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: int) -> str:
    """An instant (epoch seconds) as HTTP writes it."""
    number, rest = divmod(seconds, 86_400)
    day = day_date(number)
    hours, rest = divmod(rest, 3_600)
    name, month = _DAYS[day.weekday()], _MONTHS[day.month - 1]
    return f"{name}, {day.day:02d} {month} {day.year} {hours:02d}:{rest // 60:02d}:{rest % 60:02d} GMT"
