"""The Python API: the documented script as it stands, an event loop that goes on, cancellation, and types for users."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cryptoservice import MarketDataService, UsageError, WindowBounds, download_universe_data, export_universe_data
from cryptoservice.config import Endpoints, NetworkConfig
from tests.e2e.conftest import ROOT, Workspace
from tests.exchange import Market, ReplayExchange

# As users of this interface write it, but for symbols and days that the recordings have.
SCRIPT = """
import asyncio, os
from cryptoservice import MarketDataService
from cryptoservice.config import RetryConfig
from cryptoservice.models import Freq

async def run():
    api_key = os.getenv("BINANCE_API_KEY")
    api_secret = os.getenv("BINANCE_API_SECRET")
    async with await MarketDataService.create(api_key, api_secret) as service:
        await service.define_universe(symbols=["ALGOUSDT", "AVAXUSDT", "LINKUSDT"], start_date="2026-02-01",
                                      end_date="2026-02-28", output_path="./data/universe.json", force=False)
        await service.download_universe_data(universe_file="./data/universe.json", db_path="./data/database/market.db",
                                             retry_config=RetryConfig(max_retries=3), api_request_delay=0.0,
                                             vision_request_delay=0.0, download_market_metrics=True, incremental=True,
                                             interval=Freq.m1)

asyncio.run(run())
"""

CONSUMER = """
import asyncio
import threading

from pathlib import Path

from cryptoservice import DownloadResult, Freq, MarketDataService, NetworkConfig, RetryConfig, UniverseFile, WindowBounds
from cryptoservice import define_universe, download_universe_data, export_universe_data


def by_hand(stop: threading.Event) -> int:
    define_universe(["BTCUSDT"], "2024-10-01", "2024-10-31", "universe.json", force=True, stop=stop)
    result: DownloadResult = download_universe_data(
        "universe.json", "market.db", interval=Freq.h1, window=WindowBounds("2024-10-02", None),
        network=NetworkConfig(retry=RetryConfig(max_retries=1)), stop=stop,
    )
    report: dict[str, object] = result.to_dict()
    return len(report) + export_universe_data("universe.json", "market.db", "out", source_freq=Freq.h1, export_freq="4h").files


async def in_a_loop() -> bool:
    async with await MarketDataService.create() as service:
        result = await service.download_universe_data("universe.json", "market.db", interval="1h")
    return result.complete


def read(path: Path) -> int:
    return UniverseFile.load(path).universe.active_symbol_days


print(by_hand(threading.Event()), asyncio.run(in_a_loop()), read(Path("universe.json")))
"""


def network(exchange: ReplayExchange) -> NetworkConfig:
    return NetworkConfig(endpoints=Endpoints(exchange.api_url, exchange.vision_url))


def test_the_documented_script_runs_as_it_stands(workspace: Workspace) -> None:
    """It has no main guard, and it is long enough for helper processes: nothing may run the script again."""
    (workspace.folder / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=workspace.folder, env=workspace.env(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    status = workspace.run(
        *("universe", "download", "--universe-file", "data/universe.json", "--db-path", "data/database/market.db"),
        *("--interval", "1m", "--download-market-metrics"),
    )
    assert status.code == 0
    assert status.report["already_complete"] == 3 * 84
    assert status.report["requests"] == {}


def test_the_loop_goes_on_while_the_work_runs(tmp_path: Path) -> None:
    async def work(exchange: ReplayExchange) -> tuple[int, float]:
        ticks, worst = 0, 0.0

        async def ticker() -> None:
            nonlocal ticks, worst
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.01)
                worst = max(worst, time.perf_counter() - before)
                ticks += 1

        ticking = asyncio.create_task(ticker())
        service = await MarketDataService.create(api_base_url=exchange.api_url, vision_base_url=exchange.vision_url)
        async with service:
            await service.define_universe(["ALGOUSDT", "LINKUSDT"], "2026-02-01", "2026-02-28", tmp_path / "u.json")
            result = await service.download_universe_data(tmp_path / "u.json", tmp_path / "m.db", interval="15m")
            exported = await service.export_universe_data(tmp_path / "u.json", tmp_path / "m.db", tmp_path / "out", "15m", "1h")
        ticking.cancel()
        assert result.complete
        assert exported.files == 28
        return ticks, worst

    with ReplayExchange(Market.recorded(), latency=0.1) as exchange:
        ticks, worst = asyncio.run(work(exchange))
    assert ticks >= 10
    assert worst < 1.0


def test_a_cancelled_call_stops_and_can_be_taken_up(tmp_path: Path) -> None:
    async def cancelled(exchange: ReplayExchange) -> None:
        service = await MarketDataService.create(api_base_url=exchange.api_url, vision_base_url=exchange.vision_url)
        async with service:
            await service.define_universe(["ALGOUSDT", "LINKUSDT"], "2026-02-01", "2026-02-28", tmp_path / "u.json")
            exchange.latency = 0.2
            exchange.reset_requests()
            call = asyncio.create_task(
                service.download_universe_data(tmp_path / "u.json", tmp_path / "m.db", interval="5m", kline_source="api")
            )
            while len(exchange.requests) < 8:
                await asyncio.sleep(0.02)
            call.cancel()
            started = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert time.monotonic() - started < 2.0

    with ReplayExchange(Market.recorded()) as exchange:
        asyncio.run(cancelled(exchange))
        exchange.latency = 0.0
        time.sleep(0.5)
        before = len(exchange.requests)
        time.sleep(0.5)
        assert len(exchange.requests) == before
        result = download_universe_data(tmp_path / "u.json", tmp_path / "m.db", interval="5m", network=network(exchange))
    assert result.complete


def test_plain_functions_take_grouped_options(tmp_path: Path, workspace: Workspace, exchange: ReplayExchange) -> None:
    assert workspace.define().code == 0
    stop = threading.Event()
    result = download_universe_data(
        workspace.folder / "universe.json",
        tmp_path / "m.db",
        interval="1h",
        window=WindowBounds("2026-02-03", "2026-02-04"),
        network=network(exchange),
        stop=stop,
    )
    record = json.loads(json.dumps(result.to_dict()))
    assert record["downloaded"] == 6
    exported = export_universe_data(
        workspace.folder / "universe.json", tmp_path / "m.db", tmp_path / "out", source_freq="1h", export_freq="1d",
        window=WindowBounds("2026-02-03", "2026-02-04"),
    )  # fmt: skip
    assert exported.to_dict()["rows"] == {"klines": 6, "metrics": 0, "funding_rates": 0}
    with pytest.raises(UsageError, match="unknown interval"):
        download_universe_data(workspace.folder / "universe.json", tmp_path / "m.db", interval="7m")


def test_a_users_project_type_checks_strictly(tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_text(CONSUMER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "consumer.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert (ROOT / "cryptoservice" / "py.typed").is_file()
