"""Klines: archive files and REST pages to rows, and the checks that a row must pass before it counts.

A row is the tuple (open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume,
taker_buy_quote_volume): open_time in ms UTC, prices in the quote asset, volume and taker_buy_volume in the base asset.

The parser is hand-made for speed, since klines are nearly all of a download: one JSON array of all fields and checks of whole
columns, which take a fraction of the time of the csv module, float() and checks row by row.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from operator import ge, gt, le
from struct import pack
from typing import Any

from cryptoservice.binance.parsers.numbers import LARGEST, check_range, parse_fields, parse_json
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay, Sieve, collapse, column_days, starts_with_a_name
from cryptoservice.days import Window
from cryptoservice.models import Freq

Columns = tuple[list[Any], ...]
_WIRE_COLUMNS = 12
_LINE_SKELETON = b"," * (_WIRE_COLUMNS - 1) + b"\n"
# Types of the columns of a row: 64-bit integers for time and trades, floats for the rest.
_COLUMN_KINDS = "qddddddqdd"
_HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
_HEADER_START = "open_time,"
_WHOLE_NUMBERS = frozenset((int,))
_SECONDS_LIMIT = 10**11
_MICROSECONDS_START = 10**14
_LONGEST_TIME = 18
# So many rows around an invalid one are checked one by one, which takes five times as long as all at once.
_FEW_ROWS = 32


def parse_csv(pieces: Iterable[str], freq: Freq, window: Window) -> RowsByDay:
    """Checked rows of an archive file by day; single invalid rows are left out.

    The text comes in pieces of whole lines, so that it need not be in memory at once. `window` is the range of days that the
    file is named after. Raises InvalidData for a fault of the whole, or when more than a tenth of the rows are invalid.
    """
    columns = tuple(array(kind) for kind in _COLUMN_KINDS)
    sieve = Sieve()
    total = 0
    # Some files hold every row twice. When a tenth of so many rows is bad, the rest of the file need not be read.
    most_rows = 2 * window.length * freq.bars_per_day
    for lines in _rows_alone(pieces):
        try:
            parts = [_check(_fields(lines), freq, window)]
            total += len(parts[0][0])
        except InvalidData:
            # A line of far too many fields is not worth the memory of all of them.
            rows = [line.split(",", _WIRE_COLUMNS) for line in lines.split("\n") if line]
            total += len(rows)
            near_ms = columns[0][-1] if columns[0] else window.start_ms
            parts = list(_sift(rows, freq, window, sieve, near_ms))
            sieve.left_out(most_rows)
        for part in parts:
            for column, values in zip(columns, part, strict=True):
                column.frombytes(pack(f"{len(values)}{column.typecode}", *values))
    if all(map(gt, columns[0][1:], columns[0])):
        return RowsByDay(column_days(columns), sieve.left_out(total))
    days = collapse(list(zip(*columns, strict=True)), sieve)
    return RowsByDay(days, sieve.left_out(total))


def parse_rest(page: object, freq: Freq, window: Window) -> RowsByDay:
    """Checked rows of a REST page (lists of 12 values, prices and volumes as text) by day. The checks are those of parse_csv.

    A single invalid row is left out even where it is all of the page: what it says will not be better the next time. A bar
    outside the window disqualifies the page, because a server that ignores the bounds would make other days look empty.
    """
    if not isinstance(page, list) or not all(isinstance(row, list) and len(row) == _WIRE_COLUMNS for row in page):
        raise InvalidData("wrong_column_count")
    if not page:
        return RowsByDay({})
    sieve = Sieve()
    try:
        parts = [_check(_page_fields(page), freq, window)]
    except InvalidData:
        rows = [[_text_of(value) for value in row] for row in page]
        parts = list(_sift(rows, freq, window, sieve, window.start_ms))
        sieve.refuse_any("row_outside_range")
    days = collapse([row for part in parts for row in zip(*part, strict=True)], sieve)
    return RowsByDay(days, sieve.left_out(len(page), at_least=1))


def _page_fields(page: list[list[Any]]) -> list[Any]:
    fields = [value for row in page for value in row]
    if not set(map(type, fields)) <= {int, str}:
        raise InvalidData("not_a_number")
    flat = _numbers(",".join(map(str, fields)))
    if len(flat) != len(fields):
        raise InvalidData("not_a_number")
    return flat


def _text_of(value: Any) -> str:
    """A value of a page as a field of a CSV line; what is neither text nor a whole number becomes no number."""
    return str(value) if type(value) in (int, str) and "," not in str(value) else "null"


def _sift(rows: list[list[str]], freq: Freq, window: Window, sieve: Sieve, near_ms: int) -> Iterator[Columns]:
    """The columns of the valid rows, in parts: a few rows at a time, and one by one where they hold an invalid one.

    An invalid row without a time of the window is counted under the day of `near_ms`, the time of a row before it.
    """
    waiting = [rows[start : start + _FEW_ROWS] for start in range(0, len(rows), _FEW_ROWS)][::-1]
    while waiting:
        few = waiting.pop()
        try:
            part = _check(_stored_fields(few), freq, window)
        except InvalidData as invalid:
            if len(few) == 1:
                sieve.leave_out(invalid.reason, _time_of(few[0][0], window, near_ms))
            else:
                waiting += [[row] for row in reversed(few)]
            continue
        near_ms = part[0][-1]
        yield part


def _stored_fields(rows: list[list[str]]) -> list[Any]:
    """The numbers of these rows. What is not stored decides nothing: close_time, and a column without meaning."""
    if any(len(fields) != _WIRE_COLUMNS for fields in rows):
        raise InvalidData("wrong_column_count")
    # What is not stored stands before and after quote_volume .. taker_buy_quote_volume.
    return _numbers(",".join(field for row in rows for field in (*row[:6], "0", *row[7:11], "0")))


def _time_of(text: str, window: Window, near_ms: int) -> int:
    """The time of a row that is left out, in ms UTC; `near_ms` where its first field is no time of the window."""
    if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_TIME:
        for moment in (int(text), int(text) * 1000, int(text) // 1000):
            if window.start_ms <= moment < window.end_ms:
                return moment
    return near_ms


def _rows_alone(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces without the header row and without blank lines around their rows."""
    at_top = True
    for number, piece in enumerate(pieces):
        text = piece.replace("\r\n", "\n") if "\r" in piece else piece
        if at_top:
            text = (text if number else text.removeprefix("\ufeff")).lstrip("\n")
            at_top = not text
            text = _without_header(text)
        lines = text.strip("\n")
        if lines:
            yield lines


def _without_header(text: str) -> str:
    # Older files have no header row, so the first field decides (docs/wire.md, klines and funding files).
    if text and not text[0].isdigit():
        header, _, rows = text.partition("\n")
        if header != _HEADER:
            if not starts_with_a_name(header):
                return text
            raise InvalidData(_header_fault(header))
        return rows
    return text


def _header_fault(header: str) -> str:
    if not header.startswith(_HEADER_START):
        return "not_a_number"
    return "unknown_columns" if header.count(",") == _WIRE_COLUMNS - 1 else "wrong_column_count"


def _fields(lines: str) -> list[Any]:
    """All fields of these lines in one list."""
    # Without its digits and points, a file of plain numbers is eleven commas a line. One comparison checks all lines for that.
    skeleton = lines.encode("utf-8", "surrogatepass").translate(None, b"0123456789.")
    is_plain = skeleton == _LINE_SKELETON * lines.count("\n") + _LINE_SKELETON[:-1]
    if not is_plain and {line.count(",") for line in lines.split("\n")} != {_WIRE_COLUMNS - 1}:
        raise InvalidData("wrong_column_count")
    # One JSON array of all fields is several times quicker than csv and float(), and accepts only plainly written numbers.
    flat = _numbers(lines.replace("\n", ","), is_plain=is_plain)
    if len(flat) % _WIRE_COLUMNS:
        raise InvalidData("wrong_column_count")
    return flat


def _numbers(text: str, *, is_plain: bool = False) -> list[Any]:
    """The numbers of these fields. With `is_plain` the text is known to hold nothing but digits, points and commas."""
    if is_plain:
        numbers: list[Any] = parse_json(f"[{text}]")
        return numbers
    numbers = parse_fields(text)
    check_range(numbers, most=math.inf)
    return numbers


def _check(flat: list[Any], freq: Freq, window: Window) -> Columns:
    """The columns of a row, from fields in wire order. Checking whole columns costs a tenth of checking row by row."""
    open_time, opened, high, low, close, volume, _, quote, trades, taker, taker_quote, _ = (
        flat[column::_WIRE_COLUMNS] for column in range(_WIRE_COLUMNS)
    )
    if not set(map(type, open_time)) | set(map(type, trades)) <= _WHOLE_NUMBERS:
        raise InvalidData("time_or_count_not_whole")
    # The next check makes `high` the largest price of its row, so the other prices need no check here.
    if max(map(max, (high, volume, quote, trades, taker, taker_quote))) > LARGEST:
        raise InvalidData("number_out_of_range")
    if not (all(map(ge, high, opened)) and all(map(ge, high, close)) and all(map(le, low, opened)) and all(map(le, low, close))):
        raise InvalidData("high_below_low")
    if min(low) <= 0:
        raise InvalidData("price_not_positive")
    open_time = _milliseconds(open_time)
    length, start = freq.milliseconds, window.start_ms
    without_hole = open_time == list(range(open_time[0], open_time[0] + length * len(open_time), length))
    if any((moment - start) % length for moment in (open_time[:1] if without_hole else open_time)):
        raise InvalidData("time_off_grid")
    if min(open_time) < start or max(open_time) >= window.end_ms:
        raise InvalidData("row_outside_range")
    return open_time, opened, high, low, close, volume, quote, trades, taker, taker_quote


def _milliseconds(moments: list[int]) -> list[int]:
    """Times in milliseconds. The magnitude gives the unit, which must be the same in all rows of a piece."""
    least, most = min(moments), max(moments)
    if most < _SECONDS_LIMIT:
        return [moment * 1000 for moment in moments]
    if least >= _MICROSECONDS_START:
        if any(moment % 1000 for moment in moments):
            raise InvalidData("time_off_grid")
        return [moment // 1000 for moment in moments]
    return moments
