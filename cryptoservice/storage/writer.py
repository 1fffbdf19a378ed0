"""Writing a database: symbol-days with their ledger lines, each batch in one transaction."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptoservice.clock import raise_if_stopped
from cryptoservice.days import day_number, day_start_ms
from cryptoservice.errors import StoreError
from cryptoservice.models import DAY_MS, Row, SourceObject
from cryptoservice.rows import columns_of
from cryptoservice.storage.database import BUSY_MS, open_for_writing, sqlite_errors
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.schema import TABLES, Table

log = logging.getLogger(__name__)

# A statement of this many rows stays under the 999 parameters that older SQLite builds allow, and divides 288 and 1440.
_ROWS_A_STATEMENT = 72
# Pages in the write-ahead log before it is folded in. Four times SQLite's own number: a long run then copies less.
_LOG_PAGES = 4000
_BUSY_ATTEMPTS = 3000


class StoreWriter(StoreReader):
    """The only writer of a database; it reads as well. Use one thread only."""

    def __init__(self, path: Path, db: sqlite3.Connection, stop: threading.Event | None = None) -> None:
        super().__init__(path, db)
        self._stop = stop
        self._has_write_ahead_log = False
        self._object_ids: dict[tuple[str, str], int] = {}
        self._statements: dict[tuple[str, int], str] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, stop: threading.Event | None = None) -> Iterator[StoreWriter]:
        """Open for writing; created when missing. Take the DatabaseLock first. `stop` ends a wait for other programs."""
        with open_for_writing(path) as db:
            yield cls(path, db, stop)

    def write(self, batch: Iterable[SymbolDay]) -> None:
        """Replace rows and ledger lines of these symbol-days, all in one transaction."""
        with sqlite_errors(self.path):
            if not self._has_write_ahead_log:
                # Only now: a run that writes nothing leaves every byte as it was. From here on others can read meanwhile.
                self._when_free("PRAGMA journal_mode = WAL")
                self._db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
                self._has_write_ahead_log = True
            self._when_free("BEGIN IMMEDIATE")
            try:
                for symbol_day in batch:
                    self._write_day(symbol_day)
                self._db.execute("COMMIT")
            except BaseException:
                self._series_ids.clear()
                self._object_ids.clear()
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _write_day(self, item: SymbolDay) -> None:
        series_id = self._made_series_id(item.series)
        table = TABLES[item.series.dataset]
        start = day_start_ms(item.day)
        self._db.execute(
            f"DELETE FROM {table.name} WHERE series_id = ? AND {table.time} >= ? AND {table.time} < ?",  # noqa: S608
            (series_id, start, start + DAY_MS),
        )
        self._insert(table, series_id, item.rows)
        self._db.execute(
            "INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                series_id, day_number(item.day), item.status.value, item.reason, len(item.rows), item.expected_rows,
                item.source, int(item.checked_at), self._object_id(item.origin),
            ),
        )  # fmt: skip

    def _made_series_id(self, series: Series) -> int:
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
        # Column by column: a quarter of the time that joining row after row takes.
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
        if origin is None:
            return None
        key = (origin.name, origin.sha256)
        known = self._object_ids.get(key)
        if known is None:
            found = self._db.execute("SELECT id FROM source_objects WHERE name = ? AND sha256 = ?", key).fetchone()
            if found is None:
                cursor = self._db.execute(
                    "INSERT INTO source_objects (name, sha256, last_modified, fetched_at) VALUES (?, ?, ?, ?)",
                    (origin.name, origin.sha256, origin.last_modified, origin.fetched_at),
                )
                found = (cursor.lastrowid,)
            known = self._object_ids[key] = int(found[0] or 0)
        return known

    def _when_free(self, statement: str) -> None:
        """Run it once no other program is in the way. StoreError after ten minutes, Interrupted when asked to stop."""
        for attempt in range(_BUSY_ATTEMPTS):
            try:
                self._db.execute(statement)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                raise_if_stopped(self._stop)
                if attempt == 0:
                    log.warning("database %s: waiting for another program that uses it", self.path)
                # SQLite does not wait by itself where it fears a deadlock.
                (self._stop or threading.Event()).wait(BUSY_MS / 1000)
            else:
                return
        raise StoreError(f"database {self.path} is locked", hint="close the program that uses it and run again")
