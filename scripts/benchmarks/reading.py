"""DataFrames: `read_klines` against pandas.read_sql on the same rows of the same database."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.commands import best_pair, run
from benchmarks.datasets import MINUTE_ROWS, MINUTE_SYMBOLS, MinuteYear
from benchmarks.results import Line, at_least, at_most
from benchmarks.truth import Sums, assert_same

_PROGRAM = Path(__file__).with_name("to_dataframe.py")
# Two of the four symbols are a million rows.
_SYMBOLS = MINUTE_SYMBOLS[:2]
_ROWS = MINUTE_ROWS * len(_SYMBOLS) // len(MINUTE_SYMBOLS)


def dataframe_lines(minutes: MinuteYear) -> Iterator[Line]:
    """A million rows: the seconds, and the speed beside that of pandas alone."""
    expected = Sums.of(minutes.database, _SYMBOLS)

    def timed(which: str) -> float:
        env = {**os.environ, "PYTHONPATH": str(_PROGRAM.parents[1])}
        printed = run([sys.executable, str(_PROGRAM), which, str(minutes.database), *_SYMBOLS], env=env).stdout
        found = json.loads(printed)
        assert_same(f"rows of {which}", (found["rows"], found["sorted"]), (_ROWS, True))
        Sums(found["rows"], found["times"], found["trades"], tuple(found["amounts"])).assert_equal(expected)
        return float(found["seconds"])

    pair = best_pair(lambda: timed("ours"), lambda: timed("pandas"))
    what = f"read_klines, {_ROWS / 1e6:.1f} million rows"
    yield at_most(what, 3.0, pair.ours, " s", note=f" ({_ROWS / pair.ours / 1000:.0f}k rows/s)")
    yield at_least(f"{what}: of pandas.read_sql", 2.0, pair.speed)
