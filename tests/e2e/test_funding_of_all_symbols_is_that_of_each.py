"""Funding rates of many symbols at once: few requests, and the same rows and ledger as for every symbol alone, whatever fails."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import metrics_truth as mt
from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import addresses, query, write_universe
from tests.exchange import Fault, Market, RecordedRequest, ReplayExchange, Request

NOON = "2026-03-10T12:00:00+00:00"
FIRST, SECOND, LAST = "2026-02-22", "2026-02-23", "2026-02-25"
PATH = "/fapi/v1/fundingRate"
# So many symbols want these four days that asking for all at once pays, even if it took six requests a day.
HOURS = {f"{letter}USDT": hours for letter, hours in zip(string.ascii_uppercase, [8] * 16 + [4] * 8 + [1] * 2, strict=True)}
# So many that each of the three moments of a day, but not two of them, fits on a page.
OTHERS = 600
SPECIAL, LATE, GONE, NEVER = "AUSDT", "BUSDT", "GONEUSDT", "NEVERUSDT"
WANTED = [*HOURS, GONE, NEVER]
NO_RETRY = ("--max-retries", "0")


@pytest.fixture
def market() -> Market:
    """Wanted symbols of all kinds, among others that nobody wants."""
    market = Market()
    for symbol, hours in HOURS.items():
        market.add_symbol(symbol, date(2026, 1, 1), funding_hours=hours)
    market.add_symbol(LATE, date(2026, 2, 23))
    market.add_symbol(GONE, date(2026, 1, 1), fate="removed")
    # Listed and served, but never paid: as a contract in its first hours.
    market.add_symbol(NEVER, None, listed=True)
    for number in range(OTHERS):
        market.add_symbol(f"X{number}USDT", date(2026, 1, 1))
    paid = market.funding_rows(SPECIAL, truth.moment(FIRST), truth.moment(SECOND))
    market.add_funding(SPECIAL, [{**paid[1], "fundingRate": "0.00250000", "rateType": "Special"}])
    market.add_funding("CUSDT", market.funding_rows("CUSDT", truth.moment("2026-02-24"), truth.moment(LAST))[:2])
    return market


@pytest.fixture
def exchange(market: Market) -> Iterator[ReplayExchange]:
    """That market at noon of 10 March."""
    with ReplayExchange(market, now=lambda: datetime.fromisoformat(NOON)) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, exchange: ReplayExchange) -> Workspace:
    write_universe(tmp_path, WANTED, FIRST, LAST, missing={LATE: [FIRST]})
    return Workspace(tmp_path, addresses(exchange))


def download(workspace: Workspace, *arguments: str, database: str = "market.db") -> Outcome:
    line = ("universe", "download", "--universe-file", "universe.json", "--db-path", database, "--interval", "1d")
    return workspace.run(*line, "--download-market-metrics", *NO_RETRY, *arguments, at=NOON)


def asked(exchange: ReplayExchange, is_for_all: bool) -> list[RecordedRequest]:
    return [one for one in exchange.requests if one.path == PATH and ("symbol" not in one.params) is is_for_all]


def for_all(request: Request) -> bool:
    return request.path == PATH and "symbol" not in request.params


def funding(database: Path) -> list[list[tuple[Any, ...]]]:
    """All that is stored of funding rates: rows, and the ledger but for the time of the check."""
    ledger = "SELECT symbol, date, status, reason, rows, expected_rows, source FROM symbol_days WHERE dataset = 'funding_rates'"
    return [sorted(query(database, sql)) for sql in ("SELECT * FROM funding_rates", ledger)]


def expected(market: Market, symbol: str) -> list[tuple[Any, ...]]:
    """What the exchange has of a symbol's wanted days; what it says twice counts once."""
    return sorted(set(mt.funding(market, symbol, SECOND if symbol == LATE else FIRST, LAST)), key=lambda row: (row[0], row[3]))


@pytest.fixture
def alone(workspace: Workspace, exchange: ReplayExchange) -> list[list[tuple[Any, ...]]]:
    """What six symbols at a time bring, which go by symbol."""
    for start in range(0, len(WANTED), 6):
        outcome = download(workspace, "--symbols", ",".join(WANTED[start : start + 6]), database="alone.db")
        assert outcome.code == 0, outcome.stderr
    assert (len(asked(exchange, is_for_all=True)), len(asked(exchange, is_for_all=False))) == (0, len(WANTED))
    exchange.reset_requests()
    return funding(workspace.folder / "alone.db")


def test_the_same_rows_and_verdicts_as_by_symbol(
    workspace: Workspace, exchange: ReplayExchange, market: Market, alone: list[list[tuple[Any, ...]]]
) -> None:
    outcome = download(workspace)
    assert outcome.code == 0, outcome.stderr
    database = workspace.folder / "market.db"
    assert funding(database) == alone
    assert len(asked(exchange, is_for_all=True)) == 3 * 4
    # By symbol only what these pages cannot tell: a contract without rates, and a removed one.
    assert sorted(one.params["symbol"] for one in asked(exchange, is_for_all=False)) == [GONE, NEVER]
    for symbol in HOURS:
        assert mt.stored_funding(database, symbol) == expected(market, symbol), symbol
    kinds = [row[3] for row in mt.stored_funding(database, SPECIAL)]
    assert kinds.count("Special") == 1
    lines = mt.ledger(database, "funding_rates")
    assert {symbol for symbol, _ in lines} == set(WANTED), "nothing is stored of symbols that nobody wants"
    assert {line[:3] for (symbol, _), line in lines.items() if symbol == NEVER} == {("confirmed_gap", "no_funding_in_rest", 0)}
    assert {(line.status, line.source) for (symbol, _), line in lines.items() if symbol == GONE} == {("complete", "monthly")}
    assert {(line.status, line.source) for (symbol, _), line in lines.items() if symbol in HOURS and symbol != LATE} == {
        ("complete", "rest")
    }
    exchange.reset_requests()
    assert download(workspace).report["requests"] == {}
    assert exchange.requests == []


def test_a_day_that_a_symbol_was_not_paid_on_is_asked_for_by_symbol(
    workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    write_universe(workspace.folder, WANTED, FIRST, LAST)
    assert download(workspace).code == 0
    (late,) = [one for one in asked(exchange, is_for_all=False) if one.params["symbol"] == LATE]
    assert int(late.params["startTime"]) == truth.moment(FIRST)
    assert int(late.params["endTime"]) == truth.moment(SECOND) - 1
    lines = mt.ledger(workspace.folder / "market.db", "funding_rates")
    assert [lines[LATE, day].status for day in (FIRST, SECOND)] == ["confirmed_gap", "complete"]


HALF = json.dumps({"code": -1102, "msg": "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."}).encode()


def bad_names(body: bytes) -> bytes:
    return json.dumps([{**row, "symbol": None} for row in json.loads(body)]).encode()


def backwards(body: bytes) -> bytes:
    return json.dumps(json.loads(body)[::-1]).encode()


def elsewhere(body: bytes) -> bytes:
    return json.dumps([{**row, "fundingTime": row["fundingTime"] - 10 * truth.DAY} for row in json.loads(body)]).encode()


FAULTS: dict[str, Callable[..., Fault]] = {
    "a dead endpoint": lambda **where: Fault.server_error(503, **where),
    "a symbol is needed": lambda **where: Fault.status(400, HALF, **where),
    "no json": Fault.html,
    "cut short": Fault.truncated,
    "reset": Fault.reset,
    "rows without a symbol": lambda **where: Fault.rewrite(bad_names, **where),
    "rows in no order": lambda **where: Fault.rewrite(backwards, **where),
    "rows of other days": lambda **where: Fault.rewrite(elsewhere, **where),
}


# Nine pages are the first three days, and three the fourth.
@pytest.mark.parametrize(("first_ones_answered", "pages"), [(0, 2), (2, 4), (10, 11)])
@pytest.mark.parametrize("fault", list(FAULTS))
def test_what_all_symbols_at_once_do_not_bring_is_asked_for_by_symbol(
    workspace: Workspace, exchange: ReplayExchange, market: Market, fault: str, first_ones_answered: int, pages: int
) -> None:
    exchange.faults.add(FAULTS[fault](when=for_all, times=None, skip=first_ones_answered))
    outcome = download(workspace, "--max-api-workers", "1")
    assert outcome.code == 0, outcome.stderr
    assert "are asked for by symbol" in outcome.stderr
    for symbol in HOURS:
        assert mt.stored_funding(workspace.folder / "market.db", symbol) == expected(market, symbol), symbol
    lines = mt.ledger(workspace.folder / "market.db", "funding_rates")
    assert {line.status for (symbol, _), line in lines.items() if symbol != NEVER} == {"complete"}
    assert len(asked(exchange, is_for_all=False)) == len(WANTED), "each symbol once, for all of its days that are left"
    assert len(asked(exchange, is_for_all=True)) == pages


def test_a_bad_row_costs_its_own_symbol_alone(workspace: Workspace, exchange: ReplayExchange, market: Market) -> None:
    """The monthly object of the archive has the day, so it is complete after all, without a mark price."""

    def spoil(body: bytes) -> bytes:
        rows = json.loads(body)
        spoiled = next(row for row in rows if row["symbol"] == "DUSDT")
        return json.dumps([{**row, "fundingRate": "much"} if row is spoiled else row for row in rows]).encode()

    exchange.faults.add(Fault.rewrite(spoil, when=for_all))
    assert download(workspace, "--max-api-workers", "1").code == 0
    database = workspace.folder / "market.db"
    lines = mt.ledger(database, "funding_rates")
    assert lines["DUSDT", FIRST] == mt.Line("complete", "rest: 1 row left out (not_a_number)", 3, 3, "monthly+rest")
    assert {line.reason for place, line in lines.items() if place != ("DUSDT", FIRST)} == {None, "no_funding_in_rest"}
    truth_rows = mt.funding(market, "DUSDT", FIRST, LAST)
    assert [row[:2] for row in mt.stored_funding(database, "DUSDT")] == [row[:2] for row in truth_rows]
    assert mt.stored_funding(database, "DUSDT")[1:] == truth_rows[1:]
    assert mt.stored_funding(database, "EUSDT") == mt.funding(market, "EUSDT", FIRST, LAST)


def test_where_the_api_refuses_this_address_the_archive_stands_in(
    workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    exchange.faults.add(Fault.restricted_451(host="api", times=None))
    symbols = ",".join(symbol for symbol in HOURS if symbol != LATE)
    outcome = download(workspace, "--symbols", symbols, "--max-api-workers", "1", "--kline-source", "vision")
    assert outcome.code == 0, outcome.stderr
    assert [one.path for one in exchange.requests if one.host == "api"] == [PATH], "a host that refuses is asked once"
    lines = mt.ledger(workspace.folder / "market.db", "funding_rates")
    assert {line.source for line in lines.values()} == {"monthly"}
    assert [row[:2] for row in mt.stored_funding(workspace.folder / "market.db", "EUSDT")] == [
        row[:2] for row in mt.funding(market, "EUSDT", FIRST, LAST)
    ]


def test_more_symbols_than_a_page_holds_go_by_symbol(tmp_path: Path) -> None:
    market = Market()
    names = [f"S{number:04}USDT" for number in range(1002)]
    for symbol in names:
        market.add_symbol(symbol, date(2026, 2, 1))
    with ReplayExchange(market, now=lambda: datetime(2026, 3, 10, 12, tzinfo=timezone.utc)) as exchange:
        workspace = Workspace(tmp_path, addresses(exchange))
        write_universe(tmp_path, names[-8:], LAST, LAST)
        outcome = download(workspace)
        assert outcome.code == 0, outcome.stderr
        assert (len(asked(exchange, is_for_all=True)), len(asked(exchange, is_for_all=False))) == (1, 8)
        assert "one_moment_fills_a_page" in outcome.stderr
    for symbol in names[-8:]:
        assert mt.stored_funding(tmp_path / "market.db", symbol) == mt.funding(market, symbol, LAST, LAST)
