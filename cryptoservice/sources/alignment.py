"""Alignment of metrics: whether the labels of an archive file end or start their bars, decided by the file's content.

The archive has published files of both kinds under the same labels, and old days anew (docs/wire.md, metrics files). So each
file is compared with the symbol's own klines of the same hours, in two independent quantities: the taker ratio of a bar, and
the price that open interest value and open interest imply at the moment of the snapshot. Pure functions: no I/O.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptoservice.models import Freq, Row, Word
from cryptoservice.rows import ColumnRows

BAR_MS = Freq.m5.milliseconds
# Two rows must differ by this much (as a logarithm) before they can tell anything: by less, rounding could decide.
_LEAST_PRICE_STEP = 1e-4
_LEAST_TAKER_STEP = 0.02
# A vote counts only where one row fits twice as well as the other.
_CLEARLY_NEARER = 0.5
# So many votes, and so many to one: a file whose rows vote at random passes in one of five hundred cases.
_LEAST_VOTES = 10
_VOTES_TO_ONE = 12


class Reading(Word):
    """What the labels of one archive file mean. The value is the word of the ledger."""

    ENDS_BARS = "labels_end_bars"
    STARTS_BARS = "labels_start_bars"
    UNPROVEN = "labels_unproven"
    """Nothing tells. The label is then taken for the start of its bar, which can never look ahead."""

    @property
    def shift(self) -> int:
        """Milliseconds from the label back to the start of the bar."""
        return BAR_MS if self is Reading.ENDS_BARS else 0

    @classmethod
    def of_reason(cls, reason: str | None) -> Reading | None:
        """The reading that the reason of a ledger line names."""
        return next((reading for reading in cls if reason and reading.value in reason), None)


@dataclass
class Bars:
    """What klines say about 5-minute bars: prices at moments, and taker ratios of bars. Both by ms UTC."""

    prices: dict[int, float] = field(default_factory=dict)
    """The price at a moment: the close of the kline that ends there, else the open of the one that starts there."""
    taker_ratios: dict[int, float] = field(default_factory=dict)
    """Taker buy volume over taker sell volume of the bar that starts there; only bars with both."""

    def add(self, klines: Sequence[Row], freq: Freq) -> None:
        """Take in klines of one interval, in time order."""
        length = freq.milliseconds
        for row in klines:
            self.prices.setdefault(row[0], row[1])
        for row in klines:
            self.prices[row[0] + length] = row[4]
        if BAR_MS % length == 0:
            self._add_takers(klines, BAR_MS // length)

    def are_whole(self, day_start: int) -> bool:
        """Whether klines of five minutes or less have been taken in for the whole day, so that more of them say nothing new."""
        return all(day_start + number * BAR_MS in self.prices for number in range(Freq.m5.bars_per_day + 1))

    def _add_takers(self, klines: Iterable[Row], parts: int) -> None:
        volumes: dict[int, list[float]] = {}
        for row in klines:
            known = volumes.setdefault(row[0] - row[0] % BAR_MS, [0.0, 0.0, 0])
            known[0] += row[8]
            known[1] += row[5] - row[8]
            known[2] += 1
        for start, (buy, sell, count) in volumes.items():
            if count == parts and buy > 0 and sell > 0:
                self.taker_ratios[start] = buy / sell


@dataclass(frozen=True)
class Votes:
    """How many prices and taker ratios fit one reading of a file clearly better than the other."""

    ends: int = 0
    starts: int = 0

    @property
    def reading(self) -> Reading:
        """The reading that wins by a clear margin, else UNPROVEN."""
        for votes, others, reading in (
            (self.ends, self.starts, Reading.ENDS_BARS),
            (self.starts, self.ends, Reading.STARTS_BARS),
        ):
            if votes >= _LEAST_VOTES and votes >= _VOTES_TO_ONE * others:
                return reading
        return Reading.UNPROVEN


def count_votes(rows: Iterable[Row], bars: Bars) -> Votes:
    """The votes on metrics rows that are keyed by their label.

    Two rows compete for each price and for each taker ratio that the klines know: the one that has it when labels end their
    bars, and the one that has it when labels start them.
    """
    prices: dict[int, float] = {}
    ratios: dict[int, float] = {}
    for label, interest, value, *_, ratio in rows:
        if interest and value:
            prices[label] = value / interest
        if ratio:
            ratios[label] = ratio
    # A snapshot is taken when its bar ends: at the label, or one bar after it.
    of_prices = [
        _vote(price, prices.get(moment), prices.get(moment - BAR_MS), _LEAST_PRICE_STEP) for moment, price in bars.prices.items()
    ]
    of_takers = [
        _vote(ratio, ratios.get(start + BAR_MS), ratios.get(start), _LEAST_TAKER_STEP)
        for start, ratio in bars.taker_ratios.items()
    ]
    votes = of_prices + of_takers
    return Votes(votes.count(Reading.ENDS_BARS), votes.count(Reading.STARTS_BARS))


def _vote(known: float, if_ends: float | None, if_starts: float | None, least_step: float) -> Reading:
    """Which of two rows fits what the klines know; UNPROVEN when that does not tell."""
    if not known or not if_ends or not if_starts or abs(math.log(if_ends / if_starts)) < least_step:
        return Reading.UNPROVEN
    ends, starts = abs(math.log(if_ends / known)), abs(math.log(if_starts / known))
    if ends <= _CLEARLY_NEARER * starts:
        return Reading.ENDS_BARS
    return Reading.STARTS_BARS if starts <= _CLEARLY_NEARER * ends else Reading.UNPROVEN


def reading_by_labels(rows: Sequence[Row], day_end: int) -> Reading | None:
    """What the labels alone prove: those that reach 24:00 end their bars. None: the content must decide."""
    return Reading.ENDS_BARS if rows and rows[-1][0] == day_end else None


def under(reading: Reading, rows: Sequence[Row], bars: range) -> Sequence[Row]:
    """The rows of these bars (ms UTC), keyed by the start of the bar that they close; the rows of a file are in order of time."""
    shift = reading.shift
    first, last = (bisect_left(rows, bound + shift, key=_time) for bound in (bars.start, bars.stop))
    found = rows[first:last]
    if not shift:
        return found
    return found.moved(-shift) if isinstance(found, ColumnRows) else [(row[0] - shift, *row[1:]) for row in found]


def _time(row: Row) -> Any:
    return row[0]
