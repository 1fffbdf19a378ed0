"""Results as tables for people: what `status`, with a symbol-day too, and `download --plan` show on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cryptoservice.models import Dataset
from cryptoservice.progress import duration
from cryptoservice.reasons import MissingReason
from cryptoservice.sources.evidence import Source

if TYPE_CHECKING:
    from cryptoservice.audit.provenance import DatasetProvenance, ProvenanceResult
    from cryptoservice.audit.status import DatasetStatus, NextDownload, StatusResult
    from cryptoservice.define.symbol_list import SymbolList
    from cryptoservice.download.forecast.duration import Bound
    from cryptoservice.download.preview import PreviewResult

_SYMBOLS_HEADER = ("symbol", "first day", "last day")
_STATUS_HEADER = ("dataset", "freq", "settled", "complete", "gaps", "incomplete", "failed", "never", "rows", "last checked")
_PLAN_HEADER = ("dataset", "source", "symbol-days", "requests", "weight", "rows", "MB")
_PROVENANCE_HEADER = ("dataset", "freq", "status", "rows", "expected", "last checked")
_SOURCE_NAMES = {Source.MONTHLY: "monthly archive", Source.DAILY: "daily archive", Source.REST: "API"}
# By the word of the cause: its enumeration would bring all of what a download needs into every command.
_HOST_NAMES = {"archive_latency": "archive", "archive_delay": "archive", "api_latency": "API", "api_delay": "API"}
# These columns hold words, all others figures.
_WORD_COLUMNS = frozenset((*_SYMBOLS_HEADER, "dataset", "freq", "source", "status", "last checked"))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table. Words stand to the left of their column, figures to the right."""
    lines = (header, *rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            cell.ljust(width) if name in _WORD_COLUMNS else cell.rjust(width)
            for name, cell, width in zip(header, line, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def symbols_lines(result: SymbolList) -> Iterator[str]:
    """The symbols of a listing."""
    rows = [(one.symbol, str(one.first_day or "-"), str(one.last_day or "-")) for one in result.symbols]
    yield from table(_SYMBOLS_HEADER, rows)
    yield f"{counted(result.count, 'symbol')} by the {result.listing}"


def status_lines(result: StatusResult) -> Iterator[str]:
    """The status of a universe."""
    window = result.window
    yield f"universe {result.universe_file}: {window.start} to {window.end}, {counted(window.length, 'day')}"
    active = f"{result.active_symbols:,} of {counted(result.requested_symbols, 'symbol')} active"
    gone = [f"{result.define_missing[reason]:,} {reason}" for reason in MissingReason if result.define_missing.get(reason)]
    missing = f"; not active: {', '.join(gone)}" if gone else ""
    yield f"{active}, {counted(result.active_symbol_days, 'symbol-day')}{missing}"
    if result.db_path is None:
        return
    yield f"database {result.db_path}" + ("" if result.datasets else ": nothing has been downloaded into it yet")
    if not result.datasets:
        return
    unknown = [dataset for dataset in Dataset if all(one.dataset is not dataset for one in result.datasets)]
    rows = [_status_cells(one.dataset.value, one.freq, [one]) for one in result.datasets]
    rows += [(dataset.value, *"-" * (len(_STATUS_HEADER) - 2), "never") for dataset in unknown]
    if len(result.datasets) > 1:
        rows.append(_status_cells("total", "", result.datasets))
    yield ""
    yield from table(_STATUS_HEADER, rows)
    yield ""
    for one in result.datasets:
        yield f"next download of {_name_of(one)}: {_next(one.next_download)}"
        for reason in one.unsettled_reasons:
            yield f"  {reason.status}, {reason.reason or 'no reason known'}: {counted(reason.symbol_days, 'symbol-day')}"
    if unknown:
        flag = "" if unknown == [Dataset.KLINES] else "; --download-market-metrics asks for more than klines"
        yield f"nothing has been downloaded of {', '.join(unknown)}{flag}"


def _status_cells(name: str, freq: str, datasets: Sequence[DatasetStatus]) -> tuple[str, ...]:
    """One row of figures, over one dataset or several."""
    counts = [(one.complete, one.confirmed_gaps, one.incomplete, one.failed, one.never_fetched, one.rows) for one in datasets]
    sums = [sum(column) for column in zip(*counts, strict=True)]
    settled = percent(sums[0] + sums[1], sum(one.active_symbol_days for one in datasets))
    last_checked = max((one.last_checked or "" for one in datasets), default="")
    return (name, freq or "-", settled, *(f"{count:,}" for count in sums), last_checked or "never")


def _next(todo: NextDownload) -> str:
    if not todo.symbol_days:
        return "nothing to do, all is settled"
    parts = [
        f"{todo.first_source[source]:,} from the {name}"
        for source, name in _SOURCE_NAMES.items()
        if todo.first_source.get(source)
    ]
    if todo.without_request:
        parts.append(f"{todo.without_request:,} without a request")
    return f"{counted(todo.symbol_days, 'symbol-day')}: first {', '.join(parts)}"


def provenance_lines(result: ProvenanceResult) -> Iterator[str]:
    """Where the values of a symbol-day come from."""
    state = "active" if result.missing_reason is None else f"not active, {result.missing_reason}"
    yield f"{result.symbol} on {result.date}: {state} in universe {result.universe_file}"
    yield f"database {result.db_path}" + ("" if result.provenance else ": nothing has been downloaded into it yet")
    if not result.provenance:
        return
    yield ""
    yield from table(_PROVENANCE_HEADER, [_provenance_cells(one) for one in result.provenance])
    for one in result.provenance:
        details = list(_origin_lines(one))
        if details:
            yield ""
            yield _name_of(one)
            yield from details


def _provenance_cells(one: DatasetProvenance) -> tuple[str, ...]:
    expected = "-" if one.expected_rows is None else f"{one.expected_rows:,}"
    status = one.status.value if one.status else one.reason or ""
    return (one.dataset.value, one.freq or "-", status, f"{one.rows:,}", expected, one.checked_at or "never")


def _origin_lines(one: DatasetProvenance) -> Iterator[str]:
    """What is known beyond the table."""
    if one.status is None:
        return
    values = {
        "reason": one.reason,
        "source": ", ".join(f"{count:,} from {source}" for source, count in one.rows_by_source.items()),
        "labels": one.labels,
        "object": one.object,
        "SHA-256": one.sha256,
        "published": one.last_modified,
        "fetched": one.fetched_at,
    }
    for name, value in values.items():
        if value:
            yield f"  {name:<9}  {value}"


def _name_of(one: DatasetStatus | DatasetProvenance) -> str:
    return f"{one.freq} {one.dataset}" if one.freq else one.dataset.value


def plan_lines(result: PreviewResult) -> Iterator[str]:
    """The plan of a download."""
    rows = []
    for share in result.shares:
        counts = (share.symbol_days, share.requests, share.weight, share.rows)
        megabytes = f"{share.bytes / 1e6:,.1f}"
        rows.append((share.dataset.value, share.source.value, *(f"{count:,}" for count in counts), megabytes))
    yield from table(_PLAN_HEADER, rows)
    yield f"{counted(result.already_complete, 'symbol-day')} settled already"
    if result.not_published:
        yield (
            f"{counted(result.not_published, 'metrics file')} of yesterday: probably not published before 09:00 UTC, so the "
            "API is asked as well"
        )
    if result.bound_by is None:
        yield "nothing to fetch"
    else:
        length = f"about {duration(result.seconds)}" if result.seconds >= 1 else "less than a second"
        yield f"{counted(result.requests, 'request')}, {length}, bound by: {_bound_words(result.bound_by)}"
        yield f"disk: {_size(result.disk_needed)} needed, {_size(result.disk_free)} free"


def _bound_words(bound: Bound) -> str:
    """Such as `metrics budget 900 in 5 min`."""
    if bound.dataset is not None:
        unit = " weight" if bound.dataset is Dataset.KLINES else ""
        return f"{bound.dataset} budget {bound.limit:,}{unit} in {bound.seconds / 60:g} min"
    host = _HOST_NAMES.get(bound.cause.value)
    if host is None:
        return f"this machine, {bound.limit:,} rows/s"
    if bound.cause.value.endswith("_delay"):
        return f"{bound.seconds:g} s between two requests to the {host}"
    return f"the {host} at {bound.seconds:g} s a request, {counted(bound.limit, 'request')} at once"


def _size(number: int) -> str:
    """Bytes, such as `12.3 MB` or `4.5 GB`."""
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"


def percent(part: int, whole: int) -> str:
    """A share, rounded down: 100 % is all of it, and only nothing is 0 %."""
    if not whole:
        return "-"
    if part in (0, whole):
        return "100 %" if part else "0 %"
    return f"{part * 1000 // whole / 10:.1f} %" if part * 1000 >= whole else "<0.1 %"


def counted(number: int, unit: str) -> str:
    """Such as `1,234 symbol-days`."""
    return f"{number:,} {unit}{'' if number == 1 else 's'}"
