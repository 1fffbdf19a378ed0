"""Helper processes of the command line: an executor whose processes end with this one, whatever ends it.

Library functions take any executor. They make none themselves, since a process that is spawned imports the caller's main
module again: a script without a main guard would run twice.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import connection
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A supervisor may tell all processes of a run to end. The run itself then ends its helpers; one that is left goes after this.
_GRACE_SECONDS = 1.0
_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 * 1024


class HelperProcesses(ProcessPoolExecutor):
    """So many processes, started when they are first needed; made anew by `spawn`, which is safe beside threads."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        super().__init__(count, mp_context=context, initializer=_begin)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As every executor; a process that is started on the way inherits blocked signals until it can ignore them."""
        with _blocked_signals():
            return super().submit(fn, *args, **kwargs)


@contextlib.contextmanager
def helper_processes(most: int) -> Iterator[HelperProcesses | None]:
    """An executor of at most so many processes, fewer than there are processors; None where that leaves none.

    At the end what waits is cancelled, and what runs is waited for.
    """
    count = min(most, (os.cpu_count() or 1))
    helpers = None
    if (os.cpu_count() or 1) > 1 and count > 0:
        # A system without semaphores has no process pools.
        with contextlib.suppress(ImportError, OSError):
            helpers = HelperProcesses(count)
    try:
        yield helpers
    finally:
        if helpers is not None:
            helpers.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # pragma: no cover - Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """The first thing that a helper process does."""
    # Ctrl-C reaches every process of a terminal; only the run decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_soon)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    return_large_blocks()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_soon(*_: object) -> None:
    timer = threading.Timer(_GRACE_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _end_with_parent() -> None:
    """A run that is killed cannot end its helpers, which would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def return_large_blocks() -> None:
    """Let the C library give every large block back at once; without effect where it is not glibc.

    glibc learns from the first large blocks to keep later ones, in a store for each thread. With ten threads and objects of
    megabytes that is a third of all memory. The setting is the whole process's: for our commands and helpers, not for callers.
    """
    # A Python that was built without libffi has no ctypes.
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes  # noqa: PLC0415 - only long runs need it

        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
