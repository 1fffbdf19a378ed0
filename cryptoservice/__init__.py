"""Reproducible datasets of Binance USDT-M perpetual futures: define, download, export.

The public names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptoservice._version import __version__

if TYPE_CHECKING:
    from cryptoservice.config import Credentials, Endpoints, NetworkConfig, RateConfig, RetryConfig, WindowBounds, WorkerConfig
    from cryptoservice.define import DefineResult, define_universe
    from cryptoservice.download import DownloadResult, download_universe_data
    from cryptoservice.errors import CryptoserviceError, UsageError
    from cryptoservice.export import ExportResult, export_universe_data
    from cryptoservice.models import Dataset, Freq
    from cryptoservice.service import MarketDataService
    from cryptoservice.status import StatusResult, universe_status
    from cryptoservice.universe import DailySnapshot, Universe
    from cryptoservice.verify import VerifyResult, verify_universe

_HOMES = {
    "Credentials": "config",
    "CryptoserviceError": "errors",
    "DailySnapshot": "universe",
    "Dataset": "models",
    "DefineResult": "define",
    "DownloadResult": "download",
    "Endpoints": "config",
    "ExportResult": "export",
    "Freq": "models",
    "MarketDataService": "service",
    "NetworkConfig": "config",
    "RateConfig": "config",
    "RetryConfig": "config",
    "StatusResult": "status",
    "Universe": "universe",
    "UsageError": "errors",
    "VerifyResult": "verify",
    "WindowBounds": "config",
    "WorkerConfig": "config",
    "define_universe": "define",
    "download_universe_data": "download",
    "export_universe_data": "export",
    "universe_status": "status",
    "verify_universe": "verify",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{home}"), name)


__all__ = [
    "Credentials",
    "CryptoserviceError",
    "DailySnapshot",
    "Dataset",
    "DefineResult",
    "DownloadResult",
    "Endpoints",
    "ExportResult",
    "Freq",
    "MarketDataService",
    "NetworkConfig",
    "RateConfig",
    "RetryConfig",
    "StatusResult",
    "Universe",
    "UsageError",
    "VerifyResult",
    "WindowBounds",
    "WorkerConfig",
    "__version__",
    "define_universe",
    "download_universe_data",
    "export_universe_data",
    "universe_status",
    "verify_universe",
]
