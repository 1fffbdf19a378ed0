"""status, verify, lock and audit: their arguments to one call of the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.cli.commands.dispatch import COMMANDS
from cryptoservice.cli.parser import build_parser
from cryptoservice.config import RateConfig, WindowBounds
from cryptoservice.errors import UsageError
from tests.unit.cli.commands.conftest import CLOCK, RATES, REPORT, STOP, WORKERS, Library, network
from tests.unit.cli.test_parser import LOCK, STATUS, VERIFY


def test_status_and_verify(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    bounds = {"window": WindowBounds("2026-02-03", None)}
    assert library.called(STATUS) == (0, "universe_status", ("u.json", None), {"window": WindowBounds()})
    assert library.called(STATUS, "--db-path", "m.db", "--start-date", "2026-02-03")[2:] == (("u.json", "m.db"), bounds)
    # On a pipe stdout has the report, and nothing is said to people.
    assert capsys.readouterr() == ((json.dumps(REPORT, ensure_ascii=False) + "\n") * 2, "")
    least = {
        "window": WindowBounds(),
        "sample": 0,
        "seed": None,
        "repair": False,
        "lock_file": None,
        "network": network(RATES, WORKERS),
    }
    assert library.called(VERIFY) == (0, "verify_universe", ("u.json", "m.db"), least)
    sampled = {**least, "sample": 9, "seed": 3, "repair": True, "network": network(RateConfig(max_ban_wait=0.0), WORKERS)}
    assert library.called(VERIFY, "--sample", "9", "--seed", "3", "--repair", "--max-ban-wait", "0")[3] == sampled
    assert library.called(VERIFY, "--lock", "l.json")[3] == {**least, "lock_file": "l.json"}


def test_lock(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    paths = ("u.json", "m.db", "l.json")
    assert library.called(LOCK) == (0, "lock_universe", paths, {"window": WindowBounds(), "force": False})
    assert json.loads(capsys.readouterr().out) == REPORT
    bounds = ("--start-date", "2026-02-03", "--end-date", "2026-02-04")
    options = {"window": WindowBounds("2026-02-03", "2026-02-04"), "force": True}
    assert library.called(LOCK, "--force", *bounds) == (0, "lock_universe", paths, options)


def test_a_lock_for_standard_output(library: Library, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    written = []

    def write(*arguments: Any, **_: Any) -> Any:
        arguments[2].write("币 the lock\n")
        written.append(arguments[:2])
        return library.result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cryptoservice.audit.dataset_lock.command.lock_universe", write)
        args = build_parser().parse_args([*LOCK.replace("l.json", "-").split(), "--report", str(report)])
        assert COMMANDS["lock"](args, CLOCK, STOP) == 0
    assert written == [("u.json", "m.db")]
    assert capsys.readouterr().out == "币 the lock\n"
    assert json.loads(report.read_text(encoding="utf-8")) == REPORT


def test_audit(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    line = "universe audit --universe-file u.json --db-path m.db"
    least = {"window": WindowBounds(), "sample": 1000, "network": network(RATES, WORKERS)}
    assert library.called(line) == (0, "audit_universe", ("u.json", "m.db"), least)
    assert json.loads(capsys.readouterr().out) == {**REPORT, "refetch": []}


def test_status_of_a_symbol_day(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--symbol", "LINKUSDT", "--date", "2026-02-03")
    called = library.called(STATUS, "--db-path", "m.db", *place)
    assert called == (0, "symbol_day_provenance", ("u.json", "m.db", "LINKUSDT", "2026-02-03"), {})
    assert capsys.readouterr() == (json.dumps(REPORT, ensure_ascii=False) + "\n", "")
    for flags, words, hint in (
        (("--symbol", "A", "--db-path", "m.db"), "--symbol without --date", "give both, or leave out --symbol"),
        (("--date", "2026-02-03", "--db-path", "m.db"), "--date without --symbol", "give both, or leave out --date"),
        (place, "only a database knows", "name it with --db-path"),
        ((*place, "--db-path", "m.db", "--end-date", "2026-02-03"), "has no window", "leave out --start-date and --end-date"),
        ((*place, "--db-path", "m.db", "--start-date", ""), "has no window", "leave out --start-date and --end-date"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            library.called(STATUS, *flags)
        assert str(caught.value.hint).startswith(hint)
        assert library.calls == []
