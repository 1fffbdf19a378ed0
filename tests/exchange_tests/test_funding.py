"""Funding rates over REST: by symbol, and of all symbols at once."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest

from tests.exchange import Market, ReplayExchange

from .client import DAY, FEBRUARY, Client

PATH = "/fapi/v1/fundingRate"
HOUR = 3_600_000
NOW = datetime(2026, 2, 11, tzinfo=timezone.utc)
NOW_MS = int(NOW.timestamp() * 1000)
SYMBOLS = {"CCCUSDT": 8, "AAAUSDT": 8, "HOURLYUSDT": 1, "BBBUSDT": 4}
Row = dict[str, Any]


@pytest.fixture
def market() -> Market:
    """Four symbols whose funding intervals differ."""
    market = Market()
    for symbol, hours in SYMBOLS.items():
        market.add_symbol(symbol, date(2026, 2, 1), funding_hours=hours)
    return market


@pytest.fixture
def exchange(market: Market) -> Any:
    with ReplayExchange(market, now=lambda: NOW) as running:
        yield running


def rows(client: Client, **params: Any) -> list[Row]:
    response = client.api(PATH, **params)
    assert response.status == 200
    found: list[Row] = response.json
    return found


def keys(found: list[Row]) -> list[tuple[int, str]]:
    return [(row["fundingTime"], row["symbol"]) for row in found]


def truth(market: Market, first: int, last: int) -> list[Row]:
    """The rows of each symbol from first to last (ms, both inclusive), put in order."""
    found = [row for symbol in SYMBOLS for row in market.funding_rows(symbol, first, last + 1)]
    return sorted(found, key=lambda row: (row["fundingTime"], row["symbol"]))


@pytest.mark.parametrize(("symbol", "hours"), SYMBOLS.items())
def test_a_symbol_is_paid_in_its_interval(client: Client, symbol: str, hours: int) -> None:
    found = rows(client, symbol=symbol, startTime=FEBRUARY, endTime=FEBRUARY + 2 * DAY - 1, limit=1000)
    assert [round((row["fundingTime"] - FEBRUARY) / HOUR) for row in found] == list(range(0, 48, hours))


def test_without_a_symbol_all_come_in_the_order_of_time_and_symbol(market: Market, client: Client) -> None:
    found = rows(client, startTime=FEBRUARY, endTime=FEBRUARY + DAY - 1, limit=1000)
    assert found == truth(market, FEBRUARY, FEBRUARY + DAY - 1)
    assert keys(found) == sorted(keys(found))
    assert len(found) == 3 + 3 + 24 + 6
    first = [row for row in found if row["fundingTime"] < FEBRUARY + HOUR]
    assert [row["symbol"] for row in first] == ["AAAUSDT", "BBBUSDT", "CCCUSDT", "HOURLYUSDT"]
    assert len({row["fundingTime"] for row in first}) == 1, "all rows of one moment have the same milliseconds"


def test_both_bounds_are_inclusive_and_the_oldest_rows_come_first(market: Market, client: Client) -> None:
    day = truth(market, FEBRUARY, FEBRUARY + DAY - 1)
    moments = sorted({row["fundingTime"] for row in day})
    between = [row for row in day if moments[2] <= row["fundingTime"] <= moments[8]]
    assert rows(client, startTime=moments[2], endTime=moments[8], limit=1000) == between
    assert rows(client, startTime=moments[2], endTime=moments[8], limit=5) == between[:5]
    # A page may end within a moment; the next one begins with that moment again.
    page = rows(client, startTime=FEBRUARY, limit=6)
    following = rows(client, startTime=page[-1]["fundingTime"], limit=6)
    assert following[0]["fundingTime"] == page[-1]["fundingTime"]
    assert [*page, *(row for row in following if row not in page)] == day[:11]


def test_without_times_the_newest_come(market: Market, client: Client) -> None:
    known = truth(market, FEBRUARY, NOW_MS)
    assert len(known) > 200
    assert rows(client) == known[-200:]
    assert rows(client, limit=7) == known[-7:]
    end = FEBRUARY + 5 * DAY
    until = [row for row in known if row["fundingTime"] <= end]
    assert rows(client, endTime=end) == until[-100:]
    assert rows(client, startTime=FEBRUARY) == known[:100]
    assert rows(client, startTime=NOW_MS + 1, endTime=NOW_MS + DAY) == []


def test_a_removed_symbol_is_not_among_them(market: Market, client: Client) -> None:
    market.delist("BBBUSDT")
    market.refuse("CCCUSDT", -1122)
    market.add_symbol("GONEUSDT", date(2026, 1, 1), fate="removed")
    found = rows(client, startTime=FEBRUARY, limit=1000)
    assert {row["symbol"] for row in found} == {"AAAUSDT", "HOURLYUSDT"}
    assert client.api(PATH, symbol="BBBUSDT", startTime=FEBRUARY).json["code"] == -1121


def test_added_rows_and_settlements_are_seen_at_once(market: Market, client: Client) -> None:
    before = rows(client, startTime=FEBRUARY, endTime=FEBRUARY + DAY - 1, limit=1000)
    special = {"fundingTime": before[0]["fundingTime"], "fundingRate": "0.5", "markPrice": "1", "rateType": "Special"}
    market.add_funding("CCCUSDT", [special])
    after = rows(client, startTime=FEBRUARY, endTime=FEBRUARY + DAY - 1, limit=1000)
    assert [row for row in after if row not in before] == [{"symbol": "CCCUSDT", **special}]
    assert keys(after) == sorted(keys(after))
    market.settle("AAAUSDT", datetime(2026, 2, 1, 4, tzinfo=timezone.utc))
    settled = rows(client, startTime=FEBRUARY, endTime=FEBRUARY + DAY - 1, limit=1000)
    assert [row["symbol"] for row in settled].count("AAAUSDT") == 1


def test_recorded_rows_of_one_moment_stand_together() -> None:
    with ReplayExchange(now=lambda: datetime(2026, 3, 10, tzinfo=timezone.utc)) as exchange:
        found = rows(Client(exchange), startTime=FEBRUARY, limit=8)
    assert keys(found) == sorted(keys(found))
    assert {"ALGOUSDT", "AVAXUSDT", "LINKUSDT"} <= {row["symbol"] for row in found}


def test_wrong_parameters_and_the_budget_are_those_of_the_endpoint(exchange: ReplayExchange, client: Client) -> None:
    assert client.api(PATH, limit=1001).json["code"] == "000002"
    assert client.api(PATH, startTime=2, endTime=1).json["code"] == -1023
    assert client.api(PATH, symbol="").json["code"] == -1102
    response = client.api(PATH)
    assert (response.status, [name for name in response.headers if name.startswith("x-mbx")]) == (200, [])
    exchange.limits.set(funding=1)
    assert client.api(PATH).status == 429
