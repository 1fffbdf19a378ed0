"""Pauses, bans and refusals of one host."""

from __future__ import annotations

import logging
import threading

import pytest

from cryptoservice.binance.http.bans import Gate
from cryptoservice.binance.http.limiter import LimitPolicy, RateLimiter
from cryptoservice.errors import SourceRefused
from tests.unit.fakes import FakeClock

# 2026-02-02 02:40:00 UTC
EPOCH = 1_770_000_000.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(EPOCH)


@pytest.fixture
def bans() -> list[tuple[str, float]]:
    return []


@pytest.fixture
def gate(clock: FakeClock, bans: list[tuple[str, float]]) -> Gate:
    return Gate("fapi.example", clock, 300.0, on_ban=lambda host, until: bans.append((host, until)))


def test_an_open_gate_lets_all_through(gate: Gate) -> None:
    assert gate.wait() == gate.remaining() == 0.0
    assert gate.refusal is None


def test_a_throttled_gate_is_shut_until_the_named_second(gate: Gate, clock: FakeClock) -> None:
    gate.throttle(EPOCH + 30, "HTTP 429", has_deadline=True)
    assert gate.wait() == 30.0
    clock.advance(29.5)
    assert gate.wait() == 0.5
    clock.advance(0.5)
    assert gate.wait() == 0.0


def test_a_shorter_pause_does_not_open_a_longer_one(gate: Gate) -> None:
    gate.throttle(EPOCH + 30, "HTTP 429", has_deadline=True)
    gate.throttle(EPOCH + 10, "HTTP 429", has_deadline=True)
    assert gate.wait() == 30.0


def test_a_deadline_beyond_the_limit_closes_the_gate(gate: Gate) -> None:
    gate.throttle(EPOCH + 300, "HTTP 429", has_deadline=True)
    assert gate.refusal is None
    gate.throttle(EPOCH + 301, "HTTP 429", has_deadline=True)
    with pytest.raises(SourceRefused) as caught:
        gate.wait()
    assert caught.value.exit_code == 4
    assert caught.value.reason == "banned"
    assert "fapi.example asks for a pause until 2026-02-02T02:45:01+00:00" in caught.value.message
    assert caught.value.hint is not None
    assert "run it again after 2026-02-02T02:45:01+00:00, or allow a longer wait for a ban (now 300 s)" in caught.value.hint


def test_consecutive_429s_close_the_gate_after_the_limit(gate: Gate, clock: FakeClock) -> None:
    for _ in range(5):
        gate.throttle(clock.time() + 60, "HTTP 429", has_deadline=False)
        assert gate.refusal is None
        clock.advance(60)
    gate.throttle(clock.time() + 60, "HTTP 429", has_deadline=False)
    assert gate.refusal is not None
    assert gate.refusal.message == "fapi.example has answered nothing but HTTP 429 for 300 s"


def test_any_other_response_ends_the_consecutive_429s(gate: Gate, clock: FakeClock) -> None:
    for _ in range(20):
        gate.throttle(clock.time() + 60, "HTTP 429", has_deadline=False)
        clock.advance(60)
        gate.responded()
    assert gate.refusal is None


def test_a_ban_shuts_the_gate_and_is_remembered(gate: Gate, clock: FakeClock, bans: list[tuple[str, float]]) -> None:
    gate.ban(EPOCH + 120)
    assert gate.wait() == 120.0
    assert bans == [("fapi.example", EPOCH + 120)]
    clock.advance(120)
    assert gate.wait() == 0.0
    assert gate.refusal is None


def test_a_ban_beyond_the_limit_closes_the_gate_and_is_remembered(gate: Gate, bans: list[tuple[str, float]]) -> None:
    gate.ban(EPOCH + 300.5)
    with pytest.raises(SourceRefused, match=r"has banned this IP address until 2026-02-02T02:45:01\+00:00"):
        gate.wait()
    assert bans == [("fapi.example", EPOCH + 300.5)]


def test_a_remembered_ban_is_kept_but_not_noted_again(gate: Gate, bans: list[tuple[str, float]]) -> None:
    gate.ban(EPOCH + 120, remembered=True)
    assert gate.wait() == 120.0
    assert bans == []


def test_a_ban_that_is_over_or_shorter_changes_nothing(gate: Gate, bans: list[tuple[str, float]]) -> None:
    gate.ban(EPOCH - 1)
    assert gate.wait() == 0.0
    gate.ban(EPOCH + 200)
    gate.ban(EPOCH + 100)
    assert gate.wait() == 200.0
    assert bans == [("fapi.example", EPOCH + 200)]


def test_a_ban_that_ends_before_a_pause_is_noted_all_the_same(gate: Gate, bans: list[tuple[str, float]]) -> None:
    """The next run knows nothing of the pause, so it must know of the ban."""
    gate.throttle(EPOCH + 250, "HTTP 429", has_deadline=True)
    gate.ban(EPOCH + 120)
    assert gate.wait() == 250.0
    assert bans == [("fapi.example", EPOCH + 120)]


def test_a_ban_that_is_prolonged_is_noted_again(gate: Gate, bans: list[tuple[str, float]]) -> None:
    gate.ban(EPOCH + 100)
    gate.ban(EPOCH + 200)
    assert gate.wait() == 200.0
    assert [until for _, until in bans] == [EPOCH + 100, EPOCH + 200]


def test_a_ban_is_written_down_before_any_thread_learns_of_it(clock: FakeClock) -> None:
    events: list[str] = []
    threads: list[threading.Thread] = []

    def learn() -> None:
        with pytest.raises(SourceRefused):
            gate.wait()
        events.append("learned")

    def write_down(_: str, __: float) -> None:
        threads.append(threading.Thread(target=learn))
        threads[0].start()
        # Time enough for a thread that could learn of it already.
        threads[0].join(0.05)
        events.append("written")

    gate = Gate("host", clock, 300.0, on_ban=write_down)
    gate.ban(EPOCH + 301)
    threads[0].join(10)
    assert events == ["written", "learned"]


def test_no_wait_at_all_is_a_choice(clock: FakeClock) -> None:
    gate = Gate("host", clock, 0.0)
    gate.ban(EPOCH + 1)
    with pytest.raises(SourceRefused):
        gate.wait()


def test_a_closed_gate_stays_closed_with_its_first_reason(gate: Gate, clock: FakeClock) -> None:
    first = SourceRefused("HTTP 451", reason="http_451")
    gate.close(first)
    gate.close(SourceRefused("HTTP 403", reason="http_403"))
    gate.ban(EPOCH + 10_000)
    clock.advance(100_000)
    for _ in range(2):
        with pytest.raises(SourceRefused) as caught:
            gate.wait()
        assert caught.value is first


def test_the_limiter_naps_until_the_gate_opens(gate: Gate, clock: FakeClock) -> None:
    budget = RateLimiter(LimitPolicy(max_weight=None), gate, clock)
    gate.ban(EPOCH + 25)
    assert budget.acquire(1) == 25.0
    assert clock.sleeps == [10.0, 10.0, 5.0]
    assert budget.waited_seconds == 25.0


def test_a_gate_that_closes_while_waiting_ends_the_wait(gate: Gate, clock: FakeClock) -> None:
    class Closing(FakeClock):
        def sleep(self, seconds: float, stop: object = None) -> None:
            super().sleep(seconds)
            if len(self.sleeps) == 2:
                gate.close(SourceRefused("HTTP 403", reason="http_403"))

    budget = RateLimiter(LimitPolicy(max_weight=None), gate, Closing(EPOCH))
    gate.ban(EPOCH + 250)
    with pytest.raises(SourceRefused, match="HTTP 403"):
        budget.acquire(1)
    assert clock.sleeps == []


def test_people_are_told_every_ten_seconds_whichever_thread_comes_first(
    gate: Gate, clock: FakeClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A command that ran in this process before has set its own handler up; whichever way the records come, they come once.
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "propagate", False)
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "handlers", [caplog.handler])
    with caplog.at_level(logging.WARNING, logger="cryptoservice"):
        for _ in range(30):
            gate.countdown(100.0 - clock.monotonic())
            gate.countdown(100.0 - clock.monotonic())
            clock.advance(1)
    assert [record.getMessage() for record in caplog.records] == [
        f"fapi.example: waiting, {left} s to go" for left in (100, 90, 80)
    ]


def test_a_closed_gate_does_not_remember_whom_it_sent_away(gate: Gate) -> None:
    """One error is raised for every request that is left: with its traceback it would keep all their frames in memory."""
    gate.close(SourceRefused("HTTP 451", reason="http_451"))
    for _ in range(3):
        with pytest.raises(SourceRefused) as caught:
            gate.wait()
    assert len(caught.traceback) == 2
