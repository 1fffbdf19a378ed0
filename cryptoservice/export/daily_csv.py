"""One day of one dataset: from SQLite to one CSV file, and what the day has and lacks. Runs in helper processes too."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from cryptoservice import files
from cryptoservice.clock import raise_if_stopped
from cryptoservice.days import Window
from cryptoservice.export.coverage import NOT_DOWNLOADED, Totals
from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset, Row, Status
from cryptoservice.storage.ledger import LedgerLine, Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.schema import columns


class DayTask(NamedTuple):
    """A day to export."""

    day: date
    symbols: Sequence[str]
    """Its active symbols."""


class DayDone(NamedTuple):
    """A day of one dataset, exported."""

    day: date
    dataset: Dataset
    totals: Totals
    missing: dict[str, dict[str, Any]]
    """Symbols that are not complete: {expected, actual, reason}."""
    removed: bool
    """The file of an earlier export is gone, as there are no rows for it."""


def export_days(
    database: Path, base: Path, specs: Sequence[ExportSpec], tasks: Sequence[DayTask], stop: threading.Event | None = None
) -> list[DayDone]:
    """Export these neighbouring days from one snapshot of the database.

    StoreError or OutputError when that fails, Interrupted when `stop` is set (a helper process has none: it is ended).
    """
    window = Window(tasks[0].day, tasks[-1].day)
    with StoreReader.open(database) as store:
        ledgers = {spec.dataset: store.ledger(spec.dataset, spec.stored_freq, window) for spec in specs}
        return [_export_day(store, spec, ledgers[spec.dataset], task, base, stop) for task in tasks for spec in specs]


def _export_day(
    store: StoreReader,
    spec: ExportSpec,
    ledger: dict[str, dict[date, LedgerLine]],
    task: DayTask,
    base: Path,
    stop: threading.Event | None,
) -> DayDone:
    totals = Totals()
    missing: dict[str, dict[str, Any]] = {}

    def pieces() -> Iterator[str]:
        for symbol in sorted(task.symbols):
            raise_if_stopped(stop)
            line = ledger.get(symbol, {}).get(task.day)
            expected = spec.expected(line)
            rows, partial = spec.resample(store.rows(Series(spec.dataset, spec.stored_freq, symbol), task.day))
            totals.add(expected, len(rows), partial)
            if len(rows) < expected or partial or not rows:
                missing[symbol] = {"expected": expected, "actual": len(rows), "reason": reason_of(line)}
                if partial:
                    missing[symbol]["partial_bars"] = partial
            if rows:
                yield csv_lines(symbol, rows)

    removed = write_day(spec.path(base, task.day), ("symbol", *columns(spec.dataset)), pieces())
    return DayDone(task.day, spec.dataset, totals, missing, removed)


def reason_of(line: LedgerLine | None) -> str:
    """Why a symbol-day is not whole, from its ledger line."""
    if line is None:
        return NOT_DOWNLOADED
    # Rows that are fewer than a complete line promises have been taken away by someone: not a gap of the source.
    return Status.INCOMPLETE.value if line.status is Status.COMPLETE else line.status.value


def csv_lines(symbol: str, rows: Sequence[Row]) -> str:
    """CSV lines of one symbol: floats as Python's repr, empty for NULL."""
    # Symbols and rate types are checked to need no quoting. JSON writes floats as repr does, several times quicker than a csv
    # writer. The time comes first and is never NULL: every null follows a comma, and a text begins with a quote.
    body = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))[2:-2].replace(",null", ",").replace('"', "")
    return f"{symbol},{body.replace('],[', f'{chr(10)}{symbol},')}\n"


def write_day(path: Path, header: Sequence[str], pieces: Iterator[str]) -> bool:
    """One day's CSV as its pieces come, whole or not at all. Without rows none is left from before; True if there was one."""
    files.clean_temps(path.parent)
    first = next(pieces, None)
    if first is None:
        return _remove(path)
    # The data can be exported again at any time, so a day's file need not survive a power cut: durable would fsync each.
    with files.atomic_text(path, durable=False) as handle:
        handle.write(",".join(header) + "\n")
        handle.write(first)
        handle.writelines(pieces)
    return False


def _remove(path: Path) -> bool:
    removed = files.remove(path)
    with suppress(OSError):
        # Only an empty folder can be removed, so nothing of anybody else's is lost.
        path.parent.rmdir()
    return removed
