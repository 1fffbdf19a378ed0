"""The command line: arguments to one of the functions, results to stdout, outcomes to exit codes.

What `--help` does not need is imported where it is used: people and completion wait for it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cryptoservice import errors
from cryptoservice.parser import build_parser

if TYPE_CHECKING:
    import logging
    import threading

    from cryptoservice.clock import Clock
    from cryptoservice.config import NetworkConfig

Args = argparse.Namespace


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run one command; its exit code. `clock` is for tests that need another day."""
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else errors.EXIT_USAGE
    except errors.CryptoserviceError as error:
        return _refuse(error, argv)
    from cryptoservice import logs  # noqa: PLC0415

    redact = logs.set_up(
        quiet=args.quiet,
        verbose=args.verbose,
        log_format=args.log_format,
        secrets=(args.api_key, args.api_secret, os.environ.get("BINANCE_API_KEY"), os.environ.get("BINANCE_API_SECRET")),
    )
    stop = _Stop()
    try:
        with stop.on_signals():
            return _COMMANDS[args.command](args, clock, stop.event)
    except errors.Interrupted:
        return _report(stop.error(), args, redact)
    except errors.CryptoserviceError as error:
        return _report(error, args, redact)
    except BrokenPipeError:
        return _report(errors.OutputError("nobody reads stdout any more"), args, redact)
    except OSError as error:
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return _report(errors.OutputError(f"{where}{error.strerror or error}"), args, redact)
    except ModuleNotFoundError as error:
        missing = errors.CryptoserviceError(f"the package {error.name} is not installed", hint="install both with: pip install .")
        return _report(missing, args, redact)
    except Exception as error:  # noqa: BLE001 - the last line of defence: one line for people, not a traceback
        hint = "run again with -v for the traceback, and report it as a bug"
        return _report(errors.CryptoserviceError(f"unexpected {type(error).__name__}: {error}", hint=hint), args, redact)


def _refuse(error: errors.CryptoserviceError, argv: Sequence[str]) -> int:
    """Arguments that cannot be parsed say all the same in which form to complain."""
    from cryptoservice import logs  # noqa: PLC0415

    as_json = "--log-format=json" in argv or ("--log-format", "json") in pairwise(argv)
    args = argparse.Namespace(verbose=False, log_format="json" if as_json else "text")
    return _report(error, args, logs.set_up(quiet=True, verbose=False, log_format=args.log_format, secrets=()))


def _report(error: errors.CryptoserviceError, args: Args, redact: Callable[[str], str]) -> int:
    import traceback  # noqa: PLC0415

    if args.log_format == "json":
        fields = {"hint": redact(error.hint) if error.hint else None, "exit_code": error.exit_code}
        _log().error("%s", error.message, extra={"fields": fields}, exc_info=args.verbose)
    else:
        if args.verbose and sys.exc_info()[0] is not None:
            sys.stderr.write(redact(traceback.format_exc()))
        sys.stderr.write(redact(f"error: {_one_line(error.message)}") + "\n")
        if error.hint:
            sys.stderr.write(redact(f"hint: {_one_line(error.hint)}") + "\n")
    return error.exit_code


def _verdict(shortfall: str | None) -> int:
    """The exit code of a run that came to its end. What is missing is said in the log's own form, with --quiet as well."""
    if shortfall is None:
        return errors.EXIT_OK
    _log().error("%s", shortfall, extra={"fields": {"exit_code": errors.EXIT_INCOMPLETE}})
    return errors.EXIT_INCOMPLETE


def _log() -> logging.Logger:
    """This room speaks for the whole package."""
    import logging  # noqa: PLC0415

    return logging.getLogger("cryptoservice")


def _one_line(text: str) -> str:
    """One line that a terminal can show: what a file name may hold must not move the cursor."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(text.split()))


def _print_result(record: dict[str, Any]) -> None:
    if sys.stdout is None:
        raise errors.OutputError("stdout is closed: the report cannot be printed", hint="send it to a file or to /dev/null")
    import json  # noqa: PLC0415

    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # A path in bytes that are not UTF-8, or a terminal that is not: JSON has a form for that.
        text = json.dumps(record)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class _Stop:
    """The stop event, and which signal set it."""

    def __init__(self) -> None:
        import threading  # noqa: PLC0415

        self.event = threading.Event()
        self._is_main = threading.current_thread() is threading.main_thread()
        self._signal = signal.SIGINT

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the run in good order; a second one ends it at once."""
        if not self._is_main:
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            # Once asked to stop, the last word has been said: another signal just ends the process.
            if not self.event.is_set():
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _handle(self, number: int, _: object) -> None:
        if self.event.is_set():
            os._exit(128 + number)
        self._signal = signal.Signals(number)
        self.event.set()

    def error(self) -> errors.Interrupted:
        """What to tell people."""
        error = errors.Interrupted(f"interrupted by {self._signal.name}", hint="run the same command again")
        error.exit_code = 128 + self._signal
        return error


def _define(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from pathlib import Path  # noqa: PLC0415

    from cryptoservice import define, symbols  # noqa: PLC0415
    from cryptoservice.config import RateConfig, WorkerConfig  # noqa: PLC0415

    requested = symbols.read_file(Path(args.symbols_file)) if args.symbols_file is not None else []
    requested += symbols.split_inline(args.symbols) if args.symbols is not None else []
    rates = RateConfig(
        max_weight_per_minute=args.daily_check_max_requests_per_minute,
        api_request_delay=args.daily_check_request_delay,
        max_ban_wait=args.max_ban_wait,
    )
    result = define.define_universe(
        requested,
        args.start_date,
        args.end_date,
        args.output,
        force=args.force,
        description=args.description,
        network=_network(args, rates, WorkerConfig(api=args.daily_check_workers)),
        clock=clock,
        stop=stop,
    )
    _print_result(result.to_dict())
    return errors.EXIT_OK


def _download(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice import download, memory  # noqa: PLC0415
    from cryptoservice.config import RateConfig, WindowBounds, WorkerConfig  # noqa: PLC0415
    from cryptoservice.plan import KlineSource  # noqa: PLC0415

    memory.return_large_blocks()
    rates = RateConfig(
        api_request_delay=args.api_request_delay,
        vision_request_delay=args.vision_request_delay,
        max_ban_wait=args.max_ban_wait,
    )
    wanted: dict[str, Any] = {
        "interval": args.interval,
        "window": WindowBounds(args.start_date, args.end_date),
        "download_market_metrics": args.download_market_metrics,
        "incremental": not args.no_incremental,
        "kline_source": KlineSource(args.kline_source),
        "network": _network(args, rates, WorkerConfig(api=args.max_api_workers, vision=args.max_vision_workers)),
        "clock": clock,
        "stop": stop,
    }
    if args.plan:
        from cryptoservice import preview  # noqa: PLC0415

        plan = preview.preview_download(args.universe_file, args.db_path, **wanted)
        if not args.quiet and args.log_format == "text":
            sys.stderr.write(preview.preview_text(plan))
        _print_result(plan.to_dict())
        return errors.EXIT_OK
    result = download.download_universe_data(args.universe_file, args.db_path, **wanted)
    _print_result(result.to_dict())
    if result.refused is not None:
        raise result.refused
    return _verdict(result.shortfall)


def _export(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice import export, memory  # noqa: PLC0415
    from cryptoservice.config import WindowBounds  # noqa: PLC0415

    memory.return_large_blocks()
    result = export.export_universe_data(
        args.universe_file,
        args.db_path,
        args.export_base_path,
        source_freq=args.source_freq,
        export_freq=args.export_freq,
        window=WindowBounds(args.start_date, args.end_date),
        klines=not args.no_klines,
        metrics=not args.no_metrics,
        coverage_html=args.coverage_html,
        clock=clock,
        stop=stop,
    )
    _print_result(result.to_dict())
    return errors.EXIT_OK


def _status(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice import status  # noqa: PLC0415
    from cryptoservice.config import WindowBounds  # noqa: PLC0415
    from cryptoservice.status_text import status_text  # noqa: PLC0415

    window = WindowBounds(args.start_date, args.end_date)
    result = status.universe_status(args.universe_file, args.db_path, window=window, clock=clock, stop=stop)
    if not args.quiet and args.log_format == "text":
        sys.stderr.write(status_text(result))
        sys.stderr.flush()
    _print_result(result.to_dict())
    return errors.EXIT_OK


def _verify(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice import verify  # noqa: PLC0415
    from cryptoservice.config import RateConfig, WindowBounds, WorkerConfig  # noqa: PLC0415

    result = verify.verify_universe(
        args.universe_file,
        args.db_path,
        window=WindowBounds(args.start_date, args.end_date),
        sample=args.sample,
        seed=args.seed,
        network=_network(args, RateConfig(max_ban_wait=args.max_ban_wait), WorkerConfig()),
        clock=clock,
        stop=stop,
    )
    _print_result(result.to_dict())
    if result.refused is not None:
        raise result.refused
    return _verdict(result.shortfall)


def _network(args: Args, rates: Any, workers: Any) -> NetworkConfig:
    from cryptoservice.config import Credentials, Endpoints, NetworkConfig, RetryConfig  # noqa: PLC0415

    return NetworkConfig(
        endpoints=Endpoints.resolve(args.api_base_url, args.vision_base_url),
        credentials=Credentials.resolve(args.api_key, args.api_secret),
        rates=rates,
        retry=RetryConfig(max_retries=args.max_retries),
        workers=workers,
    )


_COMMANDS: dict[str, Callable[[Args, Clock | None, threading.Event], int]] = {
    "define": _define,
    "download": _download,
    "export": _export,
    "status": _status,
    "verify": _verify,
}
