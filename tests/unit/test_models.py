"""Frequencies and statuses: the values that files and databases hold."""

from __future__ import annotations

import pytest

from cryptoservice.errors import UsageError
from cryptoservice.models import Dataset, Freq, MissingReason, Status


def test_each_frequency_has_its_length_and_divides_a_day() -> None:
    minutes = {
        "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480,
        "12h": 720, "1d": 1440,
    }  # fmt: skip
    assert {freq.value: freq.milliseconds // 60_000 for freq in Freq} == minutes
    assert {freq.value: freq.bars_per_day * minutes[freq.value] for freq in Freq} == dict.fromkeys(minutes, 1440)
    assert [freq.value for freq in Freq] == list(minutes), "the order is from short to long"


def test_a_frequency_is_parsed_from_its_name_or_itself() -> None:
    assert Freq.parse("15m") is Freq.m15
    assert Freq.parse(Freq.d1) is Freq.d1
    for text in ("", "1M", "7m", "1 h", "3d"):
        with pytest.raises(UsageError) as caught:
            Freq.parse(text)
        assert caught.value.message == f"unknown interval {text!r}"
        assert caught.value.hint == "one of: 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d"


def test_values_are_shown_as_they_are_stored() -> None:
    shown = [f"{value}" for value in (Freq.h1, Dataset.FUNDING_RATES, MissingReason.NO_KLINE_ON_DATE, Status.CONFIRMED_GAP)]
    assert shown == ["1h", "funding_rates", "no_kline_on_date", "confirmed_gap"]


def test_a_settled_symbol_day_is_complete_or_a_confirmed_gap() -> None:
    assert {status.value: status.settled for status in Status} == {
        "complete": True,
        "confirmed_gap": True,
        "incomplete": False,
        "failed": False,
    }
