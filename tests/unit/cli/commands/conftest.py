"""A stand-in for the library, so that what a command makes of its arguments can be seen."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from cryptoservice.cli import helper_processes
from cryptoservice.cli.commands.dispatch import COMMANDS
from cryptoservice.cli.parser import build_parser
from cryptoservice.clock import Clock
from cryptoservice.config import Credentials, Endpoints, NetworkConfig, RateConfig, RetryConfig, WorkerConfig

REPORT = {"a": "币", "b": 1}
CLOCK, STOP = Clock(), threading.Event()
HELPERS = "the executor"
PUBLIC = Endpoints("https://fapi.binance.com", "https://data.binance.vision")
RATES, WORKERS = RateConfig(), WorkerConfig()


class Library:
    """A stand-in for the functions of the library: remembers one call, and returns a result that lacks nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.result = SimpleNamespace(
            to_dict=lambda **options: {**REPORT, **options}, active_symbol_days=1, refused=None, complete=True,
            universe_file="u.json", nothing_active="nothing", republished=(), gone=(), refetch=(),
            differences=(), remaining=(), unlike_lock=(), repair=None, sample=None, kept_files=0,
        )  # fmt: skip
        for where, name in (
            ("define.command", "define_universe"), ("download.command", "download_universe_data"),
            ("download.preview", "plan_download"), ("export.command", "export_universe_data"),
            ("audit.status", "universe_status"), ("audit.verify", "verify_universe"), ("define.symbol_list", "list_symbols"),
            ("audit.provenance", "symbol_day_provenance"),
            ("audit.dataset_lock.command", "lock_universe"), ("audit.archive_audit.command", "audit_universe"),
        ):  # fmt: skip
            monkeypatch.setattr(import_module(f"cryptoservice.{where}"), name, self._recorder(name))

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
