"""The plan of each dataset: what it would ask first, in how many requests, and at what cost."""

from __future__ import annotations

import calendar
import itertools
from datetime import date, datetime, timedelta, timezone

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
