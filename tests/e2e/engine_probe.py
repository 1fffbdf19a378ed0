"""`python -m tests.e2e.engine_probe ENGINE`, in a dataset's folder: runs the recipe's lines for an engine.

stdin holds the lines, the query and a query for each table, as JSON; stdout what came out. `exports` is the dataset, `pruned`
the same with garbage in the files of all other days than those of the query.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

Names = dict[str, Any]
WHOLE = ("2026-02-01", "2026-02-28")


def duckdb(run: Callable[[str], Names], order: Names) -> Names:
    """Rows, types, the plan, and the query on the folder with garbage, with and without days."""
    found = run("exports")
    connection, query = found["connection"], order["query"]
    pruned = run("pruned")
    return {
        "answer": found["answer"].fetchall(),
        "tables": {table: connection.sql(sql).fetchall() for table, sql in order["selects"].items()},
        "types": {
            table: {row[0]: row[1] for row in connection.sql(f"DESCRIBE {table}").fetchall()} for table in order["selects"]
        },
        "plan": connection.sql(f"EXPLAIN ANALYZE {query}").fetchall()[0][1],
        "bare": connection.sql(query.replace("FROM klines", order["bare"])).fetchall(),
        "pruned": pruned["answer"].fetchall(),
        "everything": attempt(lambda: pruned["connection"].sql("SELECT sum(volume) FROM klines").fetchall()),
    }


def pyspark(run: Callable[[str], Names], order: Names) -> Names:
    """The same with Spark."""
    found = run("exports")
    spark = found["spark"]
    answer = rows_of_spark(found["answer"])
    plan = found["answer"]._jdf.queryExecution().executedPlan().toString()
    tables = {table: rows_of_spark(spark.sql(sql)) for table, sql in order["selects"].items()}
    types = {table: dict(spark.table(table).dtypes) for table in order["selects"]}
    return {
        "answer": answer,
        "plan": plan,
        "tables": tables,
        "types": types,
        "pruned": rows_of_spark(run("pruned")["answer"]),
        "everything": attempt(lambda: rows_of_spark(spark.sql("SELECT sum(volume) FROM klines"))),
    }


def rows_of_spark(frame: Any) -> list[tuple[Any, ...]]:
    """A result as plain tuples."""
    return [tuple(row) for row in frame.collect()]


def polars(run: Callable[[str], Names], order: Names) -> Names:
    """The same with Polars, which has no plan to show: the helper chooses the files."""
    found = run("exports")
    scan = found["scan_polars"]
    frames = {table: scan(table, *WHOLE) for table in order["columns"]}
    return {
        "answer": found["answer"].rows(),
        "tables": {table: frame.select(order["columns"][table]).collect().rows() for table, frame in frames.items()},
        "types": {table: {name: str(kind) for name, kind in frame.collect_schema().items()} for table, frame in frames.items()},
        "pruned": run("pruned")["answer"].rows(),
        "everything": attempt(lambda: scan("klines", *WHOLE, folder="pruned").collect().height),
        "absent": attempt(lambda: scan("klines", "2026-03-01", "2026-03-02")),
    }


def pandas(run: Callable[[str], Names], order: Names) -> Names:
    """The same with pandas."""
    found = run("exports")
    read = found["read_pandas"]
    frames = {table: read(table, *WHOLE) for table in order["columns"]}
    bare = {table: frame[order["columns"][table]].astype(object) for table, frame in frames.items()}
    return {
        "answer": found["answer"].reset_index().values.tolist(),
        "tables": {table: frame.where(frame.notna(), None).values.tolist() for table, frame in bare.items()},
        "types": {table: {name: str(kind) for name, kind in frame.dtypes.items()} for table, frame in frames.items()},
        "pruned": run("pruned")["answer"].reset_index().values.tolist(),
        "everything": attempt(lambda: len(read("klines", *WHOLE, folder="pruned"))),
        "absent": attempt(lambda: read("klines", "2026-03-01", "2026-03-02")),
    }


def attempt(action: Callable[[], Any]) -> str:
    """What an action ends with: its error, or that there was none."""
    try:
        return f"no error: {action()}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"{type(error).__name__}: {error}"


def main(engine: str) -> None:
    """Answer on stdout."""
    order = json.load(sys.stdin)

    def run(folder: str) -> Names:
        names: Names = {"query": order["query"]}
        exec(order["code"].replace('"exports"', json.dumps(folder)), names)
        return names

    found = {"duckdb": duckdb, "pyspark": pyspark, "polars": polars, "pandas": pandas}[engine](run, order)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
