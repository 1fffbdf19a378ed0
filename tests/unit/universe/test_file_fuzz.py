"""Any text is refused as a universe or understood, and a universe is read as it was saved."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from cryptoservice.universe.file import UniverseError, UniverseFile, from_json, save, to_json
from cryptoservice.universe.model import Universe
from cryptoservice.universe.symbols import fault_of
from tests.e2e import hostile_strategies as odd
from tests.unit.fuzzing import Fuzz, Test

fuzzed = Fuzz()


def read_or_refuse(text: str) -> Universe | None:
    """A universe that says the same when written and read again, or UniverseError."""
    try:
        universe = from_json(text)
    except UniverseError as error:
        assert error.exit_code == 2
        assert len(error.message) < 1000
        return None
    assert from_json(to_json(universe)) == universe
    assert not any(map(fault_of, universe.requested_symbols))
    return universe


@fuzzed(odd.universes(), examples=40)
def test_a_universe_is_read_as_it_was_saved(universe: Universe) -> None:
    text = to_json(universe)
    assert read_or_refuse(text) == universe
    assert to_json(from_json(text)) == text
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "universe.json"
        save(universe, path, force=True)
        loaded = UniverseFile.load(path)
        assert (loaded.universe, loaded.sha256) == (universe, hashlib.sha256(path.read_bytes()).hexdigest())


@fuzzed(odd.universes(), odd.anything, st.integers(0))
def test_one_changed_place_is_refused_or_understood(universe: Universe, new: Any, at: int) -> None:
    record = json.loads(to_json(universe))
    found = odd.places(record)
    read_or_refuse(json.dumps(odd.changed(record, found[at % len(found)], new)))


@fuzzed(odd.universes(), st.lists(st.tuples(st.integers(0), st.binary(max_size=3)), min_size=1, max_size=5))
def test_changed_bytes_are_refused_or_understood(universe: Universe, cuts: list[tuple[int, bytes]]) -> None:
    content = bytearray(to_json(universe).encode())
    for at, piece in cuts:
        at %= len(content)
        content[at : at + 1 + len(piece) // 2] = piece
        content = content or bytearray(b" ")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return
    read_or_refuse(text)


@fuzzed(
    st.one_of(
        odd.anything.map(json.dumps), odd.texts, st.binary(max_size=40).map(lambda content: content.decode("utf-8", "replace"))
    )
)
def test_any_text_is_refused_as_a_universe(text: str) -> None:
    assert read_or_refuse(text) is None


# Around the depth at which Python gives up, and far beyond.
DEPTHS = (*range(800, 1000, 3), 5_000, 100_000)


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_no_depth_is_too_deep(start: str, end: str) -> None:
    for depth in DEPTHS:
        value = start * depth + "1" + end * depth
        for text in (value, f'{{"schema_version": {value}}}', f'{{"schema_version": "2.0", "requested_symbols": [{value}]}}'):
            assert read_or_refuse(text) is None


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("test", fuzzed.deep)
def test_deeper(test: Test) -> None:
    test()
