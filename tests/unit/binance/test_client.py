"""The client: two hosts with gates, budgets and counters of their own, and one memory of bans."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.binance.archive_files import ArchiveFile
from cryptoservice.binance.client import DATA_POLICY, FUNDING_POLICY, BinanceClient, policies
from cryptoservice.binance.http.host import host_name
from cryptoservice.config import Credentials, Endpoints, NetworkConfig, RateConfig, RetryConfig, WorkerConfig
from cryptoservice.days import Window
from cryptoservice.errors import Interrupted, SourceError, SourceRefused
from cryptoservice.models import Dataset, Freq
from tests.unit.binance.loopback import Loopback, Reply, Seen
from tests.unit.binance.wired import EPOCH
from tests.unit.fakes import FEBRUARY, FakeClock

ONE_DAY = Window(FEBRUARY, FEBRUARY)
SOURCE = ArchiveFile.daily(Dataset.KLINES, "BTCUSDT", Freq.m1, FEBRUARY)
ZIP = b"PK"
SUM = Reply(body=hashlib.sha256(ZIP).hexdigest().encode())
EMPTY = Reply(body=b"[]")
BANNED = Reply(418, b'{"code": -1003, "msg": "Way too many requests; IP(1.2.3.4) banned until 1770003600000."}')


@pytest.fixture(autouse=True)
def bans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that remembers bans, in a folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "cryptoservice" / "bans.json"


class Both:
    """A client of two servers."""

    def __init__(self, api: Loopback, archive: Loopback, **options: Any) -> None:
        self.clock = FakeClock(EPOCH)
        self.api, self.archive = api, archive
        settings = {"retry": RetryConfig(max_retries=1, jitter=False), **options}
        self.client = BinanceClient(NetworkConfig(endpoints=Endpoints(api.url, archive.url), **settings), self.clock)

    def klines(self) -> Any:
        return self.client.api.klines("BTCUSDT", Freq.d1, ONE_DAY)


@contextlib.contextmanager
def both(api: Reply = EMPTY, zipped: Reply | None = None, **options: Any) -> Iterator[Both]:
    """The API gives one reply for ever; the archive gives a zip and its checksum."""

    def archive_script(_: int, seen: Seen) -> Reply:
        return SUM if seen.target.endswith(".CHECKSUM") else zipped or Reply(body=ZIP)

    with Loopback(lambda _, __: api).running() as api_server, Loopback(archive_script).running() as archive_server:
        made = Both(api_server, archive_server, **options)
        with made.client:
            yield made


def test_requests_of_both_hosts_are_counted_together() -> None:
    with both() as made:
        made.klines()
        archived = made.client.archive.fetch(SOURCE)
        assert archived is not None
        assert archived.body == ZIP
        assert made.client.traffic.requests == {"archive": 1, "archive_checksum": 1, "klines": 1}
        assert made.client.gauge() == {"requests": 3, "waited_seconds": 0.0, "pause_seconds": 0.0}
        assert made.client.refusal is None


def test_the_key_goes_to_the_api_alone_and_never_into_an_error() -> None:
    echo = Reply(400, b'{"code": -1100, "msg": "bad request by my-own-key"}')
    credentials = Credentials(api_key="my-own-key", api_secret="my-secret")
    with both(echo, credentials=credentials) as made:
        with pytest.raises(SourceError) as caught:
            made.klines()
        made.client.archive.fetch(SOURCE)
        assert made.api.seen[0].headers["x-mbx-apikey"] == "my-own-key"
        assert all("x-mbx-apikey" not in seen.headers for seen in made.archive.seen)
        assert "my-own-key" not in str(caught.value)
        assert "bad request by ***" in str(caught.value)
    with both() as made:
        made.klines()
        assert "x-mbx-apikey" not in made.api.seen[0].headers


def test_every_kind_of_request_has_its_own_budget() -> None:
    rates = RateConfig(max_weight_per_minute=2, vision_request_delay=3.0)
    with both(rates=rates) as made:
        for _ in range(2):
            made.klines()
        # A daily kline weighs 1, so the third waits for the window.
        assert made.clock.sleeps == []
        made.client.api.funding_rates("BTCUSDT", ONE_DAY)
        assert made.clock.sleeps == []
        made.klines()
        assert made.clock.sleeps == [61.0]
        made.client.archive.fetch(SOURCE)
        assert made.clock.sleeps == [61.0, 3.0]
        assert made.client.waited_seconds == 64.0


@pytest.mark.parametrize("delay", [0.05, 1.0])
def test_the_delay_holds_between_any_two_requests_to_the_api_whatever_their_budget(delay: float) -> None:
    moments: list[float] = []

    clock = FakeClock(EPOCH)

    def script(_: int, __: Seen) -> Reply:
        moments.append(clock.monotonic())
        return EMPTY

    with Loopback(script).running() as api:
        config = NetworkConfig(endpoints=Endpoints(api.url, api.url), rates=RateConfig(api_request_delay=delay))
        with BinanceClient(config, clock) as client:
            client.api.klines("BTCUSDT", Freq.d1, ONE_DAY)
            client.api.funding_rates("BTCUSDT", ONE_DAY)
            with pytest.raises(SourceError):
                client.api.metrics("BTCUSDT", ONE_DAY)
            client.api.funding_rates("ETHUSDT", ONE_DAY)
            client.api.klines("ETHUSDT", Freq.d1, ONE_DAY)
            assert [round(moment, 9) for moment in moments] == [round(delay * number, 9) for number in range(9)]


def test_the_budgets_beside_the_weight_leave_a_tenth_to_others() -> None:
    # 500 and 1000 requests in five minutes are documented.
    assert (FUNDING_POLICY.max_weight, FUNDING_POLICY.window) == (450, 300.0)
    assert (DATA_POLICY.max_weight, DATA_POLICY.window) == (900, 300.0)


def test_each_dataset_has_the_budget_that_its_requests_are_counted_in() -> None:
    with both() as made:
        budgets = made.client.budgets
        assert list(budgets) == list(Dataset)
        full = {Dataset.KLINES: 1800, Dataset.METRICS: 900, Dataset.FUNDING_RATES: 450}

        def used() -> list[Dataset]:
            return [dataset for dataset, budget in budgets.items() if budget.seconds_for(full[dataset]) > 0]

        assert used() == []
        made.client.api.funding_rates("BTCUSDT", ONE_DAY)
        assert used() == [Dataset.FUNDING_RATES]
        with pytest.raises(SourceError):
            made.client.api.metrics("BTCUSDT", ONE_DAY)
        assert used() == [Dataset.METRICS, Dataset.FUNDING_RATES]
        made.klines()
        assert used() == list(Dataset)
        assert {dataset: policy.max_weight for dataset, policy in policies(RateConfig()).items()} == full


def test_retries_and_pauses_are_waits() -> None:
    with both(Reply(503)) as made:
        with pytest.raises(SourceError):
            made.klines()
        assert (made.client.traffic.retries, made.client.waited_seconds) == (1, 1.0)


# -- bans ----------------------------------------------------------------------------------------------------------


def test_a_ban_is_remembered_for_the_next_client(bans: Path) -> None:
    with both(BANNED) as made:
        with pytest.raises(SourceRefused):
            made.klines()
        # The ban ends an hour after the epoch of the clock.
        assert json.loads(bans.read_text()) == {host_name(made.api.url): EPOCH + 3600}
        assert isinstance(made.client.refusal, SourceRefused)
        assert made.client.gauge()["pause_seconds"] == 3600.0
        assert made.client.archive.fetch(SOURCE) is not None, "the other host is not banned"
        following = Both(made.api, made.archive)
        with following.client, pytest.raises(SourceRefused, match="has banned this IP address"):
            following.klines()
        assert len(made.api.seen) == 1


def test_a_remembered_ban_within_the_limit_is_waited_for(bans: Path) -> None:
    with both() as made:
        bans.parent.mkdir()
        bans.write_text(json.dumps({host_name(made.api.url): EPOCH + 25, host_name(made.archive.url): EPOCH - 1}))
        following = Both(made.api, made.archive)
        with following.client:
            assert following.client.gauge()["pause_seconds"] == 25.0
            following.client.archive.fetch(SOURCE)
            assert following.clock.sleeps == []
            following.klines()
            assert following.clock.sleeps == [10.0, 10.0, 5.0]


@pytest.mark.parametrize("status", [403, 451])
def test_a_refusal_by_either_host_is_the_clients(status: int) -> None:
    with both(Reply(status)) as made:
        with pytest.raises(SourceRefused):
            made.klines()
        assert made.client.refusal is not None
        assert made.client.refusal.reason == f"http_{status}"
    with both(zipped=Reply(status)) as made:
        with pytest.raises(SourceRefused):
            made.client.archive.fetch(SOURCE)
        assert made.client.refusal is not None
        made.klines()


# -- opening and closing -------------------------------------------------------------------------------------------


def test_opening_sends_nothing() -> None:
    with both() as made:
        made.client.open()
        assert (made.api.seen, made.archive.seen) == ([], [])
        made.klines()


def test_a_closed_client_sends_nothing_more() -> None:
    with both() as made:
        made.client.close()
        with pytest.raises(Interrupted):
            made.klines()
        with pytest.raises(Interrupted):
            made.client.archive.fetch(SOURCE)
        assert (made.api.seen, made.archive.seen) == ([], [])


def test_closing_ends_a_wait_in_another_thread() -> None:
    waiting = threading.Event()

    class Held(FakeClock):
        def sleep(self, seconds: float, stop: threading.Event | None = None) -> None:
            assert stop is not None
            waiting.set()
            assert stop.wait(20), "nobody has ended the wait"
            raise Interrupted

    outcomes: list[str] = []
    with both(Reply(503)) as made:
        config = NetworkConfig(endpoints=Endpoints(made.api.url, made.archive.url), workers=WorkerConfig(api=1, vision=1))
        client = BinanceClient(config, Held(EPOCH))

        def work() -> None:
            with pytest.raises(Interrupted):
                client.api.klines("BTCUSDT", Freq.d1, ONE_DAY)
            outcomes.append("interrupted")

        thread = threading.Thread(target=work)
        thread.start()
        assert waiting.wait(10)
        client.close()
        thread.join(10)
    assert outcomes == ["interrupted"]
