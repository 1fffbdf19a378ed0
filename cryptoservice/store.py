"""SQLite: the tables, one-transaction symbol-day writes, the ledger, and the queries that export and status need.

The public names (klines, metrics, funding_rates, symbol_days) are views: underneath, a symbol with its dataset and frequency
is a small integer, which makes rows a third smaller and inserts quicker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from cryptoservice.clock import check
from cryptoservice.days import Window, day_number, day_start_ms
from cryptoservice.errors import StoreError, UsageError
from cryptoservice.files import refuse_folder
from cryptoservice.models import DAY_MS, Dataset, Freq, Row, SourceObject, Status
from cryptoservice.rows import columns_of

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
# A statement of this many rows stays under the 999 parameters that older SQLite builds allow, and divides 288 and 1440.
_ROWS_A_STATEMENT = 72
_CACHE_KIB = 8 * 1024
# Short waits, many times: between them a signal is seen.
_BUSY_MS = 200
_BUSY_ATTEMPTS = 3000

_SCHEMA = """
CREATE TABLE series (
    id INTEGER PRIMARY KEY, dataset TEXT NOT NULL, freq TEXT NOT NULL, symbol TEXT NOT NULL, UNIQUE (symbol, dataset, freq)
);
CREATE TABLE kline_rows (
    series_id INTEGER NOT NULL, open_time INTEGER NOT NULL, open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL,
    close REAL NOT NULL, volume REAL NOT NULL, quote_volume REAL NOT NULL, trades INTEGER NOT NULL,
    taker_buy_volume REAL NOT NULL, taker_buy_quote_volume REAL NOT NULL, PRIMARY KEY (series_id, open_time)
) WITHOUT ROWID;
CREATE TABLE metric_rows (
    series_id INTEGER NOT NULL, open_time INTEGER NOT NULL, open_interest REAL, open_interest_value REAL,
    top_trader_account_ratio REAL, top_trader_position_ratio REAL, global_account_ratio REAL, taker_volume_ratio REAL,
    PRIMARY KEY (series_id, open_time)
) WITHOUT ROWID;
CREATE TABLE funding_rows (
    series_id INTEGER NOT NULL, funding_time INTEGER NOT NULL, rate_type TEXT NOT NULL, funding_rate REAL NOT NULL,
    mark_price REAL, PRIMARY KEY (series_id, funding_time, rate_type)
) WITHOUT ROWID;
CREATE TABLE ledger (
    series_id INTEGER NOT NULL, day INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT, rows INTEGER NOT NULL,
    expected_rows INTEGER NOT NULL, source TEXT, checked_at INTEGER NOT NULL, object_id INTEGER,
    PRIMARY KEY (series_id, day)
) WITHOUT ROWID;
CREATE TABLE source_objects (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, last_modified TEXT, fetched_at TEXT NOT NULL,
    UNIQUE (name, sha256)
);
CREATE VIEW klines AS
    SELECT s.symbol, s.freq, r.open_time, r.open, r.high, r.low, r.close, r.volume, r.quote_volume, r.trades,
           r.taker_buy_volume, r.taker_buy_quote_volume
    FROM series s JOIN kline_rows r ON r.series_id = s.id WHERE s.dataset = 'klines';
CREATE VIEW metrics AS
    SELECT s.symbol, r.open_time, r.open_interest, r.open_interest_value, r.top_trader_account_ratio,
           r.top_trader_position_ratio, r.global_account_ratio, r.taker_volume_ratio
    FROM series s JOIN metric_rows r ON r.series_id = s.id WHERE s.dataset = 'metrics';
CREATE VIEW funding_rates AS
    SELECT s.symbol, r.funding_time, r.funding_rate, r.mark_price, r.rate_type
    FROM series s JOIN funding_rows r ON r.series_id = s.id WHERE s.dataset = 'funding_rates';
CREATE VIEW symbol_days AS
    SELECT s.dataset, s.freq, s.symbol, date(l.day * 86400, 'unixepoch') AS date, l.status, l.reason, l.rows, l.expected_rows,
           l.source, strftime('%Y-%m-%dT%H:%M:%S+00:00', l.checked_at, 'unixepoch') AS checked_at, l.object_id
    FROM series s JOIN ledger l ON l.series_id = s.id;
"""


class _Table(NamedTuple):
    name: str
    time: str
    columns: tuple[str, ...]


_TABLES = {
    Dataset.KLINES: _Table(
        "kline_rows",
        "open_time",
        (
            "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume",
            "taker_buy_quote_volume",
        ),
    ),
    Dataset.METRICS: _Table(
        "metric_rows",
        "open_time",
        (
            "open_time", "open_interest", "open_interest_value", "top_trader_account_ratio", "top_trader_position_ratio",
            "global_account_ratio", "taker_volume_ratio",
        ),
    ),
    Dataset.FUNDING_RATES: _Table("funding_rows", "funding_time", ("funding_time", "funding_rate", "mark_price", "rate_type")),
}  # fmt: skip


class Series(NamedTuple):
    """One symbol of one dataset at one frequency (empty for funding rates)."""

    dataset: Dataset
    freq: str
    symbol: str


class LedgerLine(NamedTuple):
    """What the ledger says of one symbol-day."""

    status: Status
    reason: str | None
    rows: int
    expected_rows: int


class LedgerEntry(NamedTuple):
    """A whole line of the ledger, for those who report on it."""

    symbol: str
    day: date
    status: Status
    reason: str | None
    rows: int
    expected_rows: int
    source: str | None
    checked_at: int
    """Epoch seconds."""


@dataclass(frozen=True)
class SymbolDay:
    """One symbol-day ready to be written: its rows, in time order, and its ledger line."""

    series: Series
    day: date
    status: Status
    reason: str | None
    rows: Sequence[Row]
    expected_rows: int
    source: str | None
    checked_at: float
    """Epoch seconds."""
    origin: SourceObject | None = None


def columns(dataset: Dataset) -> tuple[str, ...]:
    """The columns of that dataset's rows after the symbol, the time first."""
    return _TABLES[dataset].columns


@contextlib.contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "locked" in text:
            hint = "another program is writing to it: close that program and run again"
        elif "full" in text or "disk I/O" in text:
            hint = "free some space and run again: everything committed so far is kept"
        elif "readonly" in text or "unable to open" in text:
            hint = "check the permissions of the file and its folder"
        elif "malformed" in text or "not a database" in text:
            hint = "restore it from a copy, or choose another --db-path and download again"
        else:
            hint = "look at the file with the sqlite3 shell"
        raise StoreError(f"database {path}: {text}", hint=hint) from error


def _connect(path: Path, *, mode: str) -> sqlite3.Connection:
    # As an absolute URI every name is that of a file, `:memory:` included.
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=30.0, isolation_level=None)


class Store:
    """An open database. Use one thread only."""

    def __init__(self, path: Path, connection: sqlite3.Connection, stop: threading.Event | None = None) -> None:
        self._path = path
        self._db = connection
        self._stop = stop
        self._logging = False
        self._series: dict[Series, int] = {}
        self._objects: dict[tuple[str, str], int] = {}
        self._inserts: dict[tuple[str, int], str] = {}

    @classmethod
    @contextlib.contextmanager
    def create(cls, path: Path, stop: threading.Event | None = None) -> Iterator[Store]:
        """Open for writing; created when missing. Take the DatabaseLock first. `stop` ends a wait for other programs."""
        if path.is_dir():
            raise StoreError(f"database {path} is a folder", hint="name a file with --db-path")
        with _sqlite_errors(path), contextlib.closing(_connect(path, mode="rwc")) as db:
            if _is_new(path, db):
                db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            store = cls(path, db, stop)
            try:
                yield store
            finally:
                store._leave_one_file()

    @classmethod
    @contextlib.contextmanager
    def read(cls, path: Path) -> Iterator[Store]:
        """Open read-only; UsageError when there is no such database."""
        refuse_folder(path, "database")
        if not path.exists():
            raise UsageError(f"database {path} does not exist", hint="make it with: cryptoservice universe download")
        _roll_back(path)
        with _sqlite_errors(path), contextlib.closing(_connect(path, mode="ro")) as db:
            if _is_new(path, db):
                raise StoreError(f"database {path} is empty", hint="fill it with: cryptoservice universe download")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            # One snapshot for the whole reading: a download that runs meanwhile cannot change what an export sees.
            db.execute("BEGIN")
            yield cls(path, db)

    def write(self, batch: Iterable[SymbolDay]) -> None:
        """Replace rows and ledger lines of these symbol-days, all in one transaction."""
        with _sqlite_errors(self._path):
            if not self._logging:
                # Only now: a run that writes nothing leaves every byte as it was. Readers then go on beside the writer.
                self._when_free("PRAGMA journal_mode = WAL")
                self._logging = True
            self._when_free("BEGIN IMMEDIATE")
            try:
                for symbol_day in batch:
                    self._write_day(symbol_day)
                self._db.execute("COMMIT")
            except BaseException:
                self._series.clear()
                self._objects.clear()
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def ledger(self, dataset: Dataset, freq: str, window: Window) -> dict[str, dict[date, LedgerLine]]:
        """Ledger lines of the window by symbol and day."""
        lines: dict[str, dict[date, LedgerLine]] = {}
        query = (
            "SELECT s.symbol, l.day, l.status, l.reason, l.rows, l.expected_rows "
            "FROM series s JOIN ledger l ON l.series_id = s.id WHERE s.dataset = ? AND s.freq = ? AND l.day BETWEEN ? AND ?"
        )
        bounds = (dataset.value, freq, day_number(window.start), day_number(window.end))
        days = {day_number(day): day for day in window.days()}
        with _sqlite_errors(self._path):
            for symbol, number, status, reason, rows, expected in self._db.execute(query, bounds):
                lines.setdefault(symbol, {})[days[number]] = LedgerLine(self._status(status), reason, rows, expected)
        return lines

    def entries(self, dataset: Dataset, freq: str, window: Window) -> Iterator[LedgerEntry]:
        """Whole ledger lines of the window, by symbol and day."""
        query = (
            "SELECT s.symbol, l.day, l.status, l.reason, l.rows, l.expected_rows, l.source, l.checked_at "
            "FROM series s JOIN ledger l ON l.series_id = s.id WHERE s.dataset = ? AND s.freq = ? AND l.day BETWEEN ? AND ? "
            "ORDER BY s.symbol, l.day"
        )
        days = {day_number(day): day for day in window.days()}
        with _sqlite_errors(self._path):
            bounds = (dataset.value, freq, day_number(window.start), day_number(window.end))
            for symbol, number, status, *rest in self._db.execute(query, bounds):
                yield LedgerEntry(symbol, days[number], self._status(status), *rest)

    def select(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query on the inner tables, for `audit`."""
        with _sqlite_errors(self._path):
            return self._db.execute(query, parameters).fetchall()

    def _status(self, text: str) -> Status:
        status = _STATUSES.get(text)
        if status is None:
            hint = "something else has written to it: look with `universe verify`"
            raise StoreError(f"database {self._path}: the ledger holds the unknown status {text!r}", hint=hint)
        return status

    def frequencies(self, dataset: Dataset) -> list[str]:
        """Frequencies of that dataset that the ledger knows, shortest first."""
        query = (
            "SELECT DISTINCT freq FROM series s WHERE dataset = ? AND EXISTS (SELECT 1 FROM ledger l WHERE l.series_id = s.id)"
        )
        with _sqlite_errors(self._path):
            known = {freq for (freq,) in self._db.execute(query, (dataset.value,))}
        return [freq.value for freq in Freq if freq.value in known] + sorted(known - {freq.value for freq in Freq})

    def rows(self, series: Series, day: date) -> list[Row]:
        """Rows of one symbol-day in time order, columns as `columns(dataset)` names them."""
        table = _TABLES[series.dataset]
        identity = self._find(series)
        if identity is None:
            return []
        start = day_start_ms(day)
        query = (
            f"SELECT {', '.join(table.columns)} FROM {table.name} "  # noqa: S608 - names of this module
            f"WHERE series_id = ? AND {table.time} >= ? AND {table.time} < ? ORDER BY {table.time}"
        )
        if series.dataset is Dataset.FUNDING_RATES:
            query += ", rate_type"
        with _sqlite_errors(self._path):
            return self._db.execute(query, (identity, start, start + DAY_MS)).fetchall()

    def _find(self, series: Series) -> int | None:
        known = self._series.get(series)
        if known is None:
            query = "SELECT id FROM series WHERE dataset = ? AND freq = ? AND symbol = ?"
            with _sqlite_errors(self._path):
                found = self._db.execute(query, (series.dataset.value, series.freq, series.symbol)).fetchone()
            if found is None:
                return None
            known = self._series[series] = int(found[0])
        return known

    def _write_day(self, item: SymbolDay) -> None:
        series = self._find(item.series)
        if series is None:
            cursor = self._db.execute(
                "INSERT INTO series (dataset, freq, symbol) VALUES (?, ?, ?)",
                (item.series.dataset.value, item.series.freq, item.series.symbol),
            )
            series = self._series[item.series] = int(cursor.lastrowid or 0)
        number = day_number(item.day)
        table = _TABLES[item.series.dataset]
        start = day_start_ms(item.day)
        self._db.execute(
            f"DELETE FROM {table.name} WHERE series_id = ? AND {table.time} >= ? AND {table.time} < ?",  # noqa: S608
            (series, start, start + DAY_MS),
        )
        self._insert(table, series, item.rows)
        self._db.execute(
            "INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                series, number, item.status.value, item.reason, len(item.rows), item.expected_rows, item.source,
                int(item.checked_at), self._object(item.origin),
            ),
        )  # fmt: skip

    def _insert(self, table: _Table, series: int, rows: Sequence[Row]) -> None:
        width = 1 + len(table.columns)
        values: list[Any] = [series] * (len(rows) * width)
        columns = tuple(columns_of(rows))
        if rows and len(columns) != width - 1:
            raise StoreError(f"{table.name}: rows of {len(columns)} columns instead of {width - 1}")
        # Column by column: a quarter of the time that joining row after row takes.
        for place, column in enumerate(columns, start=1):
            values[place::width] = column
        step = width * _ROWS_A_STATEMENT
        for first in range(0, len(values), step):
            chunk = values[first : first + step]
            self._db.execute(self._insert_statement(table, len(chunk) // width), chunk)

    def _insert_statement(self, table: _Table, count: int) -> str:
        statement = self._inserts.get((table.name, count))
        if statement is None:
            one = "(" + ", ".join("?" * (1 + len(table.columns))) + ")"
            names = ", ".join(("series_id", *table.columns))
            statement = f"INSERT INTO {table.name} ({names}) VALUES {', '.join([one] * count)}"  # noqa: S608
            self._inserts[table.name, count] = statement
        return statement

    def _object(self, origin: SourceObject | None) -> int | None:
        if origin is None:
            return None
        key = (origin.name, origin.sha256)
        known = self._objects.get(key)
        if known is None:
            found = self._db.execute("SELECT id FROM source_objects WHERE name = ? AND sha256 = ?", key).fetchone()
            if found is None:
                cursor = self._db.execute(
                    "INSERT INTO source_objects (name, sha256, last_modified, fetched_at) VALUES (?, ?, ?, ?)",
                    (origin.name, origin.sha256, origin.last_modified, origin.fetched_at),
                )
                found = (cursor.lastrowid,)
            known = self._objects[key] = int(found[0] or 0)
        return known

    def _when_free(self, statement: str) -> None:
        """Run it once no other program is in the way. StoreError after ten minutes, Interrupted when asked to stop."""
        for attempt in range(_BUSY_ATTEMPTS):
            try:
                self._db.execute(statement)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                check(self._stop)
                if attempt == 0:
                    log.warning("database %s: waiting for another program that uses it", self._path)
                # SQLite does not wait by itself where it fears a deadlock.
                (self._stop or threading.Event()).wait(_BUSY_MS / 1000)
            else:
                return
        raise StoreError(f"database {self._path} is locked", hint="close the program that uses it and run again")

    def _leave_one_file(self) -> None:
        """Fold the write-ahead log back in: a finished run leaves one file, readable from a read-only folder."""
        # A reader that is still looking keeps the log alive; the next run, or its own closing, folds it in then.
        self._db.execute("PRAGMA busy_timeout = 1000")
        with contextlib.suppress(sqlite3.OperationalError):
            self._db.execute("PRAGMA journal_mode = DELETE")


_STATUSES: Mapping[str, Status] = {status.value: status for status in Status}


def _is_new(path: Path, db: sqlite3.Connection) -> bool:
    """True when there are no tables yet; StoreError when they are another program's, or of another version."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise StoreError(
            f"database {path} has schema version {version}, this program knows {SCHEMA_VERSION}",
            hint="use the version of cryptoservice that wrote it, or choose another --db-path",
        )
    if version == SCHEMA_VERSION:
        return False
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(f"database {path} was not written by cryptoservice", hint="choose another --db-path")
    return True


def refuse_foreign(path: Path) -> None:
    """Look before locking: UsageError for a folder, StoreError for a file that is not ours. Leaves no trace."""
    refuse_folder(path, "database")
    with _sqlite_errors(path):
        if path.exists() and path.stat().st_size:
            with contextlib.closing(_connect(path, mode="rw")) as db:
                _is_new(path, db)


def _roll_back(path: Path) -> None:
    """Undo what a killed run had begun, where its journal is still there: a read-only connection could not."""
    if path.with_name(path.name + "-journal").exists():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_connect(path, mode="rw")) as db:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
