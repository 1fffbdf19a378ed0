"""SQLite's write-ahead log needs shared memory. Where a file system has none, runs do without that log, and no data is lost."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys

import pytest

from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.crash_steps import (
    DOWNLOAD,
    EXPORT,
    FILES,
    Reference,
    assert_failure,
    assert_sound,
    csvs,
    kill,
    make_reference,
    tables,
)
from tests.e2e.steps import contents, wait_for_line, wait_until
from tests.exchange import ReplayExchange


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return make_reference(tmp_path_factory)


@pytest.fixture
def there(workspace: Workspace, reference: Reference) -> Workspace:
    """A workspace with a universe."""
    reference.give(workspace.folder, "universe.json")
    return workspace


def start(there: Workspace, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.e2e.without_shared_memory", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=there.folder, env=there.env(), stdout=pipe, stderr=pipe, text=True)


def run(there: Workspace, *arguments: str) -> Outcome:
    running = start(there, *arguments)
    stdout, stderr = running.communicate(timeout=60)
    return Outcome(running.returncode, stdout, stderr)


def leave_a_log(there: Workspace) -> None:
    """What a run that was killed on another file system leaves: the last commits stand in the log alone."""
    database = there.folder / "market.db"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("DELETE FROM ledger WHERE series_id = 1 AND day = (SELECT min(day) FROM ledger)")
        for name in ("market.db", "market.db-wal"):
            shutil.copy(there.folder / name, there.folder / f"{name}.copy")
    for name in ("market.db", "market.db-wal"):
        (there.folder / f"{name}.copy").replace(there.folder / name)


def test_the_kernel_really_refuses_it() -> None:
    code = (
        "import mmap, tempfile; from tests.e2e.without_shared_memory import refuse_shared_memory\n"
        "file = tempfile.TemporaryFile(); file.truncate(4096); mmap.mmap(file.fileno(), 4096); refuse_shared_memory()\n"
        "try: mmap.mmap(file.fileno(), 4096)\n"
        "except OSError as error: print(error.strerror)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "No such device\n"


def test_download_and_what_comes_after_it(there: Workspace, reference: Reference) -> None:
    downloaded = run(there, *DOWNLOAD)
    assert (downloaded.code, downloaded.report["status"]) == (0, "complete"), downloaded
    assert downloaded.stderr.count("has no shared memory") == 1
    assert contents(there.folder).keys() == {"universe.json", "market.db", "market.db.lock"}
    assert_sound(there.folder / "market.db")
    assert tables(there.folder / "market.db") == reference.tables
    # What only reads needs no warning.
    for command in (EXPORT, ("universe", "status", *FILES), ("universe", "verify", *FILES)):
        outcome = run(there, *command)
        assert (outcome.code, "shared memory" in outcome.stderr) == (0, False), outcome
    assert csvs(there.folder / "exports") == reference.exports
    again = run(there, *DOWNLOAD)
    assert (again.code, "shared memory" in again.stderr) == (0, False), "nothing is written"


def test_a_reader_and_a_download_wait_for_each_other(there: Workspace, exchange: ReplayExchange, reference: Reference) -> None:
    exchange.latency = 0.05
    running = start(there, *DOWNLOAD)
    database = there.folder / "market.db"
    wait_until(lambda: database.exists() and database.stat().st_size)
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None, timeout=10)) as reader:
        reader.execute("BEGIN")
        before = reader.execute("SELECT count(*) FROM symbol_days").fetchone()
        wait_for_line(running, "waiting for another program")
        assert reader.execute("SELECT count(*) FROM symbol_days").fetchone() == before, "one state, as long as it reads"
        reader.execute("COMMIT")
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 0, stderr
    assert tables(database) == reference.tables


def test_a_killed_run_is_taken_up(there: Workspace, exchange: ReplayExchange, reference: Reference) -> None:
    exchange.latency = 0.05
    running = start(there, *DOWNLOAD)
    wait_until(lambda: len(exchange.requests) > 25)
    assert kill(running)
    exchange.latency = 0.0
    assert run(there, "universe", "status", *FILES).code == 0
    assert run(there, *DOWNLOAD).code == 0
    assert tables(there.folder / "market.db") == reference.tables


def test_the_log_of_a_run_elsewhere(there: Workspace, reference: Reference) -> None:
    """Without shared memory nobody can read it but the one who writes, and no room on the disk would help."""
    reference.give(there.folder, "market.db")
    leave_a_log(there)
    before = {name: content for name, content in contents(there.folder).items() if not str(name).endswith("-shm")}
    for command in (EXPORT, ("universe", "status", *FILES), (*DOWNLOAD, "--plan")):
        outcome = run(there, *command)
        assert_failure(outcome, "market.db", "shared memory", "local disk", code=1)
        assert "free some space" not in outcome.stderr
    found = {name: content for name, content in contents(there.folder).items() if not str(name).endswith("-shm")}
    assert found == before, "the log is as it was"
    assert run(there, *DOWNLOAD).report["downloaded"] == 1, "the log was read: it says that a day is not settled"
    assert tables(there.folder / "market.db") == reference.tables
    assert run(there, *EXPORT).code == 0
    assert csvs(there.folder / "exports") == reference.exports
