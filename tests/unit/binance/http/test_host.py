"""HTTP over real sockets: retries with exact waits, pauses, and what is never sent."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.binance.http import session
from cryptoservice.binance.http.circuit_breaker import CircuitBreaker
from cryptoservice.binance.http.gate import Gate
from cryptoservice.binance.http.host import Call, Host, host_name
from cryptoservice.binance.http.limiter import LimitPolicy, RateLimiter
from cryptoservice.binance.http.responses import Transient, api_response_parser, archive_response_parser
from cryptoservice.binance.http.traffic import Traffic
from cryptoservice.config import RetryConfig
from cryptoservice.errors import Interrupted, SourceError, SourceRefused, SymbolRefused
from tests.unit.binance.loopback import Loopback, Reply, Seen
from tests.unit.fakes import FakeClock

EPOCH = 1_770_000_000.0
GOOD = Reply(body=b'{"ok": true}')


class Wired:
    """A host of the product, talking to a scripted server on a clock that moves by itself."""

    def __init__(self, server: Loopback, **options: Any) -> None:
        self.server = server
        self.clock = options.pop("clock", None) or FakeClock(EPOCH)
        self.gate = Gate(host_name(server.url), self.clock, options.pop("max_wait", 300.0))
        self.limiter = RateLimiter(LimitPolicy(max_weight=1000), self.gate, self.clock)
        self.traffic = Traffic()
        retry = options.pop("retry", RetryConfig(max_retries=3, base_delay=1.0, jitter=False))
        self.host = Host(server.url, self.gate, workers=4, retry=retry, clock=self.clock, traffic=self.traffic, **options)

    def get(self, path: str = "/fapi/v1/klines", judge: Callable[[Any], Any] | None = None, **fields: Any) -> Any:
        call = Call("klines", path, fields.pop("params", {}), self.limiter, **fields)
        return self.host.fetch(call, judge or api_response_parser(self.clock))


@contextlib.contextmanager
def wired(*replies: Reply, script: Callable[[int, Seen], Reply] | None = None, **options: Any) -> Iterator[Wired]:
    """The last reply is given for ever."""
    server = Loopback(script or (lambda number, _: replies[min(number, len(replies) - 1)]))
    with server.running():
        made = Wired(server, **options)
        try:
            yield made
        finally:
            made.host.close()


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What people are told even with --quiet."""
    told: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "handlers", [handler])
    return told


def test_a_good_answer_costs_one_request_and_no_wait() -> None:
    with wired(GOOD) as made:
        assert made.get() == {"ok": True}
        assert made.clock.sleeps == []
        assert made.traffic.requests == {"klines": 1}
        assert made.traffic.retries == 0


def test_parameters_and_names_are_percent_encoded_as_utf8() -> None:
    with wired(GOOD) as made:
        made.get("/data/币安人生USDT/x y.zip", params={"symbol": "币安人生USDT", "startTime": 1})
        assert made.server.seen[0].target == (
            "/data/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT/x%20y.zip?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&startTime=1"
        )


def test_headers_of_the_host_and_of_the_call_are_sent() -> None:
    with wired(GOOD, headers={"X-MBX-APIKEY": "key"}) as made:
        made.get(headers={"Cache-Control": "no-cache"})
        headers = made.server.seen[0].headers
        assert headers["x-mbx-apikey"] == "key"
        assert headers["cache-control"] == "no-cache"
        assert headers["user-agent"].startswith("cryptoservice/")


def test_nothing_is_taken_from_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password hunter2\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(netrc))
    with wired(GOOD) as made:
        made.get()
        assert "authorization" not in made.server.seen[0].headers


def test_cookies_or_not_every_request_stands_alone() -> None:
    with wired(GOOD) as made:
        made.get()
        made.get()
        assert [seen.target for seen in made.server.seen] == ["/fapi/v1/klines"] * 2


def test_gzip_answers_are_unpacked() -> None:
    body = json.dumps({"rows": [1] * 5000}).encode()
    with wired(Reply(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})) as made:
        assert made.get() == {"rows": [1] * 5000}
        assert "gzip" in made.server.seen[0].headers["accept-encoding"]


TROUBLES = {
    "http_503": Reply(503, b'{"code": 0, "msg": "Service Unavailable."}'),
    "http_502": Reply(502, b"<html>"),
    "invalid_json": Reply(200, b'[[1769904000000,"0.10'),
    "api_error_-1001": Reply(400, b'{"code": -1001, "msg": "Internal error"}'),
    "connection_error": Reply(drop=True),
}


@pytest.mark.parametrize("reason", TROUBLES)
def test_passing_trouble_is_tried_again_after_exact_waits(reason: str) -> None:
    with wired(TROUBLES[reason], TROUBLES[reason], GOOD) as made:
        assert made.get() == {"ok": True}
        assert made.clock.sleeps == [1.0, 2.0]
        assert made.traffic.retries == 2
        assert made.traffic.backoff_seconds == 3.0
        assert made.traffic.requests == {"klines": 3}


@pytest.mark.parametrize("reason", TROUBLES)
def test_trouble_that_stays_is_an_error_with_its_reason(reason: str) -> None:
    with wired(TROUBLES[reason]) as made:
        with pytest.raises(SourceError) as caught:
            made.get()
        assert caught.value.reason == reason
        assert caught.value.message.endswith("(4 attempts)")
        assert made.clock.sleeps == [1.0, 2.0, 4.0]
        assert len(made.server.seen) == 4


def test_no_retries_is_one_attempt() -> None:
    with wired(TROUBLES["http_503"], retry=RetryConfig(max_retries=0)) as made:
        with pytest.raises(SourceError, match=r"\(1 attempt\)"):
            made.get()
        assert len(made.server.seen) == 1


def test_a_judge_may_ask_for_more_patience() -> None:
    def judge(_: object) -> None:
        raise Transient("busy", patience=4.0)

    with wired(GOOD) as made:
        with pytest.raises(SourceError, match="busy"):
            made.get(judge=judge)
        assert made.clock.sleeps == [4.0, 8.0, 16.0]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_truncated_answer_is_never_taken_for_a_whole_one(chunked: bool) -> None:
    body = b'{"ok": true}' + b" " * 1000
    with wired(Reply(body=body, cut=900, chunked=chunked), Reply(body=body, chunked=chunked)) as made:
        assert made.get() == {"ok": True}
        assert made.traffic.retries == 1


def test_a_truncated_archive_object_is_never_taken_for_a_whole_one() -> None:
    with wired(Reply(body=b"PK" * 300_000, cut=1)) as made:
        with pytest.raises(SourceError) as caught:
            made.get("/data/x.zip", judge=archive_response_parser(made.clock))
        assert caught.value.reason in ("truncated_answer", "connection_error")
        assert len(made.server.seen) == 4


def test_a_broken_gzip_body_is_passing_trouble() -> None:
    with wired(Reply(body=b"not gzip", headers={"Content-Encoding": "gzip"}), GOOD) as made:
        assert made.get() == {"ok": True}
        assert made.traffic.retries == 1


def test_an_answer_larger_than_allowed_is_not_read_to_its_end() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    with wired(Reply(body=bomb, headers={"Content-Encoding": "gzip"})) as made:
        with pytest.raises(SourceError) as caught:
            made.get(max_bytes=1000)
        assert caught.value.reason == "answer_too_large"


def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clock = FakeClock()
    gate = Gate("host", clock, 300.0)
    host = Host(
        f"http://127.0.0.1:{port}",
        gate,
        workers=1,
        retry=RetryConfig(max_retries=1, jitter=False),
        clock=clock,
        traffic=Traffic(),
    )
    with pytest.raises(SourceError, match="connection refused") as caught:
        host.fetch(Call("x", "/x", {}, RateLimiter(LimitPolicy(max_weight=None), gate, clock)), api_response_parser(clock))
    assert caught.value.reason == "connection_error"
    assert clock.sleeps == [1.0]


# -- redirects, refusals, symbols ------------------------------------------------------------------------------


def test_redirects_are_not_followed_and_the_key_stays_here() -> None:
    with wired(GOOD) as elsewhere:
        away = Reply(302, b"", {"Location": elsewhere.server.url + "/stolen"})
        with wired(away, headers={"X-MBX-APIKEY": "key"}) as made:
            with pytest.raises(SourceError, match="HTTP 302"):
                made.get()
            assert len(made.server.seen) == 1
        assert elsewhere.server.seen == []


@pytest.mark.parametrize("status", [403, 451])
def test_a_refusal_is_final_for_all_later_requests(status: int) -> None:
    with wired(Reply(status, b"<html>")) as made:
        for _ in range(3):
            with pytest.raises(SourceRefused, match=f"HTTP {status}"):
                made.get()
        assert len(made.server.seen) == 1
        assert made.clock.sleeps == []
        assert made.gate.refusal is not None


def test_a_refused_symbol_is_not_tried_again() -> None:
    with wired(Reply(400, b'{"code": -1121, "msg": "Invalid symbol."}'), GOOD) as made:
        with pytest.raises(SymbolRefused):
            made.get()
        assert made.get() == {"ok": True}
        assert made.traffic.retries == 0


# -- pauses ----------------------------------------------------------------------------------------------------


def test_429_pauses_as_long_as_it_says_and_uses_up_no_retry() -> None:
    busy = Reply(429, b'{"code": -1003, "msg": "Too many requests"}', {"Retry-After": "7"})
    with wired(busy, busy, GOOD, retry=RetryConfig(max_retries=0)) as made:
        assert made.get() == {"ok": True}
        assert made.clock.monotonic() == 14.0
        assert made.traffic.retries == 0
        assert made.limiter.budget() == 250.0


def test_418_waits_for_its_end() -> None:
    banned = Reply(418, b'{"code": -1003, "msg": "Way too many requests; IP(1.2.3.4) banned until 1770000123500."}')
    with wired(banned, GOOD) as made:
        assert made.get() == {"ok": True}
        assert made.clock.time() == EPOCH + 123.5
        assert len(made.server.seen) == 2


def test_a_ban_beyond_the_limit_ends_the_run_without_another_request() -> None:
    banned = Reply(418, b'{"code": -1003, "msg": "IP banned until 1770000900000."}')
    with wired(banned) as made:
        for _ in range(3):
            with pytest.raises(SourceRefused, match="has banned this IP address"):
                made.get()
        assert len(made.server.seen) == 1
        assert made.clock.sleeps == []


@pytest.mark.parametrize("status", [429, 400])
def test_nothing_but_too_many_requests_ends_the_run_within_the_limit(status: int) -> None:
    busy = Reply(status, b'{"code": -1003, "msg": "Too many requests"}')
    with wired(*[busy] * 40, GOOD) as made:
        with pytest.raises(SourceRefused, match="has answered nothing but"):
            made.get()
        assert 300 <= made.clock.monotonic() <= 420


def test_a_refused_symbol_is_an_answer_that_breaks_the_row_of_429() -> None:
    busy = Reply(429, b'{"code": -1003, "msg": "Too many requests"}', {"Retry-After": "60"})
    unknown = Reply(400, b'{"code": -1121, "msg": "Invalid symbol."}')
    with wired(script=lambda number, _: unknown if number % 2 else busy) as made:
        for _ in range(20):
            with pytest.raises(SymbolRefused):
                made.get()
        assert made.gate.refusal is None


def test_the_hosts_own_count_of_weight_is_taken_over() -> None:
    with wired(Reply(body=b"{}", headers={"X-MBX-USED-WEIGHT-1M": "990"})) as made:
        made.get(weight=5)
        made.get(weight=5)
        assert made.clock.sleeps == []
        made.get(weight=10)
        assert made.clock.sleeps == [61.0]


def test_every_attempt_goes_through_the_limiter() -> None:
    with wired(TROUBLES["http_503"]) as made:
        with pytest.raises(SourceError):
            made.get(weight=300)
        # Three attempts fit into the budget of 1000; the fourth waits for the first to leave the window.
        assert made.clock.sleeps == [1.0, 2.0, 4.0, 54.0]


def test_many_threads_get_each_their_own_answer() -> None:
    def script(_: int, seen: Seen) -> Reply:
        return Reply(body=json.dumps({"target": seen.target}).encode())

    answers: dict[int, Any] = {}
    with wired(script=script) as made:

        def work(number: int) -> None:
            answers[number] = made.get(params={"n": number})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made.traffic.requests == {"klines": 16}
    assert answers == {number: {"target": f"/fapi/v1/klines?n={number}"} for number in range(16)}


def test_a_closed_host_sends_nothing_more() -> None:
    hosts: list[Host] = []

    def script(_: int, __: Seen) -> Reply:
        hosts[0].close()
        return TROUBLES["http_503"]

    with wired(script=script) as made:
        hosts.append(made.host)
        for _ in range(2):
            with pytest.raises(Interrupted):
                made.get()
        assert len(made.server.seen) == 1


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://fapi.binance.com", "fapi.binance.com"), ("http://127.0.0.1:8080/base", "127.0.0.1:8080"),
        ("https://me:pw@host:1", "host:1"),
    ],
)  # fmt: skip
def test_host_name_carries_the_port_and_no_password(url: str, name: str) -> None:
    assert host_name(url) == name


# -- a host that does not answer at all ------------------------------------------------------------------------

SILENT = Reply(drop=True)
# Four workers, three calls each.
ROW = 12


def failure(made: Wired) -> str:
    with pytest.raises(SourceError) as caught:
        made.get()
    return caught.value.reason


@pytest.mark.parametrize("retries", [0, 2])
def test_a_silent_host_is_given_up_after_three_calls_a_worker(retries: int, errors: list[str]) -> None:
    with wired(SILENT, retry=RetryConfig(max_retries=retries, jitter=False)) as made:
        assert [failure(made) for _ in range(ROW)] == ["connection_error"] * ROW
        assert len(made.server.seen) == ROW * (1 + retries)
        assert [failure(made) for _ in range(100)] == ["unreachable"] * 100
        assert len(made.server.seen) == ROW * (1 + retries)
        assert made.gate.refusal is None, "nobody has refused: this is no exit code 4"
        (line,) = errors
        assert line.startswith(f"{made.gate.host} does not answer (the connection broke), 12 requests in a row")
        assert line.endswith("check the network, then run it again; with more retries a run waits longer for a host")


def test_a_host_that_takes_connections_and_says_nothing_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "READ_TIMEOUT", 0.02)
    clock = FakeClock()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        gate = Gate("host", clock, 300.0)
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        host = Host(url, gate, workers=1, retry=RetryConfig(max_retries=1, jitter=False), clock=clock, traffic=Traffic())
        call = Call("x", "/x", {}, RateLimiter(LimitPolicy(max_weight=None), gate, clock))
        reasons = []
        for _ in range(5):
            with pytest.raises(SourceError) as caught:
                host.fetch(call, api_response_parser(clock))
            reasons.append(caught.value.reason)
        host.close()
    assert reasons == ["timeout"] * 3 + ["unreachable"] * 2


@contextlib.contextmanager
def dripping(head: bytes, piece: bytes) -> Iterator[str]:
    """A server that starts an answer and then sends such a piece every few milliseconds, for as long as anybody listens."""
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
def test_an_answer_that_trickles_in_is_given_up(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout of a read starts anew with every byte; the one for the whole answer does not."""
    monkeypatch.setattr(session, "WHOLE_TIMEOUT", 0.2)
    clock = FakeClock()
    gate = Gate("host", clock, 300.0)
    with dripping(*DRIPS[form]) as url:
        host = Host(url, gate, workers=1, retry=RetryConfig(max_retries=0), clock=clock, traffic=Traffic())
        started = time.monotonic()
        with pytest.raises(SourceError) as caught:
            host.fetch(Call("x", "/x", {}, RateLimiter(LimitPolicy(max_weight=None), gate, clock)), api_response_parser(clock))
        assert caught.value.reason in ("timeout", "connection_error")
        assert time.monotonic() - started < 5
        host.close()


ANSWERS = {
    "500": Reply(500, b"<html>"),
    "429": Reply(429, b'{"code": -1003, "msg": "Too many requests"}', {"Retry-After": "1"}),
    "rubbish": Reply(200, b"<html>"),
    "half a body": Reply(body=b'{"ok": true}', cut=4),
    "a symbol that is not served": Reply(400, b'{"code": -1121, "msg": "Invalid symbol."}'),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_any_answer_breaks_the_row(answer: str) -> None:
    # In each round one attempt short of what gives the host up, then an answer.
    with wired(
        script=lambda number, _: ANSWERS[answer] if number % ROW == ROW - 1 else SILENT, retry=RetryConfig(max_retries=0)
    ) as made:
        for _ in range(5 * ROW):
            assert failure(made) != "unreachable"
        assert len(made.server.seen) >= 5 * ROW


def test_a_network_that_is_away_for_less_than_one_calls_retries_is_not_given_up() -> None:
    """Every call finds it away at first and there again at its last attempt: whatever their number, none of them counts."""
    with wired(script=lambda number, _: GOOD if number % 4 == 3 else SILENT) as made:
        for _ in range(3 * ROW):
            assert made.get() == {"ok": True}


def test_a_call_that_lasted_while_others_were_answered_does_not_count() -> None:
    breaker = CircuitBreaker(4)
    for _ in range(10 * ROW):
        began = breaker.responses
        breaker.responded()
        assert not breaker.call_failed(began)
    began = breaker.responses
    assert [breaker.call_failed(began) for _ in range(ROW + 5)] == [False] * (ROW - 1) + [True] + [False] * 5


def test_as_many_as_there_are_workers_may_fail_at_once() -> None:
    """All calls under way lose the same outage; the next ones find the host there again."""
    for workers in (1, 8, 256):
        breaker = CircuitBreaker(workers)
        for _ in range(10):
            began = breaker.responses
            assert not any(breaker.call_failed(began) for _ in range(2 * workers))
            breaker.responded()


class Held(FakeClock):
    """Only the test's own thread sleeps as ever: the sleeps of others end when they are told to stop, and not before."""

    def __init__(self) -> None:
        super().__init__(EPOCH)
        self.asleep = threading.Event()

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
        if threading.current_thread() is threading.main_thread():
            super().sleep(seconds, stop)
            return
        assert stop is not None
        self.asleep.set()
        assert stop.wait(20), "nobody has woken it up"
        raise Interrupted


@pytest.mark.parametrize("wait", ["for the next attempt", "for a budget of five minutes"])
def test_calls_that_wait_end_with_the_host(wait: str) -> None:
    held = Held()
    with wired(SILENT, clock=held, retry=RetryConfig(max_retries=3, jitter=False)) as made:
        limiter = RateLimiter(LimitPolicy(max_weight=2, window=300.0), made.gate, held)
        if wait == "for a budget of five minutes":
            limiter.acquire(2)
        outcomes: list[str] = []

        def work() -> None:
            with pytest.raises(SourceError) as caught:
                made.host.fetch(Call("funding", "/fapi/v1/fundingRate", {}, limiter), api_response_parser(made.clock))
            outcomes.append(caught.value.reason)

        thread = threading.Thread(target=work)
        thread.start()
        assert held.asleep.wait(10)
        assert [failure(made) for _ in range(ROW)] == ["connection_error"] * ROW
        thread.join(10)
        assert outcomes == ["unreachable"]


def test_many_threads_give_a_host_up_once(errors: list[str]) -> None:
    with wired(SILENT, retry=RetryConfig(max_retries=1, jitter=False)) as made:
        reasons: list[str] = []
        threads = [threading.Thread(target=lambda: reasons.extend(failure(made) for _ in range(20))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(reasons) == 8 * 20
        assert ROW <= reasons.count("connection_error") <= ROW + 7
        assert reasons.count("unreachable") >= 8 * 20 - ROW - 7
        assert len(made.server.seen) <= 2 * (ROW + 8)
        assert len(errors) == 1


def test_a_host_that_is_closed_while_its_session_is_opened_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = session.Session
    opening, closed = threading.Event(), threading.Event()

    def slowly(*arguments: Any, **options: Any) -> session.Session:
        opening.set()
        closed.wait(5.0)
        return opened(*arguments, **options)

    monkeypatch.setattr(session, "Session", slowly)
    with wired(GOOD) as it:
        told: list[str] = []

        def get() -> None:
            try:
                it.get()
            except Interrupted:
                told.append("interrupted")

        caller = threading.Thread(target=get)
        caller.start()
        assert opening.wait(5.0)
        it.host.close()
        closed.set()
        caller.join(5.0)
        assert (told, it.server.seen, it.traffic.requests) == (["interrupted"], [], {})
