"""Verdicts: which source is asked next, and how a day ends. Tables of cases, and the promises that hold for all."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.models import Row, SourceObject, Status
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.routing import DayRoute
from cryptoservice.sources.verdict import Verdict, next_funding_step, next_step, origin_of
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, kline

FIVE = 300_000
HOUR = 3_600_000
MONTHLY, DAILY, REST = Source.MONTHLY, Source.DAILY, Source.REST
FULL_ROUTE = (MONTHLY, DAILY, REST)
SIX_HOURS = 21_600_000
# Four six-hour bars make a day: small enough to write down.
ALL = (0, 1, 2, 3)
NO_ROWS: tuple[int, ...] = ()
OLD, YOUNG, FRESH = 30, 6, 1


def rows(bars: tuple[int, ...], price: float = 1.0) -> list[Row]:
    return [kline(FEBRUARY_MS + bar * SIX_HOURS, price) for bar in bars]


def said(*bars: int, price: float = 1.0) -> SourceAnswer:
    return SourceAnswer(AnswerKind.ROWS, rows(bars, price))


ABSENT = SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive")
DISTRUSTED = SourceAnswer(AnswerKind.DISTRUSTED, reason="checksum_mismatch")
NOT_SERVED = SourceAnswer(AnswerKind.NOT_SERVED, reason="api_error_-1121")
FAILED = SourceAnswer(AnswerKind.FAILED, reason="http_503")
REFUSED = SourceAnswer(AnswerKind.REFUSED, reason="http_451")


def route(sources: tuple[Source, ...] = FULL_ROUTE, age: int = OLD) -> DayRoute:
    return DayRoute(FEBRUARY, age, sources, len(ALL))


Evidence = Mapping[Source, SourceAnswer]

ASKED: list[tuple[DayRoute, Evidence, Source]] = [
    (route(), {}, MONTHLY),
    (route(), {MONTHLY: said(0, 1, 2)}, DAILY),
    (route(), {MONTHLY: said()}, DAILY),
    (route(), {MONTHLY: ABSENT}, DAILY),
    (route(), {MONTHLY: DISTRUSTED}, DAILY),
    (route(), {MONTHLY: FAILED}, DAILY),
    (route(), {MONTHLY: said(0), DAILY: said(0, 1, 2)}, REST),
    (route(), {MONTHLY: said(0, 1), DAILY: said(2, 3)}, REST),
    (route(), {MONTHLY: ABSENT, DAILY: ABSENT}, REST),
    (route(), {MONTHLY: ABSENT, DAILY: DISTRUSTED}, REST),
    (route((DAILY, REST)), {}, DAILY),
    (route((DAILY, REST)), {DAILY: FAILED}, REST),
    (route((REST, DAILY), FRESH), {}, REST),
    (route((REST, DAILY), FRESH), {REST: said(0, 1, 2)}, DAILY),
    (route((REST, DAILY), FRESH), {REST: NOT_SERVED}, DAILY),
    (route((REST,)), {}, REST),
    (route((DAILY,)), {}, DAILY),
]


@pytest.mark.parametrize(("known", "evidence", "source"), ASKED)
def test_the_next_source_of_the_route_is_asked(known: DayRoute, evidence: Evidence, source: Source) -> None:
    assert next_step(known, evidence) is source


BROKEN_DAY, BROKEN_MONTH = "distrusted daily: checksum_mismatch", "distrusted monthly: checksum_mismatch"
BROKEN_DAILY, ALONE_BROKEN = f"rest_alone ({BROKEN_DAY})", f"archive_alone ({BROKEN_DAY})"
YOUNG_BROKEN = "daily: checksum_mismatch"
COMPLETE, GAP, INCOMPLETE, FAILURE = Status.COMPLETE, Status.CONFIRMED_GAP, Status.INCOMPLETE, Status.FAILED

SETTLED: list[tuple[DayRoute, Evidence, Status, str | None, tuple[int, ...], tuple[Source, ...]]] = [
    # All rows from one answer: complete, and nobody else is asked.
    (route(), {MONTHLY: said(*ALL)}, COMPLETE, None, ALL, (MONTHLY,)),
    (route(), {MONTHLY: said(0), DAILY: said(*ALL)}, COMPLETE, None, ALL, (DAILY,)),
    (route(), {MONTHLY: DISTRUSTED, DAILY: DISTRUSTED, REST: said(*ALL)}, COMPLETE, None, ALL, (REST,)),
    (route((REST, DAILY), FRESH), {REST: said(*ALL)}, COMPLETE, None, ALL, (REST,)),
    (route((REST, DAILY), FRESH), {REST: FAILED, DAILY: said(*ALL)}, COMPLETE, None, ALL, (DAILY,)),
    # Nobody has it all, but together they do.
    (route(), {MONTHLY: said(0), DAILY: said(1), REST: said(2, 3)}, COMPLETE, None, ALL, FULL_ROUTE),
    # Two answers agree on the hole; monthly and daily are one answer.
    (route(), {MONTHLY: said(0, 1), DAILY: said(0, 1), REST: said(0, 1)}, GAP, "sources_agree", (0, 1), (REST,)),
    (route(), {MONTHLY: said(0), DAILY: said(1), REST: said(0, 1)}, GAP, "sources_agree", (0, 1), (REST,)),
    (route(age=YOUNG), {MONTHLY: ABSENT, DAILY: said(3), REST: said(3)}, GAP, "sources_agree", (3,), (REST,)),
    (route((REST, DAILY), FRESH), {REST: said(3), DAILY: said(3)}, GAP, "sources_agree", (3,), (REST,)),
    (route(), {MONTHLY: said(), DAILY: said(), REST: said()}, GAP, "sources_agree", NO_ROWS, ()),
    # An absent daily object is the archive's answer from seven days on.
    (route(age=7), {MONTHLY: ABSENT, DAILY: ABSENT, REST: said()}, GAP, "sources_agree", NO_ROWS, ()),
    (route(age=7), {MONTHLY: said(0), DAILY: ABSENT, REST: said(0)}, GAP, "sources_agree", (0,), (REST,)),
    (route(age=7), {MONTHLY: ABSENT, DAILY: ABSENT, REST: NOT_SERVED}, GAP, "archive_alone", NO_ROWS, ()),
    (route(age=6), {MONTHLY: ABSENT, DAILY: ABSENT, REST: said()}, INCOMPLETE, "not_published_yet", NO_ROWS, ()),
    (route(age=6), {MONTHLY: ABSENT, DAILY: ABSENT, REST: said(0)}, INCOMPLETE, "not_published_yet", (0,), (REST,)),
    (route(age=6), {MONTHLY: ABSENT, DAILY: ABSENT, REST: NOT_SERVED}, INCOMPLETE, "not_published_yet", NO_ROWS, ()),
    # They differ: the union is kept. Old, nobody will say more; young, the archive may be published anew.
    (route(), {MONTHLY: ABSENT, DAILY: said(0, 1), REST: said(1, 2)}, GAP, "sources_differ", (0, 1, 2), (DAILY, REST)),
    (route(age=7), {MONTHLY: ABSENT, DAILY: ABSENT, REST: said(2)}, GAP, "sources_differ", (2,), (REST,)),
    (route(age=6), {MONTHLY: ABSENT, DAILY: said(0), REST: said(2)}, INCOMPLETE, "sources_differ", (0, 2), (DAILY, REST)),
    (route((REST, DAILY), FRESH), {REST: said(0, 1), DAILY: said(0)}, INCOMPLETE, "sources_differ", (0, 1), (REST,)),
    # Distrusted objects are no answers; a monthly one that can be trusted stands in for a daily one that cannot.
    (route(), {MONTHLY: DISTRUSTED, DAILY: said(0), REST: said(0)}, GAP, f"sources_agree ({BROKEN_MONTH})", (0,), (REST,)),
    # A daily object that is broken for longer than a week is as good as none; before that the archive may yet speak.
    (route(), {MONTHLY: said(0), DAILY: DISTRUSTED, REST: said(0)}, GAP, f"sources_agree ({BROKEN_DAY})", (0,), (REST,)),
    (route(), {MONTHLY: ABSENT, DAILY: DISTRUSTED, REST: said()}, GAP, BROKEN_DAILY, NO_ROWS, ()),
    (route((MONTHLY, DAILY)), {MONTHLY: said(0), DAILY: DISTRUSTED}, GAP, ALONE_BROKEN, (0,), (MONTHLY,)),
    (route((MONTHLY, DAILY), YOUNG), {MONTHLY: said(0), DAILY: DISTRUSTED}, INCOMPLETE, YOUNG_BROKEN, (0,), (MONTHLY,)),
    (route((REST,), age=1), {REST: said(0)}, INCOMPLETE, "too_young_for_one_source", (0,), (REST,)),
    (route((REST,), age=0), {REST: said(0, 1, 2, 3)}, INCOMPLETE, "day_not_finished", NO_ROWS, ()),
    (route(), {MONTHLY: DISTRUSTED, DAILY: DISTRUSTED, REST: NOT_SERVED}, GAP, ALONE_BROKEN, NO_ROWS, ()),
    # The API does not know the symbol: the archive is alone.
    (route(), {MONTHLY: said(0), DAILY: said(0, 1), REST: NOT_SERVED}, GAP, "archive_alone", (0, 1), (DAILY,)),
    (route(), {MONTHLY: said(0, 2), DAILY: said(0, 1), REST: NOT_SERVED}, GAP, "archive_alone", (0, 1, 2), (MONTHLY, DAILY)),
    (route((REST, DAILY), FRESH), {REST: NOT_SERVED, DAILY: ABSENT}, INCOMPLETE, "not_published_yet", NO_ROWS, ()),
    # No usable answer this time: what is there is kept, and a later run asks again.
    (route(), {MONTHLY: ABSENT, DAILY: said(0), REST: FAILED}, INCOMPLETE, "rest: http_503", (0,), (DAILY,)),
    (route(), {MONTHLY: said(1), DAILY: FAILED, REST: said(1)}, INCOMPLETE, "daily: http_503", (1,), (REST,)),
    (route(), {MONTHLY: ABSENT, DAILY: FAILED, REST: FAILED}, FAILURE, "rest: http_503", NO_ROWS, ()),
    (route(), {MONTHLY: ABSENT, DAILY: DISTRUSTED, REST: FAILED}, FAILURE, "daily: checksum_mismatch", NO_ROWS, ()),
    (route(), {MONTHLY: FAILED, DAILY: FAILED, REST: NOT_SERVED}, FAILURE, "daily: http_503", NO_ROWS, ()),
    (route(), {MONTHLY: ABSENT, DAILY: said(0), REST: REFUSED}, INCOMPLETE, "rest: http_451", (0,), (DAILY,)),
    (route(), {MONTHLY: FAILED, DAILY: FAILED, REST: REFUSED}, FAILURE, "rest: http_451", NO_ROWS, ()),
    (route(), {MONTHLY: ABSENT, DAILY: ABSENT, REST: REFUSED}, FAILURE, "rest: http_451", NO_ROWS, ()),
    # --kline-source vision: the archive alone.
    (route((MONTHLY, DAILY)), {MONTHLY: said(0), DAILY: said(0)}, GAP, "archive_alone", (0,), (DAILY,)),
    (route((DAILY,)), {DAILY: said()}, GAP, "archive_alone", NO_ROWS, ()),
    (route((DAILY,), 7), {DAILY: ABSENT}, GAP, "archive_alone", NO_ROWS, ()),
    (route((DAILY,), 6), {DAILY: ABSENT}, INCOMPLETE, "not_published_yet", NO_ROWS, ()),
    (route((DAILY,)), {DAILY: DISTRUSTED}, GAP, ALONE_BROKEN, NO_ROWS, ()),
    (route((DAILY,), 6), {DAILY: DISTRUSTED}, FAILURE, YOUNG_BROKEN, NO_ROWS, ()),
    (route((DAILY,)), {DAILY: FAILED}, FAILURE, "daily: http_503", NO_ROWS, ()),
    # --kline-source api: REST alone.
    (route((REST,)), {REST: said(0, 3)}, GAP, "rest_alone", (0, 3), (REST,)),
    (route((REST,)), {REST: said()}, GAP, "rest_alone", NO_ROWS, ()),
    (route((REST,)), {REST: FAILED}, FAILURE, "rest: http_503", NO_ROWS, ()),
    (route((REST,)), {REST: NOT_SERVED}, GAP, "rest: api_error_-1121", NO_ROWS, ()),
    (route((REST,), 6), {REST: NOT_SERVED}, FAILURE, "rest: api_error_-1121", NO_ROWS, ()),
]  # fmt: skip


@pytest.mark.parametrize(("known", "evidence", "status", "reason", "bars", "sources"), SETTLED)
def test_the_day_settles(
    known: DayRoute, evidence: Evidence, status: Status, reason: str | None, bars: tuple[int, ...], sources: tuple[Source, ...]
) -> None:
    verdict = next_step(known, evidence)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.reason, verdict.sources) == (status, reason, sources)
    assert list(verdict.rows) == rows(bars)
    assert verdict.expected_rows == 4


def test_on_conflict_rest_wins_over_daily_over_monthly() -> None:
    evidence = {MONTHLY: said(0, 1, 2, price=1.0), DAILY: said(1, 2, price=2.0), REST: said(2, price=3.0)}
    verdict = next_step(route(), evidence)
    assert isinstance(verdict, Verdict)
    assert list(verdict.rows) == [*rows((0,), 1.0), *rows((1,), 2.0), *rows((2,), 3.0)]
    assert verdict.sources == (MONTHLY, DAILY, REST)


def test_the_origin_is_the_most_trusted_archive_object_among_the_sources() -> None:
    month = SourceObject("month.zip", "a" * 64, None, "2026-03-10T00:00:00+00:00")
    day = SourceObject("day.zip", "b" * 64, None, "2026-03-10T00:00:00+00:00")
    evidence = {
        MONTHLY: SourceAnswer(AnswerKind.ROWS, rows((0, 1)), origin=month),
        DAILY: SourceAnswer(AnswerKind.ROWS, rows((0,)), origin=day),
        REST: said(3),
    }
    verdict = next_step(route(), evidence)
    assert isinstance(verdict, Verdict)
    assert origin_of(verdict.sources, evidence) == day
    covered = {**evidence, REST: said(0, 3)}
    verdict = next_step(route(), covered)
    assert isinstance(verdict, Verdict)
    assert origin_of(verdict.sources, covered) == month
    alone = next_step(route((REST,)), {REST: said(0)})
    assert isinstance(alone, Verdict)
    assert origin_of(alone.sources, {REST: said(0)}) is None


ANSWERS = st.sets(st.integers(0, 3)).map(lambda bars: said(*sorted(bars)))
ARCHIVE_ANSWERS = ANSWERS | st.sampled_from([ABSENT, DISTRUSTED, FAILED, REFUSED])
REST_ANSWERS = ANSWERS | st.sampled_from([NOT_SERVED, FAILED, REFUSED])
ROUTES = st.sampled_from([FULL_ROUTE, (DAILY, REST), (REST, DAILY), (MONTHLY, DAILY), (DAILY,), (REST,)])


def play(known: DayRoute, words: Evidence) -> tuple[list[Source], dict[Source, SourceAnswer], Verdict]:
    asked: list[Source] = []
    evidence: dict[Source, SourceAnswer] = {}
    while True:
        step = next_step(known, evidence)
        if isinstance(step, Verdict):
            return asked, evidence, step
        assert step not in asked
        asked.append(step)
        evidence[step] = words[step]


@given(ROUTES, st.integers(1, 60), ARCHIVE_ANSWERS, ARCHIVE_ANSWERS, REST_ANSWERS)
def test_every_source_is_asked_at_most_once_and_the_day_always_settles(
    sources: tuple[Source, ...], age: int, monthly: SourceAnswer, daily: SourceAnswer, rest: SourceAnswer
) -> None:
    asked, evidence, verdict = play(route(sources, age), {MONTHLY: monthly, DAILY: daily, REST: rest})
    assert asked == list(sources[: len(asked)])
    times = [row[0] for row in verdict.rows]
    assert times == sorted(set(times))
    assert (verdict.status is COMPLETE) == (len(times) == 4)
    assert (verdict.reason is None) == (verdict.status is COMPLETE)
    if verdict.status is not COMPLETE:
        assert asked == list(sources)
        assert set(times) == {row[0] for answer in evidence.values() for row in answer.rows}
    answered = {row for answer in evidence.values() for row in answer.rows}
    assert set(verdict.rows) <= answered
    assert all(evidence[source].kind is AnswerKind.ROWS for source in verdict.sources)


@given(
    ROUTES, st.integers(7, 3000), ANSWERS | st.sampled_from([ABSENT, DISTRUSTED]),
    ANSWERS | st.sampled_from([ABSENT, DISTRUSTED]), ANSWERS | st.just(NOT_SERVED),
)  # fmt: skip
def test_once_all_have_answered_no_old_day_stays_open(
    sources: tuple[Source, ...], age: int, monthly: SourceAnswer, daily: SourceAnswer, rest: SourceAnswer
) -> None:
    verdict = play(route(sources, age), {MONTHLY: monthly, DAILY: daily, REST: rest})[2]
    assert verdict.status.settled


# -- metrics and funding rates -----------------------------------------------------------------------------------


def metric(number: int, value: float | None = 1.0) -> Row:
    return (FEBRUARY_MS + number * FIVE, value, 2.0, 3.0, 4.0, 5.0, 6.0)


WHOLE = [metric(number) for number in range(288)]
BLANK = [metric(number, None if number == 7 else 1.0) for number in range(288)]


def metrics_said(rows: list[Row], note: str | None = None) -> SourceAnswer:
    return SourceAnswer(AnswerKind.ROWS, rows, note)


CONFLICTING = SourceAnswer(AnswerKind.DISTRUSTED, reason="conflicting_rows")
HISTORY_ENDED = SourceAnswer(AnswerKind.NOT_SERVED, reason="history_ended")
PAST, WEEK, YESTERDAY = 40, 7, 1

METRICS_SETTLED: list[tuple[int, Mapping[Source, SourceAnswer], Status, str | None, list[Row]]] = [
    (PAST, {DAILY: metrics_said(WHOLE, "labels_end_bars")}, COMPLETE, "labels_end_bars", WHOLE),
    (PAST, {DAILY: metrics_said(BLANK, "labels_end_bars")}, COMPLETE, "labels_end_bars", BLANK),
    (PAST, {DAILY: ABSENT}, GAP, "archive_alone", []),
    (PAST, {DAILY: FAILED}, FAILURE, "daily: http_503", []),
    (YESTERDAY, {DAILY: ABSENT, REST: metrics_said(WHOLE)}, COMPLETE, None, WHOLE),
    (YESTERDAY, {DAILY: ABSENT, REST: metrics_said(BLANK)}, INCOMPLETE, "not_published_yet", BLANK),
    (YESTERDAY, {DAILY: ABSENT, REST: HISTORY_ENDED}, INCOMPLETE, "not_published_yet", []),
    (YESTERDAY, {DAILY: ABSENT, REST: FAILED}, FAILURE, "rest: http_503", []),
    (YESTERDAY, {DAILY: ABSENT, REST: REFUSED}, FAILURE, "rest: http_451", []),
    (YESTERDAY, {DAILY: CONFLICTING, REST: metrics_said(WHOLE)}, COMPLETE, None, WHOLE),
    (YESTERDAY, {DAILY: metrics_said(WHOLE[:100]), REST: metrics_said(WHOLE)}, COMPLETE, None, WHOLE),
    (YESTERDAY, {DAILY: metrics_said(WHOLE[:200]), REST: metrics_said(WHOLE[100:])}, COMPLETE, None, WHOLE),
    (YESTERDAY, {DAILY: metrics_said(WHOLE[9:]), REST: metrics_said(WHOLE[9:])}, GAP, "sources_agree", WHOLE[9:]),
    (YESTERDAY, {DAILY: metrics_said(WHOLE[:100]), REST: metrics_said(BLANK)}, COMPLETE, None, WHOLE),
    (
        YESTERDAY,
        {DAILY: metrics_said(WHOLE[8:]), REST: metrics_said(BLANK)},
        INCOMPLETE,
        "sources_differ",
        [*BLANK[:8], *WHOLE[8:]],
    ),
    (WEEK, {DAILY: ABSENT, REST: HISTORY_ENDED}, GAP, "archive_alone", []),
    (WEEK, {DAILY: ABSENT, REST: metrics_said(BLANK)}, COMPLETE, None, BLANK),
]


def metrics_route(age: int) -> DayRoute:
    return DayRoute(FEBRUARY, age, (DAILY,) if age == PAST else (DAILY, REST), 288)


@pytest.mark.parametrize(("age", "evidence", "status", "reason", "rows"), METRICS_SETTLED)
def test_how_a_day_of_metrics_ends(
    age: int, evidence: Mapping[Source, SourceAnswer], status: Status, reason: str | None, rows: list[Row]
) -> None:
    verdict = next_step(metrics_route(age), evidence)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.reason, list(verdict.rows)) == (status, reason, rows)


def test_half_a_file_whose_labels_were_guessed_says_so() -> None:
    verdict = next_step(metrics_route(PAST), {DAILY: metrics_said(WHOLE[50:90], "labels_unproven")})
    assert isinstance(verdict, Verdict)
    assert (verdict.status, list(verdict.rows)) == (GAP, WHOLE[50:90])
    assert "labels_unproven" in str(verdict.reason)


RATES: list[Row] = [(FEBRUARY_MS, 0.0001, None, "Regular"), (FEBRUARY_MS + 8 * HOUR, 0.0002, None, "Regular")]
LOST = "rest: 1 row left out (not_a_number)"
LACKING = metrics_said(RATES[:1], LOST)
UNKNOWN = SourceAnswer(AnswerKind.NOT_SERVED, reason="api_error_-1121")

FUNDING: list[tuple[int, Mapping[Source, SourceAnswer], Status, str | None, int]] = [
    (YESTERDAY, {REST: metrics_said(RATES)}, COMPLETE, None, 2),
    (YESTERDAY, {REST: metrics_said([])}, GAP, "no_funding_in_rest", 0),
    (PAST, {REST: FAILED}, FAILURE, "rest: http_503", 0),
    (PAST, {REST: CONFLICTING, MONTHLY: metrics_said(RATES)}, COMPLETE, None, 2),
    (PAST, {REST: CONFLICTING, MONTHLY: CONFLICTING}, FAILURE, "rest: conflicting_rows", 0),
    (PAST, {REST: UNKNOWN, MONTHLY: metrics_said(RATES)}, COMPLETE, None, 2),
    (PAST, {REST: REFUSED, MONTHLY: metrics_said(RATES)}, COMPLETE, None, 2),
    (PAST, {REST: UNKNOWN, MONTHLY: metrics_said([])}, GAP, "no_funding_in_monthly", 0),
    (PAST, {REST: UNKNOWN, MONTHLY: ABSENT}, INCOMPLETE, "rest: api_error_-1121", 0),
    (70, {REST: UNKNOWN, MONTHLY: ABSENT}, GAP, "rest: api_error_-1121", 0),
    (70, {REST: REFUSED, MONTHLY: ABSENT}, INCOMPLETE, "rest: http_451", 0),
    (PAST, {REST: UNKNOWN, MONTHLY: FAILED}, FAILURE, "monthly: http_503", 0),
    (PAST, {REST: LACKING, MONTHLY: metrics_said(RATES)}, COMPLETE, LOST, 2),
    (PAST, {REST: LACKING, MONTHLY: ABSENT}, INCOMPLETE, LOST, 1),
    (PAST, {REST: LACKING, MONTHLY: FAILED}, INCOMPLETE, f"monthly: http_503; {LOST}", 1),
    (PAST, {REST: LACKING, MONTHLY: CONFLICTING}, INCOMPLETE, f"monthly: conflicting_rows; {LOST}", 1),
    (PAST, {REST: metrics_said([], LOST), MONTHLY: ABSENT}, FAILURE, LOST, 0),
    (70, {REST: LACKING, MONTHLY: ABSENT}, GAP, f"rest_alone; {LOST}", 1),
    (70, {REST: LACKING, MONTHLY: CONFLICTING}, GAP, f"rest_alone (distrusted monthly: conflicting_rows); {LOST}", 1),
    (70, {REST: LACKING, MONTHLY: REFUSED}, INCOMPLETE, f"monthly: http_451; {LOST}", 1),
]


@pytest.mark.parametrize(("age", "evidence", "status", "reason", "rows"), FUNDING)
def test_how_a_day_of_funding_rates_ends(
    age: int, evidence: Mapping[Source, SourceAnswer], status: Status, reason: str | None, rows: int
) -> None:
    verdict = next_funding_step(DayRoute(FEBRUARY, age, (REST, MONTHLY), 0), evidence)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.reason, len(verdict.rows), verdict.expected_rows) == (status, reason, rows, rows)


@pytest.mark.parametrize("answer", [UNKNOWN, REFUSED, HISTORY_ENDED, LACKING])
def test_the_archive_stands_in_where_rest_refuses(answer: SourceAnswer) -> None:
    funding = DayRoute(FEBRUARY, PAST, (REST, MONTHLY), 0)
    assert next_funding_step(funding, {}) is REST
    assert next_funding_step(funding, {REST: answer}) is MONTHLY
