"""Counters of requests, of retries and of the time that was waited."""

from __future__ import annotations

import threading

from cryptoservice.binance.http.counters import Traffic, UnderWay, WaitingTime
from tests.unit.fakes import FakeClock


def test_requests_are_counted_by_source_in_the_order_of_their_names() -> None:
    traffic = Traffic()
    assert (traffic.requests, traffic.retries, traffic.waiting.seconds) == ({}, 0, 0.0)
    for source in ("metrics", "klines", "metrics"):
        traffic.sent(source)
    assert list(traffic.requests.items()) == [("klines", 1), ("metrics", 2)]


def test_retries_are_counted_apart() -> None:
    traffic = Traffic()
    traffic.retried()
    traffic.retried()
    assert (traffic.retries, traffic.requests) == (2, {})


def test_what_was_read_does_not_change_later() -> None:
    traffic = Traffic()
    before = traffic.requests
    traffic.sent("klines")
    assert before == {}


def test_no_count_is_lost_between_threads() -> None:
    traffic = Traffic()

    def work() -> None:
        for _ in range(500):
            traffic.sent("klines")
            traffic.retried()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (traffic.requests, traffic.retries) == ({"klines": 4000}, 4000)


def test_how_long_a_host_takes_to_answer_is_what_its_quick_answers_take() -> None:
    traffic = Traffic()
    assert traffic.answer_seconds(("archive", "archive_checksum")) is None
    for seconds in (0.9, 0.05, 0.06, 0.4):
        traffic.answered("archive", seconds)
    traffic.answered("klines", 7.0)
    assert traffic.answer_seconds(("archive", "archive_checksum")) == 0.06
    for _ in range(50):
        # Only the last ones count: a host may have come nearer or moved away.
        traffic.answered("archive", 0.2)
    assert traffic.answer_seconds(("archive", "archive_checksum")) == 0.2


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_waits_that_overlap_are_waited_once() -> None:
    clock = FakeClock()
    waiting = WaitingTime(clock)
    with waiting:
        clock.advance(3)
        with waiting:
            clock.advance(4)
        clock.advance(2)
    clock.advance(100)
    assert waiting.seconds == 9.0
    with waiting:
        clock.advance(1)
        assert waiting.seconds == 10.0, "a wait that goes on counts as far as it is"
    assert waiting.seconds == 10.0


def test_a_wait_that_breaks_off_has_ended() -> None:
    clock = FakeClock()
    waiting = WaitingTime(clock)
    try:
        with waiting:
            clock.advance(3)
            raise InterruptedError
    except InterruptedError:
        clock.advance(50)
    assert waiting.seconds == 3.0


# -- under way ---------------------------------------------------------------------------------------------------------


def test_a_thread_can_wait_for_the_last_call_under_way() -> None:
    calls = UnderWay()
    assert calls.wait_until_none(0.0)
    entered, leave = threading.Event(), threading.Event()

    def call() -> None:
        with calls:
            entered.set()
            leave.wait(10)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    assert not calls.wait_until_none(0.01)
    leave.set()
    assert calls.wait_until_none(10)
