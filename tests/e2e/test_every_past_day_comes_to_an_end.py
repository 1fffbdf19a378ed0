"""A past day ends, whatever is wrong with its objects, and rows of one run are never lost to another."""

from __future__ import annotations

import pytest

from tests.e2e import hostile_klines as hostile
from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import Line, asked, assert_ledger_agrees, klines, ledger, objects, write_universe
from tests.exchange import Fault, Market, ReplayExchange

SYMBOL, DAY = "LINKUSDT", "2026-02-10"
MIDNIGHT = truth.moment(DAY)
BAR = 5 * truth.MINUTE
# Months later, when nothing new can be expected of that day.
LATER, A_MONTH_LATER = "2026-09-01T12:00:00+00:00", "2026-10-01T12:01:00+00:00"
OBJECT = f"{SYMBOL}-5m-{DAY}"


@pytest.fixture
def one_day(workspace: Workspace) -> Workspace:
    write_universe(workspace.folder, [SYMBOL], DAY, DAY)
    return workspace


def line_of(workspace: Workspace) -> Line:
    return ledger(workspace.folder / "market.db")[SYMBOL, DAY]


def spoil(market: Market, change: hostile.Change) -> None:
    text = hostile.good_csv(market, SYMBOL, DAY)
    body = hostile.packed((f"{OBJECT}.csv", hostile.spoiled_csv(text, change)))
    market.replace_object(hostile.key(SYMBOL, DAY), body)


def verify(workspace: Workspace) -> Outcome:
    return workspace.run("universe", "verify", "--universe-file", "universe.json", "--db-path", "market.db", "-q")


def true_rows(*left_out: int) -> list[truth.Row]:
    """The day without the bars of these numbers."""
    return [row for number, row in enumerate(truth.rows(SYMBOL, "5m", DAY, DAY)) if number not in left_out]


# -- an object with a fault, and nobody else to ask -----------------------------------------------------------------------


def test_a_checksum_that_is_wrong_for_months(one_day: Workspace, exchange: ReplayExchange, market: Market) -> None:
    market.delist(SYMBOL)
    exchange.faults.add(Fault.wrong_checksum(times=None))
    outcome = one_day.download(at=LATER)
    assert (outcome.code, outcome.report["confirmed_gaps"]) == (0, 1), outcome
    line = line_of(one_day)
    assert line[:2] == ("confirmed_gap", "archive_alone (distrusted daily: checksum_mismatch)")
    assert (line.rows, klines(one_day.folder / "market.db", SYMBOL), verify(one_day).code) == (0, [], 0)

    # It is settled, so the next nights ask nothing.
    exchange.reset_requests()
    assert one_day.download(at="2026-09-30T12:00:00+00:00").code == 0
    assert asked(exchange) == []
    # Once the line is thirty days old the day is asked for again, and then not again before another thirty days.
    assert one_day.download("--plan", at=A_MONTH_LATER).report["symbol_days"] == 1
    assert one_day.download(at=A_MONTH_LATER).code == 0
    assert OBJECT in objects(exchange)
    exchange.reset_requests()
    assert one_day.download(at="2026-10-30T12:00:00+00:00").code == 0
    assert asked(exchange) == []
    # The checksum was mended meanwhile.
    exchange.faults.clear()
    assert one_day.download(at="2026-11-01T12:00:00+00:00").code == 0
    assert line_of(one_day)[:4] == ("complete", None, 288, 288)
    assert klines(one_day.folder / "market.db", SYMBOL) == true_rows()


def test_all_gaps_are_asked_for_again_when_that_is_wanted(one_day: Workspace, exchange: ReplayExchange, market: Market) -> None:
    market.delist(SYMBOL)
    market.replace_object(hostile.key(SYMBOL, DAY), hostile.packed((f"{OBJECT}.csv", b"")))
    assert one_day.download(at=LATER).code == 0
    assert line_of(one_day)[:3] == ("confirmed_gap", "archive_alone", 0)
    market.replace_object(
        hostile.key(SYMBOL, DAY), hostile.packed((f"{OBJECT}.csv", hostile.good_csv(market, SYMBOL, DAY).encode()))
    )
    exchange.reset_requests()
    assert one_day.download(at="2028-01-01T00:00:00+00:00").code == 0
    assert asked(exchange) == [], "nothing about it was distrusted"
    plan = one_day.download("--plan", "--retry-gaps", at=LATER)
    assert (plan.report["symbol_days"], asked(exchange)) == (1, [])
    assert one_day.download("--retry-gaps", at=LATER).code == 0
    assert (line_of(one_day)[:3], klines(one_day.folder / "market.db", SYMBOL)) == (("complete", None, 288), true_rows())


def _conflicting(lines: hostile.Lines) -> hostile.Lines:
    fields = lines[hostile.FIRST_TIME + 6].split(",")
    fields[5] = "123456789"
    return [*lines, ",".join(fields)]


FAULTS = {
    "one stamp off by three seconds": (hostile.field(6, 0, hostile.later(3000)), "time_off_grid"),
    "one conflicting duplicate": (_conflicting, "conflicting_rows"),
    "high below low": (hostile.field(6, 2, "0.0000001"), "high_below_low"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_bad_row_costs_its_bar_alone(one_day: Workspace, market: Market, fault: str) -> None:
    change, word = FAULTS[fault]
    market.delist(SYMBOL)
    spoil(market, change)
    assert one_day.download(at=LATER).code == 0
    line = line_of(one_day)
    assert (line.status, line.rows) == ("confirmed_gap", 287)
    assert word in (line.reason or ""), line
    assert klines(one_day.folder / "market.db", SYMBOL) == true_rows(6)
    assert verify(one_day).code == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_the_bar_of_a_bad_row_comes_from_the_api(one_day: Workspace, market: Market, fault: str) -> None:
    spoil(market, FAULTS[fault][0])
    assert one_day.download(at=LATER).code == 0
    assert line_of(one_day).status == "complete"
    assert klines(one_day.folder / "market.db", SYMBOL) == true_rows()


def test_a_close_time_is_not_stored_and_disqualifies_nothing(
    one_day: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    spoil(market, hostile.field(7, 6, hostile.later(-1000)))
    assert one_day.download(at=LATER).code == 0
    assert line_of(one_day)[:4] == ("complete", None, 288, 288)
    assert klines(one_day.folder / "market.db", SYMBOL) == true_rows()
    assert asked(exchange, "/fapi/") == []


def test_a_row_that_is_bad_in_archive_and_api(one_day: Workspace, exchange: ReplayExchange, market: Market) -> None:
    spoil(market, FAULTS["high below low"][0])
    exchange.faults.add(Fault.rewrite(hostile.cell(6, 2, "0.0000001"), path="/fapi/v1/klines", times=None))
    assert one_day.download(at=LATER).code == 0
    line = line_of(one_day)
    assert (line.status, line.rows, line.expected_rows) == ("confirmed_gap", 287, 288)
    assert "high_below_low" in (line.reason or "")
    assert klines(one_day.folder / "market.db", SYMBOL) == true_rows(6)
    assert verify(one_day).code == 0


# -- two sources, each of which lacks an hour -----------------------------------------------------------------------------

HOUR = 12 * BAR
RUNS = {
    # With an API that refuses this address, the first run stores what the archive has.
    "refused": ((), True),
    "vision": (("--kline-source", "vision"), False),
    "api": (("--kline-source", "api"), False),
    "vision anew": (("--kline-source", "vision", "--no-incremental"), False),
    "api anew": (("--kline-source", "api", "--no-incremental"), False),
    "refused anew": (("--no-incremental",), True),
}


@pytest.mark.parametrize(
    "order",
    [
        ("refused", "api"), ("refused", "api anew"), ("vision", "api anew"), ("api", "vision anew"), ("api", "refused anew"),
        ("refused", "api", "vision anew", "api anew"), ("api anew", "refused anew", "api anew", "refused"),
    ],
    ids=" then ".join,
)  # fmt: skip
def test_the_rows_of_two_runs_are_united_in_any_order(
    one_day: Workspace, exchange: ReplayExchange, market: Market, order: tuple[str, ...]
) -> None:
    market.drop_klines(SYMBOL, MIDNIGHT + truth.DAY - HOUR, MIDNIGHT + truth.DAY, sources=("monthly", "daily"))
    market.drop_klines(SYMBOL, MIDNIGHT, MIDNIGHT + HOUR, sources=("rest",))
    database = one_day.folder / "market.db"
    stored: set[int] = set()
    last: Outcome | None = None
    for name in order:
        flags, refused = RUNS[name]
        if refused:
            exchange.faults.add(Fault.restricted_451(host="api", times=None))
        last = one_day.download(*flags, at=LATER)
        exchange.faults.clear()
        assert last.code in ({0, 3, 4} if refused else {0}), last
        now = {row[0] for row in klines(database, SYMBOL)}
        assert stored <= now, f"{name} took rows away"
        stored = now
        assert_ledger_agrees(database)
    assert last is not None
    assert klines(database, SYMBOL) == true_rows()
    assert line_of(one_day)[:4] == ("complete", None, 288, 288)
    assert set((line_of(one_day).source or "").split("+")) == {"daily", "rest"}
    assert verify(one_day).code == 0
    assert last.code == 0
    exchange.reset_requests()
    assert one_day.download(at=LATER).code == 0
    assert asked(exchange) == []
