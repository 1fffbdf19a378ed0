"""Sleeps and waits that a stop event ends."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from cryptoservice import clock
from cryptoservice.clock import Clock, raise_if_stopped, result_of, wait_for_some
from cryptoservice.errors import Interrupted


def stopped() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop


def finished(value: int) -> Future[int]:
    future: Future[int] = Future()
    future.set_result(value)
    return future


def test_the_clock_is_that_of_the_machine() -> None:
    before, between, after = time.time(), Clock().time(), time.time()
    assert before <= between <= after
    first = Clock().monotonic()
    assert first <= time.monotonic()
    assert all(0 <= Clock().random() < 1 for _ in range(100))


def test_a_sleep_takes_its_time_with_and_without_a_stop() -> None:
    for stop in (None, threading.Event()):
        before = time.monotonic()
        Clock().sleep(0.01, stop)
        assert time.monotonic() - before >= 0.01


def test_a_negative_sleep_is_none() -> None:
    Clock().sleep(-5.0)
    Clock().sleep(-5.0, threading.Event())


def test_a_stop_ends_a_sleep_at_once() -> None:
    stop = threading.Event()
    before = time.monotonic()
    timer = threading.Timer(0.01, stop.set)
    timer.start()
    with pytest.raises(Interrupted):
        Clock().sleep(60.0, stop)
    timer.join()
    assert time.monotonic() - before < 30


def test_a_run_that_was_not_asked_to_stop_goes_on() -> None:
    raise_if_stopped(None)
    raise_if_stopped(threading.Event())
    with pytest.raises(Interrupted):
        raise_if_stopped(stopped())


def test_the_futures_that_are_done_are_given_and_no_other() -> None:
    open_one: Future[int] = Future()
    one, two = finished(1), finished(2)
    assert wait_for_some([open_one, one, two], None) == {one, two}
    assert wait_for_some([one], threading.Event()) == {one}


def test_a_wait_comes_back_with_nothing_so_that_its_caller_can_do_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "POLL_SECONDS", 0.001)
    assert wait_for_some([Future()], threading.Event()) == set()


def test_a_wait_ends_as_soon_as_one_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    # Were the whole time waited out, the suite's own limit would end this test.
    monkeypatch.setattr(clock, "POLL_SECONDS", 600.0)
    go, slow = threading.Event(), Future[int]()
    with ThreadPoolExecutor(1) as pool:
        quick = pool.submit(go.wait)
        threading.Timer(0.01, go.set).start()
        assert wait_for_some([quick, slow], None) == {quick}


def test_a_stop_comes_before_any_result() -> None:
    with pytest.raises(Interrupted):
        wait_for_some([finished(1)], stopped())
    with pytest.raises(Interrupted):
        result_of(finished(1), stopped())


def test_a_result_is_waited_for_over_many_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "POLL_SECONDS", 0.001)
    future: Future[int] = Future()
    timer = threading.Timer(0.02, future.set_result, [7])
    timer.start()
    assert result_of(future, threading.Event()) == 7
    timer.join()


def test_a_result_that_never_comes_is_left_when_the_run_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "POLL_SECONDS", 0.001)
    stop = threading.Event()
    timer = threading.Timer(0.01, stop.set)
    timer.start()
    with pytest.raises(Interrupted):
        result_of(Future(), stop)
    timer.join()


def test_the_error_of_a_future_is_raised() -> None:
    future: Future[int] = Future()
    future.set_exception(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        result_of(future, None)
