"""Each command: its arguments to one call of the library, the result to stdout, the outcome to an exit code."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cryptoservice.audit.archive_audit.result import GoneObject, Refetch, RepublishedObject
from cryptoservice.cli import helper_processes
from cryptoservice.cli.commands import COMMANDS
from cryptoservice.cli.parser import build_parser
from cryptoservice.clock import Clock
from cryptoservice.config import Credentials, Endpoints, NetworkConfig, RateConfig, RetryConfig, WindowBounds, WorkerConfig
from cryptoservice.days import Window
from cryptoservice.define.symbol_list import ListedSymbol, SymbolList
from cryptoservice.errors import OutputError, SourceRefused, UsageError
from cryptoservice.sources.evidence import KlineSource
from cryptoservice.universe.file import from_json
from cryptoservice.universe.model import DailySnapshot, Listing, Universe
from cryptoservice.universe.selection import Rebalance, Selection
from tests.unit.cli.test_parser import AUDIT, DEFINE, DOWNLOAD, EXPORT, LOCK, STATUS, VERIFY

REPORT = {"a": "币", "b": 1}
CLOCK, STOP = Clock(), threading.Event()
HELPERS = "the executor"
PUBLIC = Endpoints("https://fapi.binance.com", "https://data.binance.vision")


class Library:
    """A stand-in for the functions of the library: remembers one call, and returns a result that lacks nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.result = SimpleNamespace(
            to_dict=lambda: dict(REPORT), active_symbol_days=1, refused=None, complete=True, universe_file="u.json",
            differences=(), remaining=(), unlike_lock=(), repair=None, sample=None, kept_files=0,
            refetch=(), republished=(), gone=(),
        )  # fmt: skip
        for where, name in (
            ("define.command", "define_universe"), ("download.command", "download_universe_data"),
            ("download.preview", "preview_download"), ("export.command", "export_universe_data"),
            ("audit.status", "universe_status"), ("audit.verify", "verify_universe"), ("define.symbol_list", "list_symbols"),
            ("audit.provenance", "symbol_day_provenance"),
            ("audit.dataset_lock.command", "lock_universe"),
            ("audit.archive_audit.command", "audit_universe"),
        ):  # fmt: skip
            monkeypatch.setattr(import_module(f"cryptoservice.{where}"), name, self._recorder(name))
        for name in ("status_text", "plan_text", "provenance_text"):
            monkeypatch.setattr(
                f"cryptoservice.cli.tables.{name}", lambda result, name=name: f"{name} of {result.to_dict()['b']}\n"
            )

    def _recorder(self, name: str) -> Any:
        def record(*arguments: Any, **options: Any) -> Any:
            self.calls.append((name, arguments, options))
            return self.result

        return record

    def called(self, line: str, *more: str) -> tuple[int, str, tuple[Any, ...], dict[str, Any]]:
        """Run a command line: its exit code, and the one call that it made."""
        args = build_parser().parse_args([*line.split(), *more])
        code = COMMANDS[args.command](args, CLOCK, STOP)
        ((name, arguments, options),) = self.calls
        self.calls.clear()
        # Where values come from does not depend on the time.
        assert (options.pop("clock", CLOCK), options.pop("stop")) == (CLOCK, STOP)
        return code, name, arguments, options


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    @contextlib.contextmanager
    def helpers(most: int, stop: threading.Event) -> Iterator[str]:
        assert most in (1, 2)
        assert stop is STOP
        yield HELPERS

    for name in ("API_KEY", "API_SECRET", "API_BASE_URL", "VISION_BASE_URL", "LISTING_BASE_URL"):
        monkeypatch.delenv(f"BINANCE_{name}", raising=False)
    monkeypatch.setattr(helper_processes, "helper_processes", helpers)
    monkeypatch.setattr(helper_processes, "return_large_blocks", lambda: None)
    return Library(monkeypatch)


def network(rates: RateConfig, workers: WorkerConfig, **others: Any) -> NetworkConfig:
    return NetworkConfig(PUBLIC, others.pop("credentials", Credentials()), rates, RetryConfig(**others), workers)


ONCE = {
    "window": WindowBounds(),
    "symbols": None,
    "download_market_metrics": False,
    "incremental": True,
    "retry_gaps": False,
    "kline_source": KlineSource.AUTO,
}
RATES, WORKERS = RateConfig(), WorkerConfig()


def test_define(library: Library, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("C # a comment\nD")
    (tmp_path / "g").write_text("E,F")
    more = ("--symbols", f"A,@{tmp_path / 'g'},b", "--symbols-file", str(tmp_path / "f"), "--force", "--description", "hello",
            "--daily-check-workers", "7", "--daily-check-request-delay", "0.5", "--daily-check-max-requests-per-minute", "600",
            "--max-ban-wait", "9", "--max-retries", "1", "--api-key", "k1234")  # fmt: skip
    limits = RateConfig(max_weight_per_minute=600, api_request_delay=0.5, max_ban_wait=9.0)
    reached = network(limits, WorkerConfig(api=7), max_retries=1, credentials=Credentials("k1234", None))
    options = {"force": True, "description": "hello", "listing": "exchange", "selection": None, "network": reached}
    names = ["C", "D", "A", "E", "F", "b"]
    assert library.called(DEFINE, *more) == (0, "define_universe", (names, "2026-02-01", "2026-02-02", "u.json"), options)
    least = {**options, "force": False, "description": None, "network": network(RATES, WorkerConfig(api=5))}
    dates = ("2026-02-01", "2026-02-02")
    assert library.called(DEFINE) == (0, "define_universe", ([], *dates, "u.json"), least)
    ranking = "--listing archive --top 7 --lookback-days 9 --rebalance week --symbols all"
    chosen = {**least, "listing": "archive", "selection": Selection(7, 9, Rebalance.WEEK)}
    assert library.called(f"{DEFINE} {ranking}") == (0, "define_universe", (["all"], *dates, "u.json"), chosen)
    chosen = {**least, "selection": Selection(7, 30, Rebalance.DAY)}
    assert library.called(f"{DEFINE} --top 7") == (0, "define_universe", ([], *dates, "u.json"), chosen)


def test_what_belongs_to_a_ranking_is_refused_without_one(library: Library) -> None:
    for flag in ("--lookback-days 9", "--rebalance day"):
        with pytest.raises(UsageError, match=f"{flag.split()[0]} belongs to a ranking"):
            library.called(f"{DEFINE} {flag}")


def test_a_universe_for_standard_output_is_all_that_stands_there(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    day = date(2026, 2, 1)
    made = Universe(("币安人生USDT",), day, day, (DailySnapshot(day, ("币安人生USDT",), {}),), "2026-03-05T00:00:00+00:00")
    library.result.universe, library.result.universe_file = made, None
    code, _, arguments, _ = library.called(DEFINE.replace("u.json", "-"))
    assert (code, arguments[3]) == (0, None)
    assert from_json(capsys.readouterr().out) == made


def test_symbols_are_names_on_a_pipe_and_a_table_on_a_terminal(
    library: Library, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    library.result = SymbolList(
        Listing.ARCHIVE, (ListedSymbol("BTCUSDT", date(2019, 9, 8), None), ListedSymbol("币安人生USDT", None, date(2026, 1, 2)))
    )
    called = (0, "list_symbols", ("archive",), {"network": network(RATES, WORKERS)})
    assert library.called("universe symbols --listing archive") == called
    assert capsys.readouterr() == ("BTCUSDT\n币安人生USDT\n", "")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert library.called("universe symbols --listing archive") == called
    assert capsys.readouterr() == (
        "",
        "symbol    first day   last day\n"
        "BTCUSDT   2019-09-08  -\n"
        "币安人生USDT  -           2026-01-02\n"
        "2 symbols by the archive\n",
    )
    library.called("universe symbols -q")
    assert capsys.readouterr() == ("", "")


def test_define_says_how_a_universe_without_data_is_replaced(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "cryptoservice")
    library.called(DEFINE)
    assert caplog.messages == []
    library.result.active_symbol_days = 0
    library.called(DEFINE)
    assert caplog.messages == ["to replace u.json, define it again with --force"]


def test_download_and_its_plan_take_the_same(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    files = ("u.json", "m.db")
    least = {**ONCE, "interval": "1m", "network": network(RATES, WORKERS)}
    assert library.called(DOWNLOAD) == (0, "download_universe_data", files, {**least, "executor": HELPERS})
    assert capsys.readouterr().err == ""
    assert library.called(DOWNLOAD, "--plan") == (0, "preview_download", files, least)
    assert capsys.readouterr().err == "plan_text of 1\n"
    more = ("--interval", "5m", "--start-date", "2026-02-03", "--end-date", "2026-02-04", "--download-market-metrics",
            "--no-incremental", "--retry-gaps", "--kline-source", "vision", "--max-api-workers", "2", "--max-vision-workers", "3",
            "--api-request-delay", "0.1", "--vision-request-delay", "0.2", "--max-ban-wait", "8", "--symbols", "A,b")  # fmt: skip
    limits = RateConfig(api_request_delay=0.1, vision_request_delay=0.2, max_ban_wait=8.0)
    all_of_it = {
        "interval": "5m", "window": WindowBounds("2026-02-03", "2026-02-04"), "download_market_metrics": True,
        "symbols": ["A", "b"],
        "incremental": False, "retry_gaps": True, "kline_source": KlineSource.VISION,
        "network": network(limits, WorkerConfig(2, 3)),
    }  # fmt: skip
    assert library.called(DOWNLOAD, *more) == (0, "download_universe_data", files, {**all_of_it, "executor": HELPERS})
    assert library.called(DOWNLOAD, "--plan", *more) == (0, "preview_download", files, all_of_it)


def test_export(library: Library) -> None:
    paths = ("u.json", "m.db", "out")
    least = {
        "source_freq": "5m", "export_freq": "1h", "window": WindowBounds(), "klines": True, "metrics": True,
        "coverage_html": False, "prune": False, "executor": HELPERS,
    }  # fmt: skip
    assert library.called(EXPORT) == (0, "export_universe_data", paths, least)
    assert library.called(EXPORT, "--no-klines")[3] == {**least, "klines": False}
    assert library.called(EXPORT, "--coverage-html", "--prune")[3] == {**least, "coverage_html": True, "prune": True}
    assert library.called(EXPORT, "--end-date", "2026-02-09")[3] == {**least, "window": WindowBounds(None, "2026-02-09")}


def test_export_says_how_to_remove_what_it_kept(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        library.called(EXPORT)
        assert caplog.messages == []
        library.result.kept_files = 2
        assert library.called(EXPORT)[0] == 0
    assert caplog.messages == ["to remove such files, export again with --prune"]


def test_status_and_verify(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    bounds = {"window": WindowBounds("2026-02-03", None)}
    assert library.called(STATUS) == (0, "universe_status", ("u.json", None), {"window": WindowBounds()})
    assert library.called(STATUS, "--db-path", "m.db", "--start-date", "2026-02-03")[2:] == (("u.json", "m.db"), bounds)
    assert capsys.readouterr().err == "status_text of 1\n" * 2
    for silent in (["--quiet"], ["--log-format", "json"]):
        library.called(STATUS, *silent)
        assert capsys.readouterr().err == ""
    least = {
        "window": WindowBounds(),
        "sample": 0,
        "seed": None,
        "repair": False,
        "lock_file": None,
        "network": network(RATES, WORKERS),
    }
    assert library.called(VERIFY) == (0, "verify_universe", ("u.json", "m.db"), least)
    sampled = {**least, "sample": 9, "seed": 3, "repair": True, "network": network(RateConfig(max_ban_wait=0.0), WORKERS)}
    assert library.called(VERIFY, "--sample", "9", "--seed", "3", "--repair", "--max-ban-wait", "0")[3] == sampled
    assert library.called(VERIFY, "--lock", "l.json")[3] == {**least, "lock_file": "l.json"}


def test_lock(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    paths = ("u.json", "m.db", "l.json")
    assert library.called(LOCK) == (0, "lock_universe", paths, {"window": WindowBounds(), "force": False})
    assert json.loads(capsys.readouterr().out) == REPORT
    bounds = ("--start-date", "2026-02-03", "--end-date", "2026-02-04")
    options = {"window": WindowBounds("2026-02-03", "2026-02-04"), "force": True}
    assert library.called(LOCK, "--force", *bounds) == (0, "lock_universe", paths, options)


def test_audit(library: Library, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    least = {"window": WindowBounds(), "sample": 1000, "network": network(RATES, WORKERS)}
    assert library.called(AUDIT) == (0, "audit_universe", ("u.json", "m.db"), least)
    assert json.loads(capsys.readouterr().out) == {**REPORT, "refetch": []}
    flags = ("--sample", "0", "--start-date", "2026-02-03", "--max-ban-wait", "0", "--vision-base-url", "http://mirror.test")
    waits = network(RateConfig(max_ban_wait=0.0), WORKERS)
    mirrored = replace(waits, endpoints=Endpoints("https://fapi.binance.com", "http://mirror.test"))
    options = {"window": WindowBounds("2026-02-03"), "sample": 0, "network": mirrored}
    assert library.called(AUDIT, *flags)[3] == options
    capsys.readouterr()

    anew, gone = RepublishedObject("a.zip", "AUSDT", "2026-02", "ab", "cd"), GoneObject("b.zip", "BUSDT", "2026-02-01")
    window = Window(date(2026, 2, 1), date(2026, 2, 28))
    library.result.checked, library.result.republished, library.result.gone = 7, (anew,), (gone,)
    library.result.refetch = (Refetch("5m", False, window, ("AUSDT",)),)
    assert library.called(AUDIT, *flags)[0] == 3
    line = (
        "cryptoservice universe download --universe-file u.json --db-path m.db --vision-base-url http://mirror.test "
        "--interval 5m --no-incremental --symbols AUSDT --start-date 2026-02-01 --end-date 2026-02-28"
    )
    assert json.loads(capsys.readouterr().out)["refetch"] == [line]
    assert [(record.levelname, record.getMessage(), record.__dict__["fields"]) for record in caplog.records] == [
        ("ERROR", "a.zip: published anew, SHA-256 was ab, is cd", {"audited": anew.to_dict()}),
        ("WARNING", "b.zip: gone from the archive", {"audited": gone.to_dict()}),
        (
            "ERROR", f"1 of 7 archive files were published anew since they were downloaded; to fetch their days again: {line}",
            {"exit_code": 3},
        ),
    ]  # fmt: skip


def test_status_of_a_symbol_day(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--symbol", "LINKUSDT", "--date", "2026-02-03")
    called = library.called(STATUS, "--db-path", "m.db", *place)
    assert called == (0, "symbol_day_provenance", ("u.json", "m.db", "LINKUSDT", "2026-02-03"), {})
    assert capsys.readouterr() == (json.dumps(REPORT, ensure_ascii=False) + "\n", "provenance_text of 1\n")
    library.called(STATUS, "--db-path", "m.db", *place, "-q")
    assert capsys.readouterr().err == ""
    for flags, words, hint in (
        (("--symbol", "A", "--db-path", "m.db"), "--symbol without --date", "give both, or leave out --symbol"),
        (("--date", "2026-02-03", "--db-path", "m.db"), "--date without --symbol", "give both, or leave out --date"),
        (place, "only a database knows", "name it with --db-path"),
        ((*place, "--db-path", "m.db", "--end-date", "2026-02-03"), "has no window", "leave out --start-date and --end-date"),
        ((*place, "--db-path", "m.db", "--start-date", ""), "has no window", "leave out --start-date and --end-date"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            library.called(STATUS, *flags)
        assert str(caught.value.hint).startswith(hint)
        assert library.calls == []


def test_what_is_missing_is_an_error_line_and_exit_code_3(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cryptoservice.cli.summaries.download_shortfall", lambda _: "days are missing")
    monkeypatch.setattr("cryptoservice.cli.summaries.verify_shortfall", lambda _: "rows differ")
    for line, told in ((DOWNLOAD, "days are missing"), (VERIFY, "rows differ")):
        assert library.called(line)[0] == 3
        assert [(record.levelname, record.getMessage(), record.__dict__["fields"]) for record in caplog.records] == [
            ("ERROR", told, {"exit_code": 3})
        ]
        caplog.clear()
        assert json.loads(capsys.readouterr().out) == REPORT
        # A refusal says more than a count of what is missing; the report comes first all the same.
        library.result.refused = SourceRefused("HTTP 451")
        with pytest.raises(SourceRefused):
            library.called(line)
        library.result.refused = None
        library.calls.clear()
        assert json.loads(capsys.readouterr().out) == REPORT


def test_the_report_is_one_line_that_stdout_can_hold(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, printed in (("utf-8", '{"a": "币", "b": 1}\n'), ("ascii", '{"a": "\\u5e01", "b": 1}\n')):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stdout)
        library.called(STATUS, "-q")
        assert stdout.buffer.getvalue().decode(encoding) == printed  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError, match="stdout is closed"):
        library.called(STATUS, "-q")
