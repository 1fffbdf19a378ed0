"""What the tests of the recipes share: the code blocks of docs/recipes.md, and a machine that runs them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.conftest import ROOT, Outcome, Workspace

RECIPES = ROOT / "recipes"
SERVER = "/srv/market"
# `cryptoservice` on the path, at the time of $AT when that is set.
SHIM = """#!/bin/sh
export PYTHONPATH={root}
if [ -n "${{AT-}}" ]; then exec {python} -m tests.e2e.at_time "$AT" "$@"; fi
exec {python} -m cryptoservice "$@"
"""


def page() -> str:
    """The recipes as a reader has them."""
    return (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")


def blocks_of(text: str) -> list[tuple[str, str]]:
    """All code blocks of a page: the fence's word, and the text."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def block(fence: str, *words: str) -> str:
    """The one block of the recipes with that fence which holds all these words."""
    found = [text for name, text in blocks_of(page()) if name == fence and all(word in text for word in words)]
    assert len(found) == 1, (fence, words, found)
    return found[0]


@dataclass
class Server:
    """The dataset's folder of a machine: symbols.txt, the script, and a virtual environment with the command."""

    workspace: Workspace
    symbols: str = "LINKUSDT 1000PEPEUSDT"
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        binaries = self.folder / ".venv" / "bin"
        binaries.mkdir(parents=True)
        command = binaries / "cryptoservice"
        command.write_text(SHIM.format(root=shlex.quote(str(ROOT)), python=shlex.quote(sys.executable)))
        command.chmod(0o755)
        shutil.copy(RECIPES / "nightly.sh", self.folder)
        (self.folder / "symbols.txt").write_text(self.symbols + "\n")

    @property
    def folder(self) -> Path:
        """Where all of it stands."""
        return self.workspace.folder

    def env(self, **more: str) -> dict[str, str]:
        """As few variables as cron gives, and the exchange's addresses."""
        base = {"HOME": str(self.folder), "SHELL": "/bin/sh", "PATH": f"{self.folder}/.venv/bin:/usr/bin:/bin"}
        return {**base, "XDG_STATE_HOME": str(self.folder / ".state"), **self.workspace.environment, **self.environment, **more}

    def start(self, line: str, folder: Path | None = None, **more: str) -> subprocess.Popen[str]:
        """A command line, left running in a process group of its own."""
        return subprocess.Popen(
            ["/bin/sh", "-c", line], cwd=folder or self.folder, env=self.env(**more), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def run(self, line: str, folder: Path | None = None, **more: str) -> Outcome:
        """A command line to its end."""
        with self.start(line, folder, **more) as running:
            stdout, stderr = running.communicate(timeout=100)
        return Outcome(running.returncode, stdout, stderr)

    def here(self, text: str) -> str:
        """A recipe's text with this folder in place of the one that it names."""
        return text.replace(SERVER, str(self.folder))


def tool(name: str) -> str:
    """A program that is installed with the tests, else on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    assert found, f"{name} is not installed: pip install -e '.[dev]'"
    return found
