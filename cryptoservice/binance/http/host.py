"""One host over HTTP: the limiter in front of every attempt, the retry rule around it. Nothing else sends requests."""

from __future__ import annotations

import logging
import math
import threading
import time as _time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from cryptoservice.binance.http.bans import Gate
from cryptoservice.binance.http.circuit_breaker import CircuitBreaker
from cryptoservice.binance.http.counters import Traffic, UnderWay
from cryptoservice.binance.http.limiter import Paused, RateLimiter
from cryptoservice.binance.http.responses import Response, Throttled, Transient
from cryptoservice.binance.http.retry import Retries
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import RetryConfig
from cryptoservice.errors import Interrupted, NetworkSetupError, Remedy, SourceError, SourceRefused

if TYPE_CHECKING:
    from cryptoservice.binance.http.session import Session

log = logging.getLogger(__name__)

T = TypeVar("T")

LINGER_SECONDS = 0.5
"""How long a host that is closed still listens for the answers to requests that were sent: one of them may be a ban."""


@dataclass(frozen=True)
class Call:
    """One GET: its path, its parameters, its budget, and how large the body of the response may be."""

    source: str
    """Name under which the request is counted, such as `klines`."""
    path: str
    params: Mapping[str, str | int]
    limiter: RateLimiter
    weight: float = 1.0
    """Request weight, as the exchange counts it."""
    max_bytes: int = 2 * 1024 * 1024
    """Limit of the unpacked body."""
    headers: Mapping[str, str] | None = None
    one_try_within: float = math.inf
    """For what a run can do without: one attempt of so many seconds, no retry, and no wait for a pause or a ban to end."""

    @property
    def has_one_try(self) -> bool:
        """Whether the run can do without it."""
        return self.one_try_within < math.inf

    def target(self) -> str:
        """Path and query, percent-encoded as UTF-8."""
        path = quote(self.path, safe="/")
        return f"{path}?{urlencode(self.params)}" if self.params else path


class Host:
    """One base URL with its session, gate and circuit breaker. Safe to use from many threads.

    A host that gives no response to many consecutive calls is given up: for the rest of the run all calls to it fail at once.
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
        """Ends every wait and every later request, because the run is over or the host is given up."""
        self._calls = UnderWay()
        self._workers = workers
        self._headers = headers or {}
        self._opening = threading.Lock()
        self._session: Session | None = None

    def stop(self) -> None:
        """End every wait and every later call with Interrupted."""
        self._stop.set()

    def close(self, *, linger: float = LINGER_SECONDS) -> None:
        """Stop, and close the connections. Answers that arrive within `linger` seconds are still heard.

        A ban that this host has met is written down when this method returns: the next run must know of it.
        """
        self.stop()
        self._calls.wait_until_none(linger)
        # The gate writes a ban down under its lock, so this waits for a ban that is being written just now.
        self.gate.remaining()
        if self._session is not None:
            self._session.close()

    def open(self) -> None:
        """Make the session now.

        Raises NetworkSetupError when requests or urllib3 are too old, or when a proxy or a certificate file of the environment
        cannot work, and UsageError when a proxy has no usable address.
        """
        self._opened()

    def fetch(self, call: Call, parse_response: Callable[[Response], T]) -> T:
        """Send the request until `parse_response` accepts a response, and return what it made of it.

        `parse_response` raises Transient or Throttled for a response that is worth another attempt. Throttling uses up no
        retries: the gate decides how long it may last. Raises SourceError after the last retry or when the host is given up,
        SourceRefused when the host is closed to this run, NetworkSetupError when no attempt can succeed on this machine, and
        Interrupted when this object is closed. A call with one try raises SourceError where others would wait.
        """
        try:
            with self._calls:
                return self._fetch(call, parse_response)
        except Interrupted:
            # When the call was ended because the host was given up, the gate raises the reason.
            self.gate.wait()
            raise

    def _fetch(self, call: Call, parse_response: Callable[[Response], T]) -> T:
        retries = Retries(self._retry, self._clock, self._stop)
        raise_if_stopped(self._stop)
        # A host that is closed to this run needs no session.
        self.gate.wait()
        # Opening takes a while. After the grant it would bring this request closer to the next one than the spacing allows.
        self._opened()
        try:
            granted = call.limiter.acquire(call.weight, self._stop, waits_out_pauses=not call.has_one_try)
        except Paused:
            raise SourceError(f"{self.gate.host} asks for a pause", reason="paused", hint=Remedy.MORE_RETRIES) from None
        responses = self._breaker.responses
        while True:
            try:
                response = self._send(call)
                call.limiter.observe(response.used_weight)
                return self._parsed(response, parse_response)
            except Throttled as throttled:
                self._slow_down(throttled, call.limiter, granted)
                if call.has_one_try:
                    what = f"{self.gate.host}{call.path}: {throttled.what}"
                    raise SourceError(what, reason="paused", hint=Remedy.MORE_RETRIES) from None
            except Transient as trouble:
                retries.failed()
                if call.has_one_try:
                    raise self._exhausted(call, trouble, retries, responses) from None
                self._hold_back(trouble)
                if retries.are_used_up:
                    raise self._exhausted(call, trouble, retries, responses) from None
                with self.traffic.waiting:
                    retries.wait(f"{self.gate.host}{call.path}", trouble)
                self.traffic.retried()
            except (SourceRefused, NetworkSetupError) as final:
                self.gate.close(final)
                raise
            granted = call.limiter.acquire(call.weight, self._stop)

    def _exhausted(self, call: Call, trouble: Transient, retries: Retries, responses: int) -> SourceError:
        """The error of a call whose attempts are used up; a host that gave no response to many such calls is given up."""
        if self._breaker.call_failed(responses):
            self._give_up(trouble)
        tries = f"{retries.attempts} attempt{'s' * (retries.attempts > 1)}"
        what = f"{self.gate.host}{call.path}: {trouble} ({tries})"
        return SourceError(what, reason=trouble.reason, hint=Remedy.MORE_RETRIES)

    def _give_up(self, trouble: Transient) -> None:
        what = f"{self.gate.host} does not answer ({trouble}), {self._breaker.limit} requests in a row, retries included"
        error = SourceError(what, reason="unreachable", hint=Remedy.CHECK_NETWORK)
        self.gate.close(error)
        self._stop.set()
        log.error("%s: nothing more is asked of it in this run; %s", what, error.hint)

    def _parsed(self, response: Response, parse_response: Callable[[Response], T]) -> T:
        try:
            result = parse_response(response)
        except Throttled:
            raise
        except Exception as error:
            if isinstance(error, Transient) and error.until is not None:
                # Like a 429 this only asks for time, so it does not end the run of consecutive refusals.
                raise
            # An error is a response too: the host does more than ask for fewer requests.
            self.gate.responded()
            raise
        self.gate.responded()
        return result

    def _slow_down(self, throttled: Throttled, limiter: RateLimiter, granted: float) -> None:
        if throttled.ban:
            self.gate.ban(throttled.until)
        else:
            self.gate.throttle(throttled.until, throttled.what, has_deadline=throttled.has_deadline)
        limiter.penalise(granted)

    def _hold_back(self, trouble: Transient) -> None:
        """Shut the gate for all threads until the time that an unavailable host has named; raise when that is beyond the limit.

        Unlike a 429 such an answer uses up a retry: it is no complaint about our requests, and nobody knows that the host will be
        well by then.
        """
        if trouble.until is not None:
            self.gate.throttle(trouble.until, str(trouble), has_deadline=True)
            self.gate.wait()

    def _send(self, call: Call) -> Response:
        session = self._opened()
        # Opening takes a while, and this object may have been closed meanwhile.
        raise_if_stopped(self._stop)
        self.traffic.sent(call.source)
        started = _time.perf_counter()
        response = session.get(call.target(), call.headers, call.max_bytes, call.one_try_within)
        self.traffic.answered(call.source, _time.perf_counter() - started)
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
                from cryptoservice.binance.http.session import Session  # noqa: PLC0415 - an expensive import that idle runs do not need

                self._session = Session(
                    self.base_url, self._workers, self._headers, responded=self._breaker.responded, stop=self._stop
                )
            return self._session


def host_name(base_url: str) -> str:
    """`host` or `host:port` of a base URL."""
    return urlsplit(base_url).netloc.rpartition("@")[2]
