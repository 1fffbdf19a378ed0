"""What people and log files see of a run while it lasts: on a real pseudo-terminal, in a log, as JSON, and nothing with -q."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from cryptoservice.clock import Clock
from cryptoservice.export.command import export_universe_data
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import query, write_universe
from tests.e2e.terminal import Screen, run_on_terminal
from tests.exchange import Fault, ReplayExchange

DAYS = ("2026-02-01", "2026-02-20")
DOWNLOAD = ("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db", "--interval", "5m")
# One request at a time, 12 of them a symbol.
SLOWLY = (*DOWNLOAD, "--kline-source", "api", "--max-api-workers", "1")
LATENCY = 0.1

LINE_KEYS = ["time", "level", "logger", "message"]
PROGRESS_KEYS = [
    *LINE_KEYS, "event", "stage", "unit", "done", "total", "unsettled", "rows", "rows_per_second", "elapsed_seconds",
    "eta_seconds", "requests", "waited_seconds", "pause_seconds", "requests_planned", "rows_planned", "parts", "full_until",
]  # fmt: skip
ERROR_KEYS = [*LINE_KEYS, "hint", "exit_code"]

COUNT = r"download: (?P<done>\d+) of (?P<total>\d+) symbol-days \((?P<share>\d+) %\)"
FIGURES = r", about (?P<left>\d+) s left, (?P<rows>[\d,]+) rows/s, (?P<requests>\d+) of 36 requests, (?P<waited>\d+) s waited"
FULL = re.compile(COUNT + FIGURES)
VERIFYING = r"verify: \d+ of 25 symbol-days \(\d+ %\)(, about \d s left)?, [\d,]+ rows/s, \d+ requests"
DEFINING = r"define: 40 of 60 symbol-days \(66 %\), about \d s left, \d requests"
PAUSED = re.compile(COUNT + r", paused by the host, \d s to go.*")


@pytest.fixture
def lasting(workspace: Workspace, exchange: ReplayExchange) -> Workspace:
    """A workspace with 60 symbol-days to fetch, and a host that takes its time over them."""
    write_universe(workspace.folder, first=DAYS[0], last=DAYS[1])
    exchange.latency = LATENCY
    return workspace


def json_lines(outcome: Outcome) -> list[dict[str, Any]]:
    """Every line of stderr, each of which must be an object."""
    records = [json.loads(line) for line in outcome.stderr.splitlines()]
    assert all(isinstance(record, dict) for record in records)
    return records


def assert_rising(values: Iterable[int]) -> None:
    values = list(values)
    assert values == sorted(values)


# -- on a terminal -----------------------------------------------------------------------------------------------------


def test_a_terminal_shows_one_line_that_goes_away(lasting: Workspace, exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.too_many(retry_after=2, path="/fapi/v1/klines", skip=8))
    outcome, screen = run_on_terminal(lasting, *SLOWLY)
    assert outcome.code == 0
    assert outcome.stdout.count("\n") == 1
    assert outcome.report["rows"]["klines"] == 60 * 288
    # All that stays is the log; the progress line has been erased where it stood.
    assert len(screen.drawn) >= 10
    assert [line for line in screen.left if line.startswith("download:")] == []
    assert screen.left[0] == "60 symbol-days to fetch, 0 settled already"
    assert screen.left[1].startswith("warning: ")
    assert "429" in screen.left[1]
    assert screen.left[2:] == [""]
    progress = [line for line in screen.drawn if line.startswith("download:")]
    found = [match for match in map(FULL.fullmatch, progress) if match]
    assert len(found) >= 5
    assert any(PAUSED.fullmatch(line) for line in progress)
    assert {match["total"] for match in found} == {"60"}
    assert_rising(int(match["done"]) for match in found)
    assert_rising(int(match["requests"]) for match in found)
    assert int(found[-1]["requests"]) <= len(exchange.requests)
    for match in found:
        assert int(match["share"]) == int(match["done"]) * 100 // 60
    # Rows arrive 288 a symbol-day; the run lasted at least as long as its requests were kept waiting.
    longest = outcome.report["elapsed_seconds"]
    assert all(0 < int(match["rows"].replace(",", "")) <= 60 * 288 / 2 for match in found)
    assert all(int(match["left"]) <= longest * 60 for match in found)


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}], ids=["as it is", "NO_COLOR"])
def test_short_work_has_no_line_and_nothing_has_a_colour(workspace: Workspace, environment: dict[str, str]) -> None:
    write_universe(workspace.folder, first=DAYS[0], last=DAYS[1])
    workspace.environment.update(environment)
    outcome, screen = run_on_terminal(workspace, *DOWNLOAD)
    assert outcome.code == 0
    assert screen.sent == "60 symbol-days to fetch, 0 settled already\r\n"
    refused, screen = run_on_terminal(workspace, "universe", "define", "--force", "--output", "x.json")
    assert refused.code == 2
    assert "\x1b" not in screen.sent


def test_terminals_and_wishes_differ(lasting: Workspace) -> None:
    def run(kind: str, *flags: str, columns: int = 120, **environment: str) -> tuple[Outcome, Screen]:
        workspace = Workspace(lasting.folder, {**lasting.environment, **environment})
        return run_on_terminal(workspace, *SLOWLY, "--db-path", f"{kind}.db", *flags, columns=columns)

    with ThreadPoolExecutor(4) as pool:
        narrow = pool.submit(run, "narrow", columns=40)
        grey = pool.submit(run, "grey", NO_COLOR="1")
        dumb = pool.submit(run, "dumb", TERM="dumb")
        quiet = pool.submit(run, "quiet", "-q")
    for future in (narrow, grey, dumb, quiet):
        outcome = future.result()[0]
        assert (outcome.code, outcome.stdout.count("\n"), outcome.report["status"]) == (0, 1, "complete")

    screen = narrow.result()[1]
    lines = [line for line in screen.drawn if line.startswith("download:")]
    assert lines
    # As wide as the terminal, though stdout is none: a line that wraps could not be drawn over.
    assert max(map(len, lines)) == 39
    assert screen.left == ["60 symbol-days to fetch, 0 settled already", ""]
    screen = grey.result()[1]
    assert screen.drawn
    assert set(re.findall(r"\x1b.[^A-Za-z]*[A-Za-z]", screen.sent)) == {"\x1b[K"}
    screen = dumb.result()[1]
    assert "\x1b" not in screen.sent
    assert re.match(COUNT, screen.left[1])
    assert quiet.result()[1].sent == ""


def test_an_interrupt_wipes_the_line_before_it_speaks(lasting: Workspace) -> None:
    outcome, screen = run_on_terminal(lasting, *SLOWLY, seen=lambda text: "symbol-days (" in text)
    assert (outcome.code, outcome.stdout) == (130, "")
    ((stored,),) = query(lasting.folder / "market.db", "SELECT count(*) FROM symbol_days WHERE status = 'complete'")
    assert screen.left == [
        "60 symbol-days to fetch, 0 settled already",
        f"error: interrupted by SIGINT: {stored} of 60 symbol-days stored",
        "hint: run the same command again",
        "",
    ]  # fmt: skip


def test_define_and_verify_show_theirs(lasting: Workspace, exchange: ReplayExchange) -> None:
    exchange.latency = 1.0
    define = ("universe", "define", "--symbols", "ALGOUSDT,AVAXUSDT,LINKUSDT", "--start-date", DAYS[0], "--end-date", DAYS[1])
    outcome, screen = run_on_terminal(lasting, *define, "--output", "new.json", "--daily-check-workers", "1")
    assert outcome.code == 0
    assert any(re.fullmatch(DEFINING, line) for line in screen.drawn)
    assert screen.left == ["3 of 3 symbols are in the current trading list", ""]

    exchange.latency = 0.0
    assert lasting.download().code == 0
    exchange.latency = 0.6
    verify = ("universe", "verify", "--universe-file", "universe.json", "--db-path", "market.db", "--sample", "25", "--seed", "1")
    outcome, screen = run_on_terminal(lasting, *verify, "--max-vision-workers", "8")
    assert outcome.code == 0
    assert any(re.fullmatch(VERIFYING, line) for line in screen.drawn)
    assert len(screen.left) == 3
    assert screen.left[-1] == ""
    assert not any(line.startswith("verify:") for line in screen.left)


# -- in a log ----------------------------------------------------------------------------------------------------------


def test_a_log_gets_a_line_every_twentieth(lasting: Workspace) -> None:
    commands = {
        "text": SLOWLY,
        "json": (*SLOWLY, "--db-path", "json.db", "--log-format", "json", "-v"),
        "quiet": (*SLOWLY, "--db-path", "quiet.db", "-q"),
        "quiet json": (*SLOWLY, "--db-path", "both.db", "-q", "--log-format", "json"),
    }
    with ThreadPoolExecutor(4) as pool:
        outcomes = dict(zip(commands, pool.map(lambda arguments: lasting.run(*arguments), commands.values()), strict=True))
    for outcome in outcomes.values():
        assert outcome.code == 0
        assert outcome.report["rows"]["klines"] == 60 * 288
        assert outcome.stdout.count("\n") == 1
    assert outcomes["quiet"].stderr == outcomes["quiet json"].stderr == ""

    first, *lines = outcomes["text"].said.splitlines()
    assert first == "60 symbol-days to fetch, 0 settled already"
    matches = [re.match(COUNT, line) for line in lines]
    counts = [int(match["done"]) for match in matches if match]
    assert len(counts) == len(lines) >= 3
    # 3 of 60 are 5 %; nothing takes 30 seconds here.
    assert all(after - before >= 3 for before, after in pairwise([0, *counts]))

    records = json_lines(outcomes["json"])
    progress = [record for record in records if "event" in record]
    assert [list(record) for record in progress] == [PROGRESS_KEYS] * len(progress)
    assert [list(record) for record in records if "event" not in record] == [LINE_KEYS] * (len(records) - len(progress))
    assert len(progress) >= 3
    assert {(one["event"], one["stage"], one["unit"], one["total"]) for one in progress} == {
        ("progress", "download", "symbol-days", 60)
    }
    assert all(after["done"] - before["done"] >= 3 for before, after in pairwise(progress))
    assert all(one["rows"] == 288 * one["done"] for one in progress)
    assert all(one["message"].startswith(f"download: {one['done']} of 60 symbol-days") for one in progress)
    for one in progress:
        assert one["rows_per_second"] == pytest.approx(one["rows"] / one["elapsed_seconds"], rel=0.05)
        really = outcomes["json"].report["elapsed_seconds"] - one["elapsed_seconds"]
        # Four commands at once on a machine that others use: the exact times are those of tests/unit/download/forecast.
        assert one["eta_seconds"] == pytest.approx(really, rel=0.5, abs=3.0)
        # Pages of 499, 499 and 442 rows for five days of a symbol.
        assert (one["requests_planned"], one["rows_planned"]) == (36, 60 * 288)
        assert (one["parts"], one["full_until"]) == ({"klines": {"done": one["done"], "total": 60}}, {})


def test_every_line_of_a_json_log_is_an_object(workspace: Workspace) -> None:
    write_universe(workspace.folder, first=DAYS[0], last=DAYS[1])
    form = ("--log-format", "json")
    assert workspace.download().code == 0

    plan = workspace.run(*DOWNLOAD, "--plan", "--interval", "1h", *form)
    assert (plan.code, json_lines(plan)) == (0, [])
    missing = workspace.run("universe", "status", "--universe-file", "none.json", *form, "-v")
    assert missing.code == 2
    traced = json_lines(missing)[-1]
    assert list(traced) == [*ERROR_KEYS, "traceback"]
    assert traced["traceback"].startswith("Traceback")
    plain = workspace.run("universe", "status", "--universe-file", "none.json", *form)
    usage = workspace.run("universe", "status", *form)
    unknown = workspace.run("universe", "status", "--log-format=json", "--colour")
    for outcome in (plain, usage, unknown):
        (record,) = json_lines(outcome)
        assert outcome.code == 2
        assert list(record) == ERROR_KEYS
        assert (record["level"], record["logger"], record["exit_code"]) == ("error", "cryptoservice", 2)
        assert record["hint"]
    assert "--universe-file" in json_lines(usage)[0]["message"]


class LongDays(Clock):
    """A clock by which every look at it takes two seconds."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 2.0
        return self._now


def test_export_counts_symbol_days_too(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    write_universe(workspace.folder, first=DAYS[0], last=DAYS[1])
    assert workspace.download("--download-market-metrics").code == 0
    caplog.set_level("INFO", logger="cryptoservice.progress")
    names = ("universe.json", "market.db", "exports")
    paths = [workspace.folder / name for name in names]
    result = export_universe_data(*paths, source_freq="5m", export_freq="5m", clock=LongDays())
    records = [record.__dict__["fields"] for record in caplog.records if "fields" in record.__dict__]
    assert records
    assert {(one["stage"], one["unit"], one["total"]) for one in records} == {("export", "symbol-days", 60)}
    assert records[-1]["done"] == 60
    assert records[-1]["rows"] == sum(result.to_dict()["rows"].values())
    assert_rising(one["done"] for one in records)
