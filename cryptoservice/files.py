"""Result files, which appear whole or not at all: a file is written beside its target and then renamed onto it. And locks.

The atomic write is hand-made because `tempfile` ignores the umask and its names do not say which run a file belongs to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO, TypeVar

from cryptoservice.errors import OutputError, Remedy, UsageError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment, unused-ignore]

# A process that does not run here may run on another machine that shares the folder, so temp files name their host.
_HOST = f"{zlib.crc32(socket.gethostname().encode(errors='replace')):08x}"
_TEMP_FORM = re.compile(r"\..+\.(?:([0-9a-f]{8})-)?(\d+)\.tmp\Z")
_FOREIGN_TEMP_SECONDS = 86_400.0

File = TypeVar("File", TextIO, BinaryIO)


class TargetExists(UsageError):
    """A file exists already at the target, and it was not to be replaced."""


def path_of(value: object, what: str) -> Path:
    """The path that a caller named, as text or as a path. Raises UsageError, in which `what` says where the value stood."""
    try:
        return Path(os.fspath(value))  # type: ignore[call-overload]
    except TypeError:
        hint = "give it as text or as pathlib.Path"
        raise UsageError(f"{what} is no path but of type {type(value).__name__}", hint=hint) from None


def describe(error: OSError) -> str:
    """What the operating system said, without the path, which the caller names."""
    return (error.strerror or str(error)).lower()


def hint_for(error: OSError) -> str:
    """What a person can do about the error."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space and run it again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "check the permissions of the file and its folder"
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST):
        return "something else stands at that path: choose another"
    return "check the path"


def make_folder(folder: Path) -> None:
    """Create a folder and its parents. Raises OutputError when that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create folder {folder}: {describe(error)}", hint=hint_for(error)) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in that folder survive a power cut, where the system is able to."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def atomic_text(target: Path, *, replace: bool = True, durable: bool = True) -> Iterator[TextIO]:
    """Give a UTF-8 text file to write to, which appears at `target` when the block ends without an error.

    A new file has the permissions that the umask allows, and one that replaces another has those of the other.
    With `replace=False` an existing target stays as it is, and TargetExists is raised. With `durable` the bytes survive a power
    cut as soon as the block has ended. Raises OutputError when the file cannot be written; the target is unchanged then.
    """
    # newline="" keeps the bytes the same on Windows.
    with _atomic(target, lambda temp: temp.open("w", encoding="utf-8", newline=""), replace, durable) as handle:
        yield handle


@contextlib.contextmanager
def atomic_bytes(target: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """`atomic_text` for a writer that has bytes, such as one that hashes them on their way."""
    with _atomic(target, lambda temp: temp.open("wb"), True, durable) as handle:
        yield handle


@contextlib.contextmanager
def _atomic(target: Path, open_temp: Callable[[Path], File], replace: bool, durable: bool) -> Iterator[File]:
    target = Path(os.path.realpath(target))
    make_folder(target.parent)
    # The thread's number separates the writers of one process.
    temp = target.with_name(f".{_cut(target.name)}.{threading.get_ident()}.{_HOST}-{os.getpid()}.tmp")
    try:
        with open_temp(temp) as handle:
            yield handle
            handle.flush()
            if durable:
                os.fsync(handle.fileno())
        if replace:
            _take_mode(target, temp)
            temp.replace(target)
        else:
            _place_new(temp, target)
        if durable:
            sync_folder(target.parent)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {describe(error)}", hint=hint_for(error)) from error
    finally:
        with contextlib.suppress(OSError):
            temp.unlink()


def _cut(name: str) -> str:
    """The begin of a name, short enough to add something: file systems count bytes, and no character is cut in two."""
    return os.fsencode(name)[:80].decode("utf-8", "ignore")


def _take_mode(target: Path, temp: Path) -> None:
    """Give the temp file the permissions of the file that it replaces, so that whoever shares that file can go on using it."""
    # No file to replace, or a file system without permissions. Bits beyond these are worth something with their owner alone.
    with contextlib.suppress(OSError):
        temp.chmod(target.stat().st_mode & 0o777)


def _place_new(temp: Path, target: Path) -> None:
    """Put the file at a target that does not exist yet, so that of two runs exactly one succeeds."""
    try:
        _link_or_claim(temp, target)
    except FileExistsError:
        raise TargetExists(f"{target} exists already", hint=Remedy.REPLACE_FILE) from None


def _link_or_claim(temp: Path, target: Path) -> None:
    try:
        # A hard link, unlike a rename, fails when the target exists.
        os.link(temp, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        # This file system has no hard links: an empty file claims the name, and the rename replaces it.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        temp.replace(target)


def try_lock(handle: int) -> bool:
    """Lock an open file without waiting; False when somebody else has it. It is unlocked when the descriptor is closed.

    Raises OSError where the file system has no locks.
    """
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


def is_running(pid: int) -> bool:
    """Say whether a process of that number exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def clean_temps(folder: Path) -> int:
    """Remove the temp files that dead runs have left in `folder`, and return how many they were.

    A temp file of another machine that shares the folder counts as left over only when it is a day old.
    """
    removed = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            match = _TEMP_FORM.match(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    if _is_left_over(entry, match[1] or _HOST, int(match[2])):
                        Path(entry.path).unlink()
                        removed += 1
    return removed


def _is_left_over(entry: os.DirEntry[str], host: str, pid: int) -> bool:
    if host != _HOST:
        return time.time() - entry.stat().st_mtime > _FOREIGN_TEMP_SECONDS
    return not is_running(pid)


def remove(path: Path) -> bool:
    """Remove an out-of-date result file; True when there was one. Raises OutputError when it cannot be removed."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(f"cannot remove the stale file {path}: {describe(error)}", hint=hint_for(error)) from error
    return True


def name_of(path: Path) -> str:
    """The path as valid text: a replacement mark stands for each byte that is not UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def check_name(path: Path, what: str) -> None:
    """Raise UsageError when no file can have that name, because it is too long or holds a NUL."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    except (OSError, ValueError) as error:
        reason = describe(error) if isinstance(error, OSError) else "it holds a NUL"
        raise UsageError(f"{what} {str(path)[:80]!r}: its name cannot be used ({reason})", hint="check the path") from None


def require_place(path: Path) -> None:
    """Raise OutputError, before an hour of work and not after it, when no file could be written there. Nothing is created."""
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(
            f"cannot write {path}: {folder} is not a folder", hint="something else stands at that path: choose another"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {path}: no permission to write into {folder}", hint="check the permissions of that folder"
        )


def refuse_folder(path: Path, what: str) -> None:
    """Raise UsageError when the path, which should be that of a file, is a folder."""
    check_name(path, what)
    if path.is_dir():
        raise UsageError(f"{what} {path} is a folder", hint="name a file")
