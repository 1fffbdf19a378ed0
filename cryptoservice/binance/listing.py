"""The bucket listing: what the archive holds, page by page to its end.

A listing proves that an object is there. It may lag behind, so only an object's own 404 proves that it is not (docs/wire.md,
bucket listing).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

from cryptoservice.binance.archive_files import CHECKSUM, FileRange
from cryptoservice.binance.http.host import Call, Host
from cryptoservice.binance.http.limiter import RateLimiter
from cryptoservice.binance.http.responses import Response, Transient, archive_response_parser
from cryptoservice.binance.parsers.listing import ListedObject, ListingPage, parse_page
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.clock import Clock
from cryptoservice.errors import Remedy, SourceError

# A page of 1000 objects has 270 KB.
_MAX_PAGE_BYTES = 8 * 1024 * 1024
MOST_ENTRIES = 1000
"""So many a page has at most (docs/wire.md, bucket listing)."""


class BucketListing:
    """Lists the archive's bucket. Safe to use from many threads.

    All methods raise SourceError when a page cannot be had or trusted, SourceRefused when the host is closed to this run, and
    Interrupted when the client is closed. What they return is whole: a failed page is not an absence.
    """

    def __init__(self, host: Host, limiter: RateLimiter, clock: Clock) -> None:
        self._host = host
        self._limiter = limiter
        self._parse_response = archive_response_parser(clock, "the listing host")

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders right below `prefix`, which ends with a slash."""
        # Two pages may overlap.
        names: dict[str, None] = {}
        for page in self._pages(prefix, {"delimiter": "/"}):
            names |= dict.fromkeys(folder[len(prefix) :].rstrip("/") for folder in page.folders)
        # The bucket holds a child without a name here and there.
        return [name for name in names if name]

    def objects(self, prefix: str, *, after: str | None = None) -> Iterator[ListedObject]:
        """The objects whose names begin with `prefix`, which may end within a name, in the byte order of the names.

        With `after` only those whose names come after it; it need not be the name of an object. A page is fetched when its first
        object is asked for.
        """
        return _objects(self._pages(prefix, {}, after))

    def checksums(self, files: FileRange, within: float) -> Iterator[ListedObject]:
        """The CHECKSUMs that are listed from the first of these files to the last, for a run that can do without them.

        Each page is asked for once: SourceError when it is not there within so many seconds.
        """
        # A marker need not exist, and what it names is left out: this one stands right before the first name.
        options = {"max-keys": str(min(2 * files.length, MOST_ENTRIES))}
        last = files.last.checksum_key
        # All of them fit on so many pages, with one to spare for what else may lie between them.
        pages = itertools.islice(
            self._pages(files.prefix, options, files.first.key[:-1], within), 2 + 2 * files.length // MOST_ENTRIES
        )
        for listed in _objects(pages):
            if listed.key.encode() > last.encode():
                return
            if listed.key.endswith(CHECKSUM):
                yield listed
            if listed.key == last:
                return

    def _pages(
        self, prefix: str, options: dict[str, str], marker: str | None = None, within: float = math.inf
    ) -> Iterator[ListingPage]:
        while True:
            params = {**options, "prefix": prefix, **({"marker": marker} if marker is not None else {})}
            page = self._page(prefix, params, within)
            yield page
            if page.next_marker is None:
                return
            if marker is not None and page.next_marker.encode() <= marker.encode():
                raise SourceError(f"the listing of {prefix} goes in circles", reason="invalid_listing", hint=Remedy.MORE_RETRIES)
            marker = page.next_marker

    def _page(self, prefix: str, params: dict[str, str], within: float) -> ListingPage:
        def parse_response(response: Response) -> ListingPage:
            found = self._parse_response(response)
            if found is None:
                raise _no_bucket("HTTP 404")
            try:
                return parse_page(found.body, prefix, params.get("marker", ""))
            except InvalidData as invalid:
                if invalid.reason == "web_page":
                    raise _no_bucket("a web page, as the download host does; the bucket is another host") from None
                raise Transient(invalid.reason, "a listing that cannot be trusted") from None

        call = Call("archive_listing", "", params, self._limiter, max_bytes=_MAX_PAGE_BYTES, one_try_within=within)
        return self._host.fetch(call, parse_response)


def _objects(pages: Iterable[ListingPage]) -> Iterator[ListedObject]:
    # Two pages may overlap.
    known: set[str] = set()
    for page in pages:
        yield from (listed for listed in page.objects if listed.key not in known)
        known = {listed.key for listed in page.objects}


def _no_bucket(what: str) -> SourceError:
    return SourceError(f"the listing host answered with {what}", reason="no_listing", hint=Remedy.CHECK_LISTING_URL)
