"""The commands that look at what is there: status, verify, lock and audit."""

from __future__ import annotations

import threading
from itertools import chain
from pathlib import Path

from cryptoservice import errors
from cryptoservice.cli import reports
from cryptoservice.cli.commands.shared import Args, exit_code, log, network, window
from cryptoservice.cli.flags.shared import named_by_environment
from cryptoservice.clock import Clock
from cryptoservice.config import RateConfig, WorkerConfig


def status_or_provenance(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    """Say what is stored, or where the values of one symbol-day come from."""
    return (_status if args.symbol is None and args.date is None else _provenance)(args, clock, stop)


def _provenance(args: Args, _: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.audit.provenance import symbol_day_provenance  # noqa: PLC0415
    from cryptoservice.cli.tables import provenance_lines  # noqa: PLC0415

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
    reports.deliver(args, result.to_dict(), lambda: provenance_lines(result))
    return errors.EXIT_OK


def _status(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    from cryptoservice.audit.status import universe_status  # noqa: PLC0415
    from cryptoservice.cli.endings import status_ending  # noqa: PLC0415
    from cryptoservice.cli.tables import status_lines  # noqa: PLC0415

    database = args.db_path
    if database is not None and database == named_by_environment("--db-path") and not Path(database).exists():
        # Whoever prepares a folder names the database before there is one, and status is then asked first.
        log.info("there is no database at %s yet", database)
        database = None
    result = universe_status(args.universe_file, database, window=window(args), clock=clock, stop=stop)
    reports.deliver(args, result.to_dict(), lambda: chain(status_lines(result), status_ending(args, result)))
    return errors.EXIT_OK


def verify(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    """Check what is stored, and repair it if that is asked for."""
    from cryptoservice.audit.verify import verify_universe  # noqa: PLC0415
    from cryptoservice.cli.endings import verify_ending  # noqa: PLC0415
    from cryptoservice.cli.summaries import difference_lines, lock_lines, verify_shortfall  # noqa: PLC0415

    result = verify_universe(
        args.universe_file,
        args.db_path,
        window=window(args),
        sample=args.sample,
        seed=args.seed,
        repair=args.repair,
        lock_file=args.lock,
        network=network(
            args, RateConfig(max_ban_wait=args.max_ban_wait), WorkerConfig(args.max_api_workers, args.max_vision_workers)
        ),
        clock=clock,
        stop=stop,
    )
    reports.deliver(args, result.to_dict(), lambda: verify_ending(args, result), whole=lambda: result.to_dict(most=None))
    for line, fields in difference_lines(result):
        log.error("%s", line, extra={"fields": {"difference": fields}})
    for line, fields in lock_lines(result):
        log.error("%s", line, extra={"fields": {"lock_difference": fields}})
    if result.refused is not None:
        raise result.refused
    return exit_code(verify_shortfall(result))


def audit(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    """Ask whether the archive has published anything anew."""
    from cryptoservice.audit.archive_audit.command import audit_universe  # noqa: PLC0415
    from cryptoservice.cli.endings import audit_ending  # noqa: PLC0415
    from cryptoservice.cli.summaries import audit_lines, audit_shortfall, refetch_lines  # noqa: PLC0415

    result = audit_universe(
        args.universe_file,
        args.db_path,
        window=window(args),
        sample=args.sample,
        network=network(args, RateConfig(max_ban_wait=args.max_ban_wait), WorkerConfig(vision=args.max_vision_workers)),
        clock=clock,
        stop=stop,
    )
    # A mirror of the archive is where the lines will have to look, too.
    flags = ("--universe-file", "--db-path", "--api-base-url", "--vision-base-url", "--listing-base-url")
    lines = refetch_lines(result, {flag: getattr(args, flag[2:].replace("-", "_")) for flag in flags})
    reports.deliver(
        args,
        {**result.to_dict(), "refetch": lines},
        lambda: audit_ending(result),
        whole=lambda: {**result.to_dict(most=None), "refetch": lines},
    )
    for level, line, fields in audit_lines(result):
        log.log(level, "%s", line, extra={"fields": fields})
    return exit_code(audit_shortfall(result, lines))


def lock(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    """Write a dataset lock, to a file or to stdout."""
    from cryptoservice.audit.dataset_lock.command import lock_universe  # noqa: PLC0415
    from cryptoservice.cli.endings import lock_ending  # noqa: PLC0415

    options = {"window": window(args), "force": args.force, "clock": clock, "stop": stop}
    if args.output == reports.STANDARD_STREAM:
        with reports.data_stream() as stream:
            result = lock_universe(args.universe_file, args.db_path, stream, **options)
        reports.deliver_beside(args, result.to_dict())
    else:
        result = lock_universe(args.universe_file, args.db_path, args.output, **options)
        reports.deliver(args, result.to_dict(), lambda: lock_ending(args, result))
    return errors.EXIT_OK
