"""The log on stderr: two formats, three levels, no secrets."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from datetime import datetime, timedelta, timezone

import pytest

from cryptoservice import progress
from cryptoservice.cli import logs

LOG = logging.getLogger("cryptoservice.somewhere")
SECRET = "s3cr3t-key"


def set_up(*, quiet: bool = False, verbose: bool = False, log_format: str = "text") -> logs.Redactor:
    return logs.set_up(quiet=quiet, verbose=verbose, log_format=log_format, secrets=(SECRET, None, "", "abc"))


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """stderr is a terminal; without a display, so that its bytes are those of the lines."""
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def timed(text: str) -> str:
    """The lines without their times, which must be of this hour."""
    lines = []
    for line in text.splitlines(keepends=True):
        time, rest = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (.*\n)", line, re.DOTALL).groups()  # type: ignore[union-attr]
        moment = datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        assert abs(datetime.now(timezone.utc) - moment) < timedelta(hours=1)
        lines.append(rest)
    return "".join(lines)


def say_everything() -> None:
    LOG.debug("one")
    LOG.info("two")
    LOG.warning("three")
    LOG.error("four")


def test_text_lines_carry_a_prefix_from_warning_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = terminal(monkeypatch)
    set_up()
    say_everything()
    assert stderr.getvalue() == "two\nwarning: three\nerror: four\n"


def test_lines_that_are_kept_carry_their_time_but_for_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = terminal(monkeypatch)
    set_up(verbose=True)
    say_everything()
    *lines, error = stderr.getvalue().splitlines(keepends=True)
    assert (timed("".join(lines)), error) == ("one\ntwo\nwarning: three\n", "error: four\n")


def test_a_pipe_gets_times(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    say_everything()
    *lines, error = capsys.readouterr().err.splitlines(keepends=True)
    assert (timed("".join(lines)), error) == ("two\nwarning: three\n", "error: four\n")


def test_quiet_leaves_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(quiet=True)
    say_everything()
    assert capsys.readouterr().err == "error: four\n"


def test_quiet_leaves_what_says_how_a_run_ended(capsys: pytest.CaptureFixture[str]) -> None:
    for options in ({"quiet": True}, {}, {"verbose": True}):
        set_up(**options)
        logging.getLogger(logs.OUTCOME).info("one")
        logging.getLogger(logs.OUTCOME).warning("two")
        assert timed(capsys.readouterr().err) == "warning: two\n"


def test_other_loggers_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(verbose=True)
    logging.getLogger("urllib3").info("not ours")
    assert capsys.readouterr().err == ""


def test_setting_up_again_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    set_up()
    LOG.info("once")
    assert timed(capsys.readouterr().err) == "once\n"


def test_json_lines_are_one_object_each(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(log_format="json")
    LOG.warning("币安 %s\nsecond line", "x")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "币安" in lines[0]
    entry = json.loads(lines[0])
    moment = datetime.fromisoformat(entry.pop("time"))
    assert moment.utcoffset() == timedelta(0)
    assert entry == {"level": "warning", "logger": "cryptoservice.somewhere", "message": "币安 x\nsecond line"}


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_are_taken_out_of_messages_arguments_and_tracebacks(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    set_up(log_format=log_format)
    LOG.info("key %s in https://host/?key=%s", SECRET, SECRET)
    try:
        raise ValueError(f"bad header {SECRET}")
    except ValueError:
        LOG.exception("it broke")
    said = capsys.readouterr().err
    assert SECRET not in said
    assert "key *** in https://host/?key=***" in said
    assert "ValueError: bad header ***" in said


def test_the_redactor_leaves_short_and_empty_secrets_alone() -> None:
    redact = set_up()
    assert redact(f"abc {SECRET} abc") == "abc *** abc"


def test_a_secret_that_contains_another_is_taken_out_whole() -> None:
    redact = logs.Redactor(["pass", "password1"])
    assert redact("password1 pass") == "*** ***"


def test_on_a_terminal_a_line_passes_above_the_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, options, drawn in (
        ("vt100", {}, True),
        ("dumb", {}, False),
        ("vt100", {"quiet": True}, False),
        ("vt100", {"log_format": "json"}, False),
    ):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", name)
        set_up(**options)
        display = progress._display
        assert (display is not None) is drawn, (name, options)
        if display is not None:
            display.show("half of it")
            LOG.warning("careful, %s", SECRET)
            assert terminal.getvalue() == "\rhalf of it\x1b[K\r\x1b[Kwarning: careful, ***\n\rhalf of it\x1b[K"


def test_a_text_line_moves_no_cursor_and_json_keeps_fields_and_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    LOG.info("a\x1b[2J 币\nb")
    assert timed(capsys.readouterr().err) == "a\\x1b[2J 币\\nb\n"
    set_up(log_format="json")
    try:
        raise ValueError(SECRET)
    except ValueError:
        LOG.exception("it broke", extra={"fields": {"exit_code": 1}})
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["exit_code"]) == ("error", 1)
    assert entry["traceback"].endswith("ValueError: ***")
