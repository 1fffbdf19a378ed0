"""How much disk a download needs, by what rows and ledger lines measure in a database, and how much is free."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptoservice.download.forecast.workload import Workload
from cryptoservice.models import Dataset

# Measured in databases of a month and of a night (docs/benchmarks.md).
_BYTES_A_ROW = {Dataset.KLINES: 94, Dataset.METRICS: 78, Dataset.FUNDING_RATES: 46}
_BYTES_A_DAY = 50
_BYTES_AN_OBJECT = 400
# The tables of an empty database.
_BYTES_OF_NONE = 70_000
# The log of what has been committed and not been merged yet.
_LOG_BYTES = 17_000_000


@dataclass(frozen=True)
class DiskSpace:
    """Bytes on the disk of a database."""

    needed: int
    """By which the database will grow, with the log beside it while the download runs."""
    free: int

    @property
    def suffices(self) -> bool:
        """Whether there is room."""
        return self.needed <= self.free

    @classmethod
    def of(cls, workload: Workload, database: Path) -> DiskSpace:
        """What the workload adds to a database at that path, which need not exist."""
        growth = sum(rows * _BYTES_A_ROW[dataset] for dataset, rows in workload.new_rows.items())
        growth += workload.new_days * _BYTES_A_DAY + workload.objects * _BYTES_AN_OBJECT
        if workload.shares:
            growth += min(growth, _LOG_BYTES) + (0 if database.exists() else _BYTES_OF_NONE)
        return cls(growth, shutil.disk_usage(_existing_folder(database)).free)


def _existing_folder(path: Path) -> Path:
    return next(folder for folder in path.absolute().parents if folder.is_dir())
