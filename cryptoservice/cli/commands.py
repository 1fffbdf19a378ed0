"""The commands. Each calls one library function with its arguments, prints the result, and turns the outcome into an exit code.

Each command imports only its own package: an export need not wait for what a download needs.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptoservice import errors
from cryptoservice.cli.logs import OUTCOME
from cryptoservice.clock import Clock
from cryptoservice.config import (
    Credentials,
    Endpoints,
    NetworkConfig,
    RateConfig,
    RetryConfig,
    WindowBounds,
    WorkerConfig,
)

if TYPE_CHECKING:
    from cryptoservice.universe.selection import Selection

# The logger of the whole package: what a command says at its end belongs to no part of it.
log = logging.getLogger("cryptoservice")
# What a run says at its end with --quiet too, although it ended well.
outcome_log = logging.getLogger(OUTCOME)

Args = argparse.Namespace
Command = Callable[[Args, "Clock | None", threading.Event], int]

# Two helpers decode while this process fetches and writes; one formats while this process does.
_DOWNLOAD_HELPERS = 2
_EXPORT_HELPERS = 1


def _define(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.define.command import define_universe  # noqa: PLC0415
    from cryptoservice.universe import symbols  # noqa: PLC0415
    from cryptoservice.universe.file import to_json  # noqa: PLC0415
    from cryptoservice.universe.inputs import STANDARD_STREAM  # noqa: PLC0415

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
        None if args.output == STANDARD_STREAM else args.output,
        force=args.force,
        description=args.description,
        listing=args.listing,
        selection=_selection(args),
        network=_network(args, rates, WorkerConfig(api=args.daily_check_workers)),
        clock=clock,
        stop=stop,
    )
    if result.universe_file is None:
        _print_data(to_json(result.universe))
        return errors.EXIT_OK
    if not result.active_symbol_days:
        if args.quiet:
            outcome_log.warning("%s", result.nothing_active)
        # Otherwise the library has warned about it already, but it names no flag.
        log.info("to replace %s, define it again with --force", result.universe_file)
    _print_report(result.to_dict())
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


def _symbols(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.cli.tables import symbols_text  # noqa: PLC0415
    from cryptoservice.define.symbol_list import list_symbols  # noqa: PLC0415

    rates = RateConfig(max_ban_wait=args.max_ban_wait)
    result = list_symbols(args.listing, network=_network(args, rates, WorkerConfig()), clock=clock, stop=stop)
    if sys.stdout is not None and sys.stdout.isatty():
        _show_table(args, symbols_text(result))
    else:
        _print_data("".join(f"{listed.symbol}\n" for listed in result.symbols))
    return errors.EXIT_OK


def _download(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.cli.helper_processes import helper_processes, return_large_blocks  # noqa: PLC0415
    from cryptoservice.cli.summaries import download_shortfall  # noqa: PLC0415
    from cryptoservice.download.command import download_universe_data  # noqa: PLC0415

    return_large_blocks()
    with helper_processes(_DOWNLOAD_HELPERS, stop) as helpers:
        result = download_universe_data(args.universe_file, args.db_path, executor=helpers, **_wanted(args, clock, stop))
    _print_report(result.to_dict())
    if result.refused is not None:
        raise result.refused
    return _exit_code(download_shortfall(result))


def _plan(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.cli.tables import plan_text  # noqa: PLC0415
    from cryptoservice.download.preview import preview_download  # noqa: PLC0415

    result = preview_download(args.universe_file, args.db_path, **_wanted(args, clock, stop))
    _show_table(args, plan_text(result))
    _print_report(result.to_dict())
    return errors.EXIT_OK


def _download_or_plan(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    return (_plan if args.plan else _download)(args, clock, stop)


def _wanted(args: Args, clock: Clock | None, stop: threading.Event) -> dict[str, Any]:
    """The arguments that download and its preview have in common."""
    from cryptoservice.sources.evidence import KlineSource  # noqa: PLC0415
    from cryptoservice.universe import symbols  # noqa: PLC0415

    rates = RateConfig(
        api_request_delay=args.api_request_delay,
        vision_request_delay=args.vision_request_delay,
        max_ban_wait=args.max_ban_wait,
    )
    return {
        "interval": args.interval,
        "window": _window(args),
        "symbols": None if args.symbols is None else symbols.split_inline(args.symbols, stop),
        "download_market_metrics": args.download_market_metrics,
        "incremental": not args.no_incremental,
        "retry_gaps": args.retry_gaps,
        "kline_source": KlineSource(args.kline_source),
        "network": _network(args, rates, WorkerConfig(api=args.max_api_workers, vision=args.max_vision_workers)),
        "clock": clock,
        "stop": stop,
    }


def _export(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.cli.helper_processes import helper_processes, return_large_blocks  # noqa: PLC0415
    from cryptoservice.export.command import export_universe_data  # noqa: PLC0415

    return_large_blocks()
    with helper_processes(_EXPORT_HELPERS, stop) as helpers:
        result = export_universe_data(
            args.universe_file,
            args.db_path,
            args.export_base_path,
            source_freq=args.source_freq,
            export_freq=args.export_freq,
            window=_window(args),
            klines=not args.no_klines,
            metrics=not args.no_metrics,
            coverage_html=args.coverage_html,
            prune=args.prune,
            executor=helpers,
            clock=clock,
            stop=stop,
        )
    if result.kept_files:
        # The library has warned about them already, but it names no flag.
        log.info("to remove such files, export again with --prune")
    _print_report(result.to_dict())
    return errors.EXIT_OK


def _status_or_provenance(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    return (_status if args.symbol is None and args.date is None else _provenance)(args, clock, stop)


def _provenance(args: Args, _: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.audit.provenance import symbol_day_provenance  # noqa: PLC0415
    from cryptoservice.cli.tables import provenance_text  # noqa: PLC0415

    if args.symbol is None or args.date is None:
        lacking, given = ("--symbol", "--date") if args.symbol is None else ("--date", "--symbol")
        raise errors.UsageError(f"{given} without {lacking} names no symbol-day", hint=f"give both, or leave out {given}")
    if args.start_date is not None or args.end_date is not None:
        raise errors.UsageError(
            "a symbol-day has no window", hint="leave out --start-date and --end-date, or --symbol and --date"
        )
    if args.db_path is None:
        raise errors.UsageError("only a database knows where values come from", hint="name it with --db-path")
    result = symbol_day_provenance(args.universe_file, args.db_path, args.symbol, args.date, stop=stop)
    _show_table(args, provenance_text(result))
    _print_report(result.to_dict())
    return errors.EXIT_OK


def _status(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.audit.status import universe_status  # noqa: PLC0415
    from cryptoservice.cli.tables import status_text  # noqa: PLC0415

    result = universe_status(args.universe_file, args.db_path, window=_window(args), clock=clock, stop=stop)
    _show_table(args, status_text(result))
    _print_report(result.to_dict())
    return errors.EXIT_OK


def _verify(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.audit.verify import verify_universe  # noqa: PLC0415
    from cryptoservice.cli.summaries import difference_lines, lock_lines, verify_shortfall  # noqa: PLC0415

    result = verify_universe(
        args.universe_file,
        args.db_path,
        window=_window(args),
        sample=args.sample,
        seed=args.seed,
        repair=args.repair,
        lock_file=args.lock,
        network=_network(args, RateConfig(max_ban_wait=args.max_ban_wait), WorkerConfig()),
        clock=clock,
        stop=stop,
    )
    _print_report(result.to_dict())
    for line, fields in difference_lines(result):
        log.error("%s", line, extra={"fields": {"difference": fields}})
    for line, fields in lock_lines(result):
        log.error("%s", line, extra={"fields": {"lock_difference": fields}})
    if result.refused is not None:
        raise result.refused
    return _exit_code(verify_shortfall(result))


def _audit(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.audit.archive_audit.command import audit_universe  # noqa: PLC0415
    from cryptoservice.cli.summaries import audit_lines, audit_shortfall, refetch_lines  # noqa: PLC0415

    result = audit_universe(
        args.universe_file,
        args.db_path,
        window=_window(args),
        sample=args.sample,
        network=_network(args, RateConfig(max_ban_wait=args.max_ban_wait), WorkerConfig()),
        clock=clock,
        stop=stop,
    )
    # A mirror of the archive is where the lines will have to look, too.
    flags = ("--universe-file", "--db-path", "--api-base-url", "--vision-base-url", "--listing-base-url")
    lines = refetch_lines(result, {flag: getattr(args, flag[2:].replace("-", "_")) for flag in flags})
    _print_report({**result.to_dict(), "refetch": lines})
    for level, line, fields in audit_lines(result):
        log.log(level, "%s", line, extra={"fields": fields})
    return _exit_code(audit_shortfall(result, lines))


def _lock(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.audit.dataset_lock.command import lock_universe  # noqa: PLC0415

    result = lock_universe(
        args.universe_file, args.db_path, args.output, window=_window(args), force=args.force, clock=clock, stop=stop
    )
    _print_report(result.to_dict())
    return errors.EXIT_OK


def _window(args: Args) -> WindowBounds:
    return WindowBounds(args.start_date, args.end_date)


def _network(args: Args, rates: RateConfig, workers: WorkerConfig) -> NetworkConfig:
    return NetworkConfig(
        endpoints=Endpoints.resolve(args.api_base_url, args.vision_base_url, listing=args.listing_base_url),
        credentials=Credentials.resolve(args.api_key, args.api_secret),
        rates=rates,
        retry=RetryConfig(max_retries=args.max_retries),
        workers=workers,
    )


def _exit_code(shortfall: str | None) -> int:
    """The exit code of a run that came to its end. What is missing goes to the log as an error, so --quiet shows it too."""
    if shortfall is None:
        return errors.EXIT_OK
    log.error("%s", shortfall, extra={"fields": {"exit_code": errors.EXIT_INCOMPLETE}})
    return errors.EXIT_INCOMPLETE


def _show_table(args: Args, text: str) -> None:
    if not args.quiet and args.log_format == "text":
        sys.stderr.write(text)
        sys.stderr.flush()


def _print_report(record: dict[str, Any]) -> None:
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode((sys.stdout.encoding if sys.stdout is not None else None) or "utf-8")
    except UnicodeEncodeError:
        # A path or a terminal may not be UTF-8. JSON can escape what is not ASCII.
        text = json.dumps(record)
    _print_text(text + "\n")


def _print_text(text: str) -> None:
    _require_stdout()
    sys.stdout.write(text)
    sys.stdout.flush()


def _print_data(text: str) -> None:
    """Print what a file would hold: UTF-8 as in a file of this program, whatever the terminal is, and no character replaced."""
    _require_stdout()
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8"))
    sys.stdout.buffer.flush()


def _require_stdout() -> None:
    if sys.stdout is None:
        raise errors.OutputError("stdout is closed: nothing can be printed", hint="send it to a file or to /dev/null")


COMMANDS: dict[str, Command] = {
    "define": _define,
    "symbols": _symbols,
    "download": _download_or_plan,
    "export": _export,
    "status": _status_or_provenance,
    "verify": _verify,
    "audit": _audit,
    "lock": _lock,
}
