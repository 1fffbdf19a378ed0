"""The recorded metrics files through the real command: every stored value, and the bar that prices of klines prove."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from statistics import mean

from tests.e2e import metrics_truth as mt
from tests.e2e.conftest import Workspace
from tests.e2e.steps import query, write_universe
from tests.exchange import Market
from tests.exchange.recordings import RECORDINGS

VALUES = (
    "sum_open_interest", "sum_open_interest_value", "count_toptrader_long_short_ratio", "sum_toptrader_long_short_ratio",
    "count_long_short_ratio", "sum_taker_long_short_vol_ratio",
)  # fmt: skip


def zipped(name: str, text: str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as made:
        made.writestr(name, text)
    return body.getvalue()


def wire_rows(klines: Path, length_ms: int) -> str:
    """The recorded klines in the columns of the archive. What the recording lacks is filled in and decides nothing here."""
    lines = []
    for row in csv.DictReader(klines.read_text().splitlines()):
        row = {name.lower(): value for name, value in row.items()}
        if "date" in row:
            moment = datetime.strptime(row["date"], "%d-%m-%Y %H:%M").replace(tzinfo=timezone.utc)
            row["open_time"] = f"{int(moment.timestamp())}000"
        close_time = int(row["open_time"]) + length_ms - 1
        bar = [row[name] for name in ("open_time", "open", "high", "low", "close", "volume")]
        lines.append(",".join([*bar, str(close_time), "0", "1", row.get("taker_buy_base", "0"), "0", "0"]))
    return "\n".join(lines) + "\n"


def publish(market: Market, symbol: str, interval: str, day: str, metrics: bytes, klines: str) -> list[dict[str, str]]:
    """The recorded day in the archive, metrics and klines; the rows of the metrics file."""
    folder = f"data/futures/um/daily/metrics/{symbol}/{symbol}-metrics-{day}"
    market.replace_object(f"{folder}.zip", metrics)
    name = f"{symbol}-{interval}-{day}"
    market.replace_object(f"data/futures/um/daily/klines/{symbol}/{interval}/{name}.zip", zipped(f"{name}.csv", klines))
    with zipfile.ZipFile(io.BytesIO(metrics)) as archive:
        return list(csv.DictReader(archive.read(archive.namelist()[0]).decode().splitlines()))


def truth_of(lines: list[dict[str, str]], late_ms: int) -> list[mt.Row]:
    """What the file says, each row under the start of the bar that begins so long before its label."""
    rows = []
    for line in lines:
        label = datetime.strptime(line["create_time"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        values = (float(Decimal(line[name])) if line[name] else None for name in VALUES)
        rows.append((int(label.timestamp()) * 1000 - late_ms, *values))
    return rows


def test_labels_that_end_their_bars(workspace: Workspace, market: Market) -> None:
    day, klines = "2024-01-02", wire_rows(RECORDINGS / "klines_1h" / "BTCUSDT-1h.2024-01-02.csv", mt.HOUR)
    metrics = (RECORDINGS / "metrics" / "BTCUSDT-metrics-2024-01-02.zip").read_bytes()
    lines = publish(market, "BTCUSDT", "1h", day, metrics, klines)
    write_universe(workspace.folder, ["BTCUSDT"], day, day)
    outcome = workspace.download("--download-market-metrics", interval="1h")
    assert outcome.code == 0, outcome
    database = workspace.folder / "market.db"
    # The first row closes the last bar of the day before, and the last bar stands in a file that nobody has.
    assert mt.stored_metrics(database, "BTCUSDT") == truth_of(lines, mt.FIVE)[1:]
    line = mt.ledger(database, "metrics")["BTCUSDT", day]
    assert (line.status, line.rows, "labels_end_bars" in (line.reason or "")) == ("confirmed_gap", 287, True)
    # The second witness: the price when a bar ends is the open of the hour that begins then, much nearer than when it starts.
    opens = dict(query(database, "SELECT open_time, open FROM klines"))
    assert len(opens) == 24
    prices = dict(query(database, "SELECT open_time, open_interest_value / open_interest FROM metrics"))
    ends = [abs(price - opens[at + mt.FIVE]) for at, price in prices.items() if at + mt.FIVE in opens]
    starts = [abs(price - opens[at]) for at, price in prices.items() if at in opens]
    assert 10 * mean(ends) < mean(starts)


def test_labels_that_start_their_bars(workspace: Workspace, market: Market) -> None:
    day, klines = "2025-05-30", wire_rows(RECORDINGS / "klines_5m" / "HYPEUSDT-5m.2025-05-30.excerpt.csv", mt.FIVE)
    text = (RECORDINGS / "metrics" / "HYPEUSDT-metrics-2025-05-30.excerpt.csv").read_text()
    lines = publish(market, "HYPEUSDT", "5m", day, zipped("HYPEUSDT-metrics-2025-05-30.csv", text), klines)
    write_universe(workspace.folder, ["HYPEUSDT"], day, day)
    outcome = workspace.download("--download-market-metrics")
    assert outcome.code == 0, outcome
    database = workspace.folder / "market.db"
    stored = mt.stored_metrics(database, "HYPEUSDT")
    assert (stored, len(stored)) == (truth_of(lines, 0), 50)
    line = mt.ledger(database, "metrics")["HYPEUSDT", day]
    assert (line.status, "labels_start_bars" in (line.reason or "")) == ("confirmed_gap", True)
    # The second witness: the volumes of the kline under the same open time give the same taker ratio.
    ratios = dict(query(database, "SELECT open_time, taker_buy_volume / (volume - taker_buy_volume) FROM klines"))
    taker = {row[0]: row[6] for row in stored}
    own = [abs(taker[at] / ratio - 1) for at, ratio in ratios.items()]
    next_bar = [abs(taker[at + mt.FIVE] / ratio - 1) for at, ratio in ratios.items()]
    assert len(own) == 11
    assert max(own) < 0.02 < 0.05 < min(next_bar)
