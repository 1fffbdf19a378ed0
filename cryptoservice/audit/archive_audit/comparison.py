"""Compares the objects that a database was built from with what the archive holds now.

One listing page speaks for up to five hundred objects. What it cannot decide is asked of the object's own CHECKSUM: a listing
may lag behind, and an ETag may change although the bytes do not (docs/wire.md, bucket listing).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from cryptoservice.audit.archive_audit.used_objects import UsedObject
from cryptoservice.binance.archive import Archive
from cryptoservice.binance.archive_files import CHECKSUM
from cryptoservice.binance.checksums import is_checksum_of
from cryptoservice.binance.listing import BucketListing
from cryptoservice.binance.parsers.listing import ListedObject
from cryptoservice.binance.parsers.rows_by_day import InvalidData


class Fate(Enum):
    """What became of an object."""

    UNCHANGED = "unchanged"
    REPUBLISHED = "republished"
    GONE = "gone"


class Doubt(Enum):
    """What a listing leaves open, and so what has to be asked."""

    CHANGED = "changed"
    """Its bytes cannot be those that were noted, or it is gone while its CHECKSUM is listed. That a CHECKSUM still says the same
    proves nothing then: it may have been forgotten."""
    UNSURE = "unsure"
    """It is not listed, as a listing may lag behind, or its ETag is of another kind than the one that was noted."""
    UNKNOWN = "unknown"
    """Nothing was noted that a listing could be compared with."""


@dataclass(frozen=True)
class Doubtful:
    """An object that its listing does not prove unchanged."""

    used: UsedObject
    doubt: Doubt


@dataclass(frozen=True)
class Compared:
    """An object after it was asked for."""

    used: UsedObject
    fate: Fate
    new_sha256: str | None = None
    """What the archive holds now; None when the object is gone or is unchanged."""


def doubtful(listing: BucketListing, objects: Sequence[UsedObject]) -> Iterator[Doubtful]:
    """Those objects of one series that their listing does not prove unchanged.

    Raises SourceError when a page of the listing cannot be had, and Interrupted when the client is closed.
    """
    for prefix, group in itertools.groupby(sorted(objects, key=lambda used: used.name), key=lambda used: used.prefix):
        wanted = list(group)
        listed = _listed(listing, prefix, wanted)
        for used in wanted:
            doubt = _doubt(used, listed.get(used.name), listed.get(used.name + CHECKSUM))
            if doubt is not None:
                yield Doubtful(used, doubt)


def compare(archive: Archive, one: Doubtful) -> Compared:
    """The word of the object's own CHECKSUM, and of the object itself where that is missing, unreadable or no proof.

    Raises SourceError when the archive gives no usable answer.
    """
    used = one.used
    known = used.version.sha256
    published = _published(archive, used.name)
    if published is None or (published == known and one.doubt is Doubt.CHANGED):
        published = archive.sha256_of(used.name)
    if published is None:
        return Compared(used, Fate.GONE)
    if published == known:
        return Compared(used, Fate.UNCHANGED)
    return Compared(used, Fate.REPUBLISHED, published)


def _published(archive: Archive, name: str) -> str | None:
    """What the object's CHECKSUM says. It can be missing or broken beside an object that is there (docs/wire.md, checksums)."""
    try:
        return archive.published_sha256(name)
    except InvalidData:
        return None


def _listed(listing: BucketListing, prefix: str, wanted: Sequence[UsedObject]) -> dict[str, ListedObject]:
    """The wanted objects and their CHECKSUMs, from the pages on which they can stand."""
    names = {used.name for used in wanted}
    names |= {name + CHECKSUM for name in names}
    first, last = min(names), max(names)
    found = {}
    # A marker need not exist, and what it names is left out: this one stands right before the first name.
    for listed in listing.objects(prefix, after=first[:-1]):
        if listed.key in names:
            found[listed.key] = listed
        if listed.key.encode() >= last.encode():
            break
    return found


def _doubt(used: UsedObject, listed: ListedObject | None, checksum: ListedObject | None) -> Doubt | None:
    if listed is None:
        return Doubt.UNSURE if checksum is None else Doubt.CHANGED
    version = used.version
    if version.etag is not None:
        if version.size is not None and listed.size != version.size:
            return Doubt.CHANGED
        if listed.etag == version.etag:
            return None
        is_md5 = listed.md5 is not None and "-" not in version.etag
        return Doubt.CHANGED if is_md5 else Doubt.UNSURE
    if checksum is not None and is_checksum_of(checksum, version.sha256):
        return None
    return Doubt.UNKNOWN
