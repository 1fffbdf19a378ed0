"""Counters of requests and retries."""

from __future__ import annotations

import threading

from cryptoservice.binance.http.counters import Traffic, UnderWay


def test_requests_are_counted_by_source_in_the_order_of_their_names() -> None:
    traffic = Traffic()
    assert (traffic.requests, traffic.retries, traffic.backoff_seconds) == ({}, 0, 0.0)
    for source in ("metrics", "klines", "metrics"):
        traffic.sent(source)
    assert list(traffic.requests.items()) == [("klines", 1), ("metrics", 2)]


def test_retries_and_their_waits_are_summed() -> None:
    traffic = Traffic()
    traffic.retried(1.5)
    traffic.retried(2.0)
    assert (traffic.retries, traffic.backoff_seconds, traffic.requests) == (2, 3.5, {})


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
            traffic.retried(0.25)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (traffic.requests, traffic.retries, traffic.backoff_seconds) == ({"klines": 4000}, 4000, 1000.0)


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
