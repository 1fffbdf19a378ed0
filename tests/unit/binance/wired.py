"""A host of the product, wired to a scripted server on loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from cryptoservice.binance.http.bans import Gate
from cryptoservice.binance.http.counters import Traffic
from cryptoservice.binance.http.host import Call, Host, host_name
from cryptoservice.binance.http.limiter import LimitPolicy, RateLimiter
from cryptoservice.binance.http.responses import api_response_parser
from cryptoservice.config import RetryConfig
from tests.unit.binance.loopback import Loopback, Reply, Seen
from tests.unit.fakes import FakeClock

# 2026-02-02 02:40:00 UTC, a whole minute.
EPOCH = 1_770_000_000.0
GOOD = Reply(body=b'{"ok": true}')
MUTE = Reply(drop=True)


class Wired:
    """A host with four workers, its gate and a budget of 1000, on a clock that moves by itself."""

    def __init__(self, url: str, **options: Any) -> None:
        self.clock = options.pop("clock", None) or FakeClock(EPOCH)
        self.gate = Gate(host_name(url), self.clock, options.pop("max_wait", 300.0))
        self.limiter = RateLimiter(LimitPolicy(max_weight=1000), self.gate, self.clock)
        self.traffic = Traffic(self.clock)
        settings = {"workers": 4, "retry": RetryConfig(max_retries=3, base_delay=1.0, jitter=False), **options}
        self.host = Host(url, self.gate, clock=self.clock, traffic=self.traffic, **settings)
        self.seen: list[Seen] = []

    def get(self, path: str = "/fapi/v1/klines", parse: Callable[[Any], Any] | None = None, **fields: Any) -> Any:
        call = Call("klines", path, fields.pop("params", {}), fields.pop("limiter", self.limiter), **fields)
        return self.host.fetch(call, parse or api_response_parser(self.clock))


@contextlib.contextmanager
def wired_to(url: str, **options: Any) -> Iterator[Wired]:
    """Wired to a server that the test runs itself."""
    made = Wired(url, **options)
    try:
        yield made
    finally:
        made.host.close()


@contextlib.contextmanager
def wired(*replies: Reply, script: Callable[[int, Seen], Reply] | None = None, **options: Any) -> Iterator[Wired]:
    """Wired to a server that gives these replies one after the other, the last one for ever."""
    server = Loopback(script or (lambda number, _: replies[min(number, len(replies) - 1)]))
    with server.running(), wired_to(server.url, **options) as made:
        made.seen = server.seen
        yield made
