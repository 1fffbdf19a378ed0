"""Migration: what a database of an earlier schema version needs before this version writes to it."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from cryptoservice.storage.schema import SCHEMA_VERSION

log = logging.getLogger(__name__)

STALE_METRICS = "filed_by_label_or_date"
"""The reason of metrics that an earlier version filed without looking at klines. Any new rows replace them as a whole."""
READABLE_VERSIONS = (1, 2, SCHEMA_VERSION)

# Which bar a label names is for the content of a file to say (docs/wire.md, metrics files). Version 1 went by labels or dates.
_FROM_1_TO_2 = f"""
    BEGIN IMMEDIATE;
    ALTER TABLE ledger ADD COLUMN row_marks BLOB;
    CREATE TABLE commits (count INTEGER NOT NULL);
    INSERT INTO commits VALUES (0);
    UPDATE ledger SET status = 'incomplete', reason = '{STALE_METRICS}'
        WHERE rows > 0 AND source LIKE '%daily%' AND series_id IN (SELECT id FROM series WHERE dataset = 'metrics');
    PRAGMA user_version = 2;
    COMMIT;
"""  # noqa: S608 - made of its own constants
# What the archive's listing says of an object can be compared with it later, without a request for each object.
_FROM_2_TO_3 = """
    BEGIN IMMEDIATE;
    ALTER TABLE source_objects ADD COLUMN etag TEXT;
    ALTER TABLE source_objects ADD COLUMN size INTEGER;
    PRAGMA user_version = 3;
    COMMIT;
"""


def migrate(path: Path, db: sqlite3.Connection) -> None:
    """Bring the database to the schema version of this program; nothing is lost when that is interrupted."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 1:
        _from_1_to_2(path, db)
    if version in (1, 2):
        db.executescript(_FROM_2_TO_3)


def _from_1_to_2(path: Path, db: sqlite3.Connection) -> None:
    db.executescript(_FROM_1_TO_2)
    query = "SELECT count(*) FROM ledger WHERE reason = ? AND status = 'incomplete'"
    stale = db.execute(query, (STALE_METRICS,)).fetchone()[0]
    if stale:
        log.warning(
            "database %s: an earlier version filed %s symbol-days of metrics by labels or date, which can be the wrong bar: "
            "they are fetched again and replaced as a whole",
            path,
            f"{stale:,}",
        )
