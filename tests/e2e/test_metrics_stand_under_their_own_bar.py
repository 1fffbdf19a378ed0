"""Which bar a label of a metrics file names is decided by the symbol's own klines, from the database or fetched as evidence."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import metrics_truth as mt
from tests.e2e import truth
from tests.e2e.conftest import Workspace
from tests.e2e.steps import objects, query, write_universe
from tests.exchange import Fault, Market, ReplayExchange

WITH_METRICS = "--download-market-metrics"
SYMBOL = "MADEUSDT"
WINDOW = ("2026-06-09", "2026-06-12")
DAYS = truth.days(*WINDOW)
WORDS = {"start": "labels_start_bars", "end": "labels_end_bars", "reaching_midnight": "labels_end_bars"}
CONVENTIONS = sorted(WORDS)


@pytest.fixture
def made(market: Market) -> Market:
    """The market with a synthetic symbol that trades as usual."""
    market.add_symbol(SYMBOL, date(2026, 5, 1))
    return market


def days_with_files(exchange: ReplayExchange, kind: str) -> list[str]:
    """Days and months in the names of the objects of one kind that were asked for, `metrics` or an interval."""
    return [name.split(f"-{kind}-", 1)[1] for name in objects(exchange) if f"-{kind}-" in name]


@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "1d"])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_days_are_whole_whatever_klines_the_database_has(
    workspace: Workspace, exchange: ReplayExchange, made: Market, convention: Any, interval: str
) -> None:
    """288 rows under their bars. Only the last day needs one object more, and that only where its last bar stands there."""
    made.metrics_convention = convention
    write_universe(workspace.folder, [SYMBOL], *WINDOW)
    outcome = workspace.download(WITH_METRICS, interval=interval)
    assert outcome.code == 0, outcome
    database = workspace.folder / "market.db"
    mt.assert_holds(database, made, SYMBOL, *WINDOW)
    lines = mt.ledger(database, "metrics")
    assert lines == {(SYMBOL, day): mt.Line("complete", WORDS[convention], 288, 288, "daily") for day in DAYS}
    assert days_with_files(exchange, "metrics") == [*DAYS, *(["2026-06-13"] if convention == "end" else [])]
    # A daily bar prices two moments of its day: that proves nothing, so klines are fetched. None of them is stored.
    evidence = interval == "1d" and convention != "reaching_midnight"
    if interval != "5m":
        fetched = days_with_files(exchange, "5m")
        # The database has no klines of the day after the window, whose object holds the last bar.
        after = ["2026-06-13"] if convention == "end" else []
        assert fetched == [*(["2026-06"] if evidence else []), *after]
    assert query(database, "SELECT DISTINCT freq FROM klines") == [(interval,)]
    assert query(database, "SELECT DISTINCT freq FROM symbol_days WHERE dataset = 'klines'") == [(interval,)]
    assert query(database, "SELECT count(*) FROM source_objects WHERE name LIKE '%-5m-%'")[0][0] == (interval == "5m")


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_without_klines_in_the_database_they_are_evidence_and_not_stored(
    workspace: Workspace, exchange: ReplayExchange, made: Market, convention: Any
) -> None:
    """The archive has no 4h klines of the symbol, and the API does not know it."""
    made.metrics_convention = convention
    made.without_objects(lambda key: "/4h/" in key)
    made.refuse(SYMBOL)
    write_universe(workspace.folder, [SYMBOL], *WINDOW)
    workspace.download(WITH_METRICS, interval="4h")
    database = workspace.folder / "market.db"
    assert mt.stored_metrics(database, SYMBOL) == mt.metrics(made, SYMBOL, *WINDOW)
    lines = mt.ledger(database, "metrics")
    assert lines == {(SYMBOL, day): mt.Line("complete", WORDS[convention], 288, 288, "daily") for day in DAYS}
    assert query(database, "SELECT count(*) FROM klines") == [(0,)]
    assert query(database, "SELECT DISTINCT freq FROM symbol_days WHERE dataset = 'klines'") == [("4h",)]
    extra = ["2026-06-13"] if convention == "end" else []
    assert days_with_files(exchange, "metrics") == [*DAYS, *extra]
    assert days_with_files(exchange, "5m") == ([] if convention == "reaching_midnight" else ["2026-06", *extra])


@pytest.mark.parametrize("convention", ["start", "end"])
def test_klines_that_fail_leave_the_days_to_the_next_run(
    workspace: Workspace, exchange: ReplayExchange, made: Market, convention: Any
) -> None:
    made.metrics_convention = convention
    made.refuse(SYMBOL)
    write_universe(workspace.folder, [SYMBOL], *WINDOW)
    exchange.faults.add(Fault.status(503, path="/5m/", times=None))
    outcome = workspace.download(WITH_METRICS, "--max-retries", "0", interval="1d")
    assert outcome.code == 3, outcome
    database = workspace.folder / "market.db"
    failed = {entry["date"]: entry["reason"] for entry in outcome.report["failed"] if entry["dataset"] == "metrics"}
    assert sorted(failed) == DAYS
    assert all("no klines to align with" in reason and "http_503" in reason for reason in failed.values())
    assert mt.stored_metrics(database, SYMBOL) == [], "nothing is stored under a bar that may be the wrong one"
    exchange.faults.clear()
    workspace.download(WITH_METRICS, interval="1d")
    assert mt.stored_metrics(database, SYMBOL) == mt.metrics(made, SYMBOL, *WINDOW)


def test_an_old_day_that_was_published_anew_is_read_by_its_own_content(
    workspace: Workspace, exchange: ReplayExchange, made: Market
) -> None:
    """Neighbours of different labels. Between end labels and start labels one bar stands in no file."""
    made.metrics_convention = "start"
    made.label_metrics(SYMBOL, date(2026, 6, 9), date(2026, 6, 10), "end")
    write_universe(workspace.folder, [SYMBOL], *WINDOW)
    assert workspace.download(WITH_METRICS).code == 0
    database = workspace.folder / "market.db"
    lost = truth.moment("2026-06-11") - mt.FIVE
    assert mt.stored_metrics(database, SYMBOL) == mt.metrics(made, SYMBOL, *WINDOW, holes=[(lost, lost + mt.FIVE)])
    lines = mt.ledger(database, "metrics")
    assert [(lines[SYMBOL, day].status, lines[SYMBOL, day].reason, lines[SYMBOL, day].rows) for day in DAYS] == [
        ("complete", "labels_end_bars", 288),
        ("confirmed_gap", "archive_alone; labels_end_bars", 287),
        ("complete", "labels_start_bars", 288),
        ("complete", "labels_start_bars", 288),
    ]
    made.label_metrics(SYMBOL, date(2026, 6, 9), date(2026, 6, 12), "start")
    assert workspace.download(WITH_METRICS, "--no-incremental").code == 0
    mt.assert_holds(database, made, SYMBOL, *WINDOW)
    reasons = [line.reason or "" for line in mt.ledger(database, "metrics").values()]
    assert all(re.fullmatch(r"labels_start_bars(; published_anew \(was [0-9a-f]{64}\))?", reason) for reason in reasons), reasons


@pytest.mark.parametrize("activity", ["flat", "thin"])
@pytest.mark.parametrize("convention", ["start", "end"])
def test_what_nothing_proves_cannot_look_ahead_and_is_counted(
    workspace: Workspace, market: Market, activity: Any, convention: Any
) -> None:
    """A label is then taken for the start of its bar: under end labels each row stands one bar late, never early."""
    market.add_symbol("QUIETUSDT", date(2026, 5, 1), activity=activity)
    market.add_symbol(SYMBOL, date(2026, 5, 1))
    market.metrics_convention = convention
    write_universe(workspace.folder, ["QUIETUSDT", SYMBOL], *WINDOW)
    assert workspace.download(WITH_METRICS).code == 0
    database = workspace.folder / "market.db"
    late = mt.FIVE if convention == "end" else 0
    known = market.metrics_rows("QUIETUSDT", truth.moment(DAYS[0]) - late, truth.moment(DAYS[-1]) + truth.DAY - late)
    assert mt.stored_metrics(database, "QUIETUSDT") == [(at + late, *known[at]) for at in sorted(known)]
    mt.assert_holds(database, market, SYMBOL, *WINDOW)
    lines = mt.ledger(database, "metrics")
    assert {lines["QUIETUSDT", day] for day in DAYS} == {mt.Line("complete", "labels_unproven", 288, 288, "daily")}
    assert {lines[SYMBOL, day].reason for day in DAYS} == {WORDS[convention]}
    report = json.loads((workspace.folder / workspace.export().report["report_path"]).read_text())
    assert report["datasets"]["metrics"]["labels_unproven"] == len(DAYS)
    assert "labels_unproven" not in report["datasets"]["klines"]


# -- databases of an earlier version --------------------------------------------------------------------------------------


def as_version_1(database: Path) -> list[mt.Row]:
    """Make a database what version 1 would have left of it: no marks, and metrics one bar late, by the date of their file."""
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        db.execute("ALTER TABLE ledger DROP COLUMN row_marks")
        db.execute("DROP TABLE commits")
        for column in ("etag", "size"):
            db.execute(f"ALTER TABLE source_objects DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 1")
        [[series]] = db.execute("SELECT id FROM series WHERE dataset = 'metrics'").fetchall()
        first = truth.moment(DAYS[0])
        rows = db.execute("SELECT * FROM metric_rows WHERE series_id = ? ORDER BY open_time", (series,)).fetchall()
        db.execute("DELETE FROM metric_rows WHERE series_id = ?", (series,))
        # The row that closes a day's last bar stood under the next day's first.
        late = [(series, row[1] + mt.FIVE, *row[2:]) for row in rows[:-1]]
        db.executemany("INSERT INTO metric_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(series, first, *rows[0][2:]), *late])
        db.execute("UPDATE ledger SET reason = 'labels_at_bar_start_by_date' WHERE series_id = ?", (series,))
    return mt.stored_metrics(database, SYMBOL)


def version(database: Path) -> int:
    return int(query(database, "PRAGMA user_version")[0][0])


def test_metrics_of_an_older_database_are_fetched_anew_and_replaced_as_a_whole(
    workspace: Workspace, exchange: ReplayExchange, made: Market
) -> None:
    made.metrics_convention = "end"
    write_universe(workspace.folder, [SYMBOL], *WINDOW)
    assert workspace.download(WITH_METRICS).code == 0
    database = workspace.folder / "market.db"
    whole = query(database, "SELECT * FROM klines ORDER BY open_time")
    wrong = as_version_1(database)
    right = mt.metrics(made, SYMBOL, *WINDOW)
    assert (len(wrong), version(database)) == (len(right), 1)
    assert wrong != right
    exchange.reset_requests()
    # First nothing can be had: nothing is lost, and the run says that the days are open.
    exchange.faults.add(Fault.status(503, path="/metrics/", times=None))
    outcome = workspace.download(WITH_METRICS, "--max-retries", "0")
    assert outcome.code == 3
    told = [line for line in outcome.stderr.splitlines() if "earlier version" in line]
    assert len(told) == 1, outcome.stderr
    assert "4 symbol-days of metrics" in told[0]
    assert "replaced as a whole" in told[0]
    assert (version(database), mt.stored_metrics(database, SYMBOL)) == (3, wrong)
    assert {line[:3] for line in mt.ledger(database, "metrics").values()} == {("incomplete", "filed_by_label_or_date", 288)}
    assert sorted(entry["date"] for entry in outcome.report["failed"]) == DAYS
    # One day can be had.
    exchange.faults.clear()
    exchange.faults.add(Fault.status(503, path="/metrics/", when=lambda request: "-06-09" not in request.path, times=None))
    outcome = workspace.download(WITH_METRICS, "--max-retries", "0")
    assert outcome.code == 3
    assert not [line for line in outcome.stderr.splitlines() if "earlier version" in line], "said once, when it is done"
    stored = {row[0]: row for row in mt.stored_metrics(database, SYMBOL)}
    assert [stored[row[0]] for row in right[:287]] == right[:287]
    assert truth.moment("2026-06-10") - mt.FIVE not in stored, "its last bar stands in the next object: the day is not whole yet"
    exchange.faults.clear()
    assert workspace.download(WITH_METRICS).code == 0
    mt.assert_holds(database, made, SYMBOL, *WINDOW)
    lines = mt.ledger(database, "metrics")
    assert lines == {(SYMBOL, day): mt.Line("complete", "labels_end_bars", 288, 288, "daily") for day in DAYS}
    assert query(database, "SELECT * FROM klines ORDER BY open_time") == whole, "klines stay as they are"
    exchange.reset_requests()
    assert workspace.download(WITH_METRICS).code == 0
    assert exchange.requests == []
