"""Market metrics: archive files and /futures/data pages to 5-minute rows, each under the start of the bar that it closes.

A row is the tuple (open_time, open_interest, open_interest_value, top_trader_account_ratio, top_trader_position_ratio,
global_account_ratio, taker_volume_ratio): open_time in ms UTC, open interest in the base asset, its value in the quote asset,
ratios as long over short or buy over sell. A value that the source leaves blank is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from enum import Enum
from typing import Any

from cryptoservice.binance.parsers.numbers import check_range, is_blank, parse_fields, parse_number, parse_timestamp
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay, collapse, drop_header
from cryptoservice.days import ONE_DAY, Window, day_start_ms
from cryptoservice.models import Freq, Row

PERIOD = Freq.m5
VALUES = 6
_LENGTH = PERIOD.milliseconds
_HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)
_COLUMNS = 8
# A file whose labels reach neither midnight, or both, does not show its convention. Until this day such labels are read as
# the end of their bars, from this day on as the start (docs/wire.md, metrics files).
SWITCH_DAY = date(2026, 6, 25)


class Labels(str, Enum):
    """What the labels of one archive file mean, and what that was concluded from."""

    BAR_END = "labels_at_bar_end"
    BAR_START = "labels_at_bar_start"
    BAR_END_BY_DATE = "labels_at_bar_end_by_date"
    BAR_START_BY_DATE = "labels_at_bar_start_by_date"

    def __str__(self) -> str:
        return self.value

    @property
    def shift(self) -> int:
        """Milliseconds from the label back to the start of the bar."""
        return _LENGTH if self in (Labels.BAR_END, Labels.BAR_END_BY_DATE) else 0


def parse_csv(text: str, symbol: str, day: date) -> RowsByDay:
    """Checked rows of one day's archive file. Raises InvalidData when anything in it cannot be trusted.

    The note of the result says which label convention was applied.
    """
    lines = text.removeprefix("\ufeff").replace("\r", "").strip("\n").split("\n")
    drop_header(lines, _HEADER)
    lines = [line for line in lines if line]
    if not lines:
        return RowsByDay({})
    if any(line.count(",") != _COLUMNS - 1 for line in lines):
        raise InvalidData("wrong_column_count")
    labels, names, rests = zip(*(line.split(",", 2) for line in lines), strict=True)
    if set(names) != {symbol}:
        raise InvalidData("wrong_symbol")
    moments = _moments(labels, day)
    values = _values(rests)
    convention = detect_labels(moments, day)
    start, end = day_start_ms(day), day_start_ms(day + ONE_DAY)
    rows: list[Row] = []
    for index, moment in enumerate(moments):
        open_time = moment - convention.shift
        # A label at the edge of the file can belong to a bar of the neighbouring day, which is not wanted here.
        if start <= open_time < end:
            rows.append((open_time, *values[index * VALUES : (index + 1) * VALUES]))
    return collapse(rows, note=convention.value)


def detect_labels(moments: Iterable[int], day: date) -> Labels:
    """The convention of a file by its labels (ms UTC): labels of bar starts reach 00:00, labels of bar ends reach 24:00."""
    seen = set(moments)
    first, last = day_start_ms(day) in seen, day_start_ms(day + ONE_DAY) in seen
    if last and not first:
        return Labels.BAR_END
    if first and not last:
        return Labels.BAR_START
    return Labels.BAR_END_BY_DATE if day < SWITCH_DAY else Labels.BAR_START_BY_DATE


def _moments(labels: Iterable[str], day: date) -> list[int]:
    """Labels as ms UTC. Each must stand on the 5-minute grid of the day, whose two midnights are included."""
    start = day_start_ms(day)
    minutes = PERIOD.milliseconds // 60_000
    grid = {f"{day} {at // 60:02}:{at % 60:02}:00": start + at * 60_000 for at in range(0, 24 * 60, minutes)}
    grid[f"{day + ONE_DAY} 00:00:00"] = day_start_ms(day + ONE_DAY)
    try:
        return [grid[label] for label in labels]
    except KeyError:
        raise InvalidData("time_off_grid") from None


def _values(rests: Iterable[str]) -> list[Any]:
    values = parse_fields(",".join(rests), blanks=True)
    check_range(values)
    return values


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


def parse_rest(series: RestSeries, page: object, symbol: str, bars: range) -> dict[int, dict[int, Any]]:
    """Values of one page by bar start (ms UTC, within `bars`) and column. Raises InvalidData when it cannot be trusted."""
    if not isinstance(page, list):
        raise InvalidData("unexpected_answer")
    _, fields, columns, shift = series.value
    found: dict[int, dict[int, Any]] = {}
    for entry in page:
        try:
            open_time = parse_timestamp(entry["timestamp"]) - shift
            texts = [entry[field] for field in fields]
            named = entry.get("symbol", symbol)
        except (KeyError, TypeError, AttributeError, InvalidData):
            raise InvalidData("unexpected_answer") from None
        if named != symbol:
            raise InvalidData("wrong_symbol")
        if open_time % _LENGTH:
            raise InvalidData("time_off_grid")
        if open_time not in bars:
            raise InvalidData("row_outside_range")
        values = dict(zip(columns, map(_value, texts), strict=True))
        if found.setdefault(open_time, values) != values:
            raise InvalidData("conflicting_rows")
    return found


def _value(value: object) -> float | None:
    """One number, written as such or as text, or None for a blank."""
    if is_blank(value):
        return None
    number: float = parse_number(value)
    check_range([number])
    return number


def join_rest(parts: Iterable[Mapping[int, Mapping[int, Any]]], window: Window) -> RowsByDay:
    """Rows of the window made of the values of all endpoints; a value that its endpoint lacks is None."""
    merged: dict[int, list[Any]] = {}
    for part in parts:
        for open_time, values in part.items():
            if window.start_ms <= open_time < window.end_ms:
                row = merged.setdefault(open_time, [None] * VALUES)
                for column, value in values.items():
                    row[column] = value
    return collapse([(open_time, *merged[open_time]) for open_time in merged])
