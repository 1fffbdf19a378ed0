"""Funding rates: monthly archive files and REST answers to rows, kept as the source wrote them."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.binance.archive_files import ArchiveFile, VerifiedZip, read_zip
from cryptoservice.binance.parsers.funding import entries_of, parse_csv, parse_rest
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import Window
from cryptoservice.models import Dataset, Freq
from tests.unit.fakes import RECORDINGS

RECORDED = RECORDINGS / "funding_rates"
HEADER = "calc_time,funding_interval_hours,last_funding_rate"
APRIL = Window(date(2026, 4, 1), date(2026, 4, 30))
FIRST = 1775001600000  # 2026-04-01 00:00 UTC
HOUR = 3_600_000
ALL_TIME = Window(date(2019, 9, 1), date(2100, 1, 1))

Row = tuple[Any, ...]


def flat(table: RowsByDay) -> list[Row]:
    """All rows, after a look at the days that they stand under."""
    assert table.left_out == {}
    assert list(table.days) == sorted(table.days)
    for day, rows in table.days.items():
        assert {datetime.fromtimestamp(row[0] / 1000, timezone.utc).date() for row in rows} == {day}
    return [row for rows in table.days.values() for row in rows]


def entry(at: int = FIRST, rate: str = "0.0001", **changes: Any) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "fundingTime": at, "fundingRate": rate, "markPrice": "50000.5", **changes}


def refused_csv(content: str) -> str:
    with pytest.raises(InvalidData) as caught:
        parse_csv(content, APRIL)
    return caught.value.reason


# -- recordings -----------------------------------------------------------------------------------------------------------


def test_the_recorded_archive_file() -> None:
    path = RECORDED / "BTCUSDT-fundingRate-2026-04.zip"
    with zipfile.ZipFile(path) as archive:
        lines = list(csv.DictReader(io.StringIO(archive.read("BTCUSDT-fundingRate-2026-04.csv").decode())))
    expected = [(int(line["calc_time"]), float(Decimal(line["last_funding_rate"])), None, "Regular") for line in lines]
    source = ArchiveFile.monthly(Dataset.FUNDING_RATES, "BTCUSDT", Freq.h1, date(2026, 4, 17))
    assert source.key == f"data/futures/um/monthly/fundingRate/BTCUSDT/{path.name}"
    table = read_zip(VerifiedZip(source, path.read_bytes(), "", None, 0.0))
    assert flat(table) == expected
    assert len(expected) == 90
    assert {len(rows) for rows in table.days.values()} == {3}
    assert any(row[0] % HOUR for row in expected), "the jitter of milliseconds is kept"


@pytest.mark.parametrize("symbol", ["BTCUSDT", "TSLAUSDT"])
def test_recorded_answers(symbol: str) -> None:
    page = json.loads((RECORDED / f"rest.{symbol}.json").read_text())
    expected = [
        (row["fundingTime"], float(Decimal(row["fundingRate"])), float(Decimal(row["markPrice"])), "Regular") for row in page
    ]
    assert flat(parse_rest(page, symbol, ALL_TIME)) == expected
    assert expected


# -- archive --------------------------------------------------------------------------------------------------------------


def test_an_archive_file_has_neither_price_nor_type() -> None:
    lines = [f"{FIRST + 7},8,0.00010000", f"{FIRST + 8 * HOUR},8,-0.00025000", f"{FIRST + 24 * HOUR + 11},8,0.00000000"]
    expected = [(FIRST + 7, 0.0001, None, "Regular"), (FIRST + 8 * HOUR, -0.00025, None, "Regular"),
                (FIRST + 24 * HOUR + 11, 0.0, None, "Regular")]  # fmt: skip
    for content in ("\n".join([HEADER, *lines]) + "\n", "\r\n".join(lines), "\ufeff" + "\n".join([HEADER, *reversed(lines)])):
        assert flat(parse_csv(content, APRIL)) == expected
    assert parse_csv(HEADER + "\n", APRIL).days == {}


def lines_of(count: int) -> list[str]:
    return [f"{FIRST + number * HOUR},8,0.0001" for number in range(count)]


def hours(*numbers: int) -> list[Row]:
    return [(FIRST + number * HOUR, 0.0001, None, "Regular") for number in numbers]


def rows_of(table: RowsByDay) -> list[Row]:
    return [row for day in sorted(table.days) for row in table.days[day]]


def test_doubled_archive_rows() -> None:
    assert flat(parse_csv("\n".join(lines_of(3) * 3), APRIL)) == hours(0, 1, 2)
    table = parse_csv("\n".join([*lines_of(30), f"{FIRST + 25 * HOUR},8,0.00020000"]), APRIL)
    assert rows_of(table) == hours(*range(25), *range(26, 30))
    assert table.left_out == {date(2026, 4, 2): {"conflicting_rows": 2}}


def test_the_interval_is_not_stored_and_disqualifies_nothing() -> None:
    for interval in ("", "x", "NaN", '"', "-1", "\ufffd"):
        assert flat(parse_csv(f"{FIRST},{interval},0.0001\n", APRIL)) == hours(0), interval


BAD_LINES = [
    (f"{FIRST},0.0001", "wrong_column_count"),
    (f"{FIRST},8,0.0001,1", "wrong_column_count"),
    (f"{FIRST},8,", "not_a_number"),
    (f"{FIRST},8,x", "not_a_number"),
    (f"{FIRST},8,true", "not_a_number"),
    (f"{FIRST},8,0.0\r001", "not_a_number"),
    (f"{FIRST},8,NaN", "not_finite"),
    (f"{FIRST},8,-Infinity", "not_finite"),
    (f"{FIRST},8,1e999", "number_out_of_range"),
    (f"{FIRST}.5,8,0.1", "time_not_milliseconds"),
    (f"{FIRST // 1000},8,0.1", "time_not_milliseconds"),
    (f"{FIRST}000,8,0.1", "time_not_milliseconds"),
    (f"{FIRST - 1},8,0.1", "row_outside_range"),
    (f"{FIRST + 30 * 24 * HOUR},8,0.1", "row_outside_range"),
    (",8,0.1", "not_a_number"),
    ("\ufffd,8,0.1", "not_a_number"),
    ("-", "wrong_column_count"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
@pytest.mark.parametrize("at", [1, 10, 30])
def test_a_bad_line_costs_itself_alone(line: str, reason: str, at: int) -> None:
    # Without a time of April it is counted under the day of the row before it.
    is_of_first = line.startswith((f"{FIRST},", f"{FIRST // 1000},", f"{FIRST}000,"))
    day = date(2026, 4, 1 if is_of_first or at < 25 else 2)
    lines = lines_of(30)
    table = parse_csv("\n".join([HEADER, *lines[1:at], line, *lines[at:]]), APRIL)
    assert rows_of(table) == hours(*range(1, 30))
    assert table.left_out == {day: {reason: 1}}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_many_bad_lines_disqualify_the_archive_file(line: str, reason: str) -> None:
    assert refused_csv("\n".join([HEADER, *lines_of(30)[1:], *[line] * 4])) == reason


@pytest.mark.parametrize("header", ["calc_time,last_funding_rate,funding_interval_hours", HEADER.replace("calc", '"calc')])
def test_other_columns_disqualify_the_archive_file(header: str) -> None:
    assert refused_csv("\n".join([header, *lines_of(30)])) == "unknown_columns"


# -- REST -----------------------------------------------------------------------------------------------------------------


def test_forms_of_an_answer() -> None:
    page = [
        entry(markPrice=""),
        entry(FIRST + 1, markPrice=None),
        entry(FIRST + 2, "-0.03750000", rateType="Regular"),
        entry(FIRST + 3, rateType=None),
        {"fundingTime": FIRST + 4, "fundingRate": 0.5, "extra": [1]},
        entry(str(FIRST + 5)),  # type: ignore[arg-type]
    ]
    assert flat(parse_rest(page, "BTCUSDT", APRIL)) == [
        (FIRST, 0.0001, None, "Regular"),
        (FIRST + 1, 0.0001, None, "Regular"),
        (FIRST + 2, -0.0375, 50000.5, "Regular"),
        (FIRST + 3, 0.0001, 50000.5, "Regular"),
        (FIRST + 4, 0.5, None, "Regular"),
        (FIRST + 5, 0.0001, 50000.5, "Regular"),
    ]
    assert parse_rest([], "BTCUSDT", APRIL).days == {}


def test_special_and_regular_rates_of_one_moment_are_two_rows() -> None:
    page = [entry(rateType="Special", fundingRate="0.002"), entry(), entry(FIRST + 1, rateType="Special")]
    assert flat(parse_rest(page, "BTCUSDT", APRIL)) == [
        (FIRST, 0.0001, 50000.5, "Regular"),
        (FIRST, 0.002, 50000.5, "Special"),
        (FIRST + 1, 0.0001, 50000.5, "Special"),
    ]


def test_a_day_ends_at_its_last_millisecond() -> None:
    last, first = FIRST + 24 * HOUR - 1, FIRST + 24 * HOUR
    days = parse_rest([entry(first), entry(last)], "BTCUSDT", APRIL).days
    assert {day: [row[0] for row in rows] for day, rows in days.items()} == {
        date(2026, 4, 1): [last],
        date(2026, 4, 2): [first],
    }


def test_doubled_rest_rows() -> None:
    assert len(flat(parse_rest([entry(), entry()], "BTCUSDT", APRIL))) == 1
    more = [entry(FIRST + number * HOUR) for number in range(1, 30)]
    for other in (entry(rate="0.5"), entry(markPrice="1"), entry(markPrice="")):
        table = parse_rest([entry(), *more, other], "BTCUSDT", APRIL)
        assert [row[0] for row in rows_of(table)] == [FIRST + number * HOUR for number in range(1, 30)]
        assert table.left_out == {APRIL.start: {"conflicting_rows": 2}}
        with pytest.raises(InvalidData, match="conflicting_rows"):
            parse_rest([entry(), *more[:10], other], "BTCUSDT", APRIL)


BAD_ENTRIES = [
    (entry(rateType=1), "unknown_rate_type"),
    (entry(rateType="a,b"), "unknown_rate_type"),
    (entry(rateType="x" * 33), "unknown_rate_type"),
    (entry(markPrice="-1"), "number_out_of_range"),
    (entry(markPrice="high"), "not_a_number"),
    (entry(rate=""), "not_a_number"),
    (entry(rate="NaN"), "not_finite"),
    (entry(rate="101"), "number_out_of_range"),
    (entry(fundingTime=True), "not_a_number"),
    (entry(fundingTime=float(FIRST)), "time_not_milliseconds"),
    (entry(FIRST // 1000), "time_not_milliseconds"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_ENTRIES)
def test_a_bad_entry_costs_itself_alone(bad: dict[str, Any], reason: str) -> None:
    more = [entry(FIRST + number * HOUR) for number in range(1, 20)]
    table = parse_rest([bad, *more], "BTCUSDT", APRIL)
    assert [row[0] for row in rows_of(table)] == [FIRST + number * HOUR for number in range(1, 20)]
    assert table.left_out == {APRIL.start: {reason: 1}}
    # What one row says will not be better the next time, even where it is all of the page.
    assert parse_rest([bad], "BTCUSDT", APRIL) == RowsByDay({}, {APRIL.start: {reason: 1}})
    for page in ([bad, bad, *more[:17]], [bad] * 2):
        with pytest.raises(InvalidData, match=reason):
            parse_rest(page, "BTCUSDT", APRIL)
        assert parse_rest(page, "BTCUSDT", APRIL, is_judged=True).left_out == {APRIL.start: {reason: 2}}


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (None, "unexpected_answer"),
        ({"msg": "?"}, "unexpected_answer"),
        ([[1, 2]], "unexpected_answer"),
        ([{"fundingTime": FIRST}], "unexpected_answer"),
        ([entry(symbol="ETHUSDT")], "wrong_symbol"),
        ([entry(FIRST - 1)], "row_outside_range"),
        ([entry(FIRST + 30 * 24 * HOUR)], "row_outside_range"),
    ],
)
def test_answers_that_cannot_be_trusted(page: Any, expected: str) -> None:
    more = [entry(FIRST + number * HOUR) for number in range(1, 30)]
    for whole in (page, [*more, *page]) if isinstance(page, list) else (page,):
        with pytest.raises(InvalidData) as caught:
            parse_rest(whole, "BTCUSDT", APRIL)
        assert caught.value.reason == expected


def test_entries_are_told_apart_by_their_text() -> None:
    one, other = entry(), entry(rate="0.5")
    turned = dict(reversed(one.items()))
    assert list(entries_of([one, other, turned, one]).values()) == [one, other]
    for page in (None, {"msg": "?"}, "[]"):
        with pytest.raises(InvalidData, match="unexpected_answer"):
            entries_of(page)


MOMENTS = st.dictionaries(
    st.tuples(st.integers(FIRST, FIRST + 30 * 24 * HOUR - 1), st.sampled_from(["Regular", "Special"])),
    st.tuples(st.integers(-(10**7), 10**7), st.one_of(st.none(), st.integers(1, 10**13))),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(moments=MOMENTS, shuffle=st.randoms(use_true_random=False))
def test_any_rows_come_back_whole_and_in_order(moments: dict[tuple[int, str], Any], shuffle: Any) -> None:
    page = [
        entry(at, f"{Decimal(rate) / 10**8:.8f}", rateType=kind, markPrice="" if mark is None else f"{Decimal(mark) / 10**8:.8f}")
        for (at, kind), (rate, mark) in moments.items()
    ]
    shuffle.shuffle(page)
    expected = [
        (at, rate / 10**8, None if mark is None else mark / 10**8, kind) for (at, kind), (rate, mark) in sorted(moments.items())
    ]
    assert flat(parse_rest(page, "BTCUSDT", APRIL)) == expected
    lines = [f"{row['fundingTime']},8,{row['fundingRate']}\n" for row in page if row["rateType"] == "Regular"]
    regular = [(at, rate, None, kind) for at, rate, _, kind in expected if kind == "Regular"]
    assert flat(parse_csv("".join(lines), APRIL)) == regular
