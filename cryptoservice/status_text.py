"""The result of `status` as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cryptoservice.days import utc_text
from cryptoservice.models import MissingReason, Status
from cryptoservice.plan import Source
from cryptoservice.status import DatasetStatus, NextDownload, StatusResult

_HEADER = ("dataset", "freq", "complete", "gaps", "incomplete", "failed", "never", "rows", "last checked")
_TEXT_COLUMNS = frozenset(("dataset", "freq", "last checked"))
_SOURCES = {Source.MONTHLY: "monthly archive", Source.DAILY: "daily archive", Source.REST: "API"}


def status_text(result: StatusResult) -> str:
    """Lines for a terminal, each ended by a newline."""
    return "".join(f"{line}\n" for line in _lines(result))


def _lines(result: StatusResult) -> Iterator[str]:
    window = result.window
    yield f"universe {result.universe_file}: {window.start} to {window.end}, {_count(window.length, 'day')}"
    active = f"{result.active_symbols:,} of {_count(result.requested_symbols, 'symbol')} active"
    gone = [f"{result.define_missing[reason]:,} {reason}" for reason in MissingReason if result.define_missing[reason]]
    missing = f"; not active: {', '.join(gone)}" if gone else ""
    yield f"{active}, {_count(result.active_symbol_days, 'symbol-day')}{missing}"
    if result.db_path is None:
        return
    yield f"database {result.db_path}" + ("" if result.datasets else ": nothing has been downloaded into it yet")
    if not result.datasets:
        return
    yield ""
    yield from _table([_HEADER, *map(_cells, result.datasets)])
    yield ""
    for status in result.datasets:
        yield f"next download of {_name(status)}: {_next(status.next_download)}"
        for reason in status.reasons:
            yield f"  {reason.status}, {reason.reason or 'no reason known'}: {_count(reason.symbol_days, 'symbol-day')}"


def _cells(status: DatasetStatus) -> tuple[str, ...]:
    counts = [*(status.statuses[kind] for kind in Status), status.never_fetched, status.rows]
    checked = "never" if status.last_checked is None else utc_text(status.last_checked)
    return (status.dataset.value, status.freq or "-", *(f"{count:,}" for count in counts), checked)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if name in _TEXT_COLUMNS else cell.rjust(width)
            for name, cell, width in zip(_HEADER, row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _name(status: DatasetStatus) -> str:
    return f"{status.freq} {status.dataset}" if status.freq else status.dataset.value


def _next(todo: NextDownload) -> str:
    if not todo.symbol_days:
        return "nothing to do, all is settled"
    parts = [
        f"{todo.first_source[source]:,} from the {name}" for source, name in _SOURCES.items() if todo.first_source.get(source)
    ]
    if todo.without_request:
        parts.append(f"{todo.without_request:,} without a request")
    return f"{_count(todo.symbol_days, 'symbol-day')}: first {', '.join(parts)}"


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"
