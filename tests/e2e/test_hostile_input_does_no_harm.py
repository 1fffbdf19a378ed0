"""Input files and arguments that mean harm: one line of error, exit code 2, nothing fetched and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.hostile_server import call, run_measured
from tests.e2e.steps import addresses, assert_refused, contents, query, universe, write_universe
from tests.exchange import Market, ReplayExchange

DAY = "2026-02-10"
DATES = ("--start-date", DAY, "--end-date", DAY)
DOWNLOAD = ("universe", "download", "--db-path", "made/market.db", "--interval", "1d", "--max-retries", "0")
MEMORY_LIMIT = 150.0
PATIENCE = 15.0


@pytest.fixture(scope="module")
def exchange() -> Iterator[ReplayExchange]:
    """One exchange for all: nobody should ask it anything."""
    with ReplayExchange(Market.recorded()) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, exchange: ReplayExchange) -> Workspace:
    """An empty folder; nothing has been asked of the exchange yet."""
    exchange.reset_requests()
    return Workspace(tmp_path, addresses(exchange))


def define(workspace: Workspace, *flags: str) -> Outcome:
    """`universe define` of one day into made/universe.json."""
    return workspace.run("universe", "define", *flags, *DATES, "--output", "made/universe.json", timeout=PATIENCE)


def assert_untouched(workspace: Workspace, exchange: ReplayExchange, before: dict[str, bytes | None]) -> None:
    """No request, no file, no folder."""
    assert exchange.requests == []
    assert contents(workspace.folder) == before


# Names that must never become part of a path, a query, SQL or a spreadsheet.
NAMES = {
    "a slash": "BTC/USDT",
    "a way up": "../../BTCUSDT",
    "dots": "BTC..USDT",
    "a hidden name": ".BTCUSDT",
    "a backslash": "..\\BTCUSDT",
    "a quote": "BTC'USDT",
    "a double quote": 'BTC"USDT',
    "sql": "X'; DROP TABLE klines; --",
    "a semicolon": "BTC;USDT",
    "a percent": "BTC%2FUSDT",
    "a question mark": "BTC?USDT",
    "an ampersand": "BTCUSDT&LIMIT=1",
    "a dollar": "$(TOUCH MADE)",
    "a backquote": "`TOUCH MADE`",
    "ten thousand characters": "A" * 10_000,
    "a formula": "=1+1",
    "a plus": "+BTCUSDT",
    "a minus": "-BTCUSDT",
    "a wide formula": "\uff1d1\uff0b1",
    "a wide slash": "BTC\uff0fUSDT",
    "right to left": "BTC\u202eUSDT",
    "zero width": "BTC\u200bUSDT",
    "a line of unicode": "BTC\u2028USDT",
    "an escape": "BTC\x1b[31mUSDT",
    "a bell": "BTC\x07USDT",
    "a byte order mark inside": "BTC\ufeffUSDT",
    "a private character": "BTC\ue000USDT",
}
# In a list these are several names or none: they can only stand in universe.json, or inline.
INLINE_ONLY = {"a line end": "BTC\nUSDT", "a tab": "BTC\tUSDT", "a space": "BTC USDT", "a no-break space": "BTC\u00a0USDT"}
JSON_ONLY = {
    **INLINE_ONLY,
    "nul": "BTC\x00USDT",
    "an at": "@BTCUSDT",
    "lower case": "btcusdt",
    "nothing": "",
    "a comma": "BTC,USDT",
    "half of a character pair": "BTC\ud800USDT",
    "a number": 7,
    "a list": ["BTCUSDT"],
    "null": None,
}


def test_a_bad_name_inline_is_refused(workspace: Workspace, exchange: ReplayExchange) -> None:
    for name, symbol in {**NAMES, **INLINE_ONLY}.items():
        outcome = call(workspace, "universe", "define", f"--symbols=LINKUSDT,{symbol}", *DATES, "--output", "made/u.json")
        assert outcome.code == 2, (name, outcome)
        assert_refused(outcome, "symbol")
        assert len(outcome.stderr) < 400, name
        assert outcome.stderr.isprintable() or outcome.stderr.replace("\n", "").isprintable(), name
    assert_untouched(workspace, exchange, {})


@pytest.mark.parametrize("name", ["sql", "a way up", "a formula", "ten thousand characters"])
def test_the_real_command_refuses_bad_names(workspace: Workspace, exchange: ReplayExchange, name: str) -> None:
    assert_refused(define(workspace, f"--symbols=LINKUSDT,{NAMES[name]}"), "symbol")
    record = universe(["LINKUSDT"], DAY, DAY)
    record["requested_symbols"].append(NAMES[name])
    path = workspace.folder / "universe.json"
    path.write_text(json.dumps(record))
    assert_refused(workspace.run(*DOWNLOAD, "--universe-file", "universe.json"), "requested_symbols[1]")
    assert_untouched(workspace, exchange, {"universe.json": path.read_bytes()})


def test_a_bad_name_from_a_file_is_refused(workspace: Workspace, exchange: ReplayExchange) -> None:
    listed = workspace.folder / "names.txt"
    for number, (name, symbol) in enumerate(NAMES.items()):
        # Line ends and spaces part the names of a file.
        text = symbol if not {" ", "\u2028"} & set(symbol) else symbol.split()[0]
        if text == "BTC":
            continue
        listed.write_text(f"LINKUSDT\n{text}\n", encoding="utf-8")
        flags = ("--symbols", "@names.txt") if number % 2 else ("--symbols-file", "names.txt")
        outcome = call(workspace, "universe", "define", *flags, *DATES, "--output", "made/u.json")
        assert outcome.code == 2, (name, outcome)
        assert_refused(outcome, "symbol")
    assert_untouched(workspace, exchange, {"names.txt": listed.read_bytes()})


def test_a_bad_name_in_a_universe_is_refused(workspace: Workspace, exchange: ReplayExchange) -> None:
    path = workspace.folder / "universe.json"
    for name, symbol in (NAMES | JSON_ONLY).items():
        record = universe(["LINKUSDT"], DAY, DAY)
        record["requested_symbols"] = ["LINKUSDT", symbol]
        record["daily_snapshots"][0]["active_symbols"] = ["LINKUSDT", symbol]
        path.write_text(json.dumps(record))
        outcome = call(workspace, *DOWNLOAD, "--universe-file", "universe.json")
        assert outcome.code == 2, (name, outcome)
        assert_refused(outcome, "requested_symbols[1]")
        assert len(outcome.stderr) < 400, name
    assert_untouched(workspace, exchange, {"universe.json": path.read_bytes()})


def test_strange_but_harmless_names_go_all_the_way(workspace: Workspace, exchange: ReplayExchange) -> None:
    names = ["ROBERT_DROP-TABLE.X", "\U0001f680USDT", "币安人生USDT", "1000X", "Ü" * 64]
    outcome = define(workspace, "--symbols", ",".join(names))
    assert outcome.code == 0, outcome
    record = json.loads((workspace.folder / "made/universe.json").read_text(encoding="utf-8"))
    assert record["requested_symbols"] == names
    write_universe(workspace.folder, names, DAY, DAY)
    outcome = workspace.download("--download-market-metrics", "--max-retries", "0", interval="1d")
    assert outcome.code in (0, 3), outcome
    stored = query(workspace.folder / "market.db", "SELECT DISTINCT symbol FROM symbol_days WHERE dataset = 'klines'")
    assert sorted(symbol for (symbol,) in stored) == sorted(names)
    outcome = workspace.export(source="1d", target="1d")
    assert outcome.code == 0, outcome


BYTES = {
    "nan": json.dumps(universe(["LINKUSDT"], DAY, DAY)).replace('"no_kline_on_date"', "NaN").replace('"2.0"', "NaN").encode(),
    "a day that is none": json.dumps(universe(["LINKUSDT"], DAY, DAY)).replace(f'"{DAY}"', '"2024-02-30"').encode(),
    "one key twice": json.dumps(universe(["LINKUSDT"], DAY, DAY))[:-1].encode() + b', "end_date": "2026-02-10"}',
    "nested": b"[" * 10_000 + b"]" * 10_000,
    "nested in a field": b'{"schema_version":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "nested just so": b'{"schema_version":' + b"[" * 900 + b"]" * 900 + b"}",
    "nested objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "ten thousand digits": b'{"schema_version": ' + b"9" * 10_000 + b"}",
    "four thousand digits": b'{"schema_version": "2.0", "requested_symbols": [' + b"9" * 4_000 + b"]}",
    "an endless number": b'{"schema_version": "2.0", "requested_symbols": [1e999]}',
    "a long text": b'{"schema_version": "' + b"x" * 1_000_000 + b'"}',
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(universe(["LINKUSDT"], DAY, DAY)).encode(),
    "utf-16": json.dumps(universe(["LINKUSDT"], DAY, DAY)).encode("utf-16"),
    "latin-1": b'{"description": "\xe4"}',
    "nul bytes": b"\x00" * 1000,
    "a zip": b"PK\x05\x06" + b"\x00" * 18,
    "colours": b'{"schema_version": "\\u001b[31m2.0"}',
}


def test_bytes_that_are_no_universe_are_refused(workspace: Workspace, exchange: ReplayExchange) -> None:
    path = workspace.folder / "universe.json"
    for name, content in BYTES.items():
        path.write_bytes(content)
        outcome = call(workspace, *DOWNLOAD, "--universe-file", "universe.json")
        assert outcome.code == 2, (name, outcome)
        assert_refused(outcome, "universe.json")
        assert len(outcome.stderr) < 500, name
        assert "\x1b" not in outcome.stderr, name
    assert_untouched(workspace, exchange, {"universe.json": path.read_bytes()})


def test_the_last_day_of_the_calendar_is_no_crash(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], "9999-12-31", "9999-12-31")
    outcome = workspace.run(*DOWNLOAD, "--universe-file", "universe.json", "--download-market-metrics")
    assert outcome.code in (2, 3), outcome
    assert "unexpected" not in outcome.stderr


def test_a_huge_universe_costs_little_memory(workspace: Workspace, exchange: ReplayExchange) -> None:
    path = workspace.folder / "universe.json"
    with path.open("wb") as handle:
        handle.write(b'{"schema_version": "2.0",')
        handle.truncate(200 * 1024 * 1024)
    outcome, peak = run_measured(workspace, *DOWNLOAD, "--universe-file", "universe.json")
    assert_refused(outcome, "universe.json", "larger than")
    assert peak < MEMORY_LIMIT
    assert exchange.requests == []
    assert contents(workspace.folder).keys() == {"universe.json"}


SPECIAL = {
    "universe": (*DOWNLOAD, "--universe-file"),
    "symbols file": ("universe", "define", *DATES, "--output", "made/universe.json", "--symbols-file"),
}


@pytest.mark.parametrize("what", SPECIAL)
@pytest.mark.parametrize("kind", ["pipe", "zero"])
def test_what_never_ends_is_not_waited_for(workspace: Workspace, exchange: ReplayExchange, what: str, kind: str) -> None:
    path = "/dev/zero" if kind == "zero" else "pipe"
    if kind == "pipe":
        os.mkfifo(workspace.folder / "pipe")
    # Its memory is bounded, so that a failure of this test does no harm.
    shell = f"ulimit -v 1500000; exec {' '.join(workspace.command(*SPECIAL[what], path))}"
    running = subprocess.Popen(
        ["bash", "-c", shell],
        cwd=workspace.folder,
        env=workspace.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        stdout, stderr = running.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
        pytest.fail("it waits for ever")
    assert_refused(Outcome(running.returncode, stdout, stderr), path)
    assert exchange.requests == []


LONG = "x" * 5000
PATHS: dict[str, tuple[str, ...]] = {
    "a long universe": (*DOWNLOAD, "--universe-file", LONG),
    "a long database": (*DOWNLOAD, "--universe-file", "good.json", "--db-path", LONG),
    "a long symbols file": (*SPECIAL["symbols file"], LONG),
    "a long inline file": ("universe", "define", *DATES, "--output", "made/u.json", "--symbols", f"@{LONG}"),
    "a long output": ("universe", "define", *DATES, "--symbols", "LINKUSDT", "--output", LONG),
    "a long path": (*DOWNLOAD, "--universe-file", "good.json", "--db-path", "y/" * 3000 + "x.db"),
    "a universe with a line end": (*DOWNLOAD, "--universe-file", "no\nsuch\x1b[31m.json"),
    "a universe in other bytes": (*DOWNLOAD, "--universe-file", os.fsdecode(b"\xff\xfe.json")),
    "no database": (*DOWNLOAD, "--universe-file", "good.json", "--db-path", ""),
    "no universe": (*DOWNLOAD, "--universe-file", ""),
    "the universe as database": (*DOWNLOAD, "--universe-file", "good.json", "--db-path", "good.json"),
    "a note in other bytes": (*SPECIAL["symbols file"][:-1], "--symbols", "LINKUSDT", "--description", os.fsdecode(b"\xff")),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths_that_cannot_be_used_are_refused(workspace: Workspace, exchange: ReplayExchange, name: str) -> None:
    good = write_universe(workspace.folder, ["LINKUSDT"], DAY, DAY, name="good.json").read_bytes()
    outcome = workspace.run(*PATHS[name])
    assert exchange.requests == [], "asked before the path was checked"
    assert (workspace.folder / "good.json").read_bytes() == good
    # What cannot be made is a failure of the system, what cannot be read is bad usage.
    assert outcome.code in ((1, 2) if "database" in name or name == "a long path" else (2,)), outcome
    error, *hints = outcome.stderr.splitlines()
    assert error.startswith("error: ")
    assert len(hints) <= 1, outcome.stderr
    assert "unexpected" not in error
    assert outcome.stdout == ""
    assert "\x1b" not in outcome.stderr


def assert_all_three_steps_work(workspace: Workspace, folder: str) -> None:
    """define, download and export with all their files in that folder."""
    made = f"{folder}/universe.json"
    outcome = workspace.run("universe", "define", *DATES, "--symbols", "LINKUSDT", "--output", made)
    assert outcome.code == 0, outcome
    assert outcome.report["active_symbol_days"] == 1
    database = ("--universe-file", made, "--db-path", f"{folder}/market.db")
    outcome = workspace.run("universe", "download", *database, "--interval", "1d")
    assert (outcome.code, outcome.report["downloaded"]) == (0, 1), outcome
    frequencies = ("--source-freq", "1d", "--export-freq", "1d")
    outcome = workspace.run("universe", "export", *database, "--export-base-path", f"{folder}/exports", *frequencies)
    assert outcome.code == 0, outcome
    assert outcome.report["rows"]["klines"] == 1


def test_paths_with_odd_characters_work(workspace: Workspace) -> None:
    assert_all_three_steps_work(workspace, "line\nend '\"%3F#?&=;$(x) ü")


def test_paths_in_other_bytes_work(workspace: Workspace) -> None:
    # The strictness of an ordinary UTF-8 terminal.
    workspace.environment["PYTHONIOENCODING"] = "utf-8"
    assert_all_three_steps_work(workspace, os.fsdecode(b"made \xff"))
