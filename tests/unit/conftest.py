"""Fixtures of the unit tests that need an exchange: the replay exchange, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cryptoservice.config import Endpoints, NetworkConfig, RetryConfig
from tests.exchange import Market, ReplayExchange


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayExchange]:
    """A running exchange; bans are remembered in a folder of this test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    with ReplayExchange(Market.recorded()) as running:
        yield running


@pytest.fixture
def network(exchange: ReplayExchange) -> NetworkConfig:
    """How that exchange is reached, without retries."""
    endpoints = Endpoints(exchange.api_url, exchange.vision_url, exchange.listing_url)
    return NetworkConfig(endpoints, retry=RetryConfig(max_retries=0))
