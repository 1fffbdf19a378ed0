"""A database with one day in all datasets, written once and copied for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.audit.stored import Stored


@pytest.fixture(scope="session")
def sound_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a sound database."""
    made = Stored(tmp_path_factory.mktemp("sound"))
    made.fill_all()
    return made.database.read_bytes()


@pytest.fixture
def stored(tmp_path: Path, sound_bytes: bytes) -> Stored:
    """A universe and a sound database of its first day."""
    made = Stored(tmp_path)
    made.database.write_bytes(sound_bytes)
    return made
