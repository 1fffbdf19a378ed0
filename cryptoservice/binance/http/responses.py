"""What an HTTP answer means: usable, worth another attempt, a request to slow down, or the end."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from cryptoservice.binance.parsers.numbers import parse_json
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.clock import Clock
from cryptoservice.errors import HistoryEnded, Remedy, SourceError, SourceRefused, SymbolRefused

_BANNED_UNTIL = re.compile(r"banned until (\d{13})(?!\d)")
# Nothing is said of how long a ban without a time lasts; the shortest documented one is two minutes (wire facts 4.1).
_SILENT_BAN_SECONDS = 120.0
_OVERLOADED = -1008
_TOO_MANY_REQUESTS = -1003
# -1021 is a clock that ran off: the next attempt carries no timestamp of ours either, but the node may be another.
_PASSING_CODES = frozenset((-1000, -1001, -1006, -1007, _OVERLOADED, -1021))
# Invalid symbol, invalid symbol status, symbol is closed, invalid pair.
_SYMBOL_CODES = frozenset((-1121, -1122, -4141, -4144))
_HISTORY_CODE = -1130
_OVERLOAD_PATIENCE = 4.0
_CODE_FORM = re.compile(r"-?[0-9]{1,6}\Z")
_LONGEST_TEXT = 10_000
# No ban or pause lasts ten years: a later time is nonsense, and might not even be a date.
_LONGEST_PAUSE_SECONDS = 3650 * 86_400.0


@dataclass(frozen=True)
class Response:
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

    def __init__(self, until: float, what: str, *, has_deadline: bool, ban: bool) -> None:
        super().__init__(what)
        self.until = until
        self.what = what
        self.has_deadline = has_deadline
        """The host named the time itself."""
        self.ban = ban
        """It will not answer at all until then."""


def api_response_parser(clock: Clock, redact: Callable[[str], str] = str) -> Callable[[Response], Any]:
    """A judge of API answers: the parsed JSON of a good one, or the matching error. Error texts go through `redact`."""

    def parse(response: Response) -> Any:
        _refuse_common(response, clock)
        record = _parse(response)
        code, message = _error_of(record, redact)
        if response.status == 200 and code is None:
            return record
        if code == _TOO_MANY_REQUESTS:
            raise _throttled(response, message, clock)
        if code in _PASSING_CODES:
            patience = _OVERLOAD_PATIENCE if code == _OVERLOADED else 1.0
            raise Transient(f"api_error_{code}", f"error {code}: {message}", patience=patience)
        if response.status == 408 or response.status >= 500:
            raise Transient(f"http_{response.status}", f"HTTP {response.status}")
        if code in _SYMBOL_CODES:
            raise SymbolRefused(f"error {code}: {message}", reason=f"api_error_{code}")
        if code == _HISTORY_CODE:
            raise HistoryEnded(f"error {code}: {message}", reason=f"api_error_{code}")
        if code is not None:
            hint = "either the exchange has changed or this is a bug of cryptoservice: please report it"
            raise SourceError(f"the API answered error {code}: {message}", reason=f"api_error_{code}", hint=hint)
        raise SourceError(
            f"the API answered HTTP {response.status}", reason=f"http_{response.status}", hint=_redirect_hint(response)
        )

    return parse


def archive_response_parser(clock: Clock) -> Callable[[Response], Response | None]:
    """A judge of archive answers: the answer itself, or None when the object does not exist."""

    def parse(response: Response) -> Response | None:
        if response.status == 200:
            return response
        if response.status == 404:
            return None
        _refuse_common(response, clock)
        if response.status == 408 or response.status >= 500:
            raise Transient(f"http_{response.status}", f"HTTP {response.status}")
        raise SourceError(
            f"the archive answered HTTP {response.status}", reason=f"http_{response.status}", hint=_redirect_hint(response)
        )

    return parse


def _refuse_common(response: Response, clock: Clock) -> None:
    if response.status in (418, 429):
        raise _throttled(response, response.body[:1000].decode("utf-8", "replace"), clock)
    if response.status == 403:
        raise SourceRefused(
            "the host refused the request (HTTP 403)",
            reason="http_403",
            hint="its firewall blocks this IP address, often for some ten minutes: wait, lower the request rate, run again",
        )
    if response.status == 451:
        raise SourceRefused(
            "the host does not serve this location (HTTP 451)",
            reason="http_451",
            hint=Remedy.USE_ARCHIVE,
        )


def _parse(response: Response) -> Any:
    try:
        return parse_json(response.body)
    except InvalidData:
        if response.status == 408 or response.status >= 500:
            raise Transient(f"http_{response.status}", f"HTTP {response.status}") from None
        if response.status == 200:
            raise Transient("invalid_json", "the answer is not JSON") from None
        return None


def _error_of(record: Any, redact: Callable[[str], str]) -> tuple[int | str | None, str]:
    """Code and text of an error body; (None, "") for anything else. A code can be text ("000002")."""
    if not isinstance(record, dict) or "code" not in record:
        return None, ""
    code = record["code"]
    # It goes into reports and the ledger: nothing but a short number passes.
    if isinstance(code, bool) or not _CODE_FORM.match(str(code)):
        code = "unreadable"
    message = redact(str(record.get("msg") or record.get("errorData") or "")[:_LONGEST_TEXT])
    text = "".join(char if char.isprintable() else " " for char in message)
    return code if isinstance(code, int) else str(code), text[:200]


def _throttled(response: Response, text: str, clock: Clock) -> Throttled:
    now = clock.time()
    until = min(max(_retry_after(response, now), _banned_until(text)), now + _LONGEST_PAUSE_SECONDS)
    banned = response.status == 418 or _BANNED_UNTIL.search(text) is not None
    has_deadline = until > now
    if not has_deadline:
        until = now + _SILENT_BAN_SECONDS if banned else _next_minute(now)
    return Throttled(until, f"HTTP {response.status}", has_deadline=has_deadline, ban=banned)


def _next_minute(now: float) -> float:
    # A second past it: the two clocks are not the same.
    return (math.floor(now / 60.0) + 1) * 60.0 + 1.0


def _retry_after(response: Response, now: float) -> float:
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal() and len(text) <= 9:
        return now + int(text)
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _banned_until(text: str) -> float:
    match = _BANNED_UNTIL.search(text)
    return int(match[1]) / 1000.0 if match else 0.0


def _redirect_hint(response: Response) -> str | None:
    if 300 <= response.status < 400:
        return "redirects are not followed: check the base URL"
    return None
