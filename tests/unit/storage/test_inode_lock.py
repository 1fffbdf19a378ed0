"""The lock on the database file itself: it holds by every name, and it never costs SQLite its own locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cryptoservice.storage import inode_lock
from cryptoservice.storage.inode_lock import InodeHeld, InodeLock

# Another process that tries to write, and says how that went.
WRITE = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=0)
try:
    db.execute("UPDATE t SET x = 2")
    db.commit()
    print("written")
except sqlite3.OperationalError as error:
    print(error)
"""
TAKE = """
import sys
from pathlib import Path
from cryptoservice.storage.inode_lock import InodeHeld, InodeLock
try:
    InodeLock.take(Path(sys.argv[1]))
    print("taken")
except InodeHeld as held:
    print("held by", held.pid)
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "market.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1);")
    return path


def in_another_process(code: str, path: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def descriptors(path: Path) -> int:
    """How many descriptors of the file this process has."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.path.samestat(os.fstat(int(name)), path.stat())
    return count


def test_it_holds_by_every_name_until_it_is_released(database: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked.db"
    linked.hardlink_to(database)
    lock = InodeLock.take(database)
    with pytest.raises(InodeHeld) as caught:
        InodeLock.take(linked)
    assert caught.value.pid == os.getpid()
    assert in_another_process(TAKE, linked) == f"held by {os.getpid()}"
    lock.release()
    lock.release()
    assert in_another_process(TAKE, linked) == "taken"
    assert descriptors(database) == 0


def test_other_programs_may_write_while_it_is_held(database: Path) -> None:
    lock = InodeLock.take(database)
    assert in_another_process(WRITE, database) == "written"
    lock.release()


def test_a_reader_in_this_process_keeps_the_locks_of_sqlite(database: Path, tmp_path: Path) -> None:
    """To close any descriptor of a file drops all ordinary locks of the process on it."""
    linked = tmp_path / "linked.db"
    linked.hardlink_to(database)
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT x FROM t").fetchall() == [(1,)]
        lock = InodeLock.take(database)
        with pytest.raises(InodeHeld):
            InodeLock.take(linked)
        lock.release()
        again = InodeLock.take(linked)
        again.release()
        assert in_another_process(WRITE, database) == "database is locked"
        reader.execute("COMMIT")
    # What was kept for the reader's sake goes with the next lock, on whatever file.
    InodeLock.take(tmp_path / "other.db").release()
    assert descriptors(database) == 0
    assert in_another_process(WRITE, database) == "written"


def test_a_refused_run_costs_a_reader_in_its_process_nothing(database: Path) -> None:
    code = TAKE.replace('print("taken")', 'print("taken", flush=True); sys.stdin.read()')
    with subprocess.Popen([sys.executable, "-c", code, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"taken\n"
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT x FROM t").fetchall()
            with pytest.raises(InodeHeld) as caught:
                InodeLock.take(database)
            assert caught.value.pid == holder.pid
            assert in_another_process(WRITE, database) == "database is locked"
        holder.kill()


def test_a_forked_process_holds_nothing_and_cannot_hold_the_lock_on(database: Path) -> None:
    lock = InodeLock.take(database)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            InodeLock.take(database)
        except InodeHeld:
            os.write(writer, b"held")
        os.read(reader, 0)
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 9) == b"held"
    sleeper = os.fork()
    if not sleeper:
        # It has the descriptor as long as it lives.
        os.read(reader, 1)
        os._exit(0)
    lock.release()
    assert in_another_process(TAKE, database) == "taken"
    os.write(writer, b"x")
    os.waitpid(sleeper, 0)
    os.close(reader)
    os.close(writer)


def test_a_file_that_may_only_be_read_is_locked_against_writers(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not apply to every user, so the refusal is made here."""
    real = os.open

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, mode)

    with monkeypatch.context() as guarded:
        guarded.setattr(os, "open", read_only)
        lock = InodeLock.take(database)
    assert in_another_process(TAKE, database) == f"held by {os.getpid()}"
    lock.release()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_where_there_is_no_such_lock_the_lock_file_alone_remains(
    database: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def unknown(*_: object) -> bytes:
        raise OSError(number, "no such lock")

    with monkeypatch.context() as old:
        old.setattr(fcntl, "fcntl", unknown)
        InodeLock.take(database).release()
    monkeypatch.setattr(inode_lock, "IS_SUPPORTED", False)
    InodeLock.take(database.with_name("absent.db")).release()
    assert not database.with_name("absent.db").exists()


def test_any_other_refusal_is_an_error(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> bytes:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "fcntl", none_left)
    with pytest.raises(OSError, match="No locks available"):
        InodeLock.take(database)
    assert descriptors(database) == 0
