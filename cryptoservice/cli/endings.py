"""The few lines with which a run ends on a terminal: what was done, how much of it, and what to type next.

What a run lacks is not said here but as its last line (`summaries.py`), since log files need that as well.
"""

from __future__ import annotations

import argparse
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cryptoservice.cli.flags.shared import named_by_environment
from cryptoservice.cli.tables import counted, percent
from cryptoservice.models import Dataset
from cryptoservice.progress import duration

if TYPE_CHECKING:
    from cryptoservice.audit.archive_audit.result import AuditResult
    from cryptoservice.audit.dataset_lock.command import LockResult
    from cryptoservice.audit.findings import VerifyResult
    from cryptoservice.audit.status import StatusResult
    from cryptoservice.define.result import DefineResult
    from cryptoservice.download.result import DownloadResult
    from cryptoservice.export.command import ExportResult

Args = argparse.Namespace
# So many reasons are named; the report has the others.
_REASONS = 5
_SAMPLE = 20


def define_ending(result: DefineResult) -> Iterator[str]:
    """The universe that was written, and the download of it."""
    universe, file = result.universe, str(result.universe_file)
    wanted = result.requested_symbols * result.daily_snapshots
    yield (
        f"universe {file}: {counted(result.requested_symbols, 'symbol')}, {result.start_date} to {result.end_date}, "
        f"{result.active_symbol_days:,} of {counted(wanted, 'symbol-day')} active ({percent(result.active_symbol_days, wanted)})"
    )
    missing = [f"{count:,} {reason}" for reason, count in universe.missing_counts(universe.window).items() if count]
    if missing:
        yield f"not active: {', '.join(missing)}"
    if result.active_symbol_days:
        yield f"next: {_first_download(file)}"


def status_ending(args: Args, result: StatusResult) -> Iterator[str]:
    """Where no database was looked at: the download that makes one."""
    if result.db_path is None and result.active_symbol_days and args.universe_file != "-":
        yield f"next: {_first_download(args.universe_file)}"


def download_ending(args: Args, result: DownloadResult) -> Iterator[str]:
    """What is settled now, of each dataset; the most frequent reasons of the rest; and the export."""
    settled = result.wanted_symbol_days - len(result.failed)
    requests = sum(result.requests.values())
    yield (
        f"database {args.db_path}: {settled:,} of {counted(result.wanted_symbol_days, 'symbol-day')} settled "
        f"({percent(settled, result.wanted_symbol_days)}), in {duration(result.elapsed_seconds)}, {counted(requests, 'request')}"
    )
    for dataset, counts in result.datasets.items():
        whole = counts.wanted_symbol_days - counts.failed
        gaps = f", {counted(counts.confirmed_gaps, 'confirmed gap')} found" if counts.confirmed_gaps else ""
        yield f"  {dataset}: {whole:,} of {counts.wanted_symbol_days:,}, {counted(counts.rows, 'new row')}{gaps}"
    reasons = Counter((item.dataset, item.reason) for item in result.failed).most_common()
    for (dataset, reason), count in reasons[:_REASONS]:
        yield f"  not settled: {counted(count, 'symbol-day')} of {dataset}, {reason or 'no reason known'}"
    if len(reasons) > _REASONS:
        yield f"  not settled: {counted(sum(count for _, count in reasons[_REASONS:]), 'symbol-day')} for other reasons"
    if result.complete and result.wanted_symbol_days:
        folder = str(Path(args.db_path).with_name("exports"))
        paths = {**_paths(args), "--export-base-path": named_by_environment("--export-base-path") or folder}
        yield from _next(args, "export", paths, "--source-freq", result.interval.value)


def export_ending(args: Args, result: ExportResult) -> Iterator[str]:
    """The files, the coverage of the main dataset, and where the rest is told."""
    summary = result.summary
    rows = ", ".join(f"{count:,} rows of {dataset}" for dataset, count in result.rows.items() if count)
    yield f"exported into {args.export_base_path}: {counted(result.files, 'CSV file')}{': ' if rows else ''}{rows}"
    what = Dataset.METRICS if args.no_klines else Dataset.KLINES
    share = percent(summary["exported_bars"], summary["expected_bars"])
    counts = ", ".join(f"{summary[name]:,} {name}" for name in ("complete", "partial", "missing"))
    yield f"coverage of {what}: {share} of {counted(summary['expected_bars'], 'bar')}; symbol-days: {counts}"
    yield f"report: {result.report_path}"
    if result.coverage_html_path is not None:
        yield f"map: {result.coverage_html_path}"
    if summary["partial"] or summary["missing"]:
        yield from _next(args, "status", _paths(args))


def verify_ending(args: Args, result: VerifyResult) -> Iterator[str]:
    """Whether all is sound, and what else could be checked."""
    days = counted(result.checked_symbol_days, "symbol-day")
    yield f"{result.status.replace('_', ' ')}: {days} checked, {result.window.start} to {result.window.end}"
    for kind, count in list(result.differences_by_kind.items())[:_REASONS]:
        yield f"  {kind}: {counted(count, 'difference')}"
    sample = result.sample
    if sample is not None:
        drawn = counted(len(sample.symbol_days), "sampled symbol-day")
        yield f"sample: {sample.compared:,} of {drawn} compared with the other source, {counted(sample.rows, 'row')}"
    if result.lock is not None:
        differ = len(result.lock.differs)
        yield f"lock {args.lock}: " + (f"{counted(differ, 'symbol-month')} not the same" if differ else "the same, root and all")
    if sample is None and result.sound:
        yield from _next(args, "verify", _paths(args), "--sample", str(_SAMPLE))


def lock_ending(args: Args, result: LockResult) -> Iterator[str]:
    """The lock that was written, and how to compare a database with it."""
    what = f"{counted(result.symbol_months, 'symbol-month')} of {counted(len(result.datasets), 'dataset')}"
    yield (
        f"lock {result.lock_file}: {what}, {result.window.start} to {result.window.end}, "
        f"from {counted(result.objects, 'archive file')}"
    )
    yield from _next(args, "verify", _paths(args), "--lock", str(result.lock_file))


def audit_ending(result: AuditResult) -> Iterator[str]:
    """How many archive files are what they were; the log has counted the others."""
    yield f"unchanged: {percent(result.unchanged, result.checked)} of {counted(result.checked, 'archive file')}"


def typed(command: str, paths: dict[str, str], *words: str) -> str:
    """A command as it is typed; a path that stands in the environment is left out."""
    given = [word for flag, path in paths.items() if named_by_environment(flag) != path for word in (flag, path)]
    return shlex.join(["cryptoservice", "universe", command, *given, *words])


def _next(args: Args, command: str, paths: dict[str, str], *words: str) -> Iterator[str]:
    # What came from standard input cannot be typed again.
    if args.universe_file != "-":
        yield f"next: {typed(command, paths, *words)}"


def _first_download(universe_file: str) -> str:
    """The download of a universe into a database beside it, unless the environment names another."""
    database = named_by_environment("--db-path") or str(Path(universe_file).with_name("market.db"))
    return typed("download", {"--universe-file": universe_file, "--db-path": database})


def _paths(args: Args) -> dict[str, str]:
    return {"--universe-file": args.universe_file, "--db-path": args.db_path}
