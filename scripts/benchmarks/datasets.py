"""The klines that several benchmarks share: where they come from, and that they are right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.truth import Sums, Zips, assert_rows, assert_same
from benchmarks.world import World, names

SYMBOLS = names("L", 20)
QUARTER = ("2025-01-01", "2025-03-31")
_MONTHS = ("2025-01", "2025-02", "2025-03")
_DAYS = 31 + 28 + 31


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


MINUTE_SYMBOLS = names("M", 4)
MINUTE_YEAR = ("2025-01-01", "2025-12-31")
MINUTE_ROWS = len(MINUTE_SYMBOLS) * 365 * 1440


@dataclass(frozen=True)
class MinuteYear:
    """4 symbols x 12 months of 1m klines, two million rows: the zips, the universe, a database that was compared with them."""

    world: World
    zips: Zips
    universe: Path
    database: Path
    sums: Sums


def make_minute_year(world: World, folder: Path) -> MinuteYear:
    """Download it once and compare every row with the zips."""
    universe, database = folder / "minutes.json", folder / "minutes.db"
    world.define(universe, MINUTE_SYMBOLS, *MINUTE_YEAR)
    zips = Zips(folder / "minute-zips", MINUTE_SYMBOLS, "1m", [f"2025-{month:02}" for month in range(1, 13)])
    zips.fetch(world.addresses["vision_url"])
    report = json.loads(world.download(universe, database, "1m").stdout)
    assert_same("minutes", (report["status"], report["rows"]["klines"]), ("complete", MINUTE_ROWS))
    assert_rows(database, zips)
    return MinuteYear(world, zips, universe, database, Sums.of(database))
