"""`python -m cryptoservice`, and the console script of the same name."""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def _ending_signals() -> list[signal.Signals]:
    """The signals that end a run. Where `nohup` or a supervisor has the hangup ignored, it stays ignored."""
    hangup = getattr(signal, "SIGHUP", None)
    is_heard = hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([hangup] if hangup is not None and is_heard else [])]


def _end_at_once(number: int, _: object) -> None:
    """A signal before the command has begun: there is nothing yet to end in good order."""
    with contextlib.suppress(OSError):
        os.write(2, f"error: interrupted by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


def _fill_closed_streams() -> None:
    """Some supervisors start their children with closed streams. No file of ours may get the number of one."""
    with contextlib.suppress(OSError):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def run() -> None:
    """Run the command line and end the process with its exit code."""
    for number in _ending_signals():
        signal.signal(number, _end_at_once)
    _fill_closed_streams()
    from cryptoservice.cli.main import main  # noqa: PLC0415

    code = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    # Not sys.exit: the interpreter would wait for threads that wait for a socket, and complain about streams that nobody reads.
    os._exit(code)


if __name__ == "__main__":
    run()
