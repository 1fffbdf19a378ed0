"""What the crash tests share: an uninterrupted run to compare with, a recount of the ledger, processes stopped in time."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import addresses, query, write_universe
from tests.exchange import Market, ReplayExchange

WINDOW = {"first": "2026-02-05", "last": "2026-02-10"}
FILES = ("--universe-file", "universe.json", "--db-path", "market.db")
DOWNLOAD = ("universe", "download", *FILES, "--interval", "5m", "--download-market-metrics")
EXPORT = ("universe", "export", *FILES, "--export-base-path", "exports", "--source-freq", "5m", "--export-freq", "5m")

# Ids and the times of fetching differ from run to run; everything else may not.
_TABLES = (
    "SELECT * FROM klines",
    "SELECT * FROM metrics",
    "SELECT * FROM funding_rates",
    "SELECT d.dataset, d.freq, d.symbol, d.date, d.status, d.reason, d.rows, d.expected_rows, d.source, o.name, o.sha256 "
    "FROM symbol_days d LEFT JOIN source_objects o ON o.id = d.object_id",
    "SELECT name, sha256, last_modified FROM source_objects",
)


@dataclass(frozen=True)
class Reference:
    """What an uninterrupted run leaves: a folder to copy from, the tables' content, the exported files."""

    folder: Path
    tables: list[Any]
    exports: dict[str, bytes]

    def give(self, target: Path, *names: str) -> None:
        """Copies of these files."""
        for name in names:
            shutil.copy(self.folder / name, target / name)


_made: dict[Path, Reference] = {}


def make_reference(factory: pytest.TempPathFactory) -> Reference:
    """Download and export without any trouble; once for all tests of a session."""
    base = factory.getbasetemp()
    if base not in _made:
        _made[base] = _download_and_export(factory.mktemp("reference"))
    return _made[base]


def _download_and_export(folder: Path) -> Reference:
    write_universe(folder, **WINDOW)
    with ReplayExchange(Market.recorded()) as exchange:
        workspace = Workspace(folder, addresses(exchange))
        assert workspace.run(*DOWNLOAD).code == 0
        assert workspace.run(*EXPORT).code == 0
    return Reference(folder, tables(folder / "market.db"), csvs(folder / "exports"))


def tables(database: Path) -> list[Any]:
    """The content of all tables, without ids and times of fetching."""
    return [sorted(query(database, sql), key=repr) for sql in _TABLES]


def csvs(folder: Path) -> dict[str, bytes]:
    """Exported data files by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.csv"))}


def temps(folder: Path) -> list[str]:
    """Temp files below a folder."""
    return [path.name for path in folder.rglob("*.tmp")]


def assert_sound(database: Path) -> int:
    """SQLite finds no fault, and the ledger of every dataset counts the rows that are there; how many symbol-days it knows."""
    assert query(database, "PRAGMA integrity_check") == [("ok",)]
    if not query(database, "SELECT 1 FROM sqlite_master WHERE name = 'symbol_days'"):
        return 0
    for dataset, freq, moment in (
        ("klines", "freq", "open_time"),
        ("metrics", "'5m'", "open_time"),
        ("funding_rates", "''", "funding_time"),
    ):
        counted = query(
            database,
            f"SELECT {freq}, symbol, date({moment} / 1000, 'unixepoch'), count(*) FROM {dataset} GROUP BY 1, 2, 3",
        )
        told = query(
            database,
            "SELECT freq, symbol, date, rows FROM symbol_days WHERE dataset = ? AND rows > 0",
            dataset,
        )
        assert sorted(counted) == sorted(told), dataset
    return int(query(database, "SELECT count(*) FROM symbol_days")[0][0])


def assert_finished(workspace: Workspace, reference: Reference) -> None:
    """The next run finishes the job, and nothing tells that the one before was cut off."""
    outcome = workspace.run(*DOWNLOAD)
    assert (outcome.code, outcome.report["status"]) == (0, "complete"), outcome
    database = workspace.folder / "market.db"
    assert_sound(database)
    for found, wanted in zip(tables(database), reference.tables, strict=True):
        assert found == wanted
    assert workspace.run(*EXPORT).code == 0
    assert csvs(workspace.folder / "exports") == reference.exports
    left = {path.name for path in workspace.folder.iterdir()} - {".state", "exports"}
    assert left == {"universe.json", "market.db", "market.db.lock"}
    assert not temps(workspace.folder)


def freeze_when(process: subprocess.Popen[str], happened: Callable[[], object], seconds: float = 20.0) -> bool:
    """Stop a process (SIGSTOP) at a moment when `happened` holds; False when it ended before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        if happened():
            os.kill(process.pid, signal.SIGSTOP)
            # It may have gone on between the look and the signal.
            if happened():
                return True
            os.kill(process.pid, signal.SIGCONT)
    raise AssertionError("it did not happen")


def helpers_of(run: subprocess.Popen[str]) -> list[int]:
    """Process ids of a run's helpers, which are forked: they are its only children, and have its command line."""
    listing = subprocess.run(["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    children = (line.split(None, 2) for line in listing.splitlines())
    return [int(pid) for pid, parent, *command in children if int(parent) == run.pid and "cryptoservice" in "".join(command)]


def kill(process: subprocess.Popen[str]) -> bool:
    """SIGKILL; True when it was alive."""
    alive = process.poll() is None
    process.kill()
    process.communicate(timeout=30)
    return alive and process.returncode == -signal.SIGKILL


def assert_failure(outcome: Outcome, *words: str, code: int) -> None:
    """Exit code, nothing on stdout, exactly one line `error:` and one `hint:`, which together hold the words; no traceback."""
    assert outcome.code == code, outcome
    assert outcome.stdout == "", outcome
    assert "Traceback" not in outcome.stderr, outcome.stderr
    starts = [line.split(" ", 1)[0] for line in outcome.stderr.splitlines()]
    assert (starts.count("error:"), starts.count("hint:")) == (1, 1), outcome.stderr
    assert "unexpected" not in outcome.stderr, outcome.stderr
    for word in words:
        assert word in outcome.stderr, outcome.stderr


def restricted(workspace: Workspace, *arguments: str, file_bytes: int | None = None, ordinary: bool = False) -> Outcome:
    """The command with a limit on the size of any file, or as an ordinary user, to whom permissions apply."""
    environment = workspace.env()

    def prepare() -> None:
        if file_bytes is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        if ordinary and os.geteuid() == 0:
            for capability in _OVERRIDING:
                _drop(capability)

    if file_bytes is not None:
        # Some Pythons leave a cut-off .pyc behind on a full disk, and stumble over it from then on.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        workspace.command(*arguments), cwd=workspace.folder, env=environment, capture_output=True, text=True, timeout=60,
        check=False, preexec_fn=prepare,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


# DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER: without them root is bound by the permissions of its own files.
_OVERRIDING = (1, 2, 3)
_PR_CAPBSET_DROP = 24


def _drop(capability: int) -> None:
    if ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
        raise OSError("cannot give up a capability")


def need_permissions() -> None:
    """Fail with a hint where a test that runs as root cannot shake that off."""
    if os.geteuid() == 0 and not sys.platform.startswith("linux"):
        pytest.fail("root is bound by no permission here: run the suite as an ordinary user")


def store_minutes(database: Path, symbols: list[str], day: str) -> None:
    """A database with one day of 1m klines for many symbols, written by the product's own hand."""
    from datetime import date

    from cryptoservice.models import Dataset, Status
    from cryptoservice.storage.ledger import Series, SymbolDay
    from cryptoservice.storage.writer import StoreWriter

    start = truth.moment(day)
    rows = [(start + truth.MINUTE * n, 1.5, 1.75, 1.25, 1.5, 1234.5, 23456.75, 17, 55.5, 66.25) for n in range(1440)]
    with StoreWriter.open(database) as store:
        for first in range(0, len(symbols), 50):
            store.write(
                SymbolDay(
                    Series(Dataset.KLINES, "1m", symbol), date.fromisoformat(day), Status.COMPLETE, None, rows, 1440, "daily", 0.0
                )
                for symbol in symbols[first : first + 50]
            )


def dead_pid() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    return ended.pid


def json_file(path: Path) -> Any:
    """A JSON file's content."""
    return json.loads(path.read_text(encoding="utf-8"))
