"""The replay exchange: its hosts, their limits, faults and the log of requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from types import TracebackType

from .api import Api, Endpoint
from .archive import Archive, http_date
from .bucket import Bucket
from .faults import Faults
from .limits import Limits, Verdict
from .listing import BUCKET, Listing
from .market import Market
from .server import Answerer, ReplayServer
from .wire import ApiError, Host, RecordedRequest, Reply, Request, UnknownRequestError, banned, json_bytes, too_many

Now = Callable[[], "float | datetime"]


class ReplayExchange:
    """A context manager: while it is open, three loopback servers answer: the API like fapi.binance.com, the archive like
    data.binance.vision, and the listing like the bucket behind the archive.

    now: the exchange's clock, as epoch seconds, epoch milliseconds or an aware datetime; None: the real time.
    latency: seconds before every answer. gzip: JSON bodies over 1 kB are compressed for clients that accept it.
    Leaving the context raises AssertionError if a request was not known.
    """

    def __init__(
        self,
        market: Market | None = None,
        now: Now | None = None,
        limits: Limits | None = None,
        latency: float = 0.0,
        *,
        api_port: int = 0,
        vision_port: int = 0,
        listing_port: int = 0,
        gzip: bool = True,
    ) -> None:
        self.market = Market.recorded() if market is None else market
        self.limits = Limits() if limits is None else limits
        self.faults = Faults()
        self.latency = latency
        self.allow_unknown = False
        self.now = now
        self.limits.now_ms = self.now_ms
        self._api = Api(self.market, self.limits, self.now_ms)
        self._archive = Archive(self.market, self.now_ms)
        self._listing = Listing(self._archive, Bucket(self.market, self._archive, self.now_ms))
        self._requests: list[RecordedRequest] = []
        self._unknown: list[RecordedRequest] = []
        self._lock = threading.Lock()
        self._ports = (api_port, vision_port, listing_port)
        self._gzip = gzip
        self._servers: list[ReplayServer] = []
        self._date = (0, http_date(0))

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> ReplayExchange:
        """Listen on all ports and answer in the background."""
        hosts: dict[Host, Answerer] = {
            "api": self._answer_api, "vision": self._answer_vision, "listing": self._answer_listing,
        }  # fmt: skip
        try:
            for port, (host, answer) in zip(self._ports, hosts.items(), strict=True):
                self._servers.append(ReplayServer(host, port, answer, self._http_now, self._gzip))
        except OSError:
            # A port is taken: the ports before it are free again at once.
            for server in self._servers:
                server.server_close()
            self._servers = []
            raise
        for server in self._servers:
            server.start()
        return self

    def stop(self) -> None:
        """Stop answering."""
        for server in self._servers:
            server.stop()
        self._servers = []

    def __enter__(self) -> ReplayExchange:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        # An error of the test itself comes first: it says more.
        if kind is None and not self.allow_unknown and self._unknown:
            asked = "; ".join(f"{r.method} {r.host} {r.path} {r.params}" for r in self._unknown[:5])
            raise AssertionError(f"{len(self._unknown)} requests that the replay exchange does not know: {asked}")

    @property
    def api_url(self) -> str:
        """Base URL of the API host."""
        return self._servers[0].url

    @property
    def vision_url(self) -> str:
        """Base URL of the archive host."""
        return self._servers[1].url

    @property
    def listing_url(self) -> str:
        """Base URL of the bucket listing; it has a path, as the real one does. It answers without the path, too."""
        return f"{self._servers[2].url}/{BUCKET}"

    @property
    def urls(self) -> dict[str, str]:
        """The base URLs of all hosts, by the names that they have in a state file."""
        return {"api_url": self.api_url, "vision_url": self.vision_url, "listing_url": self.listing_url}

    # -- what happened -----------------------------------------------------------------------------------------

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests so far, in the order in which they were answered."""
        with self._lock:
            return list(self._requests)

    @property
    def unknown_requests(self) -> list[RecordedRequest]:
        """Requests that it did not know (answered 501)."""
        with self._lock:
            return list(self._unknown)

    def reset_requests(self) -> None:
        """Forget the requests so far, unknown ones excepted."""
        with self._lock:
            self._requests = []

    def now_ms(self) -> int:
        """The exchange's time in epoch milliseconds."""
        now = time.time() if self.now is None else self.now()
        if isinstance(now, datetime):
            now = now.timestamp()
        return int(now if now > 1e11 else now * 1000)  # seconds reach 1e11 in the year 5138

    # -- answering ---------------------------------------------------------------------------------------------

    def _answer_api(self, request: Request) -> tuple[Reply, RecordedRequest]:
        received = time.monotonic()
        try:
            endpoint = self._api.endpoint(request)
            weight = endpoint.weight(request.params)
            _only_get(request)
            verdict = self.limits.admit(endpoint.bucket, weight)
            reply = self._within_limits(request, endpoint, verdict)
        except UnknownRequestError as unknown:
            return self._refuse_unknown(request, unknown, received)
        if endpoint.bucket == "weight":
            used = ("x-mbx-used-weight-1m", str(verdict.used))
            reply = replace(reply, headers=(*reply.headers, used))
        if verdict.status == 200:
            reply = self.faults.apply(request, reply)
        return self._log(request, reply, weight, received)

    def _within_limits(self, request: Request, endpoint: Endpoint, verdict: Verdict) -> Reply:
        if verdict.status == 418:
            return banned(verdict.banned_until_ms, verdict.retry_after).reply()
        if verdict.status == 429:
            return too_many(verdict.limit, verdict.retry_after).reply()
        try:
            return endpoint.answer(request)
        except ApiError as error:
            return error.reply()

    def _answer_vision(self, request: Request) -> tuple[Reply, RecordedRequest]:
        return self._answer_unlimited(request, self._archive.answer)

    def _answer_listing(self, request: Request) -> tuple[Reply, RecordedRequest]:
        return self._answer_unlimited(request, self._listing.answer)

    def _answer_unlimited(self, request: Request, answer: Callable[[Request], Reply]) -> tuple[Reply, RecordedRequest]:
        received = time.monotonic()
        try:
            _only_get(request)
            reply = answer(request)
        except UnknownRequestError as unknown:
            return self._refuse_unknown(request, unknown, received)
        return self._log(request, self.faults.apply(request, reply), 0, received)

    def _refuse_unknown(self, request: Request, unknown: UnknownRequestError, received: float) -> tuple[Reply, RecordedRequest]:
        text = f"REPLAY EXCHANGE: UNKNOWN REQUEST {request.method} {request.path} {request.params}: {unknown.why}"
        reply, record = self._log(request, Reply(501, json_bytes({"code": -1, "msg": text})), 0, received)
        with self._lock:
            self._unknown.append(record)
        return reply, record

    def _log(self, request: Request, reply: Reply, weight: int, received: float) -> tuple[Reply, RecordedRequest]:
        if self.latency:
            reply = replace(reply, delay=reply.delay + self.latency)
        status = 0 if reply.ending == "reset" and not reply.sent_share else reply.status
        record = RecordedRequest(
            request.host, request.path, request.params, request.headers, status, weight, received, method=request.method
        )
        with self._lock:
            self._requests.append(record)
        return reply, record

    def _http_now(self) -> str:
        seconds = self.now_ms() // 1000
        known = self._date
        if known[0] != seconds:
            known = self._date = (seconds, http_date(seconds))
        return known[1]


def _only_get(request: Request) -> None:
    if request.method != "GET":
        raise UnknownRequestError("only GET is replayed")
