"""Made-up coverage reports of any size, and what a map of them has to show, counted in the plainest way."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from html.parser import HTMLParser
from typing import Any

from cryptoservice.export.coverage_report import Coverage, Totals
from cryptoservice.models import Dataset, MissingReason

NAMES = ("ALGOUSDT", "AVAXUSDT", "币安人生USDT", "LINKUSDT", "OMGUSDT")
WHOLE_DAY = {"klines": 288, "metrics": 288, "funding_rates": 3}
STATES = (
    "complete", "partial", "missing", "no_kline_on_date", "not_in_current_trading_list", "no_trades_on_date", "not_in_archive",
    "below_rank",
)  # fmt: skip
# Those that every page tells of; the others are told when a symbol-day has them.
TOLD = STATES[:5]
REASONS = ("not_downloaded", "failed", "incomplete", "confirmed_gap")


def made_up(
    symbols: Sequence[str],
    days: int,
    datasets: Sequence[str] = ("klines",),
    *,
    lacking: float = 0.05,
    seed: int = 0,
    file: str = "data/universe.json",
) -> dict[str, Any]:
    """A 5m report from 2025-01-01 on, through the product's own collector; `lacking` is the chance of a bad symbol-day."""
    chance = random.Random(seed)
    first = {symbol: 0 if chance.random() < 0.6 else chance.randrange(days) for symbol in symbols}
    unlisted = {symbol for symbol in symbols if chance.random() < 0.06}
    start = date(2025, 1, 1)
    coverage = Coverage(Dataset(datasets[0]) if datasets else Dataset.KLINES)
    for index in range(days):
        day = start + timedelta(days=index)
        gone = {symbol: MissingReason.NO_KLINE_ON_DATE for symbol in symbols if index < first[symbol]}
        gone |= dict.fromkeys((symbol for symbol in symbols if symbol in unlisted), MissingReason.NOT_IN_CURRENT_TRADING_LIST)
        coverage.defined(day, gone)
        for name in datasets:
            totals, missing = Totals(), {}
            for symbol in symbols:
                if symbol in gone:
                    continue
                actual = expected = WHOLE_DAY[name]
                partial = 0
                if chance.random() < lacking:
                    actual = 0 if chance.random() < 0.2 else chance.randint(0, expected)
                    partial = chance.randint(0, actual) if chance.random() < 0.1 else 0
                totals.add(expected, actual, partial)
                if actual < expected or partial:
                    missing[symbol] = {"expected": expected, "actual": actual, "reason": chance.choice(REASONS)}
                    if partial:
                        missing[symbol]["partial_bars"] = partial
            coverage.exported(Dataset(name), day, totals, missing)
    return {
        "schema_version": "1.0",
        "generated_at": "2026-03-01T00:00:00+00:00",
        "universe": {"file": file, "sha256": "ab" * 32, "start_date": "2025-01-01", "end_date": "2025-12-31"},
        "window": {"start_date": start.isoformat(), "end_date": (start + timedelta(days=days - 1)).isoformat()},
        "source_freq": "5m",
        "export_freq": "5m",
        **coverage.to_dict(),
    }


def state_of(report: dict[str, Any], dataset: str, symbol: str, day: str) -> str:
    """What one cell has to say, straight from the report."""
    if symbol in report["define_missing"].get(day, {}):
        return str(report["define_missing"][day][symbol])
    entry = report["export_missing"].get(day, {}).get(symbol, {}).get(dataset)
    if entry is None or (entry["actual"] and entry["actual"] >= entry["expected"]):
        return "complete"
    return "partial" if entry["actual"] else "missing"


def reasons(report: dict[str, Any], dataset: str) -> list[tuple[int, int]]:
    """For each of REASONS how many symbol-days are partial and how many are missing, straight from the report."""
    found = dict.fromkeys(REASONS, (0, 0))
    for entries in (entries for symbols in report["export_missing"].values() for entries in symbols.values()):
        entry = entries.get(dataset)
        if entry and entry["actual"] < entry["expected"]:
            partial, missing = found[entry["reason"]]
            found[entry["reason"]] = (partial + (entry["actual"] > 0), missing + (entry["actual"] == 0))
    return [found[reason] for reason in REASONS]


def unpacked(row: list[int]) -> list[int]:
    """A row of the page with its repeats written out."""
    cells: list[int] = []
    for item in row:
        cells += [cells[-1]] * -item if item < 0 else [item]
    return cells


def counts(states: Sequence[str]) -> list[int]:
    """Active symbol-days, then those of each state that every page tells of."""
    by_state = [states.count(state) for state in TOLD]
    return [sum(by_state[:3]), *by_state]


class Page(HTMLParser):
    """The parts of a page that tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[tuple[str, list[list[str]]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append(("", []))
        if tag == "tr":
            self.tables[-1][1].append([])
        if tag in ("td", "th"):
            self.tables[-1][1][-1].append("")
        if tag not in ("meta", "link", "input", "rect", "path", "wbr"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag, f"</{tag}> inside {self._open}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if not self._open:
            return
        self.texts[self._open[-1]][-1] += data
        if self._open[-1] == "caption":
            self.tables[-1] = (self.tables[-1][0] + data, self.tables[-1][1])
        elif "td" in self._open or "th" in self._open:
            self.tables[-1][1][-1][-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of that name."""
        return [attributes for name, attributes in self.tags if name == tag]
