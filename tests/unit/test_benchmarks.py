"""The benchmarks' own judgement: a fast wrong answer must fail, and a target that is missed must show."""

from __future__ import annotations

import json
import sqlite3
import sys
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest

from cryptoservice.models import Dataset, Status
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter
from tests.unit.audit.dataset_lock import by_hand
from tests.unit.fakes import FEBRUARY, recorded_csv, recorded_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from benchmarks import results, truth

SYMBOL = "LINKUSDT"


@pytest.fixture
def zips(tmp_path: Path) -> truth.Zips:
    made = truth.Zips(tmp_path / "zips", [SYMBOL], "1m", ["2026-02"])
    made.folder.mkdir()
    with zipfile.ZipFile(made.folder / f"{SYMBOL}-1m-2026-02.zip", "w") as zipped:
        zipped.writestr(f"{SYMBOL}-1m-2026-02.csv", recorded_csv(SYMBOL))
    return made


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The recorded month, stored."""
    path = tmp_path / "market.db"
    rows = recorded_rows(SYMBOL)
    series = Series(Dataset.KLINES, "1m", SYMBOL)
    with StoreWriter.open(path) as store:
        store.write(
            SymbolDay(
                series,
                FEBRUARY + timedelta(days=day),
                Status.COMPLETE,
                None,
                rows[day * 1440 : (day + 1) * 1440],
                1440,
                "monthly",
                0,
            )
            for day in range(28)
        )
    return path


def change(database: Path, statement: str) -> None:
    with sqlite3.connect(database) as db:
        assert db.execute(statement).rowcount == 1


def test_right_rows_pass(zips: truth.Zips, database: Path) -> None:
    truth.assert_rows(database, zips)
    sums = truth.Sums.of(database)
    assert sums.rows == 28 * 1440
    sums.assert_equal(truth.Sums.of(database))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE kline_rows SET close = close + 0.001 WHERE open_time = (SELECT max(open_time) FROM kline_rows)",
        "DELETE FROM kline_rows WHERE open_time = (SELECT max(open_time) FROM kline_rows)",
        "DELETE FROM kline_rows WHERE open_time = (SELECT min(open_time) FROM kline_rows)",
        "INSERT INTO kline_rows SELECT series_id, open_time + 60000, open, high, low, close, volume, quote_volume, trades, "
        "taker_buy_volume, taker_buy_quote_volume FROM kline_rows ORDER BY open_time DESC LIMIT 1",
    ],
    ids=["one price", "the last row", "the first row", "one row more"],
)
def test_wrong_rows_end_the_benchmark(zips: truth.Zips, database: Path, statement: str) -> None:
    before = truth.Sums.of(database)
    change(database, statement)
    with pytest.raises(SystemExit, match="row "):
        truth.assert_rows(database, zips)
    with pytest.raises(SystemExit, match="checksums differ"):
        truth.Sums.of(database).assert_equal(before)


def test_digests_of_zips_are_those_of_a_lock(zips: truth.Zips, database: Path) -> None:
    days = [FEBRUARY + timedelta(days=day) for day in range(28)]
    digests = by_hand.lock_of(database, {SYMBOL: days}).datasets["klines/1m"]
    assert zips.month_digests() == digests
    change(database, "UPDATE kline_rows SET trades = trades + 1 WHERE open_time = (SELECT max(open_time) FROM kline_rows)")
    assert zips.month_digests() != by_hand.lock_of(database, {SYMBOL: days}).datasets["klines/1m"]


def test_a_missed_target_shows() -> None:
    met, missed = results.at_most("memory", 150, 149.5, " MB"), results.at_least("speed", 0.9, 0.8995)
    assert (met.met, met.measured) == (True, "149.50 MB")
    assert not missed.met
    report = results.Report([met, missed], 12.0)
    assert not report.met
    assert "NOT MET" in report.to_text().splitlines()[3]
    assert results.Report([met], 12.0).met
    record = json.loads(json.dumps(report.to_dict()))
    assert [line["met"] for line in record["lines"]] == [True, False]
    assert record["machine"]["Python"]
