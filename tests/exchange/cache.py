"""A cache of built archive objects, bounded by bytes."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import NamedTuple


class StoredObject(NamedTuple):
    """One archive object as it is served; modified is its Last-Modified in epoch seconds."""

    body: bytes
    sha256: str
    etag: str
    modified: int

    @classmethod
    def of(cls, body: bytes, modified: int) -> StoredObject:
        """An object with its digests."""
        return cls(body, hashlib.sha256(body).hexdigest(), hashlib.md5(body).hexdigest(), modified)


class ObjectCache:
    """Least recently used objects go first. Thread-safe."""

    def __init__(self, max_bytes: int = 128 * 1024 * 1024) -> None:
        self._free = max_bytes
        self._objects: OrderedDict[object, StoredObject] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object) -> StoredObject | None:
        """The object of that key, if it is still here."""
        with self._lock:
            found = self._objects.get(key)
            if found is not None:
                self._objects.move_to_end(key)
            return found

    def put(self, key: object, stored: StoredObject) -> StoredObject:
        """Keep an object, forgetting the oldest ones."""
        with self._lock:
            if key not in self._objects:
                self._objects[key] = stored
                self._free -= len(stored.body)
                while self._free < 0 and len(self._objects) > 1:
                    self._free += len(self._objects.popitem(last=False)[1].body)
        return stored
