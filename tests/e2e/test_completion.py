"""Shell completion: what real shells offer, against what the real `--help` says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e import truth
from tests.e2e.conftest import ROOT, Outcome, Workspace
from tests.e2e.shells import Typing, Zsh, bash_offers, script, zsh
from tests.e2e.steps import assert_refused

COMMANDS = ["", "universe", *(f"universe {name}" for name in ("define", "download", "export", "status", "verify"))]
# Which flags take a path or an interval; whatever else takes a value has its choices in the help, or is free text.
FILES = {"--universe-file", "--db-path", "--output", "--symbols-file"}
FOLDERS = {"--export-base-path"}
INTERVALS = {"--interval", "--source-freq", "--export-freq"}
FREE_NAMES = {
    "--symbols", "--start-date", "--end-date", "--description", "--daily-check-workers", "--api-key", "--api-secret",
    "--max-retries", "--sample", "--seed", "--api-base-url", "--max-vision-workers", "--api-request-delay",
}  # fmt: skip


class Help(NamedTuple):
    """One command as its `--help` describes it."""

    path: list[str]
    children: list[str]
    flags: dict[str, str]
    """The metavar of every spelling of every flag, empty when it takes no value."""
    slots: list[set[str]]
    """Spellings of which only one is wanted."""
    told: dict[str, str]
    """The help of every spelling, in single spaces."""


@cache
def help_text(*path: str) -> str:
    command = [sys.executable, "-m", "cryptoservice", *path, "--help"]
    environment = {"COLUMNS": "1000", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def read_help(*path: str) -> Help:
    text = help_text(*path)
    flags: dict[str, str] = {}
    told: dict[str, str] = {}
    slots = []
    for spelled, about in re.findall(r"^  (-\S.*?)(?:  +|\n {10,})(.*)$", text, flags=re.MULTILINE):
        names = re.findall(r"(?<!\S)--?[a-z][a-z-]*", spelled)
        metavar = re.sub(r"^.*?--[a-z-]+ ?", "", spelled)
        flags.update(dict.fromkeys(names, metavar))
        told.update(dict.fromkeys(names, " ".join(about.split())))
        slots.append(set(names))
    usage = text.partition("\n\n")[0]
    for together in re.findall(r"\[(-[^\]]* \| [^\]]*)\]", usage):
        merged = [slot for slot in slots if slot & set(together.split(" | "))]
        slots = [slot for slot in slots if slot not in merged] + [set().union(*merged)]
    children = re.findall(r"^    ([a-z]+) ", text, flags=re.MULTILINE)
    return Help(list(path), children, flags, slots, told)


@cache
def helps() -> list[Help]:
    """Every command of the tree, the bare name first."""
    found, queue = [], [read_help()]
    while queue:
        found.append(one := queue.pop(0))
        queue += [read_help(*one.path, word) for word in one.children]
    return found


def choices(flag: str, metavar: str) -> list[str]:
    """The words that may stand after a flag."""
    if flag in INTERVALS:
        return list(truth.INTERVALS)
    if flag == "--print-completion":
        return ["bash", "zsh"]
    return metavar.strip("{}").split(",") if metavar.startswith("{") else []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts, and something to complete."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "completion.bash").write_text(script("bash"))
    (folder / "_cryptoservice").write_text(script("zsh"))
    (folder / "here").mkdir()
    inside = folder / "here"
    for name in ("data", "a folder"):
        (inside / name).mkdir()
        (inside / name / "market.db").touch()
    for name in ("universe.json", "second list.txt", "币安.json"):
        (inside / name).touch()
    return folder


Case = tuple[list[str], set[str]]
HERE = {"data", "a folder", "universe.json", "second list.txt", "币安.json"}


def cases() -> list[Case]:
    """Lines, the word at the cursor last, and what must be offered there."""
    found: list[Case] = []
    for one in helps():
        line = ["cryptoservice", *one.path]
        found.append(([*line, "-"], set(one.flags)))
        found.append(([*line, "--"], {flag for flag in one.flags if flag.startswith("--")}))
        found.append(([*line, "nonsense"], set()))
        if one.children:
            found.append(([*line, ""], set(one.children)))
            found += [([*line, word[:3]], {word}) for word in one.children]
        for flag, metavar in one.flags.items():
            # Once it stands there it is not offered again, nor is what cannot stand beside it.
            slot = next(slot for slot in one.slots if flag in slot)
            value = ["something"] if metavar else []
            found.append(([*line, flag, *value, "-"], set(one.flags) - slot))
            if metavar:
                words = choices(flag, metavar)
                found += [([*line, flag, word[:1]], {other for other in words if other[0] == word[0]}) for word in words]
                paths = HERE if flag in FILES else {"data", "a folder"} if flag in FOLDERS else set()
                found.append(([*line, flag, ""], set(words) or paths))
    # A value may look like a command or like nothing at all.
    define = next(one for one in helps() if one.path == ["universe", "define"])
    found.append(([*["cryptoservice", "universe", "define", "--output", "download", "--symbols", "A", "--force", "-"]],
                  set(define.flags) - {"--output", "--symbols", "--force"}))  # fmt: skip
    found.append((["cryptoservice", "universe", "define", "--symbols", "universe", "--description", ""], set()))
    return found


def as_typed(offer: str) -> str:
    """A name as it is, which zsh hands out quoted."""
    return offer.replace("\\", "")


def test_the_help_is_read_rightly() -> None:
    assert [" ".join(one.path) for one in helps()] == COMMANDS
    metavars = {flag: metavar for one in helps() for flag, metavar in one.flags.items()}
    assert metavars.keys() >= (FILES | FOLDERS | INTERVALS | FREE_NAMES)
    assert (metavars["--log-format"], metavars["-q"], metavars["--force"]) == ("{text,json}", "", "")
    assert {flag for flag, metavar in metavars.items() if metavar in ("FILE", "DIR")} == FILES | FOLDERS
    assert {"-q", "--quiet", "-v", "--verbose"} in helps()[2].slots
    assert len(cases()) > 200


def test_bash_offers_what_the_help_says(folder: Path) -> None:
    offers = bash_offers(folder / "completion.bash", [words for words, _ in cases()], folder / "here")
    for (words, due), offered in zip(cases(), offers, strict=True):
        assert sorted(offered) == sorted(due), words


def test_bash_offers_flags_of_a_finished_command_without_a_dash(folder: Path) -> None:
    leaves = [one for one in helps() if not one.children]
    offers = bash_offers(folder / "completion.bash", [["cryptoservice", *one.path, ""] for one in leaves], folder)
    assert [set(offered) for offered in offers] == [set(one.flags) for one in leaves]


@pytest.mark.parametrize("breaks", ["", "COMP_WORDBREAKS=${COMP_WORDBREAKS//=};"])
def test_bash_completes_after_an_equals_sign(folder: Path, breaks: str) -> None:
    def cut(line: str) -> list[str]:
        return line.split(" ") if breaks else re.split(r" |(?==)|(?<==)", line)

    due = {
        "cryptoservice universe define --log-format=": ["text", "json"],
        "cryptoservice universe define --log-format=j": ["json"],
        "cryptoservice universe download --interval=1": ["1m", "15m", "1h", "12h", "1d"],
        "cryptoservice universe download --db-path=here/uni": ["here/universe.json"],
        "cryptoservice universe export --export-base-path=here/": ["here/data", "here/a folder"],
        "cryptoservice universe define --symbols=": [],
        "cryptoservice universe define --force=": [],
        "cryptoservice universe define --force=x": [],
        "cryptoservice universe define --log-format=json --log": [],
        "cryptoservice universe define --output=x.json --out": [],
        "cryptoservice universe define --output=x.json --desc": ["--description"],
    }
    offers = bash_offers(folder / "completion.bash", [cut(line) for line in due], folder, breaks)
    for (line, words), offered in zip(due.items(), offers, strict=True):
        flag = line.rpartition(" ")[2].partition("=")[0] + "="
        given = [f"{flag}{word}" for word in words] if breaks and "=" in line.rpartition(" ")[2] else words
        assert sorted(offered) == sorted(given), line


def test_bash_completes_names_that_need_quotes(folder: Path) -> None:
    begin = ["cryptoservice", "universe", "status", "--db-path"]
    # As readline hands them over: quoted the way they were typed.
    typed = {
        "here/a\\ f": ["here/a folder"],
        "'here/a folder/": ["here/a folder/market.db"],
        '"here/sec': ["here/second list.txt"],
    }
    offers = bash_offers(folder / "completion.bash", [[*begin, word] for word in typed], folder)
    assert offers == list(typed.values())


def test_bash_may_be_set_up_strangely(folder: Path) -> None:
    lines = [["cryptoservice", "universe", "download", "--interval", "1"], ["cryptoservice", "universe", "define", "--sym"]]
    offers = bash_offers(folder / "completion.bash", lines, folder, "set -u; IFS=:;")
    assert offers == [["1m", "15m", "1h", "12h", "1d"], ["--symbols", "--symbols-file"]]


# What a person types and means: the command is a stand-in that writes down its arguments.
TYPED = "./bin/cryptoservice uni\tdef\t--out\there/a\tx.json --sy\t-f\there/sec\t--log-format js\t--no-such\t\n"
MEANT = [
    "universe", "define", "--output", "here/a folder/x.json", "--symbols-file", "here/second list.txt", "--log-format", "json",
    "--no-such",
]  # fmt: skip


def stand_in(folder: Path) -> Path:
    """The file that will hold the arguments."""
    (folder / "bin").mkdir(exist_ok=True)
    name = folder / "bin" / "cryptoservice"
    name.write_text('#!/bin/sh\nprintf "%s\\n" "$@" --end-- > arguments.tmp\nmv arguments.tmp arguments\n')
    name.chmod(0o755)
    (folder / "arguments").unlink(missing_ok=True)
    return folder / "arguments"


def test_a_line_typed_into_a_real_bash(folder: Path) -> None:
    arguments = stand_in(folder)
    shell = Typing(["bash", "--norc", "--noprofile", "-i"], folder)
    try:
        shell.type('eval "$(cat completion.bash)"\n' + TYPED)
        text = shell.wait_for(arguments, lambda text: text.endswith("--end--\n"))
    finally:
        shell.close()
    assert text.splitlines()[:-1] == MEANT


# -- zsh ---------------------------------------------------------------------------------------------------------------


def zsh_specs(path: list[str]) -> dict[str, re.Match[str]]:
    """What the generated function of a command hands to _arguments, by spelling."""
    body = script("zsh").partition("_".join(("\n_cryptoservice", *path)) + "() {\n")[2].partition("\n}\n")[0]
    words = shlex.split(body.partition("_arguments")[2].replace("\\\n", " "))
    matches = [re.fullmatch(r"(\([^)]*\))?(--?[a-z][a-z-]*)(=?)\[(.*?[^\\])\](?::(.*?[^\\]):(.*))?", word) for word in words]
    return {match[2]: match for match in matches if match}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_zsh_script_holds_what_the_help_says(command: str) -> None:
    path = command.split()
    one = next(one for one in helps() if one.path == path)
    specs = zsh_specs(path)
    assert specs.keys() == one.flags.keys()
    for flag, metavar in one.flags.items():
        slot = next(slot for slot in one.slots if flag in slot)
        words = choices(flag, metavar)
        offered = "_files" if flag in FILES else "_files -/" if flag in FOLDERS else f"({' '.join(words)})" if words else " "
        rivals, _, equals, about, _, action = specs[flag].groups()
        assert set((rivals or f"({flag})").strip("()").split()) == slot
        assert re.sub(r"\\(.)", r"\1", about) == one.told[flag]
        assert (equals, action) == (("=", offered) if metavar else ("", None))
    for word in one.children:
        assert f"'{word}:" in script("zsh")
        assert "_".join(("\n_cryptoservice", *path, word)) + "() {" in script("zsh")


@pytest.fixture
def loaded(request: pytest.FixtureRequest, folder: Path) -> Iterator[Zsh]:
    """A zsh that has sourced the script, or found it among its functions."""
    load = f"source {folder / '_cryptoservice'}" if request.param == "sourced" else f"fpath=({folder} $fpath); compinit -u -D"
    shell = Zsh(load, folder / "here")
    yield shell
    shell.close()


@pytest.mark.slow
@pytest.mark.parametrize("loaded", ["sourced", "autoloaded"], indirect=True)
def test_zsh_offers_what_the_help_says(loaded: Zsh) -> None:
    for words, due in cases():
        offered = {as_typed(offer) for offer in loaded.offers(" ".join(words))}
        assert offered == due, words


@pytest.mark.slow
def test_a_line_typed_into_a_real_zsh(folder: Path) -> None:
    arguments = stand_in(folder)
    shell = Typing([zsh(), "-f", "-i"], folder)
    try:
        shell.type("autoload -Uz compinit && compinit -u -D; source ./_cryptoservice\n" + TYPED)
        text = shell.wait_for(arguments, lambda text: text.endswith("--end--\n"))
    finally:
        shell.close()
    # Here a flag that takes a value brings its = along.
    words = [part for word in text.splitlines()[:-1] for part in (word.split("=", 1) if word[:2] == "--" else [word])]
    assert words == MEANT


# -- the command itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["fish"], [""], []])
def test_an_unknown_shell_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    assert_refused(Workspace(tmp_path).run("--print-completion", *arguments), "--print-completion", "--help")


def test_half_a_script_is_a_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        command = [sys.executable, "-m", "cryptoservice", "--print-completion", "bash"]
        done = subprocess.run(command, cwd=ROOT, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False)
    assert_refused(Outcome(done.returncode, "", done.stderr), "stdout", code=1)


def test_the_help_costs_no_more(tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); from cryptoservice.cli import main; assert main(['--help']) == 0;"
        "print(*sorted(m for m in set(sys.modules) - before if m.startswith('cryptoservice')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert loaded == {"cryptoservice", *(f"cryptoservice.{name}" for name in ("_version", "cli", "errors", "models", "parser"))}
