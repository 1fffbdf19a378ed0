"""The retry rule: how long to wait before an attempt, and when no attempt is left."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.binance.http.responses import Transient
from cryptoservice.binance.http.retry import Retries, delay_before
from cryptoservice.config import RetryConfig
from cryptoservice.errors import Interrupted
from tests.unit.fakes import FakeClock


def test_delays_double_up_to_the_largest() -> None:
    retry = RetryConfig(base_delay=1.0, max_delay=10.0, jitter=False)
    assert [delay_before(attempt, retry, 0.5) for attempt in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_jitter_takes_at_most_half_of_the_delay() -> None:
    retry = RetryConfig(base_delay=8.0)
    assert [delay_before(0, retry, chance) for chance in (0.0, 0.5, 1.0)] == [4.0, 6.0, 8.0]


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1, 10))
def test_a_delay_is_never_above_the_largest(attempt: int, chance: float, base: float, largest: float, factor: float) -> None:
    assert 0 <= delay_before(attempt, RetryConfig(3, base, largest, factor), chance) <= largest


def test_patience_multiplies_the_delay_up_to_the_largest() -> None:
    retry = RetryConfig(base_delay=1.0, max_delay=10.0, jitter=False)
    assert [delay_before(attempt, retry, 0.0, patience=4.0) for attempt in range(3)] == [4.0, 8.0, 10.0]


def test_no_base_delay_is_no_delay_even_where_the_power_overflows() -> None:
    assert delay_before(100, RetryConfig(base_delay=0.0, backoff_multiplier=1e300), 1.0) == 0.0


def test_a_steep_multiplier_reaches_the_largest_delay_and_no_overflow() -> None:
    assert delay_before(99, RetryConfig(max_retries=100, backoff_multiplier=1e6, jitter=False), 0.0) == 60.0


def test_attempts_are_used_up_after_the_last_retry() -> None:
    clock = FakeClock(chance=1.0)
    retries = Retries(RetryConfig(max_retries=2, base_delay=3.0), clock, threading.Event())
    used_up, waited = [], []
    for _ in range(3):
        retries.failed()
        used_up.append(retries.are_used_up)
        if not retries.are_used_up:
            waited.append(retries.wait("host/path", Transient("timeout", patience=2.0)))
    assert (used_up, retries.attempts) == ([False, False, True], 3)
    assert waited == clock.sleeps == [6.0, 12.0]


def test_a_stop_ends_the_wait() -> None:
    stop = threading.Event()
    stop.set()
    retries = Retries(RetryConfig(), FakeClock(), stop)
    retries.failed()
    with pytest.raises(Interrupted):
        retries.wait("host/path", Transient("timeout"))
