"""The probe: for each listed symbol, what its days were like. The API is asked where it serves a symbol, the archive else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date

from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock, result_of, wait_for_some
from cryptoservice.config import WorkerConfig
from cryptoservice.days import Window, utc_day
from cryptoservice.define.archive_days import archive_days, archive_single_days
from cryptoservice.define.listed import ListedSymbols, is_location_refusal, listed_symbols
from cryptoservice.define.symbol_days import BROKEN_KLINE, DailyKline, SymbolDays, symbol_days
from cryptoservice.errors import SourceError, SourceRefused, SymbolRefused, UsageError
from cryptoservice.models import Freq
from cryptoservice.progress import Progress, Report
from cryptoservice.reasons import MissingReason
from cryptoservice.universe.model import Listing

log = logging.getLogger(__name__)


class Probe:
    """Asks about listed symbols over a window of UTC days, some symbols at a time. Use it in a `with` statement."""

    def __init__(
        self,
        client: BinanceClient,
        workers: WorkerConfig,
        clock: Clock,
        stop: threading.Event | None = None,
        report: Report | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._stop = stop
        self._report = report
        self._api_pool = ThreadPoolExecutor(workers.api, thread_name_prefix="define-api")
        self._archive_pool = ThreadPoolExecutor(workers.vision, thread_name_prefix="define-archive")

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        # What waits for the limiter ends when the client is closed, so nobody waits for it here.
        for pool in (self._api_pool, self._archive_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def listed(self, listing: Listing) -> ListedSymbols:
        """Who that listing holds."""
        return result_of(self._api_pool.submit(listed_symbols, self._client, listing), self._stop)

    def days(
        self, listed: ListedSymbols, symbols: Sequence[str], window: Window, *, needs_volumes: bool = False
    ) -> dict[str, SymbolDays]:
        """The days of each of these listed symbols in the window.

        With `needs_volumes` it is not enough that a day has a kline. SourceError when a source did not answer for one of them:
        then nothing is known of any.
        """
        today = utc_day(self._clock.time() if listed.server_time is None else listed.server_time)
        asking = _Asking(self._client, listed, window, today, needs_volumes=needs_volumes)
        pending: dict[Future[SymbolDays | None], str] = {}
        for symbol in symbols:
            # An alias, or a symbol that the exchange has removed, is unknown to the API.
            by_api = listed.listing is Listing.EXCHANGE or symbol in listed.contracts
            future = self._api_pool.submit(asking.api, symbol) if by_api else self._archive_pool.submit(asking.archive, symbol)
            pending[future] = symbol
        found: dict[str, SymbolDays] = {}
        progress = Progress("define", "symbol-days", len(symbols) * window.length, self._clock, self._client.gauge, self._report)
        try:
            while pending:
                for future in wait_for_some(pending, self._stop):
                    symbol = pending.pop(future)
                    # The first failure ends the wait.
                    days = future.result()
                    if days is None:
                        pending[self._archive_pool.submit(asking.archive, symbol)] = symbol
                    else:
                        found[symbol] = days
                        progress.advance(window.length)
                progress.tick()
        finally:
            progress.end()
        return found


class _Asking:
    """Asks one source about one symbol; runs in the threads of the pools."""

    def __init__(self, client: BinanceClient, listed: ListedSymbols, window: Window, today: date, *, needs_volumes: bool) -> None:
        self._client = client
        self._contracts = listed.contracts
        self._listing = listed.listing
        self._window = window
        self._today = today
        self._needs_volumes = needs_volumes

    def archive(self, symbol: str) -> SymbolDays | None:
        """The days by the archive alone."""
        return archive_days(self._client.archive, symbol, self._window, self._today)

    def api(self, symbol: str) -> SymbolDays | None:
        """The days by the API, or None where the archive must be asked instead."""
        try:
            table = self._client.api.klines(symbol, Freq.d1, self._window)
        except SymbolRefused as refused:
            if self._listing is Listing.ARCHIVE:
                return None
            # A symbol without klines is no candidate of a ranking.
            reason = MissingReason.BELOW_RANK if self._needs_volumes else MissingReason.NO_KLINE_ON_DATE
            log.warning("%s is listed, but its klines are refused (%s): counted as %s", symbol, refused.message, reason)
            return {}
        except SourceRefused as refused:
            if self._listing is Listing.ARCHIVE and is_location_refusal(refused):
                return None
            raise
        if self._listing is Listing.ARCHIVE and not table.days and not self._contracts[symbol].is_trading_perpetual:
            # The exchange names it, but it trades no more: the archive may hold days that the API has forgotten.
            return None
        found = symbol_days(table)
        broken = [day for day in table.left_out if day not in found and day in self._window]
        return {**found, **self._in_place_of(symbol, broken)} if broken else found

    def _in_place_of(self, symbol: str, broken: Sequence[date]) -> dict[date, DailyKline]:
        """Another source's word on days whose kline cannot be read."""
        if self._listing is Listing.EXCHANGE and not self._needs_volumes:
            return dict.fromkeys(broken, BROKEN_KLINE)
        found = archive_single_days(self._client.archive, symbol, broken, self._today)
        silent = [day for day in broken if day not in found]
        if silent:
            raise SourceError(
                f"the API's daily kline of {symbol} on {silent[0]} cannot be read, and the archive has none",
                reason="invalid_kline",
                hint="leave the symbol out, or report it to the exchange",
            )
        return found


def refuse_unfinished(window: Window, now: float, today_name: str) -> None:
    """UsageError when the window ends on a day that is not over at `now` (epoch seconds)."""
    today = utc_day(now)
    if window.end >= today:
        raise UsageError(
            f"the end date {window.end} is not a finished UTC day ({today_name} is {today})",
            hint="a universe is immutable: end it yesterday or earlier",
        )
