"""Funding rates: REST pages and monthly archive files to rows.

A row is the tuple (funding_time, funding_rate, mark_price, rate_type): funding_time in ms UTC with the exchange's own
jitter, the rate as a fraction of the position, mark_price in the quote asset or None, rate_type `Regular` or `Special`.
All parsers raise InvalidData for content that cannot be trusted.
"""

from __future__ import annotations

import json
from typing import Any

from cryptoservice.binance.parsers.numbers import LARGEST, is_blank, parse_number
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay, Sieve, collapse, lines_of
from cryptoservice.days import Window
from cryptoservice.models import Row

REGULAR = "Regular"
_HEADER = "calc_time,funding_interval_hours,last_funding_rate"
_COLUMNS = 3
_LARGEST_RATE = 100.0
_LONGEST_TYPE = 32
# Milliseconds of the years 2001 to 2286. A number of another magnitude is in another unit.
_MILLISECONDS = range(10**12, 10**13)
# Of a time in microseconds.
_MOST_TIME_DIGITS = 16


def parse_csv(text: str, window: Window) -> RowsByDay:
    """Checked rows of a monthly archive file by day. The file has neither a mark price nor a rate type."""
    lines = lines_of(text, _HEADER)
    sieve = Sieve()
    rows: list[Row] = []
    for line in lines:
        fields = line.split(",")
        try:
            rows.append(_row_of(fields, window))
        except InvalidData as invalid:
            sieve.leave_out(invalid.reason, _time_of(fields[0], rows, window))
    return _by_day(rows, sieve, len(lines))


def entries_of(page: object) -> dict[str, Any]:
    """The entries of a /fapi/v1/fundingRate page by their text, since pages overlap and an entry counts once."""
    if not isinstance(page, list):
        raise InvalidData("unexpected_answer")
    return {json.dumps(entry, sort_keys=True): entry for entry in page}


def parse_rest(page: object, symbol: str, window: Window, *, is_judged: bool = False) -> RowsByDay:
    """Checked rows of a page by day; single invalid entries are left out, and those that contradict each other too.

    With `is_judged` the entries come from pages that have passed already, and no number of invalid ones is too large. An entry
    outside the window disqualifies all of them, because a server that ignores the bounds would make other days look empty.
    """
    if not isinstance(page, list):
        raise InvalidData("unexpected_answer")
    sieve = Sieve()
    rows: list[Row] = []
    for entry in page:
        try:
            moment, rate, mark = entry["fundingTime"], entry["fundingRate"], entry.get("markPrice")
            kind, named = entry.get("rateType") or REGULAR, entry.get("symbol", symbol)
        except (KeyError, TypeError, AttributeError):
            raise InvalidData("unexpected_answer") from None
        if named != symbol:
            raise InvalidData("wrong_symbol")
        try:
            # Older rows have an empty mark price (docs/wire.md, funding rates).
            price = None if is_blank(mark) else parse_number(mark)
            rows.append(_checked((parse_number(moment), parse_number(rate), price, kind), window))
        except InvalidData as invalid:
            sieve.leave_out(invalid.reason, _time_of(str(moment), rows, window))
    sieve.refuse_any("row_outside_range")
    return _by_day(rows, sieve, len(page), at_least=len(page) if is_judged else 1)


def _row_of(fields: list[str], window: Window) -> Row:
    if len(fields) != _COLUMNS:
        raise InvalidData("wrong_column_count")
    return _checked((parse_number(fields[0]), parse_number(fields[2]), None, REGULAR), window)


def _checked(row: Row, window: Window) -> Row:
    moment, rate, price, kind = row
    if not isinstance(moment, int) or moment not in _MILLISECONDS:
        raise InvalidData("time_not_milliseconds")
    if not window.start_ms <= moment < window.end_ms:
        raise InvalidData("row_outside_range")
    if not abs(rate) <= _LARGEST_RATE or (price is not None and not 0 <= price <= LARGEST):
        raise InvalidData("number_out_of_range")
    if not isinstance(kind, str) or len(kind) > _LONGEST_TYPE or not kind.isalnum():
        raise InvalidData("unknown_rate_type")
    return row


def _by_day(rows: list[Row], sieve: Sieve, total: int, *, at_least: int = 0) -> RowsByDay:
    days = collapse(rows, sieve, key_of=lambda row: (row[0], row[3]))
    return RowsByDay(days, sieve.left_out(total, at_least=at_least))


def _time_of(text: str, rows: list[Row], window: Window) -> int:
    """The time of a row that is left out, in ms UTC; where it has none in the window, that of the row before it."""
    if text.isascii() and text.isdecimal() and len(text) <= _MOST_TIME_DIGITS:
        for moment in (int(text), int(text) * 1000, int(text) // 1000):
            if window.start_ms <= moment < window.end_ms:
                return moment
    return rows[-1][0] if rows else window.start_ms
