"""The archive as a bucket: its keys in order, found folder by folder, so that asking for a few costs a few."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from .archive import CHECKSUM, Archive
from .calendar import DAY_MS, INTERVALS
from .market import Market
from .objects import UM, Objects

_KINDS = {"daily": ("klines", "metrics"), "monthly": ("fundingRate", "klines")}


class Wanted(NamedTuple):
    """Which keys are asked for: those that begin with the prefix and come after the marker; a delimiter rolls them up."""

    prefix: str
    marker: str
    delimiter: str


class Entry(NamedTuple):
    """One line of a listing: a key, or a common prefix of several."""

    name: str
    is_prefix: bool


class Bucket:
    """The keys that the listing shows: objects, CHECKSUMs and phantom children, in the order of their UTF-8 bytes.

    Code points have the same order as their UTF-8 bytes, so texts are compared as they are.
    """

    def __init__(self, market: Market, archive: Archive, now_ms: Callable[[], int]) -> None:
        self._market = market
        self._archive = archive
        self._objects = Objects(market)
        self._now_ms = now_ms

    def entries(self, wanted: Wanted, folder: str = "") -> Iterator[Entry]:
        """The entries below a folder, ascending. Folders that cannot hold any are not looked into."""
        for path in self._children(folder):
            is_folder = path.endswith("/") and not path.endswith("//")
            if not path.startswith(wanted.prefix) and not (is_folder and wanted.prefix.startswith(path)):
                continue
            if path <= wanted.marker and not (is_folder and wanted.marker.startswith(path)):
                continue
            common = _common_prefix(path, wanted)
            if common is None and is_folder:
                yield from self.entries(wanted, path)
            elif common is None:
                if path > wanted.marker and self._archive.listed(path):
                    yield Entry(path, is_prefix=False)
            elif common != wanted.marker and self._holds_any(path, is_folder, wanted.marker):
                yield Entry(common, is_prefix=True)

    def _holds_any(self, path: str, is_folder: bool, marker: str) -> bool:
        """Whether there is any key at or below a path, after the marker."""
        if not is_folder:
            return self._archive.listed(path)
        return next(self.entries(Wanted(path, marker, ""), path), None) is not None

    def _children(self, folder: str) -> Iterable[str]:
        """The paths right below a folder that may exist, ascending; those of folders end with a slash."""
        replaced = set()
        for key in self._market.replaced_keys():
            for each in (key, key + CHECKSUM):
                if each.startswith(folder):
                    name, slash, _ = each[len(folder) :].partition("/")
                    replaced.add(folder + name + slash)
        # Mostly there are none: then a folder of a thousand days costs only as much as is taken from it.
        return sorted(replaced.union(self._made(folder))) if replaced else self._made(folder)

    def _made(self, folder: str) -> Iterable[str]:
        """The same for objects that are made from the market's data."""
        if not folder.startswith(UM + "/"):
            above = UM + "/"
            return [above[: above.index("/", len(folder)) + 1]] if above.startswith(folder) else []
        span, kind, symbol, interval, *rest = (*folder.removeprefix(UM + "/").split("/"), "", "", "", "")
        if not span:
            names: Iterable[str] = _KINDS
        elif not kind:
            names = _KINDS.get(span, ())
        elif kind not in _KINDS.get(span, ()) or any(rest):
            names = ()
        elif not symbol:
            names = self._objects.symbols(kind)
        elif kind == "klines" and not interval:
            names = ("", *INTERVALS)
        elif (kind == "klines") == bool(interval):
            return self._keys(span, kind, symbol, interval)
        else:
            names = ()
        return sorted(f"{folder}{name}/" for name in names)

    def _keys(self, span: str, kind: str, symbol: str, interval: str) -> Iterator[str]:
        for key in self._objects.keys(span, kind, symbol, interval, self._now_ms() // DAY_MS):
            yield key
            yield key + CHECKSUM


def _common_prefix(path: str, wanted: Wanted) -> str | None:
    """What a path below the prefix is rolled up to, None where it is not."""
    if not wanted.delimiter or not path.startswith(wanted.prefix):
        return None
    at = path.find(wanted.delimiter, len(wanted.prefix))
    return None if at < 0 else path[: at + len(wanted.delimiter)]
