"""Resampling of one symbol-day: bars to coarser bars, metrics to the last known value. Nothing is ever invented."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from cryptoservice.errors import UsageError
from cryptoservice.models import Freq, Row

# The wire writes amounts with at most eight decimals; binary sums end in noise beyond that.
_DECIMALS = 8
# Below this total all roundings of the binary addends together stay under half a unit of the eighth decimal.
_BINARY_IS_EXACT = 2e7


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
    width = target.milliseconds // source.milliseconds
    bars: list[Row] = []
    partial = 0
    for start, bucket in _buckets(rows, target.milliseconds):
        _, opened, high, low, close, volume, quote, trades, taker, taker_quote = zip(*bucket, strict=True)
        partial += len(bucket) < width
        bars.append(
            (
                start,
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
    width = target.milliseconds // source.milliseconds
    buckets: list[Row] = []
    partial = 0
    for start, bucket in _buckets(rows, target.milliseconds):
        partial += len(bucket) < width
        _, *values_by_column = zip(*bucket, strict=True)
        buckets.append((start, *map(_last_known, values_by_column)))
    return Resampled(buckets, partial)


def _last_known(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _exact_sum(values: Sequence[float]) -> float:
    """The sum of the decimal numbers that the exchange wrote, rounded to 8 decimals: as exact as the answer can be stored."""
    if len(values) * max(values) < _BINARY_IS_EXACT:
        return round(math.fsum(values), _DECIMALS)
    # Each float stands for the decimal that it was parsed from, and repr gives that back.
    return float(round(sum(map(Decimal, map(repr, values)), Decimal(0)), _DECIMALS))


def _buckets(rows: Sequence[Row], width: int) -> Iterator[tuple[int, list[Row]]]:
    for start, bucket in groupby(rows, key=lambda row: row[0] - row[0] % width):
        yield start, list(bucket)
