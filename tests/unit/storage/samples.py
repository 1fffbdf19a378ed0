"""Small symbol-days, and a look at a database with nothing but the sqlite3 module."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

from cryptoservice.days import Window
from cryptoservice.models import Dataset, Row, SourceObject, Status
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, MINUTE, kline

NEXT_DAY = date(2026, 2, 2)
BOTH_DAYS = Window(FEBRUARY, NEXT_DAY)
BTC = Series(Dataset.KLINES, "1m", "BTCUSDT")
ETH = Series(Dataset.KLINES, "1m", "ETHUSDT")
METRICS = Series(Dataset.METRICS, "5m", "BTCUSDT")
FUNDING = Series(Dataset.FUNDING_RATES, "", "BTCUSDT")
CHECKED = 1_770_000_000.75  # 2026-02-02T02:40:00 UTC
OBJECT = SourceObject("data/x/BTCUSDT-1m-2026-02-01.zip", "ab" * 32, "Mon, 02 Feb 2026 08:00:00 GMT", "2026-02-02T02:40:00+00:00")


def symbol_day(series: Series, rows: list[Row], day: date = FEBRUARY, **other: Any) -> SymbolDay:
    """A complete symbol-day of these rows, unless `other` says otherwise."""
    fields: dict[str, Any] = {"status": Status.COMPLETE, "reason": None, "expected_rows": len(rows), "source": "daily", **other}
    return SymbolDay(series=series, day=day, rows=rows, checked_at=CHECKED, **fields)


def minutes(*numbers: int, price: float = 1.0) -> list[Row]:
    """Klines of these minutes of 2026-02-01."""
    return [kline(FEBRUARY_MS + number * MINUTE, price) for number in numbers]


def written(path: Path, *days: SymbolDay) -> Path:
    """A database that holds these symbol-days."""
    with StoreWriter.open(path) as store:
        store.write(days)
    return path


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """What any SQLite client sees."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def run_script(path: Path, sql: str) -> None:
    """What any SQLite client could do to the file."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(sql)
