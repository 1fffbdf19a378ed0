"""How long work takes, computed by hand, and what binds."""

from __future__ import annotations

import pytest

from cryptoservice.config import NetworkConfig, RateConfig, WorkerConfig
from cryptoservice.download.forecast.duration import Bound, Cause, Durations, Forecast, Latency
from cryptoservice.download.forecast.machine import Machine
from cryptoservice.download.forecast.workload import Work
from cryptoservice.models import Dataset

KLINES, METRICS, FUNDING = Dataset.KLINES, Dataset.METRICS, Dataset.FUNDING_RATES
# Rows and requests take no time to speak of.
QUICK = Machine(1e-12, 2)


def durations(machine: Machine = QUICK, **rates: float) -> Durations:
    return Durations(NetworkConfig(rates=RateConfig(**rates), workers=WorkerConfig(5, 8)), machine)  # type: ignore[arg-type]


def test_nothing_takes_no_time() -> None:
    assert durations().of({KLINES: Work(), METRICS: Work()}, 0.1) == Forecast(0.0, None)


def test_workers_share_the_distance() -> None:
    archive = {METRICS: Work(archive_fetches=400, archive_requests=800, rows=115_200)}
    forecast = durations().of(archive, 0.1)
    assert forecast.seconds == pytest.approx(800 * 0.1 / 8, rel=1e-3)
    assert forecast.bound_by == Bound(Cause.ARCHIVE_LATENCY, None, 8, 0.1)
    # Two pages of all symbols, one after the other, are not quicker with five workers.
    market = {FUNDING: Work(api_fetches=1, api_requests=3, weight=3, rows=1500)}
    assert durations().of(market, 0.1).seconds == pytest.approx(0.3, rel=1e-3)


@pytest.mark.parametrize(
    ("dataset", "weight", "windows", "limit", "length"),
    [
        (METRICS, 2500, 2, 900, 300), (METRICS, 900, 0, 900, 300), (FUNDING, 500, 1, 450, 300), (KLINES, 18_000, 9, 1800, 60),
    ],
)  # fmt: skip
def test_a_budget_takes_whole_windows(dataset: Dataset, weight: int, windows: int, limit: int, length: float) -> None:
    work = {dataset: Work(api_fetches=100, api_requests=weight / 2, weight=weight)}
    forecast = durations().of(work, 0.0)
    assert forecast.seconds == pytest.approx(windows * (length + 1), abs=0.01)
    if windows:
        assert forecast.bound_by == Bound(Cause.BUDGET, dataset, limit, length)


def test_what_is_sent_after_the_last_wait_takes_its_time() -> None:
    work = {METRICS: Work(api_fetches=500, api_requests=2500, weight=2500)}
    # 700 of them, five at once.
    assert durations().of(work, 0.1).seconds == pytest.approx(2 * 301 + 700 * 0.1 / 5, rel=1e-3)


def test_datasets_follow_one_another_and_what_takes_most_is_named() -> None:
    work = {
        KLINES: Work(api_fetches=500, api_requests=500, weight=1000),
        METRICS: Work(archive_fetches=500, archive_requests=500, api_fetches=500, api_requests=2500, weight=2500),
        FUNDING: Work(api_fetches=500, api_requests=500, weight=500),
    }
    forecast = durations().of(work, 0.1)
    assert forecast.seconds == pytest.approx(500 * 0.1 / 5 + 602 + 700 * 0.1 / 5 + 301 + 50 * 0.1 / 5, rel=1e-3)
    assert forecast.bound_by == Bound(Cause.BUDGET, METRICS, 900, 300.0)


def test_a_delay_between_requests_binds() -> None:
    work = {METRICS: Work(archive_fetches=50, archive_requests=100)}
    slow = durations(vision_request_delay=0.5).of(work, 0.1)
    assert (slow.seconds, slow.bound_by) == (pytest.approx(50, rel=1e-3), Bound(Cause.ARCHIVE_DELAY, None, 1, 0.5))
    work = {KLINES: Work(api_fetches=50, api_requests=100, weight=100)}
    slow = durations(api_request_delay=2.0).of(work, 0.1)
    assert (slow.seconds, slow.bound_by) == (pytest.approx(200, rel=1e-3), Bound(Cause.API_DELAY, None, 1, 2.0))


def test_this_machine_binds_where_nothing_else_does() -> None:
    machine = Machine(1e-5, 1)
    forecast = durations(machine).of({KLINES: Work(archive_fetches=60, archive_requests=120, rows=500_000)}, 0.0)
    assert forecast.seconds == pytest.approx(6.0 + 120 * machine.request_seconds + machine.start_seconds)
    assert forecast.bound_by == Bound(Cause.MACHINE, None, 83_333, 1.0)


def test_hosts_may_be_near_and_far() -> None:
    work = Work(archive_fetches=80, archive_requests=80, api_fetches=50, api_requests=50)
    causes = durations().causes(KLINES, work, Latency(archive=0.8, api=0.1))
    assert causes[Cause.ARCHIVE_LATENCY] == pytest.approx(8.0)
    assert causes[Cause.API_LATENCY] == pytest.approx(1.0)
