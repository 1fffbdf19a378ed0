"""Cross-checks: stored kline symbol-days are fetched again from the other source, archive or REST, and compared exactly."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from typing import Any, ClassVar, NamedTuple

from cryptoservice.audit.verification.differences import Difference
from cryptoservice.clock import result_of
from cryptoservice.models import Dataset, Freq, Record, Row
from cryptoservice.sources.decoding import decode_zip
from cryptoservice.sources.evidence import AnswerKind, KlineSource, Source, SourceAnswer
from cryptoservice.sources.fetcher import DatasetFetcher
from cryptoservice.sources.grouping import Fetch
from cryptoservice.sources.routing import comparison_sources
from cryptoservice.storage.schema import columns

# Fetches that may be under way or wait for comparison, beyond one for each worker.
_FETCH_AHEAD = 4
_ARCHIVE_NAMES = frozenset((Source.MONTHLY.value, Source.DAILY.value))
_COLUMNS = columns(Dataset.KLINES)
_INTEGER_COLUMNS = frozenset(("open_time", "trades"))


@dataclass(frozen=True)
class Sampled(Record):
    """A symbol-day to be fetched again."""

    KEYS: ClassVar = ("freq", "symbol", "date", "stored_source")

    freq: Freq
    symbol: str
    date: date
    stored_source: str
    """As the ledger names it: `rest`, `daily`, `monthly` or `monthly+daily`."""
    other: KlineSource
    """The source that its rows did not come from."""
    is_known: bool = False
    """REST overruled the archive on this day: REST is asked as well, and what the archive says otherwise is no failure."""


def other_source(stored_source: str | None) -> KlineSource | None:
    """The source that rows did not come from; None when they came from both, or when the ledger names no source."""
    names = frozenset((stored_source or "").split("+"))
    if names == {Source.REST.value}:
        return KlineSource.VISION
    return KlineSource.API if names <= _ARCHIVE_NAMES else None


@dataclass(frozen=True)
class CrossCheck(Record):
    """What the other source said of a symbol-day."""

    sampled: Sampled
    source: Source
    answer: SourceAnswer
    confirmation: CrossCheck | None = None
    """What REST says of a day on which it overruled the archive."""

    @property
    def has_rows(self) -> bool:
        """True when the other source gave an answer that stored rows can be compared with."""
        return self.answer.kind is AnswerKind.ROWS

    @property
    def failed(self) -> bool:
        """True when the other source should have answered and did not: the symbol-day cannot be called sound."""
        return self.answer.kind in (AnswerKind.DISTRUSTED, AnswerKind.REFUSED, AnswerKind.FAILED)

    @property
    def reason(self) -> str:
        """Why there is nothing to compare with, such as `rest: http_503`."""
        return f"{self.source}: {self.answer.reason or self.answer.kind.value}"

    def to_dict(self) -> dict[str, Any]:
        """An entry of `not_compared`: the symbol-day and the reason."""
        return {**self.sampled.to_dict(), "reason": self.reason}


def cross_checks(
    fetcher: DatasetFetcher, today: date, sample: Sequence[Sampled], workers: int, stop: threading.Event | None
) -> Iterator[CrossCheck]:
    """Fetch the sample with so many threads and yield the answers in the sample's order. Interrupted when `stop` is set.

    When it ends early, threads may still wait for a source. The caller closes the client, which ends these waits.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="verify")
    try:
        remaining = iter(sample)
        under_way: deque[Future[CrossCheck]] = deque()
        while True:
            room = workers + _FETCH_AHEAD - len(under_way)
            under_way += [pool.submit(_cross_check, fetcher, today, item) for item in islice(remaining, room)]
            if not under_way:
                return
            yield result_of(under_way.popleft(), stop)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _cross_check(fetcher: DatasetFetcher, today: date, item: Sampled) -> CrossCheck:
    """The answer of the first source that has rows, else that of the first source."""
    check = _first_with_rows(fetcher, today, item)
    return replace(check, confirmation=_ask(fetcher, item, Source.REST)) if item.is_known and check.has_rows else check


def _first_with_rows(fetcher: DatasetFetcher, today: date, item: Sampled) -> CrossCheck:
    checks = (_ask(fetcher, item, source) for source in comparison_sources(item.date, today, item.other))
    first = next(checks)
    if first.has_rows:
        return first
    return next((check for check in checks if check.has_rows and check.answer.rows), first)


def _ask(fetcher: DatasetFetcher, item: Sampled, source: Source) -> CrossCheck:
    fetch = Fetch(Dataset.KLINES, item.freq, source, item.symbol, (item.date,))
    result = fetcher.fetch(fetch)
    answers = result.answers if result.archived is None else decode_zip(fetch, result.archived)
    return CrossCheck(item, source, answers[item.date])


class Comparison(NamedTuple):
    """How stored rows and another source's rows of one symbol-day compare."""

    differences: list[Difference]
    compared: int
    """Rows that both have."""
    lacking: int
    """Stored rows that the other source does not have. That is a hole of the other source and no difference."""


def compare(stored: Sequence[Row], check: CrossCheck) -> Comparison:
    """Compare each field as a number, without tolerance. A row that is not stored is a difference."""
    item, source = check.sampled, check.source.value
    mine, others = _by_time(stored), _by_time(check.answer.rows)

    def difference(kind: str, open_time: int, **more: Any) -> Difference:
        details = {"open_time": open_time, **more, "stored_source": item.stored_source, "other_source": source}
        return Difference(kind, Dataset.KLINES, item.freq.value, item.symbol, item.date.isoformat(), details)

    differences: list[Difference] = []
    for open_time in sorted(others):
        if open_time not in mine:
            differences.append(difference("row_not_stored", open_time))
            continue
        for name, ours, theirs in zip(_COLUMNS, mine[open_time], others[open_time], strict=True):
            if ours != theirs:
                differences.append(difference("value", open_time, field=name, stored=ours, other=theirs))
    both = len(mine.keys() & others.keys())
    return Comparison(differences, both, len(mine) - both)


def _by_time(rows: Sequence[Row]) -> dict[Any, Row]:
    """Rows by open time, with prices and volumes as floats: so the database keeps them, also where the source wrote `5`."""
    return {row[0]: tuple(map(_as_stored, _COLUMNS, row)) for row in rows}


def _as_stored(name: str, value: Any) -> Any:
    return float(value) if isinstance(value, int) and name not in _INTEGER_COLUMNS else value
