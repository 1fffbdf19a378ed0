"""universe define, as a user runs it."""

from __future__ import annotations

import json
import math
import signal
from datetime import date, timedelta
from typing import Any

import pytest

from tests.e2e import truth
from tests.e2e.conftest import FEBRUARY, RECORDED, Workspace
from tests.e2e.steps import addresses, asked, assert_refused, contents, wait_until
from tests.exchange import Fault, Market, ReplayExchange

REASON_UNLISTED, REASON_EMPTY = "not_in_current_trading_list", "no_kline_on_date"
REPORT_KEYS = {
    "universe_file", "schema_version", "requested_symbols", "daily_snapshots", "active_symbol_days", "start_date", "end_date",
    "requests", "retries", "waited_seconds", "elapsed_seconds",
}  # fmt: skip
THREE_DAYS = ("--start-date", "2026-02-01", "--end-date", "2026-02-03")


def saved(workspace: Workspace, name: str = "universe.json") -> dict[str, Any]:
    """The universe file, parsed."""
    record = json.loads((workspace.folder / name).read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


def klines_asked(exchange: ReplayExchange) -> list[str]:
    """Symbols of the klines requests, sorted."""
    return sorted(request.params["symbol"] for request in asked(exchange, "/fapi/v1/klines"))


def test_every_day_says_who_was_active_and_why_the_others_were_not(
    workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    market.add_symbol("LATEUSDT", first_day=date(2026, 2, 10))
    market.add_symbol("EARLYUSDT", first_day=date(2025, 1, 1), last_day=date(2026, 2, 5))
    market.drop_klines("LINKUSDT", truth.moment("2026-02-07"), truth.moment("2026-02-08"))
    symbols = "LINKUSDT,NOSUCHUSDT,LATEUSDT,EARLYUSDT,OMGUSDT,TSLAUSDT,BTCUSDC"
    outcome = workspace.define(symbols=symbols)
    assert outcome.code == 0, outcome

    text = (workspace.folder / "universe.json").read_text(encoding="utf-8")
    record = saved(workspace)
    assert text == json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    assert list(record) == ["schema_version", "requested_symbols", "start_date", "end_date", "daily_snapshots", "created_at"]
    assert (record["schema_version"], record["start_date"], record["end_date"]) == ("2.0", truth.FIRST, truth.LAST)
    assert record["requested_symbols"] == symbols.split(",")
    expected = []
    for day in truth.days():
        has = {"LINKUSDT": day != "2026-02-07", "LATEUSDT": day >= "2026-02-10", "EARLYUSDT": day <= "2026-02-05"}
        active = [symbol for symbol in symbols.split(",") if has.get(symbol)]
        # Unknown, SETTLING, TRADIFI_PERPETUAL and a USDC quote are outside the list; the others had no kline.
        missing = {
            symbol: REASON_EMPTY if symbol in has else REASON_UNLISTED for symbol in symbols.split(",") if symbol not in active
        }
        expected.append({"date": day, "active_symbols": active, "missing_symbols": missing})
    assert record["daily_snapshots"] == expected
    assert [list(day["missing_symbols"]) for day in record["daily_snapshots"]] == [
        list(day["missing_symbols"]) for day in expected
    ]
    assert klines_asked(exchange) == ["EARLYUSDT", "LATEUSDT", "LINKUSDT"]


def test_days_without_any_active_symbol_are_kept(workspace: Workspace, market: Market) -> None:
    market.add_symbol("LATEUSDT", first_day=date(2026, 2, 3))
    outcome = workspace.define(symbols="LATEUSDT,NOSUCHUSDT", window=THREE_DAYS)
    assert outcome.code == 0
    assert outcome.report["active_symbol_days"] == 1
    assert [day["active_symbols"] for day in saved(workspace)["daily_snapshots"]] == [[], [], ["LATEUSDT"]]


def test_only_unknown_symbols_make_a_valid_universe(workspace: Workspace, exchange: ReplayExchange) -> None:
    outcome = workspace.define(symbols="NOSUCHUSDT", window=THREE_DAYS)
    assert outcome.code == 0
    assert saved(workspace)["requested_symbols"] == ["NOSUCHUSDT"]
    assert [day["missing_symbols"] for day in saved(workspace)["daily_snapshots"]] == [{"NOSUCHUSDT": REASON_UNLISTED}] * 3
    assert [request.path for request in exchange.requests] == ["/fapi/v1/exchangeInfo"]
    assert "x-mbx-apikey" not in exchange.requests[0].headers
    assert workspace.download().code == 0, "a universe without any active day has nothing to download"


def test_stdout_is_one_report(workspace: Workspace) -> None:
    outcome = workspace.define()
    report = outcome.report
    assert outcome.stdout.count("\n") == 1
    assert set(report) >= REPORT_KEYS
    counts = {key: report[key] for key in ("requested_symbols", "daily_snapshots", "active_symbol_days", "requests", "retries")}
    requests = {"exchange_info": 1, "klines": 3}
    assert counts == {
        "requested_symbols": 3, "daily_snapshots": 28, "active_symbol_days": 84, "requests": requests, "retries": 0,
    }  # fmt: skip
    assert (report["universe_file"], report["schema_version"]) == ("universe.json", "2.0")
    assert (report["start_date"], report["end_date"]) == (truth.FIRST, truth.LAST)
    assert contents(workspace.folder).keys() == {"universe.json"}, "define leaves nothing but its output"


def test_symbols_from_files_and_flags_keep_their_order(workspace: Workspace) -> None:
    folder = workspace.folder
    (folder / "list.txt").write_bytes("\ufeff# majors\r\nlinkusdt, ethusdt\r\n\r\n  solusdt\tLINKUSDT # twice\r\n".encode())
    (folder / "more names.txt").write_text("XRPUSDT ETHUSDT\nADAUSDT,\n")
    symbols = " btcusdt ,@more names.txt,, BNBUSDT,BTCUSDT"
    outcome = workspace.define("--symbols-file", "list.txt", symbols=symbols, window=THREE_DAYS)
    assert outcome.code == 0, outcome
    expected = ["LINKUSDT", "ETHUSDT", "SOLUSDT", "BTCUSDT", "XRPUSDT", "ADAUSDT", "BNBUSDT"]
    assert saved(workspace)["requested_symbols"] == expected


def test_a_non_ascii_symbol_goes_all_the_way(workspace: Workspace, exchange: ReplayExchange, market: Market) -> None:
    name = "币安人生USDT"
    market.add_symbol(name, first_day=date(2026, 2, 2))
    assert workspace.define(symbols=f"{name},ALGOUSDT", window=THREE_DAYS).code == 0
    assert name in (workspace.folder / "universe.json").read_text(encoding="utf-8")
    assert [name in day["active_symbols"] for day in saved(workspace)["daily_snapshots"]] == [False, True, True]
    assert name in klines_asked(exchange)
    outcome = workspace.download(interval="1h")
    assert (outcome.code, outcome.report["rows"]["klines"]) == (0, 5 * 24)
    assert workspace.export(source="1h", target="1h").code == 0
    text = (workspace.folder / "exports/klines/freq=1h/date=2026-02-02/klines.csv").read_text(encoding="utf-8")
    assert sum(line.startswith(f"{name},") for line in text.splitlines()) == 24


@pytest.mark.parametrize("days", [28, 99, 365, 499, 500, 1200])
def test_as_few_and_light_requests_as_possible(workspace: Workspace, exchange: ReplayExchange, market: Market, days: int) -> None:
    last = date(2026, 1, 31)
    first = last - timedelta(days=days - 1)
    inside = first + timedelta(days=days // 3)
    market.add_symbol("AAAUSDT", first_day=date(2020, 1, 1))
    market.add_symbol("BBBUSDT", first_day=inside)
    window = ("--start-date", first.isoformat(), "--end-date", last.isoformat())
    outcome = workspace.define(symbols="AAAUSDT,BBBUSDT", window=window)
    assert outcome.code == 0, outcome
    assert outcome.report["active_symbol_days"] == days + (last - inside).days + 1
    assert len(asked(exchange, "exchangeInfo")) == 1
    requests = asked(exchange, "/fapi/v1/klines")
    pages = math.ceil(days / 499)
    lightest = sum(1 if size < 100 else 2 for size in [499] * (days // 499) + [days % 499] if size)
    for symbol in ("AAAUSDT", "BBBUSDT"):
        mine = [request for request in requests if request.params["symbol"] == symbol]
        assert len(mine) == pages
        assert sum(request.weight for request in mine) <= lightest
        assert {request.params["interval"] for request in mine} == {"1d"}


@pytest.mark.parametrize("code", [-1121, -1122])
def test_a_listed_symbol_that_is_refused_has_no_klines(workspace: Workspace, market: Market, code: int) -> None:
    market.refuse("LINKUSDT", code)  # type: ignore[arg-type]
    outcome = workspace.define(window=THREE_DAYS)
    assert outcome.code == 0
    for day in saved(workspace)["daily_snapshots"]:
        assert day["missing_symbols"] == {"LINKUSDT": REASON_EMPTY}
    warnings = [line for line in outcome.said.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "LINKUSDT" in warnings[0]


def test_an_existing_universe_stays_unless_forced(workspace: Workspace, exchange: ReplayExchange) -> None:
    path = workspace.folder / "universe.json"
    assert workspace.define("--description", "first").code == 0
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    exchange.reset_requests()
    assert_refused(workspace.define("--description", "second"), "exists", "--force")
    assert (path.read_bytes(), path.stat().st_mtime_ns, exchange.requests) == (before, stamp, [])

    exchange.faults.add(Fault.forbidden_html(path="klines", times=None))
    assert workspace.define("--force").code == 4
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, stamp), "a failed --force leaves the old file"

    exchange.faults.clear()
    assert workspace.define("--force", "--description", "zweite Fassung – 第二").code == 0
    assert saved(workspace)["description"] == "zweite Fassung – 第二"
    assert list(saved(workspace))[-1] == "description"


def test_the_same_inputs_give_the_same_bytes(workspace: Workspace) -> None:
    command = ("universe", "define", "--symbols", "LINKUSDT,NOSUCHUSDT,ALGOUSDT", *FEBRUARY, "--daily-check-workers")
    assert workspace.run(*command, "1", "--output", "a.json").code == 0
    assert workspace.run(*command, "7", "--output", "deeper/still/b.json").code == 0
    texts = []
    for name in ("a.json", "deeper/still/b.json"):
        text = (workspace.folder / name).read_text()
        texts.append(text.replace(saved(workspace, name)["created_at"], "CREATED"))
    assert texts[0] == texts[1]
    assert texts[0].count("CREATED") == 1


FAILURES = {
    "500 for ever": (Fault.server_error(500, times=None, path="klines"), 1, "-1001"),
    "403 for the list": (Fault.forbidden_html(times=None, path="exchangeInfo"), 4, "403"),
    "451 for one symbol": (Fault.restricted_451(when=lambda request: request.params.get("symbol") == "LINKUSDT"), 4, "451"),
    "-1120": (Fault.api_error(-1120, "Invalid interval.", times=None, path="klines"), 1, "-1120"),
    "a page for a login": (Fault.html(times=None, path="klines"), 1, "JSON"),
    "a ban": (Fault.banned(4_000_000_000_000, times=None, path="klines"), 4, "banned"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_nothing_is_written_on_failure(workspace: Workspace, exchange: ReplayExchange, failure: str) -> None:
    fault, code, word = FAILURES[failure]
    exchange.faults.add(fault)
    arguments = ("--symbols", ",".join(RECORDED), *THREE_DAYS, "--output", "deep/universe.json", "--max-retries", "0")
    outcome = workspace.run("universe", "define", *arguments)
    assert outcome.code == code, outcome
    assert outcome.stdout == ""
    assert sum(line.startswith("error: ") for line in outcome.stderr.splitlines()) == 1
    assert word in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert contents(workspace.folder) == {}


def test_an_error_in_passing_is_retried(workspace: Workspace, exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.server_error(503, path="klines"), Fault.reset(path="exchangeInfo"))
    outcome = workspace.define("--max-retries", "1", window=THREE_DAYS)
    assert (outcome.code, outcome.report["retries"]) == (0, 2)
    assert outcome.report["waited_seconds"] > 0


def test_the_last_day_must_be_over(tmp_path: Any) -> None:
    early = truth.moment("2026-02-28T23:59")
    with ReplayExchange(Market.recorded(), now=lambda: early) as exchange:
        workspace = Workspace(tmp_path, addresses(exchange))
        command = ("universe", "define", "--symbols", "LINKUSDT", *FEBRUARY, "--output", "universe.json")
        assert_refused(workspace.run(*command, at="2026-02-28T23:59:00+00:00"), "2026-02-28", "finished")
        assert exchange.requests == []
        # A clock that runs ahead does not help: the exchange's own counts too.
        outcome = workspace.run(*command, at="2026-03-01T00:10:00+00:00")
        assert outcome.code == 2
        assert contents(tmp_path) == {}
        exchange.now = lambda: truth.moment("2026-03-01T00:10")
        assert workspace.run(*command, at="2026-03-01T00:10:00+00:00").code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_without_a_file(
    workspace: Workspace, exchange: ReplayExchange, number: signal.Signals, code: int
) -> None:
    exchange.faults.add(Fault.slow(20.0, path="klines", times=None))
    command = ("universe", "define", "--symbols", ",".join(RECORDED), *FEBRUARY, "--output", "universe.json")
    running = workspace.start(*command)
    wait_until(lambda: asked(exchange, "klines"))
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=10)
    assert (running.returncode, stdout) == (code, "")
    assert stderr.splitlines()[-2].startswith("error: interrupted by SIG")
    assert contents(workspace.folder) == {}


@pytest.mark.slow
def test_requests_keep_their_distance(workspace: Workspace, exchange: ReplayExchange) -> None:
    assert workspace.define("--daily-check-request-delay", "0.2", window=THREE_DAYS).code == 0
    times = [request.received_at for request in exchange.requests]
    assert len(times) == 4
    assert times[-1] - times[0] > 0.4, "three times 0.2 s, less what a busy machine blurs"


@pytest.mark.slow
def test_the_budget_of_a_minute_is_kept(workspace: Workspace, exchange: ReplayExchange) -> None:
    symbols = "ALGOUSDT,AVAXUSDT,LINKUSDT,ETHUSDT,BTCUSDT"
    command = ("universe", "define", "--symbols", symbols, *THREE_DAYS, "--output", "universe.json")
    running = workspace.start(*command, "--daily-check-max-requests-per-minute", "3")
    wait_until(lambda: len(exchange.requests) == 3)
    with pytest.raises(AssertionError, match="did not happen"):
        wait_until(lambda: len(exchange.requests) > 3, seconds=1.0)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=10)
    assert running.returncode == 130


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_the_key_goes_to_the_api_alone_and_the_secret_nowhere(workspace: Workspace, exchange: ReplayExchange, how: str) -> None:
    key, secret = "key-4711-visible", "secret-0815-hidden"
    flags = ("--api-key", key, "--api-secret", secret)
    if how == "environment":
        workspace.environment.update(BINANCE_API_KEY=key, BINANCE_API_SECRET=secret)
        flags = ()
    for outcome in (workspace.define(*flags, "-v", window=THREE_DAYS), workspace.download(*flags, "-v")):
        assert outcome.code == 0, outcome
        assert key not in outcome.stderr + outcome.stdout
        assert secret not in outcome.stderr + outcome.stdout
    assert {request.host for request in exchange.requests} == {"api", "vision"}
    for request in exchange.requests:
        assert request.headers.get("x-mbx-apikey") == (key if request.host == "api" else None)
        assert secret not in f"{request.headers} {request.params}"


def test_addresses_come_from_flags_before_the_environment(workspace: Workspace, exchange: ReplayExchange) -> None:
    flags = ("--api-base-url", exchange.api_url + "/", "--vision-base-url", exchange.vision_url)
    workspace.environment.update(BINANCE_API_BASE_URL="http://127.0.0.1:9", BINANCE_VISION_BASE_URL="http://127.0.0.1:9")
    assert workspace.define(*flags, window=THREE_DAYS).code == 0
    assert workspace.download(*flags).code == 0


def test_quiet_verbose_and_json_logs(workspace: Workspace) -> None:
    assert workspace.define("-q", window=THREE_DAYS).stderr == ""
    verbose = workspace.define("--force", "--verbose", window=THREE_DAYS)
    assert "/fapi/v1/klines" in verbose.stderr
    lines = workspace.define("--force", "--log-format", "json", window=THREE_DAYS).stderr.splitlines()
    assert lines
    assert all({"level", "message"} <= json.loads(line).keys() for line in lines)
    failed = workspace.define("--log-format", "json", window=THREE_DAYS)
    assert failed.code == 2
    assert json.loads(failed.stderr)["level"] == "error"
