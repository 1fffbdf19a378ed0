"""Value types that all packages share: frequencies (kline intervals), datasets, statuses, and results with their JSON form."""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar, NamedTuple

from cryptoservice.errors import UsageError
from cryptoservice.reasons import MissingReason as MissingReason  # noqa: PLC0414 - a public name of this module

MINUTE_MS = 60_000
DAY_MS = 86_400_000

Row = tuple[Any, ...]
"""One row of market data: its time (ms UTC) comes first, and the dataset decides the other columns."""


class Word(str, Enum):
    """An enumeration whose members are written as their values, in files, messages and reports."""

    def __str__(self) -> str:
        return str(self.value)


class Freq(Word):
    """A kline interval that divides a UTC day evenly, named as the exchange names it (`5m`, `1h`, ...)."""

    m1 = "1m"
    m3 = "3m"
    m5 = "5m"
    m15 = "15m"
    m30 = "30m"
    h1 = "1h"
    h2 = "2h"
    h4 = "4h"
    h6 = "6h"
    h8 = "8h"
    h12 = "12h"
    d1 = "1d"

    @property
    def milliseconds(self) -> int:
        """The length of one bar in milliseconds."""
        return _FREQ_MS[self]

    @property
    def bars_per_day(self) -> int:
        """How many bars a full UTC day holds."""
        return DAY_MS // self.milliseconds

    @classmethod
    def parse(cls, text: str | Freq) -> Freq:
        """The frequency of that name. Raises UsageError, which lists the valid names."""
        try:
            return cls(text)
        except ValueError:
            valid = " ".join(freq.value for freq in cls)
            raise UsageError(f"unknown interval {text!r}", hint=f"one of: {valid}") from None


def _length_ms(freq: Freq) -> int:
    unit = {"m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": DAY_MS}[freq.value[-1]]
    return int(freq.value[:-1]) * unit


_FREQ_MS = {freq: _length_ms(freq) for freq in Freq}


class Dataset(Word):
    """A kind of market data. Its value is the name of the public view and of the export folder."""

    KLINES = "klines"
    METRICS = "metrics"
    FUNDING_RATES = "funding_rates"


class Status(Word):
    """How one symbol-day of one dataset ended, as the ledger keeps it."""

    COMPLETE = "complete"
    """Every expected row is stored."""
    CONFIRMED_GAP = "confirmed_gap"
    """Fewer rows than expected are stored, or none at all, and no source has more."""
    INCOMPLETE = "incomplete"
    """Fewer rows than expected were fetched, and nothing confirms that there are no more. A later run asks again."""
    FAILED = "failed"
    """Nothing usable could be fetched. A later run asks again."""

    @property
    def settled(self) -> bool:
        """Whether later incremental runs leave this symbol-day alone."""
        return self in (Status.COMPLETE, Status.CONFIRMED_GAP)


class SourceObject(NamedTuple):
    """One version of an archive object that rows came from."""

    name: str
    """The path of the object inside the archive."""
    sha256: str
    last_modified: str | None
    """The Last-Modified header, as the archive sent it."""
    fetched_at: str
    """ISO 8601 time in UTC."""
    etag: str | None = None
    """The ETag header without its quotes: the MD5 of the bytes, if the object was uploaded in one piece."""
    size: int | None = None
    """Bytes."""


class Record:
    """The base of a result: a dataclass whose `to_dict()` gives its JSON object.

    The encoder is hand-made because `dataclasses.asdict` leaves enums, days and paths as they are and knows no properties. It
    asks values what they can do, so that this module need not import what only results need.

    A result that can be large is made with `repr=False`, so that a person who types its name sees the short form below.
    """

    KEYS: ClassVar[tuple[str, ...]] = ()
    """The keys of the object in their order; each is the name of a field or a property. Without keys, all fields are written."""

    def to_dict(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {name: encode(getattr(self, name)) for name in self._names()}

    def __repr__(self) -> str:
        """The keys with their values in short, at most 500 characters: of a long list, only how long it is."""
        text = ", ".join(f"{name}={_in_short(getattr(self, name))}" for name in self._names())
        limit = _LONGEST_REPR - len(type(self).__name__) - 2
        return f"{type(self).__name__}({text if len(text) <= limit else text[: limit - 3] + '...'})"

    def _repr_html_(self) -> str:
        """The result as a small table, which notebooks show."""
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><th {left}>{_cell(name)}</th><td {left}>{_html(getattr(self, name))}</td></tr>" for name in self._names()
        )
        return f"<table><caption>{_cell(type(self).__name__)}</caption><tbody>{rows}</tbody></table>"

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        return cls.KEYS or tuple(vars(cls)["__dataclass_fields__"])


_LONGEST_REPR = 480
_LONGEST_VALUE = 80
_MOST_ROWS = 10


def _in_short(value: Any) -> str:
    """A value on one line: a window as its days, a long list or mapping as how many entries it has."""
    if isinstance(value, Enum):
        value = value.value
    if value is not None and not isinstance(value, (str, int, float)):
        if hasattr(value, "isoformat"):
            return str(value.isoformat())
        if hasattr(value, "to_dict") and hasattr(value, "length"):
            return " to ".join(value.to_dict().values())
        if hasattr(value, "items"):
            text = "{" + ", ".join(f"{_in_short(key)}: {_in_short(item)}" for key, item in list(value.items())[:_MOST_ROWS]) + "}"
            return text if len(text) <= _LONGEST_VALUE and len(value) <= _MOST_ROWS else _count(value)
        if isinstance(value, (list, tuple)):
            return _count(value)
    return _cut(repr(value))


def _count(value: Any) -> str:
    return f"<{len(value):,} entr{'y' if len(value) == 1 else 'ies'}>"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def _cell(value: Any) -> str:
    # A notebook is patient, but the command line imports this module too.
    from html import escape  # noqa: PLC0415

    return escape(_cut(str(value)) if isinstance(value, str) else _in_short(value))


def _html(value: Any) -> str:
    """A value as a cell of a table: a list or mapping of results as a table within it, of which the first rows are shown."""
    items = list(value.values()) if hasattr(value, "values") else value
    if not isinstance(items, (list, tuple)) or not items or not all(isinstance(item, Record) for item in items):
        return _cell(value)
    names = items[0]._names()
    head = "".join(f"<th>{_cell(name)}</th>" for name in names)
    rows = ["".join(f"<td>{_cell(getattr(item, name))}</td>" for name in names) for item in items[:_MOST_ROWS]]
    if items is not value:
        head = "<th></th>" + head
        rows = [f"<th>{_cell(key)}</th>{row}" for key, row in zip(value, rows, strict=False)]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    more = f"<tr><td>and {len(items) - _MOST_ROWS:,} more</td></tr>" if len(items) > _MOST_ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}{more}</tbody></table>"


def encode(value: Any) -> Any:
    """The value as JSON: a result or a window as its object, an enum as its value, a day as YYYY-MM-DD, others as lists."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (str, int, float)):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "__fspath__"):
        return str(value)
    if hasattr(value, "items"):
        return {encode(key): encode(item) for key, item in value.items()}
    return [encode(item) for item in value]
