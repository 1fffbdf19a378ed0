"""The cards of the map: totals by state and by reason, and what they say where nothing lacks or nothing is expected."""

from __future__ import annotations

from typing import Any

import pytest

from cryptoservice.export.coverage_map import states
from cryptoservice.export.coverage_map.grid import Grid
from cryptoservice.export.coverage_map.legend import legend, share
from cryptoservice.models import Dataset
from tests.unit.export.coverage_reports import NAMES, REASONS, STATES, TOLD, Page, counts, made_up, reasons, state_of


def page_of(report: dict[str, Any], dataset: str = "klines", symbols: tuple[str, ...] = NAMES) -> Page:
    return Page(legend(report["datasets"][dataset], Grid(report, Dataset(dataset), symbols)))


def texts(page: Page, name: str) -> list[str]:
    """The texts of all elements of that class, in order."""
    spans = [text for (tag, _), text in zip([tag for tag in page.tags if tag[0] == "span"], page.texts["span"], strict=True)]
    classes = [attributes.get("class") for tag, attributes in page.tags if tag == "span"]
    return [text for text, found in zip(spans, classes, strict=True) if found == name]


@pytest.mark.parametrize("dataset", ["klines", "funding_rates"])
def test_cards_count_what_the_report_counts(dataset: str) -> None:
    report = made_up(NAMES, 40, (dataset,), lacking=0.3, seed=5)
    page = page_of(report, dataset)
    due = counts([state_of(report, dataset, symbol, day["date"]) for day in report["days"] for symbol in NAMES])[1:]
    by_reason = reasons(report, dataset)
    assert all(sum(pair) for pair in by_reason)
    # The first count is the headline, a share of rows.
    assert texts(page, "count")[1:] == [str(count) for count in (*due, *map(sum, by_reason))]
    assert texts(page, "share")[5:] == [f"{missing} missing, {partial} partial" for partial, missing in by_reason]
    filters = [attributes["data-filter"] for attributes in page.named("li") if "data-filter" in attributes]
    assert filters == [*(f"state:{state}" for state in TOLD), *(f"reason:{reason}" for reason in REASONS)]


def test_every_reason_is_pictured_as_the_map_draws_it() -> None:
    page = page_of(made_up(NAMES, 40, lacking=0.3, seed=5))
    drawn = [attributes["d"] for attributes in page.named("path")]
    # Each mark stands twice, on the colour of missing and on that of partial.
    assert drawn == [mark for reason in states.REASONS if reason.mark for mark in (reason.mark, reason.mark)]
    assert [attributes["class"] for attributes in page.named("svg")] == [
        *(f"swatch s{state}" for state in range(5)), *(("swatch s2", "swatch s1") * 4),
    ]  # fmt: skip


@pytest.mark.parametrize("state", STATES[len(TOLD) :])
def test_a_state_of_few_universes_has_a_card_where_it_occurs(state: str) -> None:
    report = made_up(NAMES, 2, lacking=0)
    report["define_missing"] = {report["days"][1]["date"]: {"LINKUSDT": state}}
    page = page_of(report)
    filters = [attributes["data-filter"] for attributes in page.named("li") if "data-filter" in attributes]
    assert filters == [f"state:{name}" for name in (*TOLD[:3], state)]
    assert texts(page, "count")[1:] == [str(2 * len(NAMES) - 1), "0", "0", "1"]


def test_where_nothing_lacks_no_reason_is_listed() -> None:
    page = page_of(made_up(NAMES, 4, lacking=0))
    assert not [attributes for attributes in page.named("li") if (attributes.get("data-filter") or "").startswith("reason")]
    assert texts(page, "count")[0] == "100 %"


def test_where_nothing_is_expected_there_is_no_share() -> None:
    report = made_up(NAMES, 2, lacking=0)
    nobody = dict.fromkeys(NAMES, "no_kline_on_date")
    report["define_missing"] = {day["date"]: nobody for day in report["days"]}
    report["datasets"]["klines"] |= {"expected_bars": 0, "exported_bars": 0, "coverage_ratio": None}
    page = page_of(report)
    assert (texts(page, "count")[0], texts(page, "label")[0]) == ("–", "no rows were expected")
    assert texts(page, "count")[1:] == ["0", "0", "0", str(2 * len(NAMES)), "0"]


@pytest.mark.parametrize(
    ("part", "whole", "due"),
    [(0, 0, "–"), (0, 5, "0 %"), (5, 5, "100 %"), (1, 2, "50.0 %"), (1, 3, "33.3 %"), (1, 9999, "0.1 %"), (9998, 9999, "99.9 %")],
)
def test_a_share_is_whole_only_when_nothing_lacks(part: int, whole: int, due: str) -> None:
    assert share(part, whole) == due
