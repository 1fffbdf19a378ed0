"""Opens a database file for reading or for writing.

A file that this program did not write is refused, and every error of SQLite becomes a StoreError that says what to do.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from cryptoservice.errors import Remedy, StoreError, UsageError
from cryptoservice.files import refuse_folder
from cryptoservice.storage import inode_lock
from cryptoservice.storage.migration import READABLE_VERSIONS, migrate
from cryptoservice.storage.schema import SCHEMA, SCHEMA_VERSION

BUSY_MS = 200
"""How long SQLite itself waits for another program, in milliseconds. It is short, because no signal is seen meanwhile."""
_CACHE_KIB = 8 * 1024
_READER_WAIT_SECONDS = 30.0
_NEEDS_SHARED_MEMORY = (
    "a run left its log behind, and to read that takes shared memory, which this file system does not have: "
    "let a download end on it, or copy it with all files of its name to a local disk"
)


@contextlib.contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn any error of SQLite into a StoreError whose hint says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"database {path}: {error}", hint=_hint_for(path, error)) from error


def _hint_for(path: Path, error: sqlite3.Error) -> str | Remedy:
    text = str(error)
    if "locked" in text:
        return "another program is writing to it: close that program and run again"
    if "full" in text:
        return "free some space and run again: everything committed so far is kept"
    if "disk I/O" in text:
        # Python tells the kind of the error from 3.11 on.
        kind = getattr(error, "sqlite_errorname", None)
        if not has_shared_memory(path) if kind is None else kind.startswith("SQLITE_IOERR_SHM"):
            return _NEEDS_SHARED_MEMORY
        if kind is not None and kind.endswith("LOCK"):
            return "keep the database on a file system that supports locks"
        return (
            "the disk is full, over its quota or failing: free some space, or see what the system's log says of the disk, and "
            "run again; everything committed so far is kept"
        )
    if "readonly" in text or "unable to open" in text:
        return "check the permissions of the file and its folder"
    if "malformed" in text or "not a database" in text:
        return Remedy.RESTORE_DATABASE
    return "look at the file with the sqlite3 shell"


@contextlib.contextmanager
def open_for_reading(path: Path, *, for_worker: bool = False) -> Iterator[sqlite3.Connection]:
    """Give a read-only connection that sees one snapshot of the database: that of the moment at which the block begins.

    With `for_worker` it hardly waits for another program, and another thread may close it. Raises UsageError when the file
    does not exist, and StoreError when it is empty or not a database of this program.
    """
    refuse_folder(path, "database")
    if not path.exists():
        raise UsageError(f"database {path} does not exist", hint=Remedy.DOWNLOAD_FIRST)
    _roll_back(path)
    with sqlite_errors(path), contextlib.closing(_connect(path, mode="ro", for_worker=for_worker)) as db:
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        # One transaction holds one snapshot: a download that runs at the same time cannot change what an export sees. The
        # snapshot is that of the first look at the file, so the look is taken within the transaction.
        db.execute("BEGIN")
        if _is_new(path, db):
            raise StoreError(f"database {path} is empty", hint=Remedy.DOWNLOAD_FIRST)
        yield db


@contextlib.contextmanager
def watch_commits(path: Path) -> Iterator[Callable[[], int | None]]:
    """Give a function whose number changes when any program commits anything to the file; None while nobody can say."""
    with contextlib.ExitStack() as stack:

        def version() -> int | None:
            try:
                return int(db.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error:
                return None

        try:
            db = stack.enter_context(contextlib.closing(_connect(path, mode="ro", for_worker=True)))
        except sqlite3.Error:
            yield lambda: None
        else:
            yield version


@contextlib.contextmanager
def open_for_writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection to the only writer, which must hold the DatabaseLock; a missing file is created with its schema.

    Raises StoreError when the file cannot be opened or is not a database of this program.
    """
    if path.is_dir():
        raise StoreError(f"database {path} is a folder", hint=Remedy.OTHER_DATABASE)
    _create(path)
    with sqlite_errors(path), contextlib.closing(_connect(path, mode="rwc")) as db:
        if not has_shared_memory(path):
            _merge_without_shared_memory(db)
        if _is_new(path, db):
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        migrate(path, db)
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        try:
            yield db
        finally:
            _leave_one_file(db)


def has_shared_memory(path: Path) -> bool:
    """Whether programs can share memory through files beside this one, which SQLite's write-ahead log needs.

    Some file systems of networks, containers and FUSE cannot. SQLite itself finds out when the file is in that mode already.
    """
    try:
        with tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent) as handle:
            handle.truncate(mmap.PAGESIZE)
            try:
                mmap.mmap(handle.fileno(), mmap.PAGESIZE).close()
            except OSError:
                return False
    except OSError:
        # Something else is wrong with that folder, and SQLite will say what.
        return True
    return True


def refuse_foreign(path: Path) -> None:
    """Check a path before it is locked, and create nothing.

    Raises UsageError for a folder and StoreError for a file that this program did not write.
    """
    try:
        _is_unfilled(path, mode="rw")
    except StoreError as error:
        # Only who writes can look into such a file, and looks again when it holds the lock.
        if error.hint != _NEEDS_SHARED_MEMORY:
            raise


def is_unfilled(path: Path) -> bool:
    """Say whether there is nothing to read, neither a file nor a table in it, where a download would begin. Nothing is written.

    Raises UsageError for a folder and StoreError for a file that this program did not write.
    """
    refuse_folder(path, "database")
    _roll_back(path)
    return _is_unfilled(path, mode="ro")


def _is_unfilled(path: Path, *, mode: str) -> bool:
    refuse_folder(path, "database")
    with sqlite_errors(path):
        if path.exists() and path.stat().st_size:
            with contextlib.closing(_connect(path, mode=mode)) as db:
                return _is_new(path, db)
    return True


def _connect(path: Path, *, mode: str, for_worker: bool = False) -> sqlite3.Connection:
    # In an absolute URI every name means a file, `:memory:` and names with `?` or `%` too.
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    with inode_lock.opening:
        return sqlite3.connect(
            address,
            uri=True,
            timeout=BUSY_MS / 1000 if for_worker else _READER_WAIT_SECONDS,
            isolation_level=None,
            check_same_thread=not for_worker,
        )


def _create(path: Path) -> None:
    """Create a missing file empty, with what the umask allows: SQLite itself would keep a group from writing.

    Its log and its journal get the same permissions from SQLite.
    """
    # SQLite meets the same error, and then it is told.
    with inode_lock.opening, contextlib.suppress(OSError):
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))


def _is_new(path: Path, db: sqlite3.Connection) -> bool:
    """Say whether the file has no tables yet. Raises StoreError for another schema version or another program's tables."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, *READABLE_VERSIONS):
        raise StoreError(
            f"database {path} has schema version {version}, this program knows {SCHEMA_VERSION}", hint=Remedy.NEWER_DATABASE
        )
    if version:
        return False
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(f"database {path} was not written by cryptoservice", hint=Remedy.OTHER_DATABASE)
    return True


def _leave_one_file(db: sqlite3.Connection) -> None:
    """Merge the write-ahead log into the file, so that a finished run leaves one file, readable in a read-only folder."""
    # A program that still reads keeps the log alive. In that case the log is merged when that program or the next run closes.
    db.execute("PRAGMA busy_timeout = 1000")
    with contextlib.suppress(sqlite3.OperationalError):
        db.execute("PRAGMA journal_mode = DELETE")


def _merge_without_shared_memory(db: sqlite3.Connection) -> None:
    """Merge the write-ahead log that a killed run has left, where only one program at a time can use one."""
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    if db.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        db.execute("PRAGMA journal_mode = DELETE")
    db.execute("PRAGMA locking_mode = NORMAL")
    # The lock goes with the next look at the file.
    db.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _roll_back(path: Path) -> None:
    """Undo the transaction of a killed run when its journal is still there, since a read-only connection cannot do that."""
    if path.with_name(path.name + "-journal").exists():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_connect(path, mode="rw")) as db:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
