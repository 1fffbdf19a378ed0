"""The argparse tree: what it accepts, what it refuses and in which words, and what it costs."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cryptoservice
from cryptoservice.audit.archive_audit.command import DEFAULT_SAMPLE
from cryptoservice.cli.parser import build_parser
from cryptoservice.cli.parser import parse as parse_words
from cryptoservice.errors import CryptoserviceError, OutputError, UsageError

DEFINE = "universe define --start-date 2026-02-01 --end-date 2026-02-02 --output u.json"
SYMBOLS = "universe symbols"
DOWNLOAD = "universe download --universe-file u.json --db-path m.db"
EXPORT = "universe export --universe-file u.json --db-path m.db --export-base-path out --source-freq 5m --export-freq 1h"
STATUS = "universe status --universe-file u.json"
VERIFY = "universe verify --universe-file u.json --db-path m.db"
LOCK = "universe lock --universe-file u.json --db-path m.db --output l.json"
AUDIT = "universe audit --universe-file u.json --db-path m.db"

OUTPUT = {"quiet": False, "verbose": False, "log_format": "text", "json": False, "report": None}
CREDENTIALS = {"api_key": None, "api_secret": None}
NETWORK = {**CREDENTIALS, "max_retries": 3, "max_ban_wait": 300.0, "api_base_url": None, "vision_base_url": None,
           "listing_base_url": None}  # fmt: skip
WINDOW = {"start_date": None, "end_date": None}
INPUT = {"universe_file": "u.json", "db_path": "m.db"}
# Each command with the least that it needs, and every default.
LEAST: dict[str, dict[str, Any]] = {
    DEFINE: {
        **OUTPUT, **NETWORK, "command": "define", "symbols": None, "symbols_file": None, "start_date": "2026-02-01",
        "end_date": "2026-02-02", "output": "u.json", "force": False, "description": None, "daily_check_workers": 5,
        "daily_check_request_delay": 0.0, "daily_check_max_requests_per_minute": 1800, "listing": "exchange", "top": None,
        "lookback_days": None, "rebalance": None,
    },
    SYMBOLS: {**OUTPUT, **NETWORK, "command": "symbols", "listing": "exchange"},
    DOWNLOAD: {
        **OUTPUT, **NETWORK, **WINDOW, **INPUT, "command": "download", "interval": "1m", "download_market_metrics": False,
        "no_incremental": False, "retry_gaps": False,
        "kline_source": "auto", "plan": False, "assume_latency": 0.1, "symbols": None, "max_api_workers": 5,
        "max_vision_workers": 16, "api_request_delay": 0.0, "vision_request_delay": 0.0,
    },
    EXPORT: {
        **OUTPUT, **CREDENTIALS, **WINDOW, **INPUT, "command": "export", "export_base_path": "out", "source_freq": "5m",
        "export_freq": "1h", "no_klines": False, "no_metrics": False, "coverage_html": False, "prune": False,
    },
    STATUS: {**OUTPUT, **CREDENTIALS, **WINDOW, **INPUT, "command": "status", "db_path": None, "symbol": None, "date": None},
    VERIFY: {
        **OUTPUT, **NETWORK, **WINDOW, **INPUT, "command": "verify", "sample": 0, "seed": None, "repair": False, "lock": None,
        "max_api_workers": 5, "max_vision_workers": 16,
    },
    LOCK: {**OUTPUT, **CREDENTIALS, **WINDOW, **INPUT, "command": "lock", "output": "l.json", "force": False},
    AUDIT: {**OUTPUT, **NETWORK, **WINDOW, **INPUT, "command": "audit", "sample": DEFAULT_SAMPLE, "max_vision_workers": 16},
}  # fmt: skip


def commands(parser: argparse.ArgumentParser, *words: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every parser of the tree, by the words that lead to it."""
    yield " ".join(words), parser
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for word, below in action.choices.items():
                yield from commands(below, *words, word)


LONG = "/data/binance/usdt_margined_futures/a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0/universe=2026.json"


def parse(line: str) -> dict[str, Any]:
    args = vars(build_parser().parse_args(line.split()))
    args.pop("print_completion", None)
    return args


def test_every_default_of_every_command() -> None:
    for line, expected in LEAST.items():
        assert parse(line) == expected


def test_every_flag_arrives() -> None:
    for line, expected in (
        (f"{DEFINE} --symbols A,@f --symbols-file g --force --description hello --daily-check-workers 7"
         " --daily-check-request-delay 0.5 --daily-check-max-requests-per-minute 600 --api-key k --api-secret s -q",
         {"symbols": "A,@f", "symbols_file": "g", "force": True, "description": "hello", "daily_check_workers": 7,
          "daily_check_request_delay": 0.5, "daily_check_max_requests_per_minute": 600, "api_key": "k", "api_secret": "s",
          "quiet": True}),
        (f"{DEFINE} --listing archive --top 3 --lookback-days 5 --rebalance month --listing-base-url http://l",
         {"listing": "archive", "top": 3, "lookback_days": 5, "rebalance": "month", "listing_base_url": "http://l"}),
        (f"{SYMBOLS} --listing archive", {"listing": "archive"}),
        (f"{DOWNLOAD} --interval 5m --download-market-metrics --start-date a --end-date b --no-incremental --retry-gaps"
             " --kline-source api --symbols A,@f"
         " --plan --assume-latency 0 --max-api-workers 1 --max-vision-workers 2"
             " --api-request-delay 0.1 --vision-request-delay 0.2 -v"
         " --max-retries 0 --max-ban-wait 0 --api-base-url http://a --vision-base-url http://v --log-format json",
         {"interval": "5m", "download_market_metrics": True, "start_date": "a", "end_date": "b", "no_incremental": True,
              "retry_gaps": True,
          "kline_source": "api", "plan": True, "assume_latency": 0.0, "symbols": "A,@f",
          "max_api_workers": 1, "max_vision_workers": 2, "api_request_delay": 0.1,
          "vision_request_delay": 0.2, "verbose": True, "max_retries": 0, "max_ban_wait": 0.0, "api_base_url": "http://a",
          "vision_base_url": "http://v", "log_format": "json"}),
        (f"{EXPORT} --no-klines --no-metrics --coverage-html --prune --api-key k",
         {"no_klines": True, "no_metrics": True, "coverage_html": True, "prune": True, "api_key": "k"}),
        (f"{STATUS} --db-path m.db --api-secret s", {"db_path": "m.db", "api_secret": "s"}),
        (f"{VERIFY} --sample 9 --seed 0 --repair --lock l.json --max-api-workers 1 --max-vision-workers 2",
         {"sample": 9, "seed": 0, "repair": True, "lock": "l.json", "max_api_workers": 1, "max_vision_workers": 2}),
        (f"{STATUS} --json --report r.json", {"json": True, "report": "r.json"}),
        (f"{LOCK} --force --start-date a --end-date b --api-key k",
         {"force": True, "start_date": "a", "end_date": "b", "api_key": "k"}),
        (f"{AUDIT} --sample 0 --start-date a --end-date b --listing-base-url http://l --max-ban-wait 0 -q",
         {"sample": 0, "start_date": "a", "end_date": "b", "listing_base_url": "http://l", "max_ban_wait": 0.0, "quiet": True}),
    ):  # fmt: skip
        least = next(rest for start, rest in LEAST.items() if line.startswith(start))
        assert parse(line) == {**least, **expected}


def test_what_cannot_be_used_is_refused_in_these_words() -> None:
    required = "the following arguments are required"
    for line, message, hint in (
        ("", f"{required}: AREA", "see cryptoservice --help"),
        ("universe", f"{required}: COMMAND", "see cryptoservice universe --help"),
        (f"{STATUS} more", "unrecognized arguments: more", "see cryptoservice universe status --help"),
        ("--no-such universe", f"{required}: COMMAND", "see cryptoservice universe --help"),
        (f"{STATUS} -q -v", "argument -v/--verbose: not allowed with argument -q/--quiet", None),
        (f"{DEFINE} --top 0", "argument --top: 0 is not a whole number from 1 up", None),
        (f"{DEFINE} --top 3 --lookback-days 0", "argument --lookback-days: 0 is not a whole number from 1 up", None),
        (f"{DOWNLOAD} --max-api-workers 0", "argument --max-api-workers: 0 is not a whole number from 1 up", None),
        (f"{DOWNLOAD} --max-api-workers x", "argument --max-api-workers: invalid whole number value: 'x'", None),
        (f"{DOWNLOAD} --max-retries -1", "argument --max-retries: -1 is negative", None),
        (f"{DOWNLOAD} --max-retries 1.5", "argument --max-retries: invalid whole number value: '1.5'", None),
        (f"{DOWNLOAD} --max-ban-wait nan", "argument --max-ban-wait: nan is not a number of seconds from 0 up", None),
        (f"{DOWNLOAD} --max-ban-wait inf", "argument --max-ban-wait: inf is not a number of seconds from 0 up", None),
        (f"{DOWNLOAD} --max-ban-wait -0.1", "argument --max-ban-wait: -0.1 is not a number of seconds from 0 up", None),
        (f"{DOWNLOAD} --max-ban-wait soon", "argument --max-ban-wait: invalid seconds value: 'soon'", None),
        # What may be a key is not repeated, whatever it was given to.
        (f"{STATUS} --my-key VERYSECRET", "unrecognized arguments: --my-key ***", None),
        (f"{STATUS} --secret=VERYSECRET", "unrecognized arguments: --secret=***", None),
        (f"{STATUS} --api-kye VERYSECRET", "unrecognized arguments: --api-kye ***", None),
        (f"{STATUS} BINANCE_API_KEY=VERYSECRET", "unrecognized arguments: BINANCE_API_KEY=***", None),
        (f"{STATUS} --api-secret= VERYSECRET", "unrecognized arguments: ***", None),
        (f"{STATUS} --api-key VERYSECRET OTHERSECRET more", "unrecognized arguments: *** ***", None),
        (f"{STATUS} --api-secret=VERYSECRET OTHERSECRET -q rest", "unrecognized arguments: *** rest", None),
        (f"{STATUS} --api-key -VERYSECRET", "argument --api-key: expected one argument", None),
        (f"{DOWNLOAD} --my-key a --max-retries a", "argument --max-retries: invalid whole number value: '***'", None),
        # What only looks like one is.
        (f"{DOWNLOAD} --api-key", "argument --api-key: expected one argument", None),
        (f"{DOWNLOAD} --api-key --api-secret s", "argument --api-key: expected one argument", None),
        (f"{STATUS} {'aB3' * 20}", f"unrecognized arguments: {'aB3' * 20}", None),
        (f"{STATUS} {LONG}", f"unrecognized arguments: {LONG}", None),
        (f"{DOWNLOAD} --max-retries {LONG}", f"argument --max-retries: invalid whole number value: '{LONG}'", None),
    ):
        with pytest.raises(UsageError) as refused:
            parse(line)
        assert refused.value.message == message, line
        assert hint in (None, refused.value.hint), line


def hint_for(line: str) -> str | None:
    with pytest.raises(UsageError) as refused:
        parse_words(line.split())
    return refused.value.hint


def test_what_is_mistyped_gets_a_suggestion() -> None:
    see = "see cryptoservice universe {} --help"
    for line, hint in (
        ("universe defin", "did you mean define? see cryptoservice universe --help"),
        ("universe dwonload --plan", "did you mean download? see cryptoservice universe --help"),
        ("universe nonsense", "see cryptoservice universe --help"),
        ("dwonload", "write: cryptoservice universe download ..."),
        ("univers status", "did you mean universe? see cryptoservice --help"),
        ("nonsense", "see cryptoservice --help"),
        ("help defin", "write: cryptoservice help define"),
        (f"{STATUS} --db m.db", "did you mean --db-path? " + see.format("status")),
        (f"{STATUS} --dbpath=m.db", "did you mean --db-path? " + see.format("status")),
        ("universe status --univers-file u.json", "did you mean --universe-file? " + see.format("status")),
        (f"{DOWNLOAD} --no-incrementel", "did you mean --no-incremental? " + see.format("download")),
        (f"{DOWNLOAD} --colour", see.format("download")),
        # A flag of another command is no flag of this one.
        (f"{STATUS} --no-incremental", see.format("status")),
    ):
        assert hint_for(line) == hint, line


def test_symbols_with_spaces_between_them_are_shown_with_commas() -> None:
    for words in (
        "--symbols BTCUSDT ETHUSDT",
        "--symbols BTCUSDT, ETHUSDT",
        "--symbols=BTCUSDT ETHUSDT -q",
        "-q --symbols BTCUSDT , ETHUSDT",
    ):
        for line in (DEFINE, DOWNLOAD):
            assert hint_for(f"{line} {words}") == "separate the symbols by commas: --symbols BTCUSDT,ETHUSDT", words
    assert hint_for(f"{DEFINE} --symbols BTCUSDT -q ETHUSDT") == "see cryptoservice universe define --help"


def test_variables_stand_for_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hint_for("universe status") == (
        "CRYPTOSERVICE_UNIVERSE_FILE can stand for it; see cryptoservice universe status --help"
    )  # fmt: skip
    assert hint_for("universe export") == (
        "CRYPTOSERVICE_UNIVERSE_FILE and CRYPTOSERVICE_DB_PATH and CRYPTOSERVICE_EXPORT_BASE_PATH can stand for them; "
        "see cryptoservice universe export --help"
    )
    assert hint_for("universe define") == "see cryptoservice universe define --help"
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("CRYPTOSERVICE_UNIVERSE_FILE", "~/u.json")
    monkeypatch.setenv("CRYPTOSERVICE_DB_PATH", "m.db")
    monkeypatch.setenv("CRYPTOSERVICE_EXPORT_BASE_PATH", "out")
    for command in ("download", "export", "status", "verify", "lock --output l.json", "audit"):
        args = parse(f"universe {command}")
        assert (args["universe_file"], args["db_path"]) == ("/home/me/u.json", "m.db"), command
        assert args.get("export_base_path", "out") == "out"
        assert parse(f"universe {command} --universe-file x --db-path y")["db_path"] == "y"
    assert parse("universe export --export-base-path there")["export_base_path"] == "there"
    # An empty variable is as good as none.
    monkeypatch.setenv("CRYPTOSERVICE_DB_PATH", "")
    assert parse("universe status")["db_path"] is None
    assert "CRYPTOSERVICE_DB_PATH can stand for it" in str(hint_for("universe export"))


def test_a_tilde_is_the_home_folder_in_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for line, names in (
        (DEFINE, ("output", "symbols_file", "report")), (DOWNLOAD, ("universe_file", "db_path", "report")),
        (EXPORT, ("universe_file", "db_path", "export_base_path", "report")), (LOCK, ("output",)), (VERIFY, ("lock",)),
    ):  # fmt: skip
        for name in names:
            flag = f"--{name.replace('_', '-')}"
            assert parse(f"{line} {flag} ~/a/b")[name] == "/home/me/a/b"
            assert parse(f"{line} {flag}=~/a")[name] == "/home/me/a"
            assert [parse(f"{line} {flag} {same}")[name] for same in ("-", "./~", "a~", "~nosuchuser/x")] == [
                "-", "./~", "a~", "~nosuchuser/x",
            ]  # fmt: skip


def test_without_a_command_the_help_is_shown_and_the_exit_code_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("", "universe"):
        with pytest.raises(SystemExit) as left:
            parse_words(line.split())
        said = capsys.readouterr()
        assert (left.value.code, said.out) == (2, "")
        assert said.err.startswith(f"usage: cryptoservice {line}".rstrip())
        assert len(re.findall("^  cryptoservice universe ", said.err, re.MULTILINE)) == 3


def test_help_is_a_word_too(capsys: pytest.CaptureFixture[str]) -> None:
    for line, usage in (
        ("help", "usage: cryptoservice ["), ("help help", "usage: cryptoservice ["),
        ("help universe", "usage: cryptoservice universe ["), ("universe help", "usage: cryptoservice universe ["),
        ("help lock", "usage: cryptoservice universe lock "), ("universe help lock", "usage: cryptoservice universe lock "),
        ("help universe lock", "usage: cryptoservice universe lock "),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as left:
            parse_words(line.split())
        said = capsys.readouterr()
        assert (left.value.code, said.err) == (0, "")
        assert said.out.startswith(usage), line


def test_every_help_leads_with_an_example_that_can_be_parsed() -> None:
    examples = []
    for name, parser in commands(build_parser()):
        text = parser.format_help()
        found = re.findall("^  (cryptoservice .*)$", text, re.MULTILINE)
        assert len(found) == (1 if name.count(" ") else 3), name
        if name.count(" "):
            assert text.split("\n\n")[1].splitlines() == ["example:", f"  {found[0]}"]
        examples += found
    assert {parse_words(example.split()[1:]).command for example in examples} == {
        "define", "symbols", "download", "export", "status", "verify", "lock", "audit",
    }  # fmt: skip


def test_two_dashes_after_an_equals_sign_are_a_value() -> None:
    assert parse(f"{STATUS} --db-path=--")["db_path"] == "--"
    for line, message in (
        (f"{DOWNLOAD} --max-retries=--", "argument --max-retries: invalid whole number value: '--'"),
        (f"{DOWNLOAD} --kline-source=--", "argument --kline-source: invalid choice: '--'"),
        (f"{STATUS} --db-path --", "argument --db-path: expected one argument"),
    ):
        with pytest.raises(UsageError) as refused:
            parse(line)
        assert refused.value.message.startswith(message)


def test_a_command_without_its_area_is_led_there() -> None:
    for command in ("define", "symbols", "download", "export", "status", "verify", "lock", "audit"):
        with pytest.raises(UsageError) as refused:
            parse(f"{command} --universe-file u.json")
        assert refused.value.hint == f"write: cryptoservice universe {command} ..."


def test_completion_asks_shtab_for_paths_and_intervals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, Any] = {}

    def complete(parser: argparse.ArgumentParser, shell: str) -> str:
        for action in (action for _, below in commands(parser) for action in below._actions):
            words = action.choices if isinstance(action.choices, (list, tuple)) else None
            found.update(dict.fromkeys(action.option_strings, getattr(action, "complete", words)))
        return f"a script for {shell}"

    monkeypatch.setitem(sys.modules, "shtab", SimpleNamespace(FILE="files", DIRECTORY="folders", complete=complete))
    with pytest.raises(SystemExit) as left:
        parse("--print-completion zsh")
    assert left.value.code == 0
    assert capsys.readouterr().out == "a script for zsh\n"
    intervals = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]
    assert {flag: offered for flag, offered in found.items() if offered is not None} == {
        **dict.fromkeys(("--universe-file", "--db-path", "--output", "--symbols-file", "--lock", "--report"), "files"),
        "--export-base-path": "folders",
        **dict.fromkeys(("--interval", "--source-freq", "--export-freq"), intervals),
        "--listing": ("exchange", "archive"), "--rebalance": ("day", "week", "month"),
        "--kline-source": ("auto", "vision", "api"), "--log-format": ("text", "json"), "--print-completion": ("bash", "zsh"),
    }  # fmt: skip


def test_completion_without_shtab_or_without_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(CryptoserviceError, match="needs the package shtab") as lacking:
        parse("--print-completion bash")
    assert lacking.value.hint == "pip install 'cryptoservice[completion]', or: pip install shtab"
    monkeypatch.setitem(sys.modules, "shtab", SimpleNamespace(FILE="", DIRECTORY="", complete=lambda *_: "half a script"))
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        with pytest.raises(OutputError, match="stdout: Broken pipe"):
            parse("--print-completion bash")
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            nobody.close()


def test_the_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; before = set(sys.modules); from cryptoservice.cli.main import main; assert main(['--help']) == 0;"
        "print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    root = Path(cryptoservice.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert not loaded & {"shtab", "requests", "logging", "json", "ast", "threading", "multiprocessing", "sqlite3", "shutil"}
    flags = ("cli.flags", "cli.flags.data", "cli.flags.inspection", "cli.flags.shared", "cli.flags.universes")
    names = ("_version", "cli", *flags, "cli.main", "cli.parser", "errors")
    assert {name for name in loaded if name.startswith("cryptoservice")} == {
        "cryptoservice",
        *(f"cryptoservice.{n}" for n in names),
    }
