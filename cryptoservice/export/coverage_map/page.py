"""The page of the coverage map: HTML, style, script and data in one file, which loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from cryptoservice import files
from cryptoservice.export.coverage_map.grid import CellCounts, Grid
from cryptoservice.export.coverage_map.legend import legend, number, share
from cryptoservice.export.coverage_map.states import DATASET_NAMES, REASONS, STATES
from cryptoservice.models import Dataset

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
# Longer tables start folded: a reader need not scroll past them, and the browser need not lay them out.
_OPEN_ROWS = 40
# One script, in three files that can be read: what is shown, how it is drawn, and what a person does with it.
_SCRIPTS = ("content.js", "drawing.js", "controls.js")


def write_map(path: Path, report: Mapping[str, Any], symbols: Sequence[str]) -> None:
    """Write the map of a coverage report to `path`, whole or not at all. OutputError when that is impossible."""
    page = render(report, symbols)
    with files.atomic_text(path) as handle:
        handle.write(page)


def render(report: Mapping[str, Any], symbols: Sequence[str]) -> str:
    """The page of a report. `symbols` are those of the universe: the report names only the ones that lack something."""
    grids = [Grid(report, Dataset(name), symbols) for name in report["datasets"]]
    style, script = _part("coverage_map.css"), _script()
    window = report["window"]
    period = f"{window['start_date']} to {window['end_date']}"
    parts = {
        "policy": (
            f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
        "title": escape(f"Coverage {report['export_freq']} · {period}"),
        "style": style,
        "script": script,
        "period": escape(period),
        "size": _size(len(symbols), len(grids[0].days) if grids else 0),
        "freq": _frequencies(report),
        "universe": escape(Path(report["universe"]["file"]).name),
        "sha256": escape(report["universe"]["sha256"]),
        "generated_at": escape(report["generated_at"]),
        "choice": _choice(grids),
        "legends": "".join(_legend(report, grid) for grid in grids),
        "tables": "".join(_tables(grid, symbols) for grid in grids),
        "data": _data(report, grids, symbols),
    }
    return _PLACEHOLDER.sub(lambda found: parts[found[1]], _part("coverage_map.html"))


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _script() -> str:
    """The script of the page. Its files share the names of one function, which keeps them from everything else."""
    return '\n"use strict";\n(() => {\n' + "\n".join(map(_part, _SCRIPTS)) + "})();\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _size(symbols: int, days: int) -> str:
    return f"{number(symbols)} symbol{'s' * (symbols != 1)} × {number(days)} day{'s' * (days != 1)}"


def _frequencies(report: Mapping[str, Any]) -> str:
    source, target = escape(report["source_freq"]), escape(report["export_freq"])
    return f"{target} bars" if source == target else f"{target} bars from {source}"


def _data(report: Mapping[str, Any], grids: Sequence[Grid], symbols: Sequence[str]) -> str:
    record = {
        "start": report["window"]["start_date"],
        "days": len(grids[0].days) if grids else 0,
        "symbols": list(symbols),
        "states": [{"key": state.key, "label": state.label, "shape": state.shape} for state in STATES],
        "reasons": [
            {"key": reason.key, "label": reason.label, "meaning": reason.meaning, "mark": reason.mark} for reason in REASONS
        ],
        "datasets": [
            {"name": grid.dataset.value, "label": DATASET_NAMES[grid.dataset], "kinds": grid.kinds, "rows": grid.rows}
            for grid in grids
        ],
    }
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    # The text stands inside a script element, where nothing may look like markup.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _choice(grids: Sequence[Grid]) -> str:
    if len(grids) < 2:
        return ""
    options = "".join(
        f'<label><input type="radio" name="dataset" value="{grid.dataset.value}"{" checked" * (not index)}>'
        f"<span>{DATASET_NAMES[grid.dataset]}</span></label>"
        for index, grid in enumerate(grids)
    )
    return f'<fieldset class="choice needs-script"><legend>Dataset</legend>{options}</fieldset>'


def _legend(report: Mapping[str, Any], grid: Grid) -> str:
    cards = legend(report["datasets"][grid.dataset.value], grid)
    return _block(grid, f"<h3>{DATASET_NAMES[grid.dataset].capitalize()}</h3>{cards}")


def _block(grid: Grid, content: str) -> str:
    return f'<div class="dataset" data-dataset="{grid.dataset.value}">{content}</div>\n'


def _tables(grid: Grid, symbols: Sequence[str]) -> str:
    name = DATASET_NAMES[grid.dataset]
    by_symbol = _table(grid, f"Totals per symbol: {name}", "Symbol", zip(symbols, grid.by_symbol, strict=True), len(symbols))
    by_day = _table(grid, f"Totals per day: {name}", "Day (UTC)", zip(grid.days, grid.by_day, strict=True), len(grid.days))
    return _block(grid, f'<h3>{name.capitalize()}</h3><div class="tables">{by_symbol}{by_day}</div>')


def _table(grid: Grid, caption: str, what: str, rows: Iterator[tuple[str, CellCounts]], count: int) -> str:
    heads = [what, "active", *(STATES[index].label for index in grid.total.shown_states)]
    if grid.whole_day:
        heads += ["rows", "expected", "coverage"]
    heads += [reason.label for reason in REASONS]
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    body = "".join(_table_row(grid, f"<bdi>{escape(name)}</bdi>", counts) for name, counts in rows)
    foot = _table_row(grid, "all", grid.total)
    return (
        f"<details{' open' * (count <= _OPEN_ROWS)}><summary>{caption}</summary>"
        f'<div class="rolling" role="region" tabindex="0" aria-label="{caption}"><table><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody><tfoot>{foot}</tfoot></table></div></details>\n"
    )


def _table_row(grid: Grid, name: str, counts: CellCounts) -> str:
    cells = [number(counts.active), *(number(counts.states[index]) for index in grid.total.shown_states)]
    if grid.whole_day:
        cells += [number(counts.actual), number(counts.expected), share(counts.actual, counts.expected)]
    cells += [number(partial + missing) for partial, missing in counts.reasons]
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n'
