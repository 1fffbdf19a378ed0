"""A universe, or a window of one, in which no requested symbol is active: valid, nothing to fetch, and said as it is."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Workspace
from tests.e2e.crash_steps import csvs
from tests.e2e.steps import assert_refused, write_universe
from tests.exchange import ReplayExchange

WINDOW = ("2026-02-09", "2026-02-11")
DAYS = truth.days(*WINDOW)
PAIR = ["LINKUSDT", "AVAXUSDT"]
FILES = ("--universe-file", "universe.json", "--db-path", "market.db")
# 2 symbols on 3 days.
TRUE = "no requested symbol is active on any day of 2026-02-09 to 2026-02-11 (6 no_kline_on_date)"
WHERE = "the universe file says so under missing_symbols"
MISLEADING = ("run download first", "download --download-market-metrics", "all 0 symbol-days", "is it the right one")


@pytest.fixture
def empty(workspace: Workspace) -> Workspace:
    """Two symbols that are missing on all days."""
    write_universe(workspace.folder, PAIR, *WINDOW, missing=dict.fromkeys(PAIR, DAYS))
    return workspace


def assert_told(stderr: str) -> None:
    """One line says it, and nothing misleads."""
    assert stderr.count(TRUE) == 1, stderr
    assert WHERE in stderr
    assert not [words for words in MISLEADING if words in stderr], stderr


def test_a_download_has_nothing_to_do(empty: Workspace, exchange: ReplayExchange) -> None:
    for flags in ((), ("--plan",), ("--download-market-metrics",)):
        outcome = empty.download(*flags)
        assert outcome.code == 0
        assert_told(outcome.stderr)
    assert (outcome.report["status"], outcome.report["wanted_symbol_days"]) == ("complete", 0)
    assert exchange.requests == []
    assert empty.download("-q").stderr == ""


@pytest.mark.parametrize("flags", [(), ("--no-klines",), ("--no-metrics",), ("--coverage-html",)])
def test_an_export_writes_the_report_alone(empty: Workspace, flags: tuple[str, ...]) -> None:
    """Missing data is what the report is for: it names all six symbol-days, and there is no other file."""
    assert empty.download("-q").code == 0
    outcome = empty.export(*flags)
    assert outcome.code == 0, outcome
    assert_told(outcome.stderr)
    assert (outcome.report["files"], csvs(empty.folder / "exports")) == (0, {})
    summary = outcome.report["summary"]
    assert (summary["days"], summary["active_symbol_days"], summary["missing"], summary["expected_bars"]) == (3, 0, 0, 0)
    with open(empty.folder / outcome.report["report_path"]) as file:
        report = json.load(file)
    assert report["define_missing"] == {day: dict.fromkeys(PAIR, "no_kline_on_date") for day in DAYS}
    assert report["merged_missing"] == report["define_missing"]
    assert report["export_missing"] == {}
    # Nothing was expected, so there is no share of it either: neither nothing nor all.
    assert summary["coverage_ratio"] is report["summary"]["coverage_ratio"] is None
    assert [dataset["coverage_ratio"] for dataset in report["datasets"].values()] in ([None], [])
    if "--coverage-html" in flags:
        page = (empty.folder / outcome.report["coverage_html_path"]).read_text(encoding="utf-8")
        assert re.search(r"–\s+no rows were expected", re.sub("<[^>]*>", " ", page))


def test_an_export_of_an_empty_window_takes_away_what_is_stale(workspace: Workspace) -> None:
    """The universe has an active day, the window has none; an earlier export left a file in it."""
    write_universe(workspace.folder, PAIR, "2026-02-08", "2026-02-11")
    assert workspace.download("-q").code == workspace.export("-q").code == 0
    assert len(csvs(workspace.folder / "exports")) == 4
    write_universe(workspace.folder, PAIR, "2026-02-08", "2026-02-11", missing=dict.fromkeys(PAIR, DAYS))
    outcome = workspace.export("--start-date", WINDOW[0])
    assert outcome.code == 0
    assert_told(outcome.stderr)
    assert list(csvs(workspace.folder / "exports")) == ["klines/freq=5m/date=2026-02-08/klines.csv"]
    outcome = workspace.export()
    assert (outcome.code, "no requested symbol" in outcome.stderr) == (0, False)


def test_status_says_it_too(empty: Workspace) -> None:
    assert empty.download("-q").code == 0
    outcome = empty.run("universe", "status", *FILES)
    assert (outcome.code, outcome.report["active_symbol_days"]) == (0, 0)
    assert "0 of 2 symbols active, 0 symbol-days; not active: 6 no_kline_on_date" in outcome.stderr
    assert not [words for words in MISLEADING if words in outcome.stderr], outcome.stderr


def test_there_is_nothing_to_verify(empty: Workspace) -> None:
    assert empty.download("-q").code == 0
    outcome = empty.run("universe", "verify", *FILES)
    assert_refused(outcome, TRUE, WHERE)
    assert_told(outcome.stderr)


def test_there_is_nothing_to_lock(empty: Workspace) -> None:
    assert empty.download("-q").code == 0
    outcome = empty.run("universe", "lock", *FILES, "--output", "lock.json")
    assert_refused(outcome, TRUE, WHERE)
    assert_told(outcome.stderr)
    assert not (empty.folder / "lock.json").exists()


def test_a_database_that_is_not_there_is_still_missed(empty: Workspace) -> None:
    assert_refused(empty.export(), "market.db", "does not exist")


def test_an_interval_that_was_never_downloaded_is_still_missed(workspace: Workspace) -> None:
    write_universe(workspace.folder, PAIR, *WINDOW)
    assert workspace.download("-q").code == 0
    assert_refused(workspace.export(source="1m", target="1m"), "holds no 1m klines", "it has: 5m")
