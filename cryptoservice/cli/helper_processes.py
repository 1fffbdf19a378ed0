"""Helper processes of the command line: an executor whose processes end with this one, whatever ends it.

Library functions take any executor and make none themselves. The command line makes this one before it starts a thread, so
that it can fork: a helper has everything that this process has imported, and it runs no caller's main module again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from cryptoservice.clock import POLL_SECONDS, raise_if_stopped

# Windows has no hangup.
_SIGNALS = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
# A supervisor may tell all processes of a run to end. The run itself then ends its helpers; one that is left goes after this.
_GRACE_SECONDS = 1
_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 * 1024

Pipe = connection.Connection
Helper = tuple[BaseProcess, Pipe]


class HelperTraceback(Exception):
    """The cause of an error that a function raised in a helper: the traceback there, as text."""


class HelperProcesses(Executor):
    """So many processes, forked at once, each with a pipe of its own. They are ended when `stop` is set.

    ProcessPoolExecutor is no choice. Its processes share one pipe for their results, and when one is killed in the middle of
    a result, the pool waits for the rest for ever. Where it spawns, its processes import from the current folder, and its
    semaphores make a process of their own complain when a run is killed.
    """

    def __init__(self, count: int, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="helper")
        self._helpers: list[Helper] = []
        self._free: queue.SimpleQueue[Helper] = queue.SimpleQueue()
        self._is_broken = False
        try:
            for _ in range(count):
                self._helpers.append(_start([pipe for _, pipe in self._helpers]))
                self._free.put(self._helpers[-1])
        except OSError:
            self.shutdown()
            raise

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As every executor. The future fails with what the function raised, with BrokenExecutor, or with Interrupted."""
        return self._threads.submit(self._call, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As every executor; without `wait` the helpers live as long as this process."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        if wait:
            helpers, self._helpers = self._helpers, []
            # A helper ends when the other end of its pipe is closed.
            for _, pipe in helpers:
                pipe.close()
            for process, _ in helpers:
                process.join(_GRACE_SECONDS)
                _end(process)
                process.close()

    def _call(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Runs in a thread; there are as many as helpers, so that one of them is always free."""
        call = pickle.dumps((fn, args, kwargs), pickle.HIGHEST_PROTOCOL)
        process, pipe = helper = self._free.get()
        try:
            answer = self._ask(pipe, call)
        except (EOFError, OSError, MemoryError):
            self._is_broken = True
            # Until somebody has waited for it, a dead process counts as one that runs, and so do its temporary files.
            _end(process)
            raise_if_stopped(self._stop)
            raise BrokenExecutor("a helper process ended unexpectedly") from None
        finally:
            self._free.put(helper)
        outcome, error, cause = pickle.loads(answer)  # noqa: S301 - our own helper speaks
        if error is not None:
            raise error from HelperTraceback(cause)
        return outcome

    def _ask(self, pipe: Pipe, call: bytes) -> bytes:
        if self._is_broken:
            raise EOFError
        pipe.send_bytes(call)
        while not pipe.poll(POLL_SECONDS):
            if self._stop.is_set():
                raise EOFError
        return pipe.recv_bytes()


@contextlib.contextmanager
def helper_processes(most: int, stop: threading.Event) -> Iterator[HelperProcesses | None]:
    """An executor of at most so many processes, not more than there are processors; None where helpers are of no use.

    At the end what waits is cancelled, and what runs is waited for. When `stop` is set, what runs is ended.
    """
    processors = os.cpu_count() or 1
    helpers = None
    # What another thread holds at the moment of a fork, such as a lock, would stay held in the helper.
    if processors > 1 and threading.active_count() == 1:
        # A system may have no fork at all, or no memory for one.
        with contextlib.suppress(ValueError, OSError):
            helpers = HelperProcesses(min(most, processors), stop)
    try:
        yield helpers
    finally:
        if helpers is not None:
            helpers.shutdown(wait=True, cancel_futures=True)


def _start(others: Sequence[Pipe]) -> Helper:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    with theirs, _blocked_signals():
        process = context.Process(target=_serve, args=(theirs, [*others, ours]), daemon=True)
        try:
            process.start()
        except OSError:
            ours.close()
            raise
    return process, ours


def _end(process: BaseProcess) -> None:
    process.kill()
    process.join()


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """A helper inherits that signals wait, until it has said what it does about them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(calls: Pipe, not_ours: Sequence[Pipe]) -> None:
    """The helper's side: answer calls until the other end of the pipe is closed."""
    for pipe in not_ours:
        pipe.close()
    try:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    except RuntimeError:
        # The system allows no more threads. Nobody would end this helper if its run were killed, so the run does without.
        os._exit(1)
    # Ctrl-C and a hangup reach every process of a terminal; only the run decides what they mean.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_SECONDS))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    with contextlib.suppress(EOFError, OSError):
        while True:
            calls.send_bytes(_answer(calls.recv_bytes()))


def _answer(call: bytes) -> bytes:
    """The result of a call, its error, and the traceback of the error."""
    try:
        fn, args, kwargs = pickle.loads(call)  # noqa: S301 - our own parent speaks
        return pickle.dumps((fn(*args, **kwargs), None, None), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - raised again in the parent
        return pickle.dumps((None, error, traceback.format_exc()), pickle.HIGHEST_PROTOCOL)


def _end_with_parent() -> None:
    """A run that is killed cannot end its helpers, which may be busy for long."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def return_large_blocks() -> None:
    """Let the C library give every large block back at once; without effect where it is not glibc.

    glibc learns from the first large blocks to keep later ones, in a store for each thread. With ten threads and archive files
    of megabytes that is a third of all memory. The setting holds for the whole process, so only our commands make it.
    """
    # A Python that was built without libffi has no ctypes.
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes  # noqa: PLC0415 - only long runs need it

        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
