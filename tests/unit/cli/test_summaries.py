"""The last line of a run that lacks something."""

from __future__ import annotations

from datetime import date

from cryptoservice.audit.cross_check import CrossCheck, Sampled
from cryptoservice.audit.findings import SampleResult, VerifyResult
from cryptoservice.cli.summaries import download_shortfall, verify_shortfall
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
    return DownloadResult(WINDOW, Freq.m1, {Dataset.KLINES: counts}, failed, {}, 0, 0.0, 0.0)


def verify(kinds: dict[str, int], *answers: SourceAnswer) -> VerifyResult:
    """So many differences of each kind, and a sample that met these answers; without one no sample."""
    sampled = Sampled(Freq.m1, "LINKUSDT", DAY, "daily", KlineSource.API)
    checks = tuple(CrossCheck(sampled, Source.REST, answer) for answer in answers)
    sample = SampleResult(7, 9, (sampled,) * 5, 5 - len(checks), 0, 0, checks) if answers else None
    return VerifyResult(WINDOW, (), kinds, (), sample, {}, 0, 0.0, 0.0)


def test_a_download() -> None:
    assert download_shortfall(download()) is None
    assert download_shortfall(download("http_500", "checksum", "http_500")) == (
        '3 of 10 symbol-days could not be fetched whole, 2 of them with the reason "http_500": '
        "run the same command again to ask for them"
    )


def test_a_verification() -> None:
    absent = SourceAnswer(AnswerKind.ABSENT)
    failed = SourceAnswer(AnswerKind.FAILED, reason="http_500")
    differ = "look them up in the report, then fetch those days again with download --no-incremental"
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
            f'2 differences, 2 of them of the kind "row_count": {differ}; 1 of 5 sampled symbol-days {again}',
        ),
    ):
        assert verify_shortfall(result) == told
