"""What an audit found: objects that are unchanged, published anew or gone, and what would have to be fetched again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from cryptoservice.audit.archive_audit.used_objects import UsedObject
from cryptoservice.days import Window
from cryptoservice.models import Dataset, Record


@dataclass(frozen=True)
class RepublishedObject(Record):
    """An object whose content has changed since the database was built from it."""

    object: str
    symbol: str
    date: str
    """The day or the month that the object holds."""
    old: str
    """SHA-256 of the version that the stored rows came from."""
    new: str
    """SHA-256 that the archive publishes now."""


@dataclass(frozen=True)
class GoneObject(Record):
    """An object that the archive does not hold any more."""

    object: str
    symbol: str
    date: str


@dataclass(frozen=True)
class Refetch(Record):
    """A download that fetches changed symbol-days again: one window, and the symbols that need it."""

    interval: str
    """The kline interval."""
    with_metrics: bool
    """Whether metrics and funding rates are to be fetched as well."""
    window: Window
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class AuditResult(Record):
    """What `audit_universe` found, and what it cost."""

    KEYS: ClassVar = (
        "window", "checked", "unchanged", "republished", "gone", "not_compared", "refetch", "requests", "retries",
        "waited_seconds", "elapsed_seconds",
    )  # fmt: skip

    window: Window
    unchanged: int
    """Objects whose content is what the stored rows came from."""
    republished: tuple[RepublishedObject, ...]
    gone: tuple[GoneObject, ...]
    not_compared: int
    """Objects that an earlier version noted without ETag, that the listing cannot decide, and that the sample left out."""
    refetch: tuple[Refetch, ...]
    requests: Mapping[str, int]
    retries: int
    waited_seconds: float
    elapsed_seconds: float

    @property
    def checked(self) -> int:
        """Objects that the database was built from in the window."""
        return self.unchanged + len(self.republished) + len(self.gone) + self.not_compared

    def __repr__(self) -> str:
        counts = f"checked={self.checked}, unchanged={self.unchanged}, republished={len(self.republished)}"
        return f"AuditResult({self.window.start} to {self.window.end}, {counts}, gone={len(self.gone)})"


def refetches(changed: Iterable[UsedObject], kline_intervals: Mapping[str, list[str]]) -> tuple[Refetch, ...]:
    """The downloads that fetch these objects' symbol-days again, symbols that share a window together.

    Metrics and funding rates come with klines: of those intervals that a symbol has in the database, the coarsest costs least.
    """
    spans: dict[tuple[str, bool, str], set[tuple[date, date]]] = {}
    for used in changed:
        is_klines = used.series.dataset is Dataset.KLINES
        interval = used.series.freq if is_klines else (kline_intervals.get(used.series.symbol) or ["1d"])[-1]
        spans.setdefault((interval, not is_klines, used.series.symbol), set()).add((used.days[0], used.days[-1]))
    windows = {key: _joined(sorted(found)) for key, found in spans.items()}
    symbols: dict[tuple[str, bool, Window], list[str]] = {}
    for (interval, with_metrics, symbol), found in sorted(windows.items()):
        for window in found:
            # What is fetched with metrics brings these klines as well.
            wider = () if with_metrics else windows.get((interval, True, symbol), ())
            if not any(other.start <= window.start and window.end <= other.end for other in wider):
                symbols.setdefault((interval, with_metrics, window), []).append(symbol)
    return tuple(Refetch(*key, tuple(names)) for key, names in sorted(symbols.items()))


def _joined(spans: list[tuple[date, date]]) -> list[Window]:
    """Spans that touch or overlap, as one."""
    windows: list[Window] = []
    for start, end in spans:
        if windows and (start - windows[-1].end).days <= 1:
            windows[-1] = Window(windows[-1].start, max(windows[-1].end, end))
        else:
            windows.append(Window(start, end))
    return windows
