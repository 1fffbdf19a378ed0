"""define: ask the exchange which symbols had market data on which UTC day, and write that down as universe.json."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from cryptoservice import files
from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock, raise_if_stopped
from cryptoservice.config import NetworkConfig, require_controls, require_flags, require_kind
from cryptoservice.days import Window, utc_text
from cryptoservice.define.listed import ListedSymbols, location_advice
from cryptoservice.define.probe import Probe, refuse_unfinished
from cryptoservice.define.result import DefineResult
from cryptoservice.define.snapshots import snapshots_of
from cryptoservice.errors import Remedy
from cryptoservice.progress import Report
from cryptoservice.universe.file import check_description, save
from cryptoservice.universe.model import Listing, Universe
from cryptoservice.universe.selection import Selection
from cryptoservice.universe.symbols import ALL, normalise

log = logging.getLogger(__name__)

# Enough to find a typing error, not enough to fill a screen.
_NAMES_SHOWN = 8


def define_universe(
    symbols: Iterable[str],
    start_date: str | date,
    end_date: str | date,
    output_path: str | Path | None,
    *,
    force: bool = False,
    description: str | None = None,
    listing: Listing | str = Listing.EXCHANGE,
    selection: Selection | None = None,
    network: NetworkConfig | None = None,
    progress: Report | None = None,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
) -> DefineResult:
    """Find the days of every requested symbol over the inclusive window of UTC days and write universe.json.

    A day is text (YYYY-MM-DD), a date, or a datetime or pandas Timestamp at midnight UTC. `symbols` may be "all" alone: every
    symbol of the listing. By the exchange's list a day is active when it has a daily kline, by the archive's listing when that
    has trades; docs/sources.md compares the two. With a `selection` only the symbols with the highest quote volume before each
    rebalance day are active. One request for daily klines covers 499 days of a symbol. Nothing is written unless every symbol
    was answered for, and without an `output_path` the result alone holds the universe.

    Raises UsageError for bad input or an existing output without `force`, SourceError when a source could not be asked
    completely, SourceRefused when it refuses this address, OutputError when the file cannot be written, Interrupted when
    `stop` is set.
    """
    require_flags(force=force)
    require_kind("selection", selection, Selection)
    require_kind("network", network, NetworkConfig)
    require_controls(progress=progress, clock=clock, stop=stop)
    clock = clock or Clock()
    network = network or NetworkConfig()
    output = None if output_path is None else files.path_of(output_path, "the output")
    started = clock.monotonic()
    names = normalise(symbols)
    listing = Listing.parse(listing)
    window = Window.parse(start_date, end_date)
    refuse_unfinished(window, clock.time(), "today")
    check_description(description)
    if output is not None:
        _require_output(output, force=force)

    with (
        BinanceClient(network, clock) as client,
        Probe(client, network.workers, clock, stop, progress) as probe,
        location_advice(listing),
    ):
        client.open()
        listed = probe.listed(listing)
        if listed.server_time is not None:
            refuse_unfinished(window, listed.server_time, "for the exchange today")
        requested = tuple(sorted(listed.names)) if names == (ALL,) else names
        known = [symbol for symbol in requested if symbol in listed.names]
        suggestions = listed.suggestions(symbol for symbol in requested if symbol not in listed.names)
        _say_who_is_listed(requested, known, listed, suggestions)
        days = probe.days(listed, known, _with_lookback(window, selection), needs_volumes=selection is not None)
    snapshots = tuple(snapshots_of(requested, window, days, listing, selection))
    universe = Universe(requested, window.start, window.end, snapshots, utc_text(clock.time()), description, listing, selection)
    raise_if_stopped(stop)
    if output is not None:
        save(universe, output, force=force)
    result = DefineResult(
        universe_file=None if output is None else str(output),
        universe=universe,
        requests=client.traffic.requests,
        retries=client.traffic.retries,
        waited_seconds=round(client.waited_seconds, 3),
        elapsed_seconds=round(clock.monotonic() - started, 3),
        suggestions=suggestions,
    )
    if result.nothing_active:
        log.warning("%s: if that is not what you want, define it again and let the file be replaced", result.nothing_active)
    return result


def _require_output(output: Path, *, force: bool) -> None:
    """Raise an error for a place where the file could not be written."""
    files.refuse_folder(output, "the output")
    files.clean_temps(output.absolute().parent)
    if output.exists() and not force:
        raise files.TargetExists(f"{output} exists already", hint=Remedy.REPLACE_UNIVERSE)
    files.require_place(output)


def _with_lookback(window: Window, selection: Selection | None) -> Window:
    """The window together with the days whose volume the ranking needs."""
    return window if selection is None else Window(min(window.start, selection.lookback_start(window.start)), window.end)


def _say_who_is_listed(
    requested: Sequence[str], known: Sequence[str], listed: ListedSymbols, suggestions: dict[str, str]
) -> None:
    where = "the current trading list" if listed.listing is Listing.EXCHANGE else "the archive's listing"
    log.info("%d of %d symbols are in %s", len(known), len(requested), where)
    unlisted = [symbol for symbol in requested if symbol not in listed.names]
    if unlisted:
        more = f" and {len(unlisted) - _NAMES_SHOWN} more" if len(unlisted) > _NAMES_SHOWN else ""
        log.warning("not in %s, so never active: %s%s", where, ", ".join(unlisted[:_NAMES_SHOWN]), more)
    for symbol, near in list(suggestions.items())[:_NAMES_SHOWN]:
        log.warning("%s is not listed: did you mean %s?", symbol, near)
