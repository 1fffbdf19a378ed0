"""Export: rows as they are and minutes to hours, against the sqlite3 shell writing the same as CSV."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

from benchmarks import reference
from benchmarks.commands import best_pair
from benchmarks.datasets import MINUTE_ROWS, MINUTE_SYMBOLS, MinuteYear, Quarter
from benchmarks.results import Line, at_least
from benchmarks.truth import assert_same, export_digests


def rows_line(quarter: Quarter, folder: Path) -> Line:
    """5m rows as they are."""
    target, dump = folder / "rows", folder / "rows.csv"
    expected = quarter.zips.day_digests()

    def ours() -> float:
        shutil.rmtree(target, ignore_errors=True)
        seconds = quarter.world.export(quarter.universe, quarter.database, target, "5m", "5m").seconds
        assert_same("exported files", export_digests(target, "5m"), expected)
        return seconds

    def shell() -> float:
        seconds = reference.dump_rows(quarter.database, dump)
        with dump.open("rb") as handle:
            assert_same("dumped rows", sum(1 for _ in handle), quarter.rows)
        return seconds

    pair = best_pair(ours, shell)
    rate = f" ({quarter.rows / pair.ours / 1000:.0f}k rows/s)"
    return at_least(f"export 5m -> 5m, {quarter.rows / 1000:.0f}k rows: of sqlite3 -csv", 0.9, pair.speed, note=rate)


def hours_line(minutes: MinuteYear, folder: Path) -> Line:
    """1m to 1h."""
    target, dump = folder / "hours", folder / "hours.csv"

    def ours() -> float:
        shutil.rmtree(target, ignore_errors=True)
        return minutes.world.export(minutes.universe, minutes.database, target, "1m", "1h").seconds

    pair = best_pair(ours, lambda: reference.dump_hours(minutes.database, dump))
    _assert_hours(target, dump)
    rate = f" ({MINUTE_ROWS / pair.ours / 1000:.0f}k source rows/s)"
    what = f"export 1m -> 1h, {MINUTE_ROWS / 1e6:.1f} million source rows: of one GROUP BY in the shell"
    return at_least(what, 1.0, pair.speed, note=rate)


def _assert_hours(target: Path, dump: Path) -> None:
    """Prices and counts equal the shell's; its sums are binary, so amounts are compared to eleven digits."""
    with dump.open(newline="") as handle:
        expected = {(row[0], int(row[1])): row[2:] for row in csv.reader(handle)}
    count = 0
    for path in sorted((target / "klines" / "freq=1h").glob("date=*/klines.csv")):
        with path.open(newline="") as handle:
            next(handle)
            for symbol, hour, *values in csv.reader(handle):
                theirs = list(map(float, expected[symbol, int(hour)]))
                mine = list(map(float, values))
                assert_same(f"{symbol} {hour}", [*mine[:4], mine[6]], [*theirs[:4], theirs[6]])
                if not all(math.isclose(a, b, rel_tol=1e-11) for a, b in zip(mine, theirs, strict=True)):
                    raise SystemExit(f"{symbol} {hour}: {mine} and {theirs}")
                count += 1
    assert_same("hours", (count, len(expected)), (len(MINUTE_SYMBOLS) * 365 * 24,) * 2)
