"""Listings as a client of S3 reads them, and a model of S3 over a plain list of keys."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .client import Client

_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Listed(NamedTuple):
    key: str
    modified: str
    etag: str
    size: int


@dataclass
class Page:
    fields: dict[str, str]
    contents: list[Listed]
    prefixes: list[str]

    @property
    def truncated(self) -> bool:
        return self.fields["IsTruncated"] == "true"

    @property
    def names(self) -> list[str]:
        return sorted([*(listed.key for listed in self.contents), *self.prefixes], key=str.encode)


def read(body: bytes) -> Page:
    """A page; whatever it holds beyond what a page holds is an error."""
    root = ET.fromstring(body)
    assert root.tag == _NAMESPACE + "ListBucketResult"
    page = Page({}, [], [])
    for child in root:
        name = child.tag.removeprefix(_NAMESPACE)
        inner = {each.tag.removeprefix(_NAMESPACE): each.text or "" for each in child}
        if name == "Contents":
            assert list(inner) == ["Key", "LastModified", "ETag", "Size", "StorageClass"]
            assert inner["StorageClass"] == "STANDARD"
            page.contents.append(Listed(inner["Key"], inner["LastModified"], inner["ETag"], int(inner["Size"])))
        elif name == "CommonPrefixes":
            assert list(inner) == ["Prefix"]
            page.prefixes.append(inner["Prefix"])
        else:
            assert not inner
            assert name not in page.fields
            page.fields[name] = child.text or ""
    return page


def page(client: Client, **params: Any) -> Page:
    response = client.listing(**params)
    assert (response.status, response.headers["content-type"]) == (200, "application/xml"), response
    return read(response.body)


def pages(client: Client, **params: Any) -> list[Page]:
    """All pages from the first on: each one begins after NextMarker if there is one, after the last key otherwise."""
    found = [page(client, **params)]
    while found[-1].truncated:
        last = found[-1]
        marker = last.fields.get("NextMarker") or last.contents[-1].key
        found.append(page(client, **params, marker=marker))
    return found


def all_listed(client: Client, **params: Any) -> dict[str, Listed]:
    listed = [each for each_page in pages(client, **params) for each in each_page.contents]
    assert len({each.key for each in listed}) == len(listed)
    return {each.key: each for each in listed}


def model(keys: Iterable[str], prefix: str = "", marker: str = "", delimiter: str = "") -> list[str]:
    """The names that S3 lists, without pages: keys after the marker, rolled up where the delimiter follows the prefix."""
    names: list[str] = []
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix) or key.encode() <= marker.encode():
            continue
        rest = key[len(prefix) :]
        name = prefix + rest[: rest.index(delimiter) + 1] if delimiter and delimiter in rest else key
        if name != marker and name not in names[-1:]:
            names.append(name)
    return names
