"""What a run must not pass over in silence: names that nobody knows, files that go away, what an export lacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cryptoservice import UsageError, define_universe
from tests.e2e.conftest import Workspace
from tests.e2e.steps import contents


def test_define_names_what_is_not_listed(workspace: Workspace) -> None:
    names = [f"NOSUCH{number}USDT" for number in range(10)]
    outcome = workspace.define(symbols=",".join(["LINKUSDT", *names]))
    assert outcome.code == 0
    (line,) = [line for line in outcome.said.splitlines() if "NOSUCH" in line]
    assert line == f"warning: not in the current trading list, so never active: {', '.join(names[:8])} and 2 more"
    assert "no requested symbol is active" not in outcome.stderr


def test_define_says_that_nothing_is_active(workspace: Workspace) -> None:
    outcome = workspace.define(symbols="LINKUSD")
    assert (outcome.code, outcome.report["active_symbol_days"]) == (0, 0)
    assert "no requested symbol is active on any day" in outcome.stderr
    assert outcome.stderr.rstrip().endswith("define it again with --force")


def test_define_says_that_nothing_is_active_when_it_is_quiet_too(workspace: Workspace) -> None:
    """The exit code is 0, so this one line is all that a script can learn of it without reading the report."""
    window = ("--start-date", "2026-02-01", "--end-date", "2026-02-02")
    outcome = workspace.define("-q", symbols="LINKUSD,AVAXUSD", window=window)
    assert (outcome.code, outcome.report["active_symbol_days"]) == (0, 0)
    assert outcome.said == (
        "warning: no requested symbol is active on any day of 2026-02-01 to 2026-02-02 (4 not_in_current_trading_list): "
        "the universe file says so under missing_symbols; did you mean LINKUSDT, AVAXUSDT?\n"
    )
    outcome = workspace.define("-q", "--force", "--log-format", "json", symbols="LINKUSD", window=window)
    (line,) = outcome.stderr.splitlines()
    assert json.loads(line)["level"] == "warning"
    assert "no requested symbol is active" in json.loads(line)["message"]
    loud = workspace.define("--force", symbols="LINKUSD", window=window)
    assert loud.stderr.count("no requested symbol is active") == 1
    assert workspace.define("-q", "--force", symbols="LINKUSDT,AVAXUSD", window=window).stderr == ""


def test_a_string_is_no_list_of_symbols(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="symbols is one string: 'LINKUSDT'"):
        define_universe("LINKUSDT", "2026-02-01", "2026-02-02", tmp_path / "universe.json")
    assert contents(tmp_path) == {}


def test_an_export_says_what_it_lacks_and_removes(workspace: Workspace) -> None:
    workspace.define()
    assert workspace.download().code == 0
    first = workspace.run(*EXPORT, "--coverage-html")
    assert first.code == 0
    assert "missing" not in first.stderr
    report = Path(first.report["coverage_html_path"])
    assert (workspace.folder / report).is_file()
    (workspace.folder / "market.db").unlink()
    assert workspace.run(*DOWNLOAD, "--end-date", "2026-02-10").code == 0
    kept = workspace.run(*EXPORT)
    assert "18 day files from before were kept, from 2026-02-11 to 2026-02-28: this database has no rows for them" in kept.stderr
    assert len(list((workspace.folder / "exports/klines/freq=5m").iterdir())) == 28
    second = workspace.run(*EXPORT, "--prune")
    assert second.code == 0
    assert "18 day files of an earlier export were removed, from 2026-02-11 to 2026-02-28" in second.stderr
    assert f"54 of 84 symbol-days are missing and 0 partial: why, says {second.report['report_path']}" in second.stderr
    assert not (workspace.folder / report).exists(), "a map that is older than its report says what is no longer so"
    assert len(list((workspace.folder / "exports/klines/freq=5m").iterdir())) == 10
    assert workspace.run(*EXPORT, "--quiet").stderr == ""


DOWNLOAD = ("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db", "--interval", "5m")
EXPORT = (
    "universe", "export", "--universe-file", "universe.json", "--db-path", "market.db", "--export-base-path", "exports",
    "--source-freq", "5m", "--export-freq", "5m",
)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("define --symbols LINKUSDT", "write: cryptoservice universe define ..."),
        (
            "universe status --universe-file x --symbols LINKUSDT",
            "did you mean --symbol? see cryptoservice universe status --help",
        ),
        ("universe dowload", "did you mean download? see cryptoservice universe --help"),
    ],
)
def test_hints_lead_to_the_right_help(tmp_path: Path, line: str, hint: str) -> None:
    outcome = Workspace(tmp_path).run(*line.split())
    assert outcome.code == 2
    assert outcome.stderr.splitlines()[-1] == f"hint: {hint}"


def test_without_its_dependencies_it_says_which_is_lacking(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['requests'] = None; from cryptoservice.cli.main import main; "
        "sys.exit(main(['universe', 'define', '--symbols', 'LINKUSDT', '--start-date', '2026-02-01', '--end-date', '2026-02-02', "
        "'--output', 'universe.json']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    hint = "hint: install what this program needs with: pip install -e .\n"
    assert done.stderr == f"error: the package requests is not installed\n{hint}"
