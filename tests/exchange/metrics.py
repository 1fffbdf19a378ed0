"""Metrics (open interest, long/short ratios): derived, NOT market data; no complete recording could be had.

Keyed by bar start t in epoch milliseconds, on the 5-minute grid: open interest and account ratios are the snapshot at
t + 5 min, the taker ratio is the flow of [t, t + 5 min).
"""

from __future__ import annotations

import random
from functools import cache, lru_cache
from typing import NamedTuple

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
    taker_volume_ratio: float


class MetricsText(NamedTuple):
    """The same as decimal text, shortest form that both hosts pad in their own way."""

    open_interest: str  # 3 decimals
    open_interest_value: str  # 6 decimals
    top_trader_account_ratio: str  # this and the following: 4 decimals
    top_trader_position_ratio: str
    global_account_ratio: str
    taker_volume_ratio: str

    def csv(self) -> str:
        """As in the archive: open interest with 16 decimals, ratios with 8."""
        ratios = ",".join(ratio + "0000" for ratio in self[2:])
        return f"{self.open_interest}{'0' * 13},{self.open_interest_value}{'0' * 10},{ratios}"

    def row(self) -> MetricsRow:
        """As numbers."""
        return MetricsRow(*(float(text) for text in self))


@cache
def _walk(number: int) -> list[tuple[int, int, int, int, int, int]]:
    """One of the walks that days follow: offsets of open interest, price and the four ratios (scaled by 10^4)."""
    rng = random.Random(f"metrics-{number}")
    state = [0, 0, 0, 0, 0]
    rows = []
    for _ in range(DAY_ROWS):
        for i, reach in enumerate((900, 40, 60, 50, 70)):
            state[i] += rng.randint(-reach, reach)
        rows.append((state[0], state[1], state[2], state[3], state[4], rng.randint(-5_000, 8_000)))
    return rows


@lru_cache(maxsize=200)
def _day_texts(symbol: str, number: int) -> tuple[MetricsText, ...]:
    rng = random.Random(f"metrics-{symbol}-{number}")
    interest = rng.randint(5_000_000, 900_000_000)  # thousandths of the base asset
    price = rng.randint(50_000, 90_000_000)  # thousandths of the quote asset
    ratios = [rng.randint(12_000, 25_000) for _ in range(3)]
    taker = rng.randint(9_000, 13_000)
    texts = []
    for oi, change, one, two, three, flow in _walk((seed(symbol) + number) % VARIANTS):
        contracts, rate = max(1, interest + oi), max(1, price + change)
        scaled = (max(100, ratios[0] + one), max(100, ratios[1] + two), max(100, ratios[2] + three), taker + flow)
        texts.append(
            MetricsText(decimal_text(contracts, 3), decimal_text(contracts * rate, 6), *(decimal_text(n, 4) for n in scaled))
        )
    return tuple(texts)


def day_texts(symbol: str, day: int) -> tuple[MetricsText, ...]:
    """The 288 rows of a day, by bar start."""
    return _day_texts(symbol, variant(symbol, day))


@lru_cache(maxsize=2_000)
def _day_csv(symbol: str, number: int) -> tuple[str, ...]:
    return tuple(f",{symbol},{text.csv()}\n" for text in _day_texts(symbol, number))


def day_csv(symbol: str, day: int) -> tuple[str, ...]:
    """The 288 CSV lines of a day without their labels."""
    return _day_csv(symbol, variant(symbol, day))


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
        f'"sumOpenInterestValue":"{text.open_interest_value}00","CMCCirculatingSupply":"20080771.00000000","timestamp":'
    )


def _taker_json(ratio: str) -> str:
    # Sold 1000 lots: then what was bought is the ratio, exactly.
    bought = decimal_text(int(ratio.replace(".", "")) * 1_000, 4)
    return f'{{"buySellRatio":"{ratio}","sellVol":"1000.0000","buyVol":"{bought}","timestamp":'


@lru_cache(maxsize=1_000)
def _day_json(endpoint: str, symbol: str, number: int) -> tuple[str, ...]:
    texts = _day_texts(symbol, number)
    if endpoint == "openInterestHist":
        return tuple(_interest_json(symbol, text) for text in texts)
    if endpoint == "topLongShortAccountRatio":
        return tuple(_ratio_json(symbol, text.top_trader_account_ratio) for text in texts)
    if endpoint == "topLongShortPositionRatio":
        return tuple(_ratio_json(symbol, text.top_trader_position_ratio) for text in texts)
    if endpoint == "globalLongShortAccountRatio":
        return tuple(_ratio_json(symbol, text.global_account_ratio) for text in texts)
    return tuple(_taker_json(text.taker_volume_ratio) for text in texts)


def day_json(endpoint: str, symbol: str, day: int) -> tuple[str, ...]:
    """The 288 REST objects of a day, open-ended: whoever sends them adds the timestamp and a brace."""
    return _day_json(endpoint, symbol, variant(symbol, day))
