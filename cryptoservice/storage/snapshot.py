"""One snapshot of a database for a run and its workers, from the first row that is read to the last.

The run opens a read transaction and keeps it. A worker, which is a thread or a process of any executor, opens one of its own and
keeps it too. The number of commits, which the database counts, proves that both see the same. A worker learns of the end of the
run from a local socket: the run listens there, and the line breaks when the run ends, even when it is killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cryptoservice.errors import CryptoserviceError
from cryptoservice.storage.database import open_for_reading, watch_commits
from cryptoservice.storage.reader import StoreReader

# So many workers can be told of the end, and the run waits so long until they have closed their connections.
_WORKERS = 128
_CLOSING_SECONDS = 1.0
_CONNECT_SECONDS = 1.0


class SnapshotKey(NamedTuple):
    """What a worker needs to see the run's snapshot."""

    path: Path
    commits: int
    address: str
    """The socket on which the run listens as long as it needs the snapshot."""


class Snapshot:
    """The run's own view of the database, which only its own thread may use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = contextlib.ExitStack()
        self.store: StoreReader
        self.key: SnapshotKey | None = None
        """None where workers cannot be given the same view: there is no commit counter, or the system has no such sockets."""

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[Snapshot]:
        """Take a snapshot, which ends with the block. Workers have closed their connections then.

        Raises UsageError when the file does not exist, and StoreError when it is empty or not a database of this program.
        """
        snapshot = cls(path)
        with snapshot._stack:
            snapshot._take()
            yield snapshot

    def renew(self) -> None:
        """Take a new snapshot in the place of the old one."""
        self._stack.close()
        self._take()

    def is_latest(self) -> bool:
        """Say whether no program at all has committed anything since the snapshot was taken; False when that is unknown."""
        now = self._version()
        return now is not None and now == self._before

    def _take(self) -> None:
        # This number is read before the snapshot is taken: what is committed in between counts as later.
        self._version = self._stack.enter_context(watch_commits(self._path))
        self._before = self._version()
        self.store = self._stack.enter_context(StoreReader.open(self._path))
        commits = self.store.commits()
        self.key = None
        if commits is not None:
            with contextlib.suppress(OSError):
                address = self._stack.enter_context(_listening())
                self.key = SnapshotKey(self._path.absolute(), commits, address)


@contextlib.contextmanager
def _listening() -> Iterator[str]:
    """Listen until the block ends, and then wait until every worker has closed its connection. Raises OSError."""
    if not hasattr(socket, "AF_UNIX"):  # pragma: no cover - Windows
        raise OSError("no local sockets")
    name = f"cryptoservice-{os.getpid()}-{secrets.token_hex(8)}"
    folder = None
    if sys.platform == "linux":
        # The abstract name space: nothing of it is left in any folder.
        address = f"\0{name}"
    else:
        folder = tempfile.mkdtemp(prefix="cryptoservice-")
        address = f"{folder}/end"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(address)
            listener.listen(_WORKERS)
            _own[address] = os.getpid()
            try:
                yield address
            finally:
                _end_lines(listener)
                del _own[address]
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _end_lines(listener: socket.socket) -> None:
    lines = []
    listener.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            lines.append(listener.accept()[0])
    # A descriptor may have been copied by a fork, so closing it would not be enough.
    for line in lines:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + _CLOSING_SECONDS
    for line in lines:
        with line, contextlib.suppress(OSError):
            line.settimeout(max(0.01, deadline - time.monotonic()))
            line.recv(1)


# -- the worker's side -------------------------------------------------------------------------------------------------

_own: dict[str, int] = {}
"""The addresses of this process's own snapshots, and the process that took them: after a fork that is another one."""
_kept: dict[tuple[str, int], _Kept] = {}
"""The readers that workers keep, by address and thread."""


class _Kept:
    """A worker's reader, from its first use to the end of the run."""

    def __init__(self, place: tuple[str, int], reader: StoreReader, line: socket.socket, stack: contextlib.ExitStack) -> None:
        self.reader: StoreReader | None = reader
        self.in_use = threading.Lock()
        self._place = place
        self._line = line
        self._stack = stack

    def close_at_the_end(self) -> None:
        """Runs in a thread, and waits there for the end of the run."""
        with contextlib.suppress(OSError):
            self._line.recv(1)
        self.close()

    def close(self) -> None:
        """Close the reader and then the line, by whose end the run knows that the reader is closed."""
        # A run that was killed may have left this worker in the middle of its work.
        with self.in_use:
            self.reader = None
            _kept.pop(self._place, None)
            self._stack.close()


@contextlib.contextmanager
def shared_reader(key: SnapshotKey) -> Iterator[StoreReader | None]:
    """This worker's reader on the run's snapshot, which it keeps for later calls; None when it cannot see that snapshot."""
    place = (key.address, threading.get_ident())
    kept = _kept.get(place) or _keep(place, key)
    if kept is None:
        yield None
        return
    with kept.in_use:
        yield kept.reader


def can_see(key: SnapshotKey) -> bool:
    """Say whether this worker sees the run's snapshot, which it keeps in that case."""
    with shared_reader(key) as reader:
        return reader is not None


def _keep(place: tuple[str, int], key: SnapshotKey) -> _Kept | None:
    # SQLite must not be used in a process that was forked while a connection was open: it takes the locks of its parent for
    # its own, and its map of a log that is gone for that of the new one.
    if any(pid != os.getpid() for pid in list(_own.values())):
        return None
    with contextlib.ExitStack() as stack:
        # Whatever goes wrong: the run does the work itself, and meets the error there.
        try:
            line = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            line.settimeout(_CONNECT_SECONDS)
            line.connect(key.address)
            line.settimeout(None)
            reader = StoreReader(key.path, stack.enter_context(open_for_reading(key.path, for_worker=True)))
            if reader.commits() != key.commits:
                return None
        except (OSError, CryptoserviceError):
            return None
        kept = _kept[place] = _Kept(place, reader, line, stack.pop_all())
    try:
        threading.Thread(target=kept.close_at_the_end, name="end of snapshot", daemon=True).start()
    except RuntimeError:
        kept.close()
        return None
    return kept
