"""What a person sees at the end of a run, with stdout and stderr on real terminals, and where the report goes instead."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import assert_refused, query, tamper, write_universe
from tests.e2e.terminal import run_on_terminal
from tests.exchange import Fault, Market, ReplayExchange

WINDOW = ("2026-02-09", "2026-02-11")
FILES = ("--universe-file", "universe.json", "--db-path", "market.db")
DEFINE = ("define", "--symbols", ",".join(truth.SYMBOLS), "--start-date", WINDOW[0], "--end-date", WINDOW[1])
DOWNLOAD = ("download", *FILES, "--interval", "5m")
EXPORT = ("export", *FILES, "--export-base-path", "exports")
Typed = Callable[..., list[str]]


@pytest.fixture
def typed(workspace: Workspace) -> Typed:
    """Runs a command at a terminal: the lines that stay on the screen. stdout must be empty."""

    def run(*arguments: str, code: int = 0) -> list[str]:
        outcome, screen = run_on_terminal(workspace, "universe", *arguments, piped=False)
        assert (outcome.code, outcome.stdout) == (code, ""), outcome
        assert screen.left.pop() == ""
        return screen.left

    return run


def following(lines: list[str]) -> list[str]:
    """The command that the last line says to type, as arguments of `universe`."""
    assert lines[-1].startswith("next: cryptoservice universe ")
    return shlex.split(lines[-1])[3:]


def test_each_command_leads_to_the_next(typed: Typed, workspace: Workspace) -> None:
    lines = typed(*DEFINE, "--output", "data/universe.json")
    assert lines == [
        "3 of 3 symbols are in the current trading list",
        "universe data/universe.json: 3 symbols, 2026-02-09 to 2026-02-11, 9 of 9 symbol-days active (100 %)",
        "next: cryptoservice universe download --universe-file data/universe.json --db-path data/market.db",
    ]
    lines = typed(*following(lines), "--interval", "1h", "--download-market-metrics")
    assert lines[0] == "27 symbol-days to fetch, 0 settled already"
    assert lines[1].startswith("database data/market.db: 27 of 27 symbol-days settled (100 %), in ")
    # Funding is paid every eight hours.
    assert lines[2:5] == [
        "  klines: 9 of 9, 216 new rows",
        "  metrics: 9 of 9, 2,592 new rows",
        "  funding_rates: 9 of 9, 27 new rows",
    ]
    lines = typed(*following(lines))
    assert lines == [
        "exported into data/exports: 9 CSV files: 216 rows of klines, 216 rows of metrics, 27 rows of funding_rates",
        "coverage of klines: 100 % of 216 bars; symbol-days: 9 complete, 0 partial, 0 missing",
        "report: data/exports/coverage_1h_2026-02-09_2026-02-11.json",
    ]
    assert (workspace.folder / "data/exports/klines/freq=1h/date=2026-02-09/klines.csv").is_file()
    files = ("--universe-file", "data/universe.json", "--db-path", "data/market.db")
    lines = typed("verify", *files)
    assert lines[1] == "sound: 27 symbol-days checked, 2026-02-09 to 2026-02-11"
    lines = typed(*following(lines))
    assert lines[-1] == "sample: 9 of 9 sampled symbol-days compared with the other source, 216 rows"
    lines = typed("lock", *files, "--output", "data/lock.json")
    assert lines[-2].startswith("lock data/lock.json: 9 symbol-months of 3 datasets, 2026-02-09 to 2026-02-11, from ")
    lines = typed(*following(lines))
    assert lines[2:] == [
        "sound: 27 symbol-days checked, 2026-02-09 to 2026-02-11",
        "lock data/lock.json: the same, root and all",
        "next: cryptoservice universe verify --universe-file data/universe.json --db-path data/market.db --sample 20",
    ]
    lines = typed("audit", *files)
    used = query(workspace.folder / "data/market.db", "SELECT count(*) FROM source_objects")[0][0]
    assert lines[-1] == f"unchanged: 100 % of {used} archive files"
    table = [line.split()[:5] for line in typed("status", *files)]
    assert table[5:9] == [
        ["klines", "1h", "100", "%", "9"], ["metrics", "5m", "100", "%", "9"], ["funding_rates", "-", "100", "%", "9"],
        ["total", "-", "100", "%", "27"],
    ]  # fmt: skip
    assert typed("symbols")[-1].endswith(" symbols by the exchange")
    assert typed("download", *files, "--interval", "1h", "--plan")[-1] == "nothing to fetch"
    planned = typed("download", *files, "--interval", "5m", "--plan", "--assume-latency", "0.5")
    assert planned[-2].startswith("6 requests, about ")
    assert planned[-2].endswith(", bound by: the archive at 0.5 s a request, 16 requests at once")
    assert re.fullmatch(r"disk: 0\.\d MB needed, [\d,.]+ GB free", planned[-1])


def test_what_is_missing_is_told_in_lines_and_the_last_one_is_the_error(
    typed: Typed, workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    write_universe(workspace.folder, truth.SYMBOLS, *WINDOW)
    market.without_objects(lambda key: "/monthly/" in key or "LINKUSDT" in key)
    exchange.faults.add(Fault.server_error(503, host="api", times=None))
    lines = typed(*DOWNLOAD, "--max-retries", "0", code=3)
    assert lines[1].startswith("database market.db: 6 of 9 symbol-days settled (66.6 %), in ")
    assert lines[2:] == [
        "  klines: 6 of 9, 1,728 new rows",
        "  not settled: 3 symbol-days of klines, rest: http_503",
        'error: 3 of 9 symbol-days could not be fetched whole, 3 of them with the reason "rest: http_503": '
        "run the same command again to ask for them",
    ]
    lines = typed(*EXPORT)
    assert lines[-3:] == [
        "coverage of klines: 66.6 % of 2,592 bars; symbol-days: 6 complete, 0 partial, 3 missing",
        "report: exports/coverage_5m_2026-02-09_2026-02-11.json",
        "next: cryptoservice universe status --universe-file universe.json --db-path market.db",
    ]
    table = typed(*following(lines))
    assert "klines         5m     66.6 %         6     0           0       3      0  1,728" in table[5]
    assert "  failed, rest: http_503: 3 symbol-days" in table


def test_quiet_json_and_report_have_their_way(workspace: Workspace) -> None:
    write_universe(workspace.folder, truth.SYMBOLS, *WINDOW)
    assert workspace.download().code == 0

    def run(*flags: str) -> tuple[Outcome, Any]:
        return run_on_terminal(workspace, "universe", "status", *FILES, *flags, piped=False)

    piped = workspace.run("universe", "status", *FILES)
    assert piped.stderr == "", "the table is for people"
    for flags in (("-q",), ("--log-format", "json")):
        outcome, _ = run(*flags)
        assert (outcome.code, outcome.stdout, outcome.stderr) == (0, "", "")
    for flags in (("--json",), ("--report", "-"), ("--json", "--report", "-"), ("--json", "-q")):
        outcome, _ = run(*flags)
        assert (outcome.stdout.replace("\r", ""), outcome.stderr) == (piped.stdout, ""), flags
    outcome, screen = run("--report", "new/report.json")
    assert outcome.stdout == ""
    assert screen.left[0].startswith("universe universe.json: ")
    assert json.loads((workspace.folder / "new/report.json").read_text()) == piped.report


def test_a_report_file_holds_every_failure_and_stdout_a_thousand(workspace: Workspace, exchange: ReplayExchange) -> None:
    """540 symbol-days of each of three datasets, from hosts that answer nothing but 500."""
    names = [f"S{number:02}USDT" for number in range(20)]
    write_universe(workspace.folder, names, "2026-02-01", "2026-02-27")
    exchange.faults.add(Fault.server_error(500, times=None))
    flags = ("--download-market-metrics", "--max-retries", "0", "--report", "report.json")
    outcome = workspace.download(*flags)
    assert outcome.code == 3
    whole = json.loads((workspace.folder / "report.json").read_text())
    assert (len(outcome.report["failed"]), len(whole["failed"])) == (1_000, 1_620)
    assert outcome.report["failed"] == whole["failed"][:1_000]
    for report in (outcome.report, whole):
        assert report["failed_total"] == 1_620
        assert {dataset: sum(reasons.values()) for dataset, reasons in report["failed_by_reason"].items()} == dict.fromkeys(
            ("klines", "metrics", "funding_rates"), 540
        )
    assert {name: value for name, value in whole.items() if name != "failed"} == {
        name: value for name, value in outcome.report.items() if name != "failed"
    }
    everything = workspace.download(*flags[:-1], "-")
    assert len(everything.report["failed"]) == 1_620


def test_a_report_is_written_whenever_a_run_comes_to_its_end(workspace: Workspace, exchange: ReplayExchange) -> None:
    report = workspace.folder / "report.json"
    write_universe(workspace.folder, truth.SYMBOLS, *WINDOW)

    def written(*arguments: str, code: int) -> dict[str, Any] | None:
        report.unlink(missing_ok=True)
        outcome = workspace.run("universe", *arguments, "--report", "report.json")
        assert outcome.code == code, outcome
        return json.loads(report.read_text()) if report.exists() else None

    # 2: before any work. 4: refused, with a result and without one.
    assert written("download", *FILES, "--start-date", "2025-01-01", code=2) is None
    exchange.faults.add(Fault.status(451, host="vision", times=None))
    exchange.faults.add(Fault.status(451, host="api", times=None))
    refused = written(*DOWNLOAD, code=4)
    assert refused is not None
    assert refused["failed_total"] == 9
    assert written(*DEFINE, "--output", "other.json", code=4) is None
    exchange.faults.clear()
    complete = written(*DOWNLOAD, code=0)
    assert complete is not None
    assert complete["status"] == "complete"
    tamper(workspace, "UPDATE kline_rows SET trades = -1 WHERE open_time % 86400000 = 0")
    different = written("verify", *FILES, code=3)
    assert different is not None
    assert different["status"] == "different"
    exported = written(*EXPORT, code=0)
    assert exported is not None
    assert exported["files"] == 3


def test_what_cannot_share_a_stream_or_a_file_is_refused(workspace: Workspace) -> None:
    path = write_universe(workspace.folder, truth.SYMBOLS, *WINDOW)
    before = path.read_bytes()
    for flags in (("--json",), ("--report", "-")):
        assert_refused(workspace.run("universe", *DEFINE, "--output", "-", *flags), "--output -", flags[0], "--report FILE")
    for name in ("universe.json", "./universe.json", "market.db"):
        assert_refused(workspace.run("universe", *DOWNLOAD, "--report", name), "of this run", "choose another name")
    assert_refused(workspace.run("universe", *DOWNLOAD, "--report", "/dev/null"), "is not a regular file", "standard output")
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in workspace.folder.iterdir() if entry.name != ".state") == ["universe.json"]


def test_a_lock_goes_through_a_pipe(workspace: Workspace) -> None:
    write_universe(workspace.folder, truth.SYMBOLS, *WINDOW)
    assert workspace.download().code == 0
    written = workspace.run("universe", "lock", *FILES, "--output", "lock.json")
    printed = workspace.run("universe", "lock", *FILES, "--output", "-", "--report", "report.json")
    assert printed.code == 0
    assert printed.stdout == (workspace.folder / "lock.json").read_text()
    report = json.loads((workspace.folder / "report.json").read_text())
    assert (report["root"], report["lock_file"]) == (written.report["root"], None)
    for text, code in ((printed.stdout, 0), (printed.stdout.replace(report["root"], "0" * 64), 2), ("", 2)):
        with (workspace.folder / "in").open("w") as handle:
            handle.write(text)
        with (workspace.folder / "in").open() as handle:
            running = workspace.start("universe", "verify", *FILES, "--lock", "-", stdin=handle.fileno())
            stdout, stderr = running.communicate(timeout=60)
        assert running.returncode == code, stderr
        assert ("lock file (standard input)" in stderr) == bool(code)
        assert bool(stdout) != bool(code)


def test_an_interrupt_says_how_much_is_safe(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder, first="2026-02-01", last="2026-02-20")
    exchange.latency = 0.1
    slowly = ("universe", *DOWNLOAD, "--kline-source", "api", "--max-api-workers", "1")
    outcome, screen = run_on_terminal(workspace, *slowly, seen=lambda text: "symbol-days (" in text, piped=False)
    assert (outcome.code, outcome.stdout) == (130, "")
    ((stored,),) = query(workspace.folder / "market.db", "SELECT count(*) FROM symbol_days WHERE status = 'complete'")
    assert 0 < stored < 60
    assert screen.left[-3:] == [
        f"error: interrupted by SIGINT: {stored} of 60 symbol-days stored", "hint: run the same command again", "",
    ]  # fmt: skip


def test_a_prepared_folder_needs_no_flags(workspace: Workspace, typed: Typed) -> None:
    home = workspace.folder
    workspace.environment |= {
        "HOME": str(home),
        "CRYPTOSERVICE_UNIVERSE_FILE": "~/universe.json",
        "CRYPTOSERVICE_DB_PATH": "~/market.db",
        "CRYPTOSERVICE_EXPORT_BASE_PATH": "~/exports",
    }
    (home / "symbols.txt").write_text("\n".join(truth.SYMBOLS))
    # 2026-03-05 is the day by the recordings; 24 days before it is 9 February.
    dates = ("--start-date", "24d", "--end-date", "22d", "--output", "~/universe.json")
    made = workspace.run("universe", "define", "--symbols", "@~/symbols.txt", *dates, at="2026-03-05T00:00:01+00:00")
    assert made.code == 0, made
    assert (made.report["start_date"], made.report["end_date"]) == WINDOW
    before = workspace.run("universe", "status")
    assert (before.code, before.report.get("datasets", [])) == (0, []), before
    assert f"there is no database at {home}/market.db yet" in before.stderr
    assert_refused(workspace.run("universe", "status", "--db-path", "other.db"), "other.db does not exist")
    lines = typed("download", "--interval", "5m")
    assert lines[-1] == "next: cryptoservice universe export --source-freq 5m"
    report = workspace.run("universe", "export").report
    assert report["report_path"] == str(home / "exports/coverage_5m_2026-02-09_2026-02-11.json")
    assert report["summary"]["coverage_ratio"] == 1.0
    day = (home / "exports/klines/freq=5m/date=2026-02-09/klines.csv").read_text()
    assert day == truth.csv_text({symbol: truth.rows(symbol, "5m", "2026-02-09", "2026-02-09") for symbol in truth.SYMBOLS})
    provenance = workspace.run("universe", "status", "--symbol", "LINKUSDT", "--date", "24d", at="2026-03-05T23:59:00+00:00")
    assert (provenance.code, provenance.report["date"]) == (0, "2026-02-09")
    # A flag wins; and with a second interval there is none that could be meant.
    assert_refused(workspace.run("universe", "export", "--db-path", "none.db"), "none.db does not exist")
    assert workspace.run("universe", "download", "--interval", "1h").code == 0
    assert_refused(workspace.run("universe", "export"), "several intervals", "--source-freq", "5m 1h")
    workspace.environment["CRYPTOSERVICE_DB_PATH"] = ""
    assert_refused(workspace.run("universe", "export"), "--db-path", "CRYPTOSERVICE_DB_PATH can stand for it")


def test_define_refuses_today_by_any_name(workspace: Workspace) -> None:
    at = "2026-03-05T12:00:00+00:00"
    for word in ("0d", "2026-03-05"):
        dates = ("--start-date", "yesterday", "--end-date", word, "--output", "u.json")
        refused = workspace.run("universe", "define", "--symbols", "LINKUSDT", *dates, at=at)
        assert_refused(refused, "2026-03-05")
    assert not Path(workspace.folder / "u.json").exists()
