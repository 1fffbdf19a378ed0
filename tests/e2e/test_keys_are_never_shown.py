"""The API key goes to the API host as a header, and nowhere else; the secret goes nowhere at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.hostile_server import call, raw_server, reply
from tests.e2e.steps import wait_until, write_universe
from tests.exchange import Fault, ReplayExchange

KEY = "Kq7vXw2RtZ9mBn4LpYc8JdHs6GfAe3Uo1iTbVxNzQkMwErSyDhCgFjPlOuI5a0b"
SECRET = "Sz3pLm8QwErTyUiOp2AsDfGhJk5LzXcVbNm7QwErTyUi9OpAsDfGhJkLzXcVb1Nm"
DAY = "2026-02-10"
DATES = ("--start-date", DAY, "--end-date", DAY)
ONE_DAY = {"first": DAY, "last": DAY}


def passed(how: str, workspace: Workspace) -> tuple[str, ...]:
    """Hand key and secret over by flags or by the environment."""
    if how == "flag":
        return ("--api-key", KEY, "--api-secret", SECRET)
    # A line end at its end is what $(cat file) forgives and a container's secret file does not.
    workspace.environment |= {"BINANCE_API_KEY": KEY + "\n", "BINANCE_API_SECRET": SECRET + "\n"}
    return ()


def assert_silent(*outcomes: Outcome) -> None:
    """Neither key nor secret, nor half of one, on stdout or stderr."""
    for outcome in outcomes:
        assert_clean(outcome.stdout + outcome.stderr)


def assert_clean(text: str | bytes) -> None:
    """Neither key nor secret, nor a piece of one."""
    for value in (KEY, SECRET):
        for start in range(0, len(value) - 12, 4):
            piece = value[start : start + 12]
            assert (piece if isinstance(text, str) else piece.encode()) not in text, "a secret is there"


def assert_no_file_holds_it(folder: Path) -> None:
    """No file that the command left holds key or secret, its memory of bans included."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert_clean(path.read_bytes())
        assert_clean(str(path))


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_the_key_is_in_no_output_file_or_foreign_request(workspace: Workspace, exchange: ReplayExchange, how: str) -> None:
    flags = passed(how, workspace)
    define = ("universe", "define", "--symbols", "LINKUSDT", *DATES, "--output", "universe.json", "-v")
    made = workspace.run(*define, *flags)
    assert made.code == 0, made
    # A short ban, which is written down, and one day that only the API has.
    exchange.faults.add(Fault.banned_for(1.5, path="/fapi/v1/klines"))
    got = workspace.download("-v", "--download-market-metrics", "--log-format", "json", "--kline-source", "api", *flags)
    assert got.code in (0, 3), got
    sent = workspace.export("-v", "--log-format", "json", *flags)
    assert sent.code == 0, sent
    assert_silent(made, got, sent)
    assert list((workspace.folder / ".state").rglob("bans.json"))
    assert_no_file_holds_it(workspace.folder)
    for request in exchange.requests:
        whole = json.dumps([request.path, request.params, {n: v for n, v in request.headers.items() if n != "x-mbx-apikey"}])
        assert_clean(whole)
        assert request.headers.get("x-mbx-apikey") == (KEY if request.host == "api" else None)
    assert {request.host for request in exchange.requests} == {"api", "vision"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_never_crosses_a_redirect(workspace: Workspace, exchange: ReplayExchange, status: int) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], **ONE_DAY)
    with raw_server(reply("200 OK", b"[]")) as other:
        location = {"Location": f"{other.url}/fapi/v1/klines"}
        exchange.faults.add(Fault.status(status, b"", location, host="api", times=None))
        exchange.faults.add(Fault.status(status, b"", location, host="vision", times=None))
        outcome = workspace.download("-v", "--max-retries", "0", "--api-key", KEY)
        assert other.requests == []
    assert outcome.code == 3, outcome
    assert_silent(outcome)


def test_an_answer_that_echoes_the_key_is_masked(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], **ONE_DAY)
    bodies = [
        {"code": -2014, "msg": f"API-key {KEY} format invalid."},
        {"code": KEY, "msg": "no"},
        {"code": -2015, "msg": "x" * 170 + KEY},
        {"code": -1121, "msg": f"Invalid symbol {KEY}."},
        {"code": "000002", "errorData": {"key": KEY, "secret": SECRET}},
    ]
    for number, body in enumerate(bodies):
        exchange.faults.clear()
        exchange.faults.add(Fault.status(400, json.dumps(body).encode(), host="api", times=None))
        # Where the key came from makes no difference once it is known, so one body is enough for the second way.
        for how in ("flag", "environment") if number == 0 else ("flag",):
            flags = passed(how, workspace)
            name = f"{number}-{how}.db"
            base = ("universe", "download", "--universe-file", "universe.json", "--db-path", name, "--interval", "1d")
            limits = ("--kline-source", "api", "--max-retries", "0", "--max-ban-wait", "0")
            got = workspace.run(*base, *limits, "-v", *flags)
            made = workspace.define("--max-retries", "0", "--max-ban-wait", "0", "--force", *flags, symbols="LINKUSDT")
            # A key that is refused ends a run at once.
            assert got.code in ((1,) if body["code"] in (-2014, -2015) else (0, 3, 4)), got
            assert made.code in (1, 4), made
            assert_silent(got, made)
            workspace.environment.pop("BINANCE_API_KEY", None)
            workspace.environment.pop("BINANCE_API_SECRET", None)
    assert_no_file_holds_it(workspace.folder)


# Wrong ways to hand over a key; argparse repeats what it does not understand.
SLIPS = {
    "another spelling": ("universe", "define", "--apikey", KEY),
    "another spelling with =": ("universe", "define", f"--apikey={KEY}"),
    "a slip of the finger": ("universe", "download", "--api-kye", KEY),
    "a slip with =": ("universe", "download", f"--api-kye={KEY}"),
    "before the command": ("universe", "--api-key", KEY, "download"),
    "before everything": ("--api-key", KEY, "universe", "define"),
    "one dash": ("universe", "define", "-api-key", KEY),
    "a space after =": ("universe", "define", "--api-key=", KEY),
    "both after one flag": ("universe", "define", "--api-key", KEY, SECRET),
    "the name of the variable": ("universe", "define", f"BINANCE_API_KEY={KEY}"),
    "an underscore": ("universe", "export", "--api_secret", SECRET),
}
REQUIRED = {
    "define": ("--symbols", "LINKUSDT", *DATES, "--output", "u.json"),
    "download": ("--universe-file", "u.json", "--db-path", "m.db"),
    "export": (
        "--universe-file",
        "u.json",
        "--db-path",
        "m.db",
        "--export-base-path",
        "e",
        "--source-freq",
        "1d",
        "--export-freq",
        "1d",
    ),
}


# Nothing but its value says that this is a key.
ASTRAY = {
    "no flag": ("universe", "download", KEY),
    "where a number is due": ("universe", "define", "--max-retries", KEY),
    "where a choice is due": ("universe", "download", "--kline-source", KEY),
}


@pytest.mark.parametrize("slip", ASTRAY)
def test_a_key_of_the_environment_is_not_printed_wherever_it_stands(workspace: Workspace, slip: str) -> None:
    arguments = ASTRAY[slip]
    # Flags decide what is a secret, and not how a word looks.
    outcome = workspace.run(*arguments, *REQUIRED[arguments[1]])
    assert (outcome.code, KEY in outcome.stderr) == (2, True)
    workspace.environment["BINANCE_API_KEY"] = KEY
    outcome = workspace.run(*arguments, *REQUIRED[arguments[1]])
    assert outcome.code == 2
    assert_silent(outcome)


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_does_not_print_the_key(workspace: Workspace, exchange: ReplayExchange, slip: str) -> None:
    arguments = SLIPS[slip]
    command = next((word for word in arguments if word in REQUIRED), "define")
    run = workspace.run if slip == "before the command" else partial(call, workspace)
    outcome = run(*arguments, *REQUIRED[command])
    assert outcome.code == 2, outcome
    assert exchange.requests == []
    assert_silent(outcome)


def test_passwords_in_addresses_are_not_printed(workspace: Workspace) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], **ONE_DAY)
    for url in (
        f"http://me:{KEY}@127.0.0.1:1",
        f"http://127.0.0.1:1/?key={KEY}",
        f"http://127.0.0.1:1/#{KEY}",
        f"ftp://{KEY}@x",
        f"http://[{KEY}",
    ):
        outcome = workspace.download("-v", "--max-retries", "0", "--api-base-url", url)
        assert outcome.code == 2, (url, outcome)
        assert_silent(outcome)


PROXIES = {
    "nobody listens": "http://me:{KEY}@127.0.0.1:1",
    "it refuses": "http://me:{KEY}@{server}",
    "no host": "http://me:{KEY}@",
    "brackets": "http://me:a[{KEY}]b@127.0.0.1:1",
    "no port": "http://me:{KEY}@127.0.0.1:{KEY}",
    "another kind": "socks5://me:{KEY}@127.0.0.1:1",
    "a kind that is none": "{KEY}://me:{KEY}@127.0.0.1:1",
}


@pytest.mark.parametrize("name", PROXIES)
def test_the_password_of_a_proxy_is_not_printed(workspace: Workspace, exchange: ReplayExchange, name: str) -> None:
    write_universe(workspace.folder, ["LINKUSDT"], **ONE_DAY)
    with raw_server(reply("407 Proxy Authentication Required", b"no", 'Proxy-Authenticate: Basic realm="x"')) as server:
        proxy = PROXIES[name].replace("{KEY}", KEY).replace("{server}", server.address)
        workspace.environment |= {"HTTP_PROXY": proxy, "http_proxy": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": "", "no_proxy": ""}
        outcome = workspace.download("-v", "--max-retries", "0", interval="1d")
    assert outcome.code in (1, 2, 3), outcome
    assert exchange.requests == []
    assert "unexpected" not in outcome.stderr
    assert_silent(outcome)


def test_a_traceback_does_not_hold_the_key(workspace: Workspace) -> None:
    # An error that nobody foresaw, whose text and frames hold the key.
    broken = (
        "import sys; from cryptoservice.define import command\n"
        "from cryptoservice.cli.main import main\n"
        "def fail(*_, network, **__): raise RuntimeError(f'{network.credentials.api_key} {network!r} {sys.argv!r}')\n"
        "command.define_universe = fail\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    (workspace.folder / "broken.py").write_text(broken)
    for how in ("flag", "environment"):
        for form in ("text", "json"):
            workspace.environment = {}
            flags = passed(how, workspace)
            arguments = ("universe", "define", "--symbols", "LINKUSDT", *DATES, "--output", "u.json", "-v", "--log-format", form)
            done = subprocess.run(
                [sys.executable, "broken.py", *arguments, *flags],
                cwd=workspace.folder,
                env=workspace.env(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 1
            assert "RuntimeError" in done.stderr
            assert "Traceback" in done.stderr
            assert_clean(done.stdout + done.stderr)


@pytest.mark.slow
def test_no_other_program_is_given_the_key(workspace: Workspace, exchange: ReplayExchange) -> None:
    """Helpers are forks of the run. They show what it shows, and no other program is started, which could show more."""
    assert Path("/proc/self/environ").exists(), "the slow suite looks at processes through /proc: run it on Linux"
    write_universe(workspace.folder)
    exchange.faults.add(Fault.slow(2.0, host="vision", path=".CHECKSUM", skip=1, times=None))
    command = ("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db", "--interval", "1m")
    workspace.environment |= {"BINANCE_API_KEY": KEY, "BINANCE_API_SECRET": SECRET}
    running = workspace.start(*command)
    own = _shown_by(running.pid)
    seen: dict[int, tuple[str, bytes]] = {}

    def look() -> bool:
        for pid in _descendants(running.pid):
            try:
                seen[pid] = _shown_by(pid)
            except OSError:
                continue
        return running.poll() is not None

    try:
        wait_until(look, seconds=30)
    finally:
        running.kill()
        running.communicate()
    assert seen, "it has helpers"
    assert set(seen.values()) == {own}
    assert KEY.encode() not in own[1]


def _shown_by(pid: int) -> tuple[str, bytes]:
    """The program and the command line of a process, as everybody on the machine can see them."""
    return os.readlink(f"/proc/{pid}/exe"), Path(f"/proc/{pid}/cmdline").read_bytes()


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    parents = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(Path(entry.path, "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found.extend(frontier)
    return found
