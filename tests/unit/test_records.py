"""The encoder: results as the JSON objects of reports."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

from cryptoservice.days import Window
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.records import Record, encode

WINDOW = Window(date(2026, 2, 1), date(2026, 2, 28))


@dataclass(frozen=True)
class Loss(Record):
    dataset: Dataset
    day: date
    reason: str | None = None


@dataclass
class Outcome(Record):
    KEYS: ClassVar[tuple[str, ...]] = ("status", "window", "rows", "losses", "losses_total")

    window: Window
    status: Status
    rows: dict[Dataset, int]
    losses: list[Loss] = field(default_factory=list)
    internal: object = None

    @property
    def losses_total(self) -> int:
        return len(self.losses)


def test_a_record_without_keys_writes_all_of_its_fields_in_order() -> None:
    record = Loss(Dataset.KLINES, date(2026, 2, 3)).to_dict()
    assert record == {"dataset": "klines", "day": "2026-02-03", "reason": None}
    assert list(record) == ["dataset", "day", "reason"]


def test_keys_choose_the_fields_and_properties_and_their_order() -> None:
    losses = [Loss(Dataset.METRICS, date(2026, 2, 3), "http_500")]
    record = Outcome(WINDOW, Status.INCOMPLETE, {Dataset.KLINES: 1440}, losses, internal=object()).to_dict()
    assert json.dumps(record) == (
        '{"status": "incomplete", "window": {"start_date": "2026-02-01", "end_date": "2026-02-28"}, '
        '"rows": {"klines": 1440}, "losses": [{"dataset": "metrics", "day": "2026-02-03", "reason": "http_500"}], '
        '"losses_total": 1}'
    )


def test_values_become_what_json_has() -> None:
    table: list[tuple[Any, Any]] = [
        (None, None),
        (True, True),
        (7, 7),
        (0.1, 0.1),
        ("text", "text"),
        (Freq.m5, "5m"),
        (date(2026, 2, 1), "2026-02-01"),
        (WINDOW, {"start_date": "2026-02-01", "end_date": "2026-02-28"}),
        (Path("data") / "market.db", str(Path("data/market.db"))),
        ((1, (Freq.h1, None)), [1, ["1h", None]]),
        ({Status.FAILED: [date(2026, 2, 1)]}, {"failed": ["2026-02-01"]}),
        ({date(2026, 2, 1): 1}, {"2026-02-01": 1}),
        (Counter({Dataset.METRICS: 3}), {"metrics": 3}),
        ((number for number in (1, 2)), [1, 2]),
        ([], []),
        ({}, {}),
    ]
    for value, expected in table:
        assert encode(value) == expected
    # An enum that is also a string must not reach a report as an enum.
    assert type(encode(Freq.m5)) is str
    assert type(next(iter(encode({Dataset.KLINES: 1})))) is str


def test_a_result_is_not_tied_to_the_record_that_it_came_from() -> None:
    rows = {Dataset.KLINES: 1}
    record = Outcome(WINDOW, Status.COMPLETE, rows).to_dict()
    rows[Dataset.KLINES] = 2
    assert record["rows"] == {"klines": 1}
