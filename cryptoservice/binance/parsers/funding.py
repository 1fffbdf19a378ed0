"""Funding rates: REST pages and monthly archive files to rows.

A row is the tuple (funding_time, funding_rate, mark_price, rate_type): funding_time in ms UTC with the exchange's own
jitter, the rate as a fraction of the position, mark_price in the quote asset or None, rate_type `Regular` or `Special`.
Both parsers raise InvalidData for content that cannot be trusted.
"""

from __future__ import annotations

from cryptoservice.binance.parsers.numbers import LARGEST, is_blank, parse_number
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay, collapse, drop_header
from cryptoservice.days import Window
from cryptoservice.models import Row

REGULAR = "Regular"
_HEADER = "calc_time,funding_interval_hours,last_funding_rate"
_COLUMNS = 3
_LARGEST_RATE = 100.0
_LONGEST_TYPE = 32
# Milliseconds of the years 2001 to 2286. A number of another magnitude is in another unit.
_MILLISECONDS = range(10**12, 10**13)


def parse_csv(text: str, window: Window) -> RowsByDay:
    """Checked rows of a monthly archive file by day. The file has neither a mark price nor a rate type."""
    lines = [line for line in text.removeprefix("\ufeff").replace("\r", "").split("\n") if line]
    drop_header(lines, _HEADER)
    if any(line.count(",") != _COLUMNS - 1 for line in lines):
        raise InvalidData("wrong_column_count")
    rows: list[Row] = []
    for line in lines:
        time_text, _, rate_text = line.split(",")
        rows.append((parse_number(time_text), parse_number(rate_text), None, REGULAR))
    return _checked(rows, window)


def parse_rest(page: object, symbol: str, window: Window) -> RowsByDay:
    """Checked rows of one /fapi/v1/fundingRate page by day."""
    if not isinstance(page, list):
        raise InvalidData("unexpected_answer")
    rows: list[Row] = []
    for entry in page:
        try:
            moment, rate, mark = entry["fundingTime"], entry["fundingRate"], entry.get("markPrice")
            kind, named = entry.get("rateType") or REGULAR, entry.get("symbol", symbol)
        except (KeyError, TypeError, AttributeError):
            raise InvalidData("unexpected_answer") from None
        if named != symbol:
            raise InvalidData("wrong_symbol")
        if not isinstance(kind, str) or len(kind) > _LONGEST_TYPE or not kind.isalnum():
            raise InvalidData("unknown_rate_type")
        # Older rows have an empty mark price (docs/wire.md, funding rates).
        price = None if is_blank(mark) else parse_number(mark)
        rows.append((parse_number(moment), parse_number(rate), price, kind))
    return _checked(rows, window)


def _checked(rows: list[Row], window: Window) -> RowsByDay:
    for moment, rate, price, _ in rows:
        if not isinstance(moment, int) or moment not in _MILLISECONDS:
            raise InvalidData("time_not_milliseconds")
        if not window.start_ms <= moment < window.end_ms:
            raise InvalidData("row_outside_range")
        if not abs(rate) <= _LARGEST_RATE or (price is not None and not 0 <= price <= LARGEST):
            raise InvalidData("number_out_of_range")
    return collapse(rows, key_of=lambda row: (row[0], row[3]))
