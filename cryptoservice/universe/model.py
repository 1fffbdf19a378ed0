"""The universe as a value: which requested symbols had market data on which UTC day, and why the others had none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from cryptoservice.config import WindowBounds
from cryptoservice.days import Window, parse_day, shorten
from cryptoservice.errors import UsageError
from cryptoservice.models import Word
from cryptoservice.reasons import MissingReason
from cryptoservice.universe.selection import Selection

ActiveDays = Mapping[str, list[date]]
"""The active days of each symbol, the earliest first."""


PLAIN_VERSION = "2.0"
"""The schema of a universe by the exchange's list, without a ranking."""
OPT_IN_VERSION = "2.1"
"""The schema of a universe by the archive's listing or with a ranking."""


class Listing(Word):
    """Who says which symbols exist."""

    EXCHANGE = "exchange"
    """The exchange's list of what trades now."""
    ARCHIVE = "archive"
    """The folders of the archive, where contracts that have ended remain."""

    @classmethod
    def parse(cls, text: str | Listing) -> Listing:
        """The listing of that name. Raises UsageError, which lists the valid names."""
        try:
            return cls(text)
        except ValueError:
            raise UsageError(f"unknown listing {shorten(text)}", hint=f"one of: {' '.join(cls)}") from None


@dataclass(frozen=True)
class DailySnapshot:
    """One UTC day: which requested symbols had market data, and why the others had none."""

    date: date
    active_symbols: tuple[str, ...]
    missing_symbols: Mapping[str, MissingReason]


@dataclass(frozen=True)
class Universe:
    """The requested symbols over an inclusive range of UTC days, with one snapshot for each day.

    In every snapshot the active and the missing symbols together are exactly the requested ones, in the same order.
    `created_at` is an ISO 8601 time with its zone, and `selection` the parameters of the ranking, if there was one.
    """

    requested_symbols: tuple[str, ...]
    start_date: date
    end_date: date
    daily_snapshots: tuple[DailySnapshot, ...]
    created_at: str
    description: str | None = None
    listing: Listing = Listing.EXCHANGE
    selection: Selection | None = None

    @property
    def schema_version(self) -> str:
        """The version of the file format that this universe is written in."""
        is_plain = self.listing is Listing.EXCHANGE and self.selection is None
        return PLAIN_VERSION if is_plain else OPT_IN_VERSION

    @property
    def known_reasons(self) -> tuple[MissingReason, ...]:
        """The reasons that a universe of this kind can give for a missing symbol."""
        return known_reasons(self.listing, self.selection)

    @property
    def window(self) -> Window:
        """The window from the first to the last day of the universe."""
        return Window(self.start_date, self.end_date)

    @property
    def active_symbol_days(self) -> int:
        """How many symbol-days have market data."""
        return sum(len(snapshot.active_symbols) for snapshot in self.daily_snapshots)

    def subwindow(self, bounds: WindowBounds | None) -> Window:
        """The window of two optional bounds; without a bound, that of the universe holds.

        Raises UsageError when a bound is not a day or lies outside the universe, and when the bounds are reversed.
        """
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
        """The snapshots of a window that lies inside the universe, the earliest first."""
        first = window.start.toordinal() - self.start_date.toordinal()
        yield from self.daily_snapshots[first : first + window.length]

    def active_days(self, window: Window, symbols: Collection[str] | None = None) -> dict[str, list[date]]:
        """The active days of each symbol in the window, in requested order. A symbol without an active day is left out.

        With `symbols` those alone. Raises UsageError for one that was not requested.
        """
        if symbols is not None:
            self._require(symbols)
        days: dict[str, list[date]] = {name: [] for name in self.requested_symbols if symbols is None or name in symbols}
        for snapshot in self.snapshots(window):
            for symbol in snapshot.active_symbols:
                if symbol in days:
                    days[symbol].append(snapshot.date)
        return {symbol: active for symbol, active in days.items() if active}

    def _require(self, symbols: Collection[str]) -> None:
        strange = sorted(set(symbols) - set(self.requested_symbols))
        if strange:
            more = f" and {len(strange) - 1:,} more" if len(strange) > 1 else ""
            raise UsageError(f"{strange[0]}{more} not in the universe", hint="name symbols that the universe was defined with")

    def missing_counts(self, window: Window) -> Counter[MissingReason]:
        """How many symbol-days of the window are missing, by reason."""
        return Counter(reason for snapshot in self.snapshots(window) for reason in snapshot.missing_symbols.values())


def known_reasons(listing: Listing, selection: Selection | None) -> tuple[MissingReason, ...]:
    """The reasons that a universe by that listing, with or without a ranking, can give for a missing symbol."""
    by_archive = (MissingReason.NOT_IN_ARCHIVE, MissingReason.NO_KLINE_ON_DATE, MissingReason.NO_TRADES_ON_DATE)
    by_exchange = (MissingReason.NOT_IN_CURRENT_TRADING_LIST, MissingReason.NO_KLINE_ON_DATE)
    below_rank = () if selection is None else (MissingReason.BELOW_RANK,)
    return (*(by_archive if listing is Listing.ARCHIVE else by_exchange), *below_rank)
