"""One database has one writer: who is refused, what the refusal says, and what a dead holder leaves."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cryptoservice.errors import StoreBusy, StoreError
from cryptoservice.storage.lock import DatabaseLock

STARTED = "2026-02-01T00:00:00+00:00"
HOLDER = """
import sys
from pathlib import Path
from cryptoservice.storage.lock import DatabaseLock
with DatabaseLock(Path(sys.argv[1]), "2026-01-31T23:59:59+00:00"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_file_names_its_holder(tmp_path: Path) -> None:
    with DatabaseLock(tmp_path / "market.db", STARTED):
        note = json.loads((tmp_path / "market.db.lock").read_text(encoding="utf-8"))
    assert note == {"host": socket.gethostname(), "pid": os.getpid(), "started_at": STARTED}
    # The file itself is locked as well, so it must be there.
    assert (tmp_path / "market.db").read_bytes() == b""


def test_a_second_run_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    database = tmp_path / "market.db"
    with DatabaseLock(database, STARTED):
        with pytest.raises(StoreBusy) as caught, DatabaseLock(database, "2026-02-01T00:00:01+00:00"):
            pass
        assert json.loads((tmp_path / "market.db.lock").read_text(encoding="utf-8"))["started_at"] == STARTED
    assert caught.value.exit_code == 5
    assert f"host {socket.gethostname()}, pid {os.getpid()}, started {STARTED}" in caught.value.message


def test_another_database_in_the_same_folder_is_free(tmp_path: Path) -> None:
    with DatabaseLock(tmp_path / "a.db", STARTED), DatabaseLock(tmp_path / "b.db", STARTED):
        assert {path.name for path in tmp_path.iterdir()} == {"a.db", "a.db.lock", "b.db", "b.db.lock"}


def test_the_lock_is_free_again_after_the_block_and_after_an_error(tmp_path: Path) -> None:
    database = tmp_path / "market.db"
    with pytest.raises(ValueError, match="broken"), DatabaseLock(database, STARTED):
        raise ValueError("broken")
    with DatabaseLock(database, STARTED):
        pass


def test_a_lock_file_that_nobody_holds_means_nothing(tmp_path: Path) -> None:
    for left in (b"", b"not json", b"[]", b'{"pid": 1}', b'{"host": "gone", "pid": 1, "started_at": "x"}' * 500):
        (tmp_path / "market.db.lock").write_bytes(left)
        with DatabaseLock(tmp_path / "market.db", STARTED):
            assert json.loads((tmp_path / "market.db.lock").read_bytes())["pid"] == os.getpid()
    assert (tmp_path / "market.db.lock").read_bytes() == b""


def test_a_holder_whose_note_is_not_there_yet_still_holds_the_lock(tmp_path: Path) -> None:
    database = tmp_path / "market.db"
    with DatabaseLock(database, STARTED):
        for note in (b"", b'{"host": "a', b"7", b'{"pid": 1}'):
            (tmp_path / "market.db.lock").write_bytes(note)
            with pytest.raises(StoreBusy, match="has only just started"), DatabaseLock(database, STARTED):
                pass


def test_a_file_system_without_locks_is_a_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StoreError) as caught, DatabaseLock(tmp_path / "market.db", STARTED):
        pass
    assert caught.value.message == f"cannot lock {tmp_path / 'market.db.lock'}: no locks available"
    assert caught.value.hint == "keep the database on a file system that supports locks"
    assert not isinstance(caught.value, StoreBusy)


def test_a_note_that_cannot_be_written_is_a_store_error_and_frees_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "write", no_space)
        with pytest.raises(StoreError, match=r"cannot write .*market\.db\.lock: no space left") as caught:
            DatabaseLock(tmp_path / "market.db", STARTED).__enter__()
    assert caught.value.hint == "free some space and run it again"
    with DatabaseLock(tmp_path / "market.db", STARTED):
        pass


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_holder_never_blocks(tmp_path: Path, end: signal.Signals) -> None:
    database = tmp_path / "market.db"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusy, match=rf"pid {holder.pid}, started 2026-01-31T23:59:59\+00:00"):
            DatabaseLock(database, STARTED).__enter__()
        holder.send_signal(end)
        holder.wait(timeout=30)
    with DatabaseLock(database, STARTED):
        pass


def test_a_child_process_does_not_inherit_the_lock(tmp_path: Path) -> None:
    database = tmp_path / "market.db"
    with DatabaseLock(database, STARTED):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        with DatabaseLock(database, STARTED):
            pass
    finally:
        child.communicate()


def test_a_folder_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match=r"cannot open .*market\.db\.lock"),
        DatabaseLock(tmp_path / "absent" / "market.db", STARTED),
    ):
        pass


def test_a_folder_in_the_place_of_the_lock_file_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "market.db.lock").mkdir()
    with pytest.raises(StoreError, match="cannot open") as caught, DatabaseLock(tmp_path / "market.db", STARTED):
        pass
    assert not isinstance(caught.value, StoreBusy)


def test_a_second_name_of_one_database_is_the_same_database(tmp_path: Path) -> None:
    (tmp_path / "market.db").touch()
    (tmp_path / "alias.db").symlink_to(tmp_path / "market.db")
    with DatabaseLock(tmp_path / "market.db", STARTED), pytest.raises(StoreBusy):
        DatabaseLock(tmp_path / "alias.db", STARTED).__enter__()


def test_a_hard_link_is_the_same_database_in_one_process_and_in_two(tmp_path: Path) -> None:
    database, linked = tmp_path / "market.db", tmp_path / "elsewhere" / "linked.db"
    database.touch()
    linked.parent.mkdir()
    linked.hardlink_to(database)
    words = r"^another run holds this database under another name: pid (\d+), as processes are counted where it runs; wait"
    with DatabaseLock(database, STARTED), pytest.raises(StoreBusy, match=words) as caught:
        DatabaseLock(linked, STARTED).__enter__()
    assert f"pid {os.getpid()}," in caught.value.message
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusy, match=words) as caught:
            DatabaseLock(linked, STARTED).__enter__()
        assert f"pid {holder.pid}," in caught.value.message
        # The refused run has left its own lock file free.
        assert (linked.parent / "linked.db.lock").read_bytes() == b""
        holder.kill()
    with DatabaseLock(linked, STARTED):
        pass


def test_a_folder_in_the_place_of_the_database_is_a_store_error_and_frees_the_lock(tmp_path: Path) -> None:
    (tmp_path / "market.db").mkdir()
    with pytest.raises(StoreError, match=r"cannot lock database .*market\.db: is a directory"):
        DatabaseLock(tmp_path / "market.db", STARTED).__enter__()
    (tmp_path / "market.db").rmdir()
    with DatabaseLock(tmp_path / "market.db", STARTED):
        pass
