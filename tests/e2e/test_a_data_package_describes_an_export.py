"""The data package of an export: the standard's own tool accepts it, notices every change, and engines need nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import metrics_truth, truth
from tests.e2e.conftest import Workspace
from tests.e2e.steps import addresses, query
from tests.exchange import Market, ReplayExchange

WINDOW = ("2026-02-10", "2026-02-12")
DAYS = truth.days(*WINDOW)
PACKAGE = f"datapackage_5m_{WINDOW[0]}_{WINDOW[1]}.json"
CHINESE = "币安人生USDT"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with market.db and `exports`: three days, two symbols, one of them not ASCII; on the last a column is blank."""
    market = Market.recorded()
    market.add_symbol(CHINESE, first_day=date(2026, 2, 1))
    for symbol in ("LINKUSDT", CHINESE):
        rows = [(*row[:-1], None) for row in metrics_truth.metrics(market, symbol, DAYS[2], DAYS[2])]
        metrics_truth.put(market, symbol, DAYS[2], metrics_truth.text(symbol, rows, 5 * truth.MINUTE))
    folder = tmp_path_factory.mktemp("package")
    with ReplayExchange(market) as exchange:
        workspace = Workspace(folder, addresses(exchange))
        window = ("--start-date", WINDOW[0], "--end-date", WINDOW[1])
        assert workspace.define(symbols=f"LINKUSDT,{CHINESE}", window=window).code == 0
        assert workspace.download("--download-market-metrics").code == 0
        outcome = workspace.export()
    assert outcome.code == 0, outcome
    assert (outcome.report["package_path"], outcome.report["files"]) == (f"exports/{PACKAGE}", 9)
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of the exported files."""
    return Path(shutil.copytree(exported / "exports", tmp_path / "exports"))


def package(folder: Path) -> dict[str, Any]:
    record = json.loads((folder / PACKAGE).read_text(encoding="utf-8"))
    assert isinstance(record, dict)
    return record


def validate(folder: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    """`frictionless validate`: its exit code and its report."""
    command = [sys.executable, "-m", "frictionless", "validate", "--json", *flags, PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


def errors(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The file and the type of every error."""
    found = [(task["place"], error["type"]) for task in report["tasks"] for error in task["errors"]]
    return sorted(found + [("", error["type"]) for error in report["errors"]])


@pytest.mark.parametrize("flags", [("--type", "package"), ()])
def test_the_tool_of_the_standard_accepts_it(folder: Path, flags: tuple[str, ...]) -> None:
    code, report = validate(folder, *flags)
    assert (code, report["valid"], errors(report)) == (0, True, []), report
    csvs = {str(path.relative_to(folder)): path for path in folder.rglob("*.csv")}
    assert {task["place"] for task in report["tasks"]} == csvs.keys()
    counted = {task["place"]: task["stats"]["rows"] for task in report["tasks"]}
    assert sum(counted.values()) == sum(len(path.read_text(encoding="utf-8").splitlines()) - 1 for path in csvs.values())
    assert counted[f"klines/freq=5m/date={DAYS[0]}/klines.csv"] == 2 * 288
    listed = {entry["path"]: (entry["bytes"], entry["hash"]) for entry in package(folder)["resources"]}
    assert listed == {
        name: (path.stat().st_size, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}") for name, path in csvs.items()
    }


def test_the_tool_notices_what_has_changed(folder: Path) -> None:
    changed, lost = (f"klines/freq=5m/date={day}/klines.csv" for day in DAYS[:2])
    text = (folder / changed).read_text(encoding="utf-8")
    # One digit of one price, and the file is as long as before.
    first = text.splitlines()[1]
    price = first.split(",")[2]
    other = first.replace(f",{price},", f",{price[:-1]}{(int(price[-1]) + 1) % 10},", 1)
    (folder / changed).write_text(text.replace(first, other, 1), encoding="utf-8")
    (folder / lost).unlink()
    code, report = validate(folder, "--type", "package")
    assert (code, errors(report)) == (1, sorted([(changed, "hash-count"), (lost, "scheme-error")]))


class Table:
    """One dataset as the package tells of it: its files, and the type of every column."""

    def __init__(self, folder: Path, dataset: str) -> None:
        entries = [entry for entry in package(folder)["resources"] if entry["path"].startswith(f"{dataset}/")]
        (schema,) = {json.dumps(entry["schema"]): entry["schema"] for entry in entries}.values()
        self.files = [str(folder / entry["path"]) for entry in entries]
        self.types: dict[str, str] = {field["name"]: field["type"] for field in schema["fields"]}
        self.required = [field["name"] for field in schema["fields"] if field.get("constraints", {}).get("required")]
        (self.null,) = schema["missingValues"]
        self.key = schema["primaryKey"]


def stored(folder: Path, dataset: str, table: Table) -> list[tuple[Any, ...]]:
    return query(folder / "market.db", f"SELECT {', '.join(table.types)} FROM {dataset} ORDER BY {', '.join(table.key)}")


@pytest.mark.parametrize("dataset", ["klines", "metrics", "funding_rates"])
def test_duckdb_reads_what_is_stored_and_needs_no_other_dictionary(exported: Path, dataset: str) -> None:
    import duckdb

    table = Table(exported / "exports", dataset)
    names = {"string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE"}
    options = {"files": table.files, "columns": {name: names[kind] for name, kind in table.types.items()}, "null": table.null}
    how = "columns = $columns, nullstr = $null, delim = ',', header = true, auto_detect = false, hive_partitioning = false"
    read = duckdb.execute(f"SELECT * FROM read_csv($files, {how}) ORDER BY {', '.join(table.key)}", options).fetchall()
    assert read == stored(exported, dataset, table)
    blank = {name for name, values in zip(table.types, zip(*read, strict=True), strict=True) if None in values}
    assert blank == {"klines": set(), "metrics": {"taker_volume_ratio"}, "funding_rates": {"mark_price"}}[dataset]
    assert not blank & set(table.required)


@pytest.mark.parametrize("dataset", ["klines", "metrics", "funding_rates"])
def test_the_types_are_those_of_the_values_that_are_stored(exported: Path, dataset: str) -> None:
    table = Table(exported / "exports", dataset)
    kinds = [{"string": str, "integer": int, "number": float}[kind] for kind in table.types.values()]
    for row in stored(exported, dataset, table):
        assert all(value is None or type(value) is kind for value, kind in zip(row, kinds, strict=True)), row


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["klines", "metrics", "funding_rates"])
def test_pandas_reads_what_is_stored_and_needs_no_other_dictionary(exported: Path, dataset: str) -> None:
    import pandas as pd

    table = Table(exported / "exports", dataset)
    names = {"string": "string", "integer": "int64", "number": "float64"}
    types = {name: names[kind] for name, kind in table.types.items()}
    options: dict[str, Any] = {
        "dtype": types,
        "na_values": [table.null],
        "keep_default_na": False,
        "float_precision": "round_trip",
    }
    frame = pd.concat(pd.read_csv(path, **options) for path in table.files).sort_values(table.key)
    read = [tuple(None if pd.isna(value) else value for value in row) for row in frame.itertuples(index=False)]
    assert read == stored(exported, dataset, table)
