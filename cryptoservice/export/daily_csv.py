"""One day of one dataset: its CSV file from SQLite, and what the day has and lacks. This also runs in workers of an executor."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from cryptoservice import files
from cryptoservice.clock import raise_if_stopped
from cryptoservice.days import Window
from cryptoservice.export.coverage_report import Totals
from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset, Row, Status
from cryptoservice.reasons import NOT_DOWNLOADED
from cryptoservice.rows import PackedRows
from cryptoservice.sources.alignment import Reading
from cryptoservice.storage.ledger import LedgerLine, Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.schema import columns
from cryptoservice.storage.snapshot import SnapshotKey, shared_reader


class DayTask(NamedTuple):
    """A day to export, with its active symbols."""

    day: date
    symbols: Sequence[str]


class StaleFile(Enum):
    """What became of a day's file from before, for which this database has no rows."""

    KEPT = "kept"
    REMOVED = "removed"


class WrittenFile(NamedTuple):
    """A day's file as it was written: how long it is, and the SHA-256 of its bytes in hex digits."""

    size: int
    sha256: str


class DayDone(NamedTuple):
    """What became of one day of one dataset."""

    day: date
    dataset: Dataset
    totals: Totals
    missing: dict[str, dict[str, Any]]
    """Symbols that are not whole: {expected, actual, reason}, and `partial_bars` when some bars lack source bars."""
    file: WrittenFile | StaleFile | None
    """The file of the day. Without rows: what became of the one that was there before, or None when there was none."""


class Target(NamedTuple):
    """Where the files of an export go, and what becomes of those that are there already for days without rows."""

    base: Path
    prune: bool
    """Remove them. Otherwise those with active symbols stay: another machine, with another database, may have written them."""


def export_days(
    store: StoreReader,
    target: Target,
    specs: Sequence[ExportSpec],
    tasks: Sequence[DayTask],
    stop: threading.Event | None = None,
) -> list[DayDone]:
    """Export these neighbouring days from the snapshot that the reader sees.

    StoreError or OutputError when that fails, Interrupted when `stop` is set.
    """
    window = Window(tasks[0].day, tasks[-1].day)
    ledgers = {spec.dataset: store.ledger(spec.dataset, spec.stored_freq, window) for spec in specs}
    return [_export_day(store, spec, ledgers[spec.dataset], task, target, stop) for task in tasks for spec in specs]


def export_days_as_worker(
    key: SnapshotKey, target: Target, specs: Sequence[ExportSpec], tasks: Sequence[DayTask]
) -> list[DayDone] | None:
    """`export_days` in a worker of an executor, which no stop event can reach; None when it cannot see the run's snapshot."""
    with shared_reader(key) as store:
        return None if store is None else export_days(store, target, specs, tasks)


def _export_day(
    store: StoreReader,
    spec: ExportSpec,
    ledger: dict[str, dict[date, LedgerLine]],
    task: DayTask,
    target: Target,
    stop: threading.Event | None,
) -> DayDone:
    totals = Totals()
    missing: dict[str, dict[str, Any]] = {}

    def pieces() -> Iterator[str]:
        for symbol in sorted(task.symbols):
            raise_if_stopped(stop)
            line = ledger.get(symbol, {}).get(task.day)
            expected = spec.expected(line)
            rows, partial = spec.resample(store.numeric_rows(Series(spec.dataset, spec.stored_freq, symbol), task.day))
            totals.add(expected, len(rows), partial)
            totals.labels_unproven += bool(rows) and is_unproven(line)
            if len(rows) < expected or partial or not rows:
                missing[symbol] = {"expected": expected, "actual": len(rows), "reason": reason_of(line)}
                if partial:
                    missing[symbol]["partial_bars"] = partial
            if rows:
                yield csv_lines(symbol, rows)

    path = spec.path(target.base, task.day)
    # The universe says of a day without active symbols that it has no rows, so its file can only be out of date.
    prune = target.prune or not task.symbols
    file = write_day(path, ("symbol", *columns(spec.dataset)), pieces(), prune=prune)
    return DayDone(task.day, spec.dataset, totals, missing, file)


def is_unproven(line: LedgerLine | None) -> bool:
    """Whether nothing says which bars the labels of the day's metrics name: their rows may stand one bar late."""
    return line is not None and Reading.of_reason(line.reason) is Reading.UNPROVEN


def reason_of(line: LedgerLine | None) -> str:
    """Why a symbol-day is not whole, as its ledger line says."""
    if line is None:
        return NOT_DOWNLOADED
    # The ledger says complete but rows are missing: somebody has removed them, so it is no gap of the source.
    return Status.INCOMPLETE.value if line.status is Status.COMPLETE else line.status.value


def csv_lines(symbol: str, rows: Sequence[Row]) -> str:
    """The CSV lines of one symbol. Floats are written as Python's repr, and NULL as an empty field."""
    if isinstance(rows, PackedRows):
        fields = ",".join("%d" if code == "q" else "%r" for code in rows.codes)
        text = f"{symbol.replace('%', '%%')},{fields}\n" * len(rows) % rows.values()
        # What is infinite was put there by somebody else, and is written in JSON's word for it.
        return text.replace("inf", "Infinity")
    # JSON writes floats as repr does, several times quicker than a csv writer. Symbols and rate types need no quotes.
    # After a comma, `null` is always a NULL: a text begins with a quote. The time comes first and is never NULL.
    body = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))[2:-2].replace(",null", ",").replace('"', "")
    return f"{symbol},{body.replace('],[', f'{chr(10)}{symbol},')}\n"


def write_day(path: Path, header: Sequence[str], pieces: Iterator[str], *, prune: bool) -> WrittenFile | StaleFile | None:
    """Write one day's CSV, whole or not at all.

    Without rows nothing is written. A file that is there already stays as it is, or is removed with `prune`; which of them, is
    returned.
    """
    files.clean_temps(path.parent)
    first = next(pieces, None)
    if first is None:
        return _leave(path, prune=prune)
    size, digest = 0, hashlib.sha256()
    # A day can be exported again at any time, so its file need not survive a power cut, and the fsync is saved.
    with files.atomic_bytes(path, durable=False) as handle:
        for piece in chain((",".join(header) + "\n", first), pieces):
            content = piece.encode("utf-8")
            size += len(content)
            digest.update(content)
            handle.write(content)
    return WrittenFile(size, digest.hexdigest())


def _leave(path: Path, *, prune: bool) -> StaleFile | None:
    if not prune:
        return StaleFile.KEPT if path.exists() else None
    removed = files.remove(path)
    with suppress(OSError):
        # Only an empty folder can be removed, so the files of others stay.
        path.parent.rmdir()
    return StaleFile.REMOVED if removed else None
