"""MarketDataService: flat arguments to the plain functions, in threads that end with their block."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cryptoservice import service
from cryptoservice.clock import Clock
from cryptoservice.config import Credentials, Endpoints, NetworkConfig, RateConfig, RetryConfig, WindowBounds, WorkerConfig
from cryptoservice.errors import Interrupted, UsageError
from cryptoservice.models import Freq
from cryptoservice.service import MarketDataService
from cryptoservice.sources.evidence import KlineSource
from cryptoservice.universe.model import Listing
from cryptoservice.universe.selection import Selection

ENDPOINTS = Endpoints("http://api.test", "http://vision.test")
KEY = Credentials("key", "secret")
CLOCK = Clock()
DEFAULT = NetworkConfig(ENDPOINTS, KEY)
DATES = ("2026-02-01", "2026-02-02")

# method, its arguments; the positional arguments and the options that the plain function gets.
Call = tuple[str, dict[str, Any], tuple[Any, ...], dict[str, Any]]
DEFINE = {"symbols": iter(["A", "B"]), "start_date": DATES[0], "end_date": DATES[1], "output_path": "u.json"}
DOWNLOAD = {"universe_file": "u.json", "db_path": "m.db"}
EXPORT = {**DOWNLOAD, "export_base_path": "out"}
LOCK = {**DOWNLOAD, "output_path": "l.json"}
CALLS: list[Call] = [
    (
        "define_universe", DEFINE, (["A", "B"], *DATES, "u.json"),
        {
            "force": False, "description": None, "listing": Listing.EXCHANGE, "selection": None, "progress": None,
            "network": DEFAULT,
        },
    ),
    (
        "define_universe",
        {
            **DEFINE, "symbols": ("A",), "force": True, "description": "hello", "retry_config": RetryConfig(max_retries=1),
            "daily_check_workers": 7, "daily_check_request_delay": 0.5, "daily_check_max_requests_per_minute": 600,
            "max_ban_wait": 9.0, "listing": "archive", "selection": Selection(3), "progress": print,
        },
        (["A"], *DATES, "u.json"),
        {
            "force": True, "description": "hello", "listing": "archive", "selection": Selection(3), "progress": print,
            "network": NetworkConfig(
                ENDPOINTS, KEY, RateConfig(600, 0.5, 0.0, 9.0), RetryConfig(max_retries=1), WorkerConfig(api=7)
            ),
        },
    ),
    (
        "download_universe_data", DOWNLOAD, ("u.json", "m.db"),
        {
            "interval": Freq.m1, "window": WindowBounds(), "symbols": None, "download_market_metrics": False, "incremental": True,
            "kline_source": KlineSource.AUTO, "retry_gaps": False, "progress": None, "network": DEFAULT,
        },
    ),
    (
        "download_universe_data",
        {
            **DOWNLOAD, "retry_config": RetryConfig(jitter=False), "api_request_delay": 0.1, "vision_request_delay": 0.2,
            "download_market_metrics": True, "incremental": False, "interval": "5m", "start_date": DATES[0],
            "end_date": DATES[1], "max_api_workers": 2, "max_vision_workers": 3, "kline_source": "vision", "max_ban_wait": 8.0,
            "retry_gaps": True, "symbols": ("A",), "progress": print,
        },
        ("u.json", "m.db"),
        {
            "interval": "5m", "window": WindowBounds(*DATES), "symbols": ["A"], "download_market_metrics": True,
            "incremental": False, "kline_source": "vision", "retry_gaps": True, "progress": print,
            "network": NetworkConfig(
                ENDPOINTS, KEY, RateConfig(1800, 0.1, 0.2, 8.0), RetryConfig(jitter=False), WorkerConfig(2, 3)
            ),
        },
    ),
    (
        "export_universe_data", EXPORT, ("u.json", "m.db", "out"),
        {
            "source_freq": None, "export_freq": None, "window": WindowBounds(), "klines": True, "metrics": True,
            "coverage_html": False, "prune": False, "progress": None,
        },
    ),
    (
        "export_universe_data",
        {
            **EXPORT, "source_freq": "1h", "export_freq": "1d", "start_date": DATES[0], "end_date": DATES[1], "klines": False,
            "metrics": False, "coverage_html": True, "prune": True, "progress": print,
        },
        ("u.json", "m.db", "out"),
        {
            "source_freq": "1h", "export_freq": "1d", "window": WindowBounds(*DATES), "klines": False, "metrics": False,
            "coverage_html": True, "prune": True, "progress": print,
        },
    ),
    ("lock_universe", LOCK, ("u.json", "m.db", "l.json"), {"window": WindowBounds(), "force": False, "progress": None}),
    (
        "lock_universe", {**LOCK, "start_date": DATES[0], "end_date": DATES[1], "force": True, "progress": print},
        ("u.json", "m.db", "l.json"), {"window": WindowBounds(*DATES), "force": True, "progress": print},
    ),
    (
        "plan_download", DOWNLOAD, ("u.json", "m.db"),
        {
            "interval": Freq.m1, "window": WindowBounds(), "symbols": None, "download_market_metrics": False, "incremental": True,
            "kline_source": KlineSource.AUTO, "retry_gaps": False, "assumed_latency": 0.1, "network": DEFAULT,
        },
    ),
    (
        "plan_download",
        {
            **DOWNLOAD, "api_request_delay": 0.1, "vision_request_delay": 0.2, "download_market_metrics": True,
            "incremental": False, "interval": "5m", "start_date": DATES[0], "end_date": DATES[1], "max_api_workers": 2,
            "max_vision_workers": 3, "kline_source": "api", "retry_gaps": True, "symbols": "A", "assumed_latency": 0.25,
        },
        ("u.json", "m.db"),
        {
            "interval": "5m", "window": WindowBounds(*DATES), "symbols": "A", "download_market_metrics": True,
            "incremental": False, "kline_source": "api", "retry_gaps": True, "assumed_latency": 0.25,
            "network": NetworkConfig(ENDPOINTS, KEY, RateConfig(1800, 0.1, 0.2), RetryConfig(), WorkerConfig(2, 3)),
        },
    ),
    ("universe_status", {"universe_file": "u.json"}, ("u.json", None), {"window": WindowBounds()}),
    (
        "universe_status", {**DOWNLOAD, "start_date": DATES[0], "end_date": DATES[1]}, ("u.json", "m.db"),
        {"window": WindowBounds(*DATES)},
    ),
    (
        "verify_universe", DOWNLOAD, ("u.json", "m.db"),
        {
            "window": WindowBounds(), "sample": 0, "seed": None, "repair": False, "lock_file": None, "progress": None,
            "network": DEFAULT,
        },
    ),
    (
        "verify_universe",
        {
            **DOWNLOAD, "start_date": DATES[0], "end_date": DATES[1], "sample": 7, "seed": 3, "repair": True,
            "lock_file": "l.json", "retry_config": RetryConfig(jitter=False), "api_request_delay": 0.1,
            "vision_request_delay": 0.2, "max_api_workers": 2, "max_vision_workers": 3, "max_ban_wait": 8.0, "progress": print,
        },
        ("u.json", "m.db"),
        {
            "window": WindowBounds(*DATES), "sample": 7, "seed": 3, "repair": True, "lock_file": "l.json", "progress": print,
            "network": NetworkConfig(
                ENDPOINTS, KEY, RateConfig(1800, 0.1, 0.2, 8.0), RetryConfig(jitter=False), WorkerConfig(2, 3)
            ),
        },
    ),
    (
        "audit_universe", DOWNLOAD, ("u.json", "m.db"),
        {"window": WindowBounds(), "sample": 1000, "progress": None, "network": DEFAULT},
    ),
    (
        "audit_universe",
        {
            **DOWNLOAD, "start_date": DATES[0], "end_date": DATES[1], "sample": 7, "retry_config": RetryConfig(jitter=False),
            "max_vision_workers": 3, "vision_request_delay": 0.2, "max_ban_wait": 8.0, "progress": print,
        },
        ("u.json", "m.db"),
        {
            "window": WindowBounds(*DATES), "sample": 7, "progress": print,
            "network": NetworkConfig(
                ENDPOINTS, KEY, RateConfig(1800, 0.0, 0.2, 8.0), RetryConfig(jitter=False), WorkerConfig(vision=3)
            ),
        },
    ),
]  # fmt: skip


def run(work: Callable[[MarketDataService], Any]) -> Any:
    async def inside() -> Any:
        async with MarketDataService(KEY, ENDPOINTS, CLOCK) as made:
            return await work(made)

    return asyncio.run(inside())


def test_each_method_calls_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    for method, arguments, positional, options in CALLS:
        calls = []
        threads = []

        def record(*args: Any, _calls: list[Any] = calls, _threads: list[Any] = threads, **kwargs: Any) -> str:
            _calls.append((args, kwargs))
            _threads.append(threading.current_thread())
            return "the result"

        monkeypatch.setattr(service, method, record)
        assert run(lambda made, method=method, arguments=arguments: getattr(made, method)(**arguments)) == "the result"
        ((args, kwargs),) = calls
        assert threads != [threading.main_thread()]
        stop = kwargs.pop("stop")
        assert isinstance(stop, threading.Event)
        assert not stop.is_set()
        assert kwargs.pop("clock") is CLOCK
        assert (args, kwargs) == (positional, options), method


def test_what_is_left_out_means_what_it_means_to_the_plain_functions() -> None:
    for method, _, positional, options in CALLS[::2]:
        plain = inspect.signature(getattr(service, method)).parameters
        by_name = {name: parameter.default for name, parameter in plain.items()}
        for name, value in options.items():
            # The plain functions take None for the whole window, and for the network as it is by default.
            meaning = {"window": WindowBounds(), "network": DEFAULT}.get(name, by_name[name])
            assert value == meaning, (method, name)
        needed = [name for name in by_name if by_name[name] is inspect.Parameter.empty]
        assert list(by_name)[: len(needed)] == needed
        assert [by_name[name] for name in list(by_name)[len(needed) : len(positional)]] == list(positional[len(needed) :])


def test_the_facade_has_every_command_and_their_defaults() -> None:
    """An option of the same name has the same default everywhere."""
    commands = {method for method, *_ in CALLS}
    assert commands == {name for name, value in vars(MarketDataService).items() if inspect.iscoroutinefunction(value)} - {
        "_in_thread", "__aenter__", "__aexit__",
    }  # fmt: skip
    found: dict[str, set[str]] = {}
    for method in commands:
        for function in (getattr(MarketDataService, method), getattr(service, method)):
            for name, parameter in inspect.signature(function).parameters.items():
                if parameter.default is not inspect.Parameter.empty:
                    found.setdefault(name, set()).add(repr(parameter.default))
    # A sample means days to draw in one command, and objects that nothing else decides in the other. Status needs no database.
    assert {name: values for name, values in found.items() if len(values) > 1} == {"sample": {"0", "1000"}}


def test_create_takes_what_is_given_else_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_API_KEY", "from-env")
    monkeypatch.setenv("BINANCE_API_BASE_URL", "http://api.env/")
    monkeypatch.delenv("BINANCE_VISION_BASE_URL", raising=False)
    monkeypatch.delenv("BINANCE_API_SECRET", raising=False)
    plain = asyncio.run(MarketDataService.create())
    assert (plain._credentials, plain._endpoints) == (
        Credentials("from-env"), Endpoints("http://api.env", "https://data.binance.vision")
    )  # fmt: skip
    given = asyncio.run(MarketDataService.create("k", "s", api_base_url="http://a", vision_base_url="http://v", clock=CLOCK))
    assert (given._credentials, given._endpoints, given._clock) == (
        Credentials("k", "s"), Endpoints("http://a", "http://v"), CLOCK
    )  # fmt: skip
    with pytest.raises(UsageError):
        asyncio.run(MarketDataService.create(api_base_url="nonsense"))


def test_a_cancelled_call_and_a_block_that_is_left_stop_the_work_and_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started, ended = threading.Event(), threading.Event()

    def work(*_: object, stop: threading.Event, **__: object) -> None:
        started.set()
        assert stop.wait(10)
        ended.set()
        raise Interrupted

    monkeypatch.setattr(service, "export_universe_data", work)

    async def begin(made: MarketDataService) -> asyncio.Task[Any]:
        started.clear()
        ended.clear()
        call = asyncio.create_task(made.export_universe_data("u.json", "m.db", "out"))
        await asyncio.to_thread(started.wait, 10)
        return call

    async def cancelled(made: MarketDataService) -> None:
        call = await begin(made)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert ended.is_set()

    async def left() -> None:
        async with MarketDataService(KEY, ENDPOINTS) as made:
            call = await begin(made)
        assert ended.is_set()
        with pytest.raises(Interrupted):
            await call

    run(cancelled)
    asyncio.run(left())
