"""universe verify as a user runs it: sound databases, tampered ones, and sources that disagree."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptoservice import verify_universe
from cryptoservice.audit.findings import SampleResult
from cryptoservice.config import Endpoints, NetworkConfig
from tests.e2e import hostile_klines as hostile
from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import (
    addresses,
    asked,
    assert_refused,
    contents,
    objects,
    query,
    stamps,
    tamper,
    verify,
    wait_until,
    write_universe,
)
from tests.exchange import Fault, Market, ReplayExchange

FIRST, LAST = "2026-02-09", "2026-02-12"
TEN = truth.moment("2026-02-10T10:00")
DAYS = truth.days(FIRST, LAST)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Three symbols over four days: from the archive with metrics, and klines from the API."""
    with ReplayExchange(Market.recorded()) as exchange:
        made = {}
        for name, flags in {"vision": ["--download-market-metrics"], "api": ["--kline-source", "api"]}.items():
            workspace = Workspace(tmp_path_factory.mktemp(name), addresses(exchange))
            write_universe(workspace.folder, first=FIRST, last=LAST)
            outcome = workspace.download(*flags)
            assert outcome.code == 0, outcome
            made[name] = workspace.folder
        yield made


@pytest.fixture
def stored(workspace: Workspace, folders: dict[str, Path]) -> Workspace:
    """A copy of the folder whose klines came from the archive."""
    return filled(workspace, folders["vision"])


@pytest.fixture
def stored_from_api(workspace: Workspace, folders: dict[str, Path]) -> Workspace:
    """A copy of the folder whose klines came from the API."""
    return filled(workspace, folders["api"])


def filled(workspace: Workspace, source: Path) -> Workspace:
    for name in ("universe.json", "market.db"):
        shutil.copy(source / name, workspace.folder / name)
    return workspace


def rows_of(symbol: str, dataset: str = "klines") -> str:
    return f"series_id = (SELECT id FROM series WHERE symbol = '{symbol}' AND dataset = '{dataset}')"


def found(outcome: Outcome) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """Differences by kind, dataset, symbol and date: what else they say."""
    keys = ("kind", "dataset", "symbol", "date")
    return {
        tuple(entry[key] for key in keys): {key: entry[key] for key in entry if key not in (*keys, "freq")}  # type: ignore[misc]
        for entry in outcome.report["differences"]
    }


def test_a_fresh_database_is_sound_and_stays_as_it_is(stored: Workspace, exchange: ReplayExchange) -> None:
    before = contents(stored.folder), stamps(stored.folder)
    outcome = verify(stored)
    assert (outcome.code, exchange.requests) == (0, [])
    report = outcome.report
    rates = query(stored.folder / "market.db", "SELECT count(*) FROM funding_rates")[0][0]
    assert (report["status"], report["differences_total"], report["differences"], report["sample"]) == ("sound", 0, [], None)
    assert (report["checked_symbol_days"], report["rows"]) == (36, {"klines": 3456, "metrics": 3456, "funding_rates": rates})
    assert report["datasets"][0] == {
        "dataset": "klines", "freq": "5m", "active_symbol_days": 12, "checked_symbol_days": 12, "rows": 3456,
    }  # fmt: skip
    assert (contents(stored.folder), stamps(stored.folder)) == before


def test_a_sample_changes_nothing_either(stored: Workspace, exchange: ReplayExchange) -> None:
    before = contents(stored.folder), stamps(stored.folder)
    outcome = verify(stored, "--sample", "5", "--seed", "7")
    assert (outcome.code, outcome.report["status"]) == (0, "sound"), outcome
    sample = outcome.report["sample"]
    assert (sample["seed"], sample["candidates"], sample["compared"], sample["rows"]) == (7, 12, 5, 5 * 288)
    assert (sample["rows_other_lacks"], sample["not_compared"]) == (0, [])
    # What came from the archive is asked of the API, one request a day of 288 bars.
    assert objects(exchange) == []
    wanted = {(item["symbol"], truth.moment(item["date"])) for item in sample["symbol_days"]}
    assert len(wanted) == 5
    requests = asked(exchange, "/fapi/v1/klines")
    assert {(request.params["symbol"], int(request.params["startTime"])) for request in requests} == wanted
    assert outcome.report["requests"] == {"klines": 5}
    assert (contents(stored.folder), stamps(stored.folder)) == before


def test_a_seed_draws_the_same_symbol_days_again(
    stored: Workspace, exchange: ReplayExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(stored.folder / ".state"))
    network = NetworkConfig(Endpoints(exchange.api_url, exchange.vision_url))

    def drawn(size: int, seed: int | None = None) -> SampleResult:
        files = stored.folder / "universe.json", stored.folder / "market.db"
        sample = verify_universe(*files, sample=size, seed=seed, network=network).sample
        assert sample is not None
        return sample

    free = drawn(4)
    assert drawn(4, free.seed) == free
    assert drawn(4, 1).symbol_days != drawn(4, 2).symbol_days
    whole = drawn(99)
    assert (whole.compared, whole.candidates, len(set(whole.symbol_days))) == (12, 12, 12)
    assert drawn(4).seed != free.seed


def test_only_complete_symbol_days_of_one_source_are_drawn(stored: Workspace) -> None:
    day_number = truth.moment(FIRST) // truth.DAY
    tamper(
        stored,
        f"UPDATE ledger SET status = 'confirmed_gap' WHERE {rows_of('ALGOUSDT')} AND day = {day_number}",
        f"UPDATE ledger SET source = 'daily+rest' WHERE {rows_of('AVAXUSDT')} AND day = {day_number}",
    )
    sample = verify(stored, "--sample", "99").report["sample"]
    assert (sample["candidates"], sample["compared"]) == (10, 10)
    drawn = {(item["symbol"], item["date"]) for item in sample["symbol_days"]}
    assert drawn.isdisjoint({("ALGOUSDT", FIRST), ("AVAXUSDT", FIRST)})


def test_a_tampered_database_is_found_out(stored: Workspace, exchange: ReplayExchange) -> None:
    hour = truth.moment("2026-02-09T10:00")
    day_number = truth.moment("2026-02-12") // truth.DAY
    tamper(
        stored,
        f"DELETE FROM kline_rows WHERE {rows_of('ALGOUSDT')} AND open_time = {hour}",
        f"UPDATE kline_rows SET high = low / 2 WHERE {rows_of('AVAXUSDT')} AND open_time IN ({hour}, {hour + 5 * truth.MINUTE})",
        f"UPDATE kline_rows SET taker_buy_volume = volume + 1 WHERE {rows_of('LINKUSDT')} AND open_time = {hour}",
        f"UPDATE kline_rows SET open_time = open_time + 1 WHERE {rows_of('LINKUSDT')} AND open_time = {TEN}",
        f"UPDATE metric_rows SET open_interest = -1 WHERE {rows_of('LINKUSDT', 'metrics')} AND open_time = {TEN}",
        f"UPDATE ledger SET status = 'confirmed_gap' WHERE {rows_of('ALGOUSDT')} AND day = {day_number}",
        f"UPDATE ledger SET rows = 287 WHERE {rows_of('AVAXUSDT', 'metrics')} AND day = {day_number}",
        f"DELETE FROM ledger WHERE {rows_of('LINKUSDT')} AND day = {day_number}",
    )
    before = contents(stored.folder), stamps(stored.folder)
    outcome = verify(stored)
    assert (outcome.code, outcome.report["status"], exchange.requests) == (3, "different", [])
    counted = {"ledger": 287, "database": 288}
    assert found(outcome) == {
        ("row_count", "klines", "ALGOUSDT", FIRST): {"ledger": 288, "database": 287},
        ("high_below_low", "klines", "AVAXUSDT", FIRST): {"rows": 2, "first_time": hour},
        ("taker_above_volume", "klines", "LINKUSDT", FIRST): {"rows": 1, "first_time": hour},
        ("time_off_grid", "klines", "LINKUSDT", "2026-02-10"): {"rows": 1, "first_time": TEN + 1},
        ("number_out_of_range", "metrics", "LINKUSDT", "2026-02-10"): {"rows": 1, "first_time": TEN},
        ("ledger_status", "klines", "ALGOUSDT", LAST): {"status": "confirmed_gap", "rows": 288, "expected_rows": 288},
        ("row_count", "metrics", "AVAXUSDT", LAST): counted,
        ("ledger_status", "metrics", "AVAXUSDT", LAST): {"status": "complete", "rows": 287, "expected_rows": 288},
        ("outside_ledger", "klines", "LINKUSDT", LAST): {"rows": 288},
    }
    assert outcome.report["differences_total"] == 9
    assert outcome.report["differences_by_kind"]["row_count"] == 2
    assert outcome.report["checked_symbol_days"] == 35
    assert (contents(stored.folder), stamps(stored.folder)) == before


def test_a_window_checks_its_days_alone(stored: Workspace) -> None:
    tamper(stored, f"DELETE FROM kline_rows WHERE {rows_of('ALGOUSDT')} AND open_time = {TEN}")
    outcome = verify(stored, "--end-date", FIRST)
    assert (outcome.code, outcome.report["checked_symbol_days"]) == (0, 9)
    assert verify(stored, "--start-date", "2026-02-10", "--end-date", "2026-02-10").code == 3


def test_a_changed_price_that_makes_sense_is_seen_by_the_other_source(stored: Workspace) -> None:
    (true,) = (row for row in truth.rows("AVAXUSDT", "5m", FIRST, LAST) if row[0] == TEN)
    place = f"{rows_of('AVAXUSDT')} AND open_time = {TEN}"
    tamper(stored, f"UPDATE kline_rows SET high = high + 0.001, trades = trades + 1 WHERE {place}")
    assert verify(stored).code == 0, "it is a price like any other"
    outcome = verify(stored, "--sample", "12")
    assert (outcome.code, outcome.report["differences_by_kind"]) == (3, {"value": 2})
    where = {"kind": "value", "dataset": "klines", "freq": "5m", "symbol": "AVAXUSDT", "date": "2026-02-10", "open_time": TEN}
    sources = {"stored_source": "monthly", "other_source": "rest"}
    assert outcome.report["differences"] == [
        {**where, "field": "high", "stored": true[2] + 0.001, "other": true[2], **sources},
        {**where, "field": "trades", "stored": true[7] + 1, "other": true[7], **sources},
    ]


def test_a_row_that_was_taken_away_is_named_by_the_other_source(stored: Workspace) -> None:
    tamper(stored, f"DELETE FROM kline_rows WHERE {rows_of('AVAXUSDT')} AND open_time = {TEN}")
    outcome = verify(stored, "--sample", "12")
    assert outcome.report["differences_by_kind"] == {"row_count": 1, "row_not_stored": 1}
    assert outcome.report["differences"][1]["open_time"] == TEN


def altered(market: Market, symbol: str, period: str) -> None:
    """Let the archive serve another close price at ten o'clock."""
    text = hostile.good_csv(market, symbol, period)
    (line,) = (line for line in text.splitlines() if line.startswith(f"{TEN},"))
    fields = line.split(",")
    fields[4] = fields[3]  # The low is a price that makes sense.
    assert line != ",".join(fields)
    body = hostile.packed((f"{symbol}-5m-{period}.csv", text.replace(line, ",".join(fields)).encode()))
    market.replace_object(hostile.key(symbol, period), body)


def assert_close_differs(outcome: Outcome, symbol: str, stored_source: str, other_source: str) -> None:
    (true,) = (row for row in truth.rows(symbol, "5m", FIRST, LAST) if row[0] == TEN)
    low, close = true[3], true[4]
    values = {"archive": low, "rest": close}
    (difference,) = outcome.report["differences"]
    assert outcome.code == 3
    assert difference == {
        "kind": "value", "dataset": "klines", "freq": "5m", "symbol": symbol, "date": "2026-02-10", "open_time": TEN,
        "field": "close", "stored": values["rest" if stored_source == "rest" else "archive"],
        "other": values["rest" if other_source == "rest" else "archive"],
        "stored_source": stored_source, "other_source": other_source,
    }  # fmt: skip


def test_the_api_contradicts_the_archive(workspace: Workspace, market: Market) -> None:
    altered(market, "LINKUSDT", "2026-02")
    write_universe(workspace.folder, first=FIRST, last=LAST)
    assert workspace.download().code == 0
    assert verify(workspace).code == 0
    assert_close_differs(verify(workspace, "--sample", "12"), "LINKUSDT", "monthly", "rest")


def test_the_archive_contradicts_the_api(stored_from_api: Workspace, exchange: ReplayExchange, market: Market) -> None:
    altered(market, "LINKUSDT", "2026-02-10")
    assert_close_differs(verify(stored_from_api, "--sample", "12"), "LINKUSDT", "rest", "daily")
    assert asked(exchange, "/fapi/") == []
    assert objects(exchange) == sorted(f"{symbol}-5m-{day}" for symbol in truth.SYMBOLS for day in DAYS)


def test_a_day_that_only_the_months_object_has_is_compared_with_that(stored_from_api: Workspace, market: Market) -> None:
    market.without_objects(lambda key: "/daily/" in key)
    altered(market, "LINKUSDT", "2026-02")
    outcome = verify(stored_from_api, "--sample", "12")
    assert outcome.report["sample"]["compared"] == 12
    assert_close_differs(outcome, "LINKUSDT", "rest", "monthly")


def test_a_hole_of_the_other_source_is_counted_and_is_no_difference(stored_from_api: Workspace, market: Market) -> None:
    market.drop_klines("LINKUSDT", TEN, TEN + 15 * truth.MINUTE, sources=("monthly", "daily"))
    outcome = verify(stored_from_api, "--sample", "12")
    assert (outcome.code, outcome.report["status"]) == (0, "sound")
    sample = outcome.report["sample"]
    assert (sample["compared"], sample["rows"], sample["rows_other_lacks"]) == (12, 12 * 288 - 3, 3)


def test_a_symbol_that_the_other_source_does_not_serve_is_told_and_no_fault(stored: Workspace, market: Market) -> None:
    market.delist("LINKUSDT")
    outcome = verify(stored, "--sample", "12")
    assert (outcome.code, outcome.report["status"], outcome.report["sample"]["compared"]) == (0, "sound", 8)
    untold = outcome.report["sample"]["not_compared"]
    assert sorted(entry["date"] for entry in untold) == DAYS
    assert {(entry["symbol"], entry["stored_source"]) for entry in untold} == {("LINKUSDT", "monthly")}
    assert all(entry["reason"].startswith("rest: ") for entry in untold)


def test_what_cannot_be_fetched_is_not_called_sound(stored: Workspace, exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.server_error(503, host="api", times=None))
    outcome = verify(stored, "--sample", "1", "--max-retries", "0")
    assert (outcome.code, outcome.report["status"], outcome.report["differences_total"]) == (3, "not_verified", 0)
    assert outcome.report["sample"]["not_compared"][0]["reason"] == "rest: http_503"
    assert len(exchange.requests) == 1


def test_a_broken_archive_object_is_not_called_sound(stored_from_api: Workspace, exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.wrong_checksum(times=None))
    outcome = verify(stored_from_api, "--sample", "1")
    assert (outcome.code, outcome.report["status"]) == (3, "not_verified")
    assert "checksum_mismatch" in outcome.report["sample"]["not_compared"][0]["reason"]


def test_a_source_that_refuses_is_exit_code_4(stored: Workspace, exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.restricted_451(host="api", times=None))
    outcome = verify(stored, "--sample", "12")
    assert (outcome.code, outcome.report["status"]) == (4, "not_verified")
    assert len(outcome.report["sample"]["not_compared"]) == 12
    assert outcome.stderr.splitlines()[-2].startswith("error: ")


def test_it_can_be_stopped_while_a_source_is_slow(stored: Workspace, exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.slow(30.0, host="api", times=None))
    line = ("universe", "verify", "--universe-file", "universe.json", "--db-path", "market.db", "--sample", "2")
    running = stored.start(*line)
    wait_until(lambda: exchange.requests)
    running.send_signal(signal.SIGTERM)
    stdout, stderr = running.communicate(timeout=10)
    assert (running.returncode, stdout) == (143, "")
    assert "error: interrupted by SIGTERM" in stderr


def test_bad_input_is_refused(stored: Workspace) -> None:
    command = ("universe", "verify", "--universe-file", "universe.json")
    assert_refused(stored.run(*command), "--db-path")
    assert_refused(stored.run(*command, "--db-path", "none.db"), "none.db", "does not exist")
    assert_refused(verify(stored, "--sample", "0"), "--sample")
    assert_refused(verify(stored, "--seed", "3"), "seed", "--sample")
    assert_refused(verify(stored, "--start-date", "2026-02-13"), "start date", "outside")
    write_universe(stored.folder, ["OTHERUSDT"], FIRST, LAST)
    assert_refused(verify(stored), "market.db", "no active symbol-day")


def test_stdout_is_one_json_line_and_people_read_stderr(stored: Workspace) -> None:
    outcome = verify(stored)
    assert json.loads(outcome.stdout.removesuffix("\n"))["status"] == "sound"
    assert outcome.stdout.count("\n") == 1
    assert outcome.said.startswith("36 symbol-days with ")
    assert verify(stored, "-q").stderr == ""
