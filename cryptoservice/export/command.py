"""export: the active symbol-days of a universe from SQLite to one CSV a day, and a coverage report."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptoservice import files
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import WindowBounds
from cryptoservice.days import Window, utc_text
from cryptoservice.errors import Remedy, UsageError
from cryptoservice.export.batches import DayExport
from cryptoservice.export.coverage import SCHEMA_VERSION, Coverage
from cryptoservice.export.coverage_map.page import write_map
from cryptoservice.export.daily_csv import DayTask
from cryptoservice.export.resampling import check_frequencies
from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset, Freq
from cryptoservice.records import Record, encode
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.file import UniverseFile
from cryptoservice.universe.notices import nothing_active_notice

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportResult(Record):
    """What an export wrote."""

    report_path: str
    files: int
    rows: Mapping[Dataset, int]
    summary: Mapping[str, Any]
    coverage_html_path: str | None = None
    """The coverage map, when one was asked for."""

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
    window: WindowBounds | None = None,
    klines: bool = True,
    metrics: bool = True,
    coverage_html: bool = False,
    executor: Executor | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> ExportResult:
    """Write `klines/freq=F/date=D/klines.csv` and its siblings under the base path, and the coverage report beside them.

    Klines are resampled from `source_freq` to `export_freq`. With `coverage_html` the report also becomes a page to look at,
    under the report's name with `.html`. With an `executor`, such as a ProcessPoolExecutor, it takes a share of a long
    export; it is left open. Missing data is what the report is for and no error. Raises UsageError for bad input or a
    database without the source frequency, StoreError, OutputError, and Interrupted.
    """
    clock = clock or Clock()
    source, target = Freq.parse(source_freq), Freq.parse(export_freq)
    check_frequencies(source, target)
    if not klines and not metrics:
        raise UsageError("with neither klines nor metrics nothing is left to export", hint=Remedy.KEEP_SOMETHING)
    loaded = UniverseFile.load(Path(universe_file))
    days = loaded.universe.subwindow(window)
    base = Path(export_base_path)
    if base.exists() and not base.is_dir():
        raise UsageError(f"export path {base} is a file", hint=Remedy.NAME_A_FOLDER)
    nothing_active = nothing_active_notice(loaded.universe, days)
    with StoreReader.open(Path(db_path)) as store:
        if nothing_active:
            log.warning("nothing to export but the coverage report: %s", nothing_active)
        elif klines:
            _require_frequency(store, source)
        else:
            _require_metrics(store)
        files.make_folder(base)
        files.clean_temps(base)
        specs = _specs(store, source, target, days, klines=klines, metrics=metrics)
    coverage = Coverage(Dataset.KLINES if klines else Dataset.METRICS)
    tasks = []
    for snapshot in loaded.universe.snapshots(days):
        coverage.defined(snapshot.date, dict(snapshot.missing_symbols))
        tasks.append(DayTask(snapshot.date, snapshot.active_symbols))
    export = DayExport(Path(db_path), base, specs, tasks, coverage, executor)
    export.run(clock, stop)
    raise_if_stopped(stop)
    report_path = base / f"coverage_{target}_{days.start}_{days.end}.json"
    report = {
        "schema_version": SCHEMA_VERSION,
        "generated_at": utc_text(clock.time()),
        "universe": {"file": files.name_of(loaded.path), "sha256": loaded.sha256, **encode(loaded.universe.window)},
        "window": encode(days),
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
    _say_what_is_lacking(export, report["summary"], report_path)
    shown = str(map_path) if coverage_html else None
    return ExportResult(str(report_path), export.files, export.rows, report["summary"], coverage_html_path=shown)


def _specs(store: StoreReader, source: Freq, target: Freq, window: Window, *, klines: bool, metrics: bool) -> list[ExportSpec]:
    """One for each dataset to be judged: klines always, others when the ledger knows them for the window."""
    specs = [ExportSpec.of(Dataset.KLINES, source, target)] if klines else []
    if metrics:
        others = (ExportSpec.of(dataset, source, target) for dataset in (Dataset.METRICS, Dataset.FUNDING_RATES))
        specs += [spec for spec in others if store.ledger(spec.dataset, spec.stored_freq, window)]
    return specs


def _require_frequency(store: StoreReader, source: Freq) -> None:
    known = store.frequencies(Dataset.KLINES)
    if source.value not in known:
        hint = f"it has: {' '.join(known)}" if known else Remedy.DOWNLOAD_FIRST
        raise UsageError(f"database {store.path} holds no {source} klines", hint=hint)


def _require_metrics(store: StoreReader) -> None:
    if not store.frequencies(Dataset.METRICS) and not store.frequencies(Dataset.FUNDING_RATES):
        raise UsageError(f"database {store.path} holds no metrics", hint=Remedy.DOWNLOAD_METRICS)


def _say_what_is_lacking(export: DayExport, summary: Mapping[str, Any], report: Path) -> None:
    """It is no error, but nothing to pass over in silence either."""
    if export.removed:
        log.warning(
            "%d day files of an earlier export were removed, from %s to %s: this database has no rows for them",
            len(export.removed),
            min(export.removed),
            max(export.removed),
        )
    if summary["missing"] or summary["partial"]:
        counts = (summary["missing"], summary["active_symbol_days"], summary["partial"])
        log.warning("%d of %d symbol-days are missing and %d partial: why, says %s", *counts, report)
