"""DataFrames of a downloaded database: the recorded market, all of it and nothing else, also while a download runs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptoservice import UsageError, read_funding_rates, read_klines, read_metrics
from cryptoservice.errors import StoreError
from tests.e2e import truth
from tests.e2e.conftest import Workspace
from tests.e2e.steps import addresses, query
from tests.exchange import Market, ReplayExchange


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """February of three symbols: 5m klines, metrics and funding rates."""
    with ReplayExchange(Market.recorded()) as exchange:
        workspace = Workspace(tmp_path_factory.mktemp("frames"), addresses(exchange))
        assert workspace.define().code == 0
        assert workspace.download("--download-market-metrics").code == 0
        yield workspace


def rows_of(frame: Any) -> list[tuple[Any, ...]]:
    """Symbol, time in milliseconds and the other columns, with None for NaN."""
    times = [round(moment.timestamp() * 1000) for moment in frame.index]
    plain = frame.astype(object).where(frame.notna(), None)
    return [(symbol, time, *rest) for time, (symbol, *rest) in zip(times, plain.itertuples(index=False), strict=True)]


def test_klines_are_those_of_the_recordings(downloaded: Workspace) -> None:
    frame = read_klines(downloaded.folder / "market.db", start="2026-02-10", end="2026-02-12")
    due = [(symbol, *row) for symbol in sorted(truth.SYMBOLS) for row in truth.rows(symbol, "5m", "2026-02-10", "2026-02-12")]
    assert rows_of(frame) == due


def test_metrics_and_funding_rates_are_what_sqlite_says(downloaded: Workspace) -> None:
    database = downloaded.folder / "market.db"
    for read, view, columns in (
        (
            read_metrics,
            "metrics",
            "symbol, open_time, open_interest, open_interest_value, top_trader_account_ratio, top_trader_position_ratio, "
            "global_account_ratio, taker_volume_ratio",
        ),
        (read_funding_rates, "funding_rates", "symbol, funding_time, funding_rate, mark_price, rate_type"),
    ):
        due = query(database, f"SELECT {columns} FROM {view} ORDER BY 1, 2")
        assert len(due) >= 3 * 28 * 3
        assert rows_of(read(database)) == due


def test_metrics_join_klines_on_equality(downloaded: Workspace) -> None:
    database = downloaded.folder / "market.db"
    joined = read_klines(database).merge(read_metrics(database), on=["symbol", "open_time"])
    assert len(joined) == 3 * 28 * 288


def test_it_reads_while_a_download_runs(downloaded: Workspace, tmp_path: Path) -> None:
    with ReplayExchange(Market.recorded(), latency=0.05) as exchange:
        workspace = Workspace(tmp_path, addresses(exchange))
        assert workspace.define().code == 0
        # The API needs many requests for what one object of the archive holds, so that there are many commits.
        where = ("--universe-file", "universe.json", "--db-path", "market.db")
        running = workspace.start("universe", "download", *where, "--interval", "1m", "--kline-source", "api")
        seen: list[int] = []
        while running.poll() is None:
            try:
                seen.append(len(read_klines(tmp_path / "market.db")))
            except (UsageError, StoreError) as error:
                assert re.search("does not exist|is empty|holds no klines", error.message), (
                    "only what is said before the first commit"
                )
            time.sleep(0.02)
        assert running.wait() == 0
    assert seen == sorted(seen), "what was committed stays"
    # A symbol-day is there as a whole or not at all.
    assert all(count % 1440 == 0 for count in seen)
    assert len({count for count in seen if 0 < count < 3 * 28 * 1440}) >= 1, "it was read between two commits"
    assert len(read_klines(tmp_path / "market.db")) == 3 * 28 * 1440
