"""The bucket listing over a real socket: paged to its end, and never shorter than it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from urllib.parse import parse_qs, urlsplit

import pytest

from cryptoservice.binance.archive_files import ArchiveFile, FileRange
from cryptoservice.binance.http.limiter import LimitPolicy, RateLimiter
from cryptoservice.binance.listing import BucketListing
from cryptoservice.config import RetryConfig
from cryptoservice.errors import Remedy, SourceError, SourceRefused
from cryptoservice.models import Dataset, Freq
from tests.unit.binance.loopback import Loopback, Reply, Seen
from tests.unit.binance.parsers.test_listing import PREFIX, folder, listed, page
from tests.unit.binance.wired import Wired, wired, wired_to

ONCE = RetryConfig(max_retries=0)


def listing_of(made: Wired) -> BucketListing:
    return BucketListing(made.host, RateLimiter(LimitPolicy(max_weight=None), made.gate, made.clock), made.clock)


def query(seen: Seen) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(seen.target).query, encoding="utf-8").items()}


def next_marker(name: str) -> str:
    return f"<NextMarker>{PREFIX}{name}/</NextMarker>"


def test_folders_of_all_pages_without_the_phantom() -> None:
    pages = [
        page(folder("A"), folder(""), folder("B"), next_marker("B"), truncated="true"),
        page(folder("龙虾USDT"), next_marker("龙虾USDT"), marker="B/", truncated="true"),
        page(folder("龙虾USDU"), marker="龙虾USDT/"),
    ]
    with wired(*(Reply(body=body) for body in pages)) as made:
        assert listing_of(made).folders(PREFIX) == ["A", "B", "龙虾USDT", "龙虾USDU"]
        assert [query(seen) for seen in made.seen] == [
            {"delimiter": "/", "prefix": PREFIX},
            {"delimiter": "/", "prefix": PREFIX, "marker": f"{PREFIX}B/"},
            {"delimiter": "/", "prefix": PREFIX, "marker": f"{PREFIX}龙虾USDT/"},
        ]
        assert made.traffic.requests == {"archive_listing": 3}


def test_objects_of_all_pages() -> None:
    with wired(
        Reply(body=page(listed("a"), listed("b"), truncated="true")), Reply(body=page(listed("b"), listed("c"), marker="b"))
    ) as made:
        assert [one.key for one in listing_of(made).objects(PREFIX)] == [f"{PREFIX}{name}" for name in "abc"]
        assert [query(seen) for seen in made.seen] == [{"prefix": PREFIX}, {"prefix": PREFIX, "marker": f"{PREFIX}b"}]


def test_objects_after_a_name_that_need_not_exist() -> None:
    first, last = Reply(body=page(listed("龙-2"), truncated="true")), Reply(body=page(listed("龙-3")))
    with wired(first, last) as made:
        found = listing_of(made).objects(PREFIX, after=f"{PREFIX}龙-1")
        assert made.seen == [], "a page is fetched when it is needed"
        assert next(found).key == f"{PREFIX}龙-2"
        assert [query(seen) for seen in made.seen] == [{"prefix": PREFIX, "marker": f"{PREFIX}龙-1"}]
        assert [one.key for one in found] == [f"{PREFIX}龙-3"]
        assert query(made.seen[1]) == {"prefix": PREFIX, "marker": f"{PREFIX}龙-2"}
    # A server that does not go on from there goes in circles from the first page on.
    with wired(first) as made, pytest.raises(SourceError, match="goes in circles"):
        list(listing_of(made).objects(PREFIX, after=f"{PREFIX}龙-2"))


def test_the_base_url_may_hold_the_buckets_name() -> None:
    server = Loopback(lambda *_: Reply(body=page(folder("A"))))
    with server.running(), wired_to(f"{server.url}/data.binance.vision") as made:
        assert listing_of(made).folders(PREFIX) == ["A"]
        assert server.seen[0].target.startswith("/data.binance.vision?delimiter=")


@pytest.mark.parametrize(
    ("reply", "words", "remedy"),
    [
        (Reply(404, b"<Error><Code>NoSuchBucket</Code></Error>"), "HTTP 404", Remedy.CHECK_LISTING_URL),
        (Reply(body=b"<!DOCTYPE html><html></html>"), "a web page", Remedy.CHECK_LISTING_URL),
        (Reply(503), "HTTP 503", Remedy.MORE_RETRIES),
        (Reply(body=page(folder("A"))[:-9]), "cannot be trusted", Remedy.MORE_RETRIES),
        (Reply(body=page(folder("A")), cut=9), "", Remedy.MORE_RETRIES),
        (Reply(drop=True), "", Remedy.MORE_RETRIES),
    ],
)
@pytest.mark.parametrize("skip", [0, 1])
def test_a_page_that_fails_is_not_an_absence(reply: Reply, words: str, remedy: Remedy, skip: int) -> None:
    good = Reply(body=page(folder("A"), next_marker("A"), truncated="true"))
    with wired(*[good] * skip, reply, retry=ONCE) as made:
        with pytest.raises(SourceError) as caught:
            listing_of(made).folders(PREFIX)
        assert not isinstance(caught.value, SourceRefused)
        assert words in caught.value.message
        assert caught.value.remedy is remedy


def test_a_page_that_broke_off_is_asked_for_again() -> None:
    whole = Reply(body=page(folder("A")))
    for broken in (Reply(body=whole.body[:-9]), Reply(drop=True), Reply(500), Reply(429)):
        with wired(broken, whole) as made:
            assert listing_of(made).folders(PREFIX) == ["A"]


def test_a_refusal_of_the_address_is_one() -> None:
    for status in (403, 451):
        with wired(Reply(status)) as made, pytest.raises(SourceRefused):
            listing_of(made).folders(PREFIX)


def test_a_listing_that_goes_in_circles_comes_to_an_end() -> None:
    def script(names: str) -> Callable[[int, Seen], Reply]:
        def reply(number: int, seen: Seen) -> Reply:
            marker = query(seen).get("marker", "").removeprefix(PREFIX)
            return Reply(body=page(folder(names[number % len(names)]), marker=marker, truncated="true"))

        return reply

    for names in ("A", "BA"):
        with wired(script=script(names)) as made, pytest.raises(SourceError, match="goes in circles"):
            listing_of(made).folders(PREFIX)


def test_a_page_in_the_place_of_another_is_no_answer() -> None:
    """The third page arrives where the second was asked for: the names of the second would be lost."""
    first = Reply(body=page(folder("A"), next_marker("A"), truncated="true"))
    third = Reply(body=page(folder("C"), marker="B/"))
    second = Reply(body=page(folder("B"), next_marker("B"), marker="A/", truncated="true"))
    with wired(first, third, second, third) as made:
        assert listing_of(made).folders(PREFIX) == ["A", "B", "C"]
    with wired(first, third, retry=ONCE) as made, pytest.raises(SourceError, match="cannot be trusted"):
        listing_of(made).folders(PREFIX)


# -- CHECKSUMs of a run that can do without them -------------------------------------------------------------------------


def day_file(number: int) -> ArchiveFile:
    return ArchiveFile.daily(Dataset.KLINES, "A", Freq.m1, date(2026, 2, number))


def test_checksums_of_a_range_are_those_between_its_ends() -> None:
    names = [f"A/1m/A-1m-2026-02-0{number}.zip{ending}" for number in (3, 4, 5, 6) for ending in ("", ".CHECKSUM")]
    prefix = f"{PREFIX}A/1m/A-1m-2026-02-0"
    first = page(*map(listed, names[:3]), prefix=prefix, truncated="true")
    rest = page(*map(listed, names[3:]), prefix=prefix, marker=names[2])
    with wired(Reply(body=first), Reply(body=rest)) as made:
        found = listing_of(made).checksums(FileRange(day_file(3), day_file(5)), 5.0)
        assert [one.key for one in found] == [f"{PREFIX}{names[at]}" for at in (1, 3, 5)]
        start = {"prefix": prefix, "max-keys": "6"}
        assert [query(seen) for seen in made.seen] == [
            {**start, "marker": f"{PREFIX}{names[0][:-1]}"}, {**start, "marker": f"{PREFIX}{names[2]}"},
        ]  # fmt: skip


def test_no_page_is_asked_for_beyond_the_last_checksum() -> None:
    names = [f"A/1m/A-1m-2026-02-0{number}.zip{ending}" for number in (3, 5, 6) for ending in ("", ".CHECKSUM")]
    prefix = f"{PREFIX}A/1m/A-1m-2026-02-0"
    for last, shown in ((5, names[:4]), (4, names[:3])):
        with wired(Reply(body=page(*map(listed, shown), prefix=prefix, truncated="true"))) as made:
            found = list(listing_of(made).checksums(FileRange(day_file(3), day_file(last)), 5.0))
            assert [one.key for one in found] == [f"{PREFIX}{name}" for name in shown[1 : last - 1 : 2]]
            assert len(made.seen) == 1
