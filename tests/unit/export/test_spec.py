"""Frequencies, paths and expected rows of each dataset."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.storage.ledger import LedgerLine
from tests.unit.fakes import FEBRUARY_MS, MINUTE, kline

DAY = date(2026, 2, 1)


@pytest.mark.parametrize(
    ("dataset", "source", "target", "stored", "path", "expected"),
    [
        (Dataset.KLINES, "1m", "1h", "1m", "klines/freq=1h/date=2026-02-01/klines.csv", 24),
        (Dataset.KLINES, "5m", "5m", "5m", "klines/freq=5m/date=2026-02-01/klines.csv", 288),
        (Dataset.KLINES, "1h", "1d", "1h", "klines/freq=1d/date=2026-02-01/klines.csv", 1),
        # Metrics are stored every five minutes, whatever the interval of the klines is, and are never finer.
        (Dataset.METRICS, "1m", "1m", "5m", "metrics/freq=5m/date=2026-02-01/metrics.csv", 288),
        (Dataset.METRICS, "1m", "3m", "5m", "metrics/freq=5m/date=2026-02-01/metrics.csv", 288),
        (Dataset.METRICS, "1h", "4h", "5m", "metrics/freq=4h/date=2026-02-01/metrics.csv", 6),
        (Dataset.FUNDING_RATES, "5m", "1h", "", "funding_rates/date=2026-02-01/funding_rates.csv", 0),
    ],
)
def test_each_dataset_has_its_place(dataset: Dataset, source: str, target: str, stored: str, path: str, expected: int) -> None:
    spec = ExportSpec.of(dataset, Freq(source), Freq(target))
    assert spec.stored_freq == stored
    assert spec.path(Path("out"), DAY) == Path("out") / path
    assert spec.expected(None) == expected


def test_only_the_ledger_knows_how_many_funding_rates_a_day_has() -> None:
    line = LedgerLine(Status.COMPLETE, None, 3, 3)
    assert ExportSpec.of(Dataset.FUNDING_RATES, Freq.m5, Freq.h1).expected(line) == 3
    assert ExportSpec.of(Dataset.KLINES, Freq.m5, Freq.h1).expected(line) == 24


def test_each_dataset_is_resampled_in_its_own_way() -> None:
    klines = [kline(FEBRUARY_MS + minute * MINUTE, 1.0 + minute) for minute in (0, 5)]
    made, partial = ExportSpec.of(Dataset.KLINES, Freq.m5, Freq.m15).resample(klines)
    assert (made, partial) == ([(FEBRUARY_MS, 1.0, 6.0, 1.0, 6.0, 4.0, 14.0, 6, 2.0, 7.0)], 1)
    metrics = [(FEBRUARY_MS, 1.0, None, 1.0, 1.0, 1.0, 1.0), (FEBRUARY_MS + 5 * MINUTE, 2.0, None, None, 2.0, 2.0, 2.0)]
    made, partial = ExportSpec.of(Dataset.METRICS, Freq.m1, Freq.m15).resample(metrics)
    assert (made, partial) == ([(FEBRUARY_MS, 2.0, None, 1.0, 2.0, 2.0, 2.0)], 1)
    rates = [(FEBRUARY_MS + 7, 0.0001, 10.0, "Regular")]
    assert ExportSpec.of(Dataset.FUNDING_RATES, Freq.m5, Freq.d1).resample(rates) == (rates, 0)
