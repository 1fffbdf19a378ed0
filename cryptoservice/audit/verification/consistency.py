"""Consistency: do the series of one database agree with one another? Two witnesses that cost no request.

Klines of two intervals describe the same trades, so the finer ones must add up to the coarser ones. And metrics must stand under
the bars that the klines of their symbol say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from typing import Any

from cryptoservice.audit.verification.differences import Difference
from cryptoservice.days import Window, day_of_number, day_start_ms
from cryptoservice.models import DAY_MS, Dataset, Freq, Row
from cryptoservice.sources.alignment import BAR_MS, Bars, Reading, Votes, count_votes
from cryptoservice.storage.ledger import Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.schema import columns

AGGREGATE, MISALIGNED = "aggregate", "metrics_misaligned"
_COLUMNS = columns(Dataset.KLINES)
_SUMS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
# A sum of 1440 floats is off by less than this share of it, and no number has more than eight decimals.
_SUM_SHARE, _SUM_LEAST = 1e-12, 5e-9
_LARGEST = 1e18
_QUARTER = Freq.m5.bars_per_day // 4


# A damaged database can hold anything; what is no number is told by the integrity checks and no witness here.


def _klines(store: StoreReader, freq: Freq, symbol: str, day: date) -> list[Row]:
    rows = store.rows(Series(Dataset.KLINES, freq.value, symbol), day)
    return [row for row in rows if all(map(_is_number, row)) and row[3] > 0]


def _metrics(store: StoreReader, symbol: str, day: date) -> list[Row]:
    rows = store.rows(Series(Dataset.METRICS, Freq.m5.value, symbol), day)
    return [(row[0], *(value if _is_number(value) else None for value in row[1:])) for row in rows if _is_number(row[0])]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < _LARGEST


# -- klines of two intervals ----------------------------------------------------------------------------------------------


def unequal_aggregates(
    store: StoreReader, symbol: str, coarse: Freq, ids: Mapping[Freq, int], window: Window
) -> Iterator[Difference]:
    """Bars of one interval that are not what all stored finer ones of the same hours add up to.

    `ids` are the symbol's series by interval. A bar that lacks one of its finer bars cannot be compared.
    """
    for fine, series_id in ids.items():
        if fine.milliseconds < coarse.milliseconds and coarse.milliseconds % fine.milliseconds == 0:
            for number in _suspects(store, fine, series_id, coarse, ids[coarse], window):
                yield from _compare_day(store, symbol, fine, coarse, day_of_number(number))


def _suspects(store: StoreReader, fine: Freq, fine_id: int, coarse: Freq, coarse_id: int, window: Window) -> list[int]:
    """The numbers of the days that deserve a closer look. SQL adds up a year of minutes in less than a second."""
    sums = ", ".join(f"sum({name}) AS {name}" for name in _SUMS)
    unequal = " OR ".join(f"abs(f.{name} - c.{name}) > {_SUM_SHARE} * c.{name} + {_SUM_LEAST}" for name in _SUMS)
    query = f"""
        SELECT DISTINCT c.open_time / {DAY_MS} FROM (
            SELECT open_time - open_time % :width AS bucket, count(*) AS bars, max(high) AS high, min(low) AS low,
                   max(CASE WHEN open_time % :width = 0 THEN open END) AS open,
                   max(CASE WHEN open_time % :width = :width - :step THEN close END) AS close, {sums}
            FROM kline_rows WHERE series_id = :fine AND open_time BETWEEN :first AND :last GROUP BY bucket
        ) f JOIN kline_rows c ON c.series_id = :coarse AND c.open_time = f.bucket
        WHERE f.bars = :width / :step AND
            (f.open <> c.open OR f.high <> c.high OR f.low <> c.low OR f.close <> c.close OR {unequal})
        ORDER BY 1
    """  # noqa: S608 - made of its own constants
    place = {"fine": fine_id, "coarse": coarse_id, "width": coarse.milliseconds, "step": fine.milliseconds}
    bounds = {"first": day_start_ms(window.start), "last": day_start_ms(window.end) + DAY_MS - 1}
    return [number for (number,) in store.select(query, place | bounds)]


def _compare_day(store: StoreReader, symbol: str, fine: Freq, coarse: Freq, day: date) -> Iterator[Difference]:
    buckets: dict[int, list[Row]] = {}
    for row in _klines(store, fine, symbol, day):
        buckets.setdefault(row[0] - row[0] % coarse.milliseconds, []).append(row)
    for bar in _klines(store, coarse, symbol, day):
        parts = buckets.get(bar[0], ())
        if len(parts) != coarse.milliseconds // fine.milliseconds:
            continue
        for name, stored, added in unequal_fields(parts, bar):
            details = {"open_time": bar[0], "field": name, "stored": stored, "aggregated": added, "aggregated_freq": fine.value}
            yield Difference(AGGREGATE, Dataset.KLINES, coarse.value, symbol, day.isoformat(), details)


def unequal_fields(parts: Sequence[Row], bar: Row) -> Iterator[tuple[str, float, float]]:
    """Name, value and aggregated value of each field of a bar that its finer bars, all of them, do not add up to.

    The exchange leaves bars without trades out of the prices of a coarser bar: its open is the first open with a trade. Such a
    bar still carries the last price, so both ways of adding up are right.
    """
    values = dict(zip(_COLUMNS, bar, strict=True))
    traded = [part for part in parts if part[7] > 0] or parts
    for number, (name, pick) in enumerate(_PRICES.items(), start=1):
        ways = [pick([part[number] for part in some]) for some in (traded, parts)]
        if values[name] not in ways:
            yield name, values[name], ways[0]
    for name in _SUMS:
        added = math.fsum(part[_COLUMNS.index(name)] for part in parts)
        if abs(added - values[name]) > _SUM_SHARE * abs(values[name]) + _SUM_LEAST:
            yield name, values[name], round(added, 8)


def _first(prices: Sequence[float]) -> float:
    return prices[0]


def _last(prices: Sequence[float]) -> float:
    return prices[-1]


_PRICES: Mapping[str, Callable[[Sequence[float]], float]] = {"open": _first, "high": max, "low": min, "close": _last}


# -- metrics under the bars of klines -------------------------------------------------------------------------------------


def misaligned_metrics(store: StoreReader, symbol: str, days: Iterable[date], freqs: Sequence[Freq]) -> Iterator[Difference]:
    """Days whose metrics fit the bar beside their own clearly better. `freqs` are the stored kline intervals."""
    # 5m klines say most for the least reading: prices at every snapshot, and taker ratios.
    ranked = sorted(freqs, key=lambda freq: (freq is not Freq.m5, freq.milliseconds))
    for day in days:
        bars = _bars(store, symbol, day, ranked)
        if bars is None:
            continue
        rows = _metrics(store, symbol, day)
        found = misalignment(rows, bars)
        if found is not None:
            where, votes = found
            details = {"rows_stand": where, "votes": max(votes.ends, votes.starts), "against": min(votes.ends, votes.starts)}
            yield Difference(MISALIGNED, Dataset.METRICS, Freq.m5.value, symbol, day.isoformat(), details)


def _bars(store: StoreReader, symbol: str, day: date, freqs: Iterable[Freq]) -> Bars | None:
    for freq in freqs:
        klines = _klines(store, freq, symbol, day)
        if klines:
            bars = Bars()
            bars.add(klines, freq)
            return bars
    return None


def misalignment(rows: Sequence[Row], bars: Bars) -> tuple[str, Votes] | None:
    """Where metrics rows stand that are keyed by their bar: `one_bar_early`, `one_bar_late`, or None where nothing is proven."""
    # A row is given back the label that its bar ends with. When the labels fit as bar starts, the row is early.
    by_end_labels = [(row[0] + BAR_MS, *row[1:]) for row in rows]
    # Nearly all days are in order, and a quarter of a day is enough to see that.
    some = Bars(dict(islice(bars.prices.items(), _QUARTER)), dict(islice(bars.taker_ratios.items(), _QUARTER)))
    if count_votes(by_end_labels, some).reading is Reading.ENDS_BARS and count_votes(rows, some).reading is Reading.STARTS_BARS:
        return None
    by_end = count_votes(by_end_labels, bars)
    if by_end.reading is Reading.STARTS_BARS:
        return "one_bar_early", by_end
    # The label that its bar starts with. When the labels fit as bar ends, the row is late.
    by_start = count_votes(rows, bars)
    return ("one_bar_late", by_start) if by_start.reading is Reading.ENDS_BARS else None
