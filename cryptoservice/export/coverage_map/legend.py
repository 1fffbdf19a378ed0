"""The cards of the coverage map: how much is there, how many symbol-days have each state, and why rows lack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptoservice.export.coverage_map.grid import Grid
from cryptoservice.export.coverage_map.states import COMPLETE, MISSING, PARTIAL, REASONS, STATES


def legend(totals: Mapping[str, Any], grid: Grid) -> str:
    """The cards of one dataset, whose entry in the report's `datasets` is `totals`.

    A card with `data-filter` becomes a button when the page has its script: it leaves only its own symbol-days on the map.
    """
    cells = sum(grid.total.states)
    states = "".join(
        _card(
            f"state:{STATES[index].key}",
            _swatch(index),
            STATES[index].label,
            number(grid.total.states[index]),
            f"{share(grid.total.states[index], cells)} of symbol-days",
            (STATES[index].meaning, STATES[index].key),
        )
        for index in grid.total.shown_states
    )
    cards = _headline(totals, grid) + states
    return (
        f'<div class="groups"><p class="group">Symbol-days by state</p><ul class="legend states" aria-label="Totals by state">'
        f"{cards}</ul>{_reasons(grid)}</div>"
    )


def _headline(totals: Mapping[str, Any], grid: Grid) -> str:
    exported, expected = totals["exported_bars"], totals["expected_bars"]
    days = f"{number(grid.total.active)} active symbol-days"
    if expected:
        label, meaning = "of expected rows are there", f"{number(exported)} of {number(expected)} rows on {days}"
    else:
        label, meaning = "no rows were expected", f"{number(exported)} rows on {days}"
    return (
        f'<li class="card headline"><span class="count">{share(exported, expected)}</span><span class="label">{label}</span>'
        f'<span class="meaning">{meaning}</span></li>'
    )


def _reasons(grid: Grid) -> str:
    if not grid.total.lacking:
        return ""
    cards = ""
    for reason, (partial, missing) in zip(REASONS, grid.total.reasons, strict=True):
        swatches = _swatch(MISSING, reason.mark) + _swatch(PARTIAL, reason.mark)
        parts = f"{number(missing)} missing, {number(partial)} partial"
        words = (reason.meaning, reason.key)
        cards += _card(f"reason:{reason.key}", swatches, reason.label, number(missing + partial), parts, words)
    return f'<p class="group why">Why rows lack</p><ul class="legend reasons" aria-label="Totals by reason">{cards}</ul>'


def _card(name: str, swatch: str, label: str, count: str, part: str, words: tuple[str, str]) -> str:
    meaning, key = words
    # A code that reads like its label needs no line of its own.
    code = "" if key.replace("_", " ") == label else f"<code>{_breakable(key)}</code>"
    return (
        f'<li class="card" data-filter="{name}"><span class="swatches">{swatch}</span><span class="label">{label}</span>'
        f'<span class="count">{count}</span><span class="share">{part}</span><span class="meaning">{meaning}</span>{code}</li>'
    )


def _breakable(code: str) -> str:
    return code.replace("_", "_<wbr>")


def _swatch(state: int, mark: str = "") -> str:
    """A cell of the map as a picture; with a mark, one whose rows lack for that reason."""
    x, y, width, height = STATES[state].shape
    body = f'<rect x="{20 * x:g}" y="{20 * y:g}" width="{20 * width:g}" height="{20 * height:g}"/>'
    if state == PARTIAL and not mark:
        body = f'<rect class="s{COMPLETE}" y="11" width="20" height="9"/><rect width="20" height="10"/>'
    if mark:
        body += f'<path class="mark" d="{mark}"/>'
    return f'<svg class="swatch s{state}" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">{body}</svg>'


def number(value: int) -> str:
    """A count as the page writes it: 5,040."""
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """A percentage with one decimal: 100 and 0 only when they are exact, and a dash when the whole is 0."""
    if not whole:
        return "–"
    tenths = min(max(round(1000 * part / whole), part > 0), 1000 - (part < whole))
    return f"{tenths // 10}.{tenths % 10} %" if tenths % 1000 else f"{tenths // 10} %"
