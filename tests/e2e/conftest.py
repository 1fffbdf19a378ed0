"""The real command in a subprocess against the replay exchange."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.exchange import Market, ReplayExchange

ROOT = Path(__file__).resolve().parents[2]
FEBRUARY = ("--start-date", "2026-02-01", "--end-date", "2026-02-28")
RECORDED = ("ALGOUSDT", "AVAXUSDT", "LINKUSDT")


def _default_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """The one JSON object of stdout."""
        record = json.loads(self.stdout)
        assert isinstance(record, dict)
        return record


def addresses(exchange: ReplayExchange) -> dict[str, str]:
    """The environment that points a command at an exchange."""
    return {
        "BINANCE_API_BASE_URL": exchange.api_url,
        "BINANCE_VISION_BASE_URL": exchange.vision_url,
        "BINANCE_LISTING_BASE_URL": exchange.listing_url,
    }


@dataclass
class Workspace:
    """A folder to run commands in, with the exchange's addresses in the environment."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def env(self) -> dict[str, str]:
        # Neither the developer's keys nor a proxy: all is on loopback. And hundreds of commands compile the package once.
        unwanted = ("BINANCE_", "PYTHONDONTWRITEBYTECODE")
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(unwanted) and not name.lower().endswith("_proxy")
        }
        return {**inherited, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.folder / ".state"), **self.environment}

    def command(self, *arguments: str, at: str | None = None) -> list[str]:
        """The command line; `at` (ISO time) makes it believe that it is that time."""
        module = ["cryptoservice"] if at is None else ["tests.e2e.at_time", at]
        return [sys.executable, "-m", *module, *arguments]

    def run(self, *arguments: str, at: str | None = None, timeout: float = 60.0) -> Outcome:
        """`cryptoservice ARGUMENTS` to its end."""
        done = subprocess.run(
            self.command(*arguments, at=at),
            cwd=self.folder,
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, at: str | None = None, stdin: int | None = None) -> subprocess.Popen[str]:
        """`cryptoservice ARGUMENTS`, left running; `stdin` is a descriptor."""
        return subprocess.Popen(
            self.command(*arguments, at=at),
            cwd=self.folder,
            env=self.env(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A suite that runs in the background of a shell, or by nohup, hands ignored signals down to its children.
            preexec_fn=_default_signals,
        )

    def define(self, *arguments: str, symbols: str = ",".join(RECORDED), window: tuple[str, ...] = FEBRUARY) -> Outcome:
        """`universe define` into universe.json."""
        return self.run("universe", "define", "--symbols", symbols, *window, "--output", "universe.json", *arguments)

    def download(self, *arguments: str, interval: str = "5m", at: str | None = None) -> Outcome:
        """`universe download` of universe.json into market.db."""
        base = ("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db")
        return self.run(*base, "--interval", interval, *arguments, at=at)

    def export(self, *arguments: str, source: str = "5m", target: str = "5m", folder: str = "exports") -> Outcome:
        """`universe export` of market.db."""
        base = ("universe", "export", "--universe-file", "universe.json", "--db-path", "market.db")
        frequencies = ("--source-freq", source, "--export-freq", target)
        return self.run(*base, "--export-base-path", folder, *frequencies, *arguments)


@pytest.fixture
def market() -> Market:
    """The recorded market; a test may cut holes into it before it asks for the exchange."""
    return Market.recorded()


@pytest.fixture
def exchange(market: Market) -> Iterator[ReplayExchange]:
    """A running exchange that serves `market`."""
    with ReplayExchange(market) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, exchange: ReplayExchange) -> Workspace:
    """An empty folder whose commands talk to `exchange`."""
    return Workspace(tmp_path, addresses(exchange))
