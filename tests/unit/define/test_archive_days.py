"""Days by the archive alone: which objects are asked, what a missing one means, and when nobody knows."""

from __future__ import annotations

import hashlib
import io
import zipfile
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
    # Where the life meets such a month, one day of that is asked: some months have daily objects alone.
    assert asked(exchange) == [*(f"2025-{month:02}" for month in range(7, 13)), "2025-08-31", "2025-10-01"]


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


def drop(exchange: ReplayExchange, first: date, last: date, *sources: str) -> None:
    exchange.market.drop_klines(NAME, ms(first), ms(last) + 86_400_000, sources)  # type: ignore[arg-type]


def test_a_window_of_nothing_but_days_that_the_months_object_lacks(exchange: ReplayExchange, network: NetworkConfig) -> None:
    """The real months of 2022 lack one day to three; a universe of such days alone is part of the one of the whole month."""
    exchange.market.add_symbol(NAME, date(2025, 11, 1), date(2026, 1, 31), fate="removed")
    drop(exchange, date(2025, 12, 10), date(2025, 12, 12), "monthly")
    drop(exchange, date(2025, 12, 10), date(2025, 12, 10), "daily")
    first, last = date(2025, 12, 10), date(2025, 12, 12)
    assert ask(network, first, last) == truth(exchange, span(date(2025, 12, 11), last))
    # And a longer window never says anything else of these days.
    longer = ask(network, date(2025, 12, 1), date(2025, 12, 31))
    assert {day for day in longer if first <= day <= last} == {date(2025, 12, 11), last}


def test_a_life_goes_on_in_a_month_without_an_object(exchange: ReplayExchange, network: NetworkConfig) -> None:
    """Some months have daily objects alone: here the first one of a life, and the last."""
    exchange.market.add_symbol(NAME, date(2025, 9, 29), date(2025, 12, 2), fate="removed")
    exchange.market.without_objects([key("2025-09"), key("2025-12")])
    first, last = date(2025, 9, 1), date(2026, 1, 31)
    assert ask(network, first, last) == truth(exchange, span(date(2025, 9, 29), date(2025, 12, 2)))
    by_day = [period for period in asked(exchange) if len(period) == 10]
    assert by_day == ["2025-09-30", "2025-09-29", "2025-09-28", "2025-12-01", "2025-12-02", "2025-12-03"]


def without_daily_objects(exchange: ReplayExchange) -> None:
    exchange.market.without_objects(lambda name: f"/daily/klines/{NAME}/" in name)


def test_a_months_object_that_nobody_can_read_is_no_absence(exchange: ReplayExchange, network: NetworkConfig) -> None:
    """A few symbols have monthly objects alone."""
    exchange.market.add_symbol(NAME, date(2025, 12, 1), date(2025, 12, 31), fate="removed")
    exchange.market.replace_object(key("2025-12"), b"rubbish", hashlib.sha256(b"other").hexdigest().encode())
    without_daily_objects(exchange)
    with pytest.raises(SourceError) as caught:
        ask(network, date(2025, 12, 1), date(2025, 12, 31))
    assert (caught.value.reason, key("2025-12") in caught.value.message) == ("checksum_mismatch", True)


@pytest.mark.parametrize("has_daily", [True, False])
def test_a_row_of_a_months_object_that_nobody_can_read_is_no_absence(
    exchange: ReplayExchange, network: NetworkConfig, has_daily: bool
) -> None:
    exchange.market.add_symbol(NAME, date(2025, 12, 1), date(2025, 12, 31), fate="removed")
    rows = exchange.market.kline_rows(NAME, "1d", ms(date(2025, 12, 1)), ms(date(2026, 1, 1)))
    lines = [",".join(map(str, row)) for row in rows]
    lines[9] = lines[9].replace(str(rows[9][3]), "nan", 1)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{NAME}-1d-2025-12.csv", "\n".join(lines) + "\n")
    exchange.market.replace_object(key("2025-12"), packed.getvalue())
    first, last = date(2025, 12, 5), date(2025, 12, 15)
    if has_daily:
        assert ask(network, first, last) == truth(exchange, span(first, last))
        return
    without_daily_objects(exchange)
    with pytest.raises(SourceError) as caught:
        ask(network, first, last)
    assert (caught.value.reason, key("2025-12") in caught.value.message) == ("not_a_number", True)


@pytest.mark.parametrize(
    ("first", "published", "late", "hint"),
    [
        # Nothing of the window is published, or not its first day, and the symbol was alive just before it.
        (date(2026, 3, 9), date(2026, 3, 8), date(2026, 3, 9), "define it again in a day or two"),
        (date(2026, 3, 7), date(2026, 3, 5), date(2026, 3, 7), "define it again in a day or two"),
        (date(2026, 3, 6), date(2026, 3, 9), date(2026, 3, 6), "define it again in a day or two"),
        # A later day was published earlier.
        (date(2026, 3, 1), date(2026, 3, 9), date(2026, 3, 6), "end the universe on 2026-03-05, or define it again"),
    ],
)
def test_a_young_day_is_not_absent_because_others_are_published(
    exchange: ReplayExchange, network: NetworkConfig, first: date, published: date, late: date, hint: str
) -> None:
    exchange.market.add_symbol(NAME, date(2026, 1, 1), fate="removed")
    exchange.market.archive_until = published
    exchange.market.without_objects([key("2026-03-06")])
    with pytest.raises(SourceError) as caught:
        ask(network, first, date(2026, 3, 9))
    assert caught.value.reason == "not_published"
    assert f"{NAME} on {late}" in caught.value.message
    assert (caught.value.hint or "").startswith(hint)


@pytest.mark.parametrize(("began", "ended"), [(date(2026, 3, 7), date(2026, 3, 9)), (date(2025, 1, 1), date(2026, 3, 2))])
def test_a_life_that_began_or_ended_lately_is_told_from_a_late_publication(
    exchange: ReplayExchange, network: NetworkConfig, began: date, ended: date
) -> None:
    exchange.market.add_symbol(NAME, began, ended, fate="removed")
    first, last = date(2026, 3, 5), date(2026, 3, 9)
    assert ask(network, first, last) == truth(exchange, [day for day in span(first, last) if began <= day <= ended])
