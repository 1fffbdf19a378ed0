"""A download that looks its files up in the bucket listing stores what one without a listing stores, for fewer requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import addresses, query, write_universe
from tests.exchange import Fault, Market, ReplayExchange

NOON = "2026-03-10T12:00:00+00:00"
SYMBOLS = ("AAAUSDT", "BBBUSDT", "龙虾USDT")
FIRST, LAST = "2026-02-10", "2026-02-20"
DAYS = 11
METRICS = "data/futures/um/daily/metrics"
# Metrics of eleven days, the klines of their month, and the three files that are verified both ways.
OBJECTS = len(SYMBOLS) * (DAYS + 1)
CHECKSUMS = 3 + len(SYMBOLS)
# All that a run stores, but for the moments of the run itself.
STORED = (
    "SELECT * FROM klines ORDER BY symbol, freq, open_time",
    "SELECT * FROM metrics ORDER BY symbol, open_time",
    "SELECT * FROM funding_rates ORDER BY symbol, funding_time",
    "SELECT s.dataset, s.symbol, s.freq, l.day, l.status, l.reason, l.rows, l.expected_rows, l.source, hex(l.row_marks), o.name, "
    "o.sha256 "
    "FROM ledger l JOIN series s ON s.id = l.series_id LEFT JOIN source_objects o ON o.id = l.object_id ORDER BY 1, 2, 3, 4",
    "SELECT name, sha256, last_modified, etag, size FROM source_objects ORDER BY name, sha256",
)


@pytest.fixture
def market() -> Market:
    made = Market()
    made.metrics_convention = "start"
    for symbol in SYMBOLS:
        made.add_symbol(symbol, date(2025, 12, 1))
    return made


@pytest.fixture
def exchange(market: Market) -> Iterator[ReplayExchange]:
    with ReplayExchange(market, now=lambda: datetime.fromisoformat(NOON)) as running:
        yield running


def key(symbol: str, day: int) -> str:
    return f"{METRICS}/{symbol}/{symbol}-metrics-2026-02-{day}.zip"


def download(folder: Path, exchange: ReplayExchange, *, listing: str | None = None) -> Outcome:
    """All datasets of the universe into an empty folder; without `listing` as from a copy of the archive that nobody lists."""
    folder.mkdir()
    environment = addresses(exchange)
    if listing is None:
        del environment["BINANCE_LISTING_BASE_URL"]
    else:
        environment["BINANCE_LISTING_BASE_URL"] = listing
    write_universe(folder, SYMBOLS, FIRST, LAST)
    return Workspace(folder, environment).download("--download-market-metrics", interval="1h", at=NOON)


def stored(folder: Path) -> list[list[tuple[Any, ...]]]:
    found = [query(folder / "market.db", sql) for sql in STORED]
    assert all(found)
    return found


DISTRUSTED = key(SYMBOLS[1], 15)


def nothing(_: Market) -> None:
    """The archive as it should be."""


def without_newline(market: Market) -> None:
    market.checksums_without_newline(lambda key: key.endswith(("1.zip", "3.zip", "4.zip")))


def in_parts(market: Market) -> None:
    market.upload_in_parts({f"{key(SYMBOLS[0], day)}.CHECKSUM" for day in (14, 15)})


def hidden(market: Market) -> None:
    market.hide_from_listing({f"{key(SYMBOLS[1], day)}.CHECKSUM" for day in (10, 20)})


def behind(market: Market) -> None:
    market.listed_until = date(2026, 2, 18)


def absent(market: Market) -> None:
    market.without_objects({key(SYMBOLS[2], day) for day in (12, 20)})


def wrong(market: Market) -> None:
    """Other bytes than those that the CHECKSUM is of."""
    market.replace_object(DISTRUSTED, b"PK\x03\x04", f"{'0' * 64}  {DISTRUSTED.rsplit('/', 1)[-1]}\n".encode())


@pytest.mark.parametrize(
    ("arrange", "more"),
    [(nothing, 0), (without_newline, 0), (in_parts, 2), (hidden, 2), (behind, 6), (absent, 0), (wrong, 2)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_same_is_stored_with_a_listing_and_without(
    market: Market, exchange: ReplayExchange, tmp_path: Path, arrange: Callable[[Market], None], more: int
) -> None:
    arrange(market)
    plain = download(tmp_path / "plain", exchange)
    assert not [request for request in exchange.requests if request.host == "listing"]
    listed = download(tmp_path / "listed", exchange, listing=exchange.listing_url)
    assert (plain.code, listed.code) == (0, 0), plain.stderr + listed.stderr
    assert stored(tmp_path / "listed") == stored(tmp_path / "plain")
    report = listed.report
    assert report["requests"]["archive_checksum"] == CHECKSUMS + more
    assert report["requests"]["archive_listing"] == len(SYMBOLS)
    unlisted = {"in_parts": 2, "hidden": 2, "behind": 6, "absent": 2, "wrong": 1}.get(arrange.__name__, 0)
    assert report["checksums_by_listing"] == OBJECTS - CHECKSUMS - unlisted
    assert plain.report["checksums_by_listing"] == 0
    if arrange is nothing:
        assert plain.report["requests"]["archive_checksum"] == OBJECTS
    names = {row[0] for row in stored(tmp_path / "listed")[-1]}
    assert len(names) == OBJECTS - 2 * (arrange is absent) - (arrange is wrong)
    assert (DISTRUSTED in names) == (arrange is not wrong)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.server_error(503, host="listing", times=None),
        Fault.too_many(60, host="listing", times=None),
        Fault.banned_for(3600, host="listing", times=None),
        Fault.restricted_451(host="listing", times=None),
        Fault.forbidden_html(host="listing", times=None),
        Fault.html(host="listing", times=None),
        Fault.reset(host="listing", times=None),
    ],
    ids=lambda fault: fault.name,
)
def test_a_listing_that_fails_costs_a_line_and_nothing_else(exchange: ReplayExchange, tmp_path: Path, fault: Fault) -> None:
    exchange.faults.add(fault)
    outcome = download(tmp_path / "run", exchange, listing=exchange.listing_url)
    assert outcome.code == 0, outcome.stderr
    # Eight workers may have asked for the pages of as many symbols before the first answer came.
    assert 1 <= outcome.report["requests"]["archive_listing"] <= len(SYMBOLS)
    assert outcome.report["requests"]["archive_checksum"] == OBJECTS
    assert (outcome.report["checksums_by_listing"], outcome.report["retries"], outcome.report["waited_seconds"]) == (0, 0, 0.0)
    assert outcome.stderr.count("the bucket listing verifies nothing more in this run") == 1


def test_a_listing_that_disagrees_with_a_checksum_is_not_used(exchange: ReplayExchange, tmp_path: Path) -> None:
    """The CHECKSUM is right and the listing shows the ETag of another one."""

    def forge(body: bytes) -> bytes:
        head, *entries = body.split(b"&quot;")
        return b"&quot;".join([head, *(b"0" * 32 if len(part) == 32 else part for part in entries)])

    exchange.faults.add(Fault.rewrite(forge, host="listing", times=None))
    outcome = download(tmp_path / "run", exchange, listing=exchange.listing_url)
    assert outcome.code == 0, outcome.stderr
    assert outcome.report["requests"]["archive_checksum"] == OBJECTS
    assert outcome.report["checksums_by_listing"] == 0
    (line,) = [line for line in outcome.stderr.splitlines() if "the bucket listing" in line]
    assert "disagree" in line


def test_the_log_names_it_for_programs(exchange: ReplayExchange, tmp_path: Path) -> None:
    exchange.faults.add(Fault.server_error(host="listing", times=None))
    workspace = Workspace(tmp_path, addresses(exchange))
    write_universe(tmp_path, SYMBOLS[:1], FIRST, LAST)
    outcome = workspace.download("--download-market-metrics", "--log-format", "json", interval="1h", at=NOON)
    events = [json.loads(line) for line in outcome.stderr.splitlines()]
    (event,) = [event for event in events if event.get("event") == "listing_not_used"]
    assert "503" in event["reason"]
