"""The time left of a download that goes on, by the requests and rows that are left and the pace of the recent past.

The count of symbol-days alone would say little: a month of klines comes in one request, and a day of metrics may take seven,
which may have to wait for a budget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock
from cryptoservice.download.forecast.duration import ASSUMED_LATENCY, Cause, Durations, Latency
from cryptoservice.download.forecast.workload import Work, Workload
from cryptoservice.download.worklist import DatasetWork
from cryptoservice.models import Dataset
from cryptoservice.progress import Outlook
from cryptoservice.sources.evidence import Source
from cryptoservice.sources.grouping import Cost

_RECENT_SECONDS = 20.0
_SAMPLE_SECONDS = 0.5
# Until so many seconds of work were seen, the forecast counts as much as what was seen.
_TRUSTED_SECONDS = 1.0
# What a plan expects of the archive counts as much as the first so many answers of it.
_TRUSTED_ANSWERS = 20
_SLOWEST_PACE = 20.0
# The turn of a dataset has come with so many fetches: a few come while the last ones of another are on their way.
_FETCHES_OF_NEXT = 10
_ARCHIVE_SOURCES = ("archive", "archive_checksum")
_API_SOURCES = ("klines", "metrics", "funding_rates")


@dataclass
class _Phase:
    """One dataset of a download while it goes on."""

    days: int
    rows_a_day: int
    first: Work
    """What is asked first."""
    expected: Work
    """What probably follows."""
    archive_brought: int = 0
    api_brought: int = 0
    """Fetches of the first choice that have come to their end."""
    followed: Work = field(default_factory=Work)
    """What had to be asked after an answer."""
    followed_brought: Work = field(default_factory=Work)
    days_done: int = 0
    rows_done: int = 0

    @property
    def brought(self) -> Work:
        """What has been done of it."""
        first = _scaled(self.first, self.archive_brought, self.api_brought)
        return first + self.followed_brought + Work(rows=self.rows_done)

    @property
    def left(self) -> Work:
        """What has to be done yet."""
        archive = max(0.0, self.first.archive_fetches - self.archive_brought)
        api = max(0.0, self.first.api_fetches - self.api_brought)
        answers = self.archive_brought + self.api_brought
        asked = self.first.archive_fetches + self.first.api_fetches
        per_answer = (self.expected * (_TRUSTED_ANSWERS / max(1.0, asked)) + self.followed) * (1 / (_TRUSTED_ANSWERS + answers))
        following = self.followed + per_answer * (archive + api)
        rows = (self.days - self.days_done) * self.rows_a_day
        return _scaled(self.first, archive, api) + (following - self.followed_brought) + Work(rows=rows)


def _scaled(work: Work, archive: float, api: float) -> Work:
    """The share of so many fetches of each host, without rows."""
    of_archive, of_api = archive / max(1.0, work.archive_fetches), api / max(1.0, work.api_fetches)
    return Work(archive, work.archive_requests * of_archive, api, work.api_requests * of_api, work.weight * of_api)


class TimeLeft:
    """Counts the work of a download against what was planned, and says how long the rest takes.

    It is told of everything by the thread that runs the pipeline.
    """

    def __init__(
        self, workload: Workload, datasets: Iterable[DatasetWork], durations: Durations, client: BinanceClient, clock: Clock
    ) -> None:
        self._durations = durations
        self._client = client
        self._clock = clock
        self._phases = {
            work.plan.dataset: _Phase(
                sum(map(len, work.wanted.values())),
                work.plan.rows_a_day,
                workload.work(work.plan.dataset) - workload.later(work.plan.dataset),
                workload.later(work.plan.dataset),
            )
            for work in datasets
        }
        self._current: Dataset | None = None
        """The dataset that is worked at."""
        self._order = list(self._phases)
        self._former_pace = 1.0
        """The pace that was known when it began."""
        self._seen_at = clock.monotonic()
        self._active = 0.0
        """Seconds so far without those in which a budget was full."""
        self._samples: deque[tuple[float, dict[Dataset, Work]]] = deque([(0.0, dict.fromkeys(self._phases, Work()))])

    def asked(self, dataset: Dataset, source: Source, cost: Cost) -> None:
        """Something has to be asked that was not asked first."""
        self._phases[dataset].followed += Work.of_fetch(source, cost)

    def brought(self, dataset: Dataset, source: Source, cost: Cost, *, is_first: bool) -> None:
        """A fetch has come to its end."""
        phase = self._phases[dataset]
        if not is_first:
            phase.followed_brought += Work.of_fetch(source, cost)
        elif source is Source.REST:
            phase.api_brought += 1
        else:
            phase.archive_brought += 1
        if self._current is None or (
            self._order.index(dataset) > self._order.index(self._current)
            and phase.archive_brought + phase.api_brought >= _FETCHES_OF_NEXT
        ):
            self._begin(dataset)

    def _begin(self, dataset: Dataset) -> None:
        """The next dataset's turn has come. It has a pace of its own, which is not known yet."""
        done = {each: phase.brought for each, phase in self._phases.items()}
        if self._current is not None:
            self._former_pace = self._pace(done, self._latency())
        self._current = dataset
        self._samples.clear()
        self._samples.append((self._active, done))

    def ended(self, dataset: Dataset, rows: int) -> None:
        """A symbol-day has come to its end, with so many rows."""
        self._phases[dataset].days_done += 1
        self._phases[dataset].rows_done += rows

    def outlook(self) -> Outlook:
        """What lies ahead, just now."""
        left = {dataset: phase.left for dataset, phase in self._phases.items()}
        done = {dataset: phase.brought for dataset, phase in self._phases.items()}
        full_until = {
            dataset.value: until for dataset in self._phases if (until := self._client.budgets[dataset].full_until) is not None
        }
        self._sample(done, is_waiting=bool(full_until))
        return Outlook(
            seconds_left=self._seconds(left, done),
            parts={dataset.value: (phase.days_done, phase.days) for dataset, phase in self._phases.items()},
            requests=round(sum(work.requests for works in (left, done) for work in works.values())),
            rows=round(sum(work.rows for works in (left, done) for work in works.values())),
            full_until=full_until,
        )

    def _seconds(self, left: dict[Dataset, Work], done: dict[Dataset, Work]) -> float | None:
        latency, total, least = self._latency(), 0.0, 0.0
        pace = self._pace(done, latency)
        for dataset, work in left.items():
            causes = self._durations.causes(dataset, work, latency)
            cause = max(causes, key=causes.__getitem__)
            # What slows down the current dataset holds for the others as far as this machine is the reason.
            own = causes[cause] * (pace if dataset is self._current or cause is Cause.MACHINE else 1.0)
            budget = self._client.budgets[dataset].seconds_for(work.weight)
            least += budget
            total += max(own, budget)
        # Before anything has come, only a budget is known to bind.
        return total if self._current is not None else least or None

    def _latency(self) -> Latency:
        archive, api = (self._client.traffic.answer_seconds(sources) for sources in (_ARCHIVE_SOURCES, _API_SOURCES))
        known = [seconds for seconds in (archive, api) if seconds is not None]
        other = max(known, default=ASSUMED_LATENCY)
        return Latency(other if archive is None else archive, other if api is None else api)

    def _sample(self, done: dict[Dataset, Work], *, is_waiting: bool) -> None:
        now = self._clock.monotonic()
        if not is_waiting:
            self._active += now - self._seen_at
        self._seen_at = now
        if self._active - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((self._active, done))
        # One that is older than the recent past stays: what has come since then is what counts.
        while len(self._samples) > 2 and self._samples[1][0] <= self._active - _RECENT_SECONDS:
            self._samples.popleft()

    def _pace(self, done: dict[Dataset, Work], latency: Latency) -> float:
        """How much longer the recent past took than was forecast."""
        since, before = self._samples[0]
        foretold = 0.0
        for dataset, work in done.items():
            foretold += max(self._durations.causes(dataset, work - before[dataset], latency).values())
        pace = (self._active - since + self._former_pace * _TRUSTED_SECONDS) / (foretold + _TRUSTED_SECONDS)
        return min(_SLOWEST_PACE, max(1 / _SLOWEST_PACE, pace))
