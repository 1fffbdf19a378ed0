"""A replay of the exchange for tests and the demo: a real HTTP server on loopback that serves recorded market data.

Metrics, synthetic symbols and their funding are derived deterministically; they are not market data.
"""

from .faults import Fault, Faults, Where
from .funding import FundingRow
from .limits import Limits
from .market import Fate, KlineRow, Market
from .metrics import MetricsRow
from .replay import ReplayExchange
from .wire import RecordedRequest, Request

__all__ = [
    "Fate",
    "Fault",
    "Faults",
    "FundingRow",
    "KlineRow",
    "Limits",
    "Market",
    "MetricsRow",
    "RecordedRequest",
    "ReplayExchange",
    "Request",
    "Where",
]
