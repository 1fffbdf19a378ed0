"""Small universes and databases that the tests of status, verify and export share."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from cryptoservice.models import Dataset, Row, Status
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, kline

BTC, ETH = "BTCUSDT", "ETHUSDT"
HOUR = 3_600_000
NEXT_DAY = date(2026, 2, 2)
DAY_NUMBER = FEBRUARY_MS // DAY
# One day of BTC in all datasets: 24 flat hours, 288 metrics with one blank column, three funding rates off the full hour.
HOURS = [kline(FEBRUARY_MS + number * HOUR, 10.0) for number in range(24)]
METRICS = [(FEBRUARY_MS + number * 300_000, 5.0, 50.0, 1.0, None, 1.5, 0.5) for number in range(288)]
RATES = [(FEBRUARY_MS + number * 8 * HOUR + number, 0.0001, 10.0, "Regular") for number in range(3)]
SERIES = {
    Dataset.KLINES: Series(Dataset.KLINES, "1h", BTC),
    Dataset.METRICS: Series(Dataset.METRICS, "5m", BTC),
    Dataset.FUNDING_RATES: Series(Dataset.FUNDING_RATES, "", BTC),
}


def write_universe(
    path: Path,
    first: str,
    last: str,
    missing: Mapping[str, Mapping[str, str]] | None = None,
    symbols: Sequence[str] = (BTC, ETH),
) -> Path:
    """A universe file: all symbols are active on every day but those of `missing` (day: symbol: reason)."""
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    days = [(start + timedelta(days=number)).isoformat() for number in range((end - start).days + 1)]
    gone = missing or {}
    snapshots = [
        {
            "date": day,
            "active_symbols": [symbol for symbol in symbols if symbol not in gone.get(day, {})],
            "missing_symbols": dict(gone.get(day, {})),
        }
        for day in days
    ]
    record = {
        "schema_version": "2.0", "requested_symbols": list(symbols), "start_date": first, "end_date": last,
        "daily_snapshots": snapshots, "created_at": "2026-03-01T00:00:00+00:00",
    }  # fmt: skip
    path.write_text(json.dumps(record))
    return path


def symbol_day(dataset: Dataset, rows: Sequence[Row], day: date = FEBRUARY, source: str | None = "daily") -> SymbolDay:
    """A complete symbol-day of BTC."""
    return SymbolDay(SERIES[dataset], day, Status.COMPLETE, None, rows, len(rows), source, 1_770_000_000.0)


class Stored:
    """A universe of BTC and ETH over two days, and a database, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.universe = write_universe(folder / "universe.json", "2026-02-01", "2026-02-02")
        self.database = folder / "market.db"

    def fill(self, days: Iterable[SymbolDay]) -> None:
        """Write symbol-days as a download does."""
        with StoreWriter.open(self.database) as store:
            store.write(days)

    def fill_all(self) -> None:
        """Write BTC's first day in all datasets."""
        rows = {Dataset.KLINES: HOURS, Dataset.METRICS: METRICS, Dataset.FUNDING_RATES: RATES}
        self.fill(symbol_day(dataset, rows[dataset]) for dataset in Dataset)

    def tamper(self, *statements: str) -> None:
        """Change the database behind the product's back; each statement must change something."""
        with contextlib.closing(sqlite3.connect(self.database)) as db:
            db.execute("PRAGMA synchronous = OFF")
            for statement in statements:
                assert db.execute(statement).rowcount > 0, statement
            db.commit()
