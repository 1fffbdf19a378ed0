"""The speed of this machine: measured quickly, and in proportion."""

from __future__ import annotations

import time

import pytest

from cryptoservice.download.forecast.machine import Machine
from cryptoservice.models import Dataset


def test_a_measurement_takes_some_tens_of_milliseconds_and_is_plausible() -> None:
    started = time.thread_time()
    machine = Machine.measured()
    assert time.thread_time() - started < 1.0
    # From a hundredth of a microsecond to a tenth of a millisecond: no machine that runs Python is outside.
    assert 1e-8 < machine.row_seconds < 1e-4
    assert machine.processors >= 1


def test_what_else_takes_time_grows_with_the_time_of_a_row() -> None:
    fast, slow = Machine(1e-6, 2), Machine(4e-6, 2)
    for name in ("request_seconds", "api_request_seconds", "start_seconds"):
        assert getattr(slow, name) == pytest.approx(4 * getattr(fast, name))
    assert fast.request_seconds < fast.api_request_seconds < fast.start_seconds
    assert fast.rows_seconds(Dataset.KLINES, 1_000_000, has_helpers=False) == pytest.approx(1.2)
    assert fast.rows_seconds(Dataset.METRICS, 1_000_000, has_helpers=False) > 2.0


def test_helpers_help_where_there_is_a_processor_for_them() -> None:
    for processors, helped in ((1, False), (2, True), (8, True)):
        machine = Machine(1e-6, processors)
        alone, shared = (machine.rows_seconds(Dataset.KLINES, 1e6, has_helpers=has) for has in (False, True))
        assert (shared < alone) is helped
