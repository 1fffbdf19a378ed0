"""Reading: what a fetch brought home, as one witness for each of its days. Pure, so that it can run in a helper process."""

from __future__ import annotations

from datetime import date

from cryptoservice.binance.objects import ArchivedZip, read_zip
from cryptoservice.binance.tables import DayTable, InvalidTable
from cryptoservice.days import utc_text
from cryptoservice.models import SourceObject
from cryptoservice.plan import Fetch, Testimony, Witness

Fetched = ArchivedZip | DayTable | Witness
"""What a fetch brings home: an unopened zip, checked REST rows, or the same word for all its days."""


def witnesses_of(fetch: Fetch, fetched: Fetched) -> dict[date, Witness]:
    """One witness for each day of the fetch; archive objects are opened and parsed here."""
    if isinstance(fetched, Witness):
        return dict.fromkeys(fetch.days, fetched)
    origin = None
    if isinstance(fetched, ArchivedZip):
        origin = SourceObject(fetched.source.key, fetched.sha256, fetched.last_modified, utc_text(fetched.fetched_at))
        try:
            table = read_zip(fetched)
        except InvalidTable as invalid:
            return dict.fromkeys(fetch.days, Witness(Testimony.DISTRUSTED, reason=invalid.reason))
    else:
        table = fetched
    conflict = Witness(Testimony.DISTRUSTED, reason="conflicting_rows")
    return {
        day: conflict if day in table.conflicting else Witness(Testimony.ROWS, table.days.get(day, ()), table.note, origin)
        for day in fetch.days
    }
