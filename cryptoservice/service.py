"""MarketDataService: the synchronous functions for programs that live in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from cryptoservice.audit.archive_audit.command import DEFAULT_SAMPLE, audit_universe
from cryptoservice.audit.archive_audit.result import AuditResult
from cryptoservice.audit.dataset_lock.command import LockResult, lock_universe
from cryptoservice.audit.findings import VerifyResult
from cryptoservice.audit.status import StatusResult, universe_status
from cryptoservice.audit.verify import verify_universe
from cryptoservice.clock import Clock
from cryptoservice.config import Credentials, Endpoints, NetworkConfig, RateConfig, RetryConfig, WindowBounds, WorkerConfig
from cryptoservice.define.command import define_universe
from cryptoservice.define.result import DefineResult
from cryptoservice.download.command import download_universe_data
from cryptoservice.download.forecast.duration import ASSUMED_LATENCY
from cryptoservice.download.preview import PreviewResult, plan_download
from cryptoservice.download.result import DownloadResult
from cryptoservice.errors import CryptoserviceError
from cryptoservice.export.command import ExportResult, export_universe_data
from cryptoservice.models import Freq
from cryptoservice.progress import Report
from cryptoservice.sources.evidence import KlineSource
from cryptoservice.universe.model import Listing
from cryptoservice.universe.selection import Selection

T = TypeVar("T")


def _taken(symbols: Iterable[str] | None) -> Iterable[str] | None:
    """The symbols, taken out of an iterator in the thread of its owner. What is no list of names is left for the function."""
    return symbols if isinstance(symbols, str) or not isinstance(symbols, Iterable) else list(symbols)


class MarketDataService:
    """Runs the commands in worker threads, so that the event loop goes on.

    A `progress` function receives ProgressEvents in the thread that works, so it hands them to the loop with
    `loop.call_soon_threadsafe`. Cancelling a call stops its work in good order, and so does leaving the `async with` block,
    which waits until the work has ended. What was committed stays, and the same call resumes it later. Errors are those of the
    plain functions, and so is what an argument means.
    """

    def __init__(self, credentials: Credentials, endpoints: Endpoints, clock: Clock | None = None) -> None:
        self._credentials = credentials
        self._endpoints = endpoints
        self._clock = clock
        self._running: dict[asyncio.Future[Any], threading.Event] = {}

    @classmethod
    async def create(
        cls,
        api_key: str | None = None,
        api_secret: str | None = None,
        *,
        api_base_url: str | None = None,
        vision_base_url: str | None = None,
        listing_base_url: str | None = None,
        clock: Clock | None = None,
    ) -> MarketDataService:
        """Make a service. What is left out comes from the environment, else it is the public hosts and no key.

        Raises UsageError for an unusable address or key.
        """
        endpoints = Endpoints.resolve(api_base_url, vision_base_url, listing=listing_base_url)
        return cls(Credentials.resolve(api_key, api_secret), endpoints, clock)

    async def __aenter__(self) -> MarketDataService:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for stop in self._running.values():
            stop.set()
        if self._running:
            await asyncio.wait(list(self._running))

    async def define_universe(
        self,
        symbols: Iterable[str],
        start_date: str | date,
        end_date: str | date,
        output_path: str | Path,
        force: bool = False,
        description: str | None = None,
        retry_config: RetryConfig | None = None,
        daily_check_workers: int = 5,
        daily_check_request_delay: float = 0.0,
        daily_check_max_requests_per_minute: int = 1800,
        max_ban_wait: float = 300.0,
        listing: Listing | str = Listing.EXCHANGE,
        selection: Selection | None = None,
        progress: Report | None = None,
    ) -> DefineResult:
        """`define_universe` with flat arguments. Delays and waits are in seconds, dates are inclusive UTC days."""
        rates = RateConfig(
            max_weight_per_minute=daily_check_max_requests_per_minute,
            api_request_delay=daily_check_request_delay,
            max_ban_wait=max_ban_wait,
        )
        return await self._in_thread(
            define_universe,
            _taken(symbols),
            start_date,
            end_date,
            output_path,
            force=force,
            description=description,
            listing=listing,
            selection=selection,
            progress=progress,
            network=self._network(rates, retry_config, WorkerConfig.of_define(daily_check_workers)),
        )

    async def download_universe_data(
        self,
        universe_file: str | Path,
        db_path: str | Path,
        retry_config: RetryConfig | None = None,
        api_request_delay: float = 0.0,
        vision_request_delay: float = 0.0,
        download_market_metrics: bool = False,
        incremental: bool = True,
        interval: Freq | str = Freq.m1,
        start_date: str | date | None = None,
        end_date: str | date | None = None,
        max_api_workers: int = WorkerConfig.api,
        max_vision_workers: int = WorkerConfig.vision,
        kline_source: KlineSource | str = KlineSource.AUTO,
        max_ban_wait: float = 300.0,
        retry_gaps: bool = False,
        symbols: Iterable[str] | None = None,
        progress: Report | None = None,
    ) -> DownloadResult:
        """`download_universe_data` with flat arguments. Delays and waits are in seconds, dates are inclusive UTC days."""
        rates = RateConfig(
            api_request_delay=api_request_delay, vision_request_delay=vision_request_delay, max_ban_wait=max_ban_wait
        )
        return await self._in_thread(
            download_universe_data,
            universe_file,
            db_path,
            interval=interval,
            window=WindowBounds(start_date, end_date),
            symbols=_taken(symbols),
            download_market_metrics=download_market_metrics,
            incremental=incremental,
            kline_source=kline_source,
            retry_gaps=retry_gaps,
            progress=progress,
            network=self._network(rates, retry_config, WorkerConfig(max_api_workers, max_vision_workers)),
        )

    async def plan_download(
        self,
        universe_file: str | Path,
        db_path: str | Path,
        api_request_delay: float = 0.0,
        vision_request_delay: float = 0.0,
        download_market_metrics: bool = False,
        incremental: bool = True,
        interval: Freq | str = Freq.m1,
        start_date: str | date | None = None,
        end_date: str | date | None = None,
        max_api_workers: int = WorkerConfig.api,
        max_vision_workers: int = WorkerConfig.vision,
        kline_source: KlineSource | str = KlineSource.AUTO,
        retry_gaps: bool = False,
        symbols: Iterable[str] | None = None,
        assumed_latency: float = ASSUMED_LATENCY,
    ) -> PreviewResult:
        """`plan_download` with flat arguments. Delays and latency are in seconds, dates are inclusive UTC days."""
        rates = RateConfig(api_request_delay=api_request_delay, vision_request_delay=vision_request_delay)
        return await self._in_thread(
            plan_download,
            universe_file,
            db_path,
            interval=interval,
            window=WindowBounds(start_date, end_date),
            symbols=_taken(symbols),
            download_market_metrics=download_market_metrics,
            incremental=incremental,
            kline_source=kline_source,
            retry_gaps=retry_gaps,
            assumed_latency=assumed_latency,
            network=self._network(rates, None, WorkerConfig(max_api_workers, max_vision_workers)),
        )

    async def export_universe_data(
        self,
        universe_file: str | Path,
        db_path: str | Path,
        export_base_path: str | Path,
        source_freq: Freq | str | None = None,
        export_freq: Freq | str | None = None,
        start_date: str | date | None = None,
        end_date: str | date | None = None,
        klines: bool = True,
        metrics: bool = True,
        coverage_html: bool = False,
        prune: bool = False,
        progress: Report | None = None,
    ) -> ExportResult:
        """`export_universe_data` with flat arguments. Dates are inclusive UTC days."""
        return await self._in_thread(
            export_universe_data,
            universe_file,
            db_path,
            export_base_path,
            source_freq=source_freq,
            export_freq=export_freq,
            window=WindowBounds(start_date, end_date),
            klines=klines,
            metrics=metrics,
            coverage_html=coverage_html,
            prune=prune,
            progress=progress,
        )

    async def universe_status(
        self,
        universe_file: str | Path,
        db_path: str | Path | None = None,
        start_date: str | date | None = None,
        end_date: str | date | None = None,
    ) -> StatusResult:
        """`universe_status` with flat arguments. Dates are inclusive UTC days."""
        return await self._in_thread(universe_status, universe_file, db_path, window=WindowBounds(start_date, end_date))

    async def verify_universe(
        self,
        universe_file: str | Path,
        db_path: str | Path,
        start_date: str | date | None = None,
        end_date: str | date | None = None,
        sample: int = 0,
        seed: int | None = None,
        repair: bool = False,
        lock_file: str | Path | None = None,
        retry_config: RetryConfig | None = None,
        api_request_delay: float = 0.0,
        vision_request_delay: float = 0.0,
        max_api_workers: int = WorkerConfig.api,
        max_vision_workers: int = WorkerConfig.vision,
        max_ban_wait: float = 300.0,
        progress: Report | None = None,
    ) -> VerifyResult:
        """`verify_universe` with flat arguments. Delays and waits are in seconds, dates are inclusive UTC days."""
        rates = RateConfig(
            api_request_delay=api_request_delay, vision_request_delay=vision_request_delay, max_ban_wait=max_ban_wait
        )
        return await self._in_thread(
            verify_universe,
            universe_file,
            db_path,
            window=WindowBounds(start_date, end_date),
            sample=sample,
            seed=seed,
            repair=repair,
            lock_file=lock_file,
            progress=progress,
            network=self._network(rates, retry_config, WorkerConfig(max_api_workers, max_vision_workers)),
        )

    async def lock_universe(
        self,
        universe_file: str | Path,
        db_path: str | Path,
        output_path: str | Path,
        start_date: str | date | None = None,
        end_date: str | date | None = None,
        force: bool = False,
        progress: Report | None = None,
    ) -> LockResult:
        """`lock_universe` with flat arguments. Dates are inclusive UTC days."""
        return await self._in_thread(
            lock_universe,
            universe_file,
            db_path,
            output_path,
            window=WindowBounds(start_date, end_date),
            force=force,
            progress=progress,
        )

    async def audit_universe(
        self,
        universe_file: str | Path,
        db_path: str | Path,
        start_date: str | date | None = None,
        end_date: str | date | None = None,
        sample: int = DEFAULT_SAMPLE,
        retry_config: RetryConfig | None = None,
        max_vision_workers: int = WorkerConfig.vision,
        vision_request_delay: float = 0.0,
        max_ban_wait: float = 300.0,
        progress: Report | None = None,
    ) -> AuditResult:
        """`audit_universe` with flat arguments. Delays and waits are in seconds, dates are inclusive UTC days."""
        rates = RateConfig(vision_request_delay=vision_request_delay, max_ban_wait=max_ban_wait)
        return await self._in_thread(
            audit_universe,
            universe_file,
            db_path,
            window=WindowBounds(start_date, end_date),
            sample=sample,
            progress=progress,
            network=self._network(rates, retry_config, WorkerConfig(vision=max_vision_workers)),
        )

    def _network(self, rates: RateConfig, retry: RetryConfig | None, workers: WorkerConfig) -> NetworkConfig:
        return NetworkConfig(self._endpoints, self._credentials, rates, retry or RetryConfig(), workers)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Run one of the functions with this service's clock, and with a stop event that cancelling sets."""
        stop = threading.Event()
        task = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **options, clock=self._clock, stop=stop))
        self._running[task] = stop
        try:
            # A thread cannot be cancelled, only asked to stop.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            stop.set()
            with contextlib.suppress(CryptoserviceError):
                await task
            raise
        finally:
            del self._running[task]
