"""A program to be timed: klines from zips in a folder into a new database, through the package's own pipeline, without a network.

python from_zips.py ZIPS INTERVAL UNIVERSE DATABASE
"""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from cryptoservice.binance.archive_files import ArchiveFile, VerifiedZip
from cryptoservice.clock import Clock
from cryptoservice.config import WorkerConfig
from cryptoservice.download.pipeline import Pipeline
from cryptoservice.download.worklist import Worklist
from cryptoservice.models import Freq
from cryptoservice.progress import Progress
from cryptoservice.sources.datasets import KlinesPlan
from cryptoservice.storage.writer import StoreWriter
from cryptoservice.universe.file import UniverseFile


@dataclass(frozen=True)
class Folder:
    """Stands where the archive stands."""

    path: Path

    def fetch(self, source: ArchiveFile) -> VerifiedZip:
        """The object, as if it had come over the network."""
        body = (self.path / f"{source.stem}.zip").read_bytes()
        return VerifiedZip(source, body, hashlib.sha256(body).hexdigest(), None, time.time())


@dataclass(frozen=True)
class Offline:
    """A connection to that folder alone."""

    archive: Folder


def main(zips: str, interval: str, universe_file: str, database: str) -> int:
    """Store all active symbol-days; 1 when one is not complete."""
    universe = UniverseFile.load(Path(universe_file)).universe
    window = universe.subwindow(None, None)
    connection: Any = Offline(Folder(Path(zips)))
    feed = KlinesPlan(connection, Freq.parse(interval), date.today())
    clock = Clock()
    with StoreWriter.open(Path(database)) as store:
        worklist = Worklist(store, [feed], universe.active_days(window), window, incremental=True)
        progress = Progress("load", "symbol-days", worklist.symbol_days, clock)
        pipeline = Pipeline(store, WorkerConfig(), clock, progress, None)
        pipeline.run(worklist.jobs(), worklist.known, worklist.expected_rows)
    return any(tally.unsettled for tally in pipeline.tallies.values()) or not pipeline.tallies


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
