"""GET /fapi/v1/klines: bounds, weights, derived bars, the forming bar, holes."""

from __future__ import annotations

import gzip
import json
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from tests.exchange import Limits, Market, ReplayExchange

from .client import DAY, FEBRUARY, MINUTE, Client, kline_key

WIDTHS = {"3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720, "1d": 1440}


@pytest.mark.parametrize(
    ("limit", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10), (None, 5)]
)
def test_weight_follows_the_limit_asked_for(client: Client, exchange: ReplayExchange, limit: int | None, weight: int) -> None:
    asked: dict[str, Any] = {} if limit is None else {"limit": limit}
    response = client.klines(startTime=FEBRUARY, **asked)
    assert response.headers["x-mbx-used-weight-1m"] == str(weight)
    assert exchange.requests[-1].weight == weight
    assert len(response.json) == (limit or 500)
    client.klines(limit=5)
    assert exchange.requests[-1].status == 200
    assert client.klines(limit=1).headers["x-mbx-used-weight-1m"] == str(weight + 2)


def test_both_bounds_include_the_open_time(client: Client) -> None:
    rows = client.klines(startTime=FEBRUARY + MINUTE, endTime=FEBRUARY + 3 * MINUTE).json
    assert [row[0] for row in rows] == [FEBRUARY + MINUTE * i for i in (1, 2, 3)]
    rows = client.klines(startTime=FEBRUARY + 1, endTime=FEBRUARY + 3 * MINUTE - 1).json
    assert [row[0] for row in rows] == [FEBRUARY + MINUTE * i for i in (1, 2)]


def test_a_row_is_the_recorded_one(client: Client) -> None:
    row = client.klines(startTime=FEBRUARY, limit=1).json[0]
    assert row == [
        1769904000000, "0.1038", "0.1040", "0.1037", "0.1040", "242160.4", 1769904059999, "25142.90126", 102,
        "126196.5", "13109.51126", "0",
    ]  # fmt: skip


def test_oldest_first_from_a_start_and_newest_without_one(client: Client) -> None:
    end_of_data = FEBRUARY + 28 * DAY
    assert client.klines(startTime=0, limit=2).json[0][0] == FEBRUARY
    assert [row[0] for row in client.klines(limit=2).json] == [end_of_data - 2 * MINUTE, end_of_data - MINUTE]
    assert [row[0] for row in client.klines(endTime=FEBRUARY + 5 * MINUTE, limit=2).json] == [
        FEBRUARY + 4 * MINUTE,
        FEBRUARY + 5 * MINUTE,
    ]
    assert client.klines(startTime=end_of_data).json == []
    assert client.klines(symbol="BTCUSDT", interval="1d").json == []


@pytest.mark.parametrize("interval", sorted(WIDTHS))
def test_coarser_bars_are_exact_sums_of_the_recorded_minutes(client: Client, interval: str) -> None:
    lines = client.csv(kline_key("ALGOUSDT", "1m", "2026-02")).splitlines()[1:]
    minutes = [line.split(",") for line in lines[: 3 * 1440]]
    width = WIDTHS[interval]
    rows = client.klines(interval=interval, startTime=FEBRUARY, endTime=FEBRUARY + 3 * DAY - 1, limit=1500).json
    assert len(rows) == min(1500, 3 * 1440 // width)
    for number, row in enumerate(rows):
        part = minutes[number * width : (number + 1) * width]

        def column(index: int, part: list[list[str]] = part) -> list[Decimal]:
            return [Decimal(fields[index]) for fields in part]

        assert row[0] == int(part[0][0])
        assert row[6] == int(part[-1][6])
        assert Decimal(row[1]) == column(1)[0]
        assert Decimal(row[2]) == max(column(2))
        assert Decimal(row[3]) == min(column(3))
        assert Decimal(row[4]) == column(4)[-1]
        assert [Decimal(row[i]) for i in (5, 7, 8, 9, 10)] == [sum(column(i)) for i in (5, 7, 8, 9, 10)]


@pytest.mark.parametrize("interval", ["5m", "4h", "1d"])
def test_synthetic_bars_are_exact_sums_of_their_minutes(interval: str) -> None:
    market = Market.recorded()
    market.add_symbol("AAAUSDT", first_day=date(2024, 1, 1))
    start = int(datetime(2024, 5, 1, tzinfo=timezone.utc).timestamp() * 1000)
    fine = market.kline_rows("AAAUSDT", "1m", start, start + 2 * DAY)
    coarse = market.kline_rows("AAAUSDT", interval, start, start + 2 * DAY)
    width = WIDTHS[interval]
    assert len(coarse) * width == len(fine) == 2880
    for number, bar in enumerate(coarse):
        part = fine[number * width : (number + 1) * width]
        assert (bar[0], bar[1], bar[4]) == (part[0][0], part[0][1], part[-1][4])
        assert Decimal(bar[2]) == max(Decimal(row[2]) for row in part)
        assert Decimal(bar[3]) == min(Decimal(row[3]) for row in part)
        for i in (5, 7, 8, 9, 10):
            assert Decimal(bar[i]) == sum(Decimal(row[i]) for row in part)


def test_synthetic_bars_are_plausible_and_differ_between_symbols_and_days() -> None:
    market = Market.recorded()
    market.add_symbol("AAAUSDT", first_day=date(2024, 1, 1))
    market.add_symbol("AABUSDT", first_day=date(2024, 1, 1))
    start = int(datetime(2024, 5, 1, tzinfo=timezone.utc).timestamp() * 1000)
    rows = market.kline_rows("AAAUSDT", "1m", start, start + 10 * DAY)
    assert rows[:1440] != market.kline_rows("AABUSDT", "1m", start, start + DAY)
    days = {tuple(row[1] for row in rows[i : i + 1440]) for i in range(0, len(rows), 1440)}
    assert len(days) == 10
    for _, o, h, low, c, volume, _, _, trades, taker, _, _ in rows:
        assert 0 < Decimal(low) <= min(Decimal(o), Decimal(c)) <= max(Decimal(o), Decimal(c)) <= Decimal(h)
        assert 0 <= Decimal(taker) <= Decimal(volume)
        assert (trades == 0) == (Decimal(volume) == 0)


@pytest.mark.parametrize("symbol", ["AAAUSDT", "ALGOUSDT"])
def test_a_bar_still_forming_shows_the_data_so_far_and_later_ones_are_not_served(symbol: str) -> None:
    market = Market.recorded()
    market.add_symbol("AAAUSDT", first_day=date(2026, 2, 1))
    clock = [FEBRUARY + DAY + 7 * MINUTE + 30_000]
    with ReplayExchange(market, now=lambda: clock[0]) as exchange:
        client = Client(exchange)
        rows = client.klines(symbol, "5m", startTime=FEBRUARY + DAY).json
        assert [row[0] for row in rows] == [FEBRUARY + DAY, FEBRUARY + DAY + 5 * MINUTE]
        minutes = market.kline_rows(symbol, "1m", FEBRUARY + DAY + 5 * MINUTE, FEBRUARY + DAY + 8 * MINUTE)
        assert Decimal(rows[-1][5]) == sum(Decimal(row[5]) for row in minutes[:2])
        assert rows[-1][4] == minutes[2][1]
        assert rows[-1][6] > clock[0]
        day = client.klines(symbol, "1d").json[-1]
        assert day[0] == FEBRUARY + DAY
        assert tuple(day) != market.kline_rows(symbol, "1d", FEBRUARY + DAY, FEBRUARY + 2 * DAY)[0]
        clock[0] += 5 * MINUTE
        again = client.klines(symbol, "5m", startTime=FEBRUARY + DAY).json
        finished = market.kline_rows(symbol, "5m", FEBRUARY + DAY, FEBRUARY + DAY + 10 * MINUTE)
        assert [tuple(row) for row in again[:2]] == finished
        assert client.api("/fapi/v1/time").json == {"serverTime": clock[0]}


def test_holes_hit_their_sources_alone_and_coarse_bars_only_as_a_whole(market: Market, client: Client) -> None:
    hole = (FEBRUARY + 3 * MINUTE, FEBRUARY + 11 * MINUTE)
    market.drop_klines("ALGOUSDT", *hole, sources=("rest", "daily"))
    minutes = [row[0] for row in client.klines(startTime=FEBRUARY, limit=10).json]
    assert minutes == [FEBRUARY + i * MINUTE for i in (0, 1, 2, 11, 12, 13, 14, 15, 16, 17)]
    fives = client.klines(interval="5m", startTime=FEBRUARY, limit=3).json
    assert [row[0] for row in fives] == [FEBRUARY + i * MINUTE for i in (0, 10, 15)]
    assert tuple(fives[0]) == market.kline_rows("ALGOUSDT", "5m", FEBRUARY, FEBRUARY + 1)[0]
    assert len(client.csv(kline_key("ALGOUSDT", "1m", "2026-02-01")).splitlines()) == 1 + 1440 - 8
    assert len(client.csv(kline_key("ALGOUSDT", "5m", "2026-02-01")).splitlines()) == 1 + 288 - 1
    assert len(client.csv(kline_key("ALGOUSDT", "1m", "2026-02")).splitlines()) == 1 + 28 * 1440


def test_a_day_dropped_from_the_forming_bar_on_is_not_served(market: Market, exchange: ReplayExchange, client: Client) -> None:
    exchange.now = lambda: FEBRUARY + 90_000
    market.drop_klines("ALGOUSDT", FEBRUARY, FEBRUARY + 2 * MINUTE, sources=("rest",))
    assert client.klines(interval="5m", startTime=FEBRUARY).json == []
    exchange.now = lambda: FEBRUARY + 130_000
    assert len(client.klines(interval="5m", startTime=FEBRUARY).json) == 1


def test_gzip_when_accepted_and_worth_it(client: Client) -> None:
    params: dict[str, Any] = {"symbol": "ALGOUSDT", "interval": "1m", "startTime": FEBRUARY}
    plain = client.api("/fapi/v1/klines", **params)
    packed = client.api("/fapi/v1/klines", {"Accept-Encoding": "gzip, deflate"}, **params)
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(packed.body)
    assert json.loads(gzip.decompress(packed.body)) == plain.json
    small = client.api("/fapi/v1/klines", {"Accept-Encoding": "gzip"}, limit=1, **params)
    assert "content-encoding" not in small.headers


def test_exchange_info_is_the_recorded_one_plus_what_was_added(market: Market, exchange: ReplayExchange, client: Client) -> None:
    recorded = client.api("/fapi/v1/exchangeInfo").json
    assert len(recorded["symbols"]) == 820
    assert recorded["serverTime"] == exchange.now_ms()
    assert recorded["rateLimits"][0]["limit"] == 2400
    market.add_symbol("AAAUSDT", first_day=date(2024, 1, 1))
    market.add_symbol("币USDC", first_day=date(2024, 1, 1), status="SETTLING", quote_asset="USDC")
    market.set_listing("BTCUSDT", status="CLOSE")
    exchange.limits.set(weight=240, window=6.0)
    response = client.api("/fapi/v1/exchangeInfo")
    listed = {entry["symbol"]: entry for entry in response.json["symbols"]}
    assert len(listed) == 822
    assert (listed["AAAUSDT"]["status"], listed["AAAUSDT"]["contractType"]) == ("TRADING", "PERPETUAL")
    assert (listed["币USDC"]["status"], listed["币USDC"]["marginAsset"]) == ("SETTLING", "USDC")
    assert listed["BTCUSDT"]["status"] == "CLOSE"
    assert response.json["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT", "interval": "SECOND", "intervalNum": 6, "limit": 240,
    }  # fmt: skip
    assert len(client.klines("币USDC", "1d", startTime=0).json) == 500
    exchange.limits.announce = False
    assert client.api("/fapi/v1/exchangeInfo").json["rateLimits"][0]["limit"] == 2400


def test_off_limits_are_not_announced() -> None:
    with ReplayExchange(limits=Limits.off()) as exchange:
        assert Client(exchange).api("/fapi/v1/exchangeInfo").json["rateLimits"][0]["limit"] == 2400
