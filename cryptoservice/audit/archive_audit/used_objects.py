"""Which archive objects a database was built from, series by series."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptoservice.days import Window
from cryptoservice.models import SourceObject
from cryptoservice.storage.ledger import Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.model import ActiveDays

_PERIOD_FORM = re.compile(r"(?P<prefix>.*-)(?P<period>[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?)\.zip\Z")


@dataclass(frozen=True)
class UsedObject:
    """One version of an archive object, and the symbol-days that were built from it."""

    series: Series
    version: SourceObject
    days: tuple[date, ...]

    @property
    def name(self) -> str:
        """The path of the object inside the archive."""
        return self.version.name

    @property
    def period(self) -> str:
        """The day or the month that the object's name holds; the name itself where it holds none."""
        found = _PERIOD_FORM.match(self.name)
        return found["period"] if found else self.name

    @property
    def prefix(self) -> str:
        """What the names of the same symbol's other objects begin with."""
        found = _PERIOD_FORM.match(self.name)
        return found["prefix"] if found else self.name


def used_series(database: Path, active: ActiveDays) -> list[Series]:
    """The series of the database whose symbols are active."""
    with StoreReader.open(database) as store:
        return [series for series in store.series() if series.symbol in active]


def used_objects(database: Path, series: Series, active: ActiveDays, window: Window) -> list[UsedObject]:
    """The objects that the ledger names for the active symbol-days of a series in the window, ordered by name.

    The database is open only meanwhile: whoever asks the network next keeps nobody from tidying up.
    """
    wanted = frozenset(active.get(series.symbol, ()))
    days: dict[SourceObject, list[date]] = {}
    with StoreReader.open(database) as store:
        for day, version in store.objects(series, window):
            if day in wanted:
                days.setdefault(version, []).append(day)
    return [UsedObject(series, version, tuple(days[version])) for version in sorted(days, key=lambda one: (one.name, one.sha256))]
