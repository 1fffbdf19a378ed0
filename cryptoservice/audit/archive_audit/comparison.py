"""Compares the objects that a database was built from with what the archive holds now.

One listing page speaks for up to five hundred objects. What it cannot decide is asked of the object's own CHECKSUM: a listing
may lag behind, and an ETag may change although the bytes do not (docs/wire.md, bucket listing).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from cryptoservice.audit.archive_audit.used_objects import UsedObject
from cryptoservice.binance.archive import Archive
from cryptoservice.binance.listing import BucketListing
from cryptoservice.binance.parsers.listing import ListedObject

_CHECKSUM = ".CHECKSUM"


class Fate(Enum):
    """What became of an object."""

    UNCHANGED = "unchanged"
    REPUBLISHED = "republished"
    GONE = "gone"


class Doubt(Enum):
    """What a listing leaves open."""

    CHANGED = "changed"
    """It differs from what was noted, or the object is not listed."""
    UNKNOWN = "unknown"
    """Nothing was noted that a listing could be compared with."""


@dataclass(frozen=True)
class Compared:
    """An object after its CHECKSUM was asked for."""

    used: UsedObject
    fate: Fate
    new_sha256: str | None = None
    """What the archive publishes now; None when the object is gone or is unchanged."""


def compare_with_listing(listing: BucketListing, objects: Sequence[UsedObject]) -> Iterator[tuple[UsedObject, Doubt | None]]:
    """For each object of one series, what its listing leaves open; None when it proves that the object is unchanged.

    Raises SourceError when a page of the listing cannot be had, and Interrupted when the client is closed.
    """
    for prefix, group in itertools.groupby(sorted(objects, key=lambda used: used.name), key=lambda used: used.prefix):
        wanted = list(group)
        listed = _listed(listing, prefix, wanted)
        for used in wanted:
            yield used, _doubt(used, listed.get(used.name), listed.get(used.name + _CHECKSUM))


def compare_with_checksum(archive: Archive, used: UsedObject) -> Compared:
    """The word of the object's own CHECKSUM, and of the object itself where that is missing.

    Raises SourceError when the archive gives no usable answer, InvalidData when the CHECKSUM cannot be read.
    """
    published = archive.published_sha256(used.name)
    if published is None:
        # A CHECKSUM can be missing beside an object that is there (docs/wire.md, checksums).
        published = archive.sha256_of(used.name)
    if published is None:
        return Compared(used, Fate.GONE)
    if published == used.version.sha256:
        return Compared(used, Fate.UNCHANGED)
    return Compared(used, Fate.REPUBLISHED, published)


def _listed(listing: BucketListing, prefix: str, wanted: Sequence[UsedObject]) -> dict[str, ListedObject]:
    """The wanted objects and their CHECKSUMs, from the pages on which they can stand."""
    names = {used.name for used in wanted}
    names |= {name + _CHECKSUM for name in names}
    first, last = min(names), max(names)
    found = {}
    # A marker need not exist: this one stands before the first name and after all earlier ones.
    for listed in listing.objects(prefix, after=first.removesuffix(".zip")):
        if listed.key in names:
            found[listed.key] = listed
        if listed.key.encode() >= last.encode():
            break
    return found


def _doubt(used: UsedObject, listed: ListedObject | None, checksum: ListedObject | None) -> Doubt | None:
    if listed is None:
        return Doubt.CHANGED
    version = used.version
    if version.etag is not None:
        same = listed.etag == version.etag and version.size in (None, listed.size)
        return None if same else Doubt.CHANGED
    if checksum is not None and checksum.md5 is not None and checksum.md5 in _checksum_md5s(used.name, version.sha256):
        return None
    return Doubt.UNKNOWN


def _checksum_md5s(name: str, sha256: str) -> Iterable[str]:
    """The MD5 of the CHECKSUM that the archive would publish for that SHA-256: its text ends with a newline, or without one."""
    line = f"{sha256}  {name.rsplit('/', 1)[-1]}"
    return [hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in (line + "\n", line)]
