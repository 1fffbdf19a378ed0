"""SIGHUP, SIGINT and SIGTERM: the exit code of the signal within two seconds, one line that says so, and nothing lost."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import sqlite3
import subprocess
import termios
import time
from array import array
from collections.abc import Callable

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Workspace
from tests.e2e.crash_steps import (
    DOWNLOAD,
    EXPORT,
    Reference,
    assert_finished,
    assert_sound,
    csvs,
    freeze_when,
    make_reference,
    store_minutes,
    temps,
)
from tests.e2e.steps import contents, wait_for_line, wait_until, write_universe
from tests.exchange import Fault, ReplayExchange

DEFINE = ("universe", "define", "--symbols", "LINKUSDT,AVAXUSDT,ALGOUSDT", "--start-date", "2026-02-01",
          "--end-date", "2026-02-28", "--output", "universe.json")  # fmt: skip
SIGNALS = pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
PROMPT = 2.0


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return make_reference(tmp_path_factory)


@pytest.fixture(autouse=True)
def _stacks_on_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not end is asked where it stands."""
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")


def end(process: subprocess.Popen[str], *numbers: signal.Signals, thaw: bool = False) -> float:
    """Send the signals and see the process end as the last one demands; how long that took."""
    started = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        if thaw:
            process.send_signal(signal.SIGCONT)
        if len(numbers) > 1:
            # The second signal is meant to come while the first one is being obeyed.
            time.sleep(0.02)
    try:
        stdout, stderr = process.communicate(timeout=6)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        pytest.fail(f"it went on for six seconds: {process.communicate()[1]}")
    took = time.monotonic() - started
    assert process.returncode in {128 + number for number in numbers}, (process.returncode, stderr)
    assert stdout == ""
    assert "Traceback" not in stderr, stderr
    errors = [line for line in stderr.splitlines() if line.startswith("error:")]
    # A second signal may cut the last words off.
    assert len(errors) <= 1 if len(numbers) > 1 else errors == [f"error: interrupted by {numbers[0].name}"], stderr
    assert took < PROMPT, took
    return took


@SIGNALS
def test_download(workspace: Workspace, exchange: ReplayExchange, reference: Reference, number: signal.Signals) -> None:
    reference.give(workspace.folder, "universe.json")
    exchange.latency = 0.1
    running = workspace.start(*DOWNLOAD)
    wait_until(lambda: len(exchange.requests) > 20)
    end(running, number)
    assert assert_sound(workspace.folder / "market.db") < 54
    assert contents(workspace.folder).keys() == {"universe.json", "market.db", "market.db.lock"}
    exchange.latency = 0.0
    assert_finished(workspace, reference)


# What makes a run wait, and the words of the log line with which the wait begins; a run says nothing while a response is due.
WAITS: dict[str, tuple[Callable[[], Fault], str | None]] = {
    "rate limit pause": (lambda: Fault.too_many(retry_after=60, host="api", times=None), "pausing"),
    "ban": (lambda: Fault.banned(int((time.time() + 120) * 1000), host="api", times=None), "is banned until"),
    "slow response": (lambda: Fault.slow(60.0, times=None), None),
    "dripping response": (lambda: Fault.drip(60.0, times=None), None),
    "retry": (lambda: Fault.server_error(503, times=None), "next attempt in"),
}


@pytest.mark.parametrize(("command", "wait"), [*(("download", wait) for wait in WAITS), ("define", "rate limit pause")])
def test_in_the_midst_of_a_long_wait(workspace: Workspace, exchange: ReplayExchange, command: str, wait: str) -> None:
    if command == "download":
        write_universe(workspace.folder)
    fault, words = WAITS[wait]
    exchange.faults.add(fault())
    running = workspace.start(*(DEFINE if command == "define" else (*DOWNLOAD, "--kline-source", "api")))
    if words is not None:
        wait_for_line(running, words)
    else:
        wait_until(lambda: exchange.faults.struck)
    end(running, signal.SIGTERM if wait == "ban" else signal.SIGINT)
    assert not temps(workspace.folder)
    if command == "define":
        assert contents(workspace.folder) == {}
    else:
        assert_sound(workspace.folder / "market.db")


@pytest.mark.parametrize("pause", [pytest.param(0.0, marks=pytest.mark.slow), 0.2])
def test_two_signals(workspace: Workspace, exchange: ReplayExchange, reference: Reference, pause: float) -> None:
    reference.give(workspace.folder, "universe.json")
    exchange.faults.add(Fault.slow(60.0, skip=12, times=None))
    running = workspace.start(*DOWNLOAD)
    wait_until(lambda: exchange.faults.struck)
    # At which moment of the wait the signals come is what the cases differ in.
    time.sleep(pause)
    end(running, signal.SIGINT, signal.SIGTERM)
    assert_sound(workspace.folder / "market.db")
    exchange.faults.clear()
    assert_finished(workspace, reference)


@pytest.mark.parametrize("pause", [pytest.param(0.0, marks=pytest.mark.slow), 0.003])
def test_an_impatient_person_sees_no_traceback(workspace: Workspace, exchange: ReplayExchange, pause: float) -> None:
    """Ctrl-C again and again, also while the first one is being obeyed."""
    write_universe(workspace.folder)
    exchange.faults.add(Fault.slow(60.0, times=None))
    running = workspace.start(*DOWNLOAD)
    wait_until(lambda: exchange.requests)
    for _ in range(40):
        if running.poll() is not None:
            break
        running.send_signal(signal.SIGINT)
        # How fast that person presses is what the cases differ in.
        time.sleep(pause)
    _, stderr = running.communicate(timeout=10)
    assert (running.returncode, "Traceback" in stderr) == (130, False), stderr


@SIGNALS
def test_export(workspace: Workspace, reference: Reference, number: signal.Signals) -> None:
    reference.give(workspace.folder, "universe.json", "market.db", "market.db.lock")
    exports = workspace.folder / "exports"
    running = workspace.start(*EXPORT)
    assert freeze_when(running, lambda: csvs(exports))
    end(running, number, thaw=True)
    assert 0 < len(csvs(exports)) < len(reference.exports)
    assert csvs(exports).items() <= reference.exports.items()
    assert not temps(exports)
    assert not list(exports.glob("*.json"))
    assert_finished(workspace, reference)


def test_export_in_the_midst_of_a_large_day(workspace: Workspace) -> None:
    """One day, many symbols: the signal is obeyed inside the day, not after it, and never forgotten."""
    names = [f"S{number:03d}USDT" for number in range(200)]
    write_universe(workspace.folder, names, "2026-02-09", "2026-02-09")
    store_minutes(workspace.folder / "market.db", names, "2026-02-09")
    exports = workspace.folder / "exports"
    running = workspace.start(*EXPORT[:-4], "--source-freq", "1m", "--export-freq", "1m")
    wait_until(lambda: temps(exports))
    end(running, signal.SIGTERM)
    assert not csvs(exports)
    assert not list(exports.glob("*.json"))


def test_export_while_its_helper_writes(workspace: Workspace) -> None:
    """The helper is ended in the middle of a file: what it had begun goes with it."""
    names = [f"S{number:02d}USDT" for number in range(40)]
    days = truth.days("2026-02-01", "2026-02-04")
    write_universe(workspace.folder, names, days[0], days[-1])
    for day in days:
        store_minutes(workspace.folder / "market.db", names, day)
    exports = workspace.folder / "exports"
    running = workspace.start(*EXPORT[:-4], "--source-freq", "1m", "--export-freq", "1m")
    # Two at once: one of them is the helper's.
    wait_until(lambda: len(temps(exports)) > 1)
    end(running, signal.SIGTERM)
    assert len(csvs(exports)) < len(days)
    assert not temps(exports)


@SIGNALS
def test_define(workspace: Workspace, exchange: ReplayExchange, number: signal.Signals) -> None:
    exchange.latency = 0.5
    running = workspace.start(*DEFINE)
    wait_until(lambda: len(exchange.requests) > 1)
    end(running, number)
    assert contents(workspace.folder) == {}
    exchange.latency = 0.0
    assert workspace.run(*DEFINE).code == 0


def test_while_another_program_holds_the_database(workspace: Workspace, exchange: ReplayExchange, reference: Reference) -> None:
    """Someone's open write transaction makes the run wait; that wait ends with the signal too."""
    reference.give(workspace.folder, "universe.json")
    exchange.faults.add(Fault.slow(0.7, times=None))
    running = workspace.start(*DOWNLOAD)
    database = workspace.folder / "market.db"
    wait_until(lambda: len(exchange.requests) > 8)
    other = sqlite3.connect(database, isolation_level=None, timeout=10.0)
    other.execute("BEGIN IMMEDIATE")
    wait_for_line(running, "waiting for another program")
    try:
        end(running, signal.SIGINT)
    finally:
        other.execute("ROLLBACK")
        other.close()
    exchange.faults.clear()
    assert_finished(workspace, reference)


@SIGNALS
def test_at_the_very_start(workspace: Workspace, exchange: ReplayExchange, number: signal.Signals) -> None:
    """From the first line of `run` on: while the program still imports, a signal ends it without a traceback of its own."""
    write_universe(workspace.folder)
    # No run is quick enough to have ended before its signal.
    exchange.latency = 2.0
    tracebacks = []
    for step in range(8):
        running = workspace.start(*DOWNLOAD)
        # Other moments of the start are what the rounds differ in.
        time.sleep(0.025 * (step + 1))
        running.send_signal(number)
        try:
            _, stderr = running.communicate(timeout=5)
        except subprocess.TimeoutExpired as late:
            # An interpreter that imports its own modules may throw a KeyboardInterrupt away, and says so.
            assert "Exception ignored in" in str(late.stderr), late.stderr
            running.send_signal(number)
            _, stderr = running.communicate(timeout=5)
        # Until `run` has begun, the interpreter imports its own modules, and the signal is the interpreter's.
        if "cryptoservice/cli/" in stderr or ", in run\n" in stderr:
            tracebacks.append(stderr)
        assert running.returncode in (128 + number, -number, 1)
    assert not tracebacks, tracebacks[0]


def _on_terminal(workspace: Workspace) -> tuple[subprocess.Popen[bytes], int]:
    """A download whose streams are a terminal of its own, and our end of that terminal."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    running = subprocess.Popen(
        workspace.command(*DOWNLOAD), cwd=workspace.folder, env={"TERM": "xterm", **workspace.env()},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=take_terminal,
    )  # fmt: skip
    os.close(theirs)
    return running, ours


def test_a_terminal_that_is_closed(workspace: Workspace, exchange: ReplayExchange, reference: Reference) -> None:
    """The system sends SIGHUP to every process of the terminal, on which nobody can say anything any more."""
    reference.give(workspace.folder, "universe.json")
    exchange.latency = 0.1
    running, terminal = _on_terminal(workspace)
    wait_until(lambda: len(exchange.requests) > 20)
    started = time.monotonic()
    os.close(terminal)
    assert running.wait(timeout=6) == 129
    assert time.monotonic() - started < PROMPT
    assert assert_sound(workspace.folder / "market.db") < 54
    assert contents(workspace.folder).keys() == {"universe.json", "market.db", "market.db.lock"}
    exchange.latency = 0.0
    assert_finished(workspace, reference)


def test_a_hangup_that_is_ignored_stays_ignored(workspace: Workspace, exchange: ReplayExchange, reference: Reference) -> None:
    """What `nohup` does for a command that goes on when its terminal is closed."""
    reference.give(workspace.folder, "universe.json")
    exchange.latency = 0.05
    command = ["nohup", *workspace.command(*DOWNLOAD)]
    pipe = subprocess.PIPE
    running = subprocess.Popen(command, cwd=workspace.folder, env=workspace.env(), stdout=pipe, stderr=pipe, text=True)
    for wanted in (0, 20):
        # Before the command has begun, and while it works.
        wait_until(lambda wanted=wanted: len(exchange.requests) > wanted)
        running.send_signal(signal.SIGHUP)
    stdout, stderr = running.communicate(timeout=30)
    assert running.returncode == 0, stderr
    assert json.loads(stdout)["status"] == "complete"
    exchange.latency = 0.0
    assert_finished(workspace, reference)


@SIGNALS
def test_the_whole_process_group(workspace: Workspace, exchange: ReplayExchange, number: signal.Signals) -> None:
    """Ctrl-C reaches every process of the terminal, a helper too: it says nothing of its own and leaves nobody behind."""
    write_universe(workspace.folder)
    exchange.latency = 0.3
    command = workspace.command(*DOWNLOAD[:6], "--interval", "1m", "--download-market-metrics")
    pipe = subprocess.PIPE
    running = subprocess.Popen(
        command, cwd=workspace.folder, env=workspace.env(), stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    wait_until(lambda: len(exchange.requests) > 10)
    os.killpg(running.pid, number)
    _, stderr = running.communicate(timeout=10)
    assert running.returncode == 128 + number
    assert "Traceback" not in stderr, stderr
    assert "helper" not in stderr, stderr
    assert_sound(workspace.folder / "market.db")


FROM_STDIN: dict[str, tuple[str, ...]] = {
    "define": (*DEFINE[:2], "--symbols-file", "-", *DEFINE[4:]),
    "define @-": (*DEFINE[:2], "--symbols", "LINKUSDT,@-", *DEFINE[4:]),
    "download": ("universe", "download", "--universe-file", "-", "--db-path", "market.db"),
    "plan": ("universe", "download", "--universe-file", "-", "--db-path", "market.db", "--plan"),
    "export": (
        "universe", "export", "--universe-file", "-", "--db-path", "market.db", "--export-base-path", "out",
        "--source-freq", "5m", "--export-freq", "5m",
    ),
    "status": ("universe", "status", "--universe-file", "-"),
    "status of a day": (
        "universe", "status", "--universe-file", "-", "--db-path", "market.db", "--symbol", "LINKUSDT", "--date", "2026-02-01",
    ),
    "lock": ("universe", "lock", "--universe-file", "-", "--db-path", "market.db", "--output", "lock.json"),
    "audit": ("universe", "audit", "--universe-file", "-", "--db-path", "market.db"),
    "verify": ("universe", "verify", "--universe-file", "-", "--db-path", "market.db"),
}  # fmt: skip


@pytest.mark.parametrize("command", FROM_STDIN)
def test_a_run_that_waits_for_its_standard_input(workspace: Workspace, command: str) -> None:
    """A terminal on which nobody types, or a pipe whose other end does not end."""
    reading, writing = os.pipe()
    running = workspace.start(*FROM_STDIN[command], stdin=reading)
    os.close(reading)
    os.write(writing, b"LINKUSDT\n")
    # Until the modules are loaded, a signal ends the process at once, which would prove nothing.
    wait_until(lambda: _is_drained(writing))
    time.sleep(0.3)
    end(running, signal.SIGINT)
    os.close(writing)
    assert contents(workspace.folder) == {}


def _is_drained(pipe: int) -> bool:
    """Whether everything that was written into the pipe has been read."""
    left = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, left)
    return left[0] == 0
