"""A folder that a group shares: what one of them writes, the others can go on with; and what was private stays private."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import FEBRUARY, Workspace
from tests.e2e.steps import wait_until
from tests.exchange import Fault, ReplayExchange

FILES = ("--universe-file", "universe.json", "--db-path", "deep/market.db")
DEFINE = ("universe", "define", "--symbols", "LINKUSDT", *FEBRUARY, "--output", "universe.json")
DOWNLOAD = ("universe", "download", *FILES, "--interval", "1h")
EXPORT = (
    "universe", "export", *FILES, "--export-base-path", "out", "--source-freq", "1h", "--export-freq", "1h", "--coverage-html",
)  # fmt: skip
LOCK = ("universe", "lock", *FILES, "--output", "lock.json")


def start(workspace: Workspace, umask: int, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        workspace.command(*arguments), cwd=workspace.folder, env=workspace.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=lambda: os.umask(umask) and None,
    )  # fmt: skip


def run(workspace: Workspace, umask: int, *arguments: str) -> int:
    running = start(workspace, umask, *arguments)
    running.communicate(timeout=60)
    return running.returncode


def modes(folder: Path) -> dict[str, int]:
    """The permissions of every file and folder below this one."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize("umask", [0o002, 0o027, 0o077])
def test_what_is_new(workspace: Workspace, exchange: ReplayExchange, umask: int) -> None:
    assert run(workspace, umask, *DEFINE) == 0
    # While it runs, SQLite has its log and its index beside the database, and they must be as open as it is.
    exchange.latency = 0.2
    downloading = start(workspace, umask, *DOWNLOAD, "--kline-source", "api", "--max-api-workers", "1")
    wait_until(lambda: (workspace.folder / "deep/market.db-shm").exists())
    found = modes(workspace.folder)
    downloading.communicate(timeout=60)
    assert downloading.returncode == 0
    exchange.latency = 0.0
    for command in (EXPORT, LOCK):
        assert run(workspace, umask, *command) == 0
    exchange.faults.add(Fault.banned(int((time.time() + 3600) * 1000), host="api", times=None))
    assert run(workspace, umask, *DOWNLOAD[:-1], "4h", "--kline-source", "api") == 4
    found.update(modes(workspace.folder))
    for name in (
        "universe.json", "deep/market.db", "deep/market.db-wal", "deep/market.db-shm", "deep/market.db.lock", "lock.json",
        "out/klines/freq=1h/date=2026-02-01/klines.csv", "out/coverage_1h_2026-02-01_2026-02-28.json",
        "out/coverage_1h_2026-02-01_2026-02-28.html", "out/datapackage_1h_2026-02-01_2026-02-28.json",
        ".state/cryptoservice/bans.json", ".state/cryptoservice/bans.json.lock",
    ):  # fmt: skip
        assert found[name] == 0o666 & ~umask, name
    for name, mode in found.items():
        assert mode in (0o666 & ~umask, 0o777 & ~umask), name


def test_what_is_replaced_keeps_its_permissions(workspace: Workspace) -> None:
    for command in (DEFINE, DOWNLOAD, EXPORT, LOCK):
        assert run(workspace, 0o022, *command) == 0
    named = {
        "universe.json": 0o444, "lock.json": 0o640, "out/klines/freq=1h/date=2026-02-01/klines.csv": 0o664,
        "out/coverage_1h_2026-02-01_2026-02-28.json": 0o600, "deep/market.db": 0o664,
    }  # fmt: skip
    for name, mode in named.items():
        (workspace.folder / name).chmod(mode)
    before = (workspace.folder / "out/coverage_1h_2026-02-01_2026-02-28.json").stat().st_ino
    for command in ((*DEFINE, "--force"), (*DOWNLOAD, "--no-incremental"), EXPORT, (*LOCK, "--force")):
        assert run(workspace, 0o027, *command) == 0
    assert (workspace.folder / "out/coverage_1h_2026-02-01_2026-02-28.json").stat().st_ino != before, "it was replaced"
    found = modes(workspace.folder)
    assert {name: found[name] for name in named} == named
