"""The bucket listing: S3's ListObjects, version 1, as the host behind the archive answers it (docs/wire.md, bucket listing)."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import islice
from xml.sax.saxutils import escape

from .archive import Archive
from .bucket import Bucket, Entry, Wanted
from .wire import Reply, Request, UnknownRequestError

BUCKET = "data.binance.vision"
MOST_ENTRIES = 1000
_PARAMS = frozenset({"prefix", "delimiter", "marker", "max-keys"})
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Listing:
    """Answers requests of the listing host."""

    def __init__(self, archive: Archive, bucket: Bucket) -> None:
        self._archive = archive
        self._bucket = bucket

    def answer(self, request: Request) -> Reply:
        """One page of keys. Raises UnknownRequestError for whatever S3 can do beyond that."""
        if request.path.strip("/") not in ("", BUCKET):
            raise UnknownRequestError("the listing host is asked for the bucket alone, not for its objects")
        strange = sorted(set(request.params) - _PARAMS)
        if strange:
            raise UnknownRequestError(f"parameters that are not replayed: {', '.join(strange)}")
        wanted = Wanted(*(request.params.get(name, "") for name in ("prefix", "marker", "delimiter")))
        if wanted.delimiter not in ("", "/"):
            raise UnknownRequestError("no delimiter but / is replayed")
        most = request.params.get("max-keys", str(MOST_ENTRIES))
        if not most.isascii() or not most.isdigit() or int(most) < 1:
            raise UnknownRequestError("max-keys is a number from 1 on")
        return Reply(200, self._page(wanted, min(int(most), MOST_ENTRIES)).encode(), "application/xml", _HEADERS)

    def _page(self, wanted: Wanted, most: int) -> str:
        entries = list(islice(self._bucket.entries(wanted), most + 1))
        truncated, entries = len(entries) > most, entries[:most]
        # S3 names the next marker where entries are rolled up; else it is the last key.
        goes_on = truncated and wanted.delimiter
        head = (
            f"<Name>{BUCKET}</Name>{_element('Prefix', wanted.prefix)}{_element('Marker', wanted.marker)}"
            + (_element("NextMarker", entries[-1].name) if goes_on else "")
            + f"<MaxKeys>{most}</MaxKeys>"
            + (_element("Delimiter", wanted.delimiter) if wanted.delimiter else "")
            + f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
        )
        contents = "".join(self._contents(entry) for entry in entries if not entry.is_prefix)
        prefixes = "".join(
            f"<CommonPrefixes>{_element('Prefix', entry.name)}</CommonPrefixes>" for entry in entries if entry.is_prefix
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<ListBucketResult xmlns="{_NAMESPACE}">{head}{contents}{prefixes}</ListBucketResult>'
        )

    def _contents(self, entry: Entry) -> str:
        digest = self._archive.digest(entry.name)
        if digest is None:  # it went away since it was found
            return ""
        modified = datetime.fromtimestamp(digest.modified, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return (
            f"<Contents>{_element('Key', entry.name)}<LastModified>{modified}</LastModified>"
            f"<ETag>&quot;{digest.etag}&quot;</ETag><Size>{digest.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )


_HEADERS = (("x-amz-bucket-region", "ap-northeast-1"), ("Server", "AmazonS3"))


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"
