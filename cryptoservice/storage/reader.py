"""Reads a database: the ledger, the rows of a symbol-day, and the frequencies that are stored."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cryptoservice.days import Window, day_number, day_of_number, day_start_ms
from cryptoservice.errors import Remedy, StoreError
from cryptoservice.models import DAY_MS, Dataset, Freq, Row, SourceObject, Status
from cryptoservice.rows import PackedRows
from cryptoservice.storage.database import open_for_reading, sqlite_errors
from cryptoservice.storage.ledger import LedgerEntry, LedgerLine, LedgerOrigin, Series, StoredDay, mark_of_text
from cryptoservice.storage.migration import STALE_METRICS
from cryptoservice.storage.schema import TABLES

T = TypeVar("T")
_STATUSES: Mapping[str, Status] = {status.value: status for status in Status}
_SETTLED = ", ".join(f"'{status.value}'" for status in Status if status.settled)
# Confirmed gaps of which a run may ask once more: all, or those whose reason holds a word and whose line is old enough.
_RETRIED = "status = 'confirmed_gap' AND (:all_gaps OR (instr(reason, :word) > 0 AND checked_at <= :checked_until))"
_FROM_LEDGER = (
    "FROM series s JOIN ledger l ON l.series_id = s.id "
    "WHERE s.dataset = :dataset AND s.freq = :freq AND l.day BETWEEN :first AND :last"
)


class RetriedGaps(NamedTuple):
    """Confirmed gaps that count as not settled; by default none."""

    all_gaps: bool = False
    word: str = ""
    """Gaps whose reason holds this word, and whose line was written before `checked_until` (epoch seconds)."""
    checked_until: int = -1

    def holds(self, status: Status, reason: str | None, checked_at: int) -> bool:
        """Whether a ledger line is one of them; the queries say the same in SQL."""
        aged = self.word in (reason or "") and checked_at <= self.checked_until
        return status is Status.CONFIRMED_GAP and (self.all_gaps or aged)


NO_GAPS = RetriedGaps()


class StoreReader:
    """The queries on an open database. Only the thread that opened it may use it; errors of SQLite are StoreErrors."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self.path = path
        self._db = db
        self._series_ids: dict[Series, int] = {}
        self._functions: dict[Callable[..., bytes], str] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[StoreReader]:
        """Open the database read-only; the reader sees one snapshot of it until the block ends.

        Raises UsageError when the file does not exist, and StoreError when it is empty or not a database of this program.
        """
        with open_for_reading(path) as db:
            yield cls(path, db)

    def commits(self) -> int | None:
        """How many times rows were committed, by which two readers know that they see the same; None in an older database."""
        with sqlite_errors(self.path):
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'commits'").fetchone():
                return None
            found = self._db.execute("SELECT count FROM commits").fetchone()
            return int(found[0]) if found else None

    def settled_days(self, dataset: Dataset, freq: str, window: Window, retried: RetriedGaps = NO_GAPS) -> dict[str, set[date]]:
        """The days of the window that the ledger calls settled, by symbol, but for the gaps that are tried again.

        Most lines of a ledger are settled, and most runs need no more than this of them: it is much quicker than `ledger`.
        """
        query = f"SELECT s.symbol, l.day {_FROM_LEDGER} AND l.status IN ({_SETTLED}) AND coalesce(NOT ({_RETRIED}), 1)"
        settled: dict[str, set[date]] = {}
        days, bounds = _days_and_bounds(dataset, freq, window)
        bounds |= retried._asdict()
        with sqlite_errors(self.path):
            for symbol, number in self._db.execute(query, bounds):
                settled.setdefault(symbol, set()).add(days[number])
        return settled

    def ledger(
        self, dataset: Dataset, freq: str, window: Window, *, unsettled: bool = False, retried: RetriedGaps = NO_GAPS
    ) -> dict[str, dict[date, LedgerLine]]:
        """The ledger lines of the window by symbol and day.

        With `unsettled`, only those that a later run asks for again, and the gaps that are tried again.
        """
        query = f"SELECT s.symbol, l.day, l.status, l.reason, l.rows, l.expected_rows {_FROM_LEDGER}"
        if unsettled:
            query += f" AND (l.status NOT IN ({_SETTLED}) OR ({_RETRIED}))"
        lines: dict[str, dict[date, LedgerLine]] = {}
        days, bounds = _days_and_bounds(dataset, freq, window)
        bounds |= retried._asdict()
        with sqlite_errors(self.path):
            for symbol, number, status, reason, rows, expected in self._db.execute(query, bounds):
                lines.setdefault(symbol, {})[days[number]] = LedgerLine(self._status(status), reason, rows, expected)
        return lines

    def entries(self, dataset: Dataset, freq: str, window: Window) -> Iterator[LedgerEntry]:
        """The whole ledger lines of the window, sorted by symbol and day."""
        columns = "s.symbol, l.day, l.status, l.reason, l.rows, l.expected_rows, l.source, l.checked_at"
        query = f"SELECT {columns} {_FROM_LEDGER} ORDER BY s.symbol, l.day"
        days, bounds = _days_and_bounds(dataset, freq, window)
        with sqlite_errors(self.path):
            for symbol, number, status, *rest in self._db.execute(query, bounds):
                yield LedgerEntry(symbol, days[number], self._status(status), *rest)

    def objects(self, series: Series, window: Window) -> Iterator[tuple[date, SourceObject]]:
        """The archive object that each ledger line of a series in the window names; lines without one are left out."""
        with sqlite_errors(self.path):
            known = {name for (name,) in self._db.execute("SELECT name FROM pragma_table_info('source_objects')")}
            # A database of an earlier version keeps neither ETag nor size.
            later = "o.etag, o.size" if "etag" in known else "NULL, NULL"
            query = (
                f"SELECT l.day, o.name, o.sha256, o.last_modified, o.fetched_at, {later} FROM ledger l "  # noqa: S608
                "JOIN source_objects o ON o.id = l.object_id WHERE l.series_id = ? AND l.day BETWEEN ? AND ? ORDER BY l.day"
            )
            bounds = (self._series_id(series), day_number(window.start), day_number(window.end))
            for number, *version in self._db.execute(query, bounds):
                yield day_of_number(number), SourceObject(*version)

    def frequencies(self, dataset: Dataset) -> list[str]:
        """The frequencies of that dataset that the ledger knows, the shortest first."""
        query = (
            "SELECT DISTINCT freq FROM series s WHERE dataset = ? AND EXISTS (SELECT 1 FROM ledger l WHERE l.series_id = s.id)"
        )
        with sqlite_errors(self.path):
            known = {freq for (freq,) in self._db.execute(query, (dataset.value,))}
        return [freq.value for freq in Freq if freq.value in known] + sorted(known - {freq.value for freq in Freq})

    def rows(self, series: Series, day: date) -> list[Row]:
        """The rows of one symbol-day in time order; `schema.columns(dataset)` names their columns."""
        wanted = ", ".join(TABLES[series.dataset].columns)
        return self._columns(series, Window(day, day), wanted, list) or []

    def symbols(self, dataset: Dataset, freq: str) -> list[str]:
        """The symbols that have a series of that dataset and frequency, in their order."""
        query = "SELECT symbol FROM series WHERE dataset = ? AND freq = ? ORDER BY symbol"
        with sqlite_errors(self.path):
            return [symbol for (symbol,) in self._db.execute(query, (dataset.value, freq))]

    def count_rows(self, series: Series, window: Window) -> int:
        """How many rows of the window a series has."""
        found = self._columns(series, window, "count(*)", next)
        return 0 if found is None else int(found[0])

    def doubles(self, series: Series, window: Window, columns: Sequence[str], into: Callable[[Iterator[bytes]], T]) -> T | None:
        """Give each row's values of these columns to `into`, in time order and as doubles of this machine; return its answer.

        A value that is NULL is infinite, which no stored number is. None when the database does not know the series.
        """
        nullable = TABLES[series.dataset].nullable
        values = (f"ifnull({name}, 9e999)" if name in nullable else name for name in columns)
        # A row that SQLite packs costs a third less than one that is fetched value by value.
        with sqlite_errors(self.path):
            wanted = f"{self._function(_doubles_of(len(columns)).pack)}({', '.join(values)})"
        try:
            return self._columns(series, window, wanted, lambda rows: into(chain.from_iterable(rows)))
        except StoreError as error:
            if "user-defined function" not in error.message:
                raise
            what = f"{series.freq} {series.dataset} of {series.symbol}".strip()
            told = f"database {self.path}: the {what} hold a value that is no number"
            raise StoreError(told, hint=Remedy.VERIFY_DATABASE) from error

    def texts(self, series: Series, window: Window, column: str) -> list[str]:
        """The values of a column of texts, in the order in which `doubles` has their rows."""
        return self._columns(series, window, column, lambda rows: [text for (text,) in rows]) or []

    def _columns(self, series: Series, window: Window, wanted: str, take: Callable[[Iterator[Row]], T]) -> T | None:
        """What `take` makes of these columns of the rows of a window; None when the database does not know the series."""
        table = TABLES[series.dataset]
        series_id = self._series_id(series)
        if series_id is None:
            return None
        query = (
            f"SELECT {wanted} FROM {table.name} "  # noqa: S608 - names of the schema
            f"WHERE series_id = ? AND {table.time} >= ? AND {table.time} < ? ORDER BY {table.order}"
        )
        with sqlite_errors(self.path):
            return take(self._db.execute(query, (series_id, window.start_ms, window.end_ms)))

    def packed_rows(self, series: Series, day: date, pack: Callable[..., bytes]) -> list[bytes] | None:
        """What `pack` makes of each row of a symbol-day, in the order of the key; None when it raised for one of them.

        SQLite calls it with the values of a row, in the order of `schema.columns(dataset)`. That is quicker than fetching them.
        """
        table = TABLES[series.dataset]
        series_id = self._series_id(series)
        if series_id is None:
            return []
        start = day_start_ms(day)
        with sqlite_errors(self.path):
            query = (
                f"SELECT {self._function(pack)}({', '.join(table.columns)}) FROM {table.name} "  # noqa: S608 - names of the schema
                f"WHERE series_id = ? AND {table.time} >= ? AND {table.time} < ? ORDER BY {table.order}"
            )
            try:
                return list(chain.from_iterable(self._db.execute(query, (series_id, start, start + DAY_MS))))
            except sqlite3.OperationalError as error:
                if "user-defined function" in str(error):
                    return None
                raise

    def numeric_rows(self, series: Series, day: date) -> Sequence[Row]:
        """The same as `rows`, in half the time where all of the values are numbers, since those are kept as bytes."""
        codes = TABLES[series.dataset].codes
        packed = None if codes is None else self.packed_rows(series, day, PackedRows.form(codes).pack)
        return self.rows(series, day) if codes is None or packed is None else PackedRows(codes, b"".join(packed))

    def _function(self, pack: Callable[..., bytes]) -> str:
        """The name under which SQLite knows that function."""
        name = self._functions.get(pack)
        if name is None:
            name = self._functions[pack] = f"pack_{len(self._functions)}"
            self._db.create_function(name, -1, pack)
        return name

    def series(self) -> list[Series]:
        """Every series that the database knows, with or without rows, sorted by dataset, frequency and symbol."""
        query = "SELECT dataset, freq, symbol FROM series ORDER BY dataset, freq, symbol"
        known = {dataset.value: dataset for dataset in Dataset}
        with sqlite_errors(self.path):
            return [Series(known[name], freq, symbol) for name, freq, symbol in self._db.execute(query) if name in known]

    def has_lines(self, series: Series, window: Window) -> bool:
        """Whether the ledger has a line of the series in the window."""
        query = "SELECT 1 FROM ledger WHERE series_id = ? AND day BETWEEN ? AND ? LIMIT 1"
        with sqlite_errors(self.path):
            bounds = (self._series_id(series), day_number(window.start), day_number(window.end))
            return self._db.execute(query, bounds).fetchone() is not None

    def object_ids(self, series: Series, window: Window) -> dict[int, int]:
        """By day number, the id of the archive object that the ledger names for a day of the series."""
        query = "SELECT day, object_id FROM ledger WHERE series_id = ? AND day BETWEEN ? AND ? AND object_id IS NOT NULL"
        with sqlite_errors(self.path):
            bounds = (self._series_id(series), day_number(window.start), day_number(window.end))
            return dict(self._db.execute(query, bounds))

    def source_objects(self) -> Iterator[tuple[int, str, str]]:
        """Id, name and SHA-256 of every version of an archive object that rows came from, sorted by name and SHA-256."""
        with sqlite_errors(self.path):
            yield from self._db.execute("SELECT id, name, sha256 FROM source_objects ORDER BY name, sha256")

    def stored_day(self, series: Series, day: date) -> StoredDay | None:
        """A symbol-day with its rows and where each of them came from; None without a ledger line."""
        series_id = self._series_id(series)
        query = (
            "SELECT l.status, l.reason, l.source, l.row_marks, o.name, o.sha256 FROM ledger l "
            "LEFT JOIN source_objects o ON o.id = l.object_id WHERE l.series_id = ? AND l.day = ?"
        )
        with sqlite_errors(self.path):
            found = self._db.execute(query, (series_id, day_number(day))).fetchone()
        if found is None:
            return None
        status, reason, source, marks, name, sha256 = found
        rows = self.rows(series, day)
        if marks is None or len(marks) != len(rows):
            marks = mark_of_text(source) * len(rows)
        object_key = (name, sha256) if name is not None else None
        return StoredDay(self._status(status), reason, rows, marks, object_key, is_stale=reason == STALE_METRICS)

    def origins(self, symbol: str, day: date) -> dict[tuple[Dataset, str], LedgerOrigin]:
        """The ledger lines of one symbol-day, by dataset and frequency, with the archive objects that they name."""
        has_marks = "SELECT 1 FROM pragma_table_info('ledger') WHERE name = 'row_marks'"
        found: dict[tuple[Dataset, str], LedgerOrigin] = {}
        with sqlite_errors(self.path):
            # A database of an earlier version, which is only read here, may have no marks.
            marks_column = "l.row_marks" if self._db.execute(has_marks).fetchone() else "NULL"
            query = (
                f"SELECT s.dataset, s.freq, l.status, l.reason, l.rows, l.expected_rows, l.source, l.checked_at, {marks_column}, "  # noqa: S608
                "o.name, o.sha256, o.last_modified, o.fetched_at FROM series s JOIN ledger l ON l.series_id = s.id "
                "LEFT JOIN source_objects o ON o.id = l.object_id WHERE s.symbol = ? AND l.day = ?"
            )
            for dataset, freq, status, *rest in self._db.execute(query, (symbol, day_number(day))):
                *line, marks, name, sha256, last_modified, fetched_at = rest
                entry = LedgerEntry(symbol, day, self._status(status), *line)
                origin = None if name is None else SourceObject(name, sha256, last_modified, fetched_at)
                found[Dataset(dataset), freq] = LedgerOrigin(entry, marks, origin)
        return found

    def select(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query on the inner tables, for the integrity checks."""
        with sqlite_errors(self.path):
            return self._db.execute(query, parameters).fetchall()

    def _status(self, text: str) -> Status:
        status = _STATUSES.get(text)
        if status is None:
            what = f"database {self.path}: the ledger holds the unknown status {text!r}"
            raise StoreError(what, hint=Remedy.VERIFY_DATABASE)
        return status

    def _series_id(self, series: Series) -> int | None:
        known = self._series_ids.get(series)
        if known is None:
            query = "SELECT id FROM series WHERE dataset = ? AND freq = ? AND symbol = ?"
            with sqlite_errors(self.path):
                found = self._db.execute(query, (series.dataset.value, series.freq, series.symbol)).fetchone()
            if found is None:
                return None
            known = self._series_ids[series] = int(found[0])
        return known


@cache
def _doubles_of(count: int) -> struct.Struct:
    return struct.Struct(f"={count}d")


def _days_and_bounds(dataset: Dataset, freq: str, window: Window) -> tuple[dict[int, date], dict[str, Any]]:
    """The days of a window by their numbers, made once for all of its lines, and the parameters of `_FROM_LEDGER`."""
    days = {day_number(day): day for day in window.days()}
    bounds = {"dataset": dataset.value, "freq": freq, "first": day_number(window.start), "last": day_number(window.end)}
    return days, bounds
