"""The time left of a run whose pace changes from dataset to dataset. Time is ours, and so is what every fetch takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from cryptoservice.binance.client import BinanceClient
from cryptoservice.config import Endpoints, NetworkConfig
from cryptoservice.days import Window
from cryptoservice.download.forecast.duration import Durations
from cryptoservice.download.forecast.machine import Machine
from cryptoservice.download.forecast.time_left import TimeLeft
from cryptoservice.download.forecast.workload import Workload
from cryptoservice.download.worklist import Worklist
from cryptoservice.models import Dataset, Freq
from cryptoservice.progress import Outlook
from cryptoservice.sources.datasets import DatasetPlan, FundingPlan, KlinesPlan, MetricsPlan
from cryptoservice.sources.evidence import Source
from cryptoservice.sources.grouping import Cost, Fetch
from tests.unit.fakes import FakeClock

NOW = datetime(2026, 3, 10, 12, tzinfo=timezone.utc)
KLINES, METRICS, FUNDING = Dataset.KLINES, Dataset.METRICS, Dataset.FUNDING_RATES
NAMES = {KLINES: "archive", METRICS: "archive", FUNDING: "funding_rates"}


class Watched(FakeClock):
    """Looks at the run every half second, whether it works or waits."""

    def __init__(self) -> None:
        super().__init__(NOW.timestamp())
        self.look: Callable[[], None] = lambda: None

    def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
        while seconds > 0:
            step = min(0.5, seconds)
            self.advance(step)
            self.look()
            seconds -= step


@dataclass(frozen=True)
class Pace:
    """What takes time, in seconds."""

    request: float
    row: float

    def of(self, fetch: Fetch, cost: Cost) -> float:
        """The seconds of a fetch. A row of metrics takes more than one of klines."""
        return self.request * cost.requests + self.row * cost.rows * (2.5 if fetch.dataset is METRICS else 1)


class Run:
    """A download that takes as long as a test says, after the waits for its budgets."""

    def __init__(self, symbols: int, days: int, client: BinanceClient, clock: Watched, now: datetime = NOW) -> None:
        last = now.date() - timedelta(days=1)
        window = Window(last - timedelta(days=days - 1), last)
        active = {f"S{number:03}USDT": [window.start + timedelta(days=at) for at in range(days)] for number in range(symbols)}
        plans: list[DatasetPlan] = [KlinesPlan(Freq.m5, now.date()), MetricsPlan(now), FundingPlan(now.date())]
        self.worklist = Worklist(None, plans, active, window, incremental=True)
        self.client, self.clock = client, clock
        durations = Durations(NetworkConfig(), Machine(4e-6, 2), has_helpers=True)
        self.left = TimeLeft(Workload.of(self.worklist), self.worklist.datasets, durations, client, clock)
        self.seen: list[tuple[float, int, Outlook]] = []
        self.done = 0
        clock.look = self._look

    def _look(self) -> None:
        self.seen.append((self.clock.monotonic(), self.done, self.left.outlook()))

    def go(self, pace: Pace, latency: float, absent: Callable[[Fetch], bool] = lambda _: False) -> None:
        """Fetch everything; an absent day of metrics is asked for over the API."""
        for work in self.worklist.datasets:
            for symbol, days in work.by_symbol():
                for part in work.plan.split(days):
                    route = {day.day: day.sources[0] for day in work.plan.routes(part)}
                    for fetch in work.plan.group(symbol, route):
                        self._fetch(work.plan, fetch, pace, latency)
                        if absent(fetch):
                            (following,) = work.plan.group(symbol, dict.fromkeys(fetch.days, Source.REST))
                            self.left.asked(METRICS, Source.REST, work.plan.cost(following))
                            self._fetch(work.plan, following, pace, latency, is_first=False)
                        for _ in fetch.days:
                            self.done += 1
                            self.left.ended(work.plan.dataset, work.plan.rows_a_day)

    def _fetch(self, plan: DatasetPlan, fetch: Fetch, pace: Pace, latency: float, *, is_first: bool = True) -> None:
        cost = plan.cost(fetch)
        for _ in range(int(cost.weight) if fetch.source is Source.REST else 0):
            self.client.budgets[plan.dataset].acquire(1)
        self.clock.sleep(pace.of(fetch, cost))
        self.client.traffic.answered(NAMES[plan.dataset], latency)
        self.left.brought(plan.dataset, fetch.source, cost, is_first=is_first)

    def worst(self, said: Callable[[float, int, Outlook], float | None], since: float = 1 / 3) -> float:
        """By what factor it was wrong at most from a third of the run on; the last twentieth is too short to tell."""
        total = self.clock.monotonic()
        factors = []
        for moment, done, outlook in self.seen:
            if since * total <= moment <= 0.95 * total:
                seconds = said(moment, done, outlook)
                assert seconds is not None
                factors.append(max(seconds, 0.01) / (total - moment))
        assert len(factors) > 10
        return max(max(factor, 1 / factor) for factor in factors)

    def by_symbol_days(self, moment: float, done: int, _: Outlook) -> float:
        """What the count of symbol-days alone would say."""
        return moment * (self.worklist.symbol_days - done) / max(1, done)


@contextmanager
def running(symbols: int, days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: datetime = NOW) -> Iterator[Run]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    clock = Watched()
    nowhere = "http://127.0.0.1:9"
    with BinanceClient(NetworkConfig(Endpoints(nowhere, nowhere, nowhere)), clock) as client:
        yield Run(symbols, days, client, clock, now)


def left_of(_: float, __: int, outlook: Outlook) -> float | None:
    return outlook.seconds_left


# What a request and a row take, and how far the hosts are away; eight requests are under way at once.
PACES = {
    "a quick machine nearby": (Pace(0.001, 2e-6), 0.001),
    "a usual machine nearby": (Pace(0.002, 5e-6), 0.002),
    "a machine that others use": (Pace(0.006, 15e-6), 0.004),
    "a distant archive": (Pace(0.1 / 8, 4e-6), 0.1),
    "a very distant archive": (Pace(0.5 / 8, 4e-6), 0.5),
}


@pytest.mark.parametrize("name", PACES)
def test_the_time_left_of_a_mixed_run_is_right_from_a_third_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pace, latency = PACES[name]
    with running(40, 120, tmp_path, monkeypatch) as run:
        run.go(pace, latency)
        assert run.worst(left_of) <= 1.5
        assert run.worst(run.by_symbol_days) > 1.5, "else this proves nothing"


def test_a_budget_that_binds_is_known_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 symbols of a night before the archive has published: 1,500 requests at 900 in five minutes."""
    night = NOW.replace(hour=3)
    with running(300, 1, tmp_path, monkeypatch, night) as run:
        first = run.left.outlook()
        assert first.seconds_left == 301.0
        assert first.requests == 300 + 300 + 1500 + 3
        assert first.parts == {"klines": (0, 300), "metrics": (0, 300), "funding_rates": (0, 300)}
        run.go(Pace(0.0015, 4e-6), 0.001, lambda fetch: fetch.source is Source.DAILY)
        assert run.clock.monotonic() >= 301
        assert run.worst(left_of, since=0.0) <= 1.5
        assert run.worst(run.by_symbol_days) > 1.5
        waiting = [outlook for _, _, outlook in run.seen if outlook.full_until]
        assert len(waiting) > 400
        assert {tuple(outlook.full_until) for outlook in waiting} == {("metrics",)}
        # The first metrics request was sent after some 300 klines; the first to be granted again comes 301 seconds later.
        (until,) = {round(outlook.full_until["metrics"]) for outlook in waiting[:100]}
        assert 301 <= until - NOW.timestamp() < 301 + 10


@pytest.mark.parametrize(("hour", "absent"), [(12, True), (3, False)])
def test_what_was_not_expected_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hour: int, absent: bool) -> None:
    """After nine o'clock nothing has been published, and before it everything: both are against the plan."""
    with running(150, 1, tmp_path, monkeypatch, NOW.replace(hour=hour)) as run:
        before = run.left.outlook().requests
        run.go(Pace(0.01, 4e-6), 0.02, lambda fetch: absent and fetch.source is Source.DAILY)
        assert before == 150 + (300 if hour == 12 else 150 + 750) + 3
        told = [outlook.requests for _, _, outlook in run.seen if outlook.requests is not None]
        really = 150 + (300 + 750 if absent else 150) + 3
        assert told[-1] == pytest.approx(really, rel=0.02)
        assert run.left.outlook().seconds_left == pytest.approx(0, abs=0.1)


def test_nothing_is_said_before_anything_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(3, 30, tmp_path, monkeypatch) as run:
        run.clock.advance(5)
        assert run.left.outlook().seconds_left is None
        assert run.left.outlook().full_until == {}


def test_rows_and_requests_are_foretold_and_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(5, 70, tmp_path, monkeypatch) as run:
        workload = Workload.of(run.worklist)
        requests = sum(share.requests for share in workload.shares)
        rows = 5 * 70 * (288 + 288 + 3)
        run.go(Pace(0.02, 4e-6), 0.01)
        assert {outlook.rows for _, _, outlook in run.seen} == {rows}
        for _, _, outlook in run.seen:
            assert outlook.requests == pytest.approx(requests, abs=2)
