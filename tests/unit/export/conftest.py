"""The folder and the database of one export."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.audit.stored import Stored


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """A universe of two symbols over two days, and no database yet."""
    return Stored(tmp_path)
