"""The report of an audit, and which downloads fetch changed days again."""

from __future__ import annotations

from datetime import date

import pytest

from cryptoservice.audit.archive_audit.result import AuditResult, GoneObject, Refetch, RepublishedObject, refetches
from cryptoservice.audit.archive_audit.used_objects import UsedObject
from cryptoservice.days import Window
from cryptoservice.models import Dataset, SourceObject
from cryptoservice.storage.ledger import Series

FEBRUARY = Window(date(2026, 2, 1), date(2026, 2, 28))
OBJECT = SourceObject("a.zip", "ab" * 32, None, "then")
INTERVALS = {"AUSDT": ["1m", "5m"], "BUSDT": ["1h"]}


def changed(dataset: Dataset, symbol: str, first: int, last: int | None = None, freq: str = "5m") -> UsedObject:
    days = tuple(date(2026, 2, day) for day in sorted({first, last or first}))
    return UsedObject(Series(dataset, freq, symbol), OBJECT, days)


def window(first: int, last: int | None = None) -> Window:
    return Window(date(2026, 2, first), date(2026, 2, last or first))


KLINES, METRICS, FUNDING = Dataset.KLINES, Dataset.METRICS, Dataset.FUNDING_RATES


@pytest.mark.parametrize(
    ("objects", "lines"),
    [
        ([], []),
        ([changed(KLINES, "AUSDT", 1, 28)], [Refetch("5m", False, window(1, 28), ("AUSDT",))]),
        # Days that touch are one window, others are windows of their own.
        (
            [changed(KLINES, "AUSDT", day) for day in (4, 1, 2, 9, 3)],
            [Refetch("5m", False, window(1, 4), ("AUSDT",)), Refetch("5m", False, window(9), ("AUSDT",))],
        ),
        # Symbols share a line where they share window and interval.
        (
            [
                changed(KLINES, "BUSDT", 1), changed(KLINES, "AUSDT", 1), changed(KLINES, "CUSDT", 2),
                changed(KLINES, "AUSDT", 1, freq="1m"),
            ],
            [
                Refetch("1m", False, window(1), ("AUSDT",)), Refetch("5m", False, window(1), ("AUSDT", "BUSDT")),
                Refetch("5m", False, window(2), ("CUSDT",)),
            ],
        ),
        # Metrics and funding rates come with the coarsest klines that the symbol has.
        (
            [changed(METRICS, "AUSDT", 3, 4), changed(FUNDING, "BUSDT", 3, 4, ""), changed(METRICS, "CUSDT", 3, 4)],
            [
                Refetch("1d", True, window(3, 4), ("CUSDT",)), Refetch("1h", True, window(3, 4), ("BUSDT",)),
                Refetch("5m", True, window(3, 4), ("AUSDT",)),
            ],
        ),
        # These klines are in the wider line already, those of another interval or another day are not.
        (
            [
                changed(METRICS, "AUSDT", 3, 6), changed(KLINES, "AUSDT", 4), changed(KLINES, "AUSDT", 4, freq="1m"),
                changed(KLINES, "AUSDT", 7, 9), changed(FUNDING, "AUSDT", 5, 6, ""),
            ],
            [
                Refetch("1m", False, window(4), ("AUSDT",)), Refetch("5m", False, window(7, 9), ("AUSDT",)),
                Refetch("5m", True, window(3, 6), ("AUSDT",)),
            ],
        ),
    ],
)  # fmt: skip
def test_lines_that_fetch_again(objects: list[UsedObject], lines: list[Refetch]) -> None:
    assert refetches(objects, INTERVALS) == tuple(lines)
    assert refetches(reversed(objects), INTERVALS) == tuple(lines)


def test_the_report() -> None:
    result = AuditResult(
        FEBRUARY, 5, (RepublishedObject("a.zip", "AUSDT", "2026-02", "ab", "cd"),), (GoneObject("b.zip", "BUSDT", "2026-02-01"),),
        2, (Refetch("5m", True, window(1), ("AUSDT",)),), {"archive_listing": 3}, 1, 0.5, 2.25,
    )  # fmt: skip
    assert result.to_dict() == {
        "window": {"start_date": "2026-02-01", "end_date": "2026-02-28"},
        "checked": 9,
        "unchanged": 5,
        "republished": [{"object": "a.zip", "symbol": "AUSDT", "date": "2026-02", "old": "ab", "new": "cd"}],
        "gone": [{"object": "b.zip", "symbol": "BUSDT", "date": "2026-02-01"}],
        "not_compared": 2,
        "refetch": [
            {
                "interval": "5m", "with_metrics": True, "window": {"start_date": "2026-02-01", "end_date": "2026-02-01"},
                "symbols": ["AUSDT"],
            }
        ],
        "requests": {"archive_listing": 3},
        "retries": 1,
        "waited_seconds": 0.5,
        "elapsed_seconds": 2.25,
    }  # fmt: skip
    assert repr(result) == "AuditResult(2026-02-01 to 2026-02-28, checked=9, unchanged=5, republished=1, gone=1)"
