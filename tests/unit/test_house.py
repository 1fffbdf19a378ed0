"""The structure of the package as a test: how much stands where, who imports whom, and what library code may say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import cryptoservice

PACKAGE = Path(cryptoservice.__file__).parent
TESTS = Path(__file__).parent
# The arrows of the design: what each part may import. A part is a package, or "base" for the modules beside the packages.
BELOW: dict[str, set[str]] = {
    "base": set(),
    "binance": {"base"},
    "storage": {"base"},
    "universe": {"base", "binance", "storage"},
    "sources": {"base", "binance", "storage"},
}
for _command in ("define", "download", "export", "audit"):
    BELOW[_command] = {"base", "binance", "storage", "universe", "sources"}
# What the next download would do is a question of its worklist, and a repair is a download of a few symbol-days.
BELOW["audit"].add("download")
BELOW["service"] = BELOW["cli"] = set(BELOW)
BELOW["__main__"] = {"cli"}
BELOW["__init__"] = BELOW["_version"] = set()


@cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name below the package, such as `binance.http.host`; packages by their own name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def part_of(name: str) -> str:
    first = name.partition(".")[0]
    return first if first in BELOW else "base"


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from run_time_nodes(child)


def imports(name: str, *, deferred: bool = True) -> set[str]:
    """The modules of this package that a module imports; without `deferred` only those that it imports when it is loaded."""
    found = set()
    nodes = run_time_nodes(tree_of(name)) if deferred else iter(tree_of(name).body)
    for node in nodes:
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} has a relative import in line {node.lineno}"
            # `from package import module` names a module, `from module import thing` does not.
            named = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module or ""]
        else:
            continue
        below = {word.removeprefix("cryptoservice.") for word in named if word.startswith("cryptoservice.")}
        known = below & modules().keys()
        # The package that a module was taken from is only named on the way to it.
        found |= {word for word in known if not any(other.startswith(f"{word}.") for other in known)}
    return found - {name}


def packages() -> list[Path]:
    """The folders of the package that hold modules, without the package itself."""
    return sorted({path.parent for path in modules().values()} - {PACKAGE})


def test_the_walk_sees_the_package() -> None:
    assert {"cli.main", "binance.http.host", "export.coverage_map.page", "errors", "cli"} <= modules().keys()
    assert {"errors", "cli.parser"} <= imports("cli.main")
    assert "cli.commands.dispatch" in imports("cli.main")
    assert "cli.commands.dispatch" not in imports("cli.main", deferred=False)
    assert "clock" not in imports("cli.main"), "only a type checker imports it"


def test_top_level_and_packages_are_small() -> None:
    top = [name for name, path in modules().items() if path.parent == PACKAGE and not name.startswith("_")]
    assert len(top) <= 10, f"at most ten modules at the top level: {top}"
    crowded = {}
    for folder in packages():
        names = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
        if not 3 <= len(names) <= 9:
            crowded[str(folder.relative_to(PACKAGE))] = names
    assert not crowded, "a package has three to nine modules"


def test_no_module_is_long() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert not {name: lines for name, lines in lengths.items() if lines > 400}


def test_imports_go_one_way() -> None:
    wrong = []
    for name in modules():
        part = part_of(name)
        wrong += [f"{name} imports {other}" for other in imports(name) if part_of(other) not in BELOW[part] | {part, "_version"}]
    assert not wrong


def test_nothing_imports_the_command_line_but_main() -> None:
    users = {name for name in modules() for other in imports(name) if part_of(other) == "cli" and part_of(name) != "cli"}
    assert users == {"__main__"}


@pytest.mark.parametrize("deferred", [False, True])
def test_no_module_imports_itself_by_way_of_others(deferred: bool) -> None:
    graph = {name: imports(name, deferred=deferred) for name in modules()}
    while leaves := {name for name, others in graph.items() if not others & graph.keys()}:
        graph = {name: others for name, others in graph.items() if name not in leaves}
    # What is left is part of a cycle, or needs one.
    assert not graph


def test_library_code_names_no_flag_and_no_command() -> None:
    told = []
    for name in modules():
        if part_of(name) == "cli":
            continue
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for words in re.findall(r"(?<![\w<!-])--[a-z][a-z-]*|cryptoservice universe \S*", node.value):
                    told.append(f"{name}:{node.lineno}: {words}")
    assert not told, "only cli/ knows the command line: give the error a Remedy, or write a neutral sentence"


def test_every_module_has_its_tests_and_every_test_its_module() -> None:
    packages_of_tests = {path.parent.relative_to(TESTS) for path in TESTS.rglob("*.py")}
    strangers = [str(folder) for folder in packages_of_tests if not (PACKAGE / folder).is_dir()]
    assert not strangers, "a folder of tests mirrors a package"
    missing = []
    for path in modules().values():
        place = path.relative_to(PACKAGE)
        test = TESTS / place.parent / f"test_{place.stem}.py"
        text = path.read_text(encoding="utf-8")
        # A module that only declares values has nothing that could be tried alone.
        has_logic = any(isinstance(node, (ast.If, ast.For, ast.While, ast.comprehension)) for node in ast.walk(ast.parse(text)))
        if not path.stem.startswith("_") and has_logic and len(text.splitlines()) >= 40 and not test.is_file():
            missing.append(str(test.relative_to(TESTS.parents[1])))
    assert not missing, "a module with logic, of 40 lines or more, has a test module of its name: " + ", ".join(missing)
