"""One snapshot for a run and its workers: who sees it, who is refused, and that nothing stays open."""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from cryptoservice.storage.snapshot import Snapshot, SnapshotKey, can_see, shared_reader
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import FEBRUARY
from tests.unit.storage.samples import BTC, minutes, run_script, symbol_day, written


@pytest.fixture
def writer(path: Path) -> Iterator[StoreWriter]:
    """Has written once, and can write while others read."""
    with StoreWriter.open(path) as store:
        store.write([symbol_day(BTC, minutes(0))])
        yield store


def price_seen(key: SnapshotKey) -> float | None:
    """What a worker sees: the price of the first row."""
    with shared_reader(key) as reader:
        return None if reader is None else float(reader.rows(BTC, FEBRUARY)[0][1])


def descriptors(path: Path) -> int:
    """How many descriptors of the database and its log this process has."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            count += os.readlink(entry).startswith(str(path))
    return count


def key_of(snapshot: Snapshot) -> SnapshotKey:
    assert snapshot.key is not None
    return snapshot.key


def test_workers_that_saw_the_snapshot_keep_it_and_others_are_refused(path: Path, writer: StoreWriter) -> None:
    with Snapshot.open(path) as snapshot, ThreadPoolExecutor(1) as early, ThreadPoolExecutor(1) as late:
        key = key_of(snapshot)
        assert early.submit(can_see, key).result()
        assert snapshot.is_latest()
        writer.write([symbol_day(BTC, minutes(0, price=2.0))])
        assert not snapshot.is_latest()
        assert early.submit(price_seen, key).result() == 1.0
        assert snapshot.store.rows(BTC, FEBRUARY) == minutes(0)
        assert late.submit(price_seen, key).result() is None
        snapshot.renew()
        assert snapshot.is_latest()
        assert [pool.submit(price_seen, key_of(snapshot)).result() for pool in (early, late)] == [2.0, 2.0]
        assert early.submit(price_seen, key).result() is None, "what was replaced is no longer kept"


def test_at_its_end_no_worker_has_the_database_open(path: Path) -> None:
    written(path, symbol_day(BTC, minutes(0)))
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            with Snapshot.open(path) as snapshot:
                barrier = threading.Barrier(4)

                def see(key: SnapshotKey, barrier: threading.Barrier = barrier) -> bool:
                    barrier.wait(10)
                    return can_see(key)

                assert all(pool.map(see, [key_of(snapshot)] * 4))
                assert descriptors(path) > 4
            assert descriptors(path) == 0


def test_a_worker_closes_it_when_the_run_is_killed(path: Path) -> None:
    written(path, symbol_day(BTC, minutes(0)))
    code = (
        "import sys; from pathlib import Path; from cryptoservice.storage.snapshot import Snapshot\n"
        "with Snapshot.open(Path(sys.argv[1])) as snapshot:\n"
        "    print(snapshot.key.commits, snapshot.key.address[1:], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        commits, name = run.stdout.readline().split()
        key = SnapshotKey(path, int(commits), f"\0{name}")
        assert can_see(key)
        assert descriptors(path) > 0
        (ending,) = (thread for thread in threading.enumerate() if thread.name == "end of snapshot")
        run.kill()
    ending.join(10)
    assert descriptors(path) == 0
    assert not can_see(key)


def test_a_process_that_was_forked_from_an_open_snapshot_is_refused(path: Path, writer: StoreWriter) -> None:
    """SQLite would take the locks and the maps of its parent for its own."""
    with ProcessPoolExecutor(1) as early:
        early.submit(os.getpid).result()
        with Snapshot.open(path) as snapshot:
            child = os.fork()
            if not child:
                os._exit(0 if can_see(key_of(snapshot)) else 7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert early.submit(price_seen, key_of(snapshot)).result() == 1.0


def test_any_program_that_commits_is_noticed_by_the_run(path: Path, writer: StoreWriter) -> None:
    with Snapshot.open(path) as snapshot:
        run_script(path, "UPDATE kline_rows SET open = 9.0")
        assert not snapshot.is_latest()
        # It has not counted its commit, so a worker cannot know: that is why the run looks as well.
        assert can_see(key_of(snapshot))


def test_an_older_database_and_a_system_without_local_sockets_have_no_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(path, symbol_day(BTC, minutes(0)))
    with monkeypatch.context() as bare, Snapshot.open(path) as snapshot:
        assert snapshot.key is not None
        bare.delattr(socket, "AF_UNIX")
        snapshot.renew()
        assert snapshot.key is None
        assert snapshot.store.rows(BTC, FEBRUARY) == minutes(0)
    run_script(path, "DROP TABLE commits; PRAGMA user_version = 1")
    with Snapshot.open(path) as snapshot:
        assert (snapshot.key, snapshot.store.commits()) == (None, None)


def test_what_cannot_be_opened_leaves_nothing_open(path: Path, tmp_path: Path) -> None:
    assert not can_see(SnapshotKey(tmp_path / "absent.db", 0, "\0nobody listens here"))
    written(path, symbol_day(BTC, minutes(0)))
    with Snapshot.open(path) as snapshot:
        path.rename(tmp_path / "gone.db")
        assert not can_see(key_of(snapshot))
        (tmp_path / "gone.db").rename(path)
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("SELECT count FROM commits").fetchall() == [(snapshot.store.commits(),)]
    assert descriptors(path) == 0
