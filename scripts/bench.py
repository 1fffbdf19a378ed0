"""`make bench`: whole commands measured against public tools in the same run, as a table and as JSON.

`make bench-scale` (--scale) does one, two, four and eight times the work instead and compares the time of a row.
"""

from __future__ import annotations

import argparse
import compileall
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import (
    auditing,
    datasets,
    exporting,
    footprint,
    foretelling,
    loading,
    locking,
    planning,
    reading,
    reference,
    scaling,
    small_objects,
    traffic,
)
from benchmarks.results import Line, Report
from benchmarks.world import loopback_world

import cryptoservice


def main() -> int:
    """Print the table; 0 when every target is met, 1 when one is not, 2 when the reference is not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", action="store_true", help="one, two, four and eight times the work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures (default bench-results/*.json)")
    args = parser.parse_args()
    if not reference.SHELL:
        print("the reference is the sqlite3 shell: install it (Debian: apt-get install sqlite3)", file=sys.stderr)
        return 2
    # As after any first run, also where the environment keeps Python from writing byte code.
    compileall.compile_dir(Path(cryptoservice.__file__).parent, quiet=1)
    started = time.perf_counter()
    measured = []
    with TemporaryDirectory(prefix="cryptoservice-bench-") as folder:
        for line in (scaling.lines if args.scale else _lines)(Path(folder)):
            print(f"{line.what}: {line.measured}", file=sys.stderr, flush=True)
            measured.append(line)
    report = Report(measured, time.perf_counter() - started)
    print(report.to_text())
    target = args.json or Path("bench-results") / ("scale.json" if args.scale else "bench.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report.to_dict(), indent=2) + "\n")
    print(f"written to {target}", file=sys.stderr)
    return 0 if report.met else 1


def _lines(folder: Path) -> Iterator[Line]:
    yield from planning.lines(folder)
    yield from planning.listing_lines(folder)
    yield from auditing.lines(folder)
    yield from traffic.lines(folder)
    yield from small_objects.lines(folder)
    yield from foretelling.lines(folder)
    with loopback_world(folder / "exchange", [*datasets.SYMBOLS, *datasets.MINUTE_SYMBOLS]) as world:
        quarter = datasets.make_quarter(world, folder)
        minutes = datasets.make_minute_year(world, folder)
        yield loading.zips_line(minutes, folder)
        yield from loading.download_lines(quarter, folder)
        yield exporting.rows_line(quarter, folder)
        yield exporting.hours_line(minutes, folder)
        yield from reading.dataframe_lines(minutes)
        yield from locking.lines(minutes, folder)
        yield from footprint.memory_lines(quarter, minutes, folder)
        yield from footprint.size_lines(quarter, folder / "month.db")
    yield from footprint.idle_lines(folder)
    yield from footprint.start_line()


if __name__ == "__main__":
    sys.exit(main())
