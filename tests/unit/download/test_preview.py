"""The preview: the same plan as the download, and not one request."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sqlite3
from datetime import datetime, timezone
from pathlib import Path

import pytest

from cryptoservice.config import Endpoints, NetworkConfig, RateConfig, WindowBounds, WorkerConfig
from cryptoservice.download.command import download_universe_data
from cryptoservice.download.forecast.duration import Bound, Cause
from cryptoservice.download.preview import plan_download
from cryptoservice.errors import StoreError, UsageError
from cryptoservice.models import Dataset
from cryptoservice.sources.evidence import KlineSource, Source
from tests.exchange import ReplayExchange
from tests.unit.fakes import FakeClock

METRICS = Dataset.METRICS
# 2026-03-10 12:00 UTC.
CLOCK = FakeClock(1_773_144_000.0)


@pytest.fixture
def universe(tmp_path: Path) -> Path:
    """Two symbols on every day of February 2026, of which one is missing on the first."""
    path = tmp_path / "universe.json"
    days = [f"2026-02-{number:02}" for number in range(1, 29)]
    snapshots = [{"date": day, "active_symbols": ["AVAXUSDT", "LINKUSDT"], "missing_symbols": {}} for day in days]
    snapshots[0] = {"date": days[0], "active_symbols": ["LINKUSDT"], "missing_symbols": {"AVAXUSDT": "no_kline_on_date"}}
    record = {
        "schema_version": "2.0", "requested_symbols": ["AVAXUSDT", "LINKUSDT"], "start_date": days[0], "end_date": days[-1],
        "daily_snapshots": snapshots, "created_at": "2026-03-05T00:00:00+00:00",
    }  # fmt: skip
    path.write_text(json.dumps(record))
    return path


def test_a_plan_by_dataset_and_source(tmp_path: Path, universe: Path) -> None:
    result = plan_download(universe, tmp_path / "none.db", interval="5m", download_market_metrics=True, clock=CLOCK)
    counts = {(share.dataset, share.source): (share.symbol_days, share.fetches, share.requests) for share in result.shares}
    # 2026-02-01 to 02-08 are older than the thirty days of /futures/data, but every day's first source is its object.
    assert counts == {
        (Dataset.KLINES, Source.MONTHLY): (55, 2, 4),
        # Two pages of the listing spare the checksums of 55 objects, but for those of the first three.
        (Dataset.METRICS, Source.DAILY): (55, 55, 55 + 2 + 3),
        (Dataset.FUNDING_RATES, Source.REST): (55, 2, 2),
    }
    assert (result.symbol_days, result.requests, result.archive_objects) == (165, 66, 57)
    assert result.rows == 55 * 288 * 2 + 55 * 3
    assert result.already_complete == result.without_request == 0
    assert list(tmp_path.iterdir()) == [universe], "nothing is written"


def test_minutes_are_those_of_the_slowest_limit(tmp_path: Path, universe: Path) -> None:
    slow = NetworkConfig(rates=RateConfig(max_weight_per_minute=10, api_request_delay=0.5), workers=WorkerConfig(5, 2))
    options = {"interval": "5m", "kline_source": KlineSource.API, "network": slow, "clock": CLOCK}
    result = plan_download(universe, tmp_path / "none.db", **options)  # type: ignore[arg-type]
    # Five days a fetch are 1,440 rows: pages of 499, 499 and 442, weight 2 each. 28 and 27 days are five such fetches each, and
    # one of three days (499 and 365 rows, weight 4) and one of two days (499 and 77 rows, weight 3).
    assert (result.requests, result.weight) == (2 * 5 * 3 + 2 + 2, 2 * 5 * 6 + 4 + 3)
    # Ten of these 67 may pass at once, so that six more minutes must begin; each lasts a second longer than it should.
    assert result.bound_by == Bound(Cause.BUDGET, Dataset.KLINES, 10, 60.0)
    assert 6 * 61 < result.seconds < 6 * 61 + 5
    assert result.minutes == round(result.seconds / 60, 2)
    slower = NetworkConfig(rates=RateConfig(api_request_delay=2.0), workers=WorkerConfig(5, 2))
    delayed = plan_download(universe, tmp_path / "none.db", **{**options, "network": slower})  # type: ignore[arg-type]
    assert delayed.bound_by == Bound(Cause.API_DELAY, None, 1, 2.0)
    assert 34 * 2 < delayed.seconds < 34 * 2 + 5
    lax = NetworkConfig(rates=RateConfig(vision_request_delay=3.0))
    archive = plan_download(universe, tmp_path / "none.db", interval="5m", network=lax, clock=CLOCK)
    assert (archive.requests, archive.bound_by) == (4, Bound(Cause.ARCHIVE_DELAY, None, 1, 3.0))
    assert 12 < archive.seconds < 15


def test_a_distant_host_takes_longer(tmp_path: Path, universe: Path) -> None:
    options = {"interval": "5m", "download_market_metrics": True, "clock": CLOCK}
    near, far = (
        plan_download(universe, tmp_path / "none.db", assumed_latency=seconds, **options)  # type: ignore[arg-type]
        for seconds in (0.0, 4.0)
    )
    # Four requests for two files of klines, one after the other for each, then 60 for metrics, sixteen at once; two of funding.
    assert 4 * 4 / 2 + 60 * 4 / 16 + 4 < far.seconds < 4 * 4 / 2 + 60 * 4 / 16 + 4 + 10
    assert far.bound_by == Bound(Cause.ARCHIVE_LATENCY, None, 16, 4.0)
    assert (near.assumed_latency, far.assumed_latency) == (0.0, 4.0)
    assert near.seconds < 10
    assert near.bound_by is not None
    assert near.bound_by.cause is Cause.MACHINE
    with pytest.raises(UsageError, match="assumed latency"):
        plan_download(universe, tmp_path / "none.db", assumed_latency=-1.0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("hour", "absent"), [("00:10", 2), ("08:59", 2), ("09:00", 0), ("23:59", 0)])
def test_before_the_archive_publishes_the_api_is_planned_as_well(tmp_path: Path, universe: Path, hour: str, absent: int) -> None:
    """The last of the days is yesterday: one answer 404 and five requests instead for each symbol."""
    clock = FakeClock(datetime.fromisoformat(f"2026-03-01T{hour}:00+00:00").timestamp())
    window = ("2026-02-28", None)
    result = plan_download(
        universe, tmp_path / "none.db", interval="5m", window=window, download_market_metrics=True, clock=clock
    )
    counts = {
        share.source: (share.symbol_days, share.requests, share.rows) for share in result.shares if share.dataset is METRICS
    }
    assert result.not_published == absent
    if absent:
        assert counts == {Source.DAILY: (0, 2, 0), Source.REST: (2, 10, 2 * 288)}
    else:
        assert counts == {Source.DAILY: (2, 4, 2 * 288)}
    assert sum(share.symbol_days for share in result.shares) == result.symbol_days == 6


def test_a_night_before_the_archive_publishes_is_bound_by_the_metrics_budget(tmp_path: Path) -> None:
    symbols = [f"N{number:03}USDT" for number in range(500)]
    universe = tmp_path / "night.json"
    snapshots = [{"date": "2026-02-28", "active_symbols": symbols, "missing_symbols": {}}]
    record = {
        "schema_version": "2.0", "requested_symbols": symbols, "start_date": "2026-02-28", "end_date": "2026-02-28",
        "daily_snapshots": snapshots, "created_at": "2026-03-01T00:00:00+00:00",
    }  # fmt: skip
    universe.write_text(json.dumps(record))
    for hour, seconds, requests, bound in (
        # 2,500 requests at 900 in five minutes: the last 700 leave after two windows of 301 seconds.
        (3, (2 * 301, 2 * 301 * 1.1), 500 + 500 + 2500 + 3, Bound(Cause.BUDGET, METRICS, 900, 300.0)),
        (9, (15, 40), 500 + 1000 + 3, Bound(Cause.API_LATENCY, None, 5, 0.1)),
    ):
        clock = FakeClock(datetime(2026, 3, 1, hour, 30, tzinfo=timezone.utc).timestamp())
        result = plan_download(universe, tmp_path / "none.db", interval="5m", download_market_metrics=True, clock=clock)
        assert (result.requests, result.bound_by) == (requests, bound)
        assert seconds[0] < result.seconds < seconds[1]


def test_the_disk_that_is_needed_is_what_the_database_takes(
    tmp_path: Path, universe: Path, exchange: ReplayExchange, network: NetworkConfig, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Beside the rows there is the log of what was committed last, which is as long as these at most."""
    database = tmp_path / "new" / "market.db"
    options = {"interval": "1m", "network": network, "clock": CLOCK}
    before = plan_download(universe, database, **options)  # type: ignore[arg-type]
    assert not database.parent.exists()
    assert before.disk_free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.01)
    download_universe_data(universe, database, **options)  # type: ignore[arg-type]
    size = database.stat().st_size
    assert size == pytest.approx(before.disk_needed - min(before.disk_needed // 2, 17_000_000), rel=0.1)
    assert plan_download(universe, database, **options).disk_needed == 0  # type: ignore[arg-type]
    again = plan_download(universe, database, incremental=False, **options)  # type: ignore[arg-type]
    assert again.rows == before.rows
    assert again.disk_needed < 100_000, "rows that are replaced take no more room"
    assert caplog.messages == []
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(logging.getLogger("cryptoservice"), "propagate", True)
    full = plan_download(universe, tmp_path / "other.db", **options)  # type: ignore[arg-type]
    assert full.disk_free == 1_000_000
    assert caplog.messages == [f"the database needs {full.disk_needed / 1e6:,.0f} MB more, and its disk has 1 MB free"]


def test_what_is_settled_is_not_planned_again(
    tmp_path: Path, universe: Path, exchange: ReplayExchange, network: NetworkConfig
) -> None:
    database = tmp_path / "market.db"
    assert download_universe_data(universe, database, interval="1h", network=network, clock=CLOCK).complete
    sent = len(exchange.requests)
    done = plan_download(universe, database, interval="1h", network=network, clock=CLOCK)
    assert (done.already_complete, done.symbol_days, done.shares, done.minutes) == (55, 0, (), 0.0)
    again = plan_download(universe, database, interval="1h", incremental=False, network=network, clock=CLOCK)
    assert (again.already_complete, again.symbol_days) == (0, 55)
    assert len(exchange.requests) == sent


@pytest.mark.parametrize("script", ["", "CREATE TABLE passing (x); DROP TABLE passing;"], ids=["no byte", "no table"])
def test_an_empty_database_file_is_as_good_as_none(tmp_path: Path, universe: Path, script: str) -> None:
    """Download accepts it, and so must its preview."""
    database = tmp_path / "market.db"
    database.touch()
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.executescript(script)
    before = database.read_bytes()
    made, none = (plan_download(universe, path, interval="5m", clock=CLOCK) for path in (database, tmp_path / "none.db"))
    assert (made.shares, made.already_complete, made.without_request) == (none.shares, 0, 0)
    assert database.read_bytes() == before
    database.write_text("symbol,open_time\n" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        plan_download(universe, database, interval="5m", clock=CLOCK)
    with pytest.raises(UsageError, match="is a folder"):
        plan_download(universe, tmp_path, interval="5m", clock=CLOCK)


def test_a_refetch_begins_with_the_objects_that_the_days_came_from(
    tmp_path: Path, universe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days that came from their own objects are asked of these again, not of the month's, which is trusted less."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    options = {"interval": "5m", "symbols": ["LINKUSDT"], "clock": CLOCK}
    database = tmp_path / "market.db"
    with ReplayExchange() as exchange:
        network = NetworkConfig(Endpoints(exchange.api_url, exchange.vision_url))
        for day in ("2026-02-09", "2026-02-11"):
            download_universe_data(universe, database, window=WindowBounds(day, day), network=network, **options)  # type: ignore[arg-type]
        download_universe_data(universe, database, window=WindowBounds("2026-02-12", None), network=network, **options)  # type: ignore[arg-type]
        exchange.reset_requests()
        for more in ({"incremental": False}, {}):
            plan = plan_download(universe, database, **options, **more)  # type: ignore[arg-type]
            assert exchange.requests == []
            planned = {(share.source, share.symbol_days, share.fetches) for share in plan.shares}
            # Eleven days are settled no day of their own: they come from the month's object, as those since the twelfth did.
            assert planned == ({(Source.MONTHLY, 26, 1), (Source.DAILY, 2, 2)} if more else {(Source.MONTHLY, 9, 1)})
        download_universe_data(universe, database, incremental=False, network=network, **options)  # type: ignore[arg-type]
        asked = sorted(request.path.rsplit("/", 1)[-1] for request in exchange.requests if request.path.endswith(".zip"))
    assert asked == [f"LINKUSDT-5m-2026-02{day}.zip" for day in ("-09", "-11", "")]


def test_a_remembered_ban_does_not_matter_to_who_sends_nothing(
    tmp_path: Path, universe: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    bans = tmp_path / "state" / "cryptoservice" / "bans.json"
    bans.parent.mkdir(parents=True)
    bans.write_text(json.dumps({"fapi.binance.com": CLOCK.time() + 120}))
    plan_download(universe, tmp_path / "none.db", interval="5m", clock=CLOCK)
    assert caplog.text == ""
