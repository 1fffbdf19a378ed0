"""Recipes as docs/recipes.md shows them: a Makefile, uv, several machines, a dataset that is rebuilt, a Python program."""

from __future__ import annotations

import math
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from tests.e2e import hostile_klines as hostile
from tests.e2e import truth
from tests.e2e.conftest import ROOT, Workspace
from tests.e2e.crash_steps import csvs, json_file, temps
from tests.e2e.published_anew import field, publish
from tests.e2e.recipe_steps import RECIPES, Server, block, blocks_of, page, tool
from tests.e2e.steps import assert_stored, contents, query, stamps, write_universe
from tests.exchange import Fault, Market, ReplayExchange

PEPE = "1000PEPEUSDT"
# Where a command would end that did not get the exchange's addresses.
NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"}


@pytest.fixture
def market() -> Market:
    """The recorded February, and a symbol that was listed on its fifth day."""
    market = Market.recorded()
    market.add_symbol(PEPE, first_day=date(2026, 2, 5))
    return market


@pytest.fixture
def server(workspace: Workspace) -> Server:
    return Server(workspace)


def test_the_page_links_every_file_and_every_block_is_known_here() -> None:
    linked = set(re.findall(r"\]\(\.\./recipes/([\w.]+)\)", page()))
    assert linked == {path.name for path in RECIPES.iterdir() if path.is_file()}
    # Those of bash are run by test_every_command_of_the_docs_runs.py.
    fences = sorted(name for name, _ in blocks_of(page()) if name != "bash")
    assert fences == ["crontab", "ini", "make", *["python"] * 12, *["sh"] * 12, *["sql"] * 2], "a block that no test runs?"


def test_make_does_what_is_needed_and_nothing_else(server: Server, exchange: ReplayExchange) -> None:
    (server.folder / "Makefile").write_text(block("make"))
    done = server.run("make -j2")
    assert done.code == 0, done
    files = csvs(server.folder / "exports")
    assert len(files) == 56
    link = truth.csv_text({"LINKUSDT": truth.rows("LINKUSDT", "1h", "2026-02-04", "2026-02-04")})
    assert files["klines/freq=1h/date=2026-02-04/klines.csv"].decode() == link
    before, asked = stamps(server.folder), len(exchange.requests)
    again = server.run("make -j2")
    assert (again.code, stamps(server.folder), len(exchange.requests)) == (0, before, asked), again
    assert "Nothing to be done" in again.stdout
    # Another list is another universe: that is for a person to decide.
    universe = (server.folder / "universe.json").read_bytes()
    (server.folder / "symbols.txt").write_text("LINKUSDT\n")
    refused = server.run("make")
    assert refused.code == 2
    assert "exists already" in refused.stderr
    assert (server.folder / "universe.json").read_bytes() == universe
    (server.folder / "universe.json").unlink()
    assert server.run("make").code == 0
    assert csvs(server.folder / "exports")["klines/freq=1h/date=2026-02-28/klines.csv"].count(PEPE.encode()) == 0


def test_make_goes_on_after_an_incomplete_download(server: Server, exchange: ReplayExchange) -> None:
    (server.folder / "Makefile").write_text(block("make"))
    # No archive, and an API that has no answer for five-minute bars of one symbol.
    exchange.market.without_objects(lambda key: "LINKUSDT" in key)
    hindrance = Fault.api_error(-1100, "no", when=lambda request: request.params.get("interval") == "5m", times=None)
    exchange.faults.add(hindrance)
    stopped = server.run("make")
    assert stopped.code == 2
    shown = re.search(r"`(download\.json\] Error 3)`", page())
    assert shown
    assert shown[1] in stopped.stderr
    assert not (server.folder / "download.json").exists()
    assert not (server.folder / "exports").exists()
    exchange.faults.clear()
    assert server.run("make").code == 0
    assert len(csvs(server.folder / "exports")) == 56


def project(folder: Path, exchange: ReplayExchange) -> Path:
    """A project with nothing in it, and the environment file that the recipe tells of."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "research"\nversion = "0"\nrequires-python = ">=3.10"\n')
    lines = (
        f"BINANCE_API_BASE_URL={exchange.api_url}", f"BINANCE_VISION_BASE_URL={exchange.vision_url}",
        f"BINANCE_LISTING_BASE_URL={exchange.listing_url}",
        "BINANCE_API_KEY=key-from-the-file", "BINANCE_API_SECRET=secret-from-the-file",
    )  # fmt: skip
    (folder / ".env").write_text("\n".join(lines) + "\n")
    return folder


def assert_defined(folder: Path, exchange: ReplayExchange) -> None:
    assert '"end_date": "2026-02-28"' in (folder / "universe.json").read_text()
    assert {request.headers.get("x-mbx-apikey") for request in exchange.requests} == {"key-from-the-file"}


def test_uv_runs_it_with_an_environment_file(server: Server, exchange: ReplayExchange) -> None:
    folder = project(server.folder / "research", exchange)
    server.workspace.environment.clear()
    line = block("sh", "uv run")
    assert line.startswith("uv run --env-file .env cryptoservice universe define ")
    # The project's environment is the one that runs this test: nothing is to be resolved or fetched.
    settings = {"UV_PROJECT_ENVIRONMENT": sys.prefix, "UV_NO_SYNC": "1", "UV_OFFLINE": "1", "UV_CACHE_DIR": str(folder / "cache")}
    path = f"{Path(tool('uv')).parent}:/usr/bin:/bin"
    done = server.run(line, folder, PATH=path, **settings, **NOWHERE)
    assert done.code == 0, done
    assert_defined(folder, exchange)


@pytest.mark.slow
def test_uv_adds_the_package_to_a_project(server: Server, exchange: ReplayExchange) -> None:
    """The same in a project of its own, with what it needs from a package index."""
    folder = project(server.folder / "research", exchange)
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "tests", "data")
    shutil.copytree(ROOT, server.folder / "cryptoservice", ignore=ignored)
    server.workspace.environment.clear()
    path = f"{Path(tool('uv')).parent}:/usr/bin:/bin"
    settings = {"PATH": path, "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    settings["UV_CACHE_DIR"] = str(server.folder / "cache")
    added = re.search(r"`(uv add [^`]+)`", page())
    assert added
    # What leads to the package index here, certificates and proxies, may stand in the environment.
    base = {name: value for name, value in Workspace(folder).env().items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        ["/bin/sh", "-c", added[1]],
        cwd=folder,
        env={**base, **settings},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = server.run(block("sh", "uv run"), folder, UV_OFFLINE="1", UV_NO_SYNC="1", **settings, **NOWHERE)
    assert outcome.code == 0, outcome
    assert_defined(folder, exchange)
    assert (folder / ".venv/bin/cryptoservice").exists()


WINDOWS = (("2026-02-01", "2026-02-10"), ("2026-02-11", "2026-02-19"), ("2026-02-20", "2026-02-28"))


@pytest.fixture
def split(server: Server) -> Server:
    """A universe, its export by one machine in `single`, and an empty folder `shared`."""
    days = truth.days("2026-02-01", "2026-02-04")
    write_universe(server.folder, ["LINKUSDT", PEPE, "AVAXUSDT"], missing={PEPE: days})
    lines = block("sh", "$first").replace("first=2026-02-01 last=2026-02-14", "first=2026-02-01 last=2026-02-28")
    done = server.run(lines.replace(" exports ", " single "))
    assert done.code == 0, done
    (server.folder / "shared").mkdir()
    return server


def machine(server: Server, window: tuple[str, str]) -> tuple[str, Path]:
    """What one of the machines runs, and where."""
    folder = server.folder / f"machine {window[0]}"
    folder.mkdir()
    shutil.copy(server.folder / "universe.json", folder)
    (folder / "exports").symlink_to(server.folder / "shared")
    shown = block("sh", "$first")
    lines = shown.replace("first=2026-02-01 last=2026-02-14", f"first={window[0]} last={window[1]}")
    assert f"last={window[1]}" in lines
    return f"set -e\n{lines}", folder


def whole(server: Server) -> list[str]:
    """What the recipe's lines of Python say of the shared folder."""
    (server.folder / "exports").unlink(missing_ok=True)
    (server.folder / "exports").symlink_to(server.folder / "shared")
    code = block("python", "days without a report")
    done = subprocess.run([sys.executable, "-c", code], cwd=server.folder, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_several_machines_make_what_one_makes(split: Server) -> None:
    running = [split.start(*machine(split, window)) for window in WINDOWS]
    ends = [process.communicate(timeout=100)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], ends
    assert csvs(split.folder / "shared") == csvs(split.folder / "single")
    assert len(csvs(split.folder / "shared")) == 28
    reports = sorted(path.name for path in (split.folder / "shared").glob("*.json"))
    assert reports == [f"{kind}_5m_{first}_{last}.json" for kind in ("coverage", "datapackage") for first, last in WINDOWS]
    assert not temps(split.folder / "shared")
    assert whole(split) == ["days without a report: []", "symbol-days not whole: 0"]


def test_what_one_machine_lacks_is_told(split: Server, exchange: ReplayExchange, market: Market) -> None:
    first, second, _ = WINDOWS
    hole = truth.moment("2026-02-12T12:00")
    market.drop_klines("LINKUSDT", hole, hole + 30 * truth.MINUTE)
    for window in (first, second):
        assert split.run(*machine(split, window)).code == 0
    lacking = truth.days("2026-02-20", "2026-02-28")
    assert whole(split) == [f"days without a report: {lacking}", "symbol-days not whole: 1"]


def test_a_machine_that_forgets_its_window_takes_no_day_of_the_others(split: Server) -> None:
    first, second, _ = WINDOWS
    for window in (first, second):
        assert split.run(*machine(split, window)).code == 0
    before = contents(split.folder / "shared")
    folder = split.folder / f"machine {first[0]}"
    export = block("sh", "$first").splitlines()[-1]
    assert split.run(export, folder, first=first[0], last=first[1]).code == 0
    assert csvs(split.folder / "shared").keys() == {name for name in before if name.endswith(".csv")}
    forgetful = export.split(" --start-date")[0]
    assert split.run(forgetful, folder).code == 0
    assert csvs(split.folder / "shared").keys() == {name for name in before if name.endswith(".csv")}
    assert split.run(f"{forgetful} --prune", folder).code == 0
    assert len(csvs(split.folder / "shared")) == 10


# The line of a first lock; one that is written anew ends with a flag.
LOCKED = "--output dataset.lock.json\n"
REBUILT, SIGNED = "--lock dataset.lock.json", "ssh-keygen"


def test_a_dataset_is_rebuilt_and_proven_on_another_machine(server: Server) -> None:
    write_universe(server.folder, ["LINKUSDT", PEPE], "2026-02-05", "2026-02-09")
    rebuild = block("sh", REBUILT)
    assert server.run(rebuild.splitlines()[0].replace("rebuilt.db", "market.db")).code == 0
    done = server.run(block("sh", LOCKED))
    assert done.code == 0, done
    root = json_file(server.folder / "dataset.lock.json")["root"]
    other = server.folder / "other"
    other.mkdir()
    for name in ("universe.json", "dataset.lock.json"):
        shutil.copy(server.folder / name, other)
    done = server.run(f"set -e\n{rebuild}", other)
    assert done.code == 0, done
    assert f'"expected_root": "{root}", "root": "{root}", "differs": []' in done.stdout
    # The last bit of one volume, which nothing else can notice.
    with closing(sqlite3.connect(other / "rebuilt.db")) as db, db:
        ((volume, *key),) = db.execute("SELECT volume, series_id, open_time FROM kline_rows ORDER BY open_time DESC LIMIT 1")
        values = (math.nextafter(volume, math.inf), *key)
        assert db.execute("UPDATE kline_rows SET volume = ? WHERE series_id = ? AND open_time = ?", values).rowcount == 1
    done = server.run(rebuild.splitlines()[1], other)
    assert done.code == 3
    assert re.search(r"lock: klines/5m \w+ 2026-02 differs: 2026-02-09 differs\n", done.stderr)


def test_a_dataset_follows_what_was_published_anew(server: Server, market: Market) -> None:
    write_universe(server.folder, ["LINKUSDT", PEPE], "2026-02-05", "2026-02-09")
    audit, follow = block("sh", "universe audit"), block("sh", "refetch.sh")
    assert server.run(block("sh", REBUILT).splitlines()[0].replace("rebuilt.db", "market.db")).code == 0
    assert server.run(block("sh", LOCKED)).code == 0
    before = json_file(server.folder / "dataset.lock.json")
    assert server.run(audit).code == 0
    ten, key = truth.moment("2026-02-07T10:00"), hostile.key(PEPE, "2026-02")
    sha256 = publish(market, key, field(str(ten), 5, "4321.5"))
    done = server.run(audit)
    assert done.code == 3, done
    assert [(one["object"], one["new"]) for one in json_file(server.folder / "audit.json")["republished"]] == [(key, sha256)]
    done = server.run(f"set -e\n{follow}")
    assert done.code == 0, done
    assert server.run(audit).code == 0
    after = json_file(server.folder / "dataset.lock.json")
    changed = [
        (name, symbol, month)
        for name, symbols in after["datasets"].items()
        for symbol, months in symbols.items()
        for month, digest in months.items()
        if before["datasets"][name][symbol][month] != digest
    ]
    assert changed == [("klines/5m", PEPE, "2026-02")]
    assert {"name": key, "sha256": sha256} in after["objects"]
    assert query(server.folder / "market.db", "SELECT volume FROM klines WHERE symbol = ? AND open_time = ?", PEPE, ten) == [
        (4321.5,)
    ]
    assert query(server.folder / "market-before.db", "SELECT count(*) FROM klines WHERE volume = 4321.5") == [(0,)]


# Takes the place of ssh-keygen where a machine has none: a key, a signature and its check, with the flags of the recipe.
STAND_IN = """#!{python}
import hashlib, pathlib, re, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
path = pathlib.Path(given["-f"])
def seal(key, content):
    return hashlib.sha256(" ".join(["ssh-stand-in", key, given["-n"]]).encode() + content).hexdigest()
if "-t" in given:
    path.write_text("a private key")
    path.with_name(path.name + ".pub").write_text("ssh-stand-in KEY\\n")
elif given["-Y"] == "sign":
    _, key = path.with_name(path.name + ".pub").read_text().split()
    file = pathlib.Path(sys.argv[-1])
    file.with_name(file.name + ".sig").write_text(seal(key, file.read_bytes()))
else:
    name, spaces, _, key = path.read_text().split()
    allowed = name == given["-I"] and spaces == 'namespaces="%s"' % given["-n"]
    good = pathlib.Path(given["-s"]).read_text() == seal(key, sys.stdin.buffer.read())
    print('Good "%s" signature for %s' % (given["-n"], name) if allowed and good else "Could not verify signature.")
    sys.exit(not (allowed and good))
"""


@pytest.mark.parametrize("keygen", ["ssh-keygen", "a stand-in"] if shutil.which("ssh-keygen") else ["a stand-in"])
def test_a_lock_is_signed(server: Server, keygen: str) -> None:
    if keygen != "ssh-keygen":
        stand_in = server.folder / ".venv/bin/ssh-keygen"
        stand_in.write_text(STAND_IN.format(python=sys.executable))
        stand_in.chmod(0o755)
    lock = server.folder / "dataset.lock.json"
    lock.write_text('{"root": "..."}\n')
    (server.folder / ".ssh").mkdir(mode=0o700)
    assert server.run('ssh-keygen -t ed25519 -N "" -f ~/.ssh/id_ed25519').code == 0
    lines = block("sh", SIGNED)
    done = server.run(f"set -e\n{lines}")
    assert done.code == 0, done
    assert 'Good "dataset" signature for you@example.com' in done.stdout
    check = lines.splitlines()[-1]
    for changed in (check.replace("-n dataset", "-n mail"), check.replace("you@", "me@")):
        assert server.run(changed).code != 0, changed
    lock.write_text('{"root": "...."}\n')
    assert server.run(check).code != 0


def program(workspace: Workspace, code: str) -> subprocess.CompletedProcess[str]:
    """A program of the recipes as a file of its own, which must end well."""
    (workspace.folder / "program.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=workspace.folder, env=workspace.env(),
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_a_program_of_plain_functions(workspace: Workspace) -> None:
    code = block("python", "import NetworkConfig")
    assert workspace.define().code == 0
    done = program(workspace, code)
    bars = 3 * 19 * 24
    assert done.stdout == f"True {{'klines': {bars}, 'metrics': 0, 'funding_rates': 0}}\n"
    # The same with input that cannot be used: one line, which holds the hint.
    refused = subprocess.run(
        [sys.executable, "-c", code.replace('"1h"', '"7m"')], cwd=workspace.folder, env=workspace.env(),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (refused.returncode, refused.stdout) == (1, "")
    assert re.fullmatch(r"unknown interval '7m' \(one of: 1m .* 1d\)\n", refused.stderr)


def test_a_program_that_shows_its_progress_and_its_log(workspace: Workspace) -> None:
    assert workspace.define().code == 0
    done = program(workspace, block("python", "ProgressEvent"))
    lines = done.stdout.splitlines()
    assert lines[0] == "download: 0 of 9 symbol-days, 0 s"
    assert re.fullmatch(r"download: 9 of 9 symbol-days, \d+ s", lines[-1])
    assert re.search(r"^2\d{3}-\d\d-\d\d .* cryptoservice\.download\.command 9 symbol-days to fetch", done.stderr, re.MULTILINE)


def test_a_program_that_reads_dataframes(workspace: Workspace) -> None:
    assert workspace.define().code == 0
    assert workspace.download("--download-market-metrics").code == 0
    done = program(workspace, block("python", "read_funding_rates"))
    bars = 2 * 3 * 288
    assert done.stdout == f"{bars} {bars} ['ALGOUSDT', 'AVAXUSDT', 'LINKUSDT']\n"
    assert done.stderr == ""


def test_a_program_with_helper_processes_runs_once(workspace: Workspace) -> None:
    code = block("python", "ProcessPoolExecutor")
    assert workspace.define().code == 0
    # Every process that imports the program leaves a line: the program itself, and each helper.
    trace = "import os\n\nwith open('imports.txt', 'a') as trace:\n    print(os.getpid(), __name__, file=trace)\n"
    done = program(workspace, f"{code.partition('def main')[0]}{trace}\n\ndef main{code.partition('def main')[2]}")
    # A helper that fails is made up for with a warning: there must be none.
    assert (done.stdout, done.stderr) == ("complete\n", "")
    imports = [line.split()[1] for line in (workspace.folder / "imports.txt").read_text().splitlines()]
    assert imports.count("__main__") == 1
    assert imports.count("__mp_main__") in (1, 2), "no helper was used"
    assert len(csvs(workspace.folder / "exports")) == 28
    assert_stored(workspace, "LINKUSDT", "1m")


def test_a_program_in_an_event_loop(workspace: Workspace) -> None:
    program(workspace, block("python", "MarketDataService"))
    assert_stored(workspace, "LINKUSDT", database="data/database/market.db")
    assert query(workspace.folder / "data/database/market.db", "SELECT count(*) FROM symbol_days") == [(3 * 84,)]
