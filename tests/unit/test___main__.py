"""The first and the last moments of a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cryptoservice
from cryptoservice import __main__ as entry

ROOT = Path(cryptoservice.__file__).parents[1]


class Left(BaseException):
    """Instead of leaving the process."""


@pytest.fixture
def _stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr(os, "_exit", leave)


@pytest.mark.usefixtures("_stays")
def test_the_exit_code_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for arguments, code in ((["--version"], 0), (["universe", "nonsense"], 2)):
            monkeypatch.setattr(sys, "argv", ["cryptoservice", *arguments])
            with pytest.raises(Left) as left:
                entry.run()
            assert left.value.args == (code,)
        assert capsys.readouterr().out.startswith("cryptoservice ")
        # Nothing has begun, so there is nothing to end in good order.
        with pytest.raises(Left) as left:
            os.kill(os.getpid(), signal.SIGTERM)
        assert left.value.args == (143,)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.usefixtures("_stays")
def test_a_signal_before_the_command_has_begun(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Left) as left:
        entry._end_at_once(signal.SIGINT, None)
    assert left.value.args == (130,)
    assert capfd.readouterr().err == "error: interrupted by SIGINT\n"


@pytest.mark.parametrize("closed", ["", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path, closed: str) -> None:
    code = (
        "import json, os, sys; from cryptoservice import __main__ as entry\n"
        "def leave(code):\n"
        "    with open('told', 'w') as file: file.write(json.dumps([code, file.fileno() > 2, sys.stderr is not None]))\n"
        "    os.kill(os.getpid(), 9)\n"
        "os._exit = leave; sys.argv = ['cryptoservice', 'universe']; entry.run()\n"
    )
    subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert json.loads((tmp_path / "told").read_text()) == [2, True, True]
