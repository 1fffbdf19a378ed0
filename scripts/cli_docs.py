"""`make docs`: the help of every command, as docs/cli.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "cli.md"
INTRODUCTION = """# The command line

What `--help` says, command by command. Written by `make docs`; a test compares it with the commands.
"""


def main() -> int:
    """Write the page, or another file that is named."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.write_text("\n".join([INTRODUCTION, *sections([])]), encoding="utf-8")
    return 0


def sections(words: list[str]) -> list[str]:
    """One section for a command, and those of the commands below it."""
    text = help_of(words)
    found = [f"## {' '.join(['cryptoservice', *words])}\n\n```text\n{text}```\n"]
    # Commands below this one stand four spaces in; flags and their help do not.
    for word in re.findall(r"^ {4}([a-z]+) ", text, flags=re.MULTILINE):
        found += sections([*words, word])
    return found


def help_of(words: list[str]) -> str:
    """What a command prints, 100 columns wide."""
    command = [sys.executable, "-m", "cryptoservice", *words, "--help"]
    # A variable that stands for a flag would make the flag optional.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTOSERVICE_")}
    environment = {**inherited, "COLUMNS": "100"}
    return subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
