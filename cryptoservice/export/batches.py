"""Batches of days: one export shared between this process and, when there is much to write, an executor."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from cryptoservice import files
from cryptoservice.clock import POLL_SECONDS, Clock, raise_if_stopped
from cryptoservice.export.coverage import Coverage
from cryptoservice.export.daily_csv import DayDone, DayTask, export_days
from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset
from cryptoservice.progress import Progress

log = logging.getLogger(__name__)

# Some 50 ms of work: what a signal waits for at most, and what one process may work longer than the other in the end.
_ROWS_A_BATCH = 12_000
_MOST_IN_EXECUTOR = 2
# Formatting is bound by the processor: a helper process pays when there is more to write than it takes to start.
_ROWS_FOR_HELPERS = 100_000

Batch = Sequence[DayTask]


@dataclass
class DayExport:
    """The days of one export: what to write, and what has been written so far."""

    database: Path
    base: Path
    specs: Sequence[ExportSpec]
    tasks: Sequence[DayTask]
    coverage: Coverage
    executor: Executor | None = None
    files: int = 0
    rows: dict[Dataset, int] = field(default_factory=lambda: dict.fromkeys(Dataset, 0))
    removed: list[date] = field(default_factory=list)
    """Days whose file of an earlier export was removed."""

    def run(self, clock: Clock, stop: threading.Event | None) -> None:
        """Export all days; Interrupted when `stop` is set."""
        rows_a_day = [sum(spec.source.bars_per_day * len(task.symbols) for spec in self.specs) for task in self.tasks]
        if sum(rows_a_day) < _ROWS_FOR_HELPERS:
            self.executor = None
        days = max(1, _ROWS_A_BATCH // max(1, *rows_a_day))
        batches = deque(self.tasks[first : first + days] for first in range(0, len(self.tasks), days))
        under_way: deque[tuple[Batch, Future[list[DayDone]]]] = deque()
        progress = Progress("export", "symbol-days", sum(len(task.symbols) for task in self.tasks), clock)
        try:
            while batches or under_way:
                self._share_one(batches, under_way, progress, stop)
        finally:
            progress.end()
            self._give_up(under_way)

    def _share_one(
        self,
        batches: deque[Batch],
        under_way: deque[tuple[Batch, Future[list[DayDone]]]],
        progress: Progress,
        stop: threading.Event | None,
    ) -> None:
        """This process takes one batch while the executor has others; what is done is counted in the order of the days."""
        raise_if_stopped(stop)
        while batches and self._submit(batches[0], under_way):
            batches.popleft()
        if batches:
            batch, own = batches.popleft(), Future[list[DayDone]]()
            under_way.append((batch, own))
            own.set_result(export_days(self.database, self.base, self.specs, batch, stop))
        else:
            wait([under_way[0][1]], timeout=POLL_SECONDS)
        while under_way and under_way[0][1].done():
            batch, future = under_way[0]
            self._count(batch, self._result(batch, future, stop), progress)
            under_way.popleft()
        progress.tick()

    def _submit(self, batch: Batch, under_way: deque[tuple[Batch, Future[list[DayDone]]]]) -> bool:
        """Hand a batch to the executor if it has room."""
        if self.executor is None or sum(not future.done() for _, future in under_way) >= _MOST_IN_EXECUTOR:
            return False
        try:
            under_way.append((batch, self.executor.submit(export_days, self.database, self.base, self.specs, batch)))
        except (BrokenExecutor, OSError) as error:
            self._go_on_without(error)
            return False
        return True

    def _result(self, batch: Batch, future: Future[list[DayDone]], stop: threading.Event | None) -> list[DayDone]:
        try:
            return future.result()
        except BrokenExecutor as error:
            self._go_on_without(error)
            return export_days(self.database, self.base, self.specs, batch, stop)

    def _go_on_without(self, error: BaseException) -> None:
        if self.executor is not None:
            log.warning("helper processes cannot be used any more (%s): exporting in this process instead", error)
            self.executor = None

    def _give_up(self, under_way: Sequence[tuple[Batch, Future[list[DayDone]]]]) -> None:
        """Wait for what helper processes are writing, and remove what those that were lost had begun."""
        running = [future for _, future in under_way if not future.cancel()]
        wait(running)
        for batch, _ in under_way:
            for task in batch:
                for spec in self.specs:
                    files.clean_temps(spec.path(self.base, task.day).parent)

    def _count(self, batch: Batch, done: Sequence[DayDone], progress: Progress) -> None:
        for day, dataset, totals, missing, removed in done:
            self.coverage.exported(dataset, day, totals, missing)
            self.rows[dataset] += totals.exported_bars
            self.files += totals.exported_bars > 0
            if removed:
                self.removed.append(day)
        symbol_days = sum(len(task.symbols) for task in batch)
        progress.advance(symbol_days, rows=sum(day.totals.exported_bars for day in done))
