"""universe audit as a user runs it: three objects are published anew, and the printed lines bring the database up to date."""

from __future__ import annotations

from datetime import date

import pytest

from tests.e2e import hostile_klines as hostile
from tests.e2e import metrics_truth as mt
from tests.e2e import truth
from tests.e2e.conftest import Workspace
from tests.e2e.published_anew import audit, field, funding_key, lines_of, noted, publish, run_as_typed, without
from tests.e2e.steps import asked, contents, dump, klines, ledger, query, stamps, write_universe
from tests.exchange import Market, ReplayExchange

WITH_METRICS = "--download-market-metrics"
# One that trades, and one that was removed: its klines and funding rates are in the archive alone.
MADE, GONE = "MADEUSDT", "GONEUSDT"
FIRST, LAST = "2026-06-09", "2026-06-12"
DAYS = truth.days(FIRST, LAST)
TEN = truth.moment("2026-06-10T10:00")
KLINES = hostile.key(MADE, "2026-06")
METRICS = mt.key(MADE, "2026-06-11")
FUNDING = funding_key(GONE, "2026-06")


@pytest.fixture
def market() -> Market:
    made = Market.recorded()
    made.add_symbol(MADE, date(2026, 5, 1))
    made.add_symbol(GONE, date(2026, 5, 1), fate="removed")
    made.metrics_convention = "start"
    return made


@pytest.fixture
def stored(workspace: Workspace) -> Workspace:
    """Four days of both symbols, all datasets."""
    write_universe(workspace.folder, [MADE, GONE], FIRST, LAST)
    outcome = workspace.download(WITH_METRICS, "-q")
    assert outcome.code == 0, outcome
    return workspace


def kline_of(market: Market, symbol: str, moment: int, key: str = KLINES) -> tuple[float, ...]:
    """A kline as an object holds it, in the shape of truth.rows."""
    (line,) = (line for line in lines_of(market, key) if line.startswith(str(moment)))
    fields = line.split(",")
    numbers = [float(fields[column]) for column in (1, 2, 3, 4, 5, 7, 8, 9, 10)]
    return (moment, *numbers)


def test_three_objects_and_the_lines_that_fetch_them_again(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    database = stored.folder / "market.db"
    old = noted(database)
    # A month of klines of each symbol, a day of metrics for each of four days, and the rates of the removed one.
    assert (len(old), len([name for name in old if "/metrics/" in name])) == (2 + 8 + 1, 8)
    exchange.reset_requests()
    before = audit(stored)
    assert before.code == 0, before
    assert (before.report["checked"], before.report["unchanged"], before.report["republished"]) == (11, 11, [])
    assert {request.host for request in exchange.requests} == {"listing"}
    assert len(exchange.requests) == 5, "one page for each symbol and dataset"

    rate = next(line for line in lines_of(market, FUNDING) if line.startswith(str(truth.moment("2026-06-12"))[:8]))
    new = {
        KLINES: publish(market, KLINES, field(str(TEN), 5, "4321.5")),
        METRICS: publish(market, METRICS, field("2026-06-11 10:00", 2, "98765.25")),
        FUNDING: publish(market, FUNDING, field(rate, 2, "0.00077700")),
    }
    frozen, times, rows = contents(stored.folder), stamps(stored.folder), dump(database)
    exchange.reset_requests()
    found = audit(stored)
    assert found.code == 3, found
    assert (contents(stored.folder), stamps(stored.folder)) == (frozen, times), "nothing changes without being asked"
    report = found.report
    assert list(report) == [
        "window", "checked", "unchanged", "republished", "gone", "not_compared", "refetch", "requests", "retries",
        "waited_seconds", "elapsed_seconds",
    ]  # fmt: skip
    assert (report["checked"], report["unchanged"], report["gone"], report["not_compared"]) == (11, 8, [], 0)
    assert report["republished"] == [
        {"object": METRICS, "symbol": MADE, "date": "2026-06-11", "old": old[METRICS], "new": new[METRICS]},
        {"object": FUNDING, "symbol": GONE, "date": "2026-06", "old": old[FUNDING], "new": new[FUNDING]},
        {"object": KLINES, "symbol": MADE, "date": "2026-06", "old": old[KLINES], "new": new[KLINES]},
    ]
    assert sorted(asked(exchange, ".CHECKSUM")[number].path for number in range(3)) == sorted(f"/{key}.CHECKSUM" for key in new)
    assert report["requests"] == {"archive_listing": 5, "archive_checksum": 3}
    assert report["refetch"] == [
        f"cryptoservice universe download --universe-file universe.json --db-path market.db --interval 5m {rest}"
        for rest in (
            f"--no-incremental --symbols {MADE} --start-date {FIRST} --end-date {LAST}",
            f"{WITH_METRICS} --no-incremental --symbols {GONE} --start-date {FIRST} --end-date {LAST}",
            f"{WITH_METRICS} --no-incremental --symbols {MADE} --start-date 2026-06-10 --end-date 2026-06-11",
        )
    ]
    errors = [line for line in found.stderr.splitlines() if line.startswith("error:")]
    assert errors[:3] == [
        f"error: {key}: published anew, SHA-256 was {old[key]}, is {new[key]}" for key in (METRICS, FUNDING, KLINES)
    ]
    assert "3 of 11 archive files were published anew since they were downloaded" in errors[3]
    assert report["refetch"][0] in errors[3]

    told = [run_as_typed(stored, line) for line in report["refetch"]]
    assert [outcome.code for outcome in told] == [0, 0, 0], told
    said = "".join(outcome.stderr for outcome in told)
    for key, sha256 in new.items():
        line = f"{key} was published anew: SHA-256 was {old[key]}, is {sha256}"
        assert said.count(line) == 1, said
    # What the archive says now, and else nothing has changed.
    after = dump(database)
    assert set(rows[0]) - set(after[0]) == {row for row in rows[0] if row[:3] == (MADE, "5m", TEN)}
    (kline,) = (row for row in klines(database, MADE) if row[0] == TEN)
    assert kline == kline_of(market, MADE, TEN)
    assert kline[5] == 4321.5
    ten = truth.moment("2026-06-11T10:00")
    (metrics,) = set(after[1]) - set(rows[1])
    assert metrics[:3] == (MADE, ten, 98765.25)
    (funding,) = set(after[2]) - set(rows[2])
    assert (funding[0], funding[2]) == (GONE, 0.000777)
    assert [len(table) for table in after[:3]] == [len(table) for table in rows[:3]]
    assert noted(database) == old | new
    reasons = query(database, "SELECT symbol, dataset, date, reason FROM symbol_days WHERE reason LIKE '%published_anew%'")
    assert {(symbol, dataset, day) for symbol, dataset, day, _ in reasons} == {
        *((MADE, "klines", day) for day in DAYS),
        (MADE, "metrics", "2026-06-11"),
        *((GONE, "funding_rates", day) for day in DAYS),
    }
    shas = {"klines": old[KLINES], "metrics": old[METRICS], "funding_rates": old[FUNDING]}
    assert all(f"published_anew (was {shas[dataset]})" in reason for _, dataset, _, reason in reasons)
    last = audit(stored)
    assert (last.code, last.report["unchanged"], last.report["refetch"]) == (0, 11, []), last


# -- what a line must bring ---------------------------------------------------------------------------------------------------


def heal(workspace: Workspace) -> str:
    """Run every line that an audit prints; then nothing is left to fetch. What these runs said."""
    found = audit(workspace, "-q")
    assert found.code == 3, found
    said = ""
    for line in found.report["refetch"]:
        outcome = run_as_typed(workspace, line)
        assert outcome.code == 0, outcome
        said += outcome.stderr
    after = audit(workspace)
    assert after.code == 0, after
    return said


def test_days_of_one_month_that_came_from_daily_objects(workspace: Workspace, exchange: ReplayExchange, market: Market) -> None:
    """The month's object is trusted less than the days' own, so these are asked for again."""
    keys = [hostile.key(MADE, day) for day in DAYS]
    for day in DAYS:
        write_universe(workspace.folder, [MADE], day, day)
        assert workspace.download("-q").code == 0
    write_universe(workspace.folder, [MADE], FIRST, LAST)
    assert sorted(noted(workspace.folder / "market.db")) == keys
    for day in DAYS[1:3]:
        publish(market, hostile.key(MADE, day), field(str(truth.moment(f"{day}T10:00")), 5, "4321.5"))
    exchange.reset_requests()
    heal(workspace)
    stored = {row[0]: row for row in klines(workspace.folder / "market.db", MADE)}
    assert [stored[truth.moment(f"{day}T10:00")][5] == 4321.5 for day in DAYS] == [False, True, True, False]
    assert sorted(noted(workspace.folder / "market.db")) == keys


def test_a_row_that_the_newer_version_lacks_is_kept(stored: Workspace, market: Market) -> None:
    """It was published once, and verified: nothing that was committed is lost, and the ledger says what happened."""
    database = stored.folder / "market.db"
    before = klines(database, MADE)
    market.drop_klines(MADE, TEN, TEN + 5 * truth.MINUTE, ["daily", "rest"])
    publish(market, KLINES, without(str(TEN)))
    heal(stored)
    assert klines(database, MADE) == before
    line = ledger(database)[MADE, "2026-06-10"]
    assert (line.status, line.rows) == ("complete", 288)
    assert "published_anew" in (line.reason or "")


def test_a_row_that_only_another_source_still_has(stored: Workspace, market: Market) -> None:
    row = {row[0]: row for row in klines(stored.folder / "market.db", MADE)}[TEN]
    new = publish(market, KLINES, without(str(TEN)))
    old = noted(stored.folder / "market.db")[KLINES]
    said = heal(stored)
    assert f"{KLINES} was published anew: SHA-256 was {old}, is {new}" in said
    assert {row[0]: row for row in klines(stored.folder / "market.db", MADE)}[TEN] == row
    line = ledger(stored.folder / "market.db")[MADE, "2026-06-10"]
    assert (line.status, line.source, line.reason) == ("complete", "daily", f"published_anew (was {old})")


def test_the_last_bar_of_a_day_that_stands_in_the_next_days_object(workspace: Workspace, market: Market) -> None:
    market.metrics_convention = "end"
    write_universe(workspace.folder, [MADE], FIRST, LAST)
    assert workspace.download(WITH_METRICS, "-q").code == 0
    publish(market, METRICS, field("2026-06-11 00:00", 2, "98765.25"))
    heal(workspace)
    stored = {row[0]: row for row in mt.stored_metrics(workspace.folder / "market.db", MADE)}
    assert stored[truth.moment("2026-06-11") - mt.FIVE][1] == 98765.25


def test_the_same_where_only_the_second_day_is_audited(workspace: Workspace, market: Market) -> None:
    market.metrics_convention = "end"
    write_universe(workspace.folder, [MADE], FIRST, LAST)
    assert workspace.download(WITH_METRICS, "-q").code == 0
    publish(market, METRICS, field("2026-06-11 00:00", 2, "98765.25"))
    found = audit(workspace, "-q", "--start-date", "2026-06-11", "--end-date", "2026-06-11")
    assert found.report["refetch"][0].endswith("--start-date 2026-06-10 --end-date 2026-06-11")
    # A universe that begins with that day has no day before it.
    write_universe(workspace.folder, [MADE], "2026-06-11", LAST)
    assert audit(workspace, "-q").report["refetch"][0].endswith("--start-date 2026-06-11 --end-date 2026-06-11")


def test_an_object_that_two_days_have_from_two_versions(stored: Workspace, market: Market) -> None:
    database = stored.folder / "market.db"
    first = noted(database)[KLINES]
    second = publish(market, KLINES, field(str(TEN), 5, "4321.5"))
    window = ("--start-date", "2026-06-10", "--end-date", "2026-06-11")
    assert stored.download("-q", "--no-incremental", "--symbols", MADE, *window).code == 0
    assert noted(database)[KLINES].split() == sorted([first, second], key=noted(database)[KLINES].index)
    found = audit(stored, "-q")
    assert (found.code, found.report["checked"], found.report["unchanged"]) == (3, 12, 11)
    assert [(one["old"], one["new"]) for one in found.report["republished"]] == [(first, second)]
    assert found.report["refetch"][0].endswith(f"--start-date {FIRST} --end-date {LAST}")
    third = publish(market, KLINES, field(str(TEN + truth.DAY), 5, "1234.5"))
    both = audit(stored, "-q").report["republished"]
    assert {(one["old"], one["new"]) for one in both} == {(first, third), (second, third)}
    heal(stored)
    assert noted(database)[KLINES] == third
