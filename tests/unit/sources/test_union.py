"""The union of evidence: sets of rows, never counts."""

from __future__ import annotations

from cryptoservice.models import Row
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.routing import DayRoute
from cryptoservice.sources.union import archive_times, rest_times, unite
from tests.unit.fakes import FEBRUARY

MONTHLY, DAILY, REST = Source.MONTHLY, Source.DAILY, Source.REST
ABSENT = SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive")
FAILED = SourceAnswer(AnswerKind.FAILED, reason="http_503")
DISTRUSTED = SourceAnswer(AnswerKind.DISTRUSTED, reason="zip_unreadable")


def said(*rows: Row) -> SourceAnswer:
    return SourceAnswer(AnswerKind.ROWS, rows)


def test_the_more_trusted_source_wins_but_its_blanks_wipe_out_nothing() -> None:
    union = unite(
        {REST: said((2, None, 9.0), (3, None, 3.0)), DAILY: said((1, 1.0, 1.0), (2, 5.0, 6.0)), MONTHLY: said((1, 7.0, 7.0))}
    )
    assert union.rows == [(1, 1.0, 1.0), (2, 5.0, 9.0), (3, None, 3.0)]
    assert union.sources == (DAILY, REST), "nothing of the month is left"
    assert union.has_blanks


def test_a_blank_of_the_archive_is_final() -> None:
    assert not unite({DAILY: said((1, None))}).has_blanks
    assert unite({}).rows == []


def test_when_the_archive_has_answered() -> None:
    old, young = DayRoute(FEBRUARY, 7, (), 4), DayRoute(FEBRUARY, 6, (), 4)
    cases = [
        (old, {}, None),
        (old, {MONTHLY: said((1,))}, None),
        (young, {MONTHLY: said((1,)), DAILY: said((2,))}, {1, 2}),
        (young, {DAILY: ABSENT}, None),
        (old, {DAILY: ABSENT}, set()),
        (old, {MONTHLY: said((1,)), DAILY: ABSENT}, {1}),
        (old, {MONTHLY: DISTRUSTED, DAILY: ABSENT}, set()),
        (old, {MONTHLY: FAILED, DAILY: ABSENT}, None),
        (old, {MONTHLY: FAILED, DAILY: said((1,))}, {1}),
        (old, {MONTHLY: ABSENT, DAILY: ABSENT}, set()),
        (old, {DAILY: DISTRUSTED}, set()),
        (young, {DAILY: DISTRUSTED}, None),
        (old, {DAILY: FAILED}, None),
    ]
    for route, evidence, times in cases:
        assert archive_times(route, evidence) == times, (route.age, evidence)


def test_when_rest_has_answered() -> None:
    assert rest_times({}) is None
    assert rest_times({REST: DISTRUSTED}) is None
    assert rest_times({REST: said((1,), (2,))}) == {1, 2}
    assert rest_times({REST: said()}) == set()
