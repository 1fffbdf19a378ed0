"""What is left to do: the wanted symbol-days of a universe less those that the ledger knows as settled, cut into jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptoservice.binance.checksums import TRIALS
from cryptoservice.config import AnyWindow
from cryptoservice.days import Window
from cryptoservice.download.jobs.job import Job
from cryptoservice.download.jobs.market_job import MarketJob
from cryptoservice.download.jobs.metrics_job import MetricsJob
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.alignment import Bars
from cryptoservice.sources.datasets import DatasetPlan, KlinesPlan, MetricsPlan
from cryptoservice.sources.verdict import DISTRUSTED_MARK
from cryptoservice.storage.ledger import LedgerLine, Series, StoredDay, mark_of_text
from cryptoservice.storage.reader import NO_GAPS, RetriedGaps, StoreReader
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.model import ActiveDays, Universe
from cryptoservice.universe.symbols import normalise

# An object that could not be trusted may have been published anew by then.
DISTRUSTED_RETRY_SECONDS = 30 * 86_400


def retried_gaps(now: float, *, all_gaps: bool = False) -> RetriedGaps:
    """The confirmed gaps that an incremental run at this time (epoch seconds) asks for again."""
    return RetriedGaps(all_gaps, DISTRUSTED_MARK, int(now) - DISTRUSTED_RETRY_SECONDS)


@dataclass(frozen=True)
class Wanted:
    """What a download is asked for."""

    universe: Universe
    interval: Freq
    window: Window
    active: ActiveDays

    @classmethod
    def of(
        cls,
        universe_file: str | Path,
        interval: Freq | str,
        bounds: AnyWindow | None,
        symbols: Iterable[str] | None = None,
        stop: threading.Event | None = None,
    ) -> Wanted:
        """Read and check all of it; UsageError for what cannot be used. With `symbols` only these are wanted."""
        freq = Freq.parse(interval)
        universe = UniverseFile.load(universe_file, stop).universe
        window = universe.subwindow(bounds)
        names = None if symbols is None else normalise(symbols)
        return cls(universe, freq, window, universe.active_days(window, names))


class Worklist:
    """For each dataset and symbol, the days to fetch. Without a store nothing is settled.

    Confirmed gaps that are `retried` count as not settled. With `may_list` archive objects are looked up in the bucket listing,
    where that spares the run more requests than it takes.
    """

    def __init__(
        self,
        store: StoreReader | None,
        plans: Sequence[DatasetPlan],
        active: ActiveDays,
        window: Window,
        *,
        incremental: bool,
        retried: RetriedGaps = NO_GAPS,
        may_list: bool = False,
    ) -> None:
        self.settled: dict[Dataset, int] = {}
        """Wanted symbol-days that the ledger knows as settled."""
        self._store = store
        self._window = window
        self._asks_again = not incremental or retried.all_gaps
        self.datasets: list[DatasetWork] = []
        for plan in plans:
            self.settled[plan.dataset] = 0
            settled: dict[str, set[date]] = {}
            lines: dict[str, dict[date, LedgerLine]] = {}
            if store is not None:
                settled = store.settled_days(plan.dataset, plan.freq, window, retried) if incremental else {}
                lines = store.ledger(plan.dataset, plan.freq, window, unsettled=incremental, retried=retried)
            left: dict[str, list[date]] = {}
            for symbol, days in active.items():
                done = settled.get(symbol)
                wanted = [day for day in days if day not in done] if done else days
                self.settled[plan.dataset] += len(days) - len(wanted)
                if wanted:
                    left[symbol] = wanted
            self.datasets.append(DatasetWork(plan, left, lines))
        self._lists = may_list and self._listing_pays()

    @property
    def symbol_days(self) -> int:
        """How many symbol-days are left to fetch."""
        return sum(len(days) for work in self.datasets for days in work.wanted.values())

    @property
    def expected_rows(self) -> int:
        """An estimate of the rows that they hold."""
        return sum(len(days) * work.plan.rows_a_day for work in self.datasets for days in work.wanted.values())

    def settled_before(self) -> Mapping[tuple[Dataset, str], Mapping[date, StoredDay]]:
        """By dataset and symbol, the settled days of which some are fetched again: what the ledger says of them, without rows."""
        found: dict[tuple[Dataset, str], dict[date, StoredDay]] = {}
        if self._store is None or not self._asks_again:
            return found
        for work in self.datasets:
            for entry in self._store.entries(work.plan.dataset, work.plan.freq, self._window):
                if entry.status.settled:
                    day = StoredDay(entry.status, entry.reason, (), mark_of_text(entry.source))
                    found.setdefault((work.plan.dataset, entry.symbol), {})[entry.day] = day
        return found

    def plan_of(self, work: DatasetWork, symbol: str, days: Sequence[date]) -> DatasetPlan:
        """The plan for all the days of a symbol."""
        return work.plan.with_listing(symbol, days) if self._lists else work.plan

    def _listing_pays(self) -> bool:
        """Whether the listing spares more than the requests that check the listing itself."""
        spared = 0
        for work in self.datasets:
            for symbol, days in work.by_symbol():
                spared += sum(wanted.wanted - 1 for wanted in work.plan.with_listing(symbol, days).listed.values())
                if spared > TRIALS:
                    return True
        return False

    def jobs(self, commit: Callable[[], None] = lambda: None) -> Iterator[Job | MarketJob]:
        """Jobs in the order of the universe; made one by one, as there may be many.

        `commit` writes what the run has finished so far: a job reads what is stored, klines of this very run included.
        """
        for work in self.datasets:
            if work.at_once:
                stored = {symbol: self._stored_symbol(work, symbol, commit).stored for symbol in work.wanted}
                yield MarketJob(work.plan, work.at_once, stored)
            for symbol, days in work.by_symbol():
                reads = self._stored_symbol(work, symbol, commit)
                plan = self.plan_of(work, symbol, days)
                for part in plan.split(days):
                    if isinstance(plan, MetricsPlan):
                        klines = KlinesPlan(Freq.m5, plan.now.date())
                        klines = klines.with_listing(symbol, days) if self._lists else klines
                        yield MetricsJob(plan, symbol, part, klines, reads.stored, reads.bars)
                    else:
                        yield Job(plan, symbol, part, reads.stored)

    def _stored_symbol(self, work: DatasetWork, symbol: str, commit: Callable[[], None]) -> StoredSymbol:
        series = Series(work.plan.dataset, work.plan.freq, symbol)
        return StoredSymbol(self._store, series, work.lines.get(symbol, {}), commit)


class DatasetWork:
    """What is left to fetch of one dataset."""

    def __init__(
        self, plan: DatasetPlan, wanted: Mapping[str, list[date]], lines: Mapping[str, Mapping[date, LedgerLine]]
    ) -> None:
        self.plan = plan
        self.wanted = wanted
        """The days to fetch of each symbol."""
        self.lines = lines
        """The ledger lines of days that an earlier run has left open."""
        self.at_once = plan.at_once(wanted)
        """The fetches of all symbols at once."""

    def by_symbol(self) -> Iterator[tuple[str, list[date]]]:
        """Each symbol with its other days."""
        shared: dict[str, set[date]] = {}
        for fetch in self.at_once:
            for symbol, days in fetch.wanted.items():
                shared.setdefault(symbol, set()).update(days)
        for symbol, wanted in self.wanted.items():
            others = [day for day in wanted if day not in shared[symbol]] if symbol in shared else wanted
            if others:
                yield symbol, others


@dataclass
class StoredSymbol:
    """What the database holds of a symbol, read when a job needs it."""

    store: StoreReader | None
    series: Series
    known: Mapping[date, LedgerLine]
    commit: Callable[[], None]
    is_committed: bool = False
    """Metrics begin when the klines of their symbol have ended, so one commit brings all of these into the database."""

    def stored(self, day: date) -> StoredDay | None:
        """The day as an earlier run has left it."""
        if self.store is None or day not in self.known:
            return None
        return self.store.stored_day(self.series, day)

    def bars(self, day: date) -> Bars:
        """What the stored klines say about the bars of a day; the finest ones first."""
        bars = Bars()
        if self.store is not None:
            if not self.is_committed:
                self.commit()
                self.is_committed = True
            for freq in self.store.frequencies(Dataset.KLINES):
                klines = self.store.rows(Series(Dataset.KLINES, freq, self.series.symbol), day)
                if klines:
                    bars.add(klines, Freq(freq))
                    break
        return bars
