"""Provenance: what the ledger tells of one symbol-day, in every dataset that the database knows."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cryptoservice.audit.provenance import ProvenanceResult, symbol_day_provenance
from cryptoservice.errors import Interrupted, UsageError
from cryptoservice.models import Dataset, SourceObject, Status
from cryptoservice.sources.alignment import Reading
from cryptoservice.storage.ledger import Series, SymbolDay
from tests.unit.audit.stored import BTC, ETH, HOURS, METRICS, Stored, symbol_day, write_universe
from tests.unit.fakes import FEBRUARY

OBJECT = SourceObject("data/x/BTCUSDT-1h-2026-02.zip", "cd" * 32, "Mon, 02 Mar 2026 08:00:00 GMT", "2026-03-05T10:00:00+00:00")


def ask(stored: Stored, symbol: str = BTC, day: str = "2026-02-01") -> ProvenanceResult:
    return symbol_day_provenance(stored.universe, stored.database, symbol, day)


def test_every_dataset_with_its_sources_and_its_object(stored: Stored) -> None:
    klines = replace(
        symbol_day(Dataset.KLINES, HOURS, source="monthly+rest"), origin=OBJECT, marks=bytes([1] * 22 + [4, 5]), reason="united"
    )
    metrics = replace(symbol_day(Dataset.METRICS, METRICS), reason="archive_alone; labels_start_bars", origin=OBJECT)
    stored.fill([klines, metrics])
    record = ask(stored).to_dict()
    assert list(record) == ["universe_file", "db_path", "symbol", "date", "active", "missing_reason", "provenance"]
    provenance = record.pop("provenance")
    assert record == {
        "universe_file": str(stored.universe), "db_path": str(stored.database), "symbol": BTC, "date": "2026-02-01",
        "active": True, "missing_reason": None,
    }  # fmt: skip
    origin = {
        "object": OBJECT.name, "sha256": OBJECT.sha256, "last_modified": OBJECT.last_modified, "fetched_at": OBJECT.fetched_at,
    }  # fmt: skip
    # 1,770,000,000 seconds, as `date -u -d @1770000000` says.
    whole = {"status": "complete", "checked_at": "2026-02-02T02:40:00+00:00"}
    first, second, third = provenance
    assert list(first.items()) == [
        ("dataset", "klines"), ("freq", "1h"), ("status", "complete"), ("reason", "united"), ("rows", 24), ("expected_rows", 24),
        ("checked_at", "2026-02-02T02:40:00+00:00"), ("source", "monthly+rest"),
        ("rows_by_source", {"monthly": 22, "rest": 1, "monthly+rest": 1}), ("labels", None), *origin.items(),
    ]  # fmt: skip
    assert second == {
        "dataset": "metrics", "freq": "5m", "reason": "archive_alone; labels_start_bars", "rows": 288, "expected_rows": 288,
        "source": "daily", "rows_by_source": {"daily": 288}, "labels": "labels_start_bars", **whole, **origin,
    }  # fmt: skip
    assert third == {
        "dataset": "funding_rates", "freq": "", "reason": None, "rows": 3, "expected_rows": 3, "source": "daily",
        "rows_by_source": {"daily": 3}, "labels": None, **whole, **dict.fromkeys(origin),
    }  # fmt: skip


def test_a_dataset_that_was_never_asked_for_on_that_day(stored: Stored) -> None:
    five = SymbolDay(Series(Dataset.KLINES, "5m", ETH), FEBRUARY, Status.FAILED, "rest: http_500", [], 288, None, 0.0)
    stored.fill([five])
    result = ask(stored, " ethusdt ")
    assert [(one.dataset.value, one.freq, one.status, one.reason, one.source) for one in result.provenance] == [
        ("klines", "5m", Status.FAILED, "rest: http_500", None), ("klines", "1h", None, "not_downloaded", None),
        ("metrics", "5m", None, "not_downloaded", None), ("funding_rates", "", None, "not_downloaded", None),
    ]  # fmt: skip
    failed, absent, *_ = (one.to_dict() for one in result.provenance)
    assert (failed["rows"], failed["expected_rows"], failed["rows_by_source"]) == (0, 288, {})
    assert (absent["rows"], absent["expected_rows"], absent["checked_at"], absent["object"]) == (0, None, None, None)


@pytest.mark.parametrize("reading", list(Reading))
def test_the_reading_of_labels_is_that_of_metrics_alone(stored: Stored, reading: Reading) -> None:
    stored.fill([replace(symbol_day(dataset, rows), reason=reading.value) for dataset, rows in
                 ((Dataset.METRICS, METRICS), (Dataset.KLINES, HOURS))])  # fmt: skip
    assert [one.labels for one in ask(stored).provenance] == [None, reading, None]


def test_why_a_symbol_day_is_not_active(stored: Stored) -> None:
    write_universe(stored.universe, "2026-02-01", "2026-02-02", {"2026-02-02": {BTC: "no_kline_on_date"}})
    result = ask(stored, day="2026-02-02")
    assert (result.active, result.to_dict()["missing_reason"]) == (False, "no_kline_on_date")
    # What is stored is told all the same: another universe may have had the day.
    write_universe(stored.universe, "2026-02-01", "2026-02-02", {"2026-02-01": {BTC: "not_in_current_trading_list"}})
    result = ask(stored)
    assert (result.active, result.to_dict()["missing_reason"]) == (False, "not_in_current_trading_list")
    assert [one.rows for one in result.provenance] == [24, 288, 3]


def test_a_database_without_any_ledger_line(tmp_path: Path) -> None:
    empty = Stored(tmp_path)
    empty.fill([])
    assert ask(empty).provenance == ()


def test_what_is_refused_before_the_database_is_looked_at(stored: Stored) -> None:
    stored.database.unlink()

    def refused(words: str, hint: str, symbol: str = BTC, day: str = "2026-02-01") -> None:
        with pytest.raises(UsageError, match=words) as caught:
            ask(stored, symbol, day)
        assert caught.value.hint == hint

    refused("the universe has no symbol 'XUSDT'", "it has BTCUSDT, ETHUSDT", "XUSDT")
    refused("the universe has no symbol ''", "it has BTCUSDT, ETHUSDT", " ")
    refused("the date 2026-02-03 lies outside the universe", "the universe covers 2026-02-01 to 2026-02-02", day="2026-02-03")
    refused("date: '1 Feb' is not a date", "write it as YYYY-MM-DD", day="1 Feb")
    write_universe(stored.universe, "2026-02-01", "2026-02-01", symbols=[f"S{number}USDT" for number in range(6)])
    refused("the universe has no symbol 'BTCUSDT'", "it has S0USDT, S1USDT, S2USDT, S3USDT, S4USDT, ...")
    with pytest.raises(UsageError, match="does not exist"):
        ask(stored, "S0USDT")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        symbol_day_provenance(stored.universe, stored.database, "S0USDT", "2026-02-01", stop=stop)
