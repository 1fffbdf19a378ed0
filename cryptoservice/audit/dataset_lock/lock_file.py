"""The lock file: a dataset's digests as JSON that diffs well, written whole or not at all, and read with every rule checked."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from cryptoservice import files
from cryptoservice.audit.dataset_lock.digests import MonthDigest, SymbolMonth, root_of
from cryptoservice.days import Window, shorten
from cryptoservice.errors import Remedy, UsageError
from cryptoservice.universe.inputs import input_name, read_input

LOCK_VERSION = "1.0"
_WHAT = "lock file"
# Each daily archive object is a line of 160 bytes: 900 symbols with metrics over six years are about 350 MB.
_MAX_FILE_BYTES = 512 * 1024 * 1024
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])\Z")
_MARKS = re.compile(r"(?:-|[0-9a-f]{8})(?: (?:-|[0-9a-f]{8})){27,30}\Z")
_OBJECT_KEYS = {"name", "sha256"}
_OBJECT = object()
"""Stands for an archive object that was read and checked."""


class LockError(UsageError):
    """The lock file cannot be read, breaks its format, or is that of something else; the message says which."""


@dataclass(frozen=True)
class DatasetLock:
    """What a lock file says, but for the archive objects, which only people and other tools read."""

    universe_sha256: str
    window: Window
    digests: Mapping[SymbolMonth, MonthDigest]

    @property
    def root(self) -> str:
        """The root of these digests."""
        return root_of(self.digests)


def save(lock: DatasetLock, objects: Iterable[tuple[str, str]], path: Path, *, force: bool) -> int:
    """Write the file, with the names and the SHA-256 of archive objects; returns how many objects there are.

    Without `force` an existing file stays and TargetExists is raised. Raises OutputError when the file cannot be written.
    """
    with files.atomic_text(path, replace=force) as handle:
        return write(lock, objects, handle)


def write(lock: DatasetLock, objects: Iterable[tuple[str, str]], stream: TextIO) -> int:
    """Write what the file holds to a stream; returns how many objects there are."""
    count = 0
    for line in _head(lock):
        stream.write(line)
    # There can be hundreds of thousands of objects, so that they are never held all at once.
    for name, sha256 in objects:
        entry = json.dumps({"name": name, "sha256": sha256}, ensure_ascii=False)
        stream.write(f"{',' if count else ''}\n    {entry}")
        count += 1
    stream.write("\n  ]\n}\n" if count else "]\n}\n")
    return count


def load(path: Path, stop: threading.Event | None = None) -> DatasetLock:
    """Read a lock file. Raises LockError when it is unreadable, of another version, or breaks a rule.

    Raises Interrupted when `stop` is set while standard input lets it wait.
    """
    try:
        content = read_input(path, _WHAT, _MAX_FILE_BYTES, missing=Remedy.LOCK_FIRST, stop=stop)
    except UsageError as error:
        raise LockError(error.message, hint=error.remedy or error.hint) from None
    try:
        return _read(content)
    except LockError as error:
        raise LockError(f"{input_name(path, _WHAT)}: {error.message}", hint=error.remedy or error.hint) from None


def _head(lock: DatasetLock) -> Iterator[str]:
    """Everything before the first object."""
    yield "{\n"
    datasets = _tree({place: digest.sha256 for place, digest in lock.digests.items()})
    days = _tree({place: digest.marks for place, digest in lock.digests.items()})
    for name, value in (
        ("lock_version", LOCK_VERSION), ("root", lock.root), ("universe_sha256", lock.universe_sha256),
        ("window", lock.window.to_dict()), ("datasets", datasets), ("days", days),
    ):  # fmt: skip
        text = json.dumps(value, ensure_ascii=False, indent=None if name == "window" else 2).replace("\n", "\n  ")
        yield f'  "{name}": {text},\n'
    yield '  "objects": ['


def _tree(values: Mapping[SymbolMonth, str]) -> dict[str, dict[str, dict[str, str]]]:
    """The values by dataset, symbol and month, sorted."""
    tree: dict[str, dict[str, dict[str, str]]] = {}
    for place, value in sorted(values.items()):
        tree.setdefault(place.dataset, {}).setdefault(place.symbol, {})[place.month] = value
    return tree


# -- reading --------------------------------------------------------------------------------------------------------------


def _fail(problem: str, hint: str | Remedy = Remedy.LOCK_FIRST) -> NoReturn:
    raise LockError(problem, hint=hint)


def _checked_object(pairs: list[tuple[str, Any]]) -> Any:
    record = dict(pairs)
    if len(record) != len(pairs):
        _fail("a key appears twice in one object")
    if record.keys() == _OBJECT_KEYS:
        if not (isinstance(record["name"], str) and _is_digest(record["sha256"])):
            _fail(f"objects: {shorten(record)} is no archive object")
        return _OBJECT
    return record


def _read(content: bytes) -> DatasetLock:
    try:
        record = json.loads(content.decode("utf-8"), object_pairs_hook=_checked_object)
    except UnicodeDecodeError:
        _fail("not UTF-8 text")
    except json.JSONDecodeError as error:
        _fail(f"not JSON at line {error.lineno} column {error.colno}: {error.msg.lower()}")
    except (RecursionError, ValueError):
        _fail("not a dataset lock: nested too deeply, or a number too long")
    if not isinstance(record, dict):
        _fail("not a JSON object")
    version = record.get("lock_version")
    if version != LOCK_VERSION:
        problem = "is missing" if version is None else f"is {shorten(version)}, not {LOCK_VERSION!r}"
        _fail(f"lock_version {problem}", "use the version of cryptoservice that wrote it, or lock the dataset again")
    if not _is_digest(record.get("universe_sha256")):
        _fail("universe_sha256 is not a SHA-256")
    objects = record.get("objects")
    if not (isinstance(objects, list) and all(entry is _OBJECT for entry in objects)):
        _fail("objects is not a list of archive objects")
    lock = DatasetLock(record["universe_sha256"], _window(record.get("window")), _digests(record))
    try:
        root = lock.root
    except UnicodeEncodeError:
        _fail("a name holds half of a character pair, which UTF-8 text cannot")
    if record.get("root") != root:
        _fail("root is not that of the digests: the file was changed after it was written")
    return lock


def _window(value: object) -> Window:
    if not isinstance(value, dict):
        _fail("window is not an object")
    try:
        return Window.parse(value.get("start_date", ""), value.get("end_date", ""))
    except UsageError as error:
        _fail(f"window: {error.message}")


def _digests(record: Mapping[str, Any]) -> dict[SymbolMonth, MonthDigest]:
    # The marks of days are a help for people. A lock without them names months alone.
    marks = dict(_leaves(record.get("days", {}), "days"))
    digests = {}
    for place, sha256 in _leaves(record.get("datasets"), "datasets"):
        of_days = marks.get(place, "")
        if not _is_digest(sha256) or (of_days and not _MARKS.match(of_days)):
            _fail(f"{' '.join(place)} has no digest")
        digests[place] = MonthDigest(sha256, of_days)
    return digests


def _leaves(tree: object, name: str) -> Iterator[tuple[SymbolMonth, str]]:
    """The texts of a tree by dataset, symbol and month."""
    for dataset, symbols in _items(tree, name):
        for symbol, months in _items(symbols, f"{name}: {dataset}"):
            for month, value in _items(months, f"{name}: {dataset} {symbol}"):
                if not _MONTH.match(month) or not isinstance(value, str):
                    _fail(f"{name}: {dataset} {symbol} has no text for a month such as 2024-10")
                yield SymbolMonth(dataset, symbol, month), value


def _items(value: object, name: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        _fail(f"{name} is not an object")
    return value.items()


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and bool(_DIGEST.match(value))
