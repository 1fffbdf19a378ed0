"""The exchange as one object to open and close: its hosts with their gates, budgets and counters."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from cryptoservice.binance.api import ApiLimits, FuturesApi
from cryptoservice.binance.archive import Archive
from cryptoservice.binance.checksums import ListedChecksums
from cryptoservice.binance.http.ban_memory import BanMemory, default_path
from cryptoservice.binance.http.bans import Gate
from cryptoservice.binance.http.counters import Traffic
from cryptoservice.binance.http.host import LINGER_SECONDS, Host, host_name
from cryptoservice.binance.http.limiter import LimitPolicy, RateLimiter, Spacing
from cryptoservice.binance.listing import BucketListing
from cryptoservice.clock import Clock
from cryptoservice.config import NetworkConfig, RateConfig
from cryptoservice.errors import SourceRefused
from cryptoservice.models import Dataset

# Documented limits beside the request weight (docs/wire.md, funding rates and market metrics). A tenth is left to others on the
# same IP address.
FUNDING_POLICY = LimitPolicy(max_weight=450, window=300.0)
DATA_POLICY = LimitPolicy(max_weight=900, window=300.0)


def policies(rates: RateConfig) -> dict[Dataset, LimitPolicy]:
    """The budget that the API requests of each dataset are counted in."""
    weighted = LimitPolicy(max_weight=rates.max_weight_per_minute)
    return {Dataset.KLINES: weighted, Dataset.METRICS: DATA_POLICY, Dataset.FUNDING_RATES: FUNDING_POLICY}


class BinanceClient:
    """The API, the archive and its listing, and what they share. Close it, or use it in a `with` statement."""

    def __init__(self, config: NetworkConfig, clock: Clock) -> None:
        rates = config.rates
        self.traffic = Traffic(clock)
        bans = BanMemory(default_path(), clock)

        def gate(base_url: str) -> Gate:
            made = Gate(host_name(base_url), clock, rates.max_ban_wait, on_ban=bans.remember)
            until = bans.until(made.host)
            if until is not None:
                made.ban(until, remembered=True)
            return made

        api_gate, vision_gate = gate(config.endpoints.api), gate(config.endpoints.vision)
        listing_gate = gate(config.endpoints.listing)

        api_spacing = Spacing(rates.api_request_delay)

        def limiter(policy: LimitPolicy, host_gate: Gate, spacing: Spacing) -> RateLimiter:
            return RateLimiter(policy, host_gate, clock, spacing, self.traffic.waiting)

        self.budgets: Mapping[Dataset, RateLimiter] = {
            dataset: limiter(policy, api_gate, api_spacing) for dataset, policy in policies(rates).items()
        }
        """The budget that the API requests of each dataset are counted in."""
        limits = ApiLimits(*(self.budgets[dataset] for dataset in (Dataset.KLINES, Dataset.FUNDING_RATES, Dataset.METRICS)))
        unweighted = LimitPolicy(max_weight=None)
        vision_limiter = limiter(unweighted, vision_gate, Spacing(rates.vision_request_delay))
        listing_limiter = limiter(unweighted, listing_gate, Spacing(rates.vision_request_delay))

        def host(base_url: str, host_gate: Gate, workers: int, headers: Mapping[str, str] | None = None) -> Host:
            return Host(
                base_url, host_gate, workers=workers, retry=config.retry, clock=clock, traffic=self.traffic, headers=headers
            )

        endpoints, workers, key = config.endpoints, config.workers, config.credentials.api_key
        # Only the API gets the key.
        self._api_host = host(endpoints.api, api_gate, workers.api, {"X-MBX-APIKEY": key} if key else None)
        self._vision_host = host(endpoints.vision, vision_gate, workers.vision)
        self._listing_host = host(endpoints.listing, listing_gate, workers.vision)
        self._hosts = (self._api_host, self._vision_host, self._listing_host)
        self.api = FuturesApi(self._api_host, limits, clock, config.credentials.redact)
        self.listing = BucketListing(self._listing_host, listing_limiter, clock)
        listed = ListedChecksums(self.listing if endpoints.lists_its_archive else None)
        self.archive = Archive(self._vision_host, vision_limiter, clock, listed)

    @property
    def waited_seconds(self) -> float:
        """Seconds during which a thread was waiting for a limit, for a pause to end, or before a retry."""
        return self.traffic.waiting.seconds

    def gauge(self) -> dict[str, float]:
        """Figures for a progress line: requests so far, seconds waited so far, and seconds until the last pause or ban ends."""
        # Nothing waits for a listing that only saves requests; what needs it is told of a pause by its log line.
        pause = max(self._api_host.gate.remaining(), self._vision_host.gate.remaining())
        return {
            "requests": sum(self.traffic.requests.values()),
            "waited_seconds": round(self.waited_seconds, 1),
            "pause_seconds": round(pause, 1),
        }

    @property
    def refusal(self) -> SourceRefused | None:
        """The error of a host that refuses this run, or None."""
        return self._api_host.gate.refusal or self._vision_host.gate.refusal

    def open(self) -> None:
        """Make the sessions of API and archive now; that of the listing is made with its first request.

        Raises what Host.open raises.
        """
        self._api_host.open()
        self._vision_host.open()

    def close(self) -> None:
        """End every wait and every later request in all threads, and close all connections.

        Answers that are about to come are heard before: one of them may be a ban, which the next run must know of.
        """
        for host in self._hosts:
            host.stop()
        deadline = time.monotonic() + LINGER_SECONDS
        for host in self._hosts:
            host.close(linger=max(0.0, deadline - time.monotonic()))

    def __enter__(self) -> BinanceClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
