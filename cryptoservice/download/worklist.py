"""What is left to do: the wanted symbol-days of a universe less those that the ledger knows as settled, cut into jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from cryptoservice.config import WindowBounds
from cryptoservice.days import Window
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.datasets import DatasetPlan
from cryptoservice.sources.evidence import Source, SourceAnswer
from cryptoservice.sources.routing import DayRoute
from cryptoservice.storage.ledger import LedgerLine, Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.model import ActiveDays, Universe


@dataclass(frozen=True)
class Wanted:
    """What a download is asked for."""

    universe: Universe
    interval: Freq
    window: Window
    active: ActiveDays

    @classmethod
    def of(cls, universe_file: str | Path, interval: Freq | str, bounds: WindowBounds | None) -> Wanted:
        """Read and check all of it; UsageError for what cannot be used."""
        freq = Freq.parse(interval)
        universe = UniverseFile.load(Path(universe_file)).universe
        window = universe.subwindow(bounds)
        return cls(universe, freq, window, universe.active_days(window))


@dataclass
class Job:
    """One symbol's wanted days of one dataset, and what the sources have said of them so far."""

    plan: DatasetPlan
    symbol: str
    routes: dict[date, DayRoute]
    """The days that are not yet settled."""
    known: dict[date, LedgerLine] = field(default_factory=dict)
    """What the ledger says of days that are fetched again."""
    evidence: dict[date, dict[Source, SourceAnswer]] = field(default_factory=dict)
    fetches_open: int = 0
    waiting_for_rest: dict[date, Source] = field(default_factory=dict)
    """Days that need REST. They are held back until the archive has answered for all days, so that neighbours share pages."""

    @property
    def series(self) -> Series:
        """Where its rows are stored."""
        return Series(self.plan.dataset, self.plan.freq, self.symbol)


class Worklist:
    """For each dataset and symbol, the days to fetch. Without a store nothing is settled."""

    def __init__(
        self, store: StoreReader | None, plans: Sequence[DatasetPlan], active: ActiveDays, window: Window, *, incremental: bool
    ) -> None:
        self.settled: dict[Dataset, int] = {}
        """Wanted symbol-days that the ledger knows as settled."""
        self._wanted: list[tuple[DatasetPlan, str, list[date], dict[date, LedgerLine]]] = []
        for plan in plans:
            self.settled[plan.dataset] = 0
            settled: dict[str, set[date]] = {}
            lines: dict[str, dict[date, LedgerLine]] = {}
            if store is not None:
                settled = store.settled_days(plan.dataset, plan.freq, window) if incremental else {}
                lines = store.ledger(plan.dataset, plan.freq, window, unsettled=incremental)
            for symbol, days in active.items():
                done = settled.get(symbol)
                wanted = [day for day in days if day not in done] if done else days
                self.settled[plan.dataset] += len(days) - len(wanted)
                if wanted:
                    self._wanted.append((plan, symbol, wanted, lines.get(symbol, {})))

    @property
    def symbol_days(self) -> int:
        """How many symbol-days are left to fetch."""
        return sum(len(days) for _, _, days, _ in self._wanted)

    @property
    def expected_rows(self) -> int:
        """An estimate of the rows that they hold."""
        return sum(len(days) * plan.rows_a_day for plan, _, days, _ in self._wanted)

    def wanted(self) -> Iterator[tuple[DatasetPlan, str, list[date]]]:
        """Each dataset and symbol with its days to fetch."""
        for plan, symbol, days, _ in self._wanted:
            yield plan, symbol, days

    def jobs(self) -> Iterator[Job]:
        """Jobs in the order of the universe; made one by one, as there may be many."""
        for plan, symbol, days, known in self._wanted:
            for part in plan.split(days):
                yield Job(plan, symbol, {route.day: route for route in plan.routes(part)}, known)
