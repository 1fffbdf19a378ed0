"""The progress of a stage: when it speaks, what it says, and what a terminal shows of it. Time is ours."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from cryptoservice.progress import Display, Outlook, Progress, ProgressEvent, use_display
from tests.unit.fakes import FakeClock

CLEAR = "\x1b[K"


@pytest.fixture(autouse=True)
def _no_display_is_left() -> Iterator[None]:
    yield
    use_display(None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What goes to the log."""
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "propagate", True)
    caplog.set_level(logging.INFO, logger="cryptoservice.progress")
    return caplog


def progress(clock: FakeClock, total: int = 100, **gauge: float) -> Progress:
    return Progress("download", "symbol-days", total, clock, lambda: gauge)


# -- in a log ----------------------------------------------------------------------------------------------------------


def test_a_line_stands_for_every_twentieth(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    stage = progress(clock, total=1000)
    for _ in range(1000):
        clock.advance(0.1)
        stage.advance(rows=288)
    # The first two seconds say nothing; from then on 50 units make a line.
    assert [message.split(", ")[0] for message in said.messages] == [
        f"download: {done:,} of 1,000 symbol-days ({done // 10} %)" for done in range(50, 1001, 50)
    ]
    assert said.messages[9] == "download: 500 of 1,000 symbol-days (50 %), about 50 s left, 2,880 rows/s"


def test_a_slow_stage_says_something_every_thirty_seconds(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    stage = progress(clock)
    moments = []
    for second in range(1, 101):
        clock.advance(1)
        stage.tick()
        if len(said.messages) > len(moments):
            moments.append(second)
    assert moments == [30, 60, 90]
    assert set(said.messages) == {"download: 0 of 100 symbol-days (0 %)"}


def test_both_rules_count_from_the_last_line(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    stage = progress(clock)
    clock.advance(20)
    stage.advance(5)
    clock.advance(29)
    stage.advance(4)
    assert len(said.messages) == 1
    clock.advance(1)
    stage.tick()
    assert [message[:14] for message in said.messages] == ["download: 5 of", "download: 9 of"]


def test_work_that_is_soon_over_says_nothing(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    stage = progress(clock)
    for _ in range(100):
        clock.advance(0.019)
        stage.advance(rows=1)
    stage.end()
    assert said.messages == []


def test_the_keys_are_the_same_in_every_stage(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    stages = [
        Progress("export", "symbol-days", 10, clock),
        progress(clock, 10, requests=7, waited_seconds=2.5, pause_seconds=0.0),
    ]
    clock.advance(4)
    for stage in stages:
        stage.advance(5, rows=1440)
    bare, full = (record.__dict__["fields"] for record in said.records)
    assert list(bare) == list(full)
    assert full == {
        "event": "progress", "stage": "download", "unit": "symbol-days", "done": 5, "total": 10, "unsettled": 0, "rows": 1440,
        "rows_per_second": 360, "elapsed_seconds": 4.0, "eta_seconds": 4.0, "requests": 7, "waited_seconds": 2.5,
        "pause_seconds": 0.0, "requests_planned": None, "rows_planned": None, "parts": {}, "full_until": {},
    }  # fmt: skip
    assert (bare["requests"], bare["waited_seconds"], bare["pause_seconds"]) == (0, 0.0, 0.0)


def test_nothing_done_has_no_end_in_sight(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    stage = progress(clock)
    clock.advance(30)
    stage.tick()
    assert said.records[0].__dict__["fields"]["eta_seconds"] is None
    assert "left" not in said.messages[0]


@pytest.mark.parametrize(
    ("elapsed", "left"),
    [
        (30.0, "30 s"),
        (59.4, "59 s"),
        (60.0, "1 min 00 s"),
        (3599.0, "59 min 59 s"),
        (3600.0, "1 h 00 min"),
        (90_061, "25 h 01 min"),
    ],
)
def test_the_time_left_in_words(clock: FakeClock, said: pytest.LogCaptureFixture, elapsed: float, left: str) -> None:
    stage = progress(clock)
    clock.advance(elapsed)
    stage.advance(50)
    assert said.messages[0].endswith(f", about {left} left")


def test_a_host_that_keeps_us_waiting_is_named_instead(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    stage = progress(clock, requests=12, waited_seconds=1234.5, pause_seconds=41.6)
    clock.advance(30)
    stage.advance(10)
    assert said.messages == [
        "download: 10 of 100 symbol-days (10 %), paused by the host, 42 s to go, 12 requests, 1,234 s waited"
    ]


def test_the_time_left_goes_by_the_recent_past(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    """Half of the units take a tenth of a second each, the others a second."""
    stage = progress(clock, total=200)
    for number in range(200):
        clock.advance(0.1 if number < 100 else 1.0)
        stage.advance()
    told = {record.__dict__["fields"]["done"]: record.__dict__["fields"]["eta_seconds"] for record in said.records}
    assert told[100] == pytest.approx(10, abs=1)
    for done in range(120, 200, 10):
        assert told[done] == pytest.approx(200 - done, rel=0.5)


AHEAD = Outlook(
    123.4, {"klines": (1_680, 1_680), "metrics": (80, 1_680), "funding_rates": (0, 1_680)}, 5_203, 990_000,
    {"funding_rates": 1_770_000_000.0 + 60},
)  # fmt: skip


def test_who_knows_more_is_asked(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    stage = progress(clock, 5_040, requests=1_503, waited_seconds=0.0, pause_seconds=0.0)
    stage.foretell(lambda: AHEAD)
    clock.advance(30)
    stage.advance(1_760, rows=500_000)
    # 1770000000 is 2026-02-02 02:40:00.
    assert said.messages == [
        "download: 1,760 of 5,040 symbol-days (34 %), about 2 min 03 s left, funding: budget full until 02:41:00 UTC, "
        "klines done, metrics 80 of 1,680, funding 0 of 1,680, 16,667 rows/s, 1,503 of 5,203 requests"
    ]
    fields = said.records[0].__dict__["fields"]
    assert (fields["eta_seconds"], fields["requests_planned"], fields["rows_planned"]) == (123.4, 5_203, 990_000)
    assert fields["parts"]["metrics"] == {"done": 80, "total": 1_680}
    assert fields["full_until"] == {"funding_rates": "2026-02-02T02:41:00+00:00"}


def test_what_did_not_come_out_well_is_counted_and_retries_exceed_no_plan(
    clock: FakeClock, said: pytest.LogCaptureFixture
) -> None:
    stage = progress(clock, 84, requests=230, waited_seconds=27.0, pause_seconds=0.0)
    stage.foretell(lambda: Outlook(None, {}, 177))
    clock.advance(30)
    stage.advance(28)
    stage.advance(28, unsettled=28)
    assert said.messages[0] == "download: 28 of 84 symbol-days (33 %), 230 requests, 27 s waited"
    assert said.messages[1] == "download: 56 of 84 symbol-days (66 %), 28 of them not settled, 230 requests, 27 s waited"
    assert said.records[1].__dict__["fields"]["unsettled"] == 28


def test_a_single_part_and_a_short_wait_are_not_worth_a_word(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    stage = progress(clock)
    stage.foretell(lambda: Outlook(None, {"klines": (50, 100)}, None, None, {"klines": clock.time() + 0.9}))
    clock.advance(30)
    stage.advance(50)
    assert said.messages == ["download: 50 of 100 symbol-days (50 %)"]


def test_a_wait_for_a_budget_gets_a_line_when_it_begins(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    full_until: dict[str, float] = {}
    stage = progress(clock)
    stage.foretell(lambda: Outlook(300.0, full_until=full_until))
    moments = []
    for second in range(1, 101):
        clock.advance(1)
        if second == 10:
            full_until["metrics"] = clock.time() + 70
        if second == 90:
            # Short ones follow, as the first requests leave the window one by one.
            full_until["metrics"] = clock.time() + 3
        stage.tick()
        if len(said.messages) > len(moments):
            moments.append(second)
    assert moments == [10, 40, 70, 100]
    assert (
        said.messages[0] == "download: 0 of 100 symbol-days (0 %), about 5 min 00 s left, metrics: budget full until 02:41:20 UTC"
    )


# -- on a terminal -----------------------------------------------------------------------------------------------------


def test_a_terminal_gets_one_line_over_and_over(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    terminal = io.StringIO()
    use_display(Display(terminal))
    stage = progress(clock, total=30)
    for _ in range(30):
        clock.advance(0.1)
        stage.advance(rows=10)
    # After two seconds, and then not more often than five times a second.
    drawn = terminal.getvalue().split("\r")[1:]
    assert all(line.endswith(CLEAR) for line in drawn)
    assert [line.split()[1] for line in drawn] == ["20", "22", "24", "26", "28", "30"]
    assert drawn[2] == f"download: 24 of 30 symbol-days (80 %), about 1 s left, 100 rows/s{CLEAR}"
    stage.end()
    assert terminal.getvalue().endswith(f"\r{CLEAR}")
    assert said.messages == []


def test_a_terminal_shows_nothing_of_short_work(clock: FakeClock) -> None:
    terminal = io.StringIO()
    use_display(Display(terminal))
    stage = progress(clock)
    clock.advance(1.9)
    stage.advance(100)
    stage.end()
    assert terminal.getvalue() == ""


def test_a_log_line_passes_above(clock: FakeClock) -> None:
    terminal = io.StringIO()
    display = Display(terminal)
    display.write_above("first")
    display.show("half way")
    display.write_above("second")
    display.clear()
    assert terminal.getvalue() == f"first\n\rhalf way{CLEAR}\r{CLEAR}second\n\rhalf way{CLEAR}\r{CLEAR}"


def test_a_terminal_that_is_gone_stops_nobody(clock: FakeClock) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(5, "Input/output error")

    display = Display(Gone())
    use_display(display)
    stage = progress(clock)
    clock.advance(10)
    stage.advance(50)
    display.write_above("a line of the log")
    stage.end()


# -- told to a caller --------------------------------------------------------------------------------------------------


def test_a_caller_is_told_that_a_stage_begins_and_that_all_is_done(clock: FakeClock, said: pytest.LogCaptureFixture) -> None:
    told: list[ProgressEvent] = []
    stage = Progress("verify", "symbol-days", 3, clock, report=told.append)
    assert told == [ProgressEvent("verify", "symbol-days", 0, 3, 0, 0.0)]
    for _ in range(3):
        stage.advance(rows=288)
    stage.end()
    # Soon over: nothing of it is worth a line, and in between nothing is told.
    assert told[1:] == [ProgressEvent("verify", "symbol-days", 3, 3, 864, 0.0)]
    assert said.messages == []


def test_a_caller_is_told_at_most_five_times_a_second_however_much_happens(clock: FakeClock) -> None:
    told: list[ProgressEvent] = []
    stage = Progress("download", "symbol-days", 10_000, clock, report=told.append)
    for _ in range(10_000):
        clock.advance(0.001)
        stage.advance(rows=1)
    assert 45 <= len(told) <= 52
    assert [event.done for event in told] == sorted(event.done for event in told)
    assert (told[-1].done, told[-1].rows, round(told[-1].elapsed, 3)) == (10_000, 10_000, 10.0)


def test_a_caller_is_told_how_long_the_rest_takes(clock: FakeClock) -> None:
    told: list[ProgressEvent] = []
    stage = Progress("download", "symbol-days", 10, clock, report=told.append)
    for _ in range(10):
        clock.advance(1)
        stage.advance()
    assert [event.seconds_left for event in told] == [None, *map(float, range(9, 0, -1)), None]


def test_a_caller_hears_that_nothing_moves(clock: FakeClock) -> None:
    told: list[ProgressEvent] = []
    stage = Progress("download", "symbol-days", 10, clock, report=told.append)
    for _ in range(10):
        clock.advance(1)
        stage.tick()
    assert [(event.done, event.elapsed) for event in told] == [(0, float(second)) for second in range(11)]


def test_a_stage_without_units_begins_and_is_done(clock: FakeClock) -> None:
    told: list[ProgressEvent] = []
    stage = Progress("download", "symbol-days", 0, clock, report=told.append)
    clock.advance(5)
    stage.tick()
    stage.end()
    assert told == [ProgressEvent("download", "symbol-days", 0, 0, 0, 0.0)]


def test_what_a_caller_raises_reaches_the_one_who_works(clock: FakeClock) -> None:
    def refuse(event: ProgressEvent) -> None:
        if event.done:
            raise ZeroDivisionError

    stage = Progress("download", "symbol-days", 1, clock, report=refuse)
    with pytest.raises(ZeroDivisionError):
        stage.advance()
    stage.end()
