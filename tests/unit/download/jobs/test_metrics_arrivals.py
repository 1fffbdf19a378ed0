"""The job of metrics under any order of arrivals and any failures: every day ends, and a row stands only under its own bar."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone

import pytest

from cryptoservice.download.jobs.job import EndedDay, Step
from cryptoservice.download.jobs.metrics_job import MetricsJob
from cryptoservice.models import Dataset, Freq, Row, Status
from cryptoservice.sources.alignment import BAR_MS, Bars
from cryptoservice.sources.datasets import KlinesPlan, MetricsPlan
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.grouping import Fetch
from tests.unit.download.jobs.test_metrics_job import END, REACHING_MIDNIGHT, START, file, klines_of, truth
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS

WINDOW = [FEBRUARY + timedelta(days=number) for number in range(5)]
AFTER = WINDOW[-1] + timedelta(days=1)
TROUBLES = (
    SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive"),
    SourceAnswer(AnswerKind.FAILED, reason="http_503"),
    SourceAnswer(AnswerKind.DISTRUSTED, reason="checksum_mismatch"),
    SourceAnswer(AnswerKind.REFUSED, reason="http_451"),
    SourceAnswer(AnswerKind.NOT_SERVED, reason="history_ended"),
)


@dataclass
class Story:
    """What the sources hold, who fails, and in which order answers arrive: all of it from one seed."""

    seed: int
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        # Half of the stories have no trouble at all, so that their rows are known exactly.
        self.trouble = self.chance.choice((0.0, 0.25))
        self.days = sorted(self.chance.sample(WINDOW, self.chance.randint(1, len(WINDOW))))
        self.now = datetime.combine(AFTER, time(12), timezone.utc) + timedelta(days=self.chance.choice((0, 1, 3, 40)))
        self.conventions = {day: self.chance.choice((START, END, REACHING_MIDNIGHT)) for day in [*WINDOW, AFTER]}
        if self.chance.random() < 0.5:
            self.conventions = dict.fromkeys(self.conventions, self.chance.choice((START, END)))
        self.files = {day: self._file(day) for day in [*WINDOW, AFTER]}
        self.in_database = {day for day in self.files if self.chance.random() < 0.5}
        self.rest = SourceAnswer(AnswerKind.ROWS) if self.chance.random() < 0.7 else TROUBLES[-1]

    def _file(self, day: date) -> SourceAnswer:
        if day >= self.now.date() or self.chance.random() < 0.2:
            return TROUBLES[0]
        if self.chance.random() < self.trouble:
            return self.chance.choice(TROUBLES[:3])
        rows = list(file(day, self.conventions[day]).rows)
        if self.chance.random() < 0.3:
            hole = self.chance.randrange(0, 280)
            del rows[hole : hole + self.chance.randint(1, 40)]
        if self.chance.random() < 0.2:
            del rows[self.chance.choice((0, -1))]
        return SourceAnswer(AnswerKind.ROWS, rows)

    def known_bars(self, day: date) -> Bars:
        bars = Bars()
        if day in self.in_database:
            bars.add(klines_of(day), Freq.m5)
        return bars

    def answers(self, fetch: Fetch) -> Mapping[date, SourceAnswer]:
        if fetch.dataset is Dataset.METRICS and fetch.source is not Source.REST:
            return {day: self.files[day] for day in fetch.days}
        if self.chance.random() < self.trouble:
            return dict.fromkeys(fetch.days, self.chance.choice(TROUBLES[1:4]))
        if fetch.dataset is Dataset.KLINES:
            return {day: SourceAnswer(AnswerKind.ROWS, klines_of(day)) for day in fetch.days}
        if self.rest.kind is AnswerKind.ROWS:
            return {day: SourceAnswer(AnswerKind.ROWS, truth(day)) for day in fetch.days}
        return dict.fromkeys(fetch.days, self.rest)

    def rows_of_files(self, day: date) -> list[Row]:
        """The day's rows in its own file, and its last bar where both this file and the next one end their bars."""
        known = {row[0]: row for row in truth(day)}
        bars = set(self._bars_in(day))
        if self.conventions[day] != START and self.files[day].rows:
            bars |= {bar for bar in self._bars_in(day + timedelta(days=1)) if bar == max(known)}
        return [known[bar] for bar in sorted(bars & known.keys())]

    def _bars_in(self, day: date) -> list[int]:
        shift = 0 if self.conventions[day] == START else BAR_MS
        return [row[0] - shift for row in self.files[day].rows]


def play(story: Story) -> tuple[dict[date, EndedDay], list[Fetch]]:
    """Answers arrive in an order by chance. Each day ends once, and nothing is asked twice."""
    job = MetricsJob(
        MetricsPlan(story.now), "AUSDT", story.days, KlinesPlan(Freq.m5, story.now.date()), known_bars=story.known_bars
    )
    ended: dict[date, EndedDay] = {}
    asked: list[Fetch] = []
    under_way: list[Fetch] = []

    def note(step: Step) -> None:
        for day in step.ended:
            assert day.day not in ended, "a day ends once"
            ended[day.day] = day
        asked.extend(step.fetches)
        under_way.extend(step.fetches)

    note(job.begin())
    while under_way:
        assert job.fetches_open == len(under_way)
        fetch = under_way.pop(story.chance.randrange(len(under_way)))
        note(job.receive(fetch, story.answers(fetch)))
        assert len(asked) < 200, "it never comes to an end"
    assert job.is_finished
    assert sorted(ended) == story.days, "every day has ended"
    places = Counter((fetch.dataset, fetch.source, day) for fetch in asked for day in fetch.days)
    assert max(places.values()) == 1, "nothing is asked twice"
    return ended, asked


def check(story: Story) -> None:
    ended, asked = play(story)
    files_asked = {fetch.days[0] for fetch in asked if fetch.dataset is Dataset.METRICS and fetch.source is Source.DAILY}
    assert files_asked <= {*story.days, *(day + timedelta(days=1) for day in story.days)}
    assert all(day < story.now.date() for day in files_asked), "a file of a day that is not over cannot be there"
    for day, (_, _, verdict, _) in ended.items():
        by_bar = {row[0]: row for row in truth(day)}
        assert [row[0] for row in verdict.rows] == sorted({row[0] for row in verdict.rows})
        for row in verdict.rows:
            assert row == by_bar[row[0]], "a row stands under its own bar"
        assert (verdict.status is Status.COMPLETE) == (len(verdict.rows) == 288)
        if Source.DAILY in verdict.sources:
            word = "labels_start_bars" if story.conventions[day] == START else "labels_end_bars"
            assert word in str(verdict.reason), (day, verdict.reason)
        from_rest = Source.REST in verdict.sources
        if not story.trouble and not from_rest:
            assert list(verdict.rows) == story.rows_of_files(day)
        if not story.trouble and story.now.date() - day > timedelta(days=7):
            assert verdict.status.settled, verdict


@pytest.mark.parametrize("first", range(0, 600, 100))
def test_every_day_ends_and_rows_stand_under_their_own_bar(first: int) -> None:
    for seed in range(first, first + 100):
        try:
            check(Story(seed))
        except Exception as error:
            raise AssertionError(f"story {seed}") from error


@pytest.mark.slow
def test_many_more_stories() -> None:
    for seed in range(1000, 9000):
        try:
            check(Story(seed))
        except Exception as error:
            raise AssertionError(f"story {seed}") from error


def test_the_stories_are_worth_telling() -> None:
    """They hold all that a job can meet: extra files, fetched klines, REST, holes, whole days, failures."""
    seen: Counter[str] = Counter()
    for seed in range(600):
        story = Story(seed)
        try:
            ended, asked = play(story)
        except (AssertionError, KeyError):
            continue
        seen.update(verdict.status.value for _, _, verdict, _ in ended.values())
        seen["klines"] += any(fetch.dataset is Dataset.KLINES for fetch in asked)
        seen["rest"] += any(fetch.source is Source.REST and fetch.dataset is Dataset.METRICS for fetch in asked)
        seen["extra"] += any(fetch.dataset is Dataset.METRICS and fetch.days[0] not in story.days for fetch in asked)
    assert set(seen) == {"complete", "confirmed_gap", "incomplete", "failed", "klines", "rest", "extra"}
    assert min(seen.values()) > 20, seen


def test_days_lie_where_the_market_is_known() -> None:
    assert truth(WINDOW[0])[0][0] == FEBRUARY_MS
    assert truth(AFTER)[0][0] == FEBRUARY_MS + len(WINDOW) * DAY
