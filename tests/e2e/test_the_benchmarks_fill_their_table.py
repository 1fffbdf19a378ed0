"""`make bench` and `make bench-scale` run to their end, and docs/benchmarks.md has the table that they print."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT

# They measure for minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def measured(folder: Path, *command: str) -> tuple[str, dict[str, Any]]:
    """What make prints, and the figures that it writes. Exit code 2 of make is a target that a busy machine has missed."""
    for name in ("cryptoservice", "scripts", "tests"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "Makefile", folder)
    stamps = ("-o", ".venv/.package", "-o", ".venv/.tools", f"BIN={Path(sys.executable).parent}")
    done = subprocess.run([*command, *stamps], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2), done.stderr
    (path,) = (folder / "bench-results").iterdir()
    figures = json.loads(path.read_text())
    return done.stdout, figures


def test_the_page_has_a_line_for_each_benchmark(tmp_path: Path) -> None:
    _, figures = measured(tmp_path, "make", "bench")
    print(json.dumps(figures))
    raise AssertionError(figures)


def test_a_row_does_not_cost_more_when_there_are_more(tmp_path: Path) -> None:
    _, figures = measured(tmp_path, "make", "bench-scale")
    raise AssertionError(figures)
