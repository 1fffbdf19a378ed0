"""preview: what a download would fetch, without fetching it (`universe download --plan`)."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptoservice.binance.connection import DATA_POLICY, FUNDING_POLICY, Connection
from cryptoservice.clock import Clock, check
from cryptoservice.config import NetworkConfig, WindowBounds
from cryptoservice.days import Window
from cryptoservice.feeds import Feed
from cryptoservice.models import Dataset, Freq
from cryptoservice.plan import KlineSource, Source
from cryptoservice.store import Store
from cryptoservice.universe import UniverseFile
from cryptoservice.worklist import Worklist, make_feeds

log = logging.getLogger(__name__)

# A request to the archive, connection kept alive, takes about this long over the public network.
_ARCHIVE_SECONDS = 0.15


@dataclass
class Share:
    """What one dataset would ask of one source."""

    dataset: Dataset
    source: Source
    symbol_days: int = 0
    fetches: int = 0
    requests: int = 0
    weight: int = 0
    rows: int = 0
    bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """An entry of `shares`."""
        return {
            "dataset": self.dataset.value,
            "source": self.source.value,
            "symbol_days": self.symbol_days,
            "fetches": self.fetches,
            "requests": self.requests,
            "weight": self.weight,
            "rows": self.rows,
            "bytes": self.bytes,
        }


@dataclass(frozen=True)
class PreviewResult:
    """First choices only: a day that its first source lacks goes on to the next, at a cost that nobody knows before."""

    window: Window
    interval: Freq
    already_complete: int
    without_request: int
    """Symbol-days that are settled without asking anybody, or cannot be asked for yet."""
    shares: tuple[Share, ...]
    minutes: float
    """At the limits in force, and the archive at its usual speed."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of stdout."""
        return {
            "window": {"start_date": self.window.start.isoformat(), "end_date": self.window.end.isoformat()},
            "interval": self.interval.value,
            "already_complete": self.already_complete,
            "symbol_days": sum(share.symbol_days for share in self.shares) + self.without_request,
            "without_request": self.without_request,
            "requests": sum(share.requests for share in self.shares),
            "archive_objects": sum(share.fetches for share in self.shares if share.source is not Source.REST),
            "weight": sum(share.weight for share in self.shares if share.dataset is Dataset.KLINES),
            "rows": sum(share.rows for share in self.shares),
            "bytes": sum(share.bytes for share in self.shares),
            "minutes": round(self.minutes, 1),
            "shares": [share.to_dict() for share in self.shares],
        }


def preview_download(
    universe_file: str | Path,
    db_path: str | Path,
    *,
    interval: Freq | str = Freq.m1,
    window: WindowBounds | None = None,
    download_market_metrics: bool = False,
    incremental: bool = True,
    kline_source: KlineSource = KlineSource.AUTO,
    network: NetworkConfig | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> PreviewResult:
    """The same arguments as download, the same errors for bad input; sends nothing and writes nothing."""
    clock = clock or Clock()
    network = network or NetworkConfig()
    freq = Freq.parse(interval)
    universe = UniverseFile.load(Path(universe_file)).universe
    bounds = window or WindowBounds()
    days = universe.subwindow(bounds.start_date, bounds.end_date)
    active = universe.active_days(days)
    nothing_active = universe.nothing_active(days)
    if nothing_active:
        log.warning("nothing to do: %s", nothing_active)
    database = Path(db_path)
    with Connection(network, clock) as connection:
        feeds = make_feeds(connection, freq, kline_source, clock.time(), metrics=download_market_metrics)
        if database.exists():
            with Store.read(database) as store:
                worklist = Worklist(store, feeds, active, days, incremental=incremental)
        else:
            worklist = Worklist(None, feeds, active, days, incremental=incremental)
    shares: dict[tuple[Dataset, Source], Share] = {}
    without_request = 0
    for feed, symbol, wanted in worklist.feeds_and_days():
        check(stop)
        for part in feed.split(wanted):
            steps = {case.day: step for case in feed.cases(part) if isinstance(step := feed.step(case, {}), Source)}
            without_request += len(part) - len(steps)
            _add(shares, feed, symbol, steps)
    order = [(dataset, source) for dataset in Dataset for source in Source]
    parts = tuple(shares[key] for key in order if key in shares)
    settled = sum(worklist.settled.values())
    return PreviewResult(days, freq, settled, without_request, parts, _minutes(parts, network))


def _add(shares: dict[tuple[Dataset, Source], Share], feed: Feed, symbol: str, steps: Any) -> None:
    for fetch in feed.group(symbol, steps):
        share = shares.setdefault((feed.dataset, fetch.source), Share(feed.dataset, fetch.source))
        cost = feed.cost(fetch)
        share.symbol_days += len(fetch.days)
        share.fetches += 1
        share.requests += cost.requests
        share.weight += cost.weight
        share.rows += cost.rows
        share.bytes += cost.bytes


def _minutes(shares: tuple[Share, ...], network: NetworkConfig) -> float:
    """The slowest of what runs side by side: each limit of the API, and the archive."""
    budgets = {
        Dataset.KLINES: network.rates.max_weight_per_minute,
        Dataset.METRICS: (DATA_POLICY.max_weight or 1) * 60 / DATA_POLICY.window,
        Dataset.FUNDING_RATES: (FUNDING_POLICY.max_weight or 1) * 60 / FUNDING_POLICY.window,
    }
    rates = network.rates
    rest = [share for share in shares if share.source is Source.REST]
    spacing = sum(share.requests for share in rest) * rates.api_request_delay / 60
    requests = sum(share.requests for share in shares if share.source is not Source.REST)
    archive = requests * max(rates.vision_request_delay, _ARCHIVE_SECONDS / network.workers.vision) / 60
    return max([archive, spacing, *(share.weight / budgets[share.dataset] for share in rest)])


def preview_text(result: PreviewResult) -> str:
    """The same as a table for people."""
    header = ("dataset", "source", "symbol-days", "requests", "weight", "rows", "MB")
    rows = [
        (
            share.dataset.value,
            share.source.value,
            f"{share.symbol_days:,}",
            f"{share.requests:,}",
            f"{share.weight:,}",
            f"{share.rows:,}",
            f"{share.bytes / 1e6:,.1f}",
        )
        for share in result.shares
    ]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = []
    for row in (header, *rows):
        names = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        figures = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join((*names, *figures)))
    lines.append(f"{result.already_complete:,} symbol-days are settled already")
    length = f"about {result.minutes:,.0f} minutes" if result.minutes >= 1 else "less than a minute"
    lines.append(f"{length} at the limits in force")
    return "\n".join(lines) + "\n"
