"""The command line from its arguments to its exit code. Every failure ends as one line for people, or as one JSON object.

What `--help` does not need is imported where it is used, because people wait for the help.
"""

from __future__ import annotations

import _thread
import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptoservice import errors
from cryptoservice.cli.parser import parse

if TYPE_CHECKING:
    from cryptoservice.clock import Clock

Args = argparse.Namespace
# Windows has no hangup.
_SIGNALS = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_LIMIT = "raise the limit on processes of this user (ulimit -u) or of this container"
_FOR_THREADS = {
    "define": f"use a smaller --daily-check-workers, or {_LIMIT}",
    "download": f"use a smaller --max-api-workers and --max-vision-workers, or {_LIMIT}",
    "verify": f"use a smaller --max-api-workers and --max-vision-workers, or {_LIMIT}",
    "audit": f"use a smaller --max-vision-workers, or {_LIMIT}",
}


def main(argv: Sequence[str], clock: Clock | None = None) -> int:
    """Run one command and return its exit code. Tests that need another day pass a `clock`."""
    try:
        args = parse(argv)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else errors.EXIT_USAGE
    except errors.CryptoserviceError as error:
        return _refuse(error, argv)
    from cryptoservice.cli import logs  # noqa: PLC0415
    from cryptoservice.cli.commands.dispatch import run  # noqa: PLC0415

    redact = logs.set_up(
        quiet=args.quiet,
        verbose=args.verbose,
        log_format=args.log_format,
        secrets=(args.api_key, args.api_secret, *_environment_secrets()),
    )
    stop = _Stop()
    try:
        with stop.on_signals():
            return run(args, clock, stop.event)
    except errors.Interrupted as error:
        return _report(stop.error(error, args.command), args, redact)
    except Exception as error:  # noqa: BLE001 - the last line of defence: one line for people, not a traceback
        return _report(known_error(error, args.command), args, redact)


def known_error(error: Exception, command: str = "") -> errors.CryptoserviceError:
    """The error of this package that tells a person what the exception means, in a run of that command."""
    if isinstance(error, errors.CryptoserviceError):
        return error
    if isinstance(error, BrokenPipeError):
        return errors.OutputError("nobody reads stdout any more")
    if isinstance(error, OSError):
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return errors.OutputError(f"{where}{error.strerror or error}")
    if isinstance(error, ModuleNotFoundError):
        return errors.CryptoserviceError(
            f"the package {error.name} is not installed", hint="install what this program needs with: pip install -e ."
        )
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return errors.CryptoserviceError("the system lets this run start no more threads", hint=_FOR_THREADS.get(command, _LIMIT))
    hint = "run again with -v for the traceback, and report it as a bug"
    return errors.CryptoserviceError(f"unexpected {type(error).__name__}: {error}", hint=hint)


def _refuse(error: errors.CryptoserviceError, argv: Sequence[str]) -> int:
    """Report arguments that could not be parsed. Their log format is honoured all the same, so it is looked up by hand."""
    from cryptoservice.cli import logs  # noqa: PLC0415

    as_json = "--log-format=json" in argv or ("--log-format", "json") in pairwise(argv)
    args = argparse.Namespace(verbose=False, log_format="json" if as_json else "text")
    return _report(
        error, args, logs.set_up(quiet=True, verbose=False, log_format=args.log_format, secrets=_environment_secrets())
    )


def _environment_secrets() -> tuple[str | None, ...]:
    return os.environ.get("BINANCE_API_KEY"), os.environ.get("BINANCE_API_SECRET")


def _report(error: errors.CryptoserviceError, args: Args, redact: Callable[[str], str]) -> int:
    import logging  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    from cryptoservice.cli.remedies import hint_of  # noqa: PLC0415

    hint = hint_of(error)
    if args.log_format == "json":
        fields = {"hint": redact(hint) if hint else None, "exit_code": error.exit_code}
        logging.getLogger("cryptoservice").error("%s", error.message, extra={"fields": fields}, exc_info=args.verbose)
    else:
        # After a hangup the terminal is gone, and the exit code alone says how the run ended.
        with suppress(OSError):
            if args.verbose and sys.exc_info()[0] is not None:
                sys.stderr.write(redact(traceback.format_exc()))
            sys.stderr.write(redact(f"error: {_one_line(error.message)}") + "\n")
            if hint:
                sys.stderr.write(redact(f"hint: {_one_line(hint)}") + "\n")
    return error.exit_code


def _one_line(text: str) -> str:
    """The text as one line that a terminal can show: a file name may hold characters that move the cursor."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(text.split()))


def _is_heard(number: signal.Signals) -> bool:
    """Whether that signal is to end the run: a hangup that `nohup` has ignored stays ignored."""
    return number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is not signal.SIG_IGN


class _Stop:
    """The stop event, and the signal that set it."""

    def __init__(self) -> None:
        import threading  # noqa: PLC0415

        self.event = threading.Event()
        self._is_main = threading.current_thread() is threading.main_thread()
        self._signal = signal.SIGINT
        self._is_told = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Each of the signals ends the run in good order; a second one ends it at once."""
        if not self._is_main:
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in _SIGNALS if _is_heard(number)}
        try:
            yield
        finally:
            # After a request to stop our handler stays: another signal then ends the process at once.
            if not self._is_told:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _handle(self, number: int, _: object) -> None:
        if self._is_told:
            os._exit(128 + number)
        self._is_told = True
        self._signal = signal.Signals(number)
        # Set in a thread: the signal may come at a moment when this thread holds the event's own lock.
        try:
            _thread.start_new_thread(self.event.set, ())
        except RuntimeError:
            self.event.set()

    def error(self, noticed: errors.Interrupted, command: str) -> errors.Interrupted:
        """The error that tells people which signal ended the run, and what is safe."""
        from cryptoservice.cli.remedies import kept_by  # noqa: PLC0415

        kept = kept_by(noticed, command)
        error = errors.Interrupted(f"interrupted by {self._signal.name}", hint="run the same command again", kept=kept)
        error.exit_code = 128 + self._signal
        return error
