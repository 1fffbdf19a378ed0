"""Options that belong together: retries, rates, workers, credentials, endpoints, windows. Each group checks its own values."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlsplit

from cryptoservice.errors import Remedy, UsageError

API_BASE_URL = "https://fapi.binance.com"
VISION_BASE_URL = "https://data.binance.vision"
LISTING_BASE_URL = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
"""The bucket behind the archive. Only it lists what the archive holds (docs/wire.md, bucket listing)."""
SHORTEST_SECRET = 4
"""A shorter key or secret is not redacted, because it would be found inside ordinary words."""
REDACTED = "***"
_SHOWN_CHARACTERS = 60


def require_count(name: str, value: int, minimum: float, maximum: float = math.inf) -> None:
    """Raise UsageError for what is no whole number in that range."""
    _require(name, value, minimum, maximum)
    if not isinstance(value, int):
        raise UsageError(f"{name} is {value!r}", hint="it must be a number, and a whole one")


def require_seconds(name: str, value: float) -> None:
    """Raise UsageError for what is no number of seconds, from 0 on."""
    _require(name, value, 0)


def require_kind(name: str, value: object, kind: type) -> None:
    """Raise UsageError for a value that is neither None nor of that kind."""
    if value is not None and not isinstance(value, kind):
        raise UsageError(f"{name} is {_shown(value)}", hint=f"it must be of type {kind.__name__}")


def require_flags(**flags: object) -> None:
    """Raise UsageError for an option that is neither True nor False: "no" and 0 would each mean something to somebody."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise UsageError(f"{name} is {_shown(value)}", hint="it must be True or False")


def require_controls(**controls: object) -> None:
    """Raise UsageError for a `clock`, `stop`, `executor` or `progress` that could not be used as one. None always can."""
    for name, value in controls.items():
        methods, what = _CONTROLS[name]
        if value is not None and not all(callable(getattr(value, method, None)) for method in methods):
            raise UsageError(f"{name} is {_shown(value)}", hint=f"it must be {what}")


# What a value of that name must be able to do.
_CONTROLS = {
    "clock": (("time", "monotonic", "sleep", "random"), "a Clock"),
    "stop": (("is_set", "wait"), "an event, such as threading.Event()"),
    "executor": (("submit",), "an executor, such as those of concurrent.futures"),
    "progress": (("__call__",), "a function that takes a ProgressEvent"),
}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _require(name: str, value: float, minimum: float, maximum: float = math.inf) -> None:
    # NaN compares false with everything, so this tests for what is allowed.
    if not (isinstance(value, (int, float)) and not isinstance(value, bool) and minimum <= value <= maximum and value < math.inf):
        limit = f"at least {minimum:g}" if maximum == math.inf else f"between {minimum:g} and {maximum:g}"
        raise UsageError(f"{name} is {value!r}", hint=f"it must be a number, {limit}")


@dataclass(frozen=True)
class RetryConfig:
    """How often a request that failed for a passing reason is sent again, and after which delays (seconds)."""

    max_retries: int = 3
    base_delay: float = 1.0
    max_delay: float = 60.0
    backoff_multiplier: float = 2.0
    jitter: bool = True

    def __post_init__(self) -> None:
        require_count("max retries", self.max_retries, 0, 100)
        _require("base delay", self.base_delay, 0)
        _require("max delay", self.max_delay, 0)
        _require("backoff multiplier", self.backoff_multiplier, 1)
        require_flags(jitter=self.jitter)


@dataclass(frozen=True)
class RateConfig:
    """How fast requests are sent. A delay is the time in seconds between any two requests to one host, over all threads."""

    max_weight_per_minute: int = 1800
    """Request weight in any 60 seconds on the API; the exchange allows 2400 to one address (docs/wire.md, limits and bans)."""
    api_request_delay: float = 0.0
    vision_request_delay: float = 0.0
    max_ban_wait: float = 300.0
    """The longest wait, in seconds, for a ban or for consecutive 429s to end. Beyond it a run ends with SourceRefused."""

    def __post_init__(self) -> None:
        # A klines request of 499 rows weighs 2 (docs/wire.md, klines): a smaller budget could never send it.
        _require("max requests per minute", self.max_weight_per_minute, 2)
        _require("API request delay", self.api_request_delay, 0)
        _require("vision request delay", self.vision_request_delay, 0)
        _require("max ban wait", self.max_ban_wait, 0)


@dataclass(frozen=True)
class WorkerConfig:
    """How many requests to the API and to the archive may be under way at the same time."""

    api: int = 5
    vision: int = 16

    def __post_init__(self) -> None:
        require_count("API workers", self.api, 1, 256)
        require_count("vision workers", self.vision, 1, 256)

    @classmethod
    def of_define(cls, workers: int) -> WorkerConfig:
        """What define takes: so many requests to the API. Where that is less than usual, it holds for the archive too."""
        checked = cls(workers)
        return checked if workers >= cls.api else cls(workers, workers)


@dataclass(frozen=True)
class Credentials:
    """An optional key and secret, since every endpoint in use is public. Only the API gets the key; the secret is never sent."""

    api_key: str | None = field(default=None, repr=False)
    api_secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _require_secrets(self.api_key, self.api_secret)
        key = self.api_key
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise UsageError("the API key holds characters that no key has", hint=Remedy.CHECK_API_KEY)

    def redact(self, text: str) -> str:
        """The text with `***` in the place of the key and the secret."""
        for value in (self.api_key, self.api_secret):
            if value and len(value) >= SHORTEST_SECRET:
                text = text.replace(value, REDACTED)
        return text

    @classmethod
    def resolve(cls, api_key: str | None, api_secret: str | None, env: Mapping[str, str] | None = None) -> Credentials:
        """The given values, else BINANCE_API_KEY and BINANCE_API_SECRET of the environment, else none."""
        env = os.environ if env is None else env
        _require_secrets(api_key, api_secret)
        key = (api_key or env.get("BINANCE_API_KEY") or "").strip()
        secret = (api_secret or env.get("BINANCE_API_SECRET") or "").strip()
        return cls(key or None, secret or None)


@dataclass(frozen=True)
class Endpoints:
    """The base URLs of the API, of the archive and of the archive's bucket listing, without a slash at the end."""

    api: str = API_BASE_URL
    vision: str = VISION_BASE_URL
    listing: str = LISTING_BASE_URL

    def __post_init__(self) -> None:
        for name, value in (("API", self.api), ("vision", self.vision), ("listing", self.listing)):
            _require_text(value, f"{name} base URL")

    @property
    def lists_its_archive(self) -> bool:
        """Whether the listing is that of the archive, as far as one can know: Amazon lists no copy of it elsewhere."""
        return self.listing != LISTING_BASE_URL or self.vision == VISION_BASE_URL

    @classmethod
    def resolve(
        cls,
        api: str | None = None,
        vision: str | None = None,
        env: Mapping[str, str] | None = None,
        *,
        listing: str | None = None,
    ) -> Endpoints:
        """The given values, else BINANCE_{API,VISION,LISTING}_BASE_URL of the environment, else the public hosts.

        Raises UsageError for a value that is not an http or https address, or that carries a password or a query.
        """
        env = os.environ if env is None else env
        return cls(
            _base_url(api or env.get("BINANCE_API_BASE_URL") or API_BASE_URL, "API base URL"),
            _base_url(vision or env.get("BINANCE_VISION_BASE_URL") or VISION_BASE_URL, "vision base URL"),
            _base_url(listing or env.get("BINANCE_LISTING_BASE_URL") or LISTING_BASE_URL, "listing base URL"),
        )


@dataclass(frozen=True)
class WindowBounds:
    """Two optional UTC days, both inclusive; in the place of a missing one stands the universe's own.

    A day is text (YYYY-MM-DD), a date, or a datetime or pandas Timestamp at midnight; without a time zone it is in UTC.
    """

    start_date: str | date | None = None
    end_date: str | date | None = None

    @classmethod
    def of(cls, window: AnyWindow | None) -> WindowBounds:
        """The window itself, the window of a pair of days, or for None that of the universe. UsageError for anything else."""
        if window is None:
            return cls()
        if isinstance(window, WindowBounds):
            return window
        if isinstance(window, (tuple, list)) and len(window) == 2:
            return cls(*window)
        hint = 'pass a pair of days, such as ("2026-02-01", "2026-02-28"), either of which may be None'
        raise UsageError(f"the window is {_shown(window)}", hint=hint)


Day = str | date
"""A UTC day where the library takes one: text (YYYY-MM-DD), a date, or a datetime or pandas Timestamp at midnight."""
AnyWindow = WindowBounds | tuple[Day | None, Day | None]
"""A window where the library takes one."""


@dataclass(frozen=True)
class NetworkConfig:
    """Everything that decides how the exchange is reached."""

    endpoints: Endpoints = field(default_factory=Endpoints.resolve)
    credentials: Credentials = field(default_factory=Credentials)
    rates: RateConfig = field(default_factory=RateConfig)
    retry: RetryConfig = field(default_factory=RetryConfig)
    workers: WorkerConfig = field(default_factory=WorkerConfig)

    def __post_init__(self) -> None:
        parts = (
            ("endpoints", self.endpoints, Endpoints), ("credentials", self.credentials, Credentials),
            ("rates", self.rates, RateConfig), ("retry", self.retry, RetryConfig), ("workers", self.workers, WorkerConfig),
        )  # fmt: skip
        for name, value, kind in parts:
            require_kind(name, value, kind)
            if value is None:
                raise UsageError(f"{name} is None", hint=f"leave it out, or give a {kind.__name__}")


def _require_secrets(api_key: object, api_secret: object) -> None:
    for name, value in (("key", api_key), ("secret", api_secret)):
        if value is not None and not isinstance(value, str):
            # Bytes may well be the secret itself, so the value is not shown.
            raise UsageError(f"the API {name} is no text but of type {type(value).__name__}", hint=Remedy.CHECK_API_KEY)


def _require_text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise UsageError(f"the {what} is {_shown(value)}", hint="it must be text, such as https://fapi.binance.com")


def _base_url(text: str, what: str) -> str:
    _require_text(text, what)
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
        parts = urlsplit("")
    # The error does not show the text, because a URL may carry a password.
    if not usable or parts.query or parts.fragment:
        raise UsageError(f"the {what} is not a usable address", hint="it looks like https://fapi.binance.com")
    if parts.username or parts.password:
        raise UsageError(f"the {what} carries a user name or password", hint="the endpoints are public: leave it out")
    return text.strip().rstrip("/")
