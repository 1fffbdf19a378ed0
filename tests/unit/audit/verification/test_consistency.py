"""Two witnesses within one database: finer klines against coarser ones, and metrics against klines."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pytest

from cryptoservice.audit.verification.consistency import misaligned_metrics, misalignment, unequal_aggregates, unequal_fields
from cryptoservice.days import Window
from cryptoservice.models import Dataset, Freq, Row, Status
from cryptoservice.sources.alignment import Bars
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, MINUTE, RECORDINGS, recorded_rows

BAR = 5 * MINUTE
# Three minutes: the first and the last without a trade, at the price of the last one before them.
FLAT_BEFORE = (0, 9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0, 0.0, 0.0)
TRADED = (MINUTE, 10.0, 12.0, 9.5, 11.0, 0.1, 1.1, 4, 0.1, 1.1)
TRADED_TOO = (2 * MINUTE, 11.0, 11.5, 10.5, 10.75, 0.2, 2.2, 5, 0.0, 0.0)
# 0.1 + 0.2 is 0.30000000000000004 as floats and 0.3 as the exchange writes it.
BAR_OF_THREE = (0, 10.0, 12.0, 9.5, 10.75, 0.3, 3.3, 9, 0.1, 1.1)


def test_a_bar_is_what_its_minutes_add_up_to() -> None:
    assert list(unequal_fields([FLAT_BEFORE, TRADED, TRADED_TOO], BAR_OF_THREE)) == []


def test_minutes_without_trades_may_be_in_or_out() -> None:
    counted_in = (0, 9.0, 12.0, 9.0, *BAR_OF_THREE[4:])
    assert list(unequal_fields([FLAT_BEFORE, TRADED, TRADED_TOO], counted_in)) == []
    flat = [(number * MINUTE, *FLAT_BEFORE[1:]) for number in range(3)]
    assert list(unequal_fields(flat, FLAT_BEFORE)) == []
    assert [name for name, *_ in unequal_fields(flat, (0, 9.5, 9.5, 9.5, 9.5, *FLAT_BEFORE[5:]))] == [
        "open",
        "high",
        "low",
        "close",
    ]


@pytest.mark.parametrize(
    ("place", "name", "value", "added"),
    [
        (1, "open", 10.25, 10.0), (2, "high", 11.75, 12.0), (3, "low", 9.25, 9.5), (4, "close", 10.5, 10.75),
        (5, "volume", 0.30000001, 0.3), (6, "quote_volume", 3.29999999, 3.3), (7, "trades", 10, 9),
        (8, "taker_buy_volume", 0.10000001, 0.1), (9, "taker_buy_quote_volume", 1.2, 1.1),
    ],
)  # fmt: skip
def test_every_field_counts_to_its_last_decimal(place: int, name: str, value: float, added: float) -> None:
    bar = (*BAR_OF_THREE[:place], value, *BAR_OF_THREE[place + 1 :])
    assert list(unequal_fields([FLAT_BEFORE, TRADED, TRADED_TOO], bar)) == [(name, value, added)]


def aggregated(rows: list[Row], minutes: int) -> list[Row]:
    """Coarser bars, added up as the market did: decimals of at most eight places."""
    bars = []
    for first in range(0, len(rows), minutes):
        part = rows[first : first + minutes]
        sums = [round(sum(row[place] for row in part), 8) for place in (5, 6, 7, 8, 9)]
        prices = (part[0][1], max(row[2] for row in part), min(row[3] for row in part), part[-1][4])
        bars.append((part[0][0], *prices, *sums))
    return bars


def store(path: Path, freqs: dict[Freq, list[Row]], day: date = FEBRUARY) -> Path:
    with StoreWriter.open(path) as writer:
        writer.write(
            SymbolDay(Series(Dataset.KLINES, freq.value, "ALGOUSDT"), day, Status.COMPLETE, None, rows, len(rows), "daily", 0.0)
            for freq, rows in freqs.items()
        )
    return path


def unequal(path: Path, coarse: Freq) -> list[tuple[str, int, str, float, float]]:
    with StoreReader.open(path) as reader:
        query = "SELECT freq, id FROM series WHERE dataset = 'klines'"
        ids = {Freq(freq): number for freq, number in reader.select(query)}
        found = list(unequal_aggregates(reader, "ALGOUSDT", coarse, ids, Window(FEBRUARY, FEBRUARY)))
    assert {(item.kind, item.freq, item.date) for item in found} <= {("aggregate", coarse.value, "2026-02-01")}
    keys = ("aggregated_freq", "open_time", "field", "stored", "aggregated")
    return [tuple(item.details[key] for key in keys) for item in found]  # type: ignore[misc]


MINUTES: list[Row] = [row for row in recorded_rows("ALGOUSDT") if row[0] < FEBRUARY_MS + DAY]


def test_recorded_minutes_and_coarser_bars_of_a_database(tmp_path: Path) -> None:
    assert sum(row[7] == 0 for row in recorded_rows("ALGOUSDT")) == 22, "there are minutes without a trade"
    fives, hours = aggregated(MINUTES, 5), aggregated(MINUTES, 60)
    path = store(tmp_path / "market.db", {Freq.m1: MINUTES, Freq.m5: fives, Freq.h1: hours})
    for freq in (Freq.m1, Freq.m5, Freq.h1):
        assert unequal(path, freq) == []
    # One trade more in the last minute of the day.
    last = (*MINUTES[-1][:7], MINUTES[-1][7] + 1, *MINUTES[-1][8:])
    path = store(path, {Freq.m1: [*MINUTES[:-1], last]})
    assert unequal(path, Freq.m5) == [("1m", fives[-1][0], "trades", fives[-1][7], fives[-1][7] + 1)]
    assert unequal(path, Freq.h1) == [("1m", hours[-1][0], "trades", hours[-1][7], hours[-1][7] + 1)]


def test_bars_that_lack_a_finer_one_and_intervals_that_do_not_divide_are_not_compared(tmp_path: Path) -> None:
    wrong = [(*bar[:7], bar[7] + 1, *bar[8:]) for bar in aggregated(MINUTES, 5)]
    path = store(tmp_path / "market.db", {Freq.m3: aggregated(MINUTES, 3), Freq.m5: wrong})
    assert unequal(path, Freq.m5) == []
    store(path, {Freq.m1: MINUTES[:4] + MINUTES[5:]})
    assert [time for _, time, *_ in unequal(path, Freq.m5)] == [bar[0] for bar in wrong[1:]]
    assert unequal(path, Freq.m3) == []


# -- metrics --------------------------------------------------------------------------------------------------------------


def hype() -> tuple[list[Row], list[Row]]:
    """The recorded metrics of HYPEUSDT by the bar that they close, and the klines of these bars."""
    with (RECORDINGS / "metrics" / "HYPEUSDT-metrics-2025-05-30.excerpt.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    start = 1_748_601_000_000  # 2025-05-30 10:30:00 UTC, as `date` says; its labels start their bars (docs/wire.md)
    metrics: list[Row] = [
        (
            start + number * BAR, float(line["sum_open_interest"]), float(line["sum_open_interest_value"]), None, None, None,
            float(line["sum_taker_long_short_vol_ratio"]),
        )
        for number, line in enumerate(lines)
    ]  # fmt: skip
    assert lines[0]["create_time"] == "2025-05-30 10:30:00"
    with (RECORDINGS / "klines_5m" / "HYPEUSDT-5m.2025-05-30.excerpt.csv").open(newline="") as file:
        klines = [tuple(line) for line in csv.reader(file) if line[0].isdigit()]
    # The transcript has neither quote volume nor trades; no test here looks at them.
    rows: list[Row] = [(int(k[0]), *map(float, k[1:6]), 0.0, 1, float(k[6]), float(k[7])) for k in klines]
    assert (rows[0][0], len(rows)) == (start, 11)
    return metrics, rows


@pytest.mark.parametrize(("bars_off", "where"), [(0, None), (-1, "one_bar_early"), (1, "one_bar_late")])
def test_recorded_metrics_that_stand_beside_their_bar(tmp_path: Path, bars_off: int, where: str | None) -> None:
    metrics, klines = hype()
    moved: list[Row] = [(row[0] + bars_off * BAR, *row[1:]) for row in metrics]
    bars = Bars()
    bars.add(klines, Freq.m5)
    found = misalignment(moved, bars)
    assert (found and found[0]) == where
    day = date(2025, 5, 30)
    path = tmp_path / "market.db"
    with StoreWriter.open(path) as writer:
        for dataset, rows in ((Dataset.KLINES, klines), (Dataset.METRICS, moved)):
            series = Series(dataset, "5m", "HYPEUSDT")
            writer.write([SymbolDay(series, day, Status.CONFIRMED_GAP, None, rows, 288, "daily", 0.0)])
    with StoreReader.open(path) as reader:
        differences = list(misaligned_metrics(reader, "HYPEUSDT", [day], [Freq.m1, Freq.m5]))
        assert list(misaligned_metrics(reader, "HYPEUSDT", [day], [Freq.h1])) == [], "no klines, no proof"
    assert [(item.kind, item.date, item.details["rows_stand"]) for item in differences] == (
        [("metrics_misaligned", "2025-05-30", where)] if where else []
    )


def test_a_damaged_database_is_no_obstacle(tmp_path: Path) -> None:
    metrics, klines = hype()
    day = date(2025, 5, 30)
    path = tmp_path / "market.db"
    broken = [(klines[0][0], *["text"] * 9), (klines[1][0], -1.0, *[float("inf")] * 8), *klines[2:]]
    with StoreWriter.open(path) as writer:
        for dataset, rows in (
            (Dataset.KLINES, broken),
            (Dataset.METRICS, [(metrics[0][0], -1.0, b"x", *["y"] * 4), *metrics[1:]]),
        ):
            writer.write([SymbolDay(Series(dataset, "5m", "ALGOUSDT"), day, Status.COMPLETE, None, rows, 288, None, 0.0)])
        hour = SymbolDay(Series(Dataset.KLINES, "1h", "ALGOUSDT"), day, Status.COMPLETE, None, broken, 24, None, 0.0)
        writer.write([hour])
    with StoreReader.open(path) as reader:
        assert list(misaligned_metrics(reader, "ALGOUSDT", [day], [Freq.m5])) == []
        ids = {Freq(freq): number for freq, number in reader.select("SELECT freq, id FROM series WHERE dataset = 'klines'")}
        assert list(unequal_aggregates(reader, "ALGOUSDT", Freq.h1, ids, Window(day, day))) == []


def test_a_flat_market_proves_nothing() -> None:
    flat: list[Row] = [(FEBRUARY_MS + number * BAR, 2.0, 2.0, 2.0, 2.0, 1.0, 2.0, 1, 0.5, 1.0) for number in range(288)]
    metrics: list[Row] = [(row[0], 5.0, 10.0, None, None, None, 1.0) for row in flat]
    bars = Bars()
    bars.add(flat, Freq.m5)
    assert misalignment(metrics, bars) is None
