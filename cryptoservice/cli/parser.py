"""The argparse tree: every command, flag, unit and default. Imports nothing that `--help` does not need."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from contextlib import suppress
from typing import Any

from cryptoservice._version import __version__
from cryptoservice.errors import CryptoserviceError, OutputError, UsageError
from cryptoservice.models import Freq

_INTERVALS = " ".join(freq.value for freq in Freq)
_INCOMPLETE = "finished, but some wanted symbol-days are still missing: run again to resume"
_CODES = {
    0: "done and complete",
    1: "failure: I/O, or something unexpected",
    2: "bad usage, or a bad input file: nothing was fetched or written",
    3: _INCOMPLETE,
    4: "the source refused: an IP ban longer than --max-ban-wait, HTTP 403 or 451",
    5: "another run holds this database",
}


def _exit_codes(*numbers: int, **meanings: str) -> str:
    """The codes that a command can end with; `c3="..."` gives code 3 another meaning."""
    lines = [f"  {number}  {meanings.get(f'c{number}', _CODES[number])}" for number in numbers]
    return "\n".join(("exit codes:", *lines, "  130, 143  interrupted by SIGINT, SIGTERM")) + "\n"


_ALL_EXIT_CODES = _exit_codes(0, 1, 2, 3, 4, 5)
_DESCRIPTION = """Reproducible datasets of Binance USDT-M perpetual futures, in three steps:

  define    symbols + dates         -> universe.json        which symbol had data on which UTC day
  download  universe.json           -> SQLite               exactly those symbol-days, verified, resumable
  export    universe.json + SQLite  -> CSV + coverage JSON  the data, and what is missing and why

At any time, status tells what is there and what the next download would do, and verify checks what is stored.
stdout carries one JSON object, the run's report; progress, logs and errors go to stderr.
"""


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up")
    return value


def _retries(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not (0 <= value < math.inf):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0 up")
    return value


class _Help(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal. argparse would look up the width in shutil, whose import takes a fifth of all the time."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_columns() - 2)


def _terminal_columns() -> int:
    with suppress(ValueError):
        if (columns := int(os.environ.get("COLUMNS", "0"))) > 0:
            return columns
    with suppress(OSError, ValueError, AttributeError):
        if (columns := os.get_terminal_size(sys.__stdout__.fileno()).columns) > 0:  # type: ignore[union-attr]
            return columns
    return 80


# argparse names the type in "invalid ... value": let it be a word.
_count.__name__, _retries.__name__, _seconds.__name__ = "whole number", "whole number", "seconds"


def build_parser() -> argparse.ArgumentParser:
    """The whole tree; `args.command` names the command."""
    parser = _parser_class()(prog="cryptoservice", description=_DESCRIPTION, epilog=_ALL_EXIT_CODES, **_RAW)
    parser.add_argument("--version", action="version", version=f"cryptoservice {__version__}")
    parser.add_argument(
        "--print-completion", action=_completion_action(), choices=("bash", "zsh"), metavar="SHELL",
        help="print a completion script for bash or zsh; needs the extra [completion]",
    )  # fmt: skip
    areas = parser.add_subparsers(title="areas", metavar="AREA", required=True)
    universe = areas.add_parser(
        "universe",
        help="define, download and export a universe of symbols",
        description=_DESCRIPTION,
        epilog=_ALL_EXIT_CODES,
        **_RAW,
    )
    commands = universe.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    _add_define(commands)
    _add_download(commands)
    _add_export(commands)
    _add_status(commands)
    _add_verify(commands)
    return parser


_RAW: Any = {"formatter_class": _Help, "allow_abbrev": False}


def _parser_class() -> type[argparse.ArgumentParser]:
    class Parser(argparse.ArgumentParser):
        """Errors are one line and a hint, like all others."""

        def error(self, message: str) -> Any:
            # A mistyped --api-key would put the key itself into the log.
            masked = re.sub(r"(\S*(?:key|secret)[^\s=]*[\s=]+)\S+", r"\1***", " ".join(message.split()), flags=re.IGNORECASE)
            # And so would a key in any other place: no name or number is a word of that length.
            masked = re.sub(r"[A-Za-z0-9+/_=]{20,}", "***", masked)
            raise UsageError(masked, hint=self._hint(message))

        def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
            """As ever, but an unknown argument is a matter of the command that it was given to."""
            known, unknown = self.parse_known_args(args, namespace)
            if unknown:
                command = getattr(known, "command", None)
                self.prog = f"{self.prog} universe {command}" if command else self.prog
                self.error(f"unrecognized arguments: {' '.join(unknown)}")
            return known

        def _hint(self, message: str) -> str:
            left_out = re.search(r"invalid choice: '(define|download|export|status|verify)' \(choose from '?universe", message)
            return f"write: {self.prog} universe {left_out[1]} ..." if left_out else f"see {self.prog} --help"

    return Parser


def _completion_action() -> type[argparse.Action]:
    class Completion(argparse.Action):
        """Prints the script and ends, as --version does."""

        def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, __: Any = None) -> None:
            try:
                import shtab  # noqa: PLC0415 - an optional extra
            except ImportError:
                what = "shell completion needs the package shtab, which is not installed"
                raise CryptoserviceError(what, hint="pip install 'cryptoservice[completion]', or: pip install shtab") from None
            try:
                print(shtab.complete(parser, shell), flush=True)
            except OSError as error:
                raise OutputError(f"stdout: {error.strerror or error}", hint="half a script is no use: print it again") from None
            parser.exit()

    return Completion


def _add_define(commands: Any) -> None:
    parser = commands.add_parser(
        "define",
        help="write universe.json: which symbol had data on which UTC day",
        description="Ask the exchange for the daily klines of every symbol and write down, for each UTC day, which symbols had\n"
        "market data and why the others had not. One request covers 499 days of a symbol. The file is immutable.",
        epilog=_exit_codes(0, 1, 2, 4),
        **_RAW,
    )
    what = parser.add_argument_group("what to define")
    what.add_argument(
        "--symbols", metavar="A,@FILE,B", help="symbols, comma separated; @FILE stands for the symbols in that file"
    )
    what.add_argument(
        "--symbols-file", metavar="FILE", help="symbols, separated by commas or white space, # for comments; read first"
    )
    what.add_argument("--start-date", required=True, metavar="DATE", help="first UTC day, YYYY-MM-DD")
    what.add_argument("--end-date", required=True, metavar="DATE", help="last UTC day, YYYY-MM-DD, a finished one")
    what.add_argument("--output", required=True, metavar="FILE", help="the universe file to write; its folders are created")
    what.add_argument("--force", action="store_true", help="replace an existing output")
    what.add_argument("--description", metavar="TEXT", help="a note to keep in the file")
    rate = parser.add_argument_group("rate control")
    rate.add_argument("--daily-check-workers", type=_count, default=5, metavar="N", help="requests at once (default %(default)s)")
    rate.add_argument(
        "--daily-check-request-delay", type=_seconds, default=0.0, metavar="SECONDS",
        help="least time between two requests, over all workers (default %(default)s)",
    )  # fmt: skip
    rate.add_argument(
        "--daily-check-max-requests-per-minute", type=_count, default=1800, metavar="N",
        help="request weight per rolling minute; the exchange allows 2400 to one IP address (default %(default)s)",
    )  # fmt: skip
    _add_network(parser)
    _add_output(parser)


def _add_download(commands: Any) -> None:
    parser = commands.add_parser(
        "download",
        help="fetch a universe's symbol-days into SQLite",
        description="Fetch exactly the active symbol-days of a universe: verified archive objects first, the API for what the\n"
        "archive lacks. What the database holds already is not fetched again: interrupt it, run it again.",
        epilog=_ALL_EXIT_CODES,
        **_RAW,
    )
    what = parser.add_argument_group("what to download")
    what.add_argument("--universe-file", required=True, metavar="FILE", help="the universe.json that define wrote; never changed")
    what.add_argument(
        "--db-path", required=True, metavar="FILE", help="the SQLite database; created with its folders when missing"
    )
    what.add_argument("--interval", default="1m", metavar="FREQ", help=f"kline interval: {_INTERVALS} (default %(default)s)")
    what.add_argument(
        "--download-market-metrics", action="store_true",
        help="also open interest, long/short ratios and taker ratio (5m), and funding rates",
    )  # fmt: skip
    _add_window(what)
    what.add_argument("--no-incremental", action="store_true", help="fetch again what is complete; nothing is replaced by less")
    what.add_argument(
        "--kline-source", choices=("auto", "vision", "api"), default="auto",
        help="where klines may come from: archive then API, the archive alone, the API alone (default %(default)s)",
    )  # fmt: skip
    what.add_argument("--plan", action="store_true", help="say what would be fetched, and how long that takes; fetch nothing")
    rate = parser.add_argument_group("rate control")
    rate.add_argument("--max-api-workers", type=_count, default=5, metavar="N", help="API requests at once (default %(default)s)")
    rate.add_argument(
        "--max-vision-workers", type=_count, default=8, metavar="N", help="archive requests at once (default %(default)s)"
    )
    rate.add_argument(
        "--api-request-delay", type=_seconds, default=0.0, metavar="SECONDS",
        help="least time between two API requests, over all workers (default %(default)s)",
    )  # fmt: skip
    rate.add_argument(
        "--vision-request-delay", type=_seconds, default=0.0, metavar="SECONDS",
        help="least time between two archive requests, over all workers (default %(default)s)",
    )  # fmt: skip
    _add_network(parser)
    _add_output(parser)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write CSV files and the coverage report",
        description="Write one CSV a UTC day in Hive-style folders, and a JSON report of what is there and what is missing.\n"
        "Reads the universe and the database only; never touches the network. Missing data is reported, not an error.",
        epilog=_exit_codes(0, 1, 2, c0="done; what is missing, and why, is in the report"),
        **_RAW,
    )
    what = parser.add_argument_group("what to export")
    what.add_argument("--universe-file", required=True, metavar="FILE", help="the universe.json that define wrote; never changed")
    what.add_argument("--db-path", required=True, metavar="FILE", help="the SQLite database that download wrote")
    what.add_argument(
        "--export-base-path", required=True, metavar="DIR", help="folder for CSV files and report; created when missing"
    )
    what.add_argument("--source-freq", required=True, metavar="FREQ", help=f"interval of the klines to read: {_INTERVALS}")
    what.add_argument("--export-freq", required=True, metavar="FREQ", help="interval to write: a whole multiple of --source-freq")
    _add_window(what)
    what.add_argument("--no-klines", action="store_true", help="leave out klines")
    what.add_argument("--no-metrics", action="store_true", help="leave out metrics and funding rates")
    what.add_argument(
        "--coverage-html", action="store_true", help="also write the report as a page to look at: symbols by days, self-contained"
    )
    # Cron lines pass these to every command; nothing here needs them.
    parser.add_argument("--api-key", help=argparse.SUPPRESS)
    parser.add_argument("--api-secret", help=argparse.SUPPRESS)
    _add_output(parser)


def _add_status(commands: Any) -> None:
    parser = commands.add_parser(
        "status",
        help="what is there, what is missing, what a download would do",
        description="Show what the database holds of a universe: what is complete, what is not and why, and what the next\n"
        "download would ask for. Reads only, never touches the network; a download may be running.\n"
        "The table for people goes to stderr, its numbers as JSON to stdout.",
        epilog=_exit_codes(0, 1, 2, c0="done, whatever is missing"),
        **_RAW,
    )
    what = parser.add_argument_group("what to look at")
    what.add_argument("--universe-file", required=True, metavar="FILE", help="the universe.json that define wrote; never changed")
    what.add_argument("--db-path", metavar="FILE", help="the SQLite database that download wrote (default: the universe alone)")
    _add_window(what)
    # Cron lines pass these to every command; nothing here needs them.
    parser.add_argument("--api-key", help=argparse.SUPPRESS)
    parser.add_argument("--api-secret", help=argparse.SUPPRESS)
    _add_output(parser)


def _add_verify(commands: Any) -> None:
    parser = commands.add_parser(
        "verify",
        help="check the rows of a database, and compare a sample with the other source",
        description="Count all rows of a universe against the ledger and check that they make sense. With --sample, fetch some\n"
        "symbol-days again from the source that they did not come from, archive or API, and compare every field.\n"
        "Changes nothing. Exit code 3 means: something differs, or a sampled symbol-day could not be fetched.",
        epilog=_exit_codes(0, 1, 2, 3, 4, c3="something differs, or a sampled symbol-day could not be fetched"),
        **_RAW,
    )
    what = parser.add_argument_group("what to verify")
    what.add_argument("--universe-file", required=True, metavar="FILE", help="the universe.json that define wrote; never changed")
    what.add_argument("--db-path", required=True, metavar="FILE", help="the SQLite database that download wrote; never changed")
    _add_window(what)
    sample = parser.add_argument_group("sample")
    sample.add_argument(
        "--sample", type=_count, default=0, metavar="N",
        help="complete kline symbol-days to fetch again (default: none, and the network is not touched)",
    )  # fmt: skip
    sample.add_argument(
        "--seed", type=_retries, metavar="S", help="draw the same symbol-days again (default: a new seed, told in the report)"
    )
    _add_network(parser)
    _add_output(parser)


def _add_window(group: Any) -> None:
    group.add_argument("--start-date", metavar="DATE", help="first UTC day, YYYY-MM-DD (default: the universe's)")
    group.add_argument("--end-date", metavar="DATE", help="last UTC day, YYYY-MM-DD (default: the universe's)")


def _add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network")
    group.add_argument("--api-key", metavar="KEY", help="optional, sent to the API host alone; better: BINANCE_API_KEY")
    group.add_argument(
        "--api-secret", metavar="SECRET", help="accepted for compatibility, never sent; better: BINANCE_API_SECRET"
    )
    group.add_argument(
        "--max-retries", type=_retries, default=3, metavar="N", help="attempts after the first (default %(default)s)"
    )
    group.add_argument(
        "--max-ban-wait", type=_seconds, default=300.0, metavar="SECONDS",
        help="longest wait for an IP ban or an unbroken row of 429 before giving up with exit code 4 (default %(default)s)",
    )  # fmt: skip
    group.add_argument("--api-base-url", metavar="URL", help="default: BINANCE_API_BASE_URL, else https://fapi.binance.com")
    group.add_argument(
        "--vision-base-url", metavar="URL", help="default: BINANCE_VISION_BASE_URL, else https://data.binance.vision"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="errors only")
    loudness.add_argument("-v", "--verbose", action="store_true", help="every request, and tracebacks; secrets are redacted")
    group.add_argument("--log-format", choices=("text", "json"), default="text", help="log lines on stderr (default %(default)s)")
