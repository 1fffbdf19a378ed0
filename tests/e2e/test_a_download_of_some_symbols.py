"""universe download --symbols: these alone are fetched, counted and planned, and only what the universe knows."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import RECORDED, Workspace
from tests.e2e.steps import assert_refused, assert_stored, contents, query, write_universe
from tests.exchange import ReplayExchange

ALGO, AVAX, LINK = RECORDED
FIRST, LAST = "2026-02-09", "2026-02-11"
WINDOW = {"first": FIRST, "last": LAST}


@pytest.fixture
def ready(workspace: Workspace) -> Workspace:
    """A universe of three symbols on three days, of which one symbol misses one."""
    write_universe(workspace.folder, RECORDED, FIRST, LAST, missing={AVAX: [LAST]})
    return workspace


def stored_symbols(workspace: Workspace) -> list[str]:
    return [symbol for (symbol,) in query(workspace.folder / "market.db", "SELECT DISTINCT symbol FROM symbol_days ORDER BY 1")]


@pytest.mark.parametrize("words", [f"{LINK},@some.txt", f" {LINK.lower()} , @some.txt,{LINK}", f"@some.txt,{LINK}"])
def test_these_alone(ready: Workspace, exchange: ReplayExchange, words: str) -> None:
    (ready.folder / "some.txt").write_text(f"# those with a day less\n{AVAX}\n")
    plan = ready.download("--plan", "--symbols", words)
    assert (plan.code, exchange.requests) == (0, [])
    assert plan.report["symbol_days"] == 5
    outcome = ready.download("--symbols", words)
    assert outcome.code == 0, outcome
    report = outcome.report
    assert (report["status"], report["wanted_symbol_days"], report["downloaded"], report["already_complete"]) == (
        "complete",
        5,
        5,
        0,
    )
    assert not [request for request in exchange.requests if ALGO in request.path or ALGO in str(request.params)]
    assert stored_symbols(ready) == [AVAX, LINK]
    assert_stored(ready, LINK, **WINDOW)
    again = ready.download("--symbols", LINK)
    assert (again.report["wanted_symbol_days"], again.report["already_complete"]) == (3, 3)
    rest = ready.download()
    assert (rest.report["wanted_symbol_days"], rest.report["already_complete"], rest.report["downloaded"]) == (8, 5, 3)
    assert_stored(ready, ALGO, **WINDOW)


def test_all_datasets_of_one_symbol(ready: Workspace) -> None:
    outcome = ready.download("--symbols", LINK, "--download-market-metrics", "--start-date", LAST, "-q")
    assert (outcome.code, outcome.report["wanted_symbol_days"]) == (0, 3), outcome
    found = query(ready.folder / "market.db", "SELECT DISTINCT dataset, symbol, date FROM symbol_days ORDER BY 1")
    assert found == [(dataset, LINK, LAST) for dataset in ("funding_rates", "klines", "metrics")]


def test_symbols_that_are_active_on_no_day(ready: Workspace, exchange: ReplayExchange) -> None:
    outcome = ready.download("--symbols", AVAX, "--start-date", LAST)
    assert (outcome.code, outcome.report["wanted_symbol_days"]) == (0, 0)
    assert f"none of these symbols is active on any day of {LAST} to {LAST}" in outcome.stderr
    assert exchange.requests == []


@pytest.mark.parametrize("more", [(), ("--plan",)])
def test_what_is_refused_before_any_work(ready: Workspace, exchange: ReplayExchange, more: tuple[str, ...]) -> None:
    (ready.folder / "nobody.txt").write_text("# nobody\n")
    before = contents(ready.folder)
    assert_refused(ready.download("--symbols", f"{LINK},NOSUCHUSDT", *more), "NOSUCHUSDT not in the universe")
    assert_refused(ready.download("--symbols", "@none.txt", *more), "none.txt")
    assert_refused(ready.download("--symbols", "@nobody.txt", *more), "symbol")
    assert_refused(ready.download("--symbols", "", *more), "symbol")
    assert_refused(ready.download("--symbols", "../etc", *more), "../ETC")
    assert (exchange.requests, contents(ready.folder)) == ([], before)
