"""The schema of a database: its views, which are public, and the inner tables below them.

The public names (klines, metrics, funding_rates, symbol_days) are views. In the tables below them a small integer stands for a
symbol with its dataset and frequency, which makes rows a third smaller and inserts quicker.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptoservice.models import Dataset

SCHEMA_VERSION = 3

SCHEMA = """
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
    expected_rows INTEGER NOT NULL, source TEXT, checked_at INTEGER NOT NULL, object_id INTEGER, row_marks BLOB,
    PRIMARY KEY (series_id, day)
) WITHOUT ROWID;
CREATE TABLE source_objects (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, last_modified TEXT, fetched_at TEXT NOT NULL,
    etag TEXT, size INTEGER, UNIQUE (name, sha256)
);
CREATE TABLE commits (count INTEGER NOT NULL);
INSERT INTO commits VALUES (0);
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


class Table(NamedTuple):
    """An inner table: its name, its columns after `series_id` with the time (ms UTC) first, and the order of its rows."""

    name: str
    columns: tuple[str, ...]
    order: str
    integers: tuple[str, ...] = ()
    """The columns of whole numbers."""
    texts: tuple[str, ...] = ()
    nullable: tuple[str, ...] = ()
    """The columns that may be NULL: the source has left the value blank."""

    @property
    def time(self) -> str:
        """The column that holds a row's time."""
        return self.columns[0]

    @property
    def codes(self) -> str | None:
        """A letter for each column, `q` for whole numbers and `d` for floats; None where one holds texts."""
        return None if self.texts else "".join("q" if name in self.integers else "d" for name in self.columns)


TABLES = {
    Dataset.KLINES: Table(
        "kline_rows",
        (
            "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume",
            "taker_buy_quote_volume",
        ),
        order="open_time",
        integers=("open_time", "trades"),
    ),
    Dataset.METRICS: Table(
        "metric_rows",
        (
            "open_time", "open_interest", "open_interest_value", "top_trader_account_ratio", "top_trader_position_ratio",
            "global_account_ratio", "taker_volume_ratio",
        ),
        order="open_time",
        integers=("open_time",),
        nullable=(
            "open_interest", "open_interest_value", "top_trader_account_ratio", "top_trader_position_ratio",
            "global_account_ratio", "taker_volume_ratio",
        ),
    ),
    Dataset.FUNDING_RATES: Table(
        "funding_rows",
        ("funding_time", "funding_rate", "mark_price", "rate_type"),
        order="funding_time, rate_type",
        integers=("funding_time",),
        texts=("rate_type",),
        nullable=("mark_price",),
    ),
}  # fmt: skip


def columns(dataset: Dataset) -> tuple[str, ...]:
    """The names of the columns of that dataset's rows; the time (ms UTC) comes first."""
    return TABLES[dataset].columns
