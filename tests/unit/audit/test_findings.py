"""Counting differences, and what a result makes of them."""

from __future__ import annotations

import pytest

from cryptoservice.audit.cross_check import CrossCheck, Sampled
from cryptoservice.audit.differences import Difference
from cryptoservice.audit.findings import MAX_LISTED, CheckedDataset, Findings, SampleResult, VerifyResult
from cryptoservice.days import Window
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.evidence import AnswerKind, KlineSource, Source, SourceAnswer
from tests.unit.audit.stored import BTC, NEXT_DAY
from tests.unit.fakes import FEBRUARY


def difference(kind: str, date: str = "2026-02-01") -> Difference:
    return Difference(kind, Dataset.KLINES, "1h", BTC, date)


def check(kind: AnswerKind, reason: str | None = None) -> CrossCheck:
    sampled = Sampled(Freq.h1, BTC, FEBRUARY, "daily", KlineSource.API)
    return CrossCheck(sampled, Source.REST, SourceAnswer(kind, reason=reason))


def sample(*not_compared: CrossCheck) -> SampleResult:
    drawn = Sampled(Freq.h1, BTC, FEBRUARY, "daily", KlineSource.API)
    return SampleResult(7, 5, (drawn,), 1, 24, 2, not_compared)


def result(kinds: dict[str, int], drawn: SampleResult | None = None) -> VerifyResult:
    datasets = (
        CheckedDataset(Dataset.KLINES, "1h", 4, 2, 48),
        CheckedDataset(Dataset.KLINES, "5m", 4, 1, 288),
        CheckedDataset(Dataset.FUNDING_RATES, "", 4, 3, 9),
    )
    differences = tuple(difference(kind) for kind in kinds)
    return VerifyResult(Window(FEBRUARY, NEXT_DAY), datasets, kinds, differences, drawn, {"klines": 3}, 1, 0.5, 2.25)


def test_all_are_counted_and_the_first_are_kept() -> None:
    findings = Findings()
    findings.add(difference("row_count", f"day {number}") for number in range(MAX_LISTED - 1))
    findings.add([difference("value"), difference("time_off_grid")])
    findings.add([])
    assert findings.total == MAX_LISTED + 1
    assert findings.kinds == {"row_count": MAX_LISTED - 1, "value": 1, "time_off_grid": 1}
    assert [item.kind for item in findings.listed[-2:]] == ["row_count", "value"]
    assert [item.date for item in findings.listed[:2]] == ["day 0", "day 1"]
    assert len(findings.listed) == MAX_LISTED


@pytest.mark.parametrize(
    ("kinds", "drawn", "status"),
    [
        ({}, None, "sound"),
        ({}, sample(), "sound"),
        # The other source does not have the symbol-day: there is nothing to compare, and nothing went wrong.
        ({}, sample(check(AnswerKind.ABSENT)), "sound"),
        ({}, sample(check(AnswerKind.NOT_SERVED)), "sound"),
        ({}, sample(check(AnswerKind.FAILED)), "not_verified"),
        ({}, sample(check(AnswerKind.ABSENT), check(AnswerKind.REFUSED)), "not_verified"),
        ({}, sample(check(AnswerKind.DISTRUSTED)), "not_verified"),
        ({"value": 2}, sample(check(AnswerKind.FAILED)), "different"),
        ({"value": 2}, None, "different"),
    ],
)
def test_the_status_in_one_word(kinds: dict[str, int], drawn: SampleResult | None, status: str) -> None:
    made = result(kinds, drawn)
    assert (made.status, made.sound) == (status, status == "sound")


def test_the_json_object() -> None:
    record = result({"row_count": 3, "value": 2}, sample(check(AnswerKind.FAILED, "http_503"))).to_dict()
    assert list(record) == [
        "status", "window", "checked_symbol_days", "rows", "datasets", "differences_total", "differences_by_kind", "differences",
        "sample", "requests", "retries", "waited_seconds", "elapsed_seconds",
    ]  # fmt: skip
    assert record["window"] == {"start_date": "2026-02-01", "end_date": "2026-02-02"}
    assert (record["checked_symbol_days"], record["rows"]) == (6, {"klines": 336, "metrics": 0, "funding_rates": 9})
    assert record["datasets"][0] == {
        "dataset": "klines", "freq": "1h", "active_symbol_days": 4, "checked_symbol_days": 2, "rows": 48,
    }  # fmt: skip
    assert (record["differences_total"], record["differences_by_kind"]) == (5, {"row_count": 3, "value": 2})
    assert [item["kind"] for item in record["differences"]] == ["row_count", "value"]
    place = {"freq": "1h", "symbol": BTC, "date": "2026-02-01", "stored_source": "daily"}
    assert record["sample"] == {
        "seed": 7, "candidates": 5, "symbol_days": [place], "compared": 1, "rows": 24, "rows_other_lacks": 2,
        "not_compared": [{**place, "reason": "rest: http_503"}],
    }  # fmt: skip
    assert result({}).to_dict()["sample"] is None
