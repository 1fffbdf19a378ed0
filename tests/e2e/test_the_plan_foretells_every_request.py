"""`--plan` says how many requests a run will send, by dataset and source, and the run then sends exactly these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Workspace
from tests.e2e.steps import addresses, query, write_universe
from tests.exchange import Market, RecordedRequest, ReplayExchange

NOON = "2026-03-10T12:00:00+00:00"
YESTERDAY = "2026-03-09"
ALL = "--download-market-metrics"
NAMES = [f"S{number:03}USDT" for number in range(900)]
_OF_API = {"klines": "klines", "fundingRate": "funding_rates"}


@pytest.fixture(scope="module")
def exchange() -> Iterator[ReplayExchange]:
    """As many symbols as the real exchange has, of which the universes here want some."""
    market = Market()
    market.metrics_convention = "start"
    for symbol in NAMES:
        market.add_symbol(symbol, date(2024, 1, 1))
    with ReplayExchange(market, now=lambda: datetime.fromisoformat(NOON)) as running:
        yield running


def dataset_and_source(request: RecordedRequest) -> tuple[str, str]:
    """What a request is for: the words of a plan's share."""
    if request.host in ("vision", "listing"):
        span, kind = request.params.get("prefix", request.path.lstrip("/")).split("/")[3:5]
        return {"fundingRate": "funding_rates"}.get(kind, kind), span
    return _OF_API.get(request.path.rsplit("/", 1)[-1], "metrics"), "rest"


@dataclass(frozen=True)
class Case:
    """A universe and a download line, and how many requests it takes of which kind."""

    symbols: int
    first: str
    last: str
    flags: tuple[str, ...]
    requests: dict[tuple[str, str], int]
    interval: str = "1d"
    missing: dict[str, list[str]] = field(default_factory=dict)


CASES = {
    # A page of 288 bars, an object of metrics and its checksum, and three pages of funding rates for all.
    "a night": Case(
        20, YESTERDAY, YESTERDAY, (ALL,), {("klines", "rest"): 20, ("metrics", "daily"): 40, ("funding_rates", "rest"): 3}, "5m"
    ),
    "a night of few symbols": Case(
        5, YESTERDAY, YESTERDAY, (ALL,), {("klines", "rest"): 5, ("metrics", "daily"): 10, ("funding_rates", "rest"): 5}, "5m"
    ),
    # Three days: eighteen symbols would not pay, as six pages a day are what it may take at most. A page of the listing spares
    # three checksums, and the first three objects are verified both ways.
    "some days of many symbols": Case(
        19, "2026-02-02", "2026-02-04", (ALL,),
        {("klines", "monthly"): 38, ("metrics", "daily"): 19 * 3 + 19 + 3, ("funding_rates", "rest"): 9}, "5m",
    ),
    "a month of some symbols": Case(
        12, "2026-02-01", "2026-02-28", (ALL,),
        {("klines", "monthly"): 24, ("metrics", "daily"): 12 * 28 + 12 + 3, ("funding_rates", "rest"): 12}, "5m",
    ),
    "daily bars over the API alone": Case(
        6, "2024-01-02", YESTERDAY, ("--kline-source", "api"), {("klines", "rest"): 12}
    ),
    "daily bars with gaps": Case(
        2, "2025-06-01", YESTERDAY, ("--kline-source", "api"), {("klines", "rest"): 2 + 1}, "1d",
        {NAMES[0]: truth.days("2025-08-01", "2025-12-31"), NAMES[1]: ["2025-06-30", *truth.days("2025-10-05", "2025-10-20")]},
    ),
    # 68 days of hours: 62 days are pages of 499, 499 and 490 rows, the other six one of 144.
    "hours over the API alone": Case(3, "2026-01-01", YESTERDAY, ("--kline-source", "api"), {("klines", "rest"): 12}, "1h"),
    "5 minutes of months": Case(
        2, "2026-01-15", YESTERDAY, (),
        {("klines", "monthly"): 8, ("klines", "daily"): 2 * (8 + 1) + 3, ("klines", "rest"): 2}, "5m",
    ),
    "a year of months": Case(
        3, "2025-01-01", "2025-12-31", (), {("klines", "monthly"): 3 * (12 + 1) + 3}, "12h"
    ),
    # One page spares two checksums, and the trial of the listing takes three requests.
    "three objects of one symbol": Case(1, "2025-12-01", "2026-02-28", (), {("klines", "monthly"): 6}, "12h"),
    "three objects of each of two": Case(2, "2025-12-01", "2026-02-28", (), {("klines", "monthly"): 2 * (3 + 1) + 3}, "12h"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_planned_requests_are_the_requests_sent(exchange: ReplayExchange, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    workspace = Workspace(tmp_path, addresses(exchange))
    write_universe(tmp_path, NAMES[: case.symbols], case.first, case.last, missing=case.missing)
    exchange.reset_requests()
    plan = workspace.download("--plan", *case.flags, interval=case.interval, at=NOON).report
    assert exchange.requests == []
    outcome = workspace.download(*case.flags, interval=case.interval, at=NOON)
    assert outcome.code == 0, outcome.stderr
    sent = Counter(map(dataset_and_source, exchange.requests))
    assert {(share["dataset"], share["source"]): share["requests"] for share in plan["shares"]} == sent == case.requests
    assert plan["requests"] == len(exchange.requests) == sum(outcome.report["requests"].values())
    weight = sum(request.weight for request in exchange.requests if request.path == "/fapi/v1/klines")
    assert plan["weight"] == weight
    assert plan["symbol_days"] == outcome.report["downloaded"]
    assert plan["rows"] == sum(outcome.report["rows"].values())


def test_a_night_before_the_archive_has_published(tmp_path: Path) -> None:
    """A file of metrics that is not there yet costs one answer 404 and five API requests; the plan knows that by the hour."""
    market = Market()
    market.archive_until = date(2026, 3, 8)
    for symbol in NAMES:
        market.add_symbol(symbol, date(2024, 1, 1))
    early = "2026-03-10T03:30:00+00:00"
    with ReplayExchange(market, now=lambda: datetime.fromisoformat(early)) as exchange:
        workspace = Workspace(tmp_path, addresses(exchange))
        write_universe(tmp_path, NAMES[:20], "2026-03-08", YESTERDAY)
        plan = workspace.download("--plan", ALL, interval="5m", at=early).report
        assert exchange.requests == []
        outcome = workspace.download(ALL, interval="5m", at=early)
        assert outcome.code == 0, outcome.stderr
        sent = Counter(map(dataset_and_source, exchange.requests))
    assert plan["not_published"] == 20
    assert {(share["dataset"], share["source"]): share["requests"] for share in plan["shares"]} == sent == {
        ("klines", "daily"): 40, ("klines", "rest"): 20, ("metrics", "daily"): 40 + 20, ("metrics", "rest"): 100,
        ("funding_rates", "rest"): 6,
    }  # fmt: skip
    assert plan["rows"] == sum(outcome.report["rows"].values()) == 40 * (288 + 288 + 3)
    assert plan["symbol_days"] == outcome.report["downloaded"] == 120


def test_daily_bars_that_share_pages_are_those_of_the_exchange(exchange: ReplayExchange, tmp_path: Path) -> None:
    case = CASES["daily bars with gaps"]
    workspace = Workspace(tmp_path, addresses(exchange))
    write_universe(tmp_path, NAMES[:2], case.first, case.last, missing=case.missing)
    assert workspace.download(*case.flags, interval="1d", at=NOON).code == 0
    window = truth.moment(case.first), truth.moment(YESTERDAY) + truth.DAY
    for symbol in NAMES[:2]:
        unwanted = set(map(truth.moment, case.missing[symbol]))
        bars = exchange.market.kline_rows(symbol, "1d", *window)
        stored = query(tmp_path / "market.db", "SELECT open_time, close, trades FROM klines WHERE symbol = ? ORDER BY 1", symbol)
        assert stored == [(bar[0], float(bar[4]), bar[8]) for bar in bars if bar[0] not in unwanted]
