"""Archive files: names as docs/wire.md has them, checksums, and zips that cannot be trusted."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import struct
import zipfile
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.binance.archive_files import ArchiveFile, FileRange, VerifiedZip, read_zip
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.models import Dataset, Freq
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, RECORDINGS, recorded_fields, recorded_rows

FIRST_LINE = f"{FEBRUARY_MS},0.1038,0.1040,0.1037,0.1040,242160.4,{FEBRUARY_MS + 59_999},25142.90126,102,126196.5,13109.51126,0\n"
DAILY = ArchiveFile.daily(Dataset.KLINES, "ALGOUSDT", Freq.m1, FEBRUARY)
MEMBER = "ALGOUSDT-1m-2026-02-01.csv"


def archived(body: bytes, source: ArchiveFile = DAILY) -> VerifiedZip:
    return VerifiedZip(source, body, hashlib.sha256(body).hexdigest(), None, 0.0)


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as made:
        for name, content in members:
            made.writestr(name, content)
    return stream.getvalue()


def refusal(body: bytes, source: ArchiveFile = DAILY) -> str:
    with pytest.raises(InvalidData) as caught:
        read_zip(archived(body, source))
    return caught.value.reason


GOOD = zipped((MEMBER, FIRST_LINE.encode()))


# -- names (docs/wire.md, archive layout) -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "key"),
    [
        (
            ArchiveFile.daily(Dataset.KLINES, "BTCUSDT", Freq.m5, date(2024, 10, 1)),
            "data/futures/um/daily/klines/BTCUSDT/5m/BTCUSDT-5m-2024-10-01.zip",
        ),
        (
            ArchiveFile.monthly(Dataset.KLINES, "BTCUSDT", Freq.m1, date(2024, 2, 29)),
            "data/futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-02.zip",
        ),
        (
            ArchiveFile.monthly(Dataset.KLINES, "ICPUSDT_SETTLED", Freq.d1, date(2023, 12, 1)),
            "data/futures/um/monthly/klines/ICPUSDT_SETTLED/1d/ICPUSDT_SETTLED-1d-2023-12.zip",
        ),
        (
            ArchiveFile.daily(Dataset.KLINES, "币安人生USDT", Freq.h12, date(2026, 1, 9)),
            "data/futures/um/daily/klines/币安人生USDT/12h/币安人生USDT-12h-2026-01-09.zip",
        ),
        (
            ArchiveFile.daily(Dataset.METRICS, "HYPEUSDT", Freq.m5, date(2025, 5, 30)),
            "data/futures/um/daily/metrics/HYPEUSDT/HYPEUSDT-metrics-2025-05-30.zip",
        ),
        (
            ArchiveFile.monthly(Dataset.FUNDING_RATES, "BTCUSDT", Freq.h1, date(2026, 4, 17)),
            "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-04.zip",
        ),
    ],
)
def test_names_of_archive_files(source: ArchiveFile, key: str) -> None:
    assert source.key == key
    assert f"{source.stem}.zip" == key.rpartition("/")[2]


def test_a_monthly_file_covers_its_whole_month() -> None:
    source = ArchiveFile.monthly(Dataset.KLINES, "BTCUSDT", Freq.m1, date(2024, 2, 17))
    assert (source.window.start, source.window.end) == (date(2024, 2, 1), date(2024, 2, 29))
    assert source.is_monthly
    assert source.max_rows == 29 * 1440
    assert not DAILY.is_monthly
    assert DAILY.max_rows == 1440


# -- zips ------------------------------------------------------------------------------------------------------


def test_a_recorded_file_reads_as_its_csv() -> None:
    source = ArchiveFile.monthly(Dataset.KLINES, "ALGOUSDT", Freq.m1, FEBRUARY)
    body = (RECORDINGS / "klines_1m" / "ALGOUSDT-1m-2026-02.zip").read_bytes()
    table = read_zip(archived(body, source))
    assert [row for day in sorted(table.days) for row in table.days[day]] == list(recorded_rows("ALGOUSDT"))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_stored_and_deflated_members_are_read(compression: int) -> None:
    table = read_zip(archived(zipped((MEMBER, FIRST_LINE.encode()), compression=compression)))
    assert [len(rows) for rows in table.days.values()] == [1]


def test_a_non_ascii_name_is_read() -> None:
    source = dataclasses.replace(DAILY, symbol="币安人生USDT")
    body = zipped(("币安人生USDT-1m-2026-02-01.csv", FIRST_LINE.encode()))
    assert list(read_zip(archived(body, source)).days) == [FEBRUARY]


def test_a_non_ascii_name_is_read_without_the_utf8_flag_as_older_zip_tools_write_it() -> None:
    name = "币安人生USDT-1m-2026-02-01.csv"
    placeholder = "x" * len(name.encode("utf-8"))
    body = zipped((placeholder, FIRST_LINE.encode())).replace(placeholder.encode(), name.encode("utf-8"))
    with zipfile.ZipFile(io.BytesIO(body)) as made:
        assert not made.infolist()[0].flag_bits & 0x800
    assert list(read_zip(archived(body, dataclasses.replace(DAILY, symbol="币安人生USDT"))).days) == [FEBRUARY]


@pytest.mark.parametrize("members", [(), ((MEMBER, b""), ("b.csv", b"")), ((MEMBER, b""), ("README", b""))])
def test_only_one_member_is_allowed(members: tuple[tuple[str, bytes], ...]) -> None:
    assert refusal(zipped(*members)) == "zip_member_count"


@pytest.mark.parametrize(
    "name",
    [
        "../" + MEMBER, "/" + MEMBER, "x/" + MEMBER, MEMBER + "/", MEMBER.upper(), "ALGOUSDT-1m-2026-02-02.csv",
        "ALGOUSDT-1m-2026-02.csv", "BTCUSDT-1m-2026-02-01.csv", "ALGOUSDT-1m-2026-02-01.zip", " " + MEMBER,
    ],
)  # fmt: skip
def test_a_member_of_any_other_name_is_refused(name: str) -> None:
    assert refusal(zipped((name, FIRST_LINE.encode()))) == "zip_member_name"


def test_an_encrypted_member_is_refused() -> None:
    body = bytearray(GOOD)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = body.index(signature) + offset
        body[at : at + 2] = struct.pack("<H", struct.unpack("<H", body[at : at + 2])[0] | 1)
    assert refusal(bytes(body)) == "zip_encrypted"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(compression: int) -> None:
    assert refusal(zipped((MEMBER, FIRST_LINE.encode()), compression=compression)) == "zip_compression"


def test_an_unknown_compression_is_refused() -> None:
    body = bytearray(GOOD)
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = body.index(signature) + offset
        body[at : at + 2] = struct.pack("<H", 9)
    assert refusal(bytes(body)) == "zip_compression"


def test_a_bomb_is_not_inflated_beyond_what_such_a_file_can_hold() -> None:
    bomb = zipped((MEMBER, b"0" * 50_000_000))
    assert len(bomb) < 100_000
    assert refusal(bomb) == "zip_too_large"


def test_a_bomb_that_lies_about_its_size_is_refused() -> None:
    body = bytearray(zipped((MEMBER, b"0" * 50_000_000)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = body.index(signature) + offset
        body[at : at + 4] = struct.pack("<I", 100)
    assert refusal(bytes(body)) in ("zip_unreadable", "zip_too_large", "wrong_column_count", "not_a_number")


@pytest.mark.parametrize("body", [b"", b"PK", b"not a zip at all", b"PK\x05\x06" + b"\x00" * 10, b"<html></html>" * 50])
def test_what_is_no_zip_is_refused(body: bytes) -> None:
    assert refusal(body) == "zip_unreadable"


def test_every_truncation_is_refused() -> None:
    assert {refusal(GOOD[:length]) for length in range(len(GOOD))} == {"zip_unreadable"}


def test_a_wrong_crc_is_refused() -> None:
    body = bytearray(GOOD)
    for signature, offset in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        body[body.index(signature) + offset] ^= 0xFF
    assert refusal(bytes(body)) == "zip_unreadable"


@pytest.mark.parametrize(
    "content", [b"\xff\xfe" + FIRST_LINE.encode("utf-16-le"), FIRST_LINE.encode("utf-16-be"), b"\xc3", b"\x00"]
)
def test_what_is_not_utf8_is_refused(content: bytes) -> None:
    assert refusal(zipped((MEMBER, content))) in ("wrong_column_count", "not_a_number")


@pytest.mark.parametrize("broken", [b"\x80", b"\xc3", b"\xed\xa0\x80", b"\x00", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("number", [0, 700, 1439])
def test_a_broken_byte_costs_its_own_row_alone(broken: bytes, number: int) -> None:
    rows = recorded_rows("ALGOUSDT")[:1440]
    lines = [",".join(fields).encode() for fields in recorded_fields("ALGOUSDT")[:1440]]
    lines[number] = lines[number].replace(b".", b"." + broken, 1)
    table = read_zip(archived(zipped((MEMBER, b"\n".join(lines)))))
    assert list(table.days[FEBRUARY]) == [*rows[:number], *rows[number + 1 :]]
    assert table.left_out == {FEBRUARY: {"not_a_number": 1}}


def test_the_rows_are_checked_against_the_files_own_day() -> None:
    yesterday = ArchiveFile.daily(Dataset.KLINES, "ALGOUSDT", Freq.m1, date(2026, 1, 31))
    assert refusal(zipped(("ALGOUSDT-1m-2026-01-31.csv", FIRST_LINE.encode())), yesterday) == "row_outside_range"


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_never_raise_anything_else(flips: list[tuple[int, int]]) -> None:
    body = bytearray(GOOD)
    for place, value in flips:
        body[place] = value
    try:
        table = read_zip(archived(bytes(body)))
    except InvalidData:
        return
    # The crc guards the content: what still reads is what was packed.
    assert table == read_zip(archived(GOOD))


def test_the_recorded_funding_file_matches_its_published_checksum() -> None:
    body = (RECORDINGS / "funding_rates" / "BTCUSDT-fundingRate-2026-04.zip").read_bytes()
    published = (RECORDINGS / "funding_rates" / "BTCUSDT-fundingRate-2026-04.zip.CHECKSUM").read_text(encoding="ascii")
    assert published.split() == [hashlib.sha256(body).hexdigest(), "BTCUSDT-fundingRate-2026-04.zip"]
    source = ArchiveFile.monthly(Dataset.FUNDING_RATES, "BTCUSDT", Freq.h1, date(2026, 4, 1))
    table = read_zip(archived(body, source))
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        lines = packed.read(packed.namelist()[0]).decode().split()
    assert len(lines) == 91
    wanted = [(int(line.split(",")[0]), float(line.split(",")[2]), None, "Regular") for line in lines[1:]]
    assert [row for day in sorted(table.days) for row in table.days[day]] == wanted


# -- aliases ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alias", "former"),
    [
        ("LITUSDTSETTLED", "LITUSDT"), ("ICPUSDT_SETTLED", "ICPUSDT"), ("AERGOUSDTSETTLEDSETTLED", "AERGOUSDT"),
        ("XUSDTSETTLED2", "XUSDT"), ("LITUSDT", "LITUSDT"), ("SETTLEDUSDT", "SETTLEDUSDT"),
    ],
)  # fmt: skip
def test_the_files_of_an_alias_may_keep_the_name_of_its_earlier_life_inside(alias: str, former: str) -> None:
    klines = dataclasses.replace(DAILY, symbol=alias)
    metrics = ArchiveFile.daily(Dataset.METRICS, alias, Freq.m5, FEBRUARY)
    line = "2026-02-01 00:05:00,{},1,2,3,4,5,6\n"
    for name in (alias, former):
        assert list(read_zip(archived(zipped((f"{name}-1m-2026-02-01.csv", FIRST_LINE.encode())), klines)).days) == [FEBRUARY]
        body = zipped((f"{name}-metrics-2026-02-01.csv", line.format(name).encode()))
        assert list(read_zip(archived(body, metrics)).days) == [FEBRUARY]
    assert refusal(GOOD, klines) == "zip_member_name"
    other = zipped((f"{alias}-metrics-2026-02-01.csv", line.format("BTCUSDT").encode()))
    assert refusal(other, metrics) == "wrong_symbol"


def test_a_range_of_files_says_what_the_listing_is_asked_for() -> None:
    def days(first: date, last: date) -> FileRange:
        return FileRange(*(ArchiveFile.daily(Dataset.METRICS, "龙虾USDT", Freq.m5, day) for day in (first, last)))

    folder = "data/futures/um/daily/metrics/龙虾USDT/龙虾USDT-metrics-"
    assert (days(date(2026, 1, 30), date(2026, 2, 2)).length, days(date(2026, 1, 30), date(2026, 2, 2)).prefix) == (
        4, f"{folder}2026-0",
    )  # fmt: skip
    assert days(date(2026, 2, 1), date(2026, 2, 9)).prefix == f"{folder}2026-02-0"
    months = FileRange(
        *(ArchiveFile.monthly(Dataset.KLINES, "AUSDT", Freq.h1, date(*day)) for day in ((2024, 12, 5), (2026, 2, 1)))
    )
    assert (months.length, months.prefix) == (15, "data/futures/um/monthly/klines/AUSDT/1h/AUSDT-1h-202")
    assert months.last.checksum_key == "data/futures/um/monthly/klines/AUSDT/1h/AUSDT-1h-2026-02.zip.CHECKSUM"
