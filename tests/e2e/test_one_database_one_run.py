"""Two runs at once: one writes, the other is sent away and learns who writes; readers are always welcome."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e.conftest import Workspace
from tests.e2e.crash_steps import (
    DOWNLOAD,
    EXPORT,
    Reference,
    assert_failure,
    assert_finished,
    assert_sound,
    csvs,
    json_file,
    kill,
    make_reference,
    tables,
    temps,
)
from tests.e2e.steps import query, wait_for_line, wait_until, write_universe
from tests.exchange import Fault, ReplayExchange


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return make_reference(tmp_path_factory)


@pytest.fixture
def database(workspace: Workspace, reference: Reference) -> Path:
    """Where the download writes, with the universe beside it."""
    reference.give(workspace.folder, "universe.json")
    return workspace.folder / "market.db"


def _at(path: str, *flags: str) -> tuple[str, ...]:
    return (*DOWNLOAD[:5], path, *DOWNLOAD[6:], *flags)


def _timed(workspace: Workspace, *arguments: str) -> tuple[float, object]:
    started = time.monotonic()
    outcome = workspace.run(*arguments)
    return time.monotonic() - started, outcome


def test_the_second_is_sent_away_at_once(
    workspace: Workspace, exchange: ReplayExchange, database: Path, reference: Reference
) -> None:
    exchange.faults.add(Fault.slow(60.0, times=None))
    running = workspace.start(*DOWNLOAD)
    wait_until(lambda: exchange.requests)
    start_of_python = min(_timed(workspace, "universe", "download", "--help")[0] for _ in range(2))
    before = len(exchange.requests)
    started = time.monotonic()
    outcome = workspace.run(*DOWNLOAD)
    took = time.monotonic() - started
    assert_failure(outcome, f"host {socket.gethostname()}", f"pid {running.pid}", code=5)
    moment = re.search(r"started (\S+)", outcome.stderr)
    assert moment
    assert abs(datetime.fromisoformat(moment[1]).timestamp() - time.time()) < 60
    assert took < start_of_python + 1.0
    assert len(exchange.requests) == before, "it asked the exchange before it knew that it may"
    # The third, too; and the holder has not lost its place through all that.
    assert workspace.run(*DOWNLOAD).code == 5
    assert kill(running)
    exchange.faults.clear()
    assert_finished(workspace, reference)


@pytest.mark.parametrize("names", [("market.db", "alias.db"), ("alias.db", "loop/../market.db")])
def test_another_name_of_the_same_file(
    workspace: Workspace, exchange: ReplayExchange, database: Path, names: tuple[str, str]
) -> None:
    (workspace.folder / "loop").mkdir()
    (workspace.folder / "alias.db").symlink_to("market.db")
    exchange.faults.add(Fault.slow(60.0, times=None))
    running = workspace.start(*_at(names[0]))
    wait_until(lambda: exchange.requests)
    try:
        assert_failure(workspace.run(*_at(names[1])), f"pid {running.pid}", code=5)
    finally:
        kill(running)


@contextlib.contextmanager
def _held_up(workspace: Workspace, exchange: ReplayExchange, name: str) -> Iterator[subprocess.Popen[str]]:
    """A download that holds a database by this name until the block ends."""
    before = len(exchange.requests)
    exchange.faults.add(Fault.slow(60.0, times=None))
    running = workspace.start(*_at(name))
    wait_until(lambda: len(exchange.requests) > before)
    try:
        yield running
    finally:
        kill(running)
        exchange.faults.clear()


@pytest.mark.parametrize("is_new", [True, False], ids=["a file without a table", "a finished database"])
def test_a_hard_link_is_the_same_database(
    workspace: Workspace, exchange: ReplayExchange, database: Path, reference: Reference, is_new: bool
) -> None:
    """Neither name leads to the other, and each has a lock file of its own."""
    if is_new:
        database.touch()
    else:
        assert workspace.run(*DOWNLOAD, "--end-date", "2026-02-07").code == 0
    (workspace.folder / "elsewhere").mkdir()
    os.link(database, workspace.folder / "elsewhere" / "linked.db")
    with _held_up(workspace, exchange, "market.db") as running:
        outcome = workspace.run(*_at("elsewhere/linked.db"))
        assert_failure(outcome, "another run holds this database", "under another name", f"pid {running.pid}", code=5)
        assert workspace.run(*_at("market.db")).code == 5
    # A holder that was killed holds nothing, under no name.
    assert workspace.run(*_at("elsewhere/linked.db")).code == 0
    assert tables(database) == reference.tables


def _can_mount(folder: Path) -> bool:
    (folder / "probe-a").touch()
    (folder / "probe-b").touch()
    done = subprocess.run(
        ["unshare", "-m", "mount", "--bind", "probe-a", "probe-b"], cwd=folder, capture_output=True, check=False
    )
    return done.returncode == 0


def test_a_file_that_is_mounted_elsewhere_is_the_same_database(
    workspace: Workspace, exchange: ReplayExchange, database: Path, reference: Reference
) -> None:
    """As a container sees it: a bind mount in a mount namespace of its own. Who may not mount makes a hard link instead."""
    assert workspace.run(*DOWNLOAD, "--end-date", "2026-02-07").code == 0
    inside = workspace.folder / "container"
    inside.mkdir()
    reference.give(inside, "universe.json")
    mounted = shutil.which("unshare") is not None and _can_mount(workspace.folder)
    if mounted:
        (inside / "market.db").touch()
        enter = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" container/market.db && cd container && exec "$@"', str(database)]
    else:
        os.link(database, inside / "market.db")
        enter = ["sh", "-c", 'cd container && exec "$@"', "sh"]

    def run_inside() -> subprocess.CompletedProcess[str]:
        command = [*enter, *workspace.command(*DOWNLOAD)]
        return subprocess.run(
            command, cwd=workspace.folder, env=workspace.env(), capture_output=True, text=True, timeout=60, check=False
        )

    with _held_up(workspace, exchange, "market.db") as running:
        outcome = run_inside()
        assert outcome.returncode == 5, outcome
        assert "another run holds this database under another name" in outcome.stderr
        assert f"pid {running.pid}" in outcome.stderr
    outcome = run_inside()
    assert outcome.returncode == 0, outcome
    assert not mounted or (inside / "market.db").stat().st_size == 0, "the mount is seen in its own namespace alone"
    assert tables(database) == reference.tables


@pytest.mark.slow
def test_two_that_start_together(workspace: Workspace, database: Path, reference: Reference) -> None:
    """On a database that neither has made yet: one does the work or both do it in turn, none breaks."""
    for _ in range(2):
        database.unlink(missing_ok=True)
        runs = [workspace.start(*DOWNLOAD) for _ in range(3)]
        ends = [run.communicate(timeout=60)[1] for run in runs]
        codes = sorted(run.returncode for run in runs)
        assert codes[0] == 0, ends
        assert set(codes) <= {0, 5}, ends
    assert_finished(workspace, reference)


def test_two_databases_in_one_folder(workspace: Workspace, database: Path) -> None:
    runs = [workspace.start(*_at(name)) for name in ("market.db", "other.db")]
    assert [run.communicate(timeout=60) and run.returncode for run in runs] == [0, 0]
    assert assert_sound(database) == assert_sound(database.with_name("other.db")) == 54


def _race(workspace: Workspace, flags: tuple[str, ...] = ()) -> list[subprocess.Popen[str]]:
    base = ("universe", "define", "--symbols", "LINKUSDT,AVAXUSDT", "--start-date", "2026-02-01", "--end-date", "2026-02-03")
    runs = [workspace.start(*base, "--output", "new.json", "--description", who * 20_000, *flags) for who in "ab"]
    for run in runs:
        run.communicate(timeout=60)
    return runs


def test_of_two_defines_exactly_one_wins_whole(workspace: Workspace) -> None:
    path = workspace.folder / "new.json"
    winners = []
    for _ in range(4):
        path.unlink(missing_ok=True)
        codes = [run.returncode for run in _race(workspace)]
        assert sorted(codes) == [0, 2]
        winners.append("ab"[codes.index(0)])
        assert json_file(path)["description"] == winners[-1] * 20_000
        assert not temps(workspace.folder)
    # With --force both may; the last one stands, whole.
    assert [run.returncode for run in _race(workspace, ("--force",))] == [0, 0]
    assert json_file(path)["description"] in ("a" * 20_000, "b" * 20_000)
    assert not temps(workspace.folder)


def test_two_exports_into_one_folder(workspace: Workspace, database: Path, reference: Reference) -> None:
    reference.give(workspace.folder, "market.db")
    runs = [workspace.start(*EXPORT) for _ in range(2)]
    ends = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], ends
    assert csvs(workspace.folder / "exports") == reference.exports
    assert not temps(workspace.folder)


def test_readers_while_a_download_writes(
    workspace: Workspace, exchange: ReplayExchange, database: Path, reference: Reference
) -> None:
    exchange.latency = 0.1
    running = workspace.start(*DOWNLOAD, "--max-vision-workers", "2")
    wait_until(lambda: database.exists() and database.with_name("market.db-wal").exists())
    seen: list[int] = []
    wait_until(lambda: query(database, "SELECT count(*) FROM symbol_days WHERE dataset = 'klines'")[0][0] > 0)
    outcome = workspace.run(*EXPORT)
    assert outcome.code == 0, outcome
    if shutil.which("sqlite3"):
        shell = subprocess.run(
            ["sqlite3", str(database), "SELECT count(*) FROM klines"], capture_output=True, text=True, check=True
        )
        assert int(shell.stdout) > 0

    def look() -> bool:
        seen.append(query(database, "SELECT count(*) FROM symbol_days")[0][0])
        return running.poll() is not None

    wait_until(look, seconds=60)
    assert running.returncode == 0, running.communicate()
    running.communicate()
    assert seen == sorted(seen)
    assert len(set(seen)) > 2, "it read while rows came in"
    exchange.latency = 0.0
    assert_finished(workspace, reference)


def test_a_reader_that_was_there_first(workspace: Workspace, database: Path, reference: Reference) -> None:
    """A finished database, a reader in the midst of a long look at it, and then a download starts: it waits, says so, goes on.

    A database that is one file at rest cannot give an older reader its view and take new rows at once.
    """
    assert workspace.run(*DOWNLOAD, "--end-date", "2026-02-07").code == 0
    reader = sqlite3.connect(database, isolation_level=None)
    reader.execute("BEGIN")
    known = reader.execute("SELECT count(*) FROM klines").fetchone()
    running = workspace.start(*DOWNLOAD)
    wait_for_line(running, "waiting for another program")
    assert running.poll() is None
    assert reader.execute("SELECT count(*) FROM klines").fetchone() == known, "its view has changed under its eyes"
    reader.execute("COMMIT")
    reader.close()
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 0, stderr
    assert_finished(workspace, reference)


def test_a_stopped_holder_still_holds(workspace: Workspace, exchange: ReplayExchange, database: Path) -> None:
    exchange.faults.add(Fault.slow(60.0, times=None))
    running = workspace.start(*DOWNLOAD)
    wait_until(lambda: exchange.requests)
    running.send_signal(signal.SIGSTOP)
    assert_failure(workspace.run(*DOWNLOAD), f"pid {running.pid}", code=5)
    kill(running)


@pytest.mark.slow
def test_the_universe_may_be_replaced_while_a_run_reads_by_it(
    workspace: Workspace, exchange: ReplayExchange, database: Path, reference: Reference
) -> None:
    exchange.latency = 0.1
    running = workspace.start(*DOWNLOAD)
    wait_until(lambda: len(exchange.requests) > 5)
    path = workspace.folder / "universe.json"
    content = path.read_bytes()
    path.write_text("{}")
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 0, stderr
    write_universe(workspace.folder)
    path.write_bytes(content)
    exchange.latency = 0.0
    assert_finished(workspace, reference)
