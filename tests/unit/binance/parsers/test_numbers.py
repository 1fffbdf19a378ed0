"""Numbers of the wire: what is a plain number, and the reason of everything else."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from cryptoservice.binance.parsers.numbers import (
    LARGEST,
    check_range,
    is_blank,
    parse_fields,
    parse_json,
    parse_number,
    parse_timestamp,
)
from cryptoservice.binance.parsers.rows_by_day import InvalidData


def reason(parse: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(InvalidData) as caught:
        parse(*arguments, **options)
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 2.5]", [1, 2.5]), (b'{"a": null}', {"a": None}), ("7", 7), ('"7"', "7"), ("1e3", 1000.0), ("-0.5", -0.5),
        ('"\\u5e01"', "币"),
    ],
)  # fmt: skip
def test_json_is_read_with_its_types(text: str | bytes, value: object) -> None:
    found = parse_json(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["", b"", "nan", "[1,]", "{", "01", "+1", "1.", ".5", "0x1", "1_0", b"\xff", "[" * 100_000, "9" * 5000]
)
def test_other_text_is_no_json(text: str | bytes) -> None:
    assert reason(parse_json, text) == "not_a_number"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "[1, NaN]", '{"a": {"b": -Infinity}}'])
def test_constants_of_python_are_refused_at_any_depth(text: str) -> None:
    assert reason(parse_json, text) == "not_finite"


def test_fields_keep_their_order_and_types() -> None:
    found = parse_fields("1,2.0,3e2,-4")
    assert found == [1, 2.0, 300.0, -4]
    assert [type(value) for value in found] == [int, float, float, int]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", [None]), (",", [None, None]), ("1,,2", [1, None, 2]), (",1", [None, 1]), ("1,", [1, None]), ("1,2", [1, 2]),
        (",,,", [None] * 4), ("null,1", [None, 1]),
    ],
)  # fmt: skip
def test_blank_fields_are_none_where_blanks_are_allowed(text: str, values: list[Any]) -> None:
    assert parse_fields(text, blanks=True) == values


@pytest.mark.parametrize("text", ["1,,2", ",1", "1,", "null", "1,null"])
def test_blank_fields_are_refused_elsewhere(text: str) -> None:
    assert reason(parse_fields, text) == "not_a_number"


@pytest.mark.parametrize("text", ["1,true", "1,[2]", '1,"2"', "1,{}", "1],[2", "a,1", "1;2"])
@pytest.mark.parametrize("blanks", [False, True])
def test_fields_that_are_no_numbers_are_refused(text: str, blanks: bool) -> None:
    assert reason(parse_fields, text, blanks=blanks) == "not_a_number"


@pytest.mark.parametrize(("value", "number"), [(7, 7), (0.5, 0.5), ("7", 7), ("0.5", 0.5), ("-1e-3", -0.001), (-0.0, 0.0)])
def test_one_number_as_such_or_as_text(value: object, number: float) -> None:
    assert parse_number(value) == number


@pytest.mark.parametrize("value", [None, True, False, "", "true", "null", "[1]", '"1"', "1,2", [1], {}, "seven", "\ud800", b"7"])
def test_what_is_no_number(value: object) -> None:
    assert reason(parse_number, value) == "not_a_number"


def test_a_number_too_large_for_a_float_is_infinite_and_out_of_every_range() -> None:
    assert parse_number("1e999") == math.inf
    assert reason(check_range, [parse_number("1e999")]) == "number_out_of_range"


@pytest.mark.parametrize(("value", "blank"), [(None, True), ("", True), (0, False), ("0", False), (" ", False), (False, False)])
def test_blank_is_null_or_empty_text(value: object, blank: bool) -> None:
    assert is_blank(value) is blank


@pytest.mark.parametrize(
    ("value", "time"),
    [(1769904000000, 1769904000000), ("1769904000000", 1769904000000), ("007", 7), ("0", 0), ("000", 0), (-5, -5)],
)
def test_a_timestamp_as_number_or_digits(value: object, time: int) -> None:
    found = parse_timestamp(value)
    assert found == time
    assert type(found) is int


@pytest.mark.parametrize("value", [None, True, 1.0, "1.0", "-5", "", " 1", "1e3", "١", "9" * 5000, [1], math.inf])
def test_what_is_no_timestamp(value: object) -> None:
    assert reason(parse_timestamp, value) == "not_a_number"


def test_both_ends_of_a_range_belong_to_it() -> None:
    check_range([])
    check_range([None])
    check_range([0, None, LARGEST, 0.5])
    check_range([-1, 1], least=-1, most=1)
    for outside in ([-1e-300], [0.5, 1.1e18], [None, math.inf], [math.nan], [-math.inf]):
        assert reason(check_range, outside) == "number_out_of_range"
    assert reason(check_range, [-1, 1.1], least=-1, most=1) == "number_out_of_range"
