"""What is remembered of bans."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cryptoservice.binance.http import ban_memory
from cryptoservice.binance.http.ban_memory import BanMemory, default_path
from tests.unit.fakes import FakeClock

ROOT = Path(__file__).resolve().parents[4]
EPOCH = 1_770_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "bans.json"


def memory(path: Path, epoch: float = EPOCH) -> BanMemory:
    return BanMemory(path, FakeClock(epoch))


def test_a_ban_is_known_to_the_next_run_until_it_ends(path: Path) -> None:
    memory(path).remember("a:443", EPOCH + 600)
    assert memory(path).until("a:443") == EPOCH + 600
    assert memory(path, EPOCH + 599).until("a:443") == EPOCH + 600
    assert memory(path, EPOCH + 600).until("a:443") is None
    assert memory(path).until("b:443") is None


def test_hosts_stand_side_by_side_and_expired_ones_are_dropped(path: Path) -> None:
    memory(path).remember("a", EPOCH + 10)
    memory(path).remember("b", EPOCH + 600)
    memory(path, EPOCH + 20).remember("c", EPOCH + 700)
    assert json.loads(path.read_text(encoding="utf-8")) == {"b": EPOCH + 600, "c": EPOCH + 700}


def test_a_shorter_ban_does_not_shorten_a_longer_one(path: Path) -> None:
    memory(path).remember("a", EPOCH + 600)
    memory(path).remember("a", EPOCH + 60)
    assert memory(path).until("a") == EPOCH + 600


# -- several writers at once -----------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from cryptoservice.binance.http.ban_memory import BanMemory
from cryptoservice.clock import Clock
path, name, count, until = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
memory = BanMemory(path, Clock())
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    memory.remember(f"{name}:{number}", until + number)
"""


def test_processes_that_write_at_once_lose_nothing_of_one_another(path: Path) -> None:
    until = float(int(time.time()) + 3600)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), f"host{name}", "8", str(until)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in range(4)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.communicate(timeout=60)[0] for writer in writers] == [""] * 4
    assert [writer.returncode for writer in writers] == [0] * 4
    expected = {f"host{name}:{number}": until + number for name in range(4) for number in range(8)}
    assert json.loads(path.read_text(encoding="utf-8")) == expected
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["bans.json", "bans.json.lock"]


def test_threads_that_write_at_once_lose_nothing_of_one_another(path: Path) -> None:
    start = threading.Barrier(6)

    def write(name: str) -> None:
        made = memory(path)
        start.wait(10)
        for number in range(5):
            made.remember(f"{name}:{number}", EPOCH + 600)

    threads = [threading.Thread(target=write, args=(f"host{name}",)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 30


def test_a_lock_that_is_never_released_does_not_hold_up_the_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ban_memory, "_LONGEST_LOCK_SECONDS", 0.05)
    path.parent.mkdir()
    with path.with_name("bans.json.lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        memory(path).remember("a", EPOCH + 60)
    assert memory(path).until("a") == EPOCH + 60


def test_a_lock_file_that_cannot_be_opened_costs_no_ban(path: Path) -> None:
    path.with_name("bans.json.lock").mkdir(parents=True)
    memory(path).remember("a", EPOCH + 60)
    assert memory(path).until("a") == EPOCH + 60


def test_what_a_killed_run_left_half_written_is_cleaned_up(path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    path.parent.mkdir()
    left_over = path.with_name(f".bans.json.1.{gone.stdout.strip()}.tmp")
    left_over.write_text("{")
    memory(path).remember("a", EPOCH + 60)
    assert not left_over.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b'{"a": "soon"}', b'{"a": null}', b'{"a": true}', b'{"a": NaN}', b'{"a": Infinity}',
        b'{"a": 99999999999}', b'{"a": -1}', b'{"a": 1e999}', b'{"a": 1' + b"0" * 400 + b"}", b"\xff\xfe", b"[" * 100_000,
        b'{"a": {}}', b" " * 300_000,
    ],
    ids=range(17),
)  # fmt: skip
def test_a_damaged_memory_knows_nothing_and_is_written_anew(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert memory(path).until("a") is None
    memory(path).remember("a", EPOCH + 60)
    assert memory(path).until("a") == EPOCH + 60


def test_a_memory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a folder", encoding="utf-8")
    memory(tmp_path / "state" / "bans.json").remember("a", EPOCH + 60)
    assert memory(tmp_path / "state" / "bans.json").until("a") is None


def test_without_a_place_nothing_is_remembered() -> None:
    made = BanMemory(None, FakeClock(EPOCH))
    made.remember("a", EPOCH + 60)
    assert made.until("a") is None


def test_a_user_without_a_home_has_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    assert default_path() is None


def test_where_it_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "cryptoservice" / "bans.json"
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local" / "state" / "cryptoservice" / "bans.json"
