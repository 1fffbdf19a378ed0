"""The truth about a run, from the archive's zips by way of zipfile, csv and float: nothing of it comes from the package."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import math
import sqlite3
import struct
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

KLINE_COLUMNS = (
    "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume",
)  # fmt: skip
_WIRE_PLACES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 10)
_WHOLE = (0, 8)
_DAY_MS = 86_400_000
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Zips:
    """Monthly kline objects on disk: a folder of {symbol}-{interval}-{month}.zip."""

    folder: Path
    symbols: Sequence[str]
    interval: str
    months: Sequence[str]

    def fetch(self, archive_url: str) -> None:
        """Bring them there from an archive."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for symbol, month in self._names():
            name = f"{symbol}-{self.interval}-{month}.zip"
            address = f"{archive_url}/data/futures/um/monthly/klines/{symbol}/{self.interval}/{name}"
            with urllib.request.urlopen(address) as answer:
                (self.folder / name).write_bytes(answer.read())

    def texts(self) -> Iterator[tuple[str, list[list[str]]]]:
        """Each month of each symbol as fields of text."""
        for symbol, month in self._names():
            stem = f"{symbol}-{self.interval}-{month}"
            with zipfile.ZipFile(self.folder / f"{stem}.zip") as zipped:
                lines = csv.reader(io.StringIO(zipped.read(f"{stem}.csv").decode()))
                yield symbol, [[line[place] for place in _WIRE_PLACES] for line in lines if line[0].isdigit()]

    def rows(self) -> Iterator[Row]:
        """(symbol, open_time, open, ...) by symbol and time, numbers as Python reads them."""
        for symbol, lines in self.texts():
            for fields in lines:
                start, opened, high, low, close, volume, quote, trades, taker, taker_quote = fields
                yield (
                    symbol, int(start), float(opened), float(high), float(low), float(close), float(volume), float(quote),
                    int(trades), float(taker), float(taker_quote),
                )  # fmt: skip

    def write_csv(self, path: Path) -> int:
        """The text of all rows with the symbol's number first, for the reference to import; how many."""
        count = 0
        with path.open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            for symbol, lines in self.texts():
                number = self.symbols.index(symbol) + 1
                writer.writerows([number, *fields] for fields in lines)
                count += len(lines)
        return count

    def day_digests(self) -> dict[str, str]:
        """sha256 of the daily CSV files that an export of these rows must give."""
        days: dict[str, dict[str, list[str]]] = {}
        for symbol, *values in self.rows():
            day = datetime.fromtimestamp(values[0] // 1000, timezone.utc).date().isoformat()
            days.setdefault(day, {}).setdefault(symbol, []).append(",".join([symbol, *map(repr, values)]))
        header = ",".join(("symbol", *KLINE_COLUMNS))
        return {
            day: hashlib.sha256("".join(f"{line}\n" for line in [header, *_flat(symbols)]).encode()).hexdigest()
            for day, symbols in days.items()
        }

    def month_digests(self) -> dict[str, dict[str, str]]:
        """By symbol and month, the digest that a lock must hold: sha256 over the records that docs/formats.md describes."""
        months: dict[tuple[str, str], Any] = {}
        for symbol, *values in self.rows():
            month = datetime.fromtimestamp(values[0] // 1000, timezone.utc).strftime("%Y-%m")
            digest = months.setdefault((symbol, month), hashlib.sha256())
            digest.update(bytes(4) + struct.pack("<q6dq2d", *values))
        found: dict[str, dict[str, str]] = {}
        for (symbol, month), digest in months.items():
            found.setdefault(symbol, {})[month] = digest.hexdigest()
        return found

    def _names(self) -> Iterator[tuple[str, str]]:
        for symbol in sorted(self.symbols):
            for month in self.months:
                yield symbol, month


def _flat(symbols: dict[str, list[str]]) -> list[str]:
    return [line for symbol in sorted(symbols) for line in symbols[symbol]]


def assert_rows(database: Path, zips: Zips) -> None:
    """Every row of the database is that of the zips, and none is missing."""
    with sqlite3.connect(database) as db:
        stored = db.execute(f"SELECT symbol, {', '.join(KLINE_COLUMNS)} FROM klines ORDER BY symbol, open_time")
        for number, (found, expected) in enumerate(itertools.zip_longest(stored, zips.rows())):
            if found != expected:
                raise SystemExit(f"{database}: row {number} is {found} and should be {expected}")


@dataclass(frozen=True)
class Sums:
    """Checksums of a table of klines: quick, and enough to tell a run that went wrong from one that was compared row by row."""

    rows: int
    times: int
    trades: int
    amounts: tuple[float, ...]
    """One for each column of prices and volumes: a wrong price must not drown in volume."""

    @classmethod
    def of(cls, database: Path, symbols: Sequence[str] = ()) -> Sums:
        """Read them: of these symbols, or of all."""
        totals = ", ".join(f"total({column})" for column in KLINE_COLUMNS if column not in ("open_time", "trades"))
        where = f" WHERE symbol IN ({', '.join('?' * len(symbols))})" if symbols else ""
        with sqlite3.connect(database) as db:
            found = db.execute(f"SELECT count(*), sum(open_time), sum(trades), {totals} FROM klines{where}", symbols).fetchone()
        return cls(*found[:3], found[3:])

    def assert_equal(self, other: Sums) -> None:
        """Whole numbers exactly, amounts but for the order in which they were added."""
        whole = (self.rows, self.times, self.trades) == (other.rows, other.times, other.trades)
        close = (math.isclose(mine, theirs, rel_tol=1e-11) for mine, theirs in zip(self.amounts, other.amounts, strict=True))
        if not whole or not all(close):
            raise SystemExit(f"checksums differ: {self} and {other}")


def export_digests(folder: Path, freq: str) -> dict[str, str]:
    """sha256 of the klines files of an export, by day."""
    files = sorted((folder / "klines" / f"freq={freq}").glob("date=*/klines.csv"))
    return {path.parent.name.removeprefix("date="): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def assert_same(what: str, found: object, expected: object) -> None:
    """A benchmark that gave another result than it must is no benchmark."""
    if found != expected:
        raise SystemExit(f"{what}: found {str(found)[:500]}, expected {str(expected)[:500]}")
