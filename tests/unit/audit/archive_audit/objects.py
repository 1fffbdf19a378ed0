"""Archive objects as a database notes them, and a small archive that lists and serves their newer versions."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from cryptoservice.audit.archive_audit.used_objects import UsedObject
from cryptoservice.binance.archive import Archive
from cryptoservice.binance.listing import BucketListing
from cryptoservice.models import Dataset, SourceObject
from cryptoservice.storage.ledger import Series
from tests.unit.binance.loopback import Loopback, Reply, Seen
from tests.unit.binance.wired import wired_to
from tests.unit.fakes import FEBRUARY

FOLDER = "data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-"
METRICS = Series(Dataset.METRICS, "5m", "BTCUSDT")


def key(day: str) -> str:
    """The name of a day's metrics."""
    return f"{FOLDER}{day}.zip"


def body(text: str) -> bytes:
    """The bytes of an object: no zip, but they begin like one."""
    return b"PK\x03\x04" + text.encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def line(content: bytes, name: str) -> bytes:
    """The CHECKSUM of these bytes."""
    return f"{sha256(content)}  {name.rsplit('/', 1)[-1]}\n".encode()


def version(content: bytes, name: str, etag: str | None = "", size: int | None = -1) -> SourceObject:
    """What a database notes of an object with these bytes; without ETag and size as an earlier version did."""
    noted = md5(content) if etag == "" else etag
    return SourceObject(name, sha256(content), None, "then", noted, len(content) if size == -1 else size)


def used(content: bytes, name: str, *days: date, **noted: object) -> UsedObject:
    return UsedObject(METRICS, version(content, name, **noted), days or (FEBRUARY,))  # type: ignore[arg-type]


@dataclass
class Shelf:
    """What the archive holds (None: it answers 404), and what its listing shows of it."""

    held: dict[str, bytes | None] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    page_size: int = 1000
    asked: list[str] = field(default_factory=list)

    def put(self, name: str, content: bytes, checksum: bytes | None = None) -> None:
        """Publish an object with its CHECKSUM."""
        self.held[name] = content
        self.held[f"{name}.CHECKSUM"] = line(content, name) if checksum is None else checksum

    @contextlib.contextmanager
    def open(self) -> Iterator[tuple[BucketListing, Archive]]:
        """The listing and the archive, both at one server."""
        with Loopback(self._reply).running() as server, wired_to(server.url, workers=8) as made:
            yield (
                BucketListing(made.host, made.limiter, made.clock),
                Archive(made.host, made.limiter, made.clock),
            )

    def _reply(self, _: int, seen: Seen) -> Reply:
        address = urlsplit(seen.target)
        if "prefix=" in address.query:
            options = {name: values[0] for name, values in parse_qs(address.query, encoding="utf-8").items()}
            self.asked.append(f"after {options.get('marker', '')}")
            return Reply(body=self._page(options["prefix"], options.get("marker", "")))
        name = unquote(address.path)[1:]
        self.asked.append(name)
        content = self.held.get(name)
        return Reply(404, b"<Error/>") if content is None else Reply(body=content)

    def _page(self, prefix: str, marker: str) -> bytes:
        names = sorted(
            (name for name, content in self.held.items() if content is not None and name not in self.unlisted), key=str.encode
        )
        wanted = [name for name in names if name.startswith(prefix) and name > marker]
        entries = "".join(self._entry(name, self.held[name] or b"") for name in wanted[: self.page_size])
        truncated = str(len(wanted) > self.page_size).lower()
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Prefix>{escape(prefix)}</Prefix><IsTruncated>{truncated}</IsTruncated>{entries}</ListBucketResult>"
        ).encode()

    def _entry(self, name: str, content: bytes) -> str:
        etag = self.etags.get(name, md5(content))
        return (
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-09-02T07:40:48.000Z</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag><Size>{len(content)}</Size></Contents>"
        )
