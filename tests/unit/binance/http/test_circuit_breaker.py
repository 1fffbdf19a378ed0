"""When a host that does not respond is given up."""

from __future__ import annotations

import logging
import socket
import threading

import pytest

from cryptoservice.binance.http import session
from cryptoservice.binance.http.circuit_breaker import CircuitBreaker
from cryptoservice.binance.http.limiter import LimitPolicy, RateLimiter
from cryptoservice.config import RetryConfig
from cryptoservice.errors import Interrupted, SourceError
from tests.unit.binance.loopback import Reply
from tests.unit.binance.wired import EPOCH, GOOD, MUTE, Wired, wired, wired_to
from tests.unit.fakes import FakeClock


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What people are told even with --quiet."""
    lines: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "handlers", [handler])
    return lines


# Four workers, three calls each.
LIMIT = 12


def failure(made: Wired) -> str:
    with pytest.raises(SourceError) as caught:
        made.get()
    return caught.value.reason


@pytest.mark.parametrize("retries", [0, 2])
def test_a_mute_host_is_given_up_after_three_calls_a_worker(retries: int, errors: list[str]) -> None:
    with wired(MUTE, retry=RetryConfig(max_retries=retries, jitter=False)) as made:
        assert [failure(made) for _ in range(LIMIT)] == ["connection_error"] * LIMIT
        assert len(made.seen) == LIMIT * (1 + retries)
        assert [failure(made) for _ in range(100)] == ["unreachable"] * 100
        assert len(made.seen) == LIMIT * (1 + retries)
        assert made.gate.refusal is None, "nobody has refused: this is no exit code 4"
        (line,) = errors
        assert line.startswith(f"{made.gate.host} does not answer (the connection broke), 12 requests in a row")
        assert line.endswith("check the network, then run it again; with more retries a run waits longer for a host")


def test_a_host_that_takes_connections_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "READ_TIMEOUT", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with wired_to(url, workers=1, retry=RetryConfig(max_retries=1, jitter=False)) as made:
            assert [failure(made) for _ in range(5)] == ["timeout"] * 3 + ["unreachable"] * 2


RESPONSES = {
    "500": Reply(500, b"<html>"),
    "429": Reply(429, b'{"code": -1003, "msg": "Too many requests"}', {"Retry-After": "1"}),
    "rubbish": Reply(200, b"<html>"),
    "half a body": Reply(body=b'{"ok": true}', cut=4),
    "a symbol that is not served": Reply(400, b'{"code": -1121, "msg": "Invalid symbol."}'),
}


@pytest.mark.parametrize("response", RESPONSES)
def test_any_response_starts_the_count_again(response: str) -> None:
    # In each round one attempt short of what gives the host up, then a response.
    with wired(
        script=lambda number, _: RESPONSES[response] if number % LIMIT == LIMIT - 1 else MUTE, retry=RetryConfig(max_retries=0)
    ) as made:
        for _ in range(5 * LIMIT):
            assert failure(made) != "unreachable"
        assert len(made.seen) >= 5 * LIMIT


def test_a_network_that_is_away_for_less_than_one_calls_retries_is_not_given_up() -> None:
    """Every call finds it away at first and there again at its last attempt: whatever their number, none of them counts."""
    with wired(script=lambda number, _: GOOD if number % 4 == 3 else MUTE) as made:
        for _ in range(3 * LIMIT):
            assert made.get() == {"ok": True}


def test_a_call_that_lasted_while_others_got_responses_does_not_count() -> None:
    breaker = CircuitBreaker(4)
    for _ in range(10 * LIMIT):
        began = breaker.responses
        breaker.responded()
        assert not breaker.call_failed(began)
    began = breaker.responses
    assert [breaker.call_failed(began) for _ in range(LIMIT + 5)] == [False] * (LIMIT - 1) + [True] + [False] * 5


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
    with wired(MUTE, clock=held, retry=RetryConfig(max_retries=3, jitter=False)) as made:
        limiter = RateLimiter(LimitPolicy(max_weight=2, window=300.0), made.gate, held)
        if wait == "for a budget of five minutes":
            limiter.acquire(2)
        outcomes: list[str] = []

        def work() -> None:
            with pytest.raises(SourceError) as caught:
                made.get("/fapi/v1/fundingRate", limiter=limiter)
            outcomes.append(caught.value.reason)

        thread = threading.Thread(target=work)
        thread.start()
        assert held.asleep.wait(10)
        assert [failure(made) for _ in range(LIMIT)] == ["connection_error"] * LIMIT
        thread.join(10)
        assert outcomes == ["unreachable"]


def test_many_threads_give_a_host_up_once(errors: list[str]) -> None:
    with wired(MUTE, retry=RetryConfig(max_retries=1, jitter=False)) as made:
        reasons: list[str] = []
        threads = [threading.Thread(target=lambda: reasons.extend(failure(made) for _ in range(20))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(reasons) == 8 * 20
        assert LIMIT <= reasons.count("connection_error") <= LIMIT + 7
        assert reasons.count("unreachable") >= 8 * 20 - LIMIT - 7
        assert len(made.seen) <= 2 * (LIMIT + 8)
        assert len(errors) == 1
