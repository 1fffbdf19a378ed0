"""A program to be timed: the 1m klines of some symbols as a DataFrame, by the package or by pandas alone.

python to_dataframe.py ours|pandas DATABASE SYMBOL [SYMBOL ...]

It prints the seconds without those of the start, and what the DataFrame holds, as a JSON object.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Sequence

import pandas

from benchmarks.truth import KLINE_COLUMNS
from cryptoservice import read_klines


def read_sql(database: str, symbols: Sequence[str]) -> pandas.DataFrame:
    """What `read_klines` gives, as one would write it without this package."""
    query = (
        f"SELECT {', '.join(KLINE_COLUMNS)}, symbol FROM klines WHERE freq = '1m' AND symbol IN ({', '.join('?' * len(symbols))})"
    )
    with sqlite3.connect(database) as db:
        frame = pandas.read_sql(f"{query} ORDER BY symbol, open_time", db, params=list(symbols))
    frame["open_time"] = pandas.to_datetime(frame["open_time"], unit="ms", utc=True)
    return frame.set_index("open_time")


def main(which: str, database: str, *symbols: str) -> None:
    """Read them once, and print what came out."""
    started = time.perf_counter()
    frame = read_klines(database, symbols, freq="1m") if which == "ours" else read_sql(database, symbols)
    seconds = time.perf_counter() - started
    times = frame.index.as_unit("ms").asi8
    sums = {name: float(frame[name].sum()) for name in KLINE_COLUMNS[1:] if name != "trades"}
    found = {"rows": len(frame), "times": int(times.sum()), "trades": int(frame["trades"].sum()), "amounts": list(sums.values())}
    sorted_too = bool((frame["symbol"].astype(object).shift().fillna("") <= frame["symbol"].astype(object)).all())
    print(json.dumps({"seconds": seconds, "sorted": sorted_too, **found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
