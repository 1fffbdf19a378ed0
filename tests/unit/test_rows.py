"""Rows that are kept as columns or as bytes: sequences like a list of tuples."""

from __future__ import annotations

import pickle
import struct
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.rows import ColumnRows, PackedRows, columns_of

TUPLES: list[tuple[Any, ...]] = [(1000 + number, number / 8, -number) for number in range(6)]


def rows(start: int = 0, stop: int = 6) -> ColumnRows:
    times, prices, counts = zip(*TUPLES, strict=True)
    return ColumnRows([array("q", times), array("d", prices), array("q", counts)], start, stop)


def test_it_reads_like_the_tuples_that_it_holds() -> None:
    assert list(rows()) == TUPLES
    assert len(rows()) == 6
    assert rows()[0] == TUPLES[0]
    assert rows()[-1] == TUPLES[-1]
    assert TUPLES[3] in rows()
    assert rows(2, 2) == []
    assert list(rows(2, 4)) == TUPLES[2:4]
    assert repr(rows(2, 4)) == "ColumnRows(2 rows)"


def test_an_index_outside_its_range_is_an_error_although_the_columns_are_longer() -> None:
    for index in (2, -3):
        with pytest.raises(IndexError):
            rows(2, 4)[index]


@given(st.integers(0, 6), st.integers(0, 6), st.slices(6))
def test_a_slice_is_that_of_the_list(start: int, stop: int, part: slice) -> None:
    stop = max(start, stop)
    assert list(rows(start, stop)[part]) == TUPLES[start:stop][part]
    assert len(rows(start, stop)[part]) == len(TUPLES[start:stop][part])


def test_a_plain_slice_shares_the_columns_and_one_with_a_step_is_a_list() -> None:
    assert isinstance(rows()[1:4], ColumnRows)
    assert rows()[1:4][1:] == TUPLES[2:4]
    assert rows()[::-2] == TUPLES[::-2]
    assert isinstance(rows()[::-2], list)


def test_it_equals_any_sequence_of_the_same_rows() -> None:
    assert rows() == TUPLES
    assert rows() == tuple(TUPLES)
    assert rows() == rows()
    assert rows() != TUPLES[:-1]
    assert rows() != [*TUPLES[:-1], (0, 0.0, 0)]
    assert rows() != 7
    with pytest.raises(TypeError):
        hash(rows())


def test_columns_are_the_same_for_both_kinds_of_rows() -> None:
    expected = [[1001, 1002], [0.125, 0.25], [-1, -2]]
    assert rows(1, 3).columns() == expected
    assert [list(column) for column in columns_of(rows(1, 3))] == expected
    assert [list(column) for column in columns_of(TUPLES[1:3])] == expected
    assert list(columns_of([])) == []


def test_another_process_gets_equal_rows() -> None:
    assert pickle.loads(pickle.dumps(rows(1, 5))) == TUPLES[1:5]


def test_moved_rows_differ_in_their_time_alone() -> None:
    before = rows(1, 4)
    assert before.moved(-1000) == [(time - 1000, price, count) for time, price, count in TUPLES[1:4]]
    assert before == TUPLES[1:4]
    assert rows(2, 2).moved(5) == []


def packed() -> PackedRows:
    return PackedRows("qdq", b"".join(struct.pack("=qdq", *row) for row in TUPLES))


def test_packed_rows_read_like_the_tuples_that_they_hold() -> None:
    assert list(packed()) == TUPLES
    assert packed() == TUPLES
    assert packed() == rows()
    assert packed() != TUPLES[1:]
    assert (len(packed()), packed()[0], packed()[-1]) == (6, TUPLES[0], TUPLES[-1])
    assert packed()[1:3] == TUPLES[1:3]
    assert packed().values() == tuple(value for row in TUPLES for value in row)
    assert [list(column) for column in columns_of(packed())] == [list(column) for column in zip(*TUPLES, strict=True)]
    assert repr(packed()) == "PackedRows(6 rows)"
    assert (len(PackedRows("qd", b"")), list(PackedRows("qd", b"")), PackedRows("qd", b"").values()) == (0, [], ())
    for index in (6, -7):
        with pytest.raises(IndexError):
            packed()[index]
