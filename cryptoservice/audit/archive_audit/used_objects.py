"""Which archive objects a database was built from, series by series."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptoservice.days import ONE_DAY, Window
from cryptoservice.models import Dataset, SourceObject
from cryptoservice.storage.ledger import Series
from cryptoservice.storage.reader import StoreReader
from cryptoservice.universe.model import ActiveDays

_PERIOD_FORM = re.compile(r"(?P<prefix>.*-)(?P<period>[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?)\.zip\Z")


@dataclass(frozen=True)
class UsedObject:
    """One version of an archive object, and the symbol-days whose rows came from it."""

    series: Series
    version: SourceObject
    days: tuple[date, ...]
    """In order. For metrics the day before is one of them, since its last bar may stand in this object."""

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


def used_series(database: Path, active: ActiveDays, window: Window) -> list[Series]:
    """The series whose symbols are active, and of which the ledger has a line in the window."""
    with StoreReader.open(database) as store:
        return [series for series in store.series() if series.symbol in active and store.has_lines(series, window)]


def used_objects(database: Path, series: Series, active: ActiveDays, window: Window) -> list[UsedObject]:
    """The objects that the ledger names for the active symbol-days of a series in the window, ordered by name.

    `active` begins a day before the window, if the universe does. The database is open only meanwhile: whoever asks the network
    next keeps nobody from tidying up.
    """
    wanted = frozenset(active.get(series.symbol, ()))
    days: dict[SourceObject, list[date]] = {}
    with StoreReader.open(database) as store:
        lines = list(store.objects(series, Window(window.start - ONE_DAY, window.end)))
    known = {day for day, _ in lines if day in wanted} if series.dataset is Dataset.METRICS else set()
    for day, version in lines:
        if day in wanted and day >= window.start:
            # The first row of a metrics file can close the last bar of the day before (docs/wire.md, metrics files).
            days.setdefault(version, []).extend(one for one in (day - ONE_DAY, day) if one == day or one in known)
    ordered = sorted(days, key=lambda version: (version.name, version.sha256))
    return [UsedObject(series, version, tuple(sorted(set(days[version])))) for version in ordered]
