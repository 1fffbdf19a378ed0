"""The data package: what it lists, what it says of every column, and which older packages an export makes untrue."""

from __future__ import annotations

import json
import logging
import os
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.days import Window
from cryptoservice.export.daily_csv import WrittenFile
from cryptoservice.export.data_package import COLUMNS, outdated_packages, package_path, write_package
from cryptoservice.export.spec import ExportSpec
from cryptoservice.models import Dataset, Freq

WINDOW = Window(date(2026, 2, 1), date(2026, 2, 3))
SPECS = [ExportSpec.of(dataset, Freq.m1, Freq.m3) for dataset in Dataset]
# SHA-256 of nothing at all, and of the letter a.
EMPTY, LETTER = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
)
SECOND = "klines/freq=3m/date=2026-02-02/klines.csv"
WRITTEN = {
    SECOND: WrittenFile(1, LETTER),
    "klines/freq=3m/date=2026-02-01/klines.csv": WrittenFile(7, EMPTY),
    "metrics/freq=5m/date=2026-02-02/metrics.csv": WrittenFile(8, EMPTY),
    "funding_rates/date=2026-02-02/funding_rates.csv": WrittenFile(9, EMPTY),
}


def write(folder: Path, written: dict[str, WrittenFile] = WRITTEN, window: Window = WINDOW, freq: Freq = Freq.m3) -> Path:
    path = package_path(folder, freq, window)
    write_package(path, freq, window, SPECS, written)
    return path


def record_of(path: Path) -> dict[str, Any]:
    record = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


def test_it_lists_the_written_files_dataset_by_dataset_and_day_by_day(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert path == tmp_path / "datapackage_3m_2026-02-01_2026-02-03.json"
    record = record_of(path)
    assert list(record) == ["$schema", "name", "title", "description", "resources"]
    assert record["name"] == "binance-usdt-perpetuals-3m-2026-02-01-2026-02-03"
    listed = [(entry["name"], entry["path"], entry["bytes"], entry["hash"]) for entry in record["resources"]]
    assert listed == [
        ("klines-3m-2026-02-01", "klines/freq=3m/date=2026-02-01/klines.csv", 7, f"sha256:{EMPTY}"),
        ("klines-3m-2026-02-02", SECOND, 1, f"sha256:{LETTER}"),
        # Metrics are never finer than five minutes.
        ("metrics-5m-2026-02-02", "metrics/freq=5m/date=2026-02-02/metrics.csv", 8, f"sha256:{EMPTY}"),
        ("funding_rates-2026-02-02", "funding_rates/date=2026-02-02/funding_rates.csv", 9, f"sha256:{EMPTY}"),
    ]
    names = [record["name"], *(name for name, *_ in listed)]
    assert all(re.fullmatch("[a-z0-9._/-]+", name) for name in names)
    assert len(set(names)) == len(names)
    for entry in record["resources"]:
        assert (entry["format"], entry["mediatype"], entry["encoding"]) == ("csv", "text/csv", "utf-8")
        assert entry["dialect"] == {"delimiter": ",", "lineTerminator": "\n", "header": True}
        assert entry["schema"]["missingValues"] == [""]
    keys = {entry["path"].split("/")[0]: entry["schema"]["primaryKey"] for entry in record["resources"]}
    assert keys == {
        "klines": ["symbol", "open_time"], "metrics": ["symbol", "open_time"],
        "funding_rates": ["symbol", "funding_time", "rate_type"],
    }  # fmt: skip


def test_every_column_has_its_type_unit_and_meaning() -> None:
    # The columns of docs/formats.md.
    page = (Path(__file__).parents[3] / "docs/formats.md").read_text(encoding="utf-8")
    headers = re.findall(r"^    (symbol,[a-z_,]+)$", page, flags=re.MULTILINE)
    assert [",".join(column.name for column in COLUMNS[dataset]) for dataset in Dataset] == headers
    for columns in COLUMNS.values():
        for column in columns:
            field = column.to_dict()
            assert field["type"] in ("string", "integer", "number")
            assert field["unit"]
            assert field["description"]
    kinds = {column.name: column.type for columns in COLUMNS.values() for column in columns}
    assert {name for name, kind in kinds.items() if kind == "integer"} == {"open_time", "funding_time", "trades"}
    assert {name for name, kind in kinds.items() if kind == "string"} == {"symbol", "rate_type"}
    # These may be NULL in the database, and with that empty in a file.
    optional = {column.name for columns in COLUMNS.values() for column in columns if not column.is_required}
    assert optional == {
        "open_interest", "open_interest_value", "top_trader_account_ratio", "top_trader_position_ratio", "global_account_ratio",
        "taker_volume_ratio", "mark_price",
    }  # fmt: skip
    assert COLUMNS[Dataset.KLINES][0].to_dict()["constraints"] == {"required": True}
    assert "constraints" not in COLUMNS[Dataset.METRICS][2].to_dict()


def test_the_same_files_give_the_same_bytes_whatever_their_order(tmp_path: Path) -> None:
    first = write(tmp_path / "a").read_bytes()
    assert write(tmp_path / "b", dict(reversed(WRITTEN.items()))).read_bytes() == first
    # A file a line, so that a line tool can find one.
    assert len([line for line in first.splitlines() if b'"path"' in line]) == 4


def test_a_package_of_nothing_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    path = write(tmp_path, {})
    assert not path.exists()
    write(tmp_path)
    assert caplog.messages == []
    write(tmp_path, {})
    assert (path.exists(), caplog.messages) == (
        False, [f"the data package of an earlier export is out of date and was removed: {path}"],
    )  # fmt: skip


ONE_DAY = Window(date(2026, 2, 2), date(2026, 2, 2))
NEW = {SECOND: WrittenFile(2, EMPTY)}


@pytest.mark.parametrize(
    ("written", "removed", "outdated"),
    [
        ({SECOND: WRITTEN[SECOND]}, set(), False),
        (NEW, set(), True),
        ({}, {SECOND}, True),
        ({"klines/freq=5m/date=2026-02-02/klines.csv": NEW[SECOND]}, {"klines/freq=3m/date=2026-02-03/klines.csv"}, False),
    ],
)
def test_a_package_is_outdated_by_what_has_changed(
    tmp_path: Path, written: dict[str, WrittenFile], removed: set[str], outdated: bool
) -> None:
    older = write(tmp_path)
    before = older.read_bytes()
    own = package_path(tmp_path, Freq.m3, ONE_DAY)
    assert outdated_packages(own, ONE_DAY, written, removed) == [older.name] * outdated
    assert older.read_bytes() == before


def test_only_other_packages_of_the_same_days_are_read(tmp_path: Path) -> None:
    write(tmp_path, WRITTEN, ONE_DAY)
    own = package_path(tmp_path, Freq.m3, ONE_DAY)
    # Its name says that it has no day of these, whatever it lists.
    write(tmp_path).rename(tmp_path / "datapackage_3m_2026-02-03_2026-02-09.json")
    write(tmp_path).rename(tmp_path / "datapackage.json")
    assert outdated_packages(own, ONE_DAY, NEW, set()) == []
    # The metrics of a 1m export are the same files as those of a 3m export.
    minutes = write(tmp_path, freq=Freq.m1)
    assert outdated_packages(own, ONE_DAY, NEW, set()) == [minutes.name]
    assert outdated_packages(tmp_path / "nowhere" / own.name, ONE_DAY, NEW, set()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xfe\x00", b"{", b"[" * 100_000, b"9" * 5_000, b"null", b"[]", b'"text"', b"{}", b'{"resources": 7}',
        b'{"resources": {"a": 1}}',
        b'{"resources": [null, 7, [], {}, {"path": ["a"], "hash": "b"}, {"path": "a"}, {"path": {"a": 1}, "hash": {}}]}',
    ],
)  # fmt: skip
def test_rubbish_is_passed_over(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    older = write(tmp_path)
    (tmp_path / "datapackage_1m_2026-01-01_2026-02-28.json").write_bytes(content)
    assert outdated_packages(package_path(tmp_path, Freq.m3, ONE_DAY), ONE_DAY, NEW, set()) == [older.name]
    is_json = content[:1] in (b"n", b'"') or content.endswith((b"[]", b"}"))
    told = [f"an older data package {tmp_path}/datapackage_1m_2026-01-01_2026-02-28.json is not JSON: it is passed over"]
    assert caplog.messages == ([] if is_json else told)


def test_what_is_no_file_or_far_too_large_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "datapackage_1m_2026-02-01_2026-02-02.json")
    (tmp_path / "datapackage_1m_2026-02-01_2026-02-03.json").mkdir()
    with (tmp_path / "datapackage_1m_2026-02-01_2026-02-04.json").open("wb") as large:
        large.truncate(40 * 2**20)
    assert outdated_packages(package_path(tmp_path, Freq.m3, ONE_DAY), ONE_DAY, NEW, set()) == []
    reasons = ["is not a regular file", "is a folder", "is larger than 32 MiB"]
    assert [reason in line for reason, line in zip(reasons, caplog.messages, strict=True)] == [True] * 3
