"""The provenance of one symbol-day: sources, objects and digests are those that the exchange really served."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e import metrics_truth, truth
from tests.e2e.conftest import Outcome, Workspace
from tests.e2e.steps import addresses, contents, write_universe
from tests.e2e.terminal import run_on_terminal
from tests.exchange import Market, ReplayExchange

DAY = "2026-02-10"
SYMBOL = "LINKUSDT"
KLINES = f"data/futures/um/daily/klines/{SYMBOL}/5m/{SYMBOL}-5m-{DAY}.zip"
METRICS = f"data/futures/um/daily/metrics/{SYMBOL}/{SYMBOL}-metrics-{DAY}.zip"
NOT_LISTED = "1000PEPEUSDT"


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, ReplayExchange]]:
    """One day of klines and metrics. The day's object of klines lacks half an hour that the API has, and the other way round."""
    market = Market.recorded()
    market.add_symbol(NOT_LISTED, first_day=date(2026, 2, 11))
    noon, evening, half = truth.moment(f"{DAY}T12:00"), truth.moment(f"{DAY}T18:00"), 30 * truth.MINUTE
    market.drop_klines(SYMBOL, noon, noon + half, sources=("daily", "monthly"))
    market.drop_klines(SYMBOL, evening, evening + half, sources=("rest",))
    folder = tmp_path_factory.mktemp("provenance")
    write_universe(folder, [SYMBOL, NOT_LISTED], DAY, DAY, missing={NOT_LISTED: [DAY]})
    with ReplayExchange(market) as exchange:
        workspace = Workspace(folder, addresses(exchange))
        assert workspace.download("--download-market-metrics").code == 0
        yield workspace, exchange


def served(exchange: ReplayExchange, key: str) -> dict[str, str]:
    """What the archive has under that name: its digest, and when it was published."""
    connection = http.client.HTTPConnection(exchange.vision_url.removeprefix("http://"), timeout=5)
    connection.request("GET", f"/{quote(key)}")
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200
    return {"object": key, "sha256": hashlib.sha256(body).hexdigest(), "last_modified": response.headers["Last-Modified"]}


STATUS = ("universe", "status", "--universe-file", "universe.json", "--db-path", "market.db", "--date", DAY)


def ask(workspace: Workspace, symbol: str = SYMBOL, *more: str) -> Outcome:
    return workspace.run(*STATUS, "--symbol", symbol, *more)


def people_read(workspace: Workspace, symbol: str = SYMBOL) -> str:
    """What stays on a terminal."""
    outcome, shown = run_on_terminal(workspace, *STATUS, "--symbol", symbol, piped=False)
    assert (outcome.code, outcome.stdout) == (0, "")
    return "\n".join(shown.left)


def recent(text: str) -> bool:
    moment = datetime.fromisoformat(text)
    return moment.tzinfo is not None and abs((datetime.now(timezone.utc) - moment).total_seconds()) < 600


def test_it_names_what_the_exchange_served(downloaded: tuple[Workspace, ReplayExchange]) -> None:
    workspace, exchange = downloaded
    before, asked = contents(workspace.folder), len(exchange.requests)
    outcome = ask(workspace)
    assert (outcome.code, contents(workspace.folder), len(exchange.requests)) == (0, before, asked)
    report = outcome.report
    place = {"universe_file": "universe.json", "db_path": "market.db", "symbol": SYMBOL, "date": DAY}
    assert report.items() >= {**place, "active": True, "missing_reason": None}.items()
    klines, metrics, funding = report["provenance"]
    assert klines.items() >= {
        "dataset": "klines", "freq": "5m", "status": "complete", "rows": 288, "expected_rows": 288, "source": "daily+rest",
        "labels": None, **served(exchange, KLINES),
    }.items()  # fmt: skip
    # Where both have a bar the API is right.
    assert klines["rows_by_source"] == {"daily": 6, "rest": 282}
    assert metrics.items() >= {
        "dataset": "metrics", "freq": "5m", "status": "complete", "rows": 288, "source": "daily", **served(exchange, METRICS),
    }.items()  # fmt: skip
    # Which convention the recorded file has, its content tells; the ledger's own words say the same.
    assert metrics["labels"] in ("labels_end_bars", "labels_start_bars")
    assert metrics["labels"] in metrics["reason"]
    rates = metrics_truth.funding(exchange.market, SYMBOL, DAY, DAY)
    assert funding.items() >= {
        "dataset": "funding_rates", "freq": "", "status": "complete", "rows": len(rates), "expected_rows": len(rates),
        "source": "rest", "rows_by_source": {"rest": len(rates)}, "labels": None,
        "object": None, "sha256": None, "last_modified": None, "fetched_at": None,
    }.items()  # fmt: skip
    assert all(recent(one["checked_at"]) for one in report["provenance"])
    assert recent(klines["fetched_at"])
    assert recent(metrics["fetched_at"])


def test_people_read_the_same(downloaded: tuple[Workspace, ReplayExchange]) -> None:
    workspace, exchange = downloaded
    told = people_read(workspace)
    assert told.startswith(f"{SYMBOL} on {DAY}: active in universe universe.json\ndatabase market.db\n")
    for value in (*served(exchange, KLINES).values(), *served(exchange, METRICS).values(), "6 from daily, 282 from rest"):
        assert f"  {value}\n" in told
    for flags in ((), ("-q",), ("--log-format", "json")):
        piped = ask(workspace, SYMBOL, *flags)
        assert (piped.stderr, piped.report["symbol"]) == ("", SYMBOL)


def test_why_a_symbol_day_is_not_there(downloaded: tuple[Workspace, ReplayExchange]) -> None:
    outcome = ask(downloaded[0], NOT_LISTED)
    assert outcome.code == 0
    assert (outcome.report["active"], outcome.report["missing_reason"]) == (False, "no_kline_on_date")
    assert {(one["status"], one["reason"], one["rows"]) for one in outcome.report["provenance"]} == {(None, "not_downloaded", 0)}
    assert people_read(downloaded[0], NOT_LISTED).startswith(
        f"{NOT_LISTED} on {DAY}: not active, no_kline_on_date in universe universe.json\n"
    )


def test_the_library_says_the_same(downloaded: tuple[Workspace, ReplayExchange]) -> None:
    workspace, _ = downloaded
    program = (
        "import json\nfrom cryptoservice import symbol_day_provenance\n"
        f"print(json.dumps(symbol_day_provenance('universe.json', 'market.db', {SYMBOL!r}, {DAY!r}).to_dict()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=workspace.folder, env=workspace.env(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == ask(workspace).report


def test_an_object_that_was_published_anew(downloaded: tuple[Workspace, ReplayExchange], tmp_path: Path) -> None:
    """The version that the rows came from is named, not the one that the archive has now."""
    folder = downloaded[0].folder
    market = Market.recorded()
    market.replace_object(KLINES, b"something else")
    with ReplayExchange(market) as exchange:
        (tmp_path / "universe.json").write_bytes((folder / "universe.json").read_bytes())
        (tmp_path / "market.db").write_bytes((folder / "market.db").read_bytes())
        report: dict[str, Any] = ask(Workspace(tmp_path, addresses(exchange))).report
    klines = report["provenance"][0]
    assert klines["sha256"] == served(downloaded[1], KLINES)["sha256"] != hashlib.sha256(b"something else").hexdigest()
