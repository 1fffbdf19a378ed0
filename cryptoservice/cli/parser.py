"""The argparse tree: every command, flag, unit and default. Imports nothing that `--help` does not need."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from cryptoservice._version import __version__
from cryptoservice.cli import options
from cryptoservice.cli.options import FILE, FOLDER, FORM, FREQ, INTERVALS, exit_codes
from cryptoservice.errors import CryptoserviceError, OutputError, UsageError

_ALL_EXIT_CODES = exit_codes(0, 1, 2, 3, 4, 5)
_DESCRIPTION = """Reproducible datasets of Binance USDT-M perpetual futures, in three steps:

  define    symbols + dates         -> universe.json        which symbol had data on which UTC day
  download  universe.json           -> SQLite               exactly those symbol-days, verified, resumable
  export    universe.json + SQLite  -> CSV + coverage JSON  the data, and what is missing and why

At any time, status shows what is stored and what the next download would do, and verify checks what is stored.
lock writes down what is stored, so that anybody can prove that they hold the same.
stdout carries one JSON object, the run's report; progress, logs and errors go to stderr.
"""


class Parser(argparse.ArgumentParser):
    """Its errors are one line and a hint, like all others."""

    _given: Sequence[str] = ()

    def error(self, message: str) -> Any:
        """UsageError with the message, but without what was given as a secret."""
        text = " ".join(message.split())
        # A mistyped --api-key would put the key itself into the log.
        for secret in sorted(map(re.escape, _secrets_among(self._given)), key=len, reverse=True):
            text = re.sub(rf"(?<![^\s='\"]){secret}(?![^\s,'\"])", "***", text)
        # And so would a key that was given to another flag, or to none. No path is one word of that length.
        text = re.sub(r"(?<![\w./-])[A-Za-z0-9]{40,}(?![\w./-])", "***", text)
        raise UsageError(text, hint=self._hint(message))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As every parser, but it remembers what it was given."""
        self._given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(self._given, namespace)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # argparse takes the value of `--flag=--` for the end of the flags, and makes an empty list of it.
        if action.option_strings and arg_strings == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As every parser, but an error about an unknown argument names the command that the argument was given to."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = getattr(known, "command", None)
            self.prog = f"{self.prog} universe {command}" if command else self.prog
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known

    def _hint(self, message: str) -> str:
        commands = "define|symbols|download|export|status|verify|lock|audit"
        left_out = re.search(rf"invalid choice: '({commands})' \(choose from '?universe", message)
        return f"write: {self.prog} universe {left_out[1]} ..." if left_out else f"see {self.prog} --help"


def _secrets_among(words: Sequence[str]) -> Iterator[str]:
    """The values of flags that are, or nearly are, those for key and secret; `NAME_KEY=value` is one as well."""
    for word, following in pairwise([*words, ""]):
        name, equals, value = word.partition("=")
        if not (word.startswith("-") or equals) or not _means_a_secret(name):
            continue
        if value:
            yield value
        elif following and not following.startswith("--"):
            yield following


def _means_a_secret(name: str) -> bool:
    import difflib  # noqa: PLC0415 - only an error needs it

    plain = name.strip("-").lower().replace("_", "-")
    return bool(re.search("key|secret", plain) or difflib.get_close_matches(plain, ("api-key", "api-secret"), 1, 0.7))


class PrintCompletion(argparse.Action):
    """Prints a completion script and ends, as --version does."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, __: Any = None) -> None:
        """The public package shtab writes the script; it is an optional extra."""
        try:
            import shtab  # noqa: PLC0415
        except ImportError:
            what = "shell completion needs the package shtab, which is not installed"
            raise CryptoserviceError(what, hint="pip install 'cryptoservice[completion]', or: pip install shtab") from None
        paths = {FILE: shtab.FILE, FOLDER: shtab.DIRECTORY}
        for action in _actions(parser):
            if action.metavar in paths:
                action.complete = paths[action.metavar]  # type: ignore[attr-defined]
            elif action.metavar == FREQ:
                action.choices = INTERVALS.split()
        try:
            print(shtab.complete(parser, shell), flush=True)
        except OSError as error:
            raise OutputError(f"stdout: {error.strerror or error}", hint="half a script is no use: print it again") from None
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of the commands below it."""
    for action in parser._actions:
        yield action
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from _actions(command)


def build_parser() -> argparse.ArgumentParser:
    """The whole tree; `args.command` names the command."""
    parser = Parser(prog="cryptoservice", description=_DESCRIPTION, epilog=_ALL_EXIT_CODES, **FORM)
    parser.add_argument("--version", action="version", version=f"cryptoservice {__version__}")
    parser.add_argument(
        "--print-completion", action=PrintCompletion, choices=("bash", "zsh"), metavar="SHELL",
        help="print a completion script for bash or zsh; needs the extra [completion]",
    )  # fmt: skip
    areas = parser.add_subparsers(title="areas", metavar="AREA", required=True)
    universe = areas.add_parser(
        "universe",
        help="define, download and export a universe of symbols",
        description=_DESCRIPTION,
        epilog=_ALL_EXIT_CODES,
        **FORM,
    )
    commands = universe.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    for add in (_add_define, _add_symbols, _add_download, _add_export, _add_status, _add_verify, _add_lock, _add_audit):
        add(commands)
    return parser


def _add_define(commands: Any) -> None:
    parser = commands.add_parser(
        "define",
        help="write universe.json: which symbol had data on which UTC day",
        description="Ask the exchange for the daily klines of every symbol. Write down, for each UTC day, which symbols had\n"
        "market data, and why the others had none. One request covers 499 days of a symbol. The file is immutable.",
        epilog=exit_codes(0, 1, 2, 4),
        **FORM,
    )
    what = parser.add_argument_group("what to define")
    what.add_argument(
        "--symbols", metavar="A,@FILE,B",
        help="symbols, separated by commas; @FILE stands for the symbols in that file; all: every symbol of the listing",
    )  # fmt: skip
    what.add_argument(
        "--symbols-file", metavar=FILE,
        help="symbols, separated by commas or white space, with # for comments; they come before those of --symbols; "
        "- is standard input",
    )  # fmt: skip
    options.add_listing(what)
    what.add_argument("--start-date", required=True, metavar="DATE", help="first UTC day, YYYY-MM-DD")
    what.add_argument("--end-date", required=True, metavar="DATE", help="last UTC day, YYYY-MM-DD; it must be over")
    what.add_argument(
        "--output", required=True, metavar=FILE, help="the universe file to write; its folders are created; - is standard output"
    )
    what.add_argument("--force", action="store_true", help="replace an existing output")
    what.add_argument("--description", metavar="TEXT", help="a note to keep in the file")
    ranking = parser.add_argument_group("ranking", "Keep the most traded symbols of each day; the others are below_rank.")
    ranking.add_argument("--top", type=options.count, metavar="N", help="keep N symbols, those with the highest quote volume")
    ranking.add_argument(
        "--lookback-days", type=options.count, metavar="N",
        help="sum the quote volume of the N days before the rebalance day, never that day or later (default 30)",
    )  # fmt: skip
    ranking.add_argument(
        "--rebalance", choices=("day", "week", "month"),
        help="draw anew each day, ISO week or month (default day)",
    )  # fmt: skip
    rate = parser.add_argument_group("rate control")
    rate.add_argument(
        "--daily-check-workers", type=options.count, default=5, metavar="N", help="requests at once (default %(default)s)"
    )
    rate.add_argument(
        "--daily-check-request-delay", type=options.seconds, default=0.0, metavar="SECONDS",
        help="least time between two requests, over all workers (default %(default)s)",
    )  # fmt: skip
    rate.add_argument(
        "--daily-check-max-requests-per-minute", type=options.count, default=1800, metavar="N",
        help="request weight per rolling minute; the exchange allows 2400 to one IP address (default %(default)s)",
    )  # fmt: skip
    options.add_network(parser)
    options.add_output(parser)


def _add_symbols(commands: Any) -> None:
    parser = commands.add_parser(
        "symbols",
        help="list the symbols that exist, now or ever",
        description="List the USDT perpetuals of the exchange or of the archive. On a pipe, one name a line comes out, which\n"
        "define reads with --symbols-file -; on a terminal, a table with the first and the last day that the exchange names.",
        epilog=exit_codes(0, 1, 2, 4),
        **FORM,
    )
    options.add_listing(parser.add_argument_group("what to list"))
    options.add_network(parser)
    options.add_output(parser)


def _add_download(commands: Any) -> None:
    parser = commands.add_parser(
        "download",
        help="fetch a universe's symbol-days into SQLite",
        description="Fetch exactly the active symbol-days of a universe: first verified archive files, then the API for what\n"
        "the archive lacks. What the database holds already is not fetched again. An interrupted run is resumed by the next.",
        epilog=_ALL_EXIT_CODES,
        **FORM,
    )
    what = parser.add_argument_group("what to download")
    options.add_universe_file(what)
    what.add_argument(
        "--db-path", required=True, metavar=FILE, help="the SQLite database; it is created with its folders when missing"
    )
    what.add_argument("--interval", default="1m", metavar=FREQ, help=f"kline interval: {INTERVALS} (default %(default)s)")
    what.add_argument(
        "--download-market-metrics", action="store_true",
        help="also fetch open interest, long/short ratios and taker ratio (5m), and funding rates",
    )  # fmt: skip
    options.add_window(what)
    what.add_argument(
        "--symbols", metavar="A,@FILE,B", help="only these symbols of the universe, separated by commas (default: all)"
    )
    what.add_argument(
        "--no-incremental",
        action="store_true",
        help="also fetch again what is complete; stored rows are not lost to a worse answer",
    )
    what.add_argument(
        "--retry-gaps", action="store_true",
        help="also ask again for confirmed gaps; those that rest on a bad archive file are asked for again after 30 days anyway",
    )  # fmt: skip
    what.add_argument(
        "--kline-source", choices=("auto", "vision", "api"), default="auto",
        help="where klines may come from: archive then API, the archive alone, the API alone (default %(default)s)",
    )  # fmt: skip
    what.add_argument("--plan", action="store_true", help="show what would be fetched and how long that takes; fetch nothing")
    rate = parser.add_argument_group("rate control")
    rate.add_argument(
        "--max-api-workers", type=options.count, default=5, metavar="N", help="API requests at once (default %(default)s)"
    )
    rate.add_argument(
        "--max-vision-workers", type=options.count, default=8, metavar="N", help="archive requests at once (default %(default)s)"
    )
    rate.add_argument(
        "--api-request-delay", type=options.seconds, default=0.0, metavar="SECONDS",
        help="least time between two API requests, over all workers (default %(default)s)",
    )  # fmt: skip
    rate.add_argument(
        "--vision-request-delay", type=options.seconds, default=0.0, metavar="SECONDS",
        help="least time between two archive requests, over all workers (default %(default)s)",
    )  # fmt: skip
    options.add_network(parser)
    options.add_output(parser)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write CSV files and the coverage report",
        description="Write one CSV file for each UTC day in Hive-style folders, a JSON report of what is there and what is\n"
        "missing, and a data package with the digest of each file. The command reads the universe and the database only,\n"
        "and never touches the network. Missing data is no error: the report names it.",
        epilog=exit_codes(0, 1, 2, c0="done; what is missing, and why, is in the report"),
        **FORM,
    )
    what = parser.add_argument_group("what to export")
    options.add_universe_file(what)
    what.add_argument("--db-path", required=True, metavar=FILE, help="the SQLite database that download wrote")
    what.add_argument(
        "--export-base-path",
        required=True,
        metavar=FOLDER,
        help="folder for CSV files, report and package; it is created when missing",
    )
    what.add_argument("--source-freq", required=True, metavar=FREQ, help=f"interval of the klines to read: {INTERVALS}")
    what.add_argument("--export-freq", required=True, metavar=FREQ, help="interval to write: a whole multiple of --source-freq")
    options.add_window(what)
    what.add_argument("--no-klines", action="store_true", help="leave out klines")
    what.add_argument("--no-metrics", action="store_true", help="leave out metrics and funding rates")
    what.add_argument(
        "--coverage-html", action="store_true", help="also write the report as one HTML page: a map of symbols by days"
    )
    what.add_argument(
        "--prune", action="store_true", help="remove files of days without rows in this database, which are kept otherwise"
    )
    options.add_ignored_credentials(parser)
    options.add_output(parser)


def _add_status(commands: Any) -> None:
    parser = commands.add_parser(
        "status",
        help="show what is stored, what is missing, and what a download would do",
        description="Show what the database holds of a universe: what is complete, what is not and why, and what the next\n"
        "download would ask for. With --symbol and --date, show where the values of one symbol-day come from. The command\n"
        "only reads, and never touches the network; a download may be running. The table for people goes to stderr, and\n"
        "its numbers go to stdout as JSON.",
        epilog=exit_codes(0, 1, 2, c0="done, whatever is missing"),
        **FORM,
    )
    what = parser.add_argument_group("what to look at")
    options.add_universe_file(what)
    what.add_argument("--db-path", metavar=FILE, help="the SQLite database that download wrote (default: the universe alone)")
    options.add_window(what)
    day = parser.add_argument_group("one symbol-day, instead: where its values come from")
    day.add_argument("--symbol", metavar="SYMBOL", help="one symbol of the universe; needs --date and --db-path")
    day.add_argument("--date", metavar="DATE", help="one UTC day of the universe, YYYY-MM-DD")
    options.add_ignored_credentials(parser)
    options.add_output(parser)


def _add_verify(commands: Any) -> None:
    parser = commands.add_parser(
        "verify",
        help="check the rows of a database, compare a sample with the other source, repair what differs",
        description="Count all rows of a universe against the ledger, and check that they make sense and agree with one\n"
        "another. With --sample, fetch some symbol-days again from the source that they did not come from, archive or\n"
        "API, and compare every field. Nothing is changed without --repair.",
        epilog=exit_codes(
            0,
            1,
            2,
            3,
            4,
            5,
            c0="all is sound, or was repaired",
            c3="something differs and was not repaired, or is not as the lock says, or a sampled symbol-day could not be fetched",
        ),
        **FORM,
    )
    what = parser.add_argument_group("what to verify")
    options.add_universe_file(what)
    what.add_argument(
        "--db-path", required=True, metavar=FILE, help="the SQLite database that download wrote; only --repair changes it"
    )
    options.add_window(what)
    what.add_argument(
        "--lock", metavar=FILE,
        help="also compare the rows with this dataset lock, over its window, and name each symbol-month that is not the same",
    )  # fmt: skip
    sample = parser.add_argument_group("sample")
    sample.add_argument(
        "--sample", type=options.count, default=0, metavar="N",
        help="complete kline symbol-days to fetch again (default: none, and the network is not touched)",
    )  # fmt: skip
    sample.add_argument(
        "--seed", type=options.whole, metavar="S",
        help="draw the same symbol-days as before (default: a new seed, which the report names)",
    )  # fmt: skip
    repair = parser.add_argument_group("repair")
    repair.add_argument(
        "--repair", action="store_true",
        help="ask every source for the symbol-days that differ, store what the most trusted of them say, verify these days again",
    )  # fmt: skip
    options.add_network(parser)
    options.add_output(parser)


def _add_lock(commands: Any) -> None:
    parser = commands.add_parser(
        "lock",
        help="write down what a database holds, so that others can prove that they hold the same",
        description="Write a dataset lock: digests over the stored rows of a universe by dataset, symbol and month, one root\n"
        "over all of them, and the archive files that the rows came from. Equal data gives an equal root on every\n"
        "machine. The command only reads the database, and never touches the network; a download may be running.",
        epilog=exit_codes(0, 1, 2, c0="done, whatever is missing"),
        **FORM,
    )
    what = parser.add_argument_group("what to lock")
    options.add_universe_file(what)
    what.add_argument("--db-path", required=True, metavar=FILE, help="the SQLite database that download wrote")
    what.add_argument("--output", required=True, metavar=FILE, help="the lock file to write; its folders are created")
    options.add_window(what)
    what.add_argument("--force", action="store_true", help="replace an existing output")
    options.add_ignored_credentials(parser)
    options.add_output(parser)


def _add_audit(commands: Any) -> None:
    parser = commands.add_parser(
        "audit",
        help="ask whether the archive has published anything anew that the database was built from",
        description="Compare every archive file that the symbol-days of a universe came from with what the archive holds now.\n"
        "The bucket is listed page by page; only a file that the listing does not prove unchanged costs a request of its own.\n"
        "Nothing is changed: the report names the downloads that would fetch the changed days again.",
        epilog=exit_codes(
            0, 1, 2, 3, 4, c0="nothing was published anew", c3="some files were published anew: the report says how to fetch them"
        ),
        **FORM,
    )
    what = parser.add_argument_group("what to audit")
    options.add_universe_file(what)
    what.add_argument("--db-path", required=True, metavar=FILE, help="the SQLite database that download wrote; it is only read")
    options.add_window(what)
    what.add_argument(
        "--sample", type=options.whole, default=1000, metavar="N",
        help="of files that an earlier version noted without ETag, and that the listing cannot decide, compare at most N by a "
        "request each (default %(default)s)",
    )  # fmt: skip
    options.add_network(parser)
    options.add_output(parser)
