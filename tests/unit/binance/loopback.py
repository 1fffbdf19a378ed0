"""A small real HTTP server on a free port that sends what a script says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Reply:
    """One response. `cut` bytes of the body are never sent; `drop` ends the connection before any byte.

    A `Date` header stands instead of the true one.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    drop: bool = False
    chunked: bool = False


@dataclass(frozen=True)
class Seen:
    """One request as it arrived. Header names are lower case."""

    target: str
    headers: dict[str, str]


class Loopback:
    """Answers request number n (from 0) with `script(n, seen)`."""

    def __init__(self, script: Callable[[int, Seen], Reply]) -> None:
        self.seen: list[Seen] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body leave together: in two packets the second would wait for a delayed acknowledgement.
            wbufsize = -1

            def do_GET(self) -> None:
                seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()})
                with outer._lock:
                    number = len(outer.seen)
                    outer.seen.append(seen)
                reply = script(number, seen)
                if not reply.drop:
                    self._send(reply)
                self.close_connection = bool(reply.drop or reply.cut)

            def _send(self, reply: Reply) -> None:
                if "Date" in reply.headers:
                    self.send_response_only(reply.status)
                else:
                    self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                else:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                body = reply.body[: len(reply.body) - reply.cut]
                with contextlib.suppress(OSError):
                    if not reply.chunked:
                        self.wfile.write(body)
                    elif reply.cut:
                        self.wfile.write(b"%x\r\n" % len(reply.body) + body)
                    else:
                        self.wfile.write(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Loopback]:
        """Serve while the block lasts."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
