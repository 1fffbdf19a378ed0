"""The worklist: what is wanted less what is settled, cut into jobs."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from cryptoservice.config import WindowBounds
from cryptoservice.days import Window
from cryptoservice.download.jobs.metrics_job import MetricsJob
from cryptoservice.download.worklist import Wanted, Worklist, retried_gaps
from cryptoservice.errors import UsageError
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.sources.datasets import DatasetPlan, FundingPlan, KlinesPlan, MetricsPlan
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.grouping import MarketFetch
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, kline

TODAY = date(2026, 6, 1)
KLINES, FUNDING = KlinesPlan(Freq.h12, TODAY), FundingPlan(TODAY)
DAYS = [FEBRUARY + timedelta(days=number) for number in range(4)]
WINDOW = Window(DAYS[0], DAYS[-1])
ACTIVE = {"AUSDT": DAYS, "BUSDT": DAYS[1:3]}
STATUSES = [Status.COMPLETE, Status.CONFIRMED_GAP, Status.INCOMPLETE, Status.FAILED]


def filled(path: Path) -> Path:
    """AUSDT has one day of each status; BUSDT was never fetched."""
    items = [
        SymbolDay(Series(Dataset.KLINES, "12h", "AUSDT"), day, status, "why", (), 2, None, 1_770_000_000.0)
        for day, status in zip(DAYS, STATUSES, strict=True)
    ]
    with StoreWriter.open(path) as store:
        store.write(items)
    return path


def wanted(worklist: Worklist) -> list[tuple[str, list[date]]]:
    return [(symbol, days) for work in worklist.datasets for symbol, days in work.wanted.items()]


@pytest.mark.parametrize(
    ("incremental", "settled", "left"),
    [
        (True, 2, [("AUSDT", DAYS[2:]), ("BUSDT", DAYS[1:3])]),
        (False, 0, [("AUSDT", DAYS), ("BUSDT", DAYS[1:3])]),
    ],
)
def test_only_settled_days_are_left_out(
    tmp_path: Path, incremental: bool, settled: int, left: list[tuple[str, list[date]]]
) -> None:
    with StoreWriter.open(filled(tmp_path / "market.db")) as store:
        worklist = Worklist(store, [KLINES], ACTIVE, WINDOW, incremental=incremental)
    assert worklist.settled == {Dataset.KLINES: settled}
    assert wanted(worklist) == left
    assert worklist.symbol_days == sum(len(days) for _, days in left)
    assert worklist.expected_rows == 2 * worklist.symbol_days
    first, second = worklist.jobs()
    assert (first.series, second.series) == (Series(Dataset.KLINES, "12h", "AUSDT"), Series(Dataset.KLINES, "12h", "BUSDT"))
    assert (first.days, second.days) == (left[0][1], left[1][1])


def test_without_a_store_everything_is_wanted_of_every_dataset() -> None:
    plans: list[DatasetPlan] = [KLINES, FUNDING]
    worklist = Worklist(None, plans, ACTIVE, WINDOW, incremental=True)
    assert worklist.settled == {Dataset.KLINES: 0, Dataset.FUNDING_RATES: 0}
    assert worklist.symbol_days == 2 * 6
    assert worklist.expected_rows == 6 * 2 + 6 * 3


def test_jobs_are_cut_as_the_plan_says() -> None:
    days = [FEBRUARY + timedelta(days=number) for number in range(40)]
    window = Window(days[0], days[-1])
    plans: list[DatasetPlan] = [KLINES, FUNDING]
    jobs = list(Worklist(None, plans, {"AUSDT": days}, window, incremental=True).jobs())
    assert [(job.plan.dataset.value, len(job.days)) for job in jobs] == [
        ("klines", 28), ("klines", 12), ("funding_rates", 40),
    ]  # fmt: skip
    assert [fetch.source for fetch in jobs[0].begin().fetches] == [Source.MONTHLY]


def test_symbol_days_that_many_want_are_one_job_of_all_symbols() -> None:
    many = {f"S{number}USDT": DAYS[-1:] for number in range(20)}
    active = {**many, "NEWUSDT": DAYS, "LATEUSDT": DAYS[:1]}
    worklist = Worklist(None, [KLINES, FUNDING], active, WINDOW, incremental=True)
    klines, funding = worklist.datasets
    assert (klines.at_once, list(klines.by_symbol())) == ([], list(active.items()))
    (fetch,) = funding.at_once
    assert fetch.wanted == dict.fromkeys([*many, "NEWUSDT"], (DAYS[-1],))
    assert dict(funding.by_symbol()) == {"NEWUSDT": DAYS[:-1], "LATEUSDT": DAYS[:1]}
    jobs = list(worklist.jobs())
    assert [type(job).__name__ for job in jobs] == [*["Job"] * 22, "MarketJob", "Job", "Job"]
    assert [(job.plan.dataset, job.symbol) for job in jobs[22:]] == [
        (Dataset.FUNDING_RATES, symbol) for symbol in ("", "NEWUSDT", "LATEUSDT")
    ]
    assert jobs[22].begin().fetches == [fetch]
    assert worklist.symbol_days == 2 * (20 + 4 + 1)


def test_a_job_of_all_symbols_knows_what_is_stored(tmp_path: Path) -> None:
    names = [f"S{number}USDT" for number in range(10)]
    rate = (FEBRUARY_MS + 3_600_000, 0.5, None, "Special")
    with StoreWriter.open(tmp_path / "market.db") as store:
        series = Series(Dataset.FUNDING_RATES, "", names[0])
        store.write([SymbolDay(series, DAYS[0], Status.INCOMPLETE, "rest: http_503", [rate], 1, "rest", 1_770_000_000.0)])
        worklist = Worklist(store, [FUNDING], dict.fromkeys(names, DAYS[:1]), WINDOW, incremental=True)
        (job,) = worklist.jobs()
        (fetch,) = job.begin().fetches
        assert isinstance(fetch, MarketFetch)
        answer = SourceAnswer(AnswerKind.ROWS, [(FEBRUARY_MS, 0.25, 7.0, "Regular")])
        ended = [ended for name in names for ended in job.receive(fetch.of_symbol(name), {DAYS[0]: answer}).ended]
    assert [len(one.verdict.rows) for one in ended] == [2, *[1] * 9]
    assert ended[0].verdict.rows[1] == rate


def test_a_job_of_metrics_reads_the_klines_that_this_run_has_brought(tmp_path: Path) -> None:
    """One commit writes all of them, since they have ended before; each day of the job then finds its own."""
    now = datetime(2026, 6, 1, tzinfo=timezone.utc)
    plans: list[DatasetPlan] = [KlinesPlan(Freq.h1, TODAY), MetricsPlan(now)]
    commits: list[str] = []
    with StoreWriter.open(tmp_path / "market.db") as store:

        def commit() -> None:
            commits.append("commit")
            rows = [kline(FEBRUARY_MS + n * 3_600_000, 10.0 + n) for n in range(24)]
            series = Series(Dataset.KLINES, "1h", "AUSDT")
            store.write([SymbolDay(series, DAYS[0], Status.COMPLETE, None, rows, 24, "monthly", 1_770_000_000.0)])

        _, job = Worklist(store, plans, {"AUSDT": DAYS}, WINDOW, incremental=True).jobs(commit)
        assert isinstance(job, MetricsJob)
        fetches = job.begin().fetches
        assert (commits, len(fetches)) == ([], len(DAYS))
        for fetch in fetches:
            [day] = fetch.days
            start = FEBRUARY_MS + (day - FEBRUARY).days * 86_400_000
            # On the hour, open interest of 1 is valued at the close of the hour before: labels end bars.
            prices = [9.0 + n // 12 if n % 12 == 0 else 10.5 + n // 12 for n in range(288)]
            labels = [(start + n * 300_000, 1.0, price, 1.0, 1.0, 1.0, 1.0) for n, price in enumerate(prices)]
            step = job.receive(fetch, {day: SourceAnswer(AnswerKind.ROWS, labels)})
        # The first day is decided by its stored hours; the others have none, so klines are fetched for them alone.
        evidence = [fetch.days for fetch in step.fetches if fetch.dataset is Dataset.KLINES]
        assert evidence == [(DAYS[1], DAYS[2], DAYS[3])]
        assert len(commits) == 1


def test_what_a_download_is_asked_for_is_checked_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "universe.json"
    snapshots = [{"date": day.isoformat(), "active_symbols": ["AUSDT"], "missing_symbols": {}} for day in DAYS]
    record = {
        "schema_version": "2.0", "requested_symbols": ["AUSDT"], "start_date": DAYS[0].isoformat(),
        "end_date": DAYS[-1].isoformat(), "daily_snapshots": snapshots, "created_at": "2026-03-05T00:00:00+00:00",
    }  # fmt: skip
    path.write_text(json.dumps(record))
    found = Wanted.of(path, "12h", WindowBounds("2026-02-03", None))
    assert (found.interval, found.window, found.active) == (Freq.h12, Window(DAYS[2], DAYS[3]), {"AUSDT": DAYS[2:]})
    for interval, bounds in (
        ("7m", None),
        ("12h", WindowBounds("2026-01-31", None)),
        ("12h", WindowBounds("2026-02-04", "2026-02-01")),
    ):
        with pytest.raises(UsageError):
            Wanted.of(path, interval, bounds)


DISTRUSTED = "rest_alone (distrusted daily: checksum)"


def gap(path: Path, reason: str) -> None:
    """One confirmed gap without rows, written at 1,770,000,000."""
    series = Series(Dataset.KLINES, "12h", "AUSDT")
    with StoreWriter.open(path) as store:
        store.write([SymbolDay(series, DAYS[0], Status.CONFIRMED_GAP, reason, (), 2, None, 1_770_000_000.0)])


@pytest.mark.parametrize(
    ("reason", "days_later", "all_gaps", "asked"),
    [
        (DISTRUSTED, 29.99, False, False),
        (DISTRUSTED, 30, False, True),
        ("sources_agree", 3000, False, False),
        ("sources_agree", 0, True, True),
    ],
)
def test_which_gaps_are_asked_for_again(tmp_path: Path, reason: str, days_later: float, all_gaps: bool, asked: bool) -> None:
    gap(tmp_path / "market.db", reason)
    retried = retried_gaps(1_770_000_000.0 + days_later * 86_400, all_gaps=all_gaps)
    with StoreWriter.open(tmp_path / "market.db") as store:
        worklist = Worklist(store, [KLINES], {"AUSDT": DAYS[:1]}, WINDOW, incremental=True, retried=retried)
        assert wanted(worklist) == ([("AUSDT", DAYS[:1])] if asked else [])
        assert worklist.settled == {Dataset.KLINES: 0 if asked else 1}


@pytest.mark.parametrize(
    ("kind", "is_news", "trouble"),
    [
        # The same again: the line is written anew, so that it is asked for again after another thirty days.
        (AnswerKind.DISTRUSTED, True, None),
        (AnswerKind.FAILED, False, "refetch brought failed with 0 rows (daily: checksum): confirmed_gap with 0 kept"),
    ],
)
def test_a_gap_that_was_asked_for_again_is_as_old_as_its_last_answer(
    tmp_path: Path, kind: AnswerKind, is_news: bool, trouble: str | None
) -> None:
    gap(tmp_path / "market.db", DISTRUSTED)
    with StoreWriter.open(tmp_path / "market.db") as store:
        (job,) = Worklist(store, [KLINES], {"AUSDT": DAYS[:1]}, WINDOW, incremental=True, retried=retried_gaps(1.8e9)).jobs()
        (daily,) = job.begin().fetches
        (rest,) = job.receive(daily, {DAYS[0]: SourceAnswer(kind, reason="checksum")}).fetches
        (ended,) = job.receive(rest, {DAYS[0]: SourceAnswer(AnswerKind.NOT_SERVED, reason="-1121")}).ended
    verdict = ended.verdict
    assert (verdict.status, verdict.reason, list(verdict.rows)) == (Status.CONFIRMED_GAP, DISTRUSTED, [])
    assert (verdict.is_news, verdict.trouble) == (is_news, trouble)


@pytest.mark.parametrize(
    ("symbols", "count", "listed"),
    [
        # Three objects: the page spares two checksums, and the trial of the listing takes three requests.
        (1, 3, False), (1, 4, False), (1, 5, True), (2, 3, True), (3, 2, False), (100, 2, False),
    ],
)  # fmt: skip
def test_the_listing_is_asked_where_the_run_spares_more_than_the_trial_takes(symbols: int, count: int, listed: bool) -> None:
    days = [FEBRUARY + timedelta(days=number) for number in range(count)]
    active = {f"S{number}USDT": days for number in range(symbols)}
    plans: list[DatasetPlan] = [MetricsPlan(datetime(2026, 6, 1, tzinfo=timezone.utc))]
    for may_list in (True, False):
        worklist = Worklist(None, plans, active, Window(days[0], days[-1]), incremental=True, may_list=may_list)
        fetches = [fetch for job in worklist.jobs() for fetch in job.begin().fetches]
        assert len(fetches) == symbols * count
        assert {fetch.among is not None for fetch in fetches} == {listed and may_list}
        (work,) = worklist.datasets
        planned = worklist.plan_of(work, "S0USDT", days)
        assert {planned.cost(fetch).requests for fetch in fetches} == {1 if listed and may_list else 2}
