"""export: the active symbol-days of a universe from SQLite to one CSV a day, and a coverage report."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptoservice import files, resample
from cryptoservice.clock import Clock, check
from cryptoservice.config import WindowBounds
from cryptoservice.coverage import NOT_DOWNLOADED, SCHEMA_VERSION, Coverage, Totals
from cryptoservice.coverage_html import write_map
from cryptoservice.days import Window, utc_text
from cryptoservice.errors import OutputError, UsageError
from cryptoservice.models import Dataset, Freq, Row, Status
from cryptoservice.progress import Progress
from cryptoservice.resample import Resampled
from cryptoservice.store import LedgerLine, Series, Store, columns
from cryptoservice.universe import DailySnapshot, UniverseFile

log = logging.getLogger(__name__)


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
    with Store.read(Path(db_path)) as store:
        if klines:
            _require_frequency(store, source, Path(db_path))
        else:
            _require_metrics(store, Path(db_path))
        files.make_folder(base)
        files.clean_temps(base)
        shapes = [_kline_shape(source, target)] if klines else []
        shapes += [_metrics_shape(target), _funding_shape()] if metrics else []
        exporters = _exporters(store, base, days, shapes)
        coverage = Coverage(main)
        counts = _export_days(exporters, loaded.universe.snapshots(days), days, coverage, clock, stop)
    report_path = base / f"coverage_{target}_{days.start}_{days.end}.json"
    report = {
        "schema_version": SCHEMA_VERSION,
        "generated_at": utc_text(clock.time()),
        "universe": {
            "file": str(loaded.path),
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
    map_path = report_path.with_suffix(".html") if coverage_html else None
    if map_path:
        write_map(map_path, report, loaded.universe.requested_symbols)
    return ExportResult(
        str(report_path), counts.files, counts.rows, report["summary"], coverage_html_path=str(map_path) if map_path else None
    )


def _require_frequency(store: Store, source: Freq, path: Path) -> None:
    known = store.frequencies(Dataset.KLINES)
    if source.value not in known:
        has = f"it has: {' '.join(known)}" if known else "it has none: run download first"
        raise UsageError(f"database {path} holds no {source} klines", hint=has)


def _require_metrics(store: Store, path: Path) -> None:
    if not store.frequencies(Dataset.METRICS) and not store.frequencies(Dataset.FUNDING_RATES):
        raise UsageError(f"database {path} holds no metrics", hint="fetch them with: download --download-market-metrics")


@dataclass
class _Counts:
    files: int
    rows: dict[Dataset, int]


def _export_days(
    exporters: Sequence[_Exporter],
    snapshots: Iterable[DailySnapshot],
    window: Window,
    coverage: Coverage,
    clock: Clock,
    stop: threading.Event | None,
) -> _Counts:
    counts = _Counts(0, dict.fromkeys(Dataset, 0))
    progress = Progress("export", "days", window.length, clock)
    for snapshot in snapshots:
        check(stop)
        coverage.defined(snapshot.date, dict(snapshot.missing_symbols))
        for exporter in exporters:
            totals, missing = exporter.export(snapshot)
            coverage.exported(exporter.dataset, snapshot.date, totals, missing)
            counts.rows[exporter.dataset] += totals.exported_bars
            counts.files += totals.exported_bars > 0
        progress.advance()
    progress.end()
    return counts


@dataclass(frozen=True)
class _Shape:
    """How one dataset is exported."""

    dataset: Dataset
    stored_freq: str
    """Its frequency in the database."""
    folder: str
    """Where its days stand below the base path."""
    resample: Callable[[Sequence[Row]], Resampled]
    expected: Callable[[LedgerLine | None], int]
    """Rows that a whole symbol-day has after resampling."""


def _kline_shape(source: Freq, target: Freq) -> _Shape:
    def bars(rows: Sequence[Row]) -> Resampled:
        return resample.resample_klines(rows, source, target)

    return _Shape(Dataset.KLINES, source.value, f"klines/freq={target}", bars, lambda _: target.bars_per_day)


def _metrics_shape(target: Freq) -> _Shape:
    # Five minutes is the finest there is.
    freq = target if target.milliseconds > Freq.m5.milliseconds else Freq.m5

    def values(rows: Sequence[Row]) -> Resampled:
        return resample.resample_metrics(rows, freq)

    return _Shape(Dataset.METRICS, Freq.m5.value, f"metrics/freq={freq}", values, lambda _: freq.bars_per_day)


def _funding_shape() -> _Shape:
    # How many there are in a day is for the exchange to say: the ledger knows what the source held.
    return _Shape(
        Dataset.FUNDING_RATES,
        "",
        "funding_rates",
        lambda rows: Resampled(rows, 0),
        lambda line: line.expected_rows if line else 0,
    )


class _Exporter:
    """One dataset, day by day, to one file a day."""

    def __init__(self, store: Store, base: Path, shape: _Shape, window: Window) -> None:
        self.dataset = shape.dataset
        self._store = store
        self._shape = shape
        self._folder = base / shape.folder
        self._ledger = store.ledger(shape.dataset, shape.stored_freq, window)

    @property
    def is_known(self) -> bool:
        """Does the ledger know anything of this dataset in the window?"""
        return bool(self._ledger)

    def export(self, snapshot: DailySnapshot) -> tuple[Totals, dict[str, dict[str, Any]]]:
        """Write the day's file, or remove a stale one when there is nothing to write."""
        totals = Totals()
        missing: dict[str, dict[str, Any]] = {}
        chunks: list[tuple[str, Sequence[Row]]] = []
        for symbol in sorted(snapshot.active_symbols):
            line = self._ledger.get(symbol, {}).get(snapshot.date)
            expected = self._shape.expected(line)
            stored = self._store.rows(Series(self.dataset, self._shape.stored_freq, symbol), snapshot.date)
            rows, partial = self._shape.resample(stored)
            totals.add(expected, len(rows), partial)
            if len(rows) < expected or partial or not rows:
                missing[symbol] = {"expected": expected, "actual": len(rows), "reason": reason_of(line)}
                if partial:
                    missing[symbol]["partial_bars"] = partial
            if rows:
                chunks.append((symbol, rows))
        header = ("symbol", *columns(self.dataset))
        write_day(self._folder / f"date={snapshot.date}" / f"{self.dataset}.csv", header, chunks)
        return totals, missing


def _exporters(store: Store, base: Path, window: Window, shapes: Sequence[_Shape]) -> list[_Exporter]:
    """One for each dataset to be judged: klines always, others when the ledger knows them for the window."""
    exporters = [_Exporter(store, base, shape, window) for shape in shapes]
    return [exporter for exporter in exporters if exporter.dataset is Dataset.KLINES or exporter.is_known]


def reason_of(line: LedgerLine | None) -> str:
    """Why a symbol-day is not whole, from its ledger line."""
    if line is None:
        return NOT_DOWNLOADED
    # Rows that are fewer than a complete line promises have been taken away by someone: not a gap of the source.
    return Status.INCOMPLETE.value if line.status is Status.COMPLETE else line.status.value


def write_day(path: Path, header: Sequence[str], chunks: Sequence[tuple[str, Sequence[Row]]]) -> None:
    """One day's CSV, whole or not at all; without rows no file, and none is left from before."""
    files.clean_temps(path.parent)
    if not chunks:
        _remove(path)
        return
    # The data can be exported again at any time, so a day's file need not survive a power cut: durable would fsync each.
    with files.atomic_text(path, durable=False) as handle:
        handle.write(",".join(header) + "\n")
        for symbol, rows in chunks:
            handle.write(csv_lines(symbol, rows))


def csv_lines(symbol: str, rows: Sequence[Row]) -> str:
    """CSV lines of one symbol: floats as Python's repr, empty for NULL."""
    # Symbols are checked to need no quoting. JSON writes floats as repr does, several times quicker than a csv writer.
    body = json.dumps(rows, separators=(",", ":"))[2:-2].replace("null", "").replace('"', "")
    return f"{symbol},{body.replace('],[', f'{chr(10)}{symbol},')}\n"


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove the stale file {path}: {files.describe(error)}", hint=files.hint_for(error)) from error
    with suppress(OSError):
        # Only an empty folder can be removed, so nothing of anybody else's is lost.
        path.parent.rmdir()
