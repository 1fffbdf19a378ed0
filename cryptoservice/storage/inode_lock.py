"""A lock on the database file itself, so that a run finds the other one under whatever name that reached the file.

A hard link, or a file that is mounted into a container, has a lock file of its own but the same bytes. On Linux the lock is an
open-file-description lock on bytes far beyond those that SQLite locks (0x40000000 and the 511 after it). Elsewhere there is no
such lock, and the lock file beside the database is the only one.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment, unused-ignore]

IS_SUPPORTED = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")
# The lock covers as many bytes as its holder's process number, since the system tells nothing else of such a holder.
_FIRST_BYTE = 1 << 61
# struct flock: type, whence, start, length, pid (must be 0), padding at its end.
_FLOCK = "hhqqi0q"
# What a kernel or a file system says that does not know these locks.
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)

Inode = tuple[int, int]

opening = threading.Lock()
"""Held while this process opens a database, and while it closes a descriptor of one."""
_held: set[Inode] = set()
_parked: dict[Inode, int] = {}


class InodeHeld(Exception):
    """Another run holds the file; `pid` is its process number where it runs, None when the system does not say."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(pid)
        self.pid = pid


class InodeLock:
    """The lock on one file, from `take` to `release`.

    SQLite opens the file after the one and has closed it before the other: as soon as a process closes any descriptor of a file,
    the system drops the ordinary locks that the process has on it, and those are SQLite's.
    """

    def __init__(self, handle: int | None, inode: Inode) -> None:
        self._handle = handle
        self._inode = inode

    @classmethod
    def take(cls, path: Path) -> InodeLock:
        """Lock the file, which is created empty when it is missing. Raises InodeHeld, or OSError when it cannot be used.

        A file that may only be read is locked against those who write, because its run cannot write either.
        """
        if not IS_SUPPORTED:
            return cls(None, (0, 0))
        with opening:
            known = _inode_of(path)
            if known in _held:
                # It is not even opened, because to close it again would drop the locks of the other run in this process.
                raise InodeHeld(os.getpid())
            handle, can_write = (_parked.pop(known), True) if known in _parked else _open(path)
            status = os.fstat(handle)
            inode = (status.st_dev, status.st_ino)
            try:
                _set(handle, fcntl.F_WRLCK if can_write else fcntl.F_RDLCK)
            except BlockingIOError:
                pid = _holder(handle)
                _put_away(handle, inode)
                raise InodeHeld(pid) from None
            except OSError as error:
                _put_away(handle, inode)
                if error.errno in _UNKNOWN:
                    return cls(None, inode)
                raise
            _held.add(inode)
            return cls(handle, inode)

    def release(self) -> None:
        """Unlock the file. A second call does nothing."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        with opening:
            _held.discard(self._inode)
            # A process that was forked meanwhile has the descriptor too, and would hold the lock on.
            _set(handle, fcntl.F_UNLCK)
            _put_away(handle, self._inode)


def _inode_of(path: Path) -> Inode | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _open(path: Path) -> tuple[int, bool]:
    try:
        # As every new file, it is what the umask allows: SQLite itself would keep a group from writing.
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666), True
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY), False


def _set(handle: int, kind: int) -> None:
    length = 0 if kind == fcntl.F_UNLCK else os.getpid()
    fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, _FIRST_BYTE, length, 0))


def _holder(handle: int) -> int | None:
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _FIRST_BYTE, 1, 0)
    kind, _, start, length, _ = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_OFD_GETLK, asked))
    return length if kind != fcntl.F_UNLCK and start == _FIRST_BYTE and length else None


def _put_away(handle: int, inode: Inode) -> None:
    """Close the descriptor, but only when nothing else in this process has the file open; until then it is kept."""
    _parked[inode] = handle
    for known, parked in list(_parked.items()):
        if not _is_open_elsewhere(parked):
            del _parked[known]
            os.close(parked)


def _is_open_elsewhere(handle: int) -> bool:
    try:
        others = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    except OSError:
        return True
    status = os.fstat(handle)
    for other in others:
        try:
            if other != handle and os.path.samestat(os.fstat(other), status):
                return True
        except OSError:
            # It was the descriptor of the listing itself, or another thread has closed it.
            continue
    return False


def _forget() -> None:
    """A forked process holds nothing. To lock a descriptor that it shares with its parent would succeed at any time."""
    global opening  # noqa: PLW0603
    opening = threading.Lock()
    _held.clear()
    _parked.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
