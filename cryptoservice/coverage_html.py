"""The coverage map: a coverage report as one HTML page, symbols by days, that needs nothing else and asks nobody."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from cryptoservice import files
from cryptoservice.coverage import NOT_DOWNLOADED
from cryptoservice.models import Dataset, Freq, MissingReason, Status

_MARK = re.compile(r"\{\{(\w+)\}\}")
# Longer tables start folded: nobody wants to scroll through them by accident, and what is folded costs no layout.
_OPEN_ROWS = 40


@dataclass(frozen=True)
class State:
    """What one cell of the map can be: a colour (in the style sheet) and a shape that tells it apart without colour."""

    key: str
    label: str
    meaning: str
    shape: tuple[tuple[float, float, float, float, float], ...]
    """Boxes in a unit square, y downwards: x, y, width, height, opacity. They read the same one pixel wide."""


COMPLETE, PARTIAL, MISSING = 0, 1, 2
STATES = (
    State("complete", "complete", "all expected rows are there", ((0, 0, 1, 1, 1),)),
    State("partial", "partial", "some rows are there, some are not", ((0, 0, 1, 0.5, 0.25), (0, 0.5, 1, 0.5, 1))),
    State("missing", "missing", "active that day, but no row", ((0, 0, 1, 0.3, 1), (0, 0.3, 1, 0.4, 0.16), (0, 0.7, 1, 0.3, 1))),
    State(
        MissingReason.NO_KLINE_ON_DATE.value, "no kline that day", "listed, but it had no kline that day", ((0, 0.4, 1, 0.2, 1),)
    ),
    State(
        MissingReason.NOT_IN_CURRENT_TRADING_LIST.value,
        "not in trading list",
        "the exchange does not list it as trading now",
        ((0.2, 0.8, 0.6, 0.2, 1),),
    ),
)
_STATE_OF_REASON = {reason.value: [state.key for state in STATES].index(reason.value) for reason in MissingReason}
_REASONS = {
    NOT_DOWNLOADED: "no download has asked for it",
    Status.CONFIRMED_GAP.value: "no source has more",
    Status.INCOMPLETE.value: "fetched, not confirmed: the next download asks again",
    Status.FAILED.value: "the download failed: the next one asks again",
}
_NAMES = {Dataset.KLINES: "klines", Dataset.METRICS: "metrics", Dataset.FUNDING_RATES: "funding rates"}


@dataclass
class Tally:
    """Symbol-days by state, and the rows of those that were active."""

    states: list[int] = field(default_factory=lambda: [0] * len(STATES))
    expected: int = 0
    actual: int = 0

    def add(self, state: int, expected: int, actual: int) -> None:
        """Count one symbol-day."""
        self.states[state] += 1
        self.expected += expected
        self.actual += actual

    @property
    def active(self) -> int:
        """Symbol-days that the universe has."""
        return self.states[COMPLETE] + self.states[PARTIAL] + self.states[MISSING]


class Grid:
    """One dataset's symbol-days, as the page carries them, and their totals."""

    def __init__(self, report: Mapping[str, Any], dataset: Dataset, symbols: Sequence[str]) -> None:
        self.dataset = dataset
        self.whole_day = _whole_day(dataset, Freq.parse(report["export_freq"]))
        """Rows of a complete symbol-day; None where only the exchange knows (funding rates)."""
        self.days = [str(day["date"]) for day in report["days"]]
        self.by_symbol = [Tally() for _ in symbols]
        self.by_day = [Tally() for _ in self.days]
        self.total = Tally()
        self.kinds: list[list[int | str]] = []
        """The different cells: [state], and for active ones [state, expected, actual, reason, partial bars]."""
        self.rows = self._rows(report, symbols)
        """A row a symbol: indexes into `kinds`; a negative number -n says that the one before it comes n more times."""

    def _rows(self, report: Mapping[str, Any], symbols: Sequence[str]) -> list[list[int]]:
        unlisted = [report["define_missing"].get(day, {}) for day in self.days]
        lacking = [report["export_missing"].get(day, {}) for day in self.days]
        full = self.whole_day or 0
        known: dict[tuple[int | str, ...], int] = {}
        rows: list[list[int]] = []
        for index, symbol in enumerate(symbols):
            row: list[int] = []
            for day in range(len(self.days)):
                reason = unlisted[day].get(symbol)
                if reason is not None:
                    kind: tuple[int | str, ...] = (_STATE_OF_REASON[reason],)
                else:
                    kind = self._kind(lacking[day].get(symbol, {}).get(self.dataset.value), full)
                for tally in (self.by_symbol[index], self.by_day[day], self.total):
                    tally.add(int(kind[0]), int(kind[1]) if len(kind) > 1 else 0, int(kind[2]) if len(kind) > 1 else 0)
                row.append(known.setdefault(kind, len(known)))
            rows.append(_packed(row))
        self.kinds = [list(kind) for kind in known]
        return rows

    def _kind(self, entry: Mapping[str, Any] | None, full: int) -> tuple[int | str, ...]:
        if entry is None:
            return (COMPLETE, full, full) if full else (COMPLETE,)
        expected, actual = entry["expected"], entry["actual"]
        # The report's own rule: complete has all its bars, also when some of them lack source bars.
        state = MISSING if not actual else PARTIAL if actual < expected else COMPLETE
        return (state, expected, actual, entry["reason"], entry.get("partial_bars", 0))


def _whole_day(dataset: Dataset, freq: Freq) -> int | None:
    if dataset is Dataset.FUNDING_RATES:
        return None
    # Metrics are never finer than five minutes.
    return min(freq.bars_per_day, Freq.m5.bars_per_day) if dataset is Dataset.METRICS else freq.bars_per_day


def _packed(row: Sequence[int]) -> list[int]:
    packed: list[int] = []
    repeats = 0
    for before, kind in zip((None, *row), row, strict=False):
        if kind == before:
            repeats += 1
            continue
        packed += [-repeats, kind] if repeats else [kind]
        repeats = 0
    return [*packed, -repeats] if repeats else packed


def write_map(path: Path, report: Mapping[str, Any], symbols: Sequence[str]) -> None:
    """Write the map of a coverage report to `path`, whole or not at all; OutputError when that is impossible."""
    page = render(report, symbols)
    with files.atomic_text(path) as handle:
        handle.write(page)


def render(report: Mapping[str, Any], symbols: Sequence[str]) -> str:
    """The page: `symbols` are the universe's requested ones, for the report names only those that lack something."""
    grids = [Grid(report, Dataset(name), symbols) for name in report["datasets"]]
    style, script = _part("css"), _part("js")
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
    return _MARK.sub(lambda mark: parts[mark[1]], _part("html"))


def _part(suffix: str) -> str:
    return resources.files("cryptoservice").joinpath(f"coverage_map.{suffix}").read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _size(symbols: int, days: int) -> str:
    return f"{_number(symbols)} symbol{'s' * (symbols != 1)} × {_number(days)} day{'s' * (days != 1)}"


def _frequencies(report: Mapping[str, Any]) -> str:
    source, target = escape(report["source_freq"]), escape(report["export_freq"])
    return f"{target} bars" if source == target else f"{target} bars from {source}"


def _data(report: Mapping[str, Any], grids: Sequence[Grid], symbols: Sequence[str]) -> str:
    record = {
        "start": report["window"]["start_date"],
        "days": len(grids[0].days) if grids else 0,
        "symbols": list(symbols),
        "states": [{"key": state.key, "label": state.label, "shape": state.shape} for state in STATES],
        "reasons": _REASONS,
        "datasets": [
            {"name": grid.dataset.value, "label": _NAMES[grid.dataset], "kinds": grid.kinds, "rows": grid.rows} for grid in grids
        ],
    }
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    # Inside a script element nothing may look like markup.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _choice(grids: Sequence[Grid]) -> str:
    if len(grids) < 2:
        return ""
    options = "".join(
        f'<label><input type="radio" name="dataset" value="{grid.dataset.value}"{" checked" * (not index)}>'
        f"<span>{_NAMES[grid.dataset]}</span></label>"
        for index, grid in enumerate(grids)
    )
    return f'<fieldset class="choice needs-script"><legend>Dataset</legend>{options}</fieldset>'


def _legend(report: Mapping[str, Any], grid: Grid) -> str:
    cells = sum(grid.total.states)
    totals = report["datasets"][grid.dataset.value]
    ratio = _share(totals["exported_bars"], totals["expected_bars"])
    items = "".join(
        f'<li class="state">{_swatch(index)}<span class="label">{state.label}</span>'
        f'<span class="count">{_number(grid.total.states[index])}</span>'
        f'<span class="share">{_share(grid.total.states[index], cells)} of symbol-days</span>'
        f'<span class="meaning">{state.meaning}</span><code>{_breakable(state.key)}</code></li>'
        for index, state in enumerate(STATES)
    )
    return _block(
        grid,
        f'<h3>{_NAMES[grid.dataset].capitalize()}</h3><ul class="legend">'
        f'<li class="headline"><span class="count">{ratio}</span><span class="label">of expected rows are there</span>'
        f'<span class="meaning">{_number(totals["exported_bars"])} of {_number(totals["expected_bars"])} rows on '
        f"{_number(grid.total.active)} active symbol-days</span></li>{items}</ul>",
    )


def _breakable(code: str) -> str:
    return code.replace("_", "_<wbr>")


def _block(grid: Grid, content: str) -> str:
    return f'<div class="dataset" data-dataset="{grid.dataset.value}">{content}</div>\n'


def _swatch(state: int) -> str:
    boxes = "".join(
        f'<rect x="{20 * x:g}" y="{20 * y:g}" width="{20 * width:g}" height="{20 * height:g}" opacity="{opacity:g}"/>'
        for x, y, width, height, opacity in STATES[state].shape
    )
    return f'<svg class="swatch s{state}" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">{boxes}</svg>'


def _tables(grid: Grid, symbols: Sequence[str]) -> str:
    name = _NAMES[grid.dataset]
    by_symbol = _table(grid, f"Totals per symbol: {name}", "Symbol", zip(symbols, grid.by_symbol, strict=True), len(symbols))
    by_day = _table(grid, f"Totals per day: {name}", "Day (UTC)", zip(grid.days, grid.by_day, strict=True), len(grid.days))
    return _block(grid, f"<h3>{name.capitalize()}</h3>{by_symbol}{by_day}")


def _table(grid: Grid, caption: str, what: str, rows: Iterator[tuple[str, Tally]], count: int) -> str:
    heads = [what, "active", *(state.label for state in STATES)]
    if grid.whole_day:
        heads += ["rows", "expected", "coverage"]
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    body = "".join(_table_row(grid, f"<bdi>{escape(name)}</bdi>", tally) for name, tally in rows)
    foot = _table_row(grid, "all", grid.total)
    return (
        f"<details{' open' * (count <= _OPEN_ROWS)}><summary>{caption}</summary>"
        f'<div class="rolling" role="region" tabindex="0" aria-label="{caption}"><table><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody><tfoot>{foot}</tfoot></table></div></details>\n"
    )


def _table_row(grid: Grid, name: str, tally: Tally) -> str:
    cells = [_number(count) for count in (tally.active, *tally.states)]
    if grid.whole_day:
        cells += [_number(tally.actual), _number(tally.expected), _share(tally.actual, tally.expected)]
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n'


def _number(value: int) -> str:
    return f"{value:,}"


def _share(part: int, whole: int) -> str:
    """A percentage that is 100 or 0 only when it is exactly that, and a dash where there is nothing to share."""
    if not whole:
        return "–"
    tenths = min(max(round(1000 * part / whole), part > 0), 1000 - (part < whole))
    return f"{tenths // 10}.{tenths % 10} %" if tenths % 1000 else f"{tenths // 10} %"
