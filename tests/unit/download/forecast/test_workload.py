"""The workload of a worklist: its cost by dataset and source, counted by hand."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from cryptoservice.days import Window
from cryptoservice.download.forecast.workload import Share, Work, Workload
from cryptoservice.download.worklist import Worklist
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.sources.datasets import DatasetPlan, FundingPlan, KlinesPlan, MetricsPlan
from cryptoservice.sources.evidence import Source
from cryptoservice.sources.grouping import Cost
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter

NOW = datetime(2026, 3, 10, 3, 30, tzinfo=timezone.utc)
TODAY = NOW.date()
KLINES, METRICS, FUNDING = Dataset.KLINES, Dataset.METRICS, Dataset.FUNDING_RATES
WINDOW = Window(date(2026, 2, 1), date(2026, 3, 9))
DAYS = [WINDOW.start + timedelta(days=number) for number in range(WINDOW.length)]
ACTIVE = {"AUSDT": DAYS, "BUSDT": DAYS[-1:]}
PLANS: list[DatasetPlan] = [KlinesPlan(Freq.m5, TODAY), MetricsPlan(NOW), FundingPlan(TODAY)]


def test_each_source_has_its_share() -> None:
    workload = Workload.of(Worklist(None, PLANS, ACTIVE, WINDOW, incremental=True))
    found = {
        (share.dataset, share.source): (share.symbol_days, share.fetches, share.requests, share.weight, share.rows)
        for share in workload.shares
    }
    assert found == {
        # February is a month; the first eight days of March have objects of their own, and yesterday is a page of weight 2.
        (KLINES, Source.MONTHLY): (28, 1, 2, 0, 28 * 288),
        (KLINES, Source.DAILY): (8, 8, 16, 0, 8 * 288),
        (KLINES, Source.REST): (2, 2, 2, 4, 2 * 288),
        # Yesterday's two files answer 404 at this hour: five requests each stand in for them.
        (METRICS, Source.DAILY): (36, 36 + 2, 72 + 2, 0, 36 * 288),
        (METRICS, Source.REST): (2, 2, 10, 10, 2 * 288),
        (FUNDING, Source.REST): (38, 2, 2, 2, 38 * 3),
    }
    assert (workload.not_published, workload.without_request, workload.objects) == (2, 0, 1 + 8 + 36)
    assert workload.later(METRICS) == Work(api_fetches=2, api_requests=10, weight=10)
    assert workload.later(KLINES) == Work()
    assert workload.work(METRICS) == Work(38, 74, 2, 10, 10, 38 * 288)
    assert (workload.new_days, workload.new_rows) == (3 * 38, {KLINES: 38 * 288, METRICS: 38 * 288, FUNDING: 38 * 3})


def test_the_listing_is_counted_once_for_its_range() -> None:
    worklist = Worklist(None, PLANS[1:2], {"AUSDT": DAYS[:28]}, WINDOW, incremental=True, may_list=True)
    (share,) = Workload.of(worklist).shares
    # 28 objects, one page of the listing, and the first three objects with their checksums.
    assert (share.fetches, share.requests) == (28, 28 + 1 + 3)


def test_days_that_are_fetched_again_need_no_room(tmp_path: Path) -> None:
    path = tmp_path / "market.db"
    series = Series(KLINES, "5m", "AUSDT")
    with StoreWriter.open(path) as store:
        store.write(SymbolDay(series, day, Status.CONFIRMED_GAP, "why", (), 288, "daily", 0.0) for day in DAYS[:10])
        workload = Workload.of(Worklist(store, PLANS[:1], ACTIVE, WINDOW, incremental=False))
        assert (workload.new_days, workload.new_rows) == (28, {KLINES: 28 * 288})
        assert sum(share.symbol_days for share in workload.shares) == 38
        left = Workload.of(Worklist(store, PLANS[:1], ACTIVE, WINDOW, incremental=True))
        assert (left.new_days, sum(share.symbol_days for share in left.shares)) == (28, 28)


def test_work_adds_up() -> None:
    archive, rest = Share(METRICS, Source.DAILY, 36, 36, 72, 0, 10_368, 1), Share(METRICS, Source.REST, 2, 2, 10, 10, 576, 1)
    both = Work.of(archive) + Work.of(rest)
    assert both == Work(36, 72, 2, 10, 10, 10_944)
    assert both.requests == 82
    assert both * 0.5 == Work(18, 36, 1, 5, 5, 5_472)
    assert both - Work.of_fetch(Source.REST, Cost(20, 20, 288, 1)) == Work(36, 72, 1, 0, 0, 10_944), "nothing is negative"
    assert Work.of_fetch(Source.DAILY, Cost(2, 0, 288, 1)) == Work(1, 2)


@pytest.mark.parametrize(("hour", "early"), [(0, True), (8, True), (9, False), (23, False)])
def test_only_yesterdays_metrics_are_too_early(hour: int, early: bool) -> None:
    plan = MetricsPlan(NOW.replace(hour=hour, minute=59))
    for days, expected in ((DAYS[-1:], early), (DAYS[-2:-1], False)):
        (fetch,) = plan.group("AUSDT", dict.fromkeys(days, Source.DAILY))
        assert plan.is_too_early(fetch) is expected
    (rest,) = plan.group("AUSDT", dict.fromkeys(DAYS[-1:], Source.REST))
    assert not plan.is_too_early(rest)
