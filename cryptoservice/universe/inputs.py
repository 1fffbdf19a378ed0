"""Reads the files that a user names as input: whole, up to a limit, and with one clear error when a file cannot be used.

The path `-` is standard input, as in other tools; a file of that name needs its whole path.
"""

from __future__ import annotations

import select
import stat
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from cryptoservice.clock import POLL_SECONDS, raise_if_stopped
from cryptoservice.errors import Remedy, UsageError
from cryptoservice.files import check_name, describe, hint_for

STANDARD_STREAM = "-"
_PIECE_BYTES = 64 * 1024


def input_name(path: Path, what: str) -> str:
    """What an error calls that input."""
    return f"{what} (standard input)" if str(path) == STANDARD_STREAM else f"{what} {path}"


def read_input(path: Path, what: str, limit: int, *, missing: str | Remedy, stop: threading.Event | None = None) -> bytes:
    """The bytes of an input file. Raises UsageError unless it is a readable regular file of at most `limit` bytes.

    `what` names the file in errors, and `missing` is the hint when the file does not exist. Of named files only regular ones are
    read, because a pipe or a device may never end. Raises Interrupted when `stop` is set while standard input lets it wait.
    """
    if str(path) == STANDARD_STREAM:
        return _read_stdin(what, limit, stop)
    check_name(path, what)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{what} {path} is a folder", hint="name a file inside it")
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{what} {path} is not a regular file", hint="write it to a file first")
        content = b""
        if status.st_size <= limit:
            with path.open("rb") as handle:
                content = handle.read(limit + 1)
    except FileNotFoundError:
        raise UsageError(f"{what} {path} does not exist", hint=missing) from None
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {describe(error)}", hint=hint_for(error)) from None
    if max(status.st_size, len(content)) > limit:
        raise UsageError(f"{what} {path} is larger than {limit // 2**20} MiB", hint="is it the right file?")
    return content


def _read_stdin(what: str, limit: int, stop: threading.Event | None) -> bytes:
    name = input_name(Path(STANDARD_STREAM), what)
    if sys.stdin is None:
        raise UsageError(f"{name} is closed", hint="send it a file or the output of a command")
    try:
        content = _read_stream(sys.stdin.buffer, limit + 1, stop)
    except (OSError, ValueError) as error:
        said = describe(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"{name} cannot be read: {said}", hint="send it a file or the output of a command") from None
    if not content.strip():
        raise UsageError(f"{name} is empty", hint="send it a file or the output of a command")
    if len(content) > limit:
        raise UsageError(f"{name} is larger than {limit // 2**20} MiB", hint="is it the right file?")
    return content


def _read_stream(stream: BinaryIO, most: int, stop: threading.Event | None) -> bytes:
    """At most so many bytes of a stream. A terminal or a pipe may send none for long: a read alone would outlast `stop`."""
    # Unlike `read`, this takes what there is and does not wait for more.
    read_some = getattr(stream, "read1", stream.read)
    pieces: list[bytes] = []
    while most > 0:
        while not _has_something(stream):
            raise_if_stopped(stop)
        raise_if_stopped(stop)
        piece = read_some(min(most, _PIECE_BYTES))
        if not piece:
            break
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def _has_something(stream: BinaryIO) -> bool:
    """Whether a read will not wait, found in at most POLL_SECONDS; True where the system cannot tell."""
    try:
        return bool(select.select([stream], [], [], POLL_SECONDS)[0])
    except (OSError, ValueError):
        # It has no descriptor, or is a pipe on Windows.
        return True
