"""Universes by the archive's listing and by rank: contracts that have ended are in them, and every number is right."""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
import subprocess
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import metrics_truth, truth
from tests.e2e.conftest import FEBRUARY, Outcome, Workspace
from tests.e2e.steps import asked, assert_refused, contents
from tests.exchange import Fault, Market, ReplayExchange

GONE, ALIAS, CHINESE, SETTLING = "GONEUSDT", "LITUSDTSETTLED", "币安人生USDT", "ENDEDUSDT"
JANUARY = date(2026, 1, 5)
DAY = 86_400_000
WINDOW = ("--start-date", "2026-02-01", "--end-date", "2026-02-28")
BY_ARCHIVE = ("--listing", "archive")


@pytest.fixture
def market() -> Market:
    """The recorded symbols, those of other fates, and some that are no USDT perpetuals."""
    made = Market.recorded()
    settled = datetime(2026, 2, 11, 9, 0, tzinfo=timezone.utc)
    # Flat rows follow the settlement for nine days, as in the archive's file of FTMUSDT (docs/wire.md).
    made.add_symbol(GONE, JANUARY, date(2026, 2, 20), fate="removed", settled_at=settled)
    made.add_symbol(ALIAS, JANUARY, date(2026, 2, 7), fate="alias")
    made.add_symbol(CHINESE, date(2026, 2, 3))
    made.add_symbol(SETTLING, JANUARY, fate="settling", settled_at=datetime(2026, 2, 15, tzinfo=timezone.utc))
    made.add_symbol("BTCUSDT_260327", JANUARY)
    made.add_symbol("BTCUSDC", JANUARY)
    made.add_symbol("TSLAUSDT", JANUARY, contract_type="TRADIFI_PERPETUAL")
    return made


def define(
    workspace: Workspace, symbols: str, *arguments: str, window: tuple[str, ...] = WINDOW, output: str = "u.json"
) -> Outcome:
    return workspace.run("universe", "define", "--symbols", symbols, *window, "--output", output, *arguments)


def universe(workspace: Workspace, name: str = "u.json") -> dict[str, Any]:
    record = json.loads((workspace.folder / name).read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


def block_api(exchange: ReplayExchange) -> None:
    exchange.faults.add(Fault.restricted_451(host="api", times=None))


def daily(market: Market, symbol: str, day: str) -> tuple[Any, ...] | None:
    """The exchange's own daily kline."""
    start = truth.moment(day)
    rows = market.kline_rows(symbol, "1d", start, start + DAY)
    return tuple(rows[0]) if rows else None


def expected_snapshots(market: Market, symbols: list[str]) -> list[dict[str, Any]]:
    snapshots = []
    for day in truth.days():
        missing = {}
        for symbol in symbols:
            row = daily(market, symbol, day)
            if row is None:
                missing[symbol] = "no_kline_on_date"
            elif row[8] == 0:
                missing[symbol] = "no_trades_on_date"
        active = [symbol for symbol in symbols if symbol not in missing]
        snapshots.append({"date": day, "active_symbols": active, "missing_symbols": missing})
    return snapshots


def exported(folder: Path, dataset: str, freq: str | None) -> list[list[str]]:
    """All rows below the folder of a dataset, without headers, in the order of the days."""
    place = folder / dataset / (f"freq={freq}" if freq else "")
    rows: list[list[str]] = []
    for path in sorted(place.glob("date=*/*.csv")):
        with path.open(encoding="utf-8", newline="") as handle:
            rows += list(csv.reader(handle))[1:]
    return rows


def test_a_full_run_with_a_delisted_an_alias_and_a_non_ascii_symbol_where_the_api_is_blocked(
    workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    block_api(exchange)
    symbols = [GONE, "LINKUSDT", CHINESE, ALIAS]
    outcome = define(workspace, ",".join(symbols), *BY_ARCHIVE)
    assert outcome.code == 0, outcome
    made = universe(workspace)
    assert {key: made[key] for key in ("schema_version", "listing", "requested_symbols")} == {
        "schema_version": "2.1", "listing": "archive", "requested_symbols": symbols,
    }  # fmt: skip
    assert "selection" not in made
    assert made["daily_snapshots"] == expected_snapshots(market, symbols)
    counts = {symbol: sum(symbol in snapshot["active_symbols"] for snapshot in made["daily_snapshots"]) for symbol in symbols}
    assert counts == {GONE: 11, "LINKUSDT": 28, CHINESE: 26, ALIAS: 7}

    where = ("--universe-file", "u.json", "--db-path", "market.db")
    download = ("universe", "download", *where, "--interval", "5m", "--download-market-metrics")
    outcome = workspace.run(*download)
    assert outcome.code == 0, outcome
    assert outcome.report["failed"] == []
    # All is settled: nobody is asked again, today or ever.
    before = len(exchange.requests)
    again = workspace.run(*download)
    assert (again.code, again.report["already_complete"], len(exchange.requests)) == (0, 3 * 72, before)

    freqs = ("--source-freq", "5m", "--export-freq", "5m")
    outcome = workspace.run("universe", "export", *where, "--export-base-path", "out", *freqs)
    assert (outcome.code, outcome.report["summary"]["coverage_ratio"]) == (0, 1.0)
    klines, metrics, funding = [], [], []
    for day in truth.days():
        active = sorted(symbol for symbol in symbols if day in wanted_days(made, symbol))
        start = truth.moment(day)
        for symbol in active:
            for row in market.kline_rows(symbol, "5m", start, start + DAY):
                values = [*map(float, row[1:6]), float(row[7]), row[8], *map(float, row[9:11])]
                klines.append([symbol, *map(repr, (row[0], *values))])
            for at, values in sorted(market.metrics_rows(symbol, start, start + DAY).items()):
                metrics.append([symbol, str(at), *("" if value is None else repr(float(value)) for value in values)])
            for rate in market.funding_rows(symbol, start, start + DAY):
                # The archive has neither a mark price nor a rate type.
                funding.append([symbol, str(rate["fundingTime"]), repr(float(rate["fundingRate"])), "", "Regular"])
    out = workspace.folder / "out"
    assert exported(out, "klines", "5m") == klines
    assert exported(out, "metrics", "5m") == metrics
    assert exported(out, "funding_rates", None) == funding
    assert len(klines) == 72 * 288
    link = [row[1:] for row in klines if row[0] == "LINKUSDT"]
    assert link == [list(map(repr, row)) for row in truth.rows("LINKUSDT", "5m")], "the exchange replays the recording"


def wanted_days(made: dict[str, Any], symbol: str) -> set[str]:
    return {snapshot["date"] for snapshot in made["daily_snapshots"] if symbol in snapshot["active_symbols"]}


def test_the_universe_is_the_same_with_the_api_and_without(
    workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    symbols = ["LINKUSDT", GONE, SETTLING, ALIAS, "NOSUCHUSDT"]
    assert define(workspace, ",".join(symbols), *BY_ARCHIVE, output="with.json").code == 0
    assert {request.params["symbol"] for request in asked(exchange, "/fapi/v1/klines")} == {"LINKUSDT", SETTLING}
    block_api(exchange)
    assert define(workspace, ",".join(symbols), *BY_ARCHIVE, output="without.json").code == 0
    with_api, without = universe(workspace, "with.json"), universe(workspace, "without.json")
    assert with_api["daily_snapshots"] == without["daily_snapshots"]
    known = expected_snapshots(market, symbols[:-1])
    for snapshot, expected in zip(without["daily_snapshots"], known, strict=True):
        assert snapshot["active_symbols"] == expected["active_symbols"]
        assert snapshot["missing_symbols"] == {**expected["missing_symbols"], "NOSUCHUSDT": "not_in_archive"}


def test_all_symbols_of_either_listing(workspace: Workspace, exchange: ReplayExchange, market: Market) -> None:
    everyone = ["ALGOUSDT", "AVAXUSDT", SETTLING, GONE, "LINKUSDT", ALIAS, CHINESE]
    listed = workspace.run("universe", "symbols", *BY_ARCHIVE)
    assert (listed.code, listed.stdout.splitlines()) == (0, everyone)
    assert define(workspace, "all", *BY_ARCHIVE).code == 0
    made = universe(workspace)
    assert made["requested_symbols"] == everyone
    assert made["daily_snapshots"] == expected_snapshots(market, everyone)
    # The same by a pipe.
    command = workspace.command("universe", "define", "--symbols-file", "-", *BY_ARCHIVE, *WINDOW, "--output", "-")
    piped = subprocess.run(
        command, cwd=workspace.folder, env=workspace.env(), input=listed.stdout, capture_output=True, text=True, check=True
    )
    assert {**json.loads(piped.stdout), "created_at": ""} == {**made, "created_at": ""}
    # What trades now has no place for the dead: that is what survivorship bias is.
    trading = workspace.run("universe", "symbols").stdout.splitlines()
    assert len(trading) == len(set(trading)) > 500
    assert trading == sorted(trading)
    assert CHINESE in trading
    assert not {GONE, ALIAS, SETTLING, "TSLAUSDT", "BTCUSDC"} & set(trading)
    assert define(workspace, "all", window=(*WINDOW[:3], "2026-02-01"), output="now.json").code == 0
    now = universe(workspace, "now.json")
    assert (now["schema_version"], now["requested_symbols"]) == ("2.0", trading)
    assert now["daily_snapshots"][0]["active_symbols"] == ["ALGOUSDT", "AVAXUSDT", "LINKUSDT"]


RANKING = ("--top", "3", "--lookback-days", "9")


def ranked(market: Market, symbols: list[str], day: str, rebalance: str) -> set[str]:
    """The choice of a day, by SQL over the exchange's own daily klines."""
    first = {"day": "date(:day)", "week": "date(:day, 'weekday 0', '-6 days')", "month": "date(:day, 'start of month')"}[
        rebalance
    ]
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE klines (symbol, day, quote_volume, trades)")
        for on in truth.days("2026-01-05", "2026-02-28"):
            rows = [(symbol, on, float(row[7]), row[8]) for symbol in symbols if (row := daily(market, symbol, on)) is not None]
            db.executemany("INSERT INTO klines VALUES (?, ?, ?, ?)", rows)
        found = db.execute(
            f"SELECT symbol FROM klines WHERE day < {first} AND day >= date({first}, '-9 days')"
            " GROUP BY symbol HAVING sum(trades) > 0 ORDER BY sum(quote_volume) DESC, symbol LIMIT 3",
            {"day": day},
        )
        return {symbol for (symbol,) in found}


@pytest.mark.parametrize("rebalance", ["day", "week", "month"])
def test_a_ranking_is_the_one_that_sql_makes(
    workspace: Workspace, exchange: ReplayExchange, market: Market, rebalance: str
) -> None:
    outcome = define(workspace, "all", *BY_ARCHIVE, *RANKING, "--rebalance", rebalance)
    assert outcome.code == 0, outcome
    made = universe(workspace)
    assert made["selection"] == {"top": 3, "by": "quote_volume", "lookback_days": 9, "rebalance": rebalance}
    symbols = made["requested_symbols"]
    unranked = expected_snapshots(market, symbols)
    for snapshot, plain in zip(made["daily_snapshots"], unranked, strict=True):
        chosen = ranked(market, symbols, snapshot["date"], rebalance)
        missing = {symbol: plain["missing_symbols"].get(symbol) if symbol in chosen else "below_rank" for symbol in symbols}
        expected = {symbol: reason for symbol, reason in missing.items() if reason is not None}
        assert snapshot["missing_symbols"] == expected, snapshot["date"]
        assert snapshot["active_symbols"] == [symbol for symbol in symbols if symbol not in expected]
    assert len({tuple(snapshot["active_symbols"]) for snapshot in made["daily_snapshots"]}) > 1


@pytest.mark.parametrize("listing", ["exchange", "archive"])
def test_more_future_changes_no_earlier_snapshot(workspace: Workspace, listing: str) -> None:
    symbols = f"ALGOUSDT,AVAXUSDT,LINKUSDT,{CHINESE}"
    for last in ("2026-02-09", "2026-02-28"):
        window = ("--start-date", "2026-02-01", "--end-date", last)
        options = ("--listing", listing, "--top", "2", "--lookback-days", "5", "--rebalance", "week")
        assert define(workspace, symbols, *options, window=window, output=f"{last}.json").code == 0
    shorter, longer = universe(workspace, "2026-02-09.json"), universe(workspace, "2026-02-28.json")
    assert longer["daily_snapshots"][:9] == shorter["daily_snapshots"]
    assert shorter["schema_version"] == longer["schema_version"] == "2.1"


@pytest.mark.parametrize("encoding", ["ascii", "ascii:replace", "cp1252:ignore", "utf-16"])
def test_names_on_a_pipe_are_those_of_the_file_whatever_the_encoding(workspace: Workspace, encoding: str) -> None:
    """A name whose characters were replaced is another name, and `USDT` is what `ignore` leaves of this one."""
    workspace.environment["PYTHONIOENCODING"] = encoding
    listed = subprocess.run(
        workspace.command("universe", "symbols", *BY_ARCHIVE),
        cwd=workspace.folder,
        env=workspace.env(),
        capture_output=True,
        check=True,
    ).stdout
    assert listed.decode("utf-8").splitlines()[-1] == CHINESE
    command = workspace.command("universe", "define", "--symbols-file", "-", *BY_ARCHIVE, *WINDOW, "--output")
    printed, _ = (
        subprocess.run(
            [*command, output], cwd=workspace.folder, env=workspace.env(), input=listed, capture_output=True, check=True
        ).stdout
        for output in ("-", "u.json")
    )
    assert {**json.loads(printed.decode("utf-8")), "created_at": ""} == {**universe(workspace), "created_at": ""}


def test_a_kline_that_cannot_be_read_does_not_decide_a_ranking(
    workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    """By the exchange's listing such a day counts as active, but its volume is not zero: another source must say it."""
    window, options = ("--start-date", "2026-02-11", "--end-date", "2026-02-11"), ("--top", "1", "--lookback-days", "1")
    before = "2026-02-10"
    volumes = {symbol: float(row[7]) for symbol in ("LINKUSDT", "ALGOUSDT") if (row := daily(market, symbol, before))}
    leader = max(volumes, key=lambda symbol: volumes[symbol])

    def broken(body: bytes) -> bytes:
        return json.dumps(
            [[*row[:2], "nan", *row[3:]] if row[0] == truth.moment(before) else row for row in json.loads(body)]
        ).encode()

    exchange.faults.add(
        Fault.rewrite(broken, path="/klines", when=lambda request: request.params.get("symbol") == leader, times=None)
    )
    assert define(workspace, ",".join(volumes), *options, window=window).code == 0
    assert universe(workspace)["daily_snapshots"][0]["active_symbols"] == [leader]
    # Where nobody says it, nothing is written.
    market.without_objects(lambda key: f"/{leader}/1d/" in key)
    outcome = define(workspace, ",".join(volumes), *options, "-q", window=window, output="none.json")
    assert_refused(outcome, f"{leader} on {before} cannot be read", code=1)
    assert not (workspace.folder / "none.json").exists()


def test_what_is_said_of_a_refused_symbol_is_what_the_file_says(workspace: Workspace, market: Market) -> None:
    market.refuse("LINKUSDT", -1122)
    for options, reason in (((), "no_kline_on_date"), (("--top", "1"), "below_rank")):
        outcome = define(workspace, "LINKUSDT,ALGOUSDT", *options, output=f"{reason}.json")
        assert f"klines are refused (error -1122: Invalid symbol status.): counted as {reason}" in outcome.stderr
        assert universe(workspace, f"{reason}.json")["daily_snapshots"][-1]["missing_symbols"] == {"LINKUSDT": reason}


def test_a_contract_that_ended_in_mid_day_without_flat_rows_comes_to_an_end_as_well(
    workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    """Its last day has 108 of 288 bars, and the API does not know the symbol: nobody will ever have more."""
    market.add_symbol(GONE, JANUARY, date(2026, 2, 11), fate="removed")
    market.drop_klines(GONE, truth.moment("2026-02-11T09:00"), truth.moment("2026-02-12"))
    assert define(workspace, GONE, *BY_ARCHIVE).code == 0
    assert len(wanted_days(universe(workspace), GONE)) == 11
    where = ("--universe-file", "u.json", "--db-path", "market.db", "--interval", "5m")
    outcome = workspace.run("universe", "download", *where)
    assert (outcome.code, outcome.report["downloaded"], outcome.report["confirmed_gaps"]) == (0, 10, 1)
    before = len(exchange.requests)
    assert workspace.run("universe", "download", *where).code == 0
    assert len(exchange.requests) == before
    metrics_truth.assert_ledgers_agree(workspace.folder / "market.db")


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault.server_error(503, host="listing", skip=1, times=None), 1, ("HTTP 503", "--max-retries")),
        (Fault.html(host="listing", times=None), 1, ("a web page", "--listing-base-url", "BINANCE_LISTING_BASE_URL")),
        (Fault.status(404, host="listing", times=None), 1, ("HTTP 404", "--listing-base-url")),
        (Fault.reset(host="listing", skip=1, times=None), 1, ("--max-retries",)),
        (Fault.truncated(host="listing", times=None), 1, ("--max-retries",)),
        (Fault.restricted_451(host="listing", times=None), 4, ("HTTP 451", "another location")),
        (Fault.forbidden_html(host="listing", times=None), 4, ("HTTP 403",)),
        (Fault.server_error(503, host="vision", times=None), 1, ("HTTP 503",)),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_a_listing_that_was_not_read_to_its_end_makes_no_universe(
    workspace: Workspace, exchange: ReplayExchange, fault: Fault, code: int, words: tuple[str, ...]
) -> None:
    exchange.faults.add(fault)
    before = contents(workspace.folder)
    assert_refused(define(workspace, "all", *BY_ARCHIVE, "--max-retries", "0", "-q"), *words, code=code)
    assert contents(workspace.folder) == before


def test_the_hint_where_the_api_is_blocked_can_be_followed(workspace: Workspace, exchange: ReplayExchange) -> None:
    block_api(exchange)
    assert_refused(define(workspace, "LINKUSDT"), "HTTP 451", "--listing archive", code=4)
    assert_refused(workspace.run("universe", "symbols"), "HTTP 451", "--listing archive", code=4)
    assert define(workspace, "LINKUSDT", *BY_ARCHIVE).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--top", "0"), ("--top", "from 1 up")),
        (("--rebalance", "week"), ("--rebalance", "--top")),
        (("--lookback-days", "9"), ("--lookback-days", "--top")),
        (("--top", "3", "--lookback-days", "0"), ("--lookback-days", "from 1 up")),
        (("--top", "3", "--lookback-days", "99999"), ("lookback days", "3,650")),
        (("--top", "3", "--rebalance", "year"), ("--rebalance", "month")),
        (("--listing", "bucket"), ("--listing", "archive")),
        (("--symbols", "all,LINKUSDT"), ("all", "alone")),
        (("--symbols", "BTC/USDT"), ("did you mean BTCUSDT?",)),
        (("--symbols-file", "-"), ("standard input", "empty")),
        (("--listing-base-url", "ftp://bucket"), ("listing base URL",)),
    ],
)
def test_bad_input_is_one_line_and_a_hint(
    workspace: Workspace, exchange: ReplayExchange, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    before = contents(workspace.folder)
    command = workspace.command("universe", "define", "--symbols", "LINKUSDT", *WINDOW, "--output", "u.json", *arguments)
    done = subprocess.run(
        command, cwd=workspace.folder, env=workspace.env(), input="", capture_output=True, text=True, check=False
    )
    assert_refused(Outcome(done.returncode, done.stdout, done.stderr), *words)
    assert (contents(workspace.folder), exchange.requests) == (before, [])


def test_a_typing_error_does_not_pass_in_silence(workspace: Workspace) -> None:
    outcome = define(workspace, "LINK,avax-usdt,algousd,LINKUSDT,NOSUCHUSDT", window=FEBRUARY)
    assert outcome.code == 0
    for written, meant in (("LINK", "LINKUSDT"), ("AVAX-USDT", "AVAXUSDT"), ("ALGOUSD", "ALGOUSDT")):
        assert f"{written} is not listed: did you mean {meant}?" in outcome.stderr
    assert outcome.report["suggestions"] == {"LINK": "LINKUSDT", "AVAX-USDT": "AVAXUSDT", "ALGOUSD": "ALGOUSDT"}


def test_a_universe_of_typing_errors_alone_is_named_in_one_line_even_when_quiet(workspace: Workspace) -> None:
    outcome = define(workspace, "LINK", "-q", window=FEBRUARY)
    assert outcome.code == 0
    (line,) = outcome.stderr.splitlines()
    assert "no requested symbol is active on any day of 2026-02-01 to 2026-02-28" in line
    assert line.endswith("did you mean LINKUSDT?")
