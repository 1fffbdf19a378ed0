"""Coarser bars against Decimal arithmetic on the recordings."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.errors import UsageError
from cryptoservice.export.resampling import check_frequencies, resample_klines, resample_metrics
from cryptoservice.models import Freq, Row
from tests.unit.fakes import DAY, FEBRUARY_MS, MINUTE, RECORDED_SYMBOLS, kline, recorded_fields, recorded_rows

MINUTES = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720, "1d": 1440,
}  # fmt: skip


def decimal_bars(fields: list[tuple[str, ...]], minutes: int) -> list[tuple[Any, ...]]:
    """Bars of so many minutes, each amount a Decimal of the text on the wire."""
    buckets: dict[int, list[tuple[str, ...]]] = defaultdict(list)
    for line in fields:
        buckets[int(line[0]) // (minutes * MINUTE)].append(line)
    bars = []
    for number, lines in sorted(buckets.items()):
        high = max(Decimal(line[2]) for line in lines)
        low = min(Decimal(line[3]) for line in lines)
        sums = [sum((Decimal(line[column]) for line in lines), Decimal(0)) for column in (5, 7, 9, 10)]
        trades = sum(int(line[8]) for line in lines)
        start = number * minutes * MINUTE
        bars.append((start, Decimal(lines[0][1]), high, low, Decimal(lines[-1][4]), sums[0], sums[1], trades, sums[2], sums[3]))
    return bars


def of_day(symbol: str, day: int) -> slice:
    assert len(recorded_fields(symbol)) == 28 * 1440
    return slice(day * 1440, (day + 1) * 1440)


@pytest.mark.parametrize("symbol", RECORDED_SYMBOLS)
def test_recorded_minutes_make_the_bars_that_decimals_make(symbol: str) -> None:
    for day in (0, 9, 27):
        part = of_day(symbol, day)
        for name, minutes in MINUTES.items():
            expected = decimal_bars(list(recorded_fields(symbol)[part]), minutes)
            made, partial = resample_klines(recorded_rows(symbol)[part], Freq.m1, Freq(name))
            assert partial == 0
            assert len(made) == 1440 // minutes == len(expected)
            assert [tuple(map(float, row)) for row in made] == [tuple(map(float, row)) for row in expected], (day, name)


@pytest.mark.parametrize("source", [Freq.m3, Freq.m5, Freq.m15, Freq.h1, Freq.h4])
def test_bars_of_bars_are_the_bars_of_minutes(source: Freq) -> None:
    fields = list(recorded_fields("LINKUSDT")[of_day("LINKUSDT", 3)])
    coarse = [tuple(map(float, row)) for row in decimal_bars(fields, MINUTES[source.value])]
    rows = [(int(row[0]), *row[1:7], int(row[7]), *row[8:]) for row in coarse]
    for target in (Freq.h12, Freq.d1):
        expected = [tuple(map(float, row)) for row in decimal_bars(fields, MINUTES[target.value])]
        assert [tuple(map(float, row)) for row in resample_klines(rows, source, target).rows] == expected


def test_the_same_frequency_changes_nothing() -> None:
    rows = [kline(FEBRUARY_MS + 7 * MINUTE, volume=0.1 + 0.2)]
    assert resample_klines(rows, Freq.m1, Freq.m1) == (rows, 0)


def test_a_bucket_without_source_bars_is_absent_and_one_with_some_is_partial() -> None:
    # 00:00-00:04 whole, 00:05-00:09 two bars, 00:10-00:14 none, 00:15-00:19 its last bar alone.
    minutes = [0, 1, 2, 3, 4, 6, 8, 19]
    rows = [kline(FEBRUARY_MS + minute * MINUTE, price=1.0 + minute) for minute in minutes]
    made, partial = resample_klines(rows, Freq.m1, Freq.m5)
    assert partial == 2
    assert made == [
        (FEBRUARY_MS, 1.0, 5.0, 1.0, 5.0, 10.0, 30.0, 15, 5.0, 15.0),
        (FEBRUARY_MS + 5 * MINUTE, 7.0, 9.0, 7.0, 9.0, 4.0, 32.0, 6, 2.0, 16.0),
        (FEBRUARY_MS + 15 * MINUTE, 20.0, 20.0, 20.0, 20.0, 2.0, 40.0, 3, 1.0, 20.0),
    ]


def test_no_rows_make_no_bars() -> None:
    assert resample_klines([], Freq.m1, Freq.d1) == ([], 0)


def test_sums_are_exact_and_rounded_to_eight_decimals() -> None:
    rows = [kline(FEBRUARY_MS + minute * MINUTE, volume=0.1) for minute in range(10)]
    assert sum([0.1] * 10) != 1.0
    made = resample_klines(rows, Freq.m1, Freq.m15).rows
    assert made[0][5] == 1.0
    assert isinstance(made[0][7], int)
    rows = [
        kline(FEBRUARY_MS, volume=1e-8),
        kline(FEBRUARY_MS + MINUTE, volume=1e9),
        kline(FEBRUARY_MS + 2 * MINUTE, volume=1e-8),
    ]
    assert resample_klines(rows, Freq.m1, Freq.m3).rows[0][5] == float(Decimal("1000000000.00000002"))


@pytest.mark.parametrize(
    "amounts",
    [
        # Below 2e7, where a sum of floats is exact to the eighth decimal.
        ["9999999.99999999", "0.00000001", "1999.12345678"],
        # Above it, in units of the smallest decimal that fifteen digits allow.
        ["19999999.9999999", "0.0000001", "20000000.1234567"], ["123456789.123456", "987654321.654321"],
        # A number of sixteen or seventeen digits, beside which no such unit fits.
        ["123456789.12345678", "0.00000001"], ["90071992547409.93", "0.01", "0.01"],
        # Beyond fifteen digits before the point.
        ["1234567890123456", "1234567890123457"], ["0", "0"],
    ],
    ids=lambda amounts: amounts[0],
)  # fmt: skip
def test_sums_of_any_size_are_those_of_decimals(amounts: list[str]) -> None:
    rows = [kline(FEBRUARY_MS + minute * MINUTE, volume=float(amount)) for minute, amount in enumerate(amounts)]
    due = sum((Decimal(repr(float(amount))) for amount in amounts), Decimal(0))
    assert resample_klines(rows, Freq.m1, Freq.m3).rows[0][5] == float(round(due, 8))


def test_metrics_keep_the_last_known_value_of_each_column() -> None:
    five = 5 * MINUTE
    rows = [
        (FEBRUARY_MS, 1.0, 10.0, None, 0.1, None, 7.0),
        (FEBRUARY_MS + five, 2.0, None, None, 0.2, 5.0, None),
        (FEBRUARY_MS + 2 * five, None, None, None, 0.3, None, None),
        # Nothing from 00:15 to 00:29.
        (FEBRUARY_MS + 8 * five, 4.0, 40.0, 1.5, None, 6.0, 0.0),
    ]
    assert resample_metrics(rows, Freq.m15) == (
        [
            (FEBRUARY_MS, 2.0, 10.0, None, 0.3, 5.0, 7.0),
            (FEBRUARY_MS + 30 * MINUTE, 4.0, 40.0, 1.5, None, 6.0, 0.0),
        ],
        1,
    )
    assert resample_metrics(rows, Freq.d1) == ([(FEBRUARY_MS, 4.0, 40.0, 1.5, 0.3, 6.0, 0.0)], 1)
    for same in (Freq.m1, Freq.m3, Freq.m5):
        assert resample_metrics(rows, same) == (rows, 0)
    assert resample_metrics([], Freq.h1) == ([], 0)


# Amounts as the wire writes them: at most eight decimals.
AMOUNTS = st.decimals(0, 10_000, places=8)
LINES = st.dictionaries(st.integers(0, 1439), st.tuples(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, st.integers(0, 10_000)), max_size=60)


@settings(deadline=None)
@given(LINES, st.sampled_from([freq for freq in Freq if freq is not Freq.m1]))
def test_volumes_and_trades_are_conserved_and_nothing_is_invented(lines: dict[int, Any], target: Freq) -> None:
    rows: list[Row] = [
        (FEBRUARY_MS + minute * MINUTE, 1.0, 1.0, 1.0, 1.0, float(v), float(q), count, float(tv), float(tq))
        for minute, (v, q, tv, tq, count) in sorted(lines.items())
    ]
    made, partial = resample_klines(rows, Freq.m1, target)
    width = MINUTES[target.value]
    held = defaultdict(int)
    for minute in lines:
        held[minute // width] += 1
    assert [row[0] for row in made] == [FEBRUARY_MS + number * width * MINUTE for number in sorted(held)]
    assert partial == sum(count < width for count in held.values())
    assert sum(row[7] for row in made) == sum(line[4] for line in lines.values())
    for column, field in ((5, 0), (6, 1), (8, 2), (9, 3)):
        # Every bar holds at most 15 significant digits here, so its repr is the exact decimal.
        total = sum((Decimal(repr(row[column])) for row in made), Decimal(0))
        assert total == sum((line[field] for line in lines.values()), Decimal(0))


@settings(deadline=None)
@given(st.lists(st.integers(0, 1439), unique=True, max_size=40).map(sorted), st.sampled_from(list(Freq)))
def test_every_bar_stays_inside_its_day_and_its_prices_inside_the_sources(minutes: list[int], target: Freq) -> None:
    rows = [kline(FEBRUARY_MS + minute * MINUTE, price=100.0 + (minute * 7919) % 83) for minute in minutes]
    made = resample_klines(rows, Freq.m1, target).rows
    starts = [row[0] for row in made]
    assert starts == sorted(set(starts))
    assert all(FEBRUARY_MS <= start < FEBRUARY_MS + DAY for start in starts)
    for row in made:
        inside = [source for source in rows if row[0] <= source[0] < row[0] + target.milliseconds]
        prices = [source[1] for source in inside]
        assert row[1:5] == (prices[0], max(prices), min(prices), prices[-1])


def test_only_whole_multiples_can_be_made() -> None:
    for source, minutes in MINUTES.items():
        for target, width in MINUTES.items():
            if width % minutes == 0:
                check_frequencies(Freq(source), Freq(target))
            else:
                with pytest.raises(UsageError, match=f"{target} is not a whole multiple of {source}"):
                    check_frequencies(Freq(source), Freq(target))


def test_the_hint_lists_what_can_be_made() -> None:
    with pytest.raises(UsageError) as caught:
        check_frequencies(Freq.h4, Freq.h6)
    assert caught.value.hint == "from 4h these can be made: 4h 8h 12h 1d"
