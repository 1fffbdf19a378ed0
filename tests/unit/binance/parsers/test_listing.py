"""Pages of the bucket listing, written by hand as S3 writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoservice.binance.parsers.listing import ListedObject, ListingPage, parse_page
from cryptoservice.binance.parsers.rows_by_day import InvalidData

PREFIX = "data/futures/um/daily/klines/"
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def page(*entries: str, prefix: str = PREFIX, marker: str = "", truncated: str = "false", namespace: str = NAMESPACE) -> bytes:
    """One page; `marker` is the name below the prefix after which it begins."""
    after = f"<Marker>{PREFIX}{marker}</Marker>" if marker else "<Marker></Marker>"
    head = f"<Name>data.binance.vision</Name><Prefix>{prefix}</Prefix>{after}<MaxKeys>1000</MaxKeys>"
    body = f"{head}<IsTruncated>{truncated}</IsTruncated>{''.join(entries)}"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult {namespace}>{body}</ListBucketResult>'.encode()


def folder(name: str) -> str:
    return f"<CommonPrefixes><Prefix>{PREFIX}{name}/</Prefix></CommonPrefixes>"


def listed(name: str, etag: str = "&quot;0123456789abcdef0123456789ABCDEF&quot;", size: object = 89) -> str:
    return (
        f"<Contents><Key>{PREFIX}{name}</Key><LastModified>2026-09-02T07:40:48.000Z</LastModified><ETag>{etag}</ETag>"
        f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def test_folders_and_objects_come_out_as_they_are_named() -> None:
    found = parse_page(
        page(folder("BTCUSDT"), folder(""), folder("币安人生USDT"), listed("a&amp;b.zip"), listed("c", '"x-2"', 0)), PREFIX
    )
    when = "2026-09-02T07:40:48.000Z"
    assert found == ListingPage(
        [f"{PREFIX}BTCUSDT/", f"{PREFIX}/", f"{PREFIX}币安人生USDT/"],
        [
            ListedObject(f"{PREFIX}a&b.zip", "0123456789abcdef0123456789abcdef", 89, when),
            ListedObject(f"{PREFIX}c", "x-2", 0, when),
        ],
        None,
    )
    assert [one.md5 for one in found.objects] == ["0123456789abcdef0123456789abcdef", None]
    assert parse_page(page(folder("A"), namespace=""), PREFIX).folders == [f"{PREFIX}A/"]
    assert parse_page(page(), PREFIX) == ListingPage([], [], None)


def test_a_page_that_is_not_the_last_names_where_the_next_begins() -> None:
    for marker in (f"{PREFIX}A/", "", "\n", "x/y"):
        # One that lies beyond the last name would pass over names.
        named = page(folder("A"), f"<NextMarker>{marker}</NextMarker>", truncated="true")
        assert parse_page(named, PREFIX).next_marker == f"{PREFIX}A/"
    # One that lies before it only asks for names again.
    early = page(folder("A"), folder("B"), f"<NextMarker>{PREFIX}A/</NextMarker>", truncated="true")
    assert parse_page(early, PREFIX).next_marker == f"{PREFIX}A/"
    # Without a delimiter there is no marker. Names are ordered by their bytes: this character comes after every Latin one.
    assert parse_page(page(listed("ÿ"), listed("z"), truncated="true"), PREFIX).next_marker == f"{PREFIX}ÿ"
    assert parse_page(page(listed("z"), listed("a"), truncated="true"), PREFIX).next_marker == f"{PREFIX}z"


def test_several_folders_in_one_entry_are_all_read() -> None:
    together = folder("A").removesuffix("</CommonPrefixes>") + folder("B").removeprefix("<CommonPrefixes>")
    assert parse_page(page(together), PREFIX).folders == [f"{PREFIX}A/", f"{PREFIX}B/"]


def test_a_page_that_begins_elsewhere_is_refused() -> None:
    second = page(folder("C"), marker="B/")
    assert parse_page(second, PREFIX, f"{PREFIX}B/").folders == [f"{PREFIX}C/"]
    without = second.replace(f"<Marker>{PREFIX}B/</Marker>".encode(), b"")
    assert parse_page(without, PREFIX, f"{PREFIX}B/").folders == [f"{PREFIX}C/"]
    for asked in ("", f"{PREFIX}A/"):
        with pytest.raises(InvalidData):
            parse_page(second, PREFIX, asked)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!DOCTYPE html><html><head><title>Binance Data Collection</title></head></html>", "web_page"),
        (b"<html>\n<body><br></body>", "web_page"),
        (b"<html></html>", "web_page"),
        (b"", "invalid_listing"),
        (b"\xff\xfe<", "invalid_listing"),
        (b'{"code": 0}', "invalid_listing"),
        (page(folder("A"))[:-20], "invalid_listing"),
        (b"<Error><Code>AccessDenied</Code></Error>", "invalid_listing"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + page().partition(b"?>")[2], "invalid_listing"),
        (page(truncated="maybe"), "invalid_listing"),
        (page(truncated="true"), "invalid_listing"),
        (page(f"<NextMarker>{PREFIX}X/</NextMarker>", truncated="true"), "invalid_listing"),
        (page(prefix="data/futures/cm/"), "invalid_listing"),
        (page("<CommonPrefixes><Prefix>elsewhere/</Prefix></CommonPrefixes>"), "invalid_listing"),
        (page("<CommonPrefixes></CommonPrefixes>"), "invalid_listing"),
        (page(listed("a", size="-1")), "invalid_listing"),
        (page(listed("a", size="1e3")), "invalid_listing"),
        (page("<Contents><Key>x</Key></Contents>"), "invalid_listing"),
        (f"<ListBucketResult {NAMESPACE}><IsTruncated>false</IsTruncated></ListBucketResult>".encode(), "invalid_listing"),
    ],
)
def test_what_is_no_listing_never_looks_like_a_short_one(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidData) as caught:
        parse_page(body, PREFIX)
    assert caught.value.reason == reason


WHOLE = page(folder("BTCUSDT"), listed("a.zip"))


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3))
def test_any_bytes_are_refused_or_read(at: int, new: bytes) -> None:
    body = WHOLE[:at] + new + WHOLE[at + 1 :]
    try:
        found = parse_page(body, PREFIX)
    except InvalidData:
        return
    assert all(name.startswith(PREFIX) for name in (*found.folders, *(one.key for one in found.objects)))
