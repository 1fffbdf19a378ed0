"""Snapshots: the reason of every kind of missing symbol-day, by either listing, with a ranking and without."""

from __future__ import annotations

from datetime import date

import pytest

from cryptoservice.days import Window
from cryptoservice.define.snapshots import snapshots_of
from cryptoservice.define.symbol_days import DailyKline
from cryptoservice.reasons import MissingReason
from cryptoservice.universe.model import DailySnapshot, Listing
from cryptoservice.universe.selection import Rebalance, Selection

D1, D2, D3 = (date(2026, 2, number) for number in (1, 2, 3))
TRADED, FLAT = DailyKline(True, 5.0), DailyKline(False, 0.0)
LISTED = {"A": {D1: TRADED, D2: FLAT}, "B": {D1: TRADED, D2: TRADED, D3: TRADED}, "C": {}}
REQUESTED = ("C", "NOSUCH", "B", "A")


@pytest.mark.parametrize(
    ("listing", "unlisted", "flat"),
    [
        (Listing.EXCHANGE, "not_in_current_trading_list", None),
        (Listing.ARCHIVE, "not_in_archive", "no_trades_on_date"),
    ],
)
def test_without_a_ranking(listing: Listing, unlisted: str, flat: str | None) -> None:
    made = list(snapshots_of(REQUESTED, Window(D1, D3), LISTED, listing, None))
    always = {"C": MissingReason.NO_KLINE_ON_DATE, "NOSUCH": MissingReason(unlisted)}
    second = (
        DailySnapshot(D2, ("B", "A"), always) if flat is None else DailySnapshot(D2, ("B",), {**always, "A": MissingReason(flat)})
    )
    assert made == [
        DailySnapshot(D1, ("B", "A"), always),
        second,
        DailySnapshot(D3, ("B",), {**always, "A": MissingReason.NO_KLINE_ON_DATE}),
    ]
    assert [list(snapshot.missing_symbols) for snapshot in made] == [
        [symbol for symbol in REQUESTED if symbol not in snapshot.active_symbols] for snapshot in made
    ]


def test_with_a_ranking() -> None:
    """On the second of February the day before decides: A is first by its name. On the third A had no trade: B alone is left."""
    made = list(snapshots_of(REQUESTED, Window(D2, D3), LISTED, Listing.ARCHIVE, Selection(1, 1, Rebalance.DAY)))
    below, unlisted = MissingReason.BELOW_RANK, MissingReason.NOT_IN_ARCHIVE
    assert made == [
        DailySnapshot(D2, (), {"C": below, "NOSUCH": unlisted, "B": below, "A": MissingReason.NO_TRADES_ON_DATE}),
        DailySnapshot(D3, ("B",), {"C": below, "NOSUCH": unlisted, "A": below}),
    ]
    # A choice of a symbol that has no kline on the day stays a choice.
    (only,) = snapshots_of(("A",), Window(D3, D3), LISTED, Listing.ARCHIVE, Selection(1, 2))
    assert only == DailySnapshot(D3, (), {"A": MissingReason.NO_KLINE_ON_DATE})
