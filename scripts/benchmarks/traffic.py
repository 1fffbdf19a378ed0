"""How few requests a download takes: funding rates of many symbols, a night, and daily bars over the API alone."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from benchmarks.commands import clocked
from benchmarks.footprint import settle
from benchmarks.results import Line, at_most
from benchmarks.truth import assert_same
from benchmarks.world import World, names, write_universe
from cryptoservice.models import Dataset
from tests.exchange import Limits, Market, ReplayExchange

_DAY_MS = 86_400_000
# As many as the real exchange has, and which of them are wanted.
_LISTED = names("F", 900)
_WANTED = _LISTED[::2] + _LISTED[1:100:2]
_MONTH = [date(2025, 6, 1) + timedelta(days=number) for number in range(30)]
_NIGHT = names("N", 500)
_NIGHT_LATENCY = 0.02
_COARSE = names("C", 539)
_COARSE_DAYS = [date(2023, 11, 1) + timedelta(days=number) for number in range(798)]


def lines(folder: Path) -> Iterator[Line]:
    """Everything that was stored is compared with the exchange's own rows."""
    yield from _funding_lines(folder)
    yield from _night_lines(folder)
    yield from _coarse_lines(folder)


def _funding_lines(folder: Path) -> Iterator[Line]:
    """Funding alone: the ledger knows the other datasets as settled."""
    what = f"funding, {len(_WANTED)} symbols x {len(_MONTH)} days of 900 on the exchange"
    for paid, hours, most in (("every 8 hours", (8, 8), 110), ("half of them every 4 hours", (8, 4), 200)):
        market = Market()
        for number, symbol in enumerate(_LISTED):
            market.add_symbol(symbol, first_day=date(2025, 1, 1), funding_hours=hours[number % 2])
        universe, database = folder / "funding.json", folder / "funding.db"
        write_universe(universe, _WANTED, _MONTH)
        settle(database, dict.fromkeys(_WANTED, _MONTH), (Dataset.KLINES, Dataset.METRICS))
        with ReplayExchange(market) as exchange:
            world = World(folder, exchange.urls)
            planned = _plan(world, universe, database, "1d", "--download-market-metrics")
            done = _download(world, universe, database, "1d", "--download-market-metrics")
            sent = len(exchange.requests)
        truth = [
            (row["symbol"], row["fundingTime"], float(row["fundingRate"]), float(row["markPrice"]), row["rateType"])
            for symbol in _WANTED
            for row in market.funding_rows(symbol, *_span(_MONTH))
        ]
        _assert_rows(database, "symbol, funding_time, funding_rate, mark_price, rate_type FROM funding_rates", truth)
        assert_same("funding", (done["status"], sum(done["requests"].values())), ("complete", sent))
        yield at_most(f"{what}, paid {paid}: requests", most, sent, note=f" ({planned} planned), all rows right")


def _night_lines(folder: Path) -> Iterator[Line]:
    """Yesterday, all datasets. At half past nine in the morning, whenever this runs, the archive has published it."""
    morning = datetime.now(timezone.utc).replace(hour=9, minute=30, second=0, microsecond=0)
    yesterday = [morning.date() - timedelta(days=1)]
    market = Market()
    market.metrics_convention = "start"
    for symbol in _NIGHT + names("O", 400):
        market.add_symbol(symbol, first_day=yesterday[0] - timedelta(days=30))
    universe, database = folder / "night.json", folder / "night.db"
    write_universe(universe, _NIGHT, yesterday)
    with ReplayExchange(market, lambda: morning, Limits.off()) as exchange:
        world = World(folder, exchange.urls, clocked(morning))
        planned = _plan(world, universe, database, "5m", "--download-market-metrics")
        # What the exchange makes only once is no time of the download.
        for symbol in _NIGHT:
            market.kline_rows(symbol, "5m", *_span(yesterday))
            name = f"{symbol}/{symbol}-metrics-{yesterday[0]}.zip"
            urllib.request.urlopen(f"{exchange.vision_url}/data/futures/um/daily/metrics/{name}").close()
        exchange.latency = _NIGHT_LATENCY
        exchange.reset_requests()
        done = _download(world, universe, database, "5m", "--download-market-metrics")
        sent = Counter(
            "funding" if "funding" in request.path else "klines" if "klines" in request.path else "metrics"
            for request in exchange.requests
        )
    _assert_night(database, market, yesterday)
    assert_same("night", (done["status"], sum(done["requests"].values())), ("complete", sum(sent.values())))
    what = f"night, {len(_NIGHT)} symbols x yesterday, all datasets, 20 ms"
    assert_same("night, requests planned", planned, sum(sent.values()))
    note = f" ({', '.join(f'{count} for {name}' for name, count in sorted(sent.items()))}), as planned, all rows right"
    yield at_most(f"{what}: requests, checksums included", 1510, sum(sent.values()), note=note)
    yield at_most(f"{what}: time", 15, done["elapsed_seconds"], " s")


def _assert_night(database: Path, market: Market, days: list[date]) -> None:
    start, end = _span(days)
    klines = ((symbol, *_numbers(row)) for symbol in _NIGHT for row in market.kline_rows(symbol, "5m", start, end))
    _assert_rows(database, "symbol, open_time, close, volume, trades FROM klines", klines)
    metrics = ((symbol, at, *row) for symbol in _NIGHT for at, row in market.metrics_rows(symbol, start, end).items())
    _assert_rows(
        database,
        "symbol, open_time, open_interest, open_interest_value, top_trader_account_ratio, top_trader_position_ratio, "
        "global_account_ratio, taker_volume_ratio FROM metrics",
        metrics,
    )
    funding = (
        (symbol, row["fundingTime"], float(row["fundingRate"]))
        for symbol in _NIGHT
        for row in market.funding_rows(symbol, start, end)
    )
    _assert_rows(database, "symbol, funding_time, funding_rate FROM funding_rates", funding)


def _coarse_lines(folder: Path) -> Iterator[Line]:
    """Pages of 499 daily bars."""
    market = Market()
    for symbol in _COARSE:
        market.add_symbol(symbol, first_day=date(2023, 1, 1))
    universe, database = folder / "coarse.json", folder / "coarse.db"
    write_universe(universe, _COARSE, _COARSE_DAYS)
    with ReplayExchange(market, limits=Limits.off()) as exchange:
        world = World(folder, exchange.urls)
        planned = _plan(world, universe, database, "1d", "--kline-source", "api")
        done = _download(world, universe, database, "1d", "--kline-source", "api")
        sent = len(exchange.requests)
    assert_same("bars, requests planned", planned, sent)
    bars = ((symbol, *_numbers(row)) for symbol in _COARSE for row in market.kline_rows(symbol, "1d", *_span(_COARSE_DAYS)))
    _assert_rows(database, "symbol, open_time, close, volume, trades FROM klines", bars)
    assert_same("bars", (done["status"], done["rows"]["klines"]), ("complete", len(_COARSE) * len(_COARSE_DAYS)))
    what = f"klines 1d over REST alone, {len(_COARSE)} symbols x {len(_COARSE_DAYS)} days"
    note = f" ({done['elapsed_seconds']:.0f} s, most of them for the weight limit), as planned, all rows right"
    yield at_most(f"{what}: requests", 1100, sent, note=note)


def _plan(world: World, universe: Path, database: Path, interval: str, *more: str) -> int:
    """How many requests such a run would send, by its own word."""
    where = ("--universe-file", universe, "--db-path", database, "--interval", interval, *more)
    return int(json.loads(world.run("download", *where, "--plan").stdout)["requests"])


def _download(world: World, universe: Path, database: Path, interval: str, *more: str) -> dict[str, Any]:
    """The report of a run that goes on with what is in the database."""
    where = ("--universe-file", universe, "--db-path", database, "--interval", interval, *more)
    report: dict[str, Any] = json.loads(world.run("download", *where).stdout)
    return report


def _span(days: list[date]) -> tuple[int, int]:
    """The first millisecond of these days, and that after the last of them."""
    start = (days[0] - date(1970, 1, 1)).days * _DAY_MS
    return start, start + len(days) * _DAY_MS


def _numbers(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Open time, close, volume and trades of a kline as the exchange sends it."""
    return row[0], float(row[4]), float(row[5]), row[8]


def _assert_rows(database: Path, query: str, truth: Iterable[tuple[Any, ...]]) -> None:
    with sqlite3.connect(database) as db:
        stored = db.execute(f"SELECT {query} ORDER BY 1, 2").fetchall()
    assert_same(f"rows of {database.name}", stored, sorted(truth))
