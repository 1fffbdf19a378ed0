"""audit: ask the archive's listing whether anything that a database was built from has been published anew."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from cryptoservice.audit.archive_audit.comparison import Compared, Doubt, Fate, compare_with_checksum, compare_with_listing
from cryptoservice.audit.archive_audit.result import AuditResult, GoneObject, RepublishedObject, refetches
from cryptoservice.audit.archive_audit.used_objects import UsedObject, used_objects, used_series
from cryptoservice.binance.client import BinanceClient
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.clock import Clock, wait_for_some
from cryptoservice.config import NetworkConfig, WindowBounds
from cryptoservice.errors import Remedy, SourceError, UsageError
from cryptoservice.models import Dataset
from cryptoservice.progress import Progress
from cryptoservice.storage.ledger import Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.notices import nothing_active_notice

log = logging.getLogger(__name__)

Task = TypeVar("Task")
Answer = TypeVar("Answer")

DEFAULT_SAMPLE = 1000
"""So many objects of an earlier version, which noted no ETag, are compared by a request each."""
# The same objects are drawn again when nothing has changed.
_SEED = 0
_MOST_PENDING = 64
_NOTHING: Any = object()


def audit_universe(
    universe_file: str | Path,
    db_path: str | Path,
    *,
    window: WindowBounds | None = None,
    sample: int = DEFAULT_SAMPLE,
    network: NetworkConfig | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> AuditResult:
    """Compare every archive object that the window's symbol-days came from with what the archive holds now.

    The bucket is listed page by page, which takes a few requests for each symbol and dataset; only an object that the listing
    does not prove unchanged costs a request of its own. Nothing is written. `result.refetch` says which downloads would bring
    the changed days up to date.

    Raises UsageError for bad input, StoreError when the database cannot be read, SourceError when a source did not answer for
    one of the objects, SourceRefused when it refuses this address, and Interrupted when `stop` is set.
    """
    clock = clock or Clock()
    network = network or NetworkConfig()
    started = clock.monotonic()
    if sample < 0:
        raise UsageError(f"a sample of {sample} objects cannot be drawn", hint="it must be 0 or more")
    universe = UniverseFile.load(Path(universe_file), stop).universe
    days = universe.subwindow(window)
    nothing_active = nothing_active_notice(universe, days)
    if nothing_active:
        raise UsageError(f"nothing to audit: {nothing_active}", hint="name a universe, or a window, with active symbols")
    database = Path(db_path)
    active = universe.active_days(days)
    listed = used_series(database, active)
    sweep = _Sweep()
    pool = ThreadPoolExecutor(network.workers.vision, thread_name_prefix="audit")
    with BinanceClient(network, clock) as client:
        progress = Progress("audit", "series", len(listed), clock, client.gauge)
        try:
            client.open()

            def compare(series: Series) -> list[tuple[UsedObject, Doubt | None]]:
                return list(compare_with_listing(client.listing, used_objects(database, series, active, days)))

            for doubts in _each(pool, compare, listed, stop):
                sweep.add(doubts)
                progress.advance()
            chosen = sweep.to_be_asked(sample)
            compared = list(_each(pool, lambda used: _with_checksum(client, used), chosen, stop))
        finally:
            progress.end()
            pool.shutdown(wait=False, cancel_futures=True)
    republished = [one for one in compared if one.fate is Fate.REPUBLISHED]
    result = AuditResult(
        window=days,
        unchanged=sweep.unchanged + sum(one.fate is Fate.UNCHANGED for one in compared),
        republished=tuple(sorted((_republished(one) for one in republished), key=lambda one: one.object)),
        gone=tuple(sorted((_gone(one) for one in compared if one.fate is Fate.GONE), key=lambda one: one.object)),
        not_compared=len(sweep.changed) + len(sweep.unknown) - len(chosen),
        refetch=refetches((one.used for one in republished), _kline_intervals(database)),
        requests=client.traffic.requests,
        retries=client.traffic.retries,
        waited_seconds=round(client.waited_seconds, 3),
        elapsed_seconds=round(clock.monotonic() - started, 3),
    )
    _say(result)
    return result


class _Sweep:
    """What the listing has said so far. Only what it leaves open is kept."""

    def __init__(self) -> None:
        self.unchanged = 0
        self.changed: list[UsedObject] = []
        self.unknown: list[UsedObject] = []

    def add(self, doubts: Iterable[tuple[UsedObject, Doubt | None]]) -> None:
        """Note the objects of one series."""
        for used, doubt in doubts:
            if doubt is None:
                self.unchanged += 1
            else:
                (self.changed if doubt is Doubt.CHANGED else self.unknown).append(used)

    def to_be_asked(self, sample: int) -> list[UsedObject]:
        """The objects to compare one by one: all that seem changed, and at most so many of which nothing was noted."""
        unknown = sorted(self.unknown, key=lambda used: (used.name, used.version.sha256))
        drawn = unknown if len(unknown) <= sample else random.Random(_SEED).sample(unknown, sample)  # noqa: S311
        return self.changed + drawn


def _each(
    pool: ThreadPoolExecutor, work: Callable[[Task], Answer], tasks: Iterable[Task], stop: threading.Event | None
) -> Iterator[Answer]:
    """The answers in any order; the first error ends all. Few tasks wait at a time, so memory does not grow with their number."""
    pending: set[Future[Answer]] = set()
    left = iter(tasks)
    is_last = False
    while pending or not is_last:
        while not is_last and len(pending) < _MOST_PENDING:
            task = next(left, _NOTHING)
            if task is _NOTHING:
                is_last = True
            else:
                pending.add(pool.submit(work, task))
        if pending:
            done = wait_for_some(pending, stop)
            pending -= done
            for future in done:
                yield future.result()


def _with_checksum(client: BinanceClient, used: UsedObject) -> Compared:
    try:
        return compare_with_checksum(client.archive, used)
    except InvalidData as invalid:
        raise SourceError(
            f"the CHECKSUM of {used.name} cannot be read ({invalid.reason})", reason=invalid.reason, hint=Remedy.MORE_RETRIES
        ) from None


def _kline_intervals(database: Path) -> dict[str, list[str]]:
    """The kline intervals of each symbol in the database, the shortest first."""
    with StoreReader.open(database) as store:
        klines = {(series.symbol, series.freq) for series in store.series() if series.dataset is Dataset.KLINES}
        order = store.frequencies(Dataset.KLINES)
    return {symbol: [freq for freq in order if (symbol, freq) in klines] for symbol, _ in klines}


def _republished(one: Compared) -> RepublishedObject:
    used = one.used
    return RepublishedObject(used.name, used.series.symbol, used.period, used.version.sha256, one.new_sha256 or "")


def _gone(one: Compared) -> GoneObject:
    return GoneObject(one.used.name, one.used.series.symbol, one.used.period)


def _say(result: AuditResult) -> None:
    log.info(
        "%s archive objects compared: %s unchanged, %s published anew, %s gone",
        *(f"{count:,}" for count in (result.checked, result.unchanged, len(result.republished), len(result.gone))),
    )
    if result.not_compared:
        log.warning(
            "%s objects were not compared: no ETag of them was noted, and the listing does not prove their SHA-256",
            f"{result.not_compared:,}",
        )
