"""Market metrics: archive files and /futures/data pages to 5-minute rows, each under the start of the bar that it closes.

A row is the tuple (open_time, open_interest, open_interest_value, top_trader_account_ratio, top_trader_position_ratio,
global_account_ratio, taker_volume_ratio): open_time in ms UTC, open interest in the base asset, its value in the quote asset,
ratios as long over short or buy over sell. A value that the source leaves blank is None.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date
from enum import Enum
from operator import lt
from types import MappingProxyType
from typing import Any, NamedTuple

from cryptoservice.binance.parsers.numbers import check_range, is_blank, parse_fields, parse_number, parse_timestamp
from cryptoservice.binance.parsers.rows_by_day import (
    InvalidData,
    LeftOut,
    RowsByDay,
    Sieve,
    collapse,
    join_left_out,
    lines_of,
    split_days,
    sum_of,
)
from cryptoservice.days import ONE_DAY, Window, day_start_ms
from cryptoservice.models import Freq, Row
from cryptoservice.rows import ColumnRows

PERIOD = Freq.m5
VALUES = 6
_LENGTH = PERIOD.milliseconds
_HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)
_COLUMNS = 8
_WRONG_SYMBOL = "wrong_symbol"
_OUTSIDE = "row_outside_range"


def parse_csv(text: str, symbol: str, day: date, *, former_symbol: str | None = None) -> RowsByDay:
    """Checked rows of one day's archive file, keyed by their label; single invalid rows are left out.

    All rows bear the symbol's name, or the former one. They stand under `day`, those labelled with either midnight included.
    Which bar a label names is not decided here: that takes the symbol's klines (docs/wire.md, metrics files). Raises InvalidData
    for a fault of the whole.
    """
    names = {symbol, former_symbol or symbol}
    lines = lines_of(text, _HEADER)
    if '""' in text:
        lines = [_unquoted(line) for line in lines]
    if not lines:
        return RowsByDay({})
    if all(line.count(",") != _COLUMNS - 1 for line in lines):
        raise InvalidData("wrong_column_count")
    grid = _grid(day)
    sieve = Sieve()
    try:
        columns = _columns(lines, names, grid)
    except InvalidData as invalid:
        if invalid.reason == _WRONG_SYMBOL:
            raise
        rows = _sift(lines, names, grid, sieve)
    else:
        if all(map(lt, columns[0], columns[0][1:])):
            return RowsByDay({day: _kept(columns)})
        rows = list(zip(*columns, strict=True))
    collapsed = collapse(rows, sieve)
    by_label = [row for rows_of_day in collapsed.values() for row in rows_of_day]
    # All rows of a file stand under its day, whatever their labels are.
    left_out = sum_of(sieve.left_out(len(lines)))
    return RowsByDay({day: by_label}, {day: left_out} if left_out else {})


def _unquoted(line: str) -> str:
    """The line with blanks written as nothing; some files write them as two quotes (docs/wire.md, metrics files)."""
    if '""' not in line:
        return line
    # Whole fields alone: quotes inside a number must not vanish and join its digits.
    return ",".join("" if field == '""' else field for field in line.split(","))


def _columns(lines: list[str], names: Set[str], grid: Mapping[str, int]) -> list[list[Any]]:
    """The columns of valid lines. To split and to check all of them at once takes a third of the time of line after line."""
    if {line.count(",") for line in lines} != {_COLUMNS - 1}:
        raise InvalidData("wrong_column_count")
    fields = ",".join(lines).split(",")
    labels, symbols = fields[::_COLUMNS], fields[1::_COLUMNS]
    if not names >= set(symbols):
        raise InvalidData(_WRONG_SYMBOL)
    try:
        moments = [grid[label] for label in labels]
    except KeyError:
        raise InvalidData("time_off_grid") from None
    del fields[::_COLUMNS]
    del fields[:: _COLUMNS - 1]
    values = parse_fields(",".join(fields), blanks=True)
    check_range(values)
    return [moments, *(values[place::VALUES] for place in range(VALUES))]


def _kept(columns: list[list[Any]]) -> Sequence[Row]:
    """These columns as rows, in the form that takes the least time and memory; an array has no blanks."""
    if any(None in column for column in columns):
        return list(zip(*columns, strict=True))
    moments, *values = columns
    return ColumnRows([array("q", moments), *(array("d", column) for column in values)], 0, len(moments))


def _sift(lines: list[str], names: Set[str], grid: Mapping[str, int], sieve: Sieve) -> list[Row]:
    """The rows, line by line: invalid ones are left out."""
    rows: list[Row] = []
    for line in lines:
        try:
            rows += zip(*_columns([line], names, grid), strict=True)
        except InvalidData as invalid:
            if invalid.reason == _WRONG_SYMBOL:
                raise
            sieve.leave_out(invalid.reason, next(iter(grid.values())))
    return rows


_TIMES = tuple((f"{at // 60:02}:{at % 60:02}:00", at * 60_000) for at in range(0, 24 * 60, _LENGTH // 60_000))
"""The 5-minute grid of a day: how a label writes it, and the milliseconds since midnight."""


def _grid(day: date) -> dict[str, int]:
    """The 5-minute grid of the day as labels are written, in ms UTC; both midnights are on it."""
    start, text = day_start_ms(day), f"{day} "
    grid = {text + time: start + offset for time, offset in _TIMES}
    grid[f"{day + ONE_DAY} 00:00:00"] = day_start_ms(day + ONE_DAY)
    return grid


class RestSeries(Enum):
    """The five /futures/data endpoints: name, value fields, the columns they fill, and ms from bar start to timestamp."""

    OPEN_INTEREST = ("openInterestHist", ("sumOpenInterest", "sumOpenInterestValue"), (0, 1), _LENGTH)
    TOP_ACCOUNT = ("topLongShortAccountRatio", ("longShortRatio",), (2,), _LENGTH)
    TOP_POSITION = ("topLongShortPositionRatio", ("longShortRatio",), (3,), _LENGTH)
    GLOBAL_ACCOUNT = ("globalLongShortAccountRatio", ("longShortRatio",), (4,), _LENGTH)
    # The only endpoint whose timestamp is the start of the period (docs/wire.md, market metrics).
    TAKER_VOLUME = ("takerlongshortRatio", ("buySellRatio",), (5,), 0)

    @property
    def path(self) -> str:
        """The endpoint's path."""
        return f"/futures/data/{self.value[0]}"

    @property
    def label_shift(self) -> int:
        """Milliseconds from the timestamp back to the start of the bar."""
        shift: int = self.value[3]
        return shift


class RestValues(NamedTuple):
    """What one page of one endpoint says."""

    values: Mapping[int, Mapping[int, Any]]
    """Values by bar start (ms UTC) and column."""
    left_out: LeftOut = MappingProxyType({})


def parse_rest(series: RestSeries, page: object, symbol: str, bars: range) -> RestValues:
    """Values of one page, within `bars` (starts in ms UTC); single invalid entries and conflicting ones are left out.

    Raises InvalidData for a page that cannot be trusted as a whole. A bar outside `bars` makes it one, because a server that
    ignores the bounds would make other bars look empty.
    """
    if not isinstance(page, list):
        raise InvalidData("unexpected_answer")
    _, fields, columns, shift = series.value
    sieve = Sieve()
    rows: list[Row] = []
    for entry in page:
        try:
            open_time = parse_timestamp(entry["timestamp"]) - shift
            texts = [entry[field] for field in fields]
            named = entry.get("symbol", symbol)
        except (KeyError, TypeError, AttributeError, InvalidData):
            raise InvalidData("unexpected_answer") from None
        if named != symbol:
            raise InvalidData(_WRONG_SYMBOL)
        try:
            rows.append((_bar(open_time, bars), *map(_value, texts)))
        except InvalidData as invalid:
            sieve.leave_out(invalid.reason, min(max(open_time, bars.start), bars.stop - 1))
    sieve.refuse_any(_OUTSIDE)
    days = collapse(rows, sieve)
    values = {row[0]: dict(zip(columns, row[1:], strict=True)) for of_day in days.values() for row in of_day}
    return RestValues(values, sieve.left_out(len(page), at_least=1))


def _bar(open_time: int, bars: range) -> int:
    if open_time % _LENGTH:
        raise InvalidData("time_off_grid")
    if open_time not in bars:
        raise InvalidData(_OUTSIDE)
    return open_time


def _value(value: object) -> float | None:
    """One number, written as such or as text, or None for a blank."""
    if is_blank(value):
        return None
    number: float = parse_number(value)
    check_range([number])
    return number


def join_rest(parts: Iterable[RestValues], window: Window) -> RowsByDay:
    """Rows of the window made of the values of all endpoints; a value that its endpoint lacks is None."""
    merged: dict[int, list[Any]] = {}
    left_out: list[LeftOut] = []
    for part in parts:
        left_out.append(part.left_out)
        for open_time, values in part.values.items():
            if window.start_ms <= open_time < window.end_ms:
                row = merged.setdefault(open_time, [None] * VALUES)
                for column, value in values.items():
                    row[column] = value
    rows: list[Row] = [(open_time, *merged[open_time]) for open_time in sorted(merged)]
    return RowsByDay(split_days(rows), join_left_out(left_out))
