"""The cells of one dataset: their states, their totals, and how repeats are packed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.export.coverage_map.grid import CellCounts, Grid, packed
from cryptoservice.models import Dataset
from tests.unit.export.coverage_reports import NAMES, STATES, TOLD, counts, made_up, reasons, state_of, unpacked


def test_cells_and_totals_are_those_of_the_report() -> None:
    report = made_up(NAMES, 40, ("klines", "funding_rates"), lacking=0.3, seed=7)
    for dataset in (Dataset.KLINES, Dataset.FUNDING_RATES):
        grid = Grid(report, dataset, NAMES)
        assert grid.days == [day["date"] for day in report["days"]]
        due = [[state_of(report, dataset.value, symbol, day) for day in grid.days] for symbol in NAMES]
        assert [[STATES[int(grid.kinds[index][0])] for index in unpacked(row)] for row in grid.rows] == due
        assert [[made.active, *made.states[: len(TOLD)]] for made in grid.by_symbol] == [counts(states) for states in due]
        by_day = [counts([states[day] for states in due]) for day in range(40)]
        assert [[made.active, *made.states[: len(TOLD)]] for made in grid.by_day] == by_day
        assert grid.total.active == report["datasets"][dataset.value]["active_symbol_days"]
        assert grid.total.reasons == reasons(report, dataset.value)
        assert grid.total.lacking == sum(grid.total.states[1:3]) == sum(map(sum, grid.total.reasons))
    assert len(set(Grid(report, Dataset.KLINES, NAMES).kinds)) == len(Grid(report, Dataset.KLINES, NAMES).kinds)


def test_rows_of_active_symbol_days_are_added_up() -> None:
    counted = CellCounts()
    for cell in ((0, 288, 288), (1, 288, 100, "failed", 0), (2, 288, 0, "not_downloaded", 0), (3,), (4,)):
        counted.add(cell)
    assert (counted.active, counted.lacking, counted.states) == (3, 2, [1, 1, 1, 1, 1, 0, 0, 0])
    assert (counted.expected, counted.actual) == (864, 388)
    assert counted.reasons == [(0, 1), (1, 0), (0, 0), (0, 0)]


@pytest.mark.parametrize(("freq", "klines", "metrics"), [("1m", 1440, 288), ("5m", 288, 288), ("1h", 24, 24), ("1d", 1, 1)])
def test_a_whole_day_has_as_many_rows_as_its_frequency_says(freq: str, klines: int, metrics: int) -> None:
    report = {**made_up(["AUSDT"], 1, lacking=0), "export_freq": freq}
    assert Grid(report, Dataset.KLINES, ["AUSDT"]).whole_day == klines
    assert Grid(report, Dataset.METRICS, ["AUSDT"]).whole_day == metrics
    assert Grid(report, Dataset.FUNDING_RATES, ["AUSDT"]).whole_day is None


def test_bars_made_from_incomplete_ones_leave_a_day_complete() -> None:
    report = {**made_up(["AUSDT"], 1, lacking=0), "define_missing": {}}
    report["export_missing"] = {
        "2025-01-01": {"AUSDT": {"klines": {"expected": 288, "actual": 288, "reason": "confirmed_gap", "partial_bars": 7}}}
    }
    grid = Grid(report, Dataset.KLINES, ["AUSDT"])
    assert grid.kinds == [(0, 288, 288, "confirmed_gap", 7)]
    assert grid.total.states == [1, 0, 0, 0, 0, 0, 0, 0]
    assert grid.total.reasons == [(0, 0)] * 4, "a complete day has no reason to be incomplete"


def test_universes_by_listing_and_rank_have_states_of_their_own() -> None:
    report = made_up(["AUSDT", "BUSDT"], 3, lacking=0)
    assert Grid(report, Dataset.KLINES, ["AUSDT", "BUSDT"]).total.shown_states == [0, 1, 2, 3, 4]
    days = [day["date"] for day in report["days"]]
    report["define_missing"] = {
        days[0]: {"AUSDT": "below_rank", "BUSDT": "not_in_archive"}, days[1]: {"AUSDT": "no_trades_on_date"},
    }  # fmt: skip
    grid = Grid(report, Dataset.KLINES, ["AUSDT", "BUSDT"])
    assert [STATES[int(grid.kinds[index][0])] for index in unpacked(grid.rows[0])] == [
        "below_rank",
        "no_trades_on_date",
        "complete",
    ]
    assert [STATES[int(grid.kinds[index][0])] for index in unpacked(grid.rows[1])] == ["not_in_archive", "complete", "complete"]
    # Where there are words of such universes, those of others are left out unless a symbol-day has them.
    assert grid.total.shown_states == [0, 1, 2, 5, 6, 7]
    report["define_missing"][days[2]] = {"BUSDT": "no_kline_on_date"}
    assert Grid(report, Dataset.KLINES, ["AUSDT", "BUSDT"]).total.shown_states == [0, 1, 2, 3, 5, 6, 7]


@given(st.lists(st.integers(0, 3), max_size=60))
def test_packing_loses_nothing(row: list[int]) -> None:
    short = packed(row)
    assert unpacked(short) == row
    assert len(short) <= len(row)


def test_repeats_become_one_negative_number() -> None:
    assert packed([3, 3, 3, 5, 5, 3]) == [3, -2, 5, -1, 3]
    assert (packed([]), packed([0]), packed([0, 0])) == ([], [0], [0, -1])
