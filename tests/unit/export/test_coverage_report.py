"""The numbers and the shape of the coverage report."""

from __future__ import annotations

import json
from datetime import date

from cryptoservice.export.coverage_report import Coverage, Totals
from cryptoservice.models import Dataset, MissingReason

FIRST, SECOND, THIRD = date(2026, 2, 1), date(2026, 2, 2), date(2026, 2, 3)
UNLISTED, NO_KLINE = MissingReason.NOT_IN_CURRENT_TRADING_LIST, MissingReason.NO_KLINE_ON_DATE


def totals(*days: tuple[int, int, int]) -> Totals:
    made = Totals()
    for expected, actual, partial_bars in days:
        made.add(expected, actual, partial_bars)
    return made


def test_a_complete_symbol_day_has_all_its_bars_and_a_missing_one_none() -> None:
    assert totals((288, 288, 0), (288, 287, 0), (288, 1, 1), (288, 0, 0)) == Totals(
        active=4, complete=1, partial=2, missing=1, expected_bars=1152, exported_bars=576, partial_bars=1
    )


def test_totals_add_up() -> None:
    whole = totals((288, 288, 0))
    whole.merge(totals((288, 100, 3), (288, 0, 0)))
    assert whole == totals((288, 288, 0), (288, 100, 3), (288, 0, 0))


def test_a_window_reports_its_ratio() -> None:
    assert totals((4, 3, 1), (4, 0, 0)).of_window(2) == {
        "days": 2, "active_symbol_days": 2, "complete": 0, "partial": 1, "missing": 1, "expected_bars": 8, "exported_bars": 3,
        "partial_bars": 1, "coverage_ratio": 0.375,
    }  # fmt: skip


def test_where_nothing_was_expected_there_is_no_ratio() -> None:
    assert Totals().of_window(3)["coverage_ratio"] is None
    # Metrics of a symbol that is active, but of which only the ledger knows how many rows to expect.
    assert totals((0, 0, 0)).of_window(1)["coverage_ratio"] is None
    coverage = Coverage(Dataset.KLINES)
    coverage.defined(FIRST, {"A": NO_KLINE})
    coverage.exported(Dataset.KLINES, FIRST, Totals(), {})
    coverage.exported(Dataset.METRICS, FIRST, Totals(), {})
    made = json.loads(json.dumps(coverage.to_dict()))
    assert made["summary"]["coverage_ratio"] is None
    assert [dataset["coverage_ratio"] for dataset in made["datasets"].values()] == [None, None]


def report() -> Coverage:
    """Three days, A and B requested: all there; B unlisted and A without a row; A with a hole and B without a kline."""
    coverage = Coverage(Dataset.KLINES)
    coverage.defined(FIRST, {})
    coverage.exported(Dataset.KLINES, FIRST, totals((4, 4, 0), (4, 4, 0)), {})
    coverage.defined(SECOND, {"B": UNLISTED})
    coverage.exported(Dataset.KLINES, SECOND, totals((4, 0, 0)), {"A": {"expected": 4, "actual": 0, "reason": "not_downloaded"}})
    coverage.exported(Dataset.METRICS, SECOND, totals((2, 1, 0)), {"A": {"expected": 2, "actual": 1, "reason": "incomplete"}})
    coverage.defined(THIRD, {"B": NO_KLINE})
    coverage.exported(Dataset.KLINES, THIRD, totals((4, 3, 0)), {"A": {"expected": 4, "actual": 3, "reason": "confirmed_gap"}})
    return coverage


def test_the_report_has_the_documented_shape_in_its_order() -> None:
    made = report().to_dict()
    assert list(made) == ["summary", "define_missing", "export_missing", "merged_missing", "days", "datasets"]
    assert json.loads(json.dumps(made)) == made
    assert list(made["days"][0])[:7] == [
        "date", "active", "complete", "partial", "missing", "expected_bars", "exported_bars",
    ]  # fmt: skip


def test_the_summary_and_the_days_count_the_main_dataset() -> None:
    made = report().to_dict()
    assert made["summary"] == {
        "days": 3, "active_symbol_days": 4, "complete": 2, "partial": 1, "missing": 1, "expected_bars": 16, "exported_bars": 11,
        "partial_bars": 0, "coverage_ratio": 0.6875,
    }  # fmt: skip
    counts = [(day["date"], day["active"], day["complete"], day["partial"], day["missing"]) for day in made["days"]]
    assert counts == [("2026-02-01", 2, 2, 0, 0), ("2026-02-02", 1, 0, 0, 1), ("2026-02-03", 1, 0, 1, 0)]
    assert set(made["datasets"]) == {"klines", "metrics"}
    assert made["datasets"]["klines"] == made["summary"]
    assert made["datasets"]["metrics"]["exported_bars"] == 1


def test_metrics_whose_labels_nothing_proves_are_counted_for_metrics_alone() -> None:
    """Two days have such symbol-days, three in all; neither klines nor the days have a word for it."""
    coverage = Coverage(Dataset.KLINES)
    for day, unproven in ((FIRST, 1), (SECOND, 0), (THIRD, 2)):
        coverage.defined(day, {})
        coverage.exported(Dataset.KLINES, day, totals((4, 4, 0)), {})
        made = totals((2, 2, 0), (2, 1, 0))
        made.labels_unproven = unproven
        coverage.exported(Dataset.METRICS, day, made, {})
    report = coverage.to_dict()
    assert report["datasets"]["metrics"]["labels_unproven"] == 3
    assert (report["datasets"]["metrics"]["complete"], report["datasets"]["metrics"]["partial"]) == (3, 3)
    assert "labels_unproven" not in report["datasets"]["klines"]
    assert "labels_unproven" not in report["summary"]
    assert all("labels_unproven" not in day for day in report["days"])
    alone = Coverage(Dataset.METRICS)
    alone.defined(FIRST, {})
    alone.exported(Dataset.METRICS, FIRST, totals((2, 2, 0)), {})
    assert alone.to_dict()["summary"] == alone.to_dict()["datasets"]["metrics"]
    assert alone.to_dict()["summary"]["labels_unproven"] == 0


def test_define_reasons_and_export_reasons_stand_by_day_and_symbol() -> None:
    made = report().to_dict()
    assert made["define_missing"] == {
        "2026-02-02": {"B": "not_in_current_trading_list"},
        "2026-02-03": {"B": "no_kline_on_date"},
    }
    assert made["export_missing"] == {
        "2026-02-02": {
            "A": {
                "klines": {"expected": 4, "actual": 0, "reason": "not_downloaded"},
                "metrics": {"expected": 2, "actual": 1, "reason": "incomplete"},
            }
        },
        "2026-02-03": {"A": {"klines": {"expected": 4, "actual": 3, "reason": "confirmed_gap"}}},
    }


def test_merged_missing_lists_symbol_days_without_any_row() -> None:
    assert report().to_dict()["merged_missing"] == {
        "2026-02-02": {"B": "not_in_current_trading_list", "A": "missing_in_export"},
        "2026-02-03": {"B": "no_kline_on_date"},
    }


def test_metrics_are_the_main_dataset_when_klines_are_left_out() -> None:
    coverage = Coverage(Dataset.METRICS)
    coverage.defined(FIRST, {})
    coverage.exported(Dataset.METRICS, FIRST, totals((2, 0, 0)), {"A": {"expected": 2, "actual": 0, "reason": "failed"}})
    made = coverage.to_dict()
    assert made["summary"]["missing"] == 1
    assert made["merged_missing"] == {"2026-02-01": {"A": "missing_in_export"}}


def test_a_day_without_active_symbols_is_counted() -> None:
    coverage = Coverage(Dataset.KLINES)
    coverage.defined(FIRST, {"A": UNLISTED})
    coverage.exported(Dataset.KLINES, FIRST, Totals(), {})
    made = coverage.to_dict()
    assert made["summary"] == Totals().of_window(1)
    assert made["days"][0]["active"] == 0
    assert made["merged_missing"] == {"2026-02-01": {"A": "not_in_current_trading_list"}}
