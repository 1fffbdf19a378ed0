"""Dataset locks computed by hand, as docs/formats.md says it: sqlite3 on the public views, struct and hashlib, nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

Tree = dict[str, dict[str, dict[str, str]]]
# By view: its query, in the order of the key, and the types of the columns after symbol and frequency.
VIEWS = {
    "klines": (
        "SELECT symbol, freq, open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, "
        "taker_buy_quote_volume FROM klines ORDER BY freq, symbol, open_time",
        "qddddddqdd",
    ),
    "metrics": (
        "SELECT symbol, '5m', open_time, open_interest, open_interest_value, top_trader_account_ratio, "
        "top_trader_position_ratio, global_account_ratio, taker_volume_ratio FROM metrics ORDER BY symbol, open_time",
        "qdddddd",
    ),
    "funding_rates": (
        "SELECT symbol, '', funding_time, funding_rate, mark_price, rate_type FROM funding_rates "
        "ORDER BY symbol, funding_time, rate_type",
        "qdds",
    ),
}


def record(types: str, row: Iterable[Any]) -> bytes:
    """A row as bytes: the mask of its NULLs, its time, its values."""
    values = list(row)
    found = b""
    mask = 0
    for number, (kind, value) in enumerate(zip(types, values, strict=True)):
        if value is None:
            mask += 2 ** (number - 1)
        if kind == "s":
            text = (value or "").encode()
            found += len(text).to_bytes(4, "little") + text
        elif kind == "q":
            found += (value or 0).to_bytes(8, "little", signed=True)
        else:
            found += struct.pack("<d", value or 0.0)
    return mask.to_bytes(4, "little") + found


def root(datasets: Tree) -> str:
    """The root over digests by dataset, symbol and month."""
    lines = [
        f"{dataset} {symbol} {month} {digest}\n".encode()
        for dataset, symbols in datasets.items()
        for symbol, months in symbols.items()
        for month, digest in months.items()
    ]
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


@dataclass
class Lock:
    """What a lock file must say of a database."""

    datasets: Tree = field(default_factory=dict)
    days: dict[str, str] = field(default_factory=dict)
    """First eight digits over a day's rows by `dataset symbol date`; the file has them in another form."""

    @property
    def root(self) -> str:
        """Their root."""
        return root(self.datasets)


def lock_of(database: Path, active: Mapping[str, Iterable[date]]) -> Lock:
    """The lock over the active days of each symbol."""
    wanted = {(symbol, day.isoformat()) for symbol, days in active.items() for day in days}
    months: dict[tuple[str, str, str], bytearray] = {}
    days: dict[str, bytearray] = {}
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        for view, (query, types) in VIEWS.items():
            for symbol, freq, *row in db.execute(query):
                day = datetime.fromtimestamp(row[0] // 1000, timezone.utc).date().isoformat()
                if (symbol, day) in wanted:
                    name = f"{view}/{freq}" if freq else view
                    packed = record(types, row)
                    months.setdefault((name, symbol, day[:7]), bytearray()).extend(packed)
                    days.setdefault(f"{name} {symbol} {day}", bytearray()).extend(packed)
    found = Lock()
    for (name, symbol, month), content in months.items():
        found.datasets.setdefault(name, {}).setdefault(symbol, {})[month] = hashlib.sha256(content).hexdigest()
    found.days = {key: hashlib.sha256(content).hexdigest()[:8] for key, content in days.items()}
    return found


def days_of(tree: Tree) -> dict[str, str]:
    """The `days` of a lock file in the form of `Lock.days`."""
    return {
        f"{dataset} {symbol} {month}-{number:02}": mark
        for dataset, symbols in tree.items()
        for symbol, months in symbols.items()
        for month, marks in months.items()
        for number, mark in enumerate(marks.split(), start=1)
        if mark != "-"
    }
