"""Many small objects: what a metrics backfill costs for each of them, and how many workers it takes at a distance."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from replay import client_environment

from benchmarks.commands import run
from benchmarks.results import Line, at_most
from benchmarks.truth import assert_same
from benchmarks.world import World, loopback_world, names

_BY_REQUESTS = Path(__file__).with_name("by_requests.py")
_SYMBOLS = names("S", 20)
_DAYS = [date(2025, 3, 1) + timedelta(days=number) for number in range(31)]
_OBJECTS = len(_SYMBOLS) * len(_DAYS)
_PAIRS = 3


def lines(folder: Path) -> Iterator[Line]:
    """Every run stores all rows."""
    universe, database = folder / "small.json", folder / "small.db"
    with loopback_world(folder / "small", _SYMBOLS) as world:
        world.define(universe, _SYMBOLS, str(_DAYS[0]), str(_DAYS[-1]))
        _backfill(world, universe, database)
        ours = [_backfill(world, universe, database) for _ in range(_PAIRS)]
        theirs = [_by_requests(world) for _ in range(_PAIRS)]
    ratio = min(ours) / min(theirs)
    note = f" ({1000 * min(ours) / _OBJECTS:.1f} ms each)"
    what = f"{_OBJECTS} metrics objects from request to commit: processor time, of bare GETs of them and their CHECKSUMs"
    yield at_most(what, 2.6, ratio, "x", note)


def _backfill(world: World, universe: Path, database: Path) -> float:
    """Processor seconds of a download of metrics and of hourly klines, which are few."""
    done = world.download(universe, database, "1h", "--download-market-metrics")
    report = json.loads(done.stdout)
    assert_same("metrics", (report["status"], report["rows"]["metrics"]), ("complete", _OBJECTS * 288))
    return done.cpu_seconds


def _by_requests(world: World) -> float:
    folder = "data/futures/um/daily/metrics"
    objects = "\n".join(f"{folder}/{symbol}/{symbol}-metrics-{day}.zip" for symbol in _SYMBOLS for day in _DAYS)
    environment = client_environment(dict(world.addresses), world.folder)
    command = [sys.executable, str(_BY_REQUESTS), world.addresses["vision_url"]]
    return run(command, env=environment, stdin=objects).cpu_seconds
