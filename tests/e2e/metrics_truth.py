"""What stored metrics and funding rates must be: from what the exchange serves, without any code of the product."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from tests.e2e import truth
from tests.e2e.steps import query
from tests.exchange import Market, RecordedRequest, ReplayExchange

FIVE = 5 * truth.MINUTE
HOUR = 60 * truth.MINUTE
HEADER = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)
COLUMNS = (
    "symbol", "open_time", "open_interest", "open_interest_value", "top_trader_account_ratio", "top_trader_position_ratio",
    "global_account_ratio", "taker_volume_ratio",
)  # fmt: skip
FUNDING_COLUMNS = ("symbol", "funding_time", "funding_rate", "mark_price", "rate_type")

Row = tuple[Any, ...]
Spans = Iterable[tuple[int, int]]


class Line(NamedTuple):
    """One line of the ledger."""

    status: str
    reason: str | None
    rows: int
    expected_rows: int
    source: str | None


def metrics(market: Market, symbol: str, first: str, last: str, holes: Spans = ()) -> list[Row]:
    """Rows of the days first to last by bar start; `holes` are [start, end) milliseconds that nobody has."""
    known = market.metrics_rows(symbol, truth.moment(first), truth.moment(last) + truth.DAY)
    return [(at, *known[at]) for at in sorted(known) if not any(start <= at < end for start, end in holes)]


def funding(market: Market, symbol: str, first: str, last: str) -> list[Row]:
    """Funding rows of the days first to last: time, rate, mark price, rate type."""
    wire = market.funding_rows(symbol, truth.moment(first), truth.moment(last) + truth.DAY)
    rows = [(int(row["fundingTime"]), _number(row["fundingRate"]), _number(row["markPrice"]), _kind(row)) for row in wire]
    return sorted(rows, key=lambda row: (row[0], row[3]))


def _number(text: str) -> float | None:
    return float(Decimal(text)) if text else None


def _kind(row: dict[str, Any]) -> str:
    return str(row.get("rateType", "Regular"))


def stored_metrics(database: Path, symbol: str) -> list[Row]:
    """Stored metrics of a symbol, in the shape of `metrics`."""
    return query(database, f"SELECT {', '.join(COLUMNS[1:])} FROM metrics WHERE symbol = ? ORDER BY open_time", symbol)


def stored_funding(database: Path, symbol: str) -> list[Row]:
    """Stored funding rates of a symbol, in the shape of `funding`."""
    sql = f"SELECT {', '.join(FUNDING_COLUMNS[1:])} FROM funding_rates WHERE symbol = ? ORDER BY funding_time, rate_type"
    return query(database, sql, symbol)


def ledger(database: Path, dataset: str) -> dict[tuple[str, str], Line]:
    """Ledger lines of a dataset by symbol and day."""
    sql = "SELECT symbol, date, status, reason, rows, expected_rows, source FROM symbol_days WHERE dataset = ?"
    return {(symbol, day): Line(*rest) for symbol, day, *rest in query(database, sql, dataset)}


def assert_ledgers_agree(database: Path) -> None:
    """Every ledger line counts the rows that are really there, and no row is without a line."""
    for dataset, moment in (("klines", "open_time"), ("metrics", "open_time"), ("funding_rates", "funding_time")):
        counted = query(database, f"SELECT symbol, date({moment} / 1000, 'unixepoch'), count(*) FROM {dataset} GROUP BY 1, 2")
        listed = query(
            database, "SELECT symbol, date, sum(rows) FROM symbol_days WHERE dataset = ? AND rows GROUP BY 1, 2", dataset
        )
        assert sorted(counted) == sorted(listed), dataset


def assert_holds(database: Path, market: Market, symbol: str, first: str, last: str) -> None:
    """Metrics and funding rates of a symbol are the truth of that window, nothing more and nothing less."""
    assert stored_metrics(database, symbol) == metrics(market, symbol, first, last), symbol
    assert stored_funding(database, symbol) == funding(market, symbol, first, last), symbol


def key(symbol: str, day: str) -> str:
    """The archive's name of a day's metrics."""
    return f"data/futures/um/daily/metrics/{symbol}/{symbol}-metrics-{day}.zip"


def is_metrics(name: str) -> bool:
    """Whether an archive key is one of metrics."""
    return "/metrics/" in name


def label(at: int) -> str:
    """Milliseconds as the archive writes them."""
    return datetime.fromtimestamp(at // 1000, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def line(symbol: str, at: int, values: Iterable[Any]) -> str:
    """One CSV line, labelled with `at`; None is blank."""
    texts = ["" if value is None else format(Decimal(str(value)), "f") for value in values]
    return ",".join([label(at), symbol, *texts])


def text(symbol: str, rows: Iterable[Row], shift: int) -> str:
    """A metrics file whose labels stand so many milliseconds after the start of their bar."""
    return "\n".join([HEADER, *(line(symbol, row[0] + shift, row[1:]) for row in rows)]) + "\n"


def put(market: Market, symbol: str, day: str, content: str) -> None:
    """Let the archive serve this text as a day's metrics."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{symbol}-metrics-{day}.csv", content)
    market.replace_object(key(symbol, day), buffer.getvalue())


def count(exchange: ReplayExchange, wanted: Callable[[RecordedRequest], object]) -> int:
    """How many requests are so."""
    return sum(1 for request in exchange.requests if wanted(request))
