"""Audit: how few requests it takes, that it finds exactly what was published anew, and that memory stays flat."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.commands import Run
from benchmarks.results import Line, at_most
from benchmarks.truth import assert_same
from benchmarks.world import World, names
from tests.exchange import Market, ReplayExchange
from tests.exchange.archive import zipped

_KLINES, _METRICS = names("K", 100), names("M", 20)
_YEAR, _MONTH = ("2025-01-01", "2025-12-31"), ("2025-06-01", "2025-06-30")
# Of each symbol of klines a year of monthly files, and of each symbol of metrics a month of daily ones.
_OBJECTS, _PAGES = 12 * len(_KLINES) + (30 + 1) * len(_METRICS), len(_KLINES) + 2 * len(_METRICS)
_LATENCY = 0.03
_UM = "data/futures/um"
# The interval decides how much is stored, and nothing about an audit.
_INTERVAL = "4h"
_MB = 1_000_000


def lines(folder: Path) -> Iterator[Line]:
    """100 symbols with a year of klines, 20 more with a month of klines and metrics."""
    market = Market()
    for symbol in (*_KLINES, *_METRICS):
        market.add_symbol(symbol, first_day=date(2024, 6, 1))
    database, universe, month = folder / "audited.db", folder / "audited.json", folder / "audited-month.json"
    with ReplayExchange(market) as exchange:
        world = World(folder, exchange.urls)
        world.define(universe, _KLINES, *_YEAR)
        world.define(month, _METRICS, *_MONTH)
        world.download(universe, database, _INTERVAL)
        where = ("--universe-file", month, "--db-path", database, "--interval", _INTERVAL, "--download-market-metrics")
        world.run("download", *where)
        both = _united(universe, month, folder / "audited-both.json")
        exchange.latency = _LATENCY

        def audit(*more: str, code: int = 0) -> Run:
            return world.run("audit", "--universe-file", both, "--db-path", database, *more, watch_memory=True, code=code)

        # The exchange makes the files that nobody has asked for when it lists them first.
        audit()
        exchange.reset_requests()
        started = time.perf_counter()
        year = audit()
        seconds = time.perf_counter() - started
        asked = Counter(request.host for request in exchange.requests)
        report = json.loads(year.stdout)
        assert_same("objects", [report[key] for key in ("checked", "unchanged", "republished")], [_OBJECTS, _OBJECTS, []])
        anew = dict(_publish(market, number) for number in range(3))
        found = json.loads(audit(code=3).stdout)
        assert_same("published anew", {one["object"]: one["new"] for one in found["republished"]}, anew)
        assert_same("unchanged", found["unchanged"], _OBJECTS - len(anew))
        one_month = audit("--start-date", _MONTH[0], "--end-date", _MONTH[1], code=3)
    what = f"audit, {_OBJECTS:,} files of 120 symbols, 30 ms"
    yield at_most(f"{what}: listing pages", _PAGES, asked.pop("listing"))
    yield at_most(f"{what}: other requests", 0, sum(asked.values()))
    yield at_most(f"{what}: time", 5, seconds, " s", note=f" ({_OBJECTS / seconds:,.0f} files/s), truth exact")
    yield at_most("peak memory of audit", 60, year.peak_bytes / _MB, " MB")
    yield at_most("peak memory of audit: 12 months of 1 month", 1.2, year.peak_bytes / one_month.peak_bytes, "x")


def _publish(market: Market, number: int) -> tuple[str, str]:
    """Another content under the name of one of the files, and its SHA-256."""
    symbol, day = _METRICS[number], f"2025-06-{number + 10}"
    key = (
        f"{_UM}/daily/metrics/{symbol}/{symbol}-metrics-{day}.zip",
        f"{_UM}/monthly/klines/{_KLINES[50]}/{_INTERVAL}/{_KLINES[50]}-{_INTERVAL}-2025-01.zip",
        f"{_UM}/monthly/klines/{symbol}/{_INTERVAL}/{symbol}-{_INTERVAL}-2025-06.zip",
    )[number]
    body = zipped("anew.csv", f"version {number}")
    market.replace_object(key, body)
    return key, hashlib.sha256(body).hexdigest()


def _united(year: Path, month: Path, output: Path) -> Path:
    """A universe with the symbols of both: those of the month are active in its days alone."""
    united: dict[str, Any] = json.loads(year.read_text())
    active = {snapshot["date"]: snapshot["active_symbols"] for snapshot in json.loads(month.read_text())["daily_snapshots"]}
    united["requested_symbols"] = [*_KLINES, *_METRICS]
    for snapshot in united["daily_snapshots"]:
        more = active.get(snapshot["date"], [])
        snapshot["active_symbols"] += more
        snapshot["missing_symbols"] |= dict.fromkeys([name for name in _METRICS if name not in more], "no_kline_on_date")
    output.write_text(json.dumps(united))
    return output
