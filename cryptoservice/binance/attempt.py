"""What one attempt can bring: an answer, or trouble that is worth another attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, wholly read. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def server_time(self) -> float | None:
        """Epoch seconds of the `Date` header, or None."""
        try:
            return parsedate_to_datetime(self.headers["date"]).timestamp()
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    @property
    def used_weight(self) -> int:
        """The host's count of weight used by this IP address in the running minute; -1 when it does not say."""
        text = self.headers.get("x-mbx-used-weight-1m", "")
        return int(text) if text.isdecimal() and len(text) < 10 else -1


class Transient(Exception):
    """Something that may well be gone at the next attempt."""

    def __init__(self, reason: str, detail: str = "", *, patience: float = 1.0) -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.patience = patience
        """Multiplies the back-off: an overloaded system wants more than a lost packet."""


class Throttled(Exception):
    """The host asks for less: pause until that epoch second."""

    def __init__(self, until: float, what: str, *, told: bool, ban: bool) -> None:
        super().__init__(what)
        self.until = until
        self.what = what
        self.told = told
        """The host named the time itself."""
        self.ban = ban
        """It will not answer at all until then."""
