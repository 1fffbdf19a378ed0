"""How long work takes, and what binds: this machine, the distance to a host, a delay between requests, or a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptoservice.binance.client import policies
from cryptoservice.config import NetworkConfig
from cryptoservice.download.forecast.machine import Machine
from cryptoservice.download.forecast.workload import Work
from cryptoservice.models import Dataset, Record, Word

ROWS_FOR_HELPERS = 100_000
"""Helper processes take some 0.1 s to start: they pay when there is more to decode than that."""
ASSUMED_LATENCY = 0.1
"""Seconds from a request to its answer, before anything has been asked."""

# Measured: as often as this other threads send or receive before a thread can go on.
_TURNS = 5


class Cause(Word):
    """What can bind a download."""

    MACHINE = "machine"
    ARCHIVE_LATENCY = "archive_latency"
    API_LATENCY = "api_latency"
    ARCHIVE_DELAY = "archive_delay"
    API_DELAY = "api_delay"
    BUDGET = "budget"


@dataclass(frozen=True)
class Latency:
    """Seconds from a request to its answer, by host."""

    archive: float = ASSUMED_LATENCY
    api: float = ASSUMED_LATENCY


@dataclass(frozen=True)
class Bound(Record):
    """What binds: the cause, its limit, and the seconds that the limit is about.

    A budget allows `limit` requests, or weight for klines, in so many seconds. Otherwise the limit is that of requests at once
    or of rows a second.
    """

    cause: Cause
    dataset: Dataset | None
    """Whose budget it is."""
    limit: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """How long all of it takes."""

    seconds: float
    bound_by: Bound | None
    """What most of the time goes to; None when there is nothing to do."""


@dataclass(frozen=True)
class Durations:
    """The durations of one download, by the options of its network and the speed of its machine.

    Datasets follow one another. Within one of them its requests to both hosts, its budget and this machine's work go on side by
    side, so that the slowest of them counts.
    """

    network: NetworkConfig
    machine: Machine
    has_helpers: bool = False

    def of(self, work: Mapping[Dataset, Work], latency: float) -> Forecast:
        """The duration of a whole download, and what most of its time goes to."""
        by_bound: dict[tuple[Cause, Dataset | None], float] = {}
        total = 0.0
        for dataset, part in work.items():
            causes = {
                **self.causes(dataset, part, Latency(latency, latency)),
                Cause.BUDGET: self.budget_seconds(dataset, part.weight),
            }
            cause = max(causes, key=causes.__getitem__)
            # What is sent after the last wait takes as long as it would without any.
            seconds = causes[cause] + (self._after_last_wait(dataset, part, causes) if cause is Cause.BUDGET else 0.0)
            total += seconds
            key = (cause, dataset if cause is Cause.BUDGET else None)
            by_bound[key] = by_bound.get(key, 0.0) + seconds
        if not total:
            return Forecast(0.0, None)
        return Forecast(total + self.machine.start_seconds, self._bound(*max(by_bound, key=by_bound.__getitem__), latency))

    def causes(self, dataset: Dataset, work: Work, latency: Latency) -> dict[Cause, float]:
        """How long each part of the work takes, budgets left out."""
        rates, workers, machine = self.network.rates, self.network.workers, self.machine

        def lane(fetches: float, requests: float, at_once: int, seconds: float) -> float:
            # Between two requests a thread waits until it gets the processor, which the others want, too.
            return requests * (seconds + _TURNS * machine.request_seconds) / max(1.0, min(at_once, fetches))

        rows = machine.rows_seconds(dataset, work.rows, has_helpers=self.has_helpers)
        requests = work.archive_requests * machine.request_seconds + work.api_requests * machine.api_request_seconds
        return {
            Cause.MACHINE: rows + requests,
            Cause.ARCHIVE_LATENCY: lane(work.archive_fetches, work.archive_requests, workers.vision, latency.archive),
            Cause.API_LATENCY: lane(work.api_fetches, work.api_requests, workers.api, latency.api),
            Cause.ARCHIVE_DELAY: work.archive_requests * rates.vision_request_delay,
            Cause.API_DELAY: work.api_requests * rates.api_request_delay,
        }

    def budget_seconds(self, dataset: Dataset, weight: float) -> float:
        """The least time in which the budget of a dataset lets so much pass, to a run that begins."""
        return policies(self.network.rates)[dataset].seconds_for(weight)

    def _after_last_wait(self, dataset: Dataset, work: Work, causes: Mapping[Cause, float]) -> float:
        budget = policies(self.network.rates)[dataset].max_weight
        if not budget or not work.weight:
            return 0.0
        # All but this came in whole budgets.
        last = work.weight % budget or budget
        return last / work.weight * max(causes[Cause.API_LATENCY], causes[Cause.MACHINE])

    def _bound(self, cause: Cause, dataset: Dataset | None, latency: float) -> Bound:
        rates, workers = self.network.rates, self.network.workers
        if cause is Cause.BUDGET and dataset is not None:
            policy = policies(rates)[dataset]
            return Bound(cause, dataset, policy.max_weight or 0, policy.window)
        limits = {
            Cause.ARCHIVE_LATENCY: (workers.vision, latency),
            Cause.API_LATENCY: (workers.api, latency),
            Cause.ARCHIVE_DELAY: (1, rates.vision_request_delay),
            Cause.API_DELAY: (1, rates.api_request_delay),
        }
        limit, seconds = limits.get(cause, (self._rows_a_second, 1.0))
        return Bound(cause, None, limit, seconds)

    @property
    def _rows_a_second(self) -> int:
        return round(1 / self.machine.rows_seconds(Dataset.KLINES, 1, has_helpers=self.has_helpers))
