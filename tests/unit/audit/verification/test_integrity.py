"""The rules of rows and of ledger lines, one by one, and rows that no ledger line knows."""

from __future__ import annotations

from datetime import date

import pytest

from cryptoservice.audit.verification import integrity
from cryptoservice.audit.verification.differences import Difference
from cryptoservice.days import Window
from cryptoservice.models import Dataset, Status
from cryptoservice.storage.ledger import SymbolDay
from cryptoservice.storage.reader import StoreReader
from tests.unit.audit.stored import BTC, DAY_NUMBER, HOUR, HOURS, METRICS, NEXT_DAY, RATES, SERIES, Stored, symbol_day
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, MINUTE, kline

WINDOW = Window(FEBRUARY, NEXT_DAY)
TEN = FEBRUARY_MS + 10 * HOUR
AT_TEN = f"WHERE open_time = {TEN}"


def checked(stored: Stored, dataset: Dataset, window: Window = WINDOW) -> list[integrity.CheckedDay]:
    """The days of BTC in a dataset, recounted."""
    series = SERIES[dataset]
    with StoreReader.open(stored.database) as store:
        ids = integrity.series_ids(store, dataset, series.freq)
        assert ids.keys() == {BTC}
        return list(integrity.check_series(store, series, ids[BTC], window))


def faults(stored: Stored) -> dict[tuple[str, Dataset], Difference]:
    """Every difference of the ledger's days, by kind and dataset."""
    found = [difference for dataset in Dataset for day in checked(stored, dataset) for difference in day.differences]
    assert len({(difference.kind, difference.dataset) for difference in found}) == len(found)
    return {(difference.kind, difference.dataset): difference for difference in found}


def outside(stored: Stored) -> list[tuple[str | None, str, str, int]]:
    """Symbol, frequency, date and row count of each day that the ledger does not know."""
    with StoreReader.open(stored.database) as store:
        found = list(integrity.rows_outside(store))
    assert {difference.kind for difference in found} <= {"outside_ledger"}
    return [(item.symbol, item.freq, item.date, item.details["rows"]) for item in found]


@pytest.mark.parametrize(("dataset", "rows"), [(Dataset.KLINES, 24), (Dataset.METRICS, 288), (Dataset.FUNDING_RATES, 3)], ids=str)
def test_a_sound_day_is_recounted(stored: Stored, dataset: Dataset, rows: int) -> None:
    assert checked(stored, dataset) == [integrity.CheckedDay(DAY_NUMBER, "complete", None, "daily", rows, ())]
    assert checked(stored, dataset, Window(NEXT_DAY, NEXT_DAY)) == []
    assert outside(stored) == []


# Each change of one row, and the only rule that it breaks.
BROKEN_RULES = [
    ("kline_rows SET high = 9.99", "high_below_low"),
    ("kline_rows SET low = 10.01", "high_below_low"),
    ("kline_rows SET open = 10.01", "high_below_low"),
    ("kline_rows SET open = 9.99", "high_below_low"),
    ("kline_rows SET close = 10.01", "high_below_low"),
    ("kline_rows SET close = 9.99", "high_below_low"),
    ("kline_rows SET low = 0", "price_not_positive"),
    ("kline_rows SET low = -1", "price_not_positive"),
    ("kline_rows SET high = 9e999", "number_out_of_range"),
    ("kline_rows SET high = 'much'", "number_out_of_range"),
    ("kline_rows SET trades = -1", "number_out_of_range"),
    ("kline_rows SET taker_buy_volume = -0.1", "number_out_of_range"),
    ("kline_rows SET taker_buy_quote_volume = -0.1", "number_out_of_range"),
    ("kline_rows SET taker_buy_volume = 2.000001", "taker_above_volume"),
    ("kline_rows SET taker_buy_quote_volume = 20.000001", "taker_above_volume"),
    ("kline_rows SET open_time = open_time + 60000", "time_off_grid"),
    ("metric_rows SET global_account_ratio = -0.1", "number_out_of_range"),
    ("metric_rows SET open_interest_value = 9e999", "number_out_of_range"),
    ("metric_rows SET open_time = open_time + 60000", "time_off_grid"),
]


def test_each_rule_speaks_for_itself(stored: Stored, sound_bytes: bytes) -> None:
    for change, kind in BROKEN_RULES:
        stored.database.write_bytes(sound_bytes)
        stored.tamper(f"UPDATE {change} {AT_TEN}")
        dataset = Dataset.KLINES if change.startswith("kline") else Dataset.METRICS
        found = faults(stored)
        assert set(found) == {(kind, dataset)}, change
        shift = MINUTE if kind == "time_off_grid" else 0
        assert found[kind, dataset].to_dict() == {
            "kind": kind, "dataset": dataset.value, "freq": SERIES[dataset].freq, "symbol": BTC, "date": "2026-02-01",
            "rows": 1, "first_time": TEN + shift,
        }, change  # fmt: skip


@pytest.mark.parametrize("change", ["volume = -1", "quote_volume = -1"])
def test_a_negative_volume_breaks_two_rules(stored: Stored, change: str) -> None:
    stored.tamper(f"UPDATE kline_rows SET {change} {AT_TEN}")
    assert {kind for kind, _ in faults(stored)} == {"number_out_of_range", "taker_above_volume"}


@pytest.mark.parametrize("change", ["funding_rate = 100.5", "mark_price = -1"])
def test_a_funding_rate_out_of_range(stored: Stored, change: str) -> None:
    stored.tamper(f"UPDATE funding_rows SET {change} WHERE funding_time >= {RATES[1][0]}")
    ((place, difference),) = faults(stored).items()
    assert place == ("number_out_of_range", Dataset.FUNDING_RATES)
    assert difference.details == {"rows": 2, "first_time": RATES[1][0]}


@pytest.mark.parametrize(
    "change",
    [
        "kline_rows SET taker_buy_volume = 2.000000001, taker_buy_quote_volume = 20.00000001",
        "kline_rows SET volume = 0, taker_buy_volume = 0, quote_volume = 0, taker_buy_quote_volume = 0, trades = 0",
        "metric_rows SET open_interest = NULL, open_interest_value = NULL, taker_volume_ratio = 0",
        "funding_rows SET mark_price = NULL, funding_rate = -0.03, funding_time = funding_time + 17",
    ],
)
def test_what_the_exchange_does_is_no_fault(stored: Stored, change: str) -> None:
    stored.tamper(f"UPDATE {change}")
    assert faults(stored) == {}


# Each change of one ledger line, and the kinds of fault that it makes.
LEDGER_CHANGES: list[tuple[Dataset, str, set[str]]] = [
    (Dataset.KLINES, "status = 'failed'", {"ledger_status"}),
    (Dataset.KLINES, "status = 'incomplete'", {"ledger_status"}),
    (Dataset.KLINES, "status = 'fine'", {"ledger_status"}),
    (Dataset.KLINES, "rows = 23", {"row_count", "ledger_status"}),
    (Dataset.KLINES, "rows = 23, status = 'incomplete'", {"row_count"}),
    (Dataset.KLINES, "rows = 23, status = 'fine'", {"row_count", "ledger_status"}),
    (Dataset.KLINES, "expected_rows = 25, status = 'incomplete'", {"expected_rows"}),
    (Dataset.METRICS, "rows = 289", {"row_count", "ledger_status"}),
    # Metrics with all rows but not all of their values are incomplete, and say so.
    (Dataset.METRICS, "status = 'incomplete'", set()),
    (Dataset.METRICS, "status = 'failed'", {"ledger_status"}),
    (Dataset.FUNDING_RATES, "expected_rows = 4", {"ledger_status"}),
    (Dataset.FUNDING_RATES, "rows = 4, expected_rows = 4", {"row_count"}),
]


def ledger_of(dataset: Dataset) -> str:
    return f"WHERE series_id = (SELECT id FROM series WHERE dataset = '{dataset.value}')"


def test_a_ledger_that_does_not_fit(stored: Stored, sound_bytes: bytes) -> None:
    for dataset, change, kinds in LEDGER_CHANGES:
        stored.database.write_bytes(sound_bytes)
        stored.tamper(f"UPDATE ledger SET {change} {ledger_of(dataset)}")
        assert set(faults(stored)) == {(kind, dataset) for kind in kinds}, (dataset, change)


def test_a_fault_of_the_ledger_says_what_it_holds_and_what_is_there(stored: Stored) -> None:
    stored.tamper(f"UPDATE ledger SET rows = 23, expected_rows = 25 {ledger_of(Dataset.KLINES)}")
    assert {kind: difference.details for (kind, _), difference in faults(stored).items()} == {
        "row_count": {"ledger": 23, "database": 24},
        "expected_rows": {"ledger": 25, "due": 24},
        "ledger_status": {"status": "complete", "rows": 23, "expected_rows": 25},
    }


def test_a_gap_is_no_fault_as_long_as_the_ledger_says_so(stored: Stored) -> None:
    stored.fill(
        [
            SymbolDay(SERIES[Dataset.KLINES], NEXT_DAY, Status.CONFIRMED_GAP, "sources_agree", (), 24, None, 0.0),
            SymbolDay(SERIES[Dataset.METRICS], NEXT_DAY, Status.FAILED, "rest: http_500", (), 288, None, 0.0),
            SymbolDay(SERIES[Dataset.FUNDING_RATES], NEXT_DAY, Status.CONFIRMED_GAP, "no_funding_in_rest", (), 0, None, 0.0),
        ]
    )
    assert faults(stored) == {}
    assert [(day.status, day.rows) for day in checked(stored, Dataset.KLINES)] == [("complete", 24), ("confirmed_gap", 0)]


def test_each_day_counts_its_own_rows(stored: Stored) -> None:
    stored.fill([symbol_day(Dataset.KLINES, [kline(row[0] + DAY) for row in HOURS], NEXT_DAY)])
    stored.tamper(f"DELETE FROM kline_rows WHERE open_time = {FEBRUARY_MS + DAY}")
    first, second = checked(stored, Dataset.KLINES)
    assert (first.rows, first.differences) == (24, ())
    assert (second.rows, [difference.kind for difference in second.differences]) == (23, ["row_count"])


def test_rows_without_a_ledger_line(stored: Stored, sound_bytes: bytes) -> None:
    rows = {Dataset.KLINES: len(HOURS), Dataset.METRICS: len(METRICS), Dataset.FUNDING_RATES: len(RATES)}
    for dataset in Dataset:
        stored.database.write_bytes(sound_bytes)
        stored.tamper(f"DELETE FROM ledger {ledger_of(dataset)}")
        assert outside(stored) == [(BTC, SERIES[dataset].freq, "2026-02-01", rows[dataset])]


def test_rows_outside_are_looked_for_in_the_whole_database(stored: Stored) -> None:
    values = "10, 10, 10, 10, 2, 20, 3, 1, 10)"
    far = FEBRUARY_MS + 400 * DAY
    stored.tamper(
        f"INSERT INTO kline_rows VALUES (1, {FEBRUARY_MS - 1}, {values}",
        f"INSERT INTO kline_rows VALUES (1, {far}, {values}",
        f"INSERT INTO kline_rows VALUES (1, {far + 60_000}, {values}",
        f"INSERT INTO kline_rows VALUES (77, {FEBRUARY_MS}, {values}",
        # A series of another dataset: no view shows these.
        f"INSERT INTO kline_rows VALUES (2, {FEBRUARY_MS}, {values}",
    )
    assert outside(stored) == [
        (None, "", "2026-02-01", 1), (None, "", "2026-02-01", 1), (BTC, "1h", "2026-01-31", 1), (BTC, "1h", "2027-03-08", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("time", ["9e999", "'noon'", "-1", str(float(FEBRUARY_MS + 5 * DAY) + 0.5), "9e18"])
def test_a_time_that_is_none_is_found_as_well(stored: Stored, time: str) -> None:
    stored.tamper(f"UPDATE kline_rows SET open_time = {time} {AT_TEN}")
    assert {kind for kind, _ in faults(stored)} == {"row_count"}
    ((symbol, freq, _, _),) = outside(stored)
    assert (symbol, freq) == (BTC, "1h")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "1970-01-01"), (DAY_NUMBER, "2026-02-01"), (-1, "1969-12-31"), (10**9, "1000000000"), (-(10**9), "-1000000000"),
     (10**30, str(10**30))],
)  # fmt: skip
def test_a_day_number_becomes_its_date_where_there_is_one(number: int, text: str) -> None:
    assert integrity.day_text(number) == text
    assert number != DAY_NUMBER or date.fromisoformat(text) == FEBRUARY
