"""docs/cli.md is what the commands say about themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT

PAGE = ROOT / "docs" / "cli.md"
COMMANDS = ["cryptoservice", "cryptoservice universe"]
COMMANDS += [
    f"cryptoservice universe {name}" for name in ("define", "symbols", "download", "export", "status", "verify", "lock", "audit")
]


def documented() -> dict[str, str]:
    """The text under every heading."""
    text = PAGE.read_text(encoding="utf-8")
    return dict(re.findall(r"^## ([^\n]*)\n\n```text\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))


def letters(text: str) -> str:
    """The text without white space: terminals and versions of Python break lines in different places."""
    return "".join(text.split())


def test_every_command_has_its_section() -> None:
    assert list(documented()) == COMMANDS
    below = {word for text in documented().values() for word in re.findall(r"^ {4}([a-z]+) ", text, flags=re.MULTILINE)}
    assert below == {command.rpartition(" ")[2] for command in COMMANDS[1:]}
    assert max(map(len, PAGE.read_text(encoding="utf-8").splitlines())) <= 120


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_says_what_the_command_says(command: str) -> None:
    typed = [sys.executable, "-m", *command.split(), "--help"]
    said = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert letters(documented()[command]) == letters(said), "run `make docs` and commit docs/cli.md"


def test_it_can_be_written_again(tmp_path: Path) -> None:
    again = tmp_path / "cli.md"
    subprocess.run([sys.executable, str(ROOT / "scripts" / "cli_docs.py"), str(again)], cwd=tmp_path, check=True)
    assert letters(again.read_text(encoding="utf-8")) == letters(PAGE.read_text(encoding="utf-8"))
