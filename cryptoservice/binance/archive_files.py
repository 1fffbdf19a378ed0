"""Archive files: their names, and their verified zips read to checked rows. This module does not use the network."""

from __future__ import annotations

import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from cryptoservice.binance.parsers import funding, klines, metrics
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import Window, month_end
from cryptoservice.models import Dataset, Freq

# The longest line seen has 150 bytes, and some files hold every row twice (docs/wire.md, metrics files).
_MAX_ROW_BYTES = 2 * 256
_ENCRYPTED = 0x1
CHECKSUM = ".CHECKSUM"
"""How the name of a file's CHECKSUM ends; before that it is the name of the file."""
# Pieces of this size stay in the processor's cache while they are parsed, and keep memory from growing with the file.
_PIECE_BYTES = 100_000


@dataclass(frozen=True)
class ArchiveFile:
    """One zip of the archive: a symbol's rows of a day or of a month."""

    dataset: Dataset
    symbol: str
    freq: Freq
    """The kline interval, or for other datasets the shortest time between two rows."""
    window: Window
    """The day, or the month from its first to its last day."""

    @classmethod
    def daily(cls, dataset: Dataset, symbol: str, freq: Freq, day: date) -> ArchiveFile:
        """The file of one day."""
        return cls(dataset, symbol, freq, Window(day, day))

    @classmethod
    def monthly(cls, dataset: Dataset, symbol: str, freq: Freq, day: date) -> ArchiveFile:
        """The file of the month that `day` lies in."""
        return cls(dataset, symbol, freq, Window(day.replace(day=1), month_end(day)))

    @property
    def is_monthly(self) -> bool:
        """True for the file of a month."""
        return self.window.length > 1

    @property
    def stem(self) -> str:
        """The name without its ending, such as `BTCUSDT-5m-2026-02`."""
        return self._stem_of(self.symbol)

    @property
    def former_symbol(self) -> str:
        """The name that the symbol had while it traded: an alias such as `LITUSDTSETTLED` keeps an earlier life of `LITUSDT`."""
        return _ALIAS_ENDING.sub("", self.symbol)

    @property
    def stems(self) -> tuple[str, ...]:
        """The names that the file inside the zip may have. Nobody has said which of the two it is for an alias (docs/wire.md)."""
        return (self.stem, self._stem_of(self.former_symbol))

    def _stem_of(self, symbol: str) -> str:
        period = self.window.start.isoformat()[: 7 if self.is_monthly else 10]
        part = self.freq.value if self.dataset is Dataset.KLINES else _KINDS[self.dataset]
        return f"{symbol}-{part}-{period}"

    @property
    def key(self) -> str:
        """The whole name inside the archive, not percent-encoded (docs/wire.md, archive layout)."""
        folder = f"{self.symbol}/{self.freq.value}" if self.dataset is Dataset.KLINES else self.symbol
        period = "monthly" if self.is_monthly else "daily"
        return f"data/futures/um/{period}/{_KINDS[self.dataset]}/{folder}/{self.stem}.zip"

    @property
    def checksum_key(self) -> str:
        """The whole name of its CHECKSUM."""
        return self.key + CHECKSUM

    @property
    def max_rows(self) -> int:
        """The most rows that the file can hold when none is there twice."""
        return self.window.length * self.freq.bars_per_day


@dataclass(frozen=True)
class FileRange:
    """The files of one series from the first to the last: days, or months. The bucket lists them one after the other."""

    first: ArchiveFile
    last: ArchiveFile

    @property
    def length(self) -> int:
        """How many files there are when none is missing."""
        start, end = self.first.window.start, self.last.window.start
        if self.first.is_monthly:
            return 12 * (end.year - start.year) + end.month - start.month + 1
        return (end - start).days + 1

    @property
    def prefix(self) -> str:
        """What all of their names begin with."""
        pairs = zip(self.first.key, self.last.key, strict=True)
        return "".join(one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


_ALIAS_ENDING = re.compile(r"(?:_?SETTLED[0-9]*)+\Z")
_KINDS = {Dataset.KLINES: "klines", Dataset.METRICS: "metrics", Dataset.FUNDING_RATES: "fundingRate"}


@dataclass(frozen=True)
class VerifiedZip:
    """A zip whose bytes match the published checksum, not yet opened."""

    source: ArchiveFile
    body: bytes
    sha256: str
    """64 hexadecimal digits."""
    last_modified: str | None
    """The Last-Modified header as the archive sent it."""
    fetched_at: float
    """Epoch seconds of the download."""
    etag: str | None = None
    """The ETag header without its quotes."""


def read_zip(archived: VerifiedZip) -> RowsByDay:
    """The checked rows of a verified zip by day. Raises InvalidData when its content cannot be trusted."""
    source = archived.source
    pieces = _unpack(archived)
    if source.dataset is Dataset.METRICS:
        content = "".join(pieces)
        return metrics.parse_csv(content, source.symbol, source.window.start, former_symbol=source.former_symbol)
    if source.dataset is Dataset.FUNDING_RATES:
        return funding.parse_csv("".join(pieces), source.window)
    return klines.parse_csv(pieces, source.freq, source.window)


def _names(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """The member's name as zipfile reads it, and read as UTF-8: some zip tools write UTF-8 without the flag that says so."""
    try:
        return (member.filename, member.filename.encode("cp437").decode("utf-8"))
    except UnicodeError:
        return (member.filename,)


def _max_csv_bytes(source: ArchiveFile) -> int:
    return 4096 + source.max_rows * _MAX_ROW_BYTES


def max_zip_bytes(source: ArchiveFile) -> int:
    """The most bytes that a sound zip of that file can have."""
    return 4096 + _max_csv_bytes(source)


def _unpack(archived: VerifiedZip) -> Iterator[str]:
    """The text of the only member in pieces of whole lines.

    Nothing is unpacked to disk, and no more is inflated than such a file can hold. The check of the whole comes last, so
    InvalidData can be raised after any piece.
    """
    limit = _max_csv_bytes(archived.source)
    try:
        with zipfile.ZipFile(io.BytesIO(archived.body)) as zipped:
            members = zipped.infolist()
            if len(members) != 1:
                raise InvalidData("zip_member_count")
            member = members[0]
            if not {f"{stem}.csv" for stem in archived.source.stems}.intersection(_names(member)):
                raise InvalidData("zip_member_name")
            if member.flag_bits & _ENCRYPTED:
                raise InvalidData("zip_encrypted")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InvalidData("zip_compression")
            with zipped.open(member) as stream:
                rest = b""
                while content := stream.read(_PIECE_BYTES):
                    limit -= len(content)
                    if limit < 0:
                        raise InvalidData("zip_too_large")
                    lines, end, rest = (rest + content).rpartition(b"\n")
                    if end:
                        yield _text(lines + end)
                yield _text(rest)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError):
        raise InvalidData("zip_unreadable") from None


def _text(content: bytes) -> str:
    # A byte that is no UTF-8 is the fault of its own row: the mark that takes its place is no number.
    return content.decode("utf-8", "replace")
