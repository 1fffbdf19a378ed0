"""The reference: the sqlite3 shell doing the same to the same rows, as a whole process."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.commands import Run, run

SHELL = shutil.which("sqlite3") or ""
_COLUMNS = "symbol, open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume"
# First and last bar of each hour bring open and close; the sums are SQLite's own, in binary.
_HOURS = """
WITH hours AS (
    SELECT symbol, open_time - open_time % 3600000 AS hour, min(open_time) AS first, max(open_time) AS last, max(high) AS high,
           min(low) AS low, sum(volume) AS volume, sum(quote_volume) AS quote_volume, sum(trades) AS trades,
           sum(taker_buy_volume) AS taker_buy_volume, sum(taker_buy_quote_volume) AS taker_buy_quote_volume
    FROM klines WHERE freq = '1m' GROUP BY symbol, hour
)
SELECT h.symbol, hour, a.open, h.high, h.low, b.close, h.volume, h.quote_volume, h.trades, h.taker_buy_volume,
       h.taker_buy_quote_volume
FROM hours h JOIN klines a ON a.symbol = h.symbol AND a.freq = '1m' AND a.open_time = h.first
             JOIN klines b ON b.symbol = h.symbol AND b.freq = '1m' AND b.open_time = h.last
"""


def import_rows(schema: str, csv_file: Path, database: Path) -> Run:
    """`.import` of the CSV into a new database's kline_rows."""
    database.unlink(missing_ok=True)
    run([SHELL, str(database)], stdin=schema)
    return run([SHELL, str(database), ".mode csv", f".import {csv_file} kline_rows"])


def schema_of(database: Path) -> str:
    """The statements that make such a database."""
    return run([SHELL, str(database), ".schema"]).stdout


def dump_rows(database: Path, target: Path) -> float:
    """Seconds that a dump of all 5m klines as CSV takes."""
    return run([SHELL, "-csv", str(database), f".once {target}", f"SELECT {_COLUMNS} FROM klines WHERE freq = '5m'"]).seconds


def dump_hours(database: Path, target: Path) -> float:
    """Seconds that one GROUP BY from minutes to hours, written as CSV, takes."""
    return run([SHELL, "-csv", str(database), f".once {target}", _HOURS]).seconds
