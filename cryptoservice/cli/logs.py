"""Logging to stderr: lines for people or JSON lines. Secrets are taken out of every line.

Lines of text carry their time (UTC) where they are kept: in a file or a pipe, and with --verbose.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable
from datetime import datetime, timezone

from cryptoservice.config import REDACTED, SHORTEST_SECRET
from cryptoservice.progress import Display, use_display

_PACKAGE = "cryptoservice"
OUTCOME = f"{_PACKAGE}.outcome"
"""The logger whose warnings are shown with --quiet, too: they say how a run ended whose exit code does not say it."""


class Redactor:
    """Replaces known secrets in text."""

    def __init__(self, secrets: Iterable[str | None]) -> None:
        # A variable may hold a key with a line end. The key is used without it, so both forms are secret.
        secrets = [form for secret in secrets if secret for form in (secret, secret.strip())]
        self._secrets = sorted({secret for secret in secrets if secret and len(secret) >= SHORTEST_SECRET}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text


class _Text(logging.Formatter):
    def __init__(self, redact: Redactor, *, timed: bool) -> None:
        super().__init__("%(message)s")
        self._redact = redact
        self._timed = timed

    def format(self, record: logging.LogRecord) -> str:
        prefix = {logging.WARNING: "warning: ", logging.ERROR: "error: "}.get(record.levelno, "")
        # An error begins with that word everywhere: programs look for it.
        if self._timed and record.levelno < logging.ERROR:
            prefix = f"{datetime.fromtimestamp(record.created, timezone.utc):%Y-%m-%dT%H:%M:%SZ} {prefix}"
        text = super().format(record)
        if record.exc_info is None:
            text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
        return self._redact(prefix + text)


class _Json(logging.Formatter):
    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["traceback"] = self._redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # not subscriptable before Python 3.11
    """Writes to stderr, above the progress line of a terminal."""

    def __init__(self, display: Display | None) -> None:
        super().__init__(sys.stderr)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        if self._display is None:
            super().emit(record)
        else:
            self._display.write_above(self.format(record))


def set_up(*, quiet: bool, verbose: bool, log_format: str, secrets: Iterable[str | None]) -> Redactor:
    """Send this package's log to stderr. The redactor that comes back is for everything else that is printed."""
    redact = Redactor(secrets)
    display = None
    on_terminal = sys.stderr.isatty()
    if not quiet and log_format == "text" and on_terminal and os.environ.get("TERM") != "dumb":
        display = Display(sys.stderr)
    use_display(display)
    handler = _Handler(display)
    handler.setFormatter(_Json(redact) if log_format == "json" else _Text(redact, timed=verbose or not on_terminal))
    logger = logging.getLogger(_PACKAGE)
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    logging.getLogger(OUTCOME).setLevel(logging.WARNING)
    return redact
