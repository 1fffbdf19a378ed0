"""What became of symbols: removed, settled, renamed; names that a filter must tell apart; an API that refuses everybody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tests.exchange import Fate, Fault, Limits, Market, ReplayExchange
from tests.exchange.api import FUTURES_DATA

from .client import DAY, FEBRUARY, MINUTE, UM, Client, funding_key, kline_key, metrics_key
from .s3 import all_listed, page

CHINESE = "币安人生USDT"
WIDTHS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}
SETTLED = datetime(2026, 2, 11, 9, 7, tzinfo=timezone.utc)
SETTLED_MS = int(SETTLED.timestamp()) * 1000
NOW_MS = FEBRUARY + 32 * DAY + 3 * 60 * MINUTE
FLAT_VOLUMES = (5, 7, 9, 10)


@pytest.fixture
def quiet() -> Iterator[tuple[Market, ReplayExchange, Client]]:
    """An exchange in March, three hours into a day, whose market has nothing recorded."""
    market = Market()
    with ReplayExchange(market, now=lambda: NOW_MS, limits=Limits.off()) as exchange:
        yield market, exchange, Client(exchange)


def refused(client: Client, symbol: str) -> set[tuple[int, int]]:
    """What every endpoint of the API says to a symbol."""
    paths: dict[str, dict[str, Any]] = {"/fapi/v1/klines": {"interval": "1d"}, "/fapi/v1/fundingRate": {}}
    paths |= {f"/futures/data/{name}": {"period": "5m"} for name in FUTURES_DATA}
    answers = [client.api(path, symbol=symbol, **params) for path, params in paths.items()]
    return {(answer.status, answer.json["code"] if answer.status != 200 else 0) for answer in answers}


def names(client: Client) -> dict[str, dict[str, Any]]:
    return {entry["symbol"]: entry for entry in client.api("/fapi/v1/exchangeInfo").json["symbols"]}


@pytest.mark.parametrize(
    ("symbol", "fate"),
    [("GONEUSDT", "removed"), (CHINESE, "removed"), ("LITUSDTSETTLED", "alias"), ("ICPUSDT_SETTLED", "alias"),
     ("AERGOUSDTSETTLEDSETTLED", "alias")],
)  # fmt: skip
def test_the_archive_alone_remembers_them(quiet: tuple[Market, ReplayExchange, Client], symbol: str, fate: Fate) -> None:
    market, _, client = quiet
    market.add_symbol("HEREUSDT", date(2026, 1, 1))
    market.add_symbol(symbol, date(2026, 1, 1), date(2026, 2, 10), fate=fate)
    assert list(names(client)) == ["HEREUSDT"]
    assert refused(client, symbol) == {(400, -1121)}
    assert refused(client, "HEREUSDT") == {(200, 0)}
    for kind in ("monthly/klines", "daily/klines", "daily/metrics", "monthly/fundingRate"):
        prefix = f"{UM}/{kind}/"
        assert f"{prefix}{symbol}/" in page(client, prefix=prefix, delimiter="/").prefixes
    assert len(client.csv(kline_key(symbol, "1d", "2026-01")).splitlines()) == 1 + 31
    assert len(client.csv(kline_key(symbol, "1d", "2026-02")).splitlines()) == 1 + 10
    assert client.vision(kline_key(symbol, "1d", "2026-02-11")).status == 404
    months = [key for key in all_listed(client, prefix=f"{UM}/monthly/klines/{symbol}/1d/") if key.endswith(".zip")]
    assert months == [kline_key(symbol, "1d", "2026-01"), kline_key(symbol, "1d", "2026-02")]


def expected(symbol: str, interval: str, first: int, after: int, settled_ms: int) -> list[list[Any]]:
    """REST rows of a settled symbol, from the minutes of the same symbol as it would have traded on."""
    twin = Market.recorded()
    if twin.series(symbol) is None:
        twin.add_symbol(symbol, date(2026, 1, 1))
    minutes = [list(row) for row in twin.kline_rows(symbol, "1m", first, min(after, settled_ms))]
    (last,) = twin.kline_rows(symbol, "1m", settled_ms - MINUTE, settled_ms)
    # The shape of 0 in each column is that of the others: as many decimals.
    zero = {i: str(Decimal(str(last[i])) * 0) for i in FLAT_VOLUMES}
    for time in range(max(first, settled_ms), after, MINUTE):
        minutes.append(
            [time, *[last[4]] * 4, zero[5], time + MINUTE - 1, zero[7], 0, zero[9], zero[10], "0"]
        )  # fmt: skip
    width = WIDTHS[interval]
    rows = []
    for i in range(0, len(minutes), width):
        part = minutes[i : i + width]
        sums = {j: str(sum((Decimal(row[j]) for row in part), Decimal(0))) for j in FLAT_VOLUMES}
        rows.append(
            [part[0][0], part[0][1], max((row[2] for row in part), key=Decimal), min((row[3] for row in part), key=Decimal),
             part[-1][4], sums[5], part[-1][6], sums[7], sum(row[8] for row in part), sums[9], sums[10], "0"]
        )  # fmt: skip
    return rows


@pytest.mark.parametrize("interval", sorted(WIDTHS))
@pytest.mark.parametrize("symbol", ["DEADUSDT", "LINKUSDT", CHINESE])
@pytest.mark.parametrize("settled", [SETTLED, datetime(2026, 2, 11, tzinfo=timezone.utc)], ids=["in its course", "at midnight"])
def test_klines_of_a_settled_symbol_go_on_flat(symbol: str, settled: datetime, interval: str) -> None:
    """In REST, in daily and in monthly objects alike; the bar of the settlement holds what was traded before."""
    market = Market.recorded()
    if symbol != "LINKUSDT":
        market.add_symbol(symbol, date(2026, 1, 1), fate="settling", settled_at=settled)
    else:
        market.settle(symbol, settled)
    settled_ms = int(settled.timestamp()) * 1000
    with ReplayExchange(market, now=lambda: NOW_MS, limits=Limits.off()) as exchange:
        client = Client(exchange)
        first, after = FEBRUARY + 9 * DAY, FEBRUARY + 13 * DAY
        wanted = expected(symbol, interval, first, after, settled_ms)
        found: list[list[Any]] = []
        while not found or found[-1][6] < after - 1:
            start = found[-1][6] + 1 if found else first
            found += client.klines(symbol, interval, startTime=start, endTime=after - 1, limit=1500).json
        assert found == wanted
        lines = [",".join(map(str, row)) for row in wanted]
        per_day = 1440 // WIDTHS[interval]
        for number in range(4):
            day = date(2026, 2, 10 + number).isoformat()
            assert client.csv(kline_key(symbol, interval, day)).splitlines()[1:] == lines[number * per_day :][:per_day]
        month = client.csv(kline_key(symbol, interval, "2026-02")).splitlines()[1:]
        assert len(month) == 28 * per_day
        assert month[9 * per_day : 13 * per_day] == lines
        forming = client.klines(symbol, interval, limit=1).json[0]
        assert forming[0] <= NOW_MS < forming[6]
        assert forming[1:5] == wanted[-1][1:5]
        assert [Decimal(forming[i]) for i in (*FLAT_VOLUMES, 8)] == [0] * 5


def test_a_settling_symbol_is_listed_as_such(quiet: tuple[Market, ReplayExchange, Client]) -> None:
    market, _, client = quiet
    market.add_symbol("DEADUSDT", date(2026, 1, 1), fate="settling", settled_at=SETTLED)
    market.add_symbol("CLOSEDUSDT", date(2026, 1, 1), fate="settling", settled_at=SETTLED, status="CLOSE")
    listed = names(client)
    assert {name: (entry["status"], entry["deliveryDate"]) for name, entry in listed.items()} == {
        "DEADUSDT": ("SETTLING", SETTLED_MS), "CLOSEDUSDT": ("CLOSE", SETTLED_MS),
    }  # fmt: skip
    with pytest.raises(ValueError, match="settlement"):
        market.add_symbol("BADUSDT", date(2026, 1, 1), fate="settling")
    with pytest.raises(ValueError, match="full minute"):
        market.add_symbol("BADUSDT", date(2026, 1, 1), fate="settling", settled_at=SETTLED + timedelta(seconds=1))
    with pytest.raises(ValueError, match="minute before"):
        market.add_symbol("BADUSDT", date(2026, 1, 1), date(2026, 2, 9), fate="settling", settled_at=SETTLED)


def test_a_removed_symbol_may_have_flat_days_before_its_end(quiet: tuple[Market, ReplayExchange, Client]) -> None:
    market, _, client = quiet
    market.add_symbol("DEADUSDT", date(2026, 1, 1), date(2026, 2, 28), fate="removed", settled_at=SETTLED)
    rows = [line.split(",") for line in client.csv(kline_key("DEADUSDT", "1d", "2026-02")).splitlines()[1:]]
    assert [int(row[8]) > 0 for row in rows] == [True] * 11 + [False] * 17
    assert {row[i] for row in rows[11:] for i in (1, 2, 3, 4)} == {rows[10][4]}
    assert client.vision(kline_key("DEADUSDT", "1d", "2026-03-01")).status == 404
    assert names(client) == {}


@pytest.mark.parametrize("labels", ["start", "end", "reaching_midnight"])
def test_metrics_end_with_the_settlement(quiet: tuple[Market, ReplayExchange, Client], labels: str) -> None:
    market, _, client = quiet
    market.metrics_convention = labels  # type: ignore[assignment]
    market.add_symbol("DEADUSDT", date(2026, 1, 1), fate="settling", settled_at=SETTLED)
    twin = Market()
    twin.add_symbol("DEADUSDT", date(2026, 1, 1))
    day, after = FEBRUARY + 10 * DAY, FEBRUARY + 12 * DAY
    wanted = {t: row for t, row in twin.metrics_rows("DEADUSDT", day, after).items() if t < SETTLED_MS}
    # The bar of 09:05 is the last: it had trades, in two of its minutes, so its price and its takers are its own.
    assert len(wanted) == 9 * 12 + 2
    found = market.metrics_rows("DEADUSDT", day, after)
    *_, last = wanted
    assert list(found) == list(wanted)
    assert {t: row for t, row in found.items() if t != last} == {t: row for t, row in wanted.items() if t != last}
    assert found[last].open_interest == wanted[last].open_interest
    (bar,) = expected("DEADUSDT", "5m", last, last + 5 * MINUTE, SETTLED_MS)
    assert found[last].open_interest_value == pytest.approx(found[last].open_interest * float(bar[4]))
    assert found[last].taker_volume_ratio == pytest.approx(float(bar[9]) / (float(bar[5]) - float(bar[9])), abs=1e-4)
    lines = client.csv(metrics_key("DEADUSDT", "2026-02-11")).splitlines()[1:]
    assert len(lines) == len(wanted) + (labels == "end")
    assert [float(line.split(",")[2]) for line in lines][labels == "end" :] == [row.open_interest for row in wanted.values()]
    assert client.vision(metrics_key("DEADUSDT", "2026-02-12")).status == 404
    days = [key[-14:-4] for key in all_listed(client, prefix=f"{UM}/daily/metrics/DEADUSDT/") if key.endswith(".zip")]
    assert (days[0], days[-1], len(days)) == ("2026-01-01", "2026-02-11", 31 + 11)
    for name in FUTURES_DATA:
        shift = 0 if name.startswith("taker") else 5 * MINUTE
        window = {"startTime": day + shift, "endTime": after, "limit": 500}
        rows = client.api(f"/futures/data/{name}", symbol="DEADUSDT", period="5m", **window).json
        assert [row["timestamp"] - shift for row in rows] == list(wanted)


def test_the_last_metrics_of_a_settlement_at_midnight_can_stand_in_the_next_file() -> None:
    market = Market()
    market.metrics_convention = "end"
    market.add_symbol("DEADUSDT", date(2026, 2, 1), fate="settling", settled_at=datetime(2026, 2, 11, tzinfo=timezone.utc))
    with ReplayExchange(market, now=lambda: NOW_MS) as exchange:
        client = Client(exchange)
        assert [len(client.csv(metrics_key("DEADUSDT", f"2026-02-{day}")).splitlines()) - 1 for day in (10, 11)] == [288, 1]
        assert client.vision(metrics_key("DEADUSDT", "2026-02-12")).status == 404
        assert list(all_listed(client, prefix=f"{UM}/daily/metrics/"))[-2:-1] == [metrics_key("DEADUSDT", "2026-02-11")]


def test_funding_ends_with_the_settlement(quiet: tuple[Market, ReplayExchange, Client]) -> None:
    market, _, client = quiet
    market.add_symbol("DEADUSDT", date(2026, 1, 1), fate="settling", settled_at=SETTLED)
    rows = client.api("/fapi/v1/fundingRate", symbol="DEADUSDT", startTime=FEBRUARY, limit=1000).json
    # 00:00 and 08:00 of the last day.
    assert len(rows) == 10 * 3 + 2
    assert FEBRUARY + 10 * DAY + 8 * 60 * MINUTE <= rows[-1]["fundingTime"] < SETTLED_MS
    assert len(client.csv(funding_key("DEADUSDT", "2026-02")).splitlines()) == 1 + len(rows)
    market.add_symbol("NEVERUSDT", date(2026, 2, 1), fate="removed", settled_at=datetime(2026, 2, 1, 0, 1, tzinfo=timezone.utc))
    assert len(client.csv(funding_key("NEVERUSDT", "2026-02")).splitlines()) == 1 + 1
    recorded = Market.recorded()
    before = recorded.funding_rows("LINKUSDT", 0, FEBRUARY + 90 * DAY)
    recorded.settle("LINKUSDT", SETTLED)
    after = recorded.funding_rows("LINKUSDT", 0, FEBRUARY + 90 * DAY)
    assert after == [row for row in before if row["fundingTime"] < SETTLED_MS] != before


def test_kinds_of_contracts_and_quotes(quiet: tuple[Market, ReplayExchange, Client]) -> None:
    market, _, client = quiet
    for symbol in ("BTCUSDT_250328", "BTCUSDT", "BTCUSDC", "ETHBTC", "BTCUSD1", "BTCU", "USDCUSDT", CHINESE):
        market.add_symbol(symbol, date(2025, 1, 1))
    market.add_symbol("TSLAUSDT", date(2025, 1, 1), contract_type="TRADIFI_PERPETUAL")
    found = {
        name: tuple(entry[field] for field in ("pair", "baseAsset", "quoteAsset", "marginAsset", "contractType", "status"))
        for name, entry in names(client).items()
    }
    perpetual = ("PERPETUAL", "TRADING")
    assert found == {
        "BTCUSDT_250328": ("BTCUSDT", "BTC", "USDT", "USDT", "CURRENT_QUARTER", "TRADING"),
        "BTCUSDT": ("BTCUSDT", "BTC", "USDT", "USDT", *perpetual),
        "BTCUSDC": ("BTCUSDC", "BTC", "USDC", "USDC", *perpetual),
        "ETHBTC": ("ETHBTC", "ETH", "BTC", "BTC", *perpetual),
        "BTCUSD1": ("BTCUSD1", "BTC", "USD1", "USD1", *perpetual),
        "BTCU": ("BTCU", "BTC", "U", "U", *perpetual),
        "USDCUSDT": ("USDCUSDT", "USDC", "USDT", "USDT", *perpetual),
        CHINESE: (CHINESE, "币安人生", "USDT", "USDT", *perpetual),
        "TSLAUSDT": ("TSLAUSDT", "TSLA", "USDT", "USDT", "TRADIFI_PERPETUAL", "TRADING"),
    }
    delivered = names(client)["BTCUSDT_250328"]["deliveryDate"]
    assert datetime.fromtimestamp(delivered / 1000, timezone.utc) == datetime(2025, 3, 28, 8, tzinfo=timezone.utc)
    assert names(client)["TSLAUSDT"]["underlyingType"] == "EQUITY"
    prefix = f"{UM}/monthly/klines/"
    assert [name.removeprefix(prefix)[:-1] for name in page(client, prefix=prefix, delimiter="/").prefixes] == [
        "BTCU", "BTCUSD1", "BTCUSDC", "BTCUSDT", "BTCUSDT_250328", "ETHBTC", "TSLAUSDT", "USDCUSDT", CHINESE,
    ]  # fmt: skip


def test_an_api_that_refuses_everybody_beside_an_archive_that_does_not(exchange: ReplayExchange, client: Client) -> None:
    exchange.faults.add(Fault.restricted_451(host="api", times=None))
    of_symbols = ["/fapi/v1/klines", "/fapi/v1/fundingRate", *(f"/futures/data/{name}" for name in FUTURES_DATA)]
    assert {client.api(path, symbol="ALGOUSDT").status for path in of_symbols} == {451}
    assert {client.api(path).status for path in ("/fapi/v1/time", "/fapi/v1/exchangeInfo")} == {451}
    key = kline_key("ALGOUSDT", "1d", "2026-02")
    assert client.vision(key).status == 200
    assert key in all_listed(client, prefix=f"{UM}/monthly/klines/ALGOUSDT/1d/")
