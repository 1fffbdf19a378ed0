"""Opening a database file: what is refused, what is left behind, and what an error says."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from cryptoservice.errors import Remedy, StoreError, UsageError
from cryptoservice.storage.database import (
    has_shared_memory,
    is_unfilled,
    open_for_reading,
    open_for_writing,
    refuse_foreign,
    sqlite_errors,
)
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import FEBRUARY
from tests.unit.storage.samples import BTC, minutes, query, run_script, symbol_day, written


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def refusals(path: Path) -> list[StoreError]:
    """What the three ways to a file say of it. The file must stay as it is, and nothing may appear beside it."""
    before = path.read_bytes()
    errors = []
    for opened in (open_for_writing(path), open_for_reading(path)):
        with pytest.raises(StoreError) as caught, opened:
            pass
        errors.append(caught.value)
    with pytest.raises(StoreError) as caught:
        refuse_foreign(path)
    assert path.read_bytes() == before
    assert names(path.parent) == [path.name]
    return [*errors, caught.value]


def test_a_database_of_another_version_is_refused_and_left_alone(path: Path) -> None:
    run_script(path, "CREATE TABLE future (x); PRAGMA user_version = 99;")
    for error in refusals(path):
        assert error.message == f"database {path} has schema version 99, this program knows 3"
        assert error.remedy is Remedy.NEWER_DATABASE
        assert str(error).endswith("; use the version of cryptoservice that wrote it, or choose another database file")


def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    run_script(path, "CREATE TABLE notes (x)")
    for error in refusals(path):
        assert error.message == f"database {path} was not written by cryptoservice"
        assert error.remedy is Remedy.OTHER_DATABASE


def test_what_is_no_database_is_refused_with_a_hint(path: Path) -> None:
    path.write_bytes(b"symbol,open_time\n" * 100)
    for error in refusals(path):
        assert error.message == f"database {path}: file is not a database"
        assert error.hint == "restore it from a copy, or download again into another database file"


def test_reading_needs_a_database_that_exists(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist") as caught, open_for_reading(path):
        pass
    assert caught.value.remedy is Remedy.DOWNLOAD_FIRST
    with pytest.raises(UsageError, match=r"^database .* is a folder"), open_for_reading(tmp_path):
        pass
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreError, match="is empty") as empty, open_for_reading(path):
        pass
    assert empty.value.remedy is Remedy.DOWNLOAD_FIRST
    assert path.read_bytes() == b""


def test_creating_needs_a_folder_and_no_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder") as caught, open_for_writing(tmp_path):
        pass
    assert caught.value.remedy is Remedy.OTHER_DATABASE
    with pytest.raises(StoreError, match="unable to open") as absent, open_for_writing(tmp_path / "absent" / "market.db"):
        pass
    assert absent.value.hint == "check the permissions of the file and its folder"
    assert names(tmp_path) == []


def test_a_look_before_the_lock_accepts_what_can_become_a_database_and_leaves_no_trace(path: Path, tmp_path: Path) -> None:
    refuse_foreign(path)
    assert is_unfilled(path)
    assert names(tmp_path) == []
    path.touch()
    refuse_foreign(path)
    assert is_unfilled(path)
    assert path.read_bytes() == b""
    # Not an empty file, but no table in it.
    run_script(path, "CREATE TABLE passing (x); DROP TABLE passing;")
    assert path.stat().st_size > 0
    refuse_foreign(path)
    assert is_unfilled(path)
    written(path, symbol_day(BTC, minutes(0)))
    refuse_foreign(path)
    assert not is_unfilled(path)
    assert names(tmp_path) == ["market.db"]
    with pytest.raises(UsageError, match="is a folder"):
        refuse_foreign(tmp_path)


def no_mmap(*_: object) -> None:
    raise OSError(errno.ENODEV, "No such device")


def test_shared_memory_is_tried_and_leaves_no_trace(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_shared_memory(path)
    # Of a folder that is not there nothing can be said, and opening the file says it.
    assert has_shared_memory(tmp_path / "absent" / "market.db")
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "absent" / "market.db")
    monkeypatch.setattr(mmap, "mmap", no_mmap)
    assert not has_shared_memory(path)
    assert has_shared_memory(link), "the file that it leads to counts"
    assert names(tmp_path) == ["link.db"]


def test_without_shared_memory_there_is_no_log(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "mmap", no_mmap)
    with StoreWriter.open(path) as writer:
        writer.write([symbol_day(BTC, minutes(0))])
        assert names(tmp_path) == ["market.db"]
        assert query(path, "SELECT count(*) FROM klines") == [(1,)]
        writer.write([symbol_day(BTC, minutes(0, 1))])
    assert query(path, "SELECT count(*) FROM klines") == [(2,)]


@pytest.mark.parametrize("umask", [0o002, 0o027])
def test_a_new_database_is_what_the_umask_allows(path: Path, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with StoreWriter.open(path) as store:
            store.write([symbol_day(BTC, minutes(0))])
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("market.db", "market.db-wal", "market.db-shm"), 0o666 & ~umask)


@pytest.mark.parametrize("name", ["a?b#c%41.db", "数据 库.db", "with'quote.db", ":memory:"])
def test_any_file_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path(name), symbol_day(BTC, minutes(0)))
    assert names(tmp_path) == [name]
    with StoreReader.open(Path(name)) as store:
        assert store.rows(BTC, FEBRUARY) == minutes(0)


def test_a_finished_run_leaves_one_file_and_reading_adds_none(path: Path, tmp_path: Path) -> None:
    written(path, symbol_day(BTC, minutes(0, 1)))
    assert names(tmp_path) == ["market.db"]
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        before = (path.read_bytes(), path.stat().st_mtime_ns)
        with StoreReader.open(path) as store:
            assert store.rows(BTC, FEBRUARY) == minutes(0, 1)
            assert names(tmp_path) == ["market.db"]
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    finally:
        tmp_path.chmod(0o755)


def test_a_connection_for_reading_cannot_write(path: Path) -> None:
    written(path, symbol_day(BTC, minutes(0, 1)))
    with pytest.raises(StoreError, match="readonly") as caught, open_for_reading(path) as db:
        db.execute("DELETE FROM kline_rows")
    assert caught.value.hint == "check the permissions of the file and its folder"
    assert query(path, "SELECT count(*) FROM klines") == [(2,)]


def test_a_reader_that_outlives_the_writer_keeps_its_snapshot(path: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as readers:
        with StoreWriter.open(path) as writer:
            writer.write([symbol_day(BTC, minutes(0))])
            reader = readers.enter_context(StoreReader.open(path))
            assert reader.rows(BTC, FEBRUARY) == minutes(0)
            writer.write([symbol_day(BTC, minutes(0, 1))])
        assert reader.rows(BTC, FEBRUARY) == minutes(0)
        assert "market.db-wal" in names(tmp_path)
    # What the writer could not merge under the reader, the next run merges.
    written(path)
    assert names(tmp_path) == ["market.db"]
    assert query(path, "SELECT count(*) FROM klines") == [(2,)]


def test_what_a_killed_run_had_begun_is_undone_before_reading(path: Path, tmp_path: Path) -> None:
    written(path, symbol_day(BTC, minutes(*range(1440))))
    left = tmp_path / "left"
    left.mkdir()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        # A small cache, so that the half of a transaction is in the file and its journal beside it.
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.execute("UPDATE kline_rows SET open = -1.0")
        for name in ("market.db", "market.db-journal"):
            shutil.copy(tmp_path / name, left / name)
        db.execute("ROLLBACK")
    assert (left / "market.db").read_bytes() != path.read_bytes()
    with StoreReader.open(left / "market.db") as store:
        assert store.rows(BTC, FEBRUARY) == minutes(*range(1440))
    assert names(left) == ["market.db"]


def test_the_hint_follows_what_sqlite_said(path: Path) -> None:
    hints = {
        "database is locked": "another program is writing to it: close that program and run again",
        "database or disk is full": "free some space and run again: everything committed so far is kept",
        "disk I/O error": "the disk is full, over its quota or failing: free some space, or see what the system's log says of "
        "the disk, and run again; everything committed so far is kept",
        "attempt to write a readonly database": "check the permissions of the file and its folder",
        "unable to open database file": "check the permissions of the file and its folder",
        "database disk image is malformed": "restore it from a copy, or download again into another database file",
        "no such column: x": "look at the file with the sqlite3 shell",
    }
    found = {}
    for text in hints:
        with pytest.raises(StoreError) as caught, sqlite_errors(path):
            raise sqlite3.OperationalError(text)
        assert caught.value.message == f"database {path}: {text}"
        found[text] = caught.value.hint
    assert found == hints


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("SQLITE_IOERR_SHMMAP", "shared memory"),
        ("SQLITE_IOERR_SHMOPEN", "shared memory"),
        ("SQLITE_IOERR_RDLOCK", "supports locks"),
        ("SQLITE_IOERR_LOCK", "supports locks"),
        ("SQLITE_IOERR_WRITE", "free some space"),
        ("SQLITE_IOERR_READ", "the system's log"),
    ],
)
def test_an_input_output_error_of_a_known_kind(path: Path, kind: str, words: str) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = kind  # type: ignore[misc, unused-ignore]
    with pytest.raises(StoreError) as caught, sqlite_errors(path):
        raise error
    assert words in str(caught.value.hint)
    assert ("free some space" in str(caught.value.hint)) == (kind in ("SQLITE_IOERR_WRITE", "SQLITE_IOERR_READ"))


def test_an_older_python_does_not_know_the_kind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "mmap", no_mmap)
    with pytest.raises(StoreError, match="shared memory"), sqlite_errors(path):
        raise sqlite3.OperationalError("disk I/O error")


def test_errors_that_are_not_of_sqlite_pass_through(path: Path) -> None:
    with pytest.raises(OSError, match="broken pipe"), sqlite_errors(path):
        raise OSError(errno.EPIPE, "broken pipe")
