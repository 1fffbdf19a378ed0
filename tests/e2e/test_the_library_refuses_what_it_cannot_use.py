"""A value of a wrong type is a UsageError that names the argument, whatever it was given to; and nothing is written by then."""

from __future__ import annotations

import asyncio
import inspect
import math
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas
import pytest

import cryptoservice
from cryptoservice import (
    Credentials,
    DownloadResult,
    Endpoints,
    MarketDataService,
    NetworkConfig,
    RateConfig,
    RetryConfig,
    Selection,
    UniverseFile,
    UsageError,
    WindowBounds,
    WorkerConfig,
)
from tests.e2e.conftest import Workspace
from tests.e2e.crash_steps import Reference, make_reference
from tests.e2e.steps import contents
from tests.exchange import ReplayExchange

DAY = "2026-02-05"
PATHS: list[Any] = [5, 5.5, b"x", ["x"], object(), True]
DAYS: list[Any] = [5, b"2026-02-05", object(), [DAY], "2026-2-5", "today?", datetime(2026, 2, 5, 1), math.nan, pandas.NaT]
FLAGS: list[Any] = ["yes", "", 1, 0, None, object()]
DELAYS: list[Any] = ["1", -1, None, math.nan, math.inf, True, object()]
COUNTS: list[Any] = ["3", 1.5, -1, None, True, math.nan, object()]
WORDS: list[Any] = [5, "moon", object(), [], None]
NAMES: list[Any] = [5, "LINKUSDT", object(), [5], [None], ["LINK USDT"], b"LINK", [["LINKUSDT"]], True]
# What cannot be used, by the name of the argument. Where None means something it is not among them.
WRONG: dict[str, list[Any]] = {
    "universe_file": [*PATHS, None], "db_path": PATHS, "output_path": PATHS, "export_base_path": [*PATHS, None],
    "lock_file": PATHS, "path": [*PATHS, None],
    "symbols": NAMES, "symbol": [5, None, object(), [], "NOSUCHUSDT", b"LINKUSDT"],
    "start_date": DAYS, "end_date": DAYS, "day": [*DAYS, None], "start": DAYS, "end": DAYS,
    "window": [5, DAY, (DAY,), (DAY, DAY, DAY), (5, 6), {"start_date": DAY}, object(), (datetime(2026, 2, 5, 1), None), True],
    "interval": WORDS, "source_freq": WORDS[:-1], "export_freq": WORDS[:-1], "freq": WORDS[:-1], "kline_source": WORDS,
    "listing": WORDS, "description": [5, b"x", object()], "selection": [5, {"top": 3}, "3", True],
    "force": FLAGS, "download_market_metrics": FLAGS, "incremental": FLAGS, "retry_gaps": FLAGS, "klines": FLAGS,
    "metrics": FLAGS, "coverage_html": FLAGS, "prune": FLAGS, "repair": FLAGS, "jitter": FLAGS,
    "sample": COUNTS, "seed": ["3", 1.5, True, math.nan, object()],
    "network": [5, RetryConfig(), "http://127.0.0.1", {}, True], "retry_config": [5, "3", NetworkConfig(), True],
    "clock": [5, time, "now"], "stop": [5, True, "now"], "executor": [5, "pool"], "progress": [5, "bar", True],
    "api_request_delay": DELAYS, "vision_request_delay": DELAYS, "max_ban_wait": DELAYS, "daily_check_request_delay": DELAYS,
    "assumed_latency": DELAYS,
    "base_delay": DELAYS, "max_delay": DELAYS, "backoff_multiplier": DELAYS,
    "max_api_workers": [*COUNTS, 0], "max_vision_workers": [*COUNTS, 0], "daily_check_workers": [*COUNTS, 0],
    "api": [*COUNTS, 0], "vision": [*COUNTS, 0], "max_retries": COUNTS,
    "daily_check_max_requests_per_minute": ["3", 1, None, True, math.nan],
    "max_weight_per_minute": ["3", 1, None, True, math.nan],
    "api_key": [5, b"a-key", object()], "api_secret": [5, b"a-secret", object()],
    "api_base_url": [5, b"http://a", object(), "nonsense"], "vision_base_url": [5, object()], "listing_base_url": [5, object()],
    "endpoints": [5, None, "http://a"], "credentials": [5, None, "key"], "rates": [5, None], "retry": [5, None],
    "workers": [5, None],
    "top": COUNTS, "lookback_days": COUNTS, "rebalance": WORDS,
}  # fmt: skip
USUAL = {
    "symbols": ["LINKUSDT"], "start_date": "2026-02-05", "end_date": "2026-02-10", "universe_file": "universe.json",
    "db_path": "market.db", "output_path": "out.json", "export_base_path": "exports", "symbol": "LINKUSDT", "day": DAY, "top": 3,
    "path": "universe.json",
}  # fmt: skip
FUNCTIONS = [
    "define_universe", "list_symbols", "download_universe_data", "plan_download", "export_universe_data", "universe_status",
    "symbol_day_provenance", "verify_universe", "lock_universe", "audit_universe", "read_klines", "read_metrics",
    "read_funding_rates",
]  # fmt: skip
METHODS = [name for name in FUNCTIONS if hasattr(MarketDataService, name)]
CLASSES = [RetryConfig, WorkerConfig, NetworkConfig, Selection]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("library")
    reference: Reference = make_reference(tmp_path_factory)
    for name in ("universe.json", "market.db"):
        shutil.copy(reference.folder / name, made / name)
    return made


@pytest.fixture
def unchanged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(folder)
    for name in ("API", "VISION", "LISTING"):
        # Nobody listens there: a request would be an error of another kind.
        monkeypatch.setenv(f"BINANCE_{name}_BASE_URL", "http://127.0.0.1:9")
    before = contents(folder)
    yield
    assert contents(folder) == before


def refused(call: Callable[..., Any], usual: dict[str, Any], wrong: str, value: Any) -> str | None:
    """What is amiss with the refusal of that value; None when it is a UsageError."""
    try:
        result = call(**{**usual, wrong: value})
    except UsageError as error:
        return None if error.hint else f"{wrong}={value!r}: {error} has no hint"
    except Exception as error:  # noqa: BLE001 - of whatever kind it is, it is named
        return f"{wrong}={value!r}: {type(error).__name__}: {error}"
    return f"{wrong}={value!r} was accepted: {result!r}"


def complaints(call: Callable[..., Any], signature: inspect.Signature) -> list[str]:
    names = [name for name in signature.parameters if name != "self"]
    usual = {name: USUAL[name] for name in names if signature.parameters[name].default is inspect.Parameter.empty}
    told = [refused(call, usual, name, value) for name in names for value in WRONG[name]]
    needed = [name for name in usual if name not in ("output_path",)]
    told += [refused(call, usual, name, None) for name in needed if name not in ("symbols",) or "define" in str(call)]
    return [one for one in told if one is not None]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    function = getattr(cryptoservice, name)
    assert complaints(function, inspect.signature(function)) == []


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", METHODS)
def test_methods_of_the_facade(name: str) -> None:
    def call(**arguments: Any) -> Any:
        async def inside() -> Any:
            async with await MarketDataService.create() as service:
                return await getattr(service, name)(**arguments)

        return asyncio.run(inside())

    assert complaints(call, inspect.signature(getattr(MarketDataService, name))) == []


@pytest.mark.usefixtures("unchanged")
def test_options() -> None:
    for kind in CLASSES:
        assert complaints(kind, inspect.signature(kind)) == [], kind
    for make in (RateConfig, WorkerConfig):
        for name in inspect.signature(make).parameters:
            assert [refused(make, {}, name, value) for value in WRONG.get(name, DELAYS)].count(None), name

    def create(**options: Any) -> MarketDataService:
        return asyncio.run(MarketDataService.create(**options))

    for name in ("api_key", "api_secret", "api_base_url", "vision_base_url", "listing_base_url"):
        assert [refused(create, {}, name, value) for value in WRONG[name]] == [None] * len(WRONG[name]), name
    for value in (5, None, b"http://a"):
        assert refused(Endpoints, {}, "api", value) is None
    assert refused(Credentials, {}, "api_key", b"a-key") is None
    assert complaints(UniverseFile.load, inspect.signature(lambda path: path)) == []


def test_a_secret_of_a_wrong_type_is_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        Credentials(b"a-very-secret-key")  # type: ignore[arg-type]
    assert "secret-key" not in str(caught.value)


# -- what can be used ----------------------------------------------------------------------------------------------------


WINDOWS: list[Any] = [
    WindowBounds("2026-02-05", "2026-02-06"),
    ("2026-02-05", "2026-02-06"),
    ["2026-02-05", date(2026, 2, 6)],
    (datetime(2026, 2, 5), pandas.Timestamp("2026-02-06")),
    (None, pandas.Timestamp("2026-02-06", tz="UTC")),
    # One o'clock in a zone of an hour ahead is the beginning of a UTC day.
    (datetime(2026, 2, 5, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2026, 2, 6, tzinfo=timezone.utc)),
]


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_windows_and_dates_of_every_form(window: Any) -> None:
    status = cryptoservice.universe_status("universe.json", Path("market.db"), window=window)
    assert status.window.to_dict() == {"start_date": "2026-02-05", "end_date": "2026-02-06"}
    start, end = (window.start_date, window.end_date) if isinstance(window, WindowBounds) else window
    planned = cryptoservice.plan_download("universe.json", "market.db", window=window, kline_source="api", interval="1h")
    assert (planned.window, planned.archive_objects) == (status.window, 0)

    async def by_the_facade() -> Any:
        async with await MarketDataService.create() as service:
            return await service.universe_status("universe.json", "market.db", start, end)

    assert asyncio.run(by_the_facade()) == status
    found = cryptoservice.symbol_day_provenance("universe.json", "market.db", "LINKUSDT", end)
    assert found.date == date(2026, 2, 6)


def test_define_takes_dates_of_every_form_and_klines_come_by_name(workspace: Workspace, exchange: ReplayExchange) -> None:
    network = NetworkConfig(Endpoints(exchange.api_url, exchange.vision_url, exchange.listing_url))
    written = []
    for start, end in (
        ("2026-02-05", "2026-02-06"),
        (date(2026, 2, 5), datetime(2026, 2, 6)),
        (pandas.Timestamp("2026-02-05"), pandas.Timestamp("2026-02-06", tz="UTC")),
    ):
        path = workspace.folder / "universe.json"
        made = cryptoservice.define_universe(["LINKUSDT"], start, end, path, force=True, network=network)
        written.append((made.universe.window, made.active_symbol_days))
    assert written == [written[0]] * 3
    assert written[0][1] == 2
    exchange.reset_requests()
    result: DownloadResult = cryptoservice.download_universe_data(
        path, workspace.folder / "market.db", interval="1h", kline_source="api", network=network
    )
    assert result.complete
    assert {request.host for request in exchange.requests} == {"api"}
