"""Decoding: one answer for each day of a fetch, whatever the fetch brought."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import date

from cryptoservice.binance.archive_files import VerifiedZip
from cryptoservice.binance.parsers.funding import MarketRates
from cryptoservice.binance.parsers.rows_by_day import RowsByDay
from cryptoservice.days import Window
from cryptoservice.models import Dataset, Freq, SourceObject
from cryptoservice.sources.decoding import decode_market, decode_rows, decode_zip, same_for_all
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.sources.grouping import Fetch, MarketFetch
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, kline

DAYS = (FEBRUARY, date(2026, 2, 2), date(2026, 2, 3))
FETCH = Fetch(Dataset.KLINES, Freq.d1, Source.MONTHLY, "BTCUSDT", DAYS)
DAY_MS = 86_400_000


def zipped(lines: list[str]) -> VerifiedZip:
    """A month's object of daily klines with these CSV lines."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("BTCUSDT-1d-2026-02.csv", "\n".join(lines) + "\n")
    return VerifiedZip(FETCH.archive_file, body.getvalue(), "ab" * 32, "Mon, 02 Mar 2026 01:00:00 GMT", 1_772_500_000.0)


def line(number: int) -> str:
    start = FEBRUARY_MS + number * DAY_MS
    return f"{start},1.0,1.0,1.0,1.0,2.0,{start + DAY_MS - 1},2.0,3,1.0,1.0,0"


def test_an_object_answers_for_every_wanted_day_and_names_itself() -> None:
    archived = replace(zipped([line(0), line(2), line(9)]), etag="12" * 16)
    answers = decode_zip(FETCH, archived)
    # 2026-03-03 01:06:40 UTC, as `date -u -d @1772500000` says.
    name = "data/futures/um/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2026-02.zip"
    modified, fetched = "Mon, 02 Mar 2026 01:00:00 GMT", "2026-03-03T01:06:40+00:00"
    origin = SourceObject(name, "ab" * 32, modified, fetched, "12" * 16, len(archived.body))
    assert list(answers) == list(DAYS), "a day that nobody wants is no answer"
    assert [list(answer.rows) for answer in answers.values()] == [[kline(FEBRUARY_MS)], [], [kline(FEBRUARY_MS + 2 * DAY_MS)]]
    assert {(answer.kind, answer.origin) for answer in answers.values()} == {(AnswerKind.ROWS, origin)}


def test_an_object_that_cannot_be_read_is_distrusted_for_all_its_days() -> None:
    answers = decode_zip(FETCH, zipped(["no,kline"]))
    distrusted = SourceAnswer(AnswerKind.DISTRUSTED, reason="not_a_number")
    assert dict(answers) == dict.fromkeys(DAYS, distrusted)


def test_a_day_whose_rows_were_left_out_says_how_many_and_why() -> None:
    rows = {FEBRUARY: [kline(FEBRUARY_MS)]}
    left_out = {FEBRUARY: {"high_below_low": 1}, DAYS[2]: {"time_off_grid": 1, "conflicting_rows": 2}}
    answers = decode_rows(FETCH, RowsByDay(rows, left_out))
    assert [(answer.kind, list(answer.rows)) for answer in answers.values()] == [
        (AnswerKind.ROWS, [kline(FEBRUARY_MS)]),
        (AnswerKind.ROWS, []),
        (AnswerKind.ROWS, []),
    ]
    assert [answer.reason for answer in answers.values()] == [
        "monthly: 1 row left out (high_below_low)",
        None,
        "monthly: 3 rows left out (conflicting_rows, time_off_grid)",
    ]


def test_one_word_for_all_days() -> None:
    answers = same_for_all(FETCH, AnswerKind.ABSENT, "not_in_archive")
    assert dict(answers) == dict.fromkeys(DAYS, SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive"))


def rate(symbol: str, day: int, value: str = "0.5") -> dict[str, object]:
    return {"symbol": symbol, "fundingTime": FEBRUARY_MS + day * DAY_MS + 7, "fundingRate": value, "markPrice": ""}


def test_pages_of_all_symbols_answer_for_wanted_days_that_are_known_and_have_rows() -> None:
    wanted = {"AUSDT": DAYS, "BUSDT": DAYS[:1], "GONEUSDT": DAYS}
    fetch = MarketFetch(Dataset.FUNDING_RATES, Freq.h1, Source.REST, "", DAYS, wanted)
    rates = MarketRates(wanted, Window(DAYS[0], DAYS[2]))
    page = [rate("AUSDT", 0), rate("BUSDT", 0, "x"), rate("CUSDT", 0), rate("BUSDT", 0), rate("BUSDT", 1), rate("AUSDT", 2)]
    rates.add(rates.parse(page, len(page)))
    answers = decode_market(fetch, rates)
    rows = {symbol: {day: list(answer.rows) for day, answer in found.items()} for symbol, found in answers.items()}
    of_first_day = [(FEBRUARY_MS + 7, 0.5, None, "Regular")]
    # The page is full, so the third day is not known to its end; the second has rows of nobody who wants them.
    assert rows == {"AUSDT": {FEBRUARY: of_first_day}, "BUSDT": {FEBRUARY: of_first_day}, "GONEUSDT": {}}
    assert answers["AUSDT"][FEBRUARY] == SourceAnswer(AnswerKind.ROWS, of_first_day)
    assert answers["BUSDT"][FEBRUARY].reason == "rest: 1 row left out (not_a_number)"
    rates.add(rates.parse([rate("AUSDT", 2)], len(page)))
    assert list(decode_market(fetch, rates)["AUSDT"]) == [DAYS[0], DAYS[2]]
