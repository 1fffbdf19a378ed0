"""Recipes for every night: the script, the line for cron and the units for systemd, each as it is shown."""

from __future__ import annotations

import configparser
import json
import os
import re
import signal
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.crash_steps import csvs, temps
from tests.e2e.recipe_steps import RECIPES, Server, block, page
from tests.e2e.steps import contents, query, stamps, wait_until, write_universe
from tests.exchange import Fault, Market, ReplayExchange

FIRST = "2026-01-31"
PEPE = "1000PEPEUSDT"


@pytest.fixture
def market() -> Market:
    """The recorded February, and a symbol that was there before and is there today."""
    market = Market.recorded()
    market.add_symbol(PEPE, first_day=date(2026, 1, 30))
    return market


@pytest.fixture
def server(workspace: Workspace) -> Server:
    return Server(workspace)


def night_after(day: str) -> datetime:
    """Half past nine of the next morning."""
    return datetime.fromisoformat(f"{day}T09:30:00+00:00") + timedelta(days=1)


def night(server: Server, exchange: ReplayExchange, day: str, first: str = FIRST) -> Outcome:
    """The script in the night after that day."""
    now = night_after(day)
    exchange.now = lambda: now
    return server.run(f"./nightly.sh {first} {day}", AT=now.isoformat())


def assert_silent(outcome: Outcome) -> None:
    """What cron makes no mail of."""
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, "", "")


def assert_one_line(outcome: Outcome, code: int, *words: str) -> None:
    """What cron makes a mail with one line of."""
    assert (outcome.code, outcome.stderr) == (code, ""), outcome
    assert re.fullmatch(r"2026-\d\d-\d\d: (define|download|export): .*\n", outcome.stdout), outcome.stdout
    for word in (*words, f"(exit code {code})"):
        assert word in outcome.stdout


def assert_shown(outcome: Outcome) -> None:
    """The table of the recipes shows this line, with dots where machines and moments differ."""
    shown = re.search(rf"^\| {outcome.code} \| `([^`]+)`", page(), flags=re.MULTILINE)
    assert shown
    form = re.escape(shown[1]).replace(re.escape("2026-02-11"), r"2026-\d\d-\d\d").replace(re.escape("..."), ".+")
    assert re.match(form, outcome.stdout), (shown[1], outcome.stdout)


def exported(server: Server, day: str) -> list[str]:
    """Symbols in a day's file, each once for a bar."""
    lines = (server.folder / f"exports/klines/freq=5m/date={day}/klines.csv").read_text().splitlines()[1:]
    return [line.split(",", 1)[0] for line in lines]


def test_day_after_day_is_the_same_as_all_at_once(server: Server, exchange: ReplayExchange, market: Market) -> None:
    workspace = server.workspace
    assert_silent(night(server, exchange, "2026-01-31"))
    assert_silent(night(server, exchange, "2026-02-01"))
    assert exported(server, "2026-01-31") == [PEPE] * 288
    # The same night again: nothing is asked for, nothing is written.
    before, asked = stamps(server.folder), len(exchange.requests)
    assert_silent(night(server, exchange, "2026-02-01"))
    assert (stamps(server.folder), len(exchange.requests)) == (before, asked)
    # A night that the machine slept through is made up for by the next one.
    assert_silent(night(server, exchange, "2026-02-03"))
    done = csvs(server.folder / "exports")
    assert len(done) == 4
    reports = [json.loads(line) for line in (server.folder / "reports.jsonl").read_text().splitlines()]
    assert len(reports) == 4 * 3
    assert [report["rows"]["klines"] for report in reports if "report_path" in report] == [288, 576, 576, 576]
    assert (
        done["klines/freq=5m/date=2026-02-03/klines.csv"]
        .decode()
        .endswith(truth.csv_text({"LINKUSDT": truth.rows("LINKUSDT", "5m", "2026-02-03", "2026-02-03")}).split("\n", 1)[1])
    )
    exchange.now = None
    assert workspace.define(symbols=f"LINKUSDT,{PEPE}", window=("--start-date", FIRST, "--end-date", "2026-02-03")).code == 0
    other = ("--universe-file", "universe.json", "--db-path", "other.db")
    assert workspace.run("universe", "download", *other, "--interval", "5m").code == 0
    frequencies = ("--source-freq", "5m", "--export-freq", "5m")
    assert workspace.run("universe", "export", *other, "--export-base-path", "once", *frequencies).code == 0
    assert csvs(server.folder / "once") == done
    # A symbol that is delisted keeps the days on which it was there.
    market.delist("LINKUSDT")
    assert_silent(night(server, exchange, "2026-02-04"))
    assert exported(server, "2026-02-04") == [PEPE] * 288
    assert {name: body for name, body in csvs(server.folder / "exports").items() if name in done} == done


def test_what_is_missing_comes_the_next_night(server: Server, exchange: ReplayExchange, market: Market) -> None:
    hole = truth.moment("2026-02-10T12:00")
    market.drop_klines("LINKUSDT", hole, hole + truth.DAY // 4, sources=("rest",))
    market.archive_until = date(2026, 2, 9)
    first = night(server, exchange, "2026-02-10", "2026-02-10")
    why = '1 of 2 symbol-days could not be fetched whole, 1 of them with the reason "not_published_yet"'
    assert_one_line(first, 3, f"2026-02-10: download: error: {why}: run the same command again")
    assert_shown(first)
    assert exported(server, "2026-02-10").count("LINKUSDT") == 216
    assert query(server.folder / "market.db", "SELECT symbol, reason FROM symbol_days WHERE status <> 'complete'") == [
        ("LINKUSDT", "not_published_yet")
    ]
    market.archive_until = date(2026, 2, 10)
    assert_silent(night(server, exchange, "2026-02-11", "2026-02-10"))
    for day in ("2026-02-10", "2026-02-11"):
        assert exported(server, day).count("LINKUSDT") == 288
    assert query(server.folder / "market.db", "SELECT DISTINCT status FROM symbol_days") == [("complete",)]


def test_a_hole_that_stays_says_so_for_a_week_at_most(server: Server, exchange: ReplayExchange, market: Market) -> None:
    hole = truth.moment("2026-02-10T12:00")
    market.drop_klines("LINKUSDT", hole, hole + truth.DAY // 4)
    market.archive_until = date(2026, 2, 9)
    assert night(server, exchange, "2026-02-10", "2026-02-10").code == 3
    now = night_after("2026-02-17")
    exchange.now = lambda: now
    assert_silent(server.run("./nightly.sh 2026-02-10 2026-02-10", AT=now.isoformat()))
    assert exported(server, "2026-02-10").count("LINKUSDT") == 216


def test_a_day_without_any_active_symbol_is_not_done(server: Server, exchange: ReplayExchange) -> None:
    symbols = server.folder / "symbols.txt"
    symbols.write_text("LINKUSD\n")
    for attempt in range(2):
        asked = len(exchange.requests)
        outcome = night(server, exchange, "2026-02-10", "2026-02-10")
        assert_one_line(outcome, 3, "2026-02-10: define: no symbol of symbols.txt was active: universes/2026-02-10.json says why")
        assert outcome.stdout.removesuffix(" (exit code 3)\n") in page().replace("2026-02-11", "2026-02-10")
        assert len(exchange.requests) > asked, attempt
        assert [path.name for path in (server.folder / "universes").iterdir()] == ["2026-02-10.json"]
        assert not (server.folder / "market.db").exists()
        assert not (server.folder / "exports").exists()
    # The name is put right, and the next night makes up for the day.
    symbols.write_text("LINKUSDT\n")
    assert_silent(night(server, exchange, "2026-02-10", "2026-02-10"))
    assert exported(server, "2026-02-10") == ["LINKUSDT"] * 288
    assert (server.folder / "universes/2026-02-10.done").exists()
    before, asked = stamps(server.folder), len(exchange.requests)
    assert_silent(night(server, exchange, "2026-02-10", "2026-02-10"))
    assert (stamps(server.folder), len(exchange.requests)) == (before, asked)


def test_a_day_without_any_active_symbol_holds_no_other_day_up(server: Server, exchange: ReplayExchange) -> None:
    # Both symbols were listed later than the first two of these days.
    outcome = night(server, exchange, "2026-01-30", "2026-01-28")
    assert (outcome.code, outcome.stderr) == (3, "")
    lines = outcome.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["2026-01-28", "2026-01-29"]
    assert all(": define: no symbol of symbols.txt was active: " in line for line in lines)
    assert exported(server, "2026-01-30") == [PEPE] * 288
    assert [path.name for path in (server.folder / "universes").glob("*.done")] == ["2026-01-30.done"]


def test_a_day_without_any_active_symbol_that_cannot_be_defined_anew_says_why(server: Server, exchange: ReplayExchange) -> None:
    (server.folder / "symbols.txt").write_text("LINKUSD\n")
    assert night(server, exchange, "2026-02-10", "2026-02-10").code == 3
    universe = (server.folder / "universes/2026-02-10.json").read_bytes()
    exchange.faults.add(Fault.restricted_451(host="api", times=None))
    assert_one_line(night(server, exchange, "2026-02-10", "2026-02-10"), 4, "define: error: ", "; hint: ")
    assert (server.folder / "universes/2026-02-10.json").read_bytes() == universe


def test_an_overlapping_night_leaves_everything_alone(server: Server, exchange: ReplayExchange) -> None:
    (server.folder / "universes").mkdir()
    write_universe(server.folder, ["LINKUSDT"], "2026-02-10", "2026-02-10", name="universes/2026-02-10.json")
    exchange.faults.add(Fault.slow(60.0, times=None))
    running = server.start("./nightly.sh 2026-02-10 2026-02-11")
    wait_until(lambda: exchange.requests)
    before, asked = contents(server.folder), len(exchange.requests)
    second = server.run("./nightly.sh 2026-02-10 2026-02-11")
    assert_one_line(second, 5, "2026-02-10: download: error: another run holds this database: host ", "; hint: wait until")
    assert_shown(second)
    assert (contents(server.folder), len(exchange.requests)) == (before, asked)
    # systemctl stop sends SIGTERM to the script and its command alike.
    os.killpg(running.pid, signal.SIGTERM)
    running.communicate(timeout=20)
    assert running.returncode != 0
    exchange.faults.clear()
    # The script ends before its command has, which listens for half a second to what is on its way.
    after: list[Outcome] = []
    wait_until(lambda: after.append(server.run("./nightly.sh 2026-02-10 2026-02-11")) or after[-1].code != 5)
    assert_silent(after[-1])
    assert len(csvs(server.folder / "exports")) == 2
    assert not temps(server.folder)


def test_two_nights_that_start_together(server: Server, exchange: ReplayExchange) -> None:
    exchange.latency = 0.3
    runs = [server.start("./nightly.sh 2026-02-10 2026-02-10") for _ in range(2)]
    for run in runs:
        stdout, stderr = run.communicate(timeout=60)
        if run.returncode:
            assert_one_line(Outcome(run.returncode, stdout, stderr), 5, "download: error: another run holds this database")
    assert 0 in [run.returncode for run in runs]
    assert_silent(server.run("./nightly.sh 2026-02-10 2026-02-10"))
    assert exported(server, "2026-02-10") == [PEPE] * 288 + ["LINKUSDT"] * 288


def test_a_first_night_without_any_data(server: Server, exchange: ReplayExchange, market: Market) -> None:
    market.archive_until = date(2026, 2, 9)
    exchange.faults.add(Fault.api_error(-1100, "no", when=lambda request: request.params.get("interval") == "5m", times=None))
    assert_one_line(night(server, exchange, "2026-02-10", "2026-02-10"), 3, "download: ")
    exchange.faults.clear()
    assert_silent(night(server, exchange, "2026-02-10", "2026-02-10"))


def test_a_night_that_is_refused_is_made_up_for(server: Server, exchange: ReplayExchange) -> None:
    # The history before came through one universe, into the same database and folder.
    window = ("--start-date", "2026-02-08", "--end-date", "2026-02-09")
    assert server.workspace.define(symbols="LINKUSDT", window=window).code == 0
    assert server.workspace.download().code == server.workspace.export().code == 0
    before = csvs(server.folder / "exports")
    exchange.faults.add(Fault.restricted_451(host="api", times=None))
    refused = night(server, exchange, "2026-02-10", "2026-02-10")
    assert_one_line(refused, 4, "define: error: ", "; hint: ")
    assert_shown(refused)
    assert csvs(server.folder / "exports") == before
    exchange.faults.clear()
    assert_silent(night(server, exchange, "2026-02-11", "2026-02-10"))
    after = csvs(server.folder / "exports")
    assert len(after) == 4
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("arguments", ["", "yesterday", "2026-2-1", "2026-02-01 tomorrow"])
def test_other_words_than_days_are_refused(server: Server, arguments: str) -> None:
    outcome = server.run(f"./nightly.sh {arguments}")
    assert (outcome.code, outcome.stderr, outcome.stdout.count("\n")) == (2, "", 1)
    assert "YYYY-MM-DD" in outcome.stdout
    assert not (server.folder / "universes").exists()


def yesterday() -> date:
    return datetime.now(timezone.utc).date() - timedelta(days=1)


def assert_up_to_yesterday(server: Server, market: Market, first: date) -> None:
    """Each day from the first to yesterday has a file with the exchange's own bars of the symbol that trades today."""
    done = csvs(server.folder / "exports")
    day = first
    while day < yesterday() or day == first:
        start = truth.moment(day.isoformat())
        bars = market.kline_rows(PEPE, "5m", start, start + truth.DAY)
        lines = done.pop(f"klines/freq=5m/date={day}/klines.csv").decode().splitlines()[1:]
        assert [line.split(",")[:2] for line in lines] == [[PEPE, str(bar[0])] for bar in bars]
        assert len(lines) == 288
        day += timedelta(days=1)


def test_the_line_for_cron(server: Server, market: Market) -> None:
    lines = server.here(block("crontab")).splitlines()
    settings = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]+=", line))
    schedules = [line for line in lines if not re.match(r"[A-Z]+=", line)]
    assert len(schedules) == 1
    *when, command = schedules[0].split(None, 5)
    assert when == ["30", "9", "*", "*", "*"]
    first = yesterday() - timedelta(days=1)
    line = command.replace("2026-02-01", first.isoformat())
    assert line != command
    # cron runs its lines in the home folder.
    assert_silent(server.run(line, Path("/"), PATH=settings["PATH"]))
    assert_up_to_yesterday(server, market, first)


def unit(name: str) -> configparser.ConfigParser:
    """A unit file. Environment= may be there once here."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((RECIPES / name).read_text())
    return parser


def test_the_units_for_systemd(server: Server, market: Market) -> None:
    service, timer = unit("market.service"), unit("market.timer")
    assert (timer["Timer"]["Persistent"], timer["Install"]["WantedBy"]) == ("true", "timers.target")
    assert {"3", "5"} <= set(service["Service"]["SuccessExitStatus"].split())
    assert service["Service"]["Type"] == "oneshot"
    # The exchange's addresses come from the environment file alone.
    addresses = dict(server.workspace.environment)
    server.workspace.environment.clear()
    path = server.here(service["Service"]["EnvironmentFile"].removeprefix("-"))
    Path(path).write_text("".join(f"{name}={value}\n" for name, value in addresses.items()))
    given = dict(line.split("=", 1) for line in Path(path).read_text().splitlines())
    name, value = service["Service"]["Environment"].split("=", 1)
    first = yesterday()
    command = server.here(service["Service"]["ExecStart"]).replace("2026-02-01", first.isoformat())
    assert_silent(server.run(f"exec {command}", Path("/"), **given, **{name: server.here(value)}))
    assert_up_to_yesterday(server, market, first)


def test_the_page_shows_what_the_files_hold() -> None:
    shown = block("ini").split()
    files = (RECIPES / "market.service").read_text() + (RECIPES / "market.timer").read_text()
    assert [word for word in shown if word not in files.split()] == []
    script = (RECIPES / "nightly.sh").read_text()
    for line in block("sh", "define", "$day").splitlines():
        assert line.replace("cryptoservice universe", "run") in script
