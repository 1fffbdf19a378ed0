"""What the commands' arguments are made of: types, the help's form, exit codes, and the flags that several commands share."""

from __future__ import annotations

import argparse
import math
import os
import sys
from contextlib import suppress
from typing import Any

FILE, FOLDER, FREQ = "FILE", "DIR", "FREQ"
"""Metavars with a meaning: shell completion offers files, folders or intervals for them."""
# Written out, because the import of the enumeration would take a tenth of the time of `--help`.
INTERVALS = "1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d"

DATES = "YYYY-MM-DD, yesterday, or 7d for seven days ago"
"""How a day can be written."""

_CODES = {
    0: "done and complete",
    1: "failure: I/O, or something unexpected",
    2: "bad usage, or a bad input file: nothing was fetched or written",
    3: "finished, but some wanted symbol-days are still missing: run again to resume",
    4: "the source refused: an IP ban longer than --max-ban-wait, HTTP 403 or 451",
    5: "another run holds this database",
}


def exit_codes(*numbers: int, **meanings: str) -> str:
    """The codes that a command can end with; `c3="..."` gives code 3 another meaning."""
    lines = [f"  {number}  {meanings.get(f'c{number}', _CODES[number])}" for number in numbers]
    return "\n".join(("exit codes:", *lines, "  129, 130, 143  interrupted by SIGHUP, SIGINT, SIGTERM")) + "\n"


ALL_EXIT_CODES = exit_codes(0, 1, 2, 3, 4, 5)


def described(example: str, text: str) -> str:
    """The description of a command: a line to begin with, and then what the command does."""
    return f"example:\n  cryptoservice universe {example}\n\n{text}"


def count(text: str) -> int:
    """A whole number from 1 up."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up")
    return value


def whole(text: str) -> int:
    """A whole number from 0 up."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def seconds(text: str) -> float:
    """A number of seconds from 0 up."""
    value = float(text)
    if not (0 <= value < math.inf):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0 up")
    return value


# argparse puts the name of the type into "invalid ... value".
count.__name__ = whole.__name__ = "whole number"


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal. argparse would look up the width in shutil, whose import takes a fifth of all the time."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_columns() - 2)

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        """The usage of a command names what it needs; all its flags stand below, with their meaning."""
        # argparse asks without a prefix for what stands before the name of a command.
        if prefix != "" and all(action.option_strings for action in actions):
            others = argparse.Action([], "flag", nargs="*", metavar="flag")
            actions, groups = [*(action for action in actions if action.required), others], ()
        super().add_usage(usage, actions, groups, prefix)


def _terminal_columns() -> int:
    with suppress(ValueError):
        if (columns := int(os.environ.get("COLUMNS", "0"))) > 0:
            return columns
    with suppress(OSError, ValueError, AttributeError):
        if (columns := os.get_terminal_size(sys.__stdout__.fileno()).columns) > 0:  # type: ignore[union-attr]
            return columns
    return 80


VARIABLES = {
    "--universe-file": "CRYPTOSERVICE_UNIVERSE_FILE",
    "--db-path": "CRYPTOSERVICE_DB_PATH",
    "--export-base-path": "CRYPTOSERVICE_EXPORT_BASE_PATH",
}
"""The environment variables that stand for flags which every line would repeat."""


def expand_home(path: str) -> str:
    """The path with the home folder in the place of a `~` at its start. A shell does so only where a word begins."""
    return os.path.expanduser(path)  # noqa: PTH111 - Path would turn an empty text into a dot


def named_by_environment(flag: str) -> str | None:
    """The path that the environment names for that flag; None without one, or where it is empty."""
    path = os.environ.get(VARIABLES.get(flag, ""))
    return expand_home(path) if path else None


def add_path(group: Any, flag: str, about: str, *, metavar: str = FILE, required: bool = True) -> None:
    """A flag for a path. One that has a variable takes its value from there, unless it is given or the variable is empty."""
    variable = VARIABLES.get(flag)
    default = named_by_environment(flag)
    if variable:
        about = f"{about} (default: {variable})"
    group.add_argument(
        flag, required=required and default is None, default=default, type=expand_home, metavar=metavar, help=about
    )


FORM: Any = {"formatter_class": HelpFormatter, "allow_abbrev": False}
"""How every parser of the tree writes its help and reads its flags."""


def add_universe_file(group: Any) -> None:
    """The universe that a command obeys."""
    add_path(group, "--universe-file", "the universe.json that define wrote; it is never changed; - is standard input")


def add_window(group: Any) -> None:
    """The part of the universe that a command looks at."""
    group.add_argument("--start-date", metavar="DATE", help=f"first UTC day: {DATES} (default: the universe's)")
    group.add_argument("--end-date", metavar="DATE", help=f"last UTC day: {DATES} (default: the universe's)")


def add_network(parser: argparse.ArgumentParser) -> None:
    """How the exchange is reached."""
    group = parser.add_argument_group("network")
    group.add_argument("--api-key", metavar="KEY", help="optional, and sent to the API host alone; better: BINANCE_API_KEY")
    group.add_argument(
        "--api-secret", metavar="SECRET", help="accepted for compatibility, never sent; better: BINANCE_API_SECRET"
    )
    group.add_argument(
        "--max-retries", type=whole, default=3, metavar="N", help="attempts after the first one (default %(default)s)"
    )
    group.add_argument(
        "--max-ban-wait", type=seconds, default=300.0, metavar="SECONDS",
        help="longest wait for an IP ban, or for consecutive 429s, before the run gives up with exit code 4 "
        "(default %(default)s)",
    )  # fmt: skip
    group.add_argument("--api-base-url", metavar="URL", help="default: BINANCE_API_BASE_URL, else https://fapi.binance.com")
    group.add_argument(
        "--vision-base-url", metavar="URL", help="default: BINANCE_VISION_BASE_URL, else https://data.binance.vision"
    )
    group.add_argument(
        "--listing-base-url", metavar="URL", help="default: BINANCE_LISTING_BASE_URL, else the archive's bucket at Amazon S3"
    )


def add_api_workers(group: Any) -> None:
    """How many requests to the API are under way at the same time."""
    group.add_argument("--max-api-workers", type=count, default=5, metavar="N", help="API requests at once (default %(default)s)")


def add_vision_workers(group: Any, more: str = "") -> None:
    """How many requests to the archive are under way at the same time."""
    about = f"archive requests at once{more} (default %(default)s)"
    group.add_argument("--max-vision-workers", type=count, default=16, metavar="N", help=about)


def add_listing(group: Any) -> None:
    """Who says which symbols exist."""
    group.add_argument(
        "--listing", choices=("exchange", "archive"), default="exchange",
        help="who says which symbols exist: the exchange, which names what trades now, or the archive's folders, "
        "where ended contracts remain and which need no API (default %(default)s)",
    )  # fmt: skip


def add_ignored_credentials(parser: argparse.ArgumentParser) -> None:
    """Cron lines pass these to every command; one that does not touch the network has no use for them."""
    parser.add_argument("--api-key", help=argparse.SUPPRESS)
    parser.add_argument("--api-secret", help=argparse.SUPPRESS)


def add_output(parser: argparse.ArgumentParser) -> None:
    """What a command says, and where."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json",
        action="store_true",
        help="print the report on stdout as JSON, on a terminal too; elsewhere it is printed anyway",
    )
    add_path(
        group, "--report",
        "write the report as JSON to this file when the run comes to its end, also with exit code 3 or 4; - is standard output",
        required=False,
    )  # fmt: skip
    volume = group.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="errors only")
    volume.add_argument("-v", "--verbose", action="store_true", help="every request, and tracebacks; secrets are redacted")
    group.add_argument("--log-format", choices=("text", "json"), default="text", help="log lines on stderr (default %(default)s)")
