"""The states of a cell: every reason has one, and each can be told from the others by colour and by shape."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from cryptoservice.export.coverage_map import states
from cryptoservice.models import Dataset, MissingReason, Status
from tests.unit.export.coverage_reports import REASONS, STATES

STYLE = Path(__file__).resolve().parents[4] / "cryptoservice/export/coverage_map/coverage_map.css"


def test_every_state_and_reason_has_its_words() -> None:
    assert [state.key for state in states.STATES] == list(STATES)
    assert [STATES[index] for index in (states.COMPLETE, states.PARTIAL, states.MISSING)] == ["complete", "partial", "missing"]
    assert {reason: STATES[index] for reason, index in states.STATE_OF_REASON.items()} == {
        reason.value: reason.value for reason in MissingReason
    }
    assert [reason.key for reason in states.REASONS] == list(REASONS)
    assert set(REASONS) == {"not_downloaded", *(status.value for status in Status)} - {"complete"}
    assert set(states.DATASET_NAMES) == set(Dataset)
    for word in (*states.STATES, *states.REASONS):
        assert word.label
        assert word.meaning


def colours_of(scheme: int) -> dict[str, str]:
    """The colours of the style sheet by name: scheme 0 is light, 1 is dark."""
    block = re.findall(r":root \{(.*?)\}", STYLE.read_text(encoding="utf-8"), flags=re.DOTALL)[scheme]
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_their_ground(scheme: int) -> None:
    colours = colours_of(scheme)
    for ground in ("panel", "page"):
        assert contrast(colours["text"], colours[ground]) >= 7
        assert contrast(colours["muted"], colours[ground]) >= 4.5
        assert contrast(colours["accent"], colours[ground]) >= 4.5
    for state in range(len(STATES)):
        assert contrast(colours[f"s{state}"], colours["panel"]) >= 3


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_solid_cells_differ_in_brightness_as_well_as_in_colour(scheme: int) -> None:
    # Small cells of active symbol-days have no shape: who does not see colours tells them apart by brightness.
    colours = colours_of(scheme)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert contrast(colours[f"s{one}"], colours[f"s{other}"]) >= 1.4
    red, green, blue = (int(colours["s2"][at : at + 2], 16) for at in (1, 3, 5))
    assert red > 2 * max(green, blue), "missing is red"
    red, green, blue = (int(colours["s1"][at : at + 2], 16) for at in (1, 3, 5))
    assert red > green > 2 * blue, "partial is amber"


def test_only_days_without_a_market_are_less_than_a_whole_cell() -> None:
    shapes = [state.shape for state in states.STATES]
    assert shapes[:3] == [(0, 0, 1, 1)] * 3
    # One pixel wide, sixteen high: the lines of the others have places of their own, but for the two listings.
    places = {
        key: {at for at in range(16) if y <= at / 16 < y + height}
        for key, (_, y, _, height) in zip(STATES[3:], shapes[3:], strict=True)
    }
    assert places.pop("not_in_archive") == places["not_in_current_trading_list"]
    assert all(0 < len(place) < 8 for place in places.values())
    for one, other in itertools.combinations(places.values(), 2):
        assert len(one & other) <= 1


def test_every_reason_has_a_mark_of_its_own() -> None:
    marks = [reason.mark for reason in states.REASONS]
    assert len(set(marks)) == len(marks)
    # A cell whose rows nobody has asked for yet stays plain: it is what most cells without rows are.
    assert [reason.key for reason in states.REASONS if not reason.mark] == ["not_downloaded"]
