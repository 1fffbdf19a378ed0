"""The pipeline with scripted sources and a real database: what is asked in which order, and what is stored of the answers."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from cryptoservice.binance.archive_files import VerifiedZip
from cryptoservice.config import WorkerConfig
from cryptoservice.days import Window
from cryptoservice.download.commit_batch import CommitBatch
from cryptoservice.download.pipeline import Pipeline
from cryptoservice.download.result import Tally
from cryptoservice.download.worklist import Worklist
from cryptoservice.errors import Interrupted
from cryptoservice.models import Dataset, Freq, Row, SourceObject, Status
from cryptoservice.progress import Progress
from cryptoservice.sources.datasets import FundingPlan, KlinesPlan
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.fetcher import FetchResult
from cryptoservice.sources.grouping import Fetch, MarketFetch
from cryptoservice.storage.ledger import LedgerLine, Series, SymbolDay
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, FakeClock, kline

COMPLETE, GAP, INCOMPLETE, FAILED = Status.COMPLETE, Status.CONFIRMED_GAP, Status.INCOMPLETE, Status.FAILED
MONTHLY, DAILY, REST = Source.MONTHLY, Source.DAILY, Source.REST
SIX_HOURS, DAY_MS = 21_600_000, 86_400_000
TODAY = date(2026, 6, 1)
TWO_EACH = WorkerConfig(2, 2)
PLAN = KlinesPlan(Freq.h6, TODAY)
SERIES = Series(Dataset.KLINES, "6h", "AUSDT")
Script = Callable[[Fetch], FetchResult]


def bars(day: date, *numbers: int, price: float = 1.0) -> list[Row]:
    start = FEBRUARY_MS + (day - FEBRUARY).days * DAY_MS
    return [kline(start + number * SIX_HOURS, price) for number in numbers]


def rows(day: date, *numbers: int, price: float = 1.0) -> SourceAnswer:
    return SourceAnswer(AnswerKind.ROWS, bars(day, *numbers, price=price))


ABSENT = SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive")
FAILURE = SourceAnswer(AnswerKind.FAILED, reason="http_503")


class Sources:
    """Sources that answer by table; what is not in it is absent, or served without rows. Notes what was asked."""

    def __init__(self, answers: Mapping[tuple[Source, date], SourceAnswer]) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self.asked: list[tuple[Source, tuple[date, ...]]] = []

    def fetch(self, fetch: Fetch) -> FetchResult:
        with self._lock:
            self.asked.append((fetch.source, fetch.days))
        missing = rows(FEBRUARY) if fetch.source is REST else ABSENT
        return FetchResult({day: self._answers.get((fetch.source, day), missing) for day in fetch.days})


def run(
    path: Path,
    fetch: Script,
    days: Sequence[date],
    *,
    incremental: bool = True,
    executor: Executor | None = None,
    stop: threading.Event | None = None,
    symbols: Sequence[str] = ("AUSDT",),
    workers: WorkerConfig = TWO_EACH,
) -> Tally:
    """Run these days through the pipeline into the database at `path`."""
    clock = FakeClock()
    with StoreWriter.open(path) as store:
        active = {symbol: list(days) for symbol in symbols}
        worklist = Worklist(store, [PLAN], active, Window(days[0], days[-1]), incremental=incremental)
        progress = Progress("download", "symbol-days", worklist.symbol_days, clock)
        batch = CommitBatch(store, clock)
        pipeline = Pipeline(batch, fetch, workers, clock, progress, executor=executor, stop=stop)
        pipeline.run(worklist.jobs(batch.commit))
    return pipeline.tallies.get(Dataset.KLINES, Tally())


def stored(path: Path, day: date, series: Series = SERIES) -> tuple[LedgerLine | None, list[Row]]:
    """The ledger line and the rows of a day, as they are in the file."""
    with StoreReader.open(path) as store:
        line = store.ledger(series.dataset, series.freq, Window(day, day)).get(series.symbol, {}).get(day)
        return line, store.rows(series, day)


def test_a_day_falls_through_its_sources_until_it_is_whole(tmp_path: Path) -> None:
    first, second, third = (FEBRUARY + timedelta(days=number) for number in range(3))
    sources = Sources(
        {
            (MONTHLY, first): rows(first, 0, 1, 2, 3),
            (MONTHLY, second): rows(second, 0, 1),
            (DAILY, second): rows(second, 0, 1, 2, 3, price=2.0),
            (MONTHLY, third): rows(third, 0),
            (DAILY, third): rows(third, 1),
            (REST, third): rows(third, 2, 3),
        }
    )
    path = tmp_path / "market.db"
    tally = run(path, sources.fetch, [first, second, third])
    assert sources.asked[0] == (MONTHLY, (first, second, third)), "one object for all days of the month"
    assert sorted(sources.asked[1:]) == [(DAILY, (second,)), (DAILY, (third,)), (REST, (third,))]
    assert (tally.downloaded, tally.confirmed_gaps, tally.rows, tally.unsettled) == (3, 0, 12, [])
    assert stored(path, first) == (LedgerLine(COMPLETE, None, 4, 4), bars(first, 0, 1, 2, 3))
    assert stored(path, second) == (LedgerLine(COMPLETE, None, 4, 4), bars(second, 0, 1, 2, 3, price=2.0))
    assert stored(path, third) == (LedgerLine(COMPLETE, None, 4, 4), bars(third, 0, 1, 2, 3))


def test_days_that_need_rest_wait_for_each_other_and_share_a_fetch(tmp_path: Path) -> None:
    days = [FEBRUARY + timedelta(days=number) for number in range(28)]
    sources = Sources({(REST, day): rows(day, 0, 1, 2, 3) for day in days})
    tally = run(tmp_path / "market.db", sources.fetch, days)
    assert [days for source, days in sources.asked if source is REST] == [tuple(days)]
    assert (tally.downloaded, tally.rows) == (28, 112)


# What an earlier run has stored, what the sources say now, and what stands in the database afterwards.
KNOWN_AGAINST_ARRIVING: list[
    tuple[str, tuple[Status, tuple[int, ...]], dict[Source, SourceAnswer], Status, tuple[int, ...], str]
] = [
    (
        "a complete day again",
        (COMPLETE, (0, 1, 2, 3)),
        {DAILY: rows(FEBRUARY, 0, 1, 2, 3)},
        COMPLETE,
        (0, 1, 2, 3),
        "downloaded",
    ),
    ("a complete day that sources lost", (COMPLETE, (0, 1, 2, 3)), {}, COMPLETE, (0, 1, 2, 3), "downloaded"),
    (
        "a complete day whose sources fail",
        (COMPLETE, (0, 1, 2, 3)),
        {DAILY: FAILURE, REST: FAILURE},
        COMPLETE,
        (0, 1, 2, 3),
        "unsettled",
    ),
    (
        "a gap that is filled",
        (GAP, (0, 1)),
        {DAILY: rows(FEBRUARY, 0, 1), REST: rows(FEBRUARY, 2, 3)},
        COMPLETE,
        (0, 1, 2, 3),
        "downloaded",
    ),
    ("a gap that fails now", (GAP, (0, 1)), {DAILY: FAILURE, REST: FAILURE}, GAP, (0, 1), "unsettled"),
    (
        "an open day that settles with fewer rows",
        (INCOMPLETE, (0, 1, 2)),
        {DAILY: rows(FEBRUARY, 3), REST: rows(FEBRUARY, 3)},
        COMPLETE,
        (0, 1, 2, 3),
        "downloaded",
    ),
    (
        "an open day that fails",
        (INCOMPLETE, (0, 1)),
        {DAILY: FAILURE, REST: FAILURE},
        INCOMPLETE,
        (0, 1),
        "unsettled",
    ),
    ("a failed day that comes", (FAILED, ()), {DAILY: rows(FEBRUARY, 0, 1, 2, 3)}, COMPLETE, (0, 1, 2, 3), "downloaded"),
    ("a failed day that fails again", (FAILED, ()), {DAILY: FAILURE, REST: FAILURE}, FAILED, (), "unsettled"),
    ("a failed day that is empty", (FAILED, ()), {}, GAP, (), "confirmed_gaps"),
]


@pytest.mark.parametrize(
    ("known", "arriving", "status", "left", "counted"),
    [case[1:] for case in KNOWN_AGAINST_ARRIVING],
    ids=[case[0] for case in KNOWN_AGAINST_ARRIVING],
)
def test_what_is_stored_against_what_arrives(
    tmp_path: Path,
    known: tuple[Status, tuple[int, ...]],
    arriving: dict[Source, SourceAnswer],
    status: Status,
    left: tuple[int, ...],
    counted: str,
) -> None:
    path = tmp_path / "market.db"
    earlier = SymbolDay(SERIES, FEBRUARY, known[0], "why", bars(FEBRUARY, *known[1]), 4, "daily", 1_770_000_000.0)
    with StoreWriter.open(path) as store:
        store.write([earlier])
    sources = Sources({(source, FEBRUARY): answer for source, answer in arriving.items()})
    tally = run(path, sources.fetch, [FEBRUARY], incremental=False)
    line, found = stored(path, FEBRUARY)
    assert line is not None
    assert (line.status, found) == (status, bars(FEBRUARY, *left))
    assert line.rows == len(found), "what the ledger says is true"
    counts = {"downloaded": tally.downloaded, "confirmed_gaps": tally.confirmed_gaps, "unsettled": len(tally.unsettled)}
    assert counts == {**dict.fromkeys(counts, 0), counted: 1}
    if counted == "unsettled":
        assert tally.unsettled[0].status in (FAILED, INCOMPLETE)
        assert tally.unsettled[0].reason


def zipped(fetch: Fetch, day: date) -> VerifiedZip:
    lines = [
        f"{row[0]},{row[1]},{row[2]},{row[3]},{row[4]},{row[5]},{row[0] + SIX_HOURS - 1},{row[6]},{row[7]},{row[8]},{row[9]},0"
        for row in bars(day, 0, 1, 2, 3)
    ]
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr(f"{fetch.archive_file.stem}.csv", "\n".join(lines))
    return VerifiedZip(fetch.archive_file, body.getvalue(), "ab" * 32, None, 0.0)


@pytest.mark.parametrize("with_executor", [False, True])
def test_archive_objects_are_decoded_here_or_in_an_executor(tmp_path: Path, with_executor: bool) -> None:
    days = [FEBRUARY + timedelta(days=40 * number) for number in range(3)]
    path = tmp_path / "market.db"

    def fetch(fetch: Fetch) -> FetchResult:
        return FetchResult(archived=zipped(fetch, fetch.days[0]))

    if with_executor:
        with ThreadPoolExecutor(2) as executor:
            tally = run(path, fetch, days, executor=executor, symbols=("AUSDT", "BUSDT"))
    else:
        tally = run(path, fetch, days, symbols=("AUSDT", "BUSDT"))
    assert (tally.downloaded, tally.rows) == (6, 24)
    for symbol in ("AUSDT", "BUSDT"):
        for day in days:
            line, found = stored(path, day, Series(Dataset.KLINES, "6h", symbol))
            assert (line, found) == (LedgerLine(COMPLETE, None, 4, 4), bars(day, 0, 1, 2, 3))


def test_an_object_that_was_published_anew_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    days = [FEBRUARY, FEBRUARY + timedelta(days=1)]
    path, was, now = tmp_path / "market.db", "ab" * 32, "cd" * 32

    def published(sha256: str) -> dict[tuple[Source, date], SourceAnswer]:
        origin = SourceObject("a.zip", sha256, None, "then")
        return {(MONTHLY, day): replace(rows(day, 0, 1, 2, 3), origin=origin) for day in days}

    for sha256 in (was, was, now, now):
        run(path, Sources(published(sha256)).fetch, days, incremental=False)
    assert caplog.messages == [f"a.zip was published anew: SHA-256 was {was}, is {now}"]
    assert caplog.records[0].__dict__["fields"] == {"event": "published_anew", "object": "a.zip", "old": was, "new": now}
    with StoreReader.open(path) as store:
        assert [origin.sha256 for _, origin in store.objects(SERIES, Window(*days))] == [now, now]
        # The same version once more says nothing new, so the line stays.
        assert {line.reason for line in store.ledger(SERIES.dataset, "6h", Window(*days))["AUSDT"].values()} == {
            f"published_anew (was {was})"
        }


def test_an_error_of_a_fetch_ends_the_run_and_keeps_what_is_finished(tmp_path: Path) -> None:
    days = [FEBRUARY + timedelta(days=40 * number) for number in range(2)]
    path = tmp_path / "market.db"

    def fetch(fetch: Fetch) -> FetchResult:
        if fetch.days == (days[0],):
            return FetchResult({days[0]: rows(days[0], 0, 1, 2, 3)})
        raise MemoryError

    with pytest.raises(MemoryError):
        # A single worker: the day that is whole is received before the other one fails.
        run(path, fetch, days, workers=WorkerConfig(1, 1))
    assert stored(path, days[0]) == (LedgerLine(COMPLETE, None, 4, 4), bars(days[0], 0, 1, 2, 3))


def test_a_stop_is_obeyed_between_messages(tmp_path: Path) -> None:
    stop = threading.Event()

    def fetch(fetch: Fetch) -> FetchResult:
        stop.set()
        return FetchResult({day: rows(day, 0, 1, 2, 3) for day in fetch.days})

    with pytest.raises(Interrupted):
        run(tmp_path / "market.db", fetch, [FEBRUARY], stop=stop)


def test_pages_of_all_symbols_reach_every_symbol_and_the_rest_goes_by_symbol(tmp_path: Path) -> None:
    path = tmp_path / "market.db"
    days = [FEBRUARY + timedelta(days=number) for number in range(2)]
    active = {f"S{number:02}USDT": days for number in range(20)}
    lacking = {"S03USDT", "S11USDT"}
    asked: list[Fetch] = []

    def rates(day: date) -> SourceAnswer:
        return SourceAnswer(AnswerKind.ROWS, [(FEBRUARY_MS + (day - FEBRUARY).days * DAY_MS, 0.1, None, "Regular")])

    def fetch(fetch: Fetch) -> FetchResult:
        asked.append(fetch)
        if not isinstance(fetch, MarketFetch):
            return FetchResult({day: rates(day) for day in fetch.days})
        answers = {day: rates(day) for day in fetch.days}
        return FetchResult(by_symbol={symbol: {} if symbol in lacking else answers for symbol in fetch.wanted})

    clock = FakeClock()
    with StoreWriter.open(path) as store:
        worklist = Worklist(store, [FundingPlan(TODAY)], active, Window(*days), incremental=True)
        batch = CommitBatch(store, clock)
        progress = Progress("download", "symbol-days", worklist.symbol_days, clock)
        pipeline = Pipeline(batch, fetch, TWO_EACH, clock, progress)
        pipeline.run(worklist.jobs(batch.commit))
    assert [type(one) for one in asked] == [MarketFetch, Fetch, Fetch]
    assert {(one.symbol, one.days) for one in asked[1:]} == {(symbol, tuple(days)) for symbol in lacking}
    tally = pipeline.tallies[Dataset.FUNDING_RATES]
    assert (tally.downloaded, tally.rows, tally.unsettled) == (40, 40, [])
    for symbol in active:
        for day in days:
            line, found = stored(path, day, Series(Dataset.FUNDING_RATES, "", symbol))
            assert (line, found) == (LedgerLine(COMPLETE, None, 1, 1), list(rates(day).rows))
