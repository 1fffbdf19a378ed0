"""Integrity: do the rows agree with the ledger, and does every row keep its rules? All of it is counted in SQL.

Besides `storage/`, only this module and `consistency` know the inner tables. A symbol-day costs one range scan, so millions of
rows take seconds. A day with a fault is read a second time, to find out which rule is broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from cryptoservice.audit.verification.differences import Difference
from cryptoservice.days import Window, day_number, day_of_number, day_start_ms
from cryptoservice.models import DAY_MS, Dataset, Freq, Row, Status
from cryptoservice.storage.ledger import Series, mark_of_text
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.schema import TABLES

# The exchange rounds its sums, so a taker volume may exceed the whole volume by that much.
_TAKER_LIMIT = "{} * (1 + 1e-9) + 1e-8"
_RANGE = "{} BETWEEN 0 AND 1e18"
_STATUSES = frozenset(status.value for status in Status)


def _all(*terms: str) -> str:
    return " AND ".join(f"({term})" for term in terms)


class _Rules(NamedTuple):
    table: str
    time: str
    rules: Mapping[str, str]
    """By the word for the fault: a condition in SQL that every row fulfils; `:step` is the length of a bar in milliseconds."""


_KLINES = _Rules(
    "kline_rows",
    "open_time",
    {
        "high_below_low": "low <= open AND low <= close AND open <= high AND close <= high",
        "price_not_positive": "low > 0",
        # No other price is above `high`, so the limit is checked on it alone.
        "number_out_of_range": _all(
            "high <= 1e18",
            *map(_RANGE.format, ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")),
        ),
        "taker_above_volume": _all(
            "taker_buy_volume <= " + _TAKER_LIMIT.format("volume"),
            "taker_buy_quote_volume <= " + _TAKER_LIMIT.format("quote_volume"),
        ),
        "time_off_grid": "open_time % :step = 0",
    },
)
_METRICS = _Rules(
    "metric_rows",
    "open_time",
    {
        "number_out_of_range": _all(
            *(
                f"{name} IS NULL OR {_RANGE.format(name)}"
                for name in (
                    "open_interest", "open_interest_value", "top_trader_account_ratio", "top_trader_position_ratio",
                    "global_account_ratio", "taker_volume_ratio",
                )
            )
        ),
        "time_off_grid": "open_time % :step = 0",
    },
)  # fmt: skip
_FUNDING = _Rules(
    "funding_rows",
    "funding_time",
    # Funding times lie some milliseconds beside the full hour: there is no grid (docs/wire.md, funding rates).
    {"number_out_of_range": _all("abs(funding_rate) <= 100", f"mark_price IS NULL OR {_RANGE.format('mark_price')}")},
)
_RULES = {Dataset.KLINES: _KLINES, Dataset.METRICS: _METRICS, Dataset.FUNDING_RATES: _FUNDING}


class CheckedDay(NamedTuple):
    """A symbol-day after its recount."""

    number: int
    """Days since 1970-01-01."""
    status: str
    reason: str | None
    source: str | None
    rows: int
    """Rows that are really there."""
    differences: tuple[Difference, ...]


class _Line(NamedTuple):
    """A ledger line as it is stored: in a damaged ledger the words and numbers can be anything."""

    number: int
    status: str
    reason: str | None
    rows: int
    expected_rows: int
    source: str | None


def series_ids(store: StoreReader, dataset: Dataset, freq: str) -> dict[str, int]:
    """The ids of all series of a dataset and frequency, by symbol."""
    query = "SELECT symbol, id FROM series WHERE dataset = ? AND freq = ?"
    return dict(store.select(query, (dataset.value, freq)))


def check_series(store: StoreReader, series: Series, series_id: int, window: Window) -> Iterator[CheckedDay]:
    """Recount and check, in order, every day of the window that the ledger knows of a series."""
    table, time, rules = _RULES[series.dataset]
    sound = _all(*rules.values())
    query = (
        "SELECT l.day, l.status, l.reason, l.rows, l.expected_rows, l.source, count(r.series_id), "  # noqa: S608
        f"coalesce(sum(NOT ({sound})), 0) "
        f"FROM ledger l LEFT JOIN {table} r ON r.series_id = l.series_id "
        f"AND r.{time} >= l.day * {DAY_MS} AND r.{time} < (l.day + 1) * {DAY_MS} "
        "WHERE l.series_id = :series AND l.day BETWEEN :first AND :last GROUP BY l.day"
    )
    # Funding rates have no frequency; a step of one millisecond lets any time pass.
    freq = Freq.parse(series.freq) if series.freq else None
    place = {"series": series_id, "step": freq.milliseconds if freq else 1}
    bounds = {"first": day_number(window.start), "last": day_number(window.end)}
    for *fields, counted, unsound in store.select(query, place | bounds):
        line = _Line(*fields)
        faults = dict(_ledger_faults(series.dataset, freq, line, counted))
        if unsound:
            faults.update(_row_faults(store, series.dataset, line.number, place))
        text = day_text(line.number)
        differences = (Difference(kind, series.dataset, series.freq, series.symbol, text, more) for kind, more in faults.items())
        yield CheckedDay(line.number, line.status, line.reason, line.source, counted, tuple(differences))


def _ledger_faults(dataset: Dataset, freq: Freq | None, line: _Line, counted: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if line.rows != counted:
        yield "row_count", {"ledger": line.rows, "database": counted}
    if freq is not None and line.expected_rows != freq.bars_per_day:
        yield "expected_rows", {"ledger": line.expected_rows, "due": freq.bars_per_day}
    if not _status_fits(dataset, line):
        yield "ledger_status", {"status": line.status, "rows": line.rows, "expected_rows": line.expected_rows}


def _status_fits(dataset: Dataset, line: _Line) -> bool:
    """Whether the status of a ledger line can go with its own two row counts."""
    whole = line.rows == line.expected_rows
    if line.status == Status.COMPLETE:
        return whole
    if line.status == Status.FAILED and line.rows > 0:
        return False
    # Only klines with all rows must be complete: a metrics row can lack values, and a day without funding expects no rows.
    return line.status in _STATUSES and not (whole and dataset is Dataset.KLINES)


def _row_faults(
    store: StoreReader, dataset: Dataset, number: int, place: Mapping[str, int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    table, time, rules = _RULES[dataset]
    for kind, rule in rules.items():
        query = (
            f"SELECT count(*), min({time}) FROM {table} "  # noqa: S608
            f"WHERE series_id = :series AND {time} >= :start AND {time} < :start + {DAY_MS} AND NOT ({rule})"
        )
        ((count, first),) = store.select(query, {**place, "start": number * DAY_MS})
        if count:
            yield kind, {"rows": count, "first_time": first}


class SoundDay(NamedTuple):
    """The rows of a symbol-day that keep all rules, and what the ledger says of where they came from."""

    rows: list[Row]
    marks: bytes
    """For each row the bits of the sources whose values it holds."""
    has_strangers: bool
    """There are more rows than were written, or rows that nobody wrote: which of them are true cannot be told."""


def sound_day(store: StoreReader, series: Series, day: date) -> SoundDay:
    """Read a symbol-day of a damaged database; a word in the ledger that nobody knows is no obstacle here."""
    table = TABLES[series.dataset]
    series_id = series_ids(store, series.dataset, series.freq).get(series.symbol)
    freq = Freq.parse(series.freq) if series.freq else None
    sound = _all(*_RULES[series.dataset].rules.values())
    place = {"series": series_id, "step": freq.milliseconds if freq else 1, "start": day_start_ms(day), "day": day_number(day)}
    line = store.select("SELECT rows, source, row_marks FROM ledger WHERE series_id = :series AND day = :day", place)
    query = (
        f"SELECT ({sound}), {', '.join(table.columns)} FROM {table.name} "  # noqa: S608
        f"WHERE series_id = :series AND {table.time} >= :start AND {table.time} < :start + {DAY_MS} ORDER BY {table.order}"
    )
    found = store.select(query, place)
    written, source, marks = line[0] if line else (0, None, None)
    if marks is None or len(marks) != len(found):
        marks = mark_of_text(source) * len(found)
    kept = [number for number, row in enumerate(found) if row[0]]
    return SoundDay([found[number][1:] for number in kept], bytes(marks[number] for number in kept), len(found) > written)


def rows_outside(store: StoreReader) -> Iterator[Difference]:
    """Days of the whole database that have rows but no ledger line. The product writes both together.

    The query jumps from day to day along the key, so it costs one look-up for each symbol-day and not for each row.
    A time is cast to a whole number first: a damaged database can hold fractions and infinity.
    """
    for dataset, (table, time, _) in _RULES.items():
        query = f"""
            WITH RECURSIVE
            owner(id) AS (
                SELECT min(series_id) FROM {table}
                UNION SELECT (SELECT min(series_id) FROM {table} WHERE series_id > id) FROM owner WHERE id IS NOT NULL
            ),
            known(id, day) AS (
                SELECT id, (SELECT CAST(min({time}) AS INTEGER) / {DAY_MS} FROM {table} WHERE series_id = id)
                FROM owner WHERE id IS NOT NULL
                UNION SELECT id, (
                    SELECT CAST(min({time}) AS INTEGER) / {DAY_MS} FROM {table}
                    WHERE series_id = id AND {time} >= (day + 1) * {DAY_MS}
                ) FROM known WHERE day IS NOT NULL
            )
            SELECT s.freq, s.symbol, k.day, (
                SELECT count(*) FROM {table}
                WHERE series_id = k.id AND {time} >= k.day * {DAY_MS} AND {time} < (k.day + 1) * {DAY_MS}
            )
            FROM known k LEFT JOIN series s ON s.id = k.id AND s.dataset = ?
            WHERE k.day IS NOT NULL
            AND (s.id IS NULL OR NOT EXISTS (SELECT 1 FROM ledger l WHERE l.series_id = k.id AND l.day = k.day))
            ORDER BY s.symbol, s.freq, k.day
        """  # noqa: S608
        for freq, symbol, number, count in store.select(query, (dataset.value,)):
            yield Difference("outside_ledger", dataset, freq or "", symbol, day_text(number), {"rows": count})


def day_text(number: int) -> str:
    """The date of a day number, or the number itself when no calendar has that day: a damaged ledger can hold anything."""
    try:
        return day_of_number(number).isoformat()
    except (OverflowError, ValueError):
        return str(number)
