"""Every command of the README is run, in order, as a reader would type it; the exchange is the replay."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import ROOT, Workspace

README = ROOT / "README.md"
# These would run this very suite, or install again what runs it: that their targets exist is checked instead.
NOT_RUN_HERE = ("make demo", "make test", "make test-slow", "make lint", "make bench", "make bench-scale", "pip install .")


def commands() -> list[str]:
    """The lines of all shell blocks."""
    blocks = re.findall(r"^```bash\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def checkout(folder: Path) -> None:
    """What a reader has in the folder: the wrappers, the Makefile and the package."""
    for name in ("cryptoservice", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "Makefile", folder)


def test_every_command_runs(workspace: Workspace) -> None:
    checkout(workspace.folder)
    binaries = Path(sys.executable).parent
    environment = {**workspace.env(), "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    lines = commands()
    assert len(lines) >= 12
    for line in lines:
        if line in NOT_RUN_HERE:
            continue
        # make would first build a virtual environment of its own in this folder.
        typed = line.replace("make define", f"make define BIN={binaries} -o .venv/.package")
        done = subprocess.run(
            ["bash", "-c", typed], cwd=workspace.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (workspace.folder / "data/exports/klines/freq=1h/date=2026-02-01/klines.csv").is_file()
    assert (workspace.folder / "data/exports/coverage_4h_2026-02-10_2026-02-12.json").is_file()


def test_make_targets_of_the_readme_exist() -> None:
    text = README.read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z][a-z-]*)\b(?!s)", text)) & {
        line.split()[1] for line in NOT_RUN_HERE if "make" in line
    }
    assert {"demo", "test", "lint"} <= targets
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_flags_of_help_stand_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    for command in ("define", "download", "export", "status", "verify"):
        done = subprocess.run(
            [sys.executable, "-m", "cryptoservice", "universe", command, "--help"], capture_output=True, text=True, check=True
        )
        for flag in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", done.stdout)) - {"--help"}:
            assert flag in text, f"{flag} of {command} is not in the README"
