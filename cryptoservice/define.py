"""define: ask the exchange which symbols had market data on which UTC day, and write that down as universe.json."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from cryptoservice import files
from cryptoservice.binance.connection import Connection
from cryptoservice.binance.rest import TradingList
from cryptoservice.clock import Clock, check
from cryptoservice.config import NetworkConfig
from cryptoservice.days import Window, utc_day, utc_text
from cryptoservice.errors import SymbolRefused, UsageError
from cryptoservice.models import Freq, MissingReason
from cryptoservice.progress import Progress
from cryptoservice.symbols import normalise
from cryptoservice.universe import SCHEMA_VERSION, DailySnapshot, Universe, check_description

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
# Enough to find a typing error, not enough to fill a screen.
_NAMES_SHOWN = 8


@dataclass(frozen=True)
class DefineResult:
    """What `define_universe` made, and what it cost."""

    universe_file: str
    universe: Universe
    requests: dict[str, int]
    retries: int
    waited_seconds: float
    elapsed_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of stdout."""
        return {
            "universe_file": self.universe_file,
            "schema_version": SCHEMA_VERSION,
            "requested_symbols": len(self.universe.requested_symbols),
            "daily_snapshots": len(self.universe.daily_snapshots),
            "active_symbol_days": self.universe.active_symbol_days,
            "start_date": self.universe.start_date.isoformat(),
            "end_date": self.universe.end_date.isoformat(),
            "requests": self.requests,
            "retries": self.retries,
            "waited_seconds": round(self.waited_seconds, 3),
            "elapsed_seconds": round(self.elapsed_seconds, 3),
        }


def define_universe(
    symbols: Iterable[str],
    start_date: str,
    end_date: str,
    output_path: str | Path,
    *,
    force: bool = False,
    description: str | None = None,
    network: NetworkConfig | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> DefineResult:
    """Probe every requested symbol over the inclusive window of UTC days and write universe.json.

    One request for daily klines covers 499 days of a symbol. Nothing is written unless every symbol was answered for.
    Raises UsageError for bad input or an existing output without `force`, SourceError when the exchange could not be asked
    completely, SourceRefused when it refuses this address, OutputError when the file cannot be written, Interrupted when
    `stop` is set.
    """
    clock = clock or Clock()
    network = network or NetworkConfig()
    output = Path(output_path)
    started = clock.monotonic()
    names = normalise(symbols)
    window = Window.parse(start_date, end_date)
    _refuse_unfinished(window, clock.time(), "today")
    check_description(description)
    files.refuse_folder(output, "the output")
    files.clean_temps(output.absolute().parent)
    if output.exists() and not force:
        raise files.TargetExists(f"{output} exists already", hint="a universe is immutable: choose another name, or pass --force")
    files.require_place(output)

    with Connection(network, clock) as connection:
        connection.open()
        active = _probe_all(connection, names, window, network.workers.api, clock, stop)
    universe = Universe(names, window.start, window.end, _snapshots(names, window, active), utc_text(clock.time()), description)
    check(stop)
    universe.save(output, force=force)
    nothing_active = universe.nothing_active(window)
    if nothing_active:
        log.warning("%s: if that is not what you want, define it again with --force", nothing_active)
    traffic = connection.traffic
    elapsed = clock.monotonic() - started
    return DefineResult(str(output), universe, traffic.requests, traffic.retries, connection.waited_seconds, elapsed)


def _refuse_unfinished(window: Window, now: float, today_name: str) -> None:
    today = utc_day(now)
    if window.end >= today:
        raise UsageError(
            f"the end date {window.end} is not a finished UTC day ({today_name} is {today})",
            hint="a universe is immutable: end it yesterday or earlier",
        )


def _probe_all(
    connection: Connection,
    names: Sequence[str],
    window: Window,
    workers: int,
    clock: Clock,
    stop: threading.Event | None,
) -> dict[str, frozenset[date] | None]:
    """Days with a kline for each symbol; None for a symbol outside the current trading list."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="define")
    try:
        trading: TradingList = _join([pool.submit(connection.api.trading_list)], None, stop)[0]
        if trading.server_time is not None:
            _refuse_unfinished(window, trading.server_time, "for the exchange today")
        listed = [name for name in names if name in trading.symbols]
        log.info("%d of %d symbols are in the current trading list", len(listed), len(names))
        _name_the_others([name for name in names if name not in trading.symbols])
        futures = [pool.submit(_probe, connection, name, window) for name in listed]
        progress = Progress("define", "symbol-days", len(listed) * window.length, clock, connection.gauge)
        active: dict[str, frozenset[date] | None] = dict.fromkeys(names)
        try:
            active.update(zip(listed, _join(futures, progress, stop, window.length), strict=True))
        finally:
            progress.end()
        return active
    finally:
        # What waits for the limiter ends when the connection is closed, so nobody waits for it here.
        pool.shutdown(wait=False, cancel_futures=True)


def _name_the_others(unlisted: Sequence[str]) -> None:
    if unlisted:
        more = f" and {len(unlisted) - _NAMES_SHOWN} more" if len(unlisted) > _NAMES_SHOWN else ""
        log.warning("not in the current trading list, so never active: %s%s", ", ".join(unlisted[:_NAMES_SHOWN]), more)


def _join(futures: Sequence[Future[Any]], progress: Progress | None, stop: threading.Event | None, units: int = 1) -> list[Any]:
    """All results in order, each of which is progress by so many units; the first failure ends the wait."""
    pending = set(futures)
    while pending:
        check(stop)
        done, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        if progress is not None:
            progress.advance(len(done) * units)
    return [future.result() for future in futures]


def _probe(connection: Connection, symbol: str, window: Window) -> frozenset[date]:
    try:
        return frozenset(connection.api.klines(symbol, Freq.d1, window).days)
    except SymbolRefused as refused:
        log.warning("%s is listed, but its klines are refused (%s): counted as no_kline_on_date", symbol, refused.message)
        return frozenset()


def _snapshots(names: Sequence[str], window: Window, active: dict[str, frozenset[date] | None]) -> tuple[DailySnapshot, ...]:
    snapshots = []
    for day in window.days():
        present: list[str] = []
        missing: dict[str, MissingReason] = {}
        for name in names:
            days = active[name]
            if days is None:
                missing[name] = MissingReason.NOT_IN_CURRENT_TRADING_LIST
            elif day in days:
                present.append(name)
            else:
                missing[name] = MissingReason.NO_KLINE_ON_DATE
        snapshots.append(DailySnapshot(day, tuple(present), missing))
    return tuple(snapshots)
