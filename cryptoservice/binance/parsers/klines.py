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
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay, collapse, column_days
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


def parse_csv(pieces: Iterable[str], freq: Freq, window: Window) -> RowsByDay:
    """Checked rows of an archive file by day. Raises InvalidData when anything in it cannot be trusted.

    The text comes in pieces of whole lines, so that it need not be in memory at once. `window` is the range of days that the
    file is named after: a row outside it disqualifies the file.
    """
    columns = tuple(array(kind) for kind in _COLUMN_KINDS)
    digits = set()
    for lines in _rows_alone(pieces):
        # Each piece finds its own unit of time. All pieces have the same unit when their first times have the same length.
        digits.add(lines.find(","))
        if len(digits) > 1:
            raise InvalidData("mixed_time_units")
        for column, values in zip(columns, _check(_fields(lines), freq, window), strict=True):
            column.frombytes(pack(f"{len(values)}{column.typecode}", *values))
    if all(map(gt, columns[0][1:], columns[0])):
        return RowsByDay(column_days(columns))
    return collapse(list(zip(*columns, strict=True)))


def parse_rest(page: object, freq: Freq, window: Window) -> RowsByDay:
    """Checked rows of a REST page (lists of 12 values, prices and volumes as text) by day. The checks are those of parse_csv."""
    if not isinstance(page, list) or not all(isinstance(row, list) and len(row) == _WIRE_COLUMNS for row in page):
        raise InvalidData("wrong_column_count")
    if not page:
        return RowsByDay({})
    fields = [value for row in page for value in row]
    if not set(map(type, fields)) <= {int, str}:
        raise InvalidData("not_a_number")
    flat = _numbers(",".join(map(str, fields)))
    if len(flat) != len(fields):
        raise InvalidData("not_a_number")
    return collapse(list(zip(*_check(flat, freq, window), strict=True)))


def _rows_alone(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces without the header row and final newlines. Blank lines may stand before and after all rows, not between."""
    at_top, started, ended = True, False, False
    for number, piece in enumerate(pieces):
        text = piece.replace("\r\n", "\n") if "\r" in piece else piece
        if at_top:
            text = (text if number else text.removeprefix("\ufeff")).lstrip("\n")
            at_top = not text
            text = _without_header(text)
        if not started:
            text = text.lstrip("\n")
        lines = text.rstrip("\n")
        if lines:
            if ended:
                raise InvalidData("wrong_column_count")
            started = True
            yield lines
        ended = ended or (started and len(text) - len(lines) > bool(lines))


def _without_header(text: str) -> str:
    # Older files have no header row, so the first byte decides (docs/wire.md, klines and funding files).
    if text and not text[0].isdigit():
        header, _, text = text.partition("\n")
        if header != _HEADER:
            raise InvalidData(_header_fault(header))
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
    open_time, opened, high, low, close, volume, close_time, quote, trades, taker, taker_quote, _ = (
        flat[column::_WIRE_COLUMNS] for column in range(_WIRE_COLUMNS)
    )
    if not set(map(type, open_time)) | set(map(type, close_time)) | set(map(type, trades)) <= _WHOLE_NUMBERS:
        raise InvalidData("time_or_count_not_whole")
    # The next check makes `high` the largest price of its row, so the other prices need no check here.
    if max(map(max, (high, volume, quote, trades, taker, taker_quote))) > LARGEST:
        raise InvalidData("number_out_of_range")
    if not (all(map(ge, high, opened)) and all(map(ge, high, close)) and all(map(le, low, opened)) and all(map(le, low, close))):
        raise InvalidData("high_below_low")
    if min(low) <= 0:
        raise InvalidData("price_not_positive")
    open_time, close_time = _milliseconds(open_time, close_time)
    length = freq.milliseconds
    regular = range(open_time[0], open_time[0] + length * len(open_time), length)
    without_hole = open_time == list(regular)
    # The end of a bar follows from its start, so a row whose columns have shifted is caught here.
    ends_with_bar = without_hole and close_time == list(range(regular.start + length - 1, regular.stop + length - 1, length))
    if not ends_with_bar and set(map(int.__sub__, close_time, open_time)) - {length - 1, length}:
        raise InvalidData("close_time_off")
    first, last = window.start_ms, window.end_ms - length
    if min(open_time) < first or max(open_time) > last:
        raise InvalidData("row_outside_range")
    if any((moment - first) % length for moment in (open_time[:1] if without_hole else open_time)):
        raise InvalidData("time_off_grid")
    return open_time, opened, high, low, close, volume, quote, trades, taker, taker_quote


def _milliseconds(open_time: list[int], close_time: list[int]) -> tuple[list[int], list[int]]:
    """Both columns in milliseconds. The magnitude gives the unit, which must be the same in all rows of a piece."""
    least, most = min(open_time), max(open_time)
    if most < _SECONDS_LIMIT:
        return [moment * 1000 for moment in open_time], [moment * 1000 + 999 for moment in close_time]
    if least >= _MICROSECONDS_START:
        if any(moment % 1000 for moment in open_time):
            raise InvalidData("time_off_grid")
        return [moment // 1000 for moment in open_time], [moment // 1000 for moment in close_time]
    return open_time, close_time
