"""How fast this machine is: a small block of klines is parsed and stored in memory, and the time is taken."""

from __future__ import annotations

import io
import os
import sqlite3
import time
import zipfile
from dataclasses import dataclass
from datetime import date

from cryptoservice.binance.archive_files import ArchiveFile, VerifiedZip, read_zip
from cryptoservice.days import day_start_ms
from cryptoservice.models import Dataset, Freq
from cryptoservice.storage.schema import SCHEMA

# Where it was not measured (docs/benchmarks.md, what sets the pace).
_USUAL_ROW_SECONDS = 3.6e-6
# Measured: what else takes as much time of the processor as so many rows of klines out of an archive file. An answer of the API
# costs more than one of the archive, as its rows are JSON; metrics are compared with klines before they are stored.
_ROWS_A_REQUEST = 350
_ROWS_AN_API_REQUEST = 560
_ROWS_A_START = 100_000
_ROWS_A_METRICS_ROW = 2.0
# A row on a disk takes longer than one in memory; less so where two helper processes parse while this one stores.
_ON_DISK = 1.2
_ON_DISK_WITH_HELPERS = 0.9
_DAY = date(2025, 1, 1)
_ATTEMPTS = 3


@dataclass(frozen=True)
class Machine:
    """What takes time of the processor."""

    row_seconds: float = _USUAL_ROW_SECONDS
    """To parse a row of klines, and to store it in memory."""
    processors: int = 2

    @property
    def request_seconds(self) -> float:
        """To send a request to the archive and to receive its answer."""
        return _ROWS_A_REQUEST * self.row_seconds

    @property
    def api_request_seconds(self) -> float:
        """The same of the API."""
        return _ROWS_AN_API_REQUEST * self.row_seconds

    @property
    def start_seconds(self) -> float:
        """Until the first request of a run, and after its last."""
        return _ROWS_A_START * self.row_seconds

    def rows_seconds(self, dataset: Dataset, rows: float, *, has_helpers: bool) -> float:
        """To parse and store so many rows of a dataset."""
        cost = self.row_seconds * (_ROWS_A_METRICS_ROW if dataset is Dataset.METRICS else 1.0)
        return rows * cost * (_ON_DISK_WITH_HELPERS if has_helpers and self.processors > 1 else _ON_DISK)

    @classmethod
    def measured(cls) -> Machine:
        """This machine, in some tens of milliseconds.

        The best of a few attempts counts, in time of the processor: what else is at work now may have ended by then.
        """
        zipped = _zip_of_a_day()
        return cls(min(_seconds_a_row(zipped) for _ in range(_ATTEMPTS)), os.cpu_count() or 1)


def _zip_of_a_day() -> VerifiedZip:
    """A day of minutes that was made up."""
    source = ArchiveFile.daily(Dataset.KLINES, "SPEEDUSDT", Freq.m1, _DAY)
    start, lines = day_start_ms(_DAY), []
    for number in range(Freq.m1.bars_per_day):
        opened, price, volume = start + number * 60_000, 100 + number * 0.0137, 250 + number * 0.731
        low, high, close, quote = price - 0.5, price + 0.75, price + 0.25, price * volume
        lines.append(
            f"{opened},{price:.4f},{high:.4f},{low:.4f},{close:.4f},{volume:.3f},{opened + 59_999},{quote:.5f},{number + 1},"
            f"{volume / 2:.3f},{quote / 2:.5f},0\n"
        )
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        zipped.writestr(f"{source.stem}.csv", "".join(lines))
    return VerifiedZip(source, body.getvalue(), "", None, 0.0)


def _seconds_a_row(zipped: VerifiedZip) -> float:
    started = time.thread_time()
    rows = read_zip(zipped).days[_DAY]
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        db.executescript(SCHEMA)
        values = ", ".join("?" * len(rows[0]))
        db.execute("BEGIN")
        db.executemany(f"INSERT INTO kline_rows VALUES (1, {values})", rows)  # noqa: S608
        db.execute("COMMIT")
    finally:
        db.close()
    return (time.thread_time() - started) / len(rows)
