"""The recipe's table of disk and time: rows, bytes and requests as `--plan` says them, sizes by the measured bytes of a row."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cryptoservice.config import WorkerConfig
from cryptoservice.download.forecast.duration import ASSUMED_LATENCY
from tests.e2e.conftest import ROOT, Workspace
from tests.e2e.recipe_steps import Server, block, page
from tests.e2e.steps import universe
from tests.exchange import ReplayExchange

UNITS = {"MB": 1e6, "GB": 1e9, "million": 1e6, "s": 1.0, "min": 60.0}
SECTION = page().partition("## Disk and time\n")[2].partition("\n## ")[0]
TABLE = [[cell.strip() for cell in line.strip("|").split("|")] for line in SECTION.splitlines() if re.match(r"\| \d", line)]


def number(text: str) -> float:
    value, unit = text.split()
    return float(value) * UNITS[unit]


def told(form: str) -> list[float]:
    """The figures of a sentence of the section."""
    (found,) = re.findall(form, " ".join(SECTION.split()))
    return [float(figure.replace(",", "")) for figure in ([found] if isinstance(found, str) else found)]


STORED = told(r"database has (\d+) bytes for a kline, (\d+) for a row of metrics and (\d+) for each symbol-day and dataset")
WRITTEN = told(r"CSV has (\d+) bytes for a kline and (\d+) for a row of metrics")
(PACE,) = told(r"two cores store ([\d,]+) a second")
LATENCY, AT_ONCE = told(r"those of the requests, ([\d.]+) s each with (\d+) at once")


def test_the_table_has_typical_sizes() -> None:
    assert len(TABLE) >= 5
    assert all(len(row) == 6 for row in TABLE)


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_a_line_follows_from_the_plan(tmp_path: Path, row: list[str]) -> None:
    what, *figures = row
    found = re.fullmatch(r"(\d+) symbols, klines (\w+)(, metrics, funding rates)?", what)
    assert found
    symbols = [f"S{number:03}USDT" for number in range(int(found[1]))]
    (tmp_path / "universe.json").write_text(json.dumps(universe(symbols, "2025-01-01", "2025-12-31")))
    more = ["--download-market-metrics"] if found[3] else []
    plan = Workspace(tmp_path).download("--plan", *more, interval=found[2])
    assert plan.code == 0, plan
    shares = {share["dataset"]: share for share in plan.report["shares"]}
    klines = shares["klines"]["rows"]
    assert klines == len(symbols) * 365 * {"1m": 1440, "5m": 288, "1h": 24}[found[2]]
    metrics = shares["metrics"]["rows"] if found[3] else 0
    assert metrics == (len(symbols) * 365 * 288 if found[3] else 0)
    days = len(symbols) * 365 * (3 if found[3] else 1)
    database = klines * STORED[0] + metrics * STORED[1] + days * STORED[2]
    csv = klines * WRITTEN[0] + metrics * WRITTEN[1]
    rows = plan.report["rows"]
    # What the plan itself says depends on the machine that it is made on.
    requests = sum(share["requests"] for share in plan.report["shares"] if share["source"] != "rest")
    seconds = max(requests * LATENCY / AT_ONCE, rows / PACE)
    wanted = [rows, plan.report["bytes"], database, csv, seconds]
    # Two digits are shown.
    assert [number(figure) for figure in figures] == pytest.approx(wanted, rel=0.06)


def test_the_requests_are_those_of_the_defaults() -> None:
    assert (WorkerConfig.vision, ASSUMED_LATENCY) == (AT_ONCE, LATENCY)


def test_the_bytes_of_a_row_are_those_of_the_benchmarks() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    (measured,) = re.findall(
        r"^\| database: bytes per kline row, metrics row, ledger line \|.*\| (.*) \|$", text, flags=re.MULTILINE
    )
    assert [float(figure) for figure in measured.split(",")] == STORED
    assert f"some {PACE:,.0f} rows/s" in text


def test_the_bytes_of_a_line_are_those_of_an_export(workspace: Workspace) -> None:
    assert workspace.define().code == workspace.download("--download-market-metrics").code == workspace.export().code == 0
    for table, size in zip(("klines", "metrics"), WRITTEN, strict=True):
        texts = [path.read_text() for path in (workspace.folder / "exports" / table).rglob("*.csv")]
        lines = sum(text.count("\n") - 1 for text in texts)
        assert round(sum(map(len, texts)) / lines) == pytest.approx(size, abs=1)


def test_the_line_for_your_own_figures_asks_nobody(workspace: Workspace, exchange: ReplayExchange) -> None:
    assert workspace.define().code == 0
    before = len(exchange.requests)
    server = Server(workspace)
    done = server.run(block("sh", "--plan"))
    assert done.code == 0, done
    assert '"minutes"' in done.stdout
    assert len(exchange.requests) == before
    assert not (workspace.folder / "market.db").exists()
