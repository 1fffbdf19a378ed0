"""verify: every rule on its own, tampered ledgers, and the comparison with another source."""

from __future__ import annotations

import sqlite3
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.audit import verify as verify_module
from cryptoservice.audit.cross_check import Comparison, CrossCheck, Sampled, compare, other_source
from cryptoservice.audit.verify import VerifyResult, verify_universe
from cryptoservice.config import WindowBounds
from cryptoservice.errors import Interrupted, UsageError
from cryptoservice.models import Dataset, Freq, Row, Status
from cryptoservice.sources.evidence import AnswerKind, KlineSource, Source, SourceAnswer
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, FakeClock, kline

from .test_status import write_universe

HOUR = 3_600_000
DAY_NUMBER = FEBRUARY_MS // DAY
NEXT_DAY = date(2026, 2, 2)
BTC = "BTCUSDT"
HOURS = [kline(FEBRUARY_MS + number * HOUR, 10.0) for number in range(24)]
METRICS = [(FEBRUARY_MS + number * 300_000, 5.0, 50.0, 1.0, None, 1.5, 0.5) for number in range(288)]
RATES = [(FEBRUARY_MS + number * 8 * HOUR + number, 0.0001, 10.0, "Regular") for number in range(3)]
SERIES = {
    Dataset.KLINES: Series(Dataset.KLINES, "1h", BTC),
    Dataset.METRICS: Series(Dataset.METRICS, "5m", BTC),
    Dataset.FUNDING_RATES: Series(Dataset.FUNDING_RATES, "", BTC),
}
TABLES = {Dataset.KLINES: "kline_rows", Dataset.METRICS: "metric_rows", Dataset.FUNDING_RATES: "funding_rows"}
AT_TEN = f"WHERE open_time = {FEBRUARY_MS + 10 * HOUR}"


def symbol_day(dataset: Dataset, rows: list[Row], day: date = FEBRUARY, expected: int | None = None) -> SymbolDay:
    count = len(rows) if expected is None else expected
    return SymbolDay(SERIES[dataset], day, Status.COMPLETE, None, rows, count, "daily", 1_770_000_000.0)


class Case:
    """One day of BTC in all datasets, in a universe of two symbols over two days."""

    def __init__(self, folder: Path) -> None:
        self.universe = write_universe(folder / "universe.json", "2026-02-01", "2026-02-02")
        self.database = folder / "market.db"

    def fill(self, *days: SymbolDay) -> None:
        with StoreWriter.open(self.database) as store:
            store.write(days)

    def tamper(self, statement: str) -> None:
        db = sqlite3.connect(self.database)
        db.execute("PRAGMA synchronous = OFF")
        assert db.execute(statement).rowcount > 0, statement
        db.commit()
        db.close()

    def verify(self, **options: Any) -> VerifyResult:
        return verify_universe(self.universe, self.database, clock=FakeClock(), **options)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound one, written once."""
    made = Case(tmp_path_factory.mktemp("sound"))
    made.fill(symbol_day(Dataset.KLINES, HOURS), symbol_day(Dataset.METRICS, METRICS), symbol_day(Dataset.FUNDING_RATES, RATES))
    return made.database.read_bytes()


@pytest.fixture
def case(tmp_path: Path, database: bytes) -> Case:
    made = Case(tmp_path)
    made.database.write_bytes(database)
    return made


def test_a_sound_database(case: Case) -> None:
    result = case.verify()
    assert result.sound
    assert result.to_dict() == {
        "status": "sound",
        "window": {"start_date": "2026-02-01", "end_date": "2026-02-02"},
        "checked_symbol_days": 3,
        "rows": {"klines": 24, "metrics": 288, "funding_rates": 3},
        "datasets": [
            {"dataset": "klines", "freq": "1h", "active_symbol_days": 4, "checked_symbol_days": 1, "rows": 24},
            {"dataset": "metrics", "freq": "5m", "active_symbol_days": 4, "checked_symbol_days": 1, "rows": 288},
            {"dataset": "funding_rates", "freq": "", "active_symbol_days": 4, "checked_symbol_days": 1, "rows": 3},
        ],
        "differences_total": 0,
        "differences_by_kind": {},
        "differences": [],
        "sample": None,
        "requests": {},
        "retries": 0,
        "waited_seconds": 0.0,
        "elapsed_seconds": 0.0,
    }


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("UPDATE kline_rows SET high = 9.99", "high_below_low"),
        ("UPDATE kline_rows SET low = 10.01", "high_below_low"),
        ("UPDATE kline_rows SET open = 10.01", "high_below_low"),
        ("UPDATE kline_rows SET open = 9.99", "high_below_low"),
        ("UPDATE kline_rows SET close = 10.01", "high_below_low"),
        ("UPDATE kline_rows SET close = 9.99", "high_below_low"),
        ("UPDATE kline_rows SET low = 0", "price_not_positive"),
        ("UPDATE kline_rows SET low = -1", "price_not_positive"),
        ("UPDATE kline_rows SET high = 9e999", "number_out_of_range"),
        ("UPDATE kline_rows SET high = 'much'", "number_out_of_range"),
        ("UPDATE kline_rows SET trades = -1", "number_out_of_range"),
        ("UPDATE kline_rows SET taker_buy_volume = -0.1", "number_out_of_range"),
        ("UPDATE kline_rows SET taker_buy_quote_volume = -0.1", "number_out_of_range"),
        ("UPDATE kline_rows SET taker_buy_volume = 2.000001", "taker_above_volume"),
        ("UPDATE kline_rows SET taker_buy_quote_volume = 20.000001", "taker_above_volume"),
        ("UPDATE kline_rows SET open_time = open_time + 60000", "time_off_grid"),
        ("UPDATE metric_rows SET global_account_ratio = -0.1", "number_out_of_range"),
        ("UPDATE metric_rows SET open_interest_value = 9e999", "number_out_of_range"),
        ("UPDATE metric_rows SET open_time = open_time + 60000", "time_off_grid"),
    ],
)
def test_each_rule_speaks_for_itself(case: Case, change: str, kind: str) -> None:
    case.tamper(f"{change} {AT_TEN}")
    result = case.verify()
    (difference,) = result.differences
    assert (difference.kind, difference.symbol, difference.date) == (kind, BTC, "2026-02-01")
    assert TABLES[difference.dataset] == change.split()[1]
    shift = 60_000 if kind == "time_off_grid" else 0
    assert dict(difference.details) == {"rows": 1, "first_time": FEBRUARY_MS + 10 * HOUR + shift}
    assert result.kinds == {kind: 1}
    assert not result.sound


@pytest.mark.parametrize("change", ["volume = -1", "quote_volume = -1"])
def test_a_negative_volume_breaks_two_rules(case: Case, change: str) -> None:
    case.tamper(f"UPDATE kline_rows SET {change} {AT_TEN}")
    assert case.verify().kinds == {"number_out_of_range": 1, "taker_above_volume": 1}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE kline_rows SET taker_buy_volume = 2.000000001, taker_buy_quote_volume = 20.00000001",
        "UPDATE kline_rows SET volume = 0, taker_buy_volume = 0, quote_volume = 0, taker_buy_quote_volume = 0, trades = 0",
        "UPDATE metric_rows SET open_interest = NULL, open_interest_value = NULL, taker_volume_ratio = 0",
        "UPDATE funding_rows SET mark_price = NULL, funding_rate = -0.03, funding_time = funding_time + 17",
    ],
)
def test_what_the_exchange_does_is_no_fault(case: Case, change: str) -> None:
    case.tamper(change)
    assert case.verify().sound


@pytest.mark.parametrize("change", ["funding_rate = 100.5", "mark_price = -1"])
def test_a_funding_rate_out_of_range(case: Case, change: str) -> None:
    case.tamper(f"UPDATE funding_rows SET {change} WHERE funding_time = {RATES[1][0]}")
    (difference,) = case.verify().differences
    assert (difference.kind, difference.dataset) == ("number_out_of_range", Dataset.FUNDING_RATES)
    assert difference.details["first_time"] == RATES[1][0]


def ledger_of(dataset: Dataset) -> str:
    return f"WHERE series_id = (SELECT id FROM series WHERE dataset = '{dataset.value}')"


@pytest.mark.parametrize(
    ("dataset", "change", "kinds"),
    [
        (Dataset.KLINES, "status = 'failed'", {"ledger_status"}),
        (Dataset.KLINES, "status = 'incomplete'", {"ledger_status"}),
        (Dataset.KLINES, "status = 'fine'", {"ledger_status"}),
        (Dataset.KLINES, "rows = 23", {"row_count", "ledger_status"}),
        (Dataset.KLINES, "rows = 23, status = 'incomplete'", {"row_count"}),
        (Dataset.KLINES, "expected_rows = 25, status = 'incomplete'", {"expected_rows"}),
        (Dataset.METRICS, "rows = 289", {"row_count", "ledger_status"}),
        # Metrics with all rows but not all of their values are incomplete, and say so.
        (Dataset.METRICS, "status = 'incomplete'", set()),
        (Dataset.METRICS, "status = 'failed'", {"ledger_status"}),
        (Dataset.FUNDING_RATES, "expected_rows = 4", {"ledger_status"}),
        (Dataset.FUNDING_RATES, "rows = 4, expected_rows = 4", {"row_count"}),
    ],
)
def test_a_ledger_that_does_not_fit(case: Case, dataset: Dataset, change: str, kinds: set[str]) -> None:
    case.tamper(f"UPDATE ledger SET {change} {ledger_of(dataset)}")
    result = case.verify()
    assert set(result.kinds) == kinds
    assert {difference.dataset for difference in result.differences} <= {dataset}


@pytest.mark.parametrize("dataset", list(Dataset))
def test_rows_without_a_ledger_line(case: Case, dataset: Dataset) -> None:
    case.tamper(f"DELETE FROM ledger {ledger_of(dataset)}")
    (difference,) = case.verify().differences
    rows = {Dataset.KLINES: 24, Dataset.METRICS: 288, Dataset.FUNDING_RATES: 3}
    assert difference.to_dict() == {
        "kind": "outside_ledger", "dataset": dataset.value, "freq": SERIES[dataset].freq, "symbol": BTC, "date": "2026-02-01",
        "rows": rows[dataset],
    }  # fmt: skip


def test_rows_outside_are_looked_for_in_the_whole_database(case: Case) -> None:
    values = "10, 10, 10, 10, 2, 20, 3, 1, 10)"
    far = FEBRUARY_MS + 400 * DAY
    case.tamper(f"INSERT INTO kline_rows VALUES (1, {FEBRUARY_MS - 1}, {values}")
    case.tamper(f"INSERT INTO kline_rows VALUES (1, {far}, {values}")
    case.tamper(f"INSERT INTO kline_rows VALUES (1, {far + 60_000}, {values}")
    case.tamper(f"INSERT INTO kline_rows VALUES (77, {FEBRUARY_MS}, {values}")
    # A series of another dataset: no view shows these.
    case.tamper(f"INSERT INTO kline_rows VALUES (2, {FEBRUARY_MS}, {values}")
    case.tamper(f"INSERT INTO kline_rows VALUES (1, 'noon', {values}")
    found = [
        (item.symbol, item.date, item.details["rows"]) for item in case.verify().differences if item.kind == "outside_ledger"
    ]
    # Text sorts after all numbers, and counts as the time 0.
    assert found[:2] == [(None, "2026-02-01", 1), (None, "2026-02-01", 1)]
    assert {(BTC, "2026-01-31", 1), (BTC, "2027-03-08", 2)} <= set(found)


def test_only_active_symbol_days_of_the_window_are_recounted(case: Case) -> None:
    case.fill(symbol_day(Dataset.KLINES, [kline(FEBRUARY_MS + DAY + number * HOUR) for number in range(24)], NEXT_DAY))
    case.tamper(f"DELETE FROM kline_rows WHERE open_time = {FEBRUARY_MS + DAY}")
    assert case.verify().kinds == {"row_count": 1}
    assert case.verify(window=WindowBounds(None, "2026-02-01")).sound
    write_universe(case.universe, "2026-02-01", "2026-02-02", {"2026-02-02": {BTC: "no_kline_on_date"}})
    result = case.verify()
    assert (result.sound, sum(checked.checked_symbol_days for checked in result.datasets)) == (True, 3)


def test_a_gap_is_no_difference_as_long_as_the_ledger_says_so(case: Case) -> None:
    case.fill(
        SymbolDay(SERIES[Dataset.KLINES], NEXT_DAY, Status.CONFIRMED_GAP, "sources_agree", (), 24, None, 0.0),
        SymbolDay(SERIES[Dataset.METRICS], NEXT_DAY, Status.FAILED, "rest: http_500", (), 288, None, 0.0),
        SymbolDay(SERIES[Dataset.FUNDING_RATES], NEXT_DAY, Status.CONFIRMED_GAP, "no_funding_in_rest", (), 0, None, 0.0),
    )
    assert case.verify().sound


def test_differences_are_listed_up_to_a_number_and_all_counted(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_module, "MAX_LISTED", 2)
    case.tamper("UPDATE kline_rows SET high = 0, trades = -1, open_time = open_time + 1")
    result = case.verify()
    assert (len(result.differences), sum(result.kinds.values())) == (2, len(result.kinds))
    assert result.to_dict()["differences_total"] == len(result.kinds) == 3


def test_what_is_refused(case: Case, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        verify_universe(case.universe, tmp_path / "none.db")
    with pytest.raises(UsageError, match="seed without a sample"):
        case.verify(seed=1)
    with pytest.raises(UsageError, match="cannot be drawn"):
        case.verify(sample=-1)
    with pytest.raises(UsageError, match="knows no active symbol-day"):
        case.verify(window=WindowBounds("2026-02-02", None))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        case.verify(stop=stop)


@pytest.mark.parametrize(
    ("stored", "other"),
    [
        ("rest", KlineSource.VISION), ("daily", KlineSource.API), ("monthly", KlineSource.API),
        ("monthly+daily", KlineSource.API),
        ("daily+rest", None), ("monthly+daily+rest", None), (None, None), ("", None), ("hearsay", None),
    ],
)  # fmt: skip
def test_the_other_source_is_the_one_not_heard(stored: str | None, other: KlineSource | None) -> None:
    assert other_source(stored) is other


def compared(stored: list[Row], other: list[Row]) -> Comparison:
    sampled = Sampled(Freq.h1, BTC, FEBRUARY, "daily", KlineSource.API)
    return compare(stored, CrossCheck(sampled, Source.REST, SourceAnswer(AnswerKind.ROWS, other)))


def test_fields_are_compared_as_the_numbers_they_are() -> None:
    # A wire that says 10 or 9007199254740993 means the float that the database keeps.
    whole = [(row[0], 10, 10, 10, 10, 2, 20, 3, 1, 10) for row in HOURS]
    assert compared(HOURS, whole) == Comparison([], 24, 0)
    large = [(FEBRUARY_MS, 1.0, 1.0, 1.0, 1.0, 2.0**53, 0.0, 0, 0.0, 0.0)]
    assert compared(large, [(*large[0][:5], 2**53 + 1, *large[0][6:])]).differences == []
    near = [(*HOURS[0][:4], 10.000000000000002, *HOURS[0][5:]), *HOURS[1:]]
    (difference,) = compared(HOURS, near).differences
    assert difference.to_dict() == {
        "kind": "value", "dataset": "klines", "freq": "1h", "symbol": BTC, "date": "2026-02-01", "open_time": FEBRUARY_MS,
        "field": "close", "stored": 10.0, "other": 10.000000000000002, "stored_source": "daily", "other_source": "rest",
    }  # fmt: skip


def test_rows_that_one_side_lacks() -> None:
    result = compared(HOURS[1:], HOURS[:20])
    assert [(item.kind, item.details["open_time"]) for item in result.differences] == [("row_not_stored", FEBRUARY_MS)]
    assert (result.compared, result.lacking) == (19, 4)


def test_a_damaged_value_can_be_told_in_json() -> None:
    damaged = [(FEBRUARY_MS, float("inf"), "much", b"\xff", None, *HOURS[0][5:])]
    told = [item.details["stored"] for item in compared(damaged, HOURS[:1]).differences]
    assert told == ["inf", "much", "b'\\xff'", "None"]
