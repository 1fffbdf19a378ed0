"""The result of a download, and its JSON object."""

from __future__ import annotations

from datetime import date

from cryptoservice.days import Window
from cryptoservice.download.result import DatasetCounts, DownloadResult, Tally, Unsettled
from cryptoservice.models import Dataset, Freq, Status

DAY = date(2026, 2, 1)


def test_a_tally_counts_each_end_once() -> None:
    tally = Tally()
    for status in Status:
        tally.add(Dataset.KLINES, "AUSDT", DAY, status, None if status is Status.COMPLETE else "why")
    assert (tally.downloaded, tally.confirmed_gaps) == (1, 1)
    assert [(item.status, item.reason) for item in tally.unsettled] == [(Status.INCOMPLETE, "why"), (Status.FAILED, "why")]


def test_the_report_of_a_download() -> None:
    failed = Unsettled(Dataset.METRICS, "AUSDT", DAY, "rest: http_503", Status.FAILED)
    result = DownloadResult(
        window=Window(DAY, date(2026, 2, 3)),
        interval=Freq.m5,
        datasets={Dataset.KLINES: DatasetCounts(6, 1, 4, 1, 0, 1152), Dataset.METRICS: DatasetCounts(6, 2, 3, 0, 1, 864)},
        failed=(failed,),
        requests={"archive": 7},
        checksums_by_listing=5,
        retries=2,
        waited_seconds=1.5,
        elapsed_seconds=2.25,
    )
    assert result.to_dict() == {
        "status": "incomplete",
        "window": {"start_date": "2026-02-01", "end_date": "2026-02-03"},
        "interval": "5m",
        "wanted_symbol_days": 12,
        "already_complete": 3,
        "downloaded": 7,
        "confirmed_gaps": 1,
        "failed": [
            {"dataset": "metrics", "symbol": "AUSDT", "date": "2026-02-01", "reason": "rest: http_503", "status": "failed"}
        ],
        "failed_total": 1,
        "failed_by_reason": {"metrics": {"rest: http_503": 1}},
        "rows": {"klines": 1152, "metrics": 864, "funding_rates": 0},
        "datasets": {
            "klines": {"wanted_symbol_days": 6, "already_complete": 1, "downloaded": 4, "confirmed_gaps": 1, "failed": 0},
            "metrics": {"wanted_symbol_days": 6, "already_complete": 2, "downloaded": 3, "confirmed_gaps": 0, "failed": 1},
        },
        "requests": {"archive": 7},
        "checksums_by_listing": 5,
        "retries": 2,
        "waited_seconds": 1.5,
        "elapsed_seconds": 2.25,
    }
    assert not result.complete


def test_a_short_report_names_a_thousand_failures_and_counts_them_all() -> None:
    def failures(dataset: Dataset, reason: str, count: int) -> list[Unsettled]:
        return [Unsettled(dataset, f"S{number}USDT", DAY, reason, Status.FAILED) for number in range(count)]

    failed = (
        *failures(Dataset.KLINES, "unreachable", 700), *failures(Dataset.KLINES, "rest: http_503", 800),
        *failures(Dataset.FUNDING_RATES, "unreachable", 2),
    )  # fmt: skip
    counts = dict.fromkeys(Dataset, DatasetCounts(5_040, 0, 0, 0, 0, 0))
    result = DownloadResult(Window(DAY, DAY), Freq.m5, counts, failed, {}, 0, 0, 0.0, 0.0)
    short, whole = result.to_dict(), result.to_dict(most=None)
    assert (len(short["failed"]), len(whole["failed"])) == (1_000, 1_502)
    assert short["failed"] == whole["failed"][:1_000]
    by_reason = {"klines": {"rest: http_503": 800, "unreachable": 700}, "funding_rates": {"unreachable": 2}}
    for record in (short, whole):
        assert (record["failed_total"], record["failed_by_reason"], record["status"]) == (1_502, by_reason, "incomplete")
        assert list(record["failed_by_reason"]["klines"]) == ["rest: http_503", "unreachable"]
    none = DownloadResult(Window(DAY, DAY), Freq.m5, counts, (), {}, 0, 0, 0.0, 0.0).to_dict()
    assert (none["failed"], none["failed_total"], none["failed_by_reason"]) == ([], 0, {})
