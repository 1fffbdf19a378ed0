"""The ranking against thirty lines of SQL over the same klines, and its law: the future never changes an earlier choice."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.days import Window
from cryptoservice.define.ranking import choices
from cryptoservice.define.symbol_days import DailyKline, SymbolDays
from cryptoservice.universe.selection import Rebalance, Selection

FIRST = date(2025, 12, 20)
DAYS = [FIRST + timedelta(days=number) for number in range(60)]
NAMES = ("AUSDT", "BUSDT", "CUSDT", "ICPUSDT_SETTLED", "ZUSDT", "币安人生USDT")
# Few different volumes, so that ties are frequent, and whole ones, so that SQL's sum is exact as well.
KLINES = st.builds(
    lambda volume, is_traded: DailyKline(is_traded, float(volume) if is_traded else 0.0), st.integers(0, 3), st.booleans()
)
MARKETS = st.dictionaries(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(DAYS), KLINES, max_size=40), max_size=6)
SELECTIONS = st.builds(Selection, st.integers(1, 5), st.integers(1, 40), st.sampled_from(Rebalance))
# SQLite's own calendar: the Monday of a day is the last one at or before it.
REBALANCE_DAY = {
    Rebalance.DAY: "date(:day)",
    Rebalance.WEEK: "date(:day, 'weekday 0', '-6 days')",
    Rebalance.MONTH: "date(:day, 'start of month')",
}


def by_sql(market: dict[str, dict[date, DailyKline]], selection: Selection, day: date) -> set[str]:
    """The choice of a day, computed by SQLite alone."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE klines (symbol, day, traded, quote_volume)")
        db.executemany(
            "INSERT INTO klines VALUES (?, ?, ?, ?)",
            [
                (symbol, str(on), kline.is_traded, kline.quote_volume)
                for symbol, days in market.items()
                for on, kline in days.items()
            ],
        )
        found = db.execute(
            f"""
            WITH lookback AS (
                SELECT * FROM klines
                WHERE day < {REBALANCE_DAY[selection.rebalance]}
                AND day >= date({REBALANCE_DAY[selection.rebalance]}, '-' || :days || ' days')
            )
            SELECT symbol FROM lookback GROUP BY symbol HAVING max(traded)
            ORDER BY sum(quote_volume) DESC, symbol LIMIT :top
            """,
            {"day": str(day), "days": selection.lookback_days, "top": selection.top},
        )
        return {symbol for (symbol,) in found}


@settings(max_examples=60, deadline=None)
@given(MARKETS, SELECTIONS)
def test_every_choice_is_the_one_that_sql_makes(market: dict[str, dict[date, DailyKline]], selection: Selection) -> None:
    window = Window(DAYS[20], DAYS[-1])
    made = choices(market, selection, window)
    assert list(made) == list(window.days())
    for day in (*list(window.days())[::7], window.end):
        assert made[day] == by_sql(market, selection, day), day


@settings(max_examples=60, deadline=None)
@given(MARKETS, MARKETS, SELECTIONS, st.integers(1, 58))
def test_more_future_never_changes_an_earlier_choice(
    market: dict[str, dict[date, DailyKline]], other: dict[str, dict[date, DailyKline]], selection: Selection, cut: int
) -> None:
    """Whatever the day itself and all later ones bring, new symbols included, the choice of the day is the same."""
    day = DAYS[cut]
    future: dict[str, SymbolDays] = {
        symbol: {
            **{on: kline for on, kline in market.get(symbol, {}).items() if on < day},
            **{on: kline for on, kline in other.get(symbol, {}).items() if on >= day},
        }
        for symbol in market.keys() | other.keys()
    }
    window = Window(day, day)
    assert choices(future, selection, window) == choices(market, selection, window)


def test_the_sum_does_not_depend_on_the_order_of_the_days() -> None:
    """Added one by one, 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in the last bit, and the names would decide wrongly."""
    days = DAYS[:3]
    up = {day: DailyKline(True, volume) for day, volume in zip(days, (0.1, 0.2, 0.3), strict=True)}
    down = {day: DailyKline(True, volume) for day, volume in zip(days, (0.3, 0.2, 0.1), strict=True)}
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    for market in ({"AUSDT": up, "BUSDT": down}, {"AUSDT": down, "BUSDT": up}):
        assert choices(market, Selection(1, 3), Window(DAYS[3], DAYS[3])) == {DAYS[3]: {"AUSDT"}}
