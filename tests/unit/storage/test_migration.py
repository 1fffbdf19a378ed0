"""A database of an earlier schema version: what is changed in it before it is written to, and what is only read."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from cryptoservice.models import Status
from cryptoservice.storage.migration import STALE_METRICS
from cryptoservice.storage.reader import StoreReader
from cryptoservice.storage.writer import StoreWriter
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS
from tests.unit.storage.samples import BTC, FUNDING, METRICS, NEXT_DAY, OBJECT, minutes, query, run_script, symbol_day, written

METRIC = (FEBRUARY_MS, 5.0, 50.0, 1.0, None, 1.5, 0.5)
# Version 2 kept neither ETag nor size of an object.
TO_2 = "ALTER TABLE source_objects DROP COLUMN etag; ALTER TABLE source_objects DROP COLUMN size; PRAGMA user_version = 2;"
LEDGER = "SELECT dataset, date, status, reason, rows, source FROM symbol_days ORDER BY dataset, date"


@pytest.fixture
def old(path: Path) -> Path:
    """A database as version 1 wrote it: without marks of rows, and without a count of commits."""
    written(
        path,
        symbol_day(BTC, minutes(0)),
        symbol_day(METRICS, [METRIC]),
        symbol_day(METRICS, [], NEXT_DAY, status=Status.CONFIRMED_GAP, reason="archive_alone"),
        symbol_day(FUNDING, [(FEBRUARY_MS, 0.1, None, "Regular")]),
    )
    run_script(path, f"{TO_2} ALTER TABLE ledger DROP COLUMN row_marks; DROP TABLE commits; PRAGMA user_version = 1;")
    return path


def test_reading_changes_nothing(old: Path) -> None:
    before = old.read_bytes()
    with StoreReader.open(old) as store:
        assert store.rows(BTC, FEBRUARY) == minutes(0)
        assert store.commits() is None
    assert old.read_bytes() == before


def test_metrics_from_archive_files_are_asked_for_again_and_nothing_else(old: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), StoreWriter.open(old) as store:
        stored = store.stored_day(METRICS, FEBRUARY)
        assert stored is not None
        assert stored.is_stale
        assert list(stored.rows) == [METRIC]
    assert query(old, LEDGER) == [
        ("funding_rates", "2026-02-01", "complete", None, 1, "daily"),
        ("klines", "2026-02-01", "complete", None, 1, "daily"),
        ("metrics", "2026-02-01", "incomplete", STALE_METRICS, 1, "daily"),
        ("metrics", "2026-02-02", "confirmed_gap", "archive_alone", 0, "daily"),
    ]
    (said,) = caplog.messages
    assert "filed 1 symbol-days of metrics by labels or date" in said


def test_it_ends_as_a_new_database_does(old: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(old)
    new = written(tmp_path / "new.db")
    schema = "SELECT type, name FROM sqlite_master ORDER BY name"
    assert query(old, schema) == query(new, schema)
    for table in ("ledger", "commits", "source_objects"):
        info = f"SELECT name, type FROM pragma_table_info('{table}')"
        assert sorted(query(old, info)) == sorted(query(new, info))
    assert query(old, "PRAGMA user_version") == query(new, "PRAGMA user_version") == [(3,)]
    assert query(old, "SELECT count FROM commits") == query(new, "SELECT count FROM commits") == [(1,)]
    caplog.clear()
    written(old)
    assert caplog.messages == [], "it is done once"


def test_objects_of_version_2_get_their_etag_when_they_are_fetched_again(path: Path) -> None:
    known = OBJECT._replace(etag="12" * 16, size=4096)
    written(path, symbol_day(BTC, minutes(0), origin=known))
    run_script(path, TO_2)
    before = path.read_bytes()
    with StoreReader.open(path) as store:
        assert store.stored_day(BTC, FEBRUARY) is not None
    assert path.read_bytes() == before
    written(path, symbol_day(METRICS, []))
    assert query(path, "SELECT * FROM source_objects") == [(1, *OBJECT)]
    written(path, symbol_day(BTC, minutes(0), origin=known))
    assert query(path, "SELECT * FROM source_objects") == [(1, *known)]
