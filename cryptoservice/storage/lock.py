"""One database has one writer: advisory locks that the system releases when their holder dies.

One lock is on a file beside the database, whose text names the holder. On Linux another one is on the database itself, because
it has other names than this one: a hard link, or a mount in a container (`inode_lock`). On other systems the lock file alone
remains, and two runs that reach one file by such names do not see each other.

It is hand-made because the standard library has no lock that works on Linux, macOS and Windows and can name its holder.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptoservice import files
from cryptoservice.errors import StoreBusy, StoreError
from cryptoservice.storage.inode_lock import InodeHeld, InodeLock

_WAIT = "wait until it has ended, then run again"


class DatabaseLock:
    """The lock that a run holds while it writes; `started_at` is an ISO 8601 time for the note that names the holder.

    It is entered before the database is opened, and left after it has been closed. Only the locks count: the lock file may stay
    behind, and then it means nothing. Where the system has locks on the database itself, a missing database is created empty.
    Entering raises StoreBusy when another run holds the database, and StoreError when one of the files cannot be used.
    """

    def __init__(self, database: Path, started_at: str) -> None:
        # A symbolic link to a database leads to the same lock.
        self._database = Path(os.path.realpath(database))
        self._path = self._database.with_name(self._database.name + ".lock")
        self._started_at = started_at
        self._handle: int | None = None
        self._inode_lock: InodeLock | None = None

    def __enter__(self) -> DatabaseLock:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StoreError(f"cannot open {self._path}: {files.describe(error)}", hint=files.hint_for(error)) from error
        try:
            free = files.try_lock(handle)
        except OSError as error:
            os.close(handle)
            hint = "keep the database on a file system that supports locks"
            raise StoreError(f"cannot lock {self._path}: {files.describe(error)}", hint=hint) from error
        if not free:
            holder = _describe_holder(handle)
            os.close(handle)
            raise StoreBusy(f"another run holds this database: {holder}", hint=_WAIT)
        self._handle = handle
        try:
            self._lock_database()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        note = {"host": socket.gethostname(), "pid": os.getpid(), "started_at": self._started_at}
        try:
            os.ftruncate(handle, 0)
            os.write(handle, (json.dumps(note) + "\n").encode())
        except OSError as error:
            self.__exit__(None, None, None)
            raise StoreError(f"cannot write {self._path}: {files.describe(error)}", hint=files.hint_for(error)) from error
        return self

    def _lock_database(self) -> None:
        """Lock the database itself. The holder of its other name has its note beside that name, where nobody can look."""
        try:
            self._inode_lock = InodeLock.take(self._database)
        except InodeHeld as held:
            who = "" if held.pid is None else f": pid {held.pid}, as processes are counted where it runs"
            raise StoreBusy(f"another run holds this database under another name{who}", hint=_WAIT) from None
        except OSError as error:
            words = files.describe(error)
            raise StoreError(f"cannot lock database {self._database}: {words}", hint=files.hint_for(error)) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._inode_lock is not None:
            self._inode_lock.release()
            self._inode_lock = None
        if self._handle is not None:
            with contextlib.suppress(OSError):
                # The next holder writes its note a moment after it has the lock. Until then no name is better than the old one.
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None


def _describe_holder(handle: int) -> str:
    """Say who holds the lock, from the note in the lock file."""
    try:
        note: Any = json.loads(os.read(handle, 4096))
        return f"host {note['host']}, pid {note['pid']}, started {note['started_at']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its holder has only just started"
