"""What a run weighs: memory, bytes in the database, and the time of runs that have nothing to do."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from benchmarks.commands import CRYPTOSERVICE, Pair, best_pair, run
from benchmarks.datasets import MinuteYear, Quarter
from benchmarks.planning import SYMBOLS
from benchmarks.results import Line, at_most
from benchmarks.truth import assert_same
from benchmarks.world import NOWHERE, World
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter
from cryptoservice.universe.file import UniverseFile

_MB = 1_000_000
_STARTS = 10


def memory_lines(quarter: Quarter, minutes: MinuteYear, folder: Path) -> Iterator[Line]:
    """Peaks at 5m and at 1m, and of twelve months over one."""
    january = ("--start-date", "2025-01-01", "--end-date", "2025-01-31")
    database, target = folder / "memory.db", folder / "memory"
    for what, five, one, year in (
        (
            "download",
            quarter.world.download(quarter.universe, database, "5m", watch_memory=True),
            minutes.world.download(minutes.universe, database, "1m", *january, watch_memory=True),
            minutes.world.download(minutes.universe, database, "1m", watch_memory=True),
        ),
        (
            "export",
            quarter.world.export(quarter.universe, quarter.database, target, "5m", "5m", watch_memory=True),
            minutes.world.export(minutes.universe, minutes.database, target, "1m", "1m", *january, watch_memory=True),
            minutes.world.export(minutes.universe, minutes.database, target, "1m", "1m", watch_memory=True),
        ),
    ):
        yield at_most(f"peak memory of {what} at 5m, all processes", 150, five.peak_bytes / _MB, " MB")
        yield at_most(f"peak memory of {what} at 1m, 12 months, all processes", 150, year.peak_bytes / _MB, " MB")
        yield at_most(f"peak memory of {what} at 1m: 12 months of 1 month", 1.2, year.peak_bytes / one.peak_bytes, "x")


def size_lines(quarter: Quarter, metrics: Path) -> Iterator[Line]:
    """Bytes of the database file per row of each kind, as its pages are used."""
    with sqlite3.connect(quarter.database) as db:
        rows, ledger = db.execute("SELECT (SELECT count(*) FROM klines), (SELECT count(*) FROM symbol_days)").fetchone()
    yield at_most("database: bytes per kline row", 105, _table_bytes(quarter.database, "kline_rows") / rows)
    yield at_most("database: bytes per ledger line", 80, _table_bytes(quarter.database, "ledger") / ledger)
    with sqlite3.connect(metrics) as db:
        rows = db.execute("SELECT count(*) FROM metrics").fetchone()[0]
    yield at_most("database: bytes per metrics row", 80, _table_bytes(metrics, "metric_rows") / rows)


def _table_bytes(database: Path, table: str) -> int:
    # The shell's table of pages: Python's SQLite is often built without it.
    return int(run(["sqlite3", str(database), f"SELECT sum(pgsize) FROM dbstat WHERE name = '{table}'"]).stdout)


def idle_lines(folder: Path) -> Iterator[Line]:
    """Runs that find everything settled, on a ledger of 500 symbols x 365 days; nothing listens where they could ask."""
    universe_file, database = folder / "year.json", folder / "settled.db"
    universe = UniverseFile.load(universe_file).universe
    active = universe.active_days(universe.window)
    settle(database, active, tuple(Dataset))
    world = World(folder, NOWHERE)
    where = ("--universe-file", universe_file, "--db-path", database, "--interval", "1d")
    days = sum(map(len, active.values()))
    for what, target, more in (("klines", 1.0, ()), ("all datasets", 2.0, ("--download-market-metrics",))):
        seconds = []
        for _ in range(3):
            done = world.run("download", *where, *more)
            report = json.loads(done.stdout)
            wanted = days * (3 if more else 1)
            assert_same(
                "nothing to do", (report["status"], report["already_complete"], report["requests"]), ("complete", wanted, {})
            )
            seconds.append(done.seconds)
        yield at_most(f"nothing to do, {SYMBOLS} symbols x 365 days, {what}", target, min(seconds), " s")


def settle(database: Path, active: Mapping[str, Sequence[date]], datasets: Sequence[Dataset]) -> None:
    """A new ledger that knows all these days as gaps, of daily klines and the like, without the rows that no run reads."""
    freqs = {Dataset.KLINES: Freq.d1.value, Dataset.METRICS: Freq.m5.value, Dataset.FUNDING_RATES: ""}
    database.unlink(missing_ok=True)
    with StoreWriter.open(database) as store:
        for dataset in datasets:
            for symbol, days in active.items():
                series = Series(dataset, freqs[dataset], symbol)
                store.write(SymbolDay(series, day, Status.CONFIRMED_GAP, "sources_agree", (), 1, None, 0.0) for day in days)


def start_line() -> Iterator[Line]:
    """The time to print --help."""

    def repeated(command: list[str]) -> float:
        return min(run(command).seconds for _ in range(_STARTS))

    pair: Pair = best_pair(
        lambda: repeated([CRYPTOSERVICE[0], "--help"]), lambda: repeated([sys.executable, "-c", "import argparse"])
    )
    note = f" ({pair.ours * 1000:.0f} ms)"
    yield at_most("cryptoservice --help: of python -c 'import argparse'", 1.6, pair.ours / pair.reference, "x", note)
