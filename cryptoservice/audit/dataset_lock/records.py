"""The canonical form of a row as bytes, which docs/formats.md lays down: digests rest on it, so it must never change.

SQLite itself calls the functions that pack a row. Fetching the rows into Python first takes longer than all of the work here.
"""

from __future__ import annotations

import struct
from datetime import date
from functools import cache

from cryptoservice.models import Dataset
from cryptoservice.storage.ledger import Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.schema import columns

_INTEGERS = frozenset(("open_time", "funding_time", "trades"))
_TEXTS = frozenset(("rate_type",))
_COUNT = struct.Struct("<I")
_EMPTY = {"q": bytes(8), "d": bytes(8), "s": bytes(4)}
"""What stands in the place of a NULL."""


def canonical_day(store: StoreReader, series: Series, day: date) -> list[bytes] | None:
    """The records of a symbol-day in the order of the key; None when a value is of a type that no download stores."""
    form = form_of(series.dataset)
    records = None if form.whole is None else store.packed_rows(series, day, form.whole)
    return store.packed_rows(series, day, form.pack) if records is None else records


class RecordForm:
    """How the rows of one dataset become records: a mask of the NULLs, the time, then the values in the order of the columns."""

    def __init__(self, dataset: Dataset) -> None:
        self._codes = "".join(_code(name) for name in columns(dataset))
        # Pad bytes are zero: the mask of a row without NULLs. A row with one makes this function fail.
        self.whole = None if "s" in self._codes else struct.Struct(f"<4x{self._codes}").pack
        """Packs a row without NULLs and texts, several times quicker than `pack`."""

    def pack(self, *row: object) -> bytes:
        """Any row as its record. Raises struct.error for a value of another type than its column's."""
        mask = 0
        parts = []
        for place, (code, value) in enumerate(zip(self._codes, row, strict=True)):
            if value is not None:
                parts.append(_packed(code, value))
            elif place:
                mask |= 1 << (place - 1)
                parts.append(_EMPTY[code])
            else:
                raise struct.error("a row without its time")
        return _COUNT.pack(mask) + b"".join(parts)


@cache
def form_of(dataset: Dataset) -> RecordForm:
    """The form of that dataset's rows; always the same object, so that SQLite learns its functions once."""
    return RecordForm(dataset)


def _code(name: str) -> str:
    return "q" if name in _INTEGERS else "s" if name in _TEXTS else "d"


def _packed(code: str, value: object) -> bytes:
    if code != "s":
        return struct.pack(f"<{code}", value)
    if not isinstance(value, str):
        raise struct.error("a text is due")
    text = value.encode("utf-8")
    return _COUNT.pack(len(text)) + text
