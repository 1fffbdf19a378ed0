"""A command whose stderr, or also its stdout, is a pseudo-terminal, and what stands on the screen in the end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable
from typing import NamedTuple

from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import wait_until

_PIECES = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|[\r\n]|[^\r\n\x1b]+")


class Screen(NamedTuple):
    """What was sent to a terminal: the bytes as text, each line that was drawn over itself, and what is left to see."""

    sent: str
    drawn: list[str]
    left: list[str]


class Terminal:
    """A pseudo-terminal: the end that a command gets, and what the command has sent to it."""

    def __init__(self, columns: int) -> None:
        self._ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._pieces: list[bytes] = []
        self._reader = threading.Thread(target=_read, args=(self._ours, self._pieces))

    def __enter__(self) -> Terminal:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Read to the end; the command must have ended."""
        self._reader.join()
        os.close(self._ours)

    @property
    def text(self) -> str:
        """What has come so far."""
        return b"".join(self._pieces).decode()


def run_on_terminal(
    workspace: Workspace,
    *arguments: str,
    columns: int = 120,
    seen: Callable[[str], bool] | None = None,
    at: str | None = None,
    piped: bool = True,
) -> tuple[Outcome, Screen]:
    """Run to the end; stdout is a pipe, as in `cryptoservice ... > report.json`, or a terminal of its own.

    SIGINT comes once `seen` likes the screen.
    """
    environment = {name: value for name, value in workspace.env().items() if name not in ("COLUMNS", "LINES")}
    with Terminal(columns) as shown, Terminal(columns) as printed:
        process = subprocess.Popen(
            workspace.command(*arguments, at=at),
            cwd=workspace.folder,
            env={"TERM": "xterm-256color", **environment, **workspace.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else printed.theirs,
            stderr=shown.theirs,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(shown.theirs)
        os.close(printed.theirs)
        try:
            if seen is not None:
                wait_until(lambda: process.poll() is not None or seen(shown.text), seconds=60)
                process.send_signal(signal.SIGINT)
            stdout, _ = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
    return Outcome(process.returncode, stdout if piped else printed.text, shown.text), screen(shown.text)


def _read(terminal: int, pieces: list[bytes]) -> None:
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # EIO: nobody has the other end any more
            return
        if not piece:
            return
        pieces.append(piece)


def screen(sent: str) -> Screen:
    """Carry out what a terminal would: text, CR, LF, and erasing to the end of the line. Anything else is a surprise."""
    lines, row, column, drawn = [""], 0, 0, []
    for piece in _PIECES.finditer(sent):
        text = piece[0]
        if text == "\r":
            column = 0
        elif text == "\n":
            row, lines = row + 1, [*lines, ""]
        elif piece[2]:
            assert (piece[1], piece[2]) == ("", "K"), f"an escape code other than erasing: {text!r}"
            lines[row] = lines[row][:column]
            if lines[row]:
                drawn.append(lines[row])
        else:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
    return Screen(sent, drawn, lines)
