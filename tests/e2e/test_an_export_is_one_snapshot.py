"""While another process commits without a pause, every export, and every lock, holds the prices of one single commit."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cryptoservice import export_universe_data
from tests.e2e.conftest import ROOT, Workspace
from tests.e2e.steps import wait_until, write_universe
from tests.unit.audit.dataset_lock import by_hand
from tests.unit.fakes import FEBRUARY_MS

SYMBOLS = tuple(f"S{number:02}USDT" for number in range(20))
# 144,000 rows would be stored if all were there: enough for helpers to be used. A day is a batch.
FIRST, LAST, DAYS = "2026-02-01", "2026-02-05", 5
FILES = ("--universe-file", "universe.json", "--db-path", "market.db", "--source-freq", "1m", "--export-freq", "1m")

# Every commit gives each row of each symbol-day another price, the number of the commit.
WRITER = """
import sys, threading
from datetime import date, timedelta
from pathlib import Path
from cryptoservice.models import Dataset, Status
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter

end = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
symbols = [f"S{number:02}USDT" for number in range(20)]
start = 1_769_904_000_000
with StoreWriter.open(Path(sys.argv[1])) as store:
    count = 0
    while not end.is_set():
        count += 1
        price = float(count)
        store.write(
            SymbolDay(
                Series(Dataset.KLINES, "1m", symbol), date(2026, 2, 1) + timedelta(days=day), Status.INCOMPLETE, None,
                [(start + day * 86_400_000 + minute * 60_000, *[price] * 6, 1, 1.0, 1.0) for minute in range(3)],
                1440, "daily", 0.0,
            )
            for symbol in symbols for day in range(5)
        )
        print(count, flush=True)
"""


@pytest.fixture
def committed(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """A process that commits as long as the test lasts; gives the number of its last commit that is known."""
    write_universe(tmp_path, SYMBOLS, FIRST, LAST)
    log = tmp_path / "commits.log"
    with log.open("w") as said:
        command = [sys.executable, "-c", WRITER, str(tmp_path / "market.db")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, env=environment) as writer:
            wait_until(lambda: log.stat().st_size > 0)
            yield lambda: int(log.read_text().split()[-1])
            assert writer.poll() is None, "it has not committed to the end"
            writer.communicate()
            assert writer.returncode == 0


def assert_one_commit(folder: Path, between: tuple[int, int]) -> None:
    """All prices of the export are one number, that of a commit of its time; and every row is there."""
    paths = list(folder.rglob("klines.csv"))
    assert len(paths) == DAYS
    lines = [line for path in paths for line in path.read_text().splitlines()[1:]]
    assert len(lines) == DAYS * len(SYMBOLS) * 3
    prices = {float(line.split(",")[column]) for line in lines for column in range(2, 8)}
    assert len(prices) == 1, f"prices of {len(prices)} commits in one export"
    assert between[0] <= prices.pop() <= between[1] + 1
    (report,) = folder.glob("coverage_*.json")
    assert json.loads(report.read_text())["summary"]["exported_bars"] == len(lines)


def test_the_command(workspace: Workspace, committed: Callable[[], int]) -> None:
    for number in range(6):
        before = committed()
        outcome = workspace.run("universe", "export", *FILES, "--export-base-path", f"out{number}")
        assert outcome.code == 0, outcome
        assert_one_commit(workspace.folder / f"out{number}", (before, committed()))
        assert committed() > before + 1, "the writer was slower than the export"


def digest_of_commit(number: int) -> str:
    """The digest of a symbol's rows as that commit wrote them."""
    times = (FEBRUARY_MS + day * 86_400_000 + minute * 60_000 for day in range(DAYS) for minute in range(3))
    rows = [by_hand.record("qddddddqdd", (time, *[float(number)] * 6, 1, 1.0, 1.0)) for time in times]
    return hashlib.sha256(b"".join(rows)).hexdigest()


def test_a_lock(workspace: Workspace, committed: Callable[[], int]) -> None:
    for number in range(4):
        before = committed()
        outcome = workspace.run("universe", "lock", *FILES[:4], "--output", f"lock{number}.json")
        assert outcome.code == 0, outcome
        record = json.loads((workspace.folder / f"lock{number}.json").read_text())
        digests = {months["2026-02"] for months in record["datasets"]["klines/1m"].values()}
        assert len(digests) == 1
        assert digests <= {digest_of_commit(commit) for commit in range(before, committed() + 2)}
        assert committed() > before + 1, "the writer was slower than the lock"


class Counting(Executor):
    """Counts the batches that workers have written."""

    def __init__(self, inner: Executor) -> None:
        self.inner = inner
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = self.inner.submit(fn, *args, **kwargs)
        self.futures.append(future)
        return future

    def batches(self) -> int:
        return sum(isinstance(future.result(), list) for future in self.futures if not future.cancelled())


@pytest.mark.parametrize(
    "make",
    [
        lambda: ThreadPoolExecutor(1),
        lambda: ThreadPoolExecutor(3),
        lambda: ProcessPoolExecutor(1),
        lambda: ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")),
    ],
    ids=["a thread", "three threads", "a forked process", "three spawned processes"],
)
def test_any_executor_that_lives_longer(
    tmp_path: Path, committed: Callable[[], int], make: Callable[[], AbstractContextManager[Executor]]
) -> None:
    database, batches = tmp_path / "market.db", 0
    with make() as pool:
        for number in range(8):
            before, executor = committed(), Counting(pool)
            export_universe_data(
                tmp_path / "universe.json", database, tmp_path / f"out{number}",
                source_freq="1m", export_freq="1m", executor=executor,
            )  # fmt: skip
            assert_one_commit(tmp_path / f"out{number}", (before, committed()))
            batches += executor.batches()
            assert open_connections(database) <= WRITERS
    assert batches > 0, "no worker has written anything"


WRITERS = 1


def open_connections(database: Path) -> int:
    """How many processes of this machine have the database open."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            count += any(os.readlink(entry) == str(database) for entry in folder.iterdir())
        except OSError:
            continue
    return count
