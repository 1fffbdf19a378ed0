"""recipes/Dockerfile: what it says, and what comes of it by hand, and by docker where that is; the recipe's lines."""

from __future__ import annotations

import configparser
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import ROOT, Workspace
from tests.e2e.crash_steps import csvs
from tests.e2e.recipe_steps import RECIPES, Server, block
from tests.e2e.steps import addresses, assert_stored
from tests.exchange import ReplayExchange

DOCKERFILE = RECIPES / "Dockerfile"
DATA = "/data"
# Takes the place of docker where there is none: it knows the flags of the recipe, and runs the command with the image's own
# environment, in the folder that the volume names.
STAND_IN = """#!{python}
import os, pathlib, sys
kind, *words = sys.argv[1:]
given, flags = {{}}, []
takes = {{"--tag", "--file", "--user", "--volume", "--env", "--network"}}
while words and words[0].startswith("--"):
    flag = words.pop(0)
    flags.append((flag, words.pop(0) if flag in takes else ""))
    assert flag in takes | {{"--rm"}}, flag
given = dict(flags)
built = pathlib.Path({folder!r}, "image-" + (given["--tag"] if kind == "build" else words[0]))
if kind == "build":
    (context,) = words
    assert pathlib.Path(given["--file"]).resolve() == pathlib.Path(context, "recipes/Dockerfile").resolve()
    built.touch()
else:
    assert kind == "run" and "--rm" in given and built.exists(), sys.argv
    assert given["--user"] == "%d:%d" % (os.getuid(), os.getgid())
    folder, _, inside = given["--volume"].partition(":")
    assert inside == "{data}" and pathlib.Path(folder).is_dir(), "docker would make the folder, and root would own it"
    os.chdir(folder)
    environment = {{value: os.environ[value] for flag, value in flags if flag == "--env"}}
    environment["XDG_STATE_HOME"] = {state!r}.replace(inside, folder)
    environment["PYTHONPATH"] = {path!r}
    os.execve({command[0]!r}, {command} + words[1:], environment)
"""


def instructions() -> list[tuple[str, str]]:
    """Word and arguments of each instruction, on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line]


def of(word: str) -> list[str]:
    return [arguments for name, arguments in instructions() if name == word]


def environment_of_the_image() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in of("ENV") for pair in line.split())


def context(folder: Path) -> Path:
    """What the builder gets to see of the checkout: what the .dockerignore leaves, of whose lines the last that fits counts."""
    rules = [line for line in (RECIPES / "Dockerfile.dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    visible = [path for path in ROOT.iterdir() if path.name[0] != "."]
    for path in [inner for top in visible for inner in (top, *top.rglob("*")) if inner.is_file()]:
        name = path.relative_to(ROOT).as_posix()
        seen = True
        for rule in rules:
            pattern = rule.removeprefix("!").removeprefix("**/")
            parts = [name, name.partition("/")[0]] if "**/" not in rule else name.split("/")
            if any(fnmatch.fnmatch(part, pattern) for part in parts):
                seen = rule.startswith("!")
        if seen:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / name)
    return folder


def test_its_bases_are_pinned_and_one_version() -> None:
    bases = [line.split()[0] for line in of("FROM")]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    found = re.fullmatch(r"python:3\.(\d+)-slim-[a-z]+", bases[0])
    assert found, "a version of Python and of the system, never a tag that moves from one to the next"
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert int(found[1]) >= int(setup["options"]["python_requires"].removeprefix(">=3."))


def test_it_copies_what_is_there_and_what_the_build_needs(tmp_path: Path) -> None:
    seen = context(tmp_path)
    copied = [line.split()[:-1] for line in of("COPY") if not line.startswith("--from=build")]
    sources = [source for line in copied for source in line]
    assert {"cryptoservice", "pyproject.toml", "setup.cfg"} <= set(sources)
    # Neither more nor less than the builder sees.
    assert {path.name for path in seen.iterdir()} == set(sources)
    assert not list(seen.rglob("*.pyc"))
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["long_description"].removeprefix("file: ") in sources
    assert {path.relative_to(ROOT) for path in (ROOT / "cryptoservice").rglob("*.py")} == {
        path.relative_to(seen) for path in seen.rglob("*.py")
    }


def test_it_runs_the_command_as_nobody_in_its_folder() -> None:
    words = [word for word, _ in instructions()]
    last = len(words) - 1 - words[::-1].index("FROM")
    assert words[last:].count("USER") == words[last:].count("ENTRYPOINT") == 1
    (user,), (folder,), (volume,) = of("USER"), of("WORKDIR")[-1:], of("VOLUME")
    assert user not in ("root", "0")
    assert re.search(rf"useradd --uid \d{{5}} .*\b{user}\b", of("RUN")[-1])
    assert f"--mode 0777 {DATA}" in of("RUN")[-1], "whoever --user is"
    assert folder == volume == DATA
    # In exec form: signals reach the command itself.
    (entry,), (default,) = map(json.loads, of("ENTRYPOINT")), map(json.loads, of("CMD"))
    assert (entry, default) == (["cryptoservice"], ["--help"])
    assert "ADD" not in words
    # Nothing of an earlier step may stand after the last change of user.
    assert set(words[words.index("USER") + 1 :]) == {"WORKDIR", "VOLUME", "ENTRYPOINT", "CMD"}
    assert environment_of_the_image() == {"XDG_STATE_HOME": f"{DATA}/.state"}
    # The package and what it needs, no extras.
    assert not re.search(r"\[\w+\]", "".join(of("RUN")))


def stand_in(server: Server, command: list[str], path: str) -> None:
    script = server.folder / ".venv/bin/docker"
    state = environment_of_the_image()["XDG_STATE_HOME"]
    script.write_text(
        STAND_IN.format(
            python=sys.executable, folder=str(server.folder), data=DATA, state=state, command=command, path=path
        )
    )  # fmt: skip
    script.chmod(0o755)


def check_the_recipe(server: Server, exchange: ReplayExchange) -> None:
    """Its lines as they stand; only the exchange is another one."""
    built = server.run(block("sh", "docker build"), ROOT)
    assert built.code == 0, built
    more = "docker run --network host " + " ".join(f"--env {name}" for name in addresses(exchange)) + " --rm"
    lines = block("sh", "docker run")
    assert lines.count("docker run --rm") == 3
    done = server.run("set -e\n" + lines.replace("docker run --rm", more))
    assert done.code == 0, done
    data = Workspace(server.folder / "data")
    assert_stored(data, "LINKUSDT")
    day = truth.csv_text({name: truth.rows(name, "5m", "2026-02-28", "2026-02-28") for name in ("AVAXUSDT", "LINKUSDT")})
    files = csvs(data.folder / "exports")
    assert len(files) == 28
    assert files["klines/freq=5m/date=2026-02-28/klines.csv"].decode() == day
    assert {path.stat().st_uid for path in data.folder.rglob("*")} == {os.getuid()}


@pytest.fixture
def server(workspace: Workspace) -> Server:
    return Server(workspace)


def test_the_recipe_needs_no_home_and_no_other_folder(server: Server, exchange: ReplayExchange) -> None:
    stand_in(server, [sys.executable, "-m", "cryptoservice"], str(ROOT))
    check_the_recipe(server, exchange)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["by hand", "docker"] if Path("/var/run/docker.sock").exists() else ["by hand"])
def test_what_it_builds_does_the_recipe(
    server: Server, exchange: ReplayExchange, tmp_path_factory: pytest.TempPathFactory, how: str
) -> None:
    """By hand: its two steps of pip in environments of their own, the second without an index, as in the image."""
    if how == "by hand":
        wheels, image = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("image")
        build = context(tmp_path_factory.mktemp("context"))
        first, second = (line.replace("/wheels", str(wheels)) for line in of("RUN"))
        pip(first, sys.executable, build)
        venv.create(image, with_pip=True)
        pip(second.partition(" &&")[0], str(image / "bin/python"), image)
        listed = subprocess.run([image / "bin/python", "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
        names = {re.split("[ =@]", line)[0] for line in listed.splitlines()}
        assert {"cryptoservice", "requests", "urllib3"} <= names
        assert names <= {"cryptoservice", "requests", "urllib3", "certifi", "charset-normalizer", "idna", "setuptools"}
        (entry,) = map(json.loads, of("ENTRYPOINT"))
        stand_in(server, [str(image / "bin" / entry[0])], "")
    else:
        real = shutil.which("docker")
        assert real
        (server.folder / ".venv/bin/docker").symlink_to(real)
    check_the_recipe(server, exchange)


def pip(line: str, python: str, folder: Path) -> None:
    """One line of pip of the Dockerfile, by this Python."""
    program, *words = shlex.split(line)
    assert program == "pip"
    done = subprocess.run(
        [python, "-m", "pip", *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
