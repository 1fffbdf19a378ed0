"""Fetches: days joined into as few requests as possible, and the archive object that a fetch means."""

from __future__ import annotations

import itertools
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.days import Window
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.evidence import Source
from cryptoservice.sources.grouping import Fetch, Grouping

MONTHLY, DAILY, REST = Source.MONTHLY, Source.DAILY, Source.REST
KLINES = Dataset.KLINES

STEPS = st.dictionaries(
    st.integers(0, 120).map(lambda offset: date(2025, 12, 20) + timedelta(days=offset)),
    st.sampled_from(list(Source)),
    max_size=60,
)


@given(STEPS, st.integers(1, 10), st.integers(0, 3))
def test_group_covers_every_step_exactly_once_and_nothing_else(steps: dict[date, Source], most: int, gap: int) -> None:
    fetches = list(Grouping(KLINES, Freq.m5, most, gap).fetches("BTCUSDT", steps))
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
    assert set(Grouping(KLINES, Freq.m5, 2).fetches("X", steps)) == {
        Fetch(KLINES, Freq.m5, REST, "X", (day(1), day(2))),
        Fetch(KLINES, Freq.m5, REST, "X", (day(3),)),
        Fetch(KLINES, Freq.m5, REST, "X", (day(5),)),
        Fetch(KLINES, Freq.m5, MONTHLY, "X", (day(6), day(9))),
        Fetch(KLINES, Freq.m5, DAILY, "X", (day(7),)),
    }


def test_a_fetch_names_its_archive_object_and_its_window() -> None:
    days = (date(2026, 2, 3), date(2026, 2, 9))
    monthly = Fetch(KLINES, Freq.m5, MONTHLY, "BTCUSDT", days)
    assert monthly.archive_file.key == "data/futures/um/monthly/klines/BTCUSDT/5m/BTCUSDT-5m-2026-02.zip"
    assert monthly.window == Window(*days)
    daily = Fetch(Dataset.METRICS, Freq.m5, DAILY, "BTCUSDT", days[:1])
    assert daily.archive_file.key == "data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2026-02-03.zip"
