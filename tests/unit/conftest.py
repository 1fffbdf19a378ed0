"""Fixtures of the unit tests that need an exchange: the replay exchange, in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from cryptoservice.config import Endpoints, NetworkConfig, RetryConfig
from tests.exchange import Market, ReplayExchange


@pytest.fixture(autouse=True)
def logger_of_a_library() -> Iterator[None]:
    """The package's logger as a library's user finds it: a test of another folder may have run a command in this process."""
    logger = logging.getLogger("cryptoservice")
    before = (logger.propagate, logger.level, logger.disabled, logger.handlers)
    logger.propagate, logger.disabled, logger.handlers = True, False, []
    logger.setLevel(logging.NOTSET)
    yield
    logger.propagate, logger.disabled, logger.handlers = before[0], before[2], before[3]
    logger.setLevel(before[1])


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
