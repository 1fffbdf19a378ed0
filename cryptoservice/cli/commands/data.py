"""The commands that bring data in and out: download, its plan, and export."""

from __future__ import annotations

import threading
from typing import Any

from cryptoservice import errors
from cryptoservice.cli import reports
from cryptoservice.cli.commands.shared import Args, exit_code, log, network, window
from cryptoservice.clock import Clock
from cryptoservice.config import RateConfig, WorkerConfig

# Two helpers decode while this process fetches and writes; one formats while this process does.
_DOWNLOAD_HELPERS = 2
_EXPORT_HELPERS = 1


def download_or_plan(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    """Fetch what is missing, or say what would be fetched."""
    return (_plan if args.plan else _download)(args, clock, stop)


def _download(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.cli.endings import download_ending  # noqa: PLC0415
    from cryptoservice.cli.helper_processes import helper_processes, return_large_blocks  # noqa: PLC0415
    from cryptoservice.cli.summaries import download_shortfall  # noqa: PLC0415
    from cryptoservice.download.command import download_universe_data  # noqa: PLC0415

    return_large_blocks()
    with helper_processes(_DOWNLOAD_HELPERS, stop) as helpers:
        result = download_universe_data(args.universe_file, args.db_path, executor=helpers, **_wanted(args, clock, stop))
    reports.deliver(args, result.to_dict(), lambda: download_ending(args, result), whole=lambda: result.to_dict(most=None))
    if result.refused is not None:
        raise result.refused
    return exit_code(download_shortfall(result))


def _plan(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.cli.tables import plan_lines  # noqa: PLC0415
    from cryptoservice.download.preview import plan_download  # noqa: PLC0415

    latency = args.assume_latency
    result = plan_download(args.universe_file, args.db_path, assumed_latency=latency, **_wanted(args, clock, stop))
    reports.deliver(args, result.to_dict(), lambda: plan_lines(result))
    return errors.EXIT_OK


def _wanted(args: Args, clock: Clock | None, stop: threading.Event) -> dict[str, Any]:
    """The arguments that download and its preview have in common."""
    from cryptoservice.universe import symbols  # noqa: PLC0415

    rates = RateConfig(
        api_request_delay=args.api_request_delay,
        vision_request_delay=args.vision_request_delay,
        max_ban_wait=args.max_ban_wait,
    )
    return {
        "interval": args.interval,
        "window": window(args),
        "symbols": None if args.symbols is None else symbols.split_inline(args.symbols, stop),
        "download_market_metrics": args.download_market_metrics,
        "incremental": not args.no_incremental,
        "retry_gaps": args.retry_gaps,
        "kline_source": args.kline_source,
        "network": network(args, rates, WorkerConfig(api=args.max_api_workers, vision=args.max_vision_workers)),
        "clock": clock,
        "stop": stop,
    }


def export(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    """Write CSV files, and what is missing of them."""
    from cryptoservice.cli.endings import export_ending  # noqa: PLC0415
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
            window=window(args),
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
    reports.deliver(args, result.to_dict(), lambda: export_ending(args, result))
    return errors.EXIT_OK
