"""The universe as a value: windows inside it, active days and missing symbol-days."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from cryptoservice.config import WindowBounds
from cryptoservice.days import Window
from cryptoservice.errors import UsageError
from tests.unit.universe.samples import EXAMPLE, NO_KLINE, UNLISTED

FIRST, SECOND, LAST = date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)


def test_a_missing_bound_is_that_of_the_universe() -> None:
    assert EXAMPLE.window == Window(FIRST, LAST)
    assert EXAMPLE.subwindow(None) == Window(FIRST, LAST)
    assert EXAMPLE.subwindow(WindowBounds()) == Window(FIRST, LAST)
    assert EXAMPLE.subwindow(WindowBounds("2024-02-29", None)) == Window(SECOND, LAST)
    assert EXAMPLE.subwindow(WindowBounds(None, "2024-02-29")) == Window(FIRST, SECOND)
    assert EXAMPLE.subwindow(WindowBounds("2024-02-29", "2024-02-29")) == Window(SECOND, SECOND)


@pytest.mark.parametrize(
    ("start", "end", "problem"),
    [
        ("2024-02-27", None, "the start date 2024-02-27 lies outside the universe"),
        ("2024-03-02", None, "the start date 2024-03-02 lies outside the universe"),
        (None, "2024-03-02", "the end date 2024-03-02 lies outside the universe"),
        (None, "2024-02-27", "the end date 2024-02-27 lies outside the universe"),
        ("2024-03-01", "2024-02-29", "the window ends 2024-02-29, before it starts 2024-03-01"),
    ],
)
def test_a_window_outside_the_universe_or_reversed_is_refused(start: str | None, end: str | None, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        EXAMPLE.subwindow(WindowBounds(start, end))
    assert caught.value.message == problem
    assert caught.value.hint == "the universe covers 2024-02-28 to 2024-03-01"


def test_a_bound_that_is_no_day_is_refused_with_its_place() -> None:
    with pytest.raises(UsageError, match=r"^start date: 2024-02-30 is not a day of the calendar"):
        EXAMPLE.subwindow(WindowBounds("2024-02-30", None))
    with pytest.raises(UsageError, match=r"^end date: 'tomorrow' is not a date"):
        EXAMPLE.subwindow(WindowBounds(None, "tomorrow"))


def test_active_days_of_a_window() -> None:
    assert EXAMPLE.active_symbol_days == 3
    assert list(EXAMPLE.active_days(EXAMPLE.window).items()) == [("BTCUSDT", [FIRST, SECOND]), ("币安人生USDT", [SECOND])]
    assert EXAMPLE.active_days(Window(FIRST, FIRST)) == {"BTCUSDT": [FIRST]}
    assert EXAMPLE.active_days(Window(LAST, LAST)) == {}


def test_snapshots_of_a_window_are_those_of_its_days() -> None:
    assert [snapshot.date for snapshot in EXAMPLE.snapshots(EXAMPLE.window)] == [FIRST, SECOND, LAST]
    assert list(EXAMPLE.snapshots(Window(SECOND, LAST))) == list(EXAMPLE.daily_snapshots[1:])
    assert list(EXAMPLE.snapshots(Window(FIRST, FIRST))) == list(EXAMPLE.daily_snapshots[:1])


def test_missing_symbol_days_are_counted_by_reason() -> None:
    assert EXAMPLE.missing_counts(EXAMPLE.window) == Counter({NO_KLINE: 2, UNLISTED: 1})
    assert EXAMPLE.missing_counts(Window(FIRST, SECOND)) == Counter({UNLISTED: 1})
    assert EXAMPLE.missing_counts(Window(SECOND, SECOND)) == Counter()


def test_a_universe_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        EXAMPLE.start_date = SECOND  # type: ignore[misc]
