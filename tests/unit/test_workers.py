"""Helper processes: what they answer, and what is known of those that end or never start."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from cryptoservice.files import is_running
from cryptoservice.workers import HelperLost, HelperPool


@pytest.fixture
def pool() -> Iterator[HelperPool]:
    made = HelperPool(1)
    yield made
    made.close()


def test_a_helper_answers_or_fails_as_the_function_does(pool: HelperPool) -> None:
    assert pool.submit(divmod, 7, 2).result(20) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result(20)


def test_a_helper_that_dies_is_seen_off_and_the_next_call_has_another(pool: HelperPool) -> None:
    helper = pool.submit(os.getpid).result(20)
    assert helper != os.getpid()
    with pytest.raises(HelperLost, match="ended unexpectedly"):
        pool.submit(os.kill, helper, signal.SIGKILL).result(20)
    assert not is_running(helper), "a zombie, whose temp files would count as those of a living process"
    assert pool.submit(os.getpid).result(20) not in (helper, os.getpid())


def test_a_helper_that_cannot_be_started_is_a_lost_one(pool: HelperPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(HelperLost, match="could not be started"):
        pool.submit(os.getpid).result(20)
