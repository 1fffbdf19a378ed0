"""What an HTTP answer means: usable, worth another attempt, a request to slow down, or the end."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

from cryptoservice.binance.attempt import Answer, Throttled, Transient
from cryptoservice.clock import Clock
from cryptoservice.errors import HistoryEnded, SourceError, SourceRefused, SymbolRefused

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


def api_judge(clock: Clock, redact: Callable[[str], str] = str) -> Callable[[Answer], Any]:
    """A judge of API answers: the parsed JSON of a good one, or the matching error. Error texts go through `redact`."""

    def judge(answer: Answer) -> Any:
        _refuse_common(answer, clock)
        record = _parse(answer)
        code, message = _error_of(record, redact)
        if answer.status == 200 and code is None:
            return record
        if code == _TOO_MANY_REQUESTS:
            raise _throttled(answer, message, clock)
        if code in _PASSING_CODES:
            patience = _OVERLOAD_PATIENCE if code == _OVERLOADED else 1.0
            raise Transient(f"api_error_{code}", f"error {code}: {message}", patience=patience)
        if answer.status == 408 or answer.status >= 500:
            raise Transient(f"http_{answer.status}", f"HTTP {answer.status}")
        if code in _SYMBOL_CODES:
            raise SymbolRefused(f"error {code}: {message}", reason=f"api_error_{code}")
        if code == _HISTORY_CODE:
            raise HistoryEnded(f"error {code}: {message}", reason=f"api_error_{code}")
        if code is not None:
            hint = "either the exchange has changed or this is a bug of cryptoservice: please report it"
            raise SourceError(f"the API answered error {code}: {message}", reason=f"api_error_{code}", hint=hint)
        raise SourceError(f"the API answered HTTP {answer.status}", reason=f"http_{answer.status}", hint=_redirect_hint(answer))

    return judge


def archive_judge(clock: Clock) -> Callable[[Answer], Answer | None]:
    """A judge of archive answers: the answer itself, or None when the object does not exist."""

    def judge(answer: Answer) -> Answer | None:
        if answer.status == 200:
            return answer
        if answer.status == 404:
            return None
        _refuse_common(answer, clock)
        if answer.status == 408 or answer.status >= 500:
            raise Transient(f"http_{answer.status}", f"HTTP {answer.status}")
        raise SourceError(
            f"the archive answered HTTP {answer.status}", reason=f"http_{answer.status}", hint=_redirect_hint(answer)
        )

    return judge


def _refuse_common(answer: Answer, clock: Clock) -> None:
    if answer.status in (418, 429):
        raise _throttled(answer, answer.body[:1000].decode("utf-8", "replace"), clock)
    if answer.status == 403:
        raise SourceRefused(
            "the host refused the request (HTTP 403)",
            reason="http_403",
            hint="its firewall blocks this IP address, often for some ten minutes: wait, lower the request rate, run again",
        )
    if answer.status == 451:
        raise SourceRefused(
            "the host does not serve this location (HTTP 451)",
            reason="http_451",
            hint="the archive is not blocked: download with --kline-source vision, or run from another location",
        )


def _parse(answer: Answer) -> Any:
    try:
        return json.loads(answer.body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        if answer.status == 408 or answer.status >= 500:
            raise Transient(f"http_{answer.status}", f"HTTP {answer.status}") from None
        if answer.status == 200:
            raise Transient("invalid_json", "the answer is not JSON") from None
        return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


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


def _throttled(answer: Answer, text: str, clock: Clock) -> Throttled:
    now = clock.time()
    until = min(max(_retry_after(answer, now), _banned_until(text)), now + _LONGEST_PAUSE_SECONDS)
    banned = answer.status == 418 or _BANNED_UNTIL.search(text) is not None
    told = until > now
    if not told:
        until = now + _SILENT_BAN_SECONDS if banned else _next_minute(now)
    return Throttled(until, f"HTTP {answer.status}", told=told, ban=banned)


def _next_minute(now: float) -> float:
    # A second past it: the two clocks are not the same.
    return (math.floor(now / 60.0) + 1) * 60.0 + 1.0


def _retry_after(answer: Answer, now: float) -> float:
    text = answer.headers.get("retry-after", "").strip()
    if text.isdecimal() and len(text) <= 9:
        return now + int(text)
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _banned_until(text: str) -> float:
    match = _BANNED_UNTIL.search(text)
    return int(match[1]) / 1000.0 if match else 0.0


def _redirect_hint(answer: Answer) -> str | None:
    if 300 <= answer.status < 400:
        return "redirects are not followed: check the base URL"
    return None
