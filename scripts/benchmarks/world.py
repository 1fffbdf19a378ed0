"""Where a benchmark runs: a folder, an exchange on loopback with synthetic symbols, and the commands that talk to it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from replay import client_environment, replay_exchange

from benchmarks.commands import CRYPTOSERVICE, Run, run

# Nothing listens there: for commands that must not ask anybody.
NOWHERE = {"api_url": "http://127.0.0.1:9", "vision_url": "http://127.0.0.1:9", "listing_url": "http://127.0.0.1:9"}


@dataclass(frozen=True)
class World:
    """A folder and the environment of its commands."""

    folder: Path
    addresses: Mapping[str, str]
    command: Sequence[str] = CRYPTOSERVICE

    def run(self, *arguments: str | Path, watch_memory: bool = False, code: int = 0) -> Run:
        """`cryptoservice universe` with these arguments, quietly."""
        environment = client_environment(dict(self.addresses), self.folder)
        return run([*self.command, *map(str, arguments), "-q"], env=environment, watch_memory=watch_memory, code=code)

    def define(self, universe: Path, symbols: list[str], start: str, end: str) -> dict[str, Any]:
        """The report of a new universe."""
        window = ("--start-date", start, "--end-date", end)
        report: dict[str, Any] = json.loads(
            self.run("define", "--symbols", ",".join(symbols), *window, "--output", universe).stdout
        )
        return report

    def download(self, universe: Path, database: Path, interval: str, *more: str, watch_memory: bool = False) -> Run:
        """From nothing: what an earlier run has left at that place is removed."""
        for ending in ("", "-wal", "-shm", ".lock"):
            database.with_name(database.name + ending).unlink(missing_ok=True)
        where = ("--universe-file", universe, "--db-path", database, "--interval", interval)
        return self.run("download", *where, *more, watch_memory=watch_memory)

    def export(
        self, universe: Path, database: Path, target: Path, source: str, freq: str, *more: str, watch_memory: bool = False
    ) -> Run:
        """Klines of one frequency as CSV."""
        where = ("--universe-file", universe, "--db-path", database, "--export-base-path", target)
        shape = ("--source-freq", source, "--export-freq", freq)
        return self.run("export", *where, *shape, *more, watch_memory=watch_memory)


@contextlib.contextmanager
def loopback_world(folder: Path, symbols: list[str], *options: str) -> Iterator[World]:
    """A world whose exchange trades these symbols since 2024, without limits."""
    folder.mkdir(parents=True)
    traded = [part for symbol in symbols for part in ("--add-symbol", f"{symbol}:2024-01-01")]
    with replay_exchange(folder, "--no-limits", "--max-seconds", "1200", *traded, *options) as addresses:
        yield World(folder, addresses)


def write_universe(path: Path, symbols: Sequence[str], days: Sequence[date]) -> None:
    """A universe whose symbols are all active on all days."""
    snapshots = [{"date": str(day), "active_symbols": symbols, "missing_symbols": {}} for day in days]
    record = {
        "schema_version": "2.0", "requested_symbols": symbols, "start_date": str(days[0]), "end_date": str(days[-1]),
        "daily_snapshots": snapshots, "created_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    path.write_text(json.dumps(record))


def names(letter: str, count: int) -> list[str]:
    """So many symbols."""
    return [f"{letter}{number:03d}USDT" for number in range(count)]
