"""Batches of days: one export, shared between this process and an executor when there is much to write."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from cryptoservice import files
from cryptoservice.clock import POLL_SECONDS, Clock, raise_if_stopped, wait_for_some
from cryptoservice.errors import Interrupted
from cryptoservice.export.coverage_report import Coverage
from cryptoservice.export.daily_csv import (
    DayDone,
    DayTask,
    StaleFile,
    Target,
    WrittenFile,
    export_days,
    export_days_as_worker,
)
from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset
from cryptoservice.progress import Progress, Report
from cryptoservice.storage.snapshot import Snapshot, can_see

log = logging.getLogger(__name__)

# Some 50 ms of work. A signal waits no longer than that, and at the end no process waits longer for the other.
_ROWS_IN_BATCH = 12_000
# One batch that the executor works on, and one that waits for it.
_BATCHES_IN_EXECUTOR = 2
# Below this many rows an export is done before a helper process has started.
_ROWS_FOR_EXECUTOR = 100_000
# A worker answers within milliseconds. When all of them are busy with other work, they are asked batch by batch later.
_POLLS_FOR_ANSWER = 20
# The next commit seldom comes in the few milliseconds between the two looks at the database.
_SHARING_ATTEMPTS = 5
_MOST_REFUSALS = 8
_UNUSABLE = "helper processes cannot be used any more (%s): exporting in this process instead"
_CHANGED = "the database changes while it is exported, and helper processes cannot see the same state: exporting without them"

Batch = Sequence[DayTask]


class _Started(NamedTuple):
    """A batch that somebody works on or has finished, but whose days are not counted yet."""

    batch: Batch
    future: Future[list[DayDone] | None]


def wake(executor: Executor | None, tasks: Sequence[DayTask], bars_per_day: int) -> Executor | None:
    """The executor when there may be enough to do for it; its processes are started before the database is opened.

    A process that is forked while a connection is open could not read that database.
    """
    if executor is None or bars_per_day * sum(len(task.symbols) for task in tasks) < _ROWS_FOR_EXECUTOR:
        return None
    try:
        executor.submit(os.getpid)
    except (BrokenExecutor, OSError) as error:
        log.warning(_UNUSABLE, error)
        return None
    return executor


def share(executor: Executor | None, snapshot: Snapshot, stop: threading.Event | None) -> Executor | None:
    """The executor when a worker sees the run's snapshot, which is taken anew if need be; None when it must do without.

    Raises Interrupted when `stop` is set.
    """
    if executor is None or snapshot.key is None:
        return None
    for _ in range(_SHARING_ATTEMPTS):
        try:
            answer = executor.submit(can_see, snapshot.key)
            if not _is_answered(answer, stop):
                return executor
            if answer.result() and snapshot.is_latest():
                return executor
        except (BrokenExecutor, OSError) as error:
            log.warning(_UNUSABLE, error)
            return None
        snapshot.renew()
        if snapshot.key is None:
            return None
    log.info(_CHANGED)
    return None


def _is_answered(answer: Future[bool], stop: threading.Event | None) -> bool:
    try:
        for _ in range(_POLLS_FOR_ANSWER):
            if wait_for_some([answer], stop):
                return True
        return not answer.cancel() and answer.done()
    except Interrupted:
        # What a worker has begun is waited for, so that it has closed the database when the run ends.
        if not answer.cancel():
            wait([answer])
        raise


@dataclass
class DayExport:
    """The days of one export: what to write, and what has been written so far."""

    snapshot: Snapshot
    target: Target
    specs: Sequence[ExportSpec]
    tasks: Sequence[DayTask]
    coverage: Coverage
    executor: Executor | None = None
    written: dict[str, WrittenFile] = field(default_factory=dict)
    """The files of this export, by their path below the export folder."""
    removed: set[str] = field(default_factory=set)
    """The files from before that it has removed."""
    rows: dict[Dataset, int] = field(default_factory=lambda: dict.fromkeys(Dataset, 0))
    stale: dict[StaleFile, list[date]] = field(default_factory=lambda: {fate: [] for fate in StaleFile})
    """Days without rows whose file from before was kept, or removed; a day stands there once for each dataset."""
    _refused: int = 0

    def run(self, clock: Clock, stop: threading.Event | None, report: Report | None = None) -> None:
        """Export all days. StoreError or OutputError when that fails, Interrupted when `stop` is set."""
        rows_by_day = [sum(spec.source.bars_per_day * len(task.symbols) for spec in self.specs) for task in self.tasks]
        if sum(rows_by_day) < _ROWS_FOR_EXECUTOR:
            self.executor = None
        days = max(1, _ROWS_IN_BATCH // max(1, *rows_by_day))
        remaining = deque(self.tasks[first : first + days] for first in range(0, len(self.tasks), days))
        started: deque[_Started] = deque()
        progress = Progress("export", "symbol-days", sum(len(task.symbols) for task in self.tasks), clock, report=report)
        try:
            while remaining or started:
                raise_if_stopped(stop)
                self._work(remaining, started, stop)
                self._count_finished(started, progress, stop)
        finally:
            progress.end()
            self._clean_up(started)

    def _work(self, remaining: deque[Batch], started: deque[_Started], stop: threading.Event | None) -> None:
        """Fill the executor, then export one batch in this process. Without one left, wait a moment for the executor."""
        while remaining and self._submit(remaining[0], started):
            remaining.popleft()
        if not remaining:
            wait([started[0].future], timeout=POLL_SECONDS)
            return
        batch, future = remaining.popleft(), Future[list[DayDone] | None]()
        # Noted before the work begins, so that an interrupted batch is cleaned up as well.
        started.append(_Started(batch, future))
        future.set_result(self._export(batch, stop))

    def _submit(self, batch: Batch, started: deque[_Started]) -> bool:
        """Hand a batch to the executor; False when it has no room or cannot be used."""
        key = self.snapshot.key
        if self.executor is None or key is None or sum(not item.future.done() for item in started) >= _BATCHES_IN_EXECUTOR:
            return False
        try:
            future = self.executor.submit(export_days_as_worker, key, self.target, self.specs, batch)
        except (BrokenExecutor, OSError) as error:
            self._go_on_alone(error)
            return False
        started.append(_Started(batch, future))
        return True

    def _count_finished(self, started: deque[_Started], progress: Progress, stop: threading.Event | None) -> None:
        """Count finished batches in the order of the days, as far as they are finished without a gap."""
        while started and started[0].future.done():
            batch, future = started[0]
            try:
                done = future.result()
            except BrokenExecutor as error:
                self._go_on_alone(error)
                done = None
            else:
                if done is None:
                    self._note_refusal()
            if done is None:
                done = self._export(batch, stop)
            self._count(done)
            progress.advance(sum(len(task.symbols) for task in batch), rows=sum(day.totals.exported_bars for day in done))
            started.popleft()
        progress.tick()

    def _export(self, batch: Batch, stop: threading.Event | None) -> list[DayDone]:
        return export_days(self.snapshot.store, self.target, self.specs, batch, stop)

    def _note_refusal(self) -> None:
        """A worker has come too late to see the snapshot. Others may see it, but not if so many do not."""
        self._refused += 1
        if self._refused == _MOST_REFUSALS and self.executor is not None:
            log.info(_CHANGED)
            self.executor = None

    def _go_on_alone(self, error: BaseException) -> None:
        if self.executor is not None:
            log.warning(_UNUSABLE, error)
            self.executor = None

    def _clean_up(self, started: Sequence[_Started]) -> None:
        """Wait for batches that the executor is writing, and remove temp files that a lost process has left."""
        wait([item.future for item in started if not item.future.cancel()])
        for batch, _ in started:
            for task in batch:
                for spec in self.specs:
                    files.clean_temps(spec.path(self.target.base, task.day).parent)

    def _count(self, done: Sequence[DayDone]) -> None:
        specs = {spec.dataset: spec for spec in self.specs}
        for day, dataset, totals, missing, file in done:
            self.coverage.exported(dataset, day, totals, missing)
            self.rows[dataset] += totals.exported_bars
            name = specs[dataset].name(day)
            if isinstance(file, WrittenFile):
                self.written[name] = file
            elif file is not None:
                self.stale[file].append(day)
                if file is StaleFile.REMOVED:
                    self.removed.add(name)
