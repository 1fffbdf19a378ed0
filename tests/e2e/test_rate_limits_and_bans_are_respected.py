"""Rate control against an exchange that enforces its limits: never banned, honest when refused."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import truth
from tests.e2e.conftest import FEBRUARY, RECORDED, Workspace
from tests.e2e.steps import addresses, wait_until, write_universe
from tests.exchange import Fault, Limits, Market, ReplayExchange
from tests.exchange.wire import Reply, Request

YEAR = ("--start-date", "2025-01-01", "--end-date", "2025-12-31")
DAYS = [date(2025, 1, 1) + timedelta(days=offset) for offset in range(365)]


def large_market(symbols: int = 300) -> tuple[Market, dict[str, date]]:
    """A market of so many symbols, each listed on another day, and those days."""
    market = Market.recorded()
    listed = {f"T{number:03d}USDT": date(2024, 6, 1) + timedelta(days=2 * number) for number in range(symbols)}
    for symbol, first_day in listed.items():
        market.add_symbol(symbol, first_day=first_day)
    return market, listed


def workspace_for(folder: Path, exchange: ReplayExchange) -> Workspace:
    return Workspace(folder, addresses(exchange))


def assert_truth(folder: Path, listed: dict[str, date]) -> None:
    snapshots = json.loads((folder / "universe.json").read_text())["daily_snapshots"]
    for day, snapshot in zip(DAYS, snapshots, strict=True):
        assert snapshot["active_symbols"] == [symbol for symbol, first_day in listed.items() if first_day <= day]


def test_define_beside_another_client_on_the_same_address(tmp_path: Path) -> None:
    market, listed = large_market()
    with ReplayExchange(market, limits=Limits(weight=1200)) as exchange:
        exchange.limits.burn_rate(10.0)
        workspace = workspace_for(tmp_path, exchange)
        result = workspace.define("--daily-check-workers", "5", symbols=",".join(listed), window=YEAR)
        assert result.code == 0, result.stderr
        assert exchange.limits.count_418 == 0
        assert exchange.limits.count_429 <= 2
        assert result.report["requests"] == {"exchange_info": 1, "klines": 300}
    assert_truth(tmp_path, listed)


# All 300 take more than a minute: after the refusal the halved budget counts what was spent before it.
@pytest.mark.parametrize(("symbols", "weight", "window"), [(150, 120, 3.0), pytest.param(300, 240, 6.0, marks=pytest.mark.slow)])
def test_define_when_the_limit_is_cut_in_mid_run(tmp_path: Path, symbols: int, weight: int, window: float) -> None:
    market, listed = large_market(symbols)
    with ReplayExchange(market, limits=Limits(weight=1200), latency=0.05) as exchange:
        workspace = workspace_for(tmp_path, exchange)

        flags = ("--symbols", ",".join(listed), *YEAR, "--output", "universe.json", "--daily-check-workers", "5")
        running = workspace.start("universe", "define", *flags)
        wait_until(lambda: len(exchange.requests) >= 60)
        exchange.limits.set(weight=weight, window=window)
        exchange.limits.burn(weight)  # or a slow machine could spread what is left over two windows and meet no limit
        _, stderr = running.communicate(timeout=100)
        assert running.returncode == 0, stderr
        assert exchange.limits.count_429 > 0, "the cut was never met"
        assert exchange.limits.count_418 == 0
    assert_truth(tmp_path, listed)


def test_the_delay_holds_over_all_requests_to_the_api_whatever_their_budget(tmp_path: Path) -> None:
    delay, moment = 0.1, "2026-03-01T06:00"
    market = Market.recorded()
    market.archive_until = date(2026, 1, 31)
    write_universe(tmp_path)
    with ReplayExchange(market, now=lambda: truth.moment(moment)) as exchange:
        arguments = ("--kline-source", "api", "--download-market-metrics", "--api-request-delay", str(delay))
        window = ("--start-date", "2026-02-27", "--end-date", "2026-02-28")
        workspace = Workspace(tmp_path, addresses(exchange))
        outcome = workspace.download(*arguments, *window, at=moment + ":00+00:00")
        assert (outcome.code, outcome.report["downloaded"]) == (0, 18), outcome
        asked = [request for request in exchange.requests if request.host == "api"]
    budgets = {"/futures/data/": 30, "/fapi/v1/fundingRate": 3, "/fapi/v1/klines": 6}
    assert {path: sum(path in request.path for request in asked) for path in budgets} == budgets
    moments = sorted(request.received_at for request in asked)
    # One request may be held up on its way and the next one not, so a single gap says little; ten in a row do.
    assert min(later - earlier for earlier, later in zip(moments, moments[10:], strict=False)) >= 10 * delay - 0.2


@pytest.fixture
def api_only(tmp_path: Path) -> Iterator[tuple[Workspace, ReplayExchange]]:
    """The recorded market, its universe defined, and a slow enough API to strike in mid-run."""
    with ReplayExchange(Market.recorded(), latency=0.03) as exchange:
        workspace = workspace_for(tmp_path, exchange)
        assert workspace.define().code == 0
        exchange.reset_requests()
        yield workspace, exchange


def test_a_short_ban_in_mid_download_is_one_pause(api_only: tuple[Workspace, ReplayExchange]) -> None:
    workspace, exchange = api_only
    files = ("--universe-file", "universe.json", "--db-path", "market.db")
    # After a ban the budget is halved: twelve days are enough to see that the run goes on.
    flags = ("--interval", "5m", "--kline-source", "api", "--max-api-workers", "1", "--end-date", "2026-02-12")
    running = workspace.start("universe", "download", *files, *flags)
    wait_until(lambda: len(exchange.requests) >= 10)
    exchange.faults.add(Fault.banned_for(3.0, host="api", times=1))
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 0, stderr
    assert stderr.count("banned until") == 1
    (refused,) = [request for request in exchange.requests if request.status == 418]
    later = [request.received_at for request in exchange.requests if request.received_at > refused.finished_at]
    assert min(later) - refused.finished_at >= 2.5
    report = json.loads(stdout)
    assert report["downloaded"] == 36
    assert report["waited_seconds"] >= 2.5


def test_a_long_ban_ends_the_run_and_is_remembered(api_only: tuple[Workspace, ReplayExchange]) -> None:
    workspace, exchange = api_only
    until = time.time() + 3600
    exchange.faults.add(Fault.banned(int(until * 1000), host="api", times=None, skip=25))
    started = time.monotonic()
    result = workspace.download("--kline-source", "api")
    # Two seconds from the ban on; the requests before it and the interpreter's start come on top.
    assert time.monotonic() - started < 4.0
    assert result.code == 4
    assert "banned this IP address until" in result.stderr
    assert "+00:00" in result.stderr
    stored = result.report["downloaded"]
    assert 0 < stored < 84
    assert {entry["reason"] for entry in result.report["failed"]} == {"rest: banned"}
    exchange.faults.clear()
    exchange.reset_requests()

    again = workspace.download("--kline-source", "api")
    assert again.code == 4
    assert exchange.requests == []

    (Path(workspace.env()["XDG_STATE_HOME"]) / "cryptoservice" / "bans.json").unlink()
    resumed = workspace.download("--kline-source", "api")
    assert resumed.code == 0
    assert resumed.report["already_complete"] == stored
    assert resumed.report["downloaded"] == 84 - stored


def test_a_long_ban_of_the_api_leaves_the_archive_at_work(api_only: tuple[Workspace, ReplayExchange]) -> None:
    workspace, exchange = api_only
    exchange.market.without_objects(lambda key: "ALGOUSDT" in key)
    exchange.faults.add(Fault.banned(int((time.time() + 3600) * 1000), host="api", times=None))
    result = workspace.download()
    assert result.code == 4
    assert result.report["downloaded"] == 56
    assert {entry["symbol"] for entry in result.report["failed"]} == {"ALGOUSDT"}


def test_define_does_not_poke_a_host_that_has_banned_this_machine(tmp_path: Path) -> None:
    with ReplayExchange(Market.recorded()) as exchange:
        workspace = workspace_for(tmp_path, exchange)
        exchange.faults.add(Fault.banned(int((time.time() + 3600) * 1000), host="api", times=1))
        assert workspace.define().code == 4
        count = len(exchange.requests)
        assert workspace.define().code == 4
        assert len(exchange.requests) == count
        assert not (tmp_path / "universe.json").exists()


# -- a ban is on disk before the run that met it ends -----------------------------------------------------------------------


def remembered(state: Path) -> dict[str, float]:
    found = json.loads((state / "cryptoservice" / "bans.json").read_text())
    assert isinstance(found, dict)
    return found


def ban_when(happened: Callable[[], object], until: float, **where: Any) -> Fault:
    """A ban until that epoch second, answered as soon as `happened` returns."""
    plain = Fault.banned(int(until * 1000))

    def change(reply: Reply) -> Reply:
        happened()
        return plain.change(reply)

    return Fault("ban", change, {"times": None, **where})  # type: ignore[typeddict-item]


def test_runs_that_are_banned_at_once_all_remember_it(tmp_path: Path) -> None:
    """Four runs with an exchange each, and one memory; all four bans are answered in the same moment."""
    until = float(int(time.time()) + 3600)
    state = tmp_path / "state"
    with contextlib.ExitStack() as stack:
        exchanges = [stack.enter_context(ReplayExchange(Market.recorded())) for _ in range(4)]
        together = threading.Barrier(4)
        runs = []
        for number, exchange in enumerate(exchanges):
            exchange.faults.add(ban_when(lambda: together.wait(30), until, host="api"))
            folder = tmp_path / str(number)
            folder.mkdir()
            workspace = Workspace(folder, {**addresses(exchange), "XDG_STATE_HOME": str(state)})
            window = ("--symbols", "LINKUSDT", "--start-date", "2026-02-01", "--end-date", "2026-02-02")
            runs.append(workspace.start("universe", "define", *window, "--output", "universe.json"))
        for run in runs:
            run.communicate(timeout=60)
        assert [run.returncode for run in runs] == [4] * 4
        assert [len(exchange.requests) for exchange in exchanges] == [1] * 4
        hosts = [exchange.api_url.removeprefix("http://") for exchange in exchanges]
        assert remembered(state) == dict.fromkeys(hosts, until)


def test_both_hosts_that_ban_a_run_at_once_are_remembered(tmp_path: Path) -> None:
    until = float(int(time.time()) + 3600)
    write_universe(tmp_path)
    with ReplayExchange(Market.recorded()) as exchange:
        # The API is asked for the symbol that the archive lacks.
        exchange.market.without_objects(lambda key: "ALGOUSDT" in key)
        asked = threading.Event()
        exchange.faults.add(
            ban_when(asked.set, until, host="api"),
            ban_when(lambda: asked.wait(30), until, when=lambda request: request.host == "vision" and "LINK" in request.path),
        )
        workspace = Workspace(tmp_path, addresses(exchange))
        assert workspace.download().code == 4
        assert asked.is_set()
        hosts = [url.removeprefix("http://") for url in (exchange.api_url, exchange.vision_url)]
        assert remembered(Path(workspace.env()["XDG_STATE_HOME"])) == dict.fromkeys(hosts, until)
        exchange.reset_requests()
        assert workspace.download().code == 4
        assert exchange.requests == []


@pytest.mark.parametrize("command", ["define", "download"])
@pytest.mark.parametrize("seconds", [0.0, 0.25], ids=["at_once", "soon_after"])
def test_a_ban_that_is_answered_while_a_signal_ends_the_run(tmp_path: Path, command: str, seconds: float) -> None:
    write_universe(tmp_path)
    with ReplayExchange(Market.recorded()) as exchange:
        asked, signalled = threading.Event(), threading.Event()

        def happened() -> None:
            asked.set()
            assert signalled.wait(30)
            # The answer is on its way for so long.
            time.sleep(seconds)

        exchange.faults.add(ban_when(happened, time.time() + 3600, host="api"))
        workspace = Workspace(tmp_path, addresses(exchange))
        lines = {
            "define": ("universe", "define", "--symbols", "LINKUSDT", *FEBRUARY, "--output", "other.json"),
            "download": (
                "universe", "download", "--universe-file", "universe.json", "--db-path", "market.db", "--kline-source", "api",
            ),
        }  # fmt: skip
        running = workspace.start(*lines[command])
        assert asked.wait(30)
        running.send_signal(signal.SIGTERM)
        signalled.set()
        started = time.monotonic()
        running.communicate(timeout=30)
        # A ban that is answered at once may end the run before the signal does.
        assert running.returncode in ((4, 143) if not seconds else (143,))
        assert time.monotonic() - started < 2.0
        exchange.reset_requests()
        again = workspace.run(*lines[command])
        assert again.code == 4, again
        assert "banned this IP address until" in again.stderr
        assert exchange.requests == []


def test_a_ban_that_is_answered_just_after_another_error_has_ended_the_run(tmp_path: Path) -> None:
    with ReplayExchange(Market.recorded()) as exchange:
        both = threading.Barrier(2)

        def of(symbol: str) -> Callable[[Request], bool]:
            return lambda request: request.params.get("symbol") == symbol

        def soon_after() -> None:
            both.wait(30)
            time.sleep(0.1)

        def failing(_: Reply) -> Reply:
            both.wait(30)
            return Reply(400, b'{"code": -1100, "msg": "Illegal characters found in a parameter."}', "application/json")

        exchange.faults.add(
            Fault("error", failing, {"when": of("AVAXUSDT")}),
            ban_when(soon_after, time.time() + 3600, when=of("LINKUSDT"), times=1),
        )
        workspace = workspace_for(tmp_path, exchange)
        outcome = workspace.define(symbols="LINKUSDT,AVAXUSDT")
        assert (outcome.code, "-1100" in outcome.stderr) == (1, True), outcome
        exchange.reset_requests()
        assert workspace.define().code == 4
        assert exchange.requests == []


def test_nothing_but_429_ends_the_run(tmp_path: Path) -> None:
    with ReplayExchange(Market.recorded()) as exchange:
        workspace = workspace_for(tmp_path, exchange)
        exchange.faults.add(Fault.too_many(retry_after=1, host="api", times=None))
        started = time.monotonic()
        result = workspace.define("--max-ban-wait", "3")
        assert result.code == 4
        assert 3.0 <= time.monotonic() - started < 8.0
        assert "nothing but HTTP 429" in result.stderr
        assert len(exchange.requests) <= 5


@pytest.mark.parametrize(("fault", "hint"), [(Fault.forbidden_html, "firewall"), (Fault.restricted_451, "--listing archive")])
def test_refused_by_the_host(tmp_path: Path, fault: object, hint: str) -> None:
    with ReplayExchange(Market.recorded()) as exchange:
        workspace = workspace_for(tmp_path, exchange)
        exchange.faults.add(fault(host="api", times=None))  # type: ignore[operator]
        result = workspace.define()
        assert result.code == 4
        assert hint in result.stderr
        assert len(exchange.requests) == 1
        assert not (tmp_path / "universe.json").exists()


TRANSIENT = [
    Fault.reset,
    Fault.reset_mid_body,
    Fault.truncated,
    Fault.invalid_json,
    Fault.server_error,
    lambda **where: Fault.status(408, **where),
    lambda **where: Fault.status(202, **where),
    *(lambda code=code, **where: Fault.api_error(code, "try again", **where) for code in (-1000, -1001, -1006, -1007)),
]


def test_a_fifth_of_all_requests_failing_in_passing(tmp_path: Path) -> None:
    market = Market.recorded()
    with ReplayExchange(market) as exchange:
        workspace = workspace_for(tmp_path, exchange)
        share = 0.2 / len(TRANSIENT)
        for number, kind in enumerate(TRANSIENT):
            exchange.faults.add(kind(rate=share, seed=number, host="api"))
        exchange.faults.add(Fault.reset(rate=0.1, seed=91, host="vision"), Fault.truncated(rate=0.1, seed=92, host="vision"))
        define = workspace.define("--max-retries", "8", "--daily-check-workers", "3")
        assert define.code == 0, define.stderr
        exchange.market.without_objects(lambda key: "/monthly/" in key)
        # Six days of daily objects, then the same from the API.
        window = ("--start-date", "2026-02-10", "--end-date", "2026-02-15", "--max-retries", "8")
        archive = workspace.download(*window, "--max-vision-workers", "16")
        assert archive.code == 0, archive.stderr
        api = workspace.download(*window, "--kline-source", "api", "--no-incremental")
        assert api.code == 0, api.stderr
        assert archive.report["downloaded"] == api.report["downloaded"] == 18
        assert archive.report["rows"]["klines"] == api.report["rows"]["klines"] == 18 * 288
        struck = sum(request.status != 200 or request.finished_at == 0 for request in exchange.requests)
        retries = sum(run.report["retries"] for run in (define, archive, api))
        assert retries >= struck > 0
    snapshots = json.loads((tmp_path / "universe.json").read_text())["daily_snapshots"]
    assert all(snapshot["active_symbols"] == list(RECORDED) for snapshot in snapshots)
