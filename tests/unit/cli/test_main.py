"""From arguments to an exit code: each error has its code, its line and its hint, in both forms and without secrets."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from cryptoservice import errors
from cryptoservice._version import __version__
from cryptoservice.cli.commands.dispatch import COMMANDS
from cryptoservice.cli.main import known_error, main
from cryptoservice.errors import Remedy

STATUS = ["universe", "status", "--universe-file", "universe.json"]
VARIABLE = "CRYPTOSERVICE_UNIVERSE_FILE can stand for it; see cryptoservice universe status --help"
BUG = "run again with -v for the traceback, and report it as a bug"
# error, exit code, message, hint
ERRORS: list[tuple[Exception, int, str, str | None]] = [
    (errors.CryptoserviceError("it broke"), 1, "it broke", None),
    (errors.UsageError("bad date", hint="write it so"), 2, "bad date", "write it so"),
    (errors.StoreError("no database", hint=Remedy.OTHER_DATABASE), 1, "no database", "choose another --db-path"),
    (errors.StoreBusy("held"), 5, "held", None),
    (errors.OutputError("disk full"), 1, "disk full", None),
    (errors.SourceError("no answer"), 1, "no answer", None),
    (errors.SymbolRefused("unknown symbol"), 1, "unknown symbol", None),
    (errors.HistoryEnded("too old"), 1, "too old", None),
    (errors.SourceRefused("HTTP 451", reason="http_451"), 4, "HTTP 451", None),
    (
        errors.NetworkSetupError("the key is refused", hint=Remedy.CHECK_API_KEY), 1, "the key is refused",
        "check BINANCE_API_KEY or --api-key",
    ),
    (errors.Interrupted(), 130, "interrupted by SIGINT", "run the same command again"),
    (BrokenPipeError(32, "Broken pipe"), 1, "nobody reads stdout any more", None),
    (FileNotFoundError(2, "No such file or directory", "a/b"), 1, "a/b: No such file or directory", None),
    (OSError("the tape is torn"), 1, "the tape is torn", None),
    (
        ModuleNotFoundError("No module named 'requests'", name="requests"), 1, "the package requests is not installed",
        "install what this program needs with: pip install -e .",
    ),
    (
        RuntimeError("can't start new thread"), 1, "the system lets this run start no more threads",
        "raise the limit on processes of this user (ulimit -u) or of this container",
    ),
    (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero", BUG),
    (MemoryError(), 1, "unexpected MemoryError: ", BUG),
]  # fmt: skip


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes `universe status` fail in that way."""

    def make(error: BaseException) -> None:
        def fail(*_: object) -> int:
            raise error

        monkeypatch.setitem(COMMANDS, "status", fail)

    return make


def test_every_error_has_its_exit_code_and_its_lines(
    raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    for error, code, message, hint in ERRORS:
        raising(error)
        assert main(STATUS) == code, error
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err == f"error: {message.strip()}\n" + (f"hint: {hint}\n" if hint else "")
        # A logger that is quiet still says why a run failed.
        assert main([*STATUS, "--quiet", "--log-format", "json"]) == code
        (line,) = capsys.readouterr().err.splitlines()
        entry = json.loads(line)
        assert (entry["level"], entry["message"], entry["hint"], entry["exit_code"]) == ("error", message, hint, code)
        assert "traceback" not in entry


def test_a_thread_too_many_names_the_flags_of_the_command() -> None:
    error = RuntimeError("can't start new thread")
    flags = {
        "define": ["--daily-check-workers"],
        "download": ["--max-api-workers", "--max-vision-workers"],
        "verify": ["--max-api-workers", "--max-vision-workers"],
        "audit": ["--max-vision-workers"],
        # One thread is all that these start.
        "symbols": [],
        "export": [],
    }
    for command, named in flags.items():
        hint = str(known_error(error, command).hint)
        assert re.findall(r"--[a-z-]+", hint) == named, command
        assert "ulimit -u" in hint
        # What is named can be given.
        page = subprocess.run(
            [sys.executable, "-m", "cryptoservice", "universe", command, "--help"], capture_output=True, text=True, check=True
        ).stdout
        assert all(flag in page for flag in named)


def test_all_families_of_errors_stand_in_the_table() -> None:
    def family(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*map(family, kind.__subclasses__()))

    own = {kind for kind in family(errors.CryptoserviceError) if kind.__module__ == "cryptoservice.errors"}
    assert own == {type(error) for error, *_ in ERRORS if isinstance(error, errors.CryptoserviceError)}
    assert known_error(ERRORS[0][0]) is ERRORS[0][0]


def test_verbose_adds_the_traceback(raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]) -> None:
    raising(ZeroDivisionError("by nothing"))
    assert main([*STATUS, "-v"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):")
    assert said.endswith(f"ZeroDivisionError: by nothing\nerror: unexpected ZeroDivisionError: by nothing\nhint: {BUG}\n")
    assert main([*STATUS, "-v", "--log-format=json"]) == 1
    assert json.loads(capsys.readouterr().err)["traceback"].endswith("ZeroDivisionError: by nothing")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("place", ["flags", "environment"])
def test_secrets_are_said_nowhere(
    raising: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    place: str,
) -> None:
    flags = ["--api-key", "key-1234", "--api-secret", "secret-5678"] if place == "flags" else []
    if place == "environment":
        monkeypatch.setenv("BINANCE_API_KEY", "key-1234\n")
        monkeypatch.setenv("BINANCE_API_SECRET", "secret-5678")
    raising(errors.UsageError("key-1234 is no good", hint="try secret-5678 backwards"))
    assert main([*STATUS, "-v", "--log-format", form, *flags]) == 2
    said = capsys.readouterr().err
    assert "key-1234" not in said
    assert "secret-5678" not in said
    assert "*** is no good" in said
    assert "try *** backwards" in said


def test_a_message_is_one_line_that_moves_no_cursor(
    raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    raising(errors.UsageError("file a\nb\x1b[2J 币\u202e is bad", hint="look\tat  it"))
    assert main(STATUS) == 2
    assert capsys.readouterr().err == "error: file a b\\x1b[2J 币\\u202e is bad\nhint: look at it\n"


def test_arguments_that_cannot_be_parsed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["universe", "status"]) == 2
    assert capsys.readouterr().err == (f"error: the following arguments are required: --universe-file\nhint: {VARIABLE}\n")
    for words in (["--log-format", "json"], ["--log-format=json"]):
        assert main(["universe", "status", *words]) == 2
        entry = json.loads(capsys.readouterr().err)
        assert (entry["exit_code"], entry["hint"]) == (2, VARIABLE)


def test_a_key_of_the_environment_is_never_repeated(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_API_KEY", "VERYSECRET")
    assert main([*STATUS, "VERYSECRET"]) == 2
    assert capsys.readouterr().err.startswith("error: unrecognized arguments: ***\n")


def test_help_and_version_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cryptoservice {__version__}\n"
    assert main(["universe", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: cryptoservice universe")


def test_an_interrupt_says_what_is_safe(raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]) -> None:
    raising(errors.Interrupted(kept="1,869 of 5,040 symbol-days stored"))
    assert main(STATUS) == 130
    assert capsys.readouterr().err == (
        "error: interrupted by SIGINT: 1,869 of 5,040 symbol-days stored\nhint: run the same command again\n"
    )


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_good_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    def work(_: object, __: object, stop: threading.Event) -> int:
        os.kill(os.getpid(), number)
        assert stop.wait(5)
        raise errors.Interrupted

    monkeypatch.setitem(COMMANDS, "status", work)
    assert main(STATUS) == 128 + number
    assert capsys.readouterr().err == f"error: interrupted by {number.name}\nhint: run the same command again\n"


def test_a_second_signal_ends_the_process_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(BaseException):
        pass

    def leave(code: int) -> None:
        raise Left(code)

    def work(_: object, __: object, stop: threading.Event) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    monkeypatch.setitem(COMMANDS, "status", work)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(Left) as left:
        main(STATUS)
    assert left.value.args == (130,)


def test_an_ignored_hangup_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setitem(COMMANDS, "status", lambda *_: seen.append(signal.getsignal(signal.SIGHUP)) or 0)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(STATUS) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIG_IGN]


def test_the_exit_code_is_that_of_the_signal_where_nobody_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    def work(_: object, __: object, stop: threading.Event) -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.wait(5)
        raise errors.Interrupted

    monkeypatch.setitem(COMMANDS, "status", work)
    monkeypatch.setattr(sys, "stderr", Gone())
    assert main(STATUS) == 129


def test_signals_are_left_alone_after_a_run_and_in_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setitem(COMMANDS, "status", lambda *_: seen.append(signal.getsignal(signal.SIGTERM)) or 3)
    before = signal.getsignal(signal.SIGTERM)
    assert main(STATUS) == 3
    assert signal.getsignal(signal.SIGTERM) is before
    elsewhere = threading.Thread(target=main, args=(STATUS,))
    elsewhere.start()
    elsewhere.join(10)
    assert seen[0] is not before
    assert seen[1:] == [before]
