"""Small steps that the end-to-end tests share: universes by hand, looks into the database and the folder, refusals."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.conftest import addresses as addresses
from tests.exchange import RecordedRequest, ReplayExchange

_QUIET_NAMES = (".state",)


class Line(NamedTuple):
    """One line of the ledger."""

    status: str
    reason: str | None
    rows: int
    expected_rows: int
    source: str | None


def universe(
    symbols: Iterable[str] = truth.SYMBOLS,
    first: str = truth.FIRST,
    last: str = truth.LAST,
    missing: Mapping[str, Iterable[str]] | None = None,
) -> dict[str, Any]:
    """A universe file's content in which `missing` names days by symbol; everything else is active."""
    symbols = list(symbols)
    gone = {symbol: set(days) for symbol, days in (missing or {}).items()}
    snapshots = []
    for day in truth.days(first, last):
        absent = [symbol for symbol in symbols if day in gone.get(symbol, ())]
        snapshots.append(
            {
                "date": day,
                "active_symbols": [symbol for symbol in symbols if symbol not in absent],
                "missing_symbols": dict.fromkeys(absent, "no_kline_on_date"),
            }
        )
    return {
        "schema_version": "2.0",
        "requested_symbols": symbols,
        "start_date": first,
        "end_date": last,
        "daily_snapshots": snapshots,
        "created_at": "2026-03-05T00:00:00+00:00",
    }


def write_universe(folder: Path, *arguments: Any, name: str = "universe.json", **options: Any) -> Path:
    """`universe(...)` as a file."""
    path = folder / name
    path.write_text(json.dumps(universe(*arguments, **options), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def query(database: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Rows of a query on a database, opened read-only."""
    if database.with_name(f"{database.name}-journal").exists():
        # A kill left a transaction half done; only a connection that may write can undo it.
        with contextlib.closing(sqlite3.connect(database)) as db:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return db.execute(sql, parameters).fetchall()


def klines(database: Path, symbol: str, freq: str = "5m") -> list[tuple[Any, ...]]:
    """Stored klines, in the shape of truth.rows."""
    return query(
        database,
        "SELECT open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume "
        "FROM klines WHERE symbol = ? AND freq = ? ORDER BY open_time",
        symbol,
        freq,
    )


def ledger(database: Path, freq: str = "5m") -> dict[tuple[str, str], Line]:
    """Ledger lines of klines by symbol and day."""
    sql = "SELECT symbol, date, status, reason, rows, expected_rows, source FROM symbol_days WHERE dataset='klines' AND freq=?"
    return {(symbol, day): Line(*rest) for symbol, day, *rest in query(database, sql, freq)}


def dump(database: Path) -> list[list[tuple[Any, ...]]]:
    """Everything that the public tables hold."""
    tables = ("klines", "metrics", "funding_rates", "symbol_days", "source_objects")
    return [sorted(query(database, f"SELECT * FROM {table}")) for table in tables]


def assert_ledger_agrees(database: Path, freq: str = "5m") -> None:
    """Every ledger line counts the rows that are really there, and no row is without a line."""
    counted = query(
        database,
        "SELECT symbol, date(open_time / 1000, 'unixepoch'), count(*) FROM klines WHERE freq = ? GROUP BY 1, 2",
        freq,
    )
    listed = {place: line.rows for place, line in ledger(database, freq).items() if line.rows}
    assert {(symbol, day): count for symbol, day, count in counted} == listed
    for place, line in ledger(database, freq).items():
        assert (line.status == "complete") == (line.rows == line.expected_rows), place


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its bytes; None for a folder."""
    found: dict[str, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.parts[0] not in _QUIET_NAMES:
            found[str(name)] = path.read_bytes() if path.is_file() else None
    return found


def stamps(folder: Path) -> dict[str, int]:
    """Modification times of all files below a folder, in nanoseconds."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def assert_refused(outcome: Outcome, *words: str, code: int = 2) -> None:
    """One line `error: ...`, one line `hint: ...`, nothing on stdout; the two lines hold all the words."""
    assert outcome.code == code, outcome
    assert outcome.stdout == ""
    lines = outcome.stderr.splitlines()
    assert [line.split(" ", 1)[0] for line in lines] == ["error:", "hint:"], outcome.stderr
    for word in words:
        assert word in outcome.stderr, outcome.stderr


def asked(exchange: ReplayExchange, path: str = "") -> list[RecordedRequest]:
    """Requests whose path holds that text."""
    return [request for request in exchange.requests if path in request.path]


def objects(exchange: ReplayExchange) -> list[str]:
    """Names of the archive objects that were asked for, without their checksums."""
    names = [request.path.rsplit("/", 1)[-1] for request in exchange.requests if request.host == "vision"]
    return sorted(name.removesuffix(".zip") for name in names if name.endswith(".zip"))


def verify(workspace: Workspace, *arguments: str) -> Outcome:
    """`universe verify` on the workspace's universe and database."""
    return workspace.run("universe", "verify", "--universe-file", "universe.json", "--db-path", "market.db", *arguments)


def tamper(workspace: Workspace, *statements: str) -> None:
    """Change the database behind the product's back."""
    with contextlib.closing(sqlite3.connect(workspace.folder / "market.db")) as db, db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0, statement


def wait_until(happened: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def wait_for_line(running: subprocess.Popen[str], *words: str, seconds: float = 15.0) -> str:
    """Read what a run says on stderr up to the first line that holds all the words; that line."""
    assert running.stderr is not None
    said = []
    # A run that never says it must not hold up the suite.
    guard = threading.Timer(seconds, running.kill)
    guard.start()
    try:
        for line in running.stderr:
            said.append(line)
            if all(word in line for word in words):
                return line
    finally:
        guard.cancel()
    raise AssertionError(f"no line holds {words}: {''.join(said)}")


def assert_stored(workspace: Workspace, symbol: str, freq: str = "5m", database: str = "market.db", **window: Any) -> None:
    """The stored klines of a symbol are the truth of that window."""
    assert klines(workspace.folder / database, symbol, freq) == truth.rows(symbol, freq, **window)
