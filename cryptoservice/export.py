"""export: the active symbol-days of a universe from SQLite to one CSV a day, and a coverage report."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from cryptoservice import files, resample
from cryptoservice.clock import Clock, check
from cryptoservice.config import WindowBounds
from cryptoservice.coverage import SCHEMA_VERSION, Coverage
from cryptoservice.coverage_html import write_map
from cryptoservice.daily_csv import DayDone, DayTask, Shape, export_days
from cryptoservice.days import Window, utc_text
from cryptoservice.errors import UsageError
from cryptoservice.models import Dataset, Freq
from cryptoservice.progress import Progress
from cryptoservice.store import Store
from cryptoservice.universe import UniverseFile
from cryptoservice.workers import HelperLost, HelperPool

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
# Some 50 ms of work: what a signal waits for at most, and what one process may work longer than the other in the end.
_ROWS_A_BATCH = 12_000
_BATCHES_A_HELPER = 2
# Formatting is bound by the processor: a helper pays when there is more to write than it takes to start.
_ROWS_FOR_HELPERS = 100_000
_MOST_PROCESSES = 2


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote."""

    report_path: str
    files: int
    rows: dict[Dataset, int]
    summary: dict[str, Any]
    coverage_html_path: str | None = None
    """The coverage map, when one was asked for."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of stdout."""
        record: dict[str, Any] = {
            "report_path": self.report_path,
            "files": self.files,
            "rows": {dataset.value: count for dataset, count in self.rows.items()},
            "summary": self.summary,
        }
        if self.coverage_html_path is not None:
            record["coverage_html_path"] = self.coverage_html_path
        return record


def export_universe_data(
    universe_file: str | Path,
    db_path: str | Path,
    export_base_path: str | Path,
    *,
    source_freq: Freq | str = Freq.m5,
    export_freq: Freq | str = Freq.m5,
    window: WindowBounds | None = None,
    klines: bool = True,
    metrics: bool = True,
    coverage_html: bool = False,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> ExportResult:
    """Write `klines/freq=F/date=D/klines.csv` and its siblings under the base path, and the coverage report beside them.

    Klines are resampled from `source_freq` to `export_freq`. With `coverage_html` the report also becomes a page to look at,
    under the report's name with `.html`. Missing data is what the report is for and no error. Raises
    UsageError for bad input or a database without the source frequency, StoreError, OutputError, and Interrupted.
    """
    clock = clock or Clock()
    source, target = Freq.parse(source_freq), Freq.parse(export_freq)
    resample.check_frequencies(source, target)
    if not klines and not metrics:
        raise UsageError("with both --no-klines and --no-metrics nothing is left to export", hint="leave out one of them")
    loaded = UniverseFile.load(Path(universe_file))
    bounds = window or WindowBounds()
    days = loaded.universe.subwindow(bounds.start_date, bounds.end_date)
    base = Path(export_base_path)
    if base.exists() and not base.is_dir():
        raise UsageError(f"export path {base} is a file", hint="name a folder with --export-base-path")
    main = Dataset.KLINES if klines else Dataset.METRICS
    nothing_active = loaded.universe.nothing_active(days)
    with Store.read(Path(db_path)) as store:
        if nothing_active:
            log.warning("nothing to export but the coverage report: %s", nothing_active)
        elif klines:
            _require_frequency(store, source, Path(db_path))
        else:
            _require_metrics(store, Path(db_path))
        files.make_folder(base)
        files.clean_temps(base)
        shapes = _shapes(store, source, target, days, klines=klines, metrics=metrics)
    coverage = Coverage(main)
    tasks = []
    for snapshot in loaded.universe.snapshots(days):
        coverage.defined(snapshot.date, dict(snapshot.missing_symbols))
        tasks.append(DayTask(snapshot.date, snapshot.active_symbols))
    export = _Export(Path(db_path), base, shapes, tasks, coverage)
    export.run(clock, stop)
    check(stop)
    report_path = base / f"coverage_{target}_{days.start}_{days.end}.json"
    report = {
        "schema_version": SCHEMA_VERSION,
        "generated_at": utc_text(clock.time()),
        "universe": {
            "file": files.name_of(loaded.path),
            "sha256": loaded.sha256,
            "start_date": loaded.universe.start_date.isoformat(),
            "end_date": loaded.universe.end_date.isoformat(),
        },
        "window": {"start_date": days.start.isoformat(), "end_date": days.end.isoformat()},
        "source_freq": source.value,
        "export_freq": target.value,
        **coverage.to_dict(),
    }
    with files.atomic_text(report_path) as handle:
        handle.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    map_path = report_path.with_suffix(".html")
    if coverage_html:
        write_map(map_path, report, loaded.universe.requested_symbols)
    elif files.remove(map_path):
        log.info("the coverage map of an earlier export is out of date and was removed: %s", map_path)
    export.tell_what_is_lacking(report["summary"], report_path)
    shown = str(map_path) if coverage_html else None
    return ExportResult(str(report_path), export.files, export.rows, report["summary"], coverage_html_path=shown)


def _shapes(store: Store, source: Freq, target: Freq, window: Window, *, klines: bool, metrics: bool) -> list[Shape]:
    """One for each dataset to be judged: klines always, others when the ledger knows them for the window."""
    shapes = [Shape.of(Dataset.KLINES, source, target)] if klines else []
    if metrics:
        others = (Shape.of(dataset, source, target) for dataset in (Dataset.METRICS, Dataset.FUNDING_RATES))
        shapes += [shape for shape in others if store.ledger(shape.dataset, shape.stored_freq, window)]
    return shapes


def _require_frequency(store: Store, source: Freq, path: Path) -> None:
    known = store.frequencies(Dataset.KLINES)
    if source.value not in known:
        has = f"it has: {' '.join(known)}" if known else "it has none: run download first"
        raise UsageError(f"database {path} holds no {source} klines", hint=has)


def _require_metrics(store: Store, path: Path) -> None:
    if not store.frequencies(Dataset.METRICS) and not store.frequencies(Dataset.FUNDING_RATES):
        hint = "fetch them with: cryptoservice universe download --download-market-metrics"
        raise UsageError(f"database {path} holds no metrics", hint=hint)


_Order = deque[tuple[Sequence[DayTask], Future[list[DayDone]]]]
"""What was handed out and is not yet counted, in the order of the days."""


@dataclass
class _Export:
    """One export under way."""

    database: Path
    base: Path
    shapes: Sequence[Shape]
    tasks: Sequence[DayTask]
    coverage: Coverage
    files: int = 0
    rows: dict[Dataset, int] = field(default_factory=lambda: dict.fromkeys(Dataset, 0))
    removed: list[date] = field(default_factory=list)

    def tell_what_is_lacking(self, summary: dict[str, Any], report: Path) -> None:
        """No error, but nothing to pass over in silence either."""
        if self.removed:
            log.warning(
                "%d day files of an earlier export were removed, from %s to %s: this database has no rows for them",
                len(self.removed),
                min(self.removed),
                max(self.removed),
            )
        if summary["missing"] or summary["partial"]:
            counts = (summary["missing"], summary["active_symbol_days"], summary["partial"])
            log.warning("%d of %d symbol-days are missing and %d partial: why, says %s", *counts, report)

    def run(self, clock: Clock, stop: threading.Event | None) -> None:
        """Export all days: here, and in helper processes as well when there is much to write."""
        progress = Progress("export", "symbol-days", sum(len(task.symbols) for task in self.tasks), clock)
        rows_a_day = [sum(shape.source.bars_per_day * len(task.symbols) for shape in self.shapes) for task in self.tasks]
        is_long = sum(rows_a_day) >= _ROWS_FOR_HELPERS
        days = max(1, _ROWS_A_BATCH // max(1, *rows_a_day))
        batches = deque(self.tasks[first : first + days] for first in range(0, len(self.tasks), days))
        pool = HelperPool(min((os.cpu_count() or 1), _MOST_PROCESSES) - 1 if is_long else 0)
        order: _Order = deque()
        try:
            self._share(batches, order, pool, progress, stop)
        finally:
            pool.close()
            progress.end()
            self._clean_after(order)

    def _share(
        self,
        batches: deque[Sequence[DayTask]],
        order: _Order,
        pool: HelperPool,
        progress: Progress,
        stop: threading.Event | None,
    ) -> None:
        """This process takes batches from one end while helpers take them; what is done is counted in order."""
        while batches or order:
            check(stop)
            while batches and sum(not future.done() for _, future in order) < _BATCHES_A_HELPER * pool.count:
                batch = batches.popleft()
                order.append((batch, pool.submit(export_days, self.database, self.base, self.shapes, batch)))
            if batches:
                batch, own = batches.popleft(), Future[list[DayDone]]()
                order.append((batch, own))
                own.set_result(export_days(self.database, self.base, self.shapes, batch, stop))
            else:
                wait([order[0][1]], timeout=_POLL_SECONDS)
            while order and order[0][1].done():
                batch, done = order[0]
                self._add(batch, self._result(batch, done, stop), progress)
                order.popleft()
            progress.tick()

    def _result(self, batch: Sequence[DayTask], future: Future[list[DayDone]], stop: threading.Event | None) -> list[DayDone]:
        try:
            return future.result()
        except HelperLost as lost:
            log.warning("%s: exporting in this process instead", lost.message)
            return export_days(self.database, self.base, self.shapes, batch, stop)

    def _clean_after(self, order: _Order) -> None:
        """Remove what helpers had begun when they were ended."""
        for batch, _ in order:
            for task in batch:
                for shape in self.shapes:
                    files.clean_temps(shape.path(self.base, task.day).parent)

    def _add(self, batch: Sequence[DayTask], done: Sequence[DayDone], progress: Progress) -> None:
        for day, dataset, totals, missing, removed in done:
            self.coverage.exported(dataset, day, totals, missing)
            self.rows[dataset] += totals.exported_bars
            self.files += totals.exported_bars > 0
            if removed:
                self.removed.append(day)
        symbol_days = sum(len(task.symbols) for task in batch)
        progress.advance(symbol_days, rows=sum(day.totals.exported_bars for day in done))
