"""Metrics and funding rates from the archive, as a user fetches them: what is stored, what it costs, what is wrong with files."""

from __future__ import annotations

import random
import signal
import sqlite3
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import metrics_truth as mt
from tests.e2e import truth
from tests.e2e.conftest import RECORDED, Workspace
from tests.e2e.steps import addresses, assert_stored, contents, query, wait_until, write_universe
from tests.exchange import Market, ReplayExchange

WITH_METRICS = "--download-market-metrics"
SYMBOL = "MADEUSDT"


@pytest.fixture
def made(market: Market) -> Market:
    """The market with a synthetic symbol whose days the tests below fill by hand."""
    market.add_symbol(SYMBOL, date(2026, 6, 1))
    return market


def dump(folder: Path) -> list[tuple[Any, ...]]:
    """All rows and ledger lines of a database, without times of fetching."""
    database = folder / "market.db"
    ledger = (
        "SELECT dataset, freq, symbol, date, status, reason, rows, expected_rows, source FROM symbol_days ORDER BY 1, 2, 3, 4"
    )
    rows = [query(database, f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in ("klines", "metrics", "funding_rates")]
    return [row for part in (*rows, query(database, ledger)) for row in part]


def assert_settled(workspace: Workspace, exchange: ReplayExchange) -> None:
    """A second run asks nobody and changes nothing."""
    exchange.reset_requests()
    before = dump(workspace.folder)
    outcome = workspace.download(WITH_METRICS)
    assert (outcome.code, outcome.report["status"], exchange.requests) == (0, "complete", [])
    assert outcome.report["already_complete"] == outcome.report["wanted_symbol_days"]
    assert dump(workspace.folder) == before


def test_metrics_of_a_month_come_on_top_of_its_klines(workspace: Workspace, exchange: ReplayExchange, market: Market) -> None:
    write_universe(workspace.folder)
    database = workspace.folder / "market.db"
    outcome = workspace.download()
    assert (outcome.code, outcome.report["wanted_symbol_days"], set(outcome.report["datasets"])) == (0, 84, {"klines"})
    assert query(database, "SELECT DISTINCT dataset FROM symbol_days") == [("klines",)]
    assert query(database, "SELECT count(*) FROM metrics") == query(database, "SELECT count(*) FROM funding_rates") == [(0,)]

    exchange.reset_requests()
    outcome = workspace.download(WITH_METRICS)
    report = outcome.report
    assert (outcome.code, report["status"], report["failed"]) == (0, "complete", [])
    counts = [report[name] for name in ("wanted_symbol_days", "already_complete", "downloaded", "confirmed_gaps")]
    assert counts == [252, 84, 168, 0]
    rates = sum(len(mt.funding(market, symbol, truth.FIRST, truth.LAST)) for symbol in RECORDED)
    assert report["rows"] == {"klines": 0, "metrics": 84 * 288, "funding_rates": rates}
    assert rates >= 84 * 3
    for symbol in RECORDED:
        assert_stored(workspace, symbol)
        mt.assert_holds(database, market, symbol, truth.FIRST, truth.LAST)
    mt.assert_ledgers_agree(database)
    lines = mt.ledger(database, "metrics")
    assert sorted(lines) == [(symbol, day) for symbol in RECORDED for day in truth.days()]
    assert set(lines.values()) == {mt.Line("complete", "labels_end_bars", 288, 288, "daily")}
    rates_lines = mt.ledger(database, "funding_rates")
    assert rates_lines.keys() == lines.keys()
    assert {(line.status, line.source) for line in rates_lines.values()} == {("complete", "rest")}
    assert all(line.rows == line.expected_rows > 0 for line in rates_lines.values())
    assert query(database, "SELECT DISTINCT dataset, freq FROM symbol_days ORDER BY 1") == [
        ("funding_rates", ""), ("klines", "5m"), ("metrics", "5m"),
    ]  # fmt: skip

    asked = sorted(request.path for request in exchange.requests if request.host == "vision")
    keys = ["/" + mt.key(symbol, day) for symbol in RECORDED for day in truth.days()]
    assert [path for path in asked if path.endswith(".zip")] == sorted(keys)
    # The first three files are verified both ways, the others by a page of the listing for each symbol.
    checksums = [path for path in asked if path.endswith(".CHECKSUM")]
    assert len(checksums) == 3
    assert {path.removesuffix(".CHECKSUM") for path in checksums} < set(keys)
    assert len([request for request in exchange.requests if request.host == "listing"]) == len(RECORDED)
    assert report["checksums_by_listing"] == len(keys) - 3
    assert [request.path for request in exchange.requests if request.host == "api"] == ["/fapi/v1/fundingRate"] * 3
    assert {request.status for request in exchange.requests} == {200}, "no request was wasted"
    assert sum(report["requests"].values()) == len(exchange.requests)
    assert_settled(workspace, exchange)


def test_all_at_once_is_the_same_database_content(workspace: Workspace, exchange: ReplayExchange, market: Market) -> None:
    write_universe(workspace.folder, first="2026-02-25")
    outcome = workspace.download(WITH_METRICS)
    assert (outcome.code, outcome.report["downloaded"]) == (0, 3 * 4 * 3)
    for symbol in RECORDED:
        assert_stored(workspace, symbol, first="2026-02-25")
        mt.assert_holds(workspace.folder / "market.db", market, symbol, "2026-02-25", truth.LAST)


def test_only_active_symbol_days_are_asked_for_and_stored(workspace: Workspace, exchange: ReplayExchange, market: Market) -> None:
    gone = ["2026-02-10", "2026-02-11"]
    write_universe(workspace.folder, ["ALGOUSDT", "LINKUSDT"], "2026-02-09", "2026-02-12", {"LINKUSDT": gone})
    outcome = workspace.download(WITH_METRICS, "--end-date", "2026-02-11")
    assert (outcome.code, outcome.report["wanted_symbol_days"]) == (0, 4 * 3)
    database = workspace.folder / "market.db"
    mt.assert_holds(database, market, "ALGOUSDT", "2026-02-09", "2026-02-11")
    mt.assert_holds(database, market, "LINKUSDT", "2026-02-09", "2026-02-09")
    assert mt.count(exchange, lambda request: "LINKUSDT-metrics" in request.path) == 2
    outcome = workspace.download(WITH_METRICS)
    assert (outcome.code, outcome.report["downloaded"]) == (0, 2 * 3)
    link = mt.metrics(market, "LINKUSDT", "2026-02-09", "2026-02-09") + mt.metrics(market, "LINKUSDT", "2026-02-12", "2026-02-12")
    assert mt.stored_metrics(database, "LINKUSDT") == link
    rates = mt.funding(market, "LINKUSDT", "2026-02-09", "2026-02-09") + mt.funding(
        market, "LINKUSDT", "2026-02-12", "2026-02-12"
    )
    assert mt.stored_funding(database, "LINKUSDT") == rates, "one request may bridge the gap, but its days are not stored"
    assert mt.count(exchange, lambda request: "fundingRate" in request.path and request.params["symbol"] == "LINKUSDT") == 2


AROUND = ("2026-06-23", "2026-06-27")


def relabel(*ends: str) -> Callable[[Market], None]:
    """Serve these days labelled at bar end and the others at bar start."""

    def change(market: Market) -> None:
        for day in truth.days(*AROUND):
            mt.put(market, SYMBOL, day, mt.text(SYMBOL, mt.metrics(market, SYMBOL, day, day), mt.FIVE if day in ends else 0))

    return change


def convention(name: Any) -> Callable[[Market], None]:
    def change(market: Market) -> None:
        market.metrics_convention = name

    return change


CONVENTIONS = {
    "the real switch": (convention("auto"), "eesss"),
    "labels that reach midnight throughout": (convention("reaching_midnight"), "eeeee"),
    "labels at bar end throughout": (convention("end"), "eeeee"),
    "labels at bar start throughout": (convention("start"), "sssss"),
    "a switch on an odd day": (relabel("2026-06-23", "2026-06-24", "2026-06-25", "2026-06-26"), "eeees"),
    "a switch that is taken back": (relabel("2026-06-24", "2026-06-26", "2026-06-27"), "sesee"),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_change_of_labels_loses_and_overwrites_nothing(workspace: Workspace, made: Market, name: str) -> None:
    change, expected = CONVENTIONS[name]
    change(made)
    write_universe(workspace.folder, [SYMBOL], *AROUND)
    assert workspace.download(WITH_METRICS).code == 0
    database = workspace.folder / "market.db"
    assert len(mt.stored_metrics(database, SYMBOL)) == 5 * 288
    mt.assert_holds(database, made, SYMBOL, *AROUND)
    reasons = query(database, "SELECT reason FROM symbol_days WHERE dataset = 'metrics' ORDER BY date")
    words = {"e": "labels_end_bars", "s": "labels_start_bars"}
    assert [reason for (reason,) in reasons] == [words[mark] for mark in expected]


HALF = [hour * truth.MINUTE * 60 for hour in (6, 12)]


def half(market: Market, day: str) -> list[mt.Row]:
    """The rows between 06:00 and 12:00 of a day."""
    start = truth.moment(day)
    return [row for row in mt.metrics(market, SYMBOL, day, day) if start + HALF[0] <= row[0] < start + HALF[1]]


@pytest.mark.parametrize("day", ["2026-06-24", "2026-06-25"])
@pytest.mark.parametrize(("shift", "word"), [(mt.FIVE, "labels_end_bars"), (0, "labels_start_bars")])
def test_half_a_file_is_decided_by_its_content_whatever_its_date(
    workspace: Workspace, made: Market, day: str, shift: int, word: str
) -> None:
    rows = half(made, day)
    mt.put(made, SYMBOL, day, mt.text(SYMBOL, rows, shift))
    write_universe(workspace.folder, [SYMBOL], day, day)
    assert workspace.download(WITH_METRICS).code == 0
    database = workspace.folder / "market.db"
    assert mt.stored_metrics(database, SYMBOL) == rows
    line = mt.ledger(database, "metrics")[SYMBOL, day]
    assert line == mt.Line("confirmed_gap", f"archive_alone; {word}", 72, 288, "daily")


def test_what_files_really_look_like(workspace: Workspace, exchange: ReplayExchange, made: Market) -> None:
    """Each day its own oddity that is no defect."""
    days = truth.days("2026-06-02", "2026-06-06")
    expected = {day: mt.metrics(made, SYMBOL, day, day) for day in days}
    shuffled, doubled, blank, zero, short = days
    lines = mt.text(SYMBOL, expected[shuffled], mt.FIVE).splitlines()
    body = lines[1:]
    random.Random(1).shuffle(body)
    mt.put(made, SYMBOL, shuffled, "\r\n".join([lines[0], *body]))
    mt.put(made, SYMBOL, doubled, mt.text(SYMBOL, [row for row in expected[doubled] for _ in "12"], mt.FIVE))
    expected[blank] = [
        (at, *(None if (number + column) % 7 == 0 else value for column, value in enumerate(values)))
        for number, (at, *values) in enumerate(expected[blank])
    ]
    expected[blank][17] = (expected[blank][17][0], *[None] * 6)
    expected[zero] = [(at, 0.0, 0.0, *rest) for at, _, _, *rest in expected[zero]]
    expected[short] = expected[short][:162] + expected[short][180:]
    for day in (blank, zero, short):
        mt.put(made, SYMBOL, day, mt.text(SYMBOL, expected[day], mt.FIVE))
    write_universe(workspace.folder, [SYMBOL], days[0], days[-1])
    outcome = workspace.download(WITH_METRICS)
    assert (outcome.code, outcome.report["confirmed_gaps"]) == (0, 1), outcome
    database = workspace.folder / "market.db"
    assert mt.stored_metrics(database, SYMBOL) == [row for day in days for row in expected[day]]
    lines_ = mt.ledger(database, "metrics")
    assert [lines_[SYMBOL, day].status for day in days] == ["complete"] * 4 + ["confirmed_gap"]
    mt.assert_ledgers_agree(database)
    assert_settled(workspace, exchange)


def spoiled(market: Market, day: str, spoil: Callable[[list[str]], object]) -> None:
    """Serve a day's file with its data lines changed in place."""
    header, *lines = mt.text(SYMBOL, mt.metrics(market, SYMBOL, day, day), mt.FIVE).splitlines()
    spoil(lines)
    mt.put(market, SYMBOL, day, "\n".join([header, *lines]) + "\n")


def swap(number: int, old: str, new: str) -> Callable[[list[str]], object]:
    def change(lines: list[str]) -> None:
        assert old in lines[number]
        lines[number] = lines[number].replace(old, new, 1)

    return change


def value(column: int, text: str) -> Callable[[list[str]], object]:
    def change(lines: list[str]) -> None:
        fields = lines[99].split(",")
        fields[column] = text
        lines[99] = ",".join(fields)

    return change


def conflict(lines: list[str]) -> None:
    lines.append(lines[50].rsplit(",", 1)[0] + ",9.99990000")


# Each defect with the bars that it takes out; None: the whole file.
SPOILS: dict[str, tuple[Callable[[list[str]], object], list[int] | None]] = {
    "conflicting_rows": (conflict, [50]),
    "wrong_column_count": (swap(5, ",", ",1.0,"), [5]),
    "wrong_symbol": (swap(7, SYMBOL, "OTHERUSDT"), None),
    "time_off_grid": (swap(9, ":00,", ":01,"), [9]),
    "not_finite": (value(4, "NaN"), [99]),
    "number_out_of_range": (value(2, "-1.00000000"), [99]),
    "not_a_number": (value(7, "n/a"), [99]),
}


def test_what_cannot_be_trusted_is_said_and_not_stored(workspace: Workspace, exchange: ReplayExchange, made: Market) -> None:
    """Each day its own defect, one good day among them. One bad row costs its bar, another symbol's row the file."""
    days = truth.days("2026-06-02", "2026-06-10")
    good, missing = days[0], days[-1]
    bad = dict(zip(days[1:], SPOILS, strict=False))
    for day, reason in bad.items():
        spoiled(made, day, SPOILS[reason][0])
    made.without_objects(mt.key(SYMBOL, missing))
    write_universe(workspace.folder, [SYMBOL], days[0], days[-1])
    outcome = workspace.download(WITH_METRICS)
    assert (outcome.code, outcome.report["status"], outcome.report["failed"]) == (0, "complete", []), "nobody will know more"
    database = workspace.folder / "market.db"
    expected = mt.metrics(made, SYMBOL, good, good)
    lines = mt.ledger(database, "metrics")
    for day, reason in bad.items():
        lost = SPOILS[reason][1]
        rows = [] if lost is None else [row for n, row in enumerate(mt.metrics(made, SYMBOL, day, day)) if n not in lost]
        expected += rows
        assert lines[SYMBOL, day]._replace(reason=None) == mt.Line(
            "confirmed_gap", None, len(rows), 288, "daily" if rows else None
        )
        said = str(lines[SYMBOL, day].reason)
        assert reason in said
        assert ("labels_end_bars" in said) == bool(rows)
    assert mt.stored_metrics(database, SYMBOL) == expected
    assert lines[SYMBOL, good] == mt.Line("complete", "labels_end_bars", 288, 288, "daily")
    assert lines[SYMBOL, missing][:3] == ("confirmed_gap", "archive_alone", 0), "months after its day it will not come any more"
    assert {line.status for line in mt.ledger(database, "klines").values()} == {"complete"}
    assert {line.status for line in mt.ledger(database, "funding_rates").values()} == {"complete"}

    before = dict(query(database, "SELECT name, sha256 FROM source_objects"))
    for day in bad:
        mt.put(made, SYMBOL, day, mt.text(SYMBOL, mt.metrics(made, SYMBOL, day, day), mt.FIVE))
    outcome = workspace.download(WITH_METRICS, "--no-incremental")
    assert outcome.code == 0
    assert mt.stored_metrics(database, SYMBOL) == mt.metrics(made, SYMBOL, good, days[-2])
    lines = mt.ledger(database, "metrics")
    for day in days[:-1]:
        # A file that had brought rows before is now a newer version of them.
        old = before[mt.key(SYMBOL, day)] if day != good and SPOILS[bad[day]][1] is not None else None
        reason = f"labels_end_bars; published_anew (was {old})" if old else "labels_end_bars"
        assert lines[SYMBOL, day] == mt.Line("complete", reason, 288, 288, "daily")


def settled_metrics(database: Path) -> int:
    """How many days of metrics are complete; 0 while there is no database yet."""
    try:
        return int(query(database, "SELECT count(*) FROM symbol_days WHERE dataset = 'metrics' AND status = 'complete'")[0][0])
    except sqlite3.OperationalError:
        return 0


def test_a_killed_run_is_taken_up_where_it_was(tmp_path: Path, market: Market) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with ReplayExchange(market) as exchange:
        for folder in (whole, broken):
            folder.mkdir()
            write_universe(folder, ["LINKUSDT"])
        assert Workspace(whole, addresses(exchange)).download(WITH_METRICS).code == 0
        exchange.reset_requests()
        exchange.latency = 0.1
        workspace = Workspace(broken, addresses(exchange))
        command = ("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db", "--interval", "5m")
        # Few at once, so that it is killed before all of them have come.
        process = workspace.start(*command, WITH_METRICS, "--max-vision-workers", "4")
        wait_until(lambda: settled_metrics(broken / "market.db"))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        exchange.latency = 0.0
        settled = settled_metrics(broken / "market.db")
        assert 0 < settled < 28
        mt.assert_ledgers_agree(broken / "market.db")
        exchange.reset_requests()
        outcome = workspace.download(WITH_METRICS)
        assert outcome.code == 0
        assert mt.count(exchange, lambda request: "/metrics/" in request.path and request.path.endswith(".zip")) == 28 - settled
        assert dump(broken) == dump(whole)
        assert "universe.json" in contents(broken)


def test_days_before_the_history_are_gaps_and_never_asked_again(
    workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    market.add_symbol("BTCUSDT", date(2020, 8, 1))
    market.add_symbol("LATEUSDT", date(2021, 11, 1))
    market.without_objects(lambda key: "LATEUSDT-metrics-2021-11" in key)
    write_universe(workspace.folder, ["BTCUSDT"], "2020-08-30", "2020-09-01")
    assert workspace.download(WITH_METRICS).code == 0
    asked = [request.path for request in exchange.requests if "/metrics/" in request.path]
    assert len(asked) == 2
    assert all("2020-09-01" in path for path in asked)
    database = workspace.folder / "market.db"
    lines = mt.ledger(database, "metrics")
    for day in ("2020-08-30", "2020-08-31"):
        assert lines["BTCUSDT", day] == mt.Line("confirmed_gap", "before_history", 0, 288, None)
    assert mt.stored_metrics(database, "BTCUSDT") == mt.metrics(market, "BTCUSDT", "2020-09-01", "2020-09-01")
    assert_settled(workspace, exchange)

    write_universe(workspace.folder, ["LATEUSDT"], "2021-11-30", "2021-12-01")
    exchange.reset_requests()
    assert workspace.download(WITH_METRICS).code == 0
    asked = [request for request in exchange.requests if "/metrics/" in request.path]
    assert sorted((request.path.rsplit("-", 1)[-1], request.status) for request in asked) == [
        ("01.zip", 200), ("01.zip.CHECKSUM", 200), ("30.zip", 404),
    ]  # fmt: skip
    assert mt.ledger(database, "metrics")["LATEUSDT", "2021-11-30"][:3] == ("confirmed_gap", "archive_alone", 0)
    assert mt.stored_metrics(database, "LATEUSDT") == mt.metrics(market, "LATEUSDT", "2021-12-01", "2021-12-01")
    assert_settled(workspace, exchange)
