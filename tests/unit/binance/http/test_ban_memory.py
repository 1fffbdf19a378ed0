"""What is remembered of bans."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cryptoservice.binance.http.ban_memory import BanMemory, default_path
from tests.unit.fakes import FakeClock

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
