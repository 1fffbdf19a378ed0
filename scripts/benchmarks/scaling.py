"""Scaling: the time of a row must not grow with the work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.results import Line, at_most
from benchmarks.truth import assert_same
from benchmarks.world import loopback_world, names

_BASE_SYMBOLS = 10
_FACTORS = (1, 2, 4, 8)
_WINDOW = ("2025-01-01", "2025-03-31")
_ROWS_A_SYMBOL = 90 * 288
_TIMES = 3


def lines(folder: Path) -> Iterator[Line]:
    """Download and export of one, two, four and eight times ten symbols x 3 months of 5m klines."""
    symbols = names("S", _BASE_SYMBOLS * _FACTORS[-1])
    microseconds: dict[str, list[float]] = {"download": [], "export": []}
    with loopback_world(folder / "exchange", symbols) as world:
        for factor in _FACTORS:
            part = symbols[: _BASE_SYMBOLS * factor]
            rows = len(part) * _ROWS_A_SYMBOL
            universe, database = folder / f"{factor}.json", folder / f"{factor}.db"
            world.define(universe, part, *_WINDOW)
            # The first one fills the exchange's caches and counts for nothing.
            downloads = [world.download(universe, database, "5m") for _ in range(1 + _TIMES)]
            exports = [world.export(universe, database, folder / f"export-{factor}", "5m", "5m") for _ in range(_TIMES)]
            assert_same("rows", json.loads(downloads[-1].stdout)["rows"]["klines"], rows)
            assert_same("exported rows", json.loads(exports[-1].stdout)["rows"]["klines"], rows)
            microseconds["download"].append(min(run.seconds for run in downloads[1:]) / rows * 1e6)
            microseconds["export"].append(min(run.seconds for run in exports) / rows * 1e6)
    for command, figures in microseconds.items():
        note = f" ({', '.join(f'{figure:.2f}' for figure in figures)} us a row at {_FACTORS} x {_BASE_SYMBOLS} symbols)"
        yield at_most(f"{command}, time of a row: {_FACTORS[-1]}x the work of 1x", 1.2, figures[-1] / figures[0], "x", note)
