"""Market metrics: archive files in both label conventions and REST answers to the same rows."""

from __future__ import annotations

import csv
import json
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.binance.parsers.metrics import Labels, RestSeries, detect_labels, join_rest, parse_csv, parse_rest
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import Window
from tests.unit.fakes import RECORDINGS

RECORDED = RECORDINGS / "metrics"
HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)
EVER = range(10**15)
FIVE = 300_000
DAY = 86_400_000
OLD, NEW = date(2026, 6, 24), date(2026, 6, 25)

Row = tuple[Any, ...]


def midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()) * 1000


def stamp(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def row(at: int, value: Any = 1) -> Row:
    """Six different numbers, or the same six blanks."""
    return (at, *(None if value is None else float(value) + column for column in range(6)))


def rows(day: date, first: int = 0, after: int = 288) -> list[Row]:
    return [row(midnight(day) + number * FIVE, number) for number in range(first, after)]


def text(found: list[Row], shift: int, symbol: str = "BTCUSDT") -> str:
    """A file whose labels stand `shift` ms after the start of the bar."""
    lines = [
        ",".join([stamp(at + shift), symbol, *("" if value is None else f"{value:.8f}" for value in values)])
        for at, *values in found
    ]
    return "\n".join([HEADER, *lines]) + "\n"


def parsed(content: str, day: date = OLD, symbol: str = "BTCUSDT") -> list[Row]:
    table = parse_csv(content, symbol, day)
    assert table.conflicting == frozenset()
    assert set(table.days) <= {day}
    return list(table.days.get(day, ()))


def reason(content: str, day: date = OLD) -> str:
    with pytest.raises(InvalidData) as caught:
        parse_csv(content, "BTCUSDT", day)
    return caught.value.reason


# -- recordings -----------------------------------------------------------------------------------------------------------


def test_the_recorded_excerpt_has_its_fifty_rows() -> None:
    content = (RECORDED / "HYPEUSDT-metrics-2025-05-30.excerpt.csv").read_text()
    expected = []
    for line in csv.DictReader(content.splitlines()):
        label = datetime.strptime(line["create_time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        start = label - timedelta(minutes=5)
        numbers = [float(Decimal(line[name])) for name in HEADER.split(",")[2:]]
        expected.append((int(start.timestamp()) * 1000, *numbers))
    table = parse_csv(content, "HYPEUSDT", date(2025, 5, 30))
    assert len(expected) == 50
    assert list(table.days[date(2025, 5, 30)]) == expected
    assert expected[0] == (1748600700000, 14088.01, 473864.30436, 0.51818182, 0.802265, 0.61231884, 1.302922)
    assert table.note == "labels_at_bar_end_by_date", "an excerpt does not show its ends"


def test_recorded_answers_are_read() -> None:
    page = json.loads((RECORDED / "rest.openInterestHist.BTCUSDT.5m.json").read_text())
    expected = {
        entry["timestamp"] - FIVE: {0: float(Decimal(entry["sumOpenInterest"])), 1: float(Decimal(entry["sumOpenInterestValue"]))}
        for entry in page
    }
    assert parse_rest(RestSeries.OPEN_INTEREST, page, "BTCUSDT", EVER) == expected
    assert len(expected) == 3
    page = json.loads((RECORDED / "rest.globalLongShortAccountRatio.BTCUSDT.5m.json").read_text())
    assert parse_rest(RestSeries.GLOBAL_ACCOUNT, page, "BTCUSDT", EVER) == {1788786600000: {4: 1.1133}}


# -- labels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", [date(2021, 1, 1), OLD, NEW, date(2027, 3, 1)])
@pytest.mark.parametrize(("shift", "note"), [(FIVE, "labels_at_bar_end"), (0, "labels_at_bar_start")])
def test_both_conventions_give_the_same_rows_whatever_the_date(day: date, shift: int, note: str) -> None:
    table = parse_csv(text(rows(day), shift), "BTCUSDT", day)
    assert dict(table.days) == {day: rows(day)}
    assert table.note == note


def test_neighbouring_files_around_a_switch_share_a_label_and_no_row() -> None:
    before, after = text(rows(OLD), FIVE), text(rows(NEW), 0)
    shared = "2026-06-25 00:00:00"
    assert before.count(shared) == after.count(shared) == 1
    assert parsed(before, OLD) + parsed(after, NEW) == rows(OLD) + rows(NEW)


@pytest.mark.parametrize(
    ("first", "after", "note"),
    [
        (0, 1, "labels_at_bar_end_by_date"),
        (100, 200, "labels_at_bar_end_by_date"),
        (100, 288, "labels_at_bar_end"),
        (287, 288, "labels_at_bar_end"),
    ],
)
def test_a_part_of_an_old_file(first: int, after: int, note: str) -> None:
    table = parse_csv(text(rows(OLD, first, after), FIVE), "BTCUSDT", OLD)
    assert (dict(table.days), table.note) == ({OLD: rows(OLD, first, after)}, note)


@pytest.mark.parametrize(
    ("first", "after", "note"),
    [
        (0, 1, "labels_at_bar_start"),
        (0, 100, "labels_at_bar_start"),
        (1, 200, "labels_at_bar_start_by_date"),
        (287, 288, "labels_at_bar_start_by_date"),
    ],
)
def test_a_part_of_a_new_file(first: int, after: int, note: str) -> None:
    table = parse_csv(text(rows(NEW, first, after), 0), "BTCUSDT", NEW)
    assert (dict(table.days), table.note) == ({NEW: rows(NEW, first, after)}, note)


def test_a_file_with_both_midnights_gives_no_row_to_its_neighbours() -> None:
    both = text(rows(OLD), 0) + text(rows(OLD)[-1:], FIVE).splitlines()[1] + "\n"
    table = parse_csv(both, "BTCUSDT", OLD)
    assert table.note == "labels_at_bar_end_by_date"
    assert set(table.days) == {OLD}
    assert len(table.days[OLD]) == 288
    table = parse_csv(both.replace("06-25 ", "06-26 ").replace("06-24 ", "06-25 "), "BTCUSDT", NEW)
    assert table.note == "labels_at_bar_start_by_date"
    assert dict(table.days) == {NEW: rows(NEW)}


def test_the_words_for_conventions_are_stable() -> None:
    assert [str(labels) for labels in Labels] == [
        "labels_at_bar_end", "labels_at_bar_start", "labels_at_bar_end_by_date", "labels_at_bar_start_by_date",
    ]  # fmt: skip
    assert detect_labels([], OLD) is Labels.BAR_END_BY_DATE
    assert detect_labels([], NEW) is Labels.BAR_START_BY_DATE


# -- content --------------------------------------------------------------------------------------------------------------


def test_order_line_ends_and_header_do_not_matter() -> None:
    content = text(rows(OLD), FIVE)
    head, *lines = content.splitlines()
    for other in (
        "\n".join([head, *reversed(lines)]),
        "\r\n".join([head, *lines]) + "\r\n",
        "\ufeff" + content + "\n\n",
        "\n".join(lines) + "\n",
    ):
        assert parsed(other) == rows(OLD)
    assert parse_csv(HEADER + "\n", "BTCUSDT", OLD) == RowsByDay({})
    assert parse_csv("", "BTCUSDT", OLD) == RowsByDay({})


def test_identical_rows_collapse_and_conflicting_ones_are_named() -> None:
    assert parsed(text([one for one in rows(OLD) for _ in "12"], FIVE)) == rows(OLD)
    last = rows(OLD)[-1]
    for other in ((*last[:-1], 9.0), (*last[:-1], None)):
        assert parse_csv(text([*rows(OLD), other], FIVE), "BTCUSDT", OLD).conflicting == {OLD}


def test_blank_is_null_and_zero_is_zero() -> None:
    found = rows(OLD)
    found[0] = (found[0][0], None, 0.0, None, 0.0, 0.0, None)
    found[5] = row(found[5][0], None)
    found[287] = (*found[287][:6], None)
    assert parsed(text(found, FIVE)) == found


BAD: dict[str, tuple[str, str]] = {
    "a column more": ("1.0,1.0,1.0,1.0,1.0,1.0,1.0", "wrong_column_count"),
    "a column less": ("1.0,1.0,1.0,1.0,1.0", "wrong_column_count"),
    "NaN": ("NaN,1.0,1.0,1.0,1.0,1.0", "not_finite"),
    "infinite": ("1.0,Infinity,1.0,1.0,1.0,1.0", "not_finite"),
    "minus infinite": ("1.0,-Infinity,1.0,1.0,1.0,1.0", "not_finite"),
    "too large": ("1e999,1.0,1.0,1.0,1.0,1.0", "number_out_of_range"),
    "negative": ("1.0,1.0,1.0,1.0,1.0,-0.5", "number_out_of_range"),
    "a word": ("1.0,1.0,nan,1.0,1.0,1.0", "not_a_number"),
    "quoted": ('1.0,1.0,"1.0",1.0,1.0,1.0', "not_a_number"),
    "a truth value": ("1.0,1.0,true,1.0,1.0,1.0", "not_a_number"),
    "a list": ("1.0,[1.0,1.0],1.0,1.0,1.0", "not_a_number"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_number_disqualifies_the_file(name: str) -> None:
    values, expected = BAD[name]
    assert reason(text(rows(OLD)[:-1], FIVE) + f"2026-06-25 00:00:00,BTCUSDT,{values}\n") == expected


@pytest.mark.parametrize(
    "label",
    ["2026-06-24 00:07:00", "2026-06-24 00:05:01", "2026-06-23 23:55:00", "2026-06-25 00:05:00", "2026-06-24T00:05:00", "",
     "2026-06-24 24:00:00", "1782259500000"],
)  # fmt: skip
def test_labels_off_the_day_and_grid_disqualify_the_file(label: str) -> None:
    assert reason(f"{HEADER}\n{label},BTCUSDT,1,1,1,1,1,1\n") == "time_off_grid"


def test_another_symbol_disqualifies_the_file() -> None:
    assert reason(text(rows(OLD), FIVE, "ETHUSDT")) == "wrong_symbol"
    assert reason(text(rows(OLD)[:3], FIVE) + text(rows(OLD)[3:], FIVE, "ETHUSDT").split("\n", 1)[1]) == "wrong_symbol"


AMOUNT = st.one_of(st.none(), st.integers(0, 10**15).map(lambda scaled: scaled / 10**8))
VALUES = st.tuples(*[AMOUNT] * 6)
TABLES = st.dictionaries(st.integers(0, 287), VALUES, min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(table=TABLES, day=st.sampled_from([OLD, NEW]), shuffle=st.randoms(use_true_random=False), twice=st.booleans())
def test_any_rows_survive_both_conventions(table: dict[int, Row], day: date, shuffle: Any, twice: bool) -> None:
    # With its edge a file shows its convention; the test is about rows, not about guessing.
    table = {0: (1.0,) * 6, 287: (2.0,) * 6} | table
    expected = [(midnight(day) + number * FIVE, *table[number]) for number in sorted(table)]
    jumbled = expected * (2 if twice else 1)
    shuffle.shuffle(jumbled)
    for shift in (FIVE, 0):
        assert parsed(text(jumbled, shift), day) == expected


@settings(max_examples=60, deadline=None)
@given(content=st.text(st.sampled_from('0123456789-:. ,\n"[]{}eENaInfinityBTCUSD\r'), max_size=200), full=st.booleans())
def test_any_text_is_rows_or_invalid_data(content: str, full: bool) -> None:
    line = f"2026-06-24 00:05:00,BTCUSDT,{content}"
    try:
        table = parse_csv(line if full else content, "BTCUSDT", OLD)
    except InvalidData as invalid:
        assert invalid.reason
    else:
        for found in table.days.get(OLD, ()):
            assert len(found) == 7
            assert all(value is None or 0 <= value <= 1e18 for value in found[1:])
            assert 0 <= found[0] - midnight(OLD) < DAY


# -- REST -----------------------------------------------------------------------------------------------------------------

FIELDS = {
    RestSeries.OPEN_INTEREST: {"sumOpenInterest": 0, "sumOpenInterestValue": 1},
    RestSeries.TOP_ACCOUNT: {"longShortRatio": 2},
    RestSeries.TOP_POSITION: {"longShortRatio": 3},
    RestSeries.GLOBAL_ACCOUNT: {"longShortRatio": 4},
    RestSeries.TAKER_VOLUME: {"buySellRatio": 5},
}


def page_of(series: RestSeries, found: list[Row]) -> list[dict[str, Any]]:
    """The endpoint's page of these rows."""
    shift = 0 if series is RestSeries.TAKER_VOLUME else FIVE
    named = {} if series is RestSeries.TAKER_VOLUME else {"symbol": "BTCUSDT"}
    return [
        {**named, **{field: f"{one[1 + column]:.8f}" for field, column in FIELDS[series].items()}, "timestamp": one[0] + shift}
        for one in found
    ]


def test_five_endpoints_and_an_archive_file_give_the_same_rows() -> None:
    assert {series.path for series in RestSeries} == {
        f"/futures/data/{name}"
        for name in ("openInterestHist", "topLongShortAccountRatio", "topLongShortPositionRatio",
                     "globalLongShortAccountRatio", "takerlongshortRatio")
    }  # fmt: skip
    wide = [*rows(date(2026, 6, 23))[-3:], *rows(OLD), *rows(NEW)[:3]]
    parts = [parse_rest(series, page_of(series, wide), "BTCUSDT", EVER) for series in RestSeries]
    table = join_rest(parts, Window(OLD, OLD))
    assert dict(table.days) == dict(parse_csv(text(rows(OLD), FIVE), "BTCUSDT", OLD).days) == {OLD: rows(OLD)}


def test_what_one_endpoint_lacks_is_null() -> None:
    some = [one for number, one in enumerate(rows(OLD)) if number % 10]
    parts = [
        parse_rest(series, page_of(series, some if series is RestSeries.TAKER_VOLUME else rows(OLD)), "BTCUSDT", EVER)
        for series in RestSeries
    ]
    expected = [one if number % 10 else (*one[:6], None) for number, one in enumerate(rows(OLD))]
    assert list(join_rest(parts, Window(OLD, OLD)).days[OLD]) == expected
    assert join_rest([], Window(OLD, OLD)).days == {}


def entry(**changes: Any) -> list[dict[str, Any]]:
    return [{"symbol": "BTCUSDT", "longShortRatio": "1.5", "timestamp": midnight(OLD) + FIVE, **changes}]


def test_forms_of_an_answer() -> None:
    expected = {midnight(OLD): {2: 1.5}}
    assert parse_rest(RestSeries.TOP_ACCOUNT, entry(timestamp=str(midnight(OLD) + FIVE)), "BTCUSDT", EVER) == expected
    assert parse_rest(RestSeries.TOP_ACCOUNT, entry(longShortRatio=1.5, new_field=1), "BTCUSDT", EVER) == expected
    assert parse_rest(RestSeries.TOP_ACCOUNT, entry() * 2, "BTCUSDT", EVER) == expected
    for blank in ("", None):
        assert parse_rest(RestSeries.TOP_ACCOUNT, entry(longShortRatio=blank), "BTCUSDT", EVER) == {midnight(OLD): {2: None}}
    assert parse_rest(RestSeries.TOP_ACCOUNT, [], "BTCUSDT", EVER) == {}


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ({"code": 1}, "unexpected_answer"),
        ([1], "unexpected_answer"),
        ([{}], "unexpected_answer"),
        (entry(timestamp="soon"), "unexpected_answer"),
        (entry(timestamp=None), "unexpected_answer"),
        (entry(timestamp=float("inf")), "unexpected_answer"),
        (entry(timestamp=midnight(OLD) + 1), "time_off_grid"),
        (entry(symbol="ETHUSDT"), "wrong_symbol"),
        (entry(longShortRatio="NaN"), "not_finite"),
        (entry(longShortRatio="x"), "not_a_number"),
        (entry(longShortRatio="1,2"), "not_a_number"),
        (entry(longShortRatio=True), "not_a_number"),
        (entry(longShortRatio=[1]), "not_a_number"),
        (entry(longShortRatio="-1"), "number_out_of_range"),
        (entry() + entry(longShortRatio="2"), "conflicting_rows"),
    ],
)
def test_answers_that_cannot_be_trusted(page: Any, expected: str) -> None:
    with pytest.raises(InvalidData) as caught:
        parse_rest(RestSeries.TOP_ACCOUNT, page, "BTCUSDT", EVER)
    assert caught.value.reason == expected
