"""Writing symbol-days: what is replaced, what a failure leaves, and how a writer waits for other programs."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptoservice.errors import Interrupted, StoreError
from cryptoservice.models import Dataset, Row, Status
from cryptoservice.rows import ColumnRows
from cryptoservice.storage import writer
from cryptoservice.storage.ledger import LedgerLine, SymbolDay
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, MINUTE, kline
from tests.unit.storage.samples import BOTH_DAYS, BTC, ETH, METRICS, NEXT_DAY, OBJECT, minutes, query, symbol_day, written


def test_writing_again_replaces_that_symbol_day_alone(path: Path) -> None:
    last = FEBRUARY_MS + DAY - MINUTE
    tomorrow = [kline(FEBRUARY_MS + DAY)]
    with StoreWriter.open(path) as store:
        store.write([
            symbol_day(BTC, [*minutes(0, 1, 2), kline(last)]),
            symbol_day(BTC, tomorrow, NEXT_DAY),
            symbol_day(ETH, minutes(5)),
        ])  # fmt: skip
        store.write([symbol_day(BTC, minutes(1, price=9.0), reason="again")])
        assert store.rows(BTC, FEBRUARY) == minutes(1, price=9.0)
        assert store.rows(BTC, NEXT_DAY) == tomorrow
        assert store.rows(ETH, FEBRUARY) == minutes(5)
        assert store.ledger(Dataset.KLINES, "1m", BOTH_DAYS)["BTCUSDT"][FEBRUARY] == LedgerLine(Status.COMPLETE, "again", 1, 1)
    assert query(path, "SELECT count(*) FROM symbol_days") == [(3,)]


def test_any_number_of_rows_is_written_whole(path: Path) -> None:
    """Rows go into statements of 72: the numbers around its multiples are the ones to try."""
    with StoreWriter.open(path) as store:
        for count in (0, 1, 71, 72, 73, 144, 145, 1440):
            store.write([symbol_day(BTC, minutes(*range(count)))])
            assert store.rows(BTC, FEBRUARY) == minutes(*range(count)), count


def test_rows_that_are_kept_as_columns_are_written_like_tuples(path: Path) -> None:
    rows = minutes(*range(100))
    kinds = "qddddddqdd"
    columns = [array(kind, column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]
    with StoreWriter.open(path) as store:
        store.write([SymbolDay(BTC, FEBRUARY, Status.COMPLETE, None, ColumnRows(columns, 10, 90), 80, None, 0.0)])
        assert store.rows(BTC, FEBRUARY) == rows[10:90]


def test_an_object_is_noted_once_and_anew_when_it_was_published_again(path: Path) -> None:
    republished = OBJECT._replace(sha256="cd" * 32)
    with StoreWriter.open(path) as store:
        store.write([symbol_day(BTC, minutes(1), origin=OBJECT), symbol_day(BTC, [], NEXT_DAY, origin=OBJECT)])
        store.write([symbol_day(ETH, minutes(1), origin=republished)])
    # A later run finds the note of the first one.
    written(path, symbol_day(ETH, [], NEXT_DAY, origin=OBJECT))
    assert query(path, "SELECT symbol, date, object_id FROM symbol_days ORDER BY symbol, date") == [
        ("BTCUSDT", "2026-02-01", 1),
        ("BTCUSDT", "2026-02-02", 1),
        ("ETHUSDT", "2026-02-01", 2),
        ("ETHUSDT", "2026-02-02", 1),
    ]
    assert query(path, "SELECT id, sha256 FROM source_objects") == [(1, "ab" * 32), (2, "cd" * 32)]


@pytest.mark.parametrize(
    "bad",
    [
        [kline(FEBRUARY_MS), kline(FEBRUARY_MS)],
        [(FEBRUARY_MS, None, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1.0)],
        [(FEBRUARY_MS, 1.0)],
    ],
    ids=["same time twice", "a blank price", "too few columns"],
)
def test_a_batch_that_fails_leaves_everything_as_it_was(path: Path, bad: list[Row]) -> None:
    with StoreWriter.open(path) as store:
        store.write([symbol_day(BTC, minutes(0, 1))])
        with pytest.raises(StoreError):
            store.write([symbol_day(BTC, minutes(7), origin=OBJECT), symbol_day(METRICS, []), symbol_day(ETH, bad)])
        assert store.rows(BTC, FEBRUARY) == minutes(0, 1)
        # The store goes on as if the failed batch had never been.
        store.write([symbol_day(ETH, minutes(3), origin=OBJECT)])
        assert store.rows(ETH, FEBRUARY) == minutes(3)
    assert query(path, "SELECT symbol, rows FROM symbol_days ORDER BY symbol") == [("BTCUSDT", 2), ("ETHUSDT", 1)]
    assert query(path, "SELECT count(*) FROM source_objects") == [(1,)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_batch_that_breaks_off_in_the_middle_leaves_nothing(path: Path) -> None:
    def batch() -> Iterator[SymbolDay]:
        yield symbol_day(BTC, minutes(0))
        raise KeyboardInterrupt

    with StoreWriter.open(path) as store:
        with pytest.raises(KeyboardInterrupt):
            store.write(batch())
        assert store.rows(BTC, FEBRUARY) == []
        assert store.ledger(Dataset.KLINES, "1m", BOTH_DAYS) == {}


def test_a_run_that_writes_nothing_leaves_every_byte_as_it_was(path: Path) -> None:
    written(path, symbol_day(BTC, minutes(0)))
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    with StoreWriter.open(path) as store:
        assert store.rows(BTC, FEBRUARY) == minutes(0)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


# -- another program in the way ----------------------------------------------------------------------------------------


class AtTheWarning(logging.Handler):
    """Does something at the very moment at which the writer says that it waits."""

    def __init__(self, action: object) -> None:
        super().__init__()
        self._action = action
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        assert callable(self._action)
        self._action()


@contextlib.contextmanager
def at_the_warning(action: object) -> Iterator[list[str]]:
    handler = AtTheWarning(action)
    log = logging.getLogger("cryptoservice.storage.writer")
    log.addHandler(handler)
    try:
        yield handler.messages
    finally:
        log.removeHandler(handler)


@pytest.fixture
def other(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Another program in the middle of a transaction of its own."""
    # The writer's pause between two attempts, in milliseconds.
    monkeypatch.setattr(writer, "BUSY_MS", 1)
    written(path, symbol_day(BTC, minutes(0)))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db


def test_a_writer_waits_until_the_other_program_is_done(path: Path, other: sqlite3.Connection) -> None:
    with at_the_warning(lambda: other.execute("COMMIT")) as said:
        written(path, symbol_day(BTC, minutes(1, 2)))
    assert said == [f"database {path}: waiting for another program that uses it"]
    assert query(path, "SELECT open_time FROM klines") == [(FEBRUARY_MS + MINUTE,), (FEBRUARY_MS + 2 * MINUTE,)]


@pytest.mark.usefixtures("other")
def test_a_stop_ends_the_wait(path: Path) -> None:
    stop = threading.Event()
    with at_the_warning(stop.set), pytest.raises(Interrupted), StoreWriter.open(path, stop) as store:
        store.write([symbol_day(BTC, [])])
    assert query(path, "SELECT rows FROM symbol_days") == [(1,)]


@pytest.mark.parametrize("busy_ms", [1, 200], ids=["SQLite hardly waits", "SQLite waits as well"])
@pytest.mark.usefixtures("other")
def test_the_wait_has_an_end(path: Path, monkeypatch: pytest.MonkeyPatch, busy_ms: int) -> None:
    """Half a second here, ten minutes in earnest: SQLite's own waiting is part of it."""
    monkeypatch.setattr(writer, "BUSY_MS", busy_ms)
    assert writer._BUSY_SECONDS == 600
    monkeypatch.setattr(writer, "_BUSY_SECONDS", 0.5)
    with StoreWriter.open(path) as store:
        started = time.monotonic()
        with pytest.raises(StoreError) as caught:
            store.write([symbol_day(BTC, [])])
        # One attempt may have begun just before the end of the wait.
        assert 0.5 <= time.monotonic() - started < 0.5 + 0.4
    assert caught.value.message == f"database {path} is locked"
    assert caught.value.hint == "close the program that uses it and run again"
    assert query(path, "SELECT rows FROM symbol_days") == [(1,)]
