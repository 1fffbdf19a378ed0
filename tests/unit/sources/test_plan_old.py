"""Which source is asked next, and what the evidence means: a table of cases, and the promises that hold for all."""

from __future__ import annotations

import calendar
import itertools
from collections.abc import Mapping
from datetime import date, timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.binance.client import BinanceClient
from cryptoservice.models import Freq, Row, SourceObject, Status
from cryptoservice.sources.datasets import KlinesPlan
from cryptoservice.sources.evidence import AnswerKind, KlineSource, Source, SourceAnswer
from cryptoservice.sources.fetches import Fetch
from cryptoservice.sources.routing import DayRoute, kline_routes
from cryptoservice.sources.verdict import Verdict, next_step
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, kline

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


def case(route: tuple[Source, ...] = FULL_ROUTE, age: int = OLD) -> DayRoute:
    return DayRoute(FEBRUARY, age, route, len(ALL))


Evidence = Mapping[Source, SourceAnswer]

ASKED: list[tuple[DayRoute, Evidence, Source]] = [
    (case(), {}, MONTHLY),
    (case(), {MONTHLY: said(0, 1, 2)}, DAILY),
    (case(), {MONTHLY: said()}, DAILY),
    (case(), {MONTHLY: ABSENT}, DAILY),
    (case(), {MONTHLY: DISTRUSTED}, DAILY),
    (case(), {MONTHLY: FAILED}, DAILY),
    (case(), {MONTHLY: said(0), DAILY: said(0, 1, 2)}, REST),
    (case(), {MONTHLY: said(0, 1), DAILY: said(2, 3)}, REST),
    (case(), {MONTHLY: ABSENT, DAILY: ABSENT}, REST),
    (case(), {MONTHLY: ABSENT, DAILY: DISTRUSTED}, REST),
    (case((DAILY, REST)), {}, DAILY),
    (case((DAILY, REST)), {DAILY: FAILED}, REST),
    (case((REST, DAILY), FRESH), {}, REST),
    (case((REST, DAILY), FRESH), {REST: said(0, 1, 2)}, DAILY),
    (case((REST, DAILY), FRESH), {REST: NOT_SERVED}, DAILY),
    (case((REST,)), {}, REST),
    (case((DAILY,)), {}, DAILY),
]


@pytest.mark.parametrize(("known", "evidence", "source"), ASKED)
def test_the_next_source_of_the_route_is_asked(known: DayRoute, evidence: Evidence, source: Source) -> None:
    assert next_step(known, evidence) is source


BROKEN_DAILY = "rest_alone (daily: checksum_mismatch)"
COMPLETE, GAP, INCOMPLETE, FAILURE = Status.COMPLETE, Status.CONFIRMED_GAP, Status.INCOMPLETE, Status.FAILED

SETTLED: list[tuple[DayRoute, Evidence, Status, str | None, tuple[int, ...], tuple[Source, ...]]] = [
    # All rows from one witness: complete, and nobody else is asked.
    (case(), {MONTHLY: said(*ALL)}, COMPLETE, None, ALL, (MONTHLY,)),
    (case(), {MONTHLY: said(0), DAILY: said(*ALL)}, COMPLETE, None, ALL, (DAILY,)),
    (case(), {MONTHLY: DISTRUSTED, DAILY: DISTRUSTED, REST: said(*ALL)}, COMPLETE, None, ALL, (REST,)),
    (case((REST, DAILY), FRESH), {REST: said(*ALL)}, COMPLETE, None, ALL, (REST,)),
    (case((REST, DAILY), FRESH), {REST: FAILED, DAILY: said(*ALL)}, COMPLETE, None, ALL, (DAILY,)),
    # Nobody has it all, but together they do.
    (case(), {MONTHLY: said(0), DAILY: said(1), REST: said(2, 3)}, COMPLETE, None, ALL, FULL_ROUTE),
    # Two witnesses agree on the hole; monthly and daily are one witness.
    (case(), {MONTHLY: said(0, 1), DAILY: said(0, 1), REST: said(0, 1)}, GAP, "sources_agree", (0, 1), (REST,)),
    (case(), {MONTHLY: said(0), DAILY: said(1), REST: said(0, 1)}, GAP, "sources_agree", (0, 1), (REST,)),
    (case(age=YOUNG), {MONTHLY: ABSENT, DAILY: said(3), REST: said(3)}, GAP, "sources_agree", (3,), (REST,)),
    (case((REST, DAILY), FRESH), {REST: said(3), DAILY: said(3)}, GAP, "sources_agree", (3,), (REST,)),
    (case(), {MONTHLY: said(), DAILY: said(), REST: said()}, GAP, "sources_agree", NO_ROWS, ()),
    # An absent daily object is the archive's answer from seven days on.
    (case(age=7), {MONTHLY: ABSENT, DAILY: ABSENT, REST: said()}, GAP, "sources_agree", NO_ROWS, ()),
    (case(age=7), {MONTHLY: said(0), DAILY: ABSENT, REST: said(0)}, GAP, "sources_agree", (0,), (REST,)),
    (case(age=7), {MONTHLY: ABSENT, DAILY: ABSENT, REST: NOT_SERVED}, GAP, "archive_alone", NO_ROWS, ()),
    (case(age=6), {MONTHLY: ABSENT, DAILY: ABSENT, REST: said()}, INCOMPLETE, "not_published_yet", NO_ROWS, ()),
    (case(age=6), {MONTHLY: ABSENT, DAILY: ABSENT, REST: said(0)}, INCOMPLETE, "not_published_yet", (0,), (REST,)),
    (case(age=6), {MONTHLY: ABSENT, DAILY: ABSENT, REST: NOT_SERVED}, INCOMPLETE, "not_published_yet", NO_ROWS, ()),
    # They differ: the union is kept. Old, nobody will say more; young, the archive may be published anew.
    (case(), {MONTHLY: ABSENT, DAILY: said(0, 1), REST: said(1, 2)}, GAP, "sources_differ", (0, 1, 2), (DAILY, REST)),
    (case(age=7), {MONTHLY: ABSENT, DAILY: ABSENT, REST: said(2)}, GAP, "sources_differ", (2,), (REST,)),
    (case(age=6), {MONTHLY: ABSENT, DAILY: said(0), REST: said(2)}, INCOMPLETE, "sources_differ", (0, 2), (DAILY, REST)),
    (case((REST, DAILY), FRESH), {REST: said(0, 1), DAILY: said(0)}, INCOMPLETE, "sources_differ", (0, 1), (REST,)),
    # Distrusted objects are no witnesses; a monthly one that can be trusted stands in for a daily one that cannot.
    (case(), {MONTHLY: DISTRUSTED, DAILY: said(0), REST: said(0)}, GAP, "sources_agree", (0,), (REST,)),
    # A daily object that is broken for longer than a week is as good as none; before that the archive may yet speak.
    (case(), {MONTHLY: said(0), DAILY: DISTRUSTED, REST: said(0)}, GAP, BROKEN_DAILY, (0,), (REST,)),
    (case(), {MONTHLY: ABSENT, DAILY: DISTRUSTED, REST: said()}, GAP, BROKEN_DAILY, NO_ROWS, ()),
    (case((MONTHLY, DAILY)), {MONTHLY: said(0), DAILY: DISTRUSTED}, INCOMPLETE, "daily: checksum_mismatch", (0,), (MONTHLY,)),
    (case((REST,), age=1), {REST: said(0)}, INCOMPLETE, "too_young_for_one_witness", (0,), (REST,)),
    (case((REST,), age=0), {REST: said(0, 1, 2, 3)}, INCOMPLETE, "day_not_finished", NO_ROWS, ()),
    (case(), {MONTHLY: DISTRUSTED, DAILY: DISTRUSTED, REST: NOT_SERVED}, FAILURE, "daily: checksum_mismatch", NO_ROWS, ()),
    # The API does not know the symbol: the archive is alone.
    (case(), {MONTHLY: said(0), DAILY: said(0, 1), REST: NOT_SERVED}, GAP, "archive_alone", (0, 1), (DAILY,)),
    (case(), {MONTHLY: said(0, 2), DAILY: said(0, 1), REST: NOT_SERVED}, GAP, "archive_alone", (0, 1, 2), (MONTHLY, DAILY)),
    (case((REST, DAILY), FRESH), {REST: NOT_SERVED, DAILY: ABSENT}, INCOMPLETE, "not_published_yet", NO_ROWS, ()),
    # No usable answer this time: what is there is kept, and a later run asks again.
    (case(), {MONTHLY: ABSENT, DAILY: said(0), REST: FAILED}, INCOMPLETE, "rest: http_503", (0,), (DAILY,)),
    (case(), {MONTHLY: said(1), DAILY: FAILED, REST: said(1)}, INCOMPLETE, "daily: http_503", (1,), (REST,)),
    (case(), {MONTHLY: ABSENT, DAILY: FAILED, REST: FAILED}, FAILURE, "rest: http_503", NO_ROWS, ()),
    (case(), {MONTHLY: ABSENT, DAILY: DISTRUSTED, REST: FAILED}, FAILURE, "daily: checksum_mismatch", NO_ROWS, ()),
    (case(), {MONTHLY: FAILED, DAILY: FAILED, REST: NOT_SERVED}, FAILURE, "daily: http_503", NO_ROWS, ()),
    (case(), {MONTHLY: ABSENT, DAILY: said(0), REST: REFUSED}, INCOMPLETE, "rest: http_451", (0,), (DAILY,)),
    (case(), {MONTHLY: FAILED, DAILY: FAILED, REST: REFUSED}, FAILURE, "rest: http_451", NO_ROWS, ()),
    (case(), {MONTHLY: ABSENT, DAILY: ABSENT, REST: REFUSED}, FAILURE, "rest: http_451", NO_ROWS, ()),
    # --kline-source vision: the archive alone.
    (case((MONTHLY, DAILY)), {MONTHLY: said(0), DAILY: said(0)}, GAP, "archive_alone", (0,), (DAILY,)),
    (case((DAILY,)), {DAILY: said()}, GAP, "archive_alone", NO_ROWS, ()),
    (case((DAILY,), 7), {DAILY: ABSENT}, GAP, "archive_alone", NO_ROWS, ()),
    (case((DAILY,), 6), {DAILY: ABSENT}, INCOMPLETE, "not_published_yet", NO_ROWS, ()),
    (case((DAILY,)), {DAILY: DISTRUSTED}, FAILURE, "daily: checksum_mismatch", NO_ROWS, ()),
    (case((DAILY,)), {DAILY: FAILED}, FAILURE, "daily: http_503", NO_ROWS, ()),
    # --kline-source api: REST alone.
    (case((REST,)), {REST: said(0, 3)}, GAP, "rest_alone", (0, 3), (REST,)),
    (case((REST,)), {REST: said()}, GAP, "rest_alone", NO_ROWS, ()),
    (case((REST,)), {REST: FAILED}, FAILURE, "rest: http_503", NO_ROWS, ()),
    (case((REST,)), {REST: NOT_SERVED}, FAILURE, "rest: api_error_-1121", NO_ROWS, ()),
]  # fmt: skip


@pytest.mark.parametrize(("known", "evidence", "status", "reason", "bars", "sources"), SETTLED)
def test_the_day_settles(
    known: DayRoute, evidence: Evidence, status: Status, reason: str | None, bars: tuple[int, ...], sources: tuple[Source, ...]
) -> None:
    outcome = next_step(known, evidence)
    assert isinstance(outcome, Verdict)
    assert (outcome.status, outcome.reason, outcome.sources) == (status, reason, sources)
    assert list(outcome.rows) == rows(bars)
    assert outcome.expected_rows == 4


def test_on_conflict_rest_wins_over_daily_over_monthly() -> None:
    evidence = {MONTHLY: said(0, 1, 2, price=1.0), DAILY: said(1, 2, price=2.0), REST: said(2, price=3.0)}
    outcome = next_step(case(), evidence)
    assert isinstance(outcome, Verdict)
    assert list(outcome.rows) == [*rows((0,), 1.0), *rows((1,), 2.0), *rows((2,), 3.0)]
    assert outcome.sources == (MONTHLY, DAILY, REST)


def test_the_origin_is_the_most_trusted_archive_object_among_the_sources() -> None:
    month = SourceObject("month.zip", "a" * 64, None, "2026-03-10T00:00:00+00:00")
    day = SourceObject("day.zip", "b" * 64, None, "2026-03-10T00:00:00+00:00")
    evidence = {
        MONTHLY: SourceAnswer(AnswerKind.ROWS, rows((0, 1)), origin=month),
        DAILY: SourceAnswer(AnswerKind.ROWS, rows((0,)), origin=day),
        REST: said(3),
    }
    outcome = next_step(case(), evidence)
    assert isinstance(outcome, Verdict)
    assert outcome.origin(evidence) == day
    covered = {**evidence, REST: said(0, 3)}
    outcome = next_step(case(), covered)
    assert isinstance(outcome, Verdict)
    assert outcome.origin(covered) == month
    alone = next_step(case((REST,)), {REST: said(0)})
    assert isinstance(alone, Verdict)
    assert alone.origin({REST: said(0)}) is None


# -- routes ------------------------------------------------------------------------------------------------------

TODAY = date(2026, 3, 10)


def routes(days: list[date], choice: KlineSource = KlineSource.AUTO) -> list[tuple[int, tuple[Source, ...]]]:
    cases = kline_routes(days, TODAY, choice, 4)
    assert [known.day for known in cases] == days
    assert {known.expected_rows for known in cases} <= {4}
    return [(known.age, known.route) for known in cases]


def test_two_days_of_a_closed_month_are_worth_the_monthly_object() -> None:
    assert routes([date(2026, 2, 1), date(2026, 2, 28)]) == [(37, (MONTHLY, DAILY, REST)), (10, (MONTHLY, DAILY, REST))]
    assert routes([date(2026, 2, 28)]) == [(10, (DAILY, REST))]
    assert routes([date(2026, 1, 31), date(2026, 2, 1)]) == [(38, (DAILY, REST)), (37, (DAILY, REST))]


def test_the_running_month_has_no_monthly_object() -> None:
    assert routes([date(2026, 3, 7), date(2026, 3, 8)]) == [(3, (DAILY, REST)), (2, (DAILY, REST))]


def test_days_younger_than_two_start_with_rest() -> None:
    assert routes([date(2026, 3, 8), date(2026, 3, 9)]) == [(2, (DAILY, REST)), (1, (REST, DAILY))]


def test_a_month_is_closed_on_the_day_after_its_last() -> None:
    days = [date(2026, 2, 10), date(2026, 2, 11)]
    on_last = kline_routes(days, date(2026, 2, 28), KlineSource.AUTO, 4)
    day_after = kline_routes(days, date(2026, 3, 1), KlineSource.AUTO, 4)
    assert {known.route for known in on_last} == {(DAILY, REST)}
    assert {known.route for known in day_after} == {(MONTHLY, DAILY, REST)}


def test_a_forced_source_is_the_only_witness() -> None:
    days = [date(2026, 2, 1), date(2026, 2, 2), date(2026, 3, 9)]
    assert [route for _, route in routes(days, KlineSource.API)] == [(REST,)] * 3
    assert [route for _, route in routes(days, KlineSource.VISION)] == [(MONTHLY, DAILY), (MONTHLY, DAILY), (DAILY,)]


# -- promises ----------------------------------------------------------------------------------------------------

ANSWERS = st.sets(st.integers(0, 3)).map(lambda bars: said(*sorted(bars)))
ARCHIVE_WORDS = ANSWERS | st.sampled_from([ABSENT, DISTRUSTED, FAILED, REFUSED])
REST_WORDS = ANSWERS | st.sampled_from([NOT_SERVED, FAILED, REFUSED])
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


@given(ROUTES, st.integers(1, 60), ARCHIVE_WORDS, ARCHIVE_WORDS, REST_WORDS)
def test_every_source_is_asked_at_most_once_and_the_day_always_settles(
    route: tuple[Source, ...], age: int, monthly: SourceAnswer, daily: SourceAnswer, rest: SourceAnswer
) -> None:
    asked, evidence, outcome = play(case(route, age), {MONTHLY: monthly, DAILY: daily, REST: rest})
    assert asked == list(route[: len(asked)])
    times = [row[0] for row in outcome.rows]
    assert times == sorted(set(times))
    assert (outcome.status is COMPLETE) == (len(times) == 4)
    assert (outcome.reason is None) == (outcome.status is COMPLETE)
    if outcome.status is not COMPLETE:
        assert asked == list(route)
        assert set(times) == {row[0] for witness in evidence.values() for row in witness.rows}
    heard = {row for witness in evidence.values() for row in witness.rows}
    assert set(outcome.rows) <= heard
    assert all(evidence[source].kind is AnswerKind.ROWS for source in outcome.sources)


@given(
    ROUTES, st.integers(7, 3000), ANSWERS | st.sampled_from([ABSENT, DISTRUSTED]), ANSWERS | st.just(ABSENT),
    ANSWERS | st.just(NOT_SERVED),
)  # fmt: skip
def test_once_all_have_answered_no_old_day_stays_open(
    route: tuple[Source, ...], age: int, monthly: SourceAnswer, daily: SourceAnswer, rest: SourceAnswer
) -> None:
    outcome = play(case(route, age), {MONTHLY: monthly, DAILY: daily, REST: rest})[2]
    # The API alone cannot settle a symbol that it does not know.
    stuck = route == (REST,) and rest is NOT_SERVED
    # A month that is there but broken says nothing, and leaves the archive alone unable to settle what its day lacks.
    unread = MONTHLY in route and monthly is DISTRUSTED and daily is ABSENT
    stuck = stuck or (unread and (REST not in route or rest is NOT_SERVED))
    assert outcome.status is FAILURE if stuck else outcome.status.settled


STEPS = st.dictionaries(
    st.integers(0, 120).map(lambda offset: date(2025, 12, 20) + timedelta(days=offset)),
    st.sampled_from(list(Source)),
    max_size=60,
)


@given(STEPS, st.integers(1, 10), st.integers(0, 3))
def test_group_covers_every_step_exactly_once_and_nothing_else(steps: dict[date, Source], most: int, gap: int) -> None:
    fetches = list(plan.group("BTCUSDT", steps, max_days=most, max_gap=gap))
    covered = [(day, fetch.source) for fetch in fetches for day in fetch.days]
    assert sorted(covered) == sorted(steps.items())
    for fetch in fetches:
        assert fetch.symbol == "BTCUSDT"
        assert list(fetch.days) == sorted(fetch.days)
        if fetch.source is DAILY:
            assert len(fetch.days) == 1
        elif fetch.source is MONTHLY:
            assert len({(day.year, day.month) for day in fetch.days}) == 1
        else:
            assert len(fetch.days) <= most
            assert all((later - day).days <= gap + 1 for day, later in itertools.pairwise(fetch.days))
    months = [(fetch.days[0].year, fetch.days[0].month) for fetch in fetches if fetch.source is MONTHLY]
    assert len(months) == len(set(months))


def test_group_joins_neighbours_for_rest_and_months_for_the_archive() -> None:
    def day(number: int) -> date:
        return date(2026, 2, number)

    steps = {day(1): REST, day(2): REST, day(3): REST, day(5): REST, day(6): MONTHLY, day(7): DAILY, day(9): MONTHLY}
    assert set(plan.group("X", steps, max_days=2)) == {
        Fetch(REST, "X", (day(1), day(2))),
        Fetch(REST, "X", (day(3),)),
        Fetch(REST, "X", (day(5),)),
        Fetch(MONTHLY, "X", (day(6), day(9))),
        Fetch(DAILY, "X", (day(7),)),
    }


WANTED = st.sets(st.integers(2, 130), min_size=1).map(lambda ages: sorted(TODAY - timedelta(days=age) for age in ages))
# One row of any kind weighs the same here; an object and its checksum are two requests.
OBJECT_REQUESTS = 2


def first_fetches(feed: KlinesPlan, days: list[date]) -> list[Fetch]:
    """What a run asks for before it has heard anything."""
    steps: dict[date, Source] = {}
    for known in feed.cases(days):
        step = feed.step(known, {})
        assert isinstance(step, Source)
        steps[known.day] = step
    return list(feed.group("BTCUSDT", steps))


def least_cost(days: list[date]) -> tuple[int, int]:
    """Requests and days' worth of bytes of the cheapest objects that hold these days, by trying both ways for each month."""
    requests = size = 0
    for _, group in itertools.groupby(days, lambda day: (day.year, day.month)):
        month = list(group)
        length = calendar.monthrange(month[0].year, month[0].month)[1]
        choices = [(OBJECT_REQUESTS * len(month), len(month))]
        if month[0].replace(day=length) < TODAY:
            choices.append((OBJECT_REQUESTS, length))
        best = min(choices)
        requests, size = requests + best[0], size + best[1]
    return requests, size


@given(WANTED, st.sampled_from([KlineSource.AUTO, KlineSource.VISION]))
def test_a_plan_holds_every_wanted_day_once_at_the_least_cost(days: list[date], choice: KlineSource) -> None:
    feed = KlinesPlan(cast("BinanceClient", None), Freq.m5, TODAY, choice)
    fetches = first_fetches(feed, days)
    assert sorted(day for fetch in fetches for day in fetch.days) == days
    costs = [feed.cost(fetch) for fetch in fetches]
    per_day = feed.cost(Fetch(DAILY, "BTCUSDT", (TODAY,))).bytes
    assert (sum(cost.requests for cost in costs), sum(cost.bytes for cost in costs) // per_day) == least_cost(days)
    assert sum(cost.rows for cost in costs) == 288 * len(days)
    assert {cost.weight for cost in costs} == {0}


@given(WANTED)
def test_pages_of_the_api_hold_every_wanted_day_once(days: list[date]) -> None:
    feed = KlinesPlan(cast("BinanceClient", None), Freq.h1, TODAY, KlineSource.API)
    fetches = first_fetches(feed, days)
    assert {fetch.source for fetch in fetches} == {REST}
    assert sorted(day for fetch in fetches for day in fetch.days) == days
    # Neighbours share pages: no more than one request a run of days, and one for every 499 rows of it (20 days of hours).
    runs = 1 + sum((later - day).days > 1 for day, later in itertools.pairwise(days))
    assert sum(feed.cost(fetch).requests for fetch in fetches) <= runs + len(days) // 20 + len(days) // 62


@pytest.mark.parametrize(
    ("new", "new_rows", "old", "old_rows", "replaces"),
    [
        (COMPLETE, 4, COMPLETE, 4, True),
        (COMPLETE, 4, GAP, 3, True),
        (GAP, 3, COMPLETE, 4, False),
        (GAP, 3, GAP, 3, True),
        (GAP, 2, GAP, 3, False),
        (GAP, 4, INCOMPLETE, 3, True),
        (GAP, 2, INCOMPLETE, 3, False),
        (INCOMPLETE, 4, GAP, 3, False),
        (INCOMPLETE, 3, INCOMPLETE, 2, True),
        (FAILURE, 0, INCOMPLETE, 0, False),
        (FAILURE, 0, FAILURE, 0, True),
        (INCOMPLETE, 0, FAILURE, 0, True),
    ],
)
def test_only_a_result_at_least_as_good_replaces(new: Status, new_rows: int, old: Status, old_rows: int, replaces: bool) -> None:
    assert plan.at_least_as_good(new, new_rows, old, old_rows) is replaces
