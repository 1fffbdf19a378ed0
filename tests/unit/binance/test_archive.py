"""Fetching archive files: nothing counts without its checksum, and nothing is fetched for ever."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import date

import pytest

from cryptoservice.binance.archive import Archive
from cryptoservice.binance.archive_files import ArchiveFile
from cryptoservice.binance.http.bans import Gate
from cryptoservice.binance.http.counters import Traffic
from cryptoservice.binance.http.host import Host
from cryptoservice.binance.http.limiter import LimitPolicy, RateLimiter
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.config import RetryConfig
from cryptoservice.errors import SourceError
from cryptoservice.models import Dataset, Freq
from tests.unit.binance.loopback import Loopback, Reply, Seen
from tests.unit.fakes import FakeClock

BODY, OTHER = b"PK first edition", b"PK second edition"
SOURCE = ArchiveFile.daily(Dataset.KLINES, "BTCUSDT", Freq.m1, date(2026, 2, 1))
KEY = "/data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2026-02-01.zip"
NAME = "BTCUSDT-1m-2026-02-01.zip"
ABSENT = Reply(404, b"<Error><Code>NoSuchKey</Code></Error>")


def line(body: bytes) -> bytes:
    return f"{hashlib.sha256(body).hexdigest()}  {NAME}\n".encode()


@contextlib.contextmanager
def archive(zips: list[Reply], sums: list[Reply]) -> Iterator[tuple[Archive, Loopback]]:
    """Zips and checksums are answered one after the other; the last one for ever."""
    left = {False: list(zips), True: list(sums)}

    def script(_: int, seen: Seen) -> Reply:
        assert seen.target in (KEY, KEY + ".CHECKSUM")
        replies = left[seen.target.endswith(".CHECKSUM")]
        return replies.pop(0) if len(replies) > 1 else replies[0]

    clock = FakeClock(1_770_000_000.0)
    with Loopback(script).running() as server:
        gate = Gate("archive", clock, 300.0)
        host = Host(server.url, gate, workers=1, retry=RetryConfig(max_retries=0), clock=clock, traffic=Traffic())
        try:
            yield Archive(host, RateLimiter(LimitPolicy(max_weight=None), gate, clock), clock), server
        finally:
            host.close()


@pytest.mark.parametrize(
    "checksum",
    [
        line(BODY),
        line(BODY).rstrip(b"\n"),
        line(BODY).replace(b"\n", b"\r\n"),
        line(BODY).upper(),
        hashlib.sha256(BODY).hexdigest().encode(),
        b"\n" + line(BODY),
    ],
)
def test_a_matching_checksum_makes_the_file_count(checksum: bytes) -> None:
    modified = "Wed, 15 Jul 2026 13:17:10 GMT"
    with archive([Reply(body=BODY, headers={"Last-Modified": modified})], [Reply(body=checksum)]) as (made, server):
        found = made.fetch(SOURCE)
        assert found is not None
        assert (found.body, found.sha256) == (BODY, hashlib.sha256(BODY).hexdigest())
        assert (found.last_modified, found.fetched_at, found.source) == (modified, 1_770_000_000.0, SOURCE)
        assert [seen.target for seen in server.seen] == [KEY, KEY + ".CHECKSUM"]


def test_an_absent_file_costs_one_request() -> None:
    with archive([ABSENT], [ABSENT]) as (made, server):
        assert made.fetch(SOURCE) is None
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("checksum", "reason"),
    [
        (Reply(body=line(OTHER)), "checksum_mismatch"),
        (ABSENT, "checksum_missing"),
        (Reply(body=b""), "checksum_unreadable"),
        (Reply(body=b"<html>"), "checksum_unreadable"),
        (Reply(body=line(BODY)[:63]), "checksum_unreadable"),
        (Reply(body=b"0" + line(BODY)), "checksum_unreadable"),
    ],
)
def test_after_one_more_download_of_both_the_file_is_distrusted(checksum: Reply, reason: str) -> None:
    with archive([Reply(body=BODY)], [checksum]) as (made, server):
        with pytest.raises(InvalidData) as caught:
            made.fetch(SOURCE)
        assert caught.value.reason == reason
        assert [seen.target for seen in server.seen] == [KEY, KEY + ".CHECKSUM"] * 2
        assert ["cache-control" in seen.headers and seen.headers["cache-control"] == "no-cache" for seen in server.seen] == [
            False, False, True, True,
        ]  # fmt: skip


def test_a_file_that_was_just_republished_is_caught_in_step() -> None:
    with archive([Reply(body=BODY), Reply(body=OTHER)], [Reply(body=line(OTHER))]) as (made, server):
        found = made.fetch(SOURCE)
        assert found is not None
        assert found.body == OTHER
        assert len(server.seen) == 4


def test_a_file_that_vanishes_meanwhile_is_absent() -> None:
    with archive([Reply(body=BODY), ABSENT], [Reply(body=line(OTHER))]) as (made, _):
        assert made.fetch(SOURCE) is None


# -- what is published now, without storing anything ------------------------------------------------------------------------

NAME_OF = SOURCE.key


@pytest.mark.parametrize("checksum", [line(BODY), line(BODY).rstrip(b"\n"), line(BODY).upper(), b"\n" + line(BODY)])
def test_the_published_sha256_costs_one_request(checksum: bytes) -> None:
    with archive([ABSENT], [Reply(body=checksum)]) as (made, server):
        assert made.published_sha256(NAME_OF) == hashlib.sha256(BODY).hexdigest()
        assert [(seen.target, seen.headers["cache-control"]) for seen in server.seen] == [(KEY + ".CHECKSUM", "no-cache")]


def test_a_checksum_that_is_missing_or_unreadable() -> None:
    with archive([Reply(body=BODY)], [ABSENT]) as (made, _):
        assert made.published_sha256(NAME_OF) is None
    for broken in (b"", b"<html>", line(BODY)[:63]):
        with archive([Reply(body=BODY)], [Reply(body=broken)]) as (made, _), pytest.raises(InvalidData) as caught:
            made.published_sha256(NAME_OF)
        assert caught.value.reason == "checksum_unreadable"
    with archive([Reply(body=BODY)], [Reply(503)]) as (made, _), pytest.raises(SourceError):
        made.published_sha256(NAME_OF)


def test_the_sha256_of_the_bytes_themselves() -> None:
    zipped, empty = b"PK\x03\x04 first edition", b"PK\x05\x06" + bytes(18)
    for content in (zipped, empty):
        with archive([Reply(body=content)], [ABSENT]) as (made, server):
            assert made.sha256_of(NAME_OF) == hashlib.sha256(content).hexdigest()
            assert [(seen.target, seen.headers["cache-control"]) for seen in server.seen] == [(KEY, "no-cache")]
    with archive([ABSENT], [ABSENT]) as (made, _):
        assert made.sha256_of(NAME_OF) is None
    for content in (b"<!DOCTYPE html>", b""):
        with archive([Reply(body=content)], [ABSENT]) as (made, _), pytest.raises(SourceError, match="no zip"):
            made.sha256_of(NAME_OF)


@pytest.mark.parametrize(
    ("header", "noted"),
    [
        (f'"{"0aF" * 10}12"', f"{'0af' * 10}12"),
        (f'W/"{"0af" * 10}12"', f"{'0af' * 10}12"),
        (f'"{"0af" * 10}12-7"', f"{'0af' * 10}12-7"),
        ('"0af"', None), ("", None), (f'"{"0xf" * 10}12"', None), (None, None),
    ],
)  # fmt: skip
def test_the_etag_is_noted_without_its_quotes(header: str | None, noted: str | None) -> None:
    headers = {} if header is None else {"ETag": header}
    with archive([Reply(body=BODY, headers=headers)], [Reply(body=line(BODY))]) as (made, _):
        found = made.fetch(SOURCE)
        assert found is not None
        assert found.etag == noted
