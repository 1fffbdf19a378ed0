"""Sentences about a universe that several commands show to people."""

from __future__ import annotations

from cryptoservice.days import Window
from cryptoservice.reasons import MissingReason
from cryptoservice.universe.model import Universe


def nothing_active_notice(universe: Universe, window: Window) -> str | None:
    """The sentence for a window in which no requested symbol is active on any day, or None when at least one is."""
    if any(snapshot.active_symbols for snapshot in universe.snapshots(window)):
        return None
    missing = universe.missing_counts(window)
    reasons = ", ".join(f"{missing[reason]:,} {reason}" for reason in MissingReason if missing[reason])
    where = "the universe file says so under missing_symbols"
    return f"no requested symbol is active on any day of {window.start} to {window.end} ({reasons}): {where}"
