"""Result files appear whole or not at all: written beside their target, then renamed onto it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from cryptoservice.errors import OutputError, Remedy, UsageError

# Machines that share a folder tell their temp files apart: a process that does not live here may live there.
_HOST = f"{zlib.crc32(socket.gethostname().encode(errors='replace')):08x}"
_TEMP_FORM = re.compile(r"\..+\.(?:([0-9a-f]{8})-)?(\d+)\.tmp\Z")
_FOREIGN_TEMP_SECONDS = 86_400.0


class TargetExists(UsageError):
    """The target appeared before this run could put its own file there."""


def describe(error: OSError) -> str:
    """What the operating system said, without the path that the caller names anyway."""
    return (error.strerror or str(error)).lower()


def hint_for(error: OSError) -> str:
    """What a person can do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "check the permissions of the file and its folder"
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST):
        return "something else stands at that path: choose another"
    return "check the path"


def make_folder(folder: Path) -> None:
    """Create a folder and its parents; OutputError when that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create folder {folder}: {describe(error)}", hint=hint_for(error)) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in that folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def atomic_text(target: Path, *, replace: bool = True, durable: bool = True) -> Iterator[TextIO]:
    """A UTF-8 text file that becomes visible at `target` when the block ends well.

    With `replace=False` an existing target wins: TargetExists, and it stays as it is. With `durable` the bytes survive a power
    cut once the block has ended. OutputError on I/O failure; the target is untouched then.
    """
    target = Path(os.path.realpath(target))
    make_folder(target.parent)
    # Cut, so that a long name stays a legal one; the thread tells writers of one process apart.
    temp = target.with_name(f".{target.name[:80]}.{threading.get_ident()}.{_HOST}-{os.getpid()}.tmp")
    try:
        # Windows needs newline="" too: the bytes are the same on every system.
        with temp.open("w", encoding="utf-8", newline="") as handle:
            yield handle
            handle.flush()
            if durable:
                os.fsync(handle.fileno())
        if replace:
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


def _place_new(temp: Path, target: Path) -> None:
    try:
        # A hard link, unlike a rename, fails when the target exists: of two runs exactly one wins.
        os.link(temp, target)
    except FileExistsError:
        raise TargetExists(f"{target} exists already", hint=Remedy.REPLACE_FILE) from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        # A file system without hard links: claim the name first, then rename onto the claim.
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise TargetExists(f"{target} exists already", hint=Remedy.REPLACE_FILE) from None
        temp.replace(target)


def is_running(pid: int) -> bool:
    """True when a process of that number exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def clean_temps(folder: Path) -> int:
    """Remove temp files that runs which no longer live have left in `folder`; how many.

    Those of another machine, which may share the folder, are only taken for left over when they are a day old.
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
    """Remove a file of ours that is out of date; True if there was one. OutputError when it cannot be removed."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(f"cannot remove the stale file {path}: {describe(error)}", hint=hint_for(error)) from error
    return True


def name_of(path: Path) -> str:
    """The path as text that every encoding can hold: bytes that are not UTF-8 become a replacement mark."""
    return os.fsencode(path).decode("utf-8", "replace")


def check_name(path: Path, what: str) -> None:
    """UsageError when no file can have that name: too long, or with a NUL in it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    except (OSError, ValueError) as error:
        reason = describe(error) if isinstance(error, OSError) else "it holds a NUL"
        raise UsageError(f"{what} {str(path)[:80]!r}: its name cannot be used ({reason})", hint="check the path") from None


def require_place(path: Path) -> None:
    """OutputError when a file could not be put there: better known before an hour of work than after. Creates nothing."""
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
    """UsageError when a folder stands where a file is meant."""
    check_name(path, what)
    if path.is_dir():
        raise UsageError(f"{what} {path} is a folder", hint="name a file")
