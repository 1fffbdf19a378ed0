"""Second opinions: stored kline symbol-days fetched again from the other source, archive or REST, and compared exactly."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any, NamedTuple

from cryptoservice.audit import Difference
from cryptoservice.binance.connection import Connection
from cryptoservice.clock import check
from cryptoservice.days import month_end
from cryptoservice.feeds import KlineFeed
from cryptoservice.models import Dataset, Freq, Row
from cryptoservice.plan import Fetch, KlineSource, Source, Testimony, Witness
from cryptoservice.reading import witnesses_of
from cryptoservice.schema import columns

_POLL_SECONDS = 0.1
# Fetched days that wait for comparison, beyond one a worker.
_READ_AHEAD = 4
_ARCHIVE = frozenset((Source.MONTHLY.value, Source.DAILY.value))
_COLUMNS = columns(Dataset.KLINES)
_WHOLE = frozenset(("open_time", "trades"))


class Sampled(NamedTuple):
    """A symbol-day to be fetched again."""

    freq: Freq
    symbol: str
    day: date
    stored_source: str
    """As the ledger names it: `rest`, `daily`, `monthly` or `monthly+daily`."""
    other: KlineSource
    """Where it did not come from."""

    def to_dict(self) -> dict[str, Any]:
        """How a report names it."""
        return {"freq": self.freq.value, "symbol": self.symbol, "date": self.day.isoformat(), "stored_source": self.stored_source}


def other_source(stored_source: str | None) -> KlineSource | None:
    """The source that has not been heard, or None when both have, or the ledger names none."""
    parts = frozenset((stored_source or "").split("+"))
    if parts == {Source.REST.value}:
        return KlineSource.VISION
    return KlineSource.API if parts <= _ARCHIVE else None


@dataclass(frozen=True)
class Opinion:
    """What the other source says of a symbol-day."""

    sampled: Sampled
    source: Source
    witness: Witness

    @property
    def heard(self) -> bool:
        """True when it gave rows that can be compared."""
        return self.witness.testimony is Testimony.ROWS

    @property
    def troubled(self) -> bool:
        """True when it should have answered and did not: no reason to call the symbol-day sound."""
        return self.witness.testimony in (Testimony.DISTRUSTED, Testimony.REFUSED, Testimony.FAILED)

    @property
    def reason(self) -> str:
        """Why there is nothing to compare with."""
        return f"{self.source}: {self.witness.reason or self.witness.testimony.value}"


def opinions(
    connection: Connection, today: date, sample: Sequence[Sampled], workers: int, stop: threading.Event | None
) -> Iterator[Opinion]:
    """Ask for all of them, some at a time, and answer in their order. Close the connection when it ends."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="verify")
    try:
        rest = iter(sample)
        waiting: list[Future[Opinion]] = []
        while True:
            room = workers + _READ_AHEAD - len(waiting)
            waiting += [pool.submit(_ask, connection, today, item) for item in islice(rest, room)]
            if not waiting:
                return
            yield _result(waiting.pop(0), stop)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _result(future: Future[Opinion], stop: threading.Event | None) -> Opinion:
    check(stop)
    while not wait([future], timeout=_POLL_SECONDS).done:
        check(stop)
    return future.result()


def _ask(connection: Connection, today: date, item: Sampled) -> Opinion:
    feed = KlineFeed(connection, item.freq, today, item.other)
    if item.other is KlineSource.API:
        return _hear(feed, item, Source.REST)
    daily = _hear(feed, item, Source.DAILY)
    # Some days stand in the month's object alone.
    if daily.heard or month_end(item.day) >= today:
        return daily
    monthly = _hear(feed, item, Source.MONTHLY)
    return monthly if monthly.heard and monthly.witness.rows else daily


def _hear(feed: KlineFeed, item: Sampled, source: Source) -> Opinion:
    fetch = Fetch(source, item.symbol, (item.day,))
    return Opinion(item, source, witnesses_of(fetch, feed.fetch(fetch))[item.day])


class Comparison(NamedTuple):
    """How stored rows and another source's rows of one symbol-day compare."""

    differences: list[Difference]
    compared: int
    """Rows that both have."""
    lacking: int
    """Stored rows that the other source does not have: a hole of that source, which is why the day came from this one."""


def compare(stored: Sequence[Row], opinion: Opinion) -> Comparison:
    """Field by field, as the numbers that both texts mean: no tolerance. A row that is not stored is a difference."""
    item, source = opinion.sampled, opinion.source.value
    mine, others = _by_time(stored), _by_time(opinion.witness.rows)

    def found(kind: str, open_time: int, **more: Any) -> Difference:
        details = {"open_time": open_time, **more, "stored_source": item.stored_source, "other_source": source}
        return Difference(kind, Dataset.KLINES, item.freq.value, item.symbol, item.day.isoformat(), details)

    differences: list[Difference] = []
    for open_time in sorted(others):
        if open_time not in mine:
            differences.append(found("row_not_stored", open_time))
            continue
        for name, left, right in zip(_COLUMNS, mine[open_time], others[open_time], strict=True):
            if left != right:
                differences.append(found("value", open_time, field=name, stored=_shown(left), other=right))
    both = len(mine.keys() & others.keys())
    return Comparison(differences, both, len(mine) - both)


def _by_time(rows: Sequence[Row]) -> dict[Any, Row]:
    """Rows by open time; prices and volumes as the floats that the database keeps, also where the wire says `5`."""
    return {row[0]: tuple(map(_kept, _COLUMNS, row)) for row in rows}


def _kept(name: str, value: Any) -> Any:
    return float(value) if isinstance(value, int) and name not in _WHOLE else value


def _shown(value: Any) -> Any:
    """A stored value as JSON can say it: a damaged database can hold infinity, or bytes."""
    return value if isinstance(value, (int, str)) or (isinstance(value, float) and math.isfinite(value)) else repr(value)
