"""Fetches: days joined into as few requests as possible, and the archive object that a fetch means."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.binance.archive_files import ArchiveFile, FileRange
from cryptoservice.days import Window
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.evidence import Source
from cryptoservice.sources.grouping import Fetch, Grouping, WantedFiles, days_at_once

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
            assert fetch.window.length <= most
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


WANTED = st.dictionaries(
    st.sampled_from(["A", "B", "C", "D", "E", "F", "G", "H", "I"]),
    st.sets(st.integers(0, 40), max_size=30).map(lambda found: [FIRST + timedelta(days=number) for number in sorted(found)]),
)
FIRST = date(2026, 1, 20)


@given(WANTED, st.integers(1, 5))
def test_all_symbols_at_once_cover_exactly_what_is_wanted(wanted: dict[str, list[date]], most: int) -> None:
    fetches = list(Grouping(Dataset.FUNDING_RATES, Freq.h1, most).market_fetches(wanted))
    covered = [(symbol, day) for fetch in fetches for symbol, days in fetch.wanted.items() for day in days]
    assert sorted(covered) == sorted((symbol, day) for symbol, days in wanted.items() for day in days)
    assert sum(fetch.symbol_days for fetch in fetches) == len(covered)
    asked = [day for fetch in fetches for day in fetch.days]
    assert asked == sorted({day for days in wanted.values() for day in days})
    for fetch in fetches:
        assert (fetch.symbol, fetch.source, fetch.window.length) == ("", REST, len(fetch.days)), "no day that nobody wants"
        assert len(fetch.days) <= most
        for symbol, days in fetch.wanted.items():
            assert set(days) <= set(fetch.days)
            assert fetch.of_symbol(symbol) == Fetch(Dataset.FUNDING_RATES, Freq.h1, REST, symbol, days)


def cost(days: Sequence[date]) -> int:
    """A request for every ten days of a symbol from its first to its last."""
    return -(-((days[-1] - days[0]).days + 1) // 10) if days else 0


def total(wanted: Mapping[str, Sequence[date]], at_once: frozenset[date], a_day: int) -> int:
    return a_day * len(at_once) + sum(cost([day for day in days if day not in at_once]) for days in wanted.values())


@given(WANTED, st.integers(1, 4))
def test_days_at_once_cost_no_more_than_none_of_them_or_all_that_many_want(wanted: dict[str, list[date]], a_day: int) -> None:
    chosen = days_at_once(wanted, a_day, cost)
    symbols = Counter(day for days in wanted.values() for day in days)
    shared = frozenset(day for day, count in symbols.items() if count > a_day)
    assert chosen <= shared
    assert total(wanted, chosen, a_day) <= min(total(wanted, frozenset(), a_day), total(wanted, shared, a_day))
    assert not chosen or total(wanted, chosen, a_day) < total(wanted, frozenset(), a_day), "by symbol where both cost the same"


def test_a_few_days_of_many_symbols_pay_and_years_of_some_do_not() -> None:
    years = [FIRST + timedelta(days=number) for number in range(1000)]
    last = years[-1:]
    night = {f"S{number}": last for number in range(100)}
    assert days_at_once(night, 6, cost) == frozenset(last)
    assert days_at_once(dict.fromkeys(night, years[-30:]), 6, cost) == frozenset(years[-30:])
    assert days_at_once(dict.fromkeys(night, years), 6, cost) == frozenset(years)
    # Three pages a symbol against six a day.
    assert days_at_once(dict.fromkeys(night, years), 6, lambda days: -(-len(days) // 333)) == frozenset()
    # A symbol that is new to the universe asks for its own years.
    assert days_at_once({**night, "NEW": years}, 6, cost) == frozenset(last)
    assert days_at_once(dict.fromkeys("ABCDEF", last), 6, cost) == frozenset()
    assert days_at_once(dict.fromkeys("ABCDEFG", last), 6, cost) == frozenset(last)
    assert days_at_once({}, 6, cost) == frozenset()


# -- what is looked up in the bucket listing -----------------------------------------------------------------------------


def daily(symbol: str, day: date) -> ArchiveFile:
    return ArchiveFile.daily(Dataset.METRICS, symbol, Freq.m5, day)


def test_three_objects_of_a_month_share_a_page_and_two_do_not() -> None:
    grouping = Grouping(Dataset.METRICS, Freq.m5, 5)
    january = [date(2026, 1, number) for number in (3, 17, 30)]
    february = [date(2026, 2, 1), date(2026, 2, 2)]
    sources = dict.fromkeys([*january, *february], DAILY) | {date(2026, 1, 4): REST}
    listed = grouping.worth_listing("AUSDT", sources)
    files = FileRange(daily("AUSDT", january[0]), daily("AUSDT", january[-1]))
    assert listed == {(DAILY, date(2026, 1, 1)): WantedFiles(files, Window(january[0], january[-1]), 3)}
    grouping = Grouping(Dataset.METRICS, Freq.m5, 5, listed=listed)
    # A file that is fetched although nobody wants its day is among them when it lies between them.
    steps = dict.fromkeys([date(2026, 1, 2), *january, date(2026, 1, 18), date(2026, 1, 31), *february], DAILY)
    assert {fetch.days[0].isoformat(): fetch.among for fetch in grouping.fetches("AUSDT", steps)} == {
        "2026-01-02": None, "2026-01-03": files, "2026-01-17": files, "2026-01-18": files, "2026-01-30": files,
        "2026-01-31": None, "2026-02-01": None, "2026-02-02": None,
    }  # fmt: skip
    assert all(fetch.among is None for fetch in grouping.fetches("AUSDT", dict.fromkeys(january, REST)))


def test_the_months_of_a_symbol_share_a_page() -> None:
    grouping = Grouping(KLINES, Freq.m5, 5)
    days = [date(2025, 11, 20), date(2025, 11, 21), date(2025, 12, 31), date(2026, 2, 5)]
    listed = grouping.worth_listing("AUSDT", dict.fromkeys(days, MONTHLY))
    first, last = (ArchiveFile.monthly(KLINES, "AUSDT", Freq.m5, day) for day in (days[0], days[-1]))
    assert listed == {(MONTHLY, None): WantedFiles(FileRange(first, last), Window(date(2025, 11, 1), date(2026, 2, 28)), 3)}
    fetches = list(Grouping(KLINES, Freq.m5, 5, listed=listed).fetches("AUSDT", dict.fromkeys(days, MONTHLY)))
    assert [fetch.among for fetch in fetches] == [FileRange(first, last)] * 3
    # The day's own object is not among the months.
    assert next(Grouping(KLINES, Freq.m5, 5, listed=listed).fetches("AUSDT", {days[0]: DAILY})).among is None


@given(STEPS)
def test_a_page_is_asked_for_only_where_it_spares_two_requests(steps: dict[date, Source]) -> None:
    grouping = Grouping(KLINES, Freq.m5, 3)
    listed = grouping.worth_listing("AUSDT", steps)
    fetches = list(Grouping(KLINES, Freq.m5, 3, listed=listed).fetches("AUSDT", steps))
    assert [(fetch.source, fetch.days) for fetch in fetches] == [
        (fetch.source, fetch.days) for fetch in grouping.fetches("AUSDT", steps)
    ]
    by_page = Counter(fetch.among for fetch in fetches if fetch.among)
    assert by_page == {wanted.files: wanted.wanted for wanted in listed.values()}
    assert all(count >= 3 for count in by_page.values())
    for fetch in fetches:
        if fetch.among:
            assert fetch.among.first.key <= fetch.archive_file.key <= fetch.among.last.key
