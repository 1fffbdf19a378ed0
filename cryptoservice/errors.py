"""The errors of this package as a tree. Each class carries the exit code of the command line.

CryptoserviceError                 1   anything that ends a run
|-- UsageError                     2   a flag, a date, a symbol list or an input file that cannot be used
|-- StoreError                     1   the database cannot be opened, read or written
|   `-- StoreBusy                  5   another run holds it
|-- OutputError                    1   a result file cannot be written
|-- SourceError                    1   a source gave no usable response, after all retries
|   |-- SymbolRefused              -   the API does not serve this symbol (-1121, -1122): one symbol's outcome
|   |-- HistoryEnded               -   the API keeps no data this old (-1130): one request's outcome
|   `-- SourceRefused              4   the host refuses this address: a long ban, 403, 451
|-- NetworkSetupError              1   a package, a proxy, a certificate or the API key cannot work: no retry can mend it
`-- Interrupted      129 / 130 / 143   SIGHUP, SIGINT, SIGTERM, or a set stop event

This module imports nothing of the package.
"""

from __future__ import annotations

from enum import Enum

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INCOMPLETE = 3
EXIT_REFUSED = 4
EXIT_BUSY = 5
EXIT_SIGHUP = 129
EXIT_SIGINT = 130
EXIT_SIGTERM = 143


class Remedy(Enum):
    """What a caller can do about an error, in words for callers of the library and of the command line alike.

    The command line has its own wording for each of them, which names its flags (`cli/remedies.py`). The facts of the error
    replace the names in braces.
    """

    REPLACE_FILE = "choose another name, or allow the existing file to be replaced"
    REPLACE_UNIVERSE = "a universe is immutable: choose another name, or allow the existing file to be replaced"
    DEFINE_FIRST = "define a universe first"
    DOWNLOAD_FIRST = "download into it first"
    DOWNLOAD_METRICS = "download the market metrics first"
    LOCK_FIRST = "lock the dataset first"
    LOCK_WINDOW = "leave the dates out, or lock that window"
    NAME_SYMBOLS = "name at least one symbol, such as BTCUSDT"
    NAME_A_FOLDER = "name a folder"
    NAME_A_SAMPLE = "say how many symbol-days to draw"
    KEEP_SOMETHING = "leave one of them in"
    CHECK_API_KEY = "check the key, or BINANCE_API_KEY in the environment"
    OTHER_DATABASE = "choose another database file"
    NEWER_DATABASE = "use the version of cryptoservice that wrote it, or choose another database file"
    RESTORE_DATABASE = "restore it from a copy, or download again into another database file"
    VERIFY_DATABASE = "something else has written to it: verify the database"
    MORE_RETRIES = "run it again; if the error stays, look at the network or allow more retries"
    CHECK_NETWORK = "check the network, then run it again; with more retries a run waits longer for a host"
    WAIT_FOR_BAN = "run it again after {until}, or allow a longer wait for a ban (now {longest:g} s)"
    LIST_ARCHIVE = "the archive is not blocked: take the symbols from the archive's listing, or run from another location"
    CHECK_LISTING_URL = "check the listing's base URL: it must be that of the bucket, not of the download host"
    USE_ARCHIVE = "the archive is not blocked: take the klines from the archive alone, or run from another location"


class CryptoserviceError(Exception):
    """The root of all errors of this package.

    `message` says what happened, and `hint` says what to do about it. When the hint is given as a Remedy, `remedy` holds it and
    `hint` is its sentence.
    """

    exit_code = EXIT_FAILURE

    def __init__(self, message: str, *, hint: str | Remedy | None = None, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = hint if isinstance(hint, Remedy) else None
        self.facts = facts
        """The values that the wording of the remedy needs, such as a time."""
        self.hint = hint.value.format(**facts) if isinstance(hint, Remedy) else hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


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
    """A source gave no usable response, after all retries."""

    def __init__(
        self, message: str, *, reason: str = "request_failed", hint: str | Remedy | None = None, **facts: object
    ) -> None:
        super().__init__(message, hint=hint, **facts)
        self.reason = reason
        """A short stable word for reports, such as `http_500` or `connection_error`."""


class SymbolRefused(SourceError):
    """The API does not serve this symbol (code -1121 or -1122)."""


class HistoryEnded(SourceError):
    """The API does not keep data this old (code -1130)."""


class SourceRefused(SourceError):
    """The host refuses this address: a ban that lasts longer than the wait limit, HTTP 403 or HTTP 451."""

    exit_code = EXIT_REFUSED


class NetworkSetupError(CryptoserviceError):
    """Something on this machine keeps every request from succeeding: a package, a proxy, a certificate or the API key.

    No retry can mend it, so it ends a run at once.
    """


class Interrupted(CryptoserviceError):
    """The run was asked to stop: by SIGHUP, SIGINT or SIGTERM, or by a `stop` event that was set."""

    exit_code = EXIT_SIGINT

    def __init__(self, message: str = "interrupted", *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
