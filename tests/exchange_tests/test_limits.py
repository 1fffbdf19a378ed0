"""The request limits: on the wire, and as exact sums with a clock of the test's own."""

from __future__ import annotations

import re

import pytest

from tests.exchange import Limits, Market, ReplayExchange

from .client import FEBRUARY, Client


class Clock:
    def __init__(self) -> None:
        self.time = 600_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ticking(limits: Limits, clock: Clock) -> Limits:
    """Windows that begin at whole multiples of the test's clock."""
    limits.clock = clock
    limits._phase = 0.0
    return limits


def test_over_the_limit_is_429_and_going_on_is_418(market: Market, clock: Clock) -> None:
    limits = ticking(Limits(weight=10, window=60.0, tolerance=2, ban_seconds=30.0), clock)
    with ReplayExchange(market, now=lambda: FEBRUARY, limits=limits) as exchange:
        client = Client(exchange)
        assert [client.klines(limit=500).status for _ in range(2)] == [200, 200]
        refused = client.klines(limit=99)
        assert refused.status == 429
        assert refused.headers["x-mbx-used-weight-1m"] == "11"
        assert refused.headers["retry-after"] == "60"
        assert refused.json["code"] == -1003
        assert "is 10 requests per minute" in refused.json["msg"]
        assert [client.klines(limit=99).status for _ in range(3)] == [429, 429, 418]
        ban = client.api("/fapi/v1/fundingRate", symbol="ALGOUSDT")
        assert ban.status == 418
        assert ban.headers["retry-after"] == "30"
        until = re.search(r"IP\(1\.2\.3\.4\) banned until (\d{13})\.", ban.json["msg"])
        assert until is not None
        assert int(until[1]) == FEBRUARY + 30_000
        assert (limits.count_429, limits.count_418) == (3, 2)
        clock.time += 31
        assert client.api("/fapi/v1/fundingRate", symbol="ALGOUSDT").status == 200
        assert client.klines(limit=99).status == 429
        clock.time += 30
        assert client.klines(limit=99).status == 200


def test_a_second_ban_is_twice_as_long(clock: Clock) -> None:
    limits = ticking(Limits(weight=1, window=60.0, tolerance=0, ban_seconds=100.0), clock)
    for length in (100, 200, 400):
        assert [limits.admit("weight", 1).status for _ in range(3)] == [200, 429, 418]
        assert limits.admit("weight", 1).retry_after == length
        clock.time += length - 1
        assert limits.admit("weight", 1).status == 418
        clock.time += 61


def test_retry_after_can_be_left_out(clock: Clock) -> None:
    limits = ticking(Limits(weight=0, retry_after=False), clock)
    with ReplayExchange(limits=limits) as exchange:
        response = Client(exchange).api("/fapi/v1/time")
        assert response.status == 429
        assert "retry-after" not in response.headers


def test_limits_change_while_it_runs(clock: Clock) -> None:
    limits = ticking(Limits(), clock)
    assert limits.admit("weight", 5).status == 200
    limits.set(weight=6, window=6.0)
    assert [limits.admit("weight", 3).status for _ in range(3)] == [200, 200, 429]
    clock.time += 6
    assert limits.admit("weight", 6).status == 200


def test_another_client_burns_weight(clock: Clock) -> None:
    limits = ticking(Limits(weight=100, window=10.0), clock)
    limits.burn(90)
    assert limits.admit("weight", 10).used == 100
    assert limits.admit("weight", 1).status == 429
    clock.time += 10
    limits.burn_rate(8.0)
    clock.time += 5
    assert limits.used() == 40
    assert limits.admit("weight", 1).used == 41
    clock.time += 7  # two seconds into the next window
    assert limits.used() == 16


def test_funding_and_futures_data_have_buckets_of_their_own(clock: Clock) -> None:
    limits = ticking(Limits(weight=1, funding=2, futures_data=3), clock)
    assert [limits.admit("funding", 1).status for _ in range(3)] == [200, 200, 429]
    assert [limits.admit("futures_data", 1).status for _ in range(4)] == [200, 200, 200, 429]
    assert limits.admit("weight", 1).status == 200
    clock.time += 300
    assert limits.admit("funding", 1).status == 200


def test_off_refuses_nothing_but_still_counts() -> None:
    with ReplayExchange(limits=Limits.off()) as exchange:
        exchange.limits.burn(50_000)
        response = Client(exchange).api("/fapi/v1/time")
        assert response.status == 200
        assert int(response.headers["x-mbx-used-weight-1m"]) >= 1
