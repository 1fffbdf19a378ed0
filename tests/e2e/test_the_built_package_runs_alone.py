"""What a package index would get: built from a clean tree, installed into an empty environment, run far from the source."""

from __future__ import annotations

import configparser
import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.e2e import metrics_truth, truth
from tests.e2e.conftest import FEBRUARY, RECORDED, ROOT, Outcome, Workspace
from tests.e2e.steps import assert_stored
from tests.exchange import Market

PACKAGE = "cryptoservice"
DEPENDENCIES = {"requests", "urllib3"}
MAP = "export/coverage_map"
SCRIPTS = ("content.js", "drawing.js", "controls.js")
NOT_CODE = {"py.typed", "__init__.pyi", *(f"{MAP}/{name}" for name in ("coverage_map.html", "coverage_map.css", *SCRIPTS))}
# What comes with an environment, by version of Python.
TOOLS = {"pip", "setuptools", "wheel"}
# Like `make test` itself, this asks the package index: for setuptools, requests and urllib3.
pytestmark = pytest.mark.timeout(300)


def clean_copy(target: Path) -> Path:
    """The tree as a clone has it: without what .gitignore names."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()]
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".git", *ignored))
    return target


def run(command: Iterable[str | Path], folder: Path) -> str:
    """What a tool says, on both streams, when it ends well."""
    unwanted = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def sources() -> set[str]:
    """The package's files in the tree."""
    paths = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return {path.relative_to(ROOT).as_posix() for path in paths}


def names_of(requirements: Iterable[str]) -> list[str]:
    """Which distributions are asked for without any extra."""
    return [normalised(re.split(r"[^\w.-]", line)[0]) for line in requirements if "extra ==" not in line]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class Installed(Workspace):
    """A workspace whose command is the one that an environment holds; the source tree is out of its sight."""

    binaries: Path

    def env(self) -> dict[str, str]:
        return {name: value for name, value in super().env().items() if name != "PYTHONPATH"}

    def command(self, *arguments: str, at: str | None = None) -> list[str]:
        assert at is None, "the installed command knows no other time"
        return [str(self.binaries / PACKAGE), *arguments]

    def python(self, code: str) -> str:
        """What a few lines print, run by the environment's interpreter."""
        command = [str(self.binaries / "python"), "-c", code]
        return subprocess.run(command, cwd=self.folder, env=self.env(), stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.slow
def test_what_is_built_runs_alone(workspace: Workspace, market: Market, tmp_path_factory: pytest.TempPathFactory) -> None:
    tree = clean_copy(tmp_path_factory.mktemp("source") / "tree")
    said = run([sys.executable, "-m", "build", "--outdir", tree / "dist", tree], tree.parent)
    # setuptools words its deprecations in many ways; all of them name one of these.
    assert not re.search(r"warning|deprecat|\*{10}|^error", said, flags=re.IGNORECASE | re.MULTILINE), said
    wheel, sdist = *(tree / "dist").glob("*.whl"), *(tree / "dist").glob("*.tar.gz")
    metadata = check_wheel(wheel)
    check_sdist(sdist)

    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    installed = Installed(workspace.folder, workspace.environment)
    installed.binaries = environment / "bin"
    assert distributions(installed).keys() <= TOOLS
    run([installed.binaries / "python", "-m", "pip", "install", "--quiet", wheel], environment)
    check_environment(installed)
    version = installed.run("--version")
    assert (version.code, version.stdout, version.stderr) == (0, f"{PACKAGE} {metadata['Version']}\n", "")
    shown = installed.run("--help")
    assert (shown.code, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"usage: {PACKAGE} ")
    assert "--print-completion" in shown.stdout
    # That one needs an extra, which is not there: it says so.
    refused = installed.run("--print-completion", "bash")
    assert (refused.code, refused.stdout) == (1, "")
    assert "[completion]" in refused.stderr
    # DataFrames need one too.
    read = f"import {PACKAGE}\ntry: {PACKAGE}.read_klines('market.db')\nexcept {PACKAGE}.UsageError as error: print(error.hint)"
    assert installed.python(read) == f"pip install '{PACKAGE}[pandas]'\n"
    check_the_three_steps(installed, market)


def check_wheel(path: Path) -> dict[str, str]:
    """The package, all of it and nothing else; what it needs."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        info = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(info))
        entry = configparser.ConfigParser()
        entry.read_string(archive.read(info.replace("METADATA", "entry_points.txt")).decode())
    assert {name for name in names if not name.startswith(info.partition("/")[0] + "/")} == sources()
    assert {f"{PACKAGE}/{name}" for name in NOT_CODE} == {name for name in sources() if not name.endswith(".py")}
    assert any(name.endswith("/LICENSE") for name in names)
    needs = metadata.get_all("Requires-Dist", [])
    assert sorted(names_of(needs)) == sorted(DEPENDENCIES)
    assert {"completion", "pandas"} <= set(metadata.get_all("Provides-Extra", []))
    assert [re.split(r"[^\w.-]", line)[0] for line in needs if "extra == 'completion'" in line.replace('"', "'")] == ["shtab"]
    assert (metadata["Name"], metadata["Requires-Python"], metadata["License-Expression"] or metadata["License"]) == (
        PACKAGE, ">=3.10", "MIT",
    )  # fmt: skip
    assert dict(entry["console_scripts"]) == {PACKAGE: f"{PACKAGE}.__main__:run"}
    return dict(metadata)


def check_sdist(path: Path) -> None:
    """All that a wheel is built from, and what the README points at; neither tests nor anybody's leftovers."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    docs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").iterdir()}
    assert docs >= {"docs/cli.md", "docs/wire.md", "docs/coverage-map.png"}
    pages = {"README.md", "CHANGELOG.md", "LICENSE", *docs}
    assert sources() | pages | {"setup.cfg", "pyproject.toml", "MANIFEST.in", "PKG-INFO"} == {
        name for name in names if not name.startswith(f"{PACKAGE}.egg-info/")
    }


def distributions(installed: Installed) -> dict[str, list[str]]:
    """What is installed, and what each one needs."""
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps([[d.metadata['Name'], d.requires or []] for d in m.distributions()]))"
    )
    found = json.loads(installed.python(code))
    return {normalised(name): names_of(needs) for name, needs in found}


def check_environment(installed: Installed) -> None:
    """The package, its two dependencies, what those need, and nothing else; all of it from the environment itself."""
    found = distributions(installed)
    wanted, queue = set(), [PACKAGE]
    while queue:
        wanted.add(name := queue.pop())
        queue += [need for need in found[name] if need not in wanted]
    assert set(found[PACKAGE]) == DEPENDENCIES
    assert found.keys() - TOOLS == wanted - TOOLS
    home = Path(installed.python(f"import {PACKAGE}; print({PACKAGE}.__file__)").strip())
    assert home.resolve().is_relative_to(installed.binaries.parent.resolve() / "lib")
    assert installed.python("import importlib.util as u; print(u.find_spec('tests'))") == "None\n"


def check_the_three_steps(installed: Installed, market: Market) -> None:
    """define, download and export as the demo runs them."""
    define = installed.define(symbols=",".join([*RECORDED, "NOSUCHUSDT"]), window=FEBRUARY)
    assert_good(define)
    assert (define.report["requested_symbols"], define.report["active_symbol_days"]) == (4, 84)
    download = installed.download("--download-market-metrics")
    assert_good(download)
    counts = {
        "klines": sum(len(truth.rows(symbol, "5m")) for symbol in RECORDED),
        "metrics": sum(len(metrics_truth.metrics(market, symbol, truth.FIRST, truth.LAST)) for symbol in RECORDED),
        "funding_rates": sum(len(metrics_truth.funding(market, symbol, truth.FIRST, truth.LAST)) for symbol in RECORDED),
    }
    assert counts["klines"] == 84 * 288
    assert download.report["rows"] == counts
    for symbol in RECORDED:
        assert_stored(installed, symbol)
    export = installed.export("--coverage-html")
    assert_good(export)
    assert export.report["rows"] == counts
    assert export.report["summary"]["coverage_ratio"] == 1
    for day in truth.days():
        with (installed.folder / "exports" / "klines" / "freq=5m" / f"date={day}" / "klines.csv").open(newline="") as handle:
            assert sum(1 for _ in csv.DictReader(handle)) == 3 * 288
    page = Path(installed.folder, export.report["coverage_html_path"]).read_text(encoding="utf-8")
    # Its style and script are files of the package.
    for name in SCRIPTS:
        assert (ROOT / PACKAGE / MAP / name).read_text(encoding="utf-8") in page
    assert all(symbol in page for symbol in RECORDED)


def assert_good(outcome: Outcome) -> None:
    assert outcome.code == 0, outcome


@pytest.mark.slow
def test_pip_installs_a_folder(tmp_path: Path) -> None:
    tree, target = clean_copy(tmp_path / "tree"), tmp_path / "target"
    run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", target, tree], tmp_path)
    found = {path.relative_to(target).as_posix() for path in (target / PACKAGE).rglob("*") if path.is_file()}
    assert found == sources()
    assert os.access(target / "bin" / PACKAGE, os.X_OK)


# The README's own line.
INSTALL = "python3 -m venv .venv && source .venv/bin/activate && pip install -e ."


@pytest.mark.slow
def test_a_newcomer_runs_the_first_lines_of_the_readme(tmp_path: Path) -> None:
    """From a clean clone and with an empty home; the installation stays the checkout itself, whatever the order."""
    tree, home = clean_copy(tmp_path / "a tree"), tmp_path / "home"
    home.mkdir()
    assert f"```bash\n{INSTALL}\n```" in (tree / "README.md").read_text(encoding="utf-8")
    before = {path.name for path in tree.iterdir()}
    python = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    for line in ("make demo", INSTALL, "make demo"):
        said = run(["env", f"HOME={home}", "bash", "-c", f"{python}; {line}"], tree)
        assert "warning: " not in said.replace("warning: not in the current trading list", ""), said
        where = f"import {PACKAGE}; print({PACKAGE}.__file__)"
        found = run([tree / ".venv/bin/python", "-c", where], tmp_path).strip()
        assert Path(found) == tree / PACKAGE / "__init__.py", line
        assert run([tree / ".venv/bin" / PACKAGE, "--version"], tmp_path).startswith(f"{PACKAGE} ")
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()}
    assert {path.name for path in tree.iterdir()} - before - ignored == {f"{PACKAGE}.egg-info"}
