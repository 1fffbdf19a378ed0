"""Files verified by the bucket listing: never without its proof, never for more requests than before, and never at any cost."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta

import pytest

from cryptoservice.binance import checksums
from cryptoservice.binance.archive_files import ArchiveFile, FileRange
from cryptoservice.binance.checksums import TRIALS, is_checksum_of
from cryptoservice.binance.client import BinanceClient
from cryptoservice.binance.parsers.listing import ListedObject
from cryptoservice.binance.parsers.rows_by_day import InvalidData
from cryptoservice.config import Endpoints, NetworkConfig, RetryConfig
from cryptoservice.errors import Interrupted, SourceError
from cryptoservice.models import Dataset, Freq
from tests.exchange import Fault, Market, ReplayExchange
from tests.unit.binance.loopback import Loopback, Reply
from tests.unit.fakes import FakeClock

FIRST = date(2026, 2, 1)
FILES = [ArchiveFile.daily(Dataset.KLINES, "AUSDT", Freq.h12, FIRST + timedelta(days=number)) for number in range(8)]
AMONG = FileRange(FILES[0], FILES[-1])
SHA256 = hashlib.sha256(b"a zip").hexdigest()
KEY = "data/futures/um/daily/metrics/龙虾USDT/龙虾USDT-metrics-2026-02-01.zip.CHECKSUM"
LINE = f"{SHA256}  龙虾USDT-metrics-2026-02-01.zip".encode()


def listed(text: bytes, *, etag: str | None = None, size: int | None = None) -> ListedObject:
    md5 = hashlib.md5(text).hexdigest() if etag is None else etag
    return ListedObject(KEY, md5, len(text) if size is None else size, "2026-02-02T08:00:00.000Z")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (listed(LINE + b"\n"), True),
        (listed(LINE), True),
        (listed(LINE + b"\r\n"), False),
        (listed(LINE.upper()), False),
        (listed(LINE.replace(b"  ", b" ")), False),
        (listed(hashlib.sha256(b"another zip").hexdigest().encode() + LINE[64:]), False),
        (listed(LINE, size=len(LINE) + 1), False),
        (listed(LINE, size=0), False),
        (listed(LINE, etag=f"{hashlib.md5(LINE).hexdigest()}-1"), None),
        (listed(LINE, etag=""), None),
        (listed(LINE, etag=hashlib.md5(LINE).hexdigest()[:31]), None),
        (listed(LINE, etag="x" * 32), None),
    ],
)
def test_a_listed_checksum_says_our_digest_or_another_or_nothing(found: ListedObject, says: bool | None) -> None:
    assert is_checksum_of(found, SHA256) is says


class Run:
    """A run's client of an exchange with one symbol."""

    def __init__(self, exchange: ReplayExchange, client: BinanceClient, clock: FakeClock) -> None:
        self.exchange, self.client, self.clock = exchange, client, clock

    def fetch(self, *files: ArchiveFile, among: FileRange = AMONG) -> None:
        """Each of them, which must be the object of the archive."""
        for file in files:
            found = self.client.archive.fetch(file, among)
            assert found is not None
            assert found.sha256 == hashlib.sha256(found.body).hexdigest()

    @property
    def requests(self) -> dict[str, int]:
        return self.client.traffic.requests

    @property
    def verified(self) -> int:
        return self.client.archive.verified_by_listing


@pytest.fixture
def market() -> Market:
    made = Market()
    made.add_symbol("AUSDT", date(2025, 1, 1))
    return made


@pytest.fixture
def run(market: Market, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with running(market) as made:
        yield made


@contextlib.contextmanager
def running(market: Market, **changed: str) -> Iterator[Run]:
    with ReplayExchange(market) as exchange:
        endpoints = replace(Endpoints(exchange.api_url, exchange.vision_url, exchange.listing_url), **changed)
        clock = FakeClock(1_773_144_000.0)
        with BinanceClient(NetworkConfig(endpoints, retry=RetryConfig(max_retries=3)), clock) as client:
            yield Run(exchange, client, clock)


def counts(objects: int, checksums: int, pages: int = 1) -> dict[str, int]:
    found = {"archive": objects, "archive_checksum": checksums, "archive_listing": pages}
    return {name: count for name, count in found.items() if count}


def test_after_the_trial_one_page_serves_all(run: Run) -> None:
    run.fetch(*FILES)
    assert run.requests == counts(8, TRIALS)
    assert run.verified == 8 - TRIALS
    (page,) = [request for request in run.exchange.requests if request.host == "listing"]
    assert page.params == {
        "prefix": "data/futures/um/daily/klines/AUSDT/12h/AUSDT-12h-2026-02-0",
        "marker": "data/futures/um/daily/klines/AUSDT/12h/AUSDT-12h-2026-02-01.zi",
        "max-keys": "16",
    }


def test_the_months_of_years_share_a_page(run: Run) -> None:
    months = [ArchiveFile.monthly(Dataset.KLINES, "AUSDT", Freq.d1, date(2025, month, 1)) for month in (2, 3, 11, 12)]
    months.append(ArchiveFile.monthly(Dataset.KLINES, "AUSDT", Freq.d1, date(2026, 1, 1)))
    run.fetch(*months, among=FileRange(months[0], months[-1]))
    assert run.requests == counts(5, TRIALS)
    (page,) = [request for request in run.exchange.requests if request.host == "listing"]
    assert page.params["max-keys"] == "24"


def test_a_file_outside_the_range_and_one_that_is_fetched_alone_are_asked_for(run: Run) -> None:
    run.fetch(*FILES)
    later = ArchiveFile.daily(Dataset.KLINES, "AUSDT", Freq.h12, date(2026, 2, 9))
    run.fetch(later)
    assert run.client.archive.fetch(later) is not None
    assert run.requests == counts(10, TRIALS + 2)


def test_checksums_without_a_newline(market: Market, run: Run) -> None:
    market.checksums_without_newline(lambda key: key.endswith(("3.zip", "5.zip", "7.zip")))
    run.fetch(*FILES)
    assert run.requests == counts(8, TRIALS)


@pytest.mark.parametrize("doubt", ["parts", "hidden", "behind"])
def test_what_the_listing_does_not_say_is_asked_for(market: Market, run: Run, doubt: str) -> None:
    if doubt == "parts":
        market.upload_in_parts(lambda key: key.endswith(".CHECKSUM"))
    elif doubt == "hidden":
        market.hide_from_listing(lambda key: key.endswith(".CHECKSUM"))
    else:
        market.listed_until = date(2026, 1, 31)
    run.fetch(*FILES)
    assert (run.requests, run.verified) == (counts(8, 8), 0)


def test_a_doubt_about_some_costs_these_alone(market: Market, run: Run) -> None:
    market.listed_until = date(2026, 2, 6)
    market.upload_in_parts(FILES[4].checksum_key)
    run.fetch(*FILES)
    assert (run.requests, run.verified) == (counts(8, TRIALS + 3), 2)


def test_the_proof_of_a_page_is_that_of_the_bytes_themselves(market: Market, run: Run) -> None:
    """An object that changes after it was listed, and bytes that change on their way."""
    run.fetch(*FILES[:5])
    market.replace_object(FILES[5].key, b"published anew")
    run.exchange.faults.add(Fault.corrupt(path=FILES[6].stem + ".zip"))
    run.fetch(*FILES[5:])
    assert run.requests == counts(9, TRIALS + 1 + 2)
    assert run.verified == 2 + 1


@pytest.mark.parametrize("at", [1, 6])
def test_a_published_checksum_that_is_wrong_is_never_believed(market: Market, run: Run, at: int) -> None:
    content = b"PK\x03\x04 the bytes that are served"
    wrong = f"{SHA256}  {FILES[at].stem}.zip\n".encode()
    market.replace_object(FILES[at].key, content, wrong)
    run.fetch(*FILES[:at])
    with pytest.raises(InvalidData, match="checksum_mismatch"):
        run.client.archive.fetch(FILES[at], AMONG)
    run.fetch(*FILES[at + 1 :])
    # Both agree that it is wrong: that is no reason to distrust the listing.
    assert run.requests == counts(9, TRIALS + 2)
    assert run.verified == 7 - TRIALS


# -- trials ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", range(TRIALS))
def test_the_word_of_a_checksum_that_says_otherwise_ends_the_use_of_the_listing(
    run: Run, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    run.exchange.faults.add(Fault.wrong_checksum(path=FILES[at].stem))
    run.fetch(*FILES)
    assert (run.requests, run.verified) == (counts(9, 9), 0)
    (line,) = [record.message for record in caplog.records if "listing" in record.message]
    assert f"it and the CHECKSUM of {FILES[at].key} disagree" in line


def test_a_checksum_of_another_form_ends_it_in_the_trial_and_costs_a_request_later(market: Market, run: Run) -> None:
    def crlf(file: ArchiveFile) -> None:
        found = run.client.archive.fetch(file)
        assert found is not None
        market.replace_object(file.key, found.body, f"{found.sha256}  {file.stem}.zip\r\n".encode())

    crlf(FILES[6])
    run.fetch(*FILES)
    assert (run.requests, run.verified) == (counts(9, TRIALS + 2), 4)
    with running(market) as another:
        another.fetch(FILES[6], *FILES[:6])
        assert (another.requests, another.verified) == (counts(7, 7), 0)


def test_a_checksum_that_cannot_be_had_decides_nothing(run: Run) -> None:
    run.exchange.faults.add(Fault.server_error(path=FILES[1].stem + ".zip.CHECKSUM", times=None))
    run.fetch(FILES[0])
    with pytest.raises(SourceError):
        run.client.archive.fetch(FILES[1], AMONG)
    run.fetch(*FILES[2:])
    assert run.requests == counts(8, TRIALS + 4)
    assert run.verified == 4


# -- a listing that fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault.server_error(503, host="listing", times=None),
        Fault.status(503, headers={"Retry-After": "120"}, host="listing", times=None),
        Fault.slow_down(host="listing", times=None),
        Fault.too_many(30, host="listing", times=None),
        Fault.too_many(None, host="listing", times=None),
        Fault.banned_for(3600, host="listing", times=None),
        Fault.forbidden_html(host="listing", times=None),
        Fault.restricted_451(host="listing", times=None),
        Fault.status(404, host="listing", times=None),
        Fault.html(host="listing", times=None),
        Fault.reset(host="listing", times=None),
        Fault.truncated(host="listing", times=None),
        Fault.corrupt(host="listing", times=None),
    ],
    ids=lambda fault: fault.name,
)
def test_one_failure_ends_its_use_without_a_wait(run: Run, caplog: pytest.LogCaptureFixture, fault: Fault) -> None:
    run.exchange.faults.add(fault)
    run.fetch(*FILES[:4])
    run.fetch(*FILES[4:], among=FileRange(FILES[4], FILES[7]))
    assert (run.requests, run.verified) == (counts(8, 8), 0)
    assert run.clock.sleeps == []
    assert run.client.refusal is None
    assert [record.message.startswith("the bucket listing verifies nothing more") for record in caplog.records].count(True) == 1


def test_a_host_that_is_not_there(market: Market, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with running(market, listing="http://127.0.0.1:9") as run:
        run.fetch(*FILES)
        assert (run.requests, run.verified) == (counts(8, 8), 0)


def test_a_later_page_that_fails_leaves_what_was_proved(run: Run) -> None:
    run.fetch(*FILES[:5], among=FileRange(FILES[0], FILES[4]))
    run.exchange.faults.add(Fault.server_error(host="listing", times=None))
    run.fetch(*FILES[5:], among=FileRange(FILES[5], FILES[7]))
    assert (run.requests, run.verified) == (counts(8, TRIALS + 3, 2), 2)


def test_a_slow_listing_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "WITHIN_SECONDS", 0.3)
    run.exchange.faults.add(Fault.slow(5.0, host="listing", times=None))
    started = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(run.fetch, FILES))
    assert time.monotonic() - started < 4
    assert (run.requests, run.verified) == (counts(8, 8), 0)


@contextlib.contextmanager
def dripping() -> Iterator[str]:
    """A host that sends a byte of its headers now and then, so that no read of it ever takes long."""
    over = threading.Event()

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.sendall(b"HTTP/1.1 200 OK\r\nX-Header: ")
            while not over.wait(0.05):
                client.sendall(b"x")

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            accepting.join(5)


@contextlib.contextmanager
def endless() -> Iterator[str]:
    """A listing that always has one more page, each with a name that comes after the one before."""
    names = (f"{FILES[0].key[:-1]}!{number:09}" for number in itertools.count())

    def page(_: object, __: object) -> Reply:
        facts = "<LastModified>2026-02-02T08:00:00.000Z</LastModified><ETag>a</ETag><Size>1</Size>"
        entry = f"<Contents><Key>{next(names)}</Key>{facts}</Contents>"
        prefix = f"<Name>data.binance.vision</Name><Prefix>{AMONG.prefix}</Prefix><IsTruncated>true</IsTruncated>"
        return Reply(200, f"<ListBucketResult>{prefix}{entry}</ListBucketResult>".encode())

    with Loopback(page).running() as server:
        yield server.url


@pytest.mark.parametrize("host", [dripping, endless])
def test_a_listing_without_an_end_is_not_waited_for(
    market: Market,
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
    host: Callable[[], contextlib.AbstractContextManager[str]],
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(checksums, "WITHIN_SECONDS", 0.3)
    with host() as url, running(market, listing=url) as run:
        started = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(run.fetch, FILES))
        assert time.monotonic() - started < 4
        asked = run.requests.pop("archive_listing")
        assert (run.requests["archive"], run.requests["archive_checksum"], run.verified) == (8, 8, 0)
        assert asked <= 2
        # Nothing more is asked of it.
        time.sleep(0.3)
        assert run.requests["archive_listing"] == asked


def test_a_copy_of_the_archive_is_not_looked_up_at_amazon(market: Market) -> None:
    public = Endpoints()
    assert public.lists_its_archive
    assert not replace(public, vision="http://mirror.test").lists_its_archive
    assert replace(public, vision="http://mirror.test", listing="http://mirror.test/list").lists_its_archive
    with running(market, listing=public.listing) as run:
        run.fetch(*FILES)
        assert (run.requests, run.verified) == (counts(8, 8, 0), 0)


# -- threads and memory ------------------------------------------------------------------------------------------------


def test_eight_threads_ask_for_one_page_and_wait_for_the_trial(market: Market, run: Run) -> None:
    days = [ArchiveFile.daily(Dataset.KLINES, "AUSDT", Freq.h12, FIRST + timedelta(days=number)) for number in range(28)]
    among = FileRange(days[0], days[-1])
    run.exchange.faults.add(Fault.slow(0.2, host="listing"), Fault.slow(0.2, path=".CHECKSUM", times=None))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda file: run.fetch(file, among=among), days))
    assert run.requests == counts(28, TRIALS)
    assert run.verified == 28 - TRIALS


def test_a_trial_that_fails_is_taken_over_by_one_that_waits(run: Run) -> None:
    """Eight at once, of which a CHECKSUM cannot be had: three others are the trial."""
    run.exchange.faults.add(Fault.server_error(path=FILES[0].stem + ".zip.CHECKSUM", times=None))
    run.exchange.faults.add(Fault.slow(0.1, path=".CHECKSUM", times=None))

    def fetch(file: ArchiveFile) -> None:
        with contextlib.suppress(SourceError):
            run.fetch(file)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(fetch, FILES))
    # The first one's CHECKSUM is asked for four times when it is in the trial, else the listing has verified it.
    assert (run.requests, run.verified) in ((counts(8, TRIALS + 4), 7 - TRIALS), (counts(8, TRIALS), 8 - TRIALS))


def test_few_ranges_are_remembered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "_MOST_RANGES", 2)
    ranges = [FileRange(FILES[number], FILES[number + 1]) for number in range(3)]
    for among, pages in ((ranges[0], 1), (ranges[1], 2), (ranges[0], 2), (ranges[2], 3), (ranges[0], 3), (ranges[1], 4)):
        run.fetch(among.first, among=among)
        assert run.requests["archive_listing"] == pages
    assert run.requests["archive_checksum"] == TRIALS


def test_a_closed_client_ends_a_wait_for_the_page(run: Run) -> None:
    run.exchange.faults.add(Fault.slow(3.0, host="listing"))
    outcomes: list[str] = []

    def work(file: ArchiveFile) -> None:
        with pytest.raises(Interrupted):
            run.client.archive.fetch(file, AMONG)
        outcomes.append("interrupted")

    threads = [threading.Thread(target=work, args=(file,)) for file in FILES[:2]]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    run.client.close()
    for thread in threads:
        thread.join(10)
    assert outcomes == ["interrupted"] * 2
