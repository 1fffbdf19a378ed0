"""Connections, the log of requests, and the exchange as a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.e2e.steps import wait_until
from tests.exchange import ReplayExchange

from .client import FEBRUARY, Client

ROOT = Path(__file__).resolve().parents[2]


def test_one_connection_serves_many_requests(exchange: ReplayExchange) -> None:
    connection = http.client.HTTPConnection(exchange.api_url.removeprefix("http://"), timeout=5)
    connection.connect()
    socket = connection.sock
    for _ in range(5):
        connection.request("GET", "/fapi/v1/time")
        assert connection.getresponse().read()
    assert connection.sock is socket
    connection.close()


def test_the_date_header_is_the_exchanges_time(exchange: ReplayExchange, client: Client) -> None:
    sent = parsedate_to_datetime(client.api("/fapi/v1/time").headers["date"])
    assert sent.timestamp() * 1000 == exchange.now_ms()


def test_requests_are_recorded(exchange: ReplayExchange, client: Client) -> None:
    client.api("/fapi/v1/klines", {"X-MBX-APIKEY": "k"}, symbol="币安人生USDT", interval="1d", limit=3)
    (record,) = exchange.requests
    assert (record.host, record.path, record.status, record.weight) == ("api", "/fapi/v1/klines", 200, 1)
    assert record.params == {"symbol": "币安人生USDT", "interval": "1d", "limit": "3"}
    assert record.headers["x-mbx-apikey"] == "k"
    assert record.received_at <= record.finished_at
    exchange.reset_requests()
    assert exchange.requests == []


def test_many_at_once(exchange: ReplayExchange, client: Client) -> None:
    exchange.latency = 0.02
    with ThreadPoolExecutor(32) as pool:
        bodies = list(pool.map(lambda _: client.klines(startTime=FEBRUARY, limit=99).body, range(100)))
    assert len(set(bodies)) == 1
    assert exchange.limits.used() == 100 == len(exchange.requests)


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def launch(state_file: Path, *more: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-m", "tests.exchange", "--state-file", str(state_file), *more], cwd=ROOT)
    wait_until(lambda: state_file.exists() or process.poll() is not None)
    return process


def test_as_a_process(state_file: Path) -> None:
    process = launch(state_file, "--add-symbol", "AAAUSDT:2024-01-01:2024-12-31", "--now", "2025-01-05")
    state = json.loads(state_file.read_text())
    assert state["pid"] == process.pid
    connection = http.client.HTTPConnection(state["api_url"].removeprefix("http://"), timeout=5)
    connection.request("GET", "/fapi/v1/klines?symbol=AAAUSDT&interval=1d&limit=499")
    assert len(json.loads(connection.getresponse().read())) == 366
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


def test_it_ends_by_itself(state_file: Path) -> None:
    assert launch(state_file, "--max-seconds", "0.2").wait(5) == 0


@pytest.mark.slow
def test_it_ends_with_its_parent(state_file: Path) -> None:
    # The shell goes away at once and leaves the exchange without a parent.
    script = (
        f'"{sys.executable}" -m tests.exchange --state-file "{state_file}" & while [ ! -e "{state_file}" ]; do sleep 0.05; done'
    )
    subprocess.run(["/bin/sh", "-c", script], cwd=ROOT, check=True, timeout=10)
    pid = json.loads(state_file.read_text())["pid"]
    try:
        wait_until(lambda: not is_alive(pid), seconds=5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
