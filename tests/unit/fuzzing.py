"""One decorator for properties of whatever comes in: a bounded test for every run, and the same property much longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

SHORT, DEEPER = 100, 30

Test = Callable[..., None]


class Fuzz:
    """Makes the bounded tests of one module; `deep` holds their long forms, for a slow test at the end of the module."""

    def __init__(self) -> None:
        self.deep: list[Any] = []

    def __call__(self, *strategies: Any, examples: int = SHORT) -> Callable[[Test], Test]:
        def decorate(test: Test) -> Test:
            bounded, deep = (
                settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
                for count in (examples, examples * DEEPER)
            )
            self.deep.append(pytest.param(deep(given(*strategies)(test)), id=test.__name__))
            return bounded(given(*strategies)(test))

        return decorate
