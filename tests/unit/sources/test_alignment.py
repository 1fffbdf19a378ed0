"""Alignment of metrics: recorded files of both conventions, and synthetic ones whose convention is known."""

from __future__ import annotations

import csv
import io
import math
import random
import zipfile
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone

import pytest

from cryptoservice.models import Freq, Row
from cryptoservice.rows import ColumnRows
from cryptoservice.sources.alignment import BAR_MS, Bars, Reading, Votes, count_votes, reading_by_labels, under
from tests.unit.fakes import DAY, FEBRUARY_MS, RECORDINGS

HOUR = 3_600_000


def moment(text: str, form: str = "%Y-%m-%d %H:%M:%S") -> int:
    return int(datetime.strptime(text, form).replace(tzinfo=timezone.utc).timestamp() * 1000)


def metrics_of(lines: Iterable[str]) -> list[Row]:
    """Recorded metrics by label, read with the csv module and float()."""
    rows = csv.reader(lines)
    next(rows)
    return [(moment(row[0]), *(float(value) for value in row[2:])) for row in rows]


# From 1970 to 2100.
EVER = range(4_102_444_800_000)


def recorded_btc() -> list[Row]:
    with zipfile.ZipFile(RECORDINGS / "metrics" / "BTCUSDT-metrics-2024-01-02.zip") as zipped:
        return metrics_of(io.StringIO(zipped.read("BTCUSDT-metrics-2024-01-02.csv").decode()))


def recorded_hype() -> list[Row]:
    return metrics_of((RECORDINGS / "metrics" / "HYPEUSDT-metrics-2025-05-30.excerpt.csv").read_text().splitlines())


def hours_of_btc() -> list[Row]:
    lines = csv.DictReader((RECORDINGS / "klines_1h" / "BTCUSDT-1h.2024-01-02.csv").read_text().splitlines())
    rows = []
    for line in lines:
        opened, high, low, close, volume = (float(line[name]) for name in ("Open", "High", "Low", "Close", "Volume"))
        rows.append((moment(line["Date"], "%d-%m-%Y %H:%M"), opened, high, low, close, volume, 0.0, 0, 0.0, 0.0))
    return rows


def minutes_of_btc() -> list[Row]:
    lines = csv.DictReader((RECORDINGS / "klines_1m" / "BTCUSDT-1m.2024-01-01T2355.excerpt.csv").read_text().splitlines())
    names = ("open", "high", "low", "close", "volume", "quote_volume", "count", "taker_buy_volume", "taker_buy_quote_volume")
    return [(int(line["open_time"]), *(float(line[name]) for name in names)) for line in lines]


def fives_of_hype() -> list[Row]:
    lines = csv.DictReader((RECORDINGS / "klines_5m" / "HYPEUSDT-5m.2025-05-30.excerpt.csv").read_text().splitlines())
    rows = []
    for line in lines:
        opened, high, low, close, volume = (float(line[name]) for name in ("open", "high", "low", "close", "volume"))
        taker = float(line["taker_buy_base"])
        rows.append((int(line["open_time"]), opened, high, low, close, volume, 0.0, 0, taker, 0.0))
    return rows


def bars(*parts: tuple[list[Row], Freq]) -> Bars:
    made = Bars()
    for rows, freq in parts:
        made.add(rows, freq)
    return made


def test_the_recorded_btc_file_ends_its_bars() -> None:
    """Labels 00:00 to 23:55. Hourly prices alone decide it; the minutes around midnight agree in both quantities."""
    assert Votes(21, 0) == count_votes(recorded_btc(), bars((hours_of_btc(), Freq.h1)))
    assert count_votes(recorded_btc(), bars((hours_of_btc(), Freq.h1))).reading is Reading.ENDS_BARS
    fine = count_votes(recorded_btc(), bars((minutes_of_btc(), Freq.m1)))
    assert (fine.ends >= 6, fine.starts) == (True, 0)


def test_the_recorded_hype_file_starts_its_bars() -> None:
    """The listing day: under the other reading its first row would stand before the first trade."""
    votes = count_votes(recorded_hype(), bars((fives_of_hype(), Freq.m5)))
    assert (votes.ends <= 1, votes.starts >= 15) == (True, True), votes
    assert votes.reading is Reading.STARTS_BARS
    assert under(votes.reading, recorded_hype(), EVER)[0][0] == fives_of_hype()[0][0]


def test_recorded_rows_stand_under_the_bar_whose_taker_ratio_they_have() -> None:
    """The second quantity of the recordings, computed here: within one percent, or four at midnight."""
    hype = {row[0]: row[6] for row in under(Reading.STARTS_BARS, recorded_hype(), EVER)}
    for row in fives_of_hype():
        assert math.isclose(hype[row[0]], row[8] / (row[5] - row[8]), rel_tol=0.011)
    btc = {row[0]: row[6] for row in under(Reading.ENDS_BARS, recorded_btc(), EVER)}
    minutes = minutes_of_btc()
    for first in range(0, 25, 5):
        five = minutes[first : first + 5]
        buy, volume = sum(row[8] for row in five), sum(row[5] for row in five)
        assert math.isclose(btc[five[0][0]], buy / (volume - buy), rel_tol=0.04)


def synthetic(
    shift: int, *, seed: int, moves: float = 0.001, trades: float = 1.0, noise: float = 1e-5
) -> tuple[list[Row], list[Row]]:
    """A day of 5m klines, and metrics of it whose labels stand `shift` after the start of the bar that they close.

    `moves` is the step of the price from bar to bar, `trades` the share of bars with trades, `noise` what mark and last
    price differ by.
    """
    chance = random.Random(seed)
    klines: list[Row] = []
    metrics: list[Row] = []
    price = 100.0
    for number in range(-1, 289):
        start = FEBRUARY_MS + number * BAR_MS
        opened = price
        has_trades = chance.random() < trades
        if has_trades:
            price *= math.exp(chance.gauss(0, moves))
        volume = chance.uniform(10, 1000) if has_trades else 0.0
        taker = volume * chance.uniform(0.2, 0.8)
        klines.append((start, opened, max(opened, price), min(opened, price), price, volume, 0.0, 3, taker, 0.0))
        ratio = taker / (volume - taker) if volume else None
        snapshot = price * math.exp(chance.gauss(0, noise))
        metrics.append((start + shift, 50.0, 50.0 * snapshot, 1.0, 1.0, 1.0, ratio))
    first, last = FEBRUARY_MS, FEBRUARY_MS + DAY
    return klines, [row for row in metrics if first <= row[0] < last]


@pytest.mark.parametrize(("shift", "reading"), [(0, Reading.STARTS_BARS), (BAR_MS, Reading.ENDS_BARS)])
def test_both_conventions_under_the_same_labels_are_told_apart(shift: int, reading: Reading) -> None:
    for seed in range(40):
        klines, metrics = synthetic(shift, seed=seed)
        assert metrics[0][0] == FEBRUARY_MS, "labels 00:00 .. 23:55 in both"
        assert count_votes(metrics, bars((klines, Freq.m5))).reading is reading


@pytest.mark.parametrize(("shift", "reading"), [(0, Reading.STARTS_BARS), (BAR_MS, Reading.ENDS_BARS)])
def test_prices_at_the_boundaries_of_coarser_klines_decide_as_well(shift: int, reading: Reading) -> None:
    for seed in range(20):
        klines, metrics = synthetic(shift, seed=seed)
        hours = [
            (row[0], row[1], 0.0, 0.0, klines[index + 11][4], *row[5:])
            for index, row in enumerate(klines[:-12])
            if row[0] % HOUR == 0
        ]
        assert count_votes(metrics, bars((hours, Freq.h1))).reading is reading


def test_nothing_is_proven_where_nothing_differs_or_hardly_anything_trades() -> None:
    """A flat price with even takers, a handful of trades a day, and no klines at all."""
    for shift in (0, BAR_MS):
        for seed in range(20):
            klines, metrics = synthetic(shift, seed=seed, moves=0.0, noise=1e-5)
            even = [(*row[:8], row[5] / 2, 0.0) for row in klines]
            level = [(*row[:6], 1.0) for row in metrics]
            assert count_votes(level, bars((even, Freq.m5))).reading is Reading.UNPROVEN
            klines, metrics = synthetic(shift, seed=seed, trades=0.01)
            assert count_votes(metrics, bars((klines, Freq.m5))).reading in (
                Reading.UNPROVEN,
                Reading.ENDS_BARS if shift else Reading.STARTS_BARS,
            )
            assert count_votes(metrics, Bars()) == Votes(0, 0)


def test_rows_that_have_nothing_to_do_with_the_klines_prove_nothing() -> None:
    """Another symbol's file, by chance: a wrong decision would be worse than none."""
    decided = 0
    for seed in range(300):
        klines, _ = synthetic(0, seed=seed)
        _, metrics = synthetic(0, seed=seed + 1000)
        decided += count_votes(metrics, bars((klines, Freq.m5))).reading is not Reading.UNPROVEN
    assert decided == 0


def test_the_margin() -> None:
    for ends, starts, reading in [
        (10, 0, Reading.ENDS_BARS),
        (9, 0, Reading.UNPROVEN),
        (11, 1, Reading.UNPROVEN),
        (12, 1, Reading.ENDS_BARS),
        (1, 12, Reading.STARTS_BARS),
        (200, 17, Reading.UNPROVEN),
        (0, 0, Reading.UNPROVEN),
    ]:
        assert Votes(ends, starts).reading is reading, (ends, starts)


def test_labels_that_reach_midnight_end_their_bars() -> None:
    end = FEBRUARY_MS + DAY
    assert reading_by_labels([(FEBRUARY_MS + BAR_MS, 1.0), (end, 1.0)], end) is Reading.ENDS_BARS
    assert reading_by_labels([(FEBRUARY_MS, 1.0), (end - BAR_MS, 1.0)], end) is None
    assert reading_by_labels([], end) is None


def columns(rows: list[Row]) -> ColumnRows:
    return ColumnRows([array("q", [row[0] for row in rows]), array("d", [row[1] for row in rows])], 0, len(rows))


@pytest.mark.parametrize("form", [list, columns])
def test_rows_of_a_day_are_chosen_by_their_bars(form: Callable[[list[Row]], Sequence[Row]]) -> None:
    """A label at midnight ends the last bar of the day before, or starts the first one of its own."""
    end = FEBRUARY_MS + DAY
    rows = form([(FEBRUARY_MS, 1.0), (FEBRUARY_MS + BAR_MS, 2.0), (end - BAR_MS, 3.0), (end, 4.0)])
    day = range(FEBRUARY_MS, end)
    ends = [(FEBRUARY_MS, 2.0), (end - 2 * BAR_MS, 3.0), (end - BAR_MS, 4.0)]
    starts = [(FEBRUARY_MS, 1.0), (FEBRUARY_MS + BAR_MS, 2.0), (end - BAR_MS, 3.0)]
    assert list(under(Reading.ENDS_BARS, rows, day)) == ends
    assert list(under(Reading.STARTS_BARS, rows, day)) == starts
    assert list(under(Reading.UNPROVEN, rows, day)) == starts, "the reading that cannot look ahead"
    assert list(under(Reading.ENDS_BARS, rows, range(FEBRUARY_MS - BAR_MS, FEBRUARY_MS))) == [(FEBRUARY_MS - BAR_MS, 1.0)]
    assert list(under(Reading.ENDS_BARS, rows[:0], day)) == []


def test_minutes_make_bars_only_where_all_five_are_there() -> None:
    minutes = [(FEBRUARY_MS + number * 60_000, 1.0, 1.0, 1.0, 1.0 + number, 10.0, 0.0, 1, 4.0, 0.0) for number in range(9)]
    made = bars((minutes, Freq.m1))
    assert made.taker_ratios == {FEBRUARY_MS: pytest.approx(20 / 30)}
    assert (made.prices[FEBRUARY_MS], made.prices[FEBRUARY_MS + BAR_MS]) == (1.0, 5.0), "a close before an open"
    coarse = bars(([(FEBRUARY_MS, 1.0, 1.0, 1.0, 2.0, 10.0, 0.0, 1, 4.0, 0.0)], Freq.m15))
    assert coarse.taker_ratios == {}
    assert coarse.prices == {FEBRUARY_MS: 1.0, FEBRUARY_MS + 900_000: 2.0}


def test_klines_of_a_whole_day_say_all_that_klines_can_say() -> None:
    """Five minutes or finer, every bar of the day. Coarser ones and days with a hole leave something to learn."""

    def day_of(minutes: int) -> list[Row]:
        count = 1440 // minutes
        return [(FEBRUARY_MS + n * minutes * 60_000, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 1, 1.0, 1.0) for n in range(count)]

    assert bars((day_of(1), Freq.m1)).are_whole(FEBRUARY_MS)
    assert bars((day_of(5), Freq.m5)).are_whole(FEBRUARY_MS)
    assert not bars((day_of(15), Freq.m15)).are_whole(FEBRUARY_MS)
    assert not bars((day_of(5), Freq.m5)).are_whole(FEBRUARY_MS + DAY), "another day"
    # One bar between two others leaves both of its prices known, two bars in a row do not.
    assert not bars((day_of(5)[:100] + day_of(5)[102:], Freq.m5)).are_whole(FEBRUARY_MS)
    assert not bars((day_of(5)[:-1], Freq.m5)).are_whole(FEBRUARY_MS)
    assert not Bars().are_whole(FEBRUARY_MS)


@pytest.mark.parametrize(
    ("reason", "reading"),
    [
        ("labels_end_bars", Reading.ENDS_BARS),
        ("archive_alone; labels_start_bars; daily: 1 row left out (not_finite)", Reading.STARTS_BARS),
        ("archive_alone; labels_unproven", Reading.UNPROVEN),
        ("labels_at_bar_end_by_date", None),
        ("archive_alone", None),
        (None, None),
    ],
)
def test_the_reason_of_a_ledger_line_names_its_reading(reason: str | None, reading: Reading | None) -> None:
    """What earlier versions wrote names none of them."""
    assert Reading.of_reason(reason) is reading
