"""Recipes that hand an export on: one Parquet file, freqtrade's data folder, backtesting.py. Each holds what the market had."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.e2e import metrics_truth, truth
from tests.e2e.conftest import Workspace
from tests.e2e.recipe_steps import RECIPES, block, page
from tests.e2e.steps import addresses, query
from tests.exchange import Market, ReplayExchange

# Nobody has these minutes of LINKUSDT.
HOLE = (truth.moment("2026-02-12T12:00"), truth.moment("2026-02-12T12:30"))
FREQTRADE = "user_data/data/binance/futures"
# Reads one file with freqtrade's own loader, and prints what it finds.
LOADER = """
import json, sys
from pathlib import Path
from freqtrade.data.history import load_pair_history
from freqtrade.enums import CandleType
pair, timeframe, kind, form, *fill = sys.argv[1:]
found = load_pair_history(pair, timeframe, Path("user_data/data/binance"), fill_up_missing=bool(fill), drop_incomplete=False,
                          data_format=form, candle_type=CandleType(kind))
found["date"] = found["date"].dt.as_unit("ms").astype("int64")
print(json.dumps(found.values.tolist()))
"""


@dataclass(frozen=True)
class Dataset:
    """A folder with `exports` of 5m and 1h, as a reader of the recipes has it."""

    folder: Path
    market: Market

    def candles(self, symbol: str, freq: str = "5m") -> list[tuple[float, ...]]:
        """Time and the five values that everybody knows, from the recordings alone."""
        holes = [HOLE] if symbol == "LINKUSDT" else []
        return [row[:6] for row in truth.rows(symbol, freq, holes=holes)]

    def funding(self, symbol: str) -> list[tuple[int, float]]:
        """Hour and rate."""
        rows = metrics_truth.funding(self.market, symbol, truth.FIRST, truth.LAST)
        return [(row[0] // 3_600_000 * 3_600_000, row[1]) for row in rows]

    def copy(self, folder: Path) -> Dataset:
        """Another folder with the same exports and the files of the recipes."""
        shutil.copytree(RECIPES, folder)
        (folder / "exports").symlink_to(self.folder / "exports")
        return Dataset(folder, self.market)

    def python(self, line: str) -> subprocess.CompletedProcess[str]:
        """A line of a recipe that begins with python3."""
        name, *words = line.split()
        assert name == "python3"
        return subprocess.run([sys.executable, *words], cwd=self.folder, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    market = Market.recorded()
    market.drop_klines("LINKUSDT", *HOLE)
    folder = tmp_path_factory.mktemp("exported")
    with ReplayExchange(market) as exchange:
        workspace = Workspace(folder, addresses(exchange))
        assert workspace.define().code == 0
        # The hole is young enough for a source to come up with it one day.
        assert workspace.download("--download-market-metrics").code in (0, 3)
        assert workspace.export().code == workspace.export(target="1h").code == 0
        yield Dataset(folder, market)


@pytest.fixture
def dataset(exported: Dataset, tmp_path: Path) -> Dataset:
    return exported.copy(tmp_path / "reader")


def test_a_parquet_file_holds_every_bit_and_every_symbol_together(
    dataset: Dataset, exported: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dataset.folder)
    duckdb.sql(block("sql", "COPY"))
    columns = "symbol, open_time, open, high, low, close, volume, quote_volume, trades, taker_buy_volume, taker_buy_quote_volume"
    database = exported.folder / "market.db"
    stored = query(database, f"SELECT {columns} FROM klines WHERE freq = '5m' ORDER BY symbol, open_time")
    assert len(stored) == 3 * 28 * 288 - 6
    # Without ORDER BY: this is the order of the file.
    assert duckdb.sql(f"SELECT {columns} FROM 'klines.parquet' WHERE freq = '5m'").fetchall() == stored
    kinds = {row[0]: row[1] for row in duckdb.sql("DESCRIBE FROM 'klines.parquet'").fetchall()}
    assert (kinds["date"], kinds["freq"], kinds["trades"], kinds["close"]) == ("DATE", "VARCHAR", "BIGINT", "DOUBLE")
    assert duckdb.sql("SELECT freq, count(*) FROM 'klines.parquet' GROUP BY freq ORDER BY freq").fetchall() == [
        ("1h", 3 * 28 * 24), ("5m", len(stored)),
    ]  # fmt: skip
    told = re.search(r"A row takes about (\d+) bytes", page())
    assert told
    assert Path("klines.parquet").stat().st_size / (len(stored) + 3 * 28 * 24) == pytest.approx(int(told[1]), rel=0.15)


def freqtrade_line() -> str:
    return block("sh", "freqtrade_data.py").splitlines()[0]


def test_freqtrade_gets_every_candle_and_none_is_invented(dataset: Dataset) -> None:
    done = dataset.python(f"{freqtrade_line()} --format json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"5m-futures: {3 * 28 * 288 - 6:,} rows of 3 symbols\n1h-funding_rate: 252 rows of 3 symbols\n"
    futures = dataset.folder / FREQTRADE
    kinds = ("5m-futures", "1h-funding_rate")
    assert {path.name for path in futures.iterdir()} == {
        f"{name}_USDT_USDT-{kind}.json" for name in ("ALGO", "AVAX", "LINK") for kind in kinds
    }
    for symbol in truth.SYMBOLS:
        base = f"{symbol[:-4]}_USDT_USDT"
        candles = json.loads((futures / f"{base}-5m-futures.json").read_text())
        assert [tuple(row) for row in candles] == dataset.candles(symbol)
        rates = json.loads((futures / f"{base}-1h-funding_rate.json").read_text())
        assert [tuple(row[:2]) for row in rates] == dataset.funding(symbol)
        assert {tuple(row[2:]) for row in rates} == {(0.0, 0.0, 0.0, 0.0)}


def test_freqtrade_gets_some_symbols_of_another_interval(dataset: Dataset) -> None:
    line = freqtrade_line().replace("--freq 5m", "--freq 1h --symbols LINKUSDT --format json")
    assert dataset.python(line).returncode == 0
    futures = dataset.folder / FREQTRADE
    assert {path.name for path in futures.iterdir()} == {
        "LINK_USDT_USDT-1h-futures.json", "LINK_USDT_USDT-1h-funding_rate.json",
    }  # fmt: skip
    found = json.loads((futures / "LINK_USDT_USDT-1h-futures.json").read_text())
    assert [tuple(row) for row in found] == dataset.candles("LINKUSDT", "1h")


def test_freqtrade_pays_both_of_two_rates_of_one_hour(tmp_path: Path) -> None:
    """A special rate beside the regular one, one of them some milliseconds late; and a symbol that begins with a number."""
    ten = truth.moment("2026-02-10T08:00")
    header = "symbol,funding_time,funding_rate,mark_price,rate_type"
    files = {
        "funding_rates/date=2026-02-10/funding_rates.csv": [
            header, f"1000PEPEUSDT,{ten},0.25,1.5,Regular", f"1000PEPEUSDT,{ten + 7},0.5,,Special",
        ],
        "klines/freq=5m/date=2026-02-10/klines.csv": [
            ",".join(truth.COLUMNS), f"1000PEPEUSDT,{ten},1.0,2.0,0.5,1.25,10.0,12.5,3,4.0,5.0",
        ],
    }  # fmt: skip
    for name, lines in files.items():
        path = tmp_path / "exports" / name
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines) + "\n")
    shutil.copy(RECIPES / "freqtrade_data.py", tmp_path)
    done = Dataset(tmp_path, Market()).python(f"{freqtrade_line()} --format json")
    assert done.returncode == 0, done.stderr
    futures = tmp_path / FREQTRADE
    assert json.loads((futures / "1000PEPE_USDT_USDT-5m-futures.json").read_text()) == [[ten, 1.0, 2.0, 0.5, 1.25, 10.0]]
    assert json.loads((futures / "1000PEPE_USDT_USDT-1h-funding_rate.json").read_text()) == [[ten, 0.75, 0.0, 0.0, 0.0, 0.0]]


def test_freqtrade_gets_nothing_of_an_interval_that_was_not_exported(dataset: Dataset) -> None:
    done = dataset.python(freqtrade_line().replace("5m", "15m"))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no klines of 15m in exports\n")
    assert not (dataset.folder / "user_data").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_freqtrade_itself_reads_its_folder(dataset: Dataset) -> None:
    """freqtrade from the package index, in an environment of its own: its list of data, and its loader."""
    environment = dataset.folder / "environment"
    venv.create(environment, with_pip=True)
    binaries = environment / "bin"
    installed = subprocess.run(
        [binaries / "python", "-m", "pip", "install", "--quiet", "freqtrade"], capture_output=True, text=True, check=False
    )
    assert installed.returncode == 0, installed.stderr
    env = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": "", "COLUMNS": "200"}

    def shell(line: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", line], cwd=dataset.folder, env=env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def load(*arguments: str) -> list[list[Any]]:
        found: list[list[Any]] = json.loads(shell(f"python {' '.join(arguments)}").splitlines()[-1])
        return found

    make, listing = block("sh", "freqtrade_data.py").splitlines()
    # Its command makes the folders of its user data alone where there are some of them.
    shell(make)
    listed = [[cell.strip() for cell in re.split("[│|]", line)[1:-1]] for line in shell(listing).splitlines()]
    candles = {(row[0], row[1], row[2]): int(row[-1]) for row in listed if len(row) == 6 and "/USDT:USDT" in row[0]}
    assert candles == {
        (f"{symbol[:-4]}/USDT:USDT", *kind): rows
        for symbol in truth.SYMBOLS
        for kind, rows in {
            ("5m", "futures"): 28 * 288 - (6 if symbol == "LINKUSDT" else 0), ("1h", "funding_rate"): 84,
        }.items()
    }  # fmt: skip
    (dataset.folder / "loader.py").write_text(LOADER)
    shell(f"{make} --format json")
    for symbol in truth.SYMBOLS:
        pair = f"{symbol[:-4]}/USDT:USDT"
        wanted = dataset.candles(symbol)
        assert [tuple(row) for row in load("loader.py", pair, "5m", "futures", "feather")] == wanted
        # It fills the hole itself, as the recipe says.
        filled = load("loader.py", pair, "5m", "futures", "feather", "fill")
        assert len(filled) == 28 * 288
        invented = [row[5] for row in filled if tuple(row) not in set(wanted)]
        assert invented == [0.0] * (28 * 288 - len(wanted))
        # pandas reads the numbers of JSON to fifteen digits or so.
        as_json = load("loader.py", pair, "5m", "futures", "json")
        assert len(as_json) == len(wanted)
        for row, truly in zip(as_json, wanted, strict=True):
            assert row == pytest.approx(truly, rel=1e-14)
        rates = load("loader.py", pair, "1h", "funding_rate", "feather")
        assert [tuple(row[:2]) for row in rates] == dataset.funding(symbol)
    # What the recipe leaves to freqtrade itself.
    assert re.search(r"--candle-types \{[^}]*\bmark\b", shell("freqtrade download-data --help"))


def backtesting_bars() -> str:
    return block("python", "bars = rows[[")


def test_backtesting_gets_the_bars_of_a_symbol(dataset: Dataset) -> None:
    index, show = "bars.index = bars.index.as_unit('ms').astype('int64')", "print(bars.reset_index().values.tolist())"
    (dataset.folder / "program.py").write_text(f"{backtesting_bars()}\n{index}\n{show}\nprint(*bars.columns)\n")
    done = dataset.python("python3 program.py")
    assert done.returncode == 0, done.stderr
    found, columns = done.stdout.splitlines()
    assert [tuple(row) for row in json.loads(found)] == dataset.candles("LINKUSDT", "1h")
    assert columns == "Open High Low Close Volume"


@pytest.mark.slow
def test_backtesting_runs_a_strategy(dataset: Dataset) -> None:
    assert importlib.util.find_spec("backtesting"), "backtesting is not installed: pip install -e '.[engines]'"
    more = "\nprint(result['_trades'][['EntryTime', 'ExitTime', 'EntryPrice', 'Size']].to_json(orient='values'))\n"
    (dataset.folder / "program.py").write_text(backtesting_bars() + block("python", "import Backtest") + more)
    done = dataset.python("python3 program.py")
    assert done.returncode == 0, done.stderr
    trades = json.loads(done.stdout.splitlines()[-1])
    # The same rule by hand: in at the open after an hour that closes above the day before, out after one that does not.
    bars = dataset.candles("LINKUSDT", "1h")
    entries, inside = [], False
    for number in range(24, len(bars) - 1):
        up = bars[number][4] > bars[number - 24][4]
        if up and not inside:
            entries.append((bars[number + 1][0], bars[number + 1][1]))
        inside = up
    assert len(entries) > 5
    assert len(trades) == pytest.approx(len(entries), abs=1)
    for (moment, price), trade in zip(entries, trades, strict=False):
        assert int(trade[0]) == moment
        assert math.isclose(trade[2], price * 1.0005, rel_tol=1e-3)
