"""Writes a database: symbol-days together with their ledger lines, each batch in one transaction."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptoservice.clock import raise_if_stopped
from cryptoservice.days import day_number, day_start_ms
from cryptoservice.errors import StoreError
from cryptoservice.models import DAY_MS, Row, SourceObject
from cryptoservice.rows import columns_of
from cryptoservice.storage.database import BUSY_MS, has_shared_memory, open_for_writing, sqlite_errors
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.schema import TABLES, Table

log = logging.getLogger(__name__)

# So many rows need fewer than the 999 parameters that older SQLite builds allow in a statement, and 72 divides 288 and 1440.
_ROWS_A_STATEMENT = 72
# How many pages the write-ahead log may hold before it is merged: four times SQLite's own number, so a long run copies less.
_LOG_PAGES = 4000
# So long a run waits for another program. It is counted by the clock, since SQLite's own share of an attempt varies.
_BUSY_SECONDS = 600.0


class StoreWriter(StoreReader):
    """The only writer of a database, which can also read. Only the thread that opened it may use it."""

    def __init__(self, path: Path, db: sqlite3.Connection, stop: threading.Event | None = None) -> None:
        super().__init__(path, db)
        self._stop = stop
        self._begin: str | None = None
        """The statement that begins a transaction; None before the first one."""
        self._object_ids: dict[tuple[str, str], int] = {}
        self._statements: dict[tuple[str, int], str] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, stop: threading.Event | None = None) -> Iterator[StoreWriter]:
        """Open the database for writing, and create it when it is missing. The caller must hold the DatabaseLock.

        A set `stop` ends a wait for another program. Raises StoreError when the file cannot be opened or is not ours.
        """
        with open_for_writing(path) as db:
            yield cls(path, db, stop)

    def write(self, batch: Iterable[SymbolDay]) -> None:
        """Replace the rows and the ledger lines of these symbol-days in one transaction: all of them, or none after an error.

        Raises StoreError when SQLite fails, and Interrupted when `stop` is set while another program keeps the run waiting.
        """
        with sqlite_errors(self.path):
            # A run that writes nothing changes no byte, so this waits for the first write.
            self._begin = self._begin or self._let_others_read()
            self._when_free(self._begin)
            try:
                for symbol_day in batch:
                    self._write_day(symbol_day)
                # By this number an export and its helpers know that they see the same rows.
                self._db.execute("UPDATE commits SET count = count + 1")
                self._db.execute("COMMIT")
            except BaseException:
                # These ids may belong to lines that are rolled back.
                self._series_ids.clear()
                self._object_ids.clear()
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _let_others_read(self) -> str:
        """Choose how other programs can read while this run goes on; the statement by which a transaction begins then."""
        if has_shared_memory(self.path):
            self._when_free("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            return "BEGIN IMMEDIATE"
        log.warning(
            "database %s: its file system has no shared memory, so this run and programs that read wait for each other",
            self.path,
        )
        # Readers are waited for at the beginning, where a wait harms nothing, and not in the middle of a transaction.
        return "BEGIN EXCLUSIVE"

    def _write_day(self, item: SymbolDay) -> None:
        series_id = self._ensured_series_id(item.series)
        table = TABLES[item.series.dataset]
        start = day_start_ms(item.day)
        self._db.execute(
            f"DELETE FROM {table.name} WHERE series_id = ? AND {table.time} >= ? AND {table.time} < ?",  # noqa: S608
            (series_id, start, start + DAY_MS),
        )
        self._insert(table, series_id, item.rows)
        self._db.execute(
            "INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                series_id, day_number(item.day), item.status.value, item.reason, len(item.rows), item.expected_rows,
                item.source, int(item.checked_at), self._object_id(item.origin), item.marks,
            ),
        )  # fmt: skip

    def _ensured_series_id(self, series: Series) -> int:
        """The id of the series, which is created when it is missing."""
        known = self._series_id(series)
        if known is None:
            cursor = self._db.execute(
                "INSERT INTO series (dataset, freq, symbol) VALUES (?, ?, ?)",
                (series.dataset.value, series.freq, series.symbol),
            )
            known = self._series_ids[series] = int(cursor.lastrowid or 0)
        return known

    def _insert(self, table: Table, series_id: int, rows: Sequence[Row]) -> None:
        width = 1 + len(table.columns)
        values: list[Any] = [series_id] * (len(rows) * width)
        columns = tuple(columns_of(rows))
        if rows and len(columns) != width - 1:
            raise StoreError(f"{table.name}: rows of {len(columns)} columns instead of {width - 1}")
        # Filling column by column takes a quarter of the time of joining row after row.
        for place, column in enumerate(columns, start=1):
            values[place::width] = column
        step = width * _ROWS_A_STATEMENT
        for first in range(0, len(values), step):
            chunk = values[first : first + step]
            self._db.execute(self._insert_statement(table, len(chunk) // width), chunk)

    def _insert_statement(self, table: Table, count: int) -> str:
        statement = self._statements.get((table.name, count))
        if statement is None:
            one = "(" + ", ".join("?" * (1 + len(table.columns))) + ")"
            names = ", ".join(("series_id", *table.columns))
            statement = f"INSERT INTO {table.name} ({names}) VALUES {', '.join([one] * count)}"  # noqa: S608
            self._statements[table.name, count] = statement
        return statement

    def _object_id(self, origin: SourceObject | None) -> int | None:
        """The id of that version of the archive object, which is noted when it is new."""
        if origin is None:
            return None
        key = (origin.name, origin.sha256)
        known = self._object_ids.get(key)
        if known is None:
            found = self._db.execute("SELECT id FROM source_objects WHERE name = ? AND sha256 = ?", key).fetchone()
            if found is None:
                cursor = self._db.execute(
                    "INSERT INTO source_objects (name, sha256, last_modified, fetched_at, etag, size) VALUES (?, ?, ?, ?, ?, ?)",
                    origin,
                )
                found = (cursor.lastrowid,)
            else:
                # An earlier version did not keep these.
                self._db.execute(
                    "UPDATE source_objects SET etag = ?, size = ? WHERE id = ? AND etag IS NULL",
                    (origin.etag, origin.size, found[0]),
                )
            known = self._object_ids[key] = int(found[0] or 0)
        return known

    def _when_free(self, statement: str) -> None:
        """Run the statement as soon as no other program locks the database; StoreError when that takes too long."""
        started = time.monotonic()
        is_told = False
        while True:
            try:
                self._db.execute(statement)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
            else:
                return
            raise_if_stopped(self._stop)
            if not is_told:
                log.warning("database %s: waiting for another program that uses it", self.path)
                is_told = True
            left = started + _BUSY_SECONDS - time.monotonic()
            if left <= 0:
                raise StoreError(f"database {self.path} is locked", hint="close the program that uses it and run again")
            # SQLite itself does not wait where that could end in a deadlock.
            (self._stop or threading.Event()).wait(min(left, BUSY_MS / 1000))
