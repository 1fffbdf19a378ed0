"""universe verify --repair as a user runs it: what differs is asked of every source, and verified again."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import date
from pathlib import Path

import pytest

from cryptoservice.storage.lock import DatabaseLock
from tests.e2e import hostile_klines as hostile
from tests.e2e import metrics_truth, truth
from tests.e2e.conftest import Workspace
from tests.e2e.steps import asked, dump, klines, ledger, objects, query, tamper, verify, write_universe
from tests.exchange import Fault, Market, ReplayExchange

FIRST, LAST = "2026-02-09", "2026-02-10"
TEN = truth.moment("2026-02-10T10:00")
DAY_NUMBER = truth.moment("2026-02-10") // truth.DAY


def of(symbol: str, freq: str = "5m") -> str:
    return f"series_id = (SELECT id FROM series WHERE symbol = '{symbol}' AND dataset = 'klines' AND freq = '{freq}')"


@pytest.fixture
def stored(workspace: Workspace) -> Workspace:
    """Two days of two symbols at 5m from the archive."""
    write_universe(workspace.folder, ["LINKUSDT", "AVAXUSDT"], FIRST, LAST)
    assert workspace.download("-q").code == 0
    return workspace


# -- the archive is wrong, in the day's object and in the month's ---------------------------------------------------------


def flatten(market: Market, *periods: str) -> None:
    """13 minutes from ten o'clock on without a trade, at the price of the last one, in these objects of LINKUSDT."""
    for period in periods:
        lines = hostile.good_csv(market, "LINKUSDT", period, "1m").splitlines()
        times = [line.partition(",")[0] for line in lines]
        start = times.index(str(TEN))
        price = lines[start - 1].split(",")[4]
        for number in range(start, start + 13):
            fields = lines[number].split(",")
            lines[number] = ",".join([fields[0], *[price] * 4, "0", fields[6], "0", "0", "0", "0", "0"])
        body = hostile.packed((f"LINKUSDT-1m-{period}.csv", ("\n".join(lines) + "\n").encode()))
        market.replace_object(hostile.key("LINKUSDT", period, "1m"), body)


@pytest.mark.parametrize("first", ["2026-02-09", "2026-02-10"], ids=["from the month's object", "from the day's object"])
def test_minutes_that_archive_and_month_share_and_only_the_api_has_right(
    workspace: Workspace, exchange: ReplayExchange, market: Market, first: str
) -> None:
    flatten(market, "2026-02", "2026-02-10")
    database = workspace.folder / "market.db"
    write_universe(workspace.folder, ["LINKUSDT"], first, LAST)
    assert workspace.download("-q", interval="1m").code == 0
    true = truth.rows("LINKUSDT", "1m", first, LAST)
    wrong = klines(database, "LINKUSDT", "1m")
    assert [row[0] for row, right in zip(wrong, true, strict=True) if row != right] == [
        TEN + number * truth.MINUTE for number in range(13)
    ]

    # What verify advised before: the archive says the same once more.
    assert workspace.download("--no-incremental", "-q", interval="1m").code == 0
    assert klines(database, "LINKUSDT", "1m") == wrong
    found = verify(workspace, "--sample", "9", "--seed", "3", "-q")
    (before,) = (row for row in wrong if row[0] == TEN)
    (right,) = (row for row in true if row[0] == TEN)
    source = "monthly" if first == FIRST else "daily"
    assert found.code == 3
    lines = found.stderr.splitlines()
    assert lines[0] == f"error: klines 1m LINKUSDT 2026-02-10 10:00:00 open: stored {before[1]}, rest {right[1]}"
    assert (len(lines), found.report["differences"][0]["stored_source"]) == (11, source)
    days = len(truth.days(first, LAST))
    assert lines[-1].endswith(f'of the kind "value": repair them with verify --repair --sample {days} --seed 3')

    exchange.reset_requests()
    mended = verify(workspace, "--repair", "--sample", str(days), "--seed", "3")
    assert (mended.code, mended.report["status"]) == (0, "repaired"), mended
    assert mended.report["differences_total"] == found.report["differences_total"]
    (day,) = mended.report["repair"]["days"]
    assert (day["date"], day["mended"], day["status"]) == ("2026-02-10", True, "complete")
    assert objects(exchange) == ["LINKUSDT-1m-2026-02", "LINKUSDT-1m-2026-02-10"], "exactly the symbol-day that differs"
    assert klines(database, "LINKUSDT", "1m") == true
    line = ledger(database, "1m")["LINKUSDT", "2026-02-10"]
    assert (line.status, line.source) == ("complete", "rest")
    assert "rest_overrules_archive" in (line.reason or "")

    # The archive's rows do not come back, and what it says otherwise is known from now on.
    assert workspace.download("--no-incremental", "-q", interval="1m").code == 0
    assert klines(database, "LINKUSDT", "1m") == true
    again = verify(workspace, "--sample", "9")
    assert (again.code, again.report["status"], again.report["differences"]) == (0, "sound", []), again
    known = {(entry["open_time"], entry["field"]) for entry in again.report["known_differences"]}
    assert {moment for moment, _ in known} == {TEN + number * truth.MINUTE for number in range(13)}
    assert again.report["known_differences_total"] == found.report["differences_total"]

    # That the day is known to differ hides nothing new.
    tamper(workspace, f"UPDATE kline_rows SET trades = trades + 1 WHERE {of('LINKUSDT', '1m')} AND open_time = {TEN}")
    changed = verify(workspace, "--sample", "9")
    assert (changed.code, changed.report["differences_by_kind"]) == (3, {"value": 1})
    assert changed.report["differences"][0]["other_source"] == "rest"


# -- the database was damaged ---------------------------------------------------------------------------------------------


def test_damage_of_every_kind_is_mended(stored: Workspace, exchange: ReplayExchange) -> None:
    database = stored.folder / "market.db"
    rows = [klines(database, symbol) for symbol in ("LINKUSDT", "AVAXUSDT")]
    tamper(
        stored,
        f"DELETE FROM kline_rows WHERE {of('LINKUSDT')} AND open_time = {TEN}",
        f"UPDATE kline_rows SET open_time = open_time + 1 WHERE {of('LINKUSDT')} AND open_time = {TEN - truth.DAY}",
        f"UPDATE kline_rows SET trades = -1 WHERE {of('AVAXUSDT')} AND open_time = {TEN}",
        f"UPDATE ledger SET expected_rows = 12, status = 'confirmed_gap' WHERE {of('AVAXUSDT')} AND day = {DAY_NUMBER}",
        f"DELETE FROM ledger WHERE {of('AVAXUSDT')} AND day = {DAY_NUMBER - 1}",
    )
    exchange.reset_requests()
    found = verify(stored, "-q")
    assert (found.code, exchange.requests) == (3, [])
    assert found.stderr.splitlines() == [
        "error: klines 5m LINKUSDT 2026-02-09 time_off_grid: rows 1, first time 1770631200001",
        "error: klines 5m LINKUSDT 2026-02-10 row_count: ledger 288, database 287",
        "error: klines 5m AVAXUSDT 2026-02-10 expected_rows: ledger 12, due 288",
        "error: klines 5m AVAXUSDT 2026-02-10 number_out_of_range: rows 1, first time 1770717600000",
        "error: klines 5m AVAXUSDT 2026-02-09 outside_ledger: rows 288",
        'error: 5 differences, 1 of them of the kind "time_off_grid": repair them with verify --repair',
    ]
    mended = verify(stored, "--repair")
    assert (mended.code, mended.report["status"], mended.report["repair"]["mended"]) == (0, "repaired", 4), mended
    assert [klines(database, symbol) for symbol in ("LINKUSDT", "AVAXUSDT")] == rows
    assert {line[:4] for line in ledger(database).values()} == {("complete", None, 288, 288)}
    assert (verify(stored, "-q").code, verify(stored, "--sample", "9").code) == (0, 0)


def test_a_row_that_nobody_ever_wrote_is_not_kept(workspace: Workspace, market: Market) -> None:
    market.drop_klines("LINKUSDT", TEN, TEN + 5 * truth.MINUTE)
    write_universe(workspace.folder, ["LINKUSDT"], FIRST, LAST)
    assert workspace.download("-q").code == 0
    before = klines(workspace.folder / "market.db", "LINKUSDT")
    columns = "open, high, low, close, volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume"
    tamper(
        workspace,
        f"INSERT INTO kline_rows SELECT series_id, {TEN}, {columns} FROM kline_rows "
        f"WHERE {of('LINKUSDT')} AND open_time = {TEN - 5 * truth.MINUTE}",
    )
    assert verify(workspace, "-q").code == 3
    assert verify(workspace, "--repair").code == 0
    assert klines(workspace.folder / "market.db", "LINKUSDT") == before
    line = ledger(workspace.folder / "market.db")["LINKUSDT", "2026-02-10"]
    assert line[:4] == ("confirmed_gap", "sources_agree", 287, 288)


def test_two_intervals_that_contradict_each_other(stored: Workspace, exchange: ReplayExchange) -> None:
    database = stored.folder / "market.db"
    assert stored.download("-q", interval="1m").code == 0
    assert stored.download("-q", interval="1h").code == 0
    assert verify(stored, "-q").code == 0
    before = dump(database)[0]
    (true,) = (row for row in truth.rows("AVAXUSDT", "5m", FIRST, LAST) if row[0] == TEN)
    tamper(stored, f"UPDATE kline_rows SET volume = volume + 0.001 WHERE {of('AVAXUSDT')} AND open_time = {TEN}")
    exchange.reset_requests()
    found = verify(stored, "-q")
    assert (found.code, exchange.requests, found.report["differences_by_kind"]) == (3, [], {"aggregate": 2})
    assert found.report["differences"][0] == {
        "kind": "aggregate", "dataset": "klines", "freq": "5m", "symbol": "AVAXUSDT", "date": "2026-02-10", "open_time": TEN,
        "field": "volume", "stored": true[5] + 0.001, "aggregated": true[5], "aggregated_freq": "1m",
    }  # fmt: skip
    assert found.stderr.splitlines()[0] == (
        f"error: klines 5m AVAXUSDT 2026-02-10 10:00:00 volume: stored {true[5] + 0.001}, all 1m bars together {true[5]}"
    )
    assert verify(stored, "--repair").code == 0
    assert dump(database)[0] == before


# -- what cannot be mended ------------------------------------------------------------------------------------------------


def test_without_a_source_nothing_is_mended_and_nothing_is_lost(stored: Workspace, exchange: ReplayExchange) -> None:
    tamper(
        stored,
        f"UPDATE kline_rows SET trades = -1 WHERE {of('AVAXUSDT')} AND open_time = {TEN}",
        f"DELETE FROM ledger WHERE {of('LINKUSDT')} AND day = {DAY_NUMBER}",
    )
    before = dump(stored.folder / "market.db")
    exchange.faults.add(Fault.server_error(503, times=None))
    outcome = verify(stored, "--repair", "--max-retries", "0", "-q")
    assert (outcome.code, outcome.report["status"], outcome.report["repair"]["mended"]) == (3, "different", 0)
    assert outcome.stderr.splitlines()[-1] == (
        "error: 2 of 2 symbol-days that differed could not be repaired, 2 of them with the reason "
        '"rest: http_503": try again later with verify --repair'
    )
    assert dump(stored.folder / "market.db") == before
    exchange.faults.clear()
    assert verify(stored, "--repair").code == 0


def test_a_repair_of_a_sound_database_asks_nobody(stored: Workspace, exchange: ReplayExchange) -> None:
    before = (stored.folder / "market.db").read_bytes()
    exchange.reset_requests()
    outcome = verify(stored, "--repair")
    assert (outcome.code, outcome.report["status"], asked(exchange)) == (0, "sound", [])
    assert outcome.report["repair"] == {"symbol_days": 0, "mended": 0, "differences_total": 0, "differences": [], "days": []}
    assert (stored.folder / "market.db").read_bytes() == before


def test_a_repair_waits_for_no_other_run(stored: Workspace, tmp_path: Path) -> None:
    with DatabaseLock(stored.folder / "market.db", "2026-03-01T00:00:00+00:00"):
        assert verify(stored).code == 0, "reading disturbs nobody"
        outcome = verify(stored, "--repair")
        assert (outcome.code, "another run holds this database" in outcome.stderr) == (5, True)
    assert query(stored.folder / "market.db", "SELECT count(*) FROM klines") == [(2 * 2 * 288,)]
    missing = stored.run("universe", "verify", "--universe-file", "universe.json", "--db-path", "none.db", "--repair")
    assert (missing.code, list(tmp_path.glob("none.db*"))) == (2, [])


# -- metrics under the wrong bar ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early", [1, -1], ids=["a bar early", "a bar late"])
def test_metrics_that_stand_under_the_wrong_bar(workspace: Workspace, market: Market, early: int) -> None:
    day = "2026-06-10"
    market.add_symbol("MADEUSDT", date(2026, 5, 1))
    write_universe(workspace.folder, ["MADEUSDT"], day, day)
    assert workspace.download("-q", "--download-market-metrics").code == 0
    database = workspace.folder / "market.db"
    right = metrics_truth.metrics(market, "MADEUSDT", day, day)
    assert metrics_truth.stored_metrics(database, "MADEUSDT") == right
    assert verify(workspace).code == 0
    # Within the day, so that the number of rows stays: the values move, the times do not.
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        columns = ", ".join(f"{name} = ?" for name in metrics_truth.COLUMNS[2:])
        for row, source in zip(right, right[early:] + right[:early], strict=True):
            done = db.execute(f"UPDATE metric_rows SET {columns} WHERE open_time = ?", (*source[1:], row[0]))
            assert done.rowcount == 1
    found = verify(workspace)
    assert found.code == 3
    assert any(f"MADEUSDT {day}" in line and line.startswith("error: metrics") for line in found.stderr.splitlines()), (
        found.stderr
    )
    assert found.report["differences_by_kind"] == {"metrics_misaligned": 1}
    assert verify(workspace, "--repair").code == 0
    assert metrics_truth.stored_metrics(database, "MADEUSDT") == right
