"""A difference as the report shows it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cryptoservice.audit.verification.differences import Difference
from cryptoservice.models import Dataset


def test_the_details_stand_beside_the_other_keys() -> None:
    difference = Difference("row_count", Dataset.METRICS, "5m", "BTCUSDT", "2026-02-01", {"ledger": 288, "database": 287})
    assert list(difference.to_dict().items()) == [
        ("kind", "row_count"), ("dataset", "metrics"), ("freq", "5m"), ("symbol", "BTCUSDT"), ("date", "2026-02-01"),
        ("ledger", 288), ("database", 287),
    ]  # fmt: skip
    nobody = Difference("outside_ledger", Dataset.FUNDING_RATES, "", None, "2026-02-01")
    assert nobody.to_dict() == {
        "kind": "outside_ledger", "dataset": "funding_rates", "freq": "", "symbol": None, "date": "2026-02-01",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "shown"),
    [(7, 7), (0.1, 0.1), ("much", "much"), (float("inf"), "inf"), (float("nan"), "nan"), (b"\xff", "b'\\xff'"), (None, "None")],
)
def test_a_damaged_value_has_a_form_that_json_can_say(value: Any, shown: object) -> None:
    record = Difference("value", Dataset.KLINES, "1h", "BTCUSDT", "2026-02-01", {"stored": value}).to_dict()
    assert record["stored"] == shown
    assert json.loads(json.dumps(record, allow_nan=False))["stored"] == shown
