"""What the archive has published of a market, and how: what a test took away, replaced, hid or dated otherwise."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime
from typing import NamedTuple

Which = Callable[[str], bool] | Collection[str]
"""Keys of archive objects: one key, several, or a condition. The CHECKSUM of an object has a key of its own."""

_FIRST_REPLACED_AT = 1_780_000_000  # Last-Modified of the first hand-made object, epoch seconds


class ReplacedObject(NamedTuple):
    """A hand-made object; None as checksum: the right line for its body. modified is in epoch seconds."""

    body: bytes
    checksum: bytes | None
    modified: int


class KeySet:
    """A growing set of keys, by name or by condition."""

    def __init__(self) -> None:
        self._conditions: list[Callable[[str], bool]] = []

    def add(self, which: Which) -> None:
        """Add keys."""
        if callable(which):
            self._conditions.append(which)
        else:
            self._conditions.append(frozenset([which] if isinstance(which, str) else which).__contains__)

    def __contains__(self, key: str) -> bool:
        return any(holds(key) for holds in self._conditions)


class Publication:
    """The objects of the archive as tests arrange them. Everything may be changed while an exchange serves them."""

    def __init__(self) -> None:
        self.version = 0
        """Counts changes: whoever caches what is derived from this market compares it."""
        self.archive_until: date | None = None
        """Last day whose daily archive objects are published; None: all that has data."""
        self.listed_until: date | None = None
        """Last day whose objects the bucket listing shows; None: all that are published. Later ones are served unlisted."""
        self.phantom_children = True
        """Every klines folder of a symbol holds an empty object without a name: the listing shows a child `BTCUSDT//`."""
        self._withheld = KeySet()
        self._unlisted = KeySet()
        self._in_parts = KeySet()
        self._without_newline = KeySet()
        self._replaced: dict[str, ReplacedObject] = {}
        self._dated: list[tuple[KeySet, int]] = []

    # -- changes -----------------------------------------------------------------------------------------------

    def without_objects(self, which: Which) -> None:
        """Let archive objects (by key) answer 404; their CHECKSUM goes with them. May be called repeatedly."""
        self._withheld.add(which)
        self.version += 1

    def replace_object(self, key: str, body: bytes, checksum: bytes | None = None, modified: datetime | None = None) -> None:
        """Serve this body under a key, published or not; None as checksum: the right line for it.

        Last-Modified is `modified`, or else one second later for each object that was replaced before.
        """
        seconds = _FIRST_REPLACED_AT + len(self._replaced) if modified is None else int(modified.timestamp())
        known = self._replaced.get(key)
        if known is not None and modified is None:
            seconds = known.modified + 1
        self._replaced[key] = ReplacedObject(body, checksum, seconds)
        self.version += 1

    def date_objects(self, which: Which, modified: datetime) -> None:
        """Give objects (by key) this Last-Modified, as if they had been published anew then. The latest call counts."""
        keys = KeySet()
        keys.add(which)
        self._dated.append((keys, int(modified.timestamp())))
        self.version += 1

    def hide_from_listing(self, which: Which) -> None:
        """Serve objects (by key) that the bucket listing does not show. May be called repeatedly."""
        self._unlisted.add(which)
        self.version += 1

    def upload_in_parts(self, which: Which) -> None:
        """Let objects (by key) have the ETag of an upload in two parts, `...-2`: it is not the MD5 of the body."""
        self._in_parts.add(which)
        self.version += 1

    def checksums_without_newline(self, which: Which) -> None:
        """Publish the CHECKSUM of objects (by the key of the zip) without a newline at its end."""
        self._without_newline.add(which)
        self.version += 1

    # -- questions ---------------------------------------------------------------------------------------------

    def withheld(self, key: str) -> bool:
        """Whether a test took this archive object away."""
        return key in self._withheld

    def unlisted(self, key: str) -> bool:
        """Whether the listing leaves this object out although it is served."""
        return key in self._unlisted

    def in_parts(self, key: str) -> bool:
        """Whether this object was uploaded in parts."""
        return key in self._in_parts

    def without_newline(self, key: str) -> bool:
        """Whether the CHECKSUM of this object ends without a newline."""
        return key in self._without_newline

    def replaced(self, key: str) -> ReplacedObject | None:
        """The hand-made object of a key, if a test made one."""
        return self._replaced.get(key)

    def replaced_keys(self) -> list[str]:
        """The keys of all hand-made objects."""
        return list(self._replaced)

    def modified(self, key: str) -> int | None:
        """The Last-Modified that a test gave an object, in epoch seconds."""
        return next((seconds for keys, seconds in reversed(self._dated) if key in keys), None)
