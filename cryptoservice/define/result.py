"""What a define made, as its report says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from cryptoservice.models import Record
from cryptoservice.universe.model import Universe
from cryptoservice.universe.notices import nothing_active_notice


@dataclass(frozen=True, repr=False)
class DefineResult(Record):
    """What `define_universe` made, and what it cost."""

    KEYS: ClassVar = (
        "universe_file", "schema_version", "requested_symbols", "daily_snapshots", "active_symbol_days", "start_date", "end_date",
        "requests", "retries", "waited_seconds", "elapsed_seconds", "suggestions",
    )  # fmt: skip

    universe_file: str | None
    """None when it was not written to a file."""
    universe: Universe
    requests: Mapping[str, int]
    """Requests sent, by source name."""
    retries: int
    waited_seconds: float
    elapsed_seconds: float
    suggestions: Mapping[str, str]
    """For a requested symbol that is not listed, a listed one with nearly the same name."""

    @property
    def schema_version(self) -> str:
        """The version of the file format."""
        return self.universe.schema_version

    @property
    def nothing_active(self) -> str | None:
        """The sentence for a universe without any active symbol-day, with the names that were meant; None when it has one."""
        notice = nothing_active_notice(self.universe, self.universe.window)
        if notice is None or not self.suggestions:
            return notice
        return f"{notice}; did you mean {', '.join(self.suggestions.values())}?"

    @property
    def requested_symbols(self) -> int:
        """How many symbols were asked for."""
        return len(self.universe.requested_symbols)

    @property
    def daily_snapshots(self) -> int:
        """How many days the universe has."""
        return len(self.universe.daily_snapshots)

    @property
    def active_symbol_days(self) -> int:
        """How many symbol-days have market data."""
        return self.universe.active_symbol_days

    @property
    def start_date(self) -> date:
        """First day of the universe."""
        return self.universe.start_date

    @property
    def end_date(self) -> date:
        """Last day of the universe."""
        return self.universe.end_date
