"""What an HTTP response means: it is usable, worth another attempt, a request to slow down, or an error that ends the call."""

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
from cryptoservice.errors import HistoryEnded, NetworkSetupError, Remedy, SourceError, SourceRefused, SymbolRefused

_BANNED_UNTIL = re.compile(r"banned until (\d{13})(?!\d)")
# For a ban whose end is not named. The shortest documented ban lasts two minutes (docs/wire.md, limits and bans).
_BAN_WITHOUT_DEADLINE_SECONDS = 120.0
# The codes are listed in docs/wire.md, errors.
_OVERLOADED = -1008
_TOO_MANY_REQUESTS = -1003
# -1021 complains of a timestamp. Our requests carry none, so another node may well accept the next attempt.
_PASSING_CODES = frozenset((-1000, -1001, -1006, -1007, _OVERLOADED, -1021))
# Invalid symbol, invalid symbol status, symbol is closed, invalid pair.
_SYMBOL_CODES = frozenset((-1121, -1122, -4141, -4144))
_HISTORY_CODE = -1130
# The key has no valid form; the key, its IP address or its permissions are invalid.
_KEY_CODES = frozenset((-2014, -2015))
_OVERLOAD_PATIENCE = 4.0
_CODE_FORM = re.compile(r"-?[0-9]{1,6}\Z")
_LONGEST_TEXT = 10_000
# No ban or pause lasts ten years: a later time is an error, and may lie beyond the last date of the calendar.
_LONGEST_PAUSE_SECONDS = 3650 * 86_400.0


@dataclass(frozen=True)
class Response:
    """One HTTP response with its whole body, unpacked. Header names are lower case."""

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
        """The host's count of the request weight that this IP address used in the current minute; -1 when it does not say."""
        text = self.headers.get("x-mbx-used-weight-1m", "")
        return int(text) if text.isdecimal() and len(text) < 10 else -1


class Transient(Exception):
    """A trouble that may well be gone at the next attempt."""

    def __init__(self, reason: str, detail: str = "", *, patience: float = 1.0, until: float | None = None) -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.patience = patience
        """Multiplies the back-off: an overloaded host needs more time than a lost packet."""
        self.until = until
        """The epoch second before which the host wants no further request, or None when it names none."""


class Throttled(Exception):
    """The host asks for fewer requests: nothing may be sent before the epoch second `until`."""

    def __init__(self, until: float, what: str, *, has_deadline: bool, ban: bool) -> None:
        super().__init__(what)
        self.until = until
        self.what = what
        self.has_deadline = has_deadline
        """Whether the host named the time itself."""
        self.ban = ban
        """Whether the host has banned this IP address until then."""


def api_response_parser(clock: Clock, redact: Callable[[str], str] = str) -> Callable[[Response], Any]:
    """The parser of API responses: it returns the JSON of a good one and raises the matching error for any other.

    Texts of the API pass through `redact` before they stand in an error.
    """

    def parse_response(response: Response) -> Any:
        _raise_for_status(response, clock)
        record = _json_of(response)
        code, message = _error_of(record, redact)
        if response.status == 200 and code is None:
            return record
        if code == _TOO_MANY_REQUESTS:
            raise _throttled(response, message, clock)
        if code in _PASSING_CODES:
            patience = _OVERLOAD_PATIENCE if code == _OVERLOADED else 1.0
            until = _named_time(response, clock)
            raise Transient(f"api_error_{code}", f"error {code}: {message}", patience=patience, until=until)
        _raise_if_passing(response, clock)
        if code in _KEY_CODES:
            raise NetworkSetupError(f"the API refuses the API key (error {code}: {message})", hint=Remedy.CHECK_API_KEY)
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

    return parse_response


def archive_response_parser(clock: Clock, who: str = "the archive") -> Callable[[Response], Response | None]:
    """The parser of the responses of the archive, or of another bucket that `who` names in errors.

    It returns the response itself, or None when the archive does not hold the file.
    """

    def parse_response(response: Response) -> Response | None:
        if response.status == 200:
            return response
        if response.status == 404:
            return None
        _raise_for_status(response, clock)
        _raise_if_passing(response, clock)
        raise SourceError(
            f"{who} answered HTTP {response.status}", reason=f"http_{response.status}", hint=_redirect_hint(response)
        )

    return parse_response


def _raise_for_status(response: Response, clock: Clock) -> None:
    """Raise the error of a status that means the same at both hosts: 418 and 429, 403, 451."""
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


def _raise_if_passing(response: Response, clock: Clock) -> None:
    """Raise Transient for a status that the next attempt may well not have.

    202 says that the answer is not ready: a firewall in front of the host sends it with an empty body.
    """
    if response.status in (202, 408) or response.status >= 500:
        until = _named_time(response, clock)
        raise Transient(f"http_{response.status}", f"HTTP {response.status}", until=until)


def _named_time(response: Response, clock: Clock) -> float | None:
    """The epoch second of Retry-After when it lies ahead, else None."""
    now = clock.time()
    until = min(_retry_after(response, now), now + _LONGEST_PAUSE_SECONDS)
    return until if until > now else None


def _json_of(response: Response) -> Any:
    """The body as JSON, or None for the body of an error that is no JSON."""
    try:
        return parse_json(response.body)
    except InvalidData:
        if response.status == 200:
            raise Transient("invalid_json", "the response is not JSON") from None
        return None


def _error_of(record: Any, redact: Callable[[str], str]) -> tuple[int | str | None, str]:
    """Code and text of an error body, or (None, "") for anything else. A code can be text, such as "000002"."""
    if not isinstance(record, dict) or "code" not in record:
        return None, ""
    code = record["code"]
    # The code goes into reports and the ledger, so only a short number passes.
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
        until = now + _BAN_WITHOUT_DEADLINE_SECONDS if banned else _next_minute(now)
    return Throttled(until, f"HTTP {response.status}", has_deadline=has_deadline, ban=banned)


def _next_minute(now: float) -> float:
    # One second more, because the clocks of the two machines differ.
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
