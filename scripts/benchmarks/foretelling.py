"""What a plan foretells against the run that follows, the time left while it runs, and a night before the archive publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from replay import client_environment

from benchmarks.commands import clocked, run
from benchmarks.results import Line, at_most
from benchmarks.truth import assert_same
from benchmarks.world import names, write_universe
from tests.exchange import Limits, Market, ReplayExchange

_FACTOR = 1.5
_ATTEMPTS = 3
_LATENCIES = (0.0, 0.05)
_YESTERDAY = datetime.now(timezone.utc).date() - timedelta(days=1)
# As many as the real exchange has, of which a night wants some.
_LISTED = names("N", 900)
_ALL = ("--interval", "5m", "--download-market-metrics")
# The archive has published yesterday then, whenever this runs.
_MORNING = datetime.combine(_YESTERDAY + timedelta(days=1), datetime.min.time(), timezone.utc) + timedelta(hours=9.5)
_TIMES = 5
# 2,500 requests of metrics, of which 900 pass in 301 seconds: two waits.
_NIGHT = 500
_BUDGET_SECONDS = 602.0
# The last twentieth of a run is too short to be told.
_TOLD_UNTIL = 0.95


@dataclass(frozen=True)
class Mix:
    """A universe, and how it is downloaded."""

    what: str
    symbols: Sequence[str]
    days: Sequence[date]
    flags: Sequence[str]

    @property
    def rows(self) -> int:
        """How many rows it has, at five minutes."""
        return len(self.symbols) * len(self.days) * (2 * 288 + 3 if self.flags == _ALL else 288)


def _days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


_PAST = names("L", 20)
_MIXED = Mix("klines, metrics and funding, 20 symbols x 59 days", _PAST, _days(date(2025, 1, 1), 59), _ALL)
_MIXES = (
    Mix("klines, 20 symbols x 3 months", _PAST, _days(date(2025, 1, 1), 90), ("--interval", "5m")),
    _MIXED,
    Mix("night, 300 symbols x yesterday, all datasets", _LISTED[:300], [_YESTERDAY], _ALL),
)


def lines(folder: Path) -> Iterator[Line]:
    """Every run must store all its rows."""
    market = Market()
    market.metrics_convention = "start"
    for symbol in _PAST:
        market.add_symbol(symbol, first_day=date(2024, 6, 1))
    for symbol in _LISTED:
        market.add_symbol(symbol, first_day=_YESTERDAY - timedelta(days=20))
    for mix in _MIXES:
        # What the exchange makes only once is no time of the download.
        _Trial(folder, market, mix).download(0.0)
        for latency in _LATENCIES:
            yield _plan_line(_Trial(folder, market, mix), latency)
    yield _time_left_line(_Trial(folder, market, _MIXED))
    market.archive_until = _YESTERDAY - timedelta(days=1)
    yield from _early_lines(_Trial(folder, market, Mix("", _LISTED[:_NIGHT], [_YESTERDAY], _ALL)))


def _plan_line(trial: _Trial, latency: float) -> Line:
    tried = [(trial.plan(latency)["seconds"], trial.download(latency).seconds) for _ in range(_ATTEMPTS)]
    planned, real = min(tried, key=lambda pair: _apart(*pair))
    what = f"plan of {trial.mix.what}, {latency * 1000:g} ms: seconds said and real, apart by"
    return at_most(what, _FACTOR, _apart(planned, real), "x", f" ({planned:.1f} s said, {real:.1f} s)")


def _time_left_line(trial: _Trial) -> Line:
    worst = min(trial.download(0.05).worst_time_left() for _ in range(_ATTEMPTS))
    return at_most(f"time left of {trial.mix.what}, 50 ms, from a third on: apart by", _FACTOR, worst, "x")


def _early_lines(trial: _Trial) -> Iterator[Line]:
    """At 03:30, on a clock that runs five times as fast."""
    start = datetime.combine(_YESTERDAY + timedelta(days=1), datetime.min.time(), timezone.utc) + timedelta(hours=3.5)
    plan = trial.plan(0.0, start, _TIMES)
    done = trial.download(0.0, start, _TIMES)
    what = f"night before the archive publishes, {_NIGHT} symbols, all datasets, clock {_TIMES}x"
    assert_same("requests planned", plan["requests"], sum(done.report["requests"].values()))
    assert_same("bound by", (plan["bound_by"]["cause"], plan["bound_by"]["dataset"]), ("budget", "metrics"))
    assert_same("told in the log", any("take at least 10 min 02 s" in record["message"] for record in done.log), True)
    assert_same("waits named", any("metrics: budget full until 03:3" in record["message"] for record in done.log), True)
    real = done.report["elapsed_seconds"]
    yield at_most(f"{what}: time of the budget's own", 1.1, real / _BUDGET_SECONDS, "x", f" ({real:.0f} s)")
    yield at_most(f"{what}: plan apart by", _FACTOR, _apart(plan["seconds"], real), "x", f" ({plan['seconds']:.0f} s said)")
    yield at_most(f"{what}: time left apart by, from the start", _FACTOR, done.worst_time_left(0.0), "x")


def _apart(said: float, real: float) -> float:
    return max(said / real, real / said)


@dataclass(frozen=True)
class Done:
    """A download that has ended."""

    seconds: float
    """Of the command, from start to exit."""
    report: dict[str, Any]
    log: list[dict[str, Any]]

    def worst_time_left(self, since: float = 1 / 3) -> float:
        """By what factor a line of the log was wrong at most, from that share of the run on."""
        whole = self.report["elapsed_seconds"]
        told = [
            _apart(max(record["eta_seconds"], 0.01), whole - record["elapsed_seconds"])
            for record in self.log
            if record.get("event") == "progress" and since * whole <= record["elapsed_seconds"] <= _TOLD_UNTIL * whole
        ]
        assert_same("lines that tell the time left", len(told) > 3, True)
        return max(told)


@dataclass(frozen=True)
class _Trial:
    """One mix at an exchange of its own each time, since the weight of a minute is remembered by an exchange."""

    folder: Path
    market: Market
    mix: Mix

    def plan(self, latency: float, now: datetime = _MORNING, times: int = 1) -> dict[str, Any]:
        """What would be downloaded."""
        _, plan, _ = self._run(latency, now, times, "--plan", "--assume-latency", str(latency))
        return plan

    def download(self, latency: float, now: datetime = _MORNING, times: int = 1) -> Done:
        """All of it, from nothing."""
        seconds, report, log = self._run(latency, now, times)
        assert_same(self.mix.what, (report["status"], sum(report["rows"].values())), ("complete", self.mix.rows))
        return Done(seconds, report, log)

    def _run(self, latency: float, now: datetime, times: int, *more: str) -> tuple[float, dict[str, Any], list[dict[str, Any]]]:
        universe, database = self.folder / "foretold.json", self.folder / "foretold.db"
        write_universe(universe, self.mix.symbols, self.mix.days)
        for ending in ("", "-wal", "-shm", ".lock"):
            database.with_name(database.name + ending).unlink(missing_ok=True)
        where = ("--universe-file", str(universe), "--db-path", str(database), "--log-format", "json")
        with ReplayExchange(self.market, lambda: now, Limits.off(), latency) as exchange:
            environment = client_environment(exchange.urls, self.folder)
            ended = run([*clocked(now, times), "download", *where, *self.mix.flags, *more], env=environment)
        return ended.seconds, json.loads(ended.stdout), [json.loads(line) for line in ended.stderr.splitlines()]
