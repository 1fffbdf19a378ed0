"""Fetching: what a plan has decided is carried out over the network, and every trouble becomes an answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cryptoservice.binance.archive_files import VerifiedZip
from cryptoservice.binance.client import BinanceClient
from cryptoservice.binance.parsers.funding import MarketRates
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import day_of_ms
from cryptoservice.errors import HistoryEnded, SourceError, SourceRefused, SymbolRefused
from cryptoservice.models import Dataset
from cryptoservice.sources.decoding import Answers, decode_market, decode_rows, same_for_all
from cryptoservice.sources.evidence import AnswerKind, Source
from cryptoservice.sources.grouping import Fetch, MarketFetch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchResult:
    """What a fetch brought: answers, or an archive object that is still to be decoded."""

    answers: Answers = field(default_factory=dict)
    archived: VerifiedZip | None = None
    by_symbol: Mapping[str, Answers] = field(default_factory=dict)
    """The answers of a MarketFetch; a day without one is to be asked for by symbol."""

    def parts(self, fetch: Fetch) -> Iterator[tuple[Fetch, Answers]]:
        """Each symbol's part of that fetch with its answers."""
        if isinstance(fetch, MarketFetch):
            for symbol, answers in self.by_symbol.items():
                yield fetch.of_symbol(symbol), answers
        else:
            yield fetch, self.answers


class DatasetFetcher:
    """Fetches symbol-days of any dataset. Safe to use from many threads."""

    def __init__(self, client: BinanceClient) -> None:
        self._client = client

    def fetch(self, fetch: Fetch) -> FetchResult:
        """Ask the source of this fetch; Interrupted when the client is closed. Nothing else is raised for a source's sake."""
        if isinstance(fetch, MarketFetch):
            return self._ask_for_all(fetch)
        return self._ask_api(fetch) if fetch.source is Source.REST else self._ask_archive(fetch)

    def _ask_archive(self, fetch: Fetch) -> FetchResult:
        try:
            archived = self._client.archive.fetch(fetch.archive_file, fetch.among)
        except InvalidData as invalid:
            return FetchResult(same_for_all(fetch, AnswerKind.DISTRUSTED, invalid.reason))
        except SourceError as error:
            return FetchResult(same_for_all(fetch, _kind_of(error), error.reason))
        if archived is None:
            return FetchResult(same_for_all(fetch, AnswerKind.ABSENT, "not_in_archive"))
        return FetchResult(archived=archived)

    def _ask_api(self, fetch: Fetch) -> FetchResult:
        try:
            return FetchResult(decode_rows(fetch, self._rows(fetch)))
        except SourceError as error:
            return FetchResult(same_for_all(fetch, _kind_of(error), error.reason))

    def _ask_for_all(self, fetch: MarketFetch) -> FetchResult:
        """Funding rates of all symbols at once. What could not be had by then is no answer, so it is asked for by symbol."""
        rates = MarketRates(fetch.wanted.keys(), fetch.window)
        try:
            self._client.api.market_funding_rates(rates)
            trouble = rates.trouble
        except SourceError as error:
            trouble = error.reason
        if rates.known_until < fetch.window.end_ms:
            since = day_of_ms(rates.known_until)
            log.info("funding rates of %s to %s are asked for by symbol: %s", since, fetch.window.end, trouble)
        return FetchResult(by_symbol=decode_market(fetch, rates))

    def _rows(self, fetch: Fetch) -> RowsByDay:
        api = self._client.api
        if fetch.dataset is Dataset.KLINES:
            return api.klines(fetch.symbol, fetch.freq, fetch.window)
        if fetch.dataset is Dataset.METRICS:
            return api.metrics(fetch.symbol, fetch.window)
        return api.funding_rates(fetch.symbol, fetch.window)


_KINDS: Mapping[type[SourceError], AnswerKind] = {
    SymbolRefused: AnswerKind.NOT_SERVED,
    HistoryEnded: AnswerKind.NOT_SERVED,
    SourceRefused: AnswerKind.REFUSED,
}


def _kind_of(error: SourceError) -> AnswerKind:
    return _KINDS.get(type(error), AnswerKind.FAILED)
