"""An export folder as tables in DuckDB, PySpark, Polars and pandas. One file, to be copied to where it is used.

Columns are declared, never guessed: a column that is empty on the days that an engine looks at first is still a number.
Give `freq` and a range of `date` in every query: only the files of those days are opened then.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars
    from pyspark.sql import SparkSession

# The columns of the files, and those that the folders' names carry.
COLUMNS = {
    "klines": {
        "symbol": "STRING", "open_time": "BIGINT", "open": "DOUBLE", "high": "DOUBLE", "low": "DOUBLE", "close": "DOUBLE",
        "volume": "DOUBLE", "quote_volume": "DOUBLE", "trades": "BIGINT", "taker_buy_volume": "DOUBLE",
        "taker_buy_quote_volume": "DOUBLE",
    },
    "metrics": {
        "symbol": "STRING", "open_time": "BIGINT", "open_interest": "DOUBLE", "open_interest_value": "DOUBLE",
        "top_trader_account_ratio": "DOUBLE", "top_trader_position_ratio": "DOUBLE", "global_account_ratio": "DOUBLE",
        "taker_volume_ratio": "DOUBLE",
    },
    "funding_rates": {
        "symbol": "STRING", "funding_time": "BIGINT", "funding_rate": "DOUBLE", "mark_price": "DOUBLE", "rate_type": "STRING",
    },
}  # fmt: skip
PARTITIONS = {
    "klines": {"freq": "STRING", "date": "DATE"},
    "metrics": {"freq": "STRING", "date": "DATE"},
    "funding_rates": {"date": "DATE"},
}


def duckdb_views(connection: duckdb.DuckDBPyConnection, folder: str | Path = "exports") -> None:
    """Views `klines`, `metrics` and `funding_rates`, as far as the folder has them."""
    for table in _tables(folder):
        files = str(Path(folder, table, *("*" for _ in PARTITIONS[table]), f"{table}.csv")).replace("'", "''")
        connection.execute(
            f"CREATE OR REPLACE VIEW {table} AS FROM read_csv('{files}', auto_detect = false, header = true, delim = ',', "
            f"columns = {COLUMNS[table]}, hive_partitioning = true, hive_types = {PARTITIONS[table]})"
        )


def spark_views(session: SparkSession, folder: str | Path = "exports") -> None:
    """The same views in Spark. A file that is not as described fails the query rather than becoming NULLs."""
    for table in _tables(folder):
        schema = ", ".join(f"{name} {kind}" for name, kind in {**COLUMNS[table], **PARTITIONS[table]}.items())
        rows = session.read.csv(str(Path(folder, table)), schema=schema, header=True, enforceSchema=False, mode="FAILFAST")
        rows.createOrReplaceTempView(table)


def scan_polars(table: str, first: str, last: str, *, freq: str = "5m", folder: str | Path = "exports") -> polars.LazyFrame:
    """The days first to last. Polars has no Hive partitions for CSV, so the files are chosen by their folders' names."""
    import polars as pl

    kinds = {"STRING": pl.String, "BIGINT": pl.Int64, "DOUBLE": pl.Float64}
    schema = {name: kinds[kind] for name, kind in COLUMNS[table].items()}
    files = [str(path) for path in _files(table, first, last, freq, folder).values()]
    day = pl.col("file").str.extract(r"date=(\d{4}-\d\d-\d\d)").str.to_date()
    rows = pl.scan_csv(files, schema=schema, include_file_paths="file")
    return rows.with_columns(date=day, **{name: pl.lit(text) for name, text in _freq(table, freq).items()}).drop("file")


def read_pandas(table: str, first: str, last: str, *, freq: str = "5m", folder: str | Path = "exports") -> pandas.DataFrame:
    """The days first to last, every number exactly as it is in the database."""
    import pandas as pd

    kinds = {"STRING": "string", "BIGINT": "int64", "DOUBLE": "float64"}
    types = {name: kinds[kind] for name, kind in COLUMNS[table].items()}
    options = {"dtype": types, "keep_default_na": False, "na_values": [""]}
    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
        # Until then the default float parser is off by the last bit now and then.
        options["float_precision"] = "round_trip"
    files = _files(table, first, last, freq, folder)
    days = [pd.read_csv(path, **options).assign(date=pd.Timestamp(day), **_freq(table, freq)) for day, path in files.items()]
    return pd.concat(days, ignore_index=True).astype(dict.fromkeys(_freq(table, freq), "string"))


def _tables(folder: str | Path) -> list[str]:
    found = [table for table in COLUMNS if Path(folder, table).is_dir()]
    if not found:
        raise FileNotFoundError(f"no exported data in {folder}")
    return found


def _freq(table: str, freq: str) -> dict[str, str]:
    return {"freq": freq} if "freq" in PARTITIONS[table] else {}


def _files(table: str, first: str, last: str, freq: str, folder: str | Path) -> dict[date, Path]:
    """The file of each day from first to last that has one."""
    span = (date.fromisoformat(first), date.fromisoformat(last))
    parent = Path(folder, table, *(f"{name}={text}" for name, text in _freq(table, freq).items()))
    files = {date.fromisoformat(path.parent.name[5:]): path for path in sorted(parent.glob(f"date=*/{table}.csv"))}
    wanted = {day: path for day, path in files.items() if span[0] <= day <= span[1]}
    if not wanted:
        raise FileNotFoundError(f"no {table} from {first} to {last} in {parent}")
    return wanted
