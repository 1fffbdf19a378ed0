"""The universe: which requested symbol had market data on which UTC day, and why the others had none. Pure values, no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from cryptoservice.config import WindowBounds
from cryptoservice.days import Window, parse_day
from cryptoservice.errors import UsageError
from cryptoservice.models import MissingReason

ActiveDays = Mapping[str, list[date]]
"""The active days of each symbol, in order."""


@dataclass(frozen=True)
class DailySnapshot:
    """One UTC day: which requested symbols had market data, and why the others had none."""

    date: date
    active_symbols: tuple[str, ...]
    missing_symbols: Mapping[str, MissingReason]


@dataclass(frozen=True)
class Universe:
    """Requested symbols over an inclusive range of UTC days, with one snapshot a day."""

    requested_symbols: tuple[str, ...]
    start_date: date
    end_date: date
    daily_snapshots: tuple[DailySnapshot, ...]
    created_at: str
    description: str | None = None

    @property
    def window(self) -> Window:
        """All days of the universe."""
        return Window(self.start_date, self.end_date)

    @property
    def active_symbol_days(self) -> int:
        """How many symbol-days have market data."""
        return sum(len(snapshot.active_symbols) for snapshot in self.daily_snapshots)

    def subwindow(self, bounds: WindowBounds | None) -> Window:
        """The window of two optional bounds; UsageError when one lies outside the universe, or when they are reversed."""
        bounds = bounds or WindowBounds()
        window = Window(
            self.start_date if bounds.start_date is None else parse_day(bounds.start_date, "start date"),
            self.end_date if bounds.end_date is None else parse_day(bounds.end_date, "end date"),
        )
        whole = f"the universe covers {self.start_date} to {self.end_date}"
        for bound, name in ((window.start, "start date"), (window.end, "end date")):
            if bound not in self.window:
                raise UsageError(f"the {name} {bound} lies outside the universe", hint=whole)
        if window.end < window.start:
            raise UsageError(f"the window ends {window.end}, before it starts {window.start}", hint=whole)
        return window

    def snapshots(self, window: Window) -> Iterator[DailySnapshot]:
        """The snapshots of that window, in order."""
        first = window.start.toordinal() - self.start_date.toordinal()
        yield from self.daily_snapshots[first : first + window.length]

    def active_days(self, window: Window) -> dict[str, list[date]]:
        """Active days of each symbol inside the window, in requested order; symbols without any are left out."""
        days: dict[str, list[date]] = {symbol: [] for symbol in self.requested_symbols}
        for snapshot in self.snapshots(window):
            for symbol in snapshot.active_symbols:
                days[symbol].append(snapshot.date)
        return {symbol: active for symbol, active in days.items() if active}

    def missing_counts(self, window: Window) -> Counter[MissingReason]:
        """How many symbol-days of the window are not active, by reason."""
        return Counter(reason for snapshot in self.snapshots(window) for reason in snapshot.missing_symbols.values())
