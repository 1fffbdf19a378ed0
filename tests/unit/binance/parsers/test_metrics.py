"""Market metrics of archive files: rows by label, bad ones left out."""

from __future__ import annotations

import csv
import hashlib
import random
import zipfile
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.binance.archive_files import ArchiveFile, VerifiedZip, read_zip
from cryptoservice.binance.parsers.metrics import parse_csv
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.models import Dataset, Freq
from tests.unit.fakes import RECORDINGS

RECORDED = RECORDINGS / "metrics"
HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)
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


def text(found: list[Row], symbol: str = "BTCUSDT", blank: str = "") -> str:
    """A file with these rows, each keyed by its label."""
    lines = [
        ",".join([stamp(at), symbol, *(blank if value is None else f"{value:.8f}" for value in values)]) for at, *values in found
    ]
    return "\n".join([HEADER, *lines]) + "\n"


def parsed(content: str, day: date = OLD, symbol: str = "BTCUSDT") -> list[Row]:
    table = parse_csv(content, symbol, day)
    assert table.left_out == {}
    assert set(table.days) <= {day}
    return list(table.days.get(day, ()))


def reason(content: str, day: date = OLD) -> str:
    with pytest.raises(InvalidData) as caught:
        parse_csv(content, "BTCUSDT", day)
    return caught.value.reason


# -- recordings -----------------------------------------------------------------------------------------------------------


def independent(lines: list[str]) -> list[Row]:
    """Recorded lines read with the csv module and Decimal; each row is keyed by its label."""
    found = []
    for line in csv.DictReader(lines):
        label = datetime.strptime(line["create_time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        found.append((int(label.timestamp()) * 1000, *(float(Decimal(line[name])) for name in HEADER.split(",")[2:])))
    return found


def test_the_recorded_day_has_its_288_rows() -> None:
    day = date(2024, 1, 2)
    path = RECORDED / "BTCUSDT-metrics-2024-01-02.zip"
    with zipfile.ZipFile(path) as archive:
        lines = archive.read("BTCUSDT-metrics-2024-01-02.csv").decode().splitlines()
    expected = independent(lines)
    table = read_zip(VerifiedZip(ArchiveFile.daily(Dataset.METRICS, "BTCUSDT", Freq.m5, day), path.read_bytes(), "", None, 0.0))
    assert list(table.days[day]) == expected
    assert table.left_out == {}
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith("a8e8580d")
    # 2024-01-02 00:00 and 23:55 UTC, as `date -u -d @1704153600` says; the values stand in the first and the last line.
    assert (len(expected), expected[0][0], expected[-1][0]) == (288, 1704153600000, 1704239700000)
    assert [row[0] for row in expected] == list(range(1704153600000, 1704240000000, FIVE))
    assert expected[0] == (1704153600000, 76608.798, 3388422457.2996, 1.02072986, 1.25576533, 1.08284578, 1.16475026)


def test_the_recorded_excerpt_has_its_fifty_rows() -> None:
    content = (RECORDED / "HYPEUSDT-metrics-2025-05-30.excerpt.csv").read_text()
    expected = independent(content.splitlines())
    table = parse_csv(content, "HYPEUSDT", date(2025, 5, 30))
    assert len(expected) == 50
    assert list(table.days[date(2025, 5, 30)]) == expected
    # 2025-05-30 10:30 UTC, as `date -u -d @1748601000` says.
    assert expected[0] == (1748601000000, 14088.01, 473864.30436, 0.51818182, 0.802265, 0.61231884, 1.302922)


# -- labels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", [date(2021, 1, 1), OLD, NEW, date(2027, 3, 1)])
@pytest.mark.parametrize(("first", "after"), [(0, 288), (1, 289), (0, 289), (100, 200), (0, 1), (288, 289)])
def test_rows_keep_their_labels_whatever_the_labels_and_the_date_are(day: date, first: int, after: int) -> None:
    found = rows(day, first, after)
    assert parse_csv(text(found), "BTCUSDT", day) == RowsByDay({day: found})


# -- content --------------------------------------------------------------------------------------------------------------


def test_order_line_ends_and_header_do_not_matter() -> None:
    content = text(rows(OLD))
    head, *lines = content.splitlines()
    shuffled = random.Random(1).sample(lines, len(lines))
    for other in (
        "\n".join([head, *reversed(lines)]),
        "\n".join([head, *shuffled]),
        "\n".join([head, *shuffled, *lines]),
        "\n".join([head, *(line for line in lines for _ in "12")]),
        "\r\n".join([head, *lines]) + "\r\n",
        "\r\n".join([head, *lines]) + "\r",
        "\ufeff" + content + "\n\n",
        "\n\n".join(["", head, *lines]),
        "\n".join(lines) + "\n",
    ):
        assert parsed(other) == rows(OLD)
    assert parse_csv(HEADER + "\n", "BTCUSDT", OLD) == RowsByDay({})
    assert parse_csv("", "BTCUSDT", OLD) == RowsByDay({})


def test_conflicting_rows_are_left_out_both() -> None:
    last = rows(OLD)[-1]
    for other in ((*last[:-1], 9.0), (*last[:-1], None)):
        table = parse_csv(text([*rows(OLD), other]), "BTCUSDT", OLD)
        assert table == RowsByDay({OLD: rows(OLD)[:-1]}, {OLD: {"conflicting_rows": 2}})


def test_a_label_of_the_next_midnight_counts_under_the_day_of_its_file() -> None:
    found = rows(OLD, 1, 289)
    table = parse_csv(text([*found, (*found[-1][:-1], 9.0)]), "BTCUSDT", OLD)
    assert table == RowsByDay({OLD: found[:-1]}, {OLD: {"conflicting_rows": 2}})


@pytest.mark.parametrize("blank", ["", '""'])
def test_blank_is_null_and_zero_is_zero(blank: str) -> None:
    found = rows(OLD)
    found[0] = (found[0][0], None, 0.0, None, 0.0, 0.0, None)
    found[5] = row(found[5][0], None)
    found[287] = (*found[287][:6], None)
    assert parsed(text(found, blank=blank)) == found
    assert parsed(text(found, blank=blank).replace("\n", "\r\n")) == found


def test_blanks_of_both_kinds_in_one_row() -> None:
    assert parsed('2026-06-24 00:05:00,BTCUSDT,"",1,,2,"",3\n') == [(midnight(OLD) + FIVE, None, 1.0, None, 2.0, None, 3.0)]


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
    "quotes inside": ('1.0,1.0,1""0.5,1.0,1.0,1.0', "not_a_number"),
    "three quotes": ('1.0,1.0,"""1.0,1.0,1.0,1.0', "not_a_number"),
    "a line end inside": ("1.0,1.0,1\r0.5,1.0,1.0,1.0", "not_a_number"),
    "a broken byte": ("1.0,1.0,1\ufffd,1.0,1.0,1.0", "not_a_number"),
    "a truth value": ("1.0,1.0,true,1.0,1.0,1.0", "not_a_number"),
    "a list": ("1.0,[1.0,1.0],1.0,1.0,1.0", "not_a_number"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("at", [0, 100, 287])
def test_one_bad_row_among_288_costs_itself_alone(name: str, at: int) -> None:
    values, expected = BAD[name]
    head, *lines = text(rows(OLD)).splitlines()
    lines[at] = f"{stamp(rows(OLD)[at][0])},BTCUSDT,{values}"
    for content in ("\n".join([head, *lines]), "\n".join(lines), "\r\n".join([*reversed(lines), ""])):
        assert parse_csv(content, "BTCUSDT", OLD) == RowsByDay({OLD: rows(OLD)[:at] + rows(OLD)[at + 1 :]}, {OLD: {expected: 1}})


OFF_LABELS = [
    "2026-06-24 00:07:00", "2026-06-24 00:05:03", "2026-06-23 23:55:00", "2026-06-25 00:05:00", "2026-06-24T00:05:00",
    "2026-06-24 24:00:00", "1782259500000", "", "\ufffd", " 2026-06-24 00:05:00", '"2026-06-24 00:05:00"',
]  # fmt: skip


@pytest.mark.parametrize("label", OFF_LABELS)
@pytest.mark.parametrize("at", [0, 100, 287])
def test_a_label_off_the_day_or_the_grid_costs_its_row_alone(label: str, at: int) -> None:
    lines = text(rows(OLD)).splitlines()[1:]
    lines[at] = f"{label},BTCUSDT,1,1,1,1,1,1"
    table = parse_csv("\n".join(lines), "BTCUSDT", OLD)
    assert table == RowsByDay({OLD: rows(OLD)[:at] + rows(OLD)[at + 1 :]}, {OLD: {"time_off_grid": 1}})
    assert reason(f"{HEADER}\n{label},BTCUSDT,1,1,1,1,1,1\n") == "time_off_grid"


@pytest.mark.parametrize(("bad", "trusted"), [(28, True), (29, False), (30, False), (288, False)])
def test_more_than_a_tenth_of_bad_rows_disqualify_the_file(bad: int, trusted: bool) -> None:
    numbers = set(random.Random(bad).sample(range(288), bad))
    head, *lines = text(rows(OLD)).splitlines()
    content = "\n".join([head, *(line + "x" if number in numbers else line for number, line in enumerate(lines))])
    if trusted:
        good = [one for number, one in enumerate(rows(OLD)) if number not in numbers]
        assert parse_csv(content, "BTCUSDT", OLD) == RowsByDay({OLD: good}, {OLD: {"not_a_number": bad}})
    else:
        assert reason(content) == "not_a_number"


def test_another_symbol_disqualifies_the_file() -> None:
    assert reason(text(rows(OLD), "ETHUSDT")) == "wrong_symbol"
    for foreign in (287, 3):
        assert reason(text(rows(OLD)[:foreign]) + text(rows(OLD)[foreign:], "ETHUSDT").split("\n", 1)[1]) == "wrong_symbol"
    # Also where another row keeps the file from being read at once.
    assert reason(text(rows(OLD)[:287]) + "x\n" + text(rows(OLD)[287:], "ETHUSDT").split("\n", 1)[1]) == "wrong_symbol"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            HEADER.replace("sum_open_interest,sum_open_interest_value", "sum_open_interest_value,sum_open_interest"),
            "unknown_columns",
        ),
        (",".join(f'"{name}"' for name in HEADER.split(",")), "unknown_columns"),
        (HEADER.removesuffix(",sum_taker_long_short_vol_ratio"), "wrong_column_count"),
    ],
)
def test_other_columns_disqualify_the_file(header: str, expected: str) -> None:
    assert reason(text(rows(OLD)).replace(HEADER, header)) == expected


def test_rows_of_another_width_disqualify_the_file() -> None:
    for content in (text(rows(OLD)).replace(",BTCUSDT", ""), text(rows(OLD)).replace(",BTCUSDT", ",BTCUSDT,1")):
        assert reason(content) == "wrong_column_count"


AMOUNT = st.one_of(st.none(), st.integers(0, 10**15).map(lambda scaled: scaled / 10**8))
VALUES = st.tuples(*[AMOUNT] * 6)
TABLES = st.dictionaries(st.integers(0, 288), VALUES, min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(table=TABLES, shuffle=st.randoms(use_true_random=False), twice=st.booleans(), blank=st.sampled_from(["", '""']))
def test_any_rows_come_back_whole_and_in_order(table: dict[int, Row], shuffle: Any, twice: bool, blank: str) -> None:
    expected = [(midnight(OLD) + number * FIVE, *table[number]) for number in sorted(table)]
    jumbled = expected * (2 if twice else 1)
    shuffle.shuffle(jumbled)
    assert parsed(text(jumbled, blank=blank)) == expected


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
