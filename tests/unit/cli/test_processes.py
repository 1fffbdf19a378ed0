"""Helper processes: what they answer, and what is known of those that end or never start."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptoservice.workers import HelperLost, HelperPool

import cryptoservice
from cryptoservice.files import is_running


@pytest.fixture
def pool() -> Iterator[HelperPool]:
    made = HelperPool(1)
    yield made
    made.close()


def test_a_helper_answers_or_fails_as_the_function_does(pool: HelperPool) -> None:
    assert pool.submit(divmod, 7, 2).result(20) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result(20)


def test_a_helper_that_dies_is_seen_off_and_the_next_call_has_another(pool: HelperPool) -> None:
    helper = pool.submit(os.getpid).result(20)
    assert helper != os.getpid()
    with pytest.raises(HelperLost, match="ended unexpectedly"):
        pool.submit(os.kill, helper, signal.SIGKILL).result(20)
    assert not is_running(helper), "a zombie, whose temp files would count as those of a living process"
    assert pool.submit(os.getpid).result(20) not in (helper, os.getpid())


def test_a_helper_that_cannot_be_started_is_a_lost_one(pool: HelperPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(HelperLost, match="could not be started"):
        pool.submit(os.getpid).result(20)


def _helper_in(folder: Path, code: str, ending: str = "") -> subprocess.CompletedProcess[str]:
    """What a script says that prints the answer of its helper, run in that folder by a shell, with this after the command."""
    script = folder / "scripts" / "caller.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"import os\nfrom cryptoservice.workers import HelperPool\npool = HelperPool(1)\n{code}\npool.close()\n")
    line = f"{shlex.join([sys.executable, str(script)])} {ending}"
    environment = {**os.environ, "PYTHONPATH": str(Path(cryptoservice.__file__).parents[1])}
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_helper_imports_nothing_from_the_folder_that_a_command_runs_in(tmp_path: Path) -> None:
    """The console script does not either: what people keep beside their data may have the name of any module."""
    for name in ("pickle", "signal", "subprocess"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not meant to be imported')\n")
    done = _helper_in(tmp_path, "print(pool.submit(divmod, 7, 2).result(20))")
    assert (done.stdout, done.stderr) == ("(3, 1)\n", "")


@pytest.mark.parametrize("ending", ["2>&-", "<&- 2>&-"])
def test_a_helper_works_where_stderr_is_closed(tmp_path: Path, ending: str) -> None:
    assert _helper_in(tmp_path, "print(pool.submit(divmod, 7, 2).result(20))", ending).stdout == "(3, 1)\n"


def test_ctrl_c_does_not_reach_a_helper_that_is_just_starting(pool: HelperPool) -> None:
    """It would complain with a traceback: it cannot ignore the signal before its interpreter is up."""
    assert pool.submit(os.getpgid, 0).result(20) != os.getpgid(0)
