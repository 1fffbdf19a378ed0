"""The job of the whole market: days for which all symbols are asked at once, because that takes fewer requests.

Each symbol keeps a job of its own, which takes what the pages of all symbols hold for it. What they lack is asked for by
symbol when all of these pages have come, so that the days of a symbol share requests then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from cryptoservice.download.jobs.job import Job, Step, StoredDays, nothing_stored
from cryptoservice.sources.datasets import DatasetPlan
from cryptoservice.sources.decoding import Answers
from cryptoservice.sources.grouping import Fetch, MarketFetch


class MarketJob:
    """The symbol-days of one dataset that are asked for at once."""

    symbol = ""
    """None in particular."""

    def __init__(self, plan: DatasetPlan, fetches: Sequence[MarketFetch], stored: Mapping[str, StoredDays]) -> None:
        self.plan = plan
        self._fetches = fetches
        days: dict[str, list[date]] = {}
        for fetch in fetches:
            for symbol, wanted in fetch.wanted.items():
                days.setdefault(symbol, []).extend(wanted)
        self._jobs = {symbol: Job(plan, symbol, wanted, stored.get(symbol, nothing_stored)) for symbol, wanted in days.items()}
        """Those that have not finished."""

    @property
    def is_finished(self) -> bool:
        """True when nothing more is under way."""
        return not self._jobs

    def begin(self) -> Step:
        """The fetches of all symbols at once."""
        step = Step(fetches=list(self._fetches))
        for fetch in self._fetches:
            for symbol in fetch.wanted:
                self._jobs[symbol].expect()
        for job in self._jobs.values():
            step.add(job.begin())
        return step

    def receive(self, fetch: Fetch, answers: Answers) -> Step:
        """What a fetch has brought for one symbol."""
        job = self._jobs[fetch.symbol]
        step = job.receive(fetch, answers)
        if job.is_finished:
            del self._jobs[fetch.symbol]
        return step
