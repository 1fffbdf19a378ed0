"""What is left to do: the wanted symbol-days of a universe less those that the ledger knows as settled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timezone

from cryptoservice.binance.connection import Connection
from cryptoservice.days import Window
from cryptoservice.feeds import Feed, FundingFeed, KlineFeed, MetricsFeed
from cryptoservice.models import Dataset, Freq
from cryptoservice.pipeline import Job
from cryptoservice.plan import KlineSource
from cryptoservice.store import LedgerLine, Series, Store

ActiveDays = dict[str, list[date]]


def make_feeds(connection: Connection, interval: Freq, choice: KlineSource, now: float, *, metrics: bool) -> list[Feed]:
    """The feeds of a run; `now` (epoch seconds) decides how old a day is."""
    moment = datetime.fromtimestamp(now, timezone.utc)
    feeds: list[Feed] = [KlineFeed(connection, interval, moment.date(), choice)]
    if metrics:
        feeds += [MetricsFeed(connection, moment), FundingFeed(connection, moment.date())]
    return feeds


class Worklist:
    """For each feed and symbol, the days to fetch. Without a store nothing is settled."""

    def __init__(
        self, store: Store | None, feeds: Sequence[Feed], active: ActiveDays, window: Window, *, incremental: bool
    ) -> None:
        self.known: dict[Series, dict[date, LedgerLine]] = {}
        """What the ledger says of days that are fetched again."""
        self.settled: dict[Dataset, int] = {}
        self._wanted: list[tuple[Feed, str, list[date]]] = []
        for feed in feeds:
            self.settled[feed.dataset] = 0
            settled: dict[str, set[date]] = {}
            lines: dict[str, dict[date, LedgerLine]] = {}
            if store is not None:
                settled = store.settled_days(feed.dataset, feed.freq, window) if incremental else {}
                lines = store.ledger(feed.dataset, feed.freq, window, unsettled=incremental)
            for symbol, days in active.items():
                done = settled.get(symbol)
                wanted = [day for day in days if day not in done] if done else days
                self.settled[feed.dataset] += len(days) - len(wanted)
                if wanted:
                    self._wanted.append((feed, symbol, wanted))
                    self.known[Series(feed.dataset, feed.freq, symbol)] = lines.get(symbol, {})

    @property
    def symbol_days(self) -> int:
        """How many are left to fetch."""
        return sum(len(days) for _, _, days in self._wanted)

    def feeds_and_days(self) -> Iterator[tuple[Feed, str, list[date]]]:
        """Each feed and symbol with its wanted days."""
        yield from self._wanted

    @property
    def expected_rows(self) -> int:
        """A guess at the rows that they hold."""
        return sum(len(days) * (Freq(feed.freq).bars_per_day if feed.freq else 3) for feed, _, days in self._wanted)

    def jobs(self) -> Iterator[Job]:
        """Jobs in the order of the universe; made one by one, as there may be many."""
        for feed, symbol, days in self._wanted:
            for part in feed.split(days):
                yield Job.of(feed, symbol, part)
