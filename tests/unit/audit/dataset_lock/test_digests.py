"""Digests depend on the stored rows alone: not on how they came there, and on every bit of them."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.audit.dataset_lock.digests import Contents, MonthDigest, SymbolMonth, read_contents, root_of
from cryptoservice.clock import Clock
from cryptoservice.errors import Interrupted
from cryptoservice.models import Dataset, Status
from cryptoservice.storage.ledger import SymbolDay
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.writer import StoreWriter
from tests.unit.audit.dataset_lock import by_hand
from tests.unit.audit.dataset_lock.samples import (
    ACTIVE,
    DAYS,
    KINDS,
    NAMES,
    SYMBOLS,
    A,
    B,
    all_days,
    origin,
    rows_of,
    store,
    symbol_day,
)
from tests.unit.storage.samples import query, run_script


def contents_of(path: Path, active: Mapping[str, list[date]] = ACTIVE) -> Contents:
    with StoreReader.open(path) as reader:
        return read_contents(reader, active, Clock(), None)


def root(path: Path, active: Mapping[str, list[date]] = ACTIVE) -> str:
    return root_of(contents_of(path, active).digests)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, stored in order."""
    return store(tmp_path_factory.mktemp("sample") / "market.db", all_days())


def test_digests_marks_and_root_are_those_computed_by_hand(path: Path) -> None:
    contents, expected = contents_of(path), by_hand.lock_of(path, ACTIVE)
    assert {place.dataset for place in contents.digests} == NAMES
    assert len(contents.digests) == len(KINDS) * len(SYMBOLS) * 2
    for place, digest in contents.digests.items():
        assert digest.sha256 == expected.datasets[place.dataset][place.symbol][place.month]
        assert len(digest.marks.split()) == {"2026-01": 31, "2026-02": 28}[place.month]
        for number, mark in enumerate(digest.marks.split(), start=1):
            assert mark == expected.days.get(f"{place.dataset} {place.symbol} {place.month}-{number:02}", "-")
    assert root_of(contents.digests) == expected.root
    assert [(one.dataset, one.active_symbol_days, one.symbol_days, one.rows) for one in contents.datasets] == [
        ("funding_rates", 8, 8, 24), ("klines/12h", 8, 8, 16), ("klines/4h", 8, 8, 48), ("metrics/5m", 8, 8, 48),
    ]  # fmt: skip


# -- what the root does not depend on -------------------------------------------------------------------------------------


class Broken(Exception):
    """The run is killed in the middle of a transaction."""


def broken(days: Iterable[SymbolDay]) -> Iterator[SymbolDay]:
    yield from days
    raise Broken


def other_history(chance: random.Random, path: Path) -> None:
    """The same rows by another way: runs in any order, windows, sources, refetches, interruptions, and what is left alone."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA page_size = {chance.choice((512, 1024, 4096, 16384))}")
        db.execute(f"PRAGMA auto_vacuum = {chance.choice((0, 1, 2))}")
        db.execute("VACUUM")
    days = all_days()
    chance.shuffle(days)
    days += chance.sample(days, chance.randint(0, 8))
    while days:
        run, days = days[: (size := chance.randint(6, 40))], days[size:]
        with StoreWriter.open(path) as writer:
            if chance.random() < 0.3:
                # Another state of some days is committed before, or nearly: with fewer rows, or with other values.
                earlier = [other_state(chance, day) for day in run]
                if chance.random() < 0.5:
                    writer.write(earlier)
                else:
                    with pytest.raises(Broken):
                        writer.write(broken(earlier))
            writer.write([other_words(chance, day) for day in run])
    if chance.random() < 0.5:
        run_script(path, "VACUUM")


def other_state(chance: random.Random, day: SymbolDay) -> SymbolDay:
    rows = list(day.rows)[: chance.randint(0, len(day.rows))]
    return SymbolDay(day.series, day.day, Status.INCOMPLETE, "why", rows, len(day.rows), "daily", 0.0)


def other_words(chance: random.Random, day: SymbolDay) -> SymbolDay:
    """The same rows, of which the ledger says something else."""
    source = chance.choice(["monthly", "daily", "rest", "daily+rest"])
    status = chance.choice([Status.COMPLETE, Status.CONFIRMED_GAP, Status.INCOMPLETE])
    sha256 = f"{chance.getrandbits(256):064x}"
    return SymbolDay(
        day.series, day.day, status, chance.choice([None, "why"]), day.rows, chance.choice([len(day.rows), 288]), source,
        chance.random() * 1e9, chance.choice([None, origin(day.series.dataset, day.series.symbol, sha256)]),
        chance.choice([None, bytes([chance.randint(1, 7)] * len(day.rows))]),
    )  # fmt: skip


@pytest.mark.parametrize("part", range(5))
def test_a_hundred_histories_have_one_root(tmp_path: Path, path: Path, part: int) -> None:
    expected = contents_of(path).digests
    for seed in range(part * 20, part * 20 + 20):
        other = tmp_path / f"{seed}.db"
        other_history(random.Random(seed), other)
        assert contents_of(other).digests == expected, seed


def test_shuffled_tables_have_the_same_root(tmp_path: Path, path: Path) -> None:
    """Rows inserted one by one in any order, series with other ids, and a file that was cleaned up."""
    tables = ("kline_rows", "metric_rows", "funding_rows", "ledger")
    for seed in range(5):
        chance = random.Random(seed)
        other = tmp_path / f"{seed}.db"
        other.write_bytes(path.read_bytes())
        numbers = [number for (number,) in query(path, "SELECT id FROM series")]
        names = dict(zip(numbers, chance.sample(range(1, 1000), len(numbers)), strict=True))
        with contextlib.closing(sqlite3.connect(other)) as db:
            for table in tables:
                rows = db.execute(f"SELECT * FROM {table}").fetchall()
                chance.shuffle(rows)
                db.execute(f"DELETE FROM {table}")
                marks = ", ".join("?" * len(rows[0]))
                db.executemany(f"INSERT INTO {table} VALUES ({marks})", [(names[row[0]], *row[1:]) for row in rows])
            db.executemany("UPDATE series SET id = -? WHERE id = ?", [(new, old) for old, new in names.items()])
            db.execute("UPDATE series SET id = -id")
            db.commit()
            db.execute("PRAGMA page_size = 8192")
            db.execute("VACUUM")
        assert root(other) == root(path)


def test_rows_of_other_days_and_symbols_do_not_count(tmp_path: Path, path: Path) -> None:
    some = {A: [DAYS[0], DAYS[2]], B: DAYS[1:3]}
    alone = store(
        tmp_path / "alone.db",
        [symbol_day(dataset, freq, symbol, day) for dataset, freq in KINDS for symbol, days in some.items() for day in days],
    )
    assert contents_of(path, some).digests == contents_of(alone, some).digests == contents_of(alone).digests
    assert root(path, some) == by_hand.lock_of(path, some).root != root(path)


def test_the_ledger_contributes_nothing(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "market.db"
    other.write_bytes(path.read_bytes())
    run_script(
        other, "DELETE FROM ledger WHERE day % 2; UPDATE ledger SET rows = 0, status = 'failed'; DELETE FROM source_objects"
    )
    contents = contents_of(other)
    assert contents.digests == contents_of(path).digests


# -- what it depends on ---------------------------------------------------------------------------------------------------


def flipped(value: Any) -> Any:
    """The value with its last bit flipped."""
    if isinstance(value, float):
        return struct.unpack("<q", struct.pack("<d", value))[0] ^ 1
    if isinstance(value, int):
        return value ^ 1
    return value[:-1] + chr(ord(value[-1]) ^ 1)


def float_of(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


@pytest.mark.parametrize("table", ["kline_rows", "metric_rows", "funding_rows"])
def test_the_last_bit_of_any_value_changes_exactly_one_digest(tmp_path: Path, table: str) -> None:
    days = [symbol_day(*kind, symbol, day) for kind in KINDS[1:] for symbol in SYMBOLS for day in DAYS[1:3]]
    other = store(tmp_path / "market.db", days)
    before = contents_of(other)
    key = {"kline_rows": ["open_time"], "metric_rows": ["open_time"], "funding_rows": ["funding_time", "rate_type"]}[table]
    with contextlib.closing(sqlite3.connect(other)) as db:
        db.execute("PRAGMA synchronous = OFF")
        cursor = db.execute(f"SELECT * FROM {table}")
        names = [name for name, *_ in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        roots = set()
        for row in rows:
            for name in names[1:]:
                if row[name] is None:
                    continue
                new = flipped(row[name])
                new = float_of(new) if isinstance(row[name], float) else new
                assert new != row[name]
                where = " AND ".join(f"{one} = ?" for one in ["series_id", *key])
                now = {**row, name: new}
                for target, place in ((new, row), (row[name], now)):
                    values = (target, *(place[one] for one in ["series_id", *key]))
                    assert db.execute(f"UPDATE {table} SET {name} = ? WHERE {where}", values).rowcount == 1
                    db.commit()
                    after = contents_of(other)
                    changed = [one for one, digest in after.digests.items() if digest.sha256 != before.digests[one].sha256]
                    if place is now:
                        assert after.digests == before.digests, "it was flipped back"
                        continue
                    assert after.digests.keys() == before.digests.keys()
                    assert len(changed) == 1, (row, name)
                    old_marks = before.digests[changed[0]].marks.split()
                    new_marks = after.digests[changed[0]].marks.split()
                    assert sum(one != two for one, two in zip(old_marks, new_marks, strict=True)) == 1
                    roots.add(root_of(after.digests))
        assert len(roots) >= len(rows) * 3, "each change has a root of its own"
        assert root_of(before.digests) not in roots


def test_a_null_is_not_a_zero_and_a_row_that_is_gone_shows(tmp_path: Path, path: Path) -> None:
    first = "{0} WHERE (series_id, {1}) = (SELECT series_id, {1} FROM {0} ORDER BY series_id, {1} LIMIT 1)"
    metrics, rates = first.format("metric_rows", "open_time"), first.format("funding_rows", "funding_time")
    changes = (
        metrics.replace("WHERE", "SET top_trader_position_ratio = 0.0 WHERE", 1),
        metrics.replace("WHERE", "SET global_account_ratio = 0.0 WHERE", 1),
        metrics.replace("WHERE", "SET taker_volume_ratio = NULL WHERE", 1),
        rates.replace("WHERE", "SET mark_price = NULL WHERE", 1),
    )
    statements = [f"UPDATE {change}" for change in changes] + [f"DELETE FROM {row}" for row in (metrics, rates)]
    roots = {root(path)}
    for number, statement in enumerate(statements):
        other = tmp_path / f"{number}.db"
        other.write_bytes(path.read_bytes())
        with contextlib.closing(sqlite3.connect(other)) as db, db:
            assert db.execute(statement).rowcount == 1
        roots.add(root(other))
    assert len(roots) == 1 + len(statements)


def test_the_root_knows_where_rows_belong() -> None:
    """The same digests under two other names are another dataset."""
    one, two = MonthDigest("1" * 64, ""), MonthDigest("2" * 64, "")
    places = [SymbolMonth("klines/5m", A, "2026-01"), SymbolMonth("klines/5m", B, "2026-01")]
    others = [
        SymbolMonth("klines/5m", A, "2026-02"), SymbolMonth("klines/1m", A, "2026-01"), SymbolMonth("klines/5m", "C", "2026-01"),
    ]  # fmt: skip
    roots = {root_of({places[0]: one, places[1]: two}), root_of({places[0]: two, places[1]: one})}
    roots |= {root_of({other: one, places[1]: two}) for other in others} | {root_of({places[0]: one}), root_of({})}
    assert len(roots) == 7
    assert root_of({places[1]: two, places[0]: one}) == root_of({places[0]: one, places[1]: two})


# -- how it is read -------------------------------------------------------------------------------------------------------


def test_a_lock_is_of_one_moment(tmp_path: Path) -> None:
    """A download that commits while the digests are computed changes none of them."""
    other = tmp_path / "market.db"
    with StoreWriter.open(other) as writer:
        writer.write([symbol_day(Dataset.KLINES, "4h", symbol, DAYS[0]) for symbol in SYMBOLS])
        expected = by_hand.lock_of(other, ACTIVE).root

        class Meanwhile:
            """A stop event that is never set: at each look at it the download goes on."""

            looks = 0

            def is_set(self) -> bool:
                self.looks += 1
                if self.looks == 2:
                    writer.write([symbol_day(Dataset.KLINES, "4h", symbol, day) for symbol in SYMBOLS for day in DAYS[1:]])
                return False

        meanwhile: Any = Meanwhile()
        with StoreReader.open(other) as reader:
            found = root_of(read_contents(reader, ACTIVE, Clock(), meanwhile).digests)
        assert meanwhile.looks >= 3
        assert found == expected != root(other)


def test_objects_are_those_of_locked_days_with_rows(tmp_path: Path) -> None:
    first, second = (origin(Dataset.KLINES, A, digit * 64) for digit in "12")
    empty = SymbolDay(
        symbol_day(Dataset.KLINES, "4h", A, DAYS[3]).series, DAYS[3], Status.CONFIRMED_GAP, "why", (), 6, "daily", 0.0
    )
    days = [
        symbol_day(Dataset.KLINES, "4h", A, DAYS[0], origin=first),
        symbol_day(Dataset.KLINES, "4h", A, DAYS[1], origin=second),
        symbol_day(Dataset.KLINES, "4h", A, DAYS[2], source="rest"),
        empty,
    ]
    other = store(tmp_path / "market.db", days)
    for active, wanted in ((DAYS, ["1", "2"]), (DAYS[:1], ["1"]), (DAYS[1:], ["2"]), (DAYS[2:], [])):
        contents = contents_of(other, {A: active})
        with StoreReader.open(other) as reader:
            found = [sha256[0] for number, _, sha256 in reader.source_objects() if number in contents.object_ids]
        assert found == wanted


def test_it_can_be_stopped(path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with StoreReader.open(path) as reader, pytest.raises(Interrupted):
        read_contents(reader, ACTIVE, Clock(), stop)


def test_a_month_with_a_value_that_no_download_stores_has_no_digest(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "market.db"
    other.write_bytes(path.read_bytes())
    start = rows_of(Dataset.KLINES, "12h", A, DAYS[1])[0][0]
    run_script(
        other,
        f"UPDATE kline_rows SET close = 'text' WHERE open_time = {start} AND series_id = "
        f"(SELECT id FROM series WHERE symbol = '{A}' AND freq = '12h')",
    )
    before, after = contents_of(path).digests, contents_of(other).digests
    (changed,) = (place for place in before if before[place] != after[place])
    assert changed == SymbolMonth("klines/12h", A, "2026-01")
    assert after[changed].sha256 == "unreadable"
    assert after[changed].marks.split()[29:] == [before[changed].marks.split()[29], "unreadable"]
