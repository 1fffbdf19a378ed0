"""Fetches: symbol-days joined into as few requests as possible, and what each of them costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from cryptoservice.binance.archive_files import ArchiveFile
from cryptoservice.days import Window, month_of
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.evidence import Source


@dataclass(frozen=True)
class Fetch:
    """One unit of fetching: an archive object, or REST pages over a span of days."""

    dataset: Dataset
    freq: Freq
    """The kline interval; for other datasets the shortest time between two rows."""
    source: Source
    symbol: str
    days: tuple[date, ...]
    """The wanted days, in order; neighbouring ones for REST klines and metrics."""

    @property
    def window(self) -> Window:
        """From the first to the last of its days."""
        return Window(self.days[0], self.days[-1])

    @property
    def archive_file(self) -> ArchiveFile:
        """The archive object of its first day; not for REST."""
        make = ArchiveFile.monthly if self.source is Source.MONTHLY else ArchiveFile.daily
        return make(self.dataset, self.symbol, self.freq, self.days[0])


@dataclass(frozen=True)
class Cost:
    """What a fetch takes, if all goes well."""

    requests: int
    """Checksums included."""
    weight: int
    """Request weight on the API; 0 for the archive."""
    rows: int
    """An estimate, exact for klines of whole days."""
    bytes: int
    """An estimate from what such objects and answers measure, compressed."""


@dataclass(frozen=True)
class Grouping:
    """How far a dataset joins days into one REST fetch."""

    dataset: Dataset
    freq: Freq
    max_days: int
    """Most wanted days in one fetch."""
    max_gap: int = 0
    """Most unwanted days between two wanted ones of one fetch."""

    def fetches(self, symbol: str, sources: Mapping[date, Source]) -> Iterator[Fetch]:
        """The fetches of a symbol's days, each with the source to ask: a month's object once, REST over runs of days."""
        months: dict[date, list[date]] = {}
        run: list[date] = []
        for day in sorted(sources):
            source = sources[day]
            if source is Source.MONTHLY:
                months.setdefault(month_of(day), []).append(day)
            elif source is Source.DAILY:
                yield Fetch(self.dataset, self.freq, Source.DAILY, symbol, (day,))
            else:
                if run and not self._continues(run, day):
                    yield Fetch(self.dataset, self.freq, Source.REST, symbol, tuple(run))
                    run = []
                run.append(day)
        if run:
            yield Fetch(self.dataset, self.freq, Source.REST, symbol, tuple(run))
        for days in months.values():
            yield Fetch(self.dataset, self.freq, Source.MONTHLY, symbol, tuple(days))

    def _continues(self, run: list[date], day: date) -> bool:
        return len(run) < self.max_days and (day - run[-1]).days <= self.max_gap + 1
