"""A server that sends anything at all, byte by byte, and remembers what it received; and a child whose memory is measured."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptoservice.cli.main import main
from tests.e2e.conftest import Outcome, Workspace

# A process of its own between the test and the command: a child starts with the peak memory of its parent.
_MEASURE = """
import pathlib, resource, subprocess, sys
code = subprocess.run(sys.argv[2:], check=False).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
pathlib.Path(sys.argv[1]).write_text(str(peak * (1 if sys.platform == "darwin" else 1024)))
sys.exit(code)
"""


class RawServer:
    """Reads one request a connection and sends the same raw bytes to all, or what `response` makes of the request."""

    def __init__(self, response: bytes | Callable[[bytes], bytes]) -> None:
        self.requests: list[bytes] = []
        self._response = response
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.address}"

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request:
                piece = connection.recv(65_536)
                if not piece:
                    return
                request += piece
            self.requests.append(request)
            connection.sendall(self._response if isinstance(self._response, bytes) else self._response(request))


@contextlib.contextmanager
def raw_server(response: bytes | Callable[[bytes], bytes]) -> Iterator[RawServer]:
    """A RawServer while the block runs."""
    server = RawServer(response)
    try:
        yield server
    finally:
        server.close()


def reply(status: str, body: bytes = b"", *headers: str, content_type: str = "application/json") -> bytes:
    """A whole response; a Content-Length is made when the headers bring none."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", "Connection: close", *headers]
    if not any(line.lower().startswith("content-length") for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def run_measured(workspace: Workspace, *arguments: str, timeout: float = 60.0) -> tuple[Outcome, float]:
    """The command, and the most memory that it held, in MB."""
    note = workspace.folder / ".peak"
    done = subprocess.run(
        [sys.executable, "-S", "-c", _MEASURE, str(note), *workspace.command(*arguments)],
        cwd=workspace.folder,
        env=workspace.env(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    peak = int(note.read_text()) / 1e6
    Path(note).unlink()
    return Outcome(done.returncode, done.stdout, done.stderr), peak


def call(workspace: Workspace, *arguments: str) -> Outcome:
    """The same as workspace.run, in this process: for long lists of cases."""
    stdout, stderr = io.StringIO(), io.StringIO()
    before, environment = Path.cwd(), dict(os.environ)
    logger = logging.getLogger("cryptoservice")
    logging_before = (list(logger.handlers), logger.level, logger.propagate)
    try:
        os.chdir(workspace.folder)
        os.environ.clear()
        os.environ.update(workspace.env())
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            code = main(arguments)
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environment)
        # Tests that come later in this process look at the same logger.
        logger.handlers[:], logger.propagate = logging_before[0], logging_before[2]
        logger.setLevel(logging_before[1])
    return Outcome(code, stdout.getvalue(), stderr.getvalue())
