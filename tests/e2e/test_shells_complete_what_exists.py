"""Shell completion: what a real bash offers, against what the real `--help` says. The scripts themselves are shtab's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import ROOT, Outcome, Workspace
from tests.e2e.shells import bash_offers
from tests.e2e.steps import assert_refused

LEAVES = ["define", "symbols", "download", "export", "status", "verify", "lock", "audit"]
COMMANDS: list[list[str]] = [[], ["universe"], *(["universe", name] for name in LEAVES)]
# Which flags take a path, an interval, or one of a few words.
FILES = {"--universe-file", "--db-path", "--output", "--symbols-file", "--lock", "--report"}
WORDS = {
    "--interval": truth.INTERVALS, "--source-freq": truth.INTERVALS, "--export-freq": truth.INTERVALS,
    "--log-format": ("text", "json"), "--kline-source": ("auto", "vision", "api"),
    "--listing": ("exchange", "archive"), "--rebalance": ("day", "week", "month"), "--print-completion": ("bash", "zsh"),
}  # fmt: skip


@cache
def printed(*arguments: str) -> str:
    """What the real command prints."""
    command = [sys.executable, "-m", "cryptoservice", *arguments]
    environment = {"COLUMNS": "1000", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def flags(*command: str) -> dict[str, str]:
    """Every spelling of every flag in the help of a command, with its metavar."""
    found = {}
    for spelled in re.findall(r"^  (-\S.*?)(?:  +|\n {10,})", printed(*command, "--help"), flags=re.MULTILINE):
        metavar = re.sub(r"^.*?--[a-z-]+ ?", "", spelled)
        found.update(dict.fromkeys(re.findall(r"(?<!\S)--?[a-z][a-z-]*", spelled), metavar))
    return found


def test_bash_offers_what_the_help_says(tmp_path: Path) -> None:
    (tmp_path / "completion.bash").write_text(printed("--print-completion", "bash"))
    here = tmp_path / "here"
    for name in ("data", "a folder"):
        (here / name).mkdir(parents=True)
    for name in ("universe.json", "second list.txt"):
        (here / name).touch()
    due: list[tuple[list[str], set[str]]] = [
        (["cryptoservice", "uni"], {"universe"}),
        (["cryptoservice", "universe", ""], set(LEAVES)),
        (["cryptoservice", "universe", "e"], {"export"}),
        (["cryptoservice", "universe", "nonsense"], set()),
    ]
    for command in COMMANDS:
        line = ["cryptoservice", *command]
        known = flags(*command)
        due.append(([*line, "-"], set(known)))
        due += [([*line, flag, ""], set(words)) for flag, words in WORDS.items() if flag in known]
        due += [([*line, flag, ""], {"data", "a folder", "universe.json", "second list.txt"}) for flag in FILES & known.keys()]
        due += [([*line, flag, ""], {"data", "a folder"}) for flag, metavar in known.items() if metavar == "DIR"]
    assert len(due) > 30
    for (words, expected), offered in zip(
        due, bash_offers(tmp_path / "completion.bash", [words for words, _ in due], here), strict=True
    ):
        assert offered == expected, words


def test_the_scripts_hold_every_flag_of_every_command_and_none_that_the_help_hides() -> None:
    for shell in ("bash", "zsh"):
        script = printed("--print-completion", shell)
        for command in COMMANDS:
            # Both scripts keep what belongs to a command under its name.
            name = "_".join(["_shtab_cryptoservice", *command])
            part = "".join(re.findall(rf"^{name}_(?:option_strings=\(.*?\)|options=\(.*?^\))$", script, re.MULTILINE | re.DOTALL))
            spelled = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", re.sub(r"\[.*\]", "", part)))
            assert spelled == flags(*command).keys(), (shell, command)


def test_paths_and_words_of_this_table_are_those_of_the_help() -> None:
    known = {flag: metavar for command in COMMANDS for flag, metavar in flags(*command).items()}
    assert {flag for flag, metavar in known.items() if metavar == "FILE"} == FILES
    assert {flag for flag, metavar in known.items() if metavar.startswith("{") or metavar in ("FREQ", "SHELL")} == set(WORDS)


@pytest.mark.parametrize("arguments", [["fish"], [""], []])
def test_an_unknown_shell_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    assert_refused(Workspace(tmp_path).run("--print-completion", *arguments), "--print-completion", "--help")


def test_without_shtab_it_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "shtab.py").write_text("raise ImportError('not installed')\n")
    workspace = Workspace(tmp_path)
    assert_refused(workspace.run("--print-completion", "bash"), "shtab", "pip install", "[completion]", code=1)
    assert workspace.run("--help").code == 0


def test_half_a_script_is_a_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        command = [sys.executable, "-m", "cryptoservice", "--print-completion", "bash"]
        done = subprocess.run(command, cwd=ROOT, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False)
    assert_refused(Outcome(done.returncode, "", done.stderr), "stdout", code=1)
