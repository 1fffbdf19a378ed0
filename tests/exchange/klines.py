"""Kline series: one symbol's bars at any interval, exact, as text ready for CSV and JSON.

A bar's text is a pair (head, tail): head is "open,high,low,close,volume", tail is "quote_volume,count,taker,taker_quote".
Times are added by whoever sends it, so a day's texts can be shared by all days that hold the same numbers.
"""

from __future__ import annotations

import random
import threading
from functools import cache
from typing import Literal, NamedTuple, Protocol

from .calendar import DAY_MINUTES, MINUTE_MS
from .recordings import kline_csv
from .seeds import VARIANTS, decimal_text, seed

Pair = tuple[str, str]


class Bar(NamedTuple):
    """One bar in scaled whole numbers: prices in ticks, volumes in lots, quote volumes in tick-lots."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    quote: int
    trades: int
    taker: int
    taker_quote: int


class Scale(NamedTuple):
    """Decimals of a symbol's columns."""

    price: int
    volume: int
    quote: int

    def pair(self, bar: Bar) -> Pair:
        """The text of a bar."""
        p, v, q = self.price, self.volume, self.quote
        head = ",".join(decimal_text(n, p) for n in bar[:4]) + "," + decimal_text(bar.volume, v)
        tail = f"{decimal_text(bar.quote, q)},{bar.trades},{decimal_text(bar.taker, v)},{decimal_text(bar.taker_quote, q)}"
        return head, tail


def merged(bars: list[Bar]) -> Bar:
    """One bar of consecutive ones: first open, highest high, lowest low, last close, exact sums."""
    return Bar(
        bars[0].open, max(b.high for b in bars), min(b.low for b in bars), bars[-1].close,
        sum(b.volume for b in bars), sum(b.quote for b in bars), sum(b.trades for b in bars),
        sum(b.taker for b in bars), sum(b.taker_quote for b in bars),
    )  # fmt: skip


def json_pair(pair: Pair) -> Pair:
    """A bar's text as the inside of a REST row: every number but the count is a string."""
    quote, count, rest = pair[1].split(",", 2)
    return '"' + pair[0].replace(",", '","') + '"', f'"{quote}",{count},"' + rest.replace(",", '","') + '"'


class Series(Protocol):
    """A symbol's klines. Every day from first_day to last_day (None: no end) is there in full."""

    symbol: str
    first_day: int
    last_day: int | None
    scale: Scale

    def pairs(self, minutes: int, day: int) -> list[Pair]:
        """All bars of a day at an interval of so many minutes, as CSV text."""

    def json_pairs(self, minutes: int, day: int) -> list[Pair]:
        """The same as REST text."""

    def minute_bars(self, day: int, first: int, count: int) -> list[Bar]:
        """So many 1m bars of a day from its minute `first` on."""

    def key(self, day: int) -> tuple[object, ...]:
        """The same for all days that hold the same numbers."""


def holds(series: Series, day: int) -> bool:
    """Whether the series has bars on a day."""
    return day >= series.first_day and (series.last_day is None or day <= series.last_day)


def forming(series: Series, open_ms: int, now_ms: int) -> Pair:
    """The REST text of the bar that opened at open_ms, as far as it has come at now_ms.

    The minute still running counts with its opening price and nothing traded: different from the finished bar.
    """
    day, first = divmod(open_ms // MINUTE_MS, DAY_MINUTES)
    bars = series.minute_bars(day, first, (now_ms - open_ms) // MINUTE_MS + 1)
    price = bars[-1].open
    bars[-1] = Bar(price, price, price, price, 0, 0, 0, 0, 0)
    return json_pair(series.scale.pair(merged(bars)))


class TextCache:
    """Lists of bar texts, bounded by the number of bars they hold; the oldest go first.

    Looked up once per day of every answer, so without a lock: a dict's get is atomic.
    """

    def __init__(self, bars: int) -> None:
        self._left = bars
        self._lists: dict[tuple[object, ...], list[Pair]] = {}
        self._lock = threading.Lock()

    def get(self, key: tuple[object, ...]) -> list[Pair] | None:
        """The list of that key, if it is still here."""
        return self._lists.get(key)

    def put(self, key: tuple[object, ...], pairs: list[Pair]) -> list[Pair]:
        """Keep a list, forgetting the oldest ones."""
        with self._lock:
            if key not in self._lists:
                self._lists[key] = pairs
                self._left -= len(pairs)
                while self._left < 0 and len(self._lists) > 1:
                    self._left += len(self._lists.pop(next(iter(self._lists))))
        return pairs


# Shared by all markets of a process: the texts depend on the symbol's name alone. About 300 bytes a bar.
_texts = TextCache(bars=400_000)


class RecordedSeries:
    """The recorded month of a symbol: 1m text as recorded, coarser bars summed from it exactly."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        lines = kline_csv(symbol).splitlines()[1:]
        self._minutes: list[Pair] = []
        for line in lines:
            _, o, h, low, c, v, _, tail = line.split(",", 7)
            self._minutes.append((f"{o},{h},{low},{c},{v}", tail.rsplit(",", 1)[0]))
        self.first_day = int(lines[0].split(",", 1)[0]) // (MINUTE_MS * DAY_MINUTES)
        self.last_day: int | None = self.first_day + len(lines) // DAY_MINUTES - 1
        fields = [line.split(",") for line in lines]
        self.scale = Scale(_decimals(fields, 1), _decimals(fields, 5), _decimals(fields, 7))
        self._lock = threading.Lock()
        self._bars: list[Bar] = []

    def key(self, day: int) -> tuple[object, ...]:
        """Each recorded day is its own."""
        return ("recorded", self.symbol, day)

    def pairs(self, minutes: int, day: int) -> list[Pair]:
        """All bars of a day as CSV text."""
        key = ("recorded", self.symbol, minutes, day)
        if (found := _texts.get(key)) is not None:
            return found
        return _texts.put(key, self._made(minutes, day))

    def _made(self, minutes: int, day: int) -> list[Pair]:
        if minutes == 1:
            start = (day - self.first_day) * DAY_MINUTES
            return self._minutes[start : start + DAY_MINUTES]
        bars = self.minute_bars(day, 0, DAY_MINUTES)
        pair = self.scale.pair
        return [pair(merged(bars[i : i + minutes])) for i in range(0, DAY_MINUTES, minutes)]

    def json_pairs(self, minutes: int, day: int) -> list[Pair]:
        """All bars of a day as REST text."""
        key = ("recorded-json", self.symbol, minutes, day)
        found = _texts.get(key)
        return found if found is not None else _texts.put(key, [json_pair(p) for p in self._made(minutes, day)])

    def minute_bars(self, day: int, first: int, count: int) -> list[Bar]:
        """So many 1m bars of a day."""
        with self._lock:
            if not self._bars:
                self._bars = [self._bar(pair) for pair in self._minutes]
        start = (day - self.first_day) * DAY_MINUTES + first
        return self._bars[start : start + count]

    def _bar(self, pair: Pair) -> Bar:
        p, v, q = self.scale
        o, h, low, c, volume = pair[0].split(",")
        quote, count, taker, taker_quote = pair[1].split(",")
        return Bar(
            _scaled(o, p), _scaled(h, p), _scaled(low, p), _scaled(c, p), _scaled(volume, v),
            _scaled(quote, q), int(count), _scaled(taker, v), _scaled(taker_quote, q),
        )  # fmt: skip


@cache
def recorded_series(symbol: str) -> RecordedSeries:
    """The recorded series of a symbol, read once per process."""
    return RecordedSeries(symbol)


def _decimals(fields: list[list[str]], column: int) -> int:
    return max(len(row[column].partition(".")[2]) for row in fields)


def _scaled(text: str, decimals: int) -> int:
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(decimals, "0"))


class _Shape(NamedTuple):
    """A bar of a day's shape: prices as tick offsets from the day's base, sums that let any base be put in later."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    moment: int  # sum of volume * (typical offset)
    trades: int
    taker: int
    taker_moment: int


_SHAPES = 5
Activity = Literal["usual", "thin", "flat"]
"""How a synthetic market trades: "thin" in about three minutes a day, "flat" always the same at one price."""
# The share of minutes without a trade.
_WITHOUT_TRADE = {"usual": 0.004, "thin": 0.998}


@cache
def _shape(number: int, minutes: int, activity: Activity) -> list[_Shape]:
    """One of the walks that synthetic days follow, merged to an interval. Shared by all symbols."""
    if minutes > 1:
        fine = _shape(number, 1, activity)
        return [_Shape(*_merge_shapes(fine[i : i + minutes])) for i in range(0, DAY_MINUTES, minutes)]
    if activity == "flat":
        return [_Shape(0, 0, 0, 0, 2, 0, 2, 1, 0)] * DAY_MINUTES
    rng = random.Random(f"shape-{number}")
    shapes: list[_Shape] = []
    price = 0
    for _ in range(DAY_MINUTES):
        open_ = price
        if rng.random() < _WITHOUT_TRADE[activity]:
            shapes.append(_Shape(open_, open_, open_, open_, 0, 0, 0, 0, 0))
            continue
        price += rng.randint(-12, 12) - (1 if price > 400 else -1 if price < -400 else 0)
        volume = rng.randint(1, 99_999)
        taker = rng.randint(0, volume)
        high, low = max(open_, price) + rng.randint(0, 6), min(open_, price) - rng.randint(0, 6)
        middle = (open_ + price) // 2
        shapes.append(_Shape(open_, high, low, price, volume, volume * middle, rng.randint(1, 400), taker, taker * middle))
    return shapes


def _merge_shapes(shapes: list[_Shape]) -> Bar:
    return merged([Bar(*shape) for shape in shapes])


class SyntheticSeries:
    """Made-up klines of a symbol: any interval in closed form, so a year of daily bars costs no minutes."""

    def __init__(self, symbol: str, first_day: int, last_day: int | None, activity: Activity = "usual") -> None:
        self.symbol = symbol
        self._activity = activity
        self._seed = seed(symbol)
        self.first_day = first_day
        self.last_day = last_day
        rng = random.Random(f"series-{symbol}")
        price, volume = rng.randint(1, 4), rng.randint(0, 3)
        self.scale = Scale(price, volume, price + volume)
        middle = rng.randint(20_000, 90_000)
        # (shape, base price in ticks, volume multiplier) of each variant
        self._days = [
            ((self._seed + i) % _SHAPES, middle + rng.randint(-3_000, 3_000), rng.randint(1, 9)) for i in range(VARIANTS)
        ]

    def key(self, day: int) -> tuple[object, ...]:
        """Synthetic days come in a few variants."""
        return ("synthetic", self._activity, self.symbol, (self._seed + day) % VARIANTS)

    def pairs(self, minutes: int, day: int) -> list[Pair]:
        """All bars of a day as CSV text."""
        number = (self._seed + day) % VARIANTS
        key = ("synthetic", self._activity, self.symbol, minutes, number)
        if (found := _texts.get(key)) is not None:
            return found
        return _texts.put(key, self._made(minutes, number))

    def _made(self, minutes: int, number: int) -> list[Pair]:
        shape, base, times = self._days[number]
        pair = self.scale.pair
        return [pair(_placed(s, base, times)) for s in _shape(shape, minutes, self._activity)]

    def json_pairs(self, minutes: int, day: int) -> list[Pair]:
        """All bars of a day as REST text."""
        number = (self._seed + day) % VARIANTS
        key = ("synthetic-json", self._activity, self.symbol, minutes, number)
        found = _texts.get(key)
        return found if found is not None else _texts.put(key, [json_pair(p) for p in self._made(minutes, number)])

    def minute_bars(self, day: int, first: int, count: int) -> list[Bar]:
        """So many 1m bars of a day."""
        shape, base, times = self._days[(self._seed + day) % VARIANTS]
        return [_placed(s, base, times) for s in _shape(shape, 1, self._activity)[first : first + count]]


def _placed(s: _Shape, base: int, times: int) -> Bar:
    """A shape at a base price (ticks) with multiplied volumes. Linear, so merging before or after gives the same."""
    return Bar(
        base + s.open, base + s.high, base + s.low, base + s.close, s.volume * times,
        times * (s.volume * base + s.moment), s.trades * times, s.taker * times, times * (s.taker * base + s.taker_moment),
    )  # fmt: skip
