"""export: the active symbol-days of a universe from SQLite to one CSV file a day, and a coverage report."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptoservice import files
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import AnyWindow, require_controls, require_flags
from cryptoservice.days import Window, utc_text
from cryptoservice.errors import Remedy, UsageError
from cryptoservice.export.coverage_map.page import write_map
from cryptoservice.export.coverage_report import SCHEMA_VERSION, Coverage
from cryptoservice.export.daily_csv import DayTask, StaleFile, Target
from cryptoservice.export.data_package import outdated_packages, package_path, write_package
from cryptoservice.export.day_batches import DayExport, share, wake
from cryptoservice.export.resampling import check_frequencies
from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset, Freq, Record, encode
from cryptoservice.progress import Report
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.snapshot import Snapshot
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.notices import nothing_active_notice

log = logging.getLogger(__name__)

# So many outdated data packages are named in a warning.
_NAMES = 5


@dataclass(frozen=True, repr=False)
class ExportResult(Record):
    """What an export wrote."""

    report_path: str
    files: int
    """CSV files, over all datasets."""
    rows: Mapping[Dataset, int]
    summary: Mapping[str, Any]
    """The `summary` of the coverage report."""
    coverage_html_path: str | None = None
    """The coverage map; None when it was not asked for."""
    kept_files: int = 0
    """Files from before, of days for which the database has no rows."""
    package_path: str | None = None
    """The data package of the files that were written; None when there was none to write."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of this result; without a coverage map it has no key for one."""
        record = super().to_dict()
        if self.coverage_html_path is None:
            del record["coverage_html_path"]
        return record


def export_universe_data(
    universe_file: str | Path,
    db_path: str | Path,
    export_base_path: str | Path,
    *,
    source_freq: Freq | str = Freq.m5,
    export_freq: Freq | str = Freq.m5,
    window: AnyWindow | None = None,
    klines: bool = True,
    metrics: bool = True,
    coverage_html: bool = False,
    prune: bool = False,
    executor: Executor | None = None,
    progress: Report | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> ExportResult:
    """Write `klines/freq=F/date=D/klines.csv` and its siblings under the base path, and the coverage report beside them.

    Klines are resampled from `source_freq` to `export_freq`. `metrics` means funding rates as well. With `coverage_html` the
    report also becomes a page to look at, under the report's name with `.html`. The data package beside the report lists the
    files that were written, with their digests and with the meaning of every column. All files hold one state of the database,
    however much is written to it meanwhile. An `executor`, such as a ProcessPoolExecutor, takes its share of a long export and
    is left open.

    A day without rows gets no file. One that is there already, perhaps from another machine, is kept when symbols are active
    on that day; `prune` removes it.

    Missing data is no error: it is what the report is for. Raises UsageError for bad input or a database without the source
    frequency, StoreError when the database cannot be read, OutputError when a file cannot be written, and Interrupted when
    `stop` is set.
    """
    require_flags(klines=klines, metrics=metrics, coverage_html=coverage_html, prune=prune)
    require_controls(executor=executor, progress=progress, clock=clock, stop=stop)
    clock = clock or Clock()
    wanted = _Wanted(Freq.parse(source_freq), Freq.parse(export_freq), klines, metrics)
    wanted.check()
    loaded = UniverseFile.load(universe_file, stop)
    days = loaded.universe.subwindow(window)
    base = files.path_of(export_base_path, "export path")
    database = files.path_of(db_path, "database")
    if base.exists() and not base.is_dir():
        raise UsageError(f"export path {base} is a file", hint=Remedy.NAME_A_FOLDER)
    nothing_active = nothing_active_notice(loaded.universe, days)
    coverage = Coverage(wanted.main)
    tasks = []
    for snapshot in loaded.universe.snapshots(days):
        coverage.defined(snapshot.date, dict(snapshot.missing_symbols))
        tasks.append(DayTask(snapshot.date, snapshot.active_symbols))
    executor = wake(executor, tasks, wanted.bars_per_day)
    with Snapshot.open(database) as view:
        if nothing_active:
            log.warning("nothing to export but the coverage report: %s", nothing_active)
        else:
            wanted.check_database(view.store)
        files.make_folder(base)
        files.clean_temps(base)
        executor = share(executor, view, stop)
        # From here on the snapshot stays the same.
        specs = wanted.specs(view.store, days)
        export = DayExport(view, Target(base, prune), specs, tasks, coverage, executor)
        export.run(clock, stop, progress)
    raise_if_stopped(stop)
    package = package_path(base, wanted.target, days)
    write_package(package, wanted.target, days, specs, export.written)
    report_path = base / f"coverage_{wanted.target}_{days.start}_{days.end}.json"
    report = _report(loaded, wanted, days, coverage, clock)
    with files.atomic_text(report_path) as handle:
        handle.write(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    map_path = report_path.with_suffix(".html")
    if coverage_html:
        write_map(map_path, report, loaded.universe.requested_symbols)
    elif files.remove(map_path):
        log.info("the coverage map of an earlier export is out of date and was removed: %s", map_path)
    _warn_of_gaps(export, report["summary"], report_path)
    _warn_of_packages(outdated_packages(package, days, export.written, export.removed))
    return ExportResult(
        report_path=str(report_path),
        files=len(export.written),
        rows=export.rows,
        summary=report["summary"],
        coverage_html_path=str(map_path) if coverage_html else None,
        kept_files=len(export.stale[StaleFile.KEPT]),
        package_path=str(package) if export.written else None,
    )


@dataclass(frozen=True)
class _Wanted:
    """Which datasets an export writes, and at which frequency."""

    source: Freq
    target: Freq
    klines: bool
    metrics: bool

    @property
    def main(self) -> Dataset:
        """The dataset that the report's `summary` counts."""
        return Dataset.KLINES if self.klines else Dataset.METRICS

    @property
    def bars_per_day(self) -> int:
        """At most so many rows of bars a symbol-day has, all datasets together."""
        return self.klines * self.source.bars_per_day + self.metrics * Freq.m5.bars_per_day

    def check(self) -> None:
        """UsageError for frequencies that do not fit, or when no dataset is left."""
        check_frequencies(self.source, self.target)
        if not self.klines and not self.metrics:
            raise UsageError("with neither klines nor metrics nothing is left to export", hint=Remedy.KEEP_SOMETHING)

    def check_database(self, store: StoreReader) -> None:
        """UsageError when the database knows nothing of the main dataset."""
        if self.klines:
            known = store.frequencies(Dataset.KLINES)
            if self.source.value not in known:
                hint = f"it has: {' '.join(known)}" if known else Remedy.DOWNLOAD_FIRST
                raise UsageError(f"database {store.path} holds no {self.source} klines", hint=hint)
        elif not store.frequencies(Dataset.METRICS) and not store.frequencies(Dataset.FUNDING_RATES):
            raise UsageError(f"database {store.path} holds no metrics", hint=Remedy.DOWNLOAD_METRICS)

    def specs(self, store: StoreReader, window: Window) -> list[ExportSpec]:
        """One spec for each dataset to be judged: klines always, others when the ledger knows them for the window."""
        specs = [ExportSpec.of(Dataset.KLINES, self.source, self.target)] if self.klines else []
        if self.metrics:
            others = (ExportSpec.of(dataset, self.source, self.target) for dataset in (Dataset.METRICS, Dataset.FUNDING_RATES))
            specs += [spec for spec in others if store.ledger(spec.dataset, spec.stored_freq, window)]
        return specs


def _report(loaded: UniverseFile, wanted: _Wanted, window: Window, coverage: Coverage, clock: Clock) -> dict[str, Any]:
    """The coverage report, with its keys in order."""
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": utc_text(clock.time()),
        "universe": {"file": files.name_of(loaded.path), "sha256": loaded.sha256, **encode(loaded.universe.window)},
        "window": encode(window),
        "source_freq": wanted.source.value,
        "export_freq": wanted.target.value,
        **coverage.to_dict(),
    }


def _warn_of_gaps(export: DayExport, summary: Mapping[str, Any], report: Path) -> None:
    """Missing data is no error, but a run must not pass over it in silence."""
    told = {
        StaleFile.KEPT: "%d day files from before were kept, from %s to %s: this database has no rows for them",
        StaleFile.REMOVED: "%d day files of an earlier export were removed, from %s to %s: this database has no rows for them",
    }
    for fate, days in export.stale.items():
        if days:
            log.warning(told[fate], len(days), min(days), max(days))
    if summary["missing"] or summary["partial"]:
        counts = (summary["missing"], summary["active_symbol_days"], summary["partial"])
        log.warning("%d of %d symbol-days are missing and %d partial: why, says %s", *counts, report)


def _warn_of_packages(outdated: Sequence[str]) -> None:
    """A package of another window that shares days with this one is left as it is, although its digests hold no longer."""
    if outdated:
        names = ", ".join(outdated[:_NAMES])
        more = f" and {len(outdated) - _NAMES} more" if len(outdated) > _NAMES else ""
        log.warning(
            "files that older data packages list have changed, export their windows anew to renew them: %s%s", names, more
        )
