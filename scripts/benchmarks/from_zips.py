"""A program to be timed: klines from zips in a folder into a new database, through the package's own pipeline, without a network.

python from_zips.py ZIPS INTERVAL UNIVERSE DATABASE
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from datetime import date
from pathlib import Path

from cryptoservice.binance.archive_files import VerifiedZip
from cryptoservice.cli.helper_processes import helper_processes
from cryptoservice.clock import Clock
from cryptoservice.config import WorkerConfig
from cryptoservice.download.commit_batch import CommitBatch
from cryptoservice.download.pipeline import Pipeline
from cryptoservice.download.worklist import Worklist
from cryptoservice.models import Freq
from cryptoservice.progress import Progress
from cryptoservice.sources.datasets import KlinesPlan
from cryptoservice.sources.fetcher import FetchResult
from cryptoservice.sources.grouping import Fetch
from cryptoservice.storage.writer import StoreWriter
from cryptoservice.universe.file import UniverseFile

HELPERS = 2


def main(zips: str, interval: str, universe_file: str, database: str) -> int:
    """Store all active symbol-days; 1 when one is not complete."""
    universe = UniverseFile.load(Path(universe_file)).universe
    clock = Clock()

    def fetch(fetch: Fetch) -> FetchResult:
        """The object, as if it had come over the network."""
        body = (Path(zips) / f"{fetch.archive_file.stem}.zip").read_bytes()
        return FetchResult(archived=VerifiedZip(fetch.archive_file, body, hashlib.sha256(body).hexdigest(), None, time.time()))

    with StoreWriter.open(Path(database)) as store, helper_processes(HELPERS, threading.Event()) as helpers:
        plan = KlinesPlan(Freq.parse(interval), date.today())
        worklist = Worklist(store, [plan], universe.active_days(universe.window), universe.window, incremental=True)
        progress = Progress("load", "symbol-days", worklist.symbol_days, clock)
        batch = CommitBatch(store, clock)
        pipeline = Pipeline(batch, fetch, WorkerConfig(), clock, progress, executor=helpers)
        pipeline.run(worklist.jobs(batch.commit))
    return any(tally.unsettled for tally in pipeline.tallies.values()) or not pipeline.tallies


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
