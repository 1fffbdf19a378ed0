"""python -m tests.exchange: the replay exchange in the foreground, for the demo and the benchmark."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

from .faults import Fault
from .limits import Limits
from .market import Fate, Market
from .replay import ReplayExchange


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, the parent's death, or --max-seconds."""
    args = _parser().parse_args(argv)
    market = Market.recorded()
    for name, given in args.add_symbol:
        market.add_symbol(name, **given)
    market.archive_until = args.archive_until
    market.listed_until = args.listed_until
    shift = 0.0 if args.now is None else args.now.timestamp() - time.time()
    limits = Limits.off() if args.no_limits else Limits(args.weight_limit, args.weight_window)
    exchange = ReplayExchange(
        market,
        now=lambda: time.time() + shift,
        limits=limits,
        latency=args.latency,
        gzip=not args.no_gzip,
        api_port=args.api_port,
        vision_port=args.vision_port,
        listing_port=args.listing_port,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parent = os.getppid()
    with exchange:
        exchange.allow_unknown = True
        if args.restricted:
            exchange.faults.add(Fault.restricted_451(host="api", times=None))
        _write_state(args.state_file, exchange)
        ends = time.monotonic() + args.max_seconds
        while not stop.wait(0.25):
            if os.getppid() != parent or time.monotonic() > ends:
                break
        for request in exchange.unknown_requests:
            print(f"unknown request: {request.host} {request.path} {request.params}", file=sys.stderr)
        return 1 if exchange.unknown_requests else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.exchange", description=__doc__)
    parser.add_argument("--state-file", type=Path, required=True, help="where to write the URLs, once it listens")
    parser.add_argument("--api-port", type=int, default=0)
    parser.add_argument("--vision-port", type=int, default=0)
    parser.add_argument("--listing-port", type=int, default=0)
    parser.add_argument("--max-seconds", type=float, default=600.0)
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
