"""define: what is refused before anything is sent, and what is written."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.config import NetworkConfig
from cryptoservice.define.command import define_universe
from cryptoservice.errors import CryptoserviceError, Interrupted, SourceError, UsageError
from tests.exchange import Fault, ReplayExchange
from tests.unit.fakes import DAY, FEBRUARY_MS, FakeClock

# 2026-03-10 12:00 UTC, as `date -u -d @1773144000` says.
CLOCK = FakeClock(1_773_144_000.0)


def test_the_universe_holds_what_the_exchange_said(tmp_path: Path, exchange: ReplayExchange, network: NetworkConfig) -> None:
    exchange.market.drop_klines("AVAXUSDT", FEBRUARY_MS + DAY, FEBRUARY_MS + 2 * DAY)
    exchange.market.refuse("ALGOUSDT", -1122)
    output = tmp_path / "folder" / "universe.json"
    symbols = ["linkusdt", "AVAXUSDT", "NOSUCHUSDT", "LINKUSDT", "ALGOUSDT"]
    result = define_universe(symbols, "2026-02-01", "2026-02-03", output, description="a note", network=network, clock=CLOCK)
    active = [["LINKUSDT", "AVAXUSDT"], ["LINKUSDT"], ["LINKUSDT", "AVAXUSDT"]]
    unlisted, without = "not_in_current_trading_list", "no_kline_on_date"
    missing = [{"NOSUCHUSDT": unlisted, "ALGOUSDT": without} for _ in range(3)]
    missing[1] = {"AVAXUSDT": without, "NOSUCHUSDT": unlisted, "ALGOUSDT": without}
    snapshots = [
        {"date": f"2026-02-0{number + 1}", "active_symbols": active[number], "missing_symbols": missing[number]}
        for number in range(3)
    ]
    record = {
        "schema_version": "2.0",
        "requested_symbols": ["LINKUSDT", "AVAXUSDT", "NOSUCHUSDT", "ALGOUSDT"],
        "start_date": "2026-02-01",
        "end_date": "2026-02-03",
        "daily_snapshots": snapshots,
        "created_at": "2026-03-10T12:00:00+00:00",
        "description": "a note",
    }
    assert output.read_text() == json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    report = result.to_dict()
    assert report.pop("elapsed_seconds") == 0.0
    assert report == {
        "universe_file": str(output),
        "schema_version": "2.0",
        "requested_symbols": 4,
        "daily_snapshots": 3,
        "active_symbol_days": 5,
        "start_date": "2026-02-01",
        "end_date": "2026-02-03",
        "requests": {"exchange_info": 1, "klines": 3},
        "retries": 0,
        "waited_seconds": 0.0,
        # Nobody's name is near enough to NOSUCHUSDT.
        "suggestions": {},
    }


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("no symbols", {"symbols": [" "]}, "no symbols"),
    ("an unusable symbol", {"symbols": ["../A"]}, "symbol"),
    ("a reversed window", {"start_date": "2026-02-05"}, "before the start date"),
    ("no date", {"end_date": "soon"}, "is not a date"),
    ("today", {"end_date": "2026-03-10"}, "not a finished UTC day"),
    ("half a character", {"description": "\udcff"}, "half of a character pair"),
]


def test_bad_input_is_refused_before_anything_is_sent(tmp_path: Path, exchange: ReplayExchange, network: NetworkConfig) -> None:
    output = tmp_path / "universe.json"
    given = {"symbols": ["LINKUSDT"], "start_date": "2026-02-01", "end_date": "2026-02-03"}
    for what, change, words in REFUSED:
        arguments: dict[str, Any] = {**given, **change}
        with pytest.raises(UsageError, match=words):
            define_universe(**arguments, output_path=output, network=network, clock=CLOCK)
        assert not output.exists(), what
    output.write_text("theirs")
    with pytest.raises(UsageError, match="exists already"):
        define_universe(**given, output_path=output, network=network, clock=CLOCK)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is a folder"):
        define_universe(**given, output_path=tmp_path, network=network, clock=CLOCK)  # type: ignore[arg-type]
    assert (output.read_text(), exchange.requests) == ("theirs", [])


def _ask(exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.server_error(503, path="klines", times=None))


def _list(exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.server_error(503, path="exchangeInfo", times=None))


@pytest.mark.parametrize("fault", [_ask, _list])
def test_a_symbol_that_was_not_answered_for_leaves_no_universe(
    tmp_path: Path, exchange: ReplayExchange, network: NetworkConfig, fault: Callable[[ReplayExchange], None]
) -> None:
    fault(exchange)
    output = tmp_path / "universe.json"
    output.write_text("an older truth")
    with pytest.raises(SourceError):
        define_universe(["LINKUSDT"], "2026-02-01", "2026-02-03", output, force=True, network=network, clock=CLOCK)
    assert output.read_text() == "an older truth"


def test_an_exchange_whose_day_is_not_over_is_believed(tmp_path: Path, exchange: ReplayExchange, network: NetworkConfig) -> None:
    """Our clock runs ahead: the exchange says that the last day is still running."""
    exchange.now = lambda: 1_770_100_000.0  # 2026-02-03 06:26:40 UTC
    with pytest.raises(UsageError, match="for the exchange today is 2026-02-03"):
        define_universe(["LINKUSDT"], "2026-02-01", "2026-02-03", tmp_path / "u.json", network=network, clock=CLOCK)


def test_a_stop_leaves_nothing(tmp_path: Path, network: NetworkConfig) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        define_universe(["LINKUSDT"], "2026-02-01", "2026-02-03", tmp_path / "u.json", network=network, clock=CLOCK, stop=stop)
    assert list(tmp_path.iterdir()) == []


def test_every_error_is_one_of_ours(tmp_path: Path, network: NetworkConfig) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CryptoserviceError, match="is not a folder"):
        define_universe(["LINKUSDT"], "2026-02-01", "2026-02-03", tmp_path / "file" / "u.json", network=network, clock=CLOCK)
