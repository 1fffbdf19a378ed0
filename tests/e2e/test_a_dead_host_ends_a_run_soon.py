"""A host that does not respond at all: it is given up after a while, the other host goes on, the next run finishes the job."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.crash_steps import DOWNLOAD, Reference, assert_finished, assert_sound, make_reference
from tests.e2e.steps import asked, assert_stored, ledger, query, write_universe
from tests.exchange import Fault, ReplayExchange

QUARTER = ("2025-10-01", "2025-12-31")
API_WORKERS, VISION_WORKERS = 5, 8
"""The command's defaults."""


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return make_reference(tmp_path_factory)


@pytest.fixture
def dead_ends() -> Iterator[tuple[str, str]]:
    """Two addresses, host:port, where nobody listens and nobody will."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(2):
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports.append(f"127.0.0.1:{probe.getsockname()[1]}")
        yield ports[0], ports[1]


def most_attempts(workers: int, retries: int) -> int:
    """Three calls a worker end without a response, and as many as there are workers may be under way by then."""
    return (3 * workers + workers) * (1 + retries)


def given_up(outcome: Outcome) -> list[str]:
    """The lines that say that a host is given up."""
    return [line for line in outcome.stderr.splitlines() if "nothing more is asked of it in this run" in line]


@pytest.mark.parametrize("retries", [0, 1])
def test_a_network_that_is_down(tmp_path: Path, dead_ends: tuple[str, str], retries: int) -> None:
    api, vision = dead_ends
    urls = {"API": f"http://{api}", "VISION": f"http://{vision}", "LISTING": f"http://{vision}/data.binance.vision"}
    workspace = Workspace(tmp_path, {f"BINANCE_{name}_BASE_URL": url for name, url in urls.items()})
    write_universe(tmp_path, ["LINKUSDT", "AVAXUSDT", "ALGOUSDT"], *QUARTER)
    wanted = 3 * len(truth.days(*QUARTER))
    started = time.monotonic()
    outcome = workspace.download("-q", "--max-retries", str(retries))
    assert time.monotonic() - started < 30
    assert outcome.code == 3, outcome
    report = outcome.report
    assert (report["status"], report["wanted_symbol_days"], report["confirmed_gaps"]) == ("incomplete", wanted, 0)
    requests = report["requests"]
    assert requests["archive"] <= most_attempts(VISION_WORKERS, retries), requests
    assert requests["klines"] <= most_attempts(API_WORKERS, retries), requests
    # The listing of checksums lies on the same network. A page of each symbol is tried, at most all three at once.
    assert requests["archive_listing"] <= 3 * (1 + retries), requests
    assert requests.keys() == {"archive", "archive_listing", "klines"}
    assert len(report["failed"]) == wanted
    reasons = {entry["reason"] for entry in report["failed"]}
    assert reasons == {"rest: unreachable", "rest: connection_error"}
    assert {(line.status, line.rows) for line in ledger(tmp_path / "market.db").values()} == {("failed", 0)}
    assert len(ledger(tmp_path / "market.db")) == wanted
    lines = given_up(outcome)
    assert len(lines) == 2, outcome.stderr
    assert len(outcome.stderr.splitlines()) == 3, "two hosts, and what is missing"
    for host in dead_ends:
        (line,) = [line for line in lines if host in line]
        assert line.startswith("error: ")
        assert "connection refused" in line
        assert "check the network, then run it again" in line


@pytest.mark.parametrize("datasets", [(), ("--download-market-metrics",)], ids=["klines", "all"])
def test_a_dead_archive_leaves_the_api_at_work(
    workspace: Workspace, exchange: ReplayExchange, dead_ends: tuple[str, str], datasets: tuple[str, ...]
) -> None:
    """Klines and funding rates come from the API; metrics of that age are the archive's alone."""
    workspace.environment["BINANCE_VISION_BASE_URL"] = f"http://{dead_ends[1]}"
    write_universe(workspace.folder)
    outcome = workspace.download("--max-retries", "0", "-q", *datasets)
    assert len(given_up(outcome)) == 1, outcome
    assert outcome.code == (3 if datasets else 0)
    failed = outcome.report["failed"]
    assert {entry["dataset"] for entry in failed} == ({"metrics"} if datasets else set())
    assert len(failed) == (84 if datasets else 0)
    for symbol in truth.SYMBOLS:
        assert_stored(workspace, symbol)
    assert outcome.report["rows"]["funding_rates"] == (3 * 84 if datasets else 0)


@pytest.mark.parametrize(("after", "retries"), [(9, 0), (20, 1)])
def test_an_outage_in_mid_run(
    workspace: Workspace, exchange: ReplayExchange, reference: Reference, after: int, retries: int
) -> None:
    reference.give(workspace.folder, "universe.json")
    exchange.faults.add(Fault.reset(times=None, skip=after))
    limits = ("--max-vision-workers", "2", "--max-api-workers", "1", "--max-retries", str(retries))
    outcome = workspace.run(*DOWNLOAD, "-q", *limits)
    assert outcome.code == 3, outcome
    archive = exchange.vision_url.removeprefix("http://")
    assert [archive in line for line in given_up(outcome)].count(True) == 1, outcome.stderr
    assert len(asked(exchange)) <= after + most_attempts(2, retries) + most_attempts(1, retries)
    database = workspace.folder / "market.db"
    assert assert_sound(database) == 54
    kept = query(database, "SELECT dataset, symbol, date, checked_at FROM symbol_days WHERE status = 'complete' ORDER BY 1, 2, 3")
    assert 0 < len(kept) == outcome.report["downloaded"] < 54
    exchange.faults.clear()
    exchange.reset_requests()
    assert_finished(workspace, reference)
    again = query(database, "SELECT dataset, symbol, date, checked_at FROM symbol_days ORDER BY 1, 2, 3")
    assert set(kept) <= set(again), "a symbol-day that was complete was fetched again"


def test_a_host_that_drops_every_other_request_is_not_given_up(workspace: Workspace, exchange: ReplayExchange) -> None:
    exchange.market.without_objects(lambda key: "/monthly/" in key)
    write_universe(workspace.folder)
    exchange.faults.add(Fault.reset(host="vision", rate=0.5, seed=3))
    outcome = workspace.download("--kline-source", "vision", "--max-retries", "0", "--max-vision-workers", "3")
    assert outcome.code == 3
    assert len(outcome.report["failed"]) > 9
    assert {entry["reason"] for entry in outcome.report["failed"]} == {"daily: connection_error"}
    assert not given_up(outcome)


def test_a_sample_from_a_host_that_is_down(workspace: Workspace, dead_ends: tuple[str, str]) -> None:
    write_universe(workspace.folder)
    assert workspace.download("-q").code == 0
    workspace.environment["BINANCE_API_BASE_URL"] = f"http://{dead_ends[0]}"
    verify = ("universe", "verify", "--universe-file", "universe.json", "--db-path", "market.db", "--sample", "84")
    outcome = workspace.run(*verify, "-q", "--max-retries", "0")
    assert (outcome.code, outcome.report["status"]) == (3, "not_verified")
    assert outcome.report["requests"]["klines"] <= most_attempts(VISION_WORKERS, 0)
    assert {entry["reason"] for entry in outcome.report["sample"]["not_compared"]} == {
        "rest: connection_error", "rest: unreachable",
    }  # fmt: skip
    assert len(given_up(outcome)) == 1


@pytest.mark.parametrize("path", ["exchangeInfo", "klines"])
def test_define_ends_with_the_first_call_that_had_no_response(workspace: Workspace, exchange: ReplayExchange, path: str) -> None:
    exchange.faults.add(Fault.reset(path=path, times=None))
    symbols = ",".join(["LINKUSDT", "AVAXUSDT", "ALGOUSDT", "1000PEPEUSDT", "BTCUSDT", "ETHUSDT"])
    outcome = workspace.define("-q", "--max-retries", "1", "--daily-check-workers", "2", symbols=symbols)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert [line.split(" ", 1)[0] for line in outcome.stderr.splitlines()] == ["error:", "hint:"]
    assert len(asked(exchange, path)) <= 2 * (1 + 2)
    assert not (workspace.folder / "universe.json").exists()
