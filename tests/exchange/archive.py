"""The archive host: publication, headers, checksums, and objects built with deterministic bytes."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Callable
from typing import NamedTuple
from xml.sax.saxutils import escape

from . import recordings
from .cache import ObjectCache, StoredObject
from .calendar import DAY_MS, INTERVALS, day_date, day_number
from .market import Market
from .objects import UM, ObjectName, Objects, parse
from .recordings import ORIGINAL_FUNDING_OBJECT
from .wire import Reply, Request, UnknownRequestError

CHECKSUM = ".CHECKSUM"
_XML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.'
    "</Message><Key>{key}</Key><RequestId>REPLAY0000000000</RequestId><HostId>replay</HostId></Error>"
)
# The page that lists the archive in a browser: the download host sends it for every ?prefix= (docs/wire.md, bucket listing).
_PAGE = b"""<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Binance Data Collection</title></head>
<body><div id="navigation"></div><div id="listing"></div><script src="/list.js"></script></body></html>
"""
_PUBLISHED_AFTER_MS = 8 * 3_600_000  # objects are published about 8 hours after their day (docs/wire.md, publication)
_PHANTOM = re.compile(UM + r"/(?P<span>daily|monthly)/klines/(?P<symbol>[^/]+)//")
_PHANTOM_MODIFIED = 1_600_000_000  # epoch seconds
_MOST_DIGESTS = 500_000


class Digest(NamedTuple):
    """What is known of an object without its body; modified is its Last-Modified in epoch seconds."""

    sha256: str
    etag: str
    size: int
    modified: int


class _GoneError(LookupError):
    """A test took the data away while an object was being made."""


class Archive:
    """Answers requests of the archive host from a market."""

    def __init__(self, market: Market, now_ms: Callable[[], int]) -> None:
        self._market = market
        self._now_ms = now_ms
        self._objects = Objects(market)
        self._cache = ObjectCache()
        self._digests: dict[object, Digest] = {}  # outlives the bodies: a listing needs these of whole folders
        self._building = [threading.Lock() for _ in range(64)]

    # -- the host ----------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> Reply:
        """The object, its CHECKSUM, or S3's 404. Raises UnknownRequestError for keys that are not replayed."""
        key = request.path.lstrip("/")
        if "prefix" in request.params and not key:
            return Reply(200, _PAGE, "text/html", (("Server", "AmazonS3"),))
        if request.params:
            raise UnknownRequestError("the archive is asked without a query (the bucket listing is another host)")
        stored = self.find(key)
        if stored is None:
            return not_found(key)
        kind = "application/zip" if key.endswith(".zip") else "binary/octet-stream"
        return _object_reply(stored, kind)

    def find(self, key: str) -> StoredObject | None:
        """What is served under a key: an object or a CHECKSUM. Raises UnknownRequestError."""
        if not self.has(key):
            return None
        zip_key = key.removesuffix(CHECKSUM)
        try:
            if zip_key != key:
                stored = StoredObject.of(self._checksum(zip_key), self._digest(zip_key).modified)
            elif _PHANTOM.fullmatch(key):
                stored = StoredObject.of(b"", _PHANTOM_MODIFIED)
            else:
                stored = self._zip(key)
        except _GoneError:
            return None
        return self._arranged(key, stored)

    def digest(self, key: str) -> Digest | None:
        """ETag, size and date of what `find` serves; bodies are built at most once."""
        if not key.endswith(".zip") or self._market.replaced(key) is not None or self._market.in_parts(key):
            stored = self.find(key)
            return None if stored is None else _digest_of(stored)
        try:
            digest = self._digest(key)
        except _GoneError:
            return None
        modified = self._market.modified(key)
        return digest if modified is None else digest._replace(modified=modified)

    def has(self, key: str) -> bool:
        """Whether something is served under a key: known without building it. Raises UnknownRequestError."""
        zip_key = key.removesuffix(CHECKSUM)
        if self._market.replaced(zip_key) is not None:
            return True
        if self._market.withheld(key) or self._market.withheld(zip_key):
            return False
        phantom = _PHANTOM.fullmatch(key)
        if phantom is not None:
            return self._market.phantom_children and self._has_klines(phantom["span"], phantom["symbol"])
        wanted = parse(zip_key)
        if not self._published(wanted):
            return False
        return self._is_original(zip_key) or self._objects.exists(wanted)

    def listed(self, key: str) -> bool:
        """Whether the bucket listing shows a key: it is served, and the listing is not behind."""
        until = self._market.listed_until
        if until is not None and not key.endswith("/") and parse(key.removesuffix(CHECKSUM)).after - 1 > day_number(until):
            return False
        return not self._market.unlisted(key) and self.has(key)

    def body(self, key: str) -> bytes | None:
        """The bytes of an object as the market has it, published or not, replaced or not; None where there is no data."""
        wanted = parse(key)
        return self._made(key).body if self._is_original(key) or self._objects.exists(wanted) else None

    # -- making ------------------------------------------------------------------------------------------------

    def _published(self, wanted: ObjectName) -> bool:
        until = self._market.archive_until
        return wanted.after * DAY_MS <= self._now_ms() and (until is None or wanted.after - 1 <= day_number(until))

    def _has_klines(self, span: str, symbol: str) -> bool:
        today = self._now_ms() // DAY_MS
        return any(
            self.listed(key) for interval in INTERVALS for key in self._objects.keys(span, "klines", symbol, interval, today)
        )

    def _is_original(self, key: str) -> bool:
        return key == ORIGINAL_FUNDING_OBJECT and self._market.series("BTCUSDT") is None

    def _checksum(self, zip_key: str) -> bytes:
        replaced = self._market.replaced(zip_key)
        line = None if replaced is None else replaced.checksum
        if line is None and replaced is None and zip_key == ORIGINAL_FUNDING_OBJECT:
            line = recordings.original_funding_object()[1]
        if line is None:
            line = f"{self._digest(zip_key).sha256}  {zip_key.rsplit('/', 1)[-1]}\n".encode()
        return line.removesuffix(b"\n") if self._market.without_newline(zip_key) else line

    def _arranged(self, key: str, stored: StoredObject) -> StoredObject:
        """The same object with the date and the kind of ETag that a test wants."""
        modified = self._market.modified(key)
        if modified is not None:
            stored = stored._replace(modified=modified)
        if self._market.in_parts(key):
            stored = stored._replace(etag=_etag_of_parts(stored.body))
        return stored

    def _digest(self, key: str) -> Digest:
        """The digest of a zip as it was made."""
        if self._market.replaced(key) is not None:
            return _digest_of(self._zip(key))
        known = self._digests.get(self._mark(key))
        return known if known is not None else _digest_of(self._zip(key))

    def _zip(self, key: str) -> StoredObject:
        """The zip of a key that is there."""
        replaced = self._market.replaced(key)
        return self._made(key) if replaced is None else StoredObject.of(replaced.body, replaced.modified)

    def _made(self, key: str) -> StoredObject:
        """The zip of a key that has data, as it is made from the market."""
        mark = self._mark(key)
        # A client asks for an object and its CHECKSUM at the same time: it is built once.
        with self._building[hash(key) % len(self._building)]:
            stored = self._cache.get(mark)
            if stored is None:
                stored = self._cache.put(mark, self._built(key))
                if len(self._digests) >= _MOST_DIGESTS:
                    self._digests.clear()
                self._digests[mark] = _digest_of(stored)
            return stored

    def _mark(self, key: str) -> object:
        market = self._market
        return (key, market.version, market.headerless, market.metrics_convention)

    def _built(self, key: str) -> StoredObject:
        wanted = parse(key)
        modified = (wanted.after * DAY_MS + _PUBLISHED_AFTER_MS) // 1000
        if self._is_original(key):
            return StoredObject.of(recordings.original_funding_object()[0], modified)
        text = self._objects.text(wanted)
        if text is None:
            raise _GoneError(key)
        return StoredObject.of(zipped(wanted.name + ".csv", text), modified)


def _digest_of(stored: StoredObject) -> Digest:
    return Digest(stored.sha256, stored.etag, len(stored.body), stored.modified)


def _etag_of_parts(body: bytes) -> str:
    """The ETag of an upload in two parts: the MD5 of their MD5s, and their number."""
    middle = (len(body) + 1) // 2
    digests = [hashlib.md5(part).digest() for part in (body[:middle], body[middle:])]
    return hashlib.md5(b"".join(digests)).hexdigest() + "-2"


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
