"""Helper processes, the real ones: what they answer, how they end, and that nobody hears of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from cryptoservice.cli import helper_processes as processes
from cryptoservice.cli.helper_processes import HelperProcesses, HelperTraceback, helper_processes, return_large_blocks
from cryptoservice.errors import Interrupted, UsageError
from cryptoservice.files import is_running

ROOT = Path(processes.__file__).parents[2]
PROMPT = 5.0


@pytest.fixture
def helpers() -> Iterator[HelperProcesses]:
    with HelperProcesses(2) as made:
        yield made


def refuse(text: str) -> None:
    raise UsageError(text, hint="a hint")


def die_half_way() -> str:
    """What the system does to a helper for lack of memory, at the worst moment: in the middle of its answer."""

    def send_a_part(pipe: processes.Pipe, data: bytes) -> None:
        os.write(pipe.fileno(), bytes(data)[:7])
        os.kill(os.getpid(), signal.SIGKILL)

    processes.Pipe._send = send_a_part  # type: ignore[attr-defined]
    return "an answer"


# -- in this process ---------------------------------------------------------------------------------------------------


def test_a_helper_answers_or_raises_as_the_function_does(helpers: HelperProcesses) -> None:
    assert list(helpers.map(divmod, (7, 8, 9), (2, 2, 2), timeout=PROMPT)) == [(3, 1), (4, 0), (4, 1)]
    assert helpers.submit(dict, one=1).result(PROMPT) == {"one": 1}
    assert helpers.submit(os.getpid).result(PROMPT) != os.getpid()
    failed = helpers.submit(refuse, "no such day").exception(PROMPT)
    assert isinstance(failed, UsageError)
    assert (failed.message, failed.hint) == ("no such day", "a hint")
    assert isinstance(failed.__cause__, HelperTraceback)
    assert "in refuse" in str(failed.__cause__), "the line that failed is a line of the helper"
    with pytest.raises((AttributeError, pickle.PicklingError)):
        helpers.submit(lambda: 1).result(PROMPT)
    assert helpers.submit(abs, -1).result(PROMPT) == 1, "an error breaks nothing"


def test_an_answer_of_many_megabytes_comes_whole(helpers: HelperProcesses) -> None:
    assert helpers.submit(bytes, 20_000_000).result(PROMPT) == bytes(20_000_000)


@pytest.mark.parametrize("victim", ["idle", "busy", "answering"])
def test_a_lost_helper_breaks_the_pool_and_nothing_hangs(victim: str) -> None:
    helpers = HelperProcesses(1)
    pid = helpers.submit(os.getpid).result(PROMPT)
    if victim == "idle":
        os.kill(pid, signal.SIGKILL)
        lost = helpers.submit(abs, -1)
    elif victim == "busy":
        lost = helpers.submit(time.sleep, 60)
        os.kill(pid, signal.SIGKILL)
    else:
        lost = helpers.submit(die_half_way)
    with pytest.raises(BrokenExecutor, match="a helper process ended unexpectedly"):
        lost.result(PROMPT)
    assert not is_running(pid), "a zombie, whose temporary files would count as those of a living process"
    with pytest.raises(BrokenExecutor):
        helpers.submit(abs, -1).result(PROMPT)
    helpers.shutdown()
    assert multiprocessing.active_children() == []


def test_a_helper_that_is_told_to_end_goes_after_a_moment() -> None:
    """It does not go at once: a supervisor tells all processes of a run, and the run has to end in good order first."""
    helpers = HelperProcesses(1)
    pid = helpers.submit(os.getpid).result(PROMPT)
    busy = helpers.submit(time.sleep, 60)
    os.kill(pid, signal.SIGTERM)
    started = time.monotonic()
    with pytest.raises(BrokenExecutor):
        busy.result(PROMPT)
    assert 0.5 < time.monotonic() - started < PROMPT
    helpers.shutdown()


def test_the_stop_event_ends_what_a_helper_is_doing() -> None:
    stop = threading.Event()
    helpers = HelperProcesses(1, stop)
    busy, waiting = helpers.submit(time.sleep, 60), helpers.submit(time.sleep, 60)
    stop.set()
    with pytest.raises(Interrupted):
        busy.result(PROMPT)
    helpers.shutdown(cancel_futures=True)
    assert waiting.cancelled() or isinstance(waiting.exception(), Interrupted)
    assert multiprocessing.active_children() == []


def test_helpers_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise BlockingIOError("no more processes")

    stop = threading.Event()
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    with helper_processes(2, stop) as helpers:
        assert helpers is not None
        assert helpers.submit(abs, -1).result(PROMPT) == 1
    for owner, name, replacement in (
        (os, "cpu_count", lambda: 1),
        (os, "cpu_count", lambda: None),
        (threading, "active_count", lambda: 2),
        (os, "fork", refused),
        (multiprocessing, "get_context", lambda method: {}[method] if method != "fork" else int("no such method")),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, replacement)
            with helper_processes(2, stop) as helpers:
                assert helpers is None, (owner, name)


def test_when_the_second_helper_cannot_be_started_the_first_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    real, started = os.fork, []

    def fork_once() -> int:
        if started:
            raise BlockingIOError("no more processes")
        started.append(real())
        return started[0]

    monkeypatch.setattr(os, "fork", fork_once)
    with pytest.raises(BlockingIOError):
        HelperProcesses(2)
    assert len(started) == 1
    assert not is_running(started[0])


def test_a_python_that_was_built_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    return_large_blocks()


# -- in a process of their own -----------------------------------------------------------------------------------------

# As __main__.py: signals set an event, and the process leaves by os._exit.
PROLOGUE = """
import _thread, json, os, signal, sys, threading, time
from cryptoservice.cli.helper_processes import HelperProcesses, helper_processes
from cryptoservice.errors import Interrupted
stop = threading.Event()
# In a thread: a second signal may come while the first one holds the event's own lock.
signal.signal(signal.SIGINT, lambda *_: _thread.start_new_thread(stop.set, ()))
def say(value):
    print(json.dumps(value), flush=True)
def pids(helpers):
    return sorted({helpers.submit(os.getpid).result(20) for _ in range(20)})
"""


def start(folder: Path, code: str, ending: str = "") -> subprocess.Popen[str]:
    """A script with that code, run in that folder by a shell with this after the command, in a process group of its own."""
    script = folder / "scripts" / "caller.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(PROLOGUE + code)
    line = f"exec {shlex.join([sys.executable, '-X', 'dev', str(script)])} {ending}"
    return subprocess.Popen(
        ["sh", "-c", line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A suite that runs in the background of a shell hands an ignored SIGINT down to its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def line_of(process: subprocess.Popen[str]) -> object:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits for somebody to ask how it ended."""
    listing = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return listing.strip()[:1] in ("", "Z")


BUSY = """
with helper_processes(2, stop) as helpers:
    say(pids(helpers))
    busy = [helpers.submit(time.sleep, 60) for _ in range(2)]
    say("busy")
    {then}
say("end")
"""
LEAVE = "os._exit(7)"
LEAVE_WHEN_STOPPED = """
    try:
        busy[0].result()
    except Interrupted:
        say("interrupted")
        os._exit(130)
"""


@pytest.mark.parametrize(
    ("then", "sent", "code"),
    [(LEAVE, None, 7), (LEAVE_WHEN_STOPPED, signal.SIGINT, 130), (LEAVE_WHEN_STOPPED, signal.SIGKILL, -9)],
    ids=["os._exit", "ctrl-c", "kill"],
)
def test_no_helper_outlives_its_run_and_none_complains(tmp_path: Path, then: str, sent: signal.Signals | None, code: int) -> None:
    running = start(tmp_path, BUSY.format(then=then))
    helpers = line_of(running)
    assert isinstance(helpers, list)
    assert helpers
    assert running.pid not in helpers
    assert line_of(running) == "busy"
    if sent is signal.SIGINT:
        os.killpg(running.pid, sent)
        assert line_of(running) == "interrupted"
    elif sent is not None:
        running.send_signal(sent)
    # Helpers hold the other ends of both streams: that these close shows that the helpers have ended.
    out, err = running.communicate(timeout=PROMPT)
    assert (running.returncode, out, err) == (code, "", "")
    # A process closes its files a moment before it is gone.
    deadline = time.monotonic() + 2.0
    while not all(map(ended, helpers)):
        assert time.monotonic() < deadline, "a helper has outlived its run"


def test_ctrl_c_while_helpers_start_reaches_none_of_them(tmp_path: Path) -> None:
    code = """
for round in range(40):
    with HelperProcesses(2) as helpers:
        say(helpers.submit(abs, -round).result(20))
# The interpreter gives its handlers back when it ends, and the last signals may come as late as that.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
"""
    running = start(tmp_path, code)
    assert running.stdout is not None
    rounds = []
    for line in running.stdout:
        rounds.append(json.loads(line))
        if len(rounds) < 40:
            os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=PROMPT)
    assert (rounds, running.returncode, err) == (list(range(40)), 0, "")


def test_a_normal_end_is_silent_whatever_the_current_folder_holds(tmp_path: Path) -> None:
    """The console script does not import from there either: data may lie beside files that are named like any module."""
    for name in ("pickle", "signal", "socket", "threading", "selectors", "traceback", "multiprocessing", "csv"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not meant to be imported')\n")
    code = """
with helper_processes(2, stop) as helpers:
    say(helpers.submit(divmod, 7, 2).result(20))
    say(helpers.submit(exec, "import csv").exception(20))
"""
    running = start(tmp_path, code)
    out, err = running.communicate(timeout=PROMPT)
    assert (running.returncode, out, err) == (0, "[3, 1]\nnull\n", "")


@pytest.mark.parametrize("ending", ["2>&-", "<&-", "<&- 2>&-"])
def test_helpers_work_where_streams_are_closed(tmp_path: Path, ending: str) -> None:
    running = start(tmp_path, "with HelperProcesses(2) as helpers: say(helpers.submit(divmod, 7, 2).result(20))", ending)
    out, err = running.communicate(timeout=PROMPT)
    assert (running.returncode, out, err) == (0, "[3, 1]\n", "")


def test_a_helper_that_may_start_no_thread_is_gone_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        helpers = HelperProcesses(1)
    with helpers:
        assert isinstance(helpers.submit(abs, -1).exception(PROMPT), BrokenExecutor)
    assert capfd.readouterr().err == ""
