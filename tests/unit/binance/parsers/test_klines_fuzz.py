"""Any klines are sane or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from cryptoservice.binance.parsers import klines
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import Window
from cryptoservice.models import Freq
from tests.e2e import hostile_strategies as odd
from tests.unit.fakes import FEBRUARY, recorded_csv
from tests.unit.fuzzing import Fuzz, Test

ONE_DAY = Window(FEBRUARY, FEBRUARY)
fuzzed = Fuzz()


KLINE_LINES = tuple(recorded_csv("LINKUSDT").split("\n")[:41])
KLINE_ROWS = [[*map(json.loads, line.split(","))] for line in KLINE_LINES[1:]]


def kline_table(read: Callable[[], RowsByDay]) -> None:
    """Sane rows or InvalidData."""
    try:
        table = read()
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()
        return
    assert set(table.days) <= {FEBRUARY}
    odd.assert_sane(table)


edits = st.lists(
    st.tuples(st.integers(0, 39), st.integers(0, 11), st.one_of(odd.scalars.map(str), st.just("1769904000"))),
    min_size=1,
    max_size=3,
)


@fuzzed(edits, st.booleans())
def test_changed_kline_files_are_sane_or_refused(edits: list[tuple[int, int, str]], header: bool) -> None:
    lines = [line.split(",") for line in KLINE_LINES[1:]]
    for row, column, text in edits:
        lines[row][column] = text
    text = "\n".join([*(KLINE_LINES[:1] if header else ()), *map(",".join, lines)])
    kline_table(lambda: klines.parse_csv([text], Freq.m1, ONE_DAY))


@fuzzed(st.one_of(st.text(max_size=60), st.text('0123456789,.\n\r-e[]"{}:naN', max_size=80)))
def test_any_text_is_refused_as_klines_or_empty(text: str) -> None:
    kline_table(lambda: klines.parse_csv([text], Freq.m1, ONE_DAY))


@fuzzed(st.permutations(range(40)), st.lists(st.integers(0, 39), max_size=10))
def test_order_and_identical_doubles_change_nothing(order: list[int], doubled: list[int]) -> None:
    plain = klines.parse_csv(["\n".join(KLINE_LINES)], Freq.m1, ONE_DAY)
    shuffled = [KLINE_LINES[1 + number] for number in [*order, *doubled]]
    table = klines.parse_csv(["\n".join(shuffled)], Freq.m1, ONE_DAY)
    assert list(table.days[FEBRUARY]) == list(plain.days[FEBRUARY])
    assert not table.left_out


@fuzzed(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 11), odd.anything), max_size=3), odd.anything, st.integers(0, 40))
def test_changed_kline_pages_are_sane_or_refused(edits: list[tuple[int, int, Any]], extra: Any, at: int) -> None:
    rows: list[Any] = [[value if column in (0, 6, 8) else str(value) for column, value in enumerate(row)] for row in KLINE_ROWS]
    for row, column, value in edits:
        rows[row][column] = value
    kline_table(lambda: klines.parse_rest(rows, Freq.m1, ONE_DAY))
    kline_table(lambda: klines.parse_rest([*rows[:at], extra, *rows[at:]], Freq.m1, ONE_DAY))
    kline_table(lambda: klines.parse_rest(extra, Freq.m1, ONE_DAY))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("test", fuzzed.deep)
def test_deeper(test: Test) -> None:
    test()
