"""status, verify, lock and audit: their arguments to one call of the library."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.audit.archive_audit.result import GoneObject, Refetch, RepublishedObject
from cryptoservice.cli.commands.dispatch import COMMANDS
from cryptoservice.cli.parser import build_parser
from cryptoservice.config import Endpoints, RateConfig, WindowBounds
from cryptoservice.days import Window
from cryptoservice.errors import UsageError
from tests.unit.cli.commands.conftest import CLOCK, RATES, REPORT, STOP, WORKERS, Library, network
from tests.unit.cli.test_parser import AUDIT, LOCK, STATUS, VERIFY


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


def test_audit(library: Library, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    least = {"window": WindowBounds(), "sample": 1000, "network": network(RATES, WORKERS)}
    assert library.called(AUDIT) == (0, "audit_universe", ("u.json", "m.db"), least)
    assert json.loads(capsys.readouterr().out) == {**REPORT, "refetch": []}
    flags = ("--sample", "0", "--start-date", "2026-02-03", "--max-ban-wait", "0", "--vision-base-url", "http://mirror.test")
    waits = network(RateConfig(max_ban_wait=0.0), WORKERS)
    mirrored = replace(waits, endpoints=Endpoints("https://fapi.binance.com", "http://mirror.test"))
    options = {"window": WindowBounds("2026-02-03"), "sample": 0, "network": mirrored}
    assert library.called(AUDIT, *flags)[3] == options
    capsys.readouterr()

    anew, gone = RepublishedObject("a.zip", "AUSDT", "2026-02", "ab", "cd"), GoneObject("b.zip", "BUSDT", "2026-02-01")
    window = Window(date(2026, 2, 1), date(2026, 2, 28))
    library.result.checked, library.result.republished, library.result.gone = 7, (anew,), (gone,)
    library.result.refetch = (Refetch("5m", False, window, ("AUSDT",)),)
    assert library.called(AUDIT, *flags)[0] == 3
    line = (
        "cryptoservice universe download --universe-file u.json --db-path m.db --vision-base-url http://mirror.test "
        "--interval 5m --no-incremental --symbols AUSDT --start-date 2026-02-01 --end-date 2026-02-28"
    )
    assert json.loads(capsys.readouterr().out)["refetch"] == [line]
    assert [(record.levelname, record.getMessage(), record.__dict__["fields"]) for record in caplog.records] == [
        ("ERROR", "a.zip: published anew, SHA-256 was ab, is cd", {"audited": anew.to_dict()}),
        ("WARNING", "b.zip: gone from the archive", {"audited": gone.to_dict()}),
        (
            "ERROR", f"1 of 7 archive files were published anew since they were downloaded; to fetch their days again: {line}",
            {"exit_code": 3},
        ),
    ]  # fmt: skip


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
