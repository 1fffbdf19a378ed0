"""What arguments are made of: types, the width of the help, exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

import pytest

from cryptoservice.cli.flags import shared
from cryptoservice.models import Freq

REFUSED = (argparse.ArgumentTypeError, ValueError)


def test_types() -> None:
    table: list[tuple[Callable[[str], float], dict[str, float], str]] = [
        (shared.count, {"1": 1, "256": 256, " 7 ": 7}, "0 -1 1.5 x nan"),
        (shared.whole, {"0": 0, "100": 100}, "-1 1.5 x"),
        (shared.seconds, {"0": 0.0, "0.25": 0.25, "1e3": 1000.0}, "-0.1 inf nan -inf x"),
    ]
    for kind, good, bad in table:
        assert {text: kind(text) for text in good} == good
        for text in bad.split():
            with pytest.raises(REFUSED):
                kind(text)


def test_the_help_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    # Neither a number of columns nor a terminal to ask: 80 columns then.
    monkeypatch.setattr(sys, "__stdout__", None)
    for columns, widest in (("60", 58), ("200", 198), ("nonsense", 78), ("0", 78), ("-5", 78)):
        monkeypatch.setenv("COLUMNS", columns)
        assert shared.HelpFormatter("prog")._width == widest, columns
    monkeypatch.delenv("COLUMNS")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "__stdout__", terminal)
        assert shared.HelpFormatter("prog")._width == 78, "a terminal that does not know its width"
        monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((132, number)))
        assert shared.HelpFormatter("prog")._width == 130
    os.close(ours)


def test_exit_codes_are_listed_in_the_words_of_the_command() -> None:
    assert shared.exit_codes(0, 5, c0="done, whatever is missing") == (
        "exit codes:\n"
        "  0  done, whatever is missing\n"
        "  5  another run holds this database\n"
        "  129, 130, 143  interrupted by SIGHUP, SIGINT, SIGTERM\n"
    )


def test_hidden_credentials_are_taken_and_not_shown() -> None:
    parser = argparse.ArgumentParser()
    shared.add_ignored_credentials(parser)
    assert vars(parser.parse_args(["--api-key", "k", "--api-secret", "s"])) == {"api_key": "k", "api_secret": "s"}
    assert "api" not in parser.format_help()


def test_the_intervals_of_the_help_are_all_that_there_are() -> None:
    assert [freq.value for freq in Freq] == shared.INTERVALS.split()
