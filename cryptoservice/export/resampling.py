"""Resampling of one symbol-day: bars to coarser bars, metrics to the last known value. Nothing is ever invented."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from cryptoservice.errors import UsageError
from cryptoservice.models import Freq, Row
from cryptoservice.rows import columns_of

# The wire writes amounts with at most eight decimals; binary sums end in noise beyond that.
_DECIMALS = 8
# Below this total all roundings of the binary addends together stay under half a unit of the eighth decimal.
_BINARY_IS_EXACT = 2e7
# A number of so many decimal digits and its float name each other.
_WHOLE_DIGITS = 15


class Resampled(NamedTuple):
    """Rows of the coarser frequency, and how many of them lack source rows."""

    rows: Sequence[Row]
    partial: int


def check_frequencies(source: Freq, target: Freq) -> None:
    """UsageError unless `target` is a whole multiple of `source`."""
    if target.milliseconds % source.milliseconds:
        valid = " ".join(freq.value for freq in Freq if freq.milliseconds % source.milliseconds == 0)
        raise UsageError(f"{target} is not a whole multiple of {source}", hint=f"from {source} these can be made: {valid}")


def resample_klines(rows: Sequence[Row], source: Freq, target: Freq) -> Resampled:
    """Open first, high max, low min, close last; volumes and trades summed exactly, then rounded to 8 decimals.

    `rows` are those of one day in time order. A bucket without source bars is absent.
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
    """The last known value of each column in the bucket; a bucket without source rows is absent.

    `rows` are the 5-minute rows of one day in time order, keyed by the start of the bar they close; so is the result.
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
    """Where the rows of each bucket of so many milliseconds stand; the first column is the time."""
    times = columns[0] if columns else ()
    start = 0
    while start < len(times):
        end = bisect_left(times, times[start] - times[start] % width + width, lo=start)
        yield slice(start, end)
        start = end


def _exact_sum(values: Sequence[float]) -> float:
    """The sum of the decimal numbers that the exchange wrote, rounded to 8 decimals: as exact as the answer can be stored."""
    most = max(values)
    if len(values) * most < _BINARY_IS_EXACT:
        return round(math.fsum(values), _DECIMALS)
    # Each float stands for the decimal that it was parsed from: a whole number of units small enough to tell floats apart.
    decimals = min(_DECIMALS, _WHOLE_DIGITS - len(str(int(most))))
    if decimals >= 0:
        unit: int = 10**decimals
        numbers = [round(value * unit) for value in values]
        if [number / unit for number in numbers] == list(values):
            return sum(numbers) / unit
    # Not so in every case: then the decimal that repr gives back is it.
    return float(round(sum(map(Decimal, map(repr, values)), Decimal(0)), _DECIMALS))
