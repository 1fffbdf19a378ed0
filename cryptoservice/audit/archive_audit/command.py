"""audit: ask the archive's listing whether anything that a database was built from has been published anew."""

from __future__ import annotations

import hashlib
import heapq
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from cryptoservice.audit.archive_audit.comparison import Compared, Doubt, Doubtful, Fate, compare, doubtful
from cryptoservice.audit.archive_audit.result import AuditResult, GoneObject, RepublishedObject, refetches
from cryptoservice.audit.archive_audit.used_objects import used_objects, used_series
from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock, wait_for_some
from cryptoservice.config import AnyWindow, NetworkConfig, require_controls, require_count, require_kind
from cryptoservice.days import ONE_DAY, Window
from cryptoservice.errors import Remedy, UsageError
from cryptoservice.files import path_of
from cryptoservice.models import Dataset
from cryptoservice.progress import Progress, Report
from cryptoservice.storage.ledger import Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.notices import nothing_active_notice

log = logging.getLogger(__name__)

Task = TypeVar("Task")
Answer = TypeVar("Answer")

DEFAULT_SAMPLE = 1000
"""So many objects of an earlier version, which noted no ETag, are compared by a request each."""
_MOST_PENDING = 64
# A page of the listing takes a megabyte while it is read, and more of them at once would save no time.
_PAGES_AT_ONCE = 8
# So many objects wait for requests of their own before the listing goes on, so that memory does not grow with their number.
_MOST_DOUBTS = 5_000
_NOTHING: Any = object()


def audit_universe(
    universe_file: str | Path,
    db_path: str | Path,
    *,
    window: AnyWindow | None = None,
    sample: int = DEFAULT_SAMPLE,
    network: NetworkConfig | None = None,
    progress: Report | None = None,
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
    require_kind("network", network, NetworkConfig)
    require_controls(progress=progress, clock=clock, stop=stop)
    require_count("sample", sample, 0)
    clock = clock or Clock()
    network = network or NetworkConfig()
    started = clock.monotonic()
    universe = UniverseFile.load(universe_file, stop).universe
    days = universe.subwindow(window)
    nothing_active = nothing_active_notice(universe, days)
    if nothing_active:
        raise UsageError(f"nothing to audit: {nothing_active}", hint="name a universe, or a window, with active symbols")
    database = path_of(db_path, "database")
    active = universe.active_days(Window(max(universe.start_date, days.start - ONE_DAY), days.end))
    listed = used_series(database, active, days)
    if not listed:
        what = f"database {database} knows no active symbol-day of {days.start} to {days.end}"
        raise UsageError(what, hint=Remedy.DOWNLOAD_FIRST)
    found = _Found()
    pool = ThreadPoolExecutor(min(network.workers.vision, _PAGES_AT_ONCE), thread_name_prefix="audit")
    with BinanceClient(network, clock) as client:
        shown = Progress("audit", "series", len(listed), clock, client.gauge, progress)

        def look(series: Series) -> tuple[int, list[Doubtful]]:
            objects = used_objects(database, series, active, days)
            return len(objects), list(doubtful(client.listing, objects))

        def ask(doubts: list[Doubtful]) -> None:
            for compared in _each(pool, lambda one: compare(client.archive, one), doubts, stop):
                found.add(compared)
                shown.tick()

        try:
            client.open()
            sweep = _Sweep(sample)
            for objects, doubts in _each(pool, look, listed, stop):
                sweep.add(objects, doubts)
                shown.advance()
                if len(sweep.doubts) >= _MOST_DOUBTS:
                    ask(sweep.take())
            ask(sweep.take())
            ask(sweep.drawn())
        finally:
            shown.end()
            pool.shutdown(wait=False, cancel_futures=True)
    result = AuditResult(
        window=days,
        unchanged=sweep.unchanged + found.unchanged,
        republished=tuple(sorted(map(_republished, found.republished), key=lambda one: (one.object, one.old))),
        gone=tuple(sorted(map(_gone, found.gone), key=lambda one: one.object)),
        not_compared=sweep.not_drawn,
        refetch=refetches((one.used for one in found.republished), _kline_intervals(database)),
        requests=client.traffic.requests,
        retries=client.traffic.retries,
        waited_seconds=round(client.waited_seconds, 3),
        elapsed_seconds=round(clock.monotonic() - started, 3),
    )
    _say(result)
    return result


class _Sweep:
    """What the listing has said so far. Only what it leaves open is kept."""

    def __init__(self, sample: int) -> None:
        self.unchanged = 0
        self.not_drawn = 0
        """Objects of which nothing was noted, and which are not in the sample."""
        self.doubts: list[Doubtful] = []
        """Objects that are asked for in any case."""
        self._sample = sample
        self._drawn: list[tuple[int, str, str, Doubtful]] = []

    def add(self, objects: int, doubts: Iterable[Doubtful]) -> None:
        """Note the objects of one series: so many, and those of them that the listing does not prove unchanged."""
        self.unchanged += objects
        for one in doubts:
            self.unchanged -= 1
            if one.doubt is Doubt.UNKNOWN:
                self._draw(one)
            else:
                self.doubts.append(one)

    def take(self) -> list[Doubtful]:
        """The objects that are asked for in any case, once."""
        taken, self.doubts = self.doubts, []
        return taken

    def drawn(self) -> list[Doubtful]:
        """The sample of the objects of which nothing was noted."""
        return [one for *_, one in self._drawn]

    def _draw(self, one: Doubtful) -> None:
        """Those of the smallest hashes are drawn: at random, the same ones again, and without keeping all the others."""
        name, sha256 = one.used.name, one.used.version.sha256
        rank = int.from_bytes(hashlib.sha256(f"{name} {sha256}".encode()).digest()[:8], "big")
        heapq.heappush(self._drawn, (-rank, name, sha256, one))
        if len(self._drawn) > self._sample:
            heapq.heappop(self._drawn)
            self.not_drawn += 1


class _Found:
    """What the objects' own CHECKSUMs have said."""

    def __init__(self) -> None:
        self.unchanged = 0
        self.republished: list[Compared] = []
        self.gone: list[Compared] = []

    def add(self, compared: Compared) -> None:
        """Note one object."""
        if compared.fate is Fate.UNCHANGED:
            self.unchanged += 1
        else:
            (self.gone if compared.fate is Fate.GONE else self.republished).append(compared)


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
    if not result.checked:
        log.warning("nothing to compare: no symbol-day of %s to %s came from the archive", result.window.start, result.window.end)
    if result.not_compared:
        log.warning(
            "%s objects were not compared: no ETag of them was noted, and the listing does not prove their SHA-256",
            f"{result.not_compared:,}",
        )
