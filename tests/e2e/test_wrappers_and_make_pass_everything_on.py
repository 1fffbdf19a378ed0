"""What stands around the command: the bash wrappers, the Makefile targets and the demo."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import ROOT, Outcome, Workspace
from tests.e2e.crash_steps import json_file
from tests.e2e.steps import assert_stored, contents, klines, wait_until, write_universe
from tests.exchange import Fault, Market, ReplayExchange

# The environment is there already: neither a package index nor a new stamp is needed to test the targets.
BIN = Path(sys.executable).parent
MAKE = ("make", "--no-print-directory", "-o", ".venv/.package", f"BIN={BIN}")
BRIEF = {"first": "2026-02-10", "last": "2026-02-11"}


def run(workspace: Workspace, *command: str, folder: Path | None = None, timeout: float = 60.0) -> Outcome:
    """Any command in a folder, with the workspace's environment."""
    done = subprocess.run(
        command, cwd=folder or workspace.folder, env={**workspace.env(), "PYTHON": sys.executable},
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def wrapper(workspace: Workspace, name: str, *arguments: str) -> Outcome:
    """One of the wrappers, from a folder that is not the checkout."""
    return run(workspace, str(ROOT / "scripts" / f"universe_{name}.sh"), *arguments)


def test_the_wrappers_work_from_any_folder(workspace: Workspace) -> None:
    workspace.environment["PYTHONPATH"] = ""
    window = ("--start-date", BRIEF["first"], "--end-date", BRIEF["last"])
    names = ("my symbols.txt", "a folder/my universe.json", "a folder/my market.db", "my exports")
    (workspace.folder / names[0]).write_text("LINKUSDT ALGOUSDT\n")
    description = "two words, $HOME; `quoted` \"and\" 'more' *"
    defined = wrapper(
        workspace, "define", "--symbols", f"@{names[0]}", *window, "--output", names[1], "--description", description
    )  # fmt: skip
    assert (defined.code, defined.report["universe_file"]) == (0, names[1]), defined
    assert json.loads((workspace.folder / names[1]).read_text())["description"] == description
    downloaded = wrapper(workspace, "download", "--universe-file", names[1], "--db-path", names[2], "--interval", "1h")
    assert (downloaded.code, downloaded.report["rows"]["klines"]) == (0, 96), downloaded
    assert_stored(workspace, "LINKUSDT", "1h", database=names[2], **BRIEF)
    files = ("--universe-file", names[1], "--db-path", names[2], "--export-base-path", names[3])
    exported = wrapper(workspace, "export", *files, "--source-freq", "1h", "--export-freq", "1d")
    assert (exported.code, exported.report["files"]) == (0, 2), exported


def test_the_wrappers_keep_exit_codes(workspace: Workspace, exchange: ReplayExchange, market: Market) -> None:
    assert wrapper(workspace, "define").code == 2
    assert wrapper(workspace, "export", "--universe-file", "none.json").code == 2
    assert wrapper(workspace, "download", "--help").code == 0
    write_universe(workspace.folder, ["LINKUSDT"], **BRIEF)
    download = ("download", "--universe-file", "universe.json", "--db-path", "market.db", "--max-retries", "0")
    market.without_objects(lambda key: True)
    exchange.faults.add(Fault.server_error(500, host="api", times=None))
    assert wrapper(workspace, *download).code == 3
    exchange.faults.clear()
    exchange.faults.add(Fault.restricted_451(host="api", times=None))
    refused = wrapper(workspace, *download)
    assert refused.code == 4
    assert refused.report["status"] == "incomplete", "stdout passes through"
    define = (
        "define",
        "--symbols",
        "LINKUSDT",
        "--start-date",
        "2026-02-10",
        "--end-date",
        "2026-02-11",
        "--output",
        "other.json",
    )
    assert wrapper(workspace, *define).code == 4


def test_a_signal_reaches_the_command_behind_a_wrapper(workspace: Workspace, exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.slow(30.0, times=None))
    command = [str(ROOT / "scripts" / "universe_define.sh"), "--symbols", "LINKUSDT", "--output", "universe.json"]
    command += ["--start-date", "2026-02-10", "--end-date", "2026-02-11"]
    with subprocess.Popen(command, cwd=workspace.folder, env=workspace.env(), stderr=subprocess.DEVNULL) as running:
        wait_until(lambda: exchange.requests)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=10) == 143


def test_make_passes_arguments_through(workspace: Workspace) -> None:
    universe, database = workspace.folder / "a b" / "universe.json", workspace.folder / "a b" / "market.db"

    def make(target: str, *arguments: str) -> Outcome:
        return run(workspace, *MAKE, target, f"ARGS={shlex.join(arguments)}", folder=ROOT)

    window = ("--start-date", BRIEF["first"], "--end-date", BRIEF["last"])
    defined = make("define", "--symbols", "LINKUSDT,AVAXUSDT", *window, "--output", str(universe), "--description", "it's ours")
    assert (defined.code, defined.report["active_symbol_days"]) == (0, 4), defined
    assert json.loads(universe.read_text())["description"] == "it's ours"
    files = ("--universe-file", str(universe), "--db-path", str(database))
    assert make("download", *files, "--interval", "4h").report["rows"]["klines"] == 24
    assert klines(database, "AVAXUSDT", "4h") == truth.rows("AVAXUSDT", "4h", **BRIEF)
    exported = make("export", *files, "--source-freq", "4h", "--export-freq", "4h", "--export-base-path", str(universe.parent))
    assert (exported.code, exported.report["files"]) == (0, 2)
    refused = make("define", "--symbols", "LINKUSDT", *window, "--output", str(universe))
    assert refused.code != 0
    assert "--force" in refused.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of its own for the demo, which writes into the checkout that it stands in."""
    folder = tmp_path / "check out"
    folder.mkdir()
    for name in ("cryptoservice", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    return folder


def ports(text: str) -> list[int]:
    """Ports of the exchange that the demo says it has started."""
    found = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", text.splitlines()[0])]
    assert len(found) == 3
    return found


def nobody_listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return False
    return True


def test_the_demo_shows_the_whole_way(checkout: Path) -> None:
    workspace = Workspace(checkout.parent, {"PYTHONPATH": str(checkout)})
    outcome = run(workspace, *MAKE, "demo", folder=checkout)
    assert outcome.code == 0, outcome
    lines = outcome.stdout.splitlines()
    typed = [line for line in lines if line.startswith("$ ")]
    assert [line.split()[3] for line in typed] == ["define", "download", "export", "define"]
    assert all(line.startswith("$ cryptoservice universe ") for line in typed)
    assert all(symbol in typed[0] for symbol in truth.SYMBOLS)
    assert len(re.findall(r"[A-Z]+USDT", typed[0])) == 6
    reports = [json.loads(line) for line in lines if line.startswith("{")]
    kept = [json_file(checkout / "demo-data/reports" / f"{name}.json") for name in ("define", "download", "export", "everyone")]
    assert kept == reports
    assert [report.get("active_symbol_days") for report in reports] == [84, None, None, 96]
    summary = outcome.stdout[outcome.stdout.rindex("}") + 1 :]
    for words in (
        "84",
        "6 symbols x 28 days",
        "24,192 klines",
        "100.00%",
        "demo-data/exports",
        "OLDUSDT: delisted, active until 2026-02-12",
    ):
        assert words in summary
    data = checkout / "demo-data"
    files = [name for name in contents(data) if name.endswith("klines.csv")]
    assert len(files) == 28
    reasons = json.loads((data / "universe.json").read_text())["daily_snapshots"][0]["missing_symbols"]
    assert sorted(reasons.values()) == ["no_kline_on_date", "not_in_current_trading_list", "not_in_current_trading_list"]
    for symbol in truth.SYMBOLS:
        assert klines(data / "market.db", symbol) == truth.rows(symbol, "5m")
    assert all(nobody_listens(port) for port in ports(outcome.stdout))
    assert not (data / "exchange.json").exists()
    # What the last lines name is there, and what they advise runs.
    look, _, follow = summary.partition("Look at\n")[2].partition("Try next\n")
    named = [line.split()[0] for line in look.splitlines() if line]
    assert [Path(name).suffix for name in named] == [".html", ".csv"]
    assert all((checkout / name).is_file() for name in named)
    activated, command = follow.splitlines()[0].strip().split(" && ")
    assert activated == "source .venv/bin/activate"
    status = run(workspace, "bash", "-c", f"PATH={shlex.quote(str(BIN))}:$PATH; {command}", folder=checkout)
    assert (status.code, len(status.report["datasets"])) == (0, 3), status
    assert "make exchange" in follow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_exchange_is_kept_for_commands_by_hand(tmp_path: Path, number: signal.Signals) -> None:
    environment = Workspace(tmp_path).env()
    any_ports = "ARGS=--api-port 0 --vision-port 0 --listing-port 0"
    # A process group of its own: the signal goes to make and the exchange, as a terminal sends it.
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen([*MAKE, "exchange", any_ports], cwd=ROOT, env=environment, text=True, **how) as kept:
        assert kept.stdout is not None
        shown = list(iter(kept.stdout.readline, "Ctrl-C ends it.\n"))
        workspace = Workspace(tmp_path, dict(line.split()[1].split("=") for line in shown if line.startswith("export ")))
        # The market is that of the demo.
        listed = workspace.run("universe", "symbols", "--listing", "archive")
        assert listed.stdout.split() == sorted([*truth.SYMBOLS, "OLDUSDT"]), listed
        assert workspace.define().report["active_symbol_days"] == 84
        os.killpg(kept.pid, number)
        printed, said = kept.communicate(timeout=20)
    assert printed == "\nThe replay exchange has ended.\n"
    assert "Traceback" not in said
    assert number != signal.SIGINT or said == ""
    found = [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)", "".join(shown))]
    assert len(found) == 3
    assert all(nobody_listens(port) for port in found)
    assert contents(tmp_path).keys() == {"universe.json"}


def test_a_demo_that_fails_leaves_no_exchange_behind(checkout: Path) -> None:
    # The real command behind a console script that sends it to a port where nobody listens.
    tools = checkout.parent / "tools"
    tools.mkdir()
    (tools / "python").symlink_to(Path(sys.executable).resolve())
    script = tools / "cryptoservice"
    flags = "--max-retries 0 --api-base-url http://127.0.0.1:9"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cryptoservice "$@" {flags}\n')
    script.chmod(0o755)
    workspace = Workspace(checkout.parent, {"PYTHONPATH": str(checkout)})
    outcome = run(workspace, *MAKE, f"BIN={tools}", "demo", folder=checkout)
    assert outcome.code != 0
    assert "error: " in outcome.stderr
    assert "$ cryptoservice universe download" not in outcome.stdout
    assert all(nobody_listens(port) for port in ports(outcome.stdout))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_stopped_leaves_no_exchange_behind(checkout: Path, number: signal.Signals) -> None:
    environment = Workspace(checkout.parent, {"PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1"}).env()
    # A process group of its own: the signal goes to all of the demo's processes, as a terminal sends it.
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen([sys.executable, "scripts/demo.py"], cwd=checkout, env=environment, text=True, **how) as demo:
        assert demo.stdout is not None
        found = ports(demo.stdout.readline())
        # A Python that is just starting up would speak of an interrupt in its own words.
        wait_until((checkout / "demo-data" / "market.db.lock").exists)
        os.killpg(demo.pid, number)
        _, said = demo.communicate(timeout=20)
    assert demo.returncode == (130 if number == signal.SIGINT else -number), said
    assert "Traceback" not in said
    wait_until(lambda: all(nobody_listens(port) for port in found), seconds=5)


def test_the_wrappers_are_ready_to_run() -> None:
    scripts = sorted((ROOT / "scripts").glob("universe_*.sh"))
    assert [script.name for script in scripts] == ["universe_define.sh", "universe_download.sh", "universe_export.sh"]
    assert all(os.access(script, os.X_OK) for script in scripts)
