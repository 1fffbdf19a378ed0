"""Helper processes for pure functions: parsing and formatting beside the thread that writes, past the interpreter lock.

They are plain child processes that speak pickle over their standard streams. multiprocessing would import the caller's main
module again in each child, which is not ours: a script that calls this library without a main guard would run twice.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from cryptoservice.errors import CryptoserviceError
from cryptoservice.memory import return_large_blocks

T = TypeVar("T")
_START = "from cryptoservice.workers import serve; serve()"
# `python -c` looks for modules in the current folder first: where its parent does not, a helper must not either.
_START_ELSEWHERE = f"import sys; sys.path[:] = filter(None, sys.path); {_START}"
# A helper needs nothing secret, and what it does not know it cannot show in a process listing.
_SECRETS = ("BINANCE_API_KEY", "BINANCE_API_SECRET", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_END_SECONDS = 2.0


class HelperLost(CryptoserviceError):
    """A helper process ended before it had answered, or could not be started, for instance for lack of memory."""


class HelperPool:
    """So many child processes, or none, started when first needed.

    `submit` is as with an executor, for functions that can be imported.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._threads = ThreadPoolExecutor(max(1, count), thread_name_prefix="helper")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._children: list[subprocess.Popen[bytes]] = []
        self._closed = False

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run it in the next free helper. The future fails with what the function raised, or with HelperLost."""
        return self._threads.submit(self._call, function, arguments)

    def warm_up(self) -> None:
        """Start the helpers now, beside whatever else has to happen first."""
        for _ in range(self.count):
            self._threads.submit(self._child)

    def close(self) -> None:
        """End the helpers, whatever they are doing."""
        with self._lock:
            self._closed = True
            children, self._children = self._children, []
        self._threads.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.kill()
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_END_SECONDS)

    def _call(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        child = self._child()
        assert child.stdin is not None  # noqa: S101 - both are pipes, see _start
        assert child.stdout is not None  # noqa: S101
        try:
            pickle.dump((function, arguments), child.stdin, pickle.HIGHEST_PROTOCOL)
            child.stdin.flush()
            succeeded, answer = pickle.load(child.stdout)  # noqa: S301 - our own child speaks
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            self._lose(child)
            raise HelperLost("a helper process ended unexpectedly", hint="is there enough memory?") from None
        if not succeeded:
            raise answer
        result: T = answer
        return result

    def _lose(self, child: subprocess.Popen[bytes]) -> None:
        """See the process off: as long as nobody has waited for it, its number counts as that of a living one."""
        self._own.child = None
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_END_SECONDS)
        with self._lock:
            if child in self._children:
                self._children.remove(child)

    def _child(self) -> subprocess.Popen[bytes]:
        child: subprocess.Popen[bytes] | None = getattr(self._own, "child", None)
        if child is None:
            with self._lock:
                if self._closed:
                    raise HelperLost("the helpers are closed")
                try:
                    child = self._own.child = _start()
                except OSError as error:
                    what = f"a helper process could not be started ({error.strerror or error})"
                    raise HelperLost(what, hint="is there enough memory?") from None
                self._children.append(child)
        return child


def _start() -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name.upper() not in _SECRETS}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(  # noqa: S603 - a literal
        [sys.executable, "-c", _START if "" in sys.path else _START_ELSEWHERE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        # Ctrl-C reaches every process of the terminal's group, also one that cannot ignore it yet; only the parent decides
        # what it means.
        start_new_session=True,
    )


def serve() -> None:
    """The helper's side: answer calls until the other end hangs up, as it does when the parent dies."""
    # A supervisor may tell all its processes to end; the parent ends its helpers itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return_large_blocks()
    if sys.stderr is None:
        # Closed, perhaps by a supervisor: what takes the place of stderr must not be the answers.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Nothing that a library prints may get between the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while True:
        try:
            function, arguments = pickle.load(calls)  # noqa: S301 - our own parent speaks
        except EOFError:
            return
        try:
            outcome: tuple[bool, Any] = (True, function(*arguments))
        except Exception as error:  # noqa: BLE001 - raised again in the parent
            outcome = (False, error)
        try:
            pickle.dump(outcome, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except OSError:
            # The parent is gone, and with it whoever would read a complaint.
            os._exit(1)
