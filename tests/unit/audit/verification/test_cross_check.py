"""Which source is asked, in which order, and how two answers compare."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import date, timedelta

import pytest

from cryptoservice.audit.verification.cross_check import Comparison, CrossCheck, Sampled, compare, cross_checks, other_source
from cryptoservice.errors import Interrupted
from cryptoservice.models import Freq, Row
from cryptoservice.sources.evidence import AnswerKind, KlineSource, Source, SourceAnswer
from cryptoservice.sources.fetcher import DatasetFetcher, FetchResult
from cryptoservice.sources.grouping import Fetch
from tests.unit.audit.stored import BTC, HOURS
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS

TODAY = date(2026, 3, 10)
ABSENT = SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive")
FAILED = SourceAnswer(AnswerKind.FAILED, reason="http_503")


class ScriptedFetcher(DatasetFetcher):
    """Answers each fetch as a script says, and notes what was asked."""

    def __init__(self, script: Callable[[Fetch], SourceAnswer]) -> None:
        self._script = script
        self.asked: list[tuple[Source, date]] = []

    def fetch(self, fetch: Fetch) -> FetchResult:
        self.asked.append((fetch.source, fetch.days[0]))
        return FetchResult({fetch.days[0]: self._script(fetch)})


def sampled(day: date = FEBRUARY, other: KlineSource = KlineSource.VISION) -> Sampled:
    return Sampled(Freq.h1, BTC, day, "daily" if other is KlineSource.API else "rest", other)


def rows(count: int) -> SourceAnswer:
    return SourceAnswer(AnswerKind.ROWS, HOURS[:count])


@pytest.mark.parametrize(
    ("stored", "other"),
    [
        ("rest", KlineSource.VISION), ("daily", KlineSource.API), ("monthly", KlineSource.API),
        ("monthly+daily", KlineSource.API),
        ("daily+rest", None), ("monthly+daily+rest", None), (None, None), ("", None), ("hearsay", None),
    ],
)  # fmt: skip
def test_the_other_source_is_the_one_that_gave_no_rows(stored: str | None, other: KlineSource | None) -> None:
    assert other_source(stored) is other


@pytest.mark.parametrize(
    ("other", "today", "answers", "asked", "source", "kind"),
    [
        (KlineSource.API, TODAY, {Source.REST: rows(24)}, "rest", Source.REST, AnswerKind.ROWS),
        (KlineSource.API, TODAY, {Source.REST: FAILED}, "rest", Source.REST, AnswerKind.FAILED),
        (KlineSource.VISION, TODAY, {Source.DAILY: rows(24)}, "daily", Source.DAILY, AnswerKind.ROWS),
        # An object without a row is an answer, too.
        (KlineSource.VISION, TODAY, {Source.DAILY: rows(0)}, "daily", Source.DAILY, AnswerKind.ROWS),
        # Some days stand in the month's object alone.
        (
            KlineSource.VISION, TODAY, {Source.DAILY: ABSENT, Source.MONTHLY: rows(3)}, "daily monthly", Source.MONTHLY,
            AnswerKind.ROWS,
        ),
        # The month's object without this day says nothing about it, so the first answer stands.
        (
            KlineSource.VISION, TODAY, {Source.DAILY: ABSENT, Source.MONTHLY: rows(0)}, "daily monthly", Source.DAILY,
            AnswerKind.ABSENT,
        ),
        (
            KlineSource.VISION, TODAY, {Source.DAILY: FAILED, Source.MONTHLY: ABSENT}, "daily monthly", Source.DAILY,
            AnswerKind.FAILED,
        ),
        # The month is not over: it has no object.
        (KlineSource.VISION, date(2026, 2, 28), {Source.DAILY: ABSENT}, "daily", Source.DAILY, AnswerKind.ABSENT),
    ],
)  # fmt: skip
def test_the_first_source_that_has_rows_is_believed(
    other: KlineSource, today: date, answers: dict[Source, SourceAnswer], asked: str, source: Source, kind: AnswerKind
) -> None:
    fetcher = ScriptedFetcher(lambda fetch: answers[fetch.source])
    (check,) = cross_checks(fetcher, today, [sampled(other=other)], 1, None)
    assert (check.source, check.answer.kind) == (source, kind)
    assert [name.value for name, _ in fetcher.asked] == asked.split()


def test_what_a_check_says_of_itself() -> None:
    failed = CrossCheck(sampled(other=KlineSource.API), Source.REST, FAILED)
    assert (failed.has_rows, failed.failed, failed.reason) == (False, True, "rest: http_503")
    assert failed.to_dict() == {
        "freq": "1h", "symbol": BTC, "date": "2026-02-01", "stored_source": "daily", "reason": "rest: http_503",
    }  # fmt: skip
    silent = CrossCheck(sampled(), Source.DAILY, SourceAnswer(AnswerKind.NOT_SERVED))
    assert (silent.has_rows, silent.failed, silent.reason) == (False, False, "daily: not_served")


def test_checks_come_in_the_order_of_the_sample_however_quick_their_sources_are() -> None:
    days = [FEBRUARY + timedelta(days=number) for number in range(20)]
    second_done = threading.Event()

    def script(fetch: Fetch) -> SourceAnswer:
        if fetch.days[0] == days[0]:
            assert second_done.wait(10)
        elif fetch.days[0] == days[1]:
            second_done.set()
        return rows(24)

    fetcher = ScriptedFetcher(script)
    checks = list(cross_checks(fetcher, TODAY, [sampled(day, KlineSource.API) for day in days], 2, None))
    assert [check.sampled.date for check in checks] == days
    assert sorted(day for _, day in fetcher.asked) == days


def test_only_some_are_fetched_ahead_of_the_comparison() -> None:
    days = [FEBRUARY + timedelta(days=number) for number in range(28)]
    fetcher = ScriptedFetcher(lambda _: rows(24))
    checks = cross_checks(fetcher, TODAY, [sampled(day, KlineSource.API) for day in days], 3, None)
    next(checks)
    checks.close()
    # Three workers and four ahead of them.
    assert len(fetcher.asked) <= 7


def test_a_stop_ends_the_wait_for_a_slow_source() -> None:
    stop, release = threading.Event(), threading.Event()

    def slow(_: Fetch) -> SourceAnswer:
        stop.set()
        release.wait(10)
        return rows(24)

    try:
        with pytest.raises(Interrupted):
            list(cross_checks(ScriptedFetcher(slow), TODAY, [sampled()] * 30, 1, stop))
    finally:
        release.set()


def compared(stored: Sequence[Row], other: Sequence[Row]) -> Comparison:
    return compare(stored, CrossCheck(sampled(other=KlineSource.API), Source.REST, SourceAnswer(AnswerKind.ROWS, other)))


def test_fields_are_compared_as_the_numbers_they_are() -> None:
    # A source that writes 10 or 9007199254740993 means the float that the database keeps.
    whole = [(row[0], 10, 10, 10, 10, 2, 20, 3, 1, 10) for row in HOURS]
    assert compared(HOURS, whole) == Comparison([], 24, 0)
    large = [(FEBRUARY_MS, 1.0, 1.0, 1.0, 1.0, 2.0**53, 0.0, 0, 0.0, 0.0)]
    assert compared(large, [(*large[0][:5], 2**53 + 1, *large[0][6:])]).differences == []
    near = [(*HOURS[0][:4], 10.000000000000002, *HOURS[0][5:]), *HOURS[1:]]
    (difference,) = compared(HOURS, near).differences
    assert difference.to_dict() == {
        "kind": "value", "dataset": "klines", "freq": "1h", "symbol": BTC, "date": "2026-02-01", "open_time": FEBRUARY_MS,
        "field": "close", "stored": 10.0, "other": 10.000000000000002, "stored_source": "daily", "other_source": "rest",
    }  # fmt: skip


def test_every_field_is_compared() -> None:
    changed = [tuple(value + 1 if place else value for place, value in enumerate(HOURS[0]))]
    assert [item.details["field"] for item in compared(HOURS[:1], changed).differences] == [
        "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume",
    ]  # fmt: skip


def test_rows_that_one_side_lacks() -> None:
    result = compared(HOURS[1:], HOURS[:20])
    assert [(item.kind, item.details["open_time"]) for item in result.differences] == [("row_not_stored", FEBRUARY_MS)]
    assert (result.compared, result.lacking) == (19, 4)


def test_a_damaged_value_is_a_difference() -> None:
    damaged = [(FEBRUARY_MS, float("inf"), "much", b"\xff", None, *HOURS[0][5:])]
    found = [item.to_dict()["stored"] for item in compared(damaged, HOURS[:1]).differences]
    assert found == ["inf", "much", "b'\\xff'", "None"]
