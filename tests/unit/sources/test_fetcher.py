"""Fetching: which request a fetch becomes, and what each trouble means for its days."""

from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cryptoservice.binance.archive_files import ArchiveFile, VerifiedZip
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import Window
from cryptoservice.errors import HistoryEnded, Interrupted, SourceError, SourceRefused, SymbolRefused
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.evidence import AnswerKind, Source
from cryptoservice.sources.fetcher import DatasetFetcher
from cryptoservice.sources.grouping import Fetch
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, kline

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
    result = DatasetFetcher(client).fetch(fetch(Dataset.KLINES, Freq.h1, Source.DAILY, DAYS[:1]))  # type: ignore[arg-type]
    assert client.asked == [("archive", file)]
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
