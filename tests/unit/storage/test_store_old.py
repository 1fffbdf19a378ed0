"""SQLite: the public views, the ledger, and what is true after a failure."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.days import Window
from cryptoservice.errors import StoreError, UsageError
from cryptoservice.models import Dataset, Row, SourceObject, Status
from cryptoservice.storage.ledger import LedgerLine, Series, SymbolDay
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.schema import columns
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, MINUTE, kline

NEXT_DAY = date(2026, 2, 2)
BTC = Series(Dataset.KLINES, "1m", "BTCUSDT")
ETH = Series(Dataset.KLINES, "1m", "ETHUSDT")
METRICS = Series(Dataset.METRICS, "5m", "BTCUSDT")
FUNDING = Series(Dataset.FUNDING_RATES, "", "BTCUSDT")
BOTH_DAYS = Window(FEBRUARY, NEXT_DAY)
CHECKED = 1_770_000_000.75  # 2026-02-02T02:40:00 UTC
OBJECT = SourceObject("data/x/BTCUSDT-1m-2026-02-01.zip", "ab" * 32, "Mon, 02 Feb 2026 08:00:00 GMT", "2026-02-02T02:40:00+00:00")


def symbol_day(series: Series, rows: list[Row], day: date = FEBRUARY, **other: Any) -> SymbolDay:
    fields: dict[str, Any] = {"status": Status.COMPLETE, "reason": None, "expected_rows": len(rows), "source": "daily", **other}
    return SymbolDay(series=series, day=day, rows=rows, checked_at=CHECKED, **fields)


def minutes(*numbers: int, price: float = 1.0) -> list[Row]:
    return [kline(FEBRUARY_MS + number * MINUTE, price) for number in numbers]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "market.db"


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """What any SQLite client sees."""
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def header(path: Path, view: str) -> list[str]:
    db = sqlite3.connect(path)
    try:
        return [column[0] for column in db.execute(f"SELECT * FROM {view}").description]
    finally:
        db.close()


@pytest.mark.parametrize(
    ("view", "names"),
    [
        (
            "klines",
            "symbol freq open_time open high low close volume quote_volume trades taker_buy_volume taker_buy_quote_volume",
        ),
        (
            "metrics",
            "symbol open_time open_interest open_interest_value top_trader_account_ratio top_trader_position_ratio "
            "global_account_ratio taker_volume_ratio",
        ),
        ("funding_rates", "symbol funding_time funding_rate mark_price rate_type"),
        ("symbol_days", "dataset freq symbol date status reason rows expected_rows source checked_at object_id"),
        ("source_objects", "id name sha256 last_modified fetched_at"),
    ],
)
def test_the_public_names_and_columns(path: Path, view: str, names: str) -> None:
    with StoreWriter.open(path):
        pass
    assert header(path, view) == names.split()


def test_the_schema_version_is_in_user_version(path: Path) -> None:
    with StoreWriter.open(path):
        pass
    assert query(path, "PRAGMA user_version") == [(1,)]


def test_what_is_written_is_read_by_the_store_and_by_any_client(path: Path) -> None:
    row = (FEBRUARY_MS, 0.1038, 0.1040, 0.1037, 0.1039, 242160.4, 25142.90126, 102, 126196.5, 13109.51126)
    with StoreWriter.open(path) as store:
        store.write(
            [symbol_day(BTC, [row], expected_rows=1440, status=Status.CONFIRMED_GAP, reason="archive_alone", origin=OBJECT)]
        )
        assert store.rows(BTC, FEBRUARY) == [row]
    with StoreReader.open(path) as store:
        assert store.rows(BTC, FEBRUARY) == [row]
        assert store.rows(BTC, NEXT_DAY) == []
        assert store.rows(ETH, FEBRUARY) == []
        assert store.ledger(Dataset.KLINES, "1m", BOTH_DAYS) == {
            "BTCUSDT": {FEBRUARY: LedgerLine(Status.CONFIRMED_GAP, "archive_alone", 1, 1440)}
        }
    assert query(path, "SELECT * FROM klines") == [("BTCUSDT", "1m", *row)]
    assert query(path, "SELECT * FROM symbol_days") == [
        (
            "klines", "1m", "BTCUSDT", "2026-02-01", "confirmed_gap", "archive_alone", 1, 1440, "daily",
            "2026-02-02T02:40:00+00:00", 1,
        )
    ]  # fmt: skip
    assert query(path, "SELECT * FROM source_objects") == [(1, *OBJECT)]


def test_metrics_keep_blanks_and_funding_keeps_two_rates_of_one_time(path: Path) -> None:
    metric = (FEBRUARY_MS, 1893129.089, None, 1.9, 3.2, 1.4, None)
    rates = [(FEBRUARY_MS + 7, 0.0001, None, "Regular"), (FEBRUARY_MS + 7, -0.03, 34287.5, "Special")]
    with StoreWriter.open(path) as store:
        store.write([symbol_day(METRICS, [metric]), symbol_day(FUNDING, list(rates))])
        assert store.rows(METRICS, FEBRUARY) == [metric]
        assert store.rows(FUNDING, FEBRUARY) == rates
    assert query(path, "SELECT * FROM metrics") == [("BTCUSDT", *metric)]
    assert query(path, "SELECT * FROM funding_rates ORDER BY rate_type") == [("BTCUSDT", *rate) for rate in rates]


def test_columns_name_the_rows_after_the_symbol() -> None:
    assert columns(Dataset.FUNDING_RATES) == ("funding_time", "funding_rate", "mark_price", "rate_type")
    assert columns(Dataset.METRICS)[0] == columns(Dataset.KLINES)[0] == "open_time"


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


def test_an_object_is_noted_once_and_anew_when_it_was_republished(path: Path) -> None:
    republished = OBJECT._replace(sha256="cd" * 32)
    with StoreWriter.open(path) as store:
        store.write([symbol_day(BTC, minutes(1), origin=OBJECT), symbol_day(BTC, [], NEXT_DAY, origin=OBJECT)])
        store.write([symbol_day(ETH, minutes(1), origin=republished)])
    assert query(path, "SELECT symbol, date, object_id FROM symbol_days ORDER BY symbol, date") == [
        ("BTCUSDT", "2026-02-01", 1),
        ("BTCUSDT", "2026-02-02", 1),
        ("ETHUSDT", "2026-02-01", 2),
    ]


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
            store.write([symbol_day(BTC, minutes(7)), symbol_day(METRICS, []), symbol_day(ETH, bad, origin=OBJECT)])
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


def test_the_ledger_of_a_window_is_cut_at_both_ends_and_by_frequency(path: Path) -> None:
    five = Series(Dataset.KLINES, "5m", "BTCUSDT")
    with StoreWriter.open(path) as store:
        for day in (date(2026, 1, 31), FEBRUARY, NEXT_DAY, date(2026, 2, 3)):
            store.write([symbol_day(BTC, [], day, status=Status.INCOMPLETE, reason="x", expected_rows=1440)])
        store.write([symbol_day(five, [], FEBRUARY)])
        lines = store.ledger(Dataset.KLINES, "1m", BOTH_DAYS)
        assert lines == {"BTCUSDT": dict.fromkeys((FEBRUARY, NEXT_DAY), LedgerLine(Status.INCOMPLETE, "x", 0, 1440))}
        assert store.ledger(Dataset.METRICS, "5m", BOTH_DAYS) == {}


def test_frequencies_are_listed_from_short_to_long(path: Path) -> None:
    with StoreWriter.open(path) as store:
        for freq in ("1d", "5m", "1h", "1m", "12h"):
            store.write([symbol_day(Series(Dataset.KLINES, freq, "BTCUSDT"), [])])
        store.write([symbol_day(METRICS, [])])
        assert store.frequencies(Dataset.KLINES) == ["1m", "5m", "1h", "12h", "1d"]
        assert store.frequencies(Dataset.FUNDING_RATES) == []


def test_a_database_of_another_version_is_refused_and_left_alone(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE future (x); PRAGMA user_version = 99;")
    db.close()
    before = path.read_bytes()
    for opened in (StoreWriter.open(path), StoreReader.open(path)):
        with pytest.raises(StoreError, match="has schema version 99, this program knows 1") as caught, opened:
            pass
        assert caught.value.hint is not None
        assert "choose another --db-path" in caught.value.hint
    assert path.read_bytes() == before


def test_somebody_elses_database_is_refused_and_left_alone(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE notes (x)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="was not written by cryptoservice"), StoreWriter.open(path):
        pass
    assert path.read_bytes() == before


def test_what_is_no_database_is_refused_with_a_hint(path: Path) -> None:
    path.write_bytes(b"symbol,open_time\n" * 100)
    for opened in (StoreWriter.open(path), StoreReader.open(path)):
        with pytest.raises(StoreError, match="not a database") as caught, opened:
            pass
        assert caught.value.hint == "restore it from a copy, or choose another --db-path and download again"
    assert path.read_bytes() == b"symbol,open_time\n" * 100


def test_reading_needs_a_database_that_exists(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"), StoreReader.open(path):
        pass
    assert not path.exists()
    with pytest.raises(UsageError, match="is a folder"), StoreReader.open(tmp_path):
        pass
    path.touch()
    with pytest.raises(StoreError, match="is empty"), StoreReader.open(path):
        pass
    assert path.read_bytes() == b""


def test_creating_needs_a_folder_and_no_folder_in_the_files_place(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"), StoreWriter.open(tmp_path):
        pass
    with pytest.raises(StoreError, match="unable to open"), StoreWriter.open(tmp_path / "absent" / "market.db"):
        pass


def test_a_finished_run_leaves_one_file_and_reading_adds_none(path: Path, tmp_path: Path) -> None:
    with StoreWriter.open(path) as store:
        store.write([symbol_day(BTC, minutes(0, 1))])
    assert [entry.name for entry in tmp_path.iterdir()] == ["market.db"]
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        before = (path.read_bytes(), path.stat().st_mtime_ns)
        with StoreReader.open(path) as store:
            assert store.rows(BTC, FEBRUARY) == minutes(0, 1)
            assert [entry.name for entry in tmp_path.iterdir()] == ["market.db"]
            with pytest.raises(StoreError):
                store.write([symbol_day(BTC, minutes(2))])
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    finally:
        tmp_path.chmod(0o755)


def test_a_reader_sees_one_moment_while_a_run_writes_on(path: Path) -> None:
    with StoreWriter.open(path) as writer:
        writer.write([symbol_day(BTC, minutes(0))])
        with StoreReader.open(path) as reader:
            assert reader.rows(BTC, FEBRUARY) == minutes(0)
            writer.write([symbol_day(BTC, minutes(0, 1, 2)), symbol_day(ETH, minutes(5))])
            assert reader.rows(BTC, FEBRUARY) == minutes(0)
            assert reader.rows(ETH, FEBRUARY) == []
        with StoreReader.open(path) as reader:
            assert reader.rows(BTC, FEBRUARY) == minutes(0, 1, 2)


@pytest.mark.parametrize("name", ["a?b#c%41.db", "数据 库.db", "with'quote.db", ":memory:"])
def test_any_file_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with StoreWriter.open(Path(name)) as store:
        store.write([symbol_day(BTC, minutes(0))])
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    with StoreReader.open(Path(name)) as store:
        assert store.rows(BTC, FEBRUARY) == minutes(0)


NUMBERS = st.floats(0, 1e18, allow_nan=False).map(lambda number: number + 0.0)


@settings(deadline=None, max_examples=12)
@given(st.dictionaries(st.integers(0, 1439), st.tuples(*[NUMBERS] * 6, st.integers(0, 10**15), NUMBERS, NUMBERS), max_size=100))
def test_every_float_comes_back_bit_by_bit(tmp_path_factory: pytest.TempPathFactory, bars: dict[int, tuple[Any, ...]]) -> None:
    rows = [(FEBRUARY_MS + minute * MINUTE, *values) for minute, values in sorted(bars.items())]
    path = tmp_path_factory.mktemp("store") / "market.db"
    with StoreWriter.open(path) as store:
        store.write([symbol_day(BTC, rows)])
        assert list(map(repr, store.rows(BTC, FEBRUARY))) == list(map(repr, rows))
