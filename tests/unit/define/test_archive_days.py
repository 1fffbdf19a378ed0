"""Days by the archive alone: which objects are asked, what a missing one means, and when nobody knows."""

from __future__ import annotations

import hashlib
from datetime import date, datetime, timedelta, timezone

import pytest

from cryptoservice.binance.client import BinanceClient
from cryptoservice.config import NetworkConfig
from cryptoservice.days import Window
from cryptoservice.define.archive_days import archive_days, archive_single_days
from cryptoservice.define.symbol_days import DailyKline
from cryptoservice.errors import SourceError
from tests.exchange import Fault, ReplayExchange
from tests.unit.fakes import FakeClock

CLOCK = FakeClock(1_773_144_000.0)
TODAY = date(2026, 3, 10)
NAME = "GONEUSDT"


def ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()) * 1000


def span(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def truth(exchange: ReplayExchange, days: list[date]) -> dict[date, DailyKline]:
    """What the exchange holds for these days, from its own rows; it knows nothing of holes that a test has cut."""
    found = {}
    for day in days:
        for row in exchange.market.kline_rows(NAME, "1d", ms(day), ms(day) + 86_400_000):
            found[day] = DailyKline(row[8] > 0, float(row[7]))
    return found


def ask(network: NetworkConfig, first: date, last: date, today: date = TODAY) -> dict[date, DailyKline]:
    with BinanceClient(network, CLOCK) as client:
        return archive_days(client.archive, NAME, Window(first, last), today)


def asked(exchange: ReplayExchange) -> list[str]:
    """The periods of the objects that were asked for, in order."""
    names = [request.path.rsplit("/", 1)[-1] for request in exchange.requests if request.path.endswith(".zip")]
    return [name.removeprefix(f"{NAME}-1d-").removesuffix(".zip") for name in names]


def key(period: str) -> str:
    kind = "monthly" if len(period) == 7 else "daily"
    return f"data/futures/um/{kind}/klines/{NAME}/1d/{NAME}-1d-{period}.zip"


def test_one_object_a_month_and_no_more(exchange: ReplayExchange, network: NetworkConfig) -> None:
    """The contract was settled in the middle of a day: flat rows follow, and they are told from days with trades."""
    settled = datetime(2025, 12, 11, 9, 0, tzinfo=timezone.utc)
    exchange.market.add_symbol(NAME, date(2025, 11, 20), date(2026, 1, 31), fate="removed", settled_at=settled)
    first, last = date(2025, 12, 1), date(2026, 1, 31)
    found = ask(network, first, last)
    assert found == truth(exchange, span(first, last))
    assert [day for day, kline in found.items() if kline.is_traded] == span(first, date(2025, 12, 11))
    assert asked(exchange) == ["2025-12", "2026-01"]


def test_months_long_over_without_an_object_cost_one_request_each(exchange: ReplayExchange, network: NetworkConfig) -> None:
    exchange.market.add_symbol(NAME, date(2025, 9, 1), date(2025, 9, 30), fate="removed")
    first, last = date(2025, 7, 1), date(2025, 12, 31)
    assert ask(network, first, last) == truth(exchange, span(date(2025, 9, 1), date(2025, 9, 30)))
    assert asked(exchange) == [f"2025-{month:02}" for month in range(7, 13)]


def test_a_month_that_may_still_be_published_and_the_running_one_are_asked_by_day(
    exchange: ReplayExchange, network: NetworkConfig
) -> None:
    exchange.market.add_symbol(NAME, date(2026, 1, 1), fate="removed")
    exchange.market.without_objects(key("2026-02"))
    first, last = date(2026, 2, 25), date(2026, 3, 2)
    assert ask(network, first, last) == truth(exchange, span(first, last))
    assert asked(exchange) == ["2026-02", *map(str, span(first, last))]


def test_what_a_months_object_lacks_is_asked_by_day(exchange: ReplayExchange, network: NetworkConfig) -> None:
    """A hole inside, the first days and the last days of a life; a day that has no object anywhere stays without a kline."""
    exchange.market.add_symbol(NAME, date(2025, 12, 3), date(2025, 12, 28), fate="removed")
    for day in (date(2025, 12, 3), date(2025, 12, 4), date(2025, 12, 10), date(2025, 12, 28)):
        exchange.market.drop_klines(NAME, ms(day), ms(day) + 86_400_000, ["monthly"])
    exchange.market.drop_klines(NAME, ms(date(2025, 12, 20)), ms(date(2025, 12, 21)))
    first, last = date(2025, 12, 1), date(2025, 12, 31)
    found = ask(network, first, last)
    assert found == truth(exchange, [day for day in span(first, last) if day != date(2025, 12, 20)])
    assert len(found) == 25
    assert sorted(asked(exchange)[1:]) == [f"2025-12-{number:02}" for number in (2, 3, 4, 10, 20, 28, 29)]


def test_two_lives_of_a_name(exchange: ReplayExchange, network: NetworkConfig) -> None:
    """Between them not even a month's object exists: that gap lies inside, so its days are asked for."""
    exchange.market.add_symbol(NAME, date(2025, 9, 1), date(2025, 12, 31), fate="removed")
    exchange.market.drop_klines(NAME, ms(date(2025, 10, 1)), ms(date(2025, 12, 1)))
    first, last = date(2025, 9, 1), date(2025, 12, 31)
    lives = [day for day in span(first, last) if day.month in (9, 12)]
    assert ask(network, first, last) == truth(exchange, lives)
    assert len(asked(exchange)) == 4 + 61


@pytest.mark.parametrize("broken", ["2025-12", "2025-12-05"])
def test_a_broken_object_is_no_absence(exchange: ReplayExchange, network: NetworkConfig, broken: str) -> None:
    """A month's object gives way to those of its days. A day's object gives way to nobody."""
    exchange.market.add_symbol(NAME, date(2025, 12, 1), date(2025, 12, 10), fate="removed")
    exchange.market.replace_object(key("2025-12"), b"rubbish", hashlib.sha256(b"other").hexdigest().encode())
    first, last = date(2025, 12, 1), date(2025, 12, 31)
    if broken == "2025-12":
        assert ask(network, first, last) == truth(exchange, span(first, last))
        assert asked(exchange) == ["2025-12", "2025-12", *map(str, span(first, last))]
        return
    exchange.market.replace_object(key(broken), b"rubbish")
    with pytest.raises(SourceError) as caught:
        ask(network, first, last)
    assert (caught.value.reason, key(broken) in caught.value.message) == ("zip_unreadable", True)


@pytest.mark.parametrize("path", ["2025-12.zip", "2025-12-05.zip"])
def test_a_failure_is_no_absence(exchange: ReplayExchange, network: NetworkConfig, path: str) -> None:
    exchange.market.add_symbol(NAME, date(2025, 12, 1), date(2025, 12, 10), fate="removed")
    exchange.market.drop_klines(NAME, ms(date(2025, 12, 5)), ms(date(2025, 12, 6)), ["monthly"])
    exchange.faults.add(Fault.server_error(503, path=path, times=None))
    with pytest.raises(SourceError, match="HTTP 503"):
        ask(network, date(2025, 12, 1), date(2025, 12, 31))


@pytest.mark.parametrize(
    ("ended", "today", "is_known"),
    [
        # The last kline is of 5 March. A week later an absence is believed, before that it may only be late.
        (date(2026, 3, 5), date(2026, 3, 9), False),
        (date(2026, 3, 5), date(2026, 3, 12), False),
        (date(2026, 3, 5), date(2026, 3, 13), True),
    ],
)
def test_days_that_may_still_be_published_make_no_universe(
    exchange: ReplayExchange, network: NetworkConfig, ended: date, today: date, is_known: bool
) -> None:
    exchange.market.add_symbol(NAME, date(2026, 1, 1), ended, fate="removed")
    first, last = date(2026, 3, 1), date(2026, 3, 8)
    if is_known:
        assert ask(network, first, last, today) == truth(exchange, span(first, last))
        return
    with pytest.raises(SourceError) as caught:
        ask(network, first, last, today)
    assert caught.value.reason == "not_published"
    assert f"{NAME} on 2026-03-06" in caught.value.message
    assert caught.value.hint is not None
    assert "end the universe on 2026-03-05" in caught.value.hint


def test_a_symbol_that_ended_long_ago_holds_up_nobody(exchange: ReplayExchange, network: NetworkConfig) -> None:
    exchange.market.add_symbol(NAME, date(2025, 1, 1), date(2025, 6, 30), fate="removed")
    assert ask(network, date(2026, 3, 1), date(2026, 3, 9)) == {}


def test_single_days(exchange: ReplayExchange, network: NetworkConfig) -> None:
    exchange.market.add_symbol(NAME, date(2025, 12, 1), date(2025, 12, 10), fate="removed")
    days = [date(2025, 12, 9), date(2025, 12, 30)]
    with BinanceClient(network, CLOCK) as client:
        assert archive_single_days(client.archive, NAME, days, TODAY) == truth(exchange, days[:1])
    assert asked(exchange) == list(map(str, days))
