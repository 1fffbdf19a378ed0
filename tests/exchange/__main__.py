"""python -m tests.exchange: the replay exchange in the foreground, for people, the demo and the benchmarks.

With --state-file it serves a program, which reads the addresses there. Without, it serves a person: it prints the lines that
point commands at it, uses the same ports each time where they are free, and lasts until Ctrl-C.
"""

from __future__ import annotations

import _thread
import argparse
import errno
import json
import math
import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

from .faults import Fault
from .limits import Limits
from .market import Fate, Market
from .replay import ReplayExchange

# The same each time, so that lines typed into another terminal hold for the next exchange too.
_USUAL_PORTS = (8761, 8762, 8763)
_PROGRAM_SECONDS = 600.0  # a program that has forgotten its exchange leaves it no longer than this
_VARIABLES = {
    "BINANCE_API_BASE_URL": "api_url",
    "BINANCE_VISION_BASE_URL": "vision_url",
    "BINANCE_LISTING_BASE_URL": "listing_url",
}


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, the parent's death, or --max-seconds."""
    args = _parser().parse_args(argv)
    stop, parent = threading.Event(), os.getppid()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Set in a thread: the main thread may hold the event's own lock at the moment of the signal.
        signal.signal(number, lambda *_: _thread.start_new_thread(stop.set, ()))
    exchange = _started(args)
    if exchange is None:
        return 1
    try:
        if args.restricted:
            exchange.faults.add(Fault.restricted_451(host="api", times=None))
        if args.state_file:
            _write_state(args.state_file, exchange)
        else:
            _welcome(exchange)
        usual = _PROGRAM_SECONDS if args.state_file else math.inf
        ends = time.monotonic() + (usual if args.max_seconds is None else args.max_seconds)
        while not stop.wait(0.25):
            if os.getppid() != parent or time.monotonic() > ends:
                break
    finally:
        exchange.stop()
    for request in exchange.unknown_requests:
        print(f"unknown request: {request.host} {request.path} {request.params}", file=sys.stderr)
    if args.state_file:
        return 1 if exchange.unknown_requests else 0
    # The terminal has put ^C on a line of its own.
    print("\nThe replay exchange has ended.", flush=True)
    return 0


def _started(args: argparse.Namespace) -> ReplayExchange | None:
    """The exchange on its ports; None, with a line that says why, if one that was asked for cannot be had."""
    for _ in range(5):
        ports = _ports(args)
        if ports is None:
            return None
        try:
            return _exchange(args, ports).start()
        except OSError as error:
            # Somebody was quicker: look again which ports are free.
            if error.errno != errno.EADDRINUSE:
                raise
    raise SystemExit("error: no port is free for long enough")


def _ports(args: argparse.Namespace) -> list[int] | None:
    """The port of each host, 0 for any that is free; None if one that was asked for cannot be had."""
    ports = []
    for given, usual in zip((args.api_port, args.vision_port, args.listing_port), _USUAL_PORTS, strict=True):
        port = (0 if args.state_file else usual) if given is None else given
        trouble = _trouble_with(port)
        if trouble and given is not None:
            print(f"error: port {port} cannot be had ({trouble}): give another one, or leave out the flag", file=sys.stderr)
            return None
        if trouble:
            print(f"Port {port} cannot be had ({trouble}), so another one is used.", flush=True)
        ports.append(0 if trouble else port)
    return ports


def _trouble_with(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except (OSError, OverflowError) as error:
            return str(getattr(error, "strerror", None) or error)
    return None


def _exchange(args: argparse.Namespace, ports: Sequence[int]) -> ReplayExchange:
    market = Market.recorded()
    for name, fate in args.add_symbol:
        market.add_symbol(name, **fate)
    market.archive_until = args.archive_until
    market.listed_until = args.listed_until
    shift = 0.0 if args.now is None else args.now.timestamp() - time.time()
    return ReplayExchange(
        market,
        now=lambda: time.time() + shift,
        limits=Limits.off() if args.no_limits else Limits(args.weight_limit, args.weight_window),
        latency=args.latency,
        gzip=not args.no_gzip,
        api_port=ports[0],
        vision_port=ports[1],
        listing_port=ports[2],
    )


def _welcome(exchange: ReplayExchange) -> None:
    """What a person types so that commands talk to this exchange."""
    lines = [f"export {variable}={shlex.quote(exchange.urls[name])}" for variable, name in _VARIABLES.items()]
    if any(name.lower().endswith("_proxy") for name in os.environ):
        # A proxy cannot reach this machine's loopback. The small letters win where both are set.
        lines.append("export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1")
    print("The replay exchange listens. Copy these lines into another terminal; commands there talk to it and to nobody else:\n")
    print("\n".join(lines))
    print("\nCtrl-C ends it.", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.exchange", description=__doc__)
    parser.add_argument("--state-file", type=Path, help="for programs: where to write the URLs, once it listens")
    parser.add_argument("--api-port", type=int)
    parser.add_argument("--vision-port", type=int)
    parser.add_argument("--listing-port", type=int)
    parser.add_argument("--max-seconds", type=float, help="default: 600 with --state-file, else no end")
    parser.add_argument("--now", type=_instant, help="start the exchange's clock here (ISO, UTC) instead of now")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--no-limits", action="store_true")
    parser.add_argument("--no-gzip", action="store_true", help="spare the exchange the time it takes to compress")
    parser.add_argument("--weight-limit", type=int, default=2400)
    parser.add_argument("--weight-window", type=float, default=60.0, help="seconds")
    parser.add_argument("--archive-until", type=date.fromisoformat, help="last day that the archive has published")
    parser.add_argument("--listed-until", type=date.fromisoformat, help="last day that the bucket listing shows")
    parser.add_argument("--restricted", action="store_true", help="the API answers 451, as in a forbidden country")
    parser.add_argument(
        "--add-symbol", type=_synthetic, action="append", default=[], metavar="NAME:FIRST_DAY[:LAST_DAY[:FATE]]",
        help=f"a symbol with synthetic data; may be repeated. FATE: {', '.join(get_args(Fate))}. Klines of a settling symbol "
        "go on after the last day without trades; give the day as 2024-06-10T09 if it was settled in its course.",
    )  # fmt: skip
    return parser


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _synthetic(text: str) -> tuple[str, dict[str, Any]]:
    name, first, last, fate = (text + ":::").split(":")[:4]
    if fate and fate not in get_args(Fate):
        raise argparse.ArgumentTypeError(f"no such fate: {fate}")
    given: dict[str, Any] = {"first_day": date.fromisoformat(first), "fate": fate or "trading"}
    if not last:
        return name, given
    end = _instant(last)
    if "T" in last or fate == "settling":
        given["settled_at"] = end if "T" in last else end + timedelta(days=1)
    if fate != "settling":
        given["last_day"] = end.date()
    return name, given


def _write_state(path: Path, exchange: ReplayExchange) -> None:
    state = {**exchange.urls, "pid": os.getpid()}
    temp = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temp.write_text(json.dumps(state) + "\n")
    temp.replace(path)


if __name__ == "__main__":
    sys.exit(main())
