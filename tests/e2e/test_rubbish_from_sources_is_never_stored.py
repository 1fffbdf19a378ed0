"""Sources that send rubbish: it is never stored, the day goes to the next source or is named, and the run goes on."""

from __future__ import annotations

import gzip
import json
import subprocess
from datetime import date, datetime
from pathlib import Path

import pytest

from tests.e2e import hostile_klines as hostile
from tests.e2e import metrics_truth, truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.hostile_responses import ERRORS, FUNDING, HEADERS, OPEN_INTEREST, TRADING_LISTS, Rewrite
from tests.e2e.hostile_server import call, raw_server, reply, run_measured
from tests.e2e.steps import addresses, assert_ledger_agrees, assert_stored, dump, klines, ledger, write_universe
from tests.exchange import Fault, Market, ReplayExchange, Request

DAYS = truth.days()
DOWNLOAD = ("universe", "download", "--universe-file", "universe.json", "--db-path", "market.db")
ONE_DAY = {"first": "2026-02-10", "last": "2026-02-10"}
MEMORY_LIMIT = 150.0


@pytest.fixture
def database(workspace: Workspace) -> Path:
    """Where workspace.download() writes."""
    return workspace.folder / "market.db"


def bad_objects(market: Market, symbol: str, cases: dict[str, tuple[bytes, str]], days: list[str]) -> dict[str, tuple[str, str]]:
    """Put one bad daily object on each day, with the checksum that matches it; name and word of the reason by day."""
    placed = {}
    for day, (name, (body, word)) in zip(days, cases.items(), strict=False):
        market.replace_object(hostile.key(symbol, day), body)
        placed[day] = (name, word)
    assert len(placed) == len(cases), "too few days for the cases"
    return placed


def spoil_all(market: Market) -> dict[tuple[str, str], tuple[str, str]]:
    """Rubbish on days of two symbols in the archive, without any monthly object."""
    market.without_objects(lambda key: "/monthly/klines/" in key)
    texts = {}
    for name, (change, word) in (hostile.WORTHLESS | hostile.ONE_ROW | hostile.ONE_MORE).items():
        day = DAYS[len(texts)]
        text = hostile.good_csv(market, "LINKUSDT", day)
        texts[name] = (hostile.packed((f"LINKUSDT-5m-{day}.csv", hostile.spoiled_csv(text, change))), word)
    zips = {}
    for number, name in enumerate(hostile.spoiled_zips("m.csv", "x\n")):
        day = DAYS[number]
        zips[name] = hostile.spoiled_zips(f"AVAXUSDT-5m-{day}.csv", hostile.good_csv(market, "AVAXUSDT", day))[name]
    placed = {("LINKUSDT", day): case for day, case in bad_objects(market, "LINKUSDT", texts, DAYS).items()}
    placed |= {("AVAXUSDT", day): case for day, case in bad_objects(market, "AVAXUSDT", zips, DAYS).items()}
    for checksum in (f"{'0' * 64}  x.zip\n".encode(), b"\n", b"<html></html>", b"\xff" * 64, b"0" * 63 + b"\n", b"x" * 100_000):
        day = DAYS[14 + len([place for place in placed if place[1] >= DAYS[14] and place[0] == "AVAXUSDT"])]
        text = hostile.good_csv(market, "AVAXUSDT", day)
        market.replace_object(hostile.key("AVAXUSDT", day), hostile.packed((f"AVAXUSDT-5m-{day}.csv", text.encode())), checksum)
        placed["AVAXUSDT", day] = (f"the checksum {checksum[:20]!r}", "answer_too_large" if len(checksum) > 9999 else "checksum")
    return placed


def test_rubbish_in_the_archive_is_never_stored(workspace: Workspace, database: Path, market: Market) -> None:
    placed = spoil_all(market)
    write_universe(workspace.folder, ["LINKUSDT", "AVAXUSDT"])
    outcome = workspace.download("--kline-source", "vision", "--max-retries", "0")
    # After a week what cannot be trusted is a gap that says so; what could not be read to its end is no answer at all.
    unheard = {place for place, (_, word) in placed.items() if word == "answer_too_large"}
    assert outcome.code == 3
    assert {(entry["symbol"], entry["date"]) for entry in outcome.report["failed"]} == unheard
    lines = ledger(database)
    stored = {symbol: klines(database, symbol) for symbol in ("LINKUSDT", "AVAXUSDT")}
    for place, (name, word) in placed.items():
        lost = 1 if name in (*hostile.ONE_ROW, "not utf-8") else 0 if name in hostile.ONE_MORE else 288
        status = "failed" if place in unheard else "confirmed_gap" if lost else "complete"
        assert (lines[place].status, lines[place].rows) == (status, 288 - lost), name
        assert word in (lines[place].reason or ""), (name, lines[place])
        good = truth.rows(place[0], "5m", place[1], place[1])
        kept = [row for row in stored[place[0]] if row[0] // truth.DAY == good[0][0] // truth.DAY]
        assert len(kept) == 288 - lost, name
        assert set(kept) <= set(good), name
    for symbol, rows in stored.items():
        whole = [row for day in DAYS if (symbol, day) not in placed for row in truth.rows(symbol, "5m", day, day)]
        assert set(whole) <= set(rows)
    assert_ledger_agrees(database)

    assert workspace.download("--retry-gaps", "--max-retries", "0").code == 0, "the API has it all"
    for symbol in ("LINKUSDT", "AVAXUSDT"):
        assert_stored(workspace, symbol)


def test_odd_but_true_objects_are_read(workspace: Workspace, market: Market, exchange: ReplayExchange) -> None:
    market.without_objects(lambda key: "/monthly/klines/" in key)
    for day, change in zip(DAYS, hostile.HARMLESS.values(), strict=False):
        text = hostile.good_csv(market, "LINKUSDT", day)
        body = hostile.packed((f"LINKUSDT-5m-{day}.csv", hostile.spoiled_csv(text, change)))
        market.replace_object(hostile.key("LINKUSDT", day), body)
    write_universe(workspace.folder, ["LINKUSDT"])
    exchange.faults.add(Fault.wrong_checksum(path="2026-02-20"))
    outcome = workspace.download("--kline-source", "vision", "--max-retries", "0")
    assert (outcome.code, outcome.report["failed"]) == (0, [])
    assert_stored(workspace, "LINKUSDT")


def test_an_empty_object_is_a_hole_only_when_another_source_agrees(workspace: Workspace, database: Path, market: Market) -> None:
    market.without_objects(lambda key: "/monthly/klines/" in key)
    for day, body in zip(DAYS, hostile.empty_zips("m.csv", "h\n"), strict=False):
        text = hostile.good_csv(market, "LINKUSDT", day)
        market.replace_object(hostile.key("LINKUSDT", day), hostile.empty_zips(f"LINKUSDT-5m-{day}.csv", text)[body])
    write_universe(workspace.folder, ["LINKUSDT"], DAYS[0], DAYS[2])
    assert workspace.download().code == 0
    assert_stored(workspace, "LINKUSDT", first=DAYS[0], last=DAYS[2])
    assert {line.source for line in ledger(database).values()} == {"rest", "daily"}


def test_a_bad_month_falls_through_to_its_days(workspace: Workspace, database: Path, market: Market) -> None:
    text = hostile.good_csv(market, "LINKUSDT", "2026-02")
    spoiled = hostile.spoiled_csv(text, hostile.field(4000, 2, "0.0000001"))
    market.replace_object(hostile.key("LINKUSDT", "2026-02"), hostile.packed(("LINKUSDT-5m-2026-02.csv", spoiled)))
    conflict = hostile.spoiled_csv(hostile.good_csv(market, "AVAXUSDT", "2026-02"), hostile.ONE_ROW["conflicting duplicates"][0])
    market.replace_object(hostile.key("AVAXUSDT", "2026-02"), hostile.packed(("AVAXUSDT-5m-2026-02.csv", conflict)))
    write_universe(workspace.folder, ["LINKUSDT", "AVAXUSDT"])
    assert workspace.download().code == 0
    daily = {place for place, line in ledger(database).items() if line.source == "daily"}
    # 4000 bars are 13 days and a part of the 14th.
    assert daily == {("LINKUSDT", "2026-02-14"), ("AVAXUSDT", "2026-02-01")}, "a bad row costs its own day alone"
    for symbol in ("LINKUSDT", "AVAXUSDT"):
        assert_stored(workspace, symbol)


# By then an object that cannot be trusted counts as heard, and one that cannot be had does not.
@pytest.mark.parametrize(("trouble", "status", "code"), [("checksum", "confirmed_gap", 0), ("500", "failed", 3)])
def test_a_month_that_cannot_be_read_can_be_had_later(
    workspace: Workspace, database: Path, market: Market, exchange: ReplayExchange, trouble: str, status: str, code: int
) -> None:
    # The API no longer knows the symbol and the day's own object is missing: all hangs on the monthly object.
    market.delist("LINKUSDT")
    market.without_objects(lambda key: "/daily/klines/LINKUSDT" in key)
    monthly = "/monthly/klines/LINKUSDT"
    fault = (
        Fault.wrong_checksum(path=monthly, times=None)
        if trouble == "checksum"
        else Fault.server_error(500, path=monthly, times=None)
    )
    exchange.faults.add(fault)
    write_universe(workspace.folder, ["LINKUSDT"], "2026-02-10", "2026-02-12")
    outcome = workspace.download("--max-retries", "0")
    assert {line.status for line in ledger(database).values()} == {status}, ledger(database)
    assert all(trouble in (line.reason or "") for line in ledger(database).values())
    assert outcome.code == code
    exchange.faults.clear()
    assert workspace.download("--retry-gaps").code == 0
    assert_stored(workspace, "LINKUSDT", first="2026-02-10", last="2026-02-12")


def strikes(symbol: str, day: str) -> dict[str, object]:
    """A fault on the klines of one day over REST, for ever."""
    start = str(truth.moment(day))

    def when(request: Request) -> bool:
        return request.params.get("symbol") == symbol and request.params.get("startTime") == start

    return {"host": "api", "path": "/fapi/v1/klines", "when": when, "times": None}


def test_rubbish_from_the_api_is_never_stored(workspace: Workspace, database: Path, exchange: ReplayExchange) -> None:
    # Every other day, so that no two days share a request.
    odd, even = DAYS[::2], DAYS[1::2]
    symbols = ["LINKUSDT", "AVAXUSDT", "ALGOUSDT"]
    places = [(symbol, day) for symbol in symbols for day in odd]
    kinds = hostile.REST_KLINES | hostile.REST_ONE_ROW
    cases = dict(zip(places, kinds, strict=False))
    assert len(cases) == len(kinds)
    for (symbol, day), name in cases.items():
        exchange.faults.add(Fault.rewrite(kinds[name], **strikes(symbol, day)))
    bad = {place: name for place, name in cases.items() if name in hostile.REST_KLINES}
    write_universe(workspace.folder, symbols, missing=dict.fromkeys(symbols, even))
    outcome = workspace.download("--kline-source", "api", "--max-retries", "0")
    assert outcome.code == 3, outcome.stderr
    failed = {(entry["symbol"], entry["date"]): entry["reason"] for entry in outcome.report["failed"]}
    assert {name for place, name in bad.items() if place not in failed} == set(), "accepted as good data"
    assert failed.keys() == bad.keys()
    assert all(reason.startswith("rest: ") for reason in failed.values())
    lines = ledger(database)
    for symbol in symbols:
        stored = klines(database, symbol)
        for day in odd:
            good = truth.rows(symbol, "5m", day, day)
            kept = [row for row in stored if row[0] // truth.DAY == good[0][0] // truth.DAY]
            name = cases.get((symbol, day), "")
            lost = 288 if name in bad.values() else 1 if name in hostile.REST_ONE_ROW else 0
            assert (len(kept), set(kept) <= set(good)) == (288 - lost, True), name
            assert ("left out" in (lines[symbol, day].reason or "")) == (lost == 1), (name, lines[symbol, day])
    assert_ledger_agrees(database)


def test_error_bodies_are_only_words(workspace: Workspace, exchange: ReplayExchange) -> None:
    odd, even = DAYS[::2], DAYS[1::2]
    for day, body in zip(odd, ERRORS.values(), strict=False):
        exchange.faults.add(Fault.status(400, body, **strikes("LINKUSDT", day)))
    write_universe(workspace.folder, ["LINKUSDT"], missing={"LINKUSDT": even})
    outcome = workspace.download("--kline-source", "api", "--max-retries", "0", "-v")
    assert outcome.code == 3, outcome.stderr[-1000:]
    assert [entry["date"] for entry in outcome.report["failed"]] == odd[: len(ERRORS)]
    assert max(len(entry["reason"]) for entry in outcome.report["failed"]) < 200
    assert "\x1b" not in outcome.stderr
    assert "warning: y" not in outcome.said.splitlines()


@pytest.mark.parametrize("far", ["no pause", "a pause beyond all calendars"])
def test_headers_that_break_clients_break_no_run(workspace: Workspace, market: Market, database: Path, far: str) -> None:
    odd, even = DAYS[::2], DAYS[1::2]
    kinds = list(HEADERS.values())
    if far != "no pause":
        kinds = [("429 Too Many Requests", ["Retry-After: Fri, 31 Dec 9999 23:59:59 -2359"])]
    by_start = {str(truth.moment(day)): kind for day, kind in zip(odd, kinds, strict=False)}

    def respond(request: bytes) -> bytes:
        status, headers = next(kind for start, kind in by_start.items() if f"startTime={start}".encode() in request)
        return reply(status, b"{}", *headers)

    bad = odd[: len(kinds)]
    market.without_objects(lambda key: "/monthly/" in key or any(key.endswith(f"{day}.zip") for day in bad))
    write_universe(workspace.folder, ["LINKUSDT"], missing={"LINKUSDT": even})
    with raw_server(respond) as server:
        outcome = workspace.download("--max-retries", "0", "--api-base-url", server.url)
    assert "unexpected" not in outcome.stderr
    assert outcome.code == (3 if far == "no pause" else 4), outcome.stderr
    assert [entry["date"] for entry in outcome.report["failed"]] == bad
    assert klines(database, "LINKUSDT") == [row for day in odd[len(kinds) :] for row in truth.rows("LINKUSDT", "5m", day, day)]


def bomb_objects(market: Market, kind: str) -> None:
    """Replace the month of 1m klines by something that is small on the wire and large in memory."""
    member = "LINKUSDT-1m-2026-02.csv"
    limit = 28 * 1440 * 512
    bodies = {
        "inflating": lambda: hostile.packed((member, b"0" * 200_000_000)),
        "numbers": lambda: hostile.packed((member, b"0.5," * (limit // 4 - 1) + b"0.5\n")),
        "lines": lambda: hostile.packed((member, b"\n" * limit)),
        "members": lambda: hostile.packed(*((f"{number:05d}", b"") for number in range(20_000))),
    }
    market.replace_object(hostile.key("LINKUSDT", "2026-02", "1m"), bodies[kind]())


@pytest.mark.parametrize("kind", ["inflating", "numbers", "lines", "members"])
def test_a_bomb_in_the_archive_costs_little_memory(workspace: Workspace, market: Market, kind: str) -> None:
    bomb_objects(market, kind)
    write_universe(workspace.folder, ["LINKUSDT"], "2026-02-10", "2026-02-11")
    outcome, peak = run_measured(workspace, *DOWNLOAD, "--interval", "1m", "--max-retries", "0")
    assert outcome.code == 0, outcome.stderr
    assert_stored(workspace, "LINKUSDT", "1m", first="2026-02-10", last="2026-02-11")
    assert peak < MEMORY_LIMIT


BOMBS = {
    "a packed response": reply("200 OK", gzip.compress(b"[" + b" " * 300_000_000), "Content-Encoding: gzip"),
    "empty lists": reply("200 OK", gzip.compress(b"[" + b"[]," * 5_000_000 + b"[]]"), "Content-Encoding: gzip"),
    "a redirect with a body": reply("302 Found", b"x" * 200_000_000, "Location: http://127.0.0.1:1/"),
    "an error with a body": reply("500 Internal Server Error", b"x" * 200_000_000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_from_the_api_costs_little_memory(workspace: Workspace, market: Market, kind: str) -> None:
    market.without_objects(lambda key: True)
    write_universe(workspace.folder, ["LINKUSDT"], **ONE_DAY)
    with raw_server(BOMBS[kind]) as server:
        flags = ("--interval", "1h", "--max-retries", "0", "--api-base-url", server.url)
        outcome, peak = run_measured(workspace, *DOWNLOAD, *flags)
    assert outcome.code == 3, outcome.stderr
    assert peak < MEMORY_LIMIT


REFETCH = ("--download-market-metrics", "--no-incremental", "--max-retries", "0")
BROKEN = {
    "500": Fault.server_error(500, times=None),
    "rubbish": Fault.replace(b"\x00rubbish", times=None),
    "checksum": Fault.wrong_checksum(times=None),
    "nothing": Fault.replace(b"[]", times=None),
    "resets": Fault.reset(times=None),
    "403": Fault.forbidden_html(times=None),
}


def test_a_refetch_from_a_broken_source_loses_nothing(
    workspace: Workspace, database: Path, market: Market, exchange: ReplayExchange
) -> None:
    write_universe(workspace.folder, ["LINKUSDT", "BTCUSDT"], "2026-02-10", "2026-02-11", missing={"BTCUSDT": ["2026-02-11"]})
    assert workspace.download("--download-market-metrics", "--max-retries", "0", interval="1h").code in (0, 3)
    before = dump(database)
    urls = dict(workspace.environment)
    for trouble in ("refused", *BROKEN, "less"):
        exchange.faults.clear()
        workspace.environment.update(urls)
        if trouble == "refused":
            workspace.environment.update(dict.fromkeys(urls, "http://127.0.0.1:1"))
        elif trouble == "less":
            hole = (truth.moment("2026-02-10T04:00"), truth.moment("2026-02-10T06:00"))
            market.drop_klines("LINKUSDT", *hole)
            market.drop_metrics("LINKUSDT", *hole)
        else:
            exchange.faults.add(BROKEN[trouble])
        # Wrong checksums leave the API, which has the klines.
        only = ("--kline-source", "vision") if trouble == "checksum" else ()
        outcome = workspace.download(*REFETCH, *only, interval="1h")
        after = dump(database)
        assert after[:3] == before[:3], f"rows were lost: {trouble}"
        statuses = [[(*line[:5], line[6]) for line in tables[3]] for tables in (before, after)]
        assert statuses[0] == statuses[1], f"the ledger took a step back: {trouble}"
        if trouble == "less":
            assert (outcome.code, outcome.report["failed"]) == (0, []), "all sources answered, and what is stored is whole"
            continue
        assert outcome.code == (4 if trouble == "403" else 3), (trouble, outcome)
        failed = {(entry["dataset"], entry["symbol"], entry["date"]) for entry in outcome.report["failed"]}
        assert ("klines", "LINKUSDT", "2026-02-10") in failed, trouble


DEFINE = ("universe", "define", "--symbols", "LINKUSDT", "--start-date", "2026-02-10", "--end-date", "2026-02-10")


@pytest.mark.parametrize("name", TRADING_LISTS)
def test_rubbish_for_a_trading_list_makes_no_universe(workspace: Workspace, exchange: ReplayExchange, name: str) -> None:
    exchange.faults.add(Fault.replace(TRADING_LISTS[name], path="exchangeInfo", times=None))
    outcome = call(workspace, *DEFINE, "--output", "universe.json", "--max-retries", "0")
    assert outcome.code == 1, outcome
    assert not (workspace.folder / "universe.json").exists()
    assert outcome.stdout == ""
    assert outcome.stderr.count("error: ") == 1
    assert "unexpected" not in outcome.stderr


@pytest.mark.parametrize("limit", ["-5", "0", "1", "1e999", "true", '"x"', "9" * 400], ids=range(7))
def test_odd_limits_in_a_trading_list_stop_nothing(workspace: Workspace, exchange: ReplayExchange, limit: str) -> None:
    def rewrite(body: bytes) -> bytes:
        return body.replace(b'"intervalNum":1,"limit":2400', b'"intervalNum":1,"limit":' + limit.encode())

    exchange.faults.add(Fault.rewrite(rewrite, path="exchangeInfo", times=None))
    outcome = call(workspace, *DEFINE, "--output", "universe.json", "--max-retries", "0")
    assert outcome.code == 0, outcome.stderr


NOON = "2026-02-12T12:00:00+00:00"
DAY = "2026-02-10"
# What spoils one point of open interest alone, and which.
# Which rate of the day is lost. The others are stored, and the day waits for the archive.
BAD_RATES = {
    "nan": 1, "infinity by size": 1, "a huge rate": 1, "true": 1, "null": 1, "words": 1,
    "two numbers": 1, "a negative price": 1, "seconds": 1, "microseconds": 1, "half a millisecond": 1,
    "an endless time": 1, "a type with a comma": 1, "a type that is a formula": 1, "a type that is a number": 1, "a long type": 1,
    }  # fmt: skip
BAD_POINTS = {
    "nan": 1, "infinity by size": 1, "negative": 1, "huge": 1, "true": 1, "two numbers in one field": 1,
    "a comma for a point": 1, "a list in a text": 1, "off the grid": 1, "seconds": 1, "conflicting rows": 0,
}  # fmt: skip


def is_for_all_symbols(request: Request) -> bool:
    return request.path == "/fapi/v1/fundingRate" and "symbol" not in request.params


def spoiled_by_symbol(tmp_path: Path, kinds: dict[str, Rewrite], path: str) -> tuple[Market, dict[str, str], Outcome]:
    """A day without archive objects, of as many symbols as there are kinds of rubbish, and a good one; the kind of each."""
    market = Market.recorded()
    market.without_objects(lambda key: "/metrics/" in key or "/fundingRate/" in key)
    symbols = {f"BAD{number}USDT": name for number, name in enumerate(kinds)}
    for symbol in (*symbols, "GOODUSDT"):
        market.add_symbol(symbol, first_day=date(2026, 2, 1))
    with ReplayExchange(market, now=lambda: datetime.fromisoformat(NOON)) as exchange:
        # So many symbols would be asked for their funding at once.
        exchange.faults.add(Fault.server_error(when=is_for_all_symbols, times=None))
        for symbol, name in symbols.items():
            where = {"when": lambda request, symbol=symbol: request.params.get("symbol") == symbol}
            exchange.faults.add(Fault.rewrite(kinds[name], host="api", path=path, times=None, **where))
        workspace = Workspace(tmp_path, addresses(exchange))
        write_universe(tmp_path, [*symbols, "GOODUSDT"], **ONE_DAY)
        outcome = workspace.download("--download-market-metrics", "--max-retries", "0", interval="1d", at=NOON)
    assert outcome.code == 3, outcome.stderr
    return market, symbols, outcome


def test_rubbish_in_funding_is_never_stored(tmp_path: Path) -> None:
    market, symbols, outcome = spoiled_by_symbol(tmp_path, FUNDING, "/fapi/v1/fundingRate")
    database = tmp_path / "market.db"
    failed = {entry["symbol"]: entry["reason"] for entry in outcome.report["failed"] if entry["dataset"] == "funding_rates"}
    assert [name for symbol, name in symbols.items() if symbol not in failed] == [], "accepted as good data"
    assert failed.keys() == symbols.keys()
    assert all(failed.values())
    assert BAD_RATES.keys() < set(symbols.values())
    for symbol in (*symbols, "GOODUSDT"):
        rows = metrics_truth.funding(market, symbol, DAY, DAY)
        name = symbols.get(symbol, "")
        if name in BAD_RATES:
            del rows[BAD_RATES[name]]
        elif name:
            rows = []
        assert metrics_truth.stored_funding(database, symbol) == rows, name
    metrics_truth.assert_ledgers_agree(database)


def test_rubbish_among_the_funding_of_all_symbols_is_never_stored(tmp_path: Path) -> None:
    """It costs the rates of its own symbols alone, and those wait for the archive."""
    market = Market()
    market.without_objects(lambda key: "/fundingRate/" in key)
    symbols = {f"BAD{number:02}USDT": name for number, name in enumerate(BAD_RATES)}
    good = [f"GOOD{number:03}USDT" for number in range(350)]
    for symbol in (*symbols, *good):
        market.add_symbol(symbol, first_day=date(2026, 2, 1))

    def spoil(body: bytes) -> bytes:
        """The rewritten entries of each bad symbol in the places of the real ones; as text, since some are no JSON."""
        entries = json.loads(body)
        texts = list(map(json.dumps, entries))
        for symbol, name in symbols.items():
            places = [place for place, entry in enumerate(entries) if entry["symbol"] == symbol]
            if len(places) < 2:
                # The second page begins with the last moment of the first, which is not spoiled.
                continue
            rewritten = FUNDING[name](json.dumps([entries[place] for place in places]).encode()).decode()
            for place, text in zip(places, rewritten[2:-2].split("}, {"), strict=True):
                texts[place] = f"{{{text}}}"
        return f"[{','.join(texts)}]".encode()

    with ReplayExchange(market, now=lambda: datetime.fromisoformat(NOON)) as exchange:
        exchange.faults.add(Fault.rewrite(spoil, when=is_for_all_symbols, times=None))
        workspace = Workspace(tmp_path, addresses(exchange))
        write_universe(tmp_path, [*symbols, *good[:3]], **ONE_DAY)
        outcome = workspace.download("--download-market-metrics", "--max-retries", "0", interval="5m", at=NOON)
        asked = [request.params.get("symbol") for request in exchange.requests if request.path == "/fapi/v1/fundingRate"]
    assert (outcome.code, asked) == (3, [None, None]), outcome.stderr
    failed = [(entry["dataset"], entry["symbol"]) for entry in outcome.report["failed"]]
    assert failed == [("funding_rates", symbol) for symbol in symbols]
    for symbol in (*symbols, *good[:3]):
        rows = metrics_truth.funding(market, symbol, DAY, DAY)
        if symbol in symbols:
            del rows[BAD_RATES[symbols[symbol]]]
        assert metrics_truth.stored_funding(tmp_path / "market.db", symbol) == rows, symbols.get(symbol)
    metrics_truth.assert_ledgers_agree(tmp_path / "market.db")


def test_rubbish_in_metrics_is_never_stored(tmp_path: Path) -> None:
    """One bad point is a blank that the archive may yet fill; an answer that cannot be read brings nothing."""
    market, symbols, outcome = spoiled_by_symbol(tmp_path, OPEN_INTEREST, "openInterestHist")
    database = tmp_path / "market.db"
    failed = {entry["symbol"]: entry["reason"] for entry in outcome.report["failed"] if entry["dataset"] == "metrics"}
    assert [name for symbol, name in symbols.items() if symbol not in failed] == [], "accepted as good data"
    assert failed.keys() == symbols.keys()
    assert all(failed.values())
    assert BAD_POINTS.keys() < set(symbols.values())
    for symbol in (*symbols, "GOODUSDT"):
        rows = metrics_truth.metrics(market, symbol, DAY, DAY)
        blank = BAD_POINTS.get(symbols.get(symbol, ""))
        if blank is not None:
            at, *values = rows[blank]
            rows[blank] = (at, None, None, *values[2:])
        elif symbol in symbols:
            rows = []
        assert metrics_truth.stored_metrics(database, symbol) == rows, symbols.get(symbol)
    metrics_truth.assert_ledgers_agree(database)


def test_the_same_page_for_ever_ends_somewhere(workspace: Workspace, exchange: ReplayExchange) -> None:
    start = truth.moment("2026-02-10")
    page = [{"symbol": "LINKUSDT", "fundingTime": start + i, "fundingRate": "0.1", "markPrice": "1"} for i in range(1000)]
    exchange.faults.add(Fault.replace(json.dumps(page).encode(), path="fundingRate", times=None))
    write_universe(workspace.folder, ["LINKUSDT"], **ONE_DAY)
    running = workspace.start(*DOWNLOAD, "--interval", "1d", "--download-market-metrics", "--max-retries", "0")
    try:
        running.communicate(timeout=4)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
    assert len([request for request in exchange.requests if "fundingRate" in request.path]) < 10
    assert running.returncode == 3
