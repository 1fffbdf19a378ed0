"""An object against its listing, and against its own CHECKSUM: what proves that it is unchanged, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.audit.archive_audit.comparison import Doubt, Doubtful, Fate, compare, doubtful
from cryptoservice.errors import SourceError
from tests.unit.audit.archive_audit.objects import Shelf, body, key, line, md5, sha256, used

OLD, NEW, LONGER = body("old"), body("new"), body("longer")
KEY = key("2026-02-01")
PARTS = f"{'0' * 32}-2"


def doubt(shelf: Shelf, **noted: object) -> Doubt | None:
    with shelf.open() as (listing, _):
        found = list(doubtful(listing, [used(OLD, KEY, **noted)]))
    return found[0].doubt if found else None


def shelf_with(content: bytes, checksum: bytes | None = None, etag: str | None = None) -> Shelf:
    made = Shelf()
    made.put(KEY, content, checksum)
    if etag is not None:
        made.etags[KEY] = etag
    return made


# -- the listing ----------------------------------------------------------------------------------------------------------


def test_the_same_etag_and_size_prove_the_same_bytes() -> None:
    assert doubt(shelf_with(OLD)) is None
    assert doubt(shelf_with(OLD), size=None) is None
    assert doubt(shelf_with(OLD, etag=PARTS), etag=PARTS) is None


@pytest.mark.parametrize(
    ("shelf", "noted", "expected"),
    [
        (shelf_with(NEW), {}, Doubt.CHANGED),
        (shelf_with(LONGER), {}, Doubt.CHANGED),
        # Another size proves other bytes, whatever the ETag says.
        (shelf_with(LONGER, etag=md5(OLD)), {}, Doubt.CHANGED),
        (shelf_with(LONGER, etag=PARTS), {}, Doubt.CHANGED),
        # Two kinds of ETag cannot be compared, and neither can two of parts, whose parts may have been of another size.
        (shelf_with(OLD, etag=PARTS), {}, Doubt.UNSURE),
        (shelf_with(OLD), {"etag": PARTS}, Doubt.UNSURE),
        (shelf_with(OLD, etag=f"{'1' * 32}-2"), {"etag": PARTS}, Doubt.UNSURE),
    ],
)
def test_what_the_listing_does_not_prove(shelf: Shelf, noted: dict[str, object], expected: Doubt) -> None:
    assert doubt(shelf, **noted) is expected


def test_an_object_that_is_not_listed() -> None:
    shelf = shelf_with(OLD)
    shelf.unlisted = {KEY}
    assert doubt(shelf) is Doubt.CHANGED, "its CHECKSUM alone is listed"
    shelf.unlisted.add(f"{KEY}.CHECKSUM")
    assert doubt(shelf) is doubt(shelf, etag=None, size=None) is doubt(Shelf()) is Doubt.UNSURE


OLDER = {"etag": None, "size": None}


def test_without_an_etag_the_listed_checksum_can_prove_it() -> None:
    assert doubt(shelf_with(OLD), **OLDER) is None
    assert doubt(shelf_with(OLD, line(OLD, KEY).rstrip(b"\n")), **OLDER) is None
    assert doubt(shelf_with(NEW), **OLDER) is Doubt.UNKNOWN
    # In another form the same SHA-256 has another MD5, which proves nothing.
    assert doubt(shelf_with(OLD, line(OLD, KEY).upper()), **OLDER) is Doubt.UNKNOWN
    shelf = shelf_with(OLD)
    shelf.etags[f"{KEY}.CHECKSUM"] = PARTS
    assert doubt(shelf, **OLDER) is Doubt.UNKNOWN
    shelf.unlisted = {f"{KEY}.CHECKSUM"}
    assert doubt(shelf, **OLDER) is Doubt.UNKNOWN


def test_pages_are_asked_for_from_the_first_to_the_last_object_that_was_used() -> None:
    shelf = Shelf(page_size=4)
    days = [f"2026-02-{day:02}" for day in range(1, 29)]
    for day in days:
        shelf.put(key(day), body(day))
    wanted = [used(body(day), key(day)) for day in ("2026-02-09", "2026-02-10", "2026-02-12")]
    with shelf.open() as (listing, _):
        assert list(doubtful(listing, wanted)) == []
    # Two objects with their CHECKSUMs a page: 9 and 10, 11 and 12.
    start = key("2026-02-09")[:-1]
    assert shelf.asked == [f"after {start}", f"after {key('2026-02-10')}.CHECKSUM"]


def test_objects_of_two_folders_and_two_versions_of_one_object() -> None:
    shelf = Shelf()
    monthly = "data/futures/um/monthly/klines/BTCUSDT/5m/BTCUSDT-5m-2026-02.zip"
    shelf.put(KEY, OLD)
    shelf.put(monthly, NEW)
    objects = [used(OLD, monthly), used(NEW, KEY), used(OLD, KEY), used(NEW, monthly)]
    with shelf.open() as (listing, _):
        found = [(one.used.name, one.used.version.sha256) for one in doubtful(listing, objects)]
    assert sorted(found) == [(KEY, sha256(NEW)), (monthly, sha256(OLD))]
    assert len(shelf.asked) == 2


ODD_NAMES = ["odd.zip", "a/b/No-Date.zip", "data/币安人生USDT-metrics-2026-02-01.zip", "a&b<c>-2026-02.zip", "x"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(name: str) -> None:
    shelf = Shelf()
    shelf.put(name, OLD)
    with shelf.open() as (listing, _):
        assert list(doubtful(listing, [used(OLD, name)])) == []
        assert [one.doubt for one in doubtful(listing, [used(NEW, name)])] == [Doubt.CHANGED]
        shelf.held.clear()
        assert [one.doubt for one in doubtful(listing, [used(OLD, name)])] == [Doubt.UNSURE]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_pages_show_exactly_what_changed(data: st.DataObject) -> None:
    days = [f"2026-02-{day:02}" for day in range(1, 13)]
    published = {day: data.draw(st.sampled_from(["same", "anew", "unlisted"])) for day in days}
    noted = data.draw(st.sets(st.sampled_from(days), min_size=1))
    shelf = Shelf(page_size=data.draw(st.integers(1, 30)))
    for day, fate in published.items():
        shelf.put(key(day), body(day if fate != "anew" else f"{day} anew"))
        if fate == "unlisted":
            shelf.unlisted |= {key(day), f"{key(day)}.CHECKSUM"}
    with shelf.open() as (listing, _):
        found = {one.used.name: one.doubt for one in doubtful(listing, [used(body(day), key(day)) for day in noted])}
    doubts = {"anew": Doubt.CHANGED, "unlisted": Doubt.UNSURE}
    assert found == {key(day): doubts[published[day]] for day in noted if published[day] != "same"}


# -- the object's own CHECKSUM, and its bytes -----------------------------------------------------------------------------

GONE = (Fate.GONE, None)
SAME = (Fate.UNCHANGED, None)
ANEW = (Fate.REPUBLISHED, sha256(NEW))


@pytest.mark.parametrize("doubted", list(Doubt))
@pytest.mark.parametrize(
    ("held", "checksum", "fate", "asks_bytes"),
    [
        (NEW, line(NEW, KEY), ANEW, False),
        (OLD, line(OLD, KEY), SAME, None),
        (OLD, None, SAME, True),
        (NEW, None, ANEW, True),
        (NEW, b"", ANEW, True),
        (OLD, b"<html>", SAME, True),
        (None, None, GONE, True),
        (None, b"rubbish", GONE, True),
    ],
)
def test_an_object_that_is_asked_for(
    doubted: Doubt, held: bytes | None, checksum: bytes | None, fate: tuple[Fate, str | None], asks_bytes: bool | None
) -> None:
    shelf = Shelf({KEY: held, f"{KEY}.CHECKSUM": checksum})
    with shelf.open() as (_, archive):
        found = compare(archive, Doubtful(used(OLD, KEY), doubted))
    assert (found.fate, found.new_sha256) == fate
    # That a CHECKSUM has not changed is no proof where the bytes must have.
    expected = doubted is Doubt.CHANGED if asks_bytes is None else asks_bytes
    assert shelf.asked == [f"{KEY}.CHECKSUM", *([KEY] if expected else [])]


@pytest.mark.parametrize(("held", "fate"), [(NEW, ANEW), (None, GONE)])
def test_a_checksum_that_was_forgotten(held: bytes | None, fate: tuple[Fate, str | None]) -> None:
    shelf = Shelf({KEY: held, f"{KEY}.CHECKSUM": line(OLD, KEY)})
    with shelf.open() as (_, archive):
        found = compare(archive, Doubtful(used(OLD, KEY), Doubt.CHANGED))
    assert (found.fate, found.new_sha256) == fate


def test_bytes_that_are_no_zip_say_nothing() -> None:
    shelf = Shelf({KEY: b"<html>please sign in</html>", f"{KEY}.CHECKSUM": None})
    with shelf.open() as (_, archive), pytest.raises(SourceError, match="no zip"):
        compare(archive, Doubtful(used(OLD, KEY), Doubt.UNSURE))
