"""README and docs: every command runs as a reader types it, the output that is shown is real, and every link leads somewhere.

Blocks of bash are run here, page by page, against the replay exchange that `make exchange` starts, as the README says. A block
of text right after one is what it prints.
Python of the README is run here too, and the universes that are shown are read. All else of docs/recipes.md is run by
test_every_recipe_does_what_it_says.py, test_nightly_runs_equal_one_run.py and test_engines_read_what_sqlite_holds.py.
test_the_cli_page_says_what_help_says.py compares docs/cli.md with the commands.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.universe.file import from_json, to_json
from tests.e2e import truth
from tests.e2e.conftest import ROOT, Outcome, Workspace
from tests.e2e.recipe_steps import block, blocks_of
from tests.e2e.steps import query
from tests.e2e.terminal import Terminal, screen

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
# Another page that is written by hand; it may be missing from a checkout that is being put together.
WIRE = DOCS / "wire.md"
INSTALL = "python3 -m venv .venv && source .venv/bin/activate && pip install -e ."
# What takes too long here, or would run this very suite, is run elsewhere: by the file that has these words.
RUN_ELSEWHERE = {
    INSTALL: ("tests/e2e/test_the_built_package_runs_alone.py", INSTALL),
    "make demo": ("tests/e2e/test_wrappers_and_make_pass_everything_on.py", '*MAKE, "demo"'),
    "make test": (".ci/run", "\nmake test\n"),
    "make lint": (".ci/run", "\nmake lint\n"),
    "make bench": ("tests/e2e/test_the_benchmarks_fill_their_table.py", '"make", "bench"'),
    "make bench-scale": ("tests/e2e/test_the_benchmarks_fill_their_table.py", '"make", "bench-scale"'),
}
# What `make exchange` says to export.
ADDRESSES = {"BINANCE_API_BASE_URL", "BINANCE_VISION_BASE_URL", "BINANCE_LISTING_BASE_URL"}
# Which pages may have blocks of which kind; all have bash and text.
FENCES = {
    "README.md": {"python"},
    "formats.md": {"json"},
    "recipes.md": {"crontab", "ini", "make", "python", "sh", "sql"},
}
# Flags of other programs that pages name.
FOREIGN_FLAGS = {
    *("--config-settings", "--env-file", "--failed", "--now", "--strict", "--type"),
    # The replay exchange.
    *("--latency", "--restricted", "--state-file"),
    # docker.
    *("--file", "--rm", "--tag", "--tty", "--user", "--volume"),
    # freqtrade, and the recipe that makes its folder.
    *("--candle-types", "--exchange", "--format", "--freq", "--show-timerange", "--trading-mode", "--userdir"),
}
# Folders that pages name and that only a run makes.
MADE_FOLDERS = {"data/", "demo-data/"}


def without_blocks(text: str) -> str:
    """The prose of a page."""
    return re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[tuple[list[str], list[str]]]:
    """The lines of each bash block, and of the block of text right after it."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```bash\n(.*?)^```\n(?:```text\n(.*?)^```$)?", text, flags=re.MULTILINE | re.DOTALL)
    return [(block.splitlines(), shown.splitlines()) for block, shown in found]


def checkout(folder: Path) -> None:
    """What a reader has in the folder: the wrappers, the Makefile, the package, its tests, and the environment of `make test`."""
    for name in ("cryptoservice", "scripts", "tests", "pyproject.toml", "setup.cfg"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    shutil.copy(ROOT / "Makefile", folder)


def started(workspace: Workspace, line: str, **streams: int) -> subprocess.Popen[bytes]:
    """One line of a page, as a reader types it into bash, in a process group of its own."""
    environment = {**workspace.env(), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    # The environment is there. Without these stamps make would ask a package index whether it is.
    line = re.sub(r"^make ", "make --no-print-directory -o .venv/.package -o .venv/.tools ", line)
    return subprocess.Popen(
        # Programs that colour what they say do not do so on a dumb terminal.
        ["bash", "-c", line], cwd=workspace.folder, env={**environment, "TERM": "dumb"}, stdin=subprocess.DEVNULL,
        start_new_session=True, **streams,
    )  # fmt: skip


def typed(workspace: Workspace, line: str) -> Outcome:
    """One line to its end: at a terminal, whose lines stand in `stderr` and `stdout`."""
    with Terminal(columns=200) as shown, Terminal(columns=200) as printed:
        process = started(workspace, line, stdout=printed.theirs, stderr=shown.theirs)
        os.close(shown.theirs)
        os.close(printed.theirs)
        try:
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
    return Outcome(process.returncode, *("\n".join(screen(terminal.text).left) for terminal in (printed, shown)))


@contextlib.contextmanager
def second_terminal(workspace: Workspace, line: str) -> Iterator[dict[str, str]]:
    """`make exchange` in a terminal of its own, and the variables that its lines set when they are copied; Ctrl-C ends it."""
    with started(workspace, line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as kept:
        try:
            assert kept.stdout is not None
            said = list(iter(kept.stdout.readline, b"Ctrl-C ends it.\n"))
            yield {name: value for one in said for name, value in exported(one.decode()).items()}
        finally:
            os.killpg(kept.pid, signal.SIGINT)
            ending = kept.communicate(timeout=20)
    # A request that it does not know is an error of the command that sent it.
    assert ending == (b"\nThe replay exchange has ended.\n", b"")


def exported(line: str) -> dict[str, str]:
    """The variables that a line of a page sets for all that follow."""
    return dict(word.split("=", 1) for word in shlex.split(line)[1:]) if line.startswith("export ") else {}


def run_page(workspace: Workspace, page: Path, terminals: contextlib.ExitStack) -> None:
    """Every command of a page, in order. The output that it shows must have been printed, with dots for what is left out.

    An exchange that the page starts lasts as long as `terminals`. What the page sets with `export` stays in the workspace.
    """
    for lines, shown in commands(page):
        printed: list[str] = []
        for line in lines:
            if line in RUN_ELSEWHERE:
                continue
            if line.startswith("make exchange"):
                workspace.environment |= terminals.enter_context(second_terminal(workspace, line))
                continue
            workspace.environment |= exported(line)
            done = typed(workspace, line)
            assert done.code == 0, f"{page.name}: {line}\n{done.stdout}\n{done.stderr}"
            printed += [*done.stdout.splitlines(), *done.stderr.splitlines()]
        for line in shown:
            pattern = ".*".join(map(re.escape, line.split("...")))
            assert any(re.fullmatch(pattern, found) for found in printed), f"{page.name} shows {line!r}, printed was {printed}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A folder in which all commands of the README have been run, in an environment that knows no exchange before."""
    folder = tmp_path_factory.mktemp("reader")
    checkout(folder)
    workspace = Workspace(folder)
    with contextlib.ExitStack() as terminals:
        run_page(workspace, README, terminals)
        assert {name for name in workspace.environment if name.startswith("BINANCE_")} == ADDRESSES
        # Paths are exported by the README for itself. The other pages say theirs.
        yield Workspace(folder, {name: value for name, value in workspace.environment.items() if name in ADDRESSES})


def test_the_commands_of_the_readme_make_a_dataset(reader: Workspace) -> None:
    lines = [line for lines, _ in commands(README) for line in lines]
    for command in ("define", "download", "export", "status", "verify"):
        assert sum(line.split()[:3] == ["cryptoservice", "universe", command] for line in lines) == 1
    assert sum(bool(shown) for _, shown in commands(README)) == 5
    day = truth.csv_text({symbol: truth.rows(symbol, "1h", "2026-02-01", "2026-02-01") for symbol in truth.SYMBOLS})
    assert (reader.folder / "data/exports/klines/freq=1h/date=2026-02-01/klines.csv").read_text() == day


@pytest.mark.parametrize("page", [page.name for page in PAGES if page != README and commands(page)])
def test_the_commands_of_a_page_run_after_those_of_the_readme(reader: Workspace, tmp_path: Path, page: str) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(reader.folder, folder, symlinks=True)
    with contextlib.ExitStack() as terminals:
        run_page(Workspace(folder, dict(reader.environment)), DOCS / page, terminals)
    if page == "recipes.md":
        assert (folder / "data/exports/coverage_4h_2026-02-10_2026-02-12.json").is_file()
        assert (folder / "data/exports/klines/freq=1d/date=2026-02-28/klines.csv").is_file()
        assert json.loads((folder / "data/two-days.json").read_text())["requested_symbols"] == ["LINKUSDT"]
    if page == "formats.md":
        assert (folder / "data/exports/coverage_5m_2026-02-01_2026-02-28.html").is_file()
        (entry,) = [shown for shown in json_blocks_of_formats() if "daily_snapshots" not in shown]
        package = json.loads((folder / "data/exports/datapackage_1h_2026-02-01_2026-02-28.json").read_text())
        (real,) = [real for real in package["resources"] if real["path"] == entry["path"]]
        # The page has the fields of the first two columns alone.
        real["schema"]["fields"] = real["schema"]["fields"][:2]
        assert entry == real


def program(reader: Workspace, tmp_path: Path, code: str) -> str:
    """What a program prints in the folder of somebody who has followed the README."""
    folder = tmp_path / "reader"
    if not folder.exists():
        shutil.copytree(reader.folder, folder, symlinks=True)
    (folder / "program.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env=reader.env(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def python_of_the_readme(reader: Workspace, tmp_path: Path, word: str, more: str = "") -> str:
    """What the one block of Python that holds the word prints, with lines of our own at its end."""
    (code,) = [text for fence, text in blocks_of(README.read_text(encoding="utf-8")) if fence == "python" and word in text]
    return program(reader, tmp_path, code + more)


def test_duckdb_reads_the_export(reader: Workspace, tmp_path: Path) -> None:
    more = "import json; print(json.dumps([[s, str(d), *rest] for s, d, *rest in daily.fetchall()]))"
    found = json.loads(python_of_the_readme(reader, tmp_path, "import duckdb", more))
    sql = (
        "SELECT symbol, date(open_time / 1000, 'unixepoch') AS day, max(high), min(low), sum(quote_volume) "
        "FROM klines WHERE freq = '5m' GROUP BY 1, 2 ORDER BY 1, 2"
    )
    wanted = query(reader.folder / "data/market.db", sql)
    assert len(wanted) == 84
    assert [row[:4] for row in found] == [list(row[:4]) for row in wanted]
    assert [row[4] for row in found] == pytest.approx([row[4] for row in wanted], rel=1e-12)


def test_pandas_reads_the_export(reader: Workspace, tmp_path: Path) -> None:
    more = "closes.index = closes.index.astype(str); print(closes.to_json(orient='index', double_precision=15))"
    found = json.loads(python_of_the_readme(reader, tmp_path, "import pandas as pd", more))
    for symbol in truth.SYMBOLS:
        bars = truth.rows(symbol, "1h", "2026-02-01", "2026-02-01")
        assert [found[moment][symbol] for moment in sorted(found)] == [bar[4] for bar in bars]
    assert sorted(found)[1].startswith("2026-02-01 01:00:00")


def test_a_database_gives_a_dataframe(reader: Workspace, tmp_path: Path) -> None:
    more = "closes.index = closes.index.astype(str); print(closes.to_json(orient='columns', double_precision=15))"
    found = json.loads(python_of_the_readme(reader, tmp_path, "import read_klines", more))
    assert list(found) == ["AVAXUSDT", "LINKUSDT"]
    for symbol, closes in found.items():
        bars = truth.rows(symbol, "5m", "2026-02-10", "2026-02-12")
        assert [closes[moment] for moment in sorted(closes)] == [bar[4] for bar in bars]


def test_a_plain_function_downloads_a_window(reader: Workspace, tmp_path: Path) -> None:
    printed = python_of_the_readme(reader, tmp_path, "import download_universe_data")
    assert printed == f"True {{'klines': {3 * 3 * 96}, 'metrics': 0, 'funding_rates': 0}}\n"


def test_the_facade_does_all_three_steps(reader: Workspace, tmp_path: Path) -> None:
    # More than once, as people do.
    assert python_of_the_readme(reader, tmp_path, "import asyncio") == ""
    assert python_of_the_readme(reader, tmp_path, "import asyncio") == ""
    files = sorted((tmp_path / "reader/data/link/klines/freq=1d").rglob("*.csv"))
    assert [path.parent.name[5:] for path in files] == truth.days()
    day = truth.csv_text({"LINKUSDT": truth.rows("LINKUSDT", "1d", "2026-02-28", "2026-02-28")})
    assert files[-1].read_text() == day


def test_the_facade_of_the_recipes_runs_after_the_readme(reader: Workspace, tmp_path: Path) -> None:
    code = block("python", "import asyncio")
    assert program(reader, tmp_path, code) == program(reader, tmp_path, code) == ""
    rows = query(tmp_path / "reader/data/database/market.db", "SELECT count(*) FROM klines WHERE freq = '5m'")
    assert rows == [(84 * 288,)]


def test_every_block_is_of_a_kind_that_a_test_reads() -> None:
    for page in PAGES:
        if page == WIRE:
            continue
        text = page.read_text(encoding="utf-8")
        fences = {fence for fence, _ in blocks_of(text)}
        assert fences <= {"bash", "text"} | FENCES.get(page.name, set()), page.name
        assert len(blocks_of(text)) * 2 == len(re.findall(r"^```", text, flags=re.MULTILINE)), (
            f"{page.name}: a fence without its word"
        )
        # What is typed stands in a block that is run.
        shown = "".join(words for fence, words in blocks_of(text) if fence == "text")
        assert not re.search(r"^(\$|cryptoservice|make|pip3?|python3?|uv|git|docker) ", shown, flags=re.MULTILINE), page.name
    lines = [line for page in PAGES for lines, _ in commands(page) for line in lines]
    assert RUN_ELSEWHERE.keys() <= set(lines), "a line that no page has any more"
    for line, (file, words) in RUN_ELSEWHERE.items():
        assert words in (ROOT / file).read_text(encoding="utf-8"), f"{file} does not run {line}"
    python = [text for fence, text in blocks_of(README.read_text(encoding="utf-8")) if fence == "python"]
    assert len(python) == 5, "a block of the README that no test runs?"


def test_an_editable_install_is_never_replaced_by_a_copy() -> None:
    """`pip install .` in the environment of `make demo` would let a later change of the checkout do nothing."""
    for page in PAGES:
        assert not re.findall(r"pip install (?!-e )'?\.(?:\[\w+\])?'?(?=[\s`])", page.read_text(encoding="utf-8")), page.name


def json_blocks_of_formats() -> list[dict[str, Any]]:
    """Universes of both schemas, and the entry of a data package."""
    return [json.loads(text) for fence, text in blocks_of((DOCS / "formats.md").read_text(encoding="utf-8")) if fence == "json"]


def test_the_universes_that_are_shown_are_some() -> None:
    universes = [shown for shown in json_blocks_of_formats() if "daily_snapshots" in shown]
    assert [shown["schema_version"] for shown in universes] == ["2.0", "2.1"]
    for shown in universes:
        assert json.loads(to_json(from_json(json.dumps(shown)))) == shown


def test_make_targets_of_the_pages_exist() -> None:
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:`|^)make ([a-z][a-z-]*)\b", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert {"bench", "bench-scale", "define", "demo", "docs", "help", "lint", "test", "test-slow"} <= named
    for target in named:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert [target for target in phony.split() if target != "help" and f"make {target}" not in said] == []


def test_the_readme_is_a_front_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 220


def slugs(page: Path) -> set[str]:
    """The fragments that the headings of a page answer to."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(page.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """The targets of a page's links that stay in the repository."""
    found = re.findall(r"\]\(([^()\s]+)\)", without_blocks(page.read_text(encoding="utf-8")))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_every_link_leads_somewhere(page: str) -> None:
    for target in links(ROOT / page):
        name, _, fragment = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if path.resolve() == WIRE and not WIRE.exists():
            continue
        assert path.exists(), f"{page} links {target}"
        assert not fragment or fragment in slugs(path), f"{page} links {target}: no such heading"


def test_the_readme_links_every_page() -> None:
    linked = {target.partition("#")[0] for target in links(README)}
    assert {page.relative_to(ROOT).as_posix() for page in DOCS.iterdir()} <= linked | {"docs/coverage-map.png"}
    assert {"docs/coverage-map.png", "docs/wire.md", "CHANGELOG.md", "LICENSE"} <= linked


def test_every_flag_that_a_page_names_is_one() -> None:
    """The flags themselves stand in docs/cli.md alone."""
    known = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", (DOCS / "cli.md").read_text(encoding="utf-8")))
    for page in PAGES:
        if page not in (WIRE, DOCS / "cli.md"):
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8")))
            assert named <= known | FOREIGN_FLAGS, page.name


def test_every_file_that_a_page_names_exists() -> None:
    """Pages name tests and modules, which move. Modules stand below cryptoservice/, with or without that word."""
    # wire.md names the files of other people's repositories.
    for page in set(PAGES) - {WIRE}:
        named = re.findall(r"`([\w./-]+/|[\w/-]+\.pyi?)`", without_blocks(page.read_text(encoding="utf-8")))
        for name in named:
            if name not in MADE_FOLDERS:
                assert (ROOT / name).exists() or (ROOT / "cryptoservice" / name).exists(), f"{page.name} names {name}"


def test_newcomers_are_told_of_every_package() -> None:
    text = (DOCS / "development.md").read_text(encoding="utf-8")
    packages = {path.parent.name for path in (ROOT / "cryptoservice").glob("*/__init__.py")}
    assert {name for name in packages if f"| `cryptoservice/{name}/` |" not in text} == set()
