"""Fetches: symbol-days joined into as few requests as possible, and what each of them costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from cryptoservice.binance.archive_files import ArchiveFile, FileRange
from cryptoservice.days import Window, month_of
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.evidence import Source

# For two objects a page of the bucket listing spares one request, and those that check the listing itself cost more than that.
_LEAST_LISTED = 3


@dataclass(frozen=True)
class Fetch:
    """One unit of fetching: an archive object, or REST pages over a span of days."""

    dataset: Dataset
    freq: Freq
    """The kline interval; for other datasets the shortest time between two rows."""
    source: Source
    symbol: str
    days: tuple[date, ...]
    """The wanted days, in order; for REST others may lie between them."""
    among: FileRange | None = field(default=None, kw_only=True)
    """The archive objects that one page of the bucket listing may verify, this one among them; None: nothing is listed."""

    @property
    def window(self) -> Window:
        """From the first to the last of its days."""
        return Window(self.days[0], self.days[-1])

    @property
    def symbol_days(self) -> int:
        """How many symbol-days it is about."""
        return len(self.days)

    @property
    def archive_file(self) -> ArchiveFile:
        """The archive object of its first day; not for REST."""
        make = ArchiveFile.monthly if self.source is Source.MONTHLY else ArchiveFile.daily
        return make(self.dataset, self.symbol, self.freq, self.days[0])


@dataclass(frozen=True)
class MarketFetch(Fetch):
    """REST pages of all symbols at once over neighbouring days; `symbol` is empty, as nothing is asked by symbol.

    Only the rows of wanted symbol-days are kept. What the pages lack is asked for by symbol afterwards: the answer for all
    leaves out a symbol that the exchange does not serve any more, so that it proves presence and never absence.
    """

    wanted: Mapping[str, tuple[date, ...]]
    """The wanted days of each symbol, in order."""

    @property
    def symbol_days(self) -> int:
        """How many symbol-days are wanted of it."""
        return sum(map(len, self.wanted.values()))

    def of_symbol(self, symbol: str) -> Fetch:
        """The part of one symbol, as if it had been asked for alone."""
        return Fetch(self.dataset, self.freq, self.source, symbol, self.wanted[symbol])


@dataclass(frozen=True)
class WantedFiles:
    """Archive objects of one series that lie near to one another, so that a page of the bucket listing shows them all."""

    files: FileRange
    window: Window
    """From the first to the last wanted day of them."""
    wanted: int
    """How many of them are wanted."""


FileGroup = tuple[Source, "date | None"]
"""Which objects share a page: all monthly ones of a symbol, the daily ones of a month."""
Listed = Mapping[FileGroup, WantedFiles]
"""The objects of one symbol that are looked up in the bucket listing."""


@dataclass(frozen=True)
class Cost:
    """What a fetch takes, if all goes well."""

    requests: int
    """Checksums included, without pages of the bucket listing, which several fetches share."""
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
    """Most days from the first to the last of one fetch."""
    max_gap: int = 0
    """Most unwanted days between two wanted ones of one fetch."""
    listed: Listed = field(default_factory=dict)
    """What is looked up in the bucket listing."""

    def fetches(self, symbol: str, sources: Mapping[date, Source]) -> Iterator[Fetch]:
        """The fetches of a symbol's days, each with the source to ask: a month's object once, REST over runs of days."""
        months: dict[date, list[date]] = {}
        by_rest: list[date] = []
        for day in sorted(sources):
            source = sources[day]
            if source is Source.MONTHLY:
                months.setdefault(month_of(day), []).append(day)
            elif source is Source.DAILY:
                yield Fetch(self.dataset, self.freq, Source.DAILY, symbol, (day,), among=self._among(source, day))
            else:
                by_rest.append(day)
        for run in self.runs(by_rest):
            yield Fetch(self.dataset, self.freq, Source.REST, symbol, tuple(run))
        for month, days in months.items():
            among = self._among(Source.MONTHLY, month)
            yield Fetch(self.dataset, self.freq, Source.MONTHLY, symbol, tuple(days), among=among)

    def worth_listing(self, symbol: str, sources: Mapping[date, Source]) -> Listed:
        """Those of a symbol's archive objects of which one page of the listing spares more requests than it takes."""
        groups: dict[FileGroup, list[Fetch]] = {}
        for fetch in self.fetches(symbol, {day: source for day, source in sources.items() if source is not Source.REST}):
            groups.setdefault(_group_of(fetch.source, fetch.days[0]), []).append(fetch)
        return {
            group: WantedFiles(
                FileRange(fetches[0].archive_file, fetches[-1].archive_file),
                Window(fetches[0].archive_file.window.start, fetches[-1].archive_file.window.end),
                len(fetches),
            )
            for group, fetches in groups.items()
            if len(fetches) >= _LEAST_LISTED
        }

    def _among(self, source: Source, day: date) -> FileRange | None:
        if not self.listed:
            return None
        found = self.listed.get(_group_of(source, day))
        return found.files if found is not None and day in found.window else None

    def market_fetches(self, wanted: Mapping[str, Sequence[date]]) -> Iterator[MarketFetch]:
        """The fetches of all symbols at once that cover these days."""
        symbols: dict[date, list[str]] = {}
        for symbol, days in wanted.items():
            for day in days:
                symbols.setdefault(day, []).append(symbol)
        for run in self.runs(sorted(symbols)):
            parts: dict[str, list[date]] = {}
            for day in run:
                for symbol in symbols[day]:
                    parts.setdefault(symbol, []).append(day)
            days_of = {symbol: tuple(days) for symbol, days in parts.items()}
            yield MarketFetch(self.dataset, self.freq, Source.REST, "", tuple(run), days_of)

    def runs(self, days: Sequence[date]) -> Iterator[Sequence[date]]:
        """Days in order, cut where one fetch ends."""
        start = 0
        for number, day in enumerate(days):
            if number > start and not self._continues(days[start], days[number - 1], day):
                yield days[start:number]
                start = number
        if days:
            yield days[start:]

    def _continues(self, first: date, last: date, day: date) -> bool:
        return (day - first).days < self.max_days and (day - last).days <= self.max_gap + 1


def _group_of(source: Source, day: date) -> FileGroup:
    return (source, month_of(day) if source is Source.DAILY else None)


def days_at_once(
    wanted: Mapping[str, Sequence[date]], requests_a_day: int, requests_by_symbol: Callable[[Sequence[date]], int]
) -> frozenset[date]:
    """The days for which all symbols are asked at once, so that the requests for all of these symbol-days are fewest.

    It takes `requests_a_day` to ask for all symbols, and `requests_by_symbol` says what the days of one symbol take alone.
    """
    if len(wanted) <= requests_a_day:
        return frozenset()
    symbols = Counter(day for days in wanted.values() for day in days)
    least = sum(map(requests_by_symbol, wanted.values()))
    best: frozenset[date] = frozenset()
    tried = 0
    # A day pays at best when more symbols want it than it takes requests. Where some symbols want years and all of them a few
    # days, only these few pay: so sets of ever more wanted days are compared.
    shared_by = requests_a_day + 1
    while days := frozenset(day for day, count in symbols.items() if count >= shared_by):
        at_once = requests_a_day * len(days)
        if at_once < least and len(days) != tried:
            tried = len(days)
            rest = sum(requests_by_symbol([day for day in one if day not in days]) for one in wanted.values())
            if at_once + rest < least:
                best, least = days, at_once + rest
        shared_by *= 2
    return best
