"""The probe: for each requested symbol, the days of the window on which the exchange has a kline."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date

from cryptoservice.binance.client import BinanceClient
from cryptoservice.clock import Clock, result_of, wait_for_some
from cryptoservice.days import Window, utc_day
from cryptoservice.errors import SymbolRefused, UsageError
from cryptoservice.models import Freq
from cryptoservice.progress import Progress

log = logging.getLogger(__name__)

# Enough to find a typing error, not enough to fill a screen.
_NAMES_SHOWN = 8


class Probe:
    """Asks the exchange about symbols over a window of UTC days, some symbols at a time."""

    def __init__(
        self, client: BinanceClient, window: Window, workers: int, clock: Clock, stop: threading.Event | None = None
    ) -> None:
        self._client = client
        self._window = window
        self._workers = workers
        self._clock = clock
        self._stop = stop

    def active_days(self, symbols: Sequence[str]) -> dict[str, frozenset[date] | None]:
        """Days with a kline for each symbol; None for a symbol outside the current trading list.

        SourceError when the exchange did not answer for one of them: then nothing is known of any.
        """
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="define")
        try:
            trading = result_of(pool.submit(self._client.api.trading_list), self._stop)
            if trading.server_time is not None:
                refuse_unfinished(self._window, trading.server_time, "for the exchange today")
            listed = [symbol for symbol in symbols if symbol in trading.symbols]
            log.info("%d of %d symbols are in the current trading list", len(listed), len(symbols))
            _name_the_others([symbol for symbol in symbols if symbol not in trading.symbols])
            futures = [pool.submit(self._days_of, symbol) for symbol in listed]
            active: dict[str, frozenset[date] | None] = dict.fromkeys(symbols)
            active.update(zip(listed, self._join(futures), strict=True))
            return active
        finally:
            # What waits for the limiter ends when the client is closed, so nobody waits for it here.
            pool.shutdown(wait=False, cancel_futures=True)

    def _join(self, futures: Sequence[Future[frozenset[date]]]) -> list[frozenset[date]]:
        """All results in order; the first failure ends the wait."""
        length = self._window.length
        progress = Progress("define", "symbol-days", len(futures) * length, self._clock, self._client.gauge)
        pending = set(futures)
        try:
            while pending:
                done = wait_for_some(pending, self._stop)
                pending -= done
                for future in done:
                    future.result()
                progress.advance(len(done) * length)
        finally:
            progress.end()
        return [future.result() for future in futures]

    def _days_of(self, symbol: str) -> frozenset[date]:
        try:
            return frozenset(self._client.api.klines(symbol, Freq.d1, self._window).days)
        except SymbolRefused as refused:
            log.warning("%s is listed, but its klines are refused (%s): counted as no_kline_on_date", symbol, refused.message)
            return frozenset()


def refuse_unfinished(window: Window, now: float, today_name: str) -> None:
    """UsageError when the window ends on a day that is not over at `now` (epoch seconds)."""
    today = utc_day(now)
    if window.end >= today:
        raise UsageError(
            f"the end date {window.end} is not a finished UTC day ({today_name} is {today})",
            hint="a universe is immutable: end it yesterday or earlier",
        )


def _name_the_others(unlisted: Sequence[str]) -> None:
    if unlisted:
        more = f" and {len(unlisted) - _NAMES_SHOWN} more" if len(unlisted) > _NAMES_SHOWN else ""
        log.warning("not in the current trading list, so never active: %s%s", ", ".join(unlisted[:_NAMES_SHOWN]), more)
