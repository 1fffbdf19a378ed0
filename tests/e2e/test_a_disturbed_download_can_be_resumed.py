"""universe download when something is in its way: refusals, failures, signals, other runs, and what must never be stored."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import RECORDED, Workspace
from tests.e2e.steps import (
    asked,
    assert_ledger_agrees,
    assert_refused,
    assert_stored,
    contents,
    klines,
    ledger,
    query,
    universe,
    wait_until,
    write_universe,
)
from tests.exchange import Fault, Market, ReplayExchange

COMMAND = ("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db", "--interval", "5m")
AROUND = {"first": "2026-02-09", "last": "2026-02-11"}


@pytest.fixture
def database(workspace: Workspace) -> Path:
    """Where workspace.download() writes."""
    return workspace.folder / "market.db"


def withhold(market: Market, symbol: str, *days: str) -> None:
    """Take these days of a symbol out of the archive; only REST has them."""
    for day in days:
        market.drop_klines(symbol, truth.moment(day), truth.moment(day) + truth.DAY, sources=("monthly", "daily"))


@pytest.mark.parametrize("fault", ["451", "ban"])
def test_a_refusal_ends_the_run_after_what_others_can_give(
    workspace: Workspace, database: Path, exchange: ReplayExchange, market: Market, fault: str
) -> None:
    write_universe(workspace.folder)
    withhold(market, "ALGOUSDT", "2026-02-03", "2026-02-20")
    faults = {
        "451": Fault.restricted_451(host="api", times=None),
        "ban": Fault.banned(4_000_000_000_000, host="api", times=None),
    }
    exchange.faults.add(faults[fault])
    outcome = workspace.download()
    assert outcome.code == 4, outcome
    report = outcome.report
    assert (report["status"], report["downloaded"], report["wanted_symbol_days"]) == ("incomplete", 82, 84)
    assert [(entry["symbol"], entry["date"]) for entry in report["failed"]] == [
        ("ALGOUSDT", "2026-02-03"),
        ("ALGOUSDT", "2026-02-20"),
    ]
    assert len(asked(exchange, "/fapi/")) <= 2, "a closed door is not knocked at again"
    assert sum(line.startswith("error: ") for line in outcome.stderr.splitlines()) == 1
    for symbol in ("AVAXUSDT", "LINKUSDT"):
        assert_stored(workspace, symbol)
    assert len(klines(database, "ALGOUSDT")) == 26 * 288
    assert_ledger_agrees(database)

    exchange.faults.clear()
    exchange.reset_requests()
    outcome = workspace.download()
    assert (outcome.code, outcome.report["downloaded"], outcome.report["already_complete"]) == (0, 2, 82)
    assert_stored(workspace, "ALGOUSDT")


def test_a_refusing_archive_does_no_harm_where_the_api_has_everything(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], **AROUND)
    exchange.faults.add(Fault.forbidden_html(host="vision", times=None))
    outcome = workspace.download()
    assert (outcome.code, outcome.report["status"]) == (0, "complete")
    assert_stored(workspace, "LINKUSDT", **AROUND)


def test_failed_days_are_named_and_the_next_run_resumes(
    workspace: Workspace, database: Path, exchange: ReplayExchange, market: Market
) -> None:
    write_universe(workspace.folder, ["LINKUSDT", "AVAXUSDT"], **AROUND)
    withhold(market, "LINKUSDT", "2026-02-10")
    exchange.faults.add(Fault.server_error(503, host="api", times=None))
    outcome = workspace.download("--max-retries", "1")
    assert (outcome.code, outcome.report["status"], outcome.report["downloaded"]) == (3, "incomplete", 5)
    (entry,) = outcome.report["failed"]
    assert entry.items() >= {"dataset": "klines", "symbol": "LINKUSDT", "date": "2026-02-10"}.items()
    assert entry["reason"]
    assert outcome.report["retries"] == 1
    assert ledger(database)["LINKUSDT", "2026-02-10"].status == "failed"
    assert_ledger_agrees(database)
    exchange.faults.clear()
    exchange.reset_requests()
    outcome = workspace.download()
    assert (outcome.code, outcome.report["already_complete"], outcome.report["downloaded"]) == (0, 5, 1)
    assert len(asked(exchange, "/fapi/v1/klines")) == 1
    assert_stored(workspace, "LINKUSDT", **AROUND)


FLEETING = {
    "503": (Fault.server_error(503), "api"),
    "reset": (Fault.reset(), "vision"),
    "reset in the body": (Fault.reset_mid_body(), "api"),
    "truncated": (Fault.truncated(), "vision"),
    "429": (Fault.too_many(retry_after=1), "api"),
}


@pytest.mark.parametrize("trouble", FLEETING)
def test_trouble_in_passing_is_no_trouble(workspace: Workspace, exchange: ReplayExchange, trouble: str) -> None:
    fault, source = FLEETING[trouble]
    write_universe(workspace.folder, ["LINKUSDT"], "2026-02-10", "2026-02-10")
    exchange.faults.add(fault)
    outcome = workspace.download("--kline-source", source)
    assert (outcome.code, outcome.report["status"]) == (0, "complete"), outcome
    assert_stored(workspace, "LINKUSDT", first="2026-02-10", last="2026-02-10")


def test_a_symbol_that_the_api_does_not_know_has_one_source(
    workspace: Workspace, database: Path, exchange: ReplayExchange, market: Market
) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], **AROUND)
    market.delist("LINKUSDT")
    hole = (truth.moment("2026-02-10T06:00"), truth.moment("2026-02-10T07:00"))
    market.drop_klines("LINKUSDT", *hole, sources=("monthly", "daily"))
    outcome = workspace.download()
    assert (outcome.code, outcome.report["confirmed_gaps"]) == (0, 1)
    assert_stored(workspace, "LINKUSDT", **AROUND, holes=[hole])
    assert len(asked(exchange, "/fapi/v1/klines")) == 1


def test_no_row_outside_the_active_symbol_days(workspace: Workspace, database: Path) -> None:
    missing = {"ALGOUSDT": truth.days("2026-02-01", "2026-02-20"), "AVAXUSDT": truth.days(), "LINKUSDT": ["2026-02-14"]}
    path = write_universe(workspace.folder, missing=missing)
    assert workspace.download().report["wanted_symbol_days"] == 8 + 0 + 27
    wanted = [
        (symbol, day["date"]) for symbol in RECORDED for day in json.loads(path.read_text())["daily_snapshots"]
        if symbol in day["active_symbols"]
    ]  # fmt: skip
    stored = query(database, "SELECT DISTINCT symbol, date(open_time / 1000, 'unixepoch') FROM klines ORDER BY 1, 2")
    assert stored == wanted
    assert sorted(ledger(database)) == wanted
    assert_stored(workspace, "ALGOUSDT", first="2026-02-21")
    assert_ledger_agrees(database)


def test_the_universe_is_never_touched(workspace: Workspace) -> None:
    path = workspace.folder / "universe.json"
    # Bytes that the program itself would not write: whoever wrote it back would be seen.
    path.write_text(json.dumps(universe(["LINKUSDT"], **AROUND)))
    path.chmod(0o444)
    os.utime(path, ns=(1_700_000_000_000_000_001, 1_700_000_000_000_000_001))
    before = path.read_bytes()
    assert workspace.download().code == 0
    assert workspace.download("--no-incremental", "--start-date", "2026-02-10").code == 0
    assert workspace.export().code == 0
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, 1_700_000_000_000_000_001)


def test_a_finished_database_is_one_file_for_a_read_only_folder(workspace: Workspace, database: Path) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], **AROUND)
    outcome = workspace.run(*COMMAND[:5], "new/parent folder/m?rket #1.db", *COMMAND[6:])
    assert outcome.code == 0, outcome
    made = workspace.folder / "new" / "parent folder"
    assert contents(made).keys() == {"m?rket #1.db", "m?rket #1.db.lock"}
    shelf = workspace.folder / "shelf"
    shelf.mkdir()
    shutil.copy(made / "m?rket #1.db", shelf / "market.db")
    # Bytes 18 and 19 tell the journal: 2 is a write-ahead log, which needs a writable folder even to read.
    assert (shelf / "market.db").read_bytes()[18:20] == b"\x01\x01"
    (shelf / "market.db").chmod(0o444)
    shelf.chmod(0o555)
    try:
        assert klines(shelf / "market.db", "LINKUSDT") == truth.rows("LINKUSDT", "5m", **AROUND)
        export = ("universe", "export", "--universe-file", "universe.json", "--db-path", "shelf/market.db")
        flags = ("--export-base-path", "exports", "--source-freq", "5m", "--export-freq", "5m")
        assert workspace.run(*export, *flags).code == 0
        assert contents(shelf).keys() == {"market.db"}
    finally:
        shelf.chmod(0o755)


def test_the_database_speaks_the_public_schema(workspace: Workspace, database: Path) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], **AROUND)
    assert workspace.download().code == 0
    tables = {
        "klines": "symbol freq open_time open high low close volume quote_volume trades taker_buy_volume taker_buy_quote_volume",
        "metrics": "symbol open_time open_interest open_interest_value top_trader_account_ratio top_trader_position_ratio "
                   "global_account_ratio taker_volume_ratio",
        "funding_rates": "symbol funding_time funding_rate mark_price rate_type",
        "symbol_days": "dataset freq symbol date status reason rows expected_rows source checked_at object_id",
        "source_objects": "id name sha256 last_modified fetched_at etag size",
    }  # fmt: skip
    for table, columns in tables.items():
        assert " ".join(name for _, name, *_ in query(database, f"PRAGMA table_info({table})")) == columns
    assert query(database, "PRAGMA user_version")[0][0] > 0
    (first, *_) = query(database, "SELECT symbol, freq, open_time, typeof(open), typeof(trades) FROM klines ORDER BY open_time")
    assert first == ("LINKUSDT", "5m", truth.moment("2026-02-09"), "real", "integer")
    (line, *_) = query(database, "SELECT dataset, freq, symbol, date, checked_at FROM symbol_days ORDER BY date")
    assert line[:4] == ("klines", "5m", "LINKUSDT", "2026-02-09")
    assert line[4][4] == "-"


def test_a_database_of_another_version_is_refused(workspace: Workspace, database: Path, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], **AROUND)
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    outcome = workspace.download()
    assert outcome.code in (1, 2)
    assert_refused(outcome, "99", code=outcome.code)
    assert exchange.requests == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_run_keeps_what_it_has_and_is_resumed(
    workspace: Workspace, database: Path, exchange: ReplayExchange, number: signal.Signals, code: int
) -> None:
    write_universe(workspace.folder)
    exchange.faults.add(Fault.slow(30.0, when=lambda request: "LINKUSDT" in request.path, times=None))
    running = workspace.start(*COMMAND)
    wait_until(lambda: asked(exchange, "LINKUSDT") and len(asked(exchange, ".CHECKSUM")) == 2)
    wait_until(lambda: database.exists() and ledger(database))
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=10)
    assert (running.returncode, stdout) == (code, "")
    if code > 0:
        assert "error: interrupted by" in stderr
        assert_ledger_agrees(database)
    exchange.faults.clear()
    exchange.reset_requests()
    outcome = workspace.download()
    assert (outcome.code, outcome.report["status"]) == (0, "complete")
    assert 0 < outcome.report["already_complete"] < 84
    for symbol in RECORDED:
        assert_stored(workspace, symbol)
    assert_ledger_agrees(database)
    assert contents(workspace.folder).keys() == {"universe.json", "market.db", "market.db.lock"}


def test_a_second_run_on_one_database_is_sent_away(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder)
    exchange.faults.add(Fault.slow(30.0, times=None))
    running = workspace.start(*COMMAND)
    wait_until(lambda: exchange.requests)
    assert_refused(workspace.download(), f"pid {running.pid}", code=5)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=10)
    exchange.faults.clear()
    assert workspace.download().code == 0, "the lock file that is left means nothing"


@pytest.mark.slow
def test_workers_and_delays(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], "2026-02-01", "2026-02-06")
    flags = ("--max-api-workers", "1", "--max-vision-workers", "1", "--api-request-delay", "0.2", "--vision-request-delay", "0.2")
    assert workspace.download(*flags).code == 0
    assert workspace.download(*flags, "--kline-source", "api", "--no-incremental").code == 0
    for host, count in (("vision", 2), ("api", 4)):
        times = [request.received_at for request in exchange.requests if request.host == host]
        assert len(times) == count
        assert times[-1] - times[0] > 0.14 * (count - 1), "0.2 s each, less what a busy machine blurs"
    assert_stored(workspace, "LINKUSDT", first="2026-02-01", last="2026-02-06")
