"""Download: from zips on disk and from an exchange on loopback, against the sqlite3 shell's import of the same rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import reference
from benchmarks.commands import best_pair, run
from benchmarks.results import Line, at_least, at_most
from benchmarks.truth import Sums, Zips, assert_rows, assert_same
from benchmarks.world import World, loopback_world, names

SYMBOLS = names("L", 20)
QUARTER = ("2025-01-01", "2025-03-31")
_MONTHS = ("2025-01", "2025-02", "2025-03")
_DAYS = 31 + 28 + 31
_FROM_ZIPS = Path(__file__).with_name("from_zips.py")


@dataclass(frozen=True)
class Quarter:
    """20 symbols x 3 months of 5m klines: the zips, the universe, a database that was compared with them row by row."""

    world: World
    zips: Zips
    universe: Path
    database: Path
    sums: Sums

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.sums.rows

    def check(self, database: Path) -> None:
        """SystemExit unless that database holds the same."""
        Sums.of(database).assert_equal(self.sums)


def make_quarter(world: World, folder: Path) -> Quarter:
    """Download it once, which also fills the exchange's caches, and compare every row with the zips."""
    universe, database = folder / "quarter.json", folder / "quarter.db"
    world.define(universe, SYMBOLS, *QUARTER)
    zips = Zips(folder / "zips", SYMBOLS, "5m", _MONTHS)
    zips.fetch(world.addresses["vision_url"])
    report = json.loads(world.download(universe, database, "5m").stdout)
    assert_same("download", (report["status"], report["rows"]["klines"]), ("complete", len(SYMBOLS) * _DAYS * 288))
    assert_rows(database, zips)
    return Quarter(world, zips, universe, database, Sums.of(database))


def lines(quarter: Quarter, folder: Path) -> Iterator[Line]:
    """What loading takes."""
    schema = reference.schema_of(quarter.database)
    text = folder / "quarter.csv"
    assert_same("rows for the reference", quarter.zips.write_csv(text), quarter.rows)
    ours, theirs = folder / "ours.db", folder / "theirs.db"

    def shell() -> float:
        return reference.import_rows(schema, text, theirs)

    def from_zips() -> float:
        ours.unlink(missing_ok=True)
        seconds = run([sys.executable, str(_FROM_ZIPS), str(quarter.zips.folder), str(quarter.universe), str(ours)]).seconds
        quarter.check(ours)
        return seconds

    def download(world: World) -> float:
        seconds = world.download(quarter.universe, ours, "5m").seconds
        quarter.check(ours)
        return seconds

    size = f"{quarter.rows / 1000:.0f}k rows"
    pair = best_pair(from_zips, shell)
    yield at_least(
        f"parse + store klines from zips on disk, {size}: of the shell's .import", 0.9, pair.speed, note=_rate(quarter, pair.ours)
    )
    pair = best_pair(lambda: download(quarter.world), shell)
    yield at_least(
        f"universe download from loopback, {len(SYMBOLS)} symbols x 3 months 5m: of the shell's .import", 0.6, pair.speed,
        note=_rate(quarter, pair.ours),
    )  # fmt: skip
    with loopback_world(folder / "latency", SYMBOLS, "--latency", "0.05") as distant:
        download(distant)
        pair = best_pair(lambda: download(distant), lambda: download(quarter.world))
    yield at_most("the same with 50 ms latency: of the loopback time", 1.2, pair.ours / pair.reference, "x")
    yield _all_datasets(folder)


def _rate(quarter: Quarter, seconds: float) -> str:
    return f" ({quarter.rows / seconds / 1000:.0f}k rows/s)"


def _all_datasets(folder: Path) -> Line:
    symbols = names("A", 3)
    with loopback_world(folder / "datasets", symbols, "--latency", "0.03") as world:
        universe = folder / "month.json"
        world.define(universe, symbols, "2025-03-01", "2025-03-31")
        seconds = []
        for _ in range(3):
            done = world.download(universe, folder / "month.db", "5m", "--download-market-metrics")
            report = json.loads(done.stdout)
            found = (report["status"], report["rows"]["klines"], report["rows"]["metrics"], report["rows"]["funding_rates"])
            assert_same("all datasets", found, ("complete", 3 * 31 * 288, 3 * 31 * 288, 3 * 31 * 3))
            seconds.append(done.seconds)
    return at_most("3 symbols x 31 days, all datasets, 30 ms latency", 2.0, min(seconds), " s")
