"""Download: from zips on disk and from an exchange on loopback, against the sqlite3 shell's import of the same rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import reference
from benchmarks.commands import best_pair, run
from benchmarks.datasets import MINUTE_ROWS, SYMBOLS, MinuteYear, Quarter
from benchmarks.results import Line, at_least, at_most
from benchmarks.truth import Sums, assert_same
from benchmarks.world import World, loopback_world, names

_FROM_ZIPS = Path(__file__).with_name("from_zips.py")


def download_lines(quarter: Quarter, folder: Path) -> Iterator[Line]:
    """From an exchange on loopback."""
    schema = reference.schema_of(quarter.database)
    text = folder / "quarter.csv"
    assert_same("rows for the reference", quarter.zips.write_csv(text), quarter.rows)
    ours, theirs = folder / "ours.db", folder / "theirs.db"

    cpu: dict[str, list[float]] = {"ours": [], "shell": []}

    def shell() -> float:
        done = reference.import_rows(schema, text, theirs)
        cpu["shell"].append(done.cpu_seconds)
        return done.seconds

    def download(world: World) -> float:
        done = world.download(quarter.universe, ours, "5m")
        cpu["ours"].append(done.cpu_seconds)
        quarter.check(ours)
        return done.seconds

    pair = best_pair(lambda: download(quarter.world), shell)
    yield at_least(
        f"universe download from loopback, {len(SYMBOLS)} symbols x 3 months 5m: of the shell's .import", 0.65, pair.speed,
        note=_rate(quarter.rows, pair.ours),
    )  # fmt: skip
    yield at_most("the same: processor time, of the shell's", 2.1, min(cpu["ours"]) / min(cpu["shell"]), "x")
    with loopback_world(folder / "latency", SYMBOLS, "--latency", "0.05") as distant:
        download(distant)
        pair = best_pair(lambda: download(distant), lambda: download(quarter.world))
    yield at_most("the same with 50 ms latency: of the loopback time", 1.2, pair.ours / pair.reference, "x")
    yield _all_datasets(folder)


def _rate(rows: int, seconds: float) -> str:
    return f" ({rows / seconds / 1000:.0f}k rows/s)"


def zips_line(minutes: MinuteYear, folder: Path) -> Line:
    """From zips on disk into a new database, without a network."""
    text, ours, theirs = folder / "minutes.csv", folder / "ours.db", folder / "theirs.db"
    schema = reference.schema_of(minutes.database)
    assert_same("rows for the reference", minutes.zips.write_csv(text), MINUTE_ROWS)

    def from_zips() -> float:
        ours.unlink(missing_ok=True)
        where = (minutes.zips.folder, minutes.zips.interval, minutes.universe, ours)
        seconds = run([sys.executable, str(_FROM_ZIPS), *map(str, where)]).seconds
        Sums.of(ours).assert_equal(minutes.sums)
        return seconds

    pair = best_pair(from_zips, lambda: reference.import_rows(schema, text, theirs).seconds)
    what = f"parse + store klines from zips on disk, {MINUTE_ROWS / 1e6:.1f} million rows: of the shell's .import"
    return at_least(what, 0.9, pair.speed, note=_rate(MINUTE_ROWS, pair.ours))


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
