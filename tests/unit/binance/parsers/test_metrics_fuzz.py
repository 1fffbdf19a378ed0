"""Any metrics are sane or refused, and labels become bars of their day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st

from cryptoservice.binance.parsers import metrics
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.days import Window
from tests.e2e import hostile_strategies as odd
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, MINUTE
from tests.unit.fuzzing import Fuzz, Test

ONE_DAY = Window(FEBRUARY, FEBRUARY)
FIVE = 5 * MINUTE
fuzzed = Fuzz()


label_texts = (
    st.integers(-3, 292).map(lambda bar: odd.metric_label(bar * 5))
    | st.integers(-3, 1500).map(lambda minute: odd.metric_label(minute))
    | odd.texts
)


@fuzzed(
    st.lists(st.integers(0, 288), unique=True, min_size=1, max_size=40),
    st.lists(st.integers(0, 288), max_size=5),
    st.sampled_from([FEBRUARY, metrics.SWITCH_DAY]),
)
def test_labels_become_bars_of_their_day_whatever_the_convention(bars: list[int], doubled: list[int], day: date) -> None:
    labels = [odd.metric_label(bar * 5).replace(str(FEBRUARY + timedelta(days=1)), str(day + timedelta(days=1))) for bar in bars]
    labels = [label.replace(str(FEBRUARY), str(day)) for label in labels]
    lines = [f"{label},X,{bar},1,1,1,1,1" for label, bar in zip(labels, bars, strict=True)]
    lines += [lines[number % len(lines)] for number in doubled]
    table = metrics.parse_csv("\n".join(lines), "X", day)
    rows = list(table.days.get(day, ()))
    assert set(table.days) <= {day}
    assert not table.conflicting
    shift = {5 * MINUTE} if 288 in bars and 0 not in bars else {0} if 0 in bars and 288 not in bars else {0, FIVE}
    start = FEBRUARY_MS + (day - FEBRUARY).days * DAY
    # The value of each row is the number of its label: every row stands where its own label says, and none is invented.
    assert {start + row[1] * FIVE - row[0] for row in rows} <= shift
    assert len({start + row[1] * FIVE - row[0] for row in rows}) <= 1
    assert len(rows) >= len(bars) - 1


@fuzzed(st.lists(st.lists(st.one_of(label_texts, st.just("X"), odd.scalars.map(str)), min_size=8, max_size=8), max_size=4))
def test_any_metrics_file_is_sane_or_refused(lines: list[list[str]]) -> None:
    try:
        table = metrics.parse_csv("\n".join(map(",".join, lines)), "X", FEBRUARY)
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()
        return
    for row in table.days.get(FEBRUARY, ()):
        assert all(value is None or 0 <= value <= 1e18 for value in row[1:])


METRICS_ENTRY = {
    "symbol": "X", "timestamp": FEBRUARY_MS + FIVE, "sumOpenInterest": "1", "sumOpenInterestValue": "2", "longShortRatio": "3",
    "buySellRatio": "4",
}  # fmt: skip


@fuzzed(
    st.sampled_from(list(metrics.RestSeries)),
    st.one_of(
        st.tuples(st.sampled_from(sorted(METRICS_ENTRY)), odd.scalars).map(lambda pair: [METRICS_ENTRY | dict([pair])]),
        odd.anything,
    ),
)
def test_any_metrics_page_is_sane_or_refused(series: metrics.RestSeries, page: Any) -> None:
    try:
        found = metrics.parse_rest(series, page, "X", range(FEBRUARY_MS, FEBRUARY_MS + DAY, FIVE))
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()
        return
    table = metrics.join_rest([found], ONE_DAY)
    for row in table.days.get(FEBRUARY, ()):
        assert all(value is None or (isinstance(value, (int, float)) and 0 <= value <= 1e18) for value in row[1:])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("test", fuzzed.deep)
def test_deeper(test: Test) -> None:
    test()
