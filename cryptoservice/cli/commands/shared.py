"""What several commands make of their arguments, and how a run that lacks something ends."""

from __future__ import annotations

import argparse
import logging
import threading
from collections.abc import Callable

from cryptoservice import errors
from cryptoservice.clock import Clock
from cryptoservice.config import Credentials, Endpoints, NetworkConfig, RateConfig, RetryConfig, WindowBounds, WorkerConfig

# The logger of the whole package: what a command says at its end belongs to no part of it.
log = logging.getLogger("cryptoservice")

Args = argparse.Namespace
Command = Callable[[Args, "Clock | None", threading.Event], int]


def window(args: Args) -> WindowBounds:
    """The part of the universe that was asked for."""
    return WindowBounds(args.start_date, args.end_date)


def network(args: Args, rates: RateConfig, workers: WorkerConfig) -> NetworkConfig:
    """How the exchange is reached."""
    return NetworkConfig(
        endpoints=Endpoints.resolve(args.api_base_url, args.vision_base_url, listing=args.listing_base_url),
        credentials=Credentials.resolve(args.api_key, args.api_secret),
        rates=rates,
        retry=RetryConfig(max_retries=args.max_retries),
        workers=workers,
    )


def exit_code(shortfall: str | None) -> int:
    """The exit code of a run that came to its end. What is missing goes to the log as an error, so --quiet shows it too."""
    if shortfall is None:
        return errors.EXIT_OK
    log.error("%s", shortfall, extra={"fields": {"exit_code": errors.EXIT_INCOMPLETE}})
    return errors.EXIT_INCOMPLETE
