"""The days of a symbol by the archive alone: one object of daily klines a month, and daily objects for what it leaves open."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import date

from cryptoservice.binance.archive import Archive
from cryptoservice.binance.archive_files import ArchiveFile, read_zip
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import ONE_DAY, Window, month_end, month_of
from cryptoservice.define.symbol_days import DailyKline, symbol_days
from cryptoservice.errors import SourceError
from cryptoservice.models import Dataset, Freq
from cryptoservice.sources.union import ABSENCE_AGE_DAYS

# A month's object appears in the first half of the next month, seldom later (docs/wire.md, publication). Until then its absence
# says nothing, and the days' own objects are asked.
_MONTHLY_LATE_DAYS = 31


def archive_days(archive: Archive, symbol: str, window: Window, today: date) -> dict[date, DailyKline]:
    """The symbol's days in the window by the archive alone.

    A month that the archive holds no object of, long after its publication, has no kline of the symbol: contracts begin and end,
    and to ask for each of such days would cost thousands of requests. Days inside a symbol's life, and those just outside it,
    are asked for one by one, because a month's object can lack days that have objects of their own (docs/wire.md).

    Raises SourceError when an object cannot be had or trusted, or when the last days are not published yet: then nobody knows
    whether they had a kline. Raises SourceRefused and Interrupted as the archive does.
    """
    search = _Search(archive, symbol, window, today)
    search.ask_days(search.ask_months())
    search.ask_days(search.inner_gaps())
    search.ask_outwards()
    search.refuse_unpublished()
    return search.found


def archive_single_days(archive: Archive, symbol: str, days: Sequence[date], today: date) -> dict[date, DailyKline]:
    """The same for a few days, each by its own object."""
    search = _Search(archive, symbol, Window(min(days), max(days)), today)
    search.ask_days(days)
    return search.found


class _Search:
    """What is known of one symbol so far."""

    def __init__(self, archive: Archive, symbol: str, window: Window, today: date) -> None:
        self._archive = archive
        self._symbol = symbol
        self._window = window
        self._today = today
        self.found: dict[date, DailyKline] = {}
        self._asked: set[date] = set()
        self._months: set[date] = set()
        """Months, each by its first day, whose object was there."""

    def ask_months(self) -> list[date]:
        """Ask for the object of every month that is over. The days of the window that this leaves open."""
        left: list[date] = []
        for month, group in itertools.groupby(self._window.days(), month_of):
            days = list(group)
            age = (self._today - month_end(month)).days
            is_final = age > _MONTHLY_LATE_DAYS
            table = None
            if age > 0:
                try:
                    table = self._rows_of(ArchiveFile.monthly(Dataset.KLINES, self._symbol, Freq.d1, month))
                except InvalidData:
                    # Its days have objects of their own, which must answer then.
                    is_final = False
            if table is not None:
                self._months.add(month)
                self._add(table)
                left += [day for day in days if day in table.left_out and day not in table.days]
            elif not is_final:
                left += days
        return left

    def ask_days(self, days: Iterable[date]) -> None:
        """Ask for the objects of single days."""
        for day in days:
            if day not in self._asked:
                self._asked.add(day)
                self._ask_day(day)

    def inner_gaps(self) -> list[date]:
        """The days without a kline between the first and the last that have one."""
        if not self.found:
            return []
        return [day for day in Window(min(self.found), max(self.found)).days() if day not in self.found]

    def ask_outwards(self) -> None:
        """Follow the symbol's life beyond its first and its last day, as long as the days' own objects go on."""
        if not self.found:
            return
        for day, step in ((min(self.found), -ONE_DAY), (max(self.found), ONE_DAY)):
            beyond = day + step
            while beyond in self._window and beyond not in self._asked and month_of(beyond) in self._months:
                self.ask_days([beyond])
                if beyond not in self.found:
                    break
                beyond += step

    def refuse_unpublished(self) -> None:
        """SourceError when the symbol's klines end so near to today that later ones may still be published."""
        if not self.found:
            return
        first_missing = max(self.found) + ONE_DAY
        if first_missing in self._window and (self._today - first_missing).days < ABSENCE_AGE_DAYS:
            raise SourceError(
                f"the archive has not published the daily kline of {self._symbol} on {first_missing} yet",
                reason="not_published",
                hint=f"end the universe on {first_missing - ONE_DAY}, or define it again in a day or two",
            )

    def _ask_day(self, day: date) -> None:
        source = ArchiveFile.daily(Dataset.KLINES, self._symbol, Freq.d1, day)
        try:
            table = self._rows_of(source)
        except InvalidData as invalid:
            raise _untrusted(source, invalid.reason) from None
        if table is not None:
            self._add(table)
            if day in table.left_out and day not in table.days:
                raise _untrusted(source, next(iter(table.left_out[day])))

    def _rows_of(self, source: ArchiveFile) -> RowsByDay | None:
        archived = self._archive.fetch(source)
        return None if archived is None else read_zip(archived)

    def _add(self, table: RowsByDay) -> None:
        self.found.update((day, kline) for day, kline in symbol_days(table).items() if day in self._window)


def _untrusted(source: ArchiveFile, reason: str) -> SourceError:
    return SourceError(
        f"{source.key} cannot be trusted ({reason}), and no other source says whether {source.symbol} was traded that day",
        reason=reason,
        hint="run it again when the archive has published the file anew, or leave the symbol out",
    )
