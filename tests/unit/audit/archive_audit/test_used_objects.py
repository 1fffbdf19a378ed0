"""Which objects the symbol-days of a window came from, and which days come from an object."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from cryptoservice.audit.archive_audit.used_objects import UsedObject, used_objects, used_series
from cryptoservice.days import Window
from cryptoservice.models import Dataset, SourceObject
from cryptoservice.storage.ledger import Series
from tests.unit.audit.archive_audit.objects import METRICS, key, version
from tests.unit.storage.samples import BTC, ETH, FUNDING, symbol_day, written

DAYS = [date(2026, 2, day) for day in range(1, 6)]
WINDOW = Window(DAYS[1], DAYS[3])
ALL = {"BTCUSDT": DAYS}
MONTH = SourceObject("data/BTCUSDT-1m-2026-02.zip", "ab" * 32, None, "then", "12" * 16, 9)


@pytest.mark.parametrize(
    ("name", "period", "prefix"),
    [
        ("a/BTCUSDT-5m-2026-02.zip", "2026-02", "a/BTCUSDT-5m-"),
        ("a/BTCUSDT-metrics-2026-02-01.zip", "2026-02-01", "a/BTCUSDT-metrics-"),
        ("a/币安人生USDT-5m-2026-02-01.zip", "2026-02-01", "a/币安人生USDT-5m-"),
        ("a/B-2025-01-2026-02.zip", "2026-02", "a/B-2025-01-"),
        ("a/B-5m-2026-2.zip", "a/B-5m-2026-2.zip", "a/B-5m-2026-2.zip"),
        ("a/B-5m-2026-02.zip.old", "a/B-5m-2026-02.zip.old", "a/B-5m-2026-02.zip.old"),
        ("x", "x", "x"),
    ],
)
def test_period_and_prefix(name: str, period: str, prefix: str) -> None:
    one = UsedObject(METRICS, SourceObject(name, "ab" * 32, None, "then"), (DAYS[0],))
    assert (one.name, one.period, one.prefix) == (name, period, prefix)


def test_series_of_active_symbols_with_a_line_in_the_window(path: Path) -> None:
    late = Series(Dataset.KLINES, "5m", "BTCUSDT")
    written(
        path, symbol_day(BTC, [], DAYS[1]), symbol_day(ETH, [], DAYS[1]), symbol_day(FUNDING, [], DAYS[3]),
        symbol_day(METRICS, [], DAYS[0]), symbol_day(late, [], DAYS[4]),
    )  # fmt: skip
    assert sorted(used_series(path, ALL, WINDOW)) == sorted([BTC, FUNDING])
    assert used_series(path, {}, WINDOW) == []


def test_versions_with_the_active_days_that_name_them(path: Path) -> None:
    newer = MONTH._replace(sha256="cd" * 32, etag="34" * 16)
    own = MONTH._replace(name="data/BTCUSDT-1m-2026-02-04.zip")
    written(
        path,
        *(symbol_day(BTC, [], day, origin=MONTH) for day in (DAYS[0], DAYS[1], DAYS[4])),
        symbol_day(BTC, [], DAYS[2], origin=newer),
        symbol_day(BTC, [], DAYS[3], origin=own),
    )
    assert used_objects(path, BTC, ALL, WINDOW) == [
        UsedObject(BTC, own, (DAYS[3],)), UsedObject(BTC, MONTH, (DAYS[1],)), UsedObject(BTC, newer, (DAYS[2],)),
    ]  # fmt: skip
    assert used_objects(path, BTC, ALL, Window(DAYS[0], DAYS[4]))[1].days == (DAYS[0], DAYS[1], DAYS[4])
    assert used_objects(path, BTC, {"BTCUSDT": DAYS[2:]}, WINDOW) == [
        UsedObject(BTC, own, (DAYS[3],)), UsedObject(BTC, newer, (DAYS[2],)),
    ]  # fmt: skip
    assert used_objects(path, BTC, {"ETHUSDT": DAYS}, WINDOW) == []


def test_days_without_an_object_have_none(path: Path) -> None:
    written(path, symbol_day(BTC, [], DAYS[1], source="rest"), symbol_day(BTC, [], DAYS[2], origin=MONTH))
    assert [one.days for one in used_objects(path, BTC, ALL, WINDOW)] == [(DAYS[2],)]


def metrics_of(path: Path, *days: date, rest: tuple[date, ...] = ()) -> Path:
    return written(
        path,
        *(symbol_day(METRICS, [], day, origin=version(b"", key(day.isoformat()))) for day in days),
        *(symbol_day(METRICS, [], day, source="rest") for day in rest),
    )


def test_a_metrics_file_may_hold_the_last_bar_of_the_day_before(path: Path) -> None:
    metrics_of(path, DAYS[0], DAYS[1], DAYS[3], rest=(DAYS[2],))
    found = {one.period: one.days for one in used_objects(path, METRICS, ALL, Window(DAYS[0], DAYS[4]))}
    assert found == {
        "2026-02-01": (DAYS[0],), "2026-02-02": (DAYS[0], DAYS[1]),
        # The rows of the day before came from REST.
        "2026-02-04": (DAYS[3],),
    }  # fmt: skip


@pytest.mark.parametrize(("active", "days"), [(DAYS, (DAYS[1], DAYS[2])), (DAYS[2:], (DAYS[2],))])
def test_the_day_before_can_lie_before_the_window_but_must_be_active(
    path: Path, active: list[date], days: tuple[date, ...]
) -> None:
    metrics_of(path, *DAYS)
    (first, *_) = used_objects(path, METRICS, {"BTCUSDT": active}, Window(DAYS[2], DAYS[4]))
    assert (first.period, first.days) == ("2026-02-03", days)
    assert len(used_objects(path, METRICS, {"BTCUSDT": active}, Window(DAYS[2], DAYS[4]))) == 3
