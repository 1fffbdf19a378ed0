"""The parameters of a ranking: which day a choice is drawn on, and what is refused."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cryptoservice.errors import UsageError
from cryptoservice.universe.selection import Rebalance, Selection


@pytest.mark.parametrize(
    ("day", "week", "month"),
    [
        # `date -d 2026-02-01 +%u` is 7: a Sunday, so its week began on 26 January.
        ("2026-02-01", "2026-01-26", "2026-02-01"),
        ("2026-02-02", "2026-02-02", "2026-02-01"),
        ("2024-02-29", "2024-02-26", "2024-02-01"),
        ("2025-01-01", "2024-12-30", "2025-01-01"),
    ],
)
def test_the_rebalance_day_is_never_after_the_day(day: str, week: str, month: str) -> None:
    found = [rebalance.day_of(date.fromisoformat(day)).isoformat() for rebalance in Rebalance]
    assert found == [day, week, month]


def test_the_lookback_ends_before_the_rebalance_day() -> None:
    assert Selection(3, 30, Rebalance.MONTH).lookback_start(date(2026, 3, 17)) == date(2026, 1, 30)
    assert Selection(3, 1).lookback_start(date(2026, 3, 17)) == date(2026, 3, 16)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0,), "top is 0"), ((-1,), "top is -1"), ((True,), "top is True"), ((1.5,), "top is 1.5"), (("3",), "top is '3'"),
        ((None,), "top is None"), ((3, 0), "lookback days is 0"), ((3, 3651), "lookback days is 3651"),
        ((3, 30, "year"), "rebalance is 'year'"), ((3, 30, None), "rebalance is None"),
    ],
)  # fmt: skip
def test_what_is_no_ranking_is_refused(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Selection(*arguments)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_value_of_any_length_is_shown_in_short() -> None:
    for record in (
        {"top": 10**500},
        {"top": 1, "lookback_days": "x" * 5000},
        {"top": 1, "rebalance": ["y"] * 5000},
        {"by": "z" * 5000},
    ):
        with pytest.raises(UsageError) as caught:
            Selection.from_record({"top": 1, "by": "quote_volume", "lookback_days": 1, "rebalance": "day", **record})
        assert len(caught.value.message) < 200


def test_a_ranking_is_read_as_it_was_written() -> None:
    for selection in (Selection(1), Selection(50, 90, Rebalance.WEEK)):
        assert Selection.from_record(selection.to_dict()) == selection
    assert list(Selection(1).to_dict().items()) == [
        ("top", 1), ("by", "quote_volume"), ("lookback_days", 30), ("rebalance", "day"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="by is 'open_interest'"):
        Selection.from_record({**Selection(1).to_dict(), "by": "open_interest"})
