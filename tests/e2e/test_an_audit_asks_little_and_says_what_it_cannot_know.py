"""universe audit where the listing is no proof: what is asked then, what is said, and what ends the run."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Callable
from datetime import date, datetime, timezone

import pytest

from tests.e2e import hostile_klines as hostile
from tests.e2e import metrics_truth as mt
from tests.e2e import truth
from tests.e2e.conftest import Outcome, Workspace, addresses
from tests.e2e.crash_steps import need_permissions, restricted
from tests.e2e.published_anew import as_version_2, audit, field, noted, publish, run_as_typed
from tests.e2e.steps import asked, assert_refused, contents, klines, query, stamps, wait_until, write_universe
from tests.exchange import Fault, Market, ReplayExchange
from tests.exchange.archive import Archive

MADE, HAN = "MADEUSDT", "币安人生USDT"
FIRST, LAST = "2026-06-09", "2026-06-12"
DAYS = truth.days(FIRST, LAST)
TEN = truth.moment("2026-06-10T10:00")
MONTH = hostile.key(MADE, "2026-06")
FILES = [mt.key(MADE, day) for day in DAYS]
OBJECTS = [*FILES, MONTH]


@pytest.fixture
def market() -> Market:
    made = Market.recorded()
    made.add_symbol(MADE, date(2026, 5, 1))
    made.metrics_convention = "start"
    return made


@pytest.fixture
def stored(workspace: Workspace, exchange: ReplayExchange) -> Workspace:
    """Four days of klines and metrics of one symbol: five objects."""
    write_universe(workspace.folder, [MADE], FIRST, LAST)
    outcome = workspace.download("--download-market-metrics", "-q")
    assert outcome.code == 0, outcome
    assert sorted(noted(workspace.folder / "market.db")) == OBJECTS
    exchange.reset_requests()
    return workspace


def told(outcome: Outcome) -> tuple[int, int, list[str], list[str], int]:
    """Exit code, and what the report says: unchanged, published anew, gone, not compared."""
    report = outcome.report
    anew = [one["object"] for one in report["republished"]]
    gone = [one["object"] for one in report["gone"]]
    assert report["checked"] == report["unchanged"] + len(anew) + len(gone) + report["not_compared"]
    return outcome.code, report["unchanged"], anew, gone, report["not_compared"]


def asked_of_archive(exchange: ReplayExchange) -> list[str]:
    """The objects and CHECKSUMs that were asked for."""
    return sorted(request.path[1:] for request in exchange.requests if request.host == "vision")


def body_of(market: Market, key: str) -> bytes:
    """The bytes of an object as it was published first."""
    body = Archive(market, lambda: 4_000_000_000_000).body(key)
    assert body is not None
    return body


def checksum(body: bytes, key: str) -> bytes:
    """The line of a CHECKSUM."""
    return f"{hashlib.sha256(body).hexdigest()}  {key.rsplit('/', 1)[-1]}\n".encode()


# -- the same bytes -------------------------------------------------------------------------------------------------------


def test_objects_that_were_uploaded_once_more_are_unchanged(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    """With a later date the listing is enough; with another kind of ETag the CHECKSUM decides."""
    market.date_objects(lambda key: True, datetime(2026, 11, 1, tzinfo=timezone.utc))
    assert told(audit(stored)) == (0, 5, [], [], 0)
    assert asked_of_archive(exchange) == []
    market.upload_in_parts({MONTH, FILES[0]})
    assert told(audit(stored)) == (0, 5, [], [], 0)
    assert asked_of_archive(exchange) == sorted([f"{FILES[0]}.CHECKSUM", f"{MONTH}.CHECKSUM"])


def test_an_object_that_was_downloaded_with_an_etag_of_parts(
    workspace: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    market.upload_in_parts({MONTH, f"{MONTH}.CHECKSUM"})
    write_universe(workspace.folder, [MADE], FIRST, LAST)
    assert workspace.download("-q").code == 0
    exchange.reset_requests()
    assert told(audit(workspace)) == (0, 1, [], [], 0)
    assert asked_of_archive(exchange) == [], "the same ETag of parts is of the same bytes, too"
    publish(market, MONTH, field(str(TEN), 5, "4321.5"))
    assert told(audit(workspace)) == (3, 0, [MONTH], [], 0)


# -- a listing that is behind, and objects that are gone ------------------------------------------------------------------


def test_what_the_listing_does_not_show_is_asked_for(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    market.listed_until = date(2026, 6, 10)
    assert told(audit(stored)) == (0, 5, [], [], 0)
    assert asked_of_archive(exchange) == sorted(f"{key}.CHECKSUM" for key in (*FILES[2:], MONTH))
    publish(market, MONTH, field(str(TEN), 5, "4321.5"))
    assert told(audit(stored)) == (3, 4, [MONTH], [], 0)


def test_an_object_that_answers_404_is_gone(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    before = contents(stored.folder)
    market.without_objects({FILES[1], MONTH})
    outcome = audit(stored)
    assert told(outcome) == (0, 3, [], [FILES[1], MONTH], 0)
    assert outcome.report["gone"] == [
        {"object": FILES[1], "symbol": MADE, "date": DAYS[1]}, {"object": MONTH, "symbol": MADE, "date": "2026-06"},
    ]  # fmt: skip
    assert outcome.report["refetch"] == []
    assert [line for line in outcome.stderr.splitlines() if "gone from the archive" in line] == [
        f"warning: {key}: gone from the archive" for key in (FILES[1], MONTH)
    ]
    assert contents(stored.folder) == before
    assert audit(stored, "-q").stderr == ""


def test_an_object_that_is_gone_while_its_checksum_stays(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    market.hide_from_listing(FILES[1])
    exchange.faults.add(Fault.status(404, when=lambda request: request.path == f"/{FILES[1]}", times=None))
    assert told(audit(stored)) == (0, 4, [], [FILES[1]], 0)
    # If only the listing does not show it, it is there.
    exchange.faults.clear()
    assert told(audit(stored)) == (0, 5, [], [], 0)


# -- CHECKSUMs that are missing, broken or forgotten ----------------------------------------------------------------------


@pytest.mark.parametrize("answer", [Fault.status(404, times=None), Fault.replace(b"", times=None)], ids=["missing", "empty"])
def test_without_a_checksum_the_bytes_decide(stored: Workspace, exchange: ReplayExchange, market: Market, answer: Fault) -> None:
    market.hide_from_listing(lambda key: key.startswith((MONTH, FILES[0])))
    publish(market, MONTH, field(str(TEN), 5, "4321.5"))
    answer.where["path"] = ".CHECKSUM"
    exchange.faults.add(answer)
    outcome = audit(stored)
    assert told(outcome) == (3, 4, [MONTH], [], 0)
    assert asked_of_archive(exchange) == sorted([FILES[0], f"{FILES[0]}.CHECKSUM", MONTH, f"{MONTH}.CHECKSUM"])
    replaced = market.replaced(MONTH)
    assert replaced is not None
    assert outcome.report["republished"][0]["new"] == hashlib.sha256(replaced.body).hexdigest()


def test_a_checksum_that_was_forgotten_hides_nothing(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    """The object is another one, its CHECKSUM still the old one: such pairs were published (docs/wire.md, checksums)."""
    old = checksum(body_of(market, MONTH), MONTH)
    sha256 = publish(market, MONTH, field(str(TEN), 5, "4321.5"))
    replaced = market.replaced(MONTH)
    assert replaced is not None
    market.replace_object(MONTH, replaced.body, old)
    outcome = audit(stored)
    assert told(outcome) == (3, 4, [MONTH], [], 0)
    assert outcome.report["republished"][0]["new"] == sha256
    # What does not match its CHECKSUM is never stored: the days' own objects take its place.
    before = klines(stored.folder / "market.db", MADE)
    assert run_as_typed(stored, outcome.report["refetch"][0]).code == 0
    assert klines(stored.folder / "market.db", MADE) == before
    assert told(audit(stored)) == (0, 4 + len(DAYS), [], [], 0)


def test_a_web_page_in_place_of_an_object_is_no_new_version(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    market.hide_from_listing(lambda key: key.startswith(MONTH))
    exchange.faults.add(Fault.html(host="vision", times=None))
    outcome = audit(stored, "--max-retries", "0")
    assert (outcome.code, outcome.stdout) == (1, ""), outcome


# -- databases of an earlier version --------------------------------------------------------------------------------------


def test_objects_of_an_older_database_are_compared_with_listed_checksums(
    stored: Workspace, exchange: ReplayExchange, market: Market
) -> None:
    as_version_2(stored.folder / "market.db")
    before = contents(stored.folder), stamps(stored.folder)
    market.checksums_without_newline({FILES[0]})
    assert told(audit(stored)) == (0, 5, [], [], 0)
    assert asked_of_archive(exchange) == []
    assert (contents(stored.folder), stamps(stored.folder)) == before
    publish(market, MONTH, field(str(TEN), 5, "4321.5"))
    outcome = audit(stored)
    assert told(outcome) == (3, 4, [MONTH], [], 0)
    assert asked_of_archive(exchange) == [f"{MONTH}.CHECKSUM"]
    assert run_as_typed(stored, outcome.report["refetch"][0]).code == 0
    assert told(audit(stored)) == (0, 5, [], [], 0)
    # The object that was fetched again is noted as this version notes them.
    rows = query(stored.folder / "market.db", "SELECT name, etag IS NULL, size IS NULL FROM source_objects ORDER BY id")
    assert [row for row in rows if row[1:] == (0, 0)] == [(MONTH, 0, 0)]


def test_a_sample_of_what_nothing_proves(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    as_version_2(stored.folder / "market.db")
    market.upload_in_parts(lambda key: key.endswith(".CHECKSUM"))
    for sample in (3, 0, 4):
        exchange.reset_requests()
        outcome = audit(stored, "--sample", str(sample))
        assert told(outcome) == (0, sample, [], [], 5 - sample)
        assert len(asked_of_archive(exchange)) == sample
        assert f"{5 - sample} objects were not compared" in outcome.stderr
    chosen = asked_of_archive(exchange)
    exchange.reset_requests()
    audit(stored, "--sample", "4")
    assert asked_of_archive(exchange) == chosen, "the same objects again"
    outcome = audit(stored)
    assert told(outcome) == (0, 5, [], [], 0)
    assert "not compared" not in outcome.stderr


def test_a_sample_leaves_out_nothing_that_seems_changed(stored: Workspace, market: Market) -> None:
    market.upload_in_parts(lambda key: True)
    publish(market, MONTH, field(str(TEN), 5, "4321.5"))
    assert told(audit(stored, "--sample", "0")) == (3, 4, [MONTH], [], 0)


# -- sources that fail ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skip", [0, 1])
def test_a_page_that_fails_is_no_result(stored: Workspace, exchange: ReplayExchange, skip: int) -> None:
    exchange.faults.add(Fault.server_error(503, host="listing", skip=skip, times=None))
    outcome = audit(stored, "--max-retries", "0", "-q")
    assert (outcome.code, outcome.stdout) == (1, ""), outcome
    exchange.faults.clear()
    exchange.faults.add(Fault.truncated(host="listing", times=2))
    assert told(audit(stored)) == (0, 5, [], [], 0)


@pytest.mark.parametrize("fault", [Fault.restricted_451, Fault.forbidden_html], ids=["451", "403"])
@pytest.mark.parametrize("host", ["listing", "vision"])
def test_a_refusal_of_this_address(
    stored: Workspace, exchange: ReplayExchange, market: Market, fault: Callable[..., Fault], host: str
) -> None:
    market.hide_from_listing(MONTH)
    exchange.faults.add(fault(host=host, times=None))
    outcome = audit(stored, "-q")
    assert (outcome.code, outcome.stdout) == (4, ""), outcome
    assert len(outcome.stderr.splitlines()) <= 2


def test_a_checksum_that_cannot_be_had(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    market.hide_from_listing(lambda key: key.startswith(MONTH))
    exchange.faults.add(Fault.server_error(503, path=".CHECKSUM", times=None))
    outcome = audit(stored, "--max-retries", "0", "-q")
    assert (outcome.code, outcome.stdout) == (1, ""), outcome


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("host", ["listing", "vision"])
def test_a_signal_ends_it_within_two_seconds(
    stored: Workspace, exchange: ReplayExchange, market: Market, number: signal.Signals, host: str
) -> None:
    market.hide_from_listing(lambda key: key.startswith(MONTH))
    exchange.faults.add(Fault.slow(60, host=host, times=None))
    before = contents(stored.folder)
    running = stored.start("universe", "audit", "--universe-file", "universe.json", "--db-path", "market.db", "-q")
    wait_until(lambda: [request for request in exchange.requests if request.host == host])
    started = time.monotonic()
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=30)
    assert time.monotonic() - started < 2.0
    assert (running.returncode, stdout) == (128 + number, ""), stderr
    assert contents(stored.folder) == before


# -- which symbol-days are meant ------------------------------------------------------------------------------------------


def test_only_active_symbol_days_of_the_window_count(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    publish(market, FILES[0], field(f"{FIRST} 10:00", 2, "98765.25"))
    publish(market, FILES[3], field(f"{LAST} 10:00", 2, "98765.25"))
    assert told(audit(stored)) == (3, 3, [FILES[0], FILES[3]], [], 0)
    one_day = audit(stored, "--start-date", LAST)
    assert told(one_day) == (3, 1, [FILES[3]], [], 0)
    assert one_day.report["window"] == {"start_date": LAST, "end_date": LAST}
    assert told(audit(stored, "--start-date", DAYS[1], "--end-date", DAYS[2])) == (0, 3, [], [], 0)
    write_universe(stored.folder, [MADE], FIRST, LAST, missing={MADE: [FIRST]})
    inactive = audit(stored)
    assert told(inactive) == (3, 3, [FILES[3]], [], 0)
    assert inactive.report["refetch"][0].endswith(f"--start-date {DAYS[2]} --end-date {LAST}")
    shorter = write_universe(stored.folder, [MADE], DAYS[1], DAYS[2], name="shorter.json")
    assert told(audit(stored, "--universe-file", shorter.name)) == (0, 3, [], [], 0)


def test_a_universe_of_the_second_schema(stored: Workspace, market: Market) -> None:
    path = stored.folder / "universe.json"
    record = json.loads(path.read_text())
    record["schema_version"], record["listing"] = "2.1", "archive"
    for snapshot in record["daily_snapshots"]:
        snapshot["missing_symbols"] = dict.fromkeys(snapshot["missing_symbols"], "no_trades_on_date")
    path.write_text(json.dumps(record))
    assert told(audit(stored)) == (0, 5, [], [], 0)
    publish(market, MONTH, field(str(TEN), 5, "4321.5"))
    outcome = audit(stored)
    assert told(outcome) == (3, 4, [MONTH], [], 0)
    assert run_as_typed(stored, outcome.report["refetch"][0]).code == 0
    assert told(audit(stored)) == (0, 5, [], [], 0)


def test_names_that_are_not_ascii_and_paths_with_blanks(workspace: Workspace, market: Market) -> None:
    market.add_symbol(HAN, date(2026, 5, 1))
    folder = workspace.folder / "my data"
    folder.mkdir()
    write_universe(folder, [HAN, MADE], FIRST, LAST)
    paths = ("--universe-file", "my data/universe.json", "--db-path", "my data/m'arket.db")
    assert workspace.run("universe", "download", *paths, "--interval", "5m", "-q").code == 0
    key = hostile.key(HAN, "2026-06")
    publish(market, key, field(str(TEN), 5, "4321.5"))
    publish(market, MONTH, field(str(TEN), 5, "4321.5"))
    outcome = workspace.run("universe", "audit", *paths)
    assert told(outcome) == (3, 0, [MONTH, key], [], 0)
    (line,) = outcome.report["refetch"]
    assert f"--symbols {MADE},{HAN} --start-date {FIRST} --end-date {LAST}" in line.replace("'", "")
    assert run_as_typed(workspace, line).code == 0
    assert told(workspace.run("universe", "audit", *paths)) == (0, 2, [], [], 0)


def test_the_line_looks_where_the_audit_looked(stored: Workspace, exchange: ReplayExchange, market: Market) -> None:
    publish(market, MONTH, field(str(TEN), 5, "4321.5"))
    flags = (
        "--api-base-url",
        exchange.api_url,
        "--vision-base-url",
        exchange.vision_url,
        "--listing-base-url",
        exchange.listing_url,
    )
    elsewhere = Workspace(stored.folder, dict.fromkeys(addresses(exchange), "http://127.0.0.1:9"))
    outcome = audit(elsewhere, *flags)
    assert told(outcome) == (3, 4, [MONTH], [], 0)
    assert run_as_typed(elsewhere, outcome.report["refetch"][0]).code == 0
    assert told(audit(stored)) == (0, 5, [], [], 0)


# -- who else uses the database -------------------------------------------------------------------------------------------


def test_a_read_only_database_in_a_read_only_folder(stored: Workspace) -> None:
    need_permissions()
    folder = stored.folder / "frozen"
    folder.mkdir()
    database = (stored.folder / "market.db").rename(folder / "market.db")
    database.chmod(0o444)
    folder.chmod(0o555)
    try:
        command = ("universe", "audit", "--universe-file", "universe.json", "--db-path", "frozen/market.db")
        done = restricted(stored, *command, ordinary=True)
        assert told(done) == (0, 5, [], [], 0)
        assert [path.name for path in folder.iterdir()] == ["market.db"]
    finally:
        folder.chmod(0o755)


def test_while_a_download_writes(stored: Workspace, exchange: ReplayExchange) -> None:
    database = stored.folder / "market.db"
    write_universe(stored.folder, [MADE, "LINKUSDT"], "2026-02-01", "2026-02-28", name="other.json")
    exchange.latency = 0.1
    running = stored.start(
        "universe", "download", "--universe-file", "other.json", "--db-path", "market.db", "--interval", "1m",
        "--download-market-metrics", "--max-vision-workers", "1", "-q",
    )  # fmt: skip
    try:
        wait_until(lambda: query(database, "SELECT count(*) FROM symbol_days WHERE symbol = 'LINKUSDT'")[0][0] > 0)
        assert told(audit(stored)) == (0, 5, [], [], 0)
        assert running.poll() is None
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)


# -- bad input ------------------------------------------------------------------------------------------------------------


def test_bad_input_is_refused_before_any_request(stored: Workspace, exchange: ReplayExchange) -> None:
    folder = stored.folder
    (folder / "rubbish.json").write_text("{")
    (folder / "empty.db").touch()
    (folder / "rubbish.db").write_text("no database at all, but long enough to look at")
    before = contents(folder)
    assert_refused(audit(stored, "--sample", "-1"), "--sample", "-1")
    assert_refused(audit(stored, "--sample", "few"), "--sample")
    assert_refused(audit(stored, "--start-date", "2026-06-01"), "outside the universe")
    assert_refused(audit(stored, "--start-date", LAST, "--end-date", FIRST), "2026-06-12")
    assert_refused(audit(stored, "--universe-file", "none.json"), "none.json")
    assert_refused(audit(stored, "--universe-file", "rubbish.json"), "rubbish.json")
    assert_refused(audit(stored, "--db-path", "none.db"), "none.db", "cryptoservice universe download")
    assert audit(stored, "--db-path", "empty.db").code == 1
    assert audit(stored, "--db-path", "rubbish.db").code == 1
    write_universe(folder, ["LINKUSDT"], "2026-02-01", "2026-02-02", name="stranger.json")
    assert_refused(audit(stored, "--universe-file", "stranger.json"), "knows no active symbol-day of 2026-02-01 to 2026-02-02")
    write_universe(folder, [MADE], FIRST, LAST, missing={MADE: DAYS}, name="quiet.json")
    assert_refused(audit(stored, "--universe-file", "quiet.json"), "nothing to audit")
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert exchange.requests == []


def test_rows_of_the_api_alone_are_nothing_to_compare(workspace: Workspace, exchange: ReplayExchange) -> None:
    write_universe(workspace.folder, [MADE], FIRST, LAST)
    assert workspace.download("-q", "--kline-source", "api").code == 0
    exchange.reset_requests()
    outcome = audit(workspace)
    assert told(outcome) == (0, 0, [], [], 0)
    assert "nothing to compare: no symbol-day of 2026-06-09 to 2026-06-12 came from the archive" in outcome.stderr
    assert asked(exchange) == []
