"""What is read back: the ledger by window, status and frequency, and the rows of a symbol-day."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.days import Window
from cryptoservice.errors import Remedy, StoreError
from cryptoservice.models import Dataset, Status
from cryptoservice.rows import PackedRows
from cryptoservice.storage.ledger import LedgerEntry, LedgerLine, LedgerOrigin, Series, SymbolDay
from cryptoservice.storage.reader import RetriedGaps, StoreReader
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, MINUTE, kline
from tests.unit.storage.samples import (
    BOTH_DAYS,
    BTC,
    ETH,
    FUNDING,
    METRICS,
    NEXT_DAY,
    OBJECT,
    minutes,
    run_script,
    symbol_day,
    written,
)

FOUR_STATUSES = {
    "AUSDT": Status.COMPLETE,
    "BUSDT": Status.CONFIRMED_GAP,
    "CUSDT": Status.INCOMPLETE,
    "DUSDT": Status.FAILED,
}


@pytest.fixture
def four(path: Path) -> Path:
    """One symbol of each status on the first day."""
    days = [
        symbol_day(Series(Dataset.KLINES, "1m", symbol), [], status=status, reason=status.value[:3], expected_rows=1440)
        for symbol, status in FOUR_STATUSES.items()
    ]
    return written(path, *reversed(days))


def test_a_reader_cannot_write(path: Path) -> None:
    written(path)
    with StoreReader.open(path) as store:
        assert not hasattr(store, "write")


def test_rows_belong_to_one_series_and_one_day(path: Path) -> None:
    last = FEBRUARY_MS + DAY - MINUTE
    written(
        path,
        symbol_day(BTC, [*minutes(0, 7), kline(last)]),
        symbol_day(BTC, [kline(FEBRUARY_MS + DAY, 5.0)], NEXT_DAY),
        symbol_day(Series(Dataset.KLINES, "5m", "BTCUSDT"), minutes(5)),
    )
    with StoreReader.open(path) as store:
        assert store.path == path
        assert store.rows(BTC, FEBRUARY) == [*minutes(0, 7), kline(last)]
        assert store.rows(BTC, NEXT_DAY) == [kline(FEBRUARY_MS + DAY, 5.0)]
        assert store.rows(BTC, date(2026, 2, 3)) == []
        assert store.rows(ETH, FEBRUARY) == []


def test_metrics_keep_blanks_and_funding_keeps_two_rates_of_one_time(path: Path) -> None:
    metric = (FEBRUARY_MS, 1893129.089, None, 1.9, 3.2, 1.4, None)
    rates = [(FEBRUARY_MS + 7, 0.0001, None, "Regular"), (FEBRUARY_MS + 7, -0.03, 34287.5, "Special")]
    written(path, symbol_day(METRICS, [metric]), symbol_day(FUNDING, [rates[1], rates[0]]))
    with StoreReader.open(path) as store:
        assert store.rows(METRICS, FEBRUARY) == [metric]
        assert store.rows(FUNDING, FEBRUARY) == rates


def test_the_ledger_of_a_window_is_cut_at_both_ends_and_by_frequency(path: Path) -> None:
    with StoreWriter.open(path) as store:
        for day in (date(2026, 1, 31), FEBRUARY, NEXT_DAY, date(2026, 2, 3)):
            store.write([symbol_day(BTC, [], day, status=Status.INCOMPLETE, reason="x", expected_rows=1440)])
        store.write([symbol_day(Series(Dataset.KLINES, "5m", "BTCUSDT"), [], FEBRUARY)])
        lines = store.ledger(Dataset.KLINES, "1m", BOTH_DAYS)
        assert lines == {"BTCUSDT": dict.fromkeys((FEBRUARY, NEXT_DAY), LedgerLine(Status.INCOMPLETE, "x", 0, 1440))}
        assert store.ledger(Dataset.METRICS, "5m", BOTH_DAYS) == {}


def test_settled_and_unsettled_lines_together_are_the_ledger(four: Path) -> None:
    with StoreReader.open(four) as store:
        assert store.ledger(Dataset.KLINES, "1m", BOTH_DAYS) == {
            symbol: {FEBRUARY: LedgerLine(status, status.value[:3], 0, 1440)} for symbol, status in FOUR_STATUSES.items()
        }
        assert store.settled_days(Dataset.KLINES, "1m", BOTH_DAYS) == {"AUSDT": {FEBRUARY}, "BUSDT": {FEBRUARY}}
        assert store.ledger(Dataset.KLINES, "1m", BOTH_DAYS, unsettled=True) == {
            "CUSDT": {FEBRUARY: LedgerLine(Status.INCOMPLETE, "inc", 0, 1440)},
            "DUSDT": {FEBRUARY: LedgerLine(Status.FAILED, "fai", 0, 1440)},
        }
        elsewhere = Window(NEXT_DAY, NEXT_DAY)
        assert store.settled_days(Dataset.KLINES, "1m", elsewhere) == {}
        assert store.settled_days(Dataset.KLINES, "5m", BOTH_DAYS) == {}


def test_entries_are_whole_lines_sorted_by_symbol_and_day(path: Path) -> None:
    written(
        path,
        symbol_day(ETH, minutes(1), reason="late", expected_rows=1440, status=Status.INCOMPLETE, source=None),
        symbol_day(BTC, [], NEXT_DAY),
        symbol_day(BTC, minutes(0, 1)),
    )
    with StoreReader.open(path) as store:
        assert list(store.entries(Dataset.KLINES, "1m", BOTH_DAYS)) == [
            LedgerEntry("BTCUSDT", FEBRUARY, Status.COMPLETE, None, 2, 2, "daily", 1_770_000_000),
            LedgerEntry("BTCUSDT", NEXT_DAY, Status.COMPLETE, None, 0, 0, "daily", 1_770_000_000),
            LedgerEntry("ETHUSDT", FEBRUARY, Status.INCOMPLETE, "late", 1, 1440, None, 1_770_000_000),
        ]
        assert list(store.entries(Dataset.METRICS, "5m", BOTH_DAYS)) == []


def test_a_status_that_nobody_knows_is_a_store_error(four: Path) -> None:
    run_script(four, "UPDATE ledger SET status = 'fine'")
    with StoreReader.open(four) as store:
        for read in (
            lambda: store.ledger(Dataset.KLINES, "1m", BOTH_DAYS),
            lambda: list(store.entries(Dataset.KLINES, "1m", BOTH_DAYS)),
        ):
            with pytest.raises(StoreError) as caught:
                read()
            assert caught.value.message == f"database {four}: the ledger holds the unknown status 'fine'"
            assert caught.value.remedy is Remedy.VERIFY_DATABASE


def test_frequencies_are_listed_from_short_to_long(path: Path) -> None:
    freqs = ("1d", "5m", "1h", "1m", "7m", "12h")
    written(path, *(symbol_day(Series(Dataset.KLINES, freq, "BTCUSDT"), []) for freq in freqs), symbol_day(METRICS, []))
    # A series without a line in the ledger is none that anybody has downloaded.
    run_script(path, "INSERT INTO series (dataset, freq, symbol) VALUES ('klines', '2h', 'BTCUSDT')")
    with StoreReader.open(path) as store:
        # An interval that this version does not know comes last.
        assert store.frequencies(Dataset.KLINES) == ["1m", "5m", "1h", "12h", "1d", "7m"]
        assert store.frequencies(Dataset.METRICS) == ["5m"]
        assert store.frequencies(Dataset.FUNDING_RATES) == []


def test_select_asks_the_inner_tables(path: Path) -> None:
    written(path, symbol_day(BTC, minutes(0, 1, 2)))
    with StoreReader.open(path) as store:
        assert store.select("SELECT count(*) FROM kline_rows WHERE open_time > ?", (FEBRUARY_MS,)) == [(2,)]
        assert store.select("SELECT :one + 1", {"one": 1}) == [(2,)]
        with pytest.raises(StoreError, match="no such table: absent"):
            store.select("SELECT * FROM absent")


def test_a_damaged_table_is_a_store_error_wherever_it_is_read(path: Path) -> None:
    written(path, symbol_day(BTC, minutes(0)))
    run_script(path, "DROP VIEW klines; DROP TABLE kline_rows; DROP VIEW symbol_days; DROP TABLE ledger")
    with StoreReader.open(path) as store:
        for read in (
            lambda: store.rows(BTC, FEBRUARY),
            lambda: store.frequencies(Dataset.KLINES),
            lambda: store.settled_days(Dataset.KLINES, "1m", BOTH_DAYS),
            lambda: store.ledger(Dataset.KLINES, "1m", BOTH_DAYS),
            lambda: list(store.entries(Dataset.KLINES, "1m", BOTH_DAYS)),
        ):
            with pytest.raises(StoreError, match="no such table"):
                read()


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


def test_rows_are_packed_by_a_function_in_the_order_of_the_key(path: Path) -> None:
    def pack(*row: Any) -> bytes:
        return repr(row).encode()

    written(path, symbol_day(BTC, minutes(3, 0, 1)), symbol_day(BTC, [kline(FEBRUARY_MS + DAY)], NEXT_DAY))
    with StoreReader.open(path) as store:
        assert store.packed_rows(BTC, FEBRUARY, pack) == [repr(row).encode() for row in minutes(0, 1, 3)]
        assert store.packed_rows(BTC, NEXT_DAY, pack) == [repr(kline(FEBRUARY_MS + DAY)).encode()]
        # Another function, and the first one again.
        assert store.packed_rows(BTC, FEBRUARY, lambda *row: bytes([len(row)])) == [b"\n"] * 3
        assert store.packed_rows(BTC, FEBRUARY, pack) == [repr(row).encode() for row in minutes(0, 1, 3)]
        assert store.packed_rows(ETH, FEBRUARY, pack) == []


def test_a_function_that_raises_is_told_from_a_database_that_fails(path: Path) -> None:
    def fail(*_: Any) -> bytes:
        raise ValueError

    written(path, symbol_day(BTC, minutes(0)))
    with StoreReader.open(path) as store:
        assert store.packed_rows(BTC, FEBRUARY, fail) is None
        assert store.rows(BTC, FEBRUARY) == minutes(0)
    run_script(path, "DROP VIEW klines; DROP TABLE kline_rows")
    with StoreReader.open(path) as store, pytest.raises(StoreError, match="no such table"):
        store.packed_rows(BTC, FEBRUARY, fail)


def test_every_series_and_every_object_that_days_name(path: Path) -> None:
    newer = OBJECT._replace(sha256="01" * 32)
    other = OBJECT._replace(name="data/a.zip")
    with StoreWriter.open(path) as writer:
        assert writer.series() == []
        writer.write(
            [symbol_day(METRICS, []), symbol_day(ETH, minutes(0), origin=other), symbol_day(BTC, minutes(0), origin=OBJECT)]
        )
        writer.write([symbol_day(BTC, minutes(1), NEXT_DAY, origin=newer), symbol_day(FUNDING, [])])
    with StoreReader.open(path) as store:
        assert store.series() == [FUNDING, BTC, ETH, METRICS]
        objects = {number: (name, sha256) for number, name, sha256 in store.source_objects()}
        assert list(objects.values()) == [(other.name, other.sha256), (newer.name, newer.sha256), (OBJECT.name, OBJECT.sha256)]
        named = store.object_ids(BTC, BOTH_DAYS)
        first = FEBRUARY_MS // DAY
        assert {number: objects[key][1] for number, key in named.items()} == {first: OBJECT.sha256, first + 1: newer.sha256}
        assert list(store.object_ids(BTC, Window(NEXT_DAY, NEXT_DAY))) == [first + 1]
        assert store.object_ids(METRICS, BOTH_DAYS) == store.object_ids(METRICS._replace(symbol="NONE"), BOTH_DAYS) == {}


NUMBERS = st.floats(0, 1e18, allow_nan=False).map(lambda number: number + 0.0)


@settings(deadline=None, max_examples=12)
@given(st.dictionaries(st.integers(0, 1439), st.tuples(*[NUMBERS] * 6, st.integers(0, 10**15), NUMBERS, NUMBERS), max_size=100))
def test_every_float_comes_back_bit_by_bit(tmp_path_factory: pytest.TempPathFactory, bars: dict[int, tuple[Any, ...]]) -> None:
    rows = [(FEBRUARY_MS + minute * MINUTE, *values) for minute, values in sorted(bars.items())]
    path = written(tmp_path_factory.mktemp("store") / "market.db", symbol_day(BTC, rows))
    with StoreReader.open(path) as store:
        assert list(map(repr, store.rows(BTC, FEBRUARY))) == list(map(repr, rows))
        assert list(map(repr, store.numeric_rows(BTC, FEBRUARY))) == list(map(repr, rows))


def test_numeric_rows_are_the_same_rows_whatever_they_hold(path: Path) -> None:
    whole = [(FEBRUARY_MS, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]
    blank = [*whole, (FEBRUARY_MS + 5 * MINUTE, 1.0, 2.0, None, 4.0, 5.0, 6.0)]
    rates = [(FEBRUARY_MS, 0.0001, None, "Regular")]
    written(
        path,
        symbol_day(BTC, minutes(0, 1, 3)),
        symbol_day(METRICS, whole),
        symbol_day(METRICS, [(time + DAY, *values) for time, *values in blank], NEXT_DAY),
        symbol_day(FUNDING, rates),
    )
    with StoreReader.open(path) as store:
        assert isinstance(store.numeric_rows(BTC, FEBRUARY), PackedRows)
        assert isinstance(store.numeric_rows(METRICS, FEBRUARY), PackedRows)
        assert list(store.numeric_rows(BTC, FEBRUARY)) == minutes(0, 1, 3)
        assert list(store.numeric_rows(METRICS, FEBRUARY)) == whole
        assert store.numeric_rows(METRICS, NEXT_DAY) == [(time + DAY, *values) for time, *values in blank]
        assert store.numeric_rows(FUNDING, FEBRUARY) == rates
        assert list(store.numeric_rows(BTC, NEXT_DAY)) == list(store.numeric_rows(ETH, FEBRUARY)) == []
    # What no download stores: it is there to be seen, so it is no error here.
    run_script(path, "UPDATE kline_rows SET high = 'much' WHERE open_time % 180000 = 0")
    with StoreReader.open(path) as store:
        assert store.numeric_rows(BTC, FEBRUARY) == store.rows(BTC, FEBRUARY)
        assert [row[2] for row in store.rows(BTC, FEBRUARY)].count("much") == 2


@pytest.mark.parametrize(
    ("retried", "settled"),
    [
        (RetriedGaps(), [1, 2, 3, 4]),
        (RetriedGaps(all_gaps=True), [1]),
        # The third gap is a second too young, and the fourth says nothing of an object.
        (RetriedGaps(word="distrusted", checked_until=1000), [1, 3, 4]),
        (RetriedGaps(word="distrusted", checked_until=999), [1, 2, 3, 4]),
    ],
)
def test_gaps_that_are_tried_again_are_not_settled(tmp_path: Path, retried: RetriedGaps, settled: list[int]) -> None:
    lines = [
        (1, Status.COMPLETE, "daily: 2 rows left out; distrusted", 0),
        (2, Status.CONFIRMED_GAP, "rest_alone (distrusted daily: checksum)", 1000),
        (3, Status.CONFIRMED_GAP, "rest_alone (distrusted daily: checksum)", 1001),
        (4, Status.CONFIRMED_GAP, None, 0),
        (5, Status.FAILED, "distrusted", 0),
    ]
    with StoreWriter.open(tmp_path / "market.db") as store:
        series = Series(Dataset.KLINES, "1m", "AUSDT")
        store.write(
            SymbolDay(series, date(2026, 2, day), status, reason, (), 1440, None, at) for day, status, reason, at in lines
        )
        window = Window(date(2026, 2, 1), date(2026, 2, 5))
        assert store.settled_days(Dataset.KLINES, "1m", window, retried) == {"AUSDT": {date(2026, 2, day) for day in settled}}
        known = store.ledger(Dataset.KLINES, "1m", window, unsettled=True, retried=retried)
        assert sorted(day.day for day in known["AUSDT"]) == [day for day in range(1, 6) if day not in settled]
        entries = list(store.entries(Dataset.KLINES, "1m", window))
        held = [entry.day.day for entry in entries if retried.holds(entry.status, entry.reason, entry.checked_at)]
        assert held == [day for day in range(1, 5) if day not in settled]


def test_the_ledger_lines_of_a_symbol_day_name_their_objects(path: Path) -> None:
    fives = Series(Dataset.KLINES, "5m", "BTCUSDT")
    written(
        path,
        symbol_day(BTC, minutes(0, 1, 2), origin=OBJECT, source="daily+rest", marks=b"\x02\x02\x04", reason="a reason"),
        symbol_day(fives, [], status=Status.FAILED, source=None, expected_rows=288),
        symbol_day(FUNDING, [(FEBRUARY_MS, 0.1, None, "Regular")], source="rest"),
        # Neither another day nor another symbol.
        symbol_day(METRICS, [], NEXT_DAY),
        symbol_day(ETH, minutes(0)),
    )
    checked = 1_770_000_000
    klines = LedgerEntry("BTCUSDT", FEBRUARY, Status.COMPLETE, "a reason", 3, 3, "daily+rest", checked)
    with StoreReader.open(path) as store:
        assert store.origins("BTCUSDT", FEBRUARY) == {
            (Dataset.KLINES, "1m"): LedgerOrigin(klines, b"\x02\x02\x04", OBJECT),
            (Dataset.KLINES, "5m"): LedgerOrigin(
                LedgerEntry("BTCUSDT", FEBRUARY, Status.FAILED, None, 0, 288, None, checked), None, None
            ),
            (Dataset.FUNDING_RATES, ""): LedgerOrigin(
                LedgerEntry("BTCUSDT", FEBRUARY, Status.COMPLETE, None, 1, 1, "rest", checked), None, None
            ),
        }
        assert store.origins("XUSDT", FEBRUARY) == store.origins("BTCUSDT", date(2026, 2, 3)) == {}
    # As an earlier version wrote it.
    run_script(path, "ALTER TABLE ledger DROP COLUMN row_marks; DROP TABLE commits; PRAGMA user_version = 1;")
    with StoreReader.open(path) as store:
        assert store.origins("BTCUSDT", FEBRUARY)[Dataset.KLINES, "1m"] == LedgerOrigin(klines, None, OBJECT)
    run_script(path, "UPDATE ledger SET status = 'fine'")
    with StoreReader.open(path) as store, pytest.raises(StoreError, match="unknown status 'fine'"):
        store.origins("BTCUSDT", FEBRUARY)


# -- columns -----------------------------------------------------------------------------------------------------------


def numbers(rows: Iterable[bytes]) -> list[float]:
    """The doubles of some rows, one after the other."""
    return [value for row in rows for value in struct.unpack(f"={len(row) // 8}d", row)]


def test_doubles_come_row_by_row_and_null_is_infinite(path: Path) -> None:
    blank = [(FEBRUARY_MS, 1.0, None, 2.0, None, None, 3.0)]
    written(path, symbol_day(METRICS, blank), symbol_day(BTC, minutes(0, 1)), symbol_day(BTC, minutes(1440), NEXT_DAY))
    with StoreReader.open(path) as store:
        names = ("open_time", "open_interest", "open_interest_value", "taker_volume_ratio")
        assert store.doubles(METRICS, BOTH_DAYS, names, numbers) == [FEBRUARY_MS, 1.0, float("inf"), 3.0]
        assert store.doubles(BTC, BOTH_DAYS, ("open_time",), numbers) == [FEBRUARY_MS, FEBRUARY_MS + MINUTE, FEBRUARY_MS + DAY]
        assert store.doubles(BTC, Window(NEXT_DAY, NEXT_DAY), ("open_time",), numbers) == [FEBRUARY_MS + DAY]
        assert [store.count_rows(BTC, window) for window in (BOTH_DAYS, Window(NEXT_DAY, NEXT_DAY))] == [3, 1]
        assert store.doubles(ETH, BOTH_DAYS, ("open_time",), numbers) is None
        assert (store.count_rows(ETH, BOTH_DAYS), store.texts(FUNDING, BOTH_DAYS, "rate_type")) == (0, [])


def test_a_value_that_is_no_number_is_told(path: Path) -> None:
    written(path, symbol_day(BTC, minutes(0, 1)))
    run_script(path, "UPDATE kline_rows SET close = 'dear' WHERE open_time = (SELECT max(open_time) FROM kline_rows)")
    with (
        StoreReader.open(path) as store,
        pytest.raises(StoreError, match="1m klines of BTCUSDT hold a value that is no number") as told,
    ):
        store.doubles(BTC, BOTH_DAYS, ("open_time", "close"), numbers)
    assert told.value.remedy is Remedy.VERIFY_DATABASE


def test_texts_stand_in_the_order_of_the_doubles(path: Path) -> None:
    rates = [(FEBRUARY_MS, 0.1, None, "Regular"), (FEBRUARY_MS, 0.2, 5.0, "Other"), (FEBRUARY_MS + MINUTE, 0.3, 5.0, "Regular")]
    written(path, symbol_day(FUNDING, rates))
    with StoreReader.open(path) as store:
        assert store.texts(FUNDING, BOTH_DAYS, "rate_type") == ["Other", "Regular", "Regular"]
        assert store.doubles(FUNDING, BOTH_DAYS, ("funding_rate",), numbers) == [0.2, 0.1, 0.3]


def test_symbols_are_those_of_a_dataset_and_frequency(path: Path) -> None:
    written(path, symbol_day(ETH, []), symbol_day(BTC, minutes(0)), symbol_day(FUNDING, []))
    with StoreReader.open(path) as store:
        assert store.symbols(Dataset.KLINES, "1m") == ["BTCUSDT", "ETHUSDT"]
        assert store.symbols(Dataset.KLINES, "5m") == []
        assert store.symbols(Dataset.FUNDING_RATES, "") == ["BTCUSDT"]


def test_the_object_of_each_day_of_a_window(path: Path) -> None:
    other = OBJECT._replace(sha256="cd" * 32, etag="12" * 16, size=4096)
    days = [date(2026, 2, day) for day in range(1, 6)]
    written(
        path,
        *(
            symbol_day(BTC, [], day, origin=origin)
            for day, origin in zip(days, (OBJECT, OBJECT, None, other, OBJECT), strict=True)
        ),
        symbol_day(ETH, [], days[0], origin=other),
    )
    with StoreReader.open(path) as store:
        assert list(store.objects(BTC, Window(days[1], days[4]))) == [(days[1], OBJECT), (days[3], other), (days[4], OBJECT)]
        assert list(store.objects(ETH, BOTH_DAYS)) == [(days[0], other)]
        assert list(store.objects(METRICS, BOTH_DAYS)) == []
        assert [store.has_lines(BTC, Window(day, day)) for day in (days[0], days[2], date(2026, 2, 6))] == [True, True, False]
        assert not store.has_lines(METRICS, BOTH_DAYS)
    # Version 2 kept neither ETag nor size.
    run_script(path, "ALTER TABLE source_objects DROP COLUMN etag; ALTER TABLE source_objects DROP COLUMN size;")
    run_script(path, "PRAGMA user_version = 2")
    with StoreReader.open(path) as store:
        assert list(store.objects(ETH, BOTH_DAYS)) == [(days[0], other._replace(etag=None, size=None))]
