"""The plan of each dataset: routes, next step, grouping and cost of its symbol-days. Pure: it neither connects nor sends.

What a plan decides is carried out by `fetcher.DatasetFetcher`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from typing import Protocol

from cryptoservice.binance.api import FUNDING_PAGE_ROWS, KLINES_PAGE_ROWS, METRICS_PAGE_ROWS, klines_weight
from cryptoservice.binance.parsers.metrics import RestSeries
from cryptoservice.days import month_of
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources import routing, verdict
from cryptoservice.sources.evidence import Evidence, KlineSource, Source
from cryptoservice.sources.grouping import Cost, Fetch, Grouping, Listed, MarketFetch, days_at_once
from cryptoservice.sources.routing import DayRoute
from cryptoservice.sources.verdict import Verdict
from cryptoservice.storage.ledger import StoredDay

# A REST fetch that fails loses this many rows at most. Three pages hold five days at 5m, or one at 1m, almost without waste.
_REST_ROWS_A_FETCH = 3 * KLINES_PAGE_ROWS
# Klines between two wanted days that are fetched for nothing: so few weigh no more than the request that they spare.
_REST_GAP_ROWS = 99
# No month is longer. A job of fewer days than a REST fetch can hold would cut its pages short.
_LONGEST_MONTH_DAYS = 31
# Ten pages of funding rates at the usual three rows a day; forty days at one an hour fill a page.
_FUNDING_ROWS_A_DAY = 3
_FUNDING_DAYS_A_FETCH = 10 * FUNDING_PAGE_ROWS // _FUNDING_ROWS_A_DAY
_FUNDING_GAP_DAYS = 40
# Some 900 symbols are paid at the same moments, and fill a page each time: three times a day, or six where many are paid every
# four hours (docs/wire.md, funding rates). A plan says the usual number, and asks for all at once only where six pay as well.
_MARKET_PAGES_A_DAY = 3
_MOST_MARKET_PAGES_A_DAY = 6
_MARKET_DAYS_A_FETCH = 3
# Measured on recorded objects and answers, as sent: zip and gzip.
_BYTES_AN_ARCHIVED_ROW = 34
_BYTES_A_REST_ROW = 50
# An archive object is one request, and its checksum another where the bucket listing does not verify it.
_REQUESTS_AN_OBJECT = 2
_REQUESTS_A_LISTED_OBJECT = 1


class DatasetPlan(Protocol):
    """The decisions of one dataset in one run."""

    @property
    def dataset(self) -> Dataset:
        """The dataset."""

    @property
    def freq(self) -> str:
        """The ledger's frequency: empty for funding rates."""

    @property
    def rows_a_day(self) -> int:
        """An estimate of the rows of a symbol-day."""

    @property
    def listed(self) -> Listed:
        """The archive objects that it looks up in the bucket listing: none, but for a plan made by `with_listing`."""

    def with_listing(self, symbol: str, days: Sequence[date]) -> DatasetPlan:
        """The same plan for all wanted days of one symbol, which looks up its objects where the listing spares requests."""

    def split(self, days: Sequence[date]) -> Iterator[list[date]]:
        """A symbol's wanted days cut into jobs."""

    def routes(self, days: Sequence[date]) -> list[DayRoute]:
        """The routes of a job's days."""

    def next_step(self, route: DayRoute, evidence: Evidence, stored: StoredDay | None = None) -> Source | Verdict:
        """The source to ask next, or how the day ends."""

    def group(self, symbol: str, sources: Mapping[date, Source]) -> Iterator[Fetch]:
        """The fetches of a symbol's days, each with the source to ask."""

    def at_once(self, wanted: Mapping[str, Sequence[date]]) -> list[MarketFetch]:
        """The fetches of all symbols at once that spare requests, of what is wanted of each symbol; the rest goes by symbol."""

    def cost(self, fetch: Fetch) -> Cost:
        """What a fetch takes, if all goes well."""

    def is_too_early(self, fetch: Fetch) -> bool:
        """Whether it asks the archive for what is probably not published yet at this hour."""


@dataclass(frozen=True)
class KlinesPlan:
    """Klines of one interval."""

    interval: Freq
    today: date
    choice: KlineSource = KlineSource.AUTO
    dataset: Dataset = Dataset.KLINES
    listed: Listed = field(default_factory=dict)

    @property
    def freq(self) -> str:
        """The kline interval."""
        return self.interval.value

    @property
    def rows_a_day(self) -> int:
        """The bars of a day."""
        return self.interval.bars_per_day

    @property
    def _rest(self) -> Grouping:
        bars = self.interval.bars_per_day
        return Grouping(self.dataset, self.interval, max(1, _REST_ROWS_A_FETCH // bars), _REST_GAP_ROWS // bars, self.listed)

    def with_listing(self, symbol: str, days: Sequence[date]) -> KlinesPlan:
        """The monthly objects of a symbol share a page, and so do the daily ones of a month."""
        return replace(self, listed=self._rest.worth_listing(symbol, _asked_first(self.routes(days))))

    def split(self, days: Sequence[date]) -> Iterator[list[date]]:
        """By month, as the archive does; by fetch where REST alone is asked and one fetch holds more than a month."""
        if self.choice is KlineSource.API and self._rest.max_days > _LONGEST_MONTH_DAYS:
            return map(list, self._rest.runs(days))
        return by_month(days)

    def routes(self, days: Sequence[date]) -> list[DayRoute]:
        """Monthly object, daily object, REST, as age and choice allow."""
        return routing.kline_routes(days, self.today, self.choice, self.interval.bars_per_day)

    def next_step(self, route: DayRoute, evidence: Evidence, stored: StoredDay | None = None) -> Source | Verdict:
        """Archive and REST, until one has all rows or both have answered."""
        return verdict.next_step(route, evidence, stored)

    def group(self, symbol: str, sources: Mapping[date, Source]) -> Iterator[Fetch]:
        """One object a month or day; REST over runs of days."""
        return self._rest.fetches(symbol, sources)

    def at_once(self, wanted: Mapping[str, Sequence[date]]) -> list[MarketFetch]:
        """None: klines are asked for by symbol."""
        return []

    def cost(self, fetch: Fetch) -> Cost:
        """Objects hold whole days or months; REST pages have their weight."""
        rows = len(fetch.days) * self.interval.bars_per_day
        if fetch.source is Source.REST:
            pages, rest = divmod(fetch.window.length * self.interval.bars_per_day, KLINES_PAGE_ROWS)
            weight = pages * klines_weight(KLINES_PAGE_ROWS) + (klines_weight(rest) if rest else 0)
            return Cost(pages + (rest > 0), weight, rows, rows * _BYTES_A_REST_ROW)
        return Cost(_requests_of_object(fetch), 0, rows, fetch.archive_file.max_rows * _BYTES_AN_ARCHIVED_ROW)

    def is_too_early(self, fetch: Fetch) -> bool:
        """Never: the API is asked first for young days."""
        return False


@dataclass(frozen=True)
class MetricsPlan:
    """Open interest, long/short ratios and taker ratio, in 5-minute rows."""

    now: datetime
    dataset: Dataset = Dataset.METRICS
    freq: str = Freq.m5.value
    rows_a_day: int = Freq.m5.bars_per_day
    listed: Listed = field(default_factory=dict)

    @property
    def _grouping(self) -> Grouping:
        return Grouping(self.dataset, Freq.m5, _REST_ROWS_A_FETCH // self.rows_a_day, listed=self.listed)

    def with_listing(self, symbol: str, days: Sequence[date]) -> MetricsPlan:
        """The objects of a month share a page."""
        return replace(self, listed=self._grouping.worth_listing(symbol, _asked_first(self.routes(days))))

    def split(self, days: Sequence[date]) -> Iterator[list[date]]:
        """By month, to keep jobs small."""
        return by_month(days)

    def routes(self, days: Sequence[date]) -> list[DayRoute]:
        """Daily object and REST, as the age allows."""
        return routing.metrics_routes(days, self.now)

    def next_step(self, route: DayRoute, evidence: Evidence, stored: StoredDay | None = None) -> Source | Verdict:
        """Archive and REST, until one has all rows or both have answered."""
        return verdict.next_step(route, evidence, stored)

    def group(self, symbol: str, sources: Mapping[date, Source]) -> Iterator[Fetch]:
        """One object a day; REST over runs of neighbouring days."""
        return self._grouping.fetches(symbol, sources)

    def at_once(self, wanted: Mapping[str, Sequence[date]]) -> list[MarketFetch]:
        """None: metrics are asked for by symbol."""
        return []

    def cost(self, fetch: Fetch) -> Cost:
        """One object a day; five endpoints over REST."""
        rows = len(fetch.days) * self.rows_a_day
        if fetch.source is Source.REST:
            requests = len(RestSeries) * math.ceil(rows / METRICS_PAGE_ROWS)
            return Cost(requests, requests, rows, len(RestSeries) * rows * _BYTES_A_REST_ROW)
        return Cost(_requests_of_object(fetch), 0, rows, rows * _BYTES_AN_ARCHIVED_ROW)

    def is_too_early(self, fetch: Fetch) -> bool:
        """For yesterday's object before nine o'clock."""
        is_yesterday = (self.now.date() - fetch.days[-1]).days == 1
        return fetch.source is Source.DAILY and is_yesterday and self.now.hour < routing.PUBLISHED_BY_HOUR


@dataclass(frozen=True)
class FundingPlan:
    """Funding rates."""

    today: date
    dataset: Dataset = Dataset.FUNDING_RATES
    freq: str = ""
    rows_a_day: int = _FUNDING_ROWS_A_DAY
    listed: Listed = field(default_factory=dict)

    def with_listing(self, symbol: str, days: Sequence[date]) -> FundingPlan:
        """The same: an object is asked for only where the API does not serve the symbol."""
        return self

    def split(self, days: Sequence[date]) -> Iterator[list[date]]:
        """All at once: a page of 1000 rows covers most of a year."""
        yield list(days)

    def routes(self, days: Sequence[date]) -> list[DayRoute]:
        """REST, else the monthly object."""
        return routing.funding_routes(days, self.today)

    def next_step(self, route: DayRoute, evidence: Evidence, stored: StoredDay | None = None) -> Source | Verdict:
        """One answer settles a day."""
        return verdict.next_funding_step(route, evidence, stored)

    def group(self, symbol: str, sources: Mapping[date, Source]) -> Iterator[Fetch]:
        """One object a month; REST over runs that may bridge what one page would cover anyway."""
        # Hourly is the shortest funding interval (docs/wire.md, funding rates).
        return Grouping(self.dataset, Freq.h1, _FUNDING_DAYS_A_FETCH, _FUNDING_GAP_DAYS).fetches(symbol, sources)

    def at_once(self, wanted: Mapping[str, Sequence[date]]) -> list[MarketFetch]:
        """Days that many symbols want: a night of 500 symbols takes three requests."""
        past = {symbol: [day for day in days if day < self.today] for symbol, days in wanted.items()}
        days = days_at_once(past, _MOST_MARKET_PAGES_A_DAY, self._requests_by_symbol)
        if not days:
            return []
        shared = {symbol: [day for day in one if day in days] for symbol, one in past.items()}
        return list(Grouping(self.dataset, Freq.h1, _MARKET_DAYS_A_FETCH).market_fetches(shared))

    def _requests_by_symbol(self, days: Sequence[date]) -> int:
        return sum(self.cost(fetch).requests for fetch in self.group("", dict.fromkeys(days, Source.REST)))

    def cost(self, fetch: Fetch) -> Cost:
        """Pages of 1000 over the whole span, at the usual three rows a day; the whole market takes a page a moment."""
        if isinstance(fetch, MarketFetch):
            requests = len(fetch.days) * _MARKET_PAGES_A_DAY
            rows_sent = requests * FUNDING_PAGE_ROWS
            return Cost(requests, requests, fetch.symbol_days * _FUNDING_ROWS_A_DAY, rows_sent * _BYTES_A_REST_ROW)
        rows = len(fetch.days) * _FUNDING_ROWS_A_DAY
        if fetch.source is Source.REST:
            requests = math.ceil(fetch.window.length * _FUNDING_ROWS_A_DAY / FUNDING_PAGE_ROWS)
            return Cost(requests, requests, rows, rows * _BYTES_A_REST_ROW)
        return Cost(_requests_of_object(fetch), 0, rows, rows * _BYTES_AN_ARCHIVED_ROW)

    def is_too_early(self, fetch: Fetch) -> bool:
        """Never: the archive is asked only where the API does not serve a symbol."""
        return False


def _asked_first(routes: Sequence[DayRoute]) -> dict[date, Source]:
    return {route.day: route.sources[0] for route in routes if route.sources}


def _requests_of_object(fetch: Fetch) -> int:
    return _REQUESTS_AN_OBJECT if fetch.among is None else _REQUESTS_A_LISTED_OBJECT


def plan_of(dataset: Dataset, freq: str, now: float, choice: KlineSource = KlineSource.AUTO) -> DatasetPlan:
    """The plan of a dataset at the ledger's frequency; `now` (epoch seconds) decides how old a day is."""
    moment = datetime.fromtimestamp(now, timezone.utc)
    if dataset is Dataset.KLINES:
        return KlinesPlan(Freq.parse(freq), moment.date(), choice)
    return MetricsPlan(moment) if dataset is Dataset.METRICS else FundingPlan(moment.date())


def dataset_plans(interval: Freq, choice: KlineSource, now: float, *, metrics: bool) -> list[DatasetPlan]:
    """The plans of a download: klines, and with `metrics` market metrics and funding rates as well."""
    datasets = tuple(Dataset) if metrics else (Dataset.KLINES,)
    return [plan_of(dataset, interval.value, now, choice) for dataset in datasets]


def by_month(days: Sequence[date]) -> Iterator[list[date]]:
    """Days in order, cut at month ends."""
    for _, month in itertools.groupby(days, month_of):
        yield list(month)


def first_sources(plan: DatasetPlan, days: Sequence[date], stored: Mapping[date, StoredDay] | None = None) -> dict[date, Source]:
    """The source that is asked first for each of a symbol's days; days that are settled without asking are left out.

    With `stored`, which needs no rows, days that are fetched again begin with the object that they came from.
    """
    known = stored or {}
    steps = {route.day: plan.next_step(route, {}, known.get(route.day)) for route in plan.routes(days)}
    return {day: step for day, step in steps.items() if isinstance(step, Source)}
