"""A changed zip holds the same rows or is refused."""

from __future__ import annotations

import zipfile
from typing import Any

import pytest
from hypothesis import strategies as st

from cryptoservice.binance.archive_files import ArchiveFile, VerifiedZip, read_zip
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.models import Dataset, Freq
from tests.e2e import hostile_strategies as odd
from tests.unit.fakes import FEBRUARY, recorded_csv
from tests.unit.fuzzing import Fuzz, Test

KLINE_LINES = tuple(recorded_csv("LINKUSDT").split("\n")[:41])
fuzzed = Fuzz()


ZIPS = {kind: odd.zipped("\n".join(KLINE_LINES), kind) for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)}
DAILY = ArchiveFile.daily(Dataset.KLINES, "LINKUSDT", Freq.m1, FEBRUARY)


def opened(body: bytes) -> list[Any]:
    return list(read_zip(VerifiedZip(DAILY, body, "", None, 0.0)).days.get(FEBRUARY, ()))


# Most of a zip is content, whose crc protects it; the fields that steer the reading are at both ends.
@fuzzed(
    st.sampled_from(sorted(ZIPS)),
    st.lists(st.tuples(st.integers(-160, 100), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
    st.integers(0, 3),
    examples=400,
)
def test_changed_zips_hold_the_same_rows_or_are_refused(kind: int, edits: list[tuple[int, bytes]], way: int) -> None:
    body = bytearray(ZIPS[kind])
    for at, piece in edits:
        at %= len(body)
        if way == 0:
            body[at : at + len(piece)] = piece
        elif way == 1:
            body[at:at] = piece
        elif way == 2:
            del body[at : at + len(piece)]
        else:
            body = body[:at] + body[at // 2 :]
    try:
        rows = opened(bytes(body))
    except InvalidData:
        return
    assert rows == opened(ZIPS[kind])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("test", fuzzed.deep)
def test_deeper(test: Test) -> None:
    test()
