"""Single requests over a real socket: whole bodies or none, no redirects, no password of another file."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptoservice.binance.http import session
from cryptoservice.binance.http.responses import Transient, archive_response_parser
from cryptoservice.binance.http.session import Session
from cryptoservice.config import RetryConfig
from cryptoservice.errors import Interrupted, SourceError, UsageError
from tests.unit.binance.loopback import Loopback, Reply
from tests.unit.binance.wired import GOOD, wired, wired_to

ONCE = RetryConfig(max_retries=0)


def plain(url: str, stop: threading.Event | None = None) -> Session:
    return Session(url, 1, {}, responded=lambda: None, stop=stop or threading.Event())


def unused_url() -> str:
    """Of a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_response_has_lower_case_headers_and_its_whole_body() -> None:
    with Loopback(lambda _, __: Reply(404, b"<Error/>", {"X-MBX-Used-Weight-1M": "7"})).running() as server:
        made = plain(server.url)
        found = made.get("/a?b=1", {"Cache-Control": "no-cache"}, 100)
        made.close()
        assert (found.status, found.body, found.headers["x-mbx-used-weight-1m"]) == (404, b"<Error/>", "7")
        assert server.seen[0].target == "/a?b=1"
        assert server.seen[0].headers["cache-control"] == "no-cache"


def test_nothing_is_taken_from_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password hunter2\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(netrc))
    with wired(GOOD) as made:
        made.get()
        assert "authorization" not in made.seen[0].headers


def test_gzip_bodies_are_unpacked() -> None:
    body = json.dumps({"rows": [1] * 5000}).encode()
    with wired(Reply(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})) as made:
        assert made.get() == {"rows": [1] * 5000}
        assert "gzip" in made.seen[0].headers["accept-encoding"]


def test_redirects_are_not_followed_and_the_key_stays_here() -> None:
    with wired(GOOD) as elsewhere:
        away = Reply(302, b"", {"Location": elsewhere.host.base_url + "/stolen"})
        with wired(away, headers={"X-MBX-APIKEY": "key"}) as made:
            with pytest.raises(SourceError, match="HTTP 302"):
                made.get()
            assert len(made.seen) == 1
        assert elsewhere.seen == []


# -- bodies that are not whole -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
def test_a_truncated_body_is_never_taken_for_a_whole_one(chunked: bool) -> None:
    body = b'{"ok": true}' + b" " * 1000
    with wired(Reply(body=body, cut=900, chunked=chunked), Reply(body=body, chunked=chunked)) as made:
        assert made.get() == {"ok": True}
        assert made.traffic.retries == 1


def test_a_truncated_archive_file_is_never_taken_for_a_whole_one() -> None:
    with wired(Reply(body=b"PK" * 300_000, cut=1)) as made:
        with pytest.raises(SourceError) as caught:
            made.get("/data/x.zip", archive_response_parser(made.clock))
        assert caught.value.reason in ("truncated_answer", "connection_error")
        assert len(made.seen) == 4


def test_a_broken_gzip_body_is_passing_trouble() -> None:
    with wired(Reply(body=b"not gzip", headers={"Content-Encoding": "gzip"}), GOOD) as made:
        assert made.get() == {"ok": True}
        assert made.traffic.retries == 1


def test_a_body_larger_than_allowed_is_not_read_to_its_end() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    with wired(Reply(body=bomb, headers={"Content-Encoding": "gzip"}), retry=ONCE) as made:
        with pytest.raises(SourceError) as caught:
            made.get(max_bytes=1000)
        assert caught.value.reason == "answer_too_large"


@contextlib.contextmanager
def dripping(head: bytes, piece: bytes) -> Iterator[str]:
    """A server that starts a response and then sends such a piece every few milliseconds, for as long as anybody listens."""
    ends = threading.Event()

    def drip(peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            peer.recv(65536)
            peer.sendall(head)
            while not ends.wait(0.005):
                peer.sendall(piece)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ends.set()


DRIPS = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "gzip": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 99)[:10], b"\x00"),
}


@pytest.mark.parametrize("form", DRIPS)
def test_a_response_that_arrives_too_slowly_is_given_up(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout of a read starts anew with every byte; the one for the whole response does not."""
    monkeypatch.setattr(session, "WHOLE_TIMEOUT", 0.2)
    with dripping(*DRIPS[form]) as url, wired_to(url, retry=ONCE) as made:
        started = time.monotonic()
        with pytest.raises(SourceError) as caught:
            made.get()
        assert caught.value.reason in ("timeout", "connection_error")
        assert time.monotonic() - started < 5


def test_a_stop_event_ends_the_reading_of_a_body() -> None:
    stop = threading.Event()
    stop.set()
    with dripping(*DRIPS["length"]) as url, contextlib.closing(plain(url, stop)) as made, pytest.raises(Interrupted):
        made.get("/x", None, 10**6)


# -- no response at all --------------------------------------------------------------------------------------------


def test_a_port_where_nobody_listens() -> None:
    with wired_to(unused_url(), retry=RetryConfig(max_retries=1, jitter=False)) as made:
        with pytest.raises(SourceError, match="connection refused") as caught:
            made.get()
        assert caught.value.reason == "connection_error"
        assert made.clock.sleeps == [1.0]


def test_a_host_that_says_nothing_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "READ_TIMEOUT", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with contextlib.closing(plain(url)) as made, pytest.raises(Transient) as caught:
            made.get("/x", None, 100)
    assert (caught.value.reason, str(caught.value)) == ("timeout", "no response in time")


def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with contextlib.closing(plain("http://nowhere.invalid")) as made, pytest.raises(Transient) as caught:
        made.get("/x", None, 100)
    assert (caught.value.reason, str(caught.value)) == ("connection_error", "the host name could not be resolved")


def test_a_host_that_speaks_no_tls() -> None:
    with Loopback(lambda _, __: GOOD).running() as server:
        with contextlib.closing(plain(server.url.replace("http:", "https:"))) as made, pytest.raises(Transient) as caught:
            made.get("/x", None, 100)
        assert caught.value.reason == "tls_error"


# -- proxies of the environment ------------------------------------------------------------------------------------


def test_a_proxy_that_is_away_keeps_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", unused_url().replace("//", "//me:hunter2@"))
    with contextlib.closing(plain("https://fapi.example")) as made, pytest.raises(Transient) as caught:
        made.get("/x", None, 100)
    assert (caught.value.reason, str(caught.value)) == ("proxy_error", "the proxy did not pass the request on")


def test_a_proxy_passes_the_request_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(lambda _, __: GOOD).running() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with contextlib.closing(plain("http://fapi.example")) as made:
            assert made.get("/x", None, 100).body == GOOD.body
        assert proxy.seen[0].target == "http://fapi.example/x"


@pytest.mark.parametrize(
    "address",
    ["http://me:hunter2@", "http://me:a[hunter2]b@127.0.0.1:1", "http://me:x@127.0.0.1:hunter2", "hunter2://me:x@127.0.0.1:1"],
)
def test_a_proxy_without_a_usable_address_keeps_its_password(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, address)
    # Which of the two it is depends on when the installed requests looks at the address.
    with pytest.raises((UsageError, Transient)) as caught:
        plain("https://fapi.example").get("/x", None, 100)
    assert "hunter2" not in str(caught.value)
