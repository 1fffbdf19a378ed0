"""`python -m cryptoservice`, and the console script of the same name."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from cryptoservice.cli import main


def run() -> None:
    """Run the command line and end the process with its exit code."""
    code = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if threading.active_count() > 1:
        # An interrupted or refused run leaves threads that wait for a socket; nobody should wait for them in turn.
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
