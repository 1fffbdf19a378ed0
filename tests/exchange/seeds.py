"""Deterministic numbers from names: the same on every machine and in every process."""

from __future__ import annotations

import zlib
from functools import lru_cache

# Synthetic days come in this many variants per symbol, used in turn. A prime that divides no month, quarter
# or year length: neighbouring days, weeks and months never hold the same numbers at the same place.
VARIANTS = 11


@lru_cache(maxsize=100_000)
def seed(text: str) -> int:
    """A 32-bit number for a text (hash() is salted per process, so it cannot serve)."""
    number = zlib.crc32(text.encode())
    # crc32 of similar names is similar: one round of a multiplicative mixer spreads it.
    number = ((number ^ (number >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    number = ((number ^ (number >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return number ^ (number >> 16)


def variant(symbol: str, day: int) -> int:
    """Which variant a symbol's day is."""
    return (seed(symbol) + day) % VARIANTS


def decimal_text(number: int, decimals: int) -> str:
    """A scaled whole number as decimal text: (1234, 2) -> "12.34"."""
    if not decimals:
        return str(number)
    sign, number = ("-", -number) if number < 0 else ("", number)
    scale = 10**decimals
    return f"{sign}{number // scale}.{number % scale:0{decimals}d}"
