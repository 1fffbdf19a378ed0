"""One export, alone and with executors of every kind: the same files, the same report, and nothing left behind."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.errors import Interrupted, OutputError, StoreError
from cryptoservice.export import day_batches
from cryptoservice.export.coverage_report import Coverage
from cryptoservice.export.daily_csv import DayTask, StaleFile, Target
from cryptoservice.export.day_batches import DayExport
from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.snapshot import Snapshot
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, MINUTE, FakeClock, kline

# Twenty symbols of one-minute bars over six days would be 172,800 rows: enough for an executor to be used, a day a batch.
# Only five rows of each third symbol-day are really there.
SYMBOLS = tuple(f"S{number:02}USDT" for number in range(20))
DAYS = tuple(FEBRUARY + timedelta(days=number) for number in range(6))
SPEC = ExportSpec.of(Dataset.KLINES, Freq.m1, Freq.m5)
WARNING = "helper processes cannot be used any more"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some rows on all days but the fourth."""
    path = tmp_path_factory.mktemp("batches") / "market.db"
    with StoreWriter.open(path) as store:
        store.write(
            SymbolDay(
                Series(Dataset.KLINES, "1m", symbol), day, Status.INCOMPLETE, None,
                [kline(FEBRUARY_MS + index * DAY + minute * MINUTE, 1.0 + rank) for minute in range(5)], 1440, "daily", 0.0,
            )
            for index, day in enumerate(DAYS) if index != 3
            for rank, symbol in enumerate(SYMBOLS) if rank % 3 == 0
        )  # fmt: skip
    return path


class HeldExecutor(Executor):
    """Keeps what is submitted until the test says how it ends. It refuses what goes beyond `accept` batches."""

    def __init__(self, *, accept: int = 99, lose: bool = False) -> None:
        self.days: list[date] = []
        self.futures: list[Future[Any]] = []
        self._work: list[Callable[[], Any]] = []
        self._accept = accept
        self._lose = lose

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        if len(self.days) >= self._accept:
            raise BrokenExecutor("no process could be started")
        self.days.append(arguments[3][0].day)
        future: Future[Any] = Future()
        if self._lose:
            future.set_exception(BrokenExecutor("a process was killed"))
        self.futures.append(future)
        self._work.append(partial(fn, *arguments, **options))
        return future

    def finish(self) -> None:
        """Do all the work now."""
        for future, work in zip(self.futures, self._work, strict=True):
            if not future.done():
                future.set_result(work())

    def die(self) -> None:
        """Lose all the work now, and refuse more, as a pool does after one of its processes was killed."""
        self._accept = 0
        for future in self.futures:
            if not future.done():
                future.set_exception(BrokenExecutor("a process was killed"))


class WatchingClock(FakeClock):
    """Calls `then` as soon as an export, which looks at its clock after each batch, has written a day."""

    def __init__(self, then: Callable[[], None], day: date) -> None:
        super().__init__()
        self._then = then
        self._day = day
        self.base = Path()

    def monotonic(self) -> float:
        if SPEC.path(self.base, self._day).exists():
            self._then()
        return super().monotonic()


@dataclass
class Done:
    """What an export has written and counted."""

    files: dict[str, bytes]
    written: dict[str, tuple[int, str]]
    """Size and SHA-256 that the export tells of each file."""
    report: dict[str, Any]
    totals: tuple[int, int, dict[StaleFile, list[date]]]
    warnings: list[str]


Exporter = Callable[..., Done]


@pytest.fixture
def export(database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Exporter]:
    """Runs an export of all days into a folder of its own, with a file of the fourth day from before."""
    count = 0

    def run(executor: Executor | None = None, stop: threading.Event | None = None, clock: WatchingClock | None = None) -> Done:
        nonlocal count
        count += 1
        base = tmp_path / f"out{count}"
        stale = SPEC.path(base, DAYS[3])
        stale.parent.mkdir(parents=True)
        stale.write_text("from an earlier export\n")
        coverage = Coverage(Dataset.KLINES)
        for day in DAYS:
            coverage.defined(day, {})
        caplog.clear()
        with caplog.at_level(logging.WARNING), Snapshot.open(database) as snapshot:
            tasks = [DayTask(day, SYMBOLS) for day in DAYS]
            made = DayExport(snapshot, Target(base, prune=True), [SPEC], tasks, coverage, executor)
            if clock is not None:
                clock.base = base
            made.run(clock or FakeClock(), stop)
        files = {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}
        warnings = [record.getMessage() for record in caplog.records]
        written = {name: tuple(file) for name, file in made.written.items()}
        assert made.removed == {SPEC.name(DAYS[3])}
        return Done(files, written, coverage.to_dict(), (len(made.written), made.rows[Dataset.KLINES], made.stale), warnings)

    yield run


def test_alone_it_writes_every_day_that_has_rows(export: Exporter) -> None:
    done = export()
    assert set(done.files) == {f"klines/freq=5m/date={day}/klines.csv" for day in DAYS if day != DAYS[3]}
    assert done.written == {name: (len(body), hashlib.sha256(body).hexdigest()) for name, body in done.files.items()}
    # Seven symbols with one five-minute bar each.
    assert done.totals == (5, 35, {StaleFile.KEPT: [], StaleFile.REMOVED: [DAYS[3]]})
    assert done.report["summary"] == {
        "days": 6, "active_symbol_days": 120, "complete": 0, "partial": 35, "missing": 85, "expected_bars": 120 * 288,
        "exported_bars": 35, "partial_bars": 0, "coverage_ratio": 35 / (120 * 288),
    }  # fmt: skip
    assert [day["partial"] for day in done.report["days"]] == [7, 7, 7, 0, 7, 7]
    lines = done.files[f"klines/freq=5m/date={DAYS[1]}/klines.csv"].decode().splitlines()[1:]
    assert lines == [
        f"S{rank:02}USDT,{FEBRUARY_MS + DAY},{price},{price},{price},{price},10.0,{10 * price},15,5.0,{5 * price}"
        for rank, price in ((rank, 1.0 + rank) for rank in range(0, 20, 3))
    ]
    assert done.warnings == []


def test_with_threads_it_writes_the_same(export: Exporter) -> None:
    alone = export()
    with ThreadPoolExecutor(2) as executor:
        assert export(executor) == alone
        # The executor is the caller's: it is still open.
        assert executor.submit(int, "7").result() == 7


def test_two_batches_are_handed_over_while_this_process_works_on_the_others(export: Exporter) -> None:
    alone = export()
    executor = HeldExecutor()
    # The executor's days are finished last: they are counted in the order of the days all the same.
    assert export(executor, clock=WatchingClock(executor.finish, DAYS[5])) == alone
    assert executor.days == [DAYS[0], DAYS[1]]


def test_a_small_export_needs_no_executor(database: Path, tmp_path: Path) -> None:
    executor = HeldExecutor()
    tasks = [DayTask(day, SYMBOLS) for day in DAYS[:3]]
    with Snapshot.open(database) as snapshot:
        made = DayExport(snapshot, Target(tmp_path, prune=False), [SPEC], tasks, Coverage(Dataset.KLINES), executor)
        made.run(FakeClock(), None)
    assert (executor.days, len(made.written)) == ([], 3)


def assert_same_but_for_one_warning(done: Done, alone: Done) -> None:
    assert (done.files, done.written, done.report, done.totals) == (alone.files, alone.written, alone.report, alone.totals)
    assert [line.startswith(WARNING) for line in done.warnings] == [True]


def test_an_executor_that_loses_every_batch(export: Exporter) -> None:
    executor = HeldExecutor(lose=True)
    assert_same_but_for_one_warning(export(executor), export())
    assert executor.days == list(DAYS)


def test_an_executor_that_accepts_none(export: Exporter) -> None:
    executor = HeldExecutor(accept=0)
    assert_same_but_for_one_warning(export(executor), export())


def test_an_executor_that_dies_while_this_process_works(export: Exporter) -> None:
    executor = HeldExecutor()
    assert_same_but_for_one_warning(export(executor, clock=WatchingClock(executor.die, DAYS[2])), export())
    assert executor.days == [DAYS[0], DAYS[1]]


def test_an_executor_that_breaks_after_its_first_batch(export: Exporter) -> None:
    class Breaking(HeldExecutor):
        def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            future = super().submit(fn, *arguments, **options)
            self.finish()
            return future

    executor = Breaking(accept=1)
    assert_same_but_for_one_warning(export(executor), export())
    assert executor.days == [DAYS[0]]


def test_a_system_without_room_for_a_process(export: Exporter) -> None:
    class Full(HeldExecutor):
        def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            raise BlockingIOError(11, "Resource temporarily unavailable")

    assert_same_but_for_one_warning(export(Full()), export())


def test_an_error_of_the_work_itself_ends_the_export(export: Exporter) -> None:
    class Failing(HeldExecutor):
        def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            future = super().submit(fn, *arguments, **options)
            future.set_exception(OutputError("cannot write: no space left on device"))
            return future

    with pytest.raises(OutputError, match="no space left"):
        export(Failing())


def test_a_stop_ends_it_and_waits_for_what_is_being_written(export: Exporter, tmp_path: Path) -> None:
    stop, writing, finished = threading.Event(), threading.Event(), threading.Event()

    class Slow(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            def work() -> Any:
                writing.set()
                assert stop.wait(10)
                done = fn(*arguments, **options)
                finished.set()
                return done

            return super().submit(work)

    def ask_to_stop() -> None:
        assert writing.wait(10)
        stop.set()

    asking = threading.Thread(target=ask_to_stop)
    asking.start()
    with Slow(1) as executor:
        with pytest.raises(Interrupted):
            export(executor, stop)
        assert finished.is_set()
    asking.join(10)
    assert [path.name for path in tmp_path.rglob("*.tmp")] == []


def test_a_stop_before_it_begins_writes_nothing(export: Exporter, tmp_path: Path) -> None:
    stop, executor = threading.Event(), HeldExecutor()
    stop.set()
    with pytest.raises(Interrupted):
        export(executor, stop)
    assert executor.days == []
    assert [path.read_text() for path in tmp_path.rglob("*.csv")] == ["from an earlier export\n"]


def test_batches_that_wait_in_the_executor_are_taken_back(export: Exporter, tmp_path: Path) -> None:
    executor, stop = HeldExecutor(), threading.Event()
    with pytest.raises(Interrupted):
        export(executor, stop, WatchingClock(stop.set, DAYS[5]))
    assert [future.cancelled() for future in executor.futures] == [True, True]
    written = [day for day in DAYS if SPEC.path(tmp_path / "out1", day).exists()]
    assert written == [DAYS[2], DAYS[4], DAYS[5]]


def test_what_a_lost_process_had_begun_is_removed(database: Path, tmp_path: Path) -> None:
    """The lost process has left a temp file in the folder of its day."""

    class Lost(HeldExecutor):
        def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            future = super().submit(fn, *arguments, **options)
            day = self.days[-1]
            folder = SPEC.path(tmp_path, day).parent
            folder.mkdir(parents=True, exist_ok=True)
            # Process number 4194399 is beyond every Linux limit; the live one is this test's own.
            (folder / ".klines.csv.4194399.tmp").write_text("half a fi")
            (folder / f".klines.csv.{os.getpid()}.tmp").write_text("being written")
            future.set_exception(StoreError("the database has gone"))
            return future

    tasks = [DayTask(day, SYMBOLS) for day in DAYS]
    with Snapshot.open(database) as snapshot:
        made = DayExport(snapshot, Target(tmp_path, prune=False), [SPEC], tasks, Coverage(Dataset.KLINES), Lost())
        with pytest.raises(StoreError, match="has gone"):
            made.run(FakeClock(), None)
    assert {path.name for path in tmp_path.rglob("*.tmp")} == {f".klines.csv.{os.getpid()}.tmp"}


# -- the snapshot and the executor -------------------------------------------------------------------------------------


TASKS = [DayTask(day, SYMBOLS) for day in DAYS]


def test_an_executor_is_woken_only_for_a_long_export_and_when_it_works(caplog: pytest.LogCaptureFixture) -> None:
    """Its processes must be there before the database is opened."""
    with ThreadPoolExecutor(1) as executor:
        assert day_batches.wake(executor, TASKS, 833) is None, "99,960 rows"
        assert not executor._threads
        assert day_batches.wake(executor, TASKS, 834) is executor, "100,080 rows"
        assert executor._threads
    assert day_batches.wake(None, TASKS, 834) is None

    class Broken(ThreadPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            raise BrokenExecutor("no process could be started")

    with caplog.at_level(logging.WARNING), Broken(1) as broken:
        assert day_batches.wake(broken, TASKS, 834) is None
    assert [line.startswith(WARNING) for line in caplog.messages] == [True]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Commits something at each call."""
    series = Series(Dataset.KLINES, "1m", SYMBOLS[0])
    with StoreWriter.open(tmp_path / "live.db") as store:

        def commit() -> None:
            store.write([SymbolDay(series, FEBRUARY, Status.COMPLETE, None, [kline(FEBRUARY_MS)], 1440, "daily", 0.0)])

        commit()
        yield commit


class Meanwhile(ThreadPoolExecutor):
    """Something happens just before each of the first calls."""

    def __init__(self, happens: Callable[[], None], times: int) -> None:
        super().__init__(1)
        self._happens = happens
        self.left = times

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        if self.left:
            self.left -= 1
            self._happens()
        return super().submit(fn, *arguments, **options)


def test_the_run_takes_its_snapshot_anew_when_a_commit_came_between(tmp_path: Path, writer: Callable[[], None]) -> None:
    with Snapshot.open(tmp_path / "live.db") as snapshot, Meanwhile(writer, times=2) as executor:
        assert snapshot.store.commits() == 1
        assert day_batches.share(executor, snapshot, None) is executor
        assert (snapshot.store.commits(), executor.left) == (3, 0)


def test_without_helpers_when_commits_never_cease(
    tmp_path: Path, writer: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), Snapshot.open(tmp_path / "live.db") as snapshot, Meanwhile(writer, 99) as executor:
        assert day_batches.share(executor, snapshot, None) is None
    assert ["exporting without them" in line for line in caplog.messages] == [True]


def test_a_busy_executor_is_not_waited_for_long(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_batches, "_POLLS_FOR_ANSWER", 1)
    executor = HeldExecutor()
    executor.submit = lambda *_: executor.futures.append(Future()) or executor.futures[-1]  # type: ignore[method-assign, func-returns-value]
    with Snapshot.open(database) as snapshot:
        assert day_batches.share(executor, snapshot, None) is executor
        assert [future.cancelled() for future in executor.futures] == [True]
        stop = threading.Event()
        stop.set()
        with pytest.raises(Interrupted):
            day_batches.share(executor, snapshot, stop)
        assert [future.cancelled() for future in executor.futures] == [True, True]
        assert day_batches.share(None, snapshot, None) is None


def test_an_executor_that_breaks_or_a_database_that_cannot_be_shared(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    def no_process() -> None:
        raise BrokenExecutor("no process could be started")

    with Snapshot.open(database) as snapshot, Meanwhile(no_process, 1) as executor:
        assert day_batches.share(executor, snapshot, None) is None
        assert [line.startswith(WARNING) for line in caplog.messages] == [True]
        snapshot.key = None
        assert day_batches.share(executor, snapshot, None) is None


def test_batches_that_a_worker_refuses_are_written_by_the_run(export: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(ThreadPoolExecutor):
        """Its workers come when the snapshot is no longer the latest one."""

        batches = 0

        def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            self.batches += 1
            key, *others = arguments
            return super().submit(fn, key._replace(commits=key.commits + 1), *others, **options)

    alone = export()
    with Late(1) as executor:
        assert export(executor) == alone
    monkeypatch.setattr(day_batches, "_MOST_REFUSALS", 1)
    with Late(1) as executor:
        assert export(executor) == alone
        assert executor.batches <= 3, "it goes on without them"
