"""The job of metrics: files are read by their content, and a day's last bar may stand in the next day's file."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from functools import cache

import pytest

from cryptoservice.download.jobs.job import EndedDay, Step, nothing_stored
from cryptoservice.download.jobs.metrics_job import MetricsJob, no_bars
from cryptoservice.models import Dataset, Freq, Row, SourceObject, Status
from cryptoservice.sources.alignment import BAR_MS, Bars
from cryptoservice.sources.datasets import KlinesPlan, MetricsPlan
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.grouping import Fetch
from cryptoservice.storage.ledger import StoredDay
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
D1, D2, D3, D4 = (FEBRUARY + timedelta(days=number) for number in range(4))
END, START, REACHING_MIDNIGHT = "end", "start", "reaching midnight"
ABSENT = SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive")
NOT_SERVED = SourceAnswer(AnswerKind.NOT_SERVED, reason="history_ended")
FAILED = SourceAnswer(AnswerKind.FAILED, reason="http_503")
ORIGIN = SourceObject("metrics.zip", "ab" * 32, None, "2026-06-01T00:00:00+00:00")


@cache
def market() -> tuple[dict[int, Row], dict[int, Row]]:
    """Five days of 5m klines, and the metrics of each bar, both by bar start."""
    chance = random.Random(5)
    klines: dict[int, Row] = {}
    metrics: dict[int, Row] = {}
    price = 100.0
    for number in range(-288, 6 * 288):
        start = FEBRUARY_MS + number * BAR_MS
        opened, price = price, price * math.exp(chance.gauss(0, 0.001))
        volume = chance.uniform(10, 1000)
        taker = volume * chance.uniform(0.2, 0.8)
        klines[start] = (start, opened, max(opened, price), min(opened, price), price, volume, 1.0, 3, taker, 1.0)
        metrics[start] = (start, 50.0, 50.0 * price, 1.5, 1.6, 1.7, taker / (volume - taker))
    return klines, metrics


def truth(day: date) -> list[Row]:
    start = FEBRUARY_MS + (day - FEBRUARY).days * DAY
    return [market()[1][start + number * BAR_MS] for number in range(288)]


def klines_of(day: date) -> list[Row]:
    start = FEBRUARY_MS + (day - FEBRUARY).days * DAY
    return [market()[0][start + number * BAR_MS] for number in range(288)]


def file(day: date, convention: str) -> SourceAnswer:
    """The archive's file of a day: its rows keyed by label."""
    shift = 0 if convention == START else BAR_MS
    first = FEBRUARY_MS + (day - FEBRUARY).days * DAY + (BAR_MS if convention == REACHING_MIDNIGHT else 0)
    labels = [first + number * BAR_MS for number in range(288)]
    return SourceAnswer(AnswerKind.ROWS, [(label, *market()[1][label - shift][1:]) for label in labels], None, ORIGIN)


def bars_of(day: date) -> Bars:
    bars = Bars()
    bars.add(klines_of(day), Freq.m5)
    return bars


class Run:
    """Plays a job to its end against files by day, and notes what was asked."""

    def __init__(
        self,
        days: list[date],
        files: Mapping[date, SourceAnswer],
        known: Callable[[date], Bars] = bars_of,
        klines: SourceAnswer | None = None,
        now: datetime = NOW,
        rest: SourceAnswer = NOT_SERVED,
        stored: Callable[[date], StoredDay | None] = nothing_stored,
    ) -> None:
        self.files, self.klines, self.rest = files, klines, rest
        self.asked: list[tuple[Dataset, Source, tuple[date, ...]]] = []
        self.ended: dict[date, EndedDay] = {}
        job = MetricsJob(MetricsPlan(now), "AUSDT", days, KlinesPlan(Freq.m5, now.date()), stored, known)
        waiting = self._note(job.begin())
        while waiting:
            fetch = waiting.pop(0)
            waiting += self._note(job.receive(fetch, self._answers(fetch)))
        assert job.is_finished
        assert job.days == [], "every day has ended"

    def _note(self, step: Step) -> list[Fetch]:
        self.ended |= {ended.day: ended for ended in step.ended}
        self.asked += [(fetch.dataset, fetch.source, fetch.days) for fetch in step.fetches]
        return list(step.fetches)

    def _answers(self, fetch: Fetch) -> dict[date, SourceAnswer]:
        if fetch.source is Source.REST:
            return dict.fromkeys(fetch.days, self.rest)
        if fetch.dataset is Dataset.METRICS:
            return {day: self.files.get(day, ABSENT) for day in fetch.days}
        return {day: self.klines or SourceAnswer(AnswerKind.ROWS, klines_of(day)) for day in fetch.days}

    def of(self, day: date) -> tuple[Status, str | None, list[Row]]:
        verdict = self.ended[day].verdict
        return verdict.status, verdict.reason, list(verdict.rows)

    def files_asked(self) -> list[date]:
        return sorted(day for dataset, _, days in self.asked for day in days if dataset is Dataset.METRICS)


@pytest.mark.parametrize(
    ("convention", "word", "extra"),
    [
        (START, "labels_start_bars", []),
        (REACHING_MIDNIGHT, "labels_end_bars", []),
        (END, "labels_end_bars", [D4]),
    ],
)
def test_days_are_whole_under_every_convention(convention: str, word: str, extra: list[date]) -> None:
    """Neighbouring wanted days cost no extra object: only the last one needs the file after it."""
    days = [D1, D2, D3]
    run = Run(days, {day: file(day, convention) for day in (*days, D4)})
    for day in days:
        assert run.of(day) == (Status.COMPLETE, word, truth(day))
        assert run.ended[day].origin == ORIGIN
    assert run.files_asked() == [*days, *extra]
    assert {dataset for dataset, _, _ in run.asked} == {Dataset.METRICS}, "the database has klines"


@pytest.mark.parametrize("convention", [START, END])
def test_without_klines_in_the_database_they_are_fetched_as_evidence(convention: str) -> None:
    """A month's 5m object for several days."""
    days = [D1, D2, D3]
    run = Run(days, {day: file(day, convention) for day in (*days, D4)}, known=no_bars)
    word = "labels_start_bars" if convention == START else "labels_end_bars"
    for day in days:
        assert run.of(day) == (Status.COMPLETE, word, truth(day))
    klines = [(source, days) for dataset, source, days in run.asked if dataset is Dataset.KLINES]
    assert klines[0] == (Source.MONTHLY, (D1, D2, D3))
    assert klines[1:] == ([] if convention == START else [(Source.DAILY, (D4,))])


def test_a_day_that_nothing_decides_has_the_reading_that_cannot_look_ahead() -> None:
    nothing = SourceAnswer(AnswerKind.ROWS, [])
    run = Run([D1], {D1: file(D1, END)}, known=no_bars, klines=nothing)
    status, reason, rows = run.of(D1)
    assert (status, reason) == (Status.COMPLETE, "labels_unproven")
    assert rows == list(file(D1, END).rows), "label = start of the bar: late by one bar at worst"


def test_klines_that_could_not_be_had_leave_the_day_open() -> None:
    run = Run([D1], {D1: file(D1, START)}, known=no_bars, klines=FAILED)
    assert run.of(D1) == (Status.FAILED, "daily: no klines to align with (daily: http_503)", [])


def test_a_bar_that_stands_in_no_file_is_a_gap() -> None:
    """END on one day and START on the next: the bar between them is in neither."""
    run = Run([D1, D2], {D1: file(D1, END), D2: file(D2, START)})
    assert run.of(D1) == (Status.CONFIRMED_GAP, "archive_alone; labels_end_bars", truth(D1)[:-1])
    assert run.of(D2) == (Status.COMPLETE, "labels_start_bars", truth(D2))


def test_the_bar_that_stands_in_two_files_counts_once() -> None:
    run = Run([D1, D2], {D1: file(D1, START), D2: file(D2, END), D3: file(D3, END)})
    assert run.of(D1) == (Status.COMPLETE, "labels_start_bars", truth(D1))
    assert run.of(D2) == (Status.COMPLETE, "labels_end_bars", truth(D2))


def test_without_the_next_file_the_last_bar_lacks() -> None:
    """A file that is absent for a week will not come; one that could not be had may hold the bar."""
    run = Run([D1], {D1: file(D1, END), D2: ABSENT})
    assert run.of(D1) == (Status.CONFIRMED_GAP, "archive_alone; labels_end_bars", truth(D1)[:-1])
    run = Run([D1], {D1: file(D1, END), D2: FAILED})
    reason = "daily: the next day's file: http_503; labels_end_bars"
    assert run.of(D1) == (Status.INCOMPLETE, reason, truth(D1)[:-1])
    run = Run([D1], {D1: file(D1, END), D2: ABSENT}, now=datetime(2026, 2, 6, 12, tzinfo=timezone.utc))
    assert run.of(D1)[:2] == (Status.INCOMPLETE, "not_published_yet; labels_end_bars")


def test_yesterday_has_its_last_bar_from_rest() -> None:
    """Today's file is not there before tomorrow, so nobody asks for it."""
    now = datetime(2026, 2, 2, 12, tzinfo=timezone.utc)
    run = Run([D1], {D1: file(D1, END)}, now=now, rest=SourceAnswer(AnswerKind.ROWS, truth(D1)))
    assert run.of(D1) == (Status.COMPLETE, None, truth(D1)), "REST has it all, and nothing of the file is left"
    assert run.files_asked() == [D1, D1], "the file, and REST"
    run = Run([D1], {D1: file(D1, END)}, now=now, rest=SourceAnswer(AnswerKind.ROWS, truth(D1)[200:]))
    assert run.of(D1) == (Status.COMPLETE, "labels_end_bars", truth(D1))
    assert run.ended[D1].verdict.sources == (Source.DAILY, Source.REST)


def test_what_the_archive_gave_keeps_its_word_when_rest_fills_the_rest() -> None:
    """An earlier run stored the file's rows; this one adds a row of REST and cannot reach the archive."""
    rows = truth(D1)[:-1]
    stored = StoredDay(Status.INCOMPLETE, "not_published_yet; labels_end_bars", rows, bytes([2]) * 287)
    now = datetime(2026, 2, 4, 12, tzinfo=timezone.utc)
    rest = SourceAnswer(AnswerKind.ROWS, truth(D1)[250:])
    run = Run([D1], {D1: FAILED}, now=now, rest=rest, stored=lambda _: stored)
    assert run.of(D1) == (Status.COMPLETE, "labels_end_bars", truth(D1))
    assert run.ended[D1].verdict.is_news


def test_rows_that_were_filed_unproven_give_way_to_the_proven_reading() -> None:
    """An earlier run had no klines and took the labels for starts. What REST has said stays."""
    wrong = [(row[0], *row[1:]) for row in file(D1, END).rows]
    assert wrong[0] == (FEBRUARY_MS, *market()[1][FEBRUARY_MS - BAR_MS][1:]), "one bar late"
    rows, marks = [*wrong[:-1], truth(D1)[-1]], bytes([2]) * 287 + bytes([4])
    stored = StoredDay(Status.COMPLETE, "labels_unproven", rows, marks)
    half = SourceAnswer(AnswerKind.ROWS, file(D1, END).rows[100:], None, ORIGIN)
    run = Run([D1], {D1: half, D2: ABSENT}, stored=lambda _: stored)
    assert run.of(D1) == (Status.CONFIRMED_GAP, "archive_alone; labels_end_bars", truth(D1)[99:])
    assert run.ended[D1].verdict.is_news
    started = StoredDay(Status.COMPLETE, "labels_unproven", list(file(D1, START).rows), bytes([2]) * 288)
    run = Run([D1], {D1: SourceAnswer(AnswerKind.ROWS, file(D1, START).rows[100:])}, stored=lambda _: started)
    assert run.of(D1) == (Status.COMPLETE, "labels_start_bars", truth(D1)), "they stood under their own bar"


def test_klines_of_a_day_are_looked_up_once() -> None:
    """A month without a decision would else read every day's klines again with each file that comes."""
    looked_up: list[date] = []

    def flat(day: date) -> Bars:
        looked_up.append(day)
        return Bars()

    days = [D1, D2, D3, D4]
    Run(days, {day: file(day, START) for day in days}, known=flat)
    assert sorted(looked_up) == days


def test_whole_klines_in_the_database_that_do_not_decide_are_not_fetched_again() -> None:
    """A flat market: the same klines once more would say the same."""
    level = [(row[0], 1.0, 1.0, 1.0, 1.0, 10.0, 10.0, 2, 5.0, 5.0) for row in klines_of(D1)]
    rows = [(row[0], 50.0, 50.0, 1.0, 1.0, 1.0, 1.0) for row in truth(D1)]
    bars = Bars()
    bars.add(level, Freq.m5)
    run = Run([D1], {D1: SourceAnswer(AnswerKind.ROWS, rows)}, known=lambda _: bars)
    assert run.of(D1) == (Status.COMPLETE, "labels_unproven", rows)
    assert {dataset for dataset, _, _ in run.asked} == {Dataset.METRICS}


def test_klines_that_nobody_is_asked_for_leave_no_day_waiting() -> None:
    """A plan whose klines end without a fetch, as those of a day that is not over."""
    early = KlinesPlan(Freq.m5, FEBRUARY)
    job = MetricsJob(MetricsPlan(NOW), "AUSDT", [D1], early)
    [fetch] = job.begin().fetches
    step = job.receive(fetch, {D1: file(D1, START)})
    assert [(ended.day, ended.verdict.status) for ended in step.ended] == [(D1, Status.FAILED)]
    assert (job.is_finished, job.days) == (True, [])


def test_a_file_that_is_not_there_is_asked_for_once() -> None:
    run = Run([D1, D2], {D2: file(D2, START)})
    assert run.of(D1) == (Status.CONFIRMED_GAP, "archive_alone", [])
    assert run.files_asked() == [D1, D2]
