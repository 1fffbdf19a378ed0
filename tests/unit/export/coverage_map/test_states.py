"""The states of a cell: every reason has one, and each can be told from the others by colour and by shape."""

from __future__ import annotations

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
    assert set(states.REASON_TEXTS) == set(REASONS) == {"not_downloaded", *(status.value for status in Status)} - {"complete"}
    assert set(states.DATASET_NAMES) == set(Dataset)
    for state in states.STATES:
        assert state.label
        assert state.meaning


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
    style = STYLE.read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for ground in ("panel", "page"):
        assert contrast(colours["text"], colours[ground]) >= 7
        assert contrast(colours["muted"], colours[ground]) >= 4.5
        assert contrast(colours["accent"], colours[ground]) >= 4.5
    for state in range(len(STATES)):
        assert contrast(colours[f"s{state}"], colours["panel"]) >= 3


def test_every_state_has_its_own_shape_however_narrow() -> None:
    # One pixel wide, sixteen high: where there is colour, and how strong.
    columns = set()
    for state in states.STATES:
        column = [0.0] * 16
        for _, y, _, height, opacity in state.shape:
            for at in range(round(16 * y), round(16 * (y + height))):
                column[at] = opacity
        columns.add(tuple(column))
    assert len(columns) == len(STATES)
