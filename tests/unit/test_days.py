"""UTC days: parsing, milliseconds, windows."""

from __future__ import annotations

import calendar
from datetime import date, datetime, timedelta, timezone

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.days import (
    Window,
    day_number,
    day_of_ms,
    day_of_number,
    day_start_ms,
    month_end,
    month_of,
    parse_day,
    relative_day,
    shorten,
    utc_day,
    utc_text,
)
from cryptoservice.errors import UsageError

DAYS = st.dates(date(2017, 1, 1), date(2100, 1, 1))


def test_parse_day_reads_the_calendar() -> None:
    assert parse_day("2024-02-29", "start") == date(2024, 2, 29)


def test_days_before_today() -> None:
    today = date(2026, 3, 1)
    for text, day in (("yesterday", date(2026, 2, 28)), ("1d", date(2026, 2, 28)), ("0d", today), ("366d", date(2025, 2, 28))):
        assert relative_day(text, today) == day
    for text in ("", "today", "d", "7", "-1d", "7D", " 7d", "7d\n", "1.5d", "1000000d", "2026-02-28", "Yesterday", "\u0667d"):
        assert relative_day(text, today) is None
    assert relative_day("99999d", date(2100, 12, 31)) is not None


def test_parse_day_takes_dates_and_moments_at_midnight_utc() -> None:
    assert parse_day(date(2024, 2, 29), "start") == date(2024, 2, 29)
    east, west = timezone(timedelta(hours=8)), timezone(timedelta(hours=-5))
    for moment in (
        datetime(2024, 2, 29),  # without a time zone it is in UTC
        datetime(2024, 2, 29, tzinfo=timezone.utc),
        datetime(2024, 2, 29, 8, tzinfo=east),
        datetime(2024, 2, 28, 19, tzinfo=west),
        pandas.Timestamp("2024-02-29"),
        pandas.Timestamp("2024-02-29", tz="UTC"),
        pandas.Timestamp("2024-02-29 09:00", tz="Asia/Tokyo"),
    ):
        day = parse_day(moment, "start")
        assert (day, type(day)) == (date(2024, 2, 29), date)


def test_parse_day_refuses_a_time_of_day() -> None:
    east = timezone(timedelta(hours=8))
    for moment in (
        datetime(2024, 2, 29, 12), datetime(2024, 2, 29, 0, 0, 0, 1), datetime(2024, 2, 29, tzinfo=east),
        pandas.Timestamp("2024-02-29 00:00:01"), pandas.Timestamp(1_709_164_800_000_000_001),
        pandas.Timestamp("2024-02-29", tz="Asia/Tokyo"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            parse_day(moment, "end date")
        assert caught.value.message == f"end date: {moment} is not the beginning of a UTC day"
        assert caught.value.hint == "give a day without a time of day"


def test_parse_day_refuses_moments_that_are_none() -> None:
    with pytest.raises(UsageError, match="start date: NaT is not a date"):
        parse_day(pandas.NaT, "start date")
    for moment in (
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
    ):
        with pytest.raises(UsageError, match="has no day in UTC"):
            parse_day(moment, "start date")
    with pytest.raises(UsageError, match="1999-12-31 is before any Binance market"):
        parse_day(date(1999, 12, 31), "start date")


def test_a_window_may_be_open() -> None:
    assert Window.between("2026-02-01", date(2026, 2, 3)) == Window(date(2026, 2, 1), date(2026, 2, 3))
    assert Window.between(None, "2026-02-03") == Window(date(2017, 1, 1), date(2026, 2, 3))
    assert Window.between("2026-02-01", None) == Window(date(2026, 2, 1), date(2100, 12, 31))
    with pytest.raises(UsageError, match="lies before the start date 2026-02-02"):
        Window.between(date(2026, 2, 2), "2026-02-01")


def test_parse_day_refuses_other_forms_and_names_the_place() -> None:
    for text in (
        "2024-2-1", "20240201", "2024-02-01T00:00:00", " 2024-02-01", "2024-02-01\n", "2024/02/01", "", "today",
        "２０２４-02-01", "-024-02-01", None, 20240101,
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            parse_day(text, "start date")  # type: ignore[arg-type]
        assert caught.value.message == f"start date: {text!r} is not a date"
        assert caught.value.hint == "write it as YYYY-MM-DD"


def test_parse_day_refuses_days_that_no_calendar_has() -> None:
    for text in ("2024-02-30", "2023-02-29", "2024-13-01", "2024-00-10", "2024-04-31", "2024-01-00", "0000-01-01"):
        with pytest.raises(UsageError, match=f"end: {text} is not a day of the calendar"):
            parse_day(text, "end")


def test_parse_day_refuses_days_before_any_market() -> None:
    assert parse_day("2017-01-01", "start") == date(2017, 1, 1)
    with pytest.raises(UsageError, match="2016-12-31 is before any Binance market"):
        parse_day("2016-12-31", "start")


def test_parse_day_refuses_days_that_are_too_far_ahead() -> None:
    assert parse_day("2100-12-31", "end") == date(2100, 12, 31)
    with pytest.raises(UsageError, match="2101-01-01 is too far ahead") as caught:
        parse_day("2101-01-01", "end")
    assert caught.value.hint == "the latest accepted day is 2100-12-31"


@pytest.mark.parametrize(
    ("day", "milliseconds"),
    [
        (date(1970, 1, 1), 0),
        (date(2017, 7, 14), 1_499_990_400_000),
        (date(2024, 2, 29), 1_709_164_800_000),
        (date(2026, 2, 1), 1_769_904_000_000),
    ],
)
def test_day_start_ms_against_literals(day: date, milliseconds: int) -> None:
    assert day_start_ms(day) == milliseconds
    assert day_of_ms(milliseconds) == day
    assert day_of_ms(milliseconds + 86_399_999) == day
    assert day_of_ms(milliseconds + 86_400_000) == day + timedelta(days=1)
    assert day_number(day) == milliseconds // 86_400_000


@given(DAYS)
def test_milliseconds_and_numbers_agree_with_datetime(day: date) -> None:
    expected = int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp())
    assert day_start_ms(day) == expected * 1000
    assert utc_day(expected) == day
    assert utc_day(expected + 86_399.999) == day
    assert day_of_number(day_number(day)) == day


def test_utc_text_drops_fractions_of_a_second() -> None:
    assert utc_text(1_769_904_000.999) == "2026-02-01T00:00:00+00:00"


def test_window_counts_both_ends() -> None:
    window = Window(date(2024, 2, 28), date(2024, 3, 1))
    assert window.length == 3
    assert list(window.days()) == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    assert (window.start_ms, window.end_ms) == (1_709_078_400_000, 1_709_337_600_000)


def test_window_knows_what_lies_inside() -> None:
    window = Window(date(2024, 2, 28), date(2024, 3, 1))
    assert date(2024, 2, 28) in window
    assert date(2024, 3, 1) in window
    assert date(2024, 2, 27) not in window
    assert date(2024, 3, 2) not in window
    assert "2024-02-28" not in window


def test_window_parse_refuses_a_reversed_one() -> None:
    assert Window.parse("2024-02-28", "2024-02-28").length == 1
    with pytest.raises(UsageError, match="the end date 2024-02-27 lies before the start date 2024-02-28"):
        Window.parse("2024-02-28", "2024-02-27")


@given(DAYS)
def test_months_against_the_calendar_module(day: date) -> None:
    assert month_of(day) == date(day.year, day.month, 1)
    assert month_end(day) == date(day.year, day.month, calendar.monthrange(day.year, day.month)[1])


def test_shorten_keeps_short_values_and_cuts_long_ones() -> None:
    assert shorten("abc") == "'abc'"
    assert shorten("x" * 100, 10) == "'xxxxxxxxx... (102 characters)"
