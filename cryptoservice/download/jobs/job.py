"""The usual job: one symbol's wanted days of one dataset, from the first fetch to the last verdict.

A job answers each arrival with a `Step`: days that have ended, and what is to be fetched next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from cryptoservice.models import SourceObject
from cryptoservice.sources.datasets import DatasetPlan
from cryptoservice.sources.decoding import Answers
from cryptoservice.sources.evidence import Source, SourceAnswer
from cryptoservice.sources.grouping import Fetch
from cryptoservice.sources.routing import DayRoute
from cryptoservice.sources.verdict import Verdict, origin_of
from cryptoservice.storage.ledger import Series, StoredDay

StoredDays = Callable[[date], "StoredDay | None"]
"""Reads a symbol-day as an earlier run has left it; None when there is none."""


class EndedDay(NamedTuple):
    """A symbol-day that has ended, and the archive object that its rows came from, if one did."""

    series: Series
    day: date
    verdict: Verdict
    origin: SourceObject | None


@dataclass
class Step:
    """What an arrival leads to."""

    ended: list[EndedDay] = field(default_factory=list)
    fetches: list[Fetch] = field(default_factory=list)

    def add(self, other: Step) -> None:
        """What something else leads to as well."""
        self.ended += other.ended
        self.fetches += other.fetches


def nothing_stored(_: date) -> StoredDay | None:
    """For a job whose days were never fetched before."""
    return None


class Job:
    """One symbol's wanted days of one dataset, and what the sources have said of them so far."""

    def __init__(self, plan: DatasetPlan, symbol: str, days: Iterable[date], stored: StoredDays = nothing_stored) -> None:
        self.plan = plan
        self.symbol = symbol
        self.fetches_open = 0
        self._routes: dict[date, DayRoute] = {route.day: route for route in plan.routes(list(days))}
        self._stored = stored
        self._evidence: dict[date, dict[Source, SourceAnswer]] = {}
        self._waiting_for_rest: dict[date, Source] = {}
        """Days that need REST. They are held back until the archive has answered for all days, so that neighbours share pages."""

    @property
    def series(self) -> Series:
        """Where its rows are stored."""
        return Series(self.plan.dataset, self.plan.freq, self.symbol)

    @property
    def days(self) -> list[date]:
        """The days that have not ended yet."""
        return list(self._routes)

    @property
    def is_finished(self) -> bool:
        """True when nothing more is under way."""
        return self.fetches_open == 0

    def begin(self) -> Step:
        """The first fetches."""
        return self._advance(self.days)

    def expect(self) -> None:
        """Somebody else fetches something that holds days of this job too, and it will be received like an own fetch.

        Told before the job begins, this lets its days wait for that before they are asked for.
        """
        self.fetches_open += 1

    def receive(self, fetch: Fetch, answers: Answers) -> Step:
        """A fetch of this job has brought these answers."""
        self.fetches_open -= 1
        for day, answer in answers.items():
            self._evidence.setdefault(day, {})[fetch.source] = answer
            self._waiting_for_rest.pop(day, None)
        return self._advance(fetch.days)

    def _advance(self, days: Iterable[date]) -> Step:
        step = Step()
        sources: dict[date, Source] = {}
        for day in days:
            found = self._next(day)
            if isinstance(found, Verdict):
                step.ended.append(self._end(day, found))
            elif found is Source.REST:
                self._waiting_for_rest[day] = found
            elif found is not None:
                sources[day] = found
        self._fetch(step, sources)
        if self.fetches_open == 0 and self._waiting_for_rest:
            self._fetch(step, self._waiting_for_rest)
            self._waiting_for_rest = {}
        return step

    def _next(self, day: date) -> Source | Verdict | None:
        """The source to ask next, or the verdict; None when the day waits for something else."""
        return self.plan.next_step(self._routes[day], self._evidence.get(day, {}), self._stored(day))

    def _end(self, day: date, verdict: Verdict) -> EndedDay:
        evidence = self._evidence.pop(day, {})
        del self._routes[day]
        return EndedDay(self.series, day, verdict, origin_of(verdict.sources, evidence))

    def _fetch(self, step: Step, sources: Mapping[date, Source]) -> None:
        fetches = list(self.plan.group(self.symbol, sources))
        self.fetches_open += len(fetches)
        step.fetches += fetches
