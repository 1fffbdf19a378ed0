"""Fixtures: an exchange over the recorded market, and a client that keeps no secrets from the test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from tests.exchange import Market, ReplayExchange

from .client import Client


@pytest.fixture
def market() -> Market:
    return Market.recorded()


@pytest.fixture
def exchange(market: Market) -> Iterator[ReplayExchange]:
    now = datetime(2026, 3, 10, tzinfo=timezone.utc)
    with ReplayExchange(market, now=lambda: now) as running:
        yield running


@pytest.fixture
def client(exchange: ReplayExchange) -> Client:
    return Client(exchange)
