"""The argparse tree: how it refuses, and which commands it has. Imports nothing that `--help` does not need."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

from cryptoservice._version import __version__
from cryptoservice.cli.flags import data, inspection, universes
from cryptoservice.cli.flags.shared import ALL_EXIT_CODES, FILE, FOLDER, FORM, FREQ, INTERVALS, VARIABLES
from cryptoservice.errors import EXIT_USAGE, CryptoserviceError, OutputError, UsageError

_DESCRIPTION = """Reproducible datasets of Binance USDT-M perpetual futures, in three steps:

  define    symbols + dates         -> universe.json        which symbol had data on which UTC day
  download  universe.json           -> SQLite               exactly those symbol-days, verified, resumable
  export    universe.json + SQLite  -> CSV + coverage JSON  the data, and what is missing and why

examples:
  cryptoservice universe define --symbols BTCUSDT,ETHUSDT --start-date 30d --end-date yesterday --output universe.json
  cryptoservice universe download --universe-file universe.json --db-path market.db --interval 5m
  cryptoservice universe export --universe-file universe.json --db-path market.db --export-base-path exports

At any time, status shows what is stored and what the next download would do, and verify checks what is stored.
lock writes down what is stored, so that anybody can prove that they hold the same. `cryptoservice help COMMAND`
explains a command. On a terminal a run ends with a few lines for people. On a pipe, or with --json, stdout carries
one JSON object, the run's report. Progress, logs and errors go to stderr.

Paths that every line would repeat can stand in the environment: CRYPTOSERVICE_UNIVERSE_FILE, CRYPTOSERVICE_DB_PATH
and CRYPTOSERVICE_EXPORT_BASE_PATH. A flag wins over them.
"""


_COMMANDS = {
    "define": universes.add_define,
    "symbols": universes.add_symbols,
    "download": data.add_download,
    "export": data.add_export,
    "status": inspection.add_status,
    "verify": inspection.add_verify,
    "lock": inspection.add_lock,
    "audit": inspection.add_audit,
}


class Parser(argparse.ArgumentParser):
    """Its errors are one line and a hint, like all others."""

    _given: Sequence[str] = ()

    def error(self, message: str) -> Any:
        """UsageError with the message, but without what was given as a secret."""
        text = " ".join(message.split())
        # A mistyped --api-key would put the key itself into the log.
        for secret in sorted(map(re.escape, _secrets_among(self._given)), key=len, reverse=True):
            text = re.sub(rf"(?<![^\s='\"]){secret}(?![^\s,'\"])", "***", text)
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
        """As every parser, but an error about an unknown argument comes from the command that the argument was given to."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = getattr(known, "command", None)
            parser = next((one for one in _parsers(self) if one.prog.endswith(f" universe {command}")), self)
            parser._given = self._given
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known

    def _hint(self, message: str) -> str:
        """What was most likely meant, and where the help is."""
        see = f"see {self.prog} --help"
        choice = re.search(r"argument (?:AREA|COMMAND): invalid choice: '(.*?)'", message)
        if choice:
            return self._hint_for_command(choice[1]) or see
        spaced = _spaced_symbols(self._given) if "--symbols" in self._option_string_actions else None
        if spaced and message.startswith("unrecognized"):
            return f"separate the symbols by commas: --symbols {spaced}"
        return (self._flag_meant() or _variables_for(message)) + see

    def _hint_for_command(self, word: str) -> str | None:
        if self.prog.endswith(" universe"):
            near = _nearest(word, list(_COMMANDS))
            return f"did you mean {near}? see {self.prog} --help" if near else None
        near = word if word in _COMMANDS else _nearest(word, ("universe", "help", *_COMMANDS))
        if near in _COMMANDS and "--help" in self._given:
            return f"write: {self.prog} help {near}"
        if near in _COMMANDS:
            return f"write: {self.prog} universe {near} ..."
        return f"did you mean {near}? see {self.prog} --help" if near else None

    def _flag_meant(self) -> str:
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        unknown = (name for name in (word.partition("=")[0] for word in self._given) if re.match("--[a-z]", name))
        near = next((_nearest(name, flags) for name in unknown if name not in flags), None)
        return f"did you mean {near}? " if near else ""


def _nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word that was most likely meant: the only one that begins so, else one that is nearly the same."""
    import difflib  # noqa: PLC0415 - only an error needs it

    longer = [one for one in known if one.startswith(word)]
    if len(longer) == 1:
        return longer[0]
    return next(iter(difflib.get_close_matches(word, known, 1, 0.7)), None)


def _spaced_symbols(words: Sequence[str]) -> str | None:
    """The symbols after --symbols with commas between them, if they were given as several words."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--symbols":
            following = takewhile(lambda one: not one.startswith("-"), words[index + 1 :])
            symbols = [one.strip(",") for one in ([value] if equals else []) + list(following)]
            return ",".join(filter(None, symbols)) if len(symbols) > 1 else None
    return None


def _variables_for(message: str) -> str:
    """The variables that can stand for flags which are missing."""
    missing = message.partition("arguments are required: ")[2].split(", ")
    known = [VARIABLES[flag] for flag in missing if flag in VARIABLES]
    return f"{' and '.join(known)} can stand for {'it' if len(known) == 1 else 'them'}; " if known else ""


def _secrets_among(words: Sequence[str]) -> Iterator[str]:
    """The values of flags that are, or nearly are, those for key and secret; `NAME_KEY=value` is one as well.

    All words up to the next flag are such values: a key and its secret may follow one flag. A flag decides, and not how a word
    looks, since a digest or a name looks like a key.
    """
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not (word.startswith("-") or equals) or not _means_a_secret(name):
            continue
        if value:
            yield value
        following = words[index + 1 :]
        # The first one belongs to the flag even where it begins with a dash.
        first = 0 if value else len(following[:1])
        if following[:first] and following[0].startswith("--"):
            continue
        yield from following[:first]
        yield from takewhile(lambda one: not one.startswith("-"), following[first:])


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


def _parsers(parser: argparse.ArgumentParser) -> Iterator[Any]:
    """A parser, and those of the commands below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from _parsers(command)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of the commands below it."""
    for one in _parsers(parser):
        yield from one._actions


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line. `help` means --help, and without a command the help goes to stderr, with exit code 2.

    Raises UsageError, and SystemExit after something was shown.
    """
    parser = build_parser()
    words = list(argv)
    if words in ([], ["universe"]):
        (shown,) = [one for one in _parsers(parser) if one.prog == " ".join([parser.prog, *words])]
        shown.print_help(sys.stderr)
        raise SystemExit(EXIT_USAGE)
    area = words[:1] if words[0] == "universe" else []
    if words[len(area) : len(area) + 1] == ["help"]:
        asked = [word for word in words[len(area) + 1 :] if word != "help"]
        words = [*(area if asked[:1] != ["universe"] else []), *asked, "--help"]
        if words[0] in _COMMANDS:
            words.insert(0, "universe")
    return parser.parse_args(words)


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
    for add in _COMMANDS.values():
        add(commands)
    return parser
