"""lock: write down what a database holds of a universe, as digests by which anybody can prove that they hold the same.

It only reads the database, and it never touches the network; a download may be running.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptoservice import files
from cryptoservice.audit.dataset_lock.digests import UNREADABLE, Contents, DatasetContents, read_contents
from cryptoservice.audit.dataset_lock.lock_file import LOCK_VERSION, DatasetLock, save
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import AnyWindow, require_controls, require_flags
from cryptoservice.days import Window, shorten
from cryptoservice.errors import Remedy, StoreError, UsageError
from cryptoservice.models import Record
from cryptoservice.progress import Report
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.notices import nothing_active_notice

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LockResult(Record):
    """What a lock holds."""

    lock_file: str
    lock_version: str
    root: str
    """64 hexadecimal digits: equal data, equal root."""
    window: Window
    datasets: tuple[DatasetContents, ...]
    symbol_months: int
    """How many digests there are."""
    objects: int
    """Archive objects that rows came from."""
    elapsed_seconds: float

    def __repr__(self) -> str:
        counts = f"symbol_months={self.symbol_months}, objects={self.objects}"
        return f"LockResult(lock_file={shorten(self.lock_file, 200)}, root={self.root!r}, {counts})"


def lock_universe(
    universe_file: str | Path,
    db_path: str | Path,
    output_path: str | Path,
    *,
    window: AnyWindow | None = None,
    force: bool = False,
    progress: Report | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> LockResult:
    """Write the dataset lock of the active symbol-days of the window: digests over their rows in all datasets and intervals.

    The digests depend on the stored rows alone; rows of other days do not count. All of them are of one moment, however much a
    download writes meanwhile. Raises UsageError for bad input, an existing output without `force` or a database that holds no
    row of the universe, StoreError when the database cannot be read or holds a value that no download stores, OutputError when
    the file cannot be written, and Interrupted when `stop` is set.
    """
    require_flags(force=force)
    require_controls(progress=progress, clock=clock, stop=stop)
    clock = clock or Clock()
    started = clock.monotonic()
    loaded = UniverseFile.load(universe_file, stop)
    days = loaded.universe.subwindow(window)
    output = files.path_of(output_path, "the output")
    database = files.path_of(db_path, "database")
    _check_output(output, loaded.path, database, force=force)
    nothing_active = nothing_active_notice(loaded.universe, days)
    if nothing_active:
        raise UsageError(f"nothing to lock: {nothing_active}", hint="name a universe, or a window, with active symbols")
    with StoreReader.open(database) as store:
        contents = read_contents(store, loaded.universe.active_days(days), clock, stop, progress)
        _check_contents(store, contents, days)
        raise_if_stopped(stop)
        lock = DatasetLock(loaded.sha256, days, contents.digests)
        objects = save(lock, _objects(store, contents), output, force=force)
    _tell(contents, lock.root)
    return LockResult(
        lock_file=str(output),
        lock_version=LOCK_VERSION,
        root=lock.root,
        window=days,
        datasets=tuple(contents.datasets),
        symbol_months=len(contents.digests),
        objects=objects,
        elapsed_seconds=round(clock.monotonic() - started, 3),
    )


def _check_output(output: Path, universe_file: Path, database: Path, *, force: bool) -> None:
    """Refuse what could not be written after minutes of work, and what would destroy the run's own input."""
    files.refuse_folder(output, "the output")
    files.clean_temps(output.absolute().parent)
    if output.exists():
        for path, what in ((universe_file, "universe file"), (database, "database")):
            if path.exists() and output.samefile(path):
                raise UsageError(f"the output {output} is the {what}", hint="choose another name")
        if not force:
            raise files.TargetExists(f"{output} exists already", hint=Remedy.REPLACE_FILE)
    files.require_place(output)


def _check_contents(store: StoreReader, contents: Contents, window: Window) -> None:
    if not contents.digests:
        what = f"database {store.path} holds no row of an active symbol-day of {window.start} to {window.end}"
        raise UsageError(what, hint=Remedy.DOWNLOAD_FIRST)
    bad = next((place for place, digest in contents.digests.items() if digest.sha256 == UNREADABLE), None)
    if bad is not None:
        what = f"database {store.path}: {bad.dataset} {bad.symbol} {bad.month} holds a value that no download stores"
        raise StoreError(what, hint=Remedy.VERIFY_DATABASE)


def _objects(store: StoreReader, contents: Contents) -> Iterator[tuple[str, str]]:
    return ((name, sha256) for number, name, sha256 in store.source_objects() if number in contents.object_ids)


def _tell(contents: Contents, root: str) -> None:
    for dataset in contents.datasets:
        lacking = dataset.active_symbol_days - dataset.symbol_days
        if lacking:
            # A lock of less than the universe wants is a lock all the same, but nobody should take it for the whole.
            counts = (dataset.dataset, lacking, dataset.active_symbol_days)
            log.warning("%s: %d of %d active symbol-days have no rows, and the lock says so", *counts)
    rows = sum(dataset.rows for dataset in contents.datasets)
    log.info("%d rows locked, root %s", rows, root)
