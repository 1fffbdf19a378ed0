"""The job of market metrics: its archive files must be aligned before their rows can be filed under bars.

Which bar a label names is decided for each file by the symbol's own klines (`sources/alignment.py`): those in the database,
else 5m klines that are fetched as evidence and not stored. Under end labels 00:00 .. 23:55 a day's last bar stands in the next
day's file, so that file is asked for as well where it is not wanted anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date

from cryptoservice.days import ONE_DAY, day_start_ms
from cryptoservice.download.jobs.job import Job, Step, StoredDays, nothing_stored
from cryptoservice.models import DAY_MS, Dataset, Freq, Status
from cryptoservice.sources.alignment import BAR_MS, Bars, Reading, count_votes, reading_by_labels, under
from cryptoservice.sources.datasets import DatasetPlan, KlinesPlan
from cryptoservice.sources.decoding import Answers
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.grouping import Fetch
from cryptoservice.sources.union import ABSENCE_AGE_DAYS
from cryptoservice.sources.verdict import Verdict
from cryptoservice.storage.ledger import StoredDay

KnownBars = Callable[[date], Bars]
"""What the klines in the database say about the bars of a day."""


def no_bars(_: date) -> Bars:
    """For a database without klines of the symbol."""
    return Bars()


class MetricsJob(Job):
    """One symbol's wanted days of metrics."""

    def __init__(
        self,
        plan: DatasetPlan,
        symbol: str,
        days: Iterable[date],
        evidence_plan: KlinesPlan,
        stored: StoredDays = nothing_stored,
        known_bars: KnownBars = no_bars,
    ) -> None:
        super().__init__(plan, symbol, days, self._stored_under_own_bars)
        self._stored_as_it_is = stored
        self._known_bars = known_bars
        self._evidence_plan = evidence_plan
        self._files: dict[date, SourceAnswer] = {}
        """What the archive said of each day's file; rows are keyed by their label."""
        self._readings: dict[date, Reading] = {}
        self._undecided: set[date] = set()
        """Days whose file neither its labels nor the klines in the database decide."""
        self._fetched_bars: dict[date, Bars] = {}
        self._klines_trouble: dict[date, str] = {}
        """Days for which klines should have come and did not: their files cannot be aligned in this run."""
        self._klines_wanted: set[date] = set()
        self._klines: Job | None = None
        """Fetches klines as evidence; its verdicts are used here and not stored."""
        self._next_files: set[date] = set()
        """Days whose file another day needs for its last bar."""
        self._extra_files: set[date] = set()
        """Those of them that were asked for although nobody wants the day itself."""
        self._asked_of_rest: set[date] = set()

    def receive(self, fetch: Fetch, answers: Answers) -> Step:
        """A fetch of this job has brought these answers: files, REST rows, or klines as evidence."""
        if fetch.dataset is Dataset.KLINES:
            return self._receive_klines(fetch, answers)
        if fetch.source is Source.REST:
            self._asked_of_rest.difference_update(fetch.days)
            return super().receive(fetch, answers)
        self.fetches_open -= 1
        self._files.update(answers)
        # Another day may have waited for this file.
        return self._advance(self._open_days())

    def _open_days(self) -> list[date]:
        waiting = self._waiting_for_rest.keys() | self._asked_of_rest
        return [day for day in self.days if day in self._files and day not in waiting]

    def _advance(self, days: Iterable[date]) -> Step:
        step = super()._advance(days)
        self._asked_of_rest.update(day for fetch in step.fetches if fetch.source is Source.REST for day in fetch.days)
        self._ask_for_files(step)
        if self._klines_wanted and self.fetches_open == 0:
            self._ask_for_klines(step)
        return step

    def _next(self, day: date) -> Source | Verdict | None:
        file = self._files.get(day)
        if file is not None and Source.DAILY not in self._evidence.get(day, {}):
            answer = self._aligned(day, file)
            if answer is None:
                return None
            self._evidence.setdefault(day, {})[Source.DAILY] = answer
        found = super()._next(day)
        return self._with_reading(day, found) if isinstance(found, Verdict) and found.is_news else found

    def _stored_under_own_bars(self, day: date) -> StoredDay | None:
        """What is stored of a day; where its labels were unproven and are not any more, it is judged anew.

        Rows of the archive whose labels were taken for starts and turn out to be ends are left out.
        """
        stored = self._stored_as_it_is(day)
        reading = self._readings.get(day, Reading.UNPROVEN)
        if stored is None or reading is Reading.UNPROVEN or Reading.of_reason(stored.reason) is not Reading.UNPROVEN:
            return stored
        wrong = Source.DAILY.mark if reading is Reading.ENDS_BARS else None
        kept = [(row, mark) for row, mark in zip(stored.rows, stored.marks, strict=True) if mark != wrong]
        rows, marks = [row for row, _ in kept], bytes(mark for _, mark in kept)
        return stored._replace(status=Status.INCOMPLETE, rows=rows, marks=marks)

    def _with_reading(self, day: date, verdict: Verdict) -> Verdict:
        """The verdict with the word of the reading in its reason, wherever rows of the archive are in it."""
        if Source.DAILY not in verdict.sources or Reading.of_reason(verdict.reason) is not None:
            return verdict
        stored = self._stored(day)
        reading = self._readings.get(day) or Reading.of_reason(stored.reason if stored else None)
        return replace(verdict, reason="; ".join(filter(None, (verdict.reason, reading and reading.value))) or None)

    def _aligned(self, day: date, file: SourceAnswer) -> SourceAnswer | None:
        """The file's answer with its rows keyed by bar; None while a decision waits for klines or for the next file."""
        if file.kind is not AnswerKind.ROWS or not file.rows:
            return file
        reading = self._reading(day, file)
        if reading is None:
            return self._without_klines(day)
        start, end = day_start_ms(day), day_start_ms(day) + DAY_MS
        reason = "; ".join(filter(None, (reading.value, file.reason)))
        rows = under(reading, file.rows, range(start, end))
        aligned = replace(file, rows=rows, reason=reason)
        if reading is Reading.ENDS_BARS and not (rows and rows[-1][0] == end - BAR_MS):
            following = self._following_file(day)
            if following is None:
                return None
            rows = [*rows, *following.rows]
            if not self._is_final(day, following):
                # The last bar may yet come, so this day's answer is not whole either.
                aligned = SourceAnswer(following.kind, reason=f"the next day's file: {following.reason}", origin=file.origin)
        return replace(aligned, rows=rows)

    def _following_file(self, day: date) -> SourceAnswer | None:
        """The next day's file with the last bar of this day as its only row; None while it is on its way."""
        following = day + ONE_DAY
        file = self._files.get(following)
        if self._routes[day].age <= 1:
            # The next day is not over, so there is no file of it yet.
            return SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive")
        if file is None:
            self._next_files.add(following)
            return None
        if file.kind is not AnswerKind.ROWS or not file.rows:
            return file
        reading = self._reading(following, file)
        if reading is None:
            return self._without_klines(following)
        midnight = day_start_ms(following)
        return replace(file, rows=under(reading, file.rows, range(midnight - BAR_MS, midnight)))

    def _without_klines(self, day: date) -> SourceAnswer | None:
        """The answer of a file that cannot be aligned in this run; None while klines are on their way."""
        trouble = self._klines_trouble.get(day)
        return SourceAnswer(AnswerKind.FAILED, reason=f"no klines to align with ({trouble})") if trouble else None

    def _is_final(self, day: date, following: SourceAnswer) -> bool:
        """Whether the next day's file will say no more than this."""
        if following.kind is AnswerKind.ROWS:
            return True
        old = self._routes[day].age - 1 >= ABSENCE_AGE_DAYS
        return old and following.kind in (AnswerKind.ABSENT, AnswerKind.DISTRUSTED)

    def _reading(self, day: date, file: SourceAnswer) -> Reading | None:
        """What the labels of a file mean; None while klines are on their way."""
        if day not in self._readings and day not in self._undecided:
            reading = reading_by_labels(file.rows, day_start_ms(day) + DAY_MS)
            if reading is None:
                bars = self._known_bars(day)
                reading = count_votes(file.rows, bars).reading
                if reading is Reading.UNPROVEN and not bars.are_whole(day_start_ms(day)):
                    # Klines of the source may say more than what is stored.
                    self._undecided.add(day)
                    self._klines_wanted.add(day)
                    return None
            self._readings[day] = reading
        elif day in self._fetched_bars:
            self._readings[day] = count_votes(file.rows, self._fetched_bars.pop(day)).reading
        return self._readings.get(day)

    def _ask_for_files(self, step: Step) -> None:
        """Files of days that are not wanted themselves."""
        for day in sorted(self._next_files - self._files.keys() - self._extra_files):
            if day not in self._routes:
                self._extra_files.add(day)
                self._fetch(step, {day: Source.DAILY})

    def _ask_for_klines(self, step: Step) -> None:
        days, self._klines_wanted = sorted(self._klines_wanted), set()
        self._klines = Job(self._evidence_plan, self.symbol, days)
        self._take_klines(step, self._klines.begin())
        self._go_on_with_klines(step)

    def _receive_klines(self, fetch: Fetch, answers: Answers) -> Step:
        assert self._klines is not None  # noqa: S101 - only such a job asks for klines
        self.fetches_open -= 1
        step = Step()
        self._take_klines(step, self._klines.receive(fetch, answers))
        self._go_on_with_klines(step)
        return step

    def _go_on_with_klines(self, step: Step) -> None:
        """All days that may have waited for klines, once these have come or could not be had."""
        if self._klines is not None and self._klines.is_finished:
            step.add(self._advance(self._open_days()))

    def _take_klines(self, step: Step, found: Step) -> None:
        step.fetches += found.fetches
        self.fetches_open += len(found.fetches)
        for _, day, verdict, _ in found.ended:
            if not verdict.status.settled and not verdict.rows:
                self._klines_trouble[day] = verdict.reason or verdict.status.value
                continue
            bars = Bars()
            bars.add(verdict.rows, Freq.m5)
            self._fetched_bars[day] = bars
