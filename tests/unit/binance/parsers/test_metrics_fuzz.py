"""Any metrics are sane or refused, and every row keeps its label."""

from __future__ import annotations

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
HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)
fuzzed = Fuzz()


label_texts = (
    st.integers(-3, 292).map(lambda bar: odd.metric_label(bar * 5))
    | st.integers(-3, 1500).map(lambda minute: odd.metric_label(minute))
    | odd.texts
)


@fuzzed(
    st.lists(st.integers(0, 288), unique=True, min_size=1, max_size=40),
    st.lists(st.integers(0, 288), max_size=5),
    st.sampled_from(["", '""', "1"]),
)
def test_every_row_keeps_its_label_and_none_is_invented(bars: list[int], doubled: list[int], other: str) -> None:
    lines = [f"{odd.metric_label(bar * 5)},X,{bar},{other},1,1,1,1" for bar in bars]
    lines += [lines[number % len(lines)] for number in doubled]
    table = metrics.parse_csv("\n".join(lines), "X", FEBRUARY)
    value = 1 if other == "1" else None
    assert table.days == {FEBRUARY: [(FEBRUARY_MS + bar * FIVE, bar, value, 1, 1, 1, 1) for bar in sorted(bars)]}
    assert not table.left_out


@fuzzed(
    st.dictionaries(st.integers(0, 99), st.tuples(st.integers(0, 7), st.one_of(odd.scalars.map(str), label_texts)), max_size=5)
)
def test_odd_text_in_a_row_never_changes_another(edits: dict[int, tuple[int, str]]) -> None:
    lines = [[odd.metric_label(bar * 5), "X", str(bar), *["1"] * 5] for bar in range(100)]
    for number, (column, junk) in edits.items():
        # A row of another symbol, or one that is two lines, is no matter of a row.
        lines[number][column] = "X" if column == 1 else junk.replace("\n", "")
    table = metrics.parse_csv("\n".join([HEADER, *map(",".join, lines)]), "X", FEBRUARY)
    found = {row[0]: row for row in table.days[FEBRUARY]}
    clashing = {junk for column, junk in edits.values() if column == 0}
    for bar in range(100):
        if bar not in edits and odd.metric_label(bar * 5) not in clashing:
            assert found[FEBRUARY_MS + bar * FIVE] == (FEBRUARY_MS + bar * FIVE, bar, 1, 1, 1, 1, 1)


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
