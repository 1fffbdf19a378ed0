"""The archive data.binance.vision: fetches its files and verifies them against their published checksums."""

from __future__ import annotations

import hashlib
import re
from functools import partial

from cryptoservice.binance.archive_files import CHECKSUM, ArchiveFile, FileRange, VerifiedZip, max_zip_bytes
from cryptoservice.binance.checksums import ListedChecksums
from cryptoservice.binance.http.host import Call, Host
from cryptoservice.binance.http.limiter import RateLimiter
from cryptoservice.binance.http.responses import Response, archive_response_parser
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.clock import Clock
from cryptoservice.errors import Remedy, SourceError

_CHECKSUM_FORM = re.compile(rb"\s*([0-9a-fA-F]{64})(?:\s|\Z)")
_ETAG_FORM = re.compile(r"[0-9a-f]{32}(?:-[0-9]+)?\Z")
_MAX_CHECKSUM_BYTES = 4096
_MAX_OBJECT_BYTES = 64 * 1024 * 1024
# A zip with members, and an empty one.
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")


class Archive:
    """Fetches archive files and verifies them, with `listed` also by the bucket listing. Safe to use from many threads."""

    def __init__(self, host: Host, limiter: RateLimiter, clock: Clock, listed: ListedChecksums | None = None) -> None:
        self._host = host
        self._limiter = limiter
        self._clock = clock
        self._parse_response = archive_response_parser(clock)
        self._listed = listed or ListedChecksums(None)

    @property
    def verified_by_listing(self) -> int:
        """How many files were verified without a request for their CHECKSUM."""
        return self._listed.verified

    def fetch(self, source: ArchiveFile, among: FileRange | None = None) -> VerifiedZip | None:
        """The file, verified against its CHECKSUM, or None when the archive does not hold it.

        `among` names files that are fetched as well: one page of the listing may spare the requests for their CHECKSUMs.
        Raises InvalidData when even a second download of both brings no matching checksum. Raises SourceError,
        SourceRefused and Interrupted as Host.fetch does.
        """
        # The page is asked for first, so that it is there when the other threads have fetched their files.
        listed = None if among is None else self._listed.look_up(among)
        trouble: str | None = None
        for fresh in (False, True):
            response = self._get(source.key, "archive", max_zip_bytes(source), fresh=fresh)
            if response is None:
                return None
            digest = hashlib.sha256(response.body).hexdigest()
            ask = partial(self._trouble, source, digest, fresh=fresh)
            trouble = ask() if fresh else self._listed.trouble(listed, source.key, digest, ask)
            if trouble is None:
                modified, etag = response.headers.get("last-modified"), _etag(response)
                return VerifiedZip(source, response.body, digest, modified, self._clock.time(), etag)
        raise InvalidData(trouble or "checksum_mismatch")

    def _trouble(self, source: ArchiveFile, digest: str, *, fresh: bool) -> str | None:
        """Why the file's CHECKSUM does not vouch for that SHA-256, or None when it does."""
        published = self._get(source.checksum_key, "archive_checksum", _MAX_CHECKSUM_BYTES, fresh=fresh)
        if published is None:
            return "checksum_missing"
        match = _CHECKSUM_FORM.match(published.body)
        if match is None:
            return "checksum_unreadable"
        return None if match[1].decode().lower() == digest else "checksum_mismatch"

    def published_sha256(self, key: str) -> str | None:
        """The SHA-256 that the archive publishes for the object of that name now, or None when it publishes none.

        Raises InvalidData when the CHECKSUM cannot be read, and what Host.fetch raises.
        """
        published = self._get(key + CHECKSUM, "archive_checksum", _MAX_CHECKSUM_BYTES, fresh=True)
        if published is None:
            return None
        match = _CHECKSUM_FORM.match(published.body)
        if match is None:
            raise InvalidData("checksum_unreadable")
        return match[1].decode().lower()

    def sha256_of(self, key: str) -> str | None:
        """The SHA-256 of the object's own bytes, or None when the archive does not hold it.

        Raises SourceError when something else than a zip comes, and what Host.fetch raises.
        """
        response = self._get(key, "archive", _MAX_OBJECT_BYTES, fresh=True)
        if response is None:
            return None
        if not response.body.startswith(_ZIP_STARTS):
            # Nothing else vouches for these bytes: they may be a web page of something on the way.
            raise SourceError(f"{key}: the archive's answer is no zip", reason="zip_unreadable", hint=Remedy.MORE_RETRIES)
        return hashlib.sha256(response.body).hexdigest()

    def _get(self, key: str, name: str, max_bytes: int, *, fresh: bool) -> Response | None:
        # The zip and its checksum are cached apart, so after a new publication one can be older (docs/wire.md, checksums).
        headers = {"Cache-Control": "no-cache"} if fresh else None
        return self._host.fetch(
            Call(name, "/" + key, {}, self._limiter, max_bytes=max_bytes, headers=headers), self._parse_response
        )


def _etag(response: Response) -> str | None:
    """The ETag without its quotes, or None when it is missing or no plain word."""
    found = response.headers.get("etag", "").strip().removeprefix("W/").strip('"').lower()
    return found if _ETAG_FORM.match(found) else None
