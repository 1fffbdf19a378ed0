"""Bad input gets one line of error, one line of hint, exit code 2, and nothing is written or fetched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.hostile_server import call
from tests.e2e.steps import addresses, assert_refused, universe, write_universe
from tests.exchange import Market, ReplayExchange

NOW = datetime.now(timezone.utc).date()
TODAY, TOMORROW = NOW.isoformat(), (NOW + timedelta(days=1)).isoformat()
ALL_INTERVALS = " ".join(truth.INTERVALS)

Record = dict[str, Any]
Arguments = list[str]


def another_version(record: Record) -> None:
    record["schema_version"] = "1.0"


def missing_day(record: Record) -> None:
    del record["daily_snapshots"][1]


def swapped_days(record: Record) -> None:
    record["daily_snapshots"].reverse()


def overlap(record: Record) -> None:
    record["daily_snapshots"][2]["missing_symbols"] = {"AVAXUSDT": "no_kline_on_date"}


def neither(record: Record) -> None:
    record["daily_snapshots"][2]["active_symbols"] = ["LINKUSDT"]


def unknown_reason(record: Record) -> None:
    record["daily_snapshots"][1] = {
        "date": "2026-02-10", "active_symbols": ["LINKUSDT"], "missing_symbols": {"AVAXUSDT": "too_lazy"},
    }  # fmt: skip


def stranger(record: Record) -> None:
    record["daily_snapshots"][2]["active_symbols"].append("BTCUSDT")


def twice(record: Record) -> None:
    record["requested_symbols"].append("LINKUSDT")


def climbing_name(record: Record) -> None:
    record["requested_symbols"] = ["../LINKUSDT", "AVAXUSDT"]


def bad_date(record: Record) -> None:
    record["end_date"] = "2026-02-30"


def cut_off(record: Record) -> str:
    return json.dumps(record, indent=2)[:-40]


def nothing_inside(_: Record) -> str:
    return ""


# How to spoil a universe, and what the error says: the place above all.
BAD_UNIVERSES: dict[str, tuple[Callable[[Record], str | None], tuple[str, ...]]] = {
    "another-version": (another_version, ("schema_version", "1.0", "2.0")),
    "missing-day": (missing_day, ("daily_snapshots",)),
    "swapped-days": (swapped_days, ("daily_snapshots[0].date", "2026-02-09")),
    "overlap": (overlap, ("daily_snapshots[2]", "AVAXUSDT")),
    "neither": (neither, ("daily_snapshots[2]", "AVAXUSDT")),
    "unknown-reason": (unknown_reason, ("daily_snapshots[1].missing_symbols", "too_lazy", "no_kline_on_date")),
    "stranger": (stranger, ("daily_snapshots[2].active_symbols[2]", "BTCUSDT")),
    "twice": (twice, ("requested_symbols[2]", "LINKUSDT")),
    "climbing-name": (climbing_name, ("requested_symbols[0]",)),
    "bad-date": (bad_date, ("end_date", "2026-02-30")),
    "cut-off": (cut_off, ("line ", "column ")),
    "nothing-inside": (nothing_inside, ("line 1 column 1",)),
}


def changed(flags: Arguments, *changes: str | None) -> Arguments:
    """Flags with some values replaced, added or (None) taken out: name, value, name, value..."""
    flags = list(flags)
    for name, value in zip(changes[::2], changes[1::2], strict=True):
        assert name is not None
        if name in flags:
            place = flags.index(name)
            flags[place : place + 2] = [] if value is None else [name, value]
        elif value is not None:
            flags += [name, value]
    return flags


DEFINE = [
    "define",
    "--symbols",
    "LINKUSDT",
    "--start-date",
    "2026-02-01",
    "--end-date",
    "2026-02-28",
    "--output",
    "new/made.json",
]
DOWNLOAD = ["download", "--universe-file", "universe.json", "--db-path", "new/made.db", "--interval", "5m"]
EXPORT = [
    "export", "--universe-file", "universe.json", "--db-path", "market.db", "--export-base-path", "new/exports",
    "--source-freq", "1h", "--export-freq", "4h",
]  # fmt: skip
STATUS = [
    "status", "--universe-file", "universe.json", "--db-path", "market.db", "--symbol", "LINKUSDT", "--date", "2026-02-10",
]  # fmt: skip

VERIFY = ["verify", "--universe-file", "universe.json", "--db-path", "market.db"]
LOCK = ["lock", "--universe-file", "universe.json", "--db-path", "market.db", "--output", "new/made.lock.json"]

CASES: dict[str, tuple[Arguments, tuple[str, ...]]] = {
    "define: start date in another form": (changed(DEFINE, "--start-date", "2026-2-1"), ("2026-2-1", "YYYY-MM-DD")),
    "define: end date in words": (changed(DEFINE, "--end-date", "tomorrow"), ("tomorrow", "YYYY-MM-DD", "yesterday", "7d")),
    "define: a day that is none": (changed(DEFINE, "--end-date", "2026-02-30"), ("2026-02-30",)),
    "define: no date": (changed(DEFINE, "--start-date", ""), ("start date",)),
    "define: reversed dates": (changed(DEFINE, "--start-date", "2026-03-01"), ("2026-03-01", "2026-02-28")),
    "define: today is not over": (changed(DEFINE, "--end-date", TODAY), (TODAY, "finished")),
    "define: tomorrow": (changed(DEFINE, "--end-date", TOMORROW), (TOMORROW, "finished")),
    "define: no symbols flag": (changed(DEFINE, "--symbols", None), ("no symbols", "--symbols")),
    "define: no symbols in it": (changed(DEFINE, "--symbols", " , ,"), ("no symbols",)),
    "define: no such symbols file": (changed(DEFINE, "--symbols", "@no such.txt"), ("no such.txt",)),
    "define: an empty symbols file": (changed(DEFINE, "--symbols", "A,@empty.txt"), ("empty.txt",)),
    "define: comments alone": (changed(DEFINE, "--symbols-file", "comments.txt"), ("comments.txt",)),
    "define: symbols in another encoding": (changed(DEFINE, "--symbols-file", "latin.txt"), ("latin.txt", "UTF-8")),
    "define: a folder as symbols file": (changed(DEFINE, "--symbols", "@folder"), ("folder",)),
    "define: a folder as output": (changed(DEFINE, "--output", "folder"), ("folder",)),
    "define: a folder as output, by force": ([*changed(DEFINE, "--output", "folder"), "--force"], ("folder",)),
    "define: an existing universe": (changed(DEFINE, "--output", "universe.json"), ("universe.json", "--force")),
    "define: a name that climbs": (changed(DEFINE, "--symbols", "../../ETC"), ("../../ETC",)),
    "define: a name with a space": (changed(DEFINE, "--symbols", "BTC USDT"), ("BTC USDT",)),
    "define: no output": (changed(DEFINE, "--output", None), ("--output",)),
    "define: no workers": (changed(DEFINE, "--daily-check-workers", "0"), ("--daily-check-workers",)),
    "define: a negative delay": (changed(DEFINE, "--daily-check-request-delay", "-1"), ("--daily-check-request-delay",)),
    "define: no budget": (changed(DEFINE, "--daily-check-max-requests-per-minute", "0"), ("per-minute",)),
    "define: an address that is none": (changed(DEFINE, "--api-base-url", "fapi.binance.com"), ("API base URL",)),
    "define: an unknown flag": ([*DEFINE, "--colour"], ("--colour",)),
    "download: no such universe": (changed(DOWNLOAD, "--universe-file", "none.json"), ("none.json", "define")),
    "download: a folder as universe": (changed(DOWNLOAD, "--universe-file", "folder"), ("folder",)),
    "download: a universe that is not text": (changed(DOWNLOAD, "--universe-file", "market.db"), ("market.db",)),
    "download: a window outside": (changed(DOWNLOAD, "--start-date", "2026-02-08"), ("2026-02-08", "2026-02-09")),
    "download: an end outside": (changed(DOWNLOAD, "--end-date", "2026-02-12"), ("2026-02-12", "2026-02-11")),
    "download: a reversed window": (changed(DOWNLOAD, "--start-date", "2026-02-11", "--end-date", "2026-02-10"), ("2026-02-11",)),
    "download: a malformed date": (changed(DOWNLOAD, "--start-date", "9 Feb"), ("9 Feb", "YYYY-MM-DD")),
    "download: an empty date": (changed(DOWNLOAD, "--start-date", ""), ("YYYY-MM-DD",)),
    "download: an unknown interval": (changed(DOWNLOAD, "--interval", "7m"), ("7m", ALL_INTERVALS)),
    "download: an interval that spans days": (changed(DOWNLOAD, "--interval", "3d"), ("3d", ALL_INTERVALS)),
    "download: a folder as database": (changed(DOWNLOAD, "--db-path", "folder"), ("folder",)),
    "download: an unknown source": (changed(DOWNLOAD, "--kline-source", "ftp"), ("--kline-source", "vision")),
    "export: no such database": (changed(EXPORT, "--db-path", "none.db"), ("none.db", "download")),
    "export: a folder as database": (changed(EXPORT, "--db-path", "folder"), ("folder",)),
    "export: a database without that frequency": (changed(EXPORT, "--source-freq", "1m"), ("1m", "1h 4h")),
    "export: no whole multiple": (changed(EXPORT, "--source-freq", "2h", "--export-freq", "3m"), ("2h", "3m")),
    "export: finer than the source": (changed(EXPORT, "--source-freq", "1h", "--export-freq", "5m"), ("1h", "5m")),
    "export: not a multiple of 3m": (changed(EXPORT, "--source-freq", "3m", "--export-freq", "5m"), ("3m", "5m", "15m")),
    "export: an unknown source frequency": (changed(EXPORT, "--source-freq", "10m"), ("10m", ALL_INTERVALS)),
    "export: an unknown export frequency": (changed(EXPORT, "--export-freq", "1w"), ("1w", ALL_INTERVALS)),
    "export: a file as export folder": (changed(EXPORT, "--export-base-path", "file"), ("file",)),
    "export: a window outside": (changed(EXPORT, "--end-date", "2026-03-01"), ("2026-03-01", "2026-02-11")),
    "export: nothing left": ([*EXPORT, "--no-klines", "--no-metrics"], ("--no-klines",)),
    "export: the overlap": (changed(EXPORT, "--universe-file", "../universes/overlap.json"), ("daily_snapshots[2]",)),
    "status: a symbol without a day": (changed(STATUS, "--date", None), ("--symbol", "--date")),
    "status: a day without a symbol": (changed(STATUS, "--symbol", None), ("--date", "--symbol")),
    "status: a symbol-day without a database": (changed(STATUS, "--db-path", None), ("--db-path",)),
    "status: a symbol-day with a window": ([*STATUS, "--start-date", "2026-02-09"], ("--start-date", "--symbol")),
    "status: a symbol that is not there": (changed(STATUS, "--symbol", "LINK"), ("'LINK'", "LINKUSDT, AVAXUSDT")),
    "status: no symbol": (changed(STATUS, "--symbol", ""), ("no symbol", "LINKUSDT")),
    "status: a day outside": (changed(STATUS, "--date", "2026-02-12"), ("2026-02-12", "2026-02-09 to 2026-02-11")),
    "status: a malformed day": (changed(STATUS, "--date", "9 Feb"), ("9 Feb", "YYYY-MM-DD")),
    "status: no such database": (changed(STATUS, "--db-path", "none.db"), ("none.db", "download")),
    "status: the symbol comes before the database": (
        changed(STATUS, "--symbol", "LINK", "--db-path", "none.db"),
        ("'LINK'",),
    ),
    "lock: no such database": (changed(LOCK, "--db-path", "none.db"), ("none.db", "download")),
    "lock: a folder as output": ([*changed(LOCK, "--output", "folder"), "--force"], ("folder",)),
    "lock: an existing output": (changed(LOCK, "--output", "file"), ("file exists already", "--force")),
    "lock: the universe as output": ([*changed(LOCK, "--output", "universe.json"), "--force"], ("is the universe file",)),
    "lock: the database as output": ([*changed(LOCK, "--output", "market.db"), "--force"], ("is the database",)),
    "lock: a window outside": (changed(LOCK, "--end-date", "2026-03-01"), ("2026-03-01", "2026-02-11")),
    "lock: no output": (changed(LOCK, "--output", None), ("--output",)),
    "verify: no such lock": ([*VERIFY, "--lock", "none.json"], ("none.json", "universe lock")),
    "verify: a folder as lock": ([*VERIFY, "--lock", "folder"], ("folder",)),
    "verify: a text as lock": ([*VERIFY, "--lock", "file"], ("not JSON at line 1", "universe lock")),
    "verify: a universe as lock": ([*VERIFY, "--lock", "universe.json"], ("lock_version is missing",)),
    "verify: a database as lock": ([*VERIFY, "--lock", "market.db", "--repair"], ("market.db", "universe lock")),
    "no command": (["-q"], ("COMMAND",)),
    "an unknown command": (["delete"], ("delete",)),
}


# The path or the file is wrong, but not in a way that the promise names: exit code 1 will do as well.
OTHER_CASES: dict[str, tuple[Arguments, tuple[str, ...]]] = {
    "download: a file where a folder is due": (changed(DOWNLOAD, "--db-path", "file/made.db"), ("file",)),
    "download: a text as database": (changed(DOWNLOAD, "--db-path", "file"), ("file",)),
    "export: a text as database": (changed(EXPORT, "--db-path", "file"), ("file",)),
    "lock: a file above the output": (changed(LOCK, "--output", "file/made.lock.json"), ("file",)),
    "lock: a text as database": (changed(LOCK, "--db-path", "file"), ("file",)),
    "export: a file above the export folder": (changed(EXPORT, "--export-base-path", "file/exports"), ("file",)),
}
UNIVERSE_CASES: dict[str, tuple[Arguments, tuple[str, ...]]] = {
    name: (changed(DOWNLOAD, "--universe-file", f"../universes/{name}.json"), (f"{name}.json", *words))
    for name, (_, words) in BAD_UNIVERSES.items()
}
EVERYTHING = {**CASES, **OTHER_CASES, **UNIVERSE_CASES}


class Attempt(NamedTuple):
    """One command in a folder of its own, and all that came of it."""

    outcome: Outcome
    changes: set[str]
    requests: list[str]


def prepare(folder: Path, universes: Path) -> None:
    """A folder with good files and some that are no use, and another one with bad universes."""
    write_universe(folder, ["LINKUSDT", "AVAXUSDT"], "2026-02-09", "2026-02-11")
    with ReplayExchange(Market.recorded()) as exchange:
        workspace = Workspace(folder, addresses(exchange))
        assert workspace.download(interval="4h").code == 0
        assert workspace.download("--end-date", "2026-02-09", interval="1h").code == 0
    (folder / "folder").mkdir()
    (folder / "file").write_text("text\n")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "comments.txt").write_text("# nothing\n\n   # but words\n")
    (folder / "latin.txt").write_bytes(b"\xff\xfe\xe4")
    for name, (spoil, _) in BAD_UNIVERSES.items():
        record = universe(["LINKUSDT", "AVAXUSDT"], "2026-02-09", "2026-02-11")
        text = spoil(record)
        (universes / f"{name}.json").write_text(json.dumps(record, indent=2) if text is None else text)


def marks(folder: Path) -> set[tuple[str, bytes | None, int]]:
    """Every path below a folder with its bytes and its modification time; a folder's own time says when names in it changed."""
    paths = [folder, *folder.rglob("*")]
    return {(str(path), path.read_bytes() if path.is_file() else None, path.stat().st_mtime_ns) for path in paths}


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Attempt]:
    """All commands, every sixth as a process. The path of each one's addresses shows who asked, should anybody ask."""
    base = tmp_path_factory.mktemp("bad")
    original, universes = base / "original", base / "universes"
    original.mkdir()
    universes.mkdir()
    prepare(original, universes)
    with ReplayExchange(Market.recorded()) as exchange:
        exchange.allow_unknown = True

        def attempt(index: int, case: str) -> Attempt:
            number = f"/case-{index}"
            folder = base / number[1:]
            shutil.copytree(original, folder)
            before = marks(folder)
            urls = {name: url + number for name, url in addresses(exchange).items()}
            workspace, arguments = Workspace(folder, urls), ("universe", *EVERYTHING[case][0])
            outcome = workspace.run(*arguments) if index % 6 == 0 else call(workspace, *arguments)
            changes = {name for name, *_ in before ^ marks(folder)}
            return Attempt(outcome, changes, [r.path for r in exchange.requests if r.path.startswith(f"{number}/")])

        return {case: attempt(index, case) for index, case in enumerate(EVERYTHING)}


@pytest.mark.parametrize("case", EVERYTHING)
def test_it_is_refused_before_anything_happens(attempts: dict[str, Attempt], case: str) -> None:
    outcome, changes, requests = attempts[case]
    assert (changes, requests) == (set(), [])
    code = outcome.code if case in OTHER_CASES and outcome.code == 1 else 2
    assert_refused(outcome, *EVERYTHING[case][1], code=code)
