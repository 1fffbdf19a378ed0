"""HTTP: one pooled session a host, the limiter in front of every attempt, the retry around it. Nothing else sends requests."""

from __future__ import annotations

import logging
import threading
import time as _time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from cryptoservice.binance.http.circuit_breaker import CircuitBreaker
from cryptoservice.binance.http.gate import Gate
from cryptoservice.binance.http.limiter import RateLimiter
from cryptoservice.binance.http.responses import Response, Throttled, Transient
from cryptoservice.binance.http.traffic import Traffic
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import RetryConfig
from cryptoservice.errors import Interrupted, Remedy, SourceError, SourceRefused

if TYPE_CHECKING:
    from cryptoservice.binance.http.session import Session

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One GET: where, with what, on which budget, and how large the answer may be."""

    source: str
    """Name under which the request is counted, such as `klines`."""
    path: str
    params: Mapping[str, str | int]
    limiter: RateLimiter
    weight: float = 1.0
    max_bytes: int = 2 * 1024 * 1024
    headers: Mapping[str, str] | None = None

    def target(self) -> str:
        """Path and query, percent-encoded as UTF-8."""
        path = quote(self.path, safe="/")
        return f"{path}?{urlencode(self.params)}" if self.params else path


class Host:
    """One base URL with its session and gate. Safe to use from many threads.

    A host that leaves a long row of calls without any answer is given up: for the rest of the run all calls of it fail at once.
    """

    def __init__(
        self,
        base_url: str,
        gate: Gate,
        *,
        workers: int,
        retry: RetryConfig,
        clock: Clock,
        traffic: Traffic,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.base_url = base_url
        self.gate = gate
        self.traffic = traffic
        self._retry = retry
        self._clock = clock
        self._breaker = CircuitBreaker(workers)
        self._stop = threading.Event()
        """Ends every wait and every further request: the run is over, or this host is given up."""
        self._workers = workers
        self._headers = headers or {}
        self._opening = threading.Lock()
        self._session: Session | None = None

    def close(self) -> None:
        """End what is under way with Interrupted, and give the connections back."""
        self._stop.set()
        if self._session is not None:
            self._session.close()

    def open(self) -> None:
        """Make the session now: UsageError when the environment names a proxy that makes no sense."""
        self._opened()

    def fetch(self, call: Call, parse: Callable[[Response], T]) -> T:
        """Send until `parse` accepts an answer; what it returns.

        `parse` raises Transient or Throttled for an answer that is worth another attempt. SourceError after the last retry
        or when the host is given up, SourceRefused when it is closed to this run, Interrupted when this object is closed.
        Throttling uses up no retries: how long it may last is for the gate to say.
        """
        try:
            return self._fetch(call, parse)
        except Interrupted:
            # Woken up, perhaps, because the host was given up: then the gate says so.
            self.gate.wait()
            raise

    def _fetch(self, call: Call, parse: Callable[[Response], T]) -> T:
        attempt = 0
        granted = call.limiter.acquire(call.weight, self._stop)
        responses = self._breaker.responses
        while True:
            try:
                response = self._send(call)
                call.limiter.observe(response.used_weight)
                return self._parsed(response, parse)
            except Throttled as throttled:
                self._yield_to(throttled, call.limiter, granted)
            except Transient as trouble:
                if attempt >= self._retry.max_retries:
                    if self._breaker.call_failed(responses):
                        self._give_up(trouble)
                    tries = "attempt" if attempt == 0 else "attempts"
                    raise SourceError(
                        f"{self.gate.host}{call.path}: {trouble} ({attempt + 1} {tries})",
                        reason=trouble.reason,
                        hint=Remedy.MORE_RETRIES,
                    ) from None
                delay = self._retry.delay(attempt, self._clock.random(), patience=trouble.patience)
                log.info("%s%s: %s, next attempt in %.1f s", self.gate.host, call.path, trouble, delay)
                attempt += 1
                self._clock.sleep(delay, self._stop)
                self.traffic.retried(delay)
            except SourceRefused as refused:
                self.gate.close(refused)
                raise
            granted = call.limiter.acquire(call.weight, self._stop)

    def _give_up(self, trouble: Transient) -> None:
        what = f"{self.gate.host} does not answer ({trouble}), {self._breaker.limit} requests in a row, retries included"
        error = SourceError(what, reason="unreachable", hint=Remedy.CHECK_NETWORK)
        self.gate.close(error)
        self._stop.set()
        log.error("%s: nothing more is asked of it in this run; %s", what, error.hint)

    def _parsed(self, response: Response, parse: Callable[[Response], T]) -> T:
        try:
            result = parse(response)
        except Throttled:
            raise
        except Exception:
            # Even a refusal of what was asked is an answer: the host is not just asking for less.
            self.gate.responded()
            raise
        self.gate.responded()
        return result

    def _yield_to(self, throttled: Throttled, limiter: RateLimiter, granted: float) -> None:
        if throttled.ban:
            self.gate.ban(throttled.until)
        else:
            self.gate.throttle(throttled.until, throttled.what, has_deadline=throttled.has_deadline)
        limiter.penalise(granted)

    def _send(self, call: Call) -> Response:
        session = self._opened()
        # After opening, which takes its time: this object may have been closed meanwhile.
        raise_if_stopped(self._stop)
        self.traffic.sent(call.source)
        started = _time.perf_counter()
        response = session.get(call.target(), call.headers, call.max_bytes)
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "GET %s%s -> %d, %d bytes, %.0f ms",
                self.gate.host,
                call.target(),
                response.status,
                len(response.body),
                1000 * (_time.perf_counter() - started),
            )
        return response

    def _opened(self) -> Session:
        with self._opening:
            if self._session is None:
                from cryptoservice.binance.http.session import Session  # noqa: PLC0415 - an expensive import: not for idle runs

                self._session = Session(
                    self.base_url, self._workers, self._headers, responded=self._breaker.responded, stop=self._stop
                )
            return self._session


def host_name(base_url: str) -> str:
    """`host` or `host:port` of a base URL."""
    return urlsplit(base_url).netloc.rpartition("@")[2]
