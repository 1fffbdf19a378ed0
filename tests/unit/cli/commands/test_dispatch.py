"""What is settled before a command begins: days, and the place of the report."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.cli.commands import dispatch
from cryptoservice.cli.parser import build_parser
from cryptoservice.clock import Clock
from cryptoservice.errors import UsageError
from tests.unit.cli.test_parser import AUDIT, DEFINE, DOWNLOAD, EXPORT, LOCK, STATUS, VERIFY

STOP = threading.Event()


class Midnight(Clock):
    """A clock that is a moment before the midnight that ends 2026-03-01 when it is asked first, and behind it from then on."""

    def __init__(self) -> None:
        self.asked = 0

    def time(self) -> float:
        self.asked += 1
        # `date -u -d @1772409599` says 2026-03-01 23:59:59.
        return 1_772_409_599.0 + self.asked - 1


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments of every command that was run."""
    seen: list[Any] = []
    for name in dispatch.COMMANDS:
        monkeypatch.setitem(dispatch.COMMANDS, name, lambda args, *_: seen.append(args) or 7)
    return seen


def test_relative_days_hold_for_every_command_and_today_is_one_day(ran: list[Any]) -> None:
    windowed = (DOWNLOAD, EXPORT, STATUS, VERIFY, LOCK, AUDIT)
    for line in (DEFINE.replace("2026-02-01", "28d").replace("2026-02-02", "yesterday"), *windowed):
        words = line.split() if line.startswith("universe define") else [*line.split(), "--start-date", "28d", "--end-date", "1d"]
        clock = Midnight()
        assert dispatch.run(build_parser().parse_args(words), clock, STOP) == 7
        assert (ran[-1].start_date, ran[-1].end_date) == ("2026-02-01", "2026-02-28"), line
        assert clock.asked == 1
    dispatch.run(build_parser().parse_args([*STATUS.split(), "--date", "0d", "--start-date", "2026-02-03"]), Midnight(), STOP)
    assert (ran[-1].date, ran[-1].start_date, ran[-1].end_date) == ("2026-03-01", "2026-02-03", None)


def test_what_is_no_day_is_refused_with_all_ways_to_write_one(ran: list[Any]) -> None:
    for flag, text, message in (
        ("--start-date", "tomorrow", "start date: 'tomorrow' is not a date"),
        ("--end-date", "", "end date: '' is not a date"),
        ("--date", "-1d", "date: '-1d' is not a date"),
        ("--start-date", "d", "start date: 'd' is not a date"),
        ("--start-date", "1000000d", "start date: '1000000d' is not a date"),
        ("--end-date", "2026-02-30", "end date: 2026-02-30 is not a day of the calendar"),
    ):
        with pytest.raises(UsageError) as refused:
            dispatch.run(build_parser().parse_args([*STATUS.split(), f"{flag}={text}"]), Midnight(), STOP)
        assert refused.value.message == message
        assert refused.value.hint == "write it as YYYY-MM-DD, yesterday, or 7d for seven days ago (UTC)"
    with pytest.raises(UsageError, match="1752-05-17 is before any Binance market; the earliest accepted day is 2017-01-01"):
        dispatch.run(build_parser().parse_args([*STATUS.split(), "--start-date", "99999d"]), Midnight(), STOP)
    assert ran == []


def test_a_report_that_cannot_be_is_refused_before_the_command_runs(ran: list[Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        dispatch.run(build_parser().parse_args([*STATUS.split(), "--report", str(tmp_path)]), None, STOP)
    assert ran == []
