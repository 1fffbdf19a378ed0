"""Metrics (open interest, long/short ratios): derived, NOT market data; no complete recording could be had.

Keyed by bar start t in epoch milliseconds, on the 5-minute grid: open interest and account ratios are the snapshot at
t + 5 min, the taker ratio is the flow of [t, t + 5 min). They agree with the symbol's own 5m klines, as real ones do: open
interest is valued at the close of the bar, and the taker ratio is that of the bar's volumes. The rest is a seeded walk.
"""

from __future__ import annotations

import contextlib
import random
from functools import cache
from typing import Any, NamedTuple

from .klines import Series
from .seeds import VARIANTS, decimal_text, seed, variant

STEP_MS = 300_000
DAY_ROWS = 288


class MetricsRow(NamedTuple):
    """What is known of one 5-minute bar; open interest in base asset, its value in quote asset."""

    open_interest: float
    open_interest_value: float
    top_trader_account_ratio: float
    top_trader_position_ratio: float
    global_account_ratio: float
    taker_volume_ratio: float | None
    """None where nothing was sold, bars without a trade among them."""


class MetricsText(NamedTuple):
    """The same as decimal text, shortest form that both hosts pad in their own way."""

    open_interest: str  # 3 decimals
    open_interest_value: str  # 8 decimals: exactly open interest times the close
    top_trader_account_ratio: str  # this and the following: 4 decimals
    top_trader_position_ratio: str
    global_account_ratio: str
    taker_volume_ratio: str  # empty where nothing was sold

    def csv(self) -> str:
        """As in the archive: open interest with 16 decimals, ratios with 8. They say no more than REST does with 4."""
        ratios = ",".join(ratio and ratio + "0000" for ratio in self[2:])
        return f"{self.open_interest}{'0' * 13},{self.open_interest_value}{'0' * 8},{ratios}"

    def row(self) -> MetricsRow:
        """As numbers."""
        taker = self.taker_volume_ratio
        return MetricsRow(*(float(text) for text in self[:5]), float(taker) if taker else None)


@cache
def _walk(number: int) -> list[tuple[int, int, int, int]]:
    """One of the walks that days follow: offsets of open interest and of three ratios (scaled by 10^4)."""
    rng = random.Random(f"metrics-{number}")
    state = [0, 0, 0, 0]
    rows = []
    for _ in range(DAY_ROWS):
        for i, reach in enumerate((900, 60, 50, 70)):
            state[i] += rng.randint(-reach, reach)
        rows.append((state[0], state[1], state[2], state[3]))
    return rows


# Days with the same klines have the same metrics, so a key is that of the klines. Some 150 kB a day.
Key = tuple[object, ...]
_SAME_VALUES = 400


def _texts_of(series: Series, day: int) -> tuple[MetricsText, ...]:
    number = variant(series.symbol, day)
    rng = random.Random(f"metrics-{series.symbol}-{number}")
    interest = rng.randint(5_000_000, 900_000_000)  # thousandths of the base asset
    ratios = [rng.randint(12_000, 25_000) for _ in range(3)]
    texts = []
    walk = _walk((seed(series.symbol) + number) % VARIANTS)
    for (oi, *offsets), (head, tail) in zip(walk, series.pairs(5, day), strict=True):
        contracts = max(1, interest + oi)
        close, volume = (_scaled_by_8(text) for text in head.split(",")[3:])
        bought = _scaled_by_8(tail.split(",")[2])
        # Thousandths times 10^-8 are 10^-11, and recorded prices have five decimals at most: three zeros too many.
        value, rest = divmod(contracts * close, 1_000)
        assert rest == 0, "the price has more decimals than the value can hold"
        sold = volume - bought
        taker = decimal_text((2 * 10_000 * bought + sold) // (2 * sold), 4) if sold else ""
        scaled = (max(100, ratio + offset) for ratio, offset in zip(ratios, offsets, strict=True))
        texts.append(
            MetricsText(decimal_text(contracts, 3), decimal_text(value, 8), *(decimal_text(n, 4) for n in scaled), taker)
        )
    return tuple(texts)


def _scaled_by_8(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(8, "0"))


_texts: dict[Key, tuple[MetricsText, ...]] = {}
_lines: dict[tuple[Key, str], tuple[str, ...]] = {}


def _bounded(known: dict[Any, Any], key: Any, value: Any, most: int) -> Any:
    """Keep a value, forgetting the oldest one when there are too many. A dict's own steps are atomic."""
    while len(known) >= most:
        with contextlib.suppress(StopIteration, KeyError, RuntimeError):
            del known[next(iter(known))]
    known[key] = value
    return value


def day_texts(series: Series, day: int) -> tuple[MetricsText, ...]:
    """The 288 rows of a day, by bar start."""
    key = series.key(day)
    found = _texts.get(key)
    return found if found is not None else _bounded(_texts, key, _texts_of(series, day), _SAME_VALUES)  # type: ignore[no-any-return]


def day_csv(series: Series, day: int) -> tuple[str, ...]:
    """The 288 CSV lines of a day without their labels."""
    key = (series.key(day), "csv")
    found = _lines.get(key)
    if found is None:
        found = tuple(f",{series.symbol},{text.csv()}\n" for text in day_texts(series, day))
        _bounded(_lines, key, found, 3_000)
    return found


def _share(ratio: str) -> tuple[str, str]:
    """Long and short share of a long/short ratio, 4 decimals each, together 1."""
    scaled = int(ratio.replace(".", ""))
    long = round(scaled * 10_000 / (scaled + 10_000))
    return decimal_text(long, 4), decimal_text(10_000 - long, 4)


def _ratio_json(symbol: str, ratio: str) -> str:
    long, short = _share(ratio)
    return f'{{"symbol":"{symbol}","longAccount":"{long}","longShortRatio":"{ratio}","shortAccount":"{short}","timestamp":'


def _interest_json(symbol: str, text: MetricsText) -> str:
    return (
        f'{{"symbol":"{symbol}","sumOpenInterest":"{text.open_interest}00000",'
        f'"sumOpenInterestValue":"{text.open_interest_value}","CMCCirculatingSupply":"20080771.00000000","timestamp":'
    )


def _taker_json(ratio: str) -> str:
    # Sold 1000 lots: then what was bought is the ratio, exactly.
    bought = decimal_text(int(ratio.replace(".", "")) * 1_000, 4)
    return f'{{"buySellRatio":"{ratio}","sellVol":"1000.0000","buyVol":"{bought}","timestamp":'


def _json_of(endpoint: str, series: Series, day: int) -> tuple[str, ...]:
    symbol, texts = series.symbol, day_texts(series, day)
    if endpoint == "openInterestHist":
        return tuple(_interest_json(symbol, text) for text in texts)
    if endpoint == "topLongShortAccountRatio":
        return tuple(_ratio_json(symbol, text.top_trader_account_ratio) for text in texts)
    if endpoint == "topLongShortPositionRatio":
        return tuple(_ratio_json(symbol, text.top_trader_position_ratio) for text in texts)
    if endpoint == "globalLongShortAccountRatio":
        return tuple(_ratio_json(symbol, text.global_account_ratio) for text in texts)
    return tuple(text.taker_volume_ratio and _taker_json(text.taker_volume_ratio) for text in texts)


def day_json(endpoint: str, series: Series, day: int) -> tuple[str, ...]:
    """The 288 REST objects of a day, open-ended: whoever sends them adds the timestamp and a brace. Empty: no object."""
    key = (series.key(day), endpoint)
    found = _lines.get(key)
    return found if found is not None else _bounded(_lines, key, _json_of(endpoint, series, day), 3_000)  # type: ignore[no-any-return]
