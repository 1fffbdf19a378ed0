"""Exit code 3 always comes with one line on stderr: how much is missing, the most frequent reason, and what to do."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import write_universe
from tests.exchange import Fault, Market, ReplayExchange

AROUND = ("2026-02-09", "2026-02-11")
VERIFY = ("universe", "verify", "--universe-file", "universe.json", "--db-path", "market.db")
# The flags that shape the log, by the name of the form that they give it.
FORMS: dict[str, tuple[str, ...]] = {
    "quiet": ("-q",), "text": (), "verbose": ("-v",),
    "quiet json": ("-q", "--log-format", "json"), "json": ("--log-format", "json"),
}  # fmt: skip


def last_line(outcome: Outcome, form: str, *named: str) -> str:
    """The last line of stderr, an error. The only others, with -q the only other lines, are those that name the differences."""
    assert outcome.code == 3, outcome
    assert outcome.stdout.count("\n") == 1
    assert isinstance(outcome.report, dict)
    lines = outcome.stderr.splitlines()
    if "json" in form:
        records = [json.loads(line) for line in lines]
        assert [record.get("exit_code") for record in records].count(3) == 1
        assert (records[-1]["level"], records[-1]["exit_code"]) == ("error", 3)
        texts = [record["message"] for record in records if record["level"] == "error"]
    else:
        texts = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        assert lines[-1] == f"error: {texts[-1]}"
    assert tuple(texts[:-1]) == named, outcome.stderr
    assert len(lines) == len(texts) or "quiet" not in form, outcome.stderr
    assert "Traceback" not in outcome.stderr
    return texts[-1]


@pytest.mark.parametrize("form", FORMS)
def test_an_incomplete_download(workspace: Workspace, exchange: ReplayExchange, market: Market, form: str) -> None:
    """Of nine symbol-days the archive lacks four; the API answers with one error for three of them, with another for one."""
    write_universe(workspace.folder, ["LINKUSDT", "AVAXUSDT", "ALGOUSDT"], *AROUND)
    market.without_objects(lambda key: "/monthly/" in key or "LINKUSDT" in key or "AVAXUSDT-5m-2026-02-09" in key)
    link = Fault.api_error(-1100, "no", times=None, when=lambda request: request.params.get("symbol") == "LINKUSDT")
    exchange.faults.add(link)
    exchange.faults.add(Fault.server_error(503, host="api", times=None))
    outcome = workspace.download("--max-retries", "0", *FORMS[form])
    assert [entry["reason"] for entry in outcome.report["failed"]] == ["rest: http_503"] + ["rest: api_error_-1100"] * 3
    assert last_line(outcome, form) == (
        '4 of 9 symbol-days could not be fetched whole, 3 of them with the reason "rest: api_error_-1100": '
        "run the same command again to ask for them"
    )


def test_a_refetch_that_failed_does_not_say_that_anything_is_missing(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], *AROUND)
    assert workspace.download("-q").stderr == ""
    exchange.faults.add(Fault.server_error(500, times=None))
    line = last_line(workspace.download("--no-incremental", "--max-retries", "0", "-q"), "quiet")
    assert line.startswith("3 of 3 symbol-days could not be fetched whole, ")
    assert "complete with 288 kept" in line
    assert "missing" not in line


@pytest.fixture
def stored(workspace: Workspace) -> Workspace:
    """Nine symbol-days from the archive, all complete."""
    write_universe(workspace.folder, ["LINKUSDT", "AVAXUSDT", "ALGOUSDT"], *AROUND)
    assert workspace.download("-q").code == 0
    return workspace


def damage(database: Path) -> None:
    """Three differences: a bar is gone from one symbol-day, and two symbol-days have a bar with trades below zero."""
    of = "series_id = (SELECT id FROM series WHERE symbol = ?)"
    noon = truth.moment("2026-02-10T12:00")
    with sqlite3.connect(database) as db:
        db.execute(f"DELETE FROM kline_rows WHERE {of} AND open_time = ?", ("ALGOUSDT", noon))
        db.execute(f"UPDATE kline_rows SET trades = -1 WHERE {of} AND open_time = ?", ("LINKUSDT", noon))
        db.execute(f"UPDATE kline_rows SET trades = -1 WHERE {of} AND open_time = ?", ("AVAXUSDT", noon))
    db.close()


DIFFERENT = '3 differences, 2 of them of the kind "number_out_of_range": '
# 2026-02-10 12:00:00 UTC, as `date -d @1770724800` says.
NAMED = (
    "klines 5m LINKUSDT 2026-02-10 number_out_of_range: rows 1, first time 1770724800000",
    "klines 5m AVAXUSDT 2026-02-10 number_out_of_range: rows 1, first time 1770724800000",
    "klines 5m ALGOUSDT 2026-02-10 row_count: ledger 288, database 287",
)
HEAL = "repair them with verify --repair"
SAME_SAMPLE = " --sample 9 --seed 1"
NOT_COMPARED = '{0} of 9 sampled symbol-days could not be compared, {0} of them with the reason "rest: http_503": '
AGAIN = "run the same command again"


@pytest.mark.parametrize("form", ["quiet", "text", "quiet json", "json"])
@pytest.mark.parametrize(
    ("damaged", "failing", "line"),
    [
        (True, 0, DIFFERENT + HEAL),
        (False, 4, NOT_COMPARED.format(4) + AGAIN),
        (True, 9, f"{DIFFERENT}{HEAL}{SAME_SAMPLE}; {NOT_COMPARED.format(9)}{AGAIN}"),
    ],
    ids=["different", "not compared", "both"],
)
def test_a_database_that_is_not_sound(
    stored: Workspace, exchange: ReplayExchange, form: str, damaged: bool, failing: int, line: str
) -> None:
    if damaged:
        damage(stored.folder / "market.db")
    exchange.faults.add(Fault.server_error(503, host="api", times=failing))
    sample = ("--sample", "9", "--seed", "1", "--max-retries", "0") if failing else ()
    assert last_line(stored.run(*VERIFY, *sample, *FORMS[form]), form, *(NAMED if damaged else ())) == line


def test_what_the_line_says_to_do_helps(stored: Workspace) -> None:
    damage(stored.folder / "market.db")
    assert stored.run(*VERIFY, "-q").code == 3
    assert stored.run(*VERIFY, "--repair", "-q").code == 0
    assert (stored.run(*VERIFY, "-q").code, stored.run(*VERIFY, "-q").stderr) == (0, "")
