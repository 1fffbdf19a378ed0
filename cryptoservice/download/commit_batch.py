"""Finished symbol-days that wait for one commit."""

from __future__ import annotations

from cryptoservice.clock import Clock
from cryptoservice.storage.ledger import SymbolDay
from cryptoservice.storage.writer import StoreWriter

# Enough rows to make fsync cheap, and so short a time that a kill costs little work.
_MOST_ROWS = 50_000
_MOST_SECONDS = 0.25


class CommitBatch:
    """Collects symbol-days and writes them together when enough have come, or enough time has passed."""

    def __init__(self, store: StoreWriter, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._items: list[SymbolDay] = []
        self._rows = 0
        self._began = 0.0

    def add(self, item: SymbolDay) -> None:
        """One more symbol-day."""
        now = self._clock.monotonic()
        if not self._items:
            self._began = now
        self._items.append(item)
        self._rows += len(item.rows)
        if self._rows >= _MOST_ROWS or now - self._began >= _MOST_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write what has been collected, in one transaction."""
        if self._items:
            items, self._items, self._rows = self._items, [], 0
            self._store.write(items)
