"""What no retry can mend ends a run at once, exit code 1, and its error names it: a package, a proxy, a certificate, the key."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.conftest import FEBRUARY, ROOT, Workspace
from tests.e2e.steps import assert_refused, write_universe
from tests.exchange import Fault, ReplayExchange

DEFINE = ("universe", "define", "--symbols", "LINKUSDT,AVAXUSDT,ALGOUSDT", *FEBRUARY, "--output", "other.json")
DOWNLOAD = ("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db")
COMMANDS = pytest.mark.parametrize("command", [DEFINE, DOWNLOAD], ids=["define", "download"])
# A certificate of localhost that nobody but tests trusts, with its key.
SELF_SIGNED = ROOT / "tests" / "unit" / "binance" / "http" / "self_signed.pem"


@pytest.fixture(autouse=True)
def universe(workspace: Workspace) -> None:
    write_universe(workspace.folder)
    # Whatever bundle this machine needs, the commands of a test begin without.
    workspace.environment.update({"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""})


def with_packages(workspace: Workspace, code: str) -> None:
    """Let every command of the workspace run this code before anything else, as an installation of another kind would."""
    folder = workspace.folder / "packages"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    workspace.environment["PYTHONPATH"] = f"{folder}:{ROOT}"


@pytest.mark.parametrize("code", [-2014, -2015])
@pytest.mark.parametrize(
    ("command", "most"), [(DEFINE, 1), ((*DOWNLOAD, "--kline-source", "api"), 5)], ids=["define", "download"]
)
def test_a_refused_key(workspace: Workspace, exchange: ReplayExchange, code: int, command: tuple[str, ...], most: int) -> None:
    exchange.faults.add(Fault.api_error(code, "Invalid API-key, IP, or permissions for action.", status=401, times=None))
    outcome = workspace.run(*command, "-q", "--api-key", "an-old-key")
    assert_refused(outcome, f"error {code}", "API key", "--api-key", "BINANCE_API_KEY", code=1)
    assert "an-old-key" not in outcome.stderr
    # Requests that were under way together, and none after them.
    assert 1 <= len(exchange.requests) <= most


def test_what_was_stored_before_the_key_was_refused_stays(workspace: Workspace, exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.api_error(-2015, "Invalid API-key", status=401, times=None, skip=9))
    outcome = workspace.run(*DOWNLOAD, "--kline-source", "api", "-q", "--interval", "5m", "--max-api-workers", "1")
    assert_refused(outcome, "error -2015", code=1)
    exchange.faults.clear()
    again = workspace.run(*DOWNLOAD, "--kline-source", "api", "-q", "--interval", "5m")
    assert (again.code, again.report["status"]) == (0, "complete")


def test_a_key_that_is_refused_while_a_sample_is_compared(workspace: Workspace, exchange: ReplayExchange) -> None:
    assert workspace.download("-q").code == 0
    exchange.reset_requests()
    exchange.faults.add(Fault.api_error(-2015, "Invalid API-key", status=401, host="api", times=None))
    verify = ("universe", "verify", "--universe-file", "universe.json", "--db-path", "market.db", "--sample", "84")
    assert_refused(workspace.run(*verify, "-q"), "error -2015", "--api-key", code=1)
    # Eight workers, each with one request under way.
    assert sum(request.host == "api" for request in exchange.requests) <= 8


@COMMANDS
def test_a_socks_proxy_without_its_package(workspace: Workspace, exchange: ReplayExchange, command: tuple[str, ...]) -> None:
    with_packages(workspace, "import sys\nsys.modules['socks'] = None\n")
    workspace.environment["ALL_PROXY"] = "socks5h://me:hunter2@127.0.0.1:9"
    outcome = workspace.run(*command, "-q")
    assert_refused(outcome, "SOCKS", "PySocks", "pip install 'requests[socks]'", code=1)
    assert "hunter2" not in outcome.stderr
    assert exchange.requests == []


@COMMANDS
def test_certificate_authorities_that_do_not_exist(workspace: Workspace, command: tuple[str, ...]) -> None:
    path = workspace.folder / "no such folder" / "authorities.pem"
    addresses = {"BINANCE_API_BASE_URL": "https://127.0.0.1:9", "BINANCE_VISION_BASE_URL": "https://127.0.0.1:9"}
    workspace.environment.update({"REQUESTS_CA_BUNDLE": str(path), **addresses})
    assert_refused(workspace.run(*command, "-q"), f"{path} does not exist", "REQUESTS_CA_BUNDLE", code=1)


@pytest.fixture
def encrypted() -> Iterator[str]:
    """The address of a server with a certificate that nobody trusts; no request gets through to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"https://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@COMMANDS
def test_a_refused_certificate(workspace: Workspace, encrypted: str, command: tuple[str, ...]) -> None:
    workspace.environment.update({"BINANCE_API_BASE_URL": encrypted, "BINANCE_VISION_BASE_URL": encrypted})
    outcome = workspace.run(*command, "-q")
    host = encrypted.removeprefix("https://")
    assert_refused(outcome, f"the certificate of {host} is refused", "REQUESTS_CA_BUNDLE", code=1)


OLD = {"requests": ("2.30.0", "2.31"), "urllib3": ("1.26.18", "2.2")}


@COMMANDS
@pytest.mark.parametrize("package", OLD)
def test_a_package_that_is_too_old(
    workspace: Workspace, exchange: ReplayExchange, command: tuple[str, ...], package: str, tmp_path: Path
) -> None:
    version, needed = OLD[package]
    with_packages(workspace, f"import requests, urllib3\n{package}.__version__ = '{version}'\n")
    outcome = workspace.run(*command, "-q")
    assert_refused(outcome, f"{package} {version} is too old: version {needed} or later is needed", code=1)
    assert exchange.requests == []
    # What sends no request does not mind.
    assert workspace.run("universe", "status", "--universe-file", "universe.json", "-q").code == 0
