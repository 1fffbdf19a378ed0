"""The one encoder for all results: it turns dataclasses into the JSON objects of the reports.

It is hand-made because `dataclasses.asdict` leaves enums, days and paths as they are and knows no properties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar

from cryptoservice.days import Window


class Record:
    """The base of a dataclass whose `to_dict()` gives its JSON object."""

    KEYS: ClassVar[tuple[str, ...]] = ()
    """The keys of the object in their order; each is the name of a field or a property. Without keys, all fields are written."""

    def to_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        names = self.KEYS or tuple(item.name for item in fields(self))  # type: ignore[arg-type]
        return {name: encode(getattr(self, name)) for name in names}


def encode(value: Any) -> Any:
    """The value as JSON: an enum as its value, a day as YYYY-MM-DD, a window as its two days, other collections as lists."""
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Window):
        return {"start_date": value.start.isoformat(), "end_date": value.end.isoformat()}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {encode(key): encode(item) for key, item in value.items()}
    return [encode(item) for item in value]
