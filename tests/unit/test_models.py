"""Frequencies and statuses, and results as the JSON objects of reports."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import pytest

from cryptoservice.days import Window
from cryptoservice.errors import UsageError
from cryptoservice.models import Dataset, Freq, MissingReason, Record, Status, encode


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


# -- results -----------------------------------------------------------------------------------------------------------

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


@dataclass(frozen=True, repr=False)
class Brief(Record):
    KEYS: ClassVar[tuple[str, ...]] = ("status", "window", "rows", "losses", "none", "text", "seconds", "day")

    status: Status
    window: Window
    rows: dict[Any, int]
    losses: list[Loss]
    none: None
    text: str
    seconds: float
    day: date


DAY = date(2026, 2, 3)


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


def test_a_record_shows_itself_in_short() -> None:
    losses = [Loss(Dataset.METRICS, date(2026, 2, 3), "http_500")] * 1234
    shown = Brief(Status.INCOMPLETE, WINDOW, {Dataset.KLINES: 1440, Dataset.METRICS: 288}, losses, None, "x" * 1000, 0.5, DAY)
    assert repr(shown) == (
        "Brief(status='incomplete', window=2026-02-01 to 2026-02-28, rows={'klines': 1440, 'metrics': 288}, "
        "losses=<1,234 entries>, none=None, text='" + "x" * 76 + "..., seconds=0.5, day=2026-02-03)"
    )
    many = Brief(Status.FAILED, WINDOW, {f"S{n}USDT": n for n in range(1000)}, [], None, "", 0.0, DAY)
    assert "rows=<1,000 entries>" in repr(many)


@pytest.mark.parametrize("filler", ["x", "\U0001d11e", "\n", "'"])
def test_whatever_a_record_holds_its_repr_is_short(filler: str) -> None:
    @dataclass(frozen=True, repr=False)
    class Wide(Record):
        KEYS: ClassVar[tuple[str, ...]] = tuple(f"field_{number}" for number in range(50))

        def __getattr__(self, name: str) -> str:
            return filler * 5000

    assert len(repr(Wide())) < 500
    assert repr(Wide()).startswith("Wide(field_0=")
    assert repr(Wide()).endswith("...)")


def test_a_notebook_shows_a_record_as_a_small_table() -> None:
    losses = [Loss(Dataset.METRICS, date(2026, 2, number % 28 + 1), f"<b>{number}</b>") for number in range(1234)]
    page = Brief(Status.INCOMPLETE, WINDOW, {}, losses, None, "<script>alert(1)</script>", 0.5, DAY)._repr_html_()
    # It is one that can be parsed, and no value of it is taken for a tag.
    root = ElementTree.fromstring(page)
    assert root.tag == "table"
    assert root.findtext("caption") == "Brief"
    rows = {row[0].text: row[1] for row in root.findall("./tbody/tr")}
    assert list(rows) == list(Brief.KEYS)
    assert rows["text"].text == "<script>alert(1)</script>"
    assert rows["window"].text == "2026-02-01 to 2026-02-28"
    inner = rows["losses"][0]
    assert [cell.text for cell in inner.findall("./thead/tr/th")] == ["dataset", "day", "reason"]
    body = inner.findall("./tbody/tr")
    assert [cell.text for cell in body[0]] == ["metrics", "2026-02-01", "<b>0</b>"]
    assert body[-1][0].text == "and 1,224 more"
    assert len(body) == 11
    assert len(page) < 4000


def test_a_mapping_of_records_is_a_table_with_its_keys() -> None:
    losses = {Dataset.METRICS: Loss(Dataset.METRICS, DAY, "a"), Dataset.KLINES: Loss(Dataset.KLINES, DAY)}
    page = Brief(Status.COMPLETE, WINDOW, losses, [], None, "", 0.0, DAY)._repr_html_()
    rows = {row[0].text: row[1] for row in ElementTree.fromstring(page).findall("./tbody/tr")}
    assert [[cell.text for cell in row] for row in rows["rows"].findall("./table/tbody/tr")] == [
        ["metrics", "metrics", "2026-02-03", "a"],
        ["klines", "klines", "2026-02-03", "None"],
    ]
    assert rows["losses"].text == "<0 entries>"
