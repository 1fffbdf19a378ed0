"""SQLite: one-transaction symbol-day writes, the ledger, and the queries that export and status need."""

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
from cryptoservice.schema import SCHEMA, SCHEMA_VERSION, TABLES, Table

log = logging.getLogger(__name__)

# A statement of this many rows stays under the 999 parameters that older SQLite builds allow, and divides 288 and 1440.
_ROWS_A_STATEMENT = 72
_CACHE_KIB = 8 * 1024
# Pages in the write-ahead log before it is folded in: with four times SQLite's own number less of a long run is copying.
_LOG_PAGES = 4000
# Short waits, many times: between them a signal is seen.
_BUSY_MS = 200
_BUSY_ATTEMPTS = 3000


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
                db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
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
                self._db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
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

    def settled_days(self, dataset: Dataset, freq: str, window: Window) -> dict[str, set[date]]:
        """Days of the window that the ledger knows as settled, by symbol: most of a ledger, and all that most runs ask of it."""
        query = f"SELECT s.symbol, l.day {_FROM_LEDGER} AND l.status IN ({_SETTLED})"
        settled: dict[str, set[date]] = {}
        with _sqlite_errors(self._path):
            days, bounds = _days_and_bounds(dataset, freq, window)
            for symbol, number in self._db.execute(query, bounds):
                settled.setdefault(symbol, set()).add(days[number])
        return settled

    def ledger(
        self, dataset: Dataset, freq: str, window: Window, *, unsettled: bool = False
    ) -> dict[str, dict[date, LedgerLine]]:
        """Ledger lines of the window by symbol and day: all of them, or the unsettled ones alone."""
        query = f"SELECT s.symbol, l.day, l.status, l.reason, l.rows, l.expected_rows {_FROM_LEDGER}"
        if unsettled:
            query += f" AND l.status NOT IN ({_SETTLED})"
        lines: dict[str, dict[date, LedgerLine]] = {}
        with _sqlite_errors(self._path):
            days, bounds = _days_and_bounds(dataset, freq, window)
            for symbol, number, status, reason, rows, expected in self._db.execute(query, bounds):
                lines.setdefault(symbol, {})[days[number]] = LedgerLine(self._status(status), reason, rows, expected)
        return lines

    def entries(self, dataset: Dataset, freq: str, window: Window) -> Iterator[LedgerEntry]:
        """Whole ledger lines of the window, by symbol and day."""
        columns = "s.symbol, l.day, l.status, l.reason, l.rows, l.expected_rows, l.source, l.checked_at"
        with _sqlite_errors(self._path):
            days, bounds = _days_and_bounds(dataset, freq, window)
            for symbol, number, status, *rest in self._db.execute(
                f"SELECT {columns} {_FROM_LEDGER} ORDER BY s.symbol, l.day", bounds
            ):
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
        table = TABLES[series.dataset]
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
        table = TABLES[item.series.dataset]
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

    def _insert(self, table: Table, series: int, rows: Sequence[Row]) -> None:
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

    def _insert_statement(self, table: Table, count: int) -> str:
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
_SETTLED = ", ".join(f"'{status.value}'" for status in Status if status.settled)
_FROM_LEDGER = "FROM series s JOIN ledger l ON l.series_id = s.id WHERE s.dataset = ? AND s.freq = ? AND l.day BETWEEN ? AND ?"


def _days_and_bounds(dataset: Dataset, freq: str, window: Window) -> tuple[dict[int, date], tuple[str, str, int, int]]:
    """The days of a window by number, and the parameters of `_FROM_LEDGER`."""
    days = {day_number(day): day for day in window.days()}
    return days, (dataset.value, freq, day_number(window.start), day_number(window.end))


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
