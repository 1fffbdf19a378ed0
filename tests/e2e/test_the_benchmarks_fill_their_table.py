"""`make bench` and `make bench-scale` run to their end. What no machine changes, such as counts of requests, meets its target."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, Workspace

# They measure for minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def measured(folder: Path, *command: str) -> list[dict[str, Any]]:
    """The lines that a benchmark writes; it prints the same, and tells by its exit code whether all targets are met."""
    for name in ("cryptoservice", "scripts", "tests"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "Makefile", folder)
    stamps = ("-o", ".venv/.package", "-o", ".venv/.tools", f"BIN={Path(sys.executable).parent}")
    done = subprocess.run(
        [*command, *stamps], cwd=folder, env=Workspace(folder).env(), capture_output=True, text=True, check=False
    )
    assert (folder / "bench-results").is_dir(), done.stderr
    (path,) = (folder / "bench-results").iterdir()
    figures = json.loads(path.read_text())
    # A busy machine may miss a target; make has one exit code for every failure.
    assert done.returncode == (0 if figures["met"] else 2), done.stderr
    lines: list[dict[str, Any]] = figures["lines"]
    printed = [[cell.strip() for cell in line.split(" | ")][:3] for line in done.stdout.splitlines() if line.startswith("| ")]
    wanted = [[f"| {line['what']}", line["target"], line["measured"]] for line in lines]
    assert printed[1:] == wanted
    return lines


def test_make_bench_measures_whole_commands(tmp_path: Path) -> None:
    lines = measured(tmp_path, "make", "bench")
    assert len(lines) >= 30
    counts = [line for line in lines if line["target"].removeprefix("<= ").isdigit()]
    assert len(counts) >= 10
    assert [line for line in counts if not line["met"]] == []


def test_make_bench_scale_compares_four_sizes(tmp_path: Path) -> None:
    lines = measured(tmp_path, "make", "bench-scale")
    assert [line["what"].split(",")[0] for line in lines] == ["download", "export"]
    for line in lines:
        figures = line["measured"].partition("(")[2].partition(" us a row")[0].split(", ")
        assert len(figures) == 4
        assert all(float(figure) > 0 for figure in figures)
