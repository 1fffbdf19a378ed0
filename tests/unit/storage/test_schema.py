"""The names, columns and forms that any SQLite client may rely on."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from cryptoservice.models import Dataset, Status
from cryptoservice.storage.schema import TABLES, columns
from tests.unit.fakes import FEBRUARY_MS
from tests.unit.storage.samples import BTC, FUNDING, METRICS, OBJECT, minutes, query, symbol_day, written

PUBLIC = {
    "klines": "symbol freq open_time open high low close volume quote_volume trades taker_buy_volume taker_buy_quote_volume",
    "metrics": "symbol open_time open_interest open_interest_value top_trader_account_ratio top_trader_position_ratio "
    "global_account_ratio taker_volume_ratio",
    "funding_rates": "symbol funding_time funding_rate mark_price rate_type",
    "symbol_days": "dataset freq symbol date status reason rows expected_rows source checked_at object_id",
    "source_objects": "id name sha256 last_modified fetched_at etag size",
}


def test_the_public_names_and_columns(path: Path) -> None:
    written(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        found = {view: [column[0] for column in db.execute(f"SELECT * FROM {view}").description] for view in PUBLIC}
    assert found == {view: names.split() for view, names in PUBLIC.items()}


def test_the_schema_version_is_in_user_version(path: Path) -> None:
    assert query(written(path), "PRAGMA user_version") == [(3,)]


def test_the_views_show_rows_days_and_times_as_people_read_them(path: Path) -> None:
    row = (FEBRUARY_MS, 0.1038, 0.1040, 0.1037, 0.1039, 242160.4, 25142.90126, 102, 126196.5, 13109.51126)
    gap = symbol_day(BTC, [row], expected_rows=1440, status=Status.CONFIRMED_GAP, reason="archive_alone", origin=OBJECT)
    written(path, gap)
    assert query(path, "SELECT * FROM klines") == [("BTCUSDT", "1m", *row)]
    assert query(path, "SELECT * FROM source_objects") == [(1, *OBJECT)]
    assert query(path, "SELECT * FROM symbol_days") == [
        (
            "klines", "1m", "BTCUSDT", "2026-02-01", "confirmed_gap", "archive_alone", 1, 1440, "daily",
            "2026-02-02T02:40:00+00:00", 1,
        )
    ]  # fmt: skip


def test_each_view_shows_its_own_dataset_alone(path: Path) -> None:
    metric = (FEBRUARY_MS, 1893129.089, None, 1.9, 3.2, 1.4, None)
    rate = (FEBRUARY_MS + 7, 0.0001, None, "Regular")
    written(path, symbol_day(BTC, minutes(0)), symbol_day(METRICS, [metric]), symbol_day(FUNDING, [rate]))
    assert query(path, "SELECT symbol, freq, open_time FROM klines") == [("BTCUSDT", "1m", FEBRUARY_MS)]
    assert query(path, "SELECT * FROM metrics") == [("BTCUSDT", *metric)]
    assert query(path, "SELECT * FROM funding_rates") == [("BTCUSDT", *rate)]
    assert query(path, "SELECT dataset, freq FROM symbol_days ORDER BY dataset") == [
        ("funding_rates", ""),
        ("klines", "1m"),
        ("metrics", "5m"),
    ]


def test_the_columns_of_rows_are_those_of_the_inner_tables(path: Path) -> None:
    written(path)
    for table in TABLES.values():
        info = query(path, f"PRAGMA table_info({table.name})")
        key = [name for _, name, _, _, _, place in sorted(info, key=lambda column: column[5]) if place]
        assert sorted(table.columns) == sorted(name for _, name, *_ in info if name != "series_id"), table.name
        # Rows of one series are unique and in a fixed order when they are sorted by the rest of the key.
        assert ["series_id", *table.order.split(", ")] == key, table.name
        assert table.time == key[1]


def test_columns_begin_with_the_time_and_leave_out_the_symbol() -> None:
    assert columns(Dataset.FUNDING_RATES) == ("funding_time", "funding_rate", "mark_price", "rate_type")
    assert columns(Dataset.KLINES) == tuple(PUBLIC["klines"].split()[2:])
    assert columns(Dataset.METRICS) == tuple(PUBLIC["metrics"].split()[1:])
