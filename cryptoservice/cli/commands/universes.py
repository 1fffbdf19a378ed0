"""The commands that make universes: define and symbols."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from cryptoservice import errors
from cryptoservice.cli import reports
from cryptoservice.cli.commands.shared import Args, log, network
from cryptoservice.cli.logs import OUTCOME
from cryptoservice.clock import Clock
from cryptoservice.config import RateConfig, WorkerConfig

if TYPE_CHECKING:
    from cryptoservice.universe.selection import Selection

# What a run says at its end with --quiet too, although it ended well.
outcome_log = logging.getLogger(OUTCOME)


def define(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    """Write a universe, to a file or to stdout."""
    from cryptoservice.cli.endings import define_ending  # noqa: PLC0415
    from cryptoservice.define.command import define_universe  # noqa: PLC0415
    from cryptoservice.universe import symbols  # noqa: PLC0415
    from cryptoservice.universe.file import to_json  # noqa: PLC0415

    requested = symbols.read_file(Path(args.symbols_file), stop) if args.symbols_file is not None else []
    requested += symbols.split_inline(args.symbols, stop) if args.symbols is not None else []
    rates = RateConfig(
        max_weight_per_minute=args.daily_check_max_requests_per_minute,
        api_request_delay=args.daily_check_request_delay,
        max_ban_wait=args.max_ban_wait,
    )
    result = define_universe(
        requested,
        args.start_date,
        args.end_date,
        None if args.output == reports.STANDARD_STREAM else args.output,
        force=args.force,
        description=args.description,
        listing=args.listing,
        selection=_selection(args),
        network=network(args, rates, WorkerConfig.of_define(args.daily_check_workers)),
        clock=clock,
        stop=stop,
    )
    if result.universe_file is None:
        reports.deliver_beside(args, result.to_dict(), to_json(result.universe))
        return errors.EXIT_OK
    if not result.active_symbol_days:
        if args.quiet:
            outcome_log.warning("%s", result.nothing_active)
        # Otherwise the library has warned about it already, but it names no flag.
        log.info("to replace %s, define it again with --force", result.universe_file)
    reports.deliver(args, result.to_dict(), lambda: define_ending(result))
    return errors.EXIT_OK


def _selection(args: Args) -> Selection | None:
    from cryptoservice.universe.selection import Rebalance, Selection  # noqa: PLC0415

    if args.top is None:
        for flag, value in (("--lookback-days", args.lookback_days), ("--rebalance", args.rebalance)):
            if value is not None:
                raise errors.UsageError(f"{flag} belongs to a ranking", hint="say with --top how many symbols to keep")
        return None
    lookback_days = Selection.lookback_days if args.lookback_days is None else args.lookback_days
    return Selection(args.top, lookback_days, Rebalance.DAY if args.rebalance is None else Rebalance(args.rebalance))


def symbols(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    """List symbols: a table for people, names for a pipe, or an object as the report."""
    from cryptoservice.cli.tables import symbols_lines  # noqa: PLC0415
    from cryptoservice.define.symbol_list import list_symbols  # noqa: PLC0415

    rates = RateConfig(max_ban_wait=args.max_ban_wait)
    result = list_symbols(args.listing, network=network(args, rates, WorkerConfig()), clock=clock, stop=stop)
    if reports.is_for_people(args) or reports.is_wanted_as_json(args):
        reports.deliver(args, result.to_dict(), lambda: symbols_lines(result))
    else:
        reports.deliver_beside(args, result.to_dict(), "".join(f"{listed.symbol}\n" for listed in result.symbols))
    return errors.EXIT_OK
