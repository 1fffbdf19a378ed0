"""download, its plan and export: their arguments to one call of the library."""

from __future__ import annotations

import pytest

from cryptoservice.config import RateConfig, WindowBounds, WorkerConfig
from cryptoservice.sources.evidence import KlineSource
from tests.unit.cli.commands.conftest import HELPERS, RATES, WORKERS, Library, network
from tests.unit.cli.test_parser import DOWNLOAD, EXPORT

ONCE = {
    "window": WindowBounds(),
    "symbols": None,
    "download_market_metrics": False,
    "incremental": True,
    "retry_gaps": False,
    "kline_source": KlineSource.AUTO,
}


def test_download_and_its_plan_take_the_same(library: Library) -> None:
    files = ("u.json", "m.db")
    least = {**ONCE, "interval": "1m", "network": network(RATES, WORKERS)}
    assert library.called(DOWNLOAD) == (0, "download_universe_data", files, {**least, "executor": HELPERS})
    assert library.called(DOWNLOAD, "--plan") == (0, "plan_download", files, {**least, "assumed_latency": 0.1})
    more = ("--interval", "5m", "--start-date", "2026-02-03", "--end-date", "2026-02-04", "--download-market-metrics",
            "--no-incremental", "--retry-gaps", "--kline-source", "vision", "--max-api-workers", "2", "--max-vision-workers", "3",
            "--api-request-delay", "0.1", "--vision-request-delay", "0.2", "--max-ban-wait", "8", "--symbols", "A,b")  # fmt: skip
    limits = RateConfig(api_request_delay=0.1, vision_request_delay=0.2, max_ban_wait=8.0)
    all_of_it = {
        "interval": "5m", "window": WindowBounds("2026-02-03", "2026-02-04"), "download_market_metrics": True,
        "symbols": ["A", "b"],
        "incremental": False, "retry_gaps": True, "kline_source": KlineSource.VISION,
        "network": network(limits, WorkerConfig(2, 3)),
    }  # fmt: skip
    assert library.called(DOWNLOAD, *more) == (0, "download_universe_data", files, {**all_of_it, "executor": HELPERS})
    planned = library.called(DOWNLOAD, "--plan", "--assume-latency", "0.02", *more)
    assert planned == (0, "plan_download", files, {**all_of_it, "assumed_latency": 0.02})
    # A download measures it.
    again = library.called(DOWNLOAD, "--assume-latency", "0.02", *more)
    assert again == (0, "download_universe_data", files, {**all_of_it, "executor": HELPERS})


def test_export(library: Library) -> None:
    paths = ("u.json", "m.db", "out")
    least = {
        "source_freq": "5m", "export_freq": "1h", "window": WindowBounds(), "klines": True, "metrics": True,
        "coverage_html": False, "prune": False, "executor": HELPERS,
    }  # fmt: skip
    assert library.called(EXPORT) == (0, "export_universe_data", paths, least)
    without = EXPORT.partition(" --source-freq")[0]
    assert library.called(without)[3] == {**least, "source_freq": None, "export_freq": None}
    assert library.called(EXPORT, "--no-klines")[3] == {**least, "klines": False}
    assert library.called(EXPORT, "--coverage-html", "--prune")[3] == {**least, "coverage_html": True, "prune": True}
    assert library.called(EXPORT, "--end-date", "2026-02-09")[3] == {**least, "window": WindowBounds(None, "2026-02-09")}


def test_export_says_how_to_remove_what_it_kept(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        library.called(EXPORT)
        assert caplog.messages == []
        library.result.kept_files = 2
        assert library.called(EXPORT)[0] == 0
    assert caplog.messages == ["to remove such files, export again with --prune"]
