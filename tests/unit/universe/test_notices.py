"""The sentence for a window in which there is nothing to do."""

from __future__ import annotations

from datetime import date, timedelta

from cryptoservice.days import Window
from cryptoservice.universe.model import DailySnapshot, Universe
from cryptoservice.universe.notices import nothing_active_notice
from tests.unit.universe.samples import EXAMPLE, NO_KLINE, UNLISTED

FIRST, LAST = date(2024, 2, 28), date(2024, 3, 1)


def test_a_window_with_an_active_symbol_needs_no_notice() -> None:
    assert nothing_active_notice(EXAMPLE, EXAMPLE.window) is None
    assert nothing_active_notice(EXAMPLE, Window(FIRST, FIRST)) is None


def test_a_window_without_one_says_why() -> None:
    assert nothing_active_notice(EXAMPLE, Window(LAST, LAST)) == (
        "no requested symbol is active on any day of 2024-03-01 to 2024-03-01 (2 no_kline_on_date): "
        "the universe file says so under missing_symbols"
    )


def test_the_reasons_stand_in_the_order_of_the_schema_and_large_counts_are_readable() -> None:
    days = [FIRST + timedelta(days=offset) for offset in range(600)]
    missing = {"AUSDT": NO_KLINE, "BUSDT": NO_KLINE, "CUSDT": UNLISTED}
    empty = Universe(tuple(missing), days[0], days[-1], tuple(DailySnapshot(day, (), missing) for day in days), "")
    notice = nothing_active_notice(empty, empty.window)
    assert notice is not None
    assert "(600 not_in_current_trading_list, 1,200 no_kline_on_date)" in notice
