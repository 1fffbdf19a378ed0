"""A data folder for freqtrade, made of an export folder. One file, to be copied to where it is used.

    python3 freqtrade_data.py exports user_data/data/binance --freq 5m

Klines become futures candles, and funding rates become freqtrade's funding rates. A bar that the export lacks stays out.
The default form, feather, needs pandas and pyarrow, which come with freqtrade; --format json needs nothing.
All rows of the chosen symbols are in memory at once, 48 bytes each: take many symbols in turns, with --symbols.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path

CANDLE = ("open", "high", "low", "close", "volume")
QUOTE = "USDT"
HOUR = 3_600_000  # milliseconds


class Candles:
    """The candles of one pair, in order of time: `date` in milliseconds UTC, prices in the quote and volume in the base asset."""

    def __init__(self) -> None:
        self.date = array("q")
        self.columns = {name: array("d") for name in CANDLE}

    def add(self, date: int, *values: float) -> None:
        """One more candle, later than all before."""
        if self.date and date <= self.date[-1]:
            raise ValueError(f"the rows of a symbol are not in order of time, at {date}")
        self.date.append(date)
        for column, value in zip(self.columns.values(), values, strict=True):
            column.append(value)

    def save(self, path: Path) -> None:
        """Write a .feather or .json file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        if path.suffix == ".json":
            part.write_text(json.dumps(list(zip(self.date, *self.columns.values(), strict=True)), separators=(",", ":")))
        else:
            import pandas as pd

            date = pd.Series(self.date, dtype="int64")
            frame = pd.DataFrame({"date": pd.to_datetime(date, unit="ms", utc=True).dt.as_unit("ms"), **self.columns})
            frame.to_feather(part, compression="lz4")
        part.replace(path)


def rows(files: list[Path], wanted: set[str]) -> Iterator[dict[str, str]]:
    """The rows of the wanted symbols, of all symbols if none is named, day after day."""
    for path in files:
        with path.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                if not wanted or row["symbol"] in wanted:
                    yield row


def klines(exports: Path, freq: str, wanted: set[str]) -> dict[str, Candles]:
    """The exported bars of each symbol."""
    found: dict[str, Candles] = {}
    for row in rows(sorted(exports.glob(f"klines/freq={freq}/date=*/klines.csv")), wanted):
        candles = found.setdefault(row["symbol"], Candles())
        candles.add(int(row["open_time"]), *(float(row[name]) for name in CANDLE))
    return found


def funding_rates(exports: Path, wanted: set[str]) -> dict[str, Candles]:
    """The exported rates of each symbol. freqtrade knows them by the full hour, and finds the rate in `open`."""
    found: dict[str, Candles] = {}
    for row in rows(sorted(exports.glob("funding_rates/date=*/funding_rates.csv")), wanted):
        candles = found.setdefault(row["symbol"], Candles())
        hour, rate = int(row["funding_time"]) // HOUR * HOUR, float(row["funding_rate"])
        if candles.date and candles.date[-1] == hour:
            # A special rate beside the regular one: both are paid.
            candles.columns["open"][-1] += rate
        else:
            candles.add(hour, rate, 0.0, 0.0, 0.0, 0.0)
    return found


def pair(symbol: str) -> str:
    """LINKUSDT as freqtrade names its file: LINK/USDT:USDT is LINK_USDT_USDT."""
    if not symbol.endswith(QUOTE) or symbol == QUOTE:
        raise ValueError(f"{symbol} is not settled in {QUOTE}")
    return f"{symbol.removesuffix(QUOTE)}_{QUOTE}_{QUOTE}"


def main() -> int:
    """Write one file for each symbol and kind; 1 if the export has no klines of that interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", type=Path, help="the export folder")
    parser.add_argument("datadir", type=Path, help="freqtrade's folder of the exchange: user_data/data/binance")
    parser.add_argument("--freq", default="5m", help="the exported interval (default 5m)")
    parser.add_argument("--symbols", default="", help="only these, separated by commas")
    parser.add_argument("--format", choices=("feather", "json"), default="feather", help="dataformat_ohlcv of freqtrade")
    args = parser.parse_args()
    wanted = set(filter(None, args.symbols.split(",")))
    candles = klines(args.exports, args.freq, wanted)
    if not candles:
        print(f"no klines of {args.freq} in {args.exports}", file=sys.stderr)
        return 1
    kinds = {f"{args.freq}-futures": candles, "1h-funding_rate": funding_rates(args.exports, wanted)}
    for kind, symbols in kinds.items():
        for symbol, found in symbols.items():
            found.save(args.datadir / "futures" / f"{pair(symbol)}-{kind}.{args.format}")
        print(f"{kind}: {sum(len(found.date) for found in symbols.values()):,} rows of {len(symbols)} symbols")
    return 0


if __name__ == "__main__":
    sys.exit(main())
