"""The recorded files, read once per process and shared by every market (read-only)."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"
KLINE_SYMBOLS = ("ALGOUSDT", "AVAXUSDT", "LINKUSDT")
KLINE_HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
FUNDING_HEADER = "calc_time,funding_interval_hours,last_funding_rate"
METRICS_HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)
# The one original archive object, served as it was published.
ORIGINAL_FUNDING_OBJECT = "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-04.zip"


def _member(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0]).decode()


@cache
def kline_csv(symbol: str) -> str:
    """The CSV text of the recorded month of 1m klines (February 2026), header included."""
    return _member(RECORDINGS / "klines_1m" / f"{symbol}-1m-2026-02.zip")


@lru_cache(maxsize=1)
def exchange_info() -> dict[str, Any]:
    """The recorded exchangeInfo body. Shared: copy before changing."""
    path = RECORDINGS / "exchange_info" / "exchangeInfo.2026-07-03.json.gz"
    body: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return body


@lru_cache(maxsize=1)
def funding() -> dict[str, tuple[dict[str, Any], ...]]:
    """Recorded funding rates by symbol, as REST sends them, ascending; mark price "" where it was not recorded."""
    folder = RECORDINGS / "funding_rates"
    rows: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("history.*.csv")):
        for line in csv.DictReader(io.StringIO(path.read_text())):
            row = _funding_row(line["symbol"], line["timestamp"], line["funding_rate"])
            rows.setdefault(line["symbol"], []).append(row)
    for path in sorted(folder.glob("*-fundingRate-*.zip")):
        symbol = path.name.split("-", maxsplit=1)[0]
        for line in csv.DictReader(io.StringIO(_member(path))):
            rows.setdefault(symbol, []).append(_funding_row(symbol, line["calc_time"], line["last_funding_rate"]))
    for path in sorted(folder.glob("rest.*.json")):
        for row in json.loads(path.read_text()):
            rows.setdefault(row["symbol"], []).append(row)
    return {symbol: tuple(sorted(found, key=lambda row: int(row["fundingTime"]))) for symbol, found in rows.items()}


def _funding_row(symbol: str, time: str, rate: str) -> dict[str, Any]:
    return {"symbol": symbol, "fundingTime": int(time), "fundingRate": rate, "markPrice": ""}


@lru_cache(maxsize=1)
def original_funding_object() -> tuple[bytes, bytes]:
    """Body and CHECKSUM of the one original archive object."""
    path = RECORDINGS / "funding_rates" / "BTCUSDT-fundingRate-2026-04.zip"
    return path.read_bytes(), path.with_name(path.name + ".CHECKSUM").read_bytes()
