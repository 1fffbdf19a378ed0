"""A dataset of two symbols over a few days of two months, and ways to store it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from cryptoservice.days import day_start_ms
from cryptoservice.models import Dataset, Row, SourceObject, Status
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter
from tests.unit.audit.stored import write_universe

A, B = "AUSDT", "币安人生USDT"
SYMBOLS = (A, B)
DAYS = [date(2026, 1, 30), date(2026, 1, 31), date(2026, 2, 1), date(2026, 2, 2)]
ACTIVE = dict.fromkeys(SYMBOLS, DAYS)
HOUR = 3_600_000
# Datasets and frequencies of the sample.
KINDS = ((Dataset.KLINES, "4h"), (Dataset.KLINES, "12h"), (Dataset.METRICS, "5m"), (Dataset.FUNDING_RATES, ""))
NAMES = {"klines/4h", "klines/12h", "metrics/5m", "funding_rates"}


def rows_of(dataset: Dataset, freq: str, symbol: str, day: date) -> list[Row]:
    """The rows of a symbol-day; each value is its own, and some of metrics and funding rates are NULL."""
    start = day_start_ms(day)
    base = day.day + (100 if symbol == B else 0) + len(freq) / 10
    if dataset is Dataset.KLINES:
        hours = int(freq.removesuffix("h"))
        return [
            (start + hour * HOUR, base + 0.1, base + 9.7, base / 3, base + hour / 7, 1e6 + hour + 0.5, 3.3, hour + 1, 0.25, 0.0)
            for hour in range(0, 24, hours)
        ]
    if dataset is Dataset.METRICS:
        return [
            (start + bar * 300_000, base, base * 7.1, None if bar % 3 else 1.1, 0.9 + bar / 1000, None, bar / 9)
            for bar in range(0, 288, 48)
        ]
    return [(start + 8 * HOUR * number + number, 0.0001 * base, None if number else 10.5, "Regular") for number in range(3)]


def symbol_day(dataset: Dataset, freq: str, symbol: str, day: date, **other: Any) -> SymbolDay:
    """A symbol-day with those rows, whose ledger line says what `other` says."""
    rows = rows_of(dataset, freq, symbol, day)
    fields: dict[str, Any] = {
        "status": Status.COMPLETE, "reason": None, "rows": rows, "expected_rows": len(rows), "source": "monthly",
        "checked_at": 1_770_000_000.0, **other,
    }  # fmt: skip
    return SymbolDay(series=Series(dataset, freq, symbol), day=day, **fields)


def all_days() -> list[SymbolDay]:
    """All symbol-days of the sample; those of January name an archive object."""
    return [
        symbol_day(dataset, freq, symbol, day, origin=origin(dataset, symbol) if day.month == 1 else None)
        for dataset, freq in KINDS
        for symbol in SYMBOLS
        for day in DAYS
    ]


def origin(dataset: Dataset, symbol: str, sha256: str = "") -> SourceObject:
    """An archive object; its SHA-256 follows from its name, unless one is given."""
    return SourceObject(
        f"data/{dataset}/{symbol}-2026-01.zip", sha256 or f"{len(dataset) + len(symbol):064x}", None, "2026-02-03"
    )


def store(path: Path, days: Iterable[SymbolDay]) -> Path:
    """A database that holds these symbol-days."""
    with StoreWriter.open(path) as writer:
        writer.write(days)
    return path


def universe(folder: Path, **options: Any) -> Path:
    """The universe of the sample: both symbols, all four days."""
    return write_universe(folder / "universe.json", DAYS[0].isoformat(), DAYS[-1].isoformat(), symbols=SYMBOLS, **options)
