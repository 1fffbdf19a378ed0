"""Random histories of runs over one symbol-day: what was committed stays, whatever the sources say and in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.models import Row, Status
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.routing import DayRoute
from cryptoservice.sources.verdict import Verdict, next_funding_step, next_step
from cryptoservice.storage.ledger import StoredDay
from tests.unit.fakes import FEBRUARY

MONTHLY, DAILY, REST = Source.MONTHLY, Source.DAILY, Source.REST
BARS = 4
ROUTES = [(MONTHLY, DAILY, REST), (DAILY, REST), (REST, DAILY), (MONTHLY, DAILY), (DAILY,), (REST,)]
ARCHIVE_TROUBLE = [AnswerKind.ABSENT, AnswerKind.DISTRUSTED, AnswerKind.FAILED, AnswerKind.REFUSED]
REST_TROUBLE = [AnswerKind.NOT_SERVED, AnswerKind.FAILED, AnswerKind.REFUSED]


@dataclass
class Ledger:
    """The database of one symbol-day, and all that any source has ever said of each row."""

    stored: StoredDay | None = None
    said: dict[tuple[Any, Source], set[Row]] = field(default_factory=dict)


@st.composite
def answers(draw: st.DrawFn, source: Source) -> SourceAnswer:
    """Rows of some bars, one of three values each and perhaps a blank, or a kind of trouble."""
    trouble = REST_TROUBLE if source is REST else ARCHIVE_TROUBLE
    kind = draw(st.sampled_from([AnswerKind.ROWS] * 4 + trouble))
    if kind is not AnswerKind.ROWS:
        return SourceAnswer(kind, reason="why")
    bars = draw(st.sets(st.integers(0, BARS - 1)))
    values = st.sampled_from([1.0, 2.0, 3.0, None])
    return SourceAnswer(kind, [(bar, draw(st.sampled_from([1.0, 2.0, 3.0])), draw(values)) for bar in sorted(bars)])


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[DayRoute, dict[Source, SourceAnswer]]]:
    """Some runs: the day ages from run to run, routes and answers are drawn anew."""
    age, history = 0, []
    for _ in range(draw(st.integers(1, 6))):
        age += draw(st.integers(1, 8))
        route = DayRoute(FEBRUARY, age, draw(st.sampled_from(ROUTES)), BARS)
        history.append((route, {source: draw(answers(source)) for source in Source}))
    return history


def play(ledger: Ledger, route: DayRoute, said: dict[Source, SourceAnswer]) -> Verdict:
    """One run over the day, and what it commits."""
    evidence: dict[Source, SourceAnswer] = {}
    while isinstance(step := next_step(route, evidence, ledger.stored), Source):
        assert step not in evidence, "no source is asked twice"
        evidence[step] = said[step]
        for row in said[step].rows:
            ledger.said.setdefault((row[0], step), set()).add(row)
    if step.is_news:
        ledger.stored = StoredDay(step.status, step.reason, list(step.rows), step.marks)
    return step


def trust(mark: int) -> int:
    """The most trusted source in a mark: 1 monthly, 2 daily, 3 REST."""
    return max(number for number, source in enumerate(Source, start=1) if mark & source.mark)


def check_history(history: list[tuple[DayRoute, dict[Source, SourceAnswer]]]) -> None:
    ledger = Ledger()
    for route, said in history:
        before = ledger.stored
        verdict = play(ledger, route, said)
        after = ledger.stored
        assert after is not None
        keys = [row[0] for row in after.rows]
        assert keys == sorted(set(keys))
        assert len(after.marks) == len(keys), "every row has its source"
        assert (after.status is Status.COMPLETE) <= (len(keys) == BARS)
        marks = dict(zip(keys, after.marks, strict=True))
        rows = {row[0]: row for row in after.rows}
        for key, row in rows.items():
            of_sources = [source for source in Source if marks[key] & source.mark]
            for column in (1, 2):
                known = {old[column] for source in of_sources for old in ledger.said.get((key, source), ())}
                assert row[column] in known, "a value that none of its sources ever gave"
        if before is None:
            continue
        for old, mark in zip(before.rows, before.marks, strict=True):
            new = rows.get(old[0])
            assert new is not None, "a committed row is gone"
            if new != old:
                filled = all(after_ == before_ or before_ is None for before_, after_ in zip(old, new, strict=True))
                assert filled or trust(marks[old[0]]) >= trust(mark), "a value gave way to less trust"
        if before.status is Status.COMPLETE:
            assert after.status is Status.COMPLETE, "a day was complete once"
        if not verdict.is_news:
            assert after is before
            assert (verdict.trouble is None) or before.status.settled


@given(runs())
@settings(max_examples=100)
def test_what_was_committed_stays(history: list[tuple[DayRoute, dict[Source, SourceAnswer]]]) -> None:
    check_history(history)


@pytest.mark.slow
@given(runs())
@settings(max_examples=2000, deadline=None)
def test_what_was_committed_stays_in_two_thousand_histories(history: list[tuple[DayRoute, dict[Source, SourceAnswer]]]) -> None:
    check_history(history)


@given(
    st.permutations(range(4)), st.lists(answers(DAILY), min_size=2, max_size=2), st.lists(answers(REST), min_size=2, max_size=2)
)
@settings(max_examples=100)
def test_the_order_of_runs_decides_nothing_about_which_rows_are_there(
    order: list[int], daily: list[SourceAnswer], rest: list[SourceAnswer]
) -> None:
    """Each run has one source alone; in whatever order they come, the same rows are stored in the end."""
    asked = [(DAILY, answer) for answer in daily] + [(REST, answer) for answer in rest]
    ends = []
    for sequence in (range(4), order):
        ledger = Ledger()
        for number in sequence:
            source, answer = asked[number]
            play(ledger, DayRoute(FEBRUARY, 30, (source,), BARS), dict.fromkeys(Source, answer))
        assert ledger.stored is not None
        ends.append([row[0] for row in ledger.stored.rows])
    assert ends[0] == ends[1]


def test_the_hour_that_was_lost() -> None:
    """The archive lacks the last bar and REST the first. The API answers 451 in run 1, and run 2 asks REST alone."""
    archive = SourceAnswer(AnswerKind.ROWS, [(bar, 1.0, 1.0) for bar in (0, 1, 2)])
    rest = SourceAnswer(AnswerKind.ROWS, [(bar, 1.0, 1.0) for bar in (1, 2, 3)])
    refused = SourceAnswer(AnswerKind.REFUSED, reason="http_451")
    ledger = Ledger()
    first = play(ledger, DayRoute(FEBRUARY, 30, (DAILY, REST), BARS), {DAILY: archive, REST: refused})
    assert (first.status, first.reason) == (Status.INCOMPLETE, "rest: http_451")
    second = play(ledger, DayRoute(FEBRUARY, 30, (REST,), BARS), {REST: rest})
    assert (second.status, second.reason, [row[0] for row in second.rows]) == (Status.COMPLETE, None, [0, 1, 2, 3])
    assert second.marks == bytes([DAILY.mark, REST.mark, REST.mark, REST.mark])
    assert second.sources == (DAILY, REST)


def test_a_blank_of_rest_that_the_archive_fills_is_booked_with_both() -> None:
    rest = SourceAnswer(AnswerKind.ROWS, [(0, 1.0, None), (1, 1.0, 1.0), (2, 1.0, 1.0), (3, 1.0, 1.0)])
    archive = SourceAnswer(AnswerKind.ROWS, [(0, 9.0, 7.0)])
    ledger = Ledger()
    verdict = play(ledger, DayRoute(FEBRUARY, 30, (REST, DAILY), BARS), {REST: rest, DAILY: archive})
    assert verdict.rows[0] == (0, 1.0, 7.0)
    assert verdict.marks[0] == DAILY.mark | REST.mark
    assert (verdict.status, verdict.sources) == (Status.COMPLETE, (DAILY, REST))


def test_funding_rates_of_one_moment_and_two_types_both_stay() -> None:
    stored = StoredDay(Status.COMPLETE, None, [(5, 0.1, None, "Regular")], bytes([MONTHLY.mark]))
    rest = SourceAnswer(AnswerKind.ROWS, [(5, 0.2, 3.0, "Special")])
    verdict = next_funding_step(DayRoute(FEBRUARY, 30, (REST, MONTHLY), 0), {REST: rest}, stored)
    assert isinstance(verdict, Verdict)
    assert list(verdict.rows) == [(5, 0.1, None, "Regular"), (5, 0.2, 3.0, "Special")]
    assert verdict.expected_rows == 2


def test_a_newer_version_of_an_object_replaces_what_the_older_one_brought() -> None:
    old = [(bar, 1.0, 1.0) for bar in range(BARS)]
    new = SourceAnswer(AnswerKind.ROWS, [(bar, 2.0, 2.0) for bar in range(BARS)])
    for source, kept in ((DAILY, False), (REST, True)):
        stored = StoredDay(Status.COMPLETE, None, old, bytes([source.mark] * BARS))
        verdict = next_step(DayRoute(FEBRUARY, 30, (DAILY,), BARS), {DAILY: new}, stored)
        assert isinstance(verdict, Verdict)
        assert (list(verdict.rows) == old) is kept, "rows of REST do not give way to the archive"
