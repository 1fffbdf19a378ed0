"""The workload of a download: what its worklist costs, by dataset and source. A plan shows it, and a run counts against it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import astuple, dataclass

from cryptoservice.binance.archive_files import FileRange
from cryptoservice.binance.checksums import TRIALS
from cryptoservice.clock import raise_if_stopped
from cryptoservice.download.worklist import Worklist
from cryptoservice.models import Dataset, Record
from cryptoservice.sources.datasets import DatasetPlan, first_sources
from cryptoservice.sources.evidence import Source
from cryptoservice.sources.grouping import Cost, Fetch

# An object and its CHECKSUM, in the listing (docs/wire.md, bucket listing).
_BYTES_A_LISTED_OBJECT = 540


@dataclass
class Share(Record):
    """What one dataset would ask of one source."""

    dataset: Dataset
    source: Source
    symbol_days: int = 0
    fetches: int = 0
    requests: int = 0
    weight: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Work:
    """What takes time in the fetches of one dataset."""

    archive_fetches: float = 0
    archive_requests: float = 0
    api_fetches: float = 0
    api_requests: float = 0
    weight: float = 0
    rows: float = 0

    @classmethod
    def of(cls, share: Share) -> Work:
        """That of a share of a plan."""
        if share.source is Source.REST:
            return cls(0, 0, share.fetches, share.requests, share.weight, share.rows)
        return cls(share.fetches, share.requests, 0, 0, 0, share.rows)

    @classmethod
    def of_fetch(cls, source: Source, cost: Cost) -> Work:
        """That of one fetch. Its rows count when their day has ended."""
        return cls(0, 0, 1, cost.requests, cost.weight) if source is Source.REST else cls(1, cost.requests)

    @property
    def requests(self) -> float:
        """To all hosts."""
        return self.archive_requests + self.api_requests

    def __add__(self, other: Work) -> Work:
        return Work(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Work) -> Work:
        """What is left of it; no part of that is negative."""
        return Work(*(max(0, one - less) for one, less in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, factor: float) -> Work:
        return Work(*(factor * one for one in astuple(self)))


class Workload:
    """The first choices of a worklist, and what probably follows where the archive has not published an object yet."""

    def __init__(self) -> None:
        self.without_request = 0
        """Symbol-days that are settled without asking anybody, or cannot be asked for yet."""
        self.not_published = 0
        """Symbol-days of which the archive has probably no object yet, so that the API is asked as well."""
        self.new_rows: dict[Dataset, int] = {}
        """Rows that are not in the database yet, by dataset."""
        self.new_days = 0
        """Symbol-days that the ledger does not know as settled."""
        self._shares: dict[tuple[Dataset, Source], Share] = {}
        self._later: dict[Dataset, Work] = {}
        self._pages: set[FileRange] = set()
        """Of this symbol."""
        self._trials = TRIALS

    @classmethod
    def of(cls, worklist: Worklist, stop: threading.Event | None = None) -> Workload:
        """The workload of a worklist, whose database is still open. Raises Interrupted when `stop` is set."""
        made = cls()
        # By the sources of settled days a refetch knows where to begin.
        before = worklist.settled_before()
        for work in worklist.datasets:
            made._add(work.plan, work.at_once)
            for symbol, days in work.by_symbol():
                raise_if_stopped(stop)
                plan = worklist.plan_of(work, symbol, days)
                for part in plan.split(days):
                    sources = first_sources(plan, part, before.get((plan.dataset, symbol)))
                    made.without_request += len(part) - len(sources)
                    made._add(plan, plan.group(symbol, sources))
                made._pages.clear()
            again = sum(
                day in before.get((work.plan.dataset, symbol), ()) for symbol, days in work.wanted.items() for day in days
            )
            new = sum(map(len, work.wanted.values())) - again
            made.new_days += new
            made.new_rows[work.plan.dataset] = new * work.plan.rows_a_day
        return made

    @property
    def shares(self) -> tuple[Share, ...]:
        """By dataset and source."""
        order = [(dataset, source) for dataset in Dataset for source in Source]
        return tuple(self._shares[key] for key in order if key in self._shares)

    @property
    def objects(self) -> int:
        """Archive objects that rows come from."""
        return sum(share.fetches for share in self.shares if share.source is not Source.REST) - self.not_published

    def work(self, dataset: Dataset) -> Work:
        """All that is planned of a dataset."""
        return sum((Work.of(share) for share in self.shares if share.dataset is dataset), Work())

    def later(self, dataset: Dataset) -> Work:
        """The part of it that follows only where the archive has no object."""
        return self._later.get(dataset, Work())

    def _add(self, plan: DatasetPlan, fetches: Iterable[Fetch]) -> None:
        """Count these fetches, and the pages of the bucket listing that they are the first to need."""
        for fetch in fetches:
            if plan.is_too_early(fetch):
                self._add_absent(plan, fetch)
                continue
            share = self._count(plan, fetch)
            share.requests += self._listed_requests(fetch, share)

    def _count(self, plan: DatasetPlan, fetch: Fetch) -> Share:
        share, cost = self._share(plan, fetch), plan.cost(fetch)
        share.symbol_days += fetch.symbol_days
        share.fetches += 1
        share.requests += cost.requests
        share.weight += cost.weight
        share.rows += cost.rows
        share.bytes += cost.bytes
        return share

    def _add_absent(self, plan: DatasetPlan, fetch: Fetch) -> None:
        """The answer 404, and what is asked of the API then."""
        self.not_published += fetch.symbol_days
        asked = self._share(plan, fetch)
        asked.fetches += 1
        asked.requests += 1
        for following in plan.group(fetch.symbol, dict.fromkeys(fetch.days, Source.REST)):
            self._count(plan, following)
            cost = plan.cost(following)
            later = Work.of_fetch(Source.REST, cost)
            self._later[plan.dataset] = self._later.get(plan.dataset, Work()) + later

    def _share(self, plan: DatasetPlan, fetch: Fetch) -> Share:
        return self._shares.setdefault((plan.dataset, fetch.source), Share(plan.dataset, fetch.source))

    def _listed_requests(self, fetch: Fetch, share: Share) -> int:
        """Requests for the page of the listing and for the trial of the listing that this fetch is the first to need."""
        if fetch.among is None:
            return 0
        requests = 0
        if fetch.among not in self._pages:
            self._pages.add(fetch.among)
            share.bytes += fetch.among.length * _BYTES_A_LISTED_OBJECT
            requests += 1
        # The first of a run are verified by their CHECKSUM as well.
        if self._trials:
            self._trials -= 1
            requests += 1
        return requests
