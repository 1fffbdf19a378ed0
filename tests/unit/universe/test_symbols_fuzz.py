"""Any names are safe symbols or refused."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from cryptoservice.errors import UsageError
from cryptoservice.universe.symbols import fault_of, normalise
from tests.e2e import hostile_strategies as odd
from tests.unit.fuzzing import Fuzz, Test

fuzzed = Fuzz()


@fuzzed(st.lists(st.one_of(odd.texts, odd.odd_texts, odd.safe_symbols), max_size=6))
def test_symbols_are_safe_or_refused(names: list[str]) -> None:
    try:
        made = normalise(names)
    except UsageError as error:
        assert error.exit_code == 2
        return
    assert normalise(made) == made
    for symbol in made:
        assert fault_of(symbol) is None
        assert not set(symbol) & set("/\\,;'\"\n\r\t \x00%?#&=+@<>|:*$`")
        assert ".." not in symbol
        assert symbol.encode()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("test", fuzzed.deep)
def test_deeper(test: Test) -> None:
    test()
