"""Options that travel together, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cryptoservice.config import Credentials, Endpoints, NetworkConfig, RateConfig, RetryConfig, WorkerConfig
from cryptoservice.errors import Remedy, UsageError


def test_the_defaults_are_the_documented_ones() -> None:
    assert RetryConfig() == RetryConfig(max_retries=3, base_delay=1.0, max_delay=60.0, backoff_multiplier=2.0, jitter=True)
    assert RateConfig() == RateConfig(1800, 0.0, 0.0, 300.0)
    assert WorkerConfig() == WorkerConfig(api=5, vision=16)
    assert Endpoints() == Endpoints("https://fapi.binance.com", "https://data.binance.vision")


OUT_OF_BOUNDS: list[tuple[Any, dict[str, Any], str]] = [
    (RetryConfig, {"max_retries": -1}, "max retries is -1"),
    (RetryConfig, {"max_retries": 101}, "max retries is 101"),
    (RetryConfig, {"max_retries": True}, "max retries is True"),
    (RetryConfig, {"max_retries": "3"}, "max retries is '3'"),
    (RetryConfig, {"base_delay": -0.1}, "base delay is -0.1"),
    (RetryConfig, {"base_delay": math.nan}, "base delay is nan"),
    (RetryConfig, {"max_delay": math.inf}, "max delay is inf"),
    (RetryConfig, {"backoff_multiplier": 0.5}, "backoff multiplier is 0.5"),
    (RateConfig, {"max_weight_per_minute": 1}, "max requests per minute is 1"),
    (RateConfig, {"max_weight_per_minute": 0}, "max requests per minute is 0"),
    (RateConfig, {"api_request_delay": -1}, "API request delay is -1"),
    (RateConfig, {"vision_request_delay": math.inf}, "vision request delay is inf"),
    (RateConfig, {"max_ban_wait": math.nan}, "max ban wait is nan"),
    (WorkerConfig, {"api": 0}, "API workers is 0"),
    (WorkerConfig, {"api": 257}, "API workers is 257"),
    (WorkerConfig, {"vision": 0}, "vision workers is 0"),
    (WorkerConfig, {"vision": None}, "vision workers is None"),
]


def test_numbers_out_of_bounds_are_usage_errors() -> None:
    for make, values, problem in OUT_OF_BOUNDS:
        with pytest.raises(UsageError) as caught:
            make(**values)
        assert caught.value.message == problem
        assert (caught.value.hint or "").startswith("it must be a number, "), problem


def test_the_hint_names_the_bounds() -> None:
    for make, hint in (
        (lambda: WorkerConfig(api=0), "it must be a number, between 1 and 256"),
        (lambda: RateConfig(max_ban_wait=-1.0), "it must be a number, at least 0"),
        (lambda: RetryConfig(max_retries=1.5), "it must be a number, and a whole one"),  # type: ignore[arg-type]
        (lambda: WorkerConfig(api=2.5), "it must be a number, and a whole one"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError) as caught:
            make()
        assert caught.value.hint == hint


def test_the_smallest_budget_can_send_the_heaviest_page_in_use() -> None:
    assert RateConfig(max_weight_per_minute=2).max_weight_per_minute == 2


def test_credentials_given_win_over_the_environment() -> None:
    env = {"BINANCE_API_KEY": "env-key", "BINANCE_API_SECRET": "env-secret"}
    assert Credentials.resolve(None, None, env) == Credentials("env-key", "env-secret")
    assert Credentials.resolve("flag-key", None, env) == Credentials("flag-key", "env-secret")
    assert Credentials.resolve("  k \n", "", {}) == Credentials("k", None)
    assert Credentials.resolve(None, None, {}) == Credentials(None, None)
    assert Credentials.resolve(None, None, {"BINANCE_API_KEY": "  "}) == Credentials(None, None)


def test_credentials_never_show_themselves() -> None:
    shown = repr(NetworkConfig(credentials=Credentials("topsecretkey", "topsecretsecret")))
    assert "topsecret" not in shown


def test_a_text_is_redacted_by_values_that_are_long_enough_to_be_secret() -> None:
    credentials = Credentials("abcd1234", "s3cr3t-s3cr3t")
    assert credentials.redact("key abcd1234, secret s3cr3t-s3cr3t, key abcd1234") == "key ***, secret ***, key ***"
    assert Credentials("abcd").redact("abcde") == "***e"
    assert Credentials("abc", "key").redact("the key of abc") == "the key of abc"
    assert Credentials().redact("nothing to hide") == "nothing to hide"


def test_a_key_that_could_break_a_header_is_refused_and_not_echoed() -> None:
    for key in ("a b", "a\nb", "a\r\nX-Evil: 1", "clé", "a\x00b", "a\tb"):
        with pytest.raises(UsageError) as caught:
            Credentials(key)
        assert key not in str(caught.value)
        assert caught.value.remedy is Remedy.CHECK_API_KEY


def test_endpoints_given_win_over_the_environment() -> None:
    env = {"BINANCE_API_BASE_URL": "http://127.0.0.1:1/", "BINANCE_VISION_BASE_URL": "http://127.0.0.1:2"}
    assert Endpoints.resolve(env=env) == Endpoints("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert Endpoints.resolve("https://a.example//", None, env) == Endpoints("https://a.example", "http://127.0.0.1:2")
    assert Endpoints.resolve(env={}) == Endpoints("https://fapi.binance.com", "https://data.binance.vision")
    assert Endpoints.resolve(env={"BINANCE_API_BASE_URL": ""}) == Endpoints()


NO_ADDRESSES = [
    "fapi.binance.com", "ftp://fapi.binance.com", "https://", "https://:443", "http://host:0", "http://host:99999",
    "http://host:port", "http://[::1", "https://host/?a=1", "https://host/#x", "file:///etc/passwd", " ",
]  # fmt: skip


def test_unusable_addresses_are_refused() -> None:
    for url in NO_ADDRESSES:
        with pytest.raises(UsageError, match="the API base URL is not a usable address"):
            Endpoints.resolve(api=url, env={})
        with pytest.raises(UsageError, match="the vision base URL is not a usable address"):
            Endpoints.resolve(vision=url, env={})


def test_an_address_with_a_password_is_refused_and_not_echoed() -> None:
    with pytest.raises(UsageError, match="carries a user name or password") as caught:
        Endpoints.resolve(api="https://me:hunter2@host", env={})
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
