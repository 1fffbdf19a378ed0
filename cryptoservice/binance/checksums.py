"""Published checksums as the bucket listing shows them: a file is verified without a request for its CHECKSUM.

The listing holds the MD5 of every CHECKSUM, and the text of a CHECKSUM can be made from our own SHA-256 of the file. Where the
two agree, that SHA-256 is the published one. Anything else proves nothing, and the CHECKSUM itself is asked for: a wrong
assumption about the listing costs requests and never truth (docs/wire.md, bucket listing).
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import Enum, auto

from cryptoservice.binance.archive_files import CHECKSUM, FileRange
from cryptoservice.binance.listing import BucketListing
from cryptoservice.binance.parsers.listing import ListedObject
from cryptoservice.errors import CryptoserviceError, Interrupted

log = logging.getLogger(__name__)

TRIALS = 3
"""So many files of a run are verified both ways before the listing is believed alone."""
WITHIN_SECONDS = 5.0
"""A listing that takes longer slows the run down more than it spares."""
# Of a month of days each: far more than are in use at once, since the jobs of a run are opened one after the other.
_MOST_RANGES = 64


def is_checksum_of(listed: ListedObject, sha256: str) -> bool | None:
    """Whether a listed CHECKSUM says this SHA-256 of its file, or None where its ETag is no MD5.

    Its text ends with a newline, or without one.
    """
    if listed.md5 is None:
        return None
    name = listed.key.removesuffix(CHECKSUM).rsplit("/", 1)[-1]
    line = f"{sha256}  {name}".encode()
    texts = (line + b"\n", line)
    return any(listed.size == len(text) and listed.md5 == hashlib.md5(text, usedforsecurity=False).hexdigest() for text in texts)


class ListedRange:
    """The listed CHECKSUMs of one range of files, as soon as they are there. None are listed where the page could not be had."""

    def __init__(self) -> None:
        self.is_there = threading.Event()
        self.checksums: Mapping[str, ListedObject] = {}
        """By the name of the CHECKSUM."""


class _Seat(Enum):
    TRIAL = auto()
    BELIEVED = auto()
    NEITHER = auto()


class ListedChecksums:
    """Verifies files by the listing, for one run. Safe to use from many threads; only Interrupted is raised for its sake.

    The first failure of the listing ends its use in the run, and so does a trial in which listing and CHECKSUM disagree. Without
    a listing nothing is verified by it.
    """

    def __init__(self, listing: BucketListing | None) -> None:
        self._listing = listing
        self._ranges: OrderedDict[FileRange, ListedRange] = OrderedDict()
        self._changed = threading.Condition()
        self._is_off = listing is None
        self._trials = 0
        """Passed, or under way."""
        self._passed = 0
        self._verified = 0

    @property
    def verified(self) -> int:
        """How many files the listing alone has verified."""
        return self._verified

    def look_up(self, files: FileRange) -> ListedRange | None:
        """The listed CHECKSUMs of these files; None when the listing is not used any more.

        Has the page asked for when nobody has done so yet, and returns at once. That is done in a thread of its own: whatever the
        listing's host does, no file waits for it longer than `WITHIN_SECONDS`.
        """
        with self._changed:
            if self._is_off or self._listing is None:
                return None
            listed = self._ranges.get(files)
            if listed is not None:
                self._ranges.move_to_end(files)
                return listed
            listed = self._ranges[files] = ListedRange()
            if len(self._ranges) > _MOST_RANGES:
                self._ranges.popitem(last=False)
        thread = threading.Thread(target=self._ask, args=(self._listing, files, listed), name="listing", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._give_up(str(error))
            listed.is_there.set()
        return listed

    def _ask(self, listing: BucketListing, files: FileRange, listed: ListedRange) -> None:
        found: dict[str, ListedObject] = {}
        try:
            for entry in listing.checksums(files, WITHIN_SECONDS):
                if self._is_off:
                    return
                found[entry.key] = entry
            listed.checksums = found
        except Interrupted:
            pass
        except CryptoserviceError as error:
            # Its hint says what to do about a run that has failed, and this one goes on.
            self._give_up(error.message)
        finally:
            listed.is_there.set()

    def trouble(self, listed: ListedRange | None, key: str, sha256: str, ask: Callable[[], str | None]) -> str | None:
        """What is wrong with the file of that name and SHA-256, or None when that is the published one.

        `ask` asks for the CHECKSUM and answers the same question. It is called wherever the listing leaves a doubt.
        """
        says = None if listed is None else self._says(listed, key + CHECKSUM, sha256)
        if says:
            return self._trouble_of_listed(key, ask)
        trouble = ask()
        if says is False and trouble is None and self._passed < TRIALS:
            self._disagree(key)
        return trouble

    def _says(self, listed: ListedRange, checksum_key: str, sha256: str) -> bool | None:
        if not listed.is_there.wait(WITHIN_SECONDS):
            self._give_up(f"no page of it within {WITHIN_SECONDS:.0f} s")
            return None
        found = listed.checksums.get(checksum_key)
        return None if found is None else is_checksum_of(found, sha256)

    def _trouble_of_listed(self, key: str, ask: Callable[[], str | None]) -> str | None:
        """The same for a file whose published checksum is ours, if the listing is right."""
        seat = self._take_seat()
        if seat is _Seat.BELIEVED:
            return None
        if seat is _Seat.NEITHER:
            return ask()
        passed = False
        try:
            trouble = ask()
            passed = trouble is None
            if not passed:
                self._disagree(key)
            return trouble
        finally:
            # A CHECKSUM that could not be had proves nothing: another file takes its place in the trial.
            with self._changed:
                self._passed += passed
                self._trials -= not passed
                self._changed.notify_all()

    def _take_seat(self) -> _Seat:
        """A place in the trial, or its outcome. Who comes while the last trials are under way waits for them a little."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_off or self._passed >= TRIALS or self._trials < TRIALS, timeout=WITHIN_SECONDS
            )
            if self._is_off:
                return _Seat.NEITHER
            if self._passed >= TRIALS:
                self._verified += 1
                return _Seat.BELIEVED
            if self._trials < TRIALS:
                self._trials += 1
                return _Seat.TRIAL
            return _Seat.NEITHER

    def _disagree(self, key: str) -> None:
        self._give_up(f"it and the CHECKSUM of {key} disagree")

    def _give_up(self, why: str) -> None:
        with self._changed:
            is_news, self._is_off = not self._is_off, True
            self._ranges.clear()
            self._changed.notify_all()
        if is_news:
            fields = {"event": "listing_not_used", "reason": why}
            log.warning("the bucket listing verifies nothing more in this run: %s", why, extra={"fields": fields})
