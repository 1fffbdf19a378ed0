"""The argparse tree: how it refuses, and which commands it has. Imports nothing that `--help` does not need."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from cryptoservice._version import __version__
from cryptoservice.cli.flags import data, inspection, universes
from cryptoservice.cli.flags.shared import ALL_EXIT_CODES, FILE, FOLDER, FORM, FREQ, INTERVALS
from cryptoservice.errors import CryptoserviceError, OutputError, UsageError

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
    parser = Parser(prog="cryptoservice", description=_DESCRIPTION, epilog=ALL_EXIT_CODES, **FORM)
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
        epilog=ALL_EXIT_CODES,
        **FORM,
    )
    commands = universe.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    for add in (
        universes.add_define,
        universes.add_symbols,
        data.add_download,
        data.add_export,
        inspection.add_status,
        inspection.add_verify,
        inspection.add_lock,
        inspection.add_audit,
    ):
        add(commands)
    return parser
