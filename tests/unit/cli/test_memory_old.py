"""Giving memory back is a favour: where it cannot be had, everything works all the same."""

from __future__ import annotations

import sys

import pytest

from cryptoservice.cli.processes import return_large_blocks


def test_a_python_that_was_built_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    return_large_blocks()
