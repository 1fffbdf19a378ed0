"""Who gets the report of a run: stdout, a file, or a person at a terminal."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.cli import reports
from cryptoservice.errors import OutputError, UsageError

SHORT, WHOLE = {"a": "币", "failed": [1]}, {"a": "币", "failed": [1, 2]}
PRINTED = '{"a": "币", "failed": [1]}\n'


def arguments(**changes: Any) -> argparse.Namespace:
    values = {"json": False, "report": None, "quiet": False, "log_format": "text"}
    return argparse.Namespace(**{**values, **changes})


def lines() -> Iterator[str]:
    yield "two lines"
    yield "for \x1b[2J people 币"


def deliver(**changes: Any) -> None:
    reports.deliver(arguments(**changes), dict(SHORT), lines, whole=lambda: dict(WHOLE))


def test_a_pipe_gets_the_short_report_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for changes in ({}, {"quiet": True}, {"log_format": "json"}, {"json": True}):
        deliver(**changes)
        assert capsys.readouterr() == (PRINTED, ""), changes


def test_a_person_gets_lines_and_an_empty_stdout(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    deliver()
    assert capsys.readouterr() == ("", "two lines\nfor \\x1b[2J people 币\n")
    for silent in ({"quiet": True}, {"log_format": "json"}):
        deliver(**silent)
        assert capsys.readouterr() == ("", "")
    deliver(json=True)
    assert capsys.readouterr() == (PRINTED, "")


def test_a_file_gets_all_of_it_and_the_others_get_theirs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "folder" / "report.json"
    deliver(report=str(path))
    assert capsys.readouterr() == (PRINTED, "")
    assert json.loads(path.read_text(encoding="utf-8")) == WHOLE
    assert "币" in path.read_text(encoding="utf-8")
    path.write_text("an older report, which is longer than the new one" * 99)
    reports.deliver(arguments(report=str(path)), {"b": "half of \udcff"}, lines)
    assert json.loads(path.read_text(encoding="utf-8")) == {"b": "half of \udcff"}
    assert [entry.name for entry in path.parent.iterdir()] == ["report.json"]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_standard_output_as_the_file_gets_all_of_it_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    for changes in ({}, {"json": True}, {"quiet": True}):
        deliver(report="-", **changes)
        said = capsys.readouterr()
        assert (json.loads(said.out), said.err) == (WHOLE, "")
    reports.deliver(arguments(report="-"), dict(SHORT), lines)
    assert capsys.readouterr() == (PRINTED, "")


def test_a_file_that_cannot_be_written_takes_the_report_from_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="cannot create folder"):
        deliver(report=str(tmp_path / "taken" / "report.json"))
    assert capsys.readouterr() == (PRINTED, "")


def test_the_report_is_one_line_that_stdout_can_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for encoding, printed in (("utf-8", PRINTED), ("ascii", PRINTED.replace("币", "\\u5e01"))):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stdout)
        deliver()
        assert stdout.buffer.getvalue().decode(encoding) == printed  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", None)
    path = tmp_path / "report.json"
    for call in (lambda: deliver(report=str(path)), lambda: reports.deliver_beside(arguments(), {}, "data")):
        with pytest.raises(OutputError, match="stdout is closed"):
            call()
    assert json.loads(path.read_text(encoding="utf-8")) == WHOLE


def test_data_beside_a_report_keeps_every_byte(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\r\n")
    monkeypatch.setattr(sys, "stdout", stdout)
    path = tmp_path / "report.json"
    reports.deliver_beside(arguments(report=str(path)), dict(SHORT), "币\n")
    reports.deliver_beside(arguments(), dict(SHORT))
    with reports.data_stream() as stream:
        stream.write("b\n")
    assert stdout.buffer.getvalue() == "币\nb\n".encode()  # type: ignore[attr-defined]
    assert json.loads(path.read_text(encoding="utf-8")) == SHORT


def refused(**changes: Any) -> str:
    with pytest.raises((UsageError, OutputError)) as caught:
        reports.check(arguments(**changes))
    return caught.value.message


def test_a_report_never_takes_the_place_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("u.json", "s.txt"):
        (tmp_path / name).write_text("{}")
    os.link("u.json", "other name.json")
    os.symlink("u.json", "link.json")
    os.mkfifo("pipe")
    found: dict[str, Callable[[], str]] = {
        "is the universe file of this run": lambda: refused(report="u.json", universe_file=str(tmp_path / "u.json")),
        "other name.json is the universe": lambda: refused(report="other name.json", universe_file="u.json"),
        "link.json is the universe": lambda: refused(report="link.json", universe_file="u.json"),
        # Neither is there yet.
        "is the database of this run": lambda: refused(report="./new.db", db_path="new.db"),
        "is the output of this run": lambda: refused(report="new.json", output="new.json"),
        "is the lock file of this run": lambda: refused(report="u.json", lock="u.json"),
        "is the symbols file of this run": lambda: refused(report="s.txt", symbols="A, @~/s.txt"),
        "s.txt is the symbols file": lambda: refused(report="s.txt", symbols_file="s.txt"),
        "is not a regular file": lambda: refused(report="pipe"),
        "/dev/null is not a regular file": lambda: refused(report="/dev/null"),
        "the report . is a folder": lambda: refused(report=""),
        "is not a folder": lambda: refused(report="u.json/report.json"),
        "--output - with --json": lambda: refused(output="-", json=True),
        "--output - with --report -": lambda: refused(output="-", report="-"),
    }
    for words, message in found.items():
        assert words in message(), words
    for good in (
        {"report": "new.json", "universe_file": "u.json", "db_path": "m.db", "symbols": "A,@s.txt"},
        {"report": "-", "universe_file": "-"},
        {"output": "-"},
        {"report": "r.json", "output": "-"},
        {"report": "s.txt", "universe_file": "u.json", "lock": None},
    ):
        reports.check(arguments(**good))
    assert sorted(os.listdir()) == ["link.json", "other name.json", "pipe", "s.txt", "u.json"]
