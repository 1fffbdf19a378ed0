"""The plan of each dataset: what it would ask first, in how many requests, and at what cost."""

from __future__ import annotations

import calendar
import itertools
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.datasets import (
    FundingPlan,
    KlinesPlan,
    MetricsPlan,
    dataset_plans,
    first_sources,
    plan_of,
)
from cryptoservice.sources.evidence import KlineSource, Source
from cryptoservice.sources.grouping import Fetch
from tests.unit.fakes import FEBRUARY

MONTHLY, DAILY, REST = Source.MONTHLY, Source.DAILY, Source.REST
TODAY = date(2026, 3, 10)
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

WANTED = st.sets(st.integers(2, 130), min_size=1).map(lambda ages: sorted(TODAY - timedelta(days=age) for age in ages))
# One row of any kind weighs the same here; an object and its checksum are two requests.
OBJECT_REQUESTS = 2


def first_fetches(plan: KlinesPlan, days: list[date]) -> list[Fetch]:
    """What a run asks for before any source has answered."""
    sources = first_sources(plan, days)
    assert sorted(sources) == days
    return list(plan.group("BTCUSDT", sources))


def least_cost(days: list[date]) -> tuple[int, int]:
    """Requests and days' worth of bytes of the cheapest objects that hold these days, by trying both ways for each month."""
    requests = size = 0
    for _, group in itertools.groupby(days, lambda day: (day.year, day.month)):
        month = list(group)
        length = calendar.monthrange(month[0].year, month[0].month)[1]
        choices = [(OBJECT_REQUESTS * len(month), len(month))]
        if month[0].replace(day=length) < TODAY:
            choices.append((OBJECT_REQUESTS, length))
        best = min(choices)
        requests, size = requests + best[0], size + best[1]
    return requests, size


@given(WANTED, st.sampled_from([KlineSource.AUTO, KlineSource.VISION]))
def test_a_plan_holds_every_wanted_day_once_at_the_least_cost(days: list[date], choice: KlineSource) -> None:
    plan = KlinesPlan(Freq.m5, TODAY, choice)
    fetches = first_fetches(plan, days)
    assert sorted(day for fetch in fetches for day in fetch.days) == days
    costs = [plan.cost(fetch) for fetch in fetches]
    per_day = plan.cost(Fetch(Dataset.KLINES, Freq.m5, DAILY, "BTCUSDT", (TODAY,))).bytes
    assert (sum(cost.requests for cost in costs), sum(cost.bytes for cost in costs) // per_day) == least_cost(days)
    assert sum(cost.rows for cost in costs) == 288 * len(days)
    assert {cost.weight for cost in costs} == {0}


@given(WANTED)
def test_pages_of_the_api_hold_every_wanted_day_once(days: list[date]) -> None:
    plan = KlinesPlan(Freq.h1, TODAY, KlineSource.API)
    fetches = first_fetches(plan, days)
    assert {fetch.source for fetch in fetches} == {REST}
    assert sorted(day for fetch in fetches for day in fetch.days) == days
    # Neighbours share pages: no more than one request a run of days, and one for every 499 rows of it (20 days of hours).
    runs = 1 + sum((later - day).days > 1 for day, later in itertools.pairwise(days))
    assert sum(plan.cost(fetch).requests for fetch in fetches) <= runs + len(days) // 20 + len(days) // 62


def test_fetches_are_bounded_and_bridge_no_more_than_is_useful() -> None:
    month = [FEBRUARY + timedelta(days=number) for number in range(40)]
    plan = MetricsPlan(NOON)
    runs = [fetch.days for fetch in plan.group("A", dict.fromkeys(month, REST))]
    assert [day for run in runs for day in run] == month
    assert 1 < max(map(len, runs)) <= 20, "neighbours share pages, but a failure costs days, not months"
    apart = dict.fromkeys([month[0], month[2]], REST)
    assert [fetch.days for fetch in plan.group("A", apart)] == [(month[0],), (month[2],)], "no unwanted day of metrics"
    assert [fetch.days for fetch in plan.group("A", dict.fromkeys(month[:3], DAILY))] == [(day,) for day in month[:3]]
    rates = FundingPlan(NOON.date())
    assert [fetch.days for fetch in rates.group("A", apart)] == [(month[0], month[2])], "one page covers both"
    months = [fetch.days for fetch in rates.group("A", dict.fromkeys(month, MONTHLY))]
    assert months == [tuple(month[:28]), tuple(month[28:])]
    assert list(rates.split(month)) == [month]
    assert [len(part) for part in plan.split(month)] == [28, 12]


def days_from(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


@pytest.mark.parametrize(
    ("freq", "days", "requests"),
    [
        # 798 bars are pages of 499 and 299; 798 days of hours are 12 fetches of 62 days (three pages each) and one of 54 (1,296).
        (Freq.d1, 798, 2),
        (Freq.h12, 798, 4),
        (Freq.h4, 798, 10),
        (Freq.h1, 798, 39),
    ],
)
def test_coarse_klines_over_rest_alone_share_pages_across_months(freq: Freq, days: int, requests: int) -> None:
    plan = KlinesPlan(freq, TODAY, KlineSource.API)
    wanted = days_from(date(2023, 11, 17), days)
    parts = list(plan.split(wanted))
    assert [day for part in parts for day in part] == wanted
    fetches = [fetch for part in parts for fetch in plan.group("A", dict.fromkeys(part, REST))]
    assert sum(plan.cost(fetch).requests for fetch in fetches) == requests
    assert max(fetch.window.length * freq.bars_per_day for fetch in fetches) <= 3 * 499, "a failure costs three pages"
    assert len(parts) == len(fetches), "a job is no larger than a fetch"


@pytest.mark.parametrize("choice", [KlineSource.AUTO, KlineSource.VISION])
@pytest.mark.parametrize("freq", [Freq.m5, Freq.d1])
def test_where_the_archive_is_asked_the_month_stays_the_unit(freq: Freq, choice: KlineSource) -> None:
    wanted = days_from(date(2025, 1, 1), 365)
    parts = list(KlinesPlan(freq, TODAY, choice).split(wanted))
    assert [len(part) for part in parts] == [calendar.monthrange(2025, month)[1] for month in range(1, 13)]
    fine = list(KlinesPlan(Freq.m5, TODAY, KlineSource.API).split(wanted))
    assert fine == parts, "a month of minutes is many fetches"


def test_a_page_bridges_days_whose_bars_cost_less_than_a_request() -> None:
    week = [FEBRUARY, FEBRUARY + timedelta(days=7)]
    daily, hourly = (KlinesPlan(freq, TODAY, KlineSource.API) for freq in (Freq.d1, Freq.h1))
    (fetch,) = daily.group("A", dict.fromkeys(week, REST))
    cost = daily.cost(fetch)
    assert (fetch.days, cost.requests, cost.weight, cost.rows) == (tuple(week), 1, 1, 2), (
        "eight bars asked for, two of them stored"
    )
    assert [fetch.days for fetch in hourly.group("A", dict.fromkeys(week, REST))] == [(week[0],), (week[1],)]
    near = [FEBRUARY, FEBRUARY + timedelta(days=5)]
    (fetch,) = hourly.group("A", dict.fromkeys(near, REST))
    assert hourly.cost(fetch).requests == 1
    assert len(list(KlinesPlan(Freq.m5, TODAY).group("A", dict.fromkeys([near[0], near[0] + timedelta(days=2)], REST)))) == 2


def market_requests(plan: FundingPlan, wanted: dict[str, list[date]]) -> tuple[int, int]:
    """Requests for all symbols at once, and symbol-days that go by symbol."""
    fetches = plan.at_once(wanted)
    shared = sum(fetch.symbol_days for fetch in fetches)
    return sum(plan.cost(fetch).requests for fetch in fetches), sum(map(len, wanted.values())) - shared


def test_funding_of_many_symbols_is_asked_for_at_once_where_that_takes_fewer_requests() -> None:
    plan = FundingPlan(TODAY)
    yesterday = [TODAY - timedelta(days=1)]
    month, year = days_from(date(2026, 1, 1), 30), days_from(date(2025, 1, 1), 365)
    many = [f"S{number}USDT" for number in range(500)]
    assert market_requests(plan, dict.fromkeys(many, yesterday)) == (3, 0)
    assert market_requests(plan, dict.fromkeys(many, month)) == (90, 0)
    assert market_requests(plan, dict.fromkeys(many, year)) == (0, 500 * 365), "two pages a symbol against three a day"
    assert market_requests(plan, dict.fromkeys(many[:3], year)) == (0, 3 * 365)
    # Even where there are twice as many pages as usual it must take fewer requests: 6 for a day, 180 for a month.
    assert market_requests(plan, dict.fromkeys(many[:6], yesterday)) == (0, 6)
    assert market_requests(plan, dict.fromkeys(many[:7], yesterday)) == (3, 0)
    assert market_requests(plan, dict.fromkeys(many[:180], month)) == (0, 180 * 30)
    assert market_requests(plan, dict.fromkeys(many[:181], month)) == (90, 0)
    # A night with a symbol that is new to the universe.
    assert market_requests(plan, {**dict.fromkeys(many, yesterday), "NEW": [*year, *yesterday]}) == (3, 365)


def test_a_day_that_is_not_over_is_asked_for_by_nobody() -> None:
    plan = FundingPlan(TODAY)
    wanted = {f"S{number}": [TODAY - timedelta(days=1), TODAY] for number in range(50)}
    (fetch,) = plan.at_once(wanted)
    assert fetch.days == (TODAY - timedelta(days=1),)
    assert market_requests(plan, wanted) == (3, 50)
    assert plan.at_once({symbol: days[1:] for symbol, days in wanted.items()}) == []


def test_only_funding_can_be_asked_for_at_once() -> None:
    wanted = {f"S{number}": [FEBRUARY] for number in range(500)}
    assert KlinesPlan(Freq.d1, TODAY).at_once(wanted) == []
    assert MetricsPlan(NOON).at_once(wanted) == []


def test_costs_are_those_of_the_documented_pages() -> None:
    """Pages of 499 klines weigh 2, of 1000 funding rates and 500 metrics 1; five endpoints make a metrics row."""
    days = tuple(FEBRUARY + timedelta(days=number) for number in range(5))
    klines = KlinesPlan(Freq.m5, TODAY).cost(Fetch(Dataset.KLINES, Freq.m5, REST, "A", days))
    # 1440 rows: two pages of 499 and one of 442.
    assert (klines.requests, klines.weight, klines.rows) == (3, 6, 1440)
    short = KlinesPlan(Freq.h1, TODAY).cost(Fetch(Dataset.KLINES, Freq.h1, REST, "A", days[:1]))
    assert (short.requests, short.weight, short.rows) == (1, 1, 24)
    metrics = MetricsPlan(NOON).cost(Fetch(Dataset.METRICS, Freq.m5, REST, "A", days))
    assert (metrics.requests, metrics.weight, metrics.rows) == (15, 15, 1440)
    daily = MetricsPlan(NOON).cost(Fetch(Dataset.METRICS, Freq.m5, DAILY, "A", days[:1]))
    assert (daily.requests, daily.weight, daily.rows) == (2, 0, 288)
    year = tuple(FEBRUARY + timedelta(days=number) for number in range(334))
    funding = FundingPlan(TODAY).cost(Fetch(Dataset.FUNDING_RATES, Freq.h1, REST, "A", year))
    assert (funding.requests, funding.weight, funding.rows) == (2, 2, 1002)
    plan = FundingPlan(TODAY)
    (market,) = plan.at_once({f"S{number}": list(days[:3]) for number in range(400)})
    cost = plan.cost(market)
    # Nine pages of a thousand rows come over the wire, and three rows a symbol-day are kept.
    assert (cost.requests, cost.weight, cost.rows, cost.bytes) == (9, 9, 3600, 9 * 1000 * klines.bytes // klines.rows)
    monthly = FundingPlan(TODAY).cost(Fetch(Dataset.FUNDING_RATES, Freq.h1, MONTHLY, "A", days))
    assert (monthly.requests, monthly.weight, monthly.rows) == (2, 0, 15)


def test_a_download_has_a_plan_for_each_dataset_that_it_wants() -> None:
    now = NOON.timestamp()
    assert dataset_plans(Freq.h4, KlineSource.API, now, metrics=False) == [KlinesPlan(Freq.h4, NOON.date(), KlineSource.API)]
    plans = dataset_plans(Freq.m5, KlineSource.AUTO, now, metrics=True)
    assert plans == [KlinesPlan(Freq.m5, NOON.date()), MetricsPlan(NOON), FundingPlan(NOON.date())]
    assert [(plan.dataset.value, plan.freq, plan.rows_a_day) for plan in plans] == [
        ("klines", "5m", 288), ("metrics", "5m", 288), ("funding_rates", "", 3),
    ]  # fmt: skip
    assert plan_of(Dataset.KLINES, "1h", now) == KlinesPlan(Freq.h1, NOON.date())


def test_days_that_need_no_request_have_no_first_source() -> None:
    """Before the archive's first metrics nobody need be asked; a day that is not over cannot be fetched."""
    today = NOON.date()
    assert first_sources(MetricsPlan(NOON), [date(2020, 8, 31), date(2020, 9, 1)]) == {date(2020, 9, 1): DAILY}
    assert first_sources(KlinesPlan(Freq.m5, today), [today - timedelta(days=1), today]) == {today - timedelta(days=1): REST}
