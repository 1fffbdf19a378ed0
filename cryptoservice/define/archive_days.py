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

    Raises SourceError when an object cannot be had or trusted, or when a young day may be published later: then nobody knows
    whether it had a kline. Raises SourceRefused and Interrupted as the archive does.
    """
    search = _Search(archive, symbol, window, today)
    search.ask_days(search.ask_months())
    search.ask_days(search.inner_gaps())
    search.ask_outwards()
    search.ask_before_young_days()
    search.refuse_unread()
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
        self._life: Window | None = None
        """From the first to the last day with a kline, readable or not, also outside the window: what a month's object holds of
        other days tells that a life goes on."""
        self._asked: set[date] = set()
        self._unread: list[tuple[list[date], ArchiveFile, str]] = []
        """Days of which one at least has a kline in that object, which cannot be read, and why."""

    def ask_months(self) -> list[date]:
        """Ask for the object of every month that is over. The days of the window that this leaves open."""
        left: list[date] = []
        for month, group in itertools.groupby(self._window.days(), month_of):
            days = list(group)
            age = (self._today - month_end(month)).days
            source = ArchiveFile.monthly(Dataset.KLINES, self._symbol, Freq.d1, month)
            table = None
            if age > 0:
                try:
                    table = self._rows_of(source)
                except InvalidData as invalid:
                    # Its days have objects of their own, one of which must be there then.
                    self._unread.append((days, source, invalid.reason))
                    left += days
                    continue
            if table is not None:
                self._add(table)
                broken = [day for day in days if day in table.left_out and day not in table.days]
                self._unread += [([day], source, next(iter(table.left_out[day]))) for day in broken]
                left += broken
            elif age <= _MONTHLY_LATE_DAYS:
                left += days
        return left

    def ask_days(self, days: Iterable[date]) -> None:
        """Ask for the objects of single days."""
        for day in days:
            if day not in self._asked:
                self._asked.add(day)
                self._ask_day(day)

    def inner_gaps(self) -> list[date]:
        """The days of the window without a kline between the first and the last that have one."""
        return [day for day in self._window.days() if self._life and day in self._life and day not in self.found]

    def ask_outwards(self) -> None:
        """Follow the symbol's life beyond its first and its last day, as long as the days' own objects go on."""
        if self._life is None:
            return
        for day, step in ((self._life.start, -ONE_DAY), (self._life.end, ONE_DAY)):
            beyond = day + step
            while beyond in self._window and beyond not in self._asked:
                self.ask_days([beyond])
                if beyond not in self.found:
                    break
                beyond += step

    def ask_before_young_days(self) -> None:
        """Find out whether the symbol was alive just before the window, where its first days have no kline and are young.

        For a contract that ended long ago their absence is no wonder. For one that was alive they may only be late.
        """
        absent = self._window.start
        while self._is_young(absent) and (self._life is None or absent < self._life.start):
            absent -= ONE_DAY
            self.ask_days([absent])

    def refuse_unread(self) -> None:
        """SourceError when a kline is there that nobody can read: its day must not pass for one without a kline."""
        for days, source, reason in self._unread:
            if not any(day in self.found for day in days):
                raise _untrusted(source, reason)

    def refuse_unpublished(self) -> None:
        """SourceError when a day without a kline is so young that its kline may still be published."""
        if self._life is None:
            return
        after = self._life.end + ONE_DAY
        absent = [day for day in self.inner_gaps() if self._is_young(day)]
        if self._is_young(after):
            absent.append(max(after, self._window.start))
        late = next((day for day in absent if day in self._window), None)
        if late is not None:
            shorter = f"end the universe on {late - ONE_DAY}, or " if late > self._window.start else ""
            raise SourceError(
                f"the archive has not published the daily kline of {self._symbol} on {late} yet",
                reason="not_published",
                hint=f"{shorter}define it again in a day or two",
            )

    def _is_young(self, day: date) -> bool:
        return (self._today - day).days < ABSENCE_AGE_DAYS

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
        alive = [*table.days, *table.left_out, *(self._life or ())]
        if alive:
            self._life = Window(min(alive), max(alive))
        self.found.update((day, kline) for day, kline in symbol_days(table).items() if day in self._window)


def _untrusted(source: ArchiveFile, reason: str) -> SourceError:
    return SourceError(
        f"{source.key} cannot be trusted ({reason}), and no other source says whether {source.symbol} was traded that day",
        reason=reason,
        hint="run it again when the archive has published the file anew, or leave the symbol out",
    )
