"""define and --plan: how few requests a large universe takes. A download that the plan foretells sends exactly these."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

from benchmarks.results import Line, at_most
from benchmarks.truth import assert_same
from benchmarks.world import NOWHERE, World, names
from tests.exchange import Market, ReplayExchange

SYMBOLS = 500
_SERVED, _REMOVED = 750, 150
_LATENCY = 0.03
_ONE_DAY = timedelta(days=1)
_FIRST, _LAST = "2025-01-01", "2025-12-31"
_DAYS = [date(2025, 1, 1) + timedelta(days=number) for number in range(365)]


def lines(folder: Path) -> Iterator[Line]:
    """define 500 symbols x 365 days, and the plan for the same in 5m klines and in metrics."""
    universe = folder / "year.json"
    yield from _define(folder, universe)
    where = ("--universe-file", universe, "--db-path", folder / "none.db", "--interval", "5m")
    plan = json.loads(World(folder, NOWHERE).run("download", *where, "--download-market-metrics", "--plan").stdout)
    assert_same("plan, symbol-days", sum(share["symbol_days"] for share in plan["shares"]), plan["symbol_days"])
    shares = {(share["dataset"], share["source"]): share for share in plan["shares"]}
    klines, metrics = shares["klines", "monthly"], shares["metrics", "daily"]
    days = plan["symbol_days"] // 3
    assert_same("plan, days of klines and metrics", (klines["symbol_days"], metrics["symbol_days"]), (days, days))
    what = f"plan for klines 5m, {SYMBOLS} symbols x 2025"
    yield at_most(f"{what}: archive objects", 6500, klines["fetches"])
    yield at_most(f"{what}: requests", 6600, klines["requests"])
    yield at_most(f"{what}: REST pages", 0, sum(key in shares for key in (("klines", "rest"), ("klines", "daily"))))
    yield at_most(f"plan for metrics, {SYMBOLS} symbols x 365 days: requests", 190_000, metrics["requests"])


def listing_lines(folder: Path) -> Iterator[Line]:
    """define 900 symbols x 365 days by the archive's listing: the API serves 750 of them, 150 have been removed."""
    universe = folder / "listed.json"
    market = Market()
    served, removed = names("S", _SERVED), names("R", _REMOVED)
    for symbol in served:
        market.add_symbol(symbol, first_day=date(2024, 6, 1))
    # Settled in the course of the year, one after the other; flat rows follow to its end.
    settled = {symbol: datetime(2025, 1, 15, tzinfo=timezone.utc) + timedelta(days=2 * at) for at, symbol in enumerate(removed)}
    for symbol, moment in settled.items():
        market.add_symbol(symbol, date(2024, 6, 1), _DAYS[-1], fate="removed", settled_at=moment)
    with ReplayExchange(market, latency=_LATENCY) as exchange:
        started = time.perf_counter()
        window = ("--start-date", _FIRST, "--end-date", _LAST)
        World(folder, exchange.urls).run("define", "--listing", "archive", "--symbols", "all", *window, "--output", universe)
        seconds = time.perf_counter() - started
        requests = Counter((request.host, request.path.endswith(".CHECKSUM")) for request in exchange.requests)
    snapshots = json.loads(universe.read_text())["daily_snapshots"]
    last_day = {**dict.fromkeys(served, _DAYS[-1]), **{symbol: moment.date() - _ONE_DAY for symbol, moment in settled.items()}}
    truth = [sorted(symbol for symbol, last in last_day.items() if day <= last) for day in _DAYS]
    assert_same("listed universe", [snapshot["active_symbols"] for snapshot in snapshots], truth)
    what = f"define by the archive's listing, {_SERVED + _REMOVED} symbols x 365 days, 30 ms"
    yield at_most(f"{what}: REST requests", 900, requests["api", False])
    yield at_most(f"{what}: archive objects", 12 * _REMOVED, requests["vision", False])
    yield at_most(f"{what}: listing pages", 10, requests["listing", False])
    yield at_most(f"{what}: time", 90, seconds, " s", note=", truth exact")


def _define(folder: Path, universe: Path) -> Iterator[Line]:
    # Every tenth of them is listed in the course of January, the others have been there before.
    listed = {
        symbol: date(2024, 6, 1) if number % 10 else date(2025, 1, 2 + number // 20)
        for number, symbol in enumerate(names("P", SYMBOLS))
    }
    market = Market.recorded()
    for symbol, first_day in listed.items():
        market.add_symbol(symbol, first_day=first_day)
    with ReplayExchange(market) as exchange:
        world = World(folder, exchange.urls)
        world.define(universe, list(listed), _FIRST, _LAST)
        served = exchange.requests
    snapshots = json.loads(universe.read_text())["daily_snapshots"]
    truth = [[symbol for symbol, first_day in listed.items() if first_day <= day] for day in _DAYS]
    assert_same("universe", [snapshot["active_symbols"] for snapshot in snapshots], truth)
    what = f"define, {SYMBOLS} symbols x 365 days"
    yield at_most(f"{what}: klines requests", 500, sum(request.path.endswith("/klines") for request in served))
    yield at_most(f"{what}: weight", 1002, sum(request.weight for request in served), note=", truth exact")
