"""audit as a whole, against a small archive: what is counted, what is asked in which case, and what is refused."""

from __future__ import annotations

import logging
import threading
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from cryptoservice.audit.archive_audit import command
from cryptoservice.audit.archive_audit.command import audit_universe
from cryptoservice.audit.archive_audit.result import AuditResult, GoneObject, Refetch, RepublishedObject
from cryptoservice.config import Endpoints, NetworkConfig, RetryConfig, WindowBounds, WorkerConfig
from cryptoservice.days import Window
from cryptoservice.errors import Interrupted, Remedy, SourceError, UsageError
from cryptoservice.models import SourceObject
from cryptoservice.storage.writer import StoreWriter
from tests.unit.audit.archive_audit.objects import METRICS, Shelf, body, key, sha256, version
from tests.unit.audit.stored import write_universe
from tests.unit.binance.loopback import Loopback
from tests.unit.fakes import FakeClock
from tests.unit.storage.samples import BTC, ETH, symbol_day

FIRST = date(2026, 2, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(6)]
NAMES = [key(day.isoformat()) for day in DAYS]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of bans belongs to the machine; a test has its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Audited:
    """Six days of metrics of one symbol, each from its own object, in a database and on a shelf."""

    def __init__(self, folder: Path) -> None:
        self.universe = write_universe(folder / "universe.json", "2026-02-01", "2026-02-06")
        self.database = folder / "market.db"
        self.shelf = Shelf()
        for name in NAMES:
            self.shelf.put(name, body(name))
        self.note(version(body(name), name) for name in NAMES)

    def note(self, versions: Any) -> None:
        """Let the ledger name these objects, day by day."""
        with StoreWriter.open(self.database) as store:
            store.write(symbol_day(METRICS, [], day, origin=origin) for day, origin in zip(DAYS, versions, strict=True))

    def audit(self, **options: Any) -> AuditResult:
        with Loopback(self.shelf._reply).running() as server:
            endpoints = Endpoints("http://127.0.0.1:9", server.url, server.url)
            network = NetworkConfig(endpoints, retry=RetryConfig(max_retries=0), workers=WorkerConfig(vision=2))
            return audit_universe(self.universe, self.database, network=network, clock=FakeClock(), **options)


@pytest.fixture
def audited(tmp_path: Path) -> Audited:
    return Audited(tmp_path)


def test_nothing_has_changed(audited: Audited, caplog: pytest.LogCaptureFixture) -> None:
    before = audited.database.read_bytes()
    with caplog.at_level(logging.INFO):
        result = audited.audit()
    assert result == AuditResult(
        Window(DAYS[0], DAYS[5]), 6, (), (), 0, (), {"archive_listing": 1}, 0, 0.0, result.elapsed_seconds
    )
    assert audited.database.read_bytes() == before
    assert "6 archive objects compared: 6 unchanged, 0 published anew, 0 gone" in caplog.messages


def test_what_was_published_anew_and_what_is_gone(audited: Audited) -> None:
    audited.shelf.put(NAMES[3], body("anew"))
    audited.shelf.put(NAMES[1], body("anew, too"))
    for ending in ("", ".CHECKSUM"):
        audited.shelf.held[NAMES[5] + ending] = None
    result = audited.audit()
    assert result.republished == (
        RepublishedObject(NAMES[1], "BTCUSDT", "2026-02-02", sha256(body(NAMES[1])), sha256(body("anew, too"))),
        RepublishedObject(NAMES[3], "BTCUSDT", "2026-02-04", sha256(body(NAMES[3])), sha256(body("anew"))),
    )
    assert result.gone == (GoneObject(NAMES[5], "BTCUSDT", "2026-02-06"),)
    assert (result.checked, result.unchanged, result.not_compared) == (6, 3, 0)
    # Each with the day before, whose last bar may stand in it.
    assert result.refetch == (Refetch("1d", True, Window(DAYS[0], DAYS[3]), ("BTCUSDT",)),)


def test_doubts_are_asked_in_portions(audited: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_MOST_DOUBTS", 1)
    audited.shelf.unlisted = {name + ending for name in NAMES for ending in ("", ".CHECKSUM")}
    audited.shelf.put(NAMES[2], body("anew"))
    with StoreWriter.open(audited.database) as store:
        store.write([symbol_day(BTC, [], DAYS[0], origin=SourceObject("other.zip", "ab" * 32, None, "then"))])
    result = audited.audit()
    assert ([one.object for one in result.republished], result.unchanged) == ([NAMES[2]], 5)
    assert [one.object for one in result.gone] == ["other.zip"]
    assert result.refetch[0].interval == "1m", "the klines that the symbol has"


@pytest.mark.parametrize("sample", [0, 1, 4, 6, 1000])
def test_a_sample_of_what_nothing_proves(audited: Audited, caplog: pytest.LogCaptureFixture, sample: int) -> None:
    audited.database.unlink()
    audited.note(version(body(name), name, etag=None, size=None) for name in NAMES)
    for name in NAMES:
        audited.shelf.etags[f"{name}.CHECKSUM"] = f"{'0' * 32}-2"
    result = audited.audit(sample=sample)
    asked = sorted(name for name in audited.shelf.asked if not name.startswith("after "))
    assert (len(asked), result.unchanged, result.not_compared) == (min(sample, 6), min(sample, 6), max(0, 6 - sample))
    assert any("were not compared" in message for message in caplog.messages) == (sample < 6)
    audited.shelf.asked.clear()
    audited.audit(sample=sample)
    assert sorted(name for name in audited.shelf.asked if not name.startswith("after ")) == asked
    # A larger sample has all of a smaller one.
    audited.shelf.asked.clear()
    audited.audit(sample=sample + 1)
    assert set(asked) <= set(audited.shelf.asked)


def test_a_window(audited: Audited) -> None:
    audited.shelf.put(NAMES[3], body("anew"))
    assert audited.audit(window=WindowBounds("2026-02-05", None)).unchanged == 2
    result = audited.audit(window=WindowBounds("2026-02-04", "2026-02-04"))
    assert (result.checked, result.refetch[0].window) == (1, Window(DAYS[2], DAYS[3]))


def test_what_is_refused(audited: Audited, tmp_path: Path) -> None:
    def refused(words: str, **options: Any) -> UsageError:
        with pytest.raises(UsageError, match=words) as caught:
            audited.audit(**options)
        assert audited.shelf.asked == []
        return caught.value

    refused("sample of -1 objects cannot be drawn", sample=-1)
    refused("outside the universe", window=WindowBounds("2026-01-31", None))
    write_universe(audited.universe, "2026-02-01", "2026-02-01", {"2026-02-01": {"BTCUSDT": "no_kline_on_date"}})
    error = refused("knows no active symbol-day of 2026-02-01 to 2026-02-01")
    assert error.remedy is Remedy.DOWNLOAD_FIRST
    write_universe(
        audited.universe, "2026-02-01", "2026-02-01", {"2026-02-01": dict.fromkeys(("BTCUSDT", "ETHUSDT"), "no_kline_on_date")}
    )
    refused("nothing to audit")
    audited.database.unlink()
    write_universe(audited.universe, "2026-02-01", "2026-02-01")
    refused("does not exist")
    assert not audited.database.exists()


def test_rows_of_rest_alone(audited: Audited, caplog: pytest.LogCaptureFixture) -> None:
    with StoreWriter.open(audited.database) as store:
        store.write([symbol_day(ETH, [], DAYS[0], source="rest")])
    write_universe(audited.universe, "2026-02-01", "2026-02-01", {"2026-02-01": {"BTCUSDT": "no_kline_on_date"}})
    assert audited.audit().checked == 0
    assert "nothing to compare: no symbol-day of 2026-02-01 to 2026-02-01 came from the archive" in caplog.messages


def test_errors_end_it(audited: Audited) -> None:
    audited.shelf.unlisted = {NAMES[0], f"{NAMES[0]}.CHECKSUM"}
    audited.shelf.held[f"{NAMES[0]}.CHECKSUM"] = None
    audited.shelf.held[NAMES[0]] = b"<html>"
    with pytest.raises(SourceError, match="no zip"):
        audited.audit()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        audited.audit(stop=stop)
    deadline = time.monotonic() + 10
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("audit")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)
