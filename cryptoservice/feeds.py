"""Feeds: for each dataset, how its symbol-days are planned, fetched and read. The one place that joins plan and exchange."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from cryptoservice import plan
from cryptoservice.binance.connection import Connection
from cryptoservice.binance.metrics import RestSeries
from cryptoservice.binance.objects import ArchiveObject
from cryptoservice.binance.rest import FUNDING_PAGE_ROWS, KLINES_PAGE_ROWS, METRICS_PAGE_ROWS, klines_weight
from cryptoservice.binance.tables import DayTable, InvalidTable
from cryptoservice.days import month_of
from cryptoservice.errors import HistoryEnded, SourceError, SourceRefused, SymbolRefused
from cryptoservice.models import Dataset, Freq
from cryptoservice.plan import DayCase, Evidence, Fetch, KlineSource, Outcome, Source, Testimony, Witness
from cryptoservice.reading import Fetched

# A REST fetch that fails loses this many rows at most. Three pages hold five days at 5m, or one at 1m, almost without waste.
_REST_ROWS_A_FETCH = 3 * KLINES_PAGE_ROWS
# Ten pages of funding rates at the usual three rows a day; forty days at one an hour fill a page.
_FUNDING_ROWS_A_DAY = 3
_FUNDING_DAYS_A_FETCH = 10 * FUNDING_PAGE_ROWS // _FUNDING_ROWS_A_DAY
# Measured on recorded objects and answers, as sent: zip and gzip.
_BYTES_AN_ARCHIVED_ROW = 34
_BYTES_A_REST_ROW = 50
_FUNDING_GAP_DAYS = 40


@dataclass(frozen=True)
class Cost:
    """What a fetch takes."""

    requests: int
    """Checksums included."""
    weight: int
    """Request weight on the API; 0 for the archive."""
    rows: int
    """A guess, exact for klines of whole days."""
    bytes: int
    """A guess from what such objects and answers measure, compressed."""


class Feed(Protocol):
    """One dataset of one run."""

    @property
    def dataset(self) -> Dataset:
        """What it feeds."""

    @property
    def freq(self) -> str:
        """The ledger's frequency: empty for funding rates."""

    def split(self, days: Sequence[date]) -> Iterator[list[date]]:
        """A symbol's wanted days cut into jobs."""

    def cases(self, days: Sequence[date]) -> list[DayCase]:
        """The routes of a job's days."""

    def step(self, case: DayCase, evidence: Evidence) -> Source | Outcome:
        """The source to ask next, or how the day ends."""

    def group(self, symbol: str, steps: Mapping[date, Source]) -> Iterator[Fetch]:
        """Join steps into fetches."""

    def fetch(self, fetch: Fetch) -> Fetched:
        """Bring it home, over the network; runs in a worker thread."""

    def cost(self, fetch: Fetch) -> Cost:
        """What that will take, if all goes well."""


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

    def split(self, days: Sequence[date]) -> Iterator[list[date]]:
        """By month, as the archive does."""
        return by_month(days)

    def cases(self, days: Sequence[date]) -> list[DayCase]:
        """Monthly object, daily object, REST, as age and choice allow."""
        return plan.kline_routes(days, self.today, self.choice, self.interval.bars_per_day)

    def step(self, case: DayCase, evidence: Evidence) -> Source | Outcome:
        """Two witnesses."""
        return plan.next_step(case, evidence)

    def group(self, symbol: str, steps: Mapping[date, Source]) -> Iterator[Fetch]:
        """One object a month or day; REST over runs of neighbouring days."""
        return plan.group(symbol, steps, max_days=max(1, _REST_ROWS_A_FETCH // self.interval.bars_per_day))

    def fetch(self, fetch: Fetch) -> Fetched:
        """An archive object, or REST pages."""
        if fetch.source is Source.REST:
            return ask_api(lambda: self.connection.api.klines(fetch.symbol, self.interval, fetch.window))
        return ask_archive(self.connection, archive_object(self.dataset, self.interval, fetch))

    def cost(self, fetch: Fetch) -> Cost:
        """Objects hold whole days or months; REST pages have their weight."""
        rows = len(fetch.days) * self.interval.bars_per_day
        if fetch.source is Source.REST:
            pages, rest = divmod(rows, KLINES_PAGE_ROWS)
            weight = pages * klines_weight(KLINES_PAGE_ROWS) + (klines_weight(rest) if rest else 0)
            return Cost(pages + (rest > 0), weight, rows, rows * _BYTES_A_REST_ROW)
        whole = archive_object(self.dataset, self.interval, fetch).max_rows
        return Cost(2, 0, rows, whole * _BYTES_AN_ARCHIVED_ROW)


@dataclass(frozen=True)
class MetricsFeed:
    """Open interest, long/short ratios and taker ratio, 5-minute rows."""

    connection: Connection
    now: datetime
    dataset: Dataset = Dataset.METRICS
    freq: str = Freq.m5.value

    def split(self, days: Sequence[date]) -> Iterator[list[date]]:
        """By month, to keep jobs small."""
        return by_month(days)

    def cases(self, days: Sequence[date]) -> list[DayCase]:
        """Daily object and REST, as the age allows."""
        return plan.metrics_routes(days, self.now)

    def step(self, case: DayCase, evidence: Evidence) -> Source | Outcome:
        """Two witnesses."""
        return plan.next_step(case, evidence)

    def group(self, symbol: str, steps: Mapping[date, Source]) -> Iterator[Fetch]:
        """One object a day; REST over runs of neighbouring days."""
        return plan.group(symbol, steps, max_days=_REST_ROWS_A_FETCH // Freq.m5.bars_per_day)

    def fetch(self, fetch: Fetch) -> Fetched:
        """A daily object, or the five endpoints' pages."""
        if fetch.source is Source.REST:
            return ask_api(lambda: self.connection.api.metrics(fetch.symbol, fetch.window))
        return ask_archive(self.connection, archive_object(self.dataset, Freq.m5, fetch))

    def cost(self, fetch: Fetch) -> Cost:
        """One object a day; five endpoints over REST."""
        rows = len(fetch.days) * Freq.m5.bars_per_day
        if fetch.source is Source.REST:
            requests = len(RestSeries) * math.ceil(rows / METRICS_PAGE_ROWS)
            return Cost(requests, requests, rows, len(RestSeries) * rows * _BYTES_A_REST_ROW)
        return Cost(2, 0, rows, rows * _BYTES_AN_ARCHIVED_ROW)


@dataclass(frozen=True)
class FundingFeed:
    """Funding rates."""

    connection: Connection
    today: date
    dataset: Dataset = Dataset.FUNDING_RATES
    freq: str = ""

    def split(self, days: Sequence[date]) -> Iterator[list[date]]:
        """All at once: a page of 1000 rows covers most of a year."""
        yield list(days)

    def cases(self, days: Sequence[date]) -> list[DayCase]:
        """REST, else the monthly object."""
        return plan.funding_routes(days, self.today)

    def step(self, case: DayCase, evidence: Evidence) -> Source | Outcome:
        """One answer settles a day."""
        return plan.next_funding_step(case, evidence)

    def group(self, symbol: str, steps: Mapping[date, Source]) -> Iterator[Fetch]:
        """One object a month; REST over runs that may bridge what one page would cover anyway."""
        return plan.group(symbol, steps, max_days=_FUNDING_DAYS_A_FETCH, max_gap=_FUNDING_GAP_DAYS)

    def fetch(self, fetch: Fetch) -> Fetched:
        """REST pages, or a monthly object."""
        if fetch.source is Source.REST:
            return ask_api(lambda: self.connection.api.funding_rates(fetch.symbol, fetch.window))
        # Hourly is the shortest funding interval (wire facts 3.1).
        return ask_archive(self.connection, archive_object(self.dataset, Freq.h1, fetch))

    def cost(self, fetch: Fetch) -> Cost:
        """Pages of 1000 over the whole span, at the usual three rows a day."""
        rows = len(fetch.days) * _FUNDING_ROWS_A_DAY
        if fetch.source is Source.REST:
            requests = math.ceil(fetch.window.length * _FUNDING_ROWS_A_DAY / FUNDING_PAGE_ROWS)
            return Cost(requests, requests, rows, rows * _BYTES_A_REST_ROW)
        return Cost(2, 0, rows, rows * _BYTES_AN_ARCHIVED_ROW)


def by_month(days: Sequence[date]) -> Iterator[list[date]]:
    """Days in order, cut at month ends."""
    for _, month in itertools.groupby(days, month_of):
        yield list(month)


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
    except SourceRefused as refused:
        return Witness(Testimony.REFUSED, reason=refused.reason)
    except SourceError as error:
        return Witness(Testimony.FAILED, reason=error.reason)
    return Witness(Testimony.ABSENT, reason="not_in_archive") if archived is None else archived


def ask_api(request: Callable[[], DayTable]) -> Fetched:
    """Checked rows, or what a refusal or failure means for all the days asked for."""
    try:
        return request()
    except (SymbolRefused, HistoryEnded) as refused:
        return Witness(Testimony.NOT_SERVED, reason=refused.reason)
    except SourceRefused as refused:
        return Witness(Testimony.REFUSED, reason=refused.reason)
    except SourceError as error:
        return Witness(Testimony.FAILED, reason=error.reason)
