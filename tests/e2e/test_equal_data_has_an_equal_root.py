"""universe lock and verify --lock as users run them: one root for the same data, and every difference named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.crash_steps import json_file, store_minutes, temps
from tests.e2e.steps import addresses, assert_refused, contents, query, stamps, tamper, verify, wait_until, write_universe
from tests.exchange import Market, ReplayExchange
from tests.unit.audit.dataset_lock import by_hand

FIRST, LAST = "2026-02-07", "2026-02-12"
DAYS = [date.fromisoformat(day) for day in truth.days(FIRST, LAST)]
ACTIVE = dict.fromkeys(truth.SYMBOLS, DAYS)
METRICS = "--download-market-metrics"
TEN = truth.moment("2026-02-10T10:00")


def window(first: str, last: str) -> tuple[str, ...]:
    return ("--start-date", first, "--end-date", last)


def lock(workspace: Workspace, *arguments: str, output: str = "lock.json") -> Outcome:
    """`universe lock` of the workspace's universe and database."""
    files = ("--universe-file", "universe.json", "--db-path", "market.db", "--output", output)
    return workspace.run("universe", "lock", *files, *arguments)


# How people on different machines come to the same data: their runs, one after another.
WAYS: dict[str, list[tuple[str, ...]]] = {
    "all at once": [(METRICS,)],
    "the archive alone": [(METRICS, "--kline-source", "vision", "--max-vision-workers", "1")],
    "klines from the API": [("--kline-source", "api", "--max-api-workers", "2"), (METRICS,)],
    "day after day, the last one first": [(METRICS, *window(day, day)) for day in reversed(truth.days(FIRST, LAST))],
    "windows that overlap, from two sources": [
        ("--kline-source", "api", *window("2026-02-10", LAST)),
        ("--kline-source", "vision", *window(FIRST, "2026-02-11")),
        (METRICS, *window("2026-02-09", "2026-02-09")),
        (METRICS,),
        ("--no-incremental", "--kline-source", "api"),
    ],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A folder for each way, with the same universe, its own database, and its lock."""
    with ReplayExchange(Market.recorded()) as exchange:
        folders = {}
        for way, runs in WAYS.items():
            workspace = Workspace(tmp_path_factory.mktemp("way"), addresses(exchange))
            write_universe(workspace.folder, first=FIRST, last=LAST)
            for run in runs:
                outcome = workspace.download(*run)
                assert outcome.code == 0, outcome
            assert lock(workspace).code == 0
            folders[way] = workspace.folder
        yield folders


@pytest.fixture
def locked(workspace: Workspace, made: dict[str, Path]) -> Workspace:
    """A copy of the first of these folders."""
    shutil.copytree(made["all at once"], workspace.folder, dirs_exist_ok=True)
    return workspace


def test_all_ways_lead_to_one_root(made: dict[str, Path]) -> None:
    locks = {way: json_file(folder / "lock.json") for way, folder in made.items()}
    first = locks["all at once"]
    for way, found in locks.items():
        assert (found["root"], found["datasets"], found["days"]) == (first["root"], first["datasets"], first["days"]), way
    # What differs is where the rows came from, which the root does not know.
    assert len({json.dumps(found["objects"]) for found in locks.values()}) > 2


def test_the_lock_says_what_the_recordings_say(made: dict[str, Path]) -> None:
    """Klines straight from the recordings, all else by hand from the public tables."""
    record = json_file(made["all at once"] / "lock.json")
    assert list(record["datasets"]) == ["funding_rates", "klines/5m", "metrics/5m"]
    for symbol in truth.SYMBOLS:
        rows = truth.rows(symbol, "5m", FIRST, LAST)
        packed = b"".join(bytes(4) + struct.pack("<q6dq2d", *row) for row in rows)
        assert record["datasets"]["klines/5m"][symbol] == {"2026-02": hashlib.sha256(packed).hexdigest()}
    for folder in made.values():
        expected = by_hand.lock_of(folder / "market.db", ACTIVE)
        assert (record["datasets"], record["root"], by_hand.days_of(record["days"])) == (
            expected.datasets, expected.root, expected.days
        )  # fmt: skip
    universe = (made["all at once"] / "universe.json").read_bytes()
    assert record["universe_sha256"] == hashlib.sha256(universe).hexdigest()
    used = "SELECT DISTINCT name, sha256 FROM source_objects JOIN symbol_days ON object_id = id WHERE rows > 0 ORDER BY 1, 2"
    objects = [(entry["name"], entry["sha256"]) for entry in record["objects"]]
    assert objects == query(made["all at once"] / "market.db", used) != []


def test_a_killed_run_that_was_taken_up_has_the_same_root(
    workspace: Workspace, exchange: ReplayExchange, made: dict[str, Path]
) -> None:
    write_universe(workspace.folder, first=FIRST, last=LAST)
    exchange.latency = 0.1
    for _ in range(3):
        exchange.reset_requests()
        running = workspace.start(
            *("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db", "--interval", "5m", METRICS)
        )
        wait_until(lambda run=running: len(exchange.requests) > 6 or run.poll() is not None)
        running.send_signal(signal.SIGKILL)
        running.communicate()
    exchange.latency = 0.0
    assert workspace.download(METRICS).code == 0
    assert lock(workspace).report["root"] == json_file(made["all at once"] / "lock.json")["root"]


def test_a_dataset_is_rebuilt_and_proven(locked: Workspace, exchange: ReplayExchange) -> None:
    """Another machine has the universe and the lock alone."""
    (locked.folder / "market.db").unlink()
    assert locked.download(METRICS, "--kline-source", "api").code == 0
    exchange.reset_requests()
    before = contents(locked.folder)
    outcome = verify(locked, "--lock", "lock.json")
    assert (outcome.code, outcome.report["status"]) == (0, "sound")
    root = json_file(locked.folder / "lock.json")["root"]
    assert outcome.report["lock"] == {"expected_root": root, "root": root, "differs": [], "differs_total": 0}
    assert f"9 symbol-months compared with the lock, 0 differ; root {root}" in outcome.stderr
    assert (exchange.requests, contents(locked.folder)) == ([], before)


def flip(workspace: Workspace, symbol: str) -> None:
    """Change the last bit of one close price, which no other check can notice."""
    where = f"open_time = {TEN} AND series_id = (SELECT id FROM series WHERE symbol = '{symbol}' AND dataset = 'klines')"
    with closing(sqlite3.connect(workspace.folder / "market.db")) as db, db:
        ((high, low, close),) = db.execute(f"SELECT high, low, close FROM kline_rows WHERE {where}")
        (bits,) = struct.unpack("<q", struct.pack("<d", close))
        (changed,) = struct.unpack("<d", struct.pack("<q", bits ^ 1))
        assert low < changed < high
        assert db.execute(f"UPDATE kline_rows SET close = ? WHERE {where}", (changed,)).rowcount == 1


def test_what_differs_is_named_by_month_and_day(locked: Workspace) -> None:
    flip(locked, "LINKUSDT")
    gone = "series_id = (SELECT id FROM series WHERE symbol = 'AVAXUSDT' AND dataset = 'metrics')"
    tamper(
        locked,
        f"DELETE FROM metric_rows WHERE {gone} AND open_time >= {truth.moment('2026-02-11')}",
        f"DELETE FROM ledger WHERE {gone} AND day >= {truth.moment('2026-02-11') // truth.DAY}",
    )
    assert locked.download("--end-date", FIRST, interval="1h").code == 0
    outcome = verify(locked, "--lock", "lock.json")
    assert (outcome.code, outcome.report["status"], outcome.report["differences"]) == (3, "different", [])
    found = outcome.report["lock"]
    extra = {"month": "2026-02", "kind": "extra", "days": {FIRST: "extra"}}
    assert found["differs"] == [
        *({"dataset": "klines/1h", "symbol": symbol, **extra} for symbol in truth.SYMBOLS),
        {
            "dataset": "klines/5m", "symbol": "LINKUSDT", "month": "2026-02", "kind": "differs",
            "days": {"2026-02-10": "differs"},
        },
        {
            "dataset": "metrics/5m", "symbol": "AVAXUSDT", "month": "2026-02", "kind": "differs",
            "days": {"2026-02-11": "missing", "2026-02-12": "missing"},
        },
    ]  # fmt: skip
    assert found["expected_root"] == json_file(locked.folder / "lock.json")["root"]
    assert found["root"] == by_hand.lock_of(locked.folder / "market.db", ACTIVE).root
    told = [line.removeprefix("error: ") for line in outcome.stderr.splitlines() if "lock: " in line or "the lock says" in line]
    assert told == [
        *(f"lock: klines/1h {symbol} 2026-02 extra: {FIRST} extra" for symbol in truth.SYMBOLS),
        "lock: klines/5m LINKUSDT 2026-02 differs: 2026-02-10 differs",
        "lock: metrics/5m AVAXUSDT 2026-02 differs: 2026-02-11 missing, 2026-02-12 missing",
        '5 symbol-months are not what the lock says, 3 of them of the kind "extra": '
        "fetch their days again with download --no-incremental",
    ]


def test_what_is_missing_comes_back_by_the_next_download(locked: Workspace) -> None:
    tamper(locked, "DELETE FROM funding_rows", "DELETE FROM ledger WHERE expected_rows = 3 OR rows = 3")
    outcome = verify(locked, "--lock", "lock.json", "-q")
    assert outcome.code == 3
    assert {(one["dataset"], one["kind"], len(one["days"])) for one in outcome.report["lock"]["differs"]} == {
        ("funding_rates", "missing", 6)
    }
    assert locked.download(METRICS).code == 0
    assert verify(locked, "--lock", "lock.json").code == 0


def test_a_repair_is_compared_after_it_has_mended(locked: Workspace) -> None:
    rows = "series_id = (SELECT id FROM series WHERE symbol = 'LINKUSDT' AND dataset = 'klines')"
    tamper(locked, f"UPDATE kline_rows SET high = 0.001 WHERE {rows} AND open_time = {TEN}")
    assert verify(locked, "--lock", "lock.json").report["status"] == "different"
    outcome = verify(locked, "--lock", "lock.json", "--repair")
    assert (outcome.code, outcome.report["status"], outcome.report["lock"]["differs"]) == (0, "repaired", [])


def test_json_logs_carry_the_difference(locked: Workspace) -> None:
    flip(locked, "LINKUSDT")
    outcome = verify(locked, "--lock", "lock.json", "--log-format", "json", "-q")
    first, last = map(json.loads, outcome.stderr.splitlines())
    assert first["lock_difference"] == outcome.report["lock"]["differs"][0]
    assert (last["level"].upper(), last["exit_code"]) == ("ERROR", 3)


def test_a_lock_is_not_replaced_without_force(locked: Workspace) -> None:
    before = contents(locked.folder)
    outcome = lock(locked)
    assert_refused(outcome, "lock.json exists already", "--force")
    assert contents(locked.folder) == before
    outcome = lock(locked, "--force")
    assert outcome.code == 0
    assert contents(locked.folder) == before, "the same database gives the same bytes"
    assert outcome.stdout.count("\n") == 1
    assert outcome.report["root"] == json_file(locked.folder / "lock.json")["root"]
    assert_refused(lock(locked, "--force", output="universe.json"), "universe.json is the universe file")
    assert_refused(lock(locked, "--force", output="market.db"), "market.db is the database")
    assert contents(locked.folder) == before


def changed(record: dict[str, Any], **values: Any) -> str:
    return json.dumps({**record, **values})


def test_a_lock_that_cannot_be_used_is_refused_before_any_work(locked: Workspace, exchange: ReplayExchange) -> None:
    path = locked.folder / "lock.json"
    record, text = json_file(path), path.read_text()
    exchange.reset_requests()
    cases: dict[str, tuple[str, tuple[str, ...]]] = {
        "another version": (changed(record, lock_version="2.0"), ("lock_version is '2.0', not '1.0'", "use the version")),
        "broken": (text[: len(text) // 2], ("not JSON at line ", "universe lock")),
        "another universe": (changed(record, universe_sha256="0" * 64), ("another universe file", "0" * 64)),
        "another root": (changed(record, root="0" * 64), ("root is not that of the digests", "universe lock")),
    }
    for name, (content, words) in cases.items():
        path.write_text(content)
        before = stamps(locked.folder)
        for more in ((), ("--repair",)):
            outcome = verify(locked, "--lock", "lock.json", *more)
            assert_refused(outcome, "lock.json", *words)
            assert stamps(locked.folder) == before, name
    path.write_text(text)
    outside = verify(locked, "--lock", "lock.json", "--start-date", "2026-02-09")
    assert_refused(outside, f"covers {FIRST} to {LAST}, not 2026-02-09 to {LAST}", "--start-date", "universe lock")
    assert_refused(verify(locked, "--lock", "none.json"), "none.json", "does not exist", "universe lock")
    assert verify(locked, "--lock", "lock.json", *window(FIRST, LAST)).code == 0
    assert exchange.requests == []


def test_a_signal_ends_a_lock_in_the_midst(workspace: Workspace) -> None:
    names = [f"S{number:03d}USDT" for number in range(200)]
    days = truth.days("2026-02-01", "2026-02-04")
    write_universe(workspace.folder, names, days[0], days[-1])
    for day in days:
        store_minutes(workspace.folder / "market.db", names, day)
    running = workspace.start(
        *("universe", "lock", "--universe-file", "universe.json", "--db-path", "market.db", "--output", "lock.json")
    )
    wait_until(lambda: has_open(running.pid, workspace.folder / "market.db"))
    running.send_signal(signal.SIGTERM)
    stdout, stderr = running.communicate(timeout=2)
    assert (running.returncode, stdout) == (143, "")
    assert "error: interrupted by SIGTERM" in stderr
    assert not (workspace.folder / "lock.json").exists()
    assert not temps(workspace.folder)


def has_open(pid: int, path: Path) -> bool:
    """Whether that process has the file open."""
    try:
        return any(os.readlink(entry) == str(path) for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
