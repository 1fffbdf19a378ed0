"""Pages of the bucket listing: the XML that S3 answers with, read to names of folders and to objects with their size and ETag."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from xml.etree import ElementTree

from cryptoservice.binance.parsers.rows_by_day import InvalidData

_MD5 = re.compile(r"[0-9a-f]{32}\Z")


class ListedObject(NamedTuple):
    """One object as the bucket lists it."""

    key: str
    """The whole name inside the bucket, not percent-encoded."""
    etag: str
    """The ETag without its quotes."""
    size: int
    """Bytes."""
    last_modified: str
    """ISO 8601 in UTC, as the bucket writes it."""

    @property
    def md5(self) -> str | None:
        """The MD5 of the bytes, or None where the ETag cannot be one (an upload in parts)."""
        return self.etag if _MD5.match(self.etag) else None


class ListingPage(NamedTuple):
    """One page: at most a thousand folders and objects, in the byte order of their names."""

    folders: list[str]
    """Common prefixes, each with its slash at the end."""
    objects: list[ListedObject]
    next_marker: str | None
    """After which name the next page begins; None for the last page."""


_Text = Callable[[ElementTree.Element, str], str]


def parse_page(body: bytes, prefix: str, marker: str = "") -> ListingPage:
    """Check and read the page of the listing of `prefix` that begins after the name `marker`.

    Raises InvalidData: `web_page` for HTML, `invalid_listing` for anything else that is not such a page, and for a page of
    another prefix or place. A page that cannot be trusted must never look like a short one.
    """
    root = _root(body)
    namespace = root.tag[: root.tag.index("}") + 1] if root.tag.startswith("{") else ""
    if root.tag != f"{namespace}ListBucketResult":
        raise InvalidData("web_page" if root.tag.lower().endswith("html") else "invalid_listing")

    def text(parent: ElementTree.Element, name: str) -> str:
        found = parent.find(namespace + name)
        if found is None:
            raise InvalidData("invalid_listing")
        return found.text or ""

    def texts(parent: ElementTree.Element, name: str) -> list[str]:
        # S3 writes one of them, and other servers that speak its language write several.
        text(parent, name)
        return [found.text or "" for found in parent.findall(namespace + name)]

    # Only children are looked at: the root echoes the prefix that was asked for in an element of the same name as a folder's.
    folders = [name for entry in root.findall(f"{namespace}CommonPrefixes") for name in texts(entry, "Prefix")]
    objects = [_object(entry, text) for entry in root.findall(f"{namespace}Contents")]
    names = [*folders, *(listed.key for listed in objects)]
    if text(root, "Prefix") != prefix or not all(name.startswith(prefix) for name in names):
        raise InvalidData("invalid_listing")
    echo = root.find(f"{namespace}Marker")
    if echo is not None and echo.text and echo.text != marker:
        # Another page than the one asked for, from a cache perhaps: the names between the two would be lost.
        raise InvalidData("invalid_listing")
    truncated = text(root, "IsTruncated").strip().lower()
    if truncated not in ("true", "false"):
        raise InvalidData("invalid_listing")
    if truncated == "false":
        return ListingPage(folders, objects, None)
    last = max(names, key=str.encode, default="")
    if not last:
        raise InvalidData("invalid_listing")
    # The marker is the last name, and without a delimiter S3 leaves it out. One beyond that would pass over names.
    named = root.find(f"{namespace}NextMarker")
    given = (named.text or "").strip() if named is not None else ""
    return ListingPage(folders, objects, min(given or last, last, key=str.encode))


def _root(body: bytes) -> ElementTree.Element:
    if b"<!ENTITY" in body:
        # No bucket sends definitions, and nested ones could fill the memory.
        raise InvalidData("invalid_listing")
    try:
        return ElementTree.fromstring(body)  # noqa: S314 - the size is limited, and entities are refused above
    except (ElementTree.ParseError, ValueError, LookupError):
        raise InvalidData("web_page" if _looks_like_html(body) else "invalid_listing") from None


def _looks_like_html(body: bytes) -> bool:
    start = body[:2048].lower()
    return b"<!doctype html" in start or b"<html" in start


def _object(entry: ElementTree.Element, text: _Text) -> ListedObject:
    size = text(entry, "Size")
    if not (size.isascii() and size.isdecimal() and len(size) < 16):
        raise InvalidData("invalid_listing")
    etag = text(entry, "ETag").strip().strip('"').lower()
    return ListedObject(text(entry, "Key"), etag, int(size), text(entry, "LastModified").strip())
