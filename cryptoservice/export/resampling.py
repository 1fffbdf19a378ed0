"""Resampling of one symbol-day: bars become coarser bars, metrics keep the last known value. No row is ever invented."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from cryptoservice.errors import UsageError
from cryptoservice.models import Freq, Row
from cryptoservice.rows import columns_of

# The exchange writes amounts with at most eight decimals. In a sum of floats, further digits are only rounding noise.
_DECIMALS = 8
# Below this total, the rounding errors of all floats together stay under half a unit of the eighth decimal.
_FLOATS_ARE_EXACT_BELOW = 2e7
# A decimal number of up to 15 digits survives the way to a float and back.
_DIGITS_OF_A_FLOAT = 15


class Resampled(NamedTuple):
    """Rows of the coarser frequency."""

    rows: Sequence[Row]
    partial: int
    """How many of them were made from fewer source rows than a whole one."""


def check_frequencies(source: Freq, target: Freq) -> None:
    """UsageError unless `target` is a whole multiple of `source`."""
    if target.milliseconds % source.milliseconds:
        valid = " ".join(freq.value for freq in Freq if freq.milliseconds % source.milliseconds == 0)
        raise UsageError(f"{target} is not a whole multiple of {source}", hint=f"from {source} these can be made: {valid}")


def resample_klines(rows: Sequence[Row], source: Freq, target: Freq) -> Resampled:
    """Open first, high max, low min, close last; volumes and trades are summed exactly, then rounded to 8 decimals.

    `rows` are the klines of one day in time order. A bucket without source bars is absent.
    """
    if source is target:
        return Resampled(rows, 0)
    columns = tuple(columns_of(rows))
    width = target.milliseconds // source.milliseconds
    bars: list[Row] = []
    partial = 0
    for bucket in _buckets(columns, target.milliseconds):
        times, opened, high, low, close, volume, quote, trades, taker, taker_quote = (column[bucket] for column in columns)
        partial += len(times) < width
        bars.append(
            (
                times[0] - times[0] % target.milliseconds,
                opened[0],
                max(high),
                min(low),
                close[-1],
                _exact_sum(volume),
                _exact_sum(quote),
                sum(trades),
                _exact_sum(taker),
                _exact_sum(taker_quote),
            )
        )
    return Resampled(bars, partial)


def resample_metrics(rows: Sequence[Row], target: Freq) -> Resampled:
    """The last known value of each column in the bucket. A bucket without source rows is absent.

    `rows` are the 5-minute metrics of one day in time order. The time of a row, also of the result, is the start of the bar
    that it closes (ms UTC).
    """
    source = Freq.m5
    if target.milliseconds <= source.milliseconds:
        return Resampled(rows, 0)
    columns = tuple(columns_of(rows))
    width = target.milliseconds // source.milliseconds
    bars: list[Row] = []
    partial = 0
    for bucket in _buckets(columns, target.milliseconds):
        times, *values_by_column = (column[bucket] for column in columns)
        partial += len(times) < width
        bars.append((times[0] - times[0] % target.milliseconds, *map(_last_known, values_by_column)))
    return Resampled(bars, partial)


def _last_known(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _buckets(columns: Sequence[Sequence[Any]], width: int) -> Iterator[slice]:
    """The rows of each bucket as a slice; `width` in milliseconds, the first column is the time."""
    times = columns[0] if columns else ()
    start = 0
    while start < len(times):
        end = bisect_left(times, times[start] - times[start] % width + width, lo=start)
        yield slice(start, end)
        start = end


def _exact_sum(values: Sequence[float]) -> float:
    """The sum of the decimal numbers that the exchange wrote, rounded to 8 decimals.

    There are three ways, the quickest first; all give the float that is nearest to the exact sum.
    """
    most = max(values)
    if len(values) * most < _FLOATS_ARE_EXACT_BELOW:
        return round(math.fsum(values), _DECIMALS)
    # Larger floats still stand for decimals of at most 15 digits: count these in whole units, which add up exactly.
    decimals = min(_DECIMALS, _DIGITS_OF_A_FLOAT - len(str(int(most))))
    if decimals >= 0:
        unit: int = 10**decimals
        numbers = [round(value * unit) for value in values]
        if [number / unit for number in numbers] == list(values):
            return sum(numbers) / unit
    # A number with more digits than that: its repr is the shortest decimal that it can stand for.
    return float(round(sum(map(Decimal, map(repr, values)), Decimal(0)), _DECIMALS))
