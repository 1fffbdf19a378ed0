"""Logging to stderr: people's lines or JSON lines, with secrets taken out of every one of them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from datetime import datetime, timezone

_PACKAGE = "cryptoservice"
_REDACTED = "***"
# A shorter value would turn up in innocent words.
_SHORTEST_SECRET = 4


class Redactor:
    """Replaces known secrets in text."""

    def __init__(self, secrets: Iterable[str | None]) -> None:
        self._secrets = sorted(
            {secret for secret in secrets if secret and len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True
        )

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _REDACTED)
        return text


class _Text(logging.Formatter):
    def __init__(self, redact: Redactor) -> None:
        super().__init__("%(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        prefix = {logging.WARNING: "warning: ", logging.ERROR: "error: "}.get(record.levelno, "")
        return self._redact(prefix + super().format(record))


class _Json(logging.Formatter):
    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        if record.exc_info:
            entry["traceback"] = self._redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def set_up(*, quiet: bool, verbose: bool, log_format: str, secrets: Iterable[str | None]) -> Redactor:
    """Send this package's log to stderr; the redactor is for whatever else is printed."""
    redact = Redactor(secrets)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(redact) if log_format == "json" else _Text(redact))
    logger = logging.getLogger(_PACKAGE)
    for old in list(logger.handlers):
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    return redact
