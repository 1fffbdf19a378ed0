"""Rows of a database as DataFrames: every value in its place, days inclusive, and one clear error for what cannot be read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas
import pytest

from cryptoservice import UsageError, read_funding_rates, read_klines, read_metrics
from cryptoservice.days import Window
from cryptoservice.errors import Remedy, StoreError
from cryptoservice.export import dataframes
from cryptoservice.models import Dataset, Freq, Row
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS
from tests.unit.storage.samples import run_script, symbol_day, written

HOUR = 3_600_000
KLINE_COLUMNS = [
    "symbol", "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume",
]  # fmt: skip
METRIC_COLUMNS = [
    "symbol", "open_interest", "open_interest_value", "top_trader_account_ratio", "top_trader_position_ratio",
    "global_account_ratio", "taker_volume_ratio",
]  # fmt: skip
READERS = (read_klines, read_metrics, read_funding_rates)
# In the order of their code points, which is that of the database.
NAMES = ("1000PEPEUSDT", "AUSDT", "BUSDT", "币安人生USDT")


def hours(day: int, count: int = 24, *, price: float = 1.0) -> list[Row]:
    """Hourly klines of a day after 2026-02-01; every value of every row is its own."""
    rows: list[Row] = []
    for hour in range(count):
        at = price * 1000 + day * 24 + hour
        volumes = (at + 0.5, at + 0.625, int(at), at + 0.25, at + 0.125)
        rows.append((FEBRUARY_MS + day * DAY + hour * HOUR, at, at + 3, at - 3, at + 1, *volumes))
    return rows


def klines(symbol: str, day: int, rows: list[Row], freq: str = "1h") -> SymbolDay:
    return symbol_day(Series(Dataset.KLINES, freq, symbol), rows, FEBRUARY + timedelta(days=day))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Four symbols over three days of 1h klines, written in no order."""
    days = [klines(name, day, hours(day, price=number + 1.0)) for number, name in enumerate(NAMES) for day in range(3)]
    return written(tmp_path / "market.db", *days[::-1])


def rows_of(frame: Any) -> list[tuple[Any, ...]]:
    """The rows as plain Python values: symbol, time in milliseconds, and the other columns."""
    times = [round(moment.timestamp() * 1000) for moment in frame.index]
    return [(symbol, time, *rest) for time, (symbol, *rest) in zip(times, frame.itertuples(index=False), strict=True)]


# -- what is read ------------------------------------------------------------------------------------------------------


def test_klines_stand_by_symbol_and_time(database: Path) -> None:
    frame = read_klines(database)
    assert rows_of(frame) == [
        (name, *row) for number, name in enumerate(NAMES) for day in range(3) for row in hours(day, price=number + 1.0)
    ]
    assert list(frame.columns) == KLINE_COLUMNS
    assert isinstance(frame.index, pandas.DatetimeIndex)
    assert (frame.index.name, str(frame.index.tz)) == ("open_time", "UTC")
    assert frame.index[0] == pandas.Timestamp("2026-02-01", tz="UTC")
    assert str(frame["trades"].dtype) == "int64"
    assert {str(frame[name].dtype) for name in KLINE_COLUMNS[1:] if name != "trades"} == {"float64"}
    assert frame["symbol"].map(type).eq(str).all()


def test_a_row_is_read_whole_however_many_are_read_at_once(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_klines(database)
    for size in (1, 7, 72, 73):
        monkeypatch.setattr(dataframes, "_ROWS_AT_ONCE", size)
        pandas.testing.assert_frame_equal(read_klines(database), whole)


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        (None, None, [0, 1, 2]),
        ("2026-02-02", None, [1, 2]),
        (None, "2026-02-02", [0, 1]),
        ("2026-02-02", "2026-02-02", [1]),
        (date(2026, 2, 1), datetime(2026, 2, 2, tzinfo=timezone.utc), [0, 1]),
        (datetime(2026, 2, 2, 8, tzinfo=timezone(timedelta(hours=8))), pandas.Timestamp("2026-02-03"), [1, 2]),
        (pandas.Timestamp("2026-02-03", tz="UTC"), None, [2]),
        ("2025-01-01", "2026-01-31", []),
        ("2026-02-04", None, []),
    ],
)
def test_both_days_are_inclusive(database: Path, start: Any, end: Any, days: list[int]) -> None:
    frame = read_klines(database, ["AUSDT"], start, end)
    assert [row[1] for row in rows_of(frame)] == [FEBRUARY_MS + day * DAY + hour * HOUR for day in days for hour in range(24)]


def test_symbols_are_chosen_and_strangers_give_no_rows(database: Path) -> None:
    def names(symbols: Any) -> list[str]:
        return list(dict.fromkeys(read_klines(database, symbols)["symbol"]))

    assert names(["币安人生USDT", "AUSDT", "NOSUCHUSDT"]) == ["AUSDT", "币安人生USDT"]
    assert names([" ausdt ", "AUSDT"]) == ["AUSDT"]
    assert names(pandas.Index(["BUSDT"])) == ["BUSDT"]
    assert names(name for name in NAMES[1:3]) == ["AUSDT", "BUSDT"]
    assert names(["all"]) == names("all") == names(None) == list(NAMES)
    # Neither a stranger nor an empty list means all.
    assert names(["NOSUCHUSDT"]) == []
    assert names([]) == []


def test_metrics_have_nan_where_the_source_was_blank(tmp_path: Path) -> None:
    rows = [(FEBRUARY_MS, 5.0, 50.0, 1.0, None, 1.5, 0.5), (FEBRUARY_MS + 300_000, None, None, None, None, None, None)]
    path = written(tmp_path / "market.db", symbol_day(Series(Dataset.METRICS, "5m", "BTCUSDT"), rows))
    frame = read_metrics(path)
    assert (list(frame.columns), frame.index.name, str(frame.index.tz)) == (METRIC_COLUMNS, "open_time", "UTC")
    assert {str(frame[name].dtype) for name in METRIC_COLUMNS[1:]} == {"float64"}
    found = [tuple(None if value != value else value for value in row) for row in rows_of(frame)]
    assert found == [("BTCUSDT", *row) for row in rows]


def test_funding_rates_have_their_type(tmp_path: Path) -> None:
    rows = [
        (FEBRUARY_MS + 1, 0.0001, 10.0, "Regular"),
        (FEBRUARY_MS + 1, -0.0002, None, "Other"),
        (FEBRUARY_MS + 9, 0.0, 9.5, "Regular"),
    ]
    path = written(tmp_path / "market.db", symbol_day(Series(Dataset.FUNDING_RATES, "", "BTCUSDT"), rows))
    frame = read_funding_rates(path, start="2026-02-01", end="2026-02-01")
    assert list(frame.columns) == ["symbol", "funding_rate", "mark_price", "rate_type"]
    assert (frame.index.name, str(frame.index.tz)) == ("funding_time", "UTC")
    assert list(frame["rate_type"]) == ["Other", "Regular", "Regular"]
    assert list(frame["funding_rate"]) == [-0.0002, 0.0001, 0.0]
    assert list(frame["mark_price"].isna()) == [True, False, False]
    assert [row[1] - FEBRUARY_MS for row in rows_of(frame)] == [1, 1, 9]


def test_no_rows_have_the_types_of_many(tmp_path: Path) -> None:
    path = written(
        tmp_path / "market.db",
        klines("BTCUSDT", 0, hours(0)),
        symbol_day(Series(Dataset.METRICS, "5m", "BTCUSDT"), [(FEBRUARY_MS, 5.0, 50.0, 1.0, None, 1.5, 0.5)]),
        symbol_day(Series(Dataset.FUNDING_RATES, "", "BTCUSDT"), [(FEBRUARY_MS, 0.1, 1.0, "Regular")]),
    )
    for read in READERS:
        for empty in (read(path, ["NOSUCHUSDT"]), read(path, end="2025-01-01")):
            full = read(path)
            assert len(full) > len(empty) == 0
            pandas.testing.assert_frame_equal(empty, full.iloc[:0])


def test_of_several_intervals_one_is_chosen(database: Path) -> None:
    written(database, klines("AUSDT", 0, hours(0, 1), "1d"), klines("BUSDT", 0, hours(0, 2), "12h"))
    assert len(read_klines(database, freq="1d")) == 1
    assert len(read_klines(database, freq=Freq.h12)) == 2
    with pytest.raises(UsageError) as caught:
        read_klines(database)
    assert str(caught.value) == f"database {database} holds klines of several intervals; choose one of: 1h 12h 1d"
    with pytest.raises(UsageError) as caught:
        read_klines(database, freq="5m")
    assert str(caught.value) == f"database {database} holds no 5m klines; it has: 1h 12h 1d"


# -- what cannot be read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"symbols": "AUSDT"}, "symbols is one string"),
        ({"symbols": ""}, "symbols is one string"),
        ({"symbols": 5}, "symbols is no list: 5"),
        ({"symbols": ["AUSDT", 5]}, "symbol 5 is not a symbol name"),
        ({"symbols": [None]}, "symbol None is not a symbol name"),
        ({"symbols": [b"AUSDT"]}, "is not a symbol name"),
        ({"symbols": ["A/USDT"]}, "holds '/'"),
        ({"start": "2026-02-02", "end": "2026-02-01"}, "the end date 2026-02-01 lies before the start date 2026-02-02"),
        ({"start": "1 February"}, "start date: '1 February' is not a date"),
        ({"end": datetime(2026, 2, 1, 12)}, "end date: 2026-02-01 12:00:00 is not the beginning of a UTC day"),
        ({"end": pandas.NaT}, "end date: NaT is not a date"),
        ({"start": 20260201}, "start date: 20260201 is not a date"),
    ],
)
def test_bad_arguments_are_refused(database: Path, read: Callable[..., Any], arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(database, **arguments)
    assert words in caught.value.message


def test_a_bad_interval_is_refused(database: Path) -> None:
    with pytest.raises(UsageError, match="unknown interval '7m'"):
        read_klines(database, freq="7m")


def test_a_database_without_such_rows_says_so(database: Path, tmp_path: Path) -> None:
    for read, what, remedy in (
        (read_metrics, "metrics", Remedy.DOWNLOAD_METRICS),
        (read_funding_rates, "funding rates", Remedy.DOWNLOAD_METRICS),
    ):
        with pytest.raises(UsageError) as caught:
            read(database)
        assert (caught.value.message, caught.value.remedy) == (f"database {database} holds no {what}", remedy)
    metrics = written(tmp_path / "metrics.db", symbol_day(Series(Dataset.METRICS, "5m", "BTCUSDT"), []))
    with pytest.raises(UsageError, match="holds no klines"):
        read_klines(metrics)
    with pytest.raises(UsageError, match="holds no 1h klines"):
        read_klines(metrics, freq="1h")
    assert len(read_metrics(metrics)) == 0
    with pytest.raises(UsageError, match="does not exist"):
        read_klines(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("no database at all, but long enough to look like one" * 20)
    with pytest.raises(StoreError):
        read_klines(tmp_path / "text.db")


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("absent", ["pandas", "numpy"])
def test_without_pandas_one_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[..., Any], absent: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(UsageError) as caught:
        # It comes first: what is wrong besides can be told when pandas is there.
        read(tmp_path / "none.db", "AUSDT")
    assert caught.value.message.startswith("pandas cannot be imported (")
    assert caught.value.hint == "pip install 'cryptoservice[pandas]'"


def test_only_reading_loads_pandas() -> None:
    code = (
        "import sys, cryptoservice; cryptoservice.read_klines, cryptoservice.read_metrics, cryptoservice.read_funding_rates; "
        "print([name for name in ('pandas', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- one state of the database ---------------------------------------------------------------------------------------------


def test_it_reads_one_snapshot_while_another_writes(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count_rows = StoreReader.count_rows
    with StoreWriter.open(database) as writer:
        # From its first commit on, a writer and its readers do not wait for each other.
        writer.write([klines("AUSDT", 0, hours(0, price=2.0))])
        before = read_klines(database)

        def commit_meanwhile(store: StoreReader, series: Series, window: Window) -> int:
            counted = count_rows(store, series, window)
            writer.write([klines(series.symbol, 3, hours(3))])
            return counted

        monkeypatch.setattr(StoreReader, "count_rows", commit_meanwhile)
        during = read_klines(database)
        monkeypatch.setattr(StoreReader, "count_rows", count_rows)
        pandas.testing.assert_frame_equal(during, before)
        # What was committed is there, although the writer still has the file open.
        assert len(read_klines(database)) == len(before) + 4 * 24


@pytest.fixture
def shelf(database: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder that nothing may be written to, with the database in it."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    shutil.copy(database, folder / "market.db")
    (folder / "market.db").chmod(0o444)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def test_it_leaves_nothing_beside_the_database(database: Path, shelf: Path) -> None:
    body = (shelf / "market.db").read_bytes()
    pandas.testing.assert_frame_equal(read_klines(str(shelf / "market.db")), read_klines(database))
    assert [path.name for path in shelf.iterdir()] == ["market.db"]
    assert (shelf / "market.db").read_bytes() == body


def test_a_damaged_file_is_an_error_of_the_database(database: Path) -> None:
    run_script(database, "DROP VIEW klines; DROP TABLE kline_rows;")
    with pytest.raises(StoreError, match="kline_rows"):
        read_klines(database)
