"""Resampling keeps every sum, the last known value of every metric, and invents nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import strategies as st

from cryptoservice.export.resampling import resample_klines, resample_metrics
from cryptoservice.models import Freq
from tests.e2e import hostile_strategies as odd
from tests.unit.fakes import FEBRUARY_MS, MINUTE
from tests.unit.fuzzing import Fuzz, Test

FIVE = 5 * MINUTE
fuzzed = Fuzz()


targets = {source: [freq for freq in Freq if freq.milliseconds % source.milliseconds == 0] for source in Freq}


@fuzzed(st.data(), st.sampled_from([Freq.m1, Freq.m5, Freq.m15, Freq.h1]))
def test_resampling_keeps_every_sum_and_invents_nothing(data: st.DataObject, source: Freq) -> None:
    target = data.draw(st.sampled_from(targets[source]))
    known = sorted(data.draw(st.sets(st.integers(0, source.bars_per_day - 1), max_size=40)))
    rows = []
    for bar in known:
        low, opened, close, high = data.draw(odd.prices)
        volume, quote, taker, taker_quote = (data.draw(odd.amounts) for _ in range(4))
        moment = FEBRUARY_MS + bar * source.milliseconds
        rows.append((moment, opened, high, low, close, volume, quote, data.draw(st.integers(0, 10**9)), taker, taker_quote))
    made = resample_klines(rows, source, target)
    starts = sorted({row[0] - row[0] % target.milliseconds for row in rows})
    assert [bar[0] for bar in made.rows] == starts
    parts = [[row for row in rows if start <= row[0] < start + target.milliseconds] for start in starts]
    width = target.milliseconds // source.milliseconds
    assert made.partial == sum(len(part) < width for part in parts)
    for bar, part in zip(made.rows, parts, strict=True):
        assert bar[1:5] == (part[0][1], max(row[2] for row in part), min(row[3] for row in part), part[-1][4])
        assert bar[7] == sum(row[7] for row in part)
        for column in (5, 6, 8, 9):
            exact = sum((Decimal(repr(row[column])) for row in part), Decimal(0))
            assert bar[column] == float(round(exact, 8))


@fuzzed(st.data())
def test_metrics_keep_the_last_known_value(data: st.DataObject) -> None:
    target = data.draw(st.sampled_from([freq for freq in Freq if freq.milliseconds > FIVE]))
    bars = sorted(data.draw(st.sets(st.integers(0, 287), max_size=40)))
    values = st.lists(st.none() | odd.amounts, min_size=6, max_size=6)
    rows = [(FEBRUARY_MS + bar * FIVE, *data.draw(values)) for bar in bars]
    made = resample_metrics(rows, target)
    assert [row[0] for row in made.rows] == sorted({row[0] - row[0] % target.milliseconds for row in rows})
    for bucket in made.rows:
        part = [row for row in rows if bucket[0] <= row[0] < bucket[0] + target.milliseconds]
        for column in range(1, 7):
            known_values = [row[column] for row in part if row[column] is not None]
            assert bucket[column] == (known_values[-1] if known_values else None)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("test", fuzzed.deep)
def test_deeper(test: Test) -> None:
    test()
