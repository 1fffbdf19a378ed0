"""A job from its first fetch to its last verdict, told by hand what arrives."""

from __future__ import annotations

from datetime import date, timedelta

from cryptoservice.download.jobs.job import Job, Step
from cryptoservice.models import Dataset, Freq, Row, SourceObject, Status
from cryptoservice.sources.datasets import FundingPlan, KlinesPlan
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.grouping import Fetch
from cryptoservice.storage.ledger import Series, StoredDay
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, kline

D1, D2, D3 = (FEBRUARY + timedelta(days=number) for number in range(3))
TODAY = date(2026, 6, 1)
PLAN = KlinesPlan(Freq.h12, TODAY)
ABSENT = SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive")
ORIGIN = SourceObject("klines.zip", "ab" * 32, None, "2026-06-01T00:00:00+00:00")


def rows(day: date, *halves: int) -> list[Row]:
    start = FEBRUARY_MS + (day - FEBRUARY).days * DAY
    return [kline(start + half * DAY // 2, 10.0) for half in halves or (0, 1)]


def said(found: list[Row], origin: SourceObject | None = None) -> SourceAnswer:
    return SourceAnswer(AnswerKind.ROWS, found, None, origin)


def asked(step: Step) -> list[tuple[Source, tuple[date, ...]]]:
    return [(fetch.source, fetch.days) for fetch in step.fetches]


def test_a_day_ends_with_its_rows_and_their_object() -> None:
    job = Job(PLAN, "AUSDT", [D1])
    assert (job.series, job.days, job.is_finished) == (Series(Dataset.KLINES, "12h", "AUSDT"), [D1], True)
    step = job.begin()
    assert (asked(step), step.ended, job.fetches_open) == ([(Source.DAILY, (D1,))], [], 1)
    [ended] = job.receive(step.fetches[0], {D1: said(rows(D1), ORIGIN)}).ended
    assert ended.series == job.series
    assert (ended.day, ended.verdict.status, ended.verdict.rows, ended.origin) == (D1, Status.COMPLETE, rows(D1), ORIGIN)
    assert (job.days, job.is_finished) == ([], True)


def test_days_that_need_rest_wait_for_each_other() -> None:
    """Neighbours share pages, so REST is asked when the archive has answered for all."""
    job = Job(PLAN, "AUSDT", [D1, D2, D3])
    [month] = job.begin().fetches
    assert (month.source, month.days) == (Source.MONTHLY, (D1, D2, D3))
    step = job.receive(month, {D1: said(rows(D1, 0)), D2: said(rows(D2)), D3: said([])})
    assert [ended.day for ended in step.ended] == [D2]
    assert asked(step) == [(Source.DAILY, (D1,)), (Source.DAILY, (D3,))]
    first, third = step.fetches
    step = job.receive(third, {D3: ABSENT})
    assert (asked(step), step.ended, job.is_finished) == ([], [], False)
    step = job.receive(first, {D1: ABSENT})
    # Two bars between them are fetched for nothing, which is cheaper than a second request.
    assert asked(step) == [(Source.REST, (D1, D3))]
    step = job.receive(step.fetches[0], {day: said(rows(day)) for day in (D1, D3)})
    assert [(ended.day, ended.verdict.status, ended.origin) for ended in step.ended] == [
        (day, Status.COMPLETE, None) for day in (D1, D3)
    ]
    assert (job.days, job.is_finished) == ([], True)


def test_what_is_stored_is_a_part_of_the_evidence() -> None:
    stored = StoredDay(Status.INCOMPLETE, "rest: http_503", rows(D1, 1), bytes([4]))
    job = Job(PLAN, "AUSDT", [D1], lambda _: stored)
    [daily] = job.begin().fetches
    step = job.receive(daily, {D1: said(rows(D1, 0), ORIGIN)})
    assert asked(step) == [(Source.REST, (D1,))]
    refused = SourceAnswer(AnswerKind.REFUSED, reason="http_451")
    [ended] = job.receive(step.fetches[0], {D1: refused}).ended
    assert (ended.verdict.status, list(ended.verdict.rows), ended.verdict.marks) == (Status.COMPLETE, rows(D1), bytes([2, 4]))
    assert ended.origin == ORIGIN


def test_a_day_that_is_not_over_ends_at_once() -> None:
    job = Job(PLAN, "AUSDT", [TODAY])
    step = job.begin()
    assert [(ended.day, ended.verdict.reason) for ended in step.ended] == [(TODAY, "day_not_finished")]
    assert (step.fetches, job.is_finished, job.days) == ([], True, [])


def test_days_wait_for_what_somebody_else_fetches_for_them() -> None:
    """Pages of all symbols bring two of four days; the other two are then asked for together."""
    days = [FEBRUARY + timedelta(days=number) for number in range(4)]
    job = Job(FundingPlan(TODAY), "AUSDT", days)
    job.expect()
    job.expect()
    step = job.begin()
    assert (asked(step), step.ended, job.is_finished) == ([], [], False)
    fetches = [Fetch(Dataset.FUNDING_RATES, Freq.h1, Source.REST, "AUSDT", tuple(part)) for part in (days[:2], days[2:])]
    rate = (FEBRUARY_MS + DAY, 0.1, None, "Regular")
    step = job.receive(fetches[1], {})
    assert (asked(step), step.ended) == ([], [])
    step = job.receive(fetches[0], {D2: said([rate])})
    assert [(ended.day, ended.verdict.status, ended.verdict.rows) for ended in step.ended] == [(D2, Status.COMPLETE, [rate])]
    assert (asked(step), job.is_finished) == ([(Source.REST, (days[0], days[2], days[3]))], False)
    step = job.receive(step.fetches[0], {day: said([]) for day in (days[0], days[2], days[3])})
    assert [(ended.day, ended.verdict.status) for ended in step.ended] == [
        (day, Status.CONFIRMED_GAP) for day in (days[0], days[2], days[3])
    ]
    assert (job.days, job.is_finished) == ([], True)
