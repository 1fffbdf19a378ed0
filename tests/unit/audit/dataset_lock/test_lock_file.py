"""The lock file: its bytes, and every way in which one can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.audit.dataset_lock.digests import MonthDigest, SymbolMonth
from cryptoservice.audit.dataset_lock.lock_file import DatasetLock, LockError, load, save
from cryptoservice.days import Window
from cryptoservice.errors import Remedy
from cryptoservice.files import TargetExists
from tests.unit.audit.dataset_lock import by_hand

ONE, TWO, THREE = "1" * 64, "2" * 64, "3" * 64
MARKS = " ".join(["-"] * 27 + ["0123abcd"])
OBJECTS = [("data/a.zip", "a" * 64), ("data/币.zip", "b" * 64)]
LOCK = DatasetLock(
    "c" * 64,
    Window(date(2026, 2, 28), date(2026, 3, 1)),
    {
        SymbolMonth("metrics/5m", "币USDT", "2026-02"): MonthDigest(TWO, MARKS),
        SymbolMonth("klines/5m", "BUSDT", "2026-03"): MonthDigest(ONE, "0123abcd" + " -" * 30),
        SymbolMonth("klines/5m", "BUSDT", "2026-02"): MonthDigest(THREE, MARKS),
    },
)
TREE = {"klines/5m": {"BUSDT": {"2026-02": THREE, "2026-03": ONE}}, "metrics/5m": {"币USDT": {"2026-02": TWO}}}
ROOT = by_hand.root(TREE)
TEXT = f"""{{
  "lock_version": "1.0",
  "root": "{ROOT}",
  "universe_sha256": "{"c" * 64}",
  "window": {{"start_date": "2026-02-28", "end_date": "2026-03-01"}},
  "datasets": {{
    "klines/5m": {{
      "BUSDT": {{
        "2026-02": "{THREE}",
        "2026-03": "{ONE}"
      }}
    }},
    "metrics/5m": {{
      "币USDT": {{
        "2026-02": "{TWO}"
      }}
    }}
  }},
  "days": {{
    "klines/5m": {{
      "BUSDT": {{
        "2026-02": "{MARKS}",
        "2026-03": "0123abcd{" -" * 30}"
      }}
    }},
    "metrics/5m": {{
      "币USDT": {{
        "2026-02": "{MARKS}"
      }}
    }}
  }},
  "objects": [
    {{"name": "data/a.zip", "sha256": "{"a" * 64}"}},
    {{"name": "data/币.zip", "sha256": "{"b" * 64}"}}
  ]
}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "dataset.lock.json"


def test_the_bytes_of_a_lock(path: Path) -> None:
    assert save(LOCK, OBJECTS, path, force=False) == 2
    assert path.read_text(encoding="utf-8") == TEXT
    record = json.loads(TEXT)
    assert (record["datasets"], record["root"]) == (TREE, LOCK.root)
    assert load(path) == LOCK
    assert save(LOCK, iter(OBJECTS), path, force=True) == 2
    assert path.read_text(encoding="utf-8") == TEXT
    assert list(path.parent.iterdir()) == [path]


def test_a_lock_without_objects(path: Path) -> None:
    assert save(LOCK, (), path, force=False) == 0
    assert path.read_text(encoding="utf-8").endswith('  },\n  "objects": []\n}\n')
    assert load(path) == LOCK


def test_an_existing_file_is_replaced_only_by_force(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(TargetExists):
        save(LOCK, OBJECTS, path, force=False)
    assert path.read_text() == "mine"
    save(LOCK, OBJECTS, path, force=True)
    assert load(path) == LOCK


def test_a_failure_while_objects_are_listed_leaves_nothing(path: Path) -> None:
    def objects() -> Any:
        yield OBJECTS[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save(LOCK, objects(), path, force=False)
    assert list(path.parent.iterdir()) == []


def test_keys_may_be_added_and_days_left_out(path: Path) -> None:
    path.parent.mkdir()
    record = json.loads(TEXT)
    del record["days"]
    record["note"] = {"by": "somebody"}
    path.write_text(json.dumps(record))
    lock = load(path)
    assert lock.root == ROOT
    assert {digest.marks for digest in lock.digests.values()} == {""}


Change = Callable[[dict[str, Any]], object]
CHANGES: dict[str, tuple[Change, str]] = {
    "no version": (lambda record: record.pop("lock_version"), "lock_version is missing"),
    "another version": (lambda record: record.update(lock_version="2.0"), "lock_version is '2.0', not '1.0'"),
    "a number as version": (lambda record: record.update(lock_version=1.0), "lock_version is 1.0, not '1.0'"),
    "no universe": (lambda record: record.pop("universe_sha256"), "universe_sha256 is not a SHA-256"),
    "capitals": (lambda record: record.update(universe_sha256="C" * 64), "universe_sha256 is not a SHA-256"),
    "no window": (lambda record: record.pop("window"), "window is not an object"),
    "half a window": (lambda record: record["window"].pop("end_date"), "window: end date: '' is not a date"),
    "a number as day": (lambda record: record["window"].update(end_date=5), "window: end date: 5 is not a date"),
    "a reversed window": (lambda record: record["window"].update(end_date="2026-01-01"), "window: the end date 2026-01-01 lies"),
    "no datasets": (lambda record: record.pop("datasets"), "datasets is not an object"),
    "a list of symbols": (lambda record: record["datasets"].update({"klines/5m": []}), "datasets: klines/5m is not an object"),
    "a text of months": (lambda record: record["datasets"]["klines/5m"].update(BUSDT=""), "klines/5m BUSDT is not an object"),
    "a month that is none": (lambda record: record["datasets"]["klines/5m"]["BUSDT"].update({"2026-13": ONE}), "such as 2024-10"),
    "a number as digest": (lambda record: record["datasets"]["klines/5m"]["BUSDT"].update({"2026-02": 1}), "such as 2024-10"),
    "half a digest": (lambda record: record["datasets"]["klines/5m"]["BUSDT"].update({"2026-02": "1"}), "2026-02 has no digest"),
    "a list of days": (lambda record: record.update(days=[]), "days is not an object"),
    "odd marks": (lambda record: record["days"]["klines/5m"]["BUSDT"].update({"2026-02": "- 1"}), "2026-02 has no digest"),
    "no objects": (lambda record: record.pop("objects"), "objects is not a list"),
    "objects that are none": (lambda record: record.update(objects=[True]), "objects is not a list"),
    "an object without its name": (lambda record: record["objects"][0].update(name=None), "is no archive object"),
    "an object without its digest": (lambda record: record["objects"][0].update(sha256="x"), "is no archive object"),
    "no root": (lambda record: record.pop("root"), "root is not that of the digests"),
    "another root": (lambda record: record.update(root=ONE), "root is not that of the digests"),
    "another digest": (lambda record: record["datasets"]["klines/5m"]["BUSDT"].update({"2026-02": ONE}), "root is not that"),
    "a digest less": (lambda record: record["datasets"].pop("metrics/5m"), "root is not that of the digests"),
    "half a character": (lambda record: record["datasets"].update({"\ud800": {"A": {"2026-02": ONE}}}), "half of a character"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_lock_that_breaks_a_rule_is_refused(path: Path, name: str) -> None:
    change, words = CHANGES[name]
    record = json.loads(TEXT)
    change(record)
    path.parent.mkdir()
    path.write_text(json.dumps(record))
    with pytest.raises(LockError) as caught:
        load(path)
    assert caught.value.message.startswith(f"lock file {path}: ")
    assert words in caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON at line 1 column 1"),
        (TEXT.encode()[:-40], "not JSON at line "),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"[" * 100_000, "not a dataset lock: nested too deeply"),
        (b"[]", "not a JSON object"),
        (b'{"lock_version": "1.0", "lock_version": "1.0"}', "a key appears twice"),
    ],
    ids=["empty", "cut off", "another encoding", "deep", "a list", "twice"],
)
def test_a_file_that_is_no_lock_is_refused(path: Path, content: bytes, words: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(LockError, match=words) as caught:
        load(path)
    assert caught.value.remedy is Remedy.LOCK_FIRST


def test_a_file_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(LockError, match="does not exist") as caught:
        load(path)
    assert caught.value.remedy is Remedy.LOCK_FIRST
    path.mkdir(parents=True)
    with pytest.raises(LockError, match="is a folder"):
        load(path)
