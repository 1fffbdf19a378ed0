"""Lock: digests of all rows, against Python's sqlite3 module that reads the same rows and does nothing with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.commands import Run, best_pair, run
from benchmarks.datasets import MINUTE_ROWS, MinuteYear
from benchmarks.results import Line, at_least, at_most
from benchmarks.truth import KLINE_COLUMNS, assert_same

_MB = 1_000_000
_READ = f"""
import sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute("SELECT {", ".join(KLINE_COLUMNS)} FROM kline_rows")
print(sum(1 for _ in rows))
"""


def lines(minutes: MinuteYear, folder: Path) -> Iterator[Line]:
    """A year of minutes: the speed, and the memory of it and of one month."""
    output = folder / "dataset.lock.json"
    expected = minutes.zips.month_digests()

    def lock(*more: str) -> Run:
        where = ("--universe-file", minutes.universe, "--db-path", minutes.database, "--output", output, "--force")
        return minutes.world.run("lock", *where, *more, watch_memory=True)

    def ours() -> float:
        seconds = lock().seconds
        record = json.loads(output.read_text())
        assert_same("digests", record["datasets"], {"klines/1m": expected})
        return seconds

    def reference() -> float:
        done = run([sys.executable, "-c", _READ, str(minutes.database)])
        assert_same("rows read", int(done.stdout), MINUTE_ROWS)
        return done.seconds

    pair = best_pair(ours, reference)
    rate = f" ({MINUTE_ROWS / pair.ours / 1000:.0f}k rows/s)"
    what = f"lock, {MINUTE_ROWS / 1e6:.1f} million rows at 1m: of a bare SELECT in Python"
    yield at_least(what, 1.0, pair.speed, note=rate)
    year, month = lock(), lock("--start-date", "2025-01-01", "--end-date", "2025-01-31")
    yield at_most("peak memory of lock at 1m, 12 months", 60, year.peak_bytes / _MB, " MB")
    yield at_most("peak memory of lock at 1m: 12 months of 1 month", 1.2, year.peak_bytes / month.peak_bytes, "x")
