"""Counting differences, and what a result makes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryptoservice.audit.dataset_lock.comparison import LockComparison, LockDifference, LockKind
from cryptoservice.audit.findings import (
    MAX_LISTED,
    CheckedDataset,
    Findings,
    RepairedDay,
    RepairResult,
    SampleResult,
    VerifyResult,
)
from cryptoservice.audit.verification.cross_check import CrossCheck, Sampled
from cryptoservice.audit.verification.differences import Difference
from cryptoservice.days import Window
from cryptoservice.models import Dataset, Freq, Status
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
    differences = tuple(difference(kind) for kind, count in kinds.items() for _ in range(count))
    return VerifyResult(Window(FEBRUARY, NEXT_DAY), datasets, differences, drawn, {"klines": 3}, 1, 0.5, 2.25)


def test_all_are_kept_in_order_and_a_short_report_lists_the_first() -> None:
    findings = Findings()
    findings.add(difference("row_count", f"day {number}") for number in range(MAX_LISTED - 1))
    findings.add([difference("value"), difference("time_off_grid")])
    findings.add([])
    made = replace(result({}), differences=tuple(findings.listed))
    assert (made.differences_total, len(findings.listed)) == (MAX_LISTED + 1, MAX_LISTED + 1)
    assert made.differences_by_kind == {"row_count": MAX_LISTED - 1, "time_off_grid": 1, "value": 1}
    short, full = made.to_dict(), made.to_dict(most=None)
    assert short["differences"] == full["differences"][:MAX_LISTED]
    assert [item["kind"] for item in full["differences"][-3:]] == ["row_count", "value", "time_off_grid"]
    assert [item["date"] for item in short["differences"][:2]] == ["day 0", "day 1"]
    assert short["differences_total"] == full["differences_total"] == MAX_LISTED + 1


def test_a_repair_counts_what_is_left() -> None:
    found = (difference("value"), difference("value"), difference("row_count", "2026-02-02"))
    days = (
        RepairedDay(Dataset.KLINES, "1h", BTC, "2026-02-01", True, Status.COMPLETE, None),
        RepairedDay(Dataset.KLINES, "1h", BTC, "2026-02-02", False, Status.FAILED, "rest: http_503"),
    )
    made = replace(result({}), differences=found, repair=RepairResult(days, found[2:]))
    assert (made.status, made.sound, made.differences_total, made.remaining) == ("different", False, 3, found[2:])
    told = made.to_dict()["repair"]
    assert (told["symbol_days"], told["mended"], told["differences_total"]) == (2, 1, 1)
    assert told["days"][1] == {
        "dataset": "klines", "freq": "1h", "symbol": BTC, "date": "2026-02-02", "mended": False, "status": "failed",
        "reason": "rest: http_503",
    }  # fmt: skip
    assert replace(made, repair=RepairResult(days[:1], ())).status == "repaired"
    assert replace(made, repair=RepairResult(days[:1], ()), sample=sample(check(AnswerKind.FAILED))).status == "not_verified"


def test_a_short_report_cuts_every_list_that_grows_with_the_data() -> None:
    months = tuple(LockDifference("klines/1h", BTC, f"month {number}", LockKind.EXTRA, {}) for number in range(MAX_LISTED + 1))
    day = RepairedDay(Dataset.KLINES, "1h", BTC, "2026-02-01", False, None, None)
    made = replace(
        result({"value": MAX_LISTED + 1}),
        repair=RepairResult((day,) * (MAX_LISTED + 2), (difference("value"),) * (MAX_LISTED + 3)),
        lock=LockComparison("1" * 64, "2" * 64, months),
    )
    for most, lengths in ((None, (501, 502, 503, 501)), (500, (500,) * 4)):
        record = made.to_dict() if most else made.to_dict(most=None)
        lists = (record["differences"], record["repair"]["days"], record["repair"]["differences"], record["lock"]["differs"])
        assert tuple(map(len, lists)) == lengths
        assert (record["repair"]["symbol_days"], record["lock"]["differs_total"]) == (502, 501)


def test_what_is_unlike_a_lock_is_different() -> None:
    same = LockComparison("1" * 64, "1" * 64, ())
    month = LockDifference("klines/1h", BTC, "2026-02", LockKind.MISSING, {"2026-02-01": LockKind.MISSING})
    other = LockComparison("1" * 64, "2" * 64, (month,))
    for kinds, lock, status in (
        ({}, same, "sound"), ({}, other, "different"), ({"value": 1}, same, "different"), ({"value": 1}, other, "different")
    ):  # fmt: skip
        made = replace(result(kinds), lock=lock)
        assert (made.status, made.sound, len(made.unlike_lock)) == (status, status == "sound", len(lock.differs))
    # A repair that mends all rows need not bring back what was locked.
    mended = RepairResult((RepairedDay(Dataset.KLINES, "1h", BTC, "2026-02-01", True, Status.COMPLETE, None),), ())
    assert replace(result({"value": 1}), repair=mended, lock=other).status == "different"
    assert replace(result({"value": 1}), repair=mended, lock=same).status == "repaired"
    assert replace(result({}, sample(check(AnswerKind.FAILED))), lock=same).status == "not_verified"
    told = replace(result({}), lock=other).to_dict()["lock"]
    assert told["differs"] == [
        {"dataset": "klines/1h", "symbol": BTC, "month": "2026-02", "kind": "missing", "days": {"2026-02-01": "missing"}}
    ]


def test_known_differences_are_told_and_are_no_failure() -> None:
    made = result({}, replace(sample(), known_differences=(difference("value"),) * (MAX_LISTED + 2)))
    record = made.to_dict()
    assert (made.status, record["known_differences_total"], len(record["known_differences"])) == ("sound", 502, 500)
    assert "known_differences" not in record["sample"]


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
        "known_differences_total", "known_differences", "lock", "repair", "sample", "requests", "retries", "waited_seconds",
        "elapsed_seconds",
    ]  # fmt: skip
    assert record["window"] == {"start_date": "2026-02-01", "end_date": "2026-02-02"}
    assert (record["checked_symbol_days"], record["rows"]) == (6, {"klines": 336, "metrics": 0, "funding_rates": 9})
    assert record["datasets"][0] == {
        "dataset": "klines", "freq": "1h", "active_symbol_days": 4, "checked_symbol_days": 2, "rows": 48,
    }  # fmt: skip
    assert (record["differences_total"], record["differences_by_kind"]) == (5, {"row_count": 3, "value": 2})
    assert [item["kind"] for item in record["differences"]] == ["row_count"] * 3 + ["value"] * 2
    place = {"freq": "1h", "symbol": BTC, "date": "2026-02-01", "stored_source": "daily"}
    assert record["sample"] == {
        "seed": 7, "candidates": 5, "symbol_days": [place], "compared": 1, "rows": 24, "rows_other_lacks": 2,
        "not_compared": [{**place, "reason": "rest: http_503"}],
    }  # fmt: skip
    assert result({}).to_dict()["sample"] is None
