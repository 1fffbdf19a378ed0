"""The three workflows of a dataset, typed into a shell word for word: with the console script, and with `python -m`."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import ROOT, Outcome, Workspace
from tests.e2e.steps import addresses, asked, assert_ledger_agrees, contents, klines, objects
from tests.exchange import Market, ReplayExchange

# Two names that nobody lists stand for themselves; the recorded symbols come from the file.
SYMBOLS_FILE = "# recorded\nALGOUSDT\nAVAXUSDT\nLINKUSDT\n"
DEFINE = (
    "cryptoservice universe define --symbols A,@./symbols.txt,B --start-date 2026-02-01 --end-date 2026-02-28 "
    "--output ./data/universe.json --api-key K --api-secret S --daily-check-workers 5 --daily-check-request-delay 0.0 "
    "--daily-check-max-requests-per-minute 1800"
)
DOWNLOAD = (
    "cryptoservice universe download --universe-file ./data/universe.json --db-path ./data/database/market.db --interval 5m"
)
EXPORT = (
    "cryptoservice universe export --universe-file ./data/universe.json --db-path ./data/database/market.db "
    "--export-base-path ./data/exports --source-freq 5m --export-freq "
)
LINES = {
    "define": DEFINE,
    "download": DOWNLOAD,
    "window": f"{DOWNLOAD} --start-date 2026-02-10 --end-date 2026-02-12",
    "export": f"{EXPORT}5m",
    "hours": f"{EXPORT}1h",
}
WAYS = ("console script", "module")


class Shell:
    """A user's shell in a folder; `cryptoservice` is on the path, or spelled `python -m cryptoservice`."""

    def __init__(self, workspace: Workspace, way: str) -> None:
        self.folder = workspace.folder
        self._way = way
        self._environment = workspace.env()
        path = os.pathsep.join((str(Path(sys.executable).parent), self._environment["PATH"]))
        self._environment["PATH"] = path

    def type(self, line: str) -> Outcome:
        """Run one line."""
        if self._way == "module":
            line = line.replace("cryptoservice ", "python -m cryptoservice ", 1)
        done = subprocess.run(
            line, shell=True, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


class Story:
    """All lines run in order, what they said, and what they asked for."""

    def __init__(self, shell: Shell, exchange: ReplayExchange) -> None:
        self.data = shell.folder / "data"
        self.outcomes: dict[str, Outcome] = {}
        self.objects: dict[str, list[str]] = {}
        self.requests: dict[str, int] = {}
        self.keys: set[tuple[str, str | None]] = set()
        for name, line in LINES.items():
            exchange.reset_requests()
            self.outcomes[name] = shell.type(line)
            self.objects[name] = objects(exchange)
            self.requests[name] = len(asked(exchange))
            self.keys |= {(request.host, request.headers.get("x-mbx-apikey")) for request in exchange.requests}


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Story]]:
    """The workflows, once in each way."""
    with ReplayExchange(Market.recorded()) as exchange:
        made = {}
        for way in WAYS:
            folder = tmp_path_factory.mktemp("workflow")
            (folder / "symbols.txt").write_text(SYMBOLS_FILE)
            made[way] = Story(Shell(Workspace(folder, addresses(exchange)), way), exchange)
        yield made


@pytest.mark.parametrize("way", WAYS)
def test_the_workflows_run_as_they_stand(stories: dict[str, Story], way: str) -> None:
    story = stories[way]
    assert {name: outcome.code for name, outcome in story.outcomes.items()} == dict.fromkeys(LINES, 0), story.outcomes
    reports = {name: outcome.report for name, outcome in story.outcomes.items()}
    define, download, window = reports["define"], reports["download"], reports["window"]
    assert (define["requested_symbols"], define["daily_snapshots"], define["active_symbol_days"]) == (5, 28, 84)
    assert (download["status"], download["rows"]["klines"]) == ("complete", 84 * 288)
    assert (window["wanted_symbol_days"], window["already_complete"], window["downloaded"]) == (9, 9, 0)
    assert story.requests == {"define": 4, "download": 6, "window": 0, "export": 0, "hours": 0}
    assert story.objects["download"] == [f"{symbol}-5m-2026-02" for symbol in truth.SYMBOLS]
    assert "no data is requested" in story.outcomes["window"].stderr
    assert story.keys == {("api", "K"), ("vision", None)}


@pytest.mark.parametrize("way", WAYS)
def test_every_row_of_the_database_equals_the_recordings(stories: dict[str, Story], way: str) -> None:
    database = stories[way].data / "database" / "market.db"
    for symbol in truth.SYMBOLS:
        assert klines(database, symbol) == truth.rows(symbol, "5m")
    assert klines(database, "A") == klines(database, "B") == []
    assert_ledger_agrees(database)


@pytest.mark.parametrize("freq", ["5m", "1h"])
@pytest.mark.parametrize("way", WAYS)
def test_every_row_of_the_files_equals_the_recordings(stories: dict[str, Story], way: str, freq: str) -> None:
    due = {symbol: iter(truth.rows(symbol, freq)) for symbol in truth.SYMBOLS}
    folder = stories[way].data / "exports" / "klines" / f"freq={freq}"
    assert sorted(path.name for path in folder.iterdir()) == [f"date={day}" for day in truth.days()]
    for day in truth.days():
        with (folder / f"date={day}" / "klines.csv").open(newline="") as handle:
            header, *lines = csv.reader(handle)
        assert tuple(header) == truth.COLUMNS
        assert len(lines) == 3 * 1440 // truth.INTERVALS[freq]
        for symbol, *values in lines:
            assert tuple(values) == tuple(map(repr, next(due[symbol]))), (symbol, day)
    assert [next(rest, None) for rest in due.values()] == [None] * 3


def test_both_ways_do_the_same(stories: dict[str, Story]) -> None:
    left, right = (stories[way] for way in WAYS)
    created = [json.loads((story.data / "universe.json").read_text())["created_at"] for story in (left, right)]
    for name in LINES:
        ends = []
        for story in (left, right):
            report = story.outcomes[name].report
            for varying in ("elapsed_seconds", "waited_seconds"):
                report.pop(varying, None)
            ends.append((report, story.outcomes[name].said))
        assert ends[0] == ends[1], name
    files = [contents(story.data / "exports") for story in (left, right)]
    assert files[0].keys() == files[1].keys()
    for name, body in files[0].items():
        if name.endswith(".csv"):
            assert files[1][name] == body, name
    universes = [(story.data / "universe.json").read_text() for story in (left, right)]
    assert universes[0].replace(created[0], "") == universes[1].replace(created[1], "")
    assert contents(left.data).keys() >= {"universe.json", "database/market.db", "exports/coverage_5m_2026-02-01_2026-02-28.json"}


@pytest.mark.parametrize("line", ["cryptoservice delete", "cryptoservice universe -q", "cryptoservice universe export -q"])
def test_both_ways_refuse_the_same(tmp_path: Path, line: str) -> None:
    workspace = Workspace(tmp_path)
    script, module = (Shell(workspace, way).type(line + " ") for way in WAYS)
    assert script == module
    assert script.code == 2
    assert script.stderr.startswith("error: ")


@pytest.mark.parametrize("line", ["cryptoservice", "cryptoservice universe"])
def test_both_ways_help_whoever_names_no_command(tmp_path: Path, line: str) -> None:
    workspace = Workspace(tmp_path)
    script, module = (Shell(workspace, way).type(line + " ") for way in WAYS)
    assert script == module
    assert (script.code, script.stdout) == (2, "")
    assert script.stderr == Shell(workspace, WAYS[0]).type(f"{line} --help").stdout


@pytest.mark.parametrize("command", ["", "universe ", "universe define ", "universe download ", "universe export "])
def test_help_and_version(tmp_path: Path, command: str) -> None:
    script, module = (Shell(Workspace(tmp_path), way).type(f"cryptoservice {command}--help") for way in WAYS)
    assert script == module
    assert (script.code, script.stderr) == (0, "")
    assert "exit codes" in script.stdout
    if command.count(" ") == 2:
        assert "default" in script.stdout or "export" in command
        assert all(flag in script.stdout for flag in FLAGS[command.split()[1]].split())


# Every flag that a command must have.
_ALL = " --quiet --verbose --log-format --json --report"
_NETWORK = _ALL + " --api-key --api-secret --max-retries --max-ban-wait --api-base-url --vision-base-url"
FLAGS = {
    "define": "--symbols --symbols-file --start-date --end-date --output --force --description --daily-check-workers "
              "--daily-check-request-delay --daily-check-max-requests-per-minute" + _NETWORK,
    "download": "--universe-file --db-path --interval --download-market-metrics --start-date --end-date --no-incremental "
                "--max-api-workers --max-vision-workers --api-request-delay --vision-request-delay --kline-source "
                "--plan" + _NETWORK,
    "export": "--universe-file --db-path --export-base-path --source-freq --export-freq --start-date --end-date --no-klines "
              "--no-metrics --coverage-html" + _ALL,
    "status": "--universe-file --db-path --start-date --end-date --symbol --date" + _ALL,
    "verify": "--universe-file --db-path --start-date --end-date --sample --seed --lock" + _NETWORK,
    "lock": "--universe-file --db-path --output --start-date --end-date --force" + _ALL,
}  # fmt: skip


def test_the_version_is_told(tmp_path: Path) -> None:
    outcome = Workspace(tmp_path).run("--version")
    assert outcome.code == 0
    assert outcome.stdout.startswith("cryptoservice ")


def test_it_runs_from_a_checkout_that_is_not_installed(tmp_path: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "cryptoservice", "--version"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "."},
    )  # fmt: skip
    assert (outcome.returncode, outcome.stderr) == (0, "")
