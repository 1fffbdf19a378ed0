"""download as a function: its result, what it leaves alone, and what it does with an executor."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.config import Endpoints, NetworkConfig, RateConfig, WindowBounds
from cryptoservice.download import command
from cryptoservice.download.command import download_universe_data
from cryptoservice.download.forecast.duration import Bound, Cause
from cryptoservice.download.preview import plan_download
from cryptoservice.errors import Interrupted, StoreBusy, UsageError
from cryptoservice.models import Dataset
from cryptoservice.storage.lock import DatabaseLock
from tests.exchange import Fault, Limits, Market, ReplayExchange
from tests.unit.fakes import FakeClock, recorded_rows

# 2026-03-10 12:00 UTC.
CLOCK = FakeClock(1_773_144_000.0)


@pytest.fixture
def universe(tmp_path: Path) -> Path:
    """LINKUSDT on the first three days of February 2026, AVAXUSDT on the first."""
    path = tmp_path / "universe.json"
    days = [("2026-02-01", ["LINKUSDT", "AVAXUSDT"]), ("2026-02-02", ["LINKUSDT"]), ("2026-02-03", ["LINKUSDT"])]
    snapshots = [
        {
            "date": day,
            "active_symbols": active,
            "missing_symbols": {} if len(active) == 2 else {"AVAXUSDT": "no_kline_on_date"},
        }
        for day, active in days
    ]
    record = {
        "schema_version": "2.0", "requested_symbols": ["LINKUSDT", "AVAXUSDT"], "start_date": "2026-02-01",
        "end_date": "2026-02-03", "daily_snapshots": snapshots, "created_at": "2026-03-05T00:00:00+00:00",
    }  # fmt: skip
    path.write_text(json.dumps(record))
    return path


def rows_of(database: Path, symbol: str) -> list[tuple[Any, ...]]:
    query = "SELECT open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume "
    with closing(sqlite3.connect(database)) as db:
        return db.execute(query + "FROM klines WHERE symbol = ? ORDER BY open_time", (symbol,)).fetchall()


def test_all_wanted_days_and_no_other_are_stored(tmp_path: Path, universe: Path, network: NetworkConfig) -> None:
    database = tmp_path / "folder" / "market.db"
    result = download_universe_data(universe, database, network=network, clock=CLOCK)
    assert result.complete
    assert (result.wanted_symbol_days, result.downloaded, result.already_complete) == (4, 4, 0)
    assert result.rows == {Dataset.KLINES: 4 * 1440, Dataset.METRICS: 0, Dataset.FUNDING_RATES: 0}
    assert rows_of(database, "LINKUSDT") == list(recorded_rows("LINKUSDT")[: 3 * 1440])
    assert rows_of(database, "AVAXUSDT") == list(recorded_rows("AVAXUSDT")[:1440])
    # The month for three days of one symbol, the day for one of the other, each with its checksum.
    assert result.requests == {"archive": 2, "archive_checksum": 2}
    again = download_universe_data(universe, database, network=network, clock=CLOCK)
    assert (again.already_complete, again.requests) == (4, {})


def test_a_budget_that_binds_is_told_at_once_and_waited_for_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """190 symbols before the archive has published: 950 requests of metrics at 900 in five minutes."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    caplog.set_level(logging.INFO, logger="cryptoservice")
    early = datetime(2026, 3, 10, 3, 30, tzinfo=timezone.utc)
    symbols, day = [f"S{number:03}USDT" for number in range(190)], date(2026, 3, 9)
    market = Market()
    market.archive_until = date(2026, 3, 8)
    for symbol in symbols:
        market.add_symbol(symbol, date(2026, 1, 1))
    universe = tmp_path / "night.json"
    snapshots = [{"date": str(day), "active_symbols": symbols, "missing_symbols": {}}]
    record = {
        "schema_version": "2.0", "requested_symbols": symbols, "start_date": str(day), "end_date": str(day),
        "daily_snapshots": snapshots, "created_at": "2026-03-10T00:00:00+00:00",
    }  # fmt: skip
    universe.write_text(json.dumps(record))
    with ReplayExchange(market, now=lambda: early, limits=Limits.off()) as exchange:
        network = NetworkConfig(Endpoints(exchange.api_url, exchange.vision_url, exchange.listing_url))
        options = {"interval": "1h", "download_market_metrics": True, "network": network}
        plan = plan_download(universe, tmp_path / "m.db", clock=FakeClock(early.timestamp()), **options)  # type: ignore[arg-type]
        result = download_universe_data(universe, tmp_path / "m.db", clock=FakeClock(early.timestamp()), **options)  # type: ignore[arg-type]
    assert result.complete
    assert plan.bound_by == Bound(Cause.BUDGET, Dataset.METRICS, 900, 300.0)
    # Funding rates of so few symbols do not fill a page, so they are asked for by symbol in the end.
    assert plan.requests - 3 == sum(result.requests.values()) - result.requests["funding_rates"] == 190 + 190 + 950
    assert caplog.messages[:3] == [
        "570 symbol-days to fetch, 0 settled already",
        "metrics over the API: 950 requests, at most 900 in 5 min, take at least 5 min 01 s",
        "the archive has probably not published 190 metrics files yet: after 09:00 UTC no API request is needed for them",
    ]
    # Five threads wait for the same moment: 301 seconds, and not five times as many.
    assert result.waited_seconds == result.elapsed_seconds == 301.0
    assert 301 <= plan.seconds < 301 * 1.1


@pytest.mark.parametrize(("threshold", "uses"), [(1, True), (1_000_000, False)])
def test_only_a_long_run_uses_the_executor(
    tmp_path: Path, universe: Path, network: NetworkConfig, monkeypatch: pytest.MonkeyPatch, threshold: int, uses: bool
) -> None:
    monkeypatch.setattr(command, "ROWS_FOR_HELPERS", threshold)
    calls: list[str] = []

    class Noting(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            calls.append(fn.__name__)
            return super().submit(fn, *args, **kwargs)

    with Noting(1) as executor:
        result = download_universe_data(universe, tmp_path / "market.db", network=network, executor=executor, clock=CLOCK)
        assert executor.submit(len, "open").result() == 4, "whoever made it closes it"
    assert result.complete
    assert calls.count("decode_zips") == (2 if uses else 0)
    assert rows_of(tmp_path / "market.db", "LINKUSDT") == list(recorded_rows("LINKUSDT")[: 3 * 1440])


def test_what_a_source_refuses_is_a_result(
    tmp_path: Path, universe: Path, exchange: ReplayExchange, network: NetworkConfig
) -> None:
    exchange.faults.add(Fault.restricted_451(host="api", times=None))
    exchange.market.without_objects(lambda key: "LINKUSDT" in key)
    result = download_universe_data(universe, tmp_path / "market.db", network=network, clock=CLOCK)
    assert (result.status, result.downloaded) == ("incomplete", 1)
    assert {(item.symbol, item.reason) for item in result.failed} == {("LINKUSDT", "rest: http_451")}
    assert result.refused is not None and result.refused.reason == "http_451"


def test_bad_input_is_refused_before_the_database_is_touched(
    tmp_path: Path, universe: Path, exchange: ReplayExchange, network: NetworkConfig
) -> None:
    database = tmp_path / "market.db"
    refused: list[dict[str, Any]] = [
        {"interval": "7m"},
        {"window": WindowBounds("2026-01-31", None)},
        {"window": WindowBounds("2026-02-03", "2026-02-01")},
    ]
    for arguments in refused:
        with pytest.raises(UsageError):
            download_universe_data(universe, database, network=network, clock=CLOCK, **arguments)
    with pytest.raises(UsageError):
        download_universe_data(tmp_path / "none.json", database, network=network, clock=CLOCK)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["universe.json"]
    assert exchange.requests == []


def test_a_database_has_one_run(tmp_path: Path, universe: Path, exchange: ReplayExchange, network: NetworkConfig) -> None:
    database = tmp_path / "market.db"
    with DatabaseLock(database, "2026-03-10T00:00:00+00:00"), pytest.raises(StoreBusy, match="2026-03-10T00:00:00"):
        download_universe_data(universe, database, network=network, clock=CLOCK)
    assert exchange.requests == []


def test_a_stop_is_obeyed(tmp_path: Path, universe: Path, network: NetworkConfig) -> None:
    stop = threading.Event()
    stop.set()
    slow = replace(network, rates=RateConfig(vision_request_delay=60.0))
    with pytest.raises(Interrupted) as caught:
        download_universe_data(universe, tmp_path / "market.db", network=slow, stop=stop)
    assert caught.value.kept == "0 of 4 symbol-days stored"


def test_an_interrupt_counts_what_is_stored_already(tmp_path: Path, universe: Path, network: NetworkConfig) -> None:
    database = tmp_path / "market.db"
    download_universe_data(universe, database, network=network, clock=CLOCK, window=WindowBounds(None, "2026-02-01"))

    class Stopping(threading.Event):
        """An event that sets itself when the run looks at it for the fortieth time."""

        looks = 0

        def is_set(self) -> bool:
            self.looks += 1
            return self.looks > 40

    slow = replace(network, rates=RateConfig(vision_request_delay=60.0))
    with pytest.raises(Interrupted) as caught:
        download_universe_data(universe, database, network=slow, stop=Stopping(), download_market_metrics=True)
    with closing(sqlite3.connect(database)) as db:
        ((stored,),) = db.execute("SELECT count(*) FROM symbol_days WHERE status IN ('complete', 'confirmed_gap')")
    # Two symbol-days of klines were there before; four of each of three datasets are wanted.
    assert 2 <= stored < 12
    assert caught.value.kept == f"{stored} of 12 symbol-days stored"
    assert str(caught.value) == f"interrupted: {stored} of 12 symbol-days stored"
