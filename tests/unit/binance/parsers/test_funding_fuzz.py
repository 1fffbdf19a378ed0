"""Any funding rates are sane or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from cryptoservice.binance.parsers import funding
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.days import Window
from tests.e2e import hostile_strategies as odd
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS
from tests.unit.fuzzing import Fuzz, Test

ONE_DAY = Window(FEBRUARY, FEBRUARY)
fuzzed = Fuzz()


FUNDING_ENTRY = {"symbol": "X", "fundingTime": FEBRUARY_MS, "fundingRate": "0.0001", "markPrice": "1", "rateType": "Regular"}


@fuzzed(
    st.one_of(
        st.tuples(st.sampled_from(sorted(FUNDING_ENTRY)), odd.scalars).map(lambda pair: [FUNDING_ENTRY | dict([pair])]),
        odd.anything,
    )
)
def test_any_funding_page_is_sane_or_refused(page: Any) -> None:
    try:
        odd.assert_funding(funding.parse_rest(page, "X", ONE_DAY))
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()


@fuzzed(
    st.one_of(
        st.lists(
            st.tuples(st.sampled_from(sorted(FUNDING_ENTRY)), odd.scalars).map(lambda pair: FUNDING_ENTRY | dict([pair])),
            max_size=5,
        ),
        odd.anything,
    )
)
def test_any_page_of_all_symbols_is_sane_or_refused(page: Any) -> None:
    rates = funding.MarketRates(["X"], ONE_DAY)
    try:
        rates.add(rates.parse(page, 5))
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()
    odd.assert_funding(rates.of("X"))


@fuzzed(
    st.lists(
        st.lists(st.one_of(st.just(str(FEBRUARY_MS)), st.just("8"), odd.scalars.map(str)), min_size=2, max_size=4), max_size=4
    )
)
def test_any_funding_file_is_sane_or_refused(lines: list[list[str]]) -> None:
    try:
        odd.assert_funding(funding.parse_csv("\n".join(map(",".join, lines)), ONE_DAY))
    except InvalidData as invalid:
        assert invalid.reason.isidentifier()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("test", fuzzed.deep)
def test_deeper(test: Test) -> None:
    test()
