"""Fetching: which request a fetch becomes, and what each trouble means for its days."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cryptoservice.binance.archive_files import ArchiveFile, FileRange, VerifiedZip
from cryptoservice.binance.parsers.funding import MarketPage, MarketRates
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import Window
from cryptoservice.errors import HistoryEnded, Interrupted, SourceError, SourceRefused, SymbolRefused
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.evidence import AnswerKind, Source
from cryptoservice.sources.fetcher import DatasetFetcher
from cryptoservice.sources.grouping import Fetch, MarketFetch
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, kline

DAYS = (FEBRUARY, FEBRUARY + timedelta(days=1))
WINDOW = Window(*DAYS)
TROUBLES: list[tuple[Exception, AnswerKind, str]] = [
    (SymbolRefused("error -1121", reason="api_error_-1121"), AnswerKind.NOT_SERVED, "api_error_-1121"),
    (HistoryEnded("error -1130", reason="history_ended"), AnswerKind.NOT_SERVED, "history_ended"),
    (SourceRefused("HTTP 451", reason="http_451"), AnswerKind.REFUSED, "http_451"),
    (SourceError("HTTP 503", reason="http_503"), AnswerKind.FAILED, "http_503"),
]


class Client:
    """A client whose two hosts do what a test says, and note what they were asked."""

    def __init__(self, outcome: Any) -> None:
        self.asked: list[tuple[Any, ...]] = []
        names = ("klines", "metrics", "funding_rates")
        self.api = SimpleNamespace(**{name: self._asked(name, outcome) for name in names})
        self.archive = SimpleNamespace(fetch=self._asked("archive", outcome))

    def _asked(self, name: str, outcome: Any) -> Any:
        def ask(*arguments: Any) -> Any:
            self.asked.append((name, *arguments))
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return ask


def fetch(dataset: Dataset, freq: Freq, source: Source, days: tuple[date, ...] = DAYS) -> Fetch:
    return Fetch(dataset, freq, source, "BTCUSDT", days)


@pytest.mark.parametrize(
    ("dataset", "freq", "request_made"),
    [
        (Dataset.KLINES, Freq.h1, ("klines", "BTCUSDT", Freq.h1, WINDOW)),
        (Dataset.METRICS, Freq.m5, ("metrics", "BTCUSDT", WINDOW)),
        (Dataset.FUNDING_RATES, Freq.h1, ("funding_rates", "BTCUSDT", WINDOW)),
    ],
)
def test_rest_is_asked_for_the_whole_span_of_a_fetch(dataset: Dataset, freq: Freq, request_made: tuple[Any, ...]) -> None:
    client = Client(RowsByDay({FEBRUARY: [kline(FEBRUARY_MS)]}))
    result = DatasetFetcher(client).fetch(fetch(dataset, freq, Source.REST))  # type: ignore[arg-type]
    assert client.asked == [request_made]
    assert result.archived is None
    assert [list(answer.rows) for answer in result.answers.values()] == [[kline(FEBRUARY_MS)], []]


def test_an_archive_object_comes_home_unopened() -> None:
    file = ArchiveFile.daily(Dataset.KLINES, "BTCUSDT", Freq.h1, FEBRUARY)
    archived = VerifiedZip(file, b"not opened here", "", None, 0.0)
    client = Client(archived)
    single = fetch(Dataset.KLINES, Freq.h1, Source.DAILY, DAYS[:1])
    result = DatasetFetcher(client).fetch(single)  # type: ignore[arg-type]
    DatasetFetcher(client).fetch(replace(single, among=FileRange(file, file)))  # type: ignore[arg-type]
    assert client.asked == [("archive", file, None), ("archive", file, FileRange(file, file))]
    assert (result.archived, dict(result.answers)) == (archived, {})


@pytest.mark.parametrize(("error", "kind", "reason"), TROUBLES)
@pytest.mark.parametrize("source", [Source.REST, Source.MONTHLY])
def test_trouble_is_an_answer_for_all_days(source: Source, error: Exception, kind: AnswerKind, reason: str) -> None:
    result = DatasetFetcher(Client(error)).fetch(fetch(Dataset.KLINES, Freq.h1, source))  # type: ignore[arg-type]
    assert result.archived is None
    assert [(day, answer.kind, answer.reason) for day, answer in result.answers.items()] == [(day, kind, reason) for day in DAYS]


@pytest.mark.parametrize(
    ("outcome", "kind", "reason"),
    [
        (None, AnswerKind.ABSENT, "not_in_archive"),
        (InvalidData("checksum_mismatch"), AnswerKind.DISTRUSTED, "checksum_mismatch"),
    ],
)
def test_what_only_the_archive_can_say(outcome: Any, kind: AnswerKind, reason: str) -> None:
    result = DatasetFetcher(Client(outcome)).fetch(fetch(Dataset.METRICS, Freq.m5, Source.DAILY, DAYS[:1]))  # type: ignore[arg-type]
    assert [(answer.kind, answer.reason) for answer in result.answers.values()] == [(kind, reason)]


@pytest.mark.parametrize("source", [Source.REST, Source.DAILY])
def test_an_interrupt_is_no_answer(source: Source) -> None:
    with pytest.raises(Interrupted):
        DatasetFetcher(Client(Interrupted())).fetch(fetch(Dataset.KLINES, Freq.h1, source, DAYS[:1]))  # type: ignore[arg-type]


MARKET = MarketFetch(Dataset.FUNDING_RATES, Freq.h1, Source.REST, "", DAYS, {"AUSDT": DAYS, "BUSDT": DAYS[1:]})


class MarketClient:
    """An API that knows one rate a day of each symbol, up to some time, and then does what a test says."""

    def __init__(self, known_until: int, outcome: Exception | None = None) -> None:
        self.api = SimpleNamespace(market_funding_rates=self.fill)
        self._known_until = known_until
        self._outcome = outcome

    def fill(self, rates: MarketRates) -> None:
        rows = [(symbol, (FEBRUARY_MS + day * DAY, 0.5, None, "Regular")) for day in range(2) for symbol in ("AUSDT", "BUSDT")]
        trouble = "one_moment_fills_a_page" if self._known_until < WINDOW.end_ms else None
        rates.add(MarketPage(rows, {}, self._known_until, is_last=True, trouble=trouble))
        if self._outcome is not None:
            raise self._outcome


def found_for_all(client: MarketClient) -> dict[str, list[date]]:
    result = DatasetFetcher(client).fetch(MARKET)  # type: ignore[arg-type]
    assert (dict(result.answers), result.archived) == ({}, None)
    parts = dict(result.parts(MARKET))
    assert list(parts) == [MARKET.of_symbol("AUSDT"), MARKET.of_symbol("BUSDT")]
    return {part.symbol: list(answers) for part, answers in parts.items()}


def test_all_symbols_at_once_come_home_as_the_part_of_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert found_for_all(MarketClient(WINDOW.end_ms)) == {"AUSDT": list(DAYS), "BUSDT": [DAYS[1]]}
    assert caplog.messages == []
    single = fetch(Dataset.KLINES, Freq.h1, Source.REST)
    result = DatasetFetcher(Client(RowsByDay({}))).fetch(single)  # type: ignore[arg-type]
    assert list(result.parts(single)) == [(single, result.answers)]


@pytest.mark.parametrize("error", [None, *(trouble[0] for trouble in TROUBLES)])
def test_what_all_symbols_at_once_do_not_say_is_left_for_each_symbol(
    error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert found_for_all(MarketClient(FEBRUARY_MS + DAY + 5, error)) == {"AUSDT": [DAYS[0]], "BUSDT": []}
    (message,) = caplog.messages
    reason = error.reason if isinstance(error, SourceError) else "one_moment_fills_a_page"
    assert message == f"funding rates of 2026-02-02 to 2026-02-02 are asked for by symbol: {reason}"
    with pytest.raises(Interrupted):
        found_for_all(MarketClient(FEBRUARY_MS, Interrupted()))
