"""The klines of a contract that was settled: from then on the exchange repeats the last price in bars without a trade."""

from __future__ import annotations

from .calendar import DAY_MINUTES, MINUTE_MS
from .klines import Bar, Pair, Scale, Series, TextCache, holds, json_pair, merged

_texts = TextCache(bars=100_000)


class SettledSeries:
    """Another series up to the minute of settlement, flat bars afterwards (docs/wire.md, klines)."""

    def __init__(self, traded: Series, settled_ms: int, last_day: int | None) -> None:
        """settled_ms: the first minute without trades, epoch milliseconds. last_day: the last flat day, None: no end."""
        self.symbol = traded.symbol
        self.first_day = traded.first_day
        self.last_day = last_day
        self.scale: Scale = traded.scale
        self.traded = traded
        self.settled_ms = settled_ms
        self._day, self._minute = divmod(settled_ms // MINUTE_MS, DAY_MINUTES)
        before = divmod(settled_ms // MINUTE_MS - 1, DAY_MINUTES)
        if settled_ms % MINUTE_MS or not holds(traded, before[0]):
            raise ValueError("a symbol is settled on a full minute, and trades until the minute before")
        price = traded.minute_bars(before[0], before[1], 1)[0].close
        self._flat = Bar(price, price, price, price, 0, 0, 0, 0, 0)

    def key(self, day: int) -> tuple[object, ...]:
        """Days before the settlement are those of the other series, days after it are all the same."""
        if day < self._day:
            return self.traded.key(day)
        if day == self._day and self._minute:
            return ("settled", self._minute, self._flat.close, self.traded.key(day))
        return ("flat", self.symbol, self.scale, self._flat.close)

    def pairs(self, minutes: int, day: int) -> list[Pair]:
        """All bars of a day as CSV text."""
        if day < self._day:
            return self.traded.pairs(minutes, day)
        key = ("csv", minutes, self.key(day))
        found = _texts.get(key)
        return found if found is not None else _texts.put(key, self._made(minutes, day))

    def json_pairs(self, minutes: int, day: int) -> list[Pair]:
        """All bars of a day as REST text."""
        if day < self._day:
            return self.traded.json_pairs(minutes, day)
        key = ("json", minutes, self.key(day))
        found = _texts.get(key)
        return found if found is not None else _texts.put(key, [json_pair(pair) for pair in self._made(minutes, day)])

    def minute_bars(self, day: int, first: int, count: int) -> list[Bar]:
        """So many 1m bars of a day."""
        if day < self._day:
            return self.traded.minute_bars(day, first, count)
        after = min(first + count, DAY_MINUTES)
        until = min(max(self._minute if day == self._day else 0, first), after)
        bars = self.traded.minute_bars(day, first, until - first) if until > first else []
        return bars + [self._flat] * (after - until)

    def _made(self, minutes: int, day: int) -> list[Pair]:
        if day > self._day:
            return [self.scale.pair(self._flat)] * (DAY_MINUTES // minutes)
        bars = self.minute_bars(day, 0, DAY_MINUTES)
        return [self.scale.pair(merged(bars[i : i + minutes])) for i in range(0, DAY_MINUTES, minutes)]
