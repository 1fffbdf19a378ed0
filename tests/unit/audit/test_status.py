"""status: counting ledger lines, the planner's first sources, and the table for people."""

from __future__ import annotations

import threading
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.audit.status import StatusResult, universe_status
from cryptoservice.cli.tables import status_lines
from cryptoservice.config import WindowBounds
from cryptoservice.errors import Interrupted, StoreError, UsageError
from cryptoservice.models import Dataset, Status
from cryptoservice.sources.evidence import Source
from cryptoservice.storage.ledger import Series, SymbolDay
from tests.unit.audit.stored import BTC, ETH, Stored, write_universe
from tests.unit.fakes import FakeClock

# 2026-03-01 12:00:00 UTC, as `date -d @1772366400` says.
NOON = 1_772_366_400.0


def line(day: str, status: Status, reason: str | None = None, symbol: str = BTC, **other: Any) -> SymbolDay:
    """A ledger line without rows: status believes the ledger, verify is who counts."""
    fields: dict[str, Any] = {"dataset": Dataset.KLINES, "freq": "5m", "checked_at": NOON - 60, **other}
    series = Series(fields.pop("dataset"), fields.pop("freq"), symbol)
    return SymbolDay(series, date.fromisoformat(day), status, reason, (), 288, "daily", **fields)


class Case(Stored):
    """A universe and a database whose status is asked at a time of the test's choice."""

    def status(self, at: float = NOON, **options: Any) -> StatusResult:
        return universe_status(self.universe, self.database, clock=FakeClock(at), **options)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    made = Case(tmp_path)
    write_universe(made.universe, "2026-01-30", "2026-02-28", {"2026-02-02": {ETH: "not_in_current_trading_list"}})
    return made


def test_only_active_symbol_days_of_the_window_count(case: Case) -> None:
    case.fill(
        [
            line("2026-01-29", Status.COMPLETE),
            line("2026-01-30", Status.COMPLETE, checked_at=NOON - 10),
            line("2026-02-01", Status.CONFIRMED_GAP, "sources_agree", ETH),
            line("2026-02-02", Status.COMPLETE, symbol=ETH, checked_at=NOON),
            line("2026-02-03", Status.COMPLETE, symbol="LTCUSDT", checked_at=NOON),
        ]
    )
    result = case.status()
    (klines,) = result.datasets
    assert result.active_symbol_days == klines.active_symbol_days == 59
    assert (klines.complete, klines.confirmed_gaps, klines.incomplete, klines.failed) == (1, 1, 0, 0)
    assert (klines.never_fetched, klines.next_download.symbol_days) == (57, 57)
    assert klines.last_checked == "2026-03-01T11:59:50+00:00"
    (klines,) = case.status(window=WindowBounds("2026-02-01", "2026-02-02")).datasets
    assert (klines.active_symbol_days, klines.confirmed_gaps, klines.never_fetched) == (3, 1, 2)
    (klines,) = case.status(window=WindowBounds("2026-02-10", "2026-02-10")).datasets
    assert (klines.never_fetched, klines.last_checked) == (2, None)


def test_the_most_frequent_reasons_come_first(case: Case) -> None:
    reasons = ["rest: http_500"] * 2 + ["rest: timeout"] * 3 + [None, "c", "d", "e"]
    case.fill(line(f"2026-02-{number:02}", Status.FAILED, reason) for number, reason in enumerate(reasons, start=3))
    case.fill([line("2026-02-20", Status.INCOMPLETE, "rest: http_500"), line("2026-02-21", Status.COMPLETE, "a note")])
    (klines,) = case.status().datasets
    assert [(entry.status.value, entry.reason, entry.symbol_days) for entry in klines.unsettled_reasons] == [
        ("failed", "rest: timeout", 3), ("failed", "rest: http_500", 2), ("failed", None, 1),
        ("failed", "c", 1), ("failed", "d", 1),
    ]  # fmt: skip
    assert klines.next_download.symbol_days == 59 - 1
    assert klines.never_fetched == 59 - 11


@pytest.mark.parametrize(
    ("dataset", "at", "first", "idle"),
    [
        # All but the newest day lie in closed months, two or more of them wanted; yesterday is asked of the API.
        (Dataset.KLINES, "2026-03-01T12:00", {Source.MONTHLY: 28, Source.REST: 1}, 0),
        (Dataset.KLINES, "2026-03-02T00:00", {Source.MONTHLY: 29}, 0),
        # February is not over: its days are daily objects. On the 28th itself nobody can be asked.
        (Dataset.KLINES, "2026-02-28T12:00", {Source.MONTHLY: 2, Source.DAILY: 25, Source.REST: 1}, 1),
        (Dataset.METRICS, "2026-03-01T12:00", {Source.DAILY: 29}, 0),
        # The newest day's metrics appear towards nine, on some days sooner: the archive is asked first at any hour.
        (Dataset.METRICS, "2026-03-01T08:59", {Source.DAILY: 29}, 0),
        (Dataset.FUNDING_RATES, "2026-03-01T12:00", {Source.REST: 29}, 0),
    ],
)
def test_the_next_download_asks_what_the_planner_says(
    tmp_path: Path, dataset: Dataset, at: str, first: dict[Source, int], idle: int
) -> None:
    case = Case(tmp_path)
    days = [*(f"2026-01-{number}" for number in (30, 31)), *(f"2026-02-{number:02}" for number in range(1, 29))]
    write_universe(case.universe, days[0], days[-1], {day: {ETH: "no_kline_on_date"} for day in days})
    case.fill([line("2026-02-03", Status.COMPLETE, dataset=dataset)])
    (status,) = case.status(datetime.fromisoformat(at).replace(tzinfo=timezone.utc).timestamp()).datasets
    assert status.next_download.first_source == {**dict.fromkeys(Source, 0), **first}
    assert (status.next_download.symbol_days, status.next_download.without_request) == (29, idle)


def test_metrics_before_their_history_need_no_request(tmp_path: Path) -> None:
    case = Case(tmp_path)
    write_universe(case.universe, "2020-08-31", "2020-09-02")
    case.fill([line("2020-09-02", Status.COMPLETE, dataset=Dataset.METRICS)])
    (metrics,) = case.status().datasets
    # Two symbols on 31 August (before any), two on 1 September, one on the 2nd.
    assert metrics.next_download.to_dict() == {
        "symbol_days": 5, "first_source": {"monthly": 0, "daily": 3, "rest": 0}, "without_request": 2,
    }  # fmt: skip


def test_frequencies_stand_shortest_first(case: Case) -> None:
    case.fill(line("2026-02-03", Status.COMPLETE, freq=freq) for freq in ("1h", "1m", "1d", "15m"))
    case.fill([line("2026-02-03", Status.COMPLETE, dataset=Dataset.FUNDING_RATES, freq="")])
    assert [(entry.dataset.value, entry.freq) for entry in case.status().datasets] == [
        ("klines", "1m"), ("klines", "15m"), ("klines", "1h"), ("klines", "1d"), ("funding_rates", ""),
    ]  # fmt: skip


def test_the_table_for_people(case: Case) -> None:
    case.fill(line(f"2026-02-{number:02}", Status.COMPLETE) for number in range(1, 10))
    case.fill(
        [line("2026-02-10", Status.FAILED, None), line("2026-02-10", Status.COMPLETE, dataset=Dataset.FUNDING_RATES, freq="")]
    )
    assert list(status_lines(case.status())) == [
        f"universe {case.universe}: 2026-01-30 to 2026-02-28, 30 days",
        "2 of 2 symbols active, 59 symbol-days; not active: 1 not_in_current_trading_list",
        f"database {case.database}",
        "",
        "dataset        freq  settled  complete  gaps  incomplete  failed  never  rows  last checked",
        "klines         5m     15.2 %         9     0           0       1     49     0  2026-03-01T11:59:00+00:00",
        "funding_rates  -       1.6 %         1     0           0       0     58     0  2026-03-01T11:59:00+00:00",
        "metrics        -           -         -     -           -       -      -     -  never",
        "total          -       8.4 %        10     0           0       1    107     0  2026-03-01T11:59:00+00:00",
        "",
        "next download of 5m klines: 50 symbol-days: first 48 from the monthly archive, 2 from the API",
        "  failed, no reason known: 1 symbol-day",
        "next download of funding_rates: 58 symbol-days: first 58 from the API",
        "nothing has been downloaded of metrics; --download-market-metrics asks for more than klines",
    ]


def test_the_json_object(case: Case) -> None:
    case.fill([line("2026-02-02", Status.INCOMPLETE, "rest: timeout"), line("2026-02-28", Status.COMPLETE)])
    record = case.status(window=WindowBounds("2026-02-01", "2026-02-28")).to_dict()
    assert list(record) == [
        "universe_file", "db_path", "window", "days", "requested_symbols", "active_symbols", "active_symbol_days",
        "define_missing", "datasets",
    ]  # fmt: skip
    (klines,) = record.pop("datasets")
    assert record == {
        "universe_file": str(case.universe), "db_path": str(case.database),
        "window": {"start_date": "2026-02-01", "end_date": "2026-02-28"}, "days": 28, "requested_symbols": 2,
        "active_symbols": 2, "active_symbol_days": 55,
        "define_missing": {"not_in_current_trading_list": 1, "no_kline_on_date": 0},
    }  # fmt: skip
    assert list(klines.items()) == [
        ("dataset", "klines"), ("freq", "5m"), ("active_symbol_days", 55), ("complete", 1), ("confirmed_gaps", 0),
        ("incomplete", 1), ("failed", 0), ("never_fetched", 53), ("rows", 0), ("last_checked", "2026-03-01T11:59:00+00:00"),
        ("unsettled_reasons", [{"status": "incomplete", "reason": "rest: timeout", "symbol_days": 1}]),
        # Yesterday is wanted of ETH alone and is asked of the API; all other days lie in a closed month.
        ("next_download", {
            "symbol_days": 54, "first_source": {"monthly": 53, "daily": 0, "rest": 1}, "without_request": 0,
        }),
    ]  # fmt: skip


def test_a_universe_without_a_database(case: Case) -> None:
    result = universe_status(case.universe, clock=FakeClock(NOON))
    assert (result.db_path, result.datasets, result.active_symbols) == (None, (), 2)


def test_a_database_without_any_ledger_line(case: Case) -> None:
    case.fill([])
    result = case.status()
    assert result.datasets == ()
    assert list(status_lines(result))[-1] == f"database {case.database}: nothing has been downloaded into it yet"


def test_what_is_refused(case: Case) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        case.status()
    case.fill([line("2026-02-03", Status.COMPLETE)])
    with pytest.raises(UsageError, match="outside the universe"):
        case.status(window=WindowBounds("2026-01-29", None))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        case.status(stop=stop)
    case.tamper("UPDATE ledger SET status = 'fine'")
    with pytest.raises(StoreError, match="unknown status 'fine'"):
        case.status()


def test_a_gap_that_the_next_download_asks_for_again_counts_as_its_work(case: Case) -> None:
    reason = "rest_alone (distrusted daily: checksum)"
    case.fill([line("2026-02-03", Status.CONFIRMED_GAP, reason), line("2026-02-04", Status.CONFIRMED_GAP, "sources_agree")])
    month = 30 * 86_400
    for at, asked in ((NOON - 61 + month, 57), (NOON - 60 + month, 58)):
        (klines,) = case.status(at).datasets
        assert (klines.confirmed_gaps, klines.never_fetched, klines.next_download.symbol_days) == (2, 57, asked)
