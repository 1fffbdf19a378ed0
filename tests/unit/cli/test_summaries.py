"""The last line of a run that lacks something."""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from dataclasses import replace
from datetime import date
from typing import Any

from cryptoservice.audit.archive_audit.result import AuditResult, GoneObject, Refetch, RepublishedObject
from cryptoservice.audit.dataset_lock.comparison import LockComparison, LockDifference, LockKind
from cryptoservice.audit.findings import RepairedDay, RepairResult, SampleResult, VerifyResult
from cryptoservice.audit.verification.cross_check import CrossCheck, Sampled
from cryptoservice.audit.verification.differences import Difference
from cryptoservice.cli.summaries import (
    audit_lines,
    audit_shortfall,
    difference_line,
    difference_lines,
    download_shortfall,
    lock_lines,
    refetch_lines,
    verify_shortfall,
)
from cryptoservice.days import Window
from cryptoservice.download.result import DatasetCounts, DownloadResult, Unsettled
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.sources.evidence import AnswerKind, KlineSource, Source, SourceAnswer

DAY = date(2026, 2, 1)
WINDOW = Window(DAY, DAY)


def download(*reasons: str) -> DownloadResult:
    """Ten symbol-days wanted, and one left over for each reason."""
    failed = tuple(
        Unsettled(Dataset.KLINES, f"S{number}USDT", DAY, reason, Status.FAILED) for number, reason in enumerate(reasons)
    )
    counts = DatasetCounts(10, 0, 10 - len(failed), 0, len(failed), 0)
    return DownloadResult(WINDOW, Freq.m1, {Dataset.KLINES: counts}, failed, {}, 0, 0, 0.0, 0.0)


def verify(kinds: dict[str, int], *answers: SourceAnswer) -> VerifyResult:
    """So many differences of each kind, and a sample that met these answers; without one no sample."""
    sampled = Sampled(Freq.m1, "LINKUSDT", DAY, "daily", KlineSource.API)
    checks = tuple(CrossCheck(sampled, Source.REST, answer) for answer in answers)
    sample = SampleResult(7, 9, (sampled,) * 5, 5 - len(checks), 0, 0, checks) if answers else None
    differences = tuple(Difference(kind, Dataset.KLINES, "1m", "LINKUSDT", "2026-02-01") for kind in Counter(kinds).elements())
    return VerifyResult(WINDOW, (), differences, sample, {}, 0, 0, 0.0, 0.0)


def test_a_download() -> None:
    assert download_shortfall(download()) is None
    assert download_shortfall(download("http_500", "checksum", "http_500")) == (
        '3 of 10 symbol-days could not be fetched whole, 2 of them with the reason "http_500": '
        "run the same command again to ask for them"
    )
    assert download_shortfall(download("rest: connection_error")) == (
        '1 of 10 symbol-days could not be fetched whole, 1 of them with the reason "rest: connection_error": '
        "check the network, and the base URLs if any are set, then run the same command again to ask for them"
    )


def test_a_verification() -> None:
    absent = SourceAnswer(AnswerKind.ABSENT)
    failed = SourceAnswer(AnswerKind.FAILED, reason="http_500")
    differ, sampled = "repair them with verify --repair", " --sample 5 --seed 7"
    again = 'could not be compared, 1 of them with the reason "rest: http_500": run the same command again'
    for result, told in (
        (verify({}), None),
        # A source that does not have the day says nothing against it.
        (verify({}, absent), None),
        (verify({"row_count": 1}), f'1 difference, 1 of them of the kind "row_count": {differ}'),
        (verify({"row_count": 1, "off_grid": 4}), f'5 differences, 4 of them of the kind "off_grid": {differ}'),
        (verify({}, absent, failed), f"1 of 5 sampled symbol-days {again}"),
        (
            verify({"row_count": 2}, failed),
            f'2 differences, 2 of them of the kind "row_count": {differ}{sampled}; 1 of 5 sampled symbol-days {again}',
        ),
    ):
        assert verify_shortfall(result) == told


def lock_differences(*kinds: str, days: int = 1) -> LockComparison:
    """A comparison in which each of these symbol-months is not what the lock says, on its first days."""
    differ = []
    for number, kind in enumerate(map(LockKind, kinds)):
        of_days = {f"2026-02-{day + 1:02}": kind for day in range(days)}
        differ.append(LockDifference("klines/1m", f"S{number}USDT", "2026-02", kind, of_days))
    return LockComparison("1" * 64, "2" * 64, tuple(differ))


def test_a_lock_that_was_not_met() -> None:
    assert verify_shortfall(replace(verify({}), lock=lock_differences())) is None
    assert list(lock_lines(verify({}))) == list(lock_lines(replace(verify({}), lock=lock_differences()))) == []
    differ = "fetch their days again with download --no-incremental"
    found = replace(verify({}), lock=lock_differences("missing", "differs", "missing"))
    assert verify_shortfall(found) == (
        f'3 symbol-months are not what the lock says, 2 of them of the kind "missing": {differ}'
    )  # fmt: skip
    both = replace(verify({"row_count": 1}), lock=lock_differences("extra"))
    assert verify_shortfall(both) == (
        '1 difference, 1 of them of the kind "row_count": repair them with verify --repair; '
        f'1 symbol-month is not what the lock says, 1 of them of the kind "extra": {differ}'
    )


def test_the_first_ten_symbol_months_are_named() -> None:
    lines = list(lock_lines(replace(verify({}), lock=lock_differences(*["differs"] * 11))))
    assert len(lines) == 10
    assert lines[0][0] == "lock: klines/1m S0USDT 2026-02 differs: 2026-02-01 differs"
    assert lines[0][1]["days"] == {"2026-02-01": "differs"}
    for days, told in (
        (0, ""),
        (2, ": 2026-02-01 missing, 2026-02-02 missing"),
        (3, ": 2026-02-01 missing, 2026-02-02 missing, 2026-02-03 missing"),
        (5, ": 2026-02-01 missing, 2026-02-02 missing, 2026-02-03 missing, 2 more days"),
    ):
        ((line, _),) = lock_lines(replace(verify({}), lock=lock_differences("missing", days=days)))
        assert line == f"lock: klines/1m S0USDT 2026-02 missing{told}"


def test_a_repair_that_could_not_mend_all() -> None:
    found = verify({"row_count": 3})
    days = tuple(
        RepairedDay(Dataset.KLINES, "1m", symbol, "2026-02-01", mended, None, reason)
        for symbol, mended, reason in (
            ("A", True, None),
            ("B", False, None),
            ("C", False, "rest: http_503"),
            ("D", False, "rest: http_503"),
        )
    )
    assert verify_shortfall(replace(found, repair=RepairResult(days[:1], ()))) is None
    assert verify_shortfall(replace(found, repair=RepairResult(days, found.differences))) == (
        '3 of 4 symbol-days that differed could not be repaired, 2 of them with the reason "rest: http_503": '
        "try again later with verify --repair"
    )


def test_a_difference_as_a_line() -> None:
    # 2026-02-01 10:05:00 UTC, as `date -d @1769940300` says.
    moment = {"open_time": 1_769_940_300_000}

    def line(kind: str, details: dict[str, Any], dataset: Dataset = Dataset.KLINES, freq: str = "1m") -> str:
        return difference_line(Difference(kind, dataset, freq, "LINKUSDT", "2026-02-01", details))

    sources = {"stored_source": "daily", "other_source": "rest"}
    assert line("value", {**moment, "field": "close", "stored": 9.5, "other": 9.25, **sources}) == (
        "klines 1m LINKUSDT 2026-02-01 10:05:00 close: stored 9.5, rest 9.25"
    )
    assert line(
        "aggregate", {**moment, "field": "low", "stored": 9.5, "aggregated": 9.0, "aggregated_freq": "1m"}, freq="5m"
    ) == ("klines 5m LINKUSDT 2026-02-01 10:05:00 low: stored 9.5, all 1m bars together 9.0")
    assert line("row_not_stored", {**moment, **sources}) == (
        "klines 1m LINKUSDT 2026-02-01 10:05:00 row_not_stored: stored source daily, other source rest"
    )
    assert line("row_count", {"ledger": 3, "database": 2}, Dataset.FUNDING_RATES, "") == (
        "funding_rates LINKUSDT 2026-02-01 row_count: ledger 3, database 2"
    )
    assert line("outside_ledger", {}) == "klines 1m LINKUSDT 2026-02-01 outside_ledger"


def test_the_first_ten_that_are_left_are_named() -> None:
    found = verify({"row_count": 11})
    lines = list(difference_lines(found))
    assert [line for line, _ in lines] == ["klines 1m LINKUSDT 2026-02-01 row_count"] * 10
    assert lines[0][1] == found.differences[0].to_dict()
    assert len(list(difference_lines(replace(found, repair=RepairResult((), found.differences[:2]))))) == 2
    assert list(difference_lines(verify({}))) == []


# -- what an audit found --------------------------------------------------------------------------------------------------


def audited(anew: int = 0, gone: int = 0, refetch: tuple[Refetch, ...] = ()) -> AuditResult:
    republished = tuple(RepublishedObject(f"{number:02}.zip", "AUSDT", "2026-02", "ab", "cd") for number in range(anew))
    lost = tuple(GoneObject(f"{number:02}.zip", "AUSDT", "2026-02") for number in range(gone))
    return AuditResult(WINDOW, 1000, republished, lost, 0, refetch, {}, 0, 0.0, 0.0)


def test_lines_that_fetch_again_can_be_typed() -> None:
    february = Window(DAY, date(2026, 2, 28))
    result = audited(1, 0, (Refetch("5m", False, february, ("AUSDT", "币安人生USDT")), Refetch("1d", True, WINDOW, ("BUSDT",))))
    given = {"--universe-file": "my data/u.json", "--db-path": "it's.db", "--vision-base-url": None, "--api-base-url": "http://a"}
    lines = refetch_lines(result, given)
    start = ["cryptoservice", "universe", "download", "--universe-file", "my data/u.json", "--db-path", "it's.db"]
    start += ["--api-base-url", "http://a"]
    assert [shlex.split(line) for line in lines] == [
        [
            *start, "--interval", "5m", "--no-incremental", "--symbols", "AUSDT,币安人生USDT",
            "--start-date", "2026-02-01", "--end-date", "2026-02-28",
        ],
        [
            *start, "--interval", "1d", "--download-market-metrics", "--no-incremental", "--symbols", "BUSDT",
            "--start-date", "2026-02-01", "--end-date", "2026-02-01",
        ],
    ]  # fmt: skip


def test_an_audit() -> None:
    assert audit_shortfall(audited(), []) is None
    assert audit_shortfall(audited(gone=3), []) is None, "nothing could be fetched again"
    told = "2 of 1,002 archive files were published anew since they were downloaded; to fetch their days again: "
    assert audit_shortfall(audited(2), ["one"]) == f"{told}one"
    assert audit_shortfall(audited(2), ["one", "two", "three"]) == f"{told}one (and 2 more lines, which the report has)"


def test_only_the_first_files_are_named() -> None:
    assert list(audit_lines(audited())) == []
    lines = list(audit_lines(audited(11, 12)))
    assert [level for level, *_ in lines] == [logging.ERROR] * 10 + [logging.WARNING] * 10
    assert [line for _, line, _ in lines][8:12] == [
        "08.zip: published anew, SHA-256 was ab, is cd", "09.zip: published anew, SHA-256 was ab, is cd",
        "00.zip: gone from the archive", "01.zip: gone from the archive",
    ]  # fmt: skip
    assert lines[0][2] == {"audited": {"object": "00.zip", "symbol": "AUSDT", "date": "2026-02", "old": "ab", "new": "cd"}}
    assert lines[10][2] == {"audited": {"object": "00.zip", "symbol": "AUSDT", "date": "2026-02"}}
