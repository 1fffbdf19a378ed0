"""Lines of a day's CSV: the form of every value."""

from __future__ import annotations

import pytest

from cryptoservice.export.daily_csv import csv_lines


def test_numbers_are_written_as_repr_and_null_as_nothing() -> None:
    rows = [(1, 0.1, None, "Regular"), (2, 1e-08, 1e22, "Special"), (3, -0.0001, None, "Regular")]
    assert csv_lines("BTCUSDT", rows) == ("BTCUSDT,1,0.1,,Regular\nBTCUSDT,2,1e-08,1e+22,Special\nBTCUSDT,3,-0.0001,,Regular\n")
    assert csv_lines("BTCUSDT", [(1, None, 2.0, None)]) == "BTCUSDT,1,,2.0,\n"


@pytest.mark.parametrize("kind", ["Annulled", "null", "特殊"])
def test_a_rate_type_is_written_as_it_is_whatever_the_exchange_calls_it(kind: str) -> None:
    assert csv_lines("BTCUSDT", [(1, 0.1, None, kind)]) == f"BTCUSDT,1,0.1,,{kind}\n"
