"""Runs the command that was named, once its arguments have a meaning that does not change while it runs."""

from __future__ import annotations

import threading
from datetime import date

from cryptoservice.cli import reports
from cryptoservice.cli.commands import data, inspection, universes
from cryptoservice.cli.commands.shared import Args, Command
from cryptoservice.clock import Clock
from cryptoservice.days import FORM_HINT, parse_day, relative_day, utc_day
from cryptoservice.errors import UsageError

COMMANDS: dict[str, Command] = {
    "define": universes.define,
    "symbols": universes.symbols,
    "download": data.download_or_plan,
    "export": data.export,
    "status": inspection.status_or_provenance,
    "verify": inspection.verify,
    "audit": inspection.audit,
    "lock": inspection.lock,
}
_DATES = {"start_date": "start date", "end_date": "end date", "date": "date"}


def run(args: Args, clock: Clock | None, stop: threading.Event) -> int:
    """The exit code of the command. Raises what it raises, and UsageError for dates and for a report that cannot be."""
    _name_days(args, clock or Clock())
    reports.check(args)
    return COMMANDS[args.command](args, clock, stop)


def _name_days(args: Args, clock: Clock) -> None:
    """Put days in the place of `yesterday` and `7d`. Today is asked for once: a run over midnight means one day by it."""
    today = utc_day(clock.time())
    for name, what in _DATES.items():
        text = getattr(args, name, None)
        if text is not None:
            setattr(args, name, _day_text(text, today, what))


def _day_text(text: str, today: date, what: str) -> str:
    day = relative_day(text, today)
    try:
        return parse_day(text if day is None else day, what).isoformat()
    except UsageError as error:
        hint = f"{FORM_HINT}, yesterday, or 7d for seven days ago (UTC)" if error.hint == FORM_HINT else error.hint
        raise UsageError(error.message, hint=hint) from None
