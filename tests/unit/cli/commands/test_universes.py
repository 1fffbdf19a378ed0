"""define and symbols: their arguments to one call of the library, and what goes to stdout."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path

import pytest

from cryptoservice.config import Credentials, RateConfig, WorkerConfig
from cryptoservice.define.symbol_list import ListedSymbol, SymbolList
from cryptoservice.errors import UsageError
from cryptoservice.universe.file import from_json
from cryptoservice.universe.model import DailySnapshot, Listing, Universe
from cryptoservice.universe.selection import Rebalance, Selection
from tests.unit.cli.commands.conftest import RATES, REPORT, WORKERS, Library, network
from tests.unit.cli.test_parser import DEFINE


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


def test_a_universe_for_standard_output_is_all_that_stands_there(
    library: Library, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    day = date(2026, 2, 1)
    made = Universe(("币安人生USDT",), day, day, (DailySnapshot(day, ("币安人生USDT",), {}),), "2026-03-05T00:00:00+00:00")
    library.result.universe, library.result.universe_file = made, None
    code, _, arguments, _ = library.called(DEFINE.replace("u.json", "-"))
    assert (code, arguments[3]) == (0, None)
    assert from_json(capsys.readouterr().out) == made
    report = tmp_path / "report.json"
    library.called(DEFINE.replace("u.json", "-"), "--report", str(report))
    assert from_json(capsys.readouterr().out) == made
    assert json.loads(report.read_text(encoding="utf-8")) == REPORT


def test_symbols_are_names_on_a_pipe_and_a_table_on_a_terminal(
    library: Library, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    library.result = SymbolList(
        Listing.ARCHIVE, (ListedSymbol("BTCUSDT", date(2019, 9, 8), None), ListedSymbol("币安人生USDT", None, date(2026, 1, 2)))
    )
    called = (0, "list_symbols", ("archive",), {"network": network(RATES, WORKERS)})
    assert library.called("universe symbols --listing archive") == called
    assert capsys.readouterr() == ("BTCUSDT\n币安人生USDT\n", "")
    listed = [
        {"symbol": "BTCUSDT", "first_day": "2019-09-08", "last_day": None},
        {"symbol": "币安人生USDT", "first_day": None, "last_day": "2026-01-02"},
    ]
    for flags in (["--json"], ["--report", "-"]):
        library.called("universe symbols", *flags)
        said = capsys.readouterr()
        assert (json.loads(said.out), said.err) == ({"listing": "archive", "count": 2, "symbols": listed}, "")
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


def test_define_says_how_a_universe_without_data_is_replaced(
    library: Library, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", "cryptoservice")
    library.called(DEFINE)
    assert caplog.messages == []
    library.result.active_symbol_days = 0
    library.called(DEFINE)
    assert caplog.messages == ["to replace u.json, define it again with --force"]
    assert capsys.readouterr().out.count("\n") == 2
