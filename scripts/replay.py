"""The replay exchange as a process of its own, for the demo and the benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
# Made up: it was settled on 12 February in the morning and removed from the exchange, and the archive still has it.
DELISTED = "OLDUSDT"
# What the demo and `make exchange` add to the recorded market.
DEMO_MARKET = ("--add-symbol", f"{DELISTED}:2025-11-01:2026-02-12T09:removed")


@contextlib.contextmanager
def replay_exchange(folder: Path, *options: str) -> Iterator[dict[str, str]]:
    """The addresses of an exchange that listens until the block ends, however it ends. Its log and state lie in `folder`."""
    state, log = folder / "exchange.json", folder / "exchange.log"
    command = [sys.executable, "-m", "tests.exchange", "--state-file", str(state), *options]
    with log.open("w") as output:
        exchange = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield _wait_for(state, exchange, log)
    finally:
        exchange.terminate()
        try:
            exchange.wait(timeout=5)
        except subprocess.TimeoutExpired:
            exchange.kill()
            exchange.wait()
        state.unlink(missing_ok=True)


def client_environment(addresses: dict[str, str], folder: Path) -> dict[str, str]:
    """The environment in which commands talk to that exchange and remember what they must in `folder`."""
    return {
        **os.environ,
        "BINANCE_API_BASE_URL": addresses["api_url"],
        "BINANCE_VISION_BASE_URL": addresses["vision_url"],
        "BINANCE_LISTING_BASE_URL": addresses["listing_url"],
        # The small letters win where both are set.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "XDG_STATE_HOME": str(folder / "state"),
    }


def _wait_for(state: Path, exchange: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if state.exists():
            addresses: dict[str, str] = json.loads(state.read_text())
            return addresses
        if exchange.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit(f"the replay exchange did not start; see {log}")
