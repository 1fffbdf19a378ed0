"""The export folder as one partitioned table: each engine runs the recipe's own lines and must say what SQLite says."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import metrics_truth, truth
from tests.e2e.conftest import ROOT, Workspace
from tests.e2e.recipe_steps import RECIPES, block, page
from tests.e2e.steps import addresses, query
from tests.exchange import Market, ReplayExchange

PEPE = "1000PEPEUSDT"
TABLES = ("klines", "metrics", "funding_rates")
SPAN = ("2026-02-10", "2026-02-12")
# On the first days nobody has this column.
BLANK_DAYS = ("2026-02-01", "2026-02-02", "2026-02-03")
BLANK = "taker_volume_ratio"
BARE = "FROM read_csv('exports/klines/*/*/klines.csv', hive_partitioning = true)"
ABSENT = "FileNotFoundError: no klines from 2026-03-01 to 2026-03-02 in exports/klines/freq=5m"
GARBAGE = b'symbol,open_time\n\xff\xfe\x00 not a number\n"\n1,2,3,4\n'


@dataclass(frozen=True)
class Dataset:
    """A finished dataset: `exports` holds 5m and 1h, `pruned` the same with garbage on all days but those of the query."""

    folder: Path

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """All rows of a table of the database, 5m klines."""
        where = " WHERE freq = '5m'" if table == "klines" else ""
        return sorted(query(self.folder / "market.db", f"SELECT {', '.join(self.columns(table))} FROM {table}{where}"), key=repr)

    def columns(self, table: str) -> list[str]:
        """The columns of its CSV files."""
        path = next((self.folder / "exports" / table).rglob("*.csv"))
        return path.read_text().split("\n", 1)[0].split(",")

    def kinds(self, table: str) -> dict[str, type]:
        """What SQLite keeps in each column."""
        known: dict[str, type] = {}
        columns = self.columns(table)
        for row in self.rows(table):
            for name, value in zip(columns, row, strict=True):
                if value is not None:
                    assert known.setdefault(name, type(value)) is type(value)
        return known

    def answer(self) -> list[tuple[str, int, int, float]]:
        """The query of the recipe: bars, trades and volume of each symbol, the volume summed without any error."""
        start, end = truth.moment(SPAN[0]), truth.moment(SPAN[1]) + truth.DAY
        sql = "SELECT symbol, trades, volume FROM klines WHERE freq = '5m' AND open_time >= ? AND open_time < ? ORDER BY symbol"
        found: dict[str, list[tuple[int, float]]] = {}
        for symbol, trades, volume in query(self.folder / "market.db", sql, start, end):
            found.setdefault(symbol, []).append((trades, volume))
        return [
            (symbol, len(bars), sum(trades for trades, _ in bars), math.fsum(volume for _, volume in bars))
            for symbol, bars in found.items()
        ]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    market = Market.recorded()
    market.add_symbol(PEPE, first_day=date(2026, 2, 5))
    for symbol in truth.SYMBOLS:
        for day in BLANK_DAYS:
            rows = metrics_truth.metrics(market, symbol, day, day)
            blank = [(*row[:-1], None) for row in rows]
            metrics_truth.put(market, symbol, day, metrics_truth.text(symbol, blank, 5 * truth.MINUTE))
    folder = tmp_path_factory.mktemp("engines")
    with ReplayExchange(market) as exchange:
        workspace = Workspace(folder, addresses(exchange))
        assert workspace.define(symbols=",".join((*truth.SYMBOLS, PEPE))).code == 0
        assert workspace.download("--download-market-metrics").code == 0
        assert workspace.export().code == workspace.export(target="1h").code == 0
    shutil.copytree(folder / "exports", folder / "pruned")
    for path in (folder / "pruned").rglob("*.csv"):
        if path.parent.parent.name != "freq=5m" or not SPAN[0] <= path.parent.name[5:] <= SPAN[1]:
            path.write_bytes(GARBAGE)
    made = Dataset(folder)
    assert len(list((folder / "exports" / "klines").rglob("*.csv"))) == 56
    assert {row[-1] for row in made.rows("metrics") if row[1] < truth.moment("2026-02-04")} == {None}
    assert None in {row[3] for row in made.rows("funding_rates")}, "no funding rate without a mark price"
    return made


def require(module: str) -> None:
    """The engines are big: a machine without one is told what to install."""
    assert importlib.util.find_spec(module), f"{module} is not installed: pip install -e '.[engines]'"


def ask(dataset: Dataset, engine: str, words: str) -> dict[str, Any]:
    """What an engine finds with the recipe's lines that hold these words, in a process of its own."""
    require(engine)
    where = {"klines": " WHERE freq = '5m'", "metrics": " WHERE freq = '5m'", "funding_rates": ""}
    columns = {table: dataset.columns(table) for table in TABLES}
    order = {
        "code": block("python", words),
        "query": block("sql", "GROUP BY"),
        "bare": BARE,
        "columns": columns,
        "selects": {table: f"SELECT {', '.join(columns[table])} FROM {table}{where[table]}" for table in TABLES},
    }
    local = "--master local[2] --conf spark.ui.enabled=false --conf spark.driver.bindAddress=127.0.0.1"
    spark = {
        "PYSPARK_SUBMIT_ARGS": f"{local} --conf spark.driver.host=127.0.0.1 --conf spark.sql.shuffle.partitions=2 pyspark-shell",
        "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(dataset.folder),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.engine_probe", engine], cwd=dataset.folder, input=json.dumps(order),
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{RECIPES}", **spark},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_answer(found: list[list[Any]], dataset: Dataset) -> None:
    """Counts are exact; sums of 864 numbers of one sign may differ in their last digits, as the order of adding does."""
    wanted = dataset.answer()
    assert [row[:3] for row in found] == [[symbol, bars, trades] for symbol, bars, trades, _ in wanted]
    assert [symbol for symbol, *_ in wanted] == sorted((*truth.SYMBOLS, PEPE))
    for row, (*_, volume) in zip(found, wanted, strict=True):
        assert row[3] == pytest.approx(volume, rel=1e-12)


def assert_agrees(found: dict[str, Any], dataset: Dataset, names: dict[type, str]) -> None:
    """The answer, every row of every table to the last bit, the types, and that the files of other days may hold garbage."""
    assert_answer(found["answer"], dataset)
    for table in TABLES:
        assert sorted((tuple(row) for row in found["tables"][table]), key=repr) == dataset.rows(table), table
        wanted = {name: names[kind] for name, kind in dataset.kinds(table).items()}
        partitions = {"date": names[date], **({} if table == "funding_rates" else {"freq": names[str]})}
        assert found["types"][table] == {**wanted, **partitions}, table
    assert_answer(found["pruned"], dataset)
    assert not found["everything"].startswith("no error"), "the garbage would have done no harm anyway"


def test_duckdb_says_what_sqlite_says(dataset: Dataset) -> None:
    found = ask(dataset, "duckdb", "import duckdb")
    assert_agrees(found, dataset, {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", date: "DATE"})
    assert "Scanning Files: 3/56" in found["plan"]
    assert "`Scanning Files: 3/56`" in page()
    assert f"`{BARE}`" in page()
    assert_answer(found["bare"], dataset)


@pytest.mark.slow
def test_pyspark_says_what_sqlite_says(dataset: Dataset) -> None:
    assert shutil.which("java") or os.environ.get("JAVA_HOME"), "PySpark needs Java 17 or later: install it, or set JAVA_HOME"
    found = ask(dataset, "pyspark", "import SparkSession")
    assert_agrees(found, dataset, {str: "string", int: "bigint", float: "double", date: "date"})
    filters = found["plan"].split("PartitionFilters: ", 1)[1].split("PushedFilters", 1)[0]
    assert "(date#" in filters
    assert "(freq#" in filters


@pytest.mark.slow
def test_polars_says_what_sqlite_says(dataset: Dataset) -> None:
    found = ask(dataset, "polars", "import polars")
    assert_agrees(found, dataset, {str: "String", int: "Int64", float: "Float64", date: "Date"})
    assert found["absent"] == ABSENT


@pytest.mark.slow
def test_pandas_says_what_sqlite_says(dataset: Dataset) -> None:
    found = ask(dataset, "pandas", "import read_pandas")
    for kinds in found["types"].values():
        # The unit is seconds or nanoseconds, as the version has it.
        kinds["date"] = kinds["date"].split("[")[0]
    assert_agrees(found, dataset, {str: "string", int: "int64", float: "float64", date: "datetime64"})
    assert found["absent"] == ABSENT


def test_the_long_tests_install_the_engines_and_the_short_ones_do_not(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("setup.cfg", "pyproject.toml"):
        (tmp_path / name).touch()
    said = {
        target: subprocess.run(["make", "-n", target], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for target in ("test", "test-slow")
    }
    assert "-e '.[dev,engines]'" in said["test-slow"]
    assert "engines" not in said["test"]
