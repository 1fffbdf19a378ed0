"""SIGKILL at any moment: nothing committed is lost, nothing half is visible, the next run finishes the job."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Workspace
from tests.e2e.crash_steps import (
    DOWNLOAD,
    EXPORT,
    WINDOW,
    Reference,
    assert_finished,
    assert_sound,
    csvs,
    dead_pid,
    freeze_when,
    helpers_of,
    json_file,
    kill,
    make_reference,
    store_minutes,
    temps,
)
from tests.e2e.steps import addresses, ledger, query, wait_until, write_universe
from tests.exchange import Fault, Market, ReplayExchange

# Three symbols on six days, three datasets.
WANTED = 54
UNKNOWN = ",".join(f"NOSUCH{number}USDT" for number in range(150))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return make_reference(tmp_path_factory)


class _Kills:
    """What the kills of one test hit."""

    def __init__(self) -> None:
        self.alive = 0
        self.known: list[int] = []

    def assert_real(self, runs: int) -> None:
        """Most hit a running download that had stored something and not everything."""
        assert self.alive >= runs - runs // 5, f"{self.alive} of {runs} kills hit a running process"
        partly = [known for known in self.known if 0 < known < WANTED]
        assert 2 * len(partly) > runs, self.known
        assert len(set(self.known)) > 1, self.known


def _kill_download(folder: Path, reference: Reference, seed: int, kills: _Kills) -> None:
    chance = random.Random(seed)
    reference.give(folder, "universe.json")
    with ReplayExchange(Market.recorded(), latency=0.1) as exchange:
        workspace = Workspace(folder, addresses(exchange))
        # Every round kills the run at some request or a little later; some rounds kill the resumed run again.
        for _ in range(1 + (seed % 3 == 2)):
            exchange.reset_requests()
            running = workspace.start(*DOWNLOAD, "--max-vision-workers", "3", "--max-api-workers", "2")
            wanted = chance.randint(4, 22)
            wait_until(lambda: len(exchange.requests) >= wanted or running.poll() is not None)  # noqa: B023
            # A random moment after that request is what is tested here.
            time.sleep(chance.uniform(0.0, 0.2))
            kills.alive += kill(running)
            database = folder / "market.db"
            kills.known.append(assert_sound(database) if database.exists() else 0)
        exchange.latency = 0.0
        assert_finished(workspace, reference)


def _kill_downloads(folder: Path, reference: Reference, seeds: range) -> None:
    kills = _Kills()
    for seed in seeds:
        (folder / str(seed)).mkdir()
        _kill_download(folder / str(seed), reference, seed, kills)
    kills.assert_real(len(kills.known))


def test_a_killed_download_is_finished_by_the_next(tmp_path: Path, reference: Reference) -> None:
    _kill_downloads(tmp_path, reference, range(4))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_killed_downloads(tmp_path: Path, reference: Reference) -> None:
    _kill_downloads(tmp_path, reference, range(100, 150))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_at_any_time_from_start_to_end(tmp_path: Path, reference: Reference, exchange: ReplayExchange) -> None:
    """By the clock, so that opening, the making of the schema and the last fold-in are hit as well."""
    chance = random.Random(7)
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        reference.give(folder, "universe.json")
        workspace = Workspace(folder, addresses(exchange))
        running = workspace.start(*DOWNLOAD)
        # A random moment from the start on is what is tested here.
        time.sleep(chance.uniform(0.1, 0.9))
        kill(running)
        if (folder / "market.db").exists():
            assert_sound(folder / "market.db")
        assert_finished(workspace, reference)


def test_a_kill_before_the_schema_was_made(workspace: Workspace, reference: Reference) -> None:
    """The lock is taken and an empty file stands there: no obstacle."""
    reference.give(workspace.folder, "universe.json")
    (workspace.folder / "market.db").touch()
    (workspace.folder / "market.db.lock").write_text("{")
    assert_finished(workspace, reference)


def _leave_hot_journal(database: Path) -> None:
    """As a kill leaves it in the midst of a transaction with a rollback journal: pages changed, the journal beside them."""
    shelf = database.with_name("shelf.db")
    db = sqlite3.connect(database, isolation_level=None)
    db.execute("PRAGMA cache_size = 5")
    db.execute("BEGIN")
    db.execute("UPDATE source_objects SET sha256 = 'x'")
    db.execute("CREATE TABLE junk AS SELECT * FROM klines")
    journal = database.with_name(database.name + "-journal")
    assert journal.stat().st_size > 512
    shelf.write_bytes(database.read_bytes())
    kept = journal.read_bytes()
    db.execute("ROLLBACK")
    db.close()
    shelf.replace(database)
    journal.write_bytes(kept)


@pytest.mark.parametrize("next_run", ["download", "export"])
def test_a_hot_journal_is_rolled_back_by_the_next_run(workspace: Workspace, reference: Reference, next_run: str) -> None:
    """SQLite switches to and from its write-ahead log with a rollback journal: a kill in that moment leaves one."""
    reference.give(workspace.folder, "universe.json", "market.db")
    _leave_hot_journal(workspace.folder / "market.db")
    if next_run == "export":
        outcome = workspace.run(*EXPORT)
        assert outcome.code == 0, outcome
        assert csvs(workspace.folder / "exports") == reference.exports
    assert_finished(workspace, reference)


@pytest.mark.slow
def test_a_killed_download_can_be_exported_as_it_is(workspace: Workspace, exchange: ReplayExchange, reference: Reference) -> None:
    """The write-ahead log that the kill left is read; a later export of the whole replaces the partial files."""
    reference.give(workspace.folder, "universe.json")
    exchange.latency = 0.05
    running = workspace.start(*DOWNLOAD, "--max-vision-workers", "2")
    database = workspace.folder / "market.db"
    wait_until(lambda: database.exists() and database.with_name("market.db-wal").exists() and len(exchange.requests) > 25)
    wait_until(lambda: query(database, "SELECT count(*) FROM symbol_days WHERE dataset = 'klines'")[0][0] > 0)
    assert kill(running)
    exchange.latency = 0.0
    outcome = workspace.run(*EXPORT)
    assert outcome.code == 0, outcome
    for name, body in csvs(workspace.folder / "exports").items():
        assert set(body.splitlines()) <= set(reference.exports[name].splitlines())
    assert_finished(workspace, reference)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_a_killed_export_leaves_only_whole_files(workspace: Workspace, reference: Reference, seed: int) -> None:
    reference.give(workspace.folder, "universe.json", "market.db", "market.db.lock")
    exports = workspace.folder / "exports"
    enough = random.Random(seed).randint(1, len(reference.exports) - 6)
    for _ in range(5):
        running = workspace.start(*EXPORT)
        is_frozen = freeze_when(running, lambda: len(list(exports.rglob("*.csv"))) >= enough)
        if is_frozen and len(csvs(exports)) < len(reference.exports):
            break
        # On a busy machine all may be written between two looks.
        running.kill()
        running.communicate()
        shutil.rmtree(exports)
    assert kill(running), "the kill came too late"
    found = csvs(exports)
    assert enough <= len(found) < len(reference.exports)
    assert found.items() <= reference.exports.items()
    assert not list(exports.glob("coverage_*.json")), "a report of what is not all there"
    assert_finished(workspace, reference)


def test_an_export_killed_while_it_writes_a_file(workspace: Workspace) -> None:
    names = [f"S{number:02d}USDT" for number in range(60)]
    write_universe(workspace.folder, names, "2026-02-09", "2026-02-09")
    store_minutes(workspace.folder / "market.db", names, "2026-02-09")
    command = (*EXPORT[:-4], "--source-freq", "1m", "--export-freq", "1m")
    exports = workspace.folder / "exports"
    for _ in range(5):
        running = workspace.start(*command)
        if freeze_when(running, lambda: any(".csv." in name for name in temps(exports))):
            break
        running.communicate()
        shutil.rmtree(exports)
    assert kill(running)
    assert temps(exports)
    assert not csvs(exports)
    assert workspace.run(*command).code == 0
    assert not temps(exports)
    ((_, body),) = csvs(exports).items()
    assert body.count(b"\n") == 1 + 60 * 1440


def test_only_temps_of_the_dead_are_cleaned(workspace: Workspace, reference: Reference) -> None:
    reference.give(workspace.folder, "universe.json", "market.db")
    day = workspace.folder / "exports" / "klines" / "freq=5m" / f"date={WINDOW['first']}"
    day.mkdir(parents=True)
    dead, alive = f".klines.csv.{dead_pid()}.tmp", ".klines.csv.1.tmp"
    for path in (day / dead, day / alive, day.parents[2] / dead):
        path.write_text("half")
    assert workspace.run(*EXPORT).code == 0
    assert temps(workspace.folder) == [alive]


def _define(workspace: Workspace, *arguments: str) -> tuple[str, ...]:
    window = ("--start-date", "2024-02-01", "--end-date", "2026-02-01")
    return ("universe", "define", "--symbols", f"LINKUSDT,{UNKNOWN}", *window, "--output", "universe.json", *arguments)


@pytest.mark.parametrize("before", [False, True], ids=["new", "forced"])
def test_a_define_killed_while_it_writes(workspace: Workspace, before: bool) -> None:
    path = workspace.folder / "universe.json"
    old = write_universe(workspace.folder).read_bytes() if before else None
    flags = ("--force",) if before else ()
    running = workspace.start(*_define(workspace, *flags))
    assert freeze_when(running, lambda: temps(workspace.folder))
    assert kill(running)
    assert temps(workspace.folder)
    if old is not None or path.exists():
        content = path.read_bytes()
        assert content == old or len(json_file(path)["daily_snapshots"]) == 732
    if path.exists() and not before:
        pytest.fail("the new name was visible while its temp file was still being written")
    outcome = workspace.run(*_define(workspace, *flags))
    assert outcome.code == 0, outcome
    assert not temps(workspace.folder)
    assert len(json_file(path)["daily_snapshots"]) == 732


def test_a_define_killed_while_it_asks(workspace: Workspace, exchange: ReplayExchange) -> None:
    exchange.latency = 0.3
    for wanted in (1, 3):
        exchange.reset_requests()
        running = workspace.start("universe", "define", "--symbols", "LINKUSDT,AVAXUSDT,ALGOUSDT", "--start-date", "2026-02-01",
                                  "--end-date", "2026-02-03", "--output", "universe.json")  # fmt: skip
        wait_until(lambda: len(exchange.requests) >= wanted)  # noqa: B023
        assert kill(running)
        assert {path.name for path in workspace.folder.iterdir()} <= {".state"}
    exchange.latency = 0.0
    assert workspace.define().code == 0


def test_a_finished_define_cleans_what_a_kill_left_beside_it(workspace: Workspace) -> None:
    """Killed between the placing of the file and the removal of its temp name: the next define cleans, though it refuses."""
    path = write_universe(workspace.folder)
    (workspace.folder / f".universe.json.{dead_pid()}.tmp").hardlink_to(path)
    content = path.read_bytes()
    assert workspace.define().code == 2
    assert path.read_bytes() == content
    assert not temps(workspace.folder)


def _download_minutes(workspace: Workspace) -> tuple[str, ...]:
    """A command that decodes a month of minutes of each symbol in helper processes."""
    write_universe(workspace.folder)
    return (*DOWNLOAD[:6], "--interval", "1m")


def _assert_all_minutes(database: Path) -> None:
    assert assert_sound(database) == 84
    rows = query(database, "SELECT count(*), count(DISTINCT symbol) FROM klines")
    assert rows == [(3 * 28 * 1440, 3)]


def test_helper_processes_go_with_a_killed_run(workspace: Workspace, exchange: ReplayExchange) -> None:
    command = _download_minutes(workspace)
    # One symbol never comes, so that the run is not over when the others are stored.
    exchange.faults.add(Fault.slow(60.0, when=lambda request: "LINKUSDT" in request.path, times=None))
    running = workspace.start(*command)
    database = workspace.folder / "market.db"
    wait_until(lambda: database.exists() and query(database, "SELECT 1 FROM sqlite_master WHERE name = 'symbol_days'"))
    wait_until(lambda: ledger(database, "1m"))
    assert helpers_of(running)
    running.kill()
    # The helpers hold the other end of stderr: that it closes shows that they have ended.
    _, stderr = running.communicate(timeout=5)
    assert "Traceback" not in stderr, stderr
    exchange.faults.clear()
    assert workspace.run(*command).code == 0
    _assert_all_minutes(database)


def test_a_download_that_loses_its_helpers_goes_on(workspace: Workspace, exchange: ReplayExchange) -> None:
    exchange.latency = 0.2
    running = workspace.start(*_download_minutes(workspace))
    wait_until(lambda: helpers_of(running))
    helpers = helpers_of(running)
    for helper in helpers:
        os.kill(helper, signal.SIGSTOP)
    # Two requests for each symbol: what has come is now in the hands of helpers that stand still.
    wait_until(lambda: [request.finished_at > 0 for request in exchange.requests] == [True] * 6)
    for helper in helpers:
        os.kill(helper, signal.SIGKILL)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 0, stderr
    assert "helper processes cannot be used any more" in stderr
    assert "Traceback" not in stderr, stderr
    _assert_all_minutes(workspace.folder / "market.db")


def _freeze_writer(parent: subprocess.Popen[str], exports: Path) -> int:
    """Stop the helper of an export at a moment when it is writing a file; its process id."""
    wait_until(lambda: helpers_of(parent))
    (helper,) = helpers_of(parent)

    def is_writing() -> bool:
        return any(name.endswith(f"-{helper}.tmp") for name in temps(exports))

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and parent.poll() is None:
        if is_writing():
            os.kill(helper, signal.SIGSTOP)
            if is_writing():
                return helper
            os.kill(helper, signal.SIGCONT)
    raise AssertionError("the helper was never seen writing")


def test_an_export_that_loses_its_helpers_goes_on(workspace: Workspace) -> None:
    """The run itself exports what the helper had in hand, and removes the half file that it left."""
    names = [f"S{number:02d}USDT" for number in range(20)]
    days = truth.days("2026-02-01", "2026-02-06")
    write_universe(workspace.folder, names, days[0], days[-1])
    for day in days:
        store_minutes(workspace.folder / "market.db", names, day)
    exports = workspace.folder / "exports"
    running = workspace.start(*EXPORT[:-4], "--source-freq", "1m", "--export-freq", "1m")
    helper = _freeze_writer(running, exports)
    # The run does all the rest, and waits for what the helper has taken: one day at work, one in its queue.
    wait_until(lambda: len(list(exports.rglob("klines.csv"))) >= len(days) - 2)
    os.kill(helper, signal.SIGKILL)
    stdout, stderr = running.communicate(timeout=30)
    assert running.returncode == 0, stderr
    assert "warning: helper processes cannot be used any more" in stderr
    assert "exporting in this process instead" in stderr
    assert "Traceback" not in stderr
    assert not temps(exports)
    bar = "1.5,1.75,1.25,1.5,1234.5,23456.75,17,55.5,66.25"
    found = csvs(exports)
    assert list(found) == [f"klines/freq=1m/date={day}/klines.csv" for day in days]
    for day, body in zip(days, found.values(), strict=True):
        lines = [f"{name},{truth.moment(day) + truth.MINUTE * n},{bar}" for name in names for n in range(1440)]
        assert body.decode().splitlines()[1:] == lines, day
    report = json_file(Path(workspace.folder / json.loads(stdout)["report_path"]))
    wanted = len(names) * len(days)
    assert (report["summary"]["complete"], report["summary"]["exported_bars"]) == (wanted, wanted * 1440)
    assert [(day["date"], day["complete"]) for day in report["days"]] == [(day, len(names)) for day in days]
