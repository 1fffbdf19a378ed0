"""Memory that goes back to the system when it is freed."""

from __future__ import annotations

import contextlib

_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 * 1024


def return_large_blocks() -> None:
    """Let the C library give every large block back at once; without effect where it is not glibc.

    glibc learns from the first large blocks to keep later ones, in a store for each thread. With ten threads and objects of
    megabytes that is a third of all memory. The setting is the whole process's: for our commands and helpers, not for callers.
    """
    # A Python that was built without libffi has no ctypes.
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes  # noqa: PLC0415 - only long runs need it

        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
