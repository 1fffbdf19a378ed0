"""What goes over the wire: requests as they came, replies as they are to be sent, and the exchange's error bodies."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

Host = Literal["api", "vision", "listing"]
JSON_TYPE = "application/json;charset=UTF-8"
FAKE_IP = "1.2.3.4"


@dataclass(frozen=True)
class Request:
    """A request line and its headers (names in lower case); path is percent-decoded and has no query."""

    host: Host
    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]


@dataclass
class RecordedRequest:
    """A request and what became of it. Times are monotonic seconds; status 0: reset before any answer."""

    host: Host
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    status: int
    weight: int
    received_at: float
    finished_at: float = 0.0
    method: str = "GET"


@dataclass(frozen=True)
class Reply:
    """An answer, and how it is delivered. Faults change replies; the server only carries them out."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    compressible: bool = False
    delay: float = 0.0
    """Seconds to wait before the first byte."""
    drip: float = 0.0
    """Seconds over which the body is spread in small pieces; 0: sent at once."""
    sent_share: float = 1.0
    """Share of the body that is really sent; the head always announces all of it."""
    ending: Literal["keep", "close", "reset"] = "keep"
    """What happens to the connection afterwards; "reset" with sent_share 0 sends no head either."""


@dataclass(eq=False)
class UnknownRequestError(Exception):
    """The replay does not know this request: loud, so that no test passes on an answer that was made up."""

    why: str


@dataclass(eq=False)
class ApiError(Exception):
    """An error answer of the API."""

    code: int
    msg: str
    status: int = 400
    headers: tuple[tuple[str, str], ...] = field(default=())
    code_last: bool = False
    """/futures/data/* sends msg before code."""

    def reply(self) -> Reply:
        """As it goes over the wire."""
        body: dict[str, Any] = {"code": self.code, "msg": self.msg}
        if self.code_last:
            body = {"msg": self.msg, "code": self.code}
        return Reply(self.status, json_bytes(body), headers=self.headers)


def json_bytes(value: object) -> bytes:
    """JSON as the exchange writes it: no spaces, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def invalid_symbol() -> ApiError:
    """-1121."""
    return ApiError(-1121, "Invalid symbol.")


def invalid_symbol_status() -> ApiError:
    """-1122."""
    return ApiError(-1122, "Invalid symbol status.")


def invalid_interval() -> ApiError:
    """-1120."""
    return ApiError(-1120, "Invalid interval.")


def reversed_times() -> ApiError:
    """-1023."""
    return ApiError(-1023, "Start time is greater than end time.")


def missing(parameter: str) -> ApiError:
    """-1102 for a mandatory parameter."""
    return ApiError(-1102, f"Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed.")


def too_many(limit: int, retry_after: int | None) -> ApiError:
    """429: over the limit of requests (or weight) a minute."""
    text = (
        f"Too many requests; current limit of IP({FAKE_IP}) is {limit} requests per minute. "
        "Please use the websocket for live updates to avoid polling the API."
    )
    return ApiError(-1003, text, status=429, headers=_retry_after(retry_after))


def banned(until_ms: int, retry_after: int | None) -> ApiError:
    """418: banned until a time in epoch milliseconds."""
    text = (
        f"Way too many requests; IP({FAKE_IP}) banned until {until_ms}. Please use the websocket for live updates to avoid bans."
    )
    return ApiError(-1003, text, status=418, headers=_retry_after(retry_after))


def _retry_after(seconds: int | None) -> tuple[tuple[str, str], ...]:
    return () if seconds is None else (("Retry-After", str(seconds)),)
