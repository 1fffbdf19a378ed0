"""Funding rates: REST pages and monthly archive files to rows.

A row is the tuple (funding_time, funding_rate, mark_price, rate_type): funding_time in ms UTC with the exchange's own
jitter, the rate as a fraction of the position, mark_price in the quote asset or None, rate_type `Regular` or `Special`.
All parsers raise InvalidData for content that cannot be trusted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

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
            sieve.leave_out(invalid.reason, _time_of(fields[0], _latest(rows, window), window))
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
            moment, rate, named = entry["fundingTime"], entry["fundingRate"], entry.get("symbol", symbol)
        except (KeyError, TypeError, AttributeError):
            raise InvalidData("unexpected_answer") from None
        if named != symbol:
            raise InvalidData("wrong_symbol")
        try:
            rows.append(_row_of_entry(entry, moment, rate, window))
        except InvalidData as invalid:
            sieve.leave_out(invalid.reason, _time_of(str(moment), _latest(rows, window), window))
    sieve.refuse_any("row_outside_range")
    return _by_day(rows, sieve, len(page), at_least=len(page) if is_judged else 1)


class MarketPage(NamedTuple):
    """What a page of the rates of all symbols says of the wanted ones. Neighbouring pages hold some entries both."""

    rows: Sequence[tuple[str, Row]]
    """Symbol and row, in the order of the page."""
    invalid: Mapping[str, tuple[str, str, int]]
    """The text of each entry that is no valid row: its symbol, the reason, and the time (ms UTC) under which it is counted."""
    known_until: int
    """The time (ms UTC) before which the pages up to this one hold every rate: the next page starts there."""
    is_last: bool
    """Nothing more can be asked for."""
    trouble: str | None = None
    """Why nothing more can be asked for although the window is not done; a short stable word."""


class MarketRates:
    """The rates of the wanted symbols in a window, collected from pages of all symbols."""

    def __init__(self, symbols: Collection[str], window: Window) -> None:
        self.window = window
        self.known_until = window.start_ms
        """The time (ms UTC) before which every rate is known."""
        self.trouble: str | None = None
        """Why there are no more pages although the window is not done."""
        self._rows: dict[str, dict[Row, None]] = {symbol: {} for symbol in symbols}
        self._invalid: dict[str, tuple[str, str, int]] = {}

    def parse(self, page: object, limit: int) -> MarketPage:
        """A page that was asked for from `known_until` on, with that row limit.

        A single invalid row is left out; too many of them disqualify the page, and so do entries outside of what was asked
        for, or in another order than that of time: then nobody knows what lies between this page and the next.
        """
        if not isinstance(page, list):
            raise InvalidData("unexpected_answer")
        sieve = Sieve()
        rows: list[tuple[str, Row]] = []
        invalid: dict[str, tuple[str, str, int]] = {}
        moments: list[int] = []
        for entry in page:
            symbol = entry.get("symbol") if isinstance(entry, dict) else None
            if not isinstance(symbol, str) or not symbol:
                raise InvalidData("unexpected_answer")
            try:
                row = _row_of_entry(entry, entry.get("fundingTime"), entry.get("fundingRate"), self.window)
            except InvalidData as trouble:
                if trouble.reason == "row_outside_range":
                    raise
                moment = _time_of(str(entry.get("fundingTime")), moments[-1] if moments else self.known_until, self.window)
                text = json.dumps(entry, sort_keys=True)
                if text not in self._invalid:
                    # One that the page before held as well is judged already.
                    sieve.leave_out(trouble.reason, moment)
                invalid[text] = (symbol, trouble.reason, moment)
                continue
            if row[0] < self.known_until:
                raise InvalidData("row_outside_range")
            if moments and row[0] < moments[-1]:
                raise InvalidData("rows_not_in_order")
            moments.append(row[0])
            if symbol in self._rows:
                rows.append((symbol, row))
        sieve.left_out(len(page), at_least=1)
        if len(page) < limit:
            # Nobody has confirmed that so many rows are sent where no symbol is named (docs/wire.md, funding rates). A page that
            # was full has shown it; a first page that is not might as well be cut short.
            if self.known_until == self.window.start_ms:
                return MarketPage(rows, invalid, self.known_until, True, "no_full_page")
            return MarketPage(rows, invalid, self.window.end_ms, True)
        if not moments:
            raise InvalidData("unexpected_answer")
        if moments[0] == moments[-1]:
            return MarketPage(rows, invalid, moments[0], True, "one_moment_fills_a_page")
        # The last moment of a full page may go on in the next one, which begins with all of it once more.
        return MarketPage(rows, invalid, moments[-1], False)

    def add(self, page: MarketPage) -> None:
        """Take in a page."""
        self.known_until, self.trouble = page.known_until, page.trouble
        self._invalid.update(page.invalid)
        for symbol, row in page.rows:
            self._rows[symbol][row] = None

    def of(self, symbol: str) -> RowsByDay:
        """The rows of a symbol by day; those that contradict each other are left out. No row at all proves nothing."""
        sieve = Sieve()
        for owner, reason, moment in self._invalid.values():
            if owner == symbol:
                sieve.leave_out(reason, moment)
        rows = list(self._rows[symbol])
        return _by_day(rows, sieve, len(rows), at_least=len(rows) + len(self._invalid))


def _row_of_entry(entry: Mapping[str, Any], moment: object, rate: object, window: Window) -> Row:
    mark, kind = entry.get("markPrice"), entry.get("rateType") or REGULAR
    # Older rows have an empty mark price (docs/wire.md, funding rates).
    price = None if is_blank(mark) else parse_number(mark)
    return _checked((parse_number(moment), parse_number(rate), price, kind), window)


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


def _time_of(text: str, before: int, window: Window) -> int:
    """The time of a row that is left out, in ms UTC; where it has none in the window, that of the row `before` it."""
    if text.isascii() and text.isdecimal() and len(text) <= _MOST_TIME_DIGITS:
        for moment in (int(text), int(text) * 1000, int(text) // 1000):
            if window.start_ms <= moment < window.end_ms:
                return moment
    return before


def _latest(rows: list[Row], window: Window) -> int:
    return rows[-1][0] if rows else window.start_ms
