"""The error tree. Each family carries the exit code that the command line answers with.

CryptoserviceError                 1   anything that ends a run
|-- UsageError                     2   a flag, a date, a symbol list or an input file that cannot be used
|-- StoreError                     1   the database cannot be opened, read or written
|   `-- StoreBusy                  5   another run holds it
|-- OutputError                    1   a result file cannot be written
|-- SourceError                    1   a source did not answer usably, after all retries
|   |-- SymbolRefused              -   the API does not serve this symbol (-1121, -1122): one symbol's outcome
|   |-- HistoryEnded               -   the API keeps no data this old (-1130): one request's outcome
|   `-- SourceRefused              4   the host refuses this address: a long ban, 403, 451
`-- Interrupted            130 / 143   SIGINT, SIGTERM, or a set stop event

This module imports nothing of the package.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INCOMPLETE = 3
EXIT_REFUSED = 4
EXIT_BUSY = 5
EXIT_SIGINT = 130
EXIT_SIGTERM = 143


class CryptoserviceError(Exception):
    """Root of all errors of this package: one sentence on what happened, and a hint on what to do."""

    exit_code = EXIT_FAILURE

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(CryptoserviceError):
    """The caller's input cannot be used; nothing was fetched or written."""

    exit_code = EXIT_USAGE


class StoreError(CryptoserviceError):
    """The database cannot be opened, read or written."""


class StoreBusy(StoreError):
    """Another run holds the database."""

    exit_code = EXIT_BUSY


class OutputError(CryptoserviceError):
    """A result file or folder cannot be written."""


class SourceError(CryptoserviceError):
    """A source did not answer usably, after all retries."""

    def __init__(self, message: str, *, reason: str = "request_failed", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        """A short stable word for reports, such as `http_500` or `connection_error`."""


class SymbolRefused(SourceError):
    """The API does not serve this symbol (code -1121 or -1122)."""


class HistoryEnded(SourceError):
    """The API does not keep data this old (code -1130)."""


class SourceRefused(SourceError):
    """The host refuses to serve this address: a ban beyond the wait limit, HTTP 403 or HTTP 451."""

    exit_code = EXIT_REFUSED


class Interrupted(CryptoserviceError):
    """The run was asked to stop: SIGINT, SIGTERM, or a `stop` event that was set."""

    exit_code = EXIT_SIGINT

    def __init__(self, message: str = "interrupted", *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
