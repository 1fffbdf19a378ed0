"""The HTTP side: connections, parsing, and carrying out replies, misbehaviour included."""

from __future__ import annotations

import contextlib
import gzip
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote

from .wire import Host, RecordedRequest, Reply, Request

Answerer = Callable[[Request], tuple[Reply, RecordedRequest]]
_GZIP_FROM = 1024  # bytes of body
_DRIP_PIECES = 20


class ReplayServer(ThreadingHTTPServer):
    """One host of the exchange on a loopback port of its own."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, host: Host, port: int, answer: Answerer, http_now: Callable[[], str], gzips: bool) -> None:
        self.host = host
        self.answer = answer
        self.http_now = http_now
        self.gzips = gzips
        self._open: set[socket.socket] = set()
        self._resetting: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Connection)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True, name=f"replay-{host}")

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def server_bind(self) -> None:
        """Bind without the name look-up of HTTPServer, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def start(self) -> None:
        """Serve in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and end all connections."""
        asking = threading.Thread(target=self.shutdown)
        asking.start()
        # The loop looks for the request to end when something arrives: a connection spares it the rest of its poll.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.server_address[1]), timeout=1).close()
        asking.join()
        self._thread.join()
        self.server_close()
        with self._lock:
            still_open = list(self._open)
        for connection in still_open:
            with contextlib.suppress(OSError):  # it may have ended meanwhile
                connection.shutdown(socket.SHUT_RDWR)

    def opened(self, connection: socket.socket) -> None:
        """Remember a connection, to end it with the server."""
        with self._lock:
            self._open.add(connection)

    def reset(self, connection: socket.socket) -> None:
        """Let this connection end with RST instead of FIN."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self._lock:
            self._resetting.add(connection)

    def shutdown_request(self, request: Any) -> None:
        """End a connection: orderly, or at once if it is to be reset."""
        with self._lock:
            self._open.discard(request)
            reset = request in self._resetting
            self._resetting.discard(request)
        if reset:
            request.close()  # without shutdown(): that would send FIN first
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of the exchange; anything else is printed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Connection(socketserver.StreamRequestHandler):
    """One connection; a small parser of its own, since http.server spends more on headers than a reply costs."""

    disable_nagle_algorithm = True
    wbufsize = 0
    server: ReplayServer

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def handle(self) -> None:
        while self._one():
            pass

    def _one(self) -> bool:
        """Answer one request; whether the connection is kept."""
        line = self.rfile.readline(65_537)
        if not line.strip():
            return False
        method, _, rest = line.decode("latin-1").strip().partition(" ")
        target, _, version = rest.rpartition(" ")
        headers = self._headers()
        length = int(headers.get("content-length", "0"))
        if length:
            self.rfile.read(length)
        raw_path, _, query = target.partition("?")
        params = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        request = Request(self.server.host, method, unquote(raw_path), params, headers)
        reply, record = self.server.answer(request)
        kept = headers.get("connection", "").lower() != "close" and version == "HTTP/1.1"
        return self._deliver(request, reply, record) and kept

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while line := self.rfile.readline(65_537).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return headers

    def _deliver(self, request: Request, reply: Reply, record: RecordedRequest) -> bool:
        """Carry out a reply; whether the connection can go on."""
        body = reply.body
        encoding = ""
        if self._gzips(request, reply):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            encoding = "Content-Encoding: gzip\r\n"
        if reply.delay:
            time.sleep(reply.delay)
        if reply.ending == "reset" and not reply.sent_share:
            record.finished_at = time.monotonic()
            self.server.reset(self.connection)
            return False
        head = self._head(reply, len(body), encoding)
        sent = body if reply.sent_share >= 1 else body[: int(len(body) * reply.sent_share)]
        if reply.drip and sent:
            self._drip(head, sent, reply.drip, record)
        else:
            record.finished_at = time.monotonic()
            self.connection.sendall(head + sent)
        if reply.ending == "reset":
            # What lies unread at the client is thrown away with RST: give it time to read the part it should see.
            time.sleep(0.05)
            self.server.reset(self.connection)
        return reply.ending == "keep"

    def _gzips(self, request: Request, reply: Reply) -> bool:
        if not (self.server.gzips and reply.compressible and len(reply.body) > _GZIP_FROM):
            return False
        return "gzip" in request.headers.get("accept-encoding", "")

    def _head(self, reply: Reply, length: int, encoding: str) -> bytes:
        try:
            phrase = HTTPStatus(reply.status).phrase
        except ValueError:
            phrase = "Unknown"
        named = {name.lower() for name, _ in reply.headers}
        server = "" if "server" in named else "Server: Tengine\r\n"
        extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
        return (
            f"HTTP/1.1 {reply.status} {phrase}\r\nDate: {self.server.http_now()}\r\nContent-Type: {reply.content_type}\r\n"
            f"Content-Length: {length}\r\n{server}{encoding}{extra}\r\n"
        ).encode("latin-1")

    def _drip(self, head: bytes, body: bytes, seconds: float, record: RecordedRequest) -> None:
        size = max(1, -(-len(body) // _DRIP_PIECES))
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        self.connection.sendall(head)
        for piece in pieces:
            time.sleep(seconds / len(pieces))
            record.finished_at = time.monotonic()
            self.connection.sendall(piece)
