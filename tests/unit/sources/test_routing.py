"""Routes: which sources are asked for a day, in which order."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest

from cryptoservice.sources.evidence import KlineSource, Source
from cryptoservice.sources.routing import DayRoute, comparison_sources, funding_routes, kline_routes, metrics_routes

MONTHLY, DAILY, REST = Source.MONTHLY, Source.DAILY, Source.REST
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
TODAY = date(2026, 3, 10)


def routes_of(days: list[date], choice: KlineSource = KlineSource.AUTO) -> list[tuple[int, tuple[Source, ...]]]:
    routes = kline_routes(days, TODAY, choice, 4)
    assert [known.day for known in routes] == days
    assert {known.expected_rows for known in routes} <= {4}
    return [(known.age, known.sources) for known in routes]


def test_two_days_of_a_closed_month_are_worth_the_monthly_object() -> None:
    assert routes_of([date(2026, 2, 1), date(2026, 2, 28)]) == [(37, (MONTHLY, DAILY, REST)), (10, (MONTHLY, DAILY, REST))]
    assert routes_of([date(2026, 2, 28)]) == [(10, (DAILY, REST))]
    assert routes_of([date(2026, 1, 31), date(2026, 2, 1)]) == [(38, (DAILY, REST)), (37, (DAILY, REST))]


def test_the_running_month_has_no_monthly_object() -> None:
    assert routes_of([date(2026, 3, 7), date(2026, 3, 8)]) == [(3, (DAILY, REST)), (2, (DAILY, REST))]


def test_days_younger_than_two_start_with_rest() -> None:
    assert routes_of([date(2026, 3, 8), date(2026, 3, 9)]) == [(2, (DAILY, REST)), (1, (REST, DAILY))]


def test_a_month_is_closed_on_the_day_after_its_last() -> None:
    days = [date(2026, 2, 10), date(2026, 2, 11)]
    on_last = kline_routes(days, date(2026, 2, 28), KlineSource.AUTO, 4)
    day_after = kline_routes(days, date(2026, 3, 1), KlineSource.AUTO, 4)
    assert {known.sources for known in on_last} == {(DAILY, REST)}
    assert {known.sources for known in day_after} == {(MONTHLY, DAILY, REST)}


def test_a_forced_source_is_the_only_source() -> None:
    days = [date(2026, 2, 1), date(2026, 2, 2), date(2026, 3, 9)]
    assert [route for _, route in routes_of(days, KlineSource.API)] == [(REST,)] * 3
    assert [route for _, route in routes_of(days, KlineSource.VISION)] == [(MONTHLY, DAILY), (MONTHLY, DAILY), (DAILY,)]


@pytest.mark.parametrize(
    ("day", "now", "route"),
    [
        ("2020-08-31", NOON, ()),
        ("2020-09-01", NOON, (DAILY,)),
        ("2026-01-30", NOON, (DAILY,)),
        ("2026-01-31", NOON, (DAILY, REST)),
        ("2026-02-27", NOON, (DAILY, REST)),
        ("2026-02-28", NOON, (DAILY, REST)),
        ("2026-02-28", NOON.replace(hour=9), (DAILY, REST)),
        ("2026-02-28", NOON.replace(hour=0, minute=1), (DAILY, REST)),
        ("2026-03-01", NOON, (DAILY, REST)),
    ],
)
def test_who_may_know_the_metrics_of_a_day(day: str, now: datetime, route: tuple[Source, ...]) -> None:
    """The daily object comes first at any hour: no hour of publication can be relied on."""
    of = date.fromisoformat(day)
    assert metrics_routes([of], now) == [DayRoute(of, (now.date() - of).days, route, 288)]


def test_rest_is_never_asked_for_more_than_it_keeps() -> None:
    """Thirty days are served (docs/wire.md, market metrics); no label of an asked day is older, at any time of the day."""
    for minutes in range(0, 24 * 60, 7):
        now = NOON.replace(hour=0) + timedelta(minutes=minutes)
        for known in metrics_routes([now.date() - timedelta(days=age) for age in range(40)], now):
            start = datetime(known.day.year, known.day.month, known.day.day, tzinfo=timezone.utc)
            assert REST not in known.sources or now - start < timedelta(days=30)
            assert REST in known.sources or now - start >= timedelta(days=29)


def test_funding_is_asked_of_rest_first_at_any_age() -> None:
    days = [date(2020, 1, 1), date(2026, 2, 28)]
    for known in funding_routes(days, NOON.date()):
        assert (known.sources, known.expected_rows) == ((REST, MONTHLY), 0)


def test_a_second_answer_comes_from_rest_or_from_every_object_that_may_hold_the_day() -> None:
    today = date(2026, 3, 1)
    assert comparison_sources(date(2026, 2, 10), today, KlineSource.API) == (REST,)
    assert comparison_sources(date(2026, 2, 10), today, KlineSource.VISION) == (DAILY, MONTHLY)
    assert comparison_sources(date(2026, 2, 10), date(2026, 2, 28), KlineSource.VISION) == (DAILY,), "the month is still running"
