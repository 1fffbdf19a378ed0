"""define: ask the exchange which symbols had market data on which UTC day, and write that down as universe.json."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

from cryptoservice import files
from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import NetworkConfig
from cryptoservice.days import Window, utc_text
from cryptoservice.define.probe import Probe, refuse_unfinished
from cryptoservice.define.result import DefineResult
from cryptoservice.errors import Remedy
from cryptoservice.reasons import MissingReason
from cryptoservice.universe.file import check_description, save
from cryptoservice.universe.model import DailySnapshot, Universe
from cryptoservice.universe.notices import nothing_active_notice
from cryptoservice.universe.symbols import normalise

log = logging.getLogger(__name__)


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
    refuse_unfinished(window, clock.time(), "today")
    check_description(description)
    files.refuse_folder(output, "the output")
    files.clean_temps(output.absolute().parent)
    if output.exists() and not force:
        raise files.TargetExists(f"{output} exists already", hint=Remedy.REPLACE_UNIVERSE)
    files.require_place(output)

    with BinanceClient(network, clock) as client:
        client.open()
        active = Probe(client, window, network.workers.api, clock, stop).active_days(names)
    snapshots = _snapshots(names, window, active)
    universe = Universe(names, window.start, window.end, snapshots, utc_text(clock.time()), description)
    raise_if_stopped(stop)
    save(universe, output, force=force)
    nothing_active = nothing_active_notice(universe, window)
    if nothing_active:
        log.warning("%s: if that is not what you want, define it again and let the file be replaced", nothing_active)
    return DefineResult(
        universe_file=str(output),
        universe=universe,
        requests=client.traffic.requests,
        retries=client.traffic.retries,
        waited_seconds=round(client.waited_seconds, 3),
        elapsed_seconds=round(clock.monotonic() - started, 3),
    )


def _snapshots(names: Sequence[str], window: Window, active: Mapping[str, frozenset[date] | None]) -> tuple[DailySnapshot, ...]:
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
