"""Verdicts on objects that were published anew: what takes whose place, and what is asked first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.models import Row, SourceObject, Status
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.routing import DayRoute
from cryptoservice.sources.verdict import PublishedAnew, Verdict, next_funding_step, next_step
from cryptoservice.storage.ledger import StoredDay
from tests.unit.fakes import FEBRUARY

MONTHLY, DAILY, REST = Source.MONTHLY, Source.DAILY, Source.REST
OLD = 30
NOT_SERVED = SourceAnswer(AnswerKind.NOT_SERVED, reason="api_error_-1121")
FAILED = SourceAnswer(AnswerKind.FAILED, reason="http_503")
Evidence = Mapping[Source, SourceAnswer]
WAS, IS = "ab" * 32, "cd" * 32
ANEW = PublishedAnew("a.zip", WAS, IS)


def anew(*rows: Row, reason: str | None = None, name: str = "a.zip") -> SourceAnswer:
    """What the newer version of an object says."""
    return SourceAnswer(AnswerKind.ROWS, rows, reason, SourceObject(name, IS, None, "now"))


def built(marks: Sequence[Source], status: Status = Status.COMPLETE, sha256: str = WAS) -> StoredDay:
    """A stored day with a row of each of these sources, and the object that its ledger line names."""
    rows = [(at, float(at)) for at in range(len(marks))]
    return StoredDay(status, None, rows, bytes(source.mark for source in marks), ("a.zip", sha256))


def verdict_on(route: DayRoute, evidence: Evidence, stored: StoredDay) -> Verdict:
    found = next_step(route, evidence, stored)
    assert isinstance(found, Verdict), found
    return found


def test_a_newer_version_of_an_object_takes_the_place_of_the_older_one() -> None:
    three = DayRoute(FEBRUARY, OLD, (DAILY, REST), 3)
    for brought in ([(0, 0.0), (1, 1.0), (2, 2.0)], [(0, 9.0), (1, 1.0), (2, 2.0)]):
        verdict = verdict_on(three, {DAILY: anew(*brought)}, built([DAILY] * 3))
        assert (verdict.status, list(verdict.rows), verdict.is_news) == (Status.COMPLETE, brought, True)
        assert (verdict.superseded, verdict.reason) == (ANEW, f"published_anew (was {WAS})")
        # The same version again says nothing new.
        assert verdict_on(three, {DAILY: anew(*brought)}, built([DAILY] * 3, sha256=IS)).superseded is None


def test_rows_of_rest_stay_when_an_object_is_published_anew() -> None:
    verdict = verdict_on(
        DayRoute(FEBRUARY, OLD, (DAILY, REST), 3), {DAILY: anew((0, 9.0), (1, 9.0), (2, 9.0))}, built([DAILY, REST, DAILY])
    )
    assert list(verdict.rows) == [(0, 9.0), (1, 1.0), (2, 9.0)]
    assert verdict.superseded == ANEW


@pytest.mark.parametrize(
    ("came_from", "sources", "asked"),
    [
        # The month's object could not change what the day's own has brought, and the other way round it is not asked at all.
        ([DAILY], (MONTHLY, DAILY, REST), [DAILY, MONTHLY, REST]),
        ([MONTHLY, DAILY, REST], (MONTHLY, DAILY, REST), [DAILY, MONTHLY, REST]),
        ([MONTHLY], (DAILY, REST), [MONTHLY, DAILY, REST]),
        ([MONTHLY, REST], (MONTHLY, DAILY, REST), [MONTHLY, DAILY, REST]),
        ([DAILY], (REST, DAILY), [DAILY, REST]),
        ([REST], (MONTHLY, DAILY, REST), [MONTHLY, DAILY, REST]),
        ([], (DAILY, REST), [DAILY, REST]),
        # Only REST was chosen.
        ([MONTHLY], (REST,), [REST]),
    ],
)
def test_a_settled_day_begins_with_the_object_that_it_came_from(
    came_from: list[Source], sources: tuple[Source, ...], asked: list[Source]
) -> None:
    def order(stored: StoredDay | None) -> list[Source]:
        evidence: dict[Source, SourceAnswer] = {}
        day = DayRoute(FEBRUARY, OLD, sources, 9)
        while isinstance(source := next_step(day, evidence, stored), Source):
            evidence[source] = SourceAnswer(AnswerKind.ROWS, [(0, 0.0)])
        return list(evidence)

    assert order(built(came_from)) == asked
    assert order(built(came_from, Status.CONFIRMED_GAP)) == asked
    # A day that is still open is asked for as the preview and status foretell it.
    assert order(built(came_from, Status.INCOMPLETE)) == order(None) == list(sources)


def test_a_row_that_the_newer_version_lacks_is_kept() -> None:
    three = DayRoute(FEBRUARY, OLD, (DAILY, REST), 3)
    evidence = {DAILY: anew((0, 9.0), (2, 2.0)), REST: SourceAnswer(AnswerKind.ROWS, [])}
    verdict = verdict_on(three, evidence, built([DAILY] * 3))
    assert (verdict.status, list(verdict.rows)) == (Status.COMPLETE, [(0, 9.0), (1, 1.0), (2, 2.0)])
    assert (verdict.reason, verdict.superseded, verdict.is_news) == (f"published_anew (was {WAS})", ANEW, True)
    # Another source has another value for it, and is trusted more.
    whole = SourceAnswer(AnswerKind.ROWS, [(0, 0.0), (1, 7.0), (2, 2.0)])
    verdict = verdict_on(three, {**evidence, REST: whole}, built([DAILY] * 3))
    assert (verdict.status, verdict.rows[1], verdict.superseded) == (Status.COMPLETE, (1, 7.0), ANEW)


@pytest.mark.parametrize(
    ("marks", "answer"),
    [
        # Rows of other sources, and rows that may be of another source.
        ([DAILY, REST, DAILY], anew((0, 0.0), (2, 2.0))),
        ([DAILY, MONTHLY, DAILY], anew((0, 0.0), (2, 2.0))),
        # It has the row, but the row could not be read.
        ([DAILY] * 3, anew((0, 0.0), (2, 2.0), reason="daily: 1 row left out (high_below_low)")),
        # Another object than the one that the ledger names.
        ([DAILY] * 3, anew((0, 0.0), (2, 2.0), name="b.zip")),
    ],
)
def test_rows_that_stay_although_a_newer_answer_lacks_them(marks: list[Source], answer: SourceAnswer) -> None:
    rest = SourceAnswer(AnswerKind.ROWS, [(0, 0.0), (2, 2.0)])
    verdict = verdict_on(DayRoute(FEBRUARY, OLD, (DAILY, REST), 3), {DAILY: answer, REST: rest}, built(marks))
    assert [row[0] for row in verdict.rows] == [0, 1, 2]
    assert verdict.status is Status.COMPLETE


def test_the_object_that_is_named_is_the_one_that_changed() -> None:
    """The rows come from two objects, and the less trusted one was published anew."""
    other = SourceAnswer(AnswerKind.ROWS, [(1, 1.0)], origin=SourceObject("b.zip", "ef" * 32, None, "now"))
    evidence = {MONTHLY: anew((0, 9.0)), DAILY: other, REST: SourceAnswer(AnswerKind.ROWS, [])}
    verdict = verdict_on(DayRoute(FEBRUARY, OLD, (MONTHLY, DAILY, REST), 3), evidence, built([MONTHLY, MONTHLY]))
    assert (verdict.superseded, list(verdict.rows)) == (ANEW, [(0, 9.0), (1, 1.0)])
    # Also where the other one is whole, so that its answer alone counts.
    whole = replace(other, rows=[(0, 0.0), (1, 1.0), (2, 2.0)])
    verdict = verdict_on(DayRoute(FEBRUARY, OLD, (MONTHLY, DAILY), 3), {**evidence, DAILY: whole}, built([MONTHLY] * 2))
    assert (verdict.status, verdict.superseded) == (Status.COMPLETE, ANEW)


def test_funding_rates_of_a_newer_version() -> None:
    rates = [(at, 0.1, None, "Regular") for at in range(3)]
    stored = StoredDay(Status.COMPLETE, None, rates, bytes([MONTHLY.mark]) * 3, ("a.zip", WAS))
    fewer = [(0, 0.2, None, "Regular"), (2, 0.1, None, "Regular")]
    verdict = next_funding_step(DayRoute(FEBRUARY, OLD, (REST, MONTHLY), 0), {REST: NOT_SERVED, MONTHLY: anew(*fewer)}, stored)
    assert isinstance(verdict, Verdict)
    kept = [fewer[0], rates[1], fewer[1]]
    assert (verdict.status, list(verdict.rows), verdict.expected_rows) == (Status.COMPLETE, kept, 3)
    assert verdict.superseded == ANEW


BARS = st.sets(st.integers(0, 3))


@given(
    st.lists(st.sampled_from([0, MONTHLY.mark, DAILY.mark, REST.mark, DAILY.mark | REST.mark]), min_size=4, max_size=4),
    st.sampled_from(list(Status)),
    BARS,
    st.one_of(st.none(), BARS),
    st.booleans(),
)
def test_no_row_goes_whatever_is_published_anew(
    marks: list[int], status: Status, brought: set[int], rest: set[int] | None, is_newer: bool
) -> None:
    rows = [(at, 0.0) for at, mark in enumerate(marks) if mark]
    stored = StoredDay(status, None, rows, bytes(mark for mark in marks if mark), ("a.zip", WAS if is_newer else IS))
    said = SourceAnswer(AnswerKind.ROWS, [(at, 2.0) for at in sorted(rest)]) if rest is not None else FAILED
    absent = SourceAnswer(AnswerKind.ABSENT)
    evidence = {MONTHLY: absent, DAILY: anew(*((at, 1.0) for at in sorted(brought))), REST: said}
    verdict = verdict_on(DayRoute(FEBRUARY, OLD, (MONTHLY, DAILY, REST), 4), evidence, stored)
    after = {row[0] for row in verdict.rows}
    assert after >= {at for at, _ in rows}
    if verdict.is_news and brought != {0, 1, 2, 3}:
        assert after >= brought | (rest or set())
    if not verdict.is_news:
        assert (list(verdict.rows), verdict.status) == (rows, status)
