"""The file of a day: the form of every value, whole or not at all, and what the day lacks."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.errors import Interrupted
from cryptoservice.export.coverage_report import Totals
from cryptoservice.export.daily_csv import (
    DayDone,
    DayTask,
    StaleFile,
    Target,
    WrittenFile,
    csv_lines,
    export_days,
    export_days_as_worker,
    reason_of,
    write_day,
)
from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.rows import PackedRows
from cryptoservice.storage.ledger import LedgerLine, Series, SymbolDay
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.snapshot import Snapshot
from cryptoservice.storage.writer import StoreWriter
from tests.unit.audit.stored import BTC, ETH, HOUR, HOURS, METRICS, NEXT_DAY, RATES, Stored, symbol_day
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS

KLINES = ExportSpec.of(Dataset.KLINES, Freq.h1, Freq.h1)
FOUR_HOURS = ExportSpec.of(Dataset.KLINES, Freq.h1, Freq.h4)


def test_numbers_are_written_as_repr_and_null_as_nothing() -> None:
    rows = [(1, 0.1, None, "Regular"), (2, 1e-08, 1e22, "Special"), (3, -0.0001, None, "Regular")]
    assert csv_lines("BTCUSDT", rows) == ("BTCUSDT,1,0.1,,Regular\nBTCUSDT,2,1e-08,1e+22,Special\nBTCUSDT,3,-0.0001,,Regular\n")
    assert csv_lines("BTCUSDT", [(1, None, 2.0, None)]) == "BTCUSDT,1,,2.0,\n"


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), NUMBERS, NUMBERS, st.integers(0, 2**53)), min_size=1, max_size=5))
def test_packed_rows_are_written_like_all_others(rows: list[tuple[Any, ...]]) -> None:
    packed = PackedRows("qddq", b"".join(struct.pack("=qddq", *row) for row in rows))
    expected = "".join(f"100%币USDT,{','.join(map(repr, row))}\n" for row in rows)
    assert csv_lines("100%币USDT", packed) == csv_lines("100%币USDT", rows) == expected


@pytest.mark.parametrize("kind", ["Annulled", "null", "特殊"])
def test_a_rate_type_is_written_as_it_is_whatever_the_exchange_calls_it(kind: str) -> None:
    assert csv_lines("BTCUSDT", [(1, 0.1, None, kind)]) == f"BTCUSDT,1,0.1,,{kind}\n"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (Status.CONFIRMED_GAP, "confirmed_gap"), (Status.INCOMPLETE, "incomplete"), (Status.FAILED, "failed"),
        # A complete line with fewer rows than it promises: somebody has removed them.
        (Status.COMPLETE, "incomplete"),
    ],
)  # fmt: skip
def test_why_a_symbol_day_is_not_whole(status: Status, reason: str) -> None:
    assert reason_of(LedgerLine(status, "a sentence", 0, 24)) == reason
    assert reason_of(None) == "not_downloaded"


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "date=2026-02-01" / "klines.csv"

    def pieces() -> Iterator[str]:
        yield "A,1\n"
        assert not path.exists()
        yield "B,2\n"

    # As `printf 'symbol,open_time\nA,1\nB,2\n' | sha256sum` says.
    digest = "2fee696dabff143dfefb8ef18cdeebf35ee04accf751a65375e984910708f45c"
    assert write_day(path, ("symbol", "open_time"), pieces(), prune=True) == WrittenFile(25, digest)
    assert path.read_bytes() == b"symbol,open_time\nA,1\nB,2\n"

    def broken() -> Iterator[str]:
        yield "C,3\n"
        raise Interrupted

    with pytest.raises(Interrupted):
        write_day(path, ("symbol", "open_time"), broken(), prune=True)
    assert path.read_bytes() == b"symbol,open_time\nA,1\nB,2\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["klines.csv"]


def test_without_rows_a_file_from_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "date=2026-02-01" / "klines.csv"
    assert write_day(path, ("symbol",), iter(()), prune=False) is None
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text("from another machine\n")
    assert write_day(path, ("symbol",), iter(()), prune=False) is StaleFile.KEPT
    assert path.read_text() == "from another machine\n"


def test_with_prune_the_file_from_before_goes_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "date=2026-02-01" / "klines.csv"
    assert write_day(path, ("symbol",), iter(()), prune=True) is None
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text("from an earlier export\n")
    assert write_day(path, ("symbol",), iter(()), prune=True) is StaleFile.REMOVED
    assert not path.parent.exists()
    path.parent.mkdir()
    path.write_text("from an earlier export\n")
    (path.parent / "notes.txt").write_text("somebody's own")
    # Process number 4194399 is beyond every Linux limit: nobody lives there.
    (path.parent / ".klines.csv.4194399.tmp").write_text("half a fi")
    assert write_day(path, ("symbol",), iter(()), prune=True) is StaleFile.REMOVED
    assert [entry.name for entry in path.parent.iterdir()] == ["notes.txt"]


def test_days_are_written_and_counted(stored: Stored, tmp_path: Path) -> None:
    series = Series(Dataset.KLINES, "1h", ETH)
    partly = SymbolDay(series, FEBRUARY, Status.CONFIRMED_GAP, "sources_agree", HOURS[:6], 24, "rest", 0.0)
    stored.fill([symbol_day(Dataset.KLINES, HOURS), partly])
    tasks = [DayTask(FEBRUARY, (ETH, BTC)), DayTask(NEXT_DAY, (BTC,))]
    with StoreReader.open(stored.database) as store:
        first, second = export_days(store, Target(tmp_path / "out", prune=False), [FOUR_HOURS], tasks)
    # Six hours make one bar of four hours that is whole, and one of two hours.
    lack = {ETH: {"expected": 6, "actual": 2, "reason": "confirmed_gap", "partial_bars": 1}}
    path = tmp_path / "out/klines/freq=4h/date=2026-02-01/klines.csv"
    written = WrittenFile(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert first == DayDone(FEBRUARY, Dataset.KLINES, Totals(2, 1, 1, 0, 12, 8, 1), lack, written)
    lack = {BTC: {"expected": 6, "actual": 0, "reason": "not_downloaded"}}
    assert second == DayDone(NEXT_DAY, Dataset.KLINES, Totals(1, 0, 0, 1, 6, 0, 0), lack, file=None)
    assert list((tmp_path / "out").rglob("*.csv")) == [path]
    header, *lines = path.read_text().splitlines()
    assert header == ("symbol,open_time,open,high,low,close,volume,quote_volume,trades,taker_buy_volume,taker_buy_quote_volume")
    # Flat bars of price 10: four hours of volume 2, 20, 3, 1 and 10.
    whole = "10.0,10.0,10.0,10.0,8.0,80.0,12,4.0,40.0"
    assert lines == [
        *(f"BTCUSDT,{FEBRUARY_MS + number * 4 * HOUR},{whole}" for number in range(6)),
        f"ETHUSDT,{FEBRUARY_MS},{whole}",
        f"ETHUSDT,{FEBRUARY_MS + 4 * HOUR},10.0,10.0,10.0,10.0,4.0,40.0,6,2.0,20.0",
    ]


def test_a_file_of_a_day_on_which_the_universe_has_no_symbol_is_out_of_date(stored: Stored, tmp_path: Path) -> None:
    stored.fill_all()
    for day in (FEBRUARY, NEXT_DAY):
        path = KLINES.path(tmp_path, day)
        path.parent.mkdir(parents=True)
        path.write_text("from before\n")
    tasks = [DayTask(FEBRUARY, ()), DayTask(NEXT_DAY, (BTC,))]
    with StoreReader.open(stored.database) as store:
        done = export_days(store, Target(tmp_path, prune=False), [KLINES], tasks)
    assert [day.file for day in done] == [StaleFile.REMOVED, StaleFile.KEPT]
    assert [KLINES.path(tmp_path, day).exists() for day in (FEBRUARY, NEXT_DAY)] == [False, True]


def test_all_datasets_of_a_day(stored: Stored, tmp_path: Path) -> None:
    stored.fill_all()
    specs = [ExportSpec.of(dataset, Freq.h1, Freq.d1) for dataset in Dataset]
    with StoreReader.open(stored.database) as store:
        done = export_days(store, Target(tmp_path, prune=False), specs, [DayTask(FEBRUARY, (BTC,))])
    assert [(day.dataset, day.totals.exported_bars, day.missing) for day in done] == [
        (Dataset.KLINES, 1, {}), (Dataset.METRICS, 1, {}), (Dataset.FUNDING_RATES, 3, {}),
    ]  # fmt: skip
    assert (tmp_path / "metrics/freq=1d/date=2026-02-01/metrics.csv").read_text().splitlines() == [
        "symbol,open_time,open_interest,open_interest_value,top_trader_account_ratio,top_trader_position_ratio,"
        "global_account_ratio,taker_volume_ratio",
        f"BTCUSDT,{FEBRUARY_MS},5.0,50.0,1.0,,1.5,0.5",
    ]
    assert (tmp_path / "funding_rates/date=2026-02-01/funding_rates.csv").read_text().splitlines() == [
        "symbol,funding_time,funding_rate,mark_price,rate_type",
        *(f"BTCUSDT,{rate[0]},0.0001,10.0,Regular" for rate in RATES),
    ]
    assert len(METRICS) == 288


@pytest.mark.parametrize(
    ("dataset", "reason", "count"),
    [
        (Dataset.METRICS, "labels_unproven", 1),
        (Dataset.METRICS, "archive_alone; labels_unproven; daily: 1 row left out (not_finite)", 1),
        (Dataset.METRICS, "labels_start_bars", 0),
        (Dataset.METRICS, None, 0),
    ],
)
def test_symbol_days_whose_labels_are_unproven_are_counted(
    stored: Stored, tmp_path: Path, dataset: Dataset, reason: str | None, count: int
) -> None:
    day = symbol_day(dataset, METRICS)
    stored.fill([replace(day, reason=reason)])
    spec = ExportSpec.of(dataset, Freq.m5, Freq.h1)
    # ETH has no line at all.
    with StoreReader.open(stored.database) as store:
        [done] = export_days(store, Target(tmp_path / "out", prune=False), [spec], [DayTask(FEBRUARY, (BTC, ETH))])
    assert (done.totals.labels_unproven, done.totals.complete, done.totals.missing) == (count, 1, 1)


def test_a_stop_leaves_no_file_of_the_day(stored: Stored, tmp_path: Path) -> None:
    stored.fill_all()
    stop = threading.Event()
    stop.set()
    with StoreReader.open(stored.database) as store, pytest.raises(Interrupted):
        export_days(store, Target(tmp_path / "out", prune=False), [KLINES], [DayTask(FEBRUARY, (BTC,))], stop)
    assert not list((tmp_path / "out").rglob("*"))


def test_a_worker_writes_from_the_snapshot_of_the_run_or_not_at_all(stored: Stored, tmp_path: Path) -> None:
    tasks, target = [DayTask(FEBRUARY, (BTC,))], Target(tmp_path / "out", prune=False)
    with StoreWriter.open(stored.database) as writer:
        writer.write([symbol_day(Dataset.KLINES, [])])
        with Snapshot.open(stored.database) as snapshot:
            writer.write([symbol_day(Dataset.KLINES, HOURS)])
            assert snapshot.key is not None
            assert export_days_as_worker(snapshot.key, target, [KLINES], tasks) is None
            assert not (tmp_path / "out").exists()
            snapshot.renew()
            done = export_days_as_worker(snapshot.key, target, [KLINES], tasks)
            # What it has opened it keeps: a later commit changes nothing.
            writer.write([symbol_day(Dataset.KLINES, [])])
            assert export_days_as_worker(snapshot.key, target, [KLINES], tasks) == done
    assert done is not None
    assert [day.totals.exported_bars for day in done] == [24]
