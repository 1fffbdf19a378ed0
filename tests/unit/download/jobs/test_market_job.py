"""The job of the whole market: its verdicts are those of every symbol asked alone, whatever the pages hold and whatever fails."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoservice.binance import api
from cryptoservice.binance.http.host import Call
from cryptoservice.binance.http.responses import Response, Transient
from cryptoservice.download.jobs.job import Job
from cryptoservice.download.jobs.market_job import MarketJob
from cryptoservice.errors import SourceError
from cryptoservice.models import Dataset, Freq, Status
from cryptoservice.sources.datasets import FundingPlan
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.fetcher import DatasetFetcher
from cryptoservice.sources.grouping import Fetch, Grouping, MarketFetch
from cryptoservice.storage.ledger import Series, StoredDay
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, FakeClock

HOUR = 3_600_000
TODAY = date(2026, 6, 1)
PLAN = FundingPlan(TODAY)
DAYS = [FEBRUARY + timedelta(days=number) for number in range(5)]
Wanted = dict[str, list[date]]
Verdicts = dict[tuple[str, date], tuple[Any, ...]]


@dataclass
class Exchange:
    """Funding rates as the endpoint answers for them; the archive has none. From some request for all symbols on it may fail."""

    entries: list[dict[str, Any]]
    removed: frozenset[str] = frozenset()
    """Symbols that REST does not know: not in the answer for all, and an error alone."""
    fails_from: int | None = None
    cap: int | None = None
    """So many rows at most, whatever the limit, for all symbols."""
    asked: list[str | None] = field(default_factory=list)
    """The symbol of each request; None for all."""
    first_days: dict[str, date] = field(default_factory=dict)
    """Where the last request for a symbol began."""
    archive_asked: list[str] = field(default_factory=list)

    @property
    def fetcher(self) -> DatasetFetcher:
        limits: Any = SimpleNamespace(weighted=None, funding=None, data=None)
        archive = SimpleNamespace(fetch=lambda file, _: self.archive_asked.append(file.symbol))
        client: Any = SimpleNamespace(api=api.FuturesApi(self, limits, FakeClock()), archive=archive)  # type: ignore[arg-type]
        return DatasetFetcher(client)

    def fetch(self, call: Call, parse: Any) -> Any:
        """As a host does whose retries are used up."""
        record = self.answer(dict(call.params))
        try:
            return parse(Response(400 if isinstance(record, dict) else 200, {}, json.dumps(record).encode()))
        except Transient as trouble:
            raise SourceError(str(trouble), reason=trouble.reason) from None

    def answer(self, params: dict[str, Any]) -> Any:
        symbol = params.get("symbol")
        self.asked.append(symbol)
        if symbol is not None:
            self.first_days[symbol] = FEBRUARY + timedelta(milliseconds=params["startTime"] - FEBRUARY_MS)
        if symbol in self.removed:
            return {"code": -1121, "msg": "Invalid symbol."}
        if symbol is None and self.fails_from is not None and self.asked.count(None) > self.fails_from:
            return {"code": -1000, "msg": "An unknown error occurred while processing the request."}
        found = [
            entry
            for entry in self.entries
            if params["startTime"] <= entry["fundingTime"] <= params["endTime"]
            and (entry["symbol"] == symbol if symbol else entry["symbol"] not in self.removed)
        ]
        most = params["limit"] if symbol or self.cap is None else min(params["limit"], self.cap)
        return sorted(found, key=lambda entry: (entry["fundingTime"], entry["symbol"]))[:most]


def run(jobs: Iterable[Job | MarketJob], exchange: Exchange, seed: int = 0) -> Verdicts:
    """Every job to its end, its fetches in any order."""
    order = random.Random(seed)
    verdicts: Verdicts = {}
    fetcher = exchange.fetcher
    for job in jobs:
        steps = [job.begin()]
        waiting: list[Fetch] = []
        while steps or waiting:
            for step in steps:
                waiting += step.fetches
                for series, day, verdict, origin in step.ended:
                    assert series == Series(Dataset.FUNDING_RATES, "", series.symbol)
                    assert (series.symbol, day) not in verdicts, "a day ends once"
                    found = (verdict.status, verdict.reason, list(verdict.rows), verdict.marks, verdict.expected_rows, origin)
                    verdicts[series.symbol, day] = found
            steps = []
            if waiting:
                fetch = waiting.pop(order.randrange(len(waiting)))
                assert not job.is_finished
                steps = [job.receive(part, answers) for part, answers in fetcher.fetch(fetch).parts(fetch)]
        assert job.is_finished
    return verdicts


def by_symbol(wanted: Wanted) -> list[Job]:
    return [Job(PLAN, symbol, days) for symbol, days in wanted.items()]


def at_once(wanted: Wanted, days_a_fetch: int = 3) -> MarketJob:
    fetches = list(Grouping(Dataset.FUNDING_RATES, Freq.h1, days_a_fetch).market_fetches(wanted))
    return MarketJob(PLAN, fetches, {})


def entry(symbol: str, at: int, rate: str = "0.0001", **changes: Any) -> dict[str, Any]:
    return {"symbol": symbol, "fundingTime": FEBRUARY_MS + at, "fundingRate": rate, "markPrice": "1", **changes}


NAMES = [f"{letter}USDT" for letter in "ABCDEFGH"]


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Eight symbols: some are paid every hour, some never, some are removed; rows are late, doubled, special or bad."""
    entries: list[dict[str, Any]] = []
    jitter = draw(st.lists(st.integers(0, 14), min_size=5, max_size=5))
    for symbol in NAMES:
        hours = draw(st.sampled_from([1, 4, 8, 8, 8, None]))
        first = draw(st.integers(0, 60))
        of_symbol = [] if hours is None else [
            entry(symbol, hour * HOUR + (jitter[hour % 5] if draw(st.booleans()) else hour % 7))
            for hour in range(0, 24 * len(DAYS), hours) if hour >= first
        ]  # fmt: skip
        for number in draw(st.sets(st.integers(0, len(of_symbol) - 1), max_size=3)) if of_symbol else ():
            what = draw(st.sampled_from(["special", "doubled", "doubled"]))
            of_symbol.append(of_symbol[number] | ({"rateType": "Special", "fundingRate": "0.7"} if what == "special" else {}))
        if of_symbol and draw(st.integers(0, 4)) == 0:
            # A single bad row: the rule for many of them looks at a page, and pages differ.
            number = draw(st.integers(0, len(of_symbol) - 1))
            of_symbol = [one for one in of_symbol if one["fundingTime"] != of_symbol[number]["fundingTime"]] + [
                of_symbol[number] | {"fundingRate": "x"}
            ]
        entries += of_symbol
    removed = frozenset(draw(st.sets(st.sampled_from(NAMES), max_size=2)))
    return Exchange(entries, removed, draw(st.none() | st.integers(0, 8)), draw(st.none() | st.none() | st.integers(1, 60)))


WANTED = st.dictionaries(
    st.sampled_from(NAMES[:6]), st.sets(st.sampled_from(DAYS), min_size=1).map(lambda days: sorted(days)), min_size=1
)


@settings(max_examples=150, deadline=None)
@given(exchanges(), WANTED, st.integers(5, 60), st.integers(1, 5), st.integers(0, 99))
def test_every_verdict_is_that_of_the_symbol_asked_alone(
    exchange: Exchange, wanted: Wanted, limit: int, days_a_fetch: int, seed: int
) -> None:
    # Pages of a thousand rows would need a thousand symbols. The server obeys the limit that is sent.
    with mock.patch.object(api, "FUNDING_PAGE_ROWS", limit):
        found = run([at_once(wanted, days_a_fetch)], exchange, seed)
        alone = run(by_symbol(wanted), Exchange(exchange.entries, exchange.removed))
    assert found == alone
    assert set(found) == {(symbol, day) for symbol, days in wanted.items() for day in days}


def rates_of(*symbols: str, hours: int = 8) -> list[dict[str, Any]]:
    return [entry(symbol, at) for symbol in symbols for at in range(0, len(DAYS) * DAY, hours * HOUR)]


# With so many symbols beside the wanted ones a page holds one moment and a part of the next: three pages a day.
OTHERS = [f"X{number:03}USDT" for number in range(600)]


def test_what_all_symbols_at_once_hold_is_not_asked_for_by_symbol() -> None:
    exchange = Exchange(rates_of(*NAMES, *OTHERS))
    wanted = dict.fromkeys(NAMES[:6], DAYS)
    found = run([at_once(wanted)], exchange)
    assert exchange.asked == [None] * 3 * len(DAYS)
    assert {status for status, *_ in found.values()} == {Status.COMPLETE}
    day = DAYS[1]
    rows = [(FEBRUARY_MS + DAY + number * 8 * HOUR, 0.0001, 1.0, "Regular") for number in range(3)]
    assert found["AUSDT", day] == (Status.COMPLETE, None, rows, bytes([Source.REST.mark]) * 3, 3, None)


def test_a_symbol_that_is_not_among_them_is_asked_once_for_all_its_days() -> None:
    """That may mean that it has no rates, or that it is not served: a gap, or a matter of the archive."""
    exchange = Exchange(rates_of("AUSDT", "GONEUSDT", *OTHERS), removed=frozenset({"GONEUSDT"}))
    wanted = dict.fromkeys(["AUSDT", "GONEUSDT", "EMPTYUSDT"], DAYS)
    found = run([at_once(wanted)], exchange)
    assert sorted(filter(None, exchange.asked)) == ["EMPTYUSDT", "GONEUSDT"]
    assert exchange.archive_asked == ["GONEUSDT"], "one month, after -1121"
    assert {found["EMPTYUSDT", day][:2] for day in DAYS} == {(Status.CONFIRMED_GAP, "no_funding_in_rest")}
    assert {found["GONEUSDT", day][:2] for day in DAYS} == {(Status.CONFIRMED_GAP, "rest: api_error_-1121")}
    assert {found["AUSDT", day][0] for day in DAYS} == {Status.COMPLETE}


def test_a_day_without_rows_is_asked_for_by_symbol() -> None:
    """A symbol whose first rate is on the third day."""
    exchange = Exchange(
        [*rates_of("AUSDT", *OTHERS), *(one for one in rates_of("NEWUSDT") if one["fundingTime"] >= FEBRUARY_MS + 2 * DAY)]
    )
    found = run([at_once(dict.fromkeys(["AUSDT", "NEWUSDT"], DAYS))], exchange)
    assert exchange.asked.count("NEWUSDT") == 1 and "AUSDT" not in exchange.asked
    assert [found["NEWUSDT", day][0] for day in DAYS] == [Status.CONFIRMED_GAP] * 2 + [Status.COMPLETE] * 3


def test_when_a_page_fails_what_was_known_before_counts_and_the_rest_goes_by_symbol() -> None:
    names = [f"S{number:03}USDT" for number in range(600)]
    exchange = Exchange(rates_of(*names), fails_from=4)
    found = run([at_once(dict.fromkeys(names[:3], DAYS), days_a_fetch=5)], exchange)
    # With 600 rows a moment a page begins with each of them. Four pages hold all before the fifth moment: the first day is whole.
    assert exchange.asked[:5] == [None] * 5
    assert sorted(map(str, exchange.asked[5:])) == names[:3]
    assert exchange.first_days == dict.fromkeys(names[:3], DAYS[1])
    assert {status for status, *_ in found.values()} == {Status.COMPLETE}
    assert {len(rows) for _, _, rows, *_ in found.values()} == {3}


def test_more_symbols_at_one_moment_than_a_page_holds_are_asked_for_by_symbol() -> None:
    names = [f"S{number:04}USDT" for number in range(1001)]
    exchange = Exchange(rates_of(*names))
    found = run([at_once(dict.fromkeys(names[-2:], DAYS[:1]))], exchange)
    assert (exchange.asked[0], sorted(map(str, exchange.asked[1:]))) == (None, names[-2:])
    assert {(status, len(rows)) for status, _, rows, *_ in found.values()} == {(Status.COMPLETE, 3)}


def test_a_server_that_sends_fewer_rows_than_asked_for_makes_no_day_look_whole() -> None:
    """The last 50 of 150 rows do not come, so that half of the symbols seem to have been paid twice."""
    names = NAMES + OTHERS[:42]
    exchange = Exchange(rates_of(*names), cap=100)
    found = run([at_once(dict.fromkeys(names, DAYS[:1]))], exchange)
    assert {(status, len(rows)) for status, _, rows, *_ in found.values()} == {(Status.COMPLETE, 3)}
    assert sorted(filter(None, exchange.asked)) == sorted(names)


def test_a_contradiction_costs_its_own_day_and_the_archive_is_asked_for_it() -> None:
    exchange = Exchange([*rates_of(*NAMES, *OTHERS), entry("BUSDT", 8 * HOUR, "0.9")])
    found = run([at_once(dict.fromkeys(NAMES, DAYS))], exchange)
    assert exchange.archive_asked == ["BUSDT"]
    assert set(exchange.asked) == {None}
    status, reason, rows, *_ = found["BUSDT", DAYS[0]]
    assert (status, reason) == (Status.CONFIRMED_GAP, "rest_alone; rest: 2 rows left out (conflicting_rows)")
    assert [row[0] - FEBRUARY_MS for row in rows] == [0, 16 * HOUR]
    assert {verdict[0] for place, verdict in found.items() if place != ("BUSDT", DAYS[0])} == {Status.COMPLETE}


def test_what_is_stored_of_a_symbol_is_a_part_of_its_evidence() -> None:
    special = (FEBRUARY_MS + 5 * HOUR, 0.5, None, "Special")
    stored = StoredDay(Status.INCOMPLETE, "rest: http_503", [special], bytes([4]))
    fetch = MarketFetch(Dataset.FUNDING_RATES, Freq.h1, Source.REST, "", (DAYS[0],), {"AUSDT": (DAYS[0],), "BUSDT": (DAYS[0],)})
    job = MarketJob(PLAN, [fetch], {"AUSDT": lambda _: stored})
    step = job.begin()
    assert (step.fetches, step.ended, job.is_finished) == ([fetch], [], False)
    rows = [(FEBRUARY_MS, 0.1, None, "Regular")]
    answer = {DAYS[0]: SourceAnswer(AnswerKind.ROWS, rows)}
    [first] = job.receive(fetch.of_symbol("AUSDT"), answer).ended
    assert not job.is_finished
    [second] = job.receive(fetch.of_symbol("BUSDT"), answer).ended
    assert job.is_finished
    assert [list(ended.verdict.rows) for ended in (first, second)] == [[*rows, special], rows]
