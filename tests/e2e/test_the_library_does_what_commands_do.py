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
from typing import Any
from xml.etree import ElementTree

import pytest

from cryptoservice import (
    MarketDataService,
    ProgressEvent,
    UniverseFile,
    UsageError,
    WindowBounds,
    audit_universe,
    define_universe,
    download_universe_data,
    export_universe_data,
    list_symbols,
    lock_universe,
    plan_download,
    symbol_day_provenance,
    universe_status,
    verify_universe,
)
from cryptoservice.config import Endpoints, NetworkConfig
from cryptoservice.errors import Interrupted
from cryptoservice.storage.lock import DatabaseLock
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

from datetime import date
from pathlib import Path

from cryptoservice import DownloadResult, Freq, MarketDataService, NetworkConfig, ProgressEvent, RetryConfig, UniverseFile
from cryptoservice import WindowBounds, define_universe, download_universe_data, export_universe_data, plan_download


def by_hand(stop: threading.Event) -> int:
    define_universe(["BTCUSDT"], "2024-10-01", "2024-10-31", "universe.json", force=True, stop=stop)
    result: DownloadResult = download_universe_data(
        "universe.json", "market.db", interval=Freq.h1, window=WindowBounds("2024-10-02", None),
        network=NetworkConfig(retry=RetryConfig(max_retries=1)), stop=stop,
    )
    report: dict[str, object] = result.to_dict()
    plan_download("universe.json", "market.db", window=("2024-10-02", date(2024, 10, 3)), kline_source="api", network=None)
    return len(report) + export_universe_data("universe.json", "market.db", "out", source_freq=Freq.h1, export_freq="4h").files


async def in_a_loop() -> bool:
    async with await MarketDataService.create() as service:
        result = await service.download_universe_data("universe.json", "market.db", interval="1h", progress=show)
        await service.verify_universe("universe.json", "market.db", start_date=date(2024, 10, 2), progress=show)
    return result.complete


def show(event: ProgressEvent) -> None:
    print(f"{event.stage}: {event.done} of {event.total} {event.unit}")


def read(path: Path) -> int:
    return UniverseFile.load(path).universe.active_symbol_days


print(by_hand(threading.Event()), asyncio.run(in_a_loop()), read(Path("universe.json")))
"""


def network(exchange: ReplayExchange) -> NetworkConfig:
    return NetworkConfig(endpoints=Endpoints(exchange.api_url, exchange.vision_url, exchange.listing_url))


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


def test_leaving_the_block_waits_until_the_work_has_ended(tmp_path: Path) -> None:
    """Whoever goes on after the block can open, move or delete the database: nobody else has it."""

    async def left(exchange: ReplayExchange) -> None:
        service = await MarketDataService.create(api_base_url=exchange.api_url, vision_base_url=exchange.vision_url)
        async with service:
            await service.define_universe(["ALGOUSDT", "LINKUSDT"], "2026-02-01", "2026-02-28", tmp_path / "u.json")
            exchange.latency = 0.2
            exchange.reset_requests()
            calls = [
                asyncio.create_task(
                    service.download_universe_data(tmp_path / "u.json", tmp_path / name, interval="5m", kline_source="api")
                )
                for name in ("m.db", "other.db")
            ]
            while len(exchange.requests) < 8:
                await asyncio.sleep(0.02)
            started = time.monotonic()
        assert time.monotonic() - started < 2.0
        for name in ("m.db", "other.db"):
            with DatabaseLock(tmp_path / name, "2026-03-01T00:00:00+00:00"):
                assert not list(tmp_path.glob(f"{name}-*")), "nobody has it open"
        assert not [thread.name for thread in threading.enumerate() if "fetch" in thread.name or "define" in thread.name]
        for call in calls:
            with pytest.raises(Interrupted):
                await call

    with ReplayExchange(Market.recorded()) as exchange:
        asyncio.run(left(exchange))


def test_progress_is_told_in_the_thread_that_works(tmp_path: Path, exchange: ReplayExchange) -> None:
    told: list[tuple[ProgressEvent, threading.Thread]] = []

    def tell(event: ProgressEvent) -> None:
        told.append((event, threading.current_thread()))

    universe, database = tmp_path / "u.json", tmp_path / "m.db"
    with_network = {"network": network(exchange), "progress": tell}
    define_universe(["ALGOUSDT", "LINKUSDT"], "2026-02-01", "2026-02-28", universe, **with_network)
    download_universe_data(universe, database, interval="1h", **with_network)
    export_universe_data(universe, database, tmp_path / "out", source_freq="1h", export_freq="1h", progress=tell)
    lock_universe(universe, database, tmp_path / "l.json", progress=tell)
    verify_universe(universe, database, sample=3, lock_file=tmp_path / "l.json", **with_network)
    audit_universe(universe, database, **with_network)
    stages: dict[str, list[ProgressEvent]] = {}
    for event, thread in told:
        assert thread is threading.main_thread()
        stages.setdefault(event.stage, []).append(event)
    assert list(stages) == ["define", "download", "export", "lock", "verify", "audit"]
    for stage, events in stages.items():
        assert (events[0].done, events[-1].done) == (0, events[-1].total), stage
    assert [stages[stage][-1].total for stage in stages] == [56, 56, 56, 56, 3, 2]
    assert stages["download"][-1].rows == stages["export"][-1].rows == stages["lock"][-1].rows == 56 * 24
    told.clear()

    async def by_the_facade() -> None:
        async with await MarketDataService.create() as service:
            await service.verify_universe(universe, database, progress=tell)

    asyncio.run(by_the_facade())
    assert told
    assert all(thread is not threading.main_thread() for _, thread in told)


def test_what_a_progress_function_raises_ends_the_run(tmp_path: Path, workspace: Workspace, exchange: ReplayExchange) -> None:
    """As Ctrl-C would: it comes out as it is, what was committed stays, and the next run goes on."""

    class Enough(Exception):
        pass

    def tell(event: ProgressEvent) -> None:
        if event.done >= 20:
            raise Enough

    assert workspace.define().code == 0
    exchange.latency = 0.1
    arguments: dict[str, Any] = {"interval": "5m", "kline_source": "api", "network": network(exchange)}
    with pytest.raises(Enough):
        download_universe_data(workspace.folder / "universe.json", tmp_path / "m.db", progress=tell, **arguments)
    assert [path.name for path in tmp_path.glob("m.db*")] == ["m.db", "m.db.lock"] or not list(tmp_path.glob("m.db-*"))
    exchange.latency = 0.0
    again = download_universe_data(workspace.folder / "universe.json", tmp_path / "m.db", **arguments)
    assert (again.complete, again.downloaded + again.already_complete) == (True, 84)


def test_results_show_themselves_in_short(tmp_path: Path, workspace: Workspace, exchange: ReplayExchange) -> None:
    """What a person sees who types the name of a result into a console or a notebook."""
    universe, database = tmp_path / "u.json", tmp_path / "m.db"
    names = [f"NO{number}USDT" for number in range(500)]
    results = [
        defined := define_universe(
            ["LINKUSDT", "ALGOUSDT", *names], "2026-02-01", "2026-02-28", universe, network=network(exchange)
        ),
        plan_download(universe, database),
        download_universe_data(universe, database, interval="1h", kline_source="vision", network=network(exchange)),
        export_universe_data(universe, database, tmp_path / "out", source_freq="1h", export_freq="1h"),
        universe_status(universe, database),
        symbol_day_provenance(universe, database, "LINKUSDT", "2026-02-01"),
        lock_universe(universe, database, tmp_path / "l.json"),
        verify_universe(universe, database, sample=20, network=network(exchange)),
        audit_universe(universe, database, network=network(exchange)),
        list_symbols(network=network(exchange)),
    ]
    for result in results:
        shown = repr(result)
        assert shown.startswith(type(result).__name__ + "("), shown
        assert len(shown) < 500, shown
        page = result._repr_html_()
        assert ElementTree.fromstring(page).tag == "table"
        assert len(page) < 6_000, type(result)
    for value in (defined.universe, defined.universe.daily_snapshots[0], UniverseFile.load(universe)):
        assert len(repr(value)) < 500
    assert "502 requested symbols" in repr(defined.universe)
    assert "datasets=<1 entry>" in repr(results[2])


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
