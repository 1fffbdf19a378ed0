"""Calls over a real socket: retries with exact waits, pauses, refusals, and what is never sent."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from cryptoservice import errors
from cryptoservice.binance.http import session
from cryptoservice.binance.http.host import Host, host_name
from cryptoservice.binance.http.limiter import LimitPolicy, RateLimiter, Spacing
from cryptoservice.binance.http.responses import Transient
from cryptoservice.config import RetryConfig
from cryptoservice.errors import Interrupted, SourceError, SourceRefused, SymbolRefused
from tests.unit.binance.loopback import Reply, Seen
from tests.unit.binance.wired import EPOCH, GOOD, MUTE, wired


def test_a_good_response_costs_one_request_and_no_wait() -> None:
    with wired(GOOD) as made:
        assert made.get() == {"ok": True}
        assert made.clock.sleeps == []
        assert made.traffic.requests == {"klines": 1}
        assert made.traffic.retries == 0


def test_parameters_and_names_are_percent_encoded_as_utf8() -> None:
    with wired(GOOD) as made:
        made.get("/data/币安人生USDT/x y.zip", params={"symbol": "币安人生USDT", "startTime": 1})
        assert made.seen[0].target == (
            "/data/%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT/x%20y.zip?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&startTime=1"
        )


def test_headers_of_the_host_and_of_the_call_are_sent() -> None:
    with wired(GOOD, headers={"X-MBX-APIKEY": "key"}) as made:
        made.get(headers={"Cache-Control": "no-cache"})
        headers = made.seen[0].headers
        assert headers["x-mbx-apikey"] == "key"
        assert headers["cache-control"] == "no-cache"
        assert headers["user-agent"].startswith("cryptoservice/")


TROUBLES = {
    "http_503": Reply(503, b'{"code": 0, "msg": "Service Unavailable."}'),
    "http_502": Reply(502, b"<html>"),
    "invalid_json": Reply(200, b'[[1769904000000,"0.10'),
    "api_error_-1001": Reply(400, b'{"code": -1001, "msg": "Internal error"}'),
    "connection_error": MUTE,
}


@pytest.mark.parametrize("reason", TROUBLES)
def test_passing_trouble_is_tried_again_after_exact_waits(reason: str) -> None:
    with wired(TROUBLES[reason], TROUBLES[reason], GOOD) as made:
        assert made.get() == {"ok": True}
        assert made.clock.sleeps == [1.0, 2.0]
        assert made.traffic.retries == 2
        assert made.traffic.waiting.seconds == 3.0
        assert made.traffic.requests == {"klines": 3}


@pytest.mark.parametrize("reason", TROUBLES)
def test_trouble_that_stays_is_an_error_with_its_reason(reason: str) -> None:
    with wired(TROUBLES[reason]) as made:
        with pytest.raises(SourceError) as caught:
            made.get()
        assert caught.value.reason == reason
        assert caught.value.message.endswith("(4 attempts)")
        assert made.clock.sleeps == [1.0, 2.0, 4.0]
        assert len(made.seen) == 4


def test_no_retries_is_one_attempt() -> None:
    with wired(TROUBLES["http_503"], retry=RetryConfig(max_retries=0)) as made:
        with pytest.raises(SourceError, match=r"\(1 attempt\)"):
            made.get()
        assert len(made.seen) == 1


def test_a_parser_may_ask_for_more_patience() -> None:
    def parse(_: object) -> None:
        raise Transient("busy", patience=4.0)

    with wired(GOOD) as made:
        with pytest.raises(SourceError, match="busy"):
            made.get(parse=parse)
        assert made.clock.sleeps == [4.0, 8.0, 16.0]


def test_every_request_leaves_a_debug_line(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "propagate", False)
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "handlers", [caplog.handler])
    with wired(GOOD) as made, caplog.at_level(logging.DEBUG, logger="cryptoservice"):
        made.get(params={"symbol": "BTCUSDT"})
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith(f"GET {made.gate.host}/fapi/v1/klines?symbol=BTCUSDT -> 200, 12 bytes, ")


def test_an_empty_202_is_tried_again() -> None:
    with wired(Reply(202, b""), Reply(202, b""), GOOD) as made:
        assert made.get() == {"ok": True}
        assert (made.clock.sleeps, len(made.seen)) == ([1.0, 2.0], 3)


# -- an unavailable host that names a time ----------------------------------------------------------------------------


def unavailable(retry_after: str) -> Reply:
    return Reply(503, b'{"code": 0, "msg": "Service Unavailable."}', {"Retry-After": retry_after})


@pytest.mark.parametrize("header", ["17", "Mon, 02 Feb 2026 02:40:17 GMT"])
def test_retry_after_of_a_503_is_kept_and_uses_up_a_retry(header: str) -> None:
    arrived: list[float] = []

    def script(number: int, _: Seen) -> Reply:
        arrived.append(made.clock.monotonic())
        return GOOD if number else unavailable(header)

    with wired(script=script) as made:
        assert made.get() == {"ok": True}
        # The back-off of one second is part of the seventeen.
        assert arrived == [0.0, 17.0]
        assert made.traffic.retries == 1
        assert sum(made.clock.sleeps) == 17.0


def test_a_503_that_names_a_time_holds_all_threads_back_and_cuts_no_budget() -> None:
    with wired(unavailable("40"), GOOD, retry=RetryConfig(max_retries=0)) as made:
        with pytest.raises(SourceError) as caught:
            made.get()
        assert (caught.value.reason, len(made.seen)) == ("http_503", 1)
        assert made.get() == {"ok": True}
        assert made.clock.monotonic() == 40.0
        assert made.limiter.budget() == 1000.0


def test_the_back_off_is_kept_where_it_is_longer_than_retry_after() -> None:
    with wired(unavailable("1"), GOOD, retry=RetryConfig(base_delay=8.0, jitter=False)) as made:
        made.get()
        assert made.clock.sleeps == [8.0]


def test_retries_run_out_for_a_503_with_a_time_too() -> None:
    with wired(unavailable("5"), retry=RetryConfig(max_retries=2, jitter=False)) as made:
        with pytest.raises(SourceError) as caught:
            made.get()
        assert (caught.value.reason, len(made.seen)) == ("http_503", 3)
        assert made.clock.monotonic() == 10.0


@pytest.mark.parametrize("retries", [0, 3])
def test_a_503_beyond_the_wait_limit_ends_all_requests(retries: int) -> None:
    with wired(unavailable("301"), retry=RetryConfig(max_retries=retries)) as made:
        for _ in range(2):
            with pytest.raises(SourceRefused, match=r"asks for a pause until 2026-02-02T02:45:01\+00:00 \(HTTP 503\)"):
                made.get()
        assert (len(made.seen), made.clock.sleeps) == (1, [])
        assert made.gate.refusal is not None


def test_nothing_but_503s_that_ask_for_time_ends_after_the_wait_limit() -> None:
    with wired(unavailable("100"), retry=RetryConfig(max_retries=50)) as made:
        with pytest.raises(SourceRefused, match="has answered nothing but HTTP 503 for 300 s"):
            made.get()
        assert len(made.seen) == 4


@pytest.mark.parametrize("header", ["0", "soon", "-5", "Mon, 02 Feb 2026 02:39:00 GMT"])
def test_a_503_without_a_usable_time_keeps_the_back_off(header: str) -> None:
    with wired(unavailable(header), unavailable(header), GOOD) as made:
        made.get()
        assert made.clock.sleeps == [1.0, 2.0]


# -- what no retry can mend ------------------------------------------------------------------------------------------


def test_a_refused_key_ends_all_requests_at_once() -> None:
    with wired(Reply(401, b'{"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}')) as made:
        for _ in range(3):
            with pytest.raises(errors.NetworkSetupError, match="refuses the API key"):
                made.get()
        assert (len(made.seen), made.clock.sleeps) == (1, [])
        assert made.gate.refusal is None, "the host does not refuse this address"


# -- closing while an answer is on its way ------------------------------------------------------------------------------

BAN = b'{"code": -1003, "msg": "Way too many requests; IP(1.2.3.4) banned until 1770003600000."}'


def ended_by(call: Callable[[], Any], *kinds: type[Exception]) -> None:
    with contextlib.suppress(*kinds):
        call()


@pytest.mark.parametrize("reply", [Reply(418, BAN), Reply(418, BAN + b" " * 9, cut=9), Reply(418, BAN, chunked=True)])
def test_a_ban_that_arrives_while_the_host_is_closed_is_written_down_first(reply: Reply) -> None:
    asked, written = threading.Event(), threading.Event()
    bans: list[tuple[str, float]] = []

    def script(_: int, __: Seen) -> Reply:
        asked.set()
        # The answer leaves when the run is ending already.
        assert made.host._stop.wait(10)
        return reply

    def write_down(host: str, until: float) -> None:
        # A slow disk.
        written.wait(0.05)
        bans.append((host, until))

    with wired(script=script) as made:
        made.gate._on_ban = write_down
        caller = threading.Thread(target=ended_by, args=(made.get, Interrupted, SourceRefused))
        caller.start()
        assert asked.wait(10)
        made.host.close()
        assert bans == [(made.gate.host, EPOCH + 3600)]
        caller.join(10)
        assert not caller.is_alive()


def test_closing_does_not_wait_for_an_answer_that_does_not_come() -> None:
    asked, leave = threading.Event(), threading.Event()

    def script(_: int, __: Seen) -> Reply:
        asked.set()
        leave.wait(20)
        return GOOD

    with wired(script=script) as made:
        caller = threading.Thread(target=ended_by, args=(made.get, Interrupted))
        caller.start()
        assert asked.wait(10)
        started = time.monotonic()
        made.host.close(linger=0.1)
        assert time.monotonic() - started < 5
        leave.set()
        caller.join(10)


def test_opening_a_session_takes_nothing_from_the_spacing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = session.Session
    arrived: list[float] = []

    def slowly(*arguments: Any, **options: Any) -> session.Session:
        made.clock.advance(5.0)
        return opened(*arguments, **options)

    def script(_: int, __: Seen) -> Reply:
        arrived.append(made.clock.monotonic())
        return GOOD

    monkeypatch.setattr(session, "Session", slowly)
    with wired(script=script) as made:
        spaced = RateLimiter(LimitPolicy(max_weight=None), made.gate, made.clock, Spacing(1.0))
        made.get(limiter=spaced)
        made.get(limiter=spaced)
        assert arrived == [5.0, 6.0]


# -- refusals of an address and of a symbol ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 451])
def test_a_refusal_is_final_for_all_later_requests(status: int) -> None:
    with wired(Reply(status, b"<html>")) as made:
        for _ in range(3):
            with pytest.raises(SourceRefused, match=f"HTTP {status}"):
                made.get()
        assert len(made.seen) == 1
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
        assert len(made.seen) == 2


def test_a_ban_beyond_the_limit_ends_the_run_without_another_request() -> None:
    banned = Reply(418, b'{"code": -1003, "msg": "IP banned until 1770000900000."}')
    with wired(banned) as made:
        for _ in range(3):
            with pytest.raises(SourceRefused, match="has banned this IP address"):
                made.get()
        assert len(made.seen) == 1
        assert made.clock.sleeps == []


@pytest.mark.parametrize("status", [429, 400])
def test_nothing_but_too_many_requests_ends_the_run_within_the_limit(status: int) -> None:
    busy = Reply(status, b'{"code": -1003, "msg": "Too many requests"}')
    with wired(*[busy] * 40, GOOD) as made:
        with pytest.raises(SourceRefused, match="has answered nothing but"):
            made.get()
        assert 300 <= made.clock.monotonic() <= 420


def test_a_refused_symbol_ends_the_consecutive_429s() -> None:
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


def test_many_threads_get_each_their_own_response() -> None:
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
        assert len(made.seen) == 1


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://fapi.binance.com", "fapi.binance.com"), ("http://127.0.0.1:8080/base", "127.0.0.1:8080"),
        ("https://me:pw@host:1", "host:1"),
    ],
)  # fmt: skip
def test_host_name_carries_the_port_and_no_password(url: str, name: str) -> None:
    assert host_name(url) == name


def test_a_host_that_is_closed_while_its_session_is_opened_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = session.Session
    opening, closed = threading.Event(), threading.Event()

    def slowly(*arguments: Any, **options: Any) -> session.Session:
        opening.set()
        closed.wait(5.0)
        return opened(*arguments, **options)

    monkeypatch.setattr(session, "Session", slowly)
    with wired(GOOD) as it:
        outcomes: list[str] = []

        def get() -> None:
            try:
                it.get()
            except Interrupted:
                outcomes.append("interrupted")

        caller = threading.Thread(target=get)
        caller.start()
        assert opening.wait(5.0)
        it.host.close()
        closed.set()
        caller.join(5.0)
        assert (outcomes, it.seen, it.traffic.requests) == (["interrupted"], [], {})


# -- calls that a run can do without -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        Reply(503), Reply(503, headers={"Retry-After": "60"}), Reply(429), Reply(429, headers={"Retry-After": "60"}), MUTE,
        Reply(418, b'{"code": -1003, "msg": "IP banned until 1770000060000."}'), Reply(202, b""), Reply(body=b"no JSON"),
    ],
)  # fmt: skip
def test_a_call_with_one_try_neither_waits_nor_tries_again(reply: Reply) -> None:
    with wired(reply) as made:
        with pytest.raises(SourceError):
            made.get(one_try_within=5.0)
        assert (len(made.seen), made.clock.sleeps, made.traffic.retries) == (1, [], 0)
        # A pause that the host asks for holds for the next call all the same.
        if made.gate.remaining():
            with pytest.raises(SourceError, match="asks for a pause"):
                made.get(one_try_within=5.0)
            assert (len(made.seen), made.clock.sleeps) == (1, [])


def test_a_call_with_one_try_is_given_up_in_time() -> None:
    def late(_: int, __: Seen) -> Reply:
        time.sleep(1.0)
        return GOOD

    with wired(script=late) as made:
        started = time.monotonic()
        with pytest.raises(SourceError) as caught:
            made.get(one_try_within=0.1)
        assert caught.value.reason == "timeout"
        assert time.monotonic() - started < 0.9
