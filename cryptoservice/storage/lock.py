"""One run a database: an advisory lock on a file beside it, which the system releases when the holder dies."""

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

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment, unused-ignore]


class DatabaseLock:
    """Held while a run writes. The file's presence means nothing; only the lock on it does."""

    def __init__(self, database: Path, started_at: str) -> None:
        # A link to a database is the same database.
        real = Path(os.path.realpath(database))
        self._path = real.with_name(real.name + ".lock")
        self._started_at = started_at
        self._handle: int | None = None

    def __enter__(self) -> DatabaseLock:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StoreError(f"cannot open {self._path}: {files.describe(error)}", hint=files.hint_for(error)) from error
        try:
            free = _try_lock(handle)
        except OSError as error:
            os.close(handle)
            hint = "keep the database on a file system that has locks"
            raise StoreError(f"cannot lock {self._path}: {files.describe(error)}", hint=hint) from error
        if not free:
            holder = _describe(handle)
            os.close(handle)
            raise StoreBusy(f"another run holds this database: {holder}", hint="wait until it has ended, then run again")
        self._handle = handle
        note = {"host": socket.gethostname(), "pid": os.getpid(), "started_at": self._started_at}
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, (json.dumps(note) + "\n").encode(), 0)
        except OSError as error:
            self.__exit__(None, None, None)
            raise StoreError(f"cannot write {self._path}: {files.describe(error)}", hint=files.hint_for(error)) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                # The next holder's note comes a moment after its lock: until then nobody is named rather than the wrong one.
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None


def _try_lock(handle: int) -> bool:
    if fcntl is None:  # pragma: no cover - Windows
        import msvcrt  # noqa: PLC0415

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe(handle: int) -> str:
    try:
        note: Any = json.loads(os.pread(handle, 4096, 0))
        return f"host {note['host']}, pid {note['pid']}, started {note['started_at']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its holder has only just started"
