"""Feeds: for each dataset, how its symbol-days are planned, fetched and read. The one place that joins plan and exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from cryptoservice import plan
from cryptoservice.binance.connection import Connection
from cryptoservice.binance.rest import KLINES_PAGE_ROWS
from cryptoservice.binance.tables import DayTable, InvalidTable
from cryptoservice.binance.vision import ArchivedZip, ArchiveObject, read_zip
from cryptoservice.days import utc_text
from cryptoservice.errors import SourceError, SymbolRefused
from cryptoservice.models import Dataset, Freq, SourceObject
from cryptoservice.plan import DayCase, Fetch, KlineSource, Source, Testimony, Witness

# A REST fetch holds at most about this many rows in memory, and loses no more when it fails.
_REST_ROWS_A_FETCH = 10 * KLINES_PAGE_ROWS

Fetched = ArchivedZip | DayTable | Witness
"""What a fetch brings home: an unopened zip, checked REST rows, or the same word for all its days."""


class Feed(Protocol):
    """One dataset of one run."""

    @property
    def dataset(self) -> Dataset:
        """What it feeds."""

    @property
    def freq(self) -> str:
        """The ledger's frequency: empty for funding rates."""

    def cases(self, days: Sequence[date]) -> list[DayCase]:
        """The routes of a symbol's wanted days."""

    def group(self, symbol: str, steps: Mapping[date, Source]) -> Iterator[Fetch]:
        """Join steps into fetches."""

    def fetch(self, fetch: Fetch) -> Fetched:
        """Bring it home, over the network; runs in a worker thread."""

    def read(self, fetch: Fetch, fetched: Fetched) -> dict[date, Witness]:
        """What it says of each of its days; parsing happens here."""


@dataclass(frozen=True)
class KlineFeed:
    """Klines of one interval."""

    connection: Connection
    interval: Freq
    today: date
    choice: KlineSource = KlineSource.AUTO
    dataset: Dataset = Dataset.KLINES

    @property
    def freq(self) -> str:
        """The kline interval."""
        return self.interval.value

    def cases(self, days: Sequence[date]) -> list[DayCase]:
        """Monthly object, daily object, REST, as age and choice allow."""
        return plan.kline_routes(days, self.today, self.choice, self.interval.bars_per_day)

    def group(self, symbol: str, steps: Mapping[date, Source]) -> Iterator[Fetch]:
        """One object a month or day; REST over runs of neighbouring days."""
        return plan.group(symbol, steps, max(1, _REST_ROWS_A_FETCH // self.interval.bars_per_day))

    def fetch(self, fetch: Fetch) -> Fetched:
        """An archive object, or REST pages."""
        if fetch.source is Source.REST:
            return ask_api(lambda: self.connection.api.klines(fetch.symbol, self.interval, fetch.window))
        return ask_archive(self.connection, archive_object(self.dataset, self.interval, fetch))

    def read(self, fetch: Fetch, fetched: Fetched) -> dict[date, Witness]:
        """Rows of each day."""
        return testify(fetch, fetched)


def archive_object(dataset: Dataset, freq: Freq, fetch: Fetch) -> ArchiveObject:
    """The archive's name for a fetch."""
    make = ArchiveObject.monthly if fetch.source is Source.MONTHLY else ArchiveObject.daily
    return make(dataset, fetch.symbol, freq, fetch.days[0])


def ask_archive(connection: Connection, source: ArchiveObject) -> Fetched:
    """The verified zip, or what its absence or trouble means for all its days."""
    try:
        archived = connection.archive.fetch(source)
    except InvalidTable as invalid:
        return Witness(Testimony.DISTRUSTED, reason=invalid.reason)
    except SourceError as error:
        return Witness(Testimony.FAILED, reason=error.reason)
    return Witness(Testimony.ABSENT, reason="not_in_archive") if archived is None else archived


def ask_api(request: Callable[[], DayTable]) -> Fetched:
    """Checked rows, or what a refusal or failure means for all the days asked for."""
    try:
        return request()
    except SymbolRefused as refused:
        return Witness(Testimony.UNKNOWN_SYMBOL, reason=refused.reason)
    except SourceError as error:
        return Witness(Testimony.FAILED, reason=error.reason)


def testify(fetch: Fetch, fetched: Fetched) -> dict[date, Witness]:
    """One witness for each day of the fetch."""
    if isinstance(fetched, Witness):
        return dict.fromkeys(fetch.days, fetched)
    origin = None
    if isinstance(fetched, ArchivedZip):
        origin = SourceObject(fetched.source.key, fetched.sha256, fetched.last_modified, utc_text(fetched.fetched_at))
        try:
            table = read_zip(fetched)
        except InvalidTable as invalid:
            return dict.fromkeys(fetch.days, Witness(Testimony.DISTRUSTED, reason=invalid.reason))
    else:
        table = fetched
    conflict = Witness(Testimony.DISTRUSTED, reason="conflicting_rows")
    return {
        day: conflict if day in table.conflicting else Witness(Testimony.ROWS, table.days.get(day, ()), origin=origin)
        for day in fetch.days
    }
