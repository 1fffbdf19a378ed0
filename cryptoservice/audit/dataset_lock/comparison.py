"""Compares a database with a dataset lock, and names every symbol-month and every day that is not the same."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cryptoservice.audit.dataset_lock.digests import NO_ROWS, MonthDigest, SymbolMonth, read_contents, root_of
from cryptoservice.audit.dataset_lock.lock_file import DatasetLock, LockError, load
from cryptoservice.clock import Clock
from cryptoservice.config import AnyWindow, WindowBounds
from cryptoservice.errors import Remedy
from cryptoservice.models import Record, Word
from cryptoservice.progress import Report
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.file import UniverseFile

log = logging.getLogger(__name__)


class LockKind(Word):
    """How a symbol-month, or a day of it, is not what a lock says."""

    DIFFERS = "differs"
    """Both have rows, and these are not the same."""
    MISSING = "missing"
    """The lock has rows, and the database has none."""
    EXTRA = "extra"
    """The database has rows, and the lock has none."""


@dataclass(frozen=True)
class LockDifference(Record):
    """A symbol-month that is not what the lock says."""

    KEYS: ClassVar = ("dataset", "symbol", "month", "kind", "days")

    dataset: str
    """`klines/5m`, `metrics/5m` or `funding_rates`."""
    symbol: str
    month: str
    """Such as `2024-10`."""
    kind: LockKind
    days: Mapping[str, LockKind]
    """Its days, by their date, that are not the same; none where the lock does not know days."""


@dataclass(frozen=True)
class LockComparison(Record):
    """What a database holds beside what a lock says; equal roots mean equal data."""

    expected_root: str
    root: str
    differs: tuple[LockDifference, ...]
    """Every symbol-month that is not the same, sorted by dataset, symbol and month."""

    def __repr__(self) -> str:
        return f"LockComparison(expected_root={self.expected_root!r}, root={self.root!r}, differs={len(self.differs)})"


def expected_lock(path: Path, universe: UniverseFile, window: AnyWindow | None) -> DatasetLock:
    """The lock of that file, which must be the lock of that universe and, where a window is named, of that window.

    Raises LockError when the file cannot be used or is the lock of something else, and UsageError for a window that is none.
    """
    lock = load(path)
    if lock.universe_sha256 != universe.sha256:
        what = f"lock file {path} was made for another universe file, of SHA-256 {lock.universe_sha256}"
        raise LockError(what, hint=f"{universe.path} has {universe.sha256}: a lock holds for one universe file, byte by byte")
    bounds = WindowBounds.of(window)
    own = lock.window.to_dict()
    asked = universe.universe.subwindow(
        WindowBounds(
            own["start_date"] if bounds.start_date is None else bounds.start_date,
            own["end_date"] if bounds.end_date is None else bounds.end_date,
        )
    )
    if asked != lock.window:
        what = f"lock file {path} covers {lock.window.start} to {lock.window.end}, not {asked.start} to {asked.end}"
        raise LockError(what, hint=Remedy.LOCK_WINDOW)
    return lock


def compare_with_lock(
    database: Path,
    universe: UniverseFile,
    lock: DatasetLock,
    clock: Clock,
    stop: threading.Event | None,
    report: Report | None = None,
) -> LockComparison:
    """Digest what the database holds of the lock's window, and name what is not the same.

    Raises StoreError when the database cannot be read, and Interrupted when `stop` is set.
    """
    with StoreReader.open(database) as store:
        found = read_contents(store, universe.universe.active_days(lock.window), clock, stop, report).digests
    comparison = LockComparison(lock.root, root_of(found), tuple(differences(lock.digests, found)))
    log.info("%d symbol-months compared with the lock, %d differ; root %s", len(found), len(comparison.differs), comparison.root)
    return comparison


def differences(
    expected: Mapping[SymbolMonth, MonthDigest], found: Mapping[SymbolMonth, MonthDigest]
) -> Iterator[LockDifference]:
    """Every symbol-month that is not the same on both sides, in order."""
    for place in sorted(expected.keys() | found.keys()):
        locked, stored = expected.get(place), found.get(place)
        if locked is None or stored is None or locked.sha256 != stored.sha256:
            days = dict(_days(place, locked, stored))
            yield LockDifference(*place, kind=_kind(locked is not None, stored is not None), days=days)


def _days(place: SymbolMonth, locked: MonthDigest | None, stored: MonthDigest | None) -> Iterator[tuple[str, LockKind]]:
    sides = [None if side is None else side.marks.split() for side in (locked, stored)]
    if [] in sides:
        return
    length = max(len(side) for side in sides if side is not None)
    nothing = [NO_ROWS] * length
    for number, (one, other) in enumerate(zip(*(side or nothing for side in sides), strict=False), start=1):
        if one != other:
            yield f"{place.month}-{number:02}", _kind(one != NO_ROWS, other != NO_ROWS)


def _kind(is_locked: bool, is_stored: bool) -> LockKind:
    if is_locked and is_stored:
        return LockKind.DIFFERS
    return LockKind.MISSING if is_locked else LockKind.EXTRA
