"""Connections, the log of requests, and the exchange as a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.e2e.steps import wait_until
from tests.exchange import ReplayExchange

from .client import FEBRUARY, MINUTE, UM, Client
from .s3 import read

CHECKSUM = f"{UM}/monthly/klines/LINKUSDT/1d/LINKUSDT-1d-2026-02.zip.CHECKSUM"
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


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.read()  # type: ignore[no-any-return]


def test_fates_and_the_listing_of_a_process(state_file: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    symbols = [
        "DEADUSDT:2024-01-01:2024-06-10T09:settling",
        "LATEUSDT:2024-01-01:2024-06-10:settling",
        "GONEUSDT:2024-01-01::removed",
        "OLDUSDTSETTLED:2024-01-01:2024-02-03:alias",
        "BTCUSDC:2024-01-01",
        "BTCUSDT_250328:2024-01-01:2024-03-01:trading",
    ]
    flags = [part for symbol in symbols for part in ("--add-symbol", symbol)]
    process = launch(state_file, *flags, "--now", "2025-01-05", "--listing-port", str(port), "--listed-until", "2024-12-30")
    state = json.loads(state_file.read_text())
    assert state["listing_url"] == f"http://127.0.0.1:{port}/data.binance.vision"
    folder = f"{UM}/daily/klines/"
    found = read(get(f"{state['listing_url']}?delimiter=/&prefix={folder}"))
    # The recorded symbols have data from 2026 alone.
    assert [name.removeprefix(folder) for name in found.prefixes] == [
        "BTCUSDC/", "BTCUSDT_250328/", "DEADUSDT/", "GONEUSDT/", "LATEUSDT/", "OLDUSDTSETTLED/",
    ]  # fmt: skip
    last = read(get(f"{state['listing_url']}?prefix={folder}GONEUSDT/1d/&marker={folder}GONEUSDT/1d/GONEUSDT-1d-2024-12-29"))
    assert [listed.key[-14:-4] for listed in last.contents if listed.key.endswith(".zip")] == ["2024-12-29", "2024-12-30"]
    listed = {entry["symbol"]: entry for entry in json.loads(get(f"{state['api_url']}/fapi/v1/exchangeInfo"))["symbols"]}
    assert {"GONEUSDT", "OLDUSDTSETTLED"}.isdisjoint(listed)
    assert (listed["DEADUSDT"]["status"], listed["BTCUSDC"]["quoteAsset"]) == ("SETTLING", "USDC")
    for symbol, minutes in (("DEADUSDT", 9 * 60), ("LATEUSDT", 24 * 60)):
        settled = 1_717_977_600_000 + minutes * MINUTE
        assert listed[symbol]["deliveryDate"] == settled
        query = f"symbol={symbol}&interval=1h&startTime={settled - 60 * MINUTE}&limit=400"
        rows = json.loads(get(f"{state['api_url']}/fapi/v1/klines?{query}"))
        assert [row[8] > 0 for row in rows] == [True] + [False] * 399
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0


def test_a_restricted_api_and_a_fate_that_does_not_exist(state_file: Path) -> None:
    process = launch(state_file, "--restricted")
    state = json.loads(state_file.read_text())
    with pytest.raises(urllib.error.HTTPError, match="451"):
        get(f"{state['api_url']}/fapi/v1/time")
    assert b"ListBucketResult" in get(state["listing_url"])
    process.terminate()
    assert process.wait(5) == 0
    state_file.unlink()
    assert launch(state_file, "--add-symbol", "AAAUSDT:2024-01-01::sold").wait(5) == 2


def test_it_ends_by_itself(state_file: Path) -> None:
    assert launch(state_file, "--max-seconds", "0.2").wait(5) == 0


def test_it_tells_a_person_what_to_type(tmp_path: Path) -> None:
    ports = ("--api-port", "0", "--vision-port", "0", "--listing-port", "0")
    unset = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    for proxy in ({}, {"https_proxy": "http://127.0.0.1:9"}):
        command = [sys.executable, "-m", "tests.exchange", *ports]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=ROOT, env={**unset, **proxy}, **how) as process:
            assert process.stdout is not None
            shown = list(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
            lines = "".join(line for line in shown if line.startswith("export "))
            printed = subprocess.run(
                ["/bin/sh", "-c", f"{lines}env"], cwd=tmp_path, env=unset, capture_output=True, text=True, check=True
            ).stdout
            variables = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
            try:
                assert b"LINKUSDT" in get(f"{variables['BINANCE_API_BASE_URL']}/fapi/v1/exchangeInfo")
                assert b"LINKUSDT" in get(f"{variables['BINANCE_VISION_BASE_URL']}/{CHECKSUM}")
                assert b"LINKUSDT" in get(f"{variables['BINANCE_LISTING_BASE_URL']}?delimiter=/&prefix={UM}/daily/klines/")
                assert ("NO_PROXY" in variables) == ("no_proxy" in variables) == bool(proxy)
            finally:
                process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=10) == ("\nThe replay exchange has ended.\n", "")
        assert process.returncode == 0


def test_a_person_gets_the_same_ports_again_where_they_are_free() -> None:
    command = [sys.executable, "-m", "tests.exchange", "--max-seconds", "0.1"]
    with socket.socket() as other:
        # It may be in use already, which is as good.
        with contextlib.suppress(OSError):
            other.bind(("127.0.0.1", 8762))
            other.listen()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
        assert "Port 8762 cannot be had (Address already in use), so another one is used.\n" in done.stdout
        assert "VISION_BASE_URL=http://127.0.0.1:" in done.stdout
        assert "VISION_BASE_URL=http://127.0.0.1:8762" not in done.stdout
    for host in ("API", "VISION", "LISTING"):
        number = {"API": 8761, "VISION": 8762, "LISTING": 8763}[host]
        assert f"{host}_BASE_URL=http://127.0.0.1:{number}" in done.stdout or f"Port {number} cannot" in done.stdout


@pytest.mark.parametrize("purpose", [(), ("--state-file", "state.json")])
def test_a_port_that_cannot_be_had_is_told(tmp_path: Path, purpose: tuple[str, ...]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        command = [sys.executable, "-m", "tests.exchange", *purpose, "--listing-port", port]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=20,
            check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"error: port {port} cannot be had (Address already in use): give another one, or leave out the flag\n" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_exchange_that_cannot_start_leaves_no_port_behind() -> None:
    with ReplayExchange() as first:
        taken = int(first.vision_url.rpartition(":")[2])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            ReplayExchange(api_port=free, vision_port=taken).start()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", free))
        probe.listen()


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
