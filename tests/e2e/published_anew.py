"""Archive objects that a test publishes anew, and `universe audit` as the tests run it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shlex
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import query
from tests.exchange import Market
from tests.exchange.archive import Archive, zipped

_FAR_FUTURE_MS = 4_000_000_000_000

Change = Callable[[list[str]], None]
"""Changes the lines of a CSV file, of which the first one is the header."""


def funding_key(symbol: str, month: str) -> str:
    """The archive's name of a month's funding rates."""
    return f"data/futures/um/monthly/fundingRate/{symbol}/{symbol}-fundingRate-{month}.zip"


def lines_of(market: Market, key: str) -> list[str]:
    """The lines of the object that is published under that name."""
    replaced = market.replaced(key)
    body = Archive(market, lambda: _FAR_FUTURE_MS).body(key) if replaced is None else replaced.body
    assert body is not None
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        return packed.read(packed.namelist()[0]).decode().splitlines()


def publish(market: Market, key: str, change: Change) -> str:
    """Publish an object anew, with its lines changed; the SHA-256 that it has now."""
    lines = lines_of(market, key)
    change(lines)
    name = key.rsplit("/", 1)[-1].removesuffix(".zip")
    body = zipped(f"{name}.csv", "\n".join(lines) + "\n")
    market.replace_object(key, body)
    return hashlib.sha256(body).hexdigest()


def field(start: str, column: int, text: str) -> Change:
    """One field of the line that begins so."""

    def change(lines: list[str]) -> None:
        (place,) = (number for number, line in enumerate(lines) if line.startswith(start))
        fields = lines[place].split(",")
        assert fields[column] != text
        fields[column] = text
        lines[place] = ",".join(fields)

    return change


def without(start: str) -> Change:
    """No line that begins so."""

    def change(lines: list[str]) -> None:
        (place,) = (number for number, line in enumerate(lines) if line.startswith(start))
        del lines[place]

    return change


def audit(workspace: Workspace, *arguments: str, timeout: float = 60.0) -> Outcome:
    """`universe audit` on the workspace's universe and database."""
    base = ("universe", "audit", "--universe-file", "universe.json", "--db-path", "market.db")
    return workspace.run(*base, *arguments, timeout=timeout)


def run_as_typed(workspace: Workspace, line: str) -> Outcome:
    """A line that a report printed, taken apart as a shell does."""
    program, *arguments = shlex.split(line)
    assert program == "cryptoservice"
    return workspace.run(*arguments)


def noted(database: Path) -> dict[str, str]:
    """The SHA-256 that the ledger names for each object; of two versions of one object, both, joined by a blank."""
    sql = (
        "SELECT o.name, group_concat(DISTINCT o.sha256) FROM symbol_days d JOIN source_objects o ON o.id = d.object_id "
        "GROUP BY o.name"
    )
    return {name: found.replace(",", " ") for name, found in query(database, sql)}


def as_version_2(database: Path) -> None:
    """Make a database what schema version 2 would have left of it: without the ETag and the size of objects."""
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        for column in ("etag", "size"):
            db.execute(f"ALTER TABLE source_objects DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 2")
