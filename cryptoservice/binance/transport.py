"""HTTP: one pooled session a host, the limiter in front of every attempt, the retry around it. Nothing else sends requests."""

from __future__ import annotations

import logging
import threading
import time as _time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError as UrllibError

from cryptoservice._version import __version__
from cryptoservice.binance.limiter import Gate, RateLimiter
from cryptoservice.binance.silence import Silence
from cryptoservice.clock import Clock, check
from cryptoservice.config import RetryConfig
from cryptoservice.errors import Interrupted, SourceError, SourceRefused, UsageError

log = logging.getLogger(__name__)

T = TypeVar("T")
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
# The read timeout starts anew with every byte; this one does not.
WHOLE_TIMEOUT = 300.0
_CHUNK = 64 * 1024
_LONGEST_LENGTH = 19


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, wholly read. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def server_time(self) -> float | None:
        """Epoch seconds of the `Date` header, or None."""
        try:
            return parsedate_to_datetime(self.headers["date"]).timestamp()
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    @property
    def used_weight(self) -> int:
        """The host's count of weight used by this IP address in the running minute; -1 when it does not say."""
        text = self.headers.get("x-mbx-used-weight-1m", "")
        return int(text) if text.isdecimal() and len(text) < 10 else -1


class Transient(Exception):
    """Something that may well be gone at the next attempt."""

    def __init__(self, reason: str, detail: str = "", *, patience: float = 1.0) -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.patience = patience
        """Multiplies the back-off: an overloaded system wants more than a lost packet."""


class Throttled(Exception):
    """The host asks for less: pause until that epoch second."""

    def __init__(self, until: float, what: str, *, told: bool, ban: bool) -> None:
        super().__init__(what)
        self.until = until
        self.what = what
        self.told = told
        """The host named the time itself."""
        self.ban = ban
        """It will not answer at all until then."""


class Traffic:
    """Counts what was sent, by source name, and how often something was tried again. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._retries = 0
        self._waited = 0.0

    def sent(self, source: str) -> None:
        """One request went out."""
        with self._lock:
            self._requests[source] += 1

    def retried(self, waited: float) -> None:
        """One more attempt after so many seconds of back-off."""
        with self._lock:
            self._retries += 1
            self._waited += waited

    @property
    def requests(self) -> dict[str, int]:
        """Requests sent so far, by source name."""
        with self._lock:
            return dict(sorted(self._requests.items()))

    @property
    def retries(self) -> int:
        """Attempts after the first, over all requests."""
        with self._lock:
            return self._retries

    @property
    def backoff_seconds(self) -> float:
        """Time spent between attempts, summed over threads."""
        with self._lock:
            return self._waited


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
        self._silence = Silence(workers)
        self._stop = threading.Event()
        """Ends every wait and every further request: the run is over, or this host is given up."""
        self._session = _session(base_url, workers, headers or {})

    def close(self) -> None:
        """End what is under way with Interrupted, and give the connections back."""
        self._stop.set()
        self._session.close()

    def fetch(self, call: Call, judge: Callable[[Answer], T]) -> T:
        """Send until `judge` accepts an answer; what it returns.

        `judge` raises Transient or Throttled for an answer that is worth another attempt. SourceError after the last retry
        or when the host is given up, SourceRefused when it is closed to this run, Interrupted when this object is closed.
        Throttling uses up no retries: how long it may last is for the gate to say.
        """
        try:
            return self._fetch(call, judge)
        except Interrupted:
            # Woken up, perhaps, because the host was given up: then the gate says so.
            self.gate.wait()
            raise

    def _fetch(self, call: Call, judge: Callable[[Answer], T]) -> T:
        attempt = 0
        granted = call.limiter.acquire(call.weight, self._stop)
        answers = self._silence.answers
        while True:
            try:
                answer = self._send(call)
                call.limiter.observe(answer.used_weight)
                return self._judged(answer, judge)
            except Throttled as throttled:
                self._yield_to(throttled, call.limiter, granted)
            except Transient as trouble:
                if attempt >= self._retry.max_retries:
                    if self._silence.unanswered(answers):
                        self._give_up(trouble)
                    tries = "attempt" if attempt == 0 else "attempts"
                    raise SourceError(
                        f"{self.gate.host}{call.path}: {trouble} ({attempt + 1} {tries})",
                        reason=trouble.reason,
                        hint="run the same command again; if it stays, look at the network or raise --max-retries",
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
        what = f"{self.gate.host} does not answer ({trouble}), {self._silence.limit} requests in a row, retries included"
        hint = "check the network, then run the same command again; more --max-retries wait longer"
        self.gate.close(SourceError(what, reason="unreachable", hint=hint))
        self._stop.set()
        log.error("%s: nothing more is asked of it in this run; %s", what, hint)

    def _judged(self, answer: Answer, judge: Callable[[Answer], T]) -> T:
        try:
            result = judge(answer)
        except Throttled:
            raise
        except Exception:
            # Even a refusal of what was asked is an answer: the host is not just asking for less.
            self.gate.answered()
            raise
        self.gate.answered()
        return result

    def _yield_to(self, throttled: Throttled, limiter: RateLimiter, granted: float) -> None:
        if throttled.ban:
            self.gate.ban(throttled.until)
        else:
            self.gate.throttle(throttled.until, throttled.what, told=throttled.told)
        limiter.penalise(granted)

    def _send(self, call: Call) -> Answer:
        check(self._stop)
        self.traffic.sent(call.source)
        started = _time.perf_counter()
        try:
            response = self._session.get(
                self.base_url + call.target(),
                headers=dict(call.headers or {}),
                timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                allow_redirects=False,
                stream=True,
            )
            self._silence.heard()
            with response:
                body = self._read(response, call.max_bytes)
        except requests.exceptions.Timeout:
            raise Transient("timeout", "no answer in time") from None
        except requests.exceptions.ProxyError:
            # The text of a proxy error holds the proxy's address, and with it a password perhaps.
            raise Transient("proxy_error", "the proxy did not pass the request on") from None
        except requests.exceptions.SSLError:
            raise Transient("tls_error", "no secure connection could be made") from None
        except requests.exceptions.ConnectionError as error:
            raise Transient("connection_error", _plain(error)) from None
        except (requests.exceptions.RequestException, UrllibError, OSError, ValueError, TypeError) as error:
            # ValueError and TypeError come out of requests for headers and proxy addresses that make no sense.
            raise Transient("connection_error", f"the request or its answer broke off ({type(error).__name__})") from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "GET %s%s -> %d, %d bytes, %.0f ms",
                self.gate.host,
                call.target(),
                response.status_code,
                len(body),
                1000 * (_time.perf_counter() - started),
            )
        return Answer(response.status_code, headers, body)

    def _read(self, response: requests.Response, max_bytes: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        deadline = _time.monotonic() + WHOLE_TIMEOUT
        for chunk in response.iter_content(_CHUNK):
            check(self._stop)
            # A large object that still flows is an answer, too.
            self._silence.heard()
            if _time.monotonic() > deadline:
                raise Transient("timeout", "the answer trickled in too slowly")
            size += len(chunk)
            if size > max_bytes:
                raise Transient("answer_too_large", f"the answer is larger than {max_bytes} bytes")
            chunks.append(chunk)
        # requests leaves it to the urllib3 version at hand whether a short body is an error: look for ourselves.
        declared = response.headers.get("Content-Length", "")
        if declared.isdecimal() and len(declared) < _LONGEST_LENGTH and response.raw.tell() != int(declared):
            raise Transient("truncated_answer", f"{response.raw.tell()} of {declared} bytes arrived")
        return b"".join(chunks)


def _plain(error: Exception) -> str:
    text = str(error)
    if "refused" in text:
        return "connection refused"
    if "resolve" in text or "Name or service" in text:
        return "the host name could not be resolved"
    return "the connection broke"


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Redirects are answers like all others: even one that is not followed would be resolved, and its body read."""
        return None


def _session(base_url: str, workers: int, headers: Mapping[str, str]) -> requests.Session:
    session = _Session()
    # Proxies and certificates come from the usual environment variables, read once. trust_env itself stays off after
    # that: with it every request would look into ~/.netrc, and send what it finds there.
    try:
        settings = session.merge_environment_settings(base_url, {}, False, None, None)
    except ValueError:
        raise UsageError("the proxy in the environment has no usable address", hint="check HTTP_PROXY and HTTPS_PROXY") from None
    session.trust_env = False
    session.proxies = dict(settings["proxies"])
    session.verify = settings["verify"]
    session.cert = settings["cert"]
    session.headers["User-Agent"] = f"cryptoservice/{__version__}"
    session.headers["Accept-Encoding"] = "gzip"
    session.headers.update(headers)
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=workers, max_retries=0, pool_block=False)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def host_name(base_url: str) -> str:
    """`host` or `host:port` of a base URL."""
    return urlsplit(base_url).netloc.rpartition("@")[2]
