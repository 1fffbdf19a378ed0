"""Single requests over a real socket: whole bodies or none, no redirects, no password of another file."""

from __future__ import annotations

import configparser
import contextlib
import gzip
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from cryptoservice import errors
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


@pytest.mark.parametrize(
    ("path", "target", "asked"),
    [
        ("", "/a", "/a"), ("/base", "/a", "/base/a"), ("/base", "?b=1", "/base?b=1"), ("", "?b=1", "/?b=1"),
        ("/b%C3%A4", "/%E5%B8%81%2B?c=%20", "/b%C3%A4/%E5%B8%81%2B?c=%20"),
    ],
)  # fmt: skip
def test_the_target_follows_the_base_as_it_is(path: str, target: str, asked: str) -> None:
    with Loopback(lambda _, __: Reply()).running() as server:
        made = plain(server.url + path)
        made.get(target, None, 100)
        made.close()
        assert [seen.target for seen in server.seen] == [asked]


def test_no_request_has_what_belongs_to_another() -> None:
    """Neither headers of its own nor cookies of the host."""
    with Loopback(lambda _, __: Reply(200, b"", {"Set-Cookie": "a=1; Path=/"})).running() as server:
        made = plain(server.url)
        made.get("/1", {"cache-control": "no-cache", "User-Agent": "other"}, 100)
        made.get("/2", None, 100)
        made.close()
        first, second = (seen.headers for seen in server.seen)
        assert (first["cache-control"], first["user-agent"]) == ("no-cache", "other")
        assert "cache-control" not in second
        assert second["user-agent"].startswith("cryptoservice/")
        assert "cookie" not in second


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


@pytest.mark.parametrize("status", [403, 418, 429, 451])
@pytest.mark.parametrize("chunked", [False, True])
def test_of_a_refusal_as_much_as_arrived_is_enough(status: int, chunked: bool) -> None:
    """Its status says what matters: asking a host again that has banned this address only prolongs the ban."""
    body = b"banned until 1770003600000" + b" " * 100
    server = Loopback(lambda _, __: Reply(status, body, cut=100, chunked=chunked))
    with server.running(), contextlib.closing(plain(server.url)) as made:
        found = made.get("/x", None, 10**6)
    assert found.status == status
    # Of a chunk that breaks off urllib3 gives nothing.
    assert found.body in ((b"", body[:26]) if chunked else (body[:26],))


def test_a_stop_event_does_not_hide_a_ban() -> None:
    stop = threading.Event()
    stop.set()
    server = Loopback(lambda _, __: Reply(418, b"banned until 1770003600000"))
    with server.running(), contextlib.closing(plain(server.url, stop)) as made:
        assert made.get("/x", None, 10**6).body == b"banned until 1770003600000"


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


# -- certificates --------------------------------------------------------------------------------------------------

# A certificate of localhost that its own key has signed, and that key. Nothing but these tests trusts it.
SELF_SIGNED = Path(__file__).with_name("self_signed.pem")


@contextlib.contextmanager
def encrypted() -> Iterator[int]:
    """The port of a server that shows the certificate of localhost."""
    server = Loopback(lambda _, __: GOOD)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    with server.running():
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        yield server._server.server_address[1]


def test_a_certificate_that_nobody_vouches_for_is_named() -> None:
    with encrypted() as port, wired_to(f"https://localhost:{port}") as made:
        for _ in range(2):
            with pytest.raises(errors.NetworkSetupError) as caught:
                made.get()
        assert caught.value.message.startswith(f"the certificate of localhost:{port} is refused: self")
        assert caught.value.hint is not None
        assert "REQUESTS_CA_BUNDLE" in caught.value.hint
        assert caught.value.exit_code == 1
        # One attempt, and not one for the second call.
        assert (made.traffic.requests, made.clock.sleeps) == ({"klines": 1}, [])


def test_a_certificate_authority_of_ones_own_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(SELF_SIGNED))
    with encrypted() as port, wired_to(f"https://localhost:{port}") as made:
        assert made.get() == {"ok": True}


def test_a_certificate_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(SELF_SIGNED))
    words = r"the certificate of 127\.0\.0\.1:\d+ is refused: .*127\.0\.0\.1"
    with encrypted() as port, contextlib.closing(plain(f"https://127.0.0.1:{port}")) as made:  # noqa: SIM117
        with pytest.raises(errors.NetworkSetupError, match=words):
            made.get("/x", None, 100)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(("name", "words"), [("absent.pem", "does not exist"), ("empty.pem", "cannot be used")])
def test_certificate_authorities_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, name: str, words: str
) -> None:
    (tmp_path / "empty.pem").write_text("no certificate\n")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / name))
    with wired_to("https://localhost:1") as made:
        with pytest.raises(errors.NetworkSetupError) as caught:
            made.host.open()
        assert caught.value.message.startswith(f"the certificate file {tmp_path / name} {words}")
        assert caught.value.hint == f"correct {variable}, or leave it out"
        with pytest.raises(errors.NetworkSetupError):
            made.get()
        assert made.traffic.requests == {}
    # Without encryption no certificate is looked at.
    with wired(GOOD) as plainly:
        assert plainly.get() == {"ok": True}


# -- packages --------------------------------------------------------------------------------------------------------


def test_a_package_that_is_too_old_is_named_before_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = metadata.version("requests")
    monkeypatch.setitem(session.NEEDED_VERSIONS, "requests", (99, 1))
    with wired(GOOD) as made:
        with pytest.raises(errors.NetworkSetupError) as caught:
            made.get()
        assert caught.value.message == f"requests {installed} is too old: version 99.1 or later is needed"
        assert caught.value.hint == "install with: pip install 'requests>=99.1'"
        assert made.seen == []


@pytest.mark.parametrize(
    ("package", "version", "needed"),
    [("requests", "2.30.9", "2.31"), ("requests", "1.99", "2.31"), ("urllib3", "2.1.0", "2.2"), ("urllib3", "1.26.18", "2.2")],
)
def test_versions_that_are_too_old(package: str, version: str, needed: str) -> None:
    with pytest.raises(errors.NetworkSetupError) as caught:
        session.require_versions({"requests": "2.31.0", "urllib3": "2.2.0", package: version})
    assert caught.value.message == f"{package} {version} is too old: version {needed} or later is needed"
    assert caught.value.hint == f"install with: pip install '{package}>={needed}'"


def test_packages_that_are_too_old_are_named_together() -> None:
    # As Debian 12 has them.
    with pytest.raises(errors.NetworkSetupError) as caught:
        session.require_versions({"requests": "2.28.1", "urllib3": "1.26.12"})
    for words in ("requests 2.28.1 is too old", "urllib3 1.26.12 is too old"):
        assert words in caught.value.message
    assert caught.value.hint == "install with: pip install 'requests>=2.31' 'urllib3>=2.2'"


def test_versions_that_are_new_enough_or_unreadable() -> None:
    for requests, urllib3 in (("2.31.0", "2.2"), ("3.0", "unknown"), ("2.100.1.dev3", "2.10")):
        session.require_versions({"requests": requests, "urllib3": urllib3})


def test_the_versions_needed_are_those_of_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[4] / "setup.cfg")
    wanted = dict(line.split(">=") for line in setup["options"]["install_requires"].split())
    assert {name: ".".join(map(str, numbers)) for name, numbers in session.NEEDED_VERSIONS.items()} == wanted


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


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
def test_a_socks_proxy_without_its_package_is_named_before_any_request(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socks", None)
    with wired(GOOD) as made:
        monkeypatch.setenv("all_proxy", f"{scheme}://me:hunter2@127.0.0.1:1")
        with pytest.raises(errors.NetworkSetupError) as caught:
            made.get()
        assert "PySocks" in caught.value.message
        assert "hunter2" not in str(caught.value)
        assert (caught.value.exit_code, made.traffic.requests) == (1, {})
    with wired(GOOD) as made:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert made.get() == {"ok": True}


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
