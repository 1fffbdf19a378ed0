"""universe status as a user runs it: what it counts, what it promises of the next download, and that it leaves all alone."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Workspace
from tests.e2e.steps import addresses, asked, assert_refused, contents, objects, query, stamps, wait_until, write_universe
from tests.e2e.terminal import run_on_terminal
from tests.exchange import Market, ReplayExchange

NOON = "2026-03-01T12:00:00+00:00"
STATUS = ("universe", "status", "--universe-file", "universe.json")
OF_DATABASE = (*STATUS, "--db-path", "market.db")
COUNTS = ("active_symbol_days", "complete", "confirmed_gaps", "incomplete", "failed", "never_fetched", "rows")
KEYS = {
    "universe_file", "db_path", "window", "days", "requested_symbols", "active_symbols", "active_symbol_days", "define_missing",
    "datasets",
}  # fmt: skip


@pytest.fixture(scope="module")
def first_of_march() -> Iterator[ReplayExchange]:
    """An exchange on 1 March 2026, noon: an hour that nobody has, and a fresh day that is not published and has a hole."""
    market = Market.recorded()
    market.archive_until = date(2026, 2, 27)
    gap = truth.moment("2026-02-03T12:00")
    market.drop_klines("ALGOUSDT", gap, gap + 60 * truth.MINUTE)
    late = truth.moment("2026-02-28T10:00")
    market.drop_klines("ALGOUSDT", late, late + 10 * truth.MINUTE)
    with ReplayExchange(market, now=lambda: datetime.fromisoformat(NOON)) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def downloaded(first_of_march: ReplayExchange, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ten days complete but for the gap, the fresh day, and one day that failed for one symbol."""
    market = first_of_march.market
    workspace = Workspace(tmp_path_factory.mktemp("status"), addresses(first_of_march))
    write_universe(workspace.folder, missing={"LINKUSDT": ["2026-02-05"]})
    assert workspace.download("--end-date", "2026-02-10", at=NOON).code == 0
    assert workspace.download("--start-date", "2026-02-28", at=NOON).code == 3
    # Five days old: a better object may yet be published. After a week it would be the archive's answer.
    market.replace_object("data/futures/um/daily/klines/LINKUSDT/5m/LINKUSDT-5m-2026-02-24.zip", b"no zip")
    market.refuse("LINKUSDT")
    assert workspace.download("--start-date", "2026-02-24", "--end-date", "2026-02-24", at=NOON).code == 3
    return workspace.folder


@pytest.fixture
def troubled(first_of_march: ReplayExchange, downloaded: Path, tmp_path: Path) -> Workspace:
    """A copy of that folder."""
    first_of_march.reset_requests()
    folder = shutil.copytree(downloaded, tmp_path / "copy")
    return Workspace(folder, addresses(first_of_march))


def test_it_counts_what_the_ledger_says(troubled: Workspace, first_of_march: ReplayExchange) -> None:
    before = contents(troubled.folder), stamps(troubled.folder)
    outcome = troubled.run(*OF_DATABASE, at=NOON)
    assert (outcome.code, first_of_march.requests) == (0, [])
    assert (contents(troubled.folder), stamps(troubled.folder)) == before
    report = outcome.report
    assert report.keys() == KEYS
    assert (report["active_symbol_days"], report["days"], report["requested_symbols"]) == (83, 28, 3)
    assert report["define_missing"] == {"not_in_current_trading_list": 0, "no_kline_on_date": 1}
    (klines,) = report["datasets"]
    assert (klines["dataset"], klines["freq"]) == ("klines", "5m")
    # Three windows of 29, 3 and 3 symbol-days; the gap lacks 12 bars, the late hole 2.
    assert [klines[name] for name in COUNTS] == [83, 32, 1, 1, 1, 48, 32 * 288 + 276 + 286]
    ((newest,),) = query(troubled.folder / "market.db", "SELECT max(checked_at) FROM symbol_days")
    assert klines["last_checked"] == newest
    assert newest.startswith("2026-03-01T12:0")
    reasons = {(entry["status"], entry["symbol_days"]) for entry in klines["unsettled_reasons"]}
    assert reasons == {("failed", 1), ("incomplete", 1)}
    assert "zip_unreadable" in next(entry["reason"] for entry in klines["unsettled_reasons"] if entry["status"] == "failed")
    # 16 days never fetched of each symbol and LINKUSDT's failed one lie in a closed month; yesterday is asked of the API.
    sources = {"monthly": 49, "daily": 0, "rest": 1}
    assert klines["next_download"] == {"symbol_days": 50, "first_source": sources, "without_request": 0}


def test_the_table_says_the_same(troubled: Workspace) -> None:
    lines = run_on_terminal(troubled, *OF_DATABASE, at=NOON, piped=False)[1].left
    header, row = (line.split() for line in lines if line.startswith(("dataset ", "klines ")))
    assert header == [
        "dataset",
        "freq",
        "settled",
        "complete",
        "gaps",
        "incomplete",
        "failed",
        "never",
        "rows",
        "last",
        "checked",
    ]
    assert row[:10] == ["klines", "5m", "39.7", "%", "32", "1", "1", "1", "48", "9,778"]
    assert "next download of 5m klines: 50 symbol-days: first 49 from the monthly archive, 1 from the API" in lines
    assert "3 of 3 symbols active, 83 symbol-days; not active: 1 no_kline_on_date" in lines
    assert any(line.startswith("  failed, daily: zip_unreadable") and line.endswith(": 1 symbol-day") for line in lines)


def test_the_next_download_does_what_it_says(troubled: Workspace, first_of_march: ReplayExchange) -> None:
    promised = troubled.run(*OF_DATABASE, at=NOON).report["datasets"][0]["next_download"]["symbol_days"]
    report = troubled.download(at=NOON).report
    assert report["wanted_symbol_days"] - report["already_complete"] == promised == 50
    assert {f"{symbol}-5m-2026-02" for symbol in truth.SYMBOLS} <= set(objects(first_of_march))
    (rest,) = [request for request in asked(first_of_march, "/fapi/v1/klines") if request.params["symbol"] == "ALGOUSDT"]
    assert int(rest.params["startTime"]) == truth.moment("2026-02-28")
    (klines,) = troubled.run(*OF_DATABASE, at=NOON).report["datasets"]
    assert klines["never_fetched"] == 0
    assert klines["complete"] == report["already_complete"] - 1 + report["downloaded"], "one of the settled ones is the gap"


def test_a_window_counts_its_days_alone(troubled: Workspace) -> None:
    outcome = troubled.run(*OF_DATABASE, "--start-date", "2026-02-05", "--end-date", "2026-02-05", at=NOON)
    (klines,) = outcome.report["datasets"]
    assert [klines[name] for name in COUNTS] == [2, 2, 0, 0, 0, 0, 2 * 288]
    day = ("--start-date", "2026-02-05", "--end-date", "2026-02-05")
    shown = run_on_terminal(troubled, *OF_DATABASE, *day, at=NOON, piped=False)[1].left
    assert "next download of 5m klines: nothing to do, all is settled" in shown
    outcome = troubled.run(*OF_DATABASE, "--start-date", "2026-02-24", "--end-date", "2026-02-24", at=NOON)
    assert outcome.report["datasets"][0]["next_download"]["first_source"] == {"monthly": 0, "daily": 1, "rest": 0}
    assert outcome.report["window"] == {"start_date": "2026-02-24", "end_date": "2026-02-24"}


def test_every_dataset_and_frequency_has_its_line(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], "2026-02-09", "2026-02-11")
    assert workspace.download("--end-date", "2026-02-10", "--download-market-metrics").code == 0
    assert workspace.download(interval="1h").code == 0
    exchange.reset_requests()
    outcome = workspace.run(*OF_DATABASE)
    assert (outcome.code, exchange.requests) == (0, [])
    rates = query(workspace.folder / "market.db", "SELECT count(*) FROM funding_rates")[0][0]
    table = {(entry["dataset"], entry["freq"]): tuple(entry[name] for name in COUNTS) for entry in outcome.report["datasets"]}
    assert table == {
        ("klines", "5m"): (3, 2, 0, 0, 0, 1, 576),
        ("klines", "1h"): (3, 3, 0, 0, 0, 0, 72),
        ("metrics", "5m"): (3, 2, 0, 0, 0, 1, 576),
        ("funding_rates", ""): (3, 2, 0, 0, 0, 1, rates),
    }
    first = {(entry["dataset"], entry["freq"]): entry["next_download"]["first_source"] for entry in outcome.report["datasets"]}
    nothing = {"monthly": 0, "daily": 0, "rest": 0}
    assert first == {
        ("klines", "5m"): {**nothing, "daily": 1},
        ("klines", "1h"): nothing,
        ("metrics", "5m"): {**nothing, "daily": 1},
        ("funding_rates", ""): {**nothing, "rest": 1},
    }


def test_without_a_database_it_looks_at_the_universe(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_universe(tmp_path, missing={"LINKUSDT": truth.days(), "ALGOUSDT": ["2026-02-01"]})
    outcome = workspace.run(*STATUS, "--api-key", "K", "--api-secret", "S")
    assert outcome.code == 0
    report = outcome.report
    assert (report["db_path"], report["datasets"], report["active_symbols"], report["active_symbol_days"]) == (None, [], 2, 55)
    assert report["define_missing"] == {"not_in_current_trading_list": 0, "no_kline_on_date": 29}
    assert outcome.stderr == ""
    assert run_on_terminal(workspace, *STATUS, piped=False)[1].left[:-1] == [
        "universe universe.json: 2026-02-01 to 2026-02-28, 28 days",
        "2 of 3 symbols active, 55 symbol-days; not active: 29 no_kline_on_date",
        "next: cryptoservice universe download --universe-file universe.json --db-path market.db",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["universe.json"]
    assert workspace.run(*STATUS, "--quiet").stderr == workspace.run(*STATUS, "--log-format", "json").stderr == ""


def test_it_looks_while_a_download_runs(workspace: Workspace, market: Market) -> None:
    write_universe(workspace.folder)
    market.without_objects(lambda key: "/monthly/" in key)
    line = ("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db", "--interval", "5m")
    running = workspace.start(*line, "--vision-request-delay", "0.1")
    try:
        wait_until((workspace.folder / "market.db-wal").exists)
        seen: list[int] = []

        def some() -> bool:
            outcome = workspace.run(*OF_DATABASE)
            # In its first moment the file is there, but not yet a database.
            if outcome.code == 0:
                seen.extend(entry["complete"] for entry in outcome.report["datasets"])
            return bool(seen) and seen[-1] > 0

        wait_until(some)
        assert running.poll() is None
        assert 0 < seen[-1] < 84
    finally:
        running.send_signal(signal.SIGTERM)
        _, stderr = running.communicate(timeout=20)
    assert running.returncode == 143, stderr


def test_bad_input_is_refused(workspace: Workspace) -> None:
    assert_refused(workspace.run(*STATUS), "universe.json", "does not exist")
    write_universe(workspace.folder)
    assert_refused(workspace.run(*OF_DATABASE), "market.db", "does not exist")
    assert_refused(workspace.run(*STATUS, "--start-date", "2026-01-31"), "start date", "outside")
    assert_refused(workspace.run(*STATUS, "--end-date", "tomorrow"), "end date", "YYYY-MM-DD", "yesterday")
    assert_refused(workspace.run("universe", "status"), "--universe-file")
    (workspace.folder / "market.db").write_text("no database, but long enough to be looked at" * 50)
    assert_refused(workspace.run(*OF_DATABASE), "not a database", code=1)
    assert sorted(contents(workspace.folder)) == ["market.db", "universe.json"]


def test_stdout_is_one_json_line(workspace: Workspace) -> None:
    write_universe(workspace.folder)
    outcome = workspace.run(*STATUS)
    assert outcome.stdout.count("\n") == 1
    assert json.loads(outcome.stdout)["universe_file"] == "universe.json"
