"""Disk full, no permission, something else in the way, a broken database: one line that says so, and nothing lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Workspace
from tests.e2e.crash_steps import (
    DOWNLOAD,
    EXPORT,
    WINDOW,
    Reference,
    assert_failure,
    assert_finished,
    assert_sound,
    csvs,
    make_reference,
    need_permissions,
    restricted,
    tables,
    temps,
)
from tests.e2e.steps import contents, query
from tests.exchange import ReplayExchange

DEFINE = ("universe", "define", "--symbols", "LINKUSDT,AVAXUSDT", "--start-date", "2026-02-01", "--end-date", "2026-02-28",
          "--output", "new.json")  # fmt: skip
DAY = f"exports/klines/freq=5m/date={WINDOW['first']}"
REPORT = f"exports/coverage_5m_{WINDOW['first']}_{WINDOW['last']}.json"


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return make_reference(tmp_path_factory)


@pytest.fixture
def full(workspace: Workspace, reference: Reference) -> Workspace:
    """A workspace with a finished database."""
    reference.give(workspace.folder, "universe.json", "market.db", "market.db.lock")
    return workspace


def forget_a_day(folder: Path) -> None:
    """Take a line out of the ledger, so that the next run has something to write. All rows stay."""
    with contextlib.closing(sqlite3.connect(folder / "market.db")) as db:
        assert db.execute("DELETE FROM ledger WHERE series_id = 1 AND day = (SELECT min(day) FROM ledger)").rowcount == 1
        db.commit()


@pytest.fixture
def tiny_disk(workspace: Workspace) -> Iterator[Path]:
    """A disk of 700 kB inside the workspace."""
    disk = workspace.folder / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    options = [mount or "", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(disk)]
    if mount is None or subprocess.run(options, capture_output=True, check=False).returncode != 0:
        pytest.fail("the slow suite needs the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


# -- disk full ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [pytest.param(0, marks=pytest.mark.slow), 90_000])
def test_download_without_room(workspace: Workspace, reference: Reference, limit: int) -> None:
    reference.give(workspace.folder, "universe.json")
    outcome = restricted(workspace, *DOWNLOAD, file_bytes=limit)
    assert_failure(outcome, "free some space", code=1)
    database = workspace.folder / "market.db"
    known = assert_sound(database) if database.exists() else 0
    assert known < 54
    assert_finished(workspace, reference)


def test_what_was_there_survives_a_full_disk(workspace: Workspace, reference: Reference) -> None:
    reference.give(workspace.folder, "universe.json")
    assert workspace.run(*DOWNLOAD, "--end-date", "2026-02-06").code == 0
    database = workspace.folder / "market.db"
    before = tables(database)
    for flags in ((), ("--no-incremental",)):
        assert_failure(restricted(workspace, *DOWNLOAD, *flags, file_bytes=60_000), code=1)
        assert_sound(database)
        for found, kept in zip(tables(database), before, strict=True):
            assert {repr(row) for row in kept} <= {repr(row) for row in found}
    assert_finished(workspace, reference)


@pytest.mark.slow
def test_download_onto_a_really_full_disk(workspace: Workspace, reference: Reference, tiny_disk: Path) -> None:
    reference.give(workspace.folder, "universe.json")
    flags = (*DOWNLOAD[:5], "disk/market.db", *DOWNLOAD[6:])
    assert workspace.run(*flags, "--end-date", WINDOW["first"]).code == 0
    database = tiny_disk / "market.db"
    assert_failure(workspace.run(*flags), "disk/market.db", "free some space", code=1)
    known = assert_sound(database)
    assert known >= 9, "what had room is kept"
    # Without room the next run fails in the same way and harms nothing.
    assert_failure(workspace.run(*flags), "free some space", code=1)
    assert assert_sound(database) >= known
    subprocess.run(["mount", "-o", "remount,size=20m", str(tiny_disk)], check=True)
    assert workspace.run(*flags).code == 0
    assert_sound(database)
    # A day that was fetched alone came from another archive object: the rows are the same, their origin is not.
    assert tables(database)[:3] == reference.tables[:3]


@pytest.mark.parametrize("limit", [pytest.param(0, marks=pytest.mark.slow), 1_000])
def test_export_and_define_without_room(full: Workspace, reference: Reference, limit: int) -> None:
    assert_failure(restricted(full, *EXPORT, file_bytes=limit), "cannot write", "free some space", code=1)
    assert not csvs(full.folder / "exports")
    assert_failure(restricted(full, *DEFINE, file_bytes=limit), "cannot write", "new.json", "free some space", code=1)
    assert not (full.folder / "new.json").exists()
    assert not temps(full.folder)
    assert_finished(full, reference)


def test_a_full_disk_leaves_the_files_of_the_export_before(full: Workspace, reference: Reference) -> None:
    assert full.run(*EXPORT).code == 0
    assert_failure(restricted(full, *EXPORT, file_bytes=5_000), code=1)
    assert csvs(full.folder / "exports") == reference.exports


def test_nobody_takes_the_report(full: Workspace) -> None:
    """stdout on a full disk: an exit code of the contract, and no words of the interpreter's own."""
    with Path("/dev/full").open("w") as target:
        done = subprocess.run(full.command(*EXPORT), cwd=full.folder, env=full.env(), stdout=target, stderr=subprocess.PIPE,
                              text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stderr.count("error:")) == (1, 1)
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream(full: Workspace, closed: int) -> None:
    """`>&-` and `2>&-`, as some supervisors start their children: no traceback, and never a failure after good work."""
    command = " ".join(full.command(*EXPORT)) + f" {closed}>&-"
    done = subprocess.run(["sh", "-c", command], cwd=full.folder, env=full.env(), capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in ((0, 1) if closed == 1 else (0,))


# -- permissions -------------------------------------------------------------------------------------------------------


def test_no_permission(full: Workspace, reference: Reference) -> None:
    folder = full.folder
    need_permissions()
    database, lock = folder / "market.db", folder / "market.db.lock"
    forget_a_day(folder)
    before = database.read_bytes()
    permissions = "check the permissions"
    lock.chmod(0o444)
    assert_failure(restricted(full, *DOWNLOAD, ordinary=True), "market.db.lock", permissions, code=1)
    lock.chmod(0o644)
    database.chmod(0o444)
    assert_failure(restricted(full, *DOWNLOAD, ordinary=True), "market.db", permissions, code=1)
    database.chmod(0o000)
    assert_failure(restricted(full, *DOWNLOAD, ordinary=True), "market.db", permissions, code=1)
    assert_failure(restricted(full, *EXPORT, ordinary=True), "market.db", permissions, code=1)
    database.chmod(0o644)
    (folder / "universe.json").chmod(0o000)
    assert_failure(restricted(full, *DOWNLOAD, ordinary=True), "universe.json", "permission", code=2)
    assert_failure(restricted(full, *EXPORT, ordinary=True), "universe.json", "permission", code=2)
    (folder / "universe.json").chmod(0o444)
    assert database.read_bytes() == before
    assert not (folder / "exports").exists()
    assert restricted(full, *DOWNLOAD, ordinary=True).code == 0
    assert tables(database) == reference.tables


def test_a_read_only_folder(full: Workspace, reference: Reference) -> None:
    folder = full.folder
    need_permissions()
    forget_a_day(folder)
    folder.chmod(0o555)
    try:
        before = contents(folder)
        # The lock file itself may be written to: it names the last run that tried.
        del before["market.db.lock"]
        assert_failure(restricted(full, *DOWNLOAD, ordinary=True), "market.db", "check the permissions", code=1)
        fresh = (*DOWNLOAD[:5], "fresh.db", *DOWNLOAD[6:])
        assert_failure(restricted(full, *fresh, ordinary=True), "fresh.db", "check the permissions", code=1)
        assert_failure(restricted(full, *EXPORT, ordinary=True), "exports", "check the permissions", code=1)
        assert_failure(restricted(full, *DEFINE, ordinary=True), "new.json", "check the permissions", code=1)
        assert contents(folder).items() >= before.items()
        assert not (folder / "exports").exists()
    finally:
        folder.chmod(0o755)
    assert restricted(full, *EXPORT, ordinary=True).code == 0
    assert csvs(folder / "exports") == reference.exports


def test_a_read_only_shelf_with_the_log_of_a_killed_run(full: Workspace, reference: Reference) -> None:
    """-wal and -shm lie beside the database, all read-only: export reads what the log holds, or says what is missing."""
    folder = full.folder
    shelf = folder / "shelf"
    shelf.mkdir()
    db = sqlite3.connect(folder / "market.db")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE touched (x)")
    db.commit()
    for path in folder.glob("market.db*"):
        shutil.copy(path, shelf / path.name)
    db.close()
    assert (shelf / "market.db-wal").stat().st_size > 0
    need_permissions()
    for path in shelf.iterdir():
        path.chmod(0o444)
    shelf.chmod(0o555)
    command = (*EXPORT[:5], "shelf/market.db", *EXPORT[6:])
    try:
        outcome = restricted(full, *command, ordinary=True)
        assert outcome.code == 0, outcome
        assert csvs(folder / "exports") == reference.exports
    finally:
        shelf.chmod(0o755)


# -- something else in the way -----------------------------------------------------------------------------------------


def test_a_folder_in_the_way(full: Workspace, reference: Reference) -> None:
    folder = full.folder
    for name in ("folder.db", "new.json", f"{DAY}/klines.csv/x", REPORT, "locked.db.lock"):
        (folder / name).mkdir(parents=True)
    assert_failure(full.run(*DOWNLOAD[:5], "folder.db", *DOWNLOAD[6:]), "folder.db", code=2)
    assert_failure(full.run(*DOWNLOAD[:5], "locked.db", *DOWNLOAD[6:]), "locked.db.lock", code=1)
    assert_failure(full.run(*EXPORT[:5], "folder.db", *EXPORT[6:]), "folder.db", code=2)
    assert_failure(full.run(*DEFINE), "new.json", code=2)
    assert_failure(full.run(*DEFINE, "--force"), "new.json", code=2)
    assert_failure(full.run(*EXPORT), "klines.csv", code=1)
    (folder / DAY / "klines.csv" / "x").rmdir()
    (folder / DAY / "klines.csv").rmdir()
    assert_failure(full.run(*EXPORT), REPORT.rsplit("/", 1)[-1], code=1)
    assert csvs(folder / "exports") == reference.exports
    assert not temps(folder)
    (folder / REPORT).rmdir()
    for name in ("folder.db", "new.json", "locked.db.lock"):
        (folder / name).rmdir()
    for left in folder.glob("*.db.lock"):
        left.unlink()
    assert_finished(full, reference)


@pytest.mark.slow
def test_a_file_in_the_way(full: Workspace, reference: Reference) -> None:
    (full.folder / "exports").write_text("mine")
    assert_failure(full.run(*EXPORT), "exports", code=2)
    assert_failure(full.run(*DOWNLOAD[:5], "universe.json/market.db", *DOWNLOAD[6:]), "universe.json", code=1)
    assert_failure(full.run(*DEFINE[:-1], "universe.json/new.json"), "universe.json", code=1)
    assert (full.folder / "exports").read_text() == "mine"
    (full.folder / "exports").unlink()
    (full.folder / DAY).parent.mkdir(parents=True)
    (full.folder / DAY).write_text("mine")
    assert_failure(full.run(*EXPORT), DAY.rsplit("/", 1)[-1], code=1)
    (full.folder / DAY).unlink()
    assert_finished(full, reference)


@pytest.mark.parametrize("name", [".", "/", ""])
def test_a_path_that_names_no_file(full: Workspace, name: str) -> None:
    outcome = full.run(*DOWNLOAD[:5], name, *DOWNLOAD[6:])
    assert_failure(outcome, code=outcome.code)
    assert outcome.code in (1, 2)


@pytest.mark.parametrize("name", [":memory:", "file:kept.db", "file:kept.db?mode=memory"])
def test_a_name_that_sqlite_reads_its_own_way(workspace: Workspace, reference: Reference, name: str) -> None:
    """It is a file name like any other, or refused: never a database that vanishes with the run that filled it."""
    reference.give(workspace.folder, "universe.json")
    outcome = workspace.run(*DOWNLOAD[:5], name, *DOWNLOAD[6:])
    if outcome.code == 0:
        assert (workspace.folder / name).is_file()
        assert workspace.run(*EXPORT[:5], name, *EXPORT[6:]).code == 0
    else:
        assert_failure(outcome, code=2)


# -- broken databases --------------------------------------------------------------------------------------------------


def _not_sqlite(path: Path) -> None:
    path.write_bytes(b"symbol,open_time\n" * 500)


def _foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _corrupt(path: Path) -> None:
    # The leaves in mid-file are overwritten, the header and the root pages at the start are not.
    size = path.stat().st_size
    with path.open("r+b") as handle:
        for page in range(size // 4096 // 4, size // 4096 - 2):
            handle.seek(page * 4096)
            handle.write(b"\xa5" * 4096)


BROKEN = {
    "not SQLite": (_not_sqlite, "not a database"),
    "another program's": (_foreign, "was not written by cryptoservice"),
    "newer schema": (_newer, "99"),
    "cut off": (_cut, "malformed"),
    "corrupt pages": (_corrupt, "malformed"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_database(full: Workspace, exchange: ReplayExchange, reference: Reference, kind: str) -> None:
    database = full.folder / "market.db"
    breaks, words = BROKEN[kind]
    breaks(database)
    before = database.read_bytes()
    assert_failure(full.run(*EXPORT), "market.db", words, code=1)
    assert not csvs(full.folder / "exports") or kind in ("cut off", "corrupt pages")
    assert csvs(full.folder / "exports").items() <= reference.exports.items()
    assert not list(full.folder.glob("exports/coverage*"))
    assert_failure(full.run(*DOWNLOAD, "--no-incremental"), "market.db", words, code=1)
    if kind not in ("cut off", "corrupt pages"):
        assert database.read_bytes() == before, "what is not ours stays as it is"
        assert exchange.requests == []
    assert {path.name for path in full.folder.glob("market.db*")} <= {
        "market.db",
        "market.db.lock",
        "market.db-wal",
        "market.db-shm",
    }
    for path in full.folder.glob("market.db*"):
        path.unlink()
    reference.give(full.folder, "market.db")
    assert full.run(*EXPORT).code == 0
    assert csvs(full.folder / "exports") == reference.exports


def test_an_empty_file_is_an_empty_database(workspace: Workspace, reference: Reference) -> None:
    reference.give(workspace.folder, "universe.json")
    (workspace.folder / "market.db").touch()
    assert_failure(workspace.run(*EXPORT), "is empty", code=1)
    assert (workspace.folder / "market.db").read_bytes() == b""
    assert_finished(workspace, reference)


def test_rows_that_someone_took_away_are_noticed_by_the_report(full: Workspace) -> None:
    """The ledger says complete, the rows are not all there: exported as they are, and reported."""
    database = full.folder / "market.db"
    with sqlite3.connect(database) as db:
        db.execute("DELETE FROM kline_rows WHERE open_time % 86400000 < 3600000")
    db.close()
    outcome = full.run(*EXPORT)
    assert outcome.code == 0, outcome
    assert outcome.report["summary"]["partial"] == 18
    assert query(database, "PRAGMA integrity_check") == [("ok",)]
