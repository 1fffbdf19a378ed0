"""What a repair asks for, and what it makes of the answers. Nothing is fetched here: the jobs are told what arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path

import pytest

from cryptoservice.audit.verification.differences import Difference
from cryptoservice.audit.verification.repair import Answered, Place, overrules, place_of, places_of, repair_jobs
from cryptoservice.models import Dataset, Row, Status
from cryptoservice.sources.evidence import AnswerKind, Source, SourceAnswer
from cryptoservice.storage.ledger import Series, SymbolDay
from cryptoservice.storage.writer import StoreWriter
from tests.unit.audit.stored import HOURS, RATES, SERIES, Stored
from tests.unit.audit.verification.test_consistency import BAR, hype
from tests.unit.fakes import FEBRUARY, FEBRUARY_MS, kline

# 2026-06-01: the archive has long been published.
NOW = 1_780_272_000.0
MONTHLY, DAILY, REST = Source.MONTHLY, Source.DAILY, Source.REST
GONE = SourceAnswer(AnswerKind.ABSENT, reason="not_in_archive")
REFUSED = SourceAnswer(AnswerKind.NOT_SERVED, reason="-1121")
DOWN = SourceAnswer(AnswerKind.FAILED, reason="http_503")
OTHER = [kline(row[0], 11.0) for row in HOURS]
KLINES = Place(SERIES[Dataset.KLINES], FEBRUARY)


def rows(found: Iterable[Row]) -> SourceAnswer:
    return SourceAnswer(AnswerKind.ROWS, list(found))


def repaired(
    database: Path, place: Place, says: Callable[[Source], SourceAnswer], *kinds: str
) -> tuple[list[Source], Answered | None]:
    """The sources that were asked, and what was noted in the end."""
    asked: list[Source] = []
    noted: dict[Place, Answered] = {}
    with StoreWriter.open(database) as store:
        (job,) = repair_jobs(store, {place: frozenset(kinds)}, NOW, lambda: None, noted)
        fetches = job.begin().fetches
        while fetches:
            fetch = fetches.pop(0)
            asked.append(fetch.source)
            fetches += job.receive(fetch, {day: says(fetch.source) for day in fetch.days}).fetches
    return asked, noted.get(place)


def klines_repaired(stored: Stored, answers: Mapping[Source, SourceAnswer], *kinds: str) -> Answered:
    asked, answered = repaired(stored.database, KLINES, lambda source: answers.get(source, GONE), *kinds)
    assert asked == [MONTHLY, DAILY, REST], "no source is spared because another has all rows"
    assert answered is not None
    return answered


@pytest.mark.parametrize(
    ("answers", "expected", "source", "reason"),
    [
        ({MONTHLY: rows(OTHER), DAILY: rows(OTHER), REST: rows(HOURS)}, HOURS, "rest", "rest_overrules_archive"),
        ({MONTHLY: rows(HOURS), DAILY: rows(OTHER), REST: rows(OTHER)}, OTHER, "rest", "rest_overrules_archive"),
        ({MONTHLY: rows(HOURS), DAILY: rows(OTHER), REST: REFUSED}, OTHER, "daily", None),
        ({MONTHLY: rows(OTHER), DAILY: GONE, REST: DOWN}, HOURS, "daily", None),
        ({DAILY: rows(OTHER), REST: rows(OTHER[:5])}, OTHER, "daily+rest", None),
    ],
)
def test_the_most_trusted_source_is_right(
    stored: Stored, answers: dict[Source, SourceAnswer], expected: list[Row], source: str, reason: str | None
) -> None:
    verdict = klines_repaired(stored, answers, "value").verdict
    assert (verdict.status, verdict.reason, list(verdict.rows)) == (Status.COMPLETE, reason, expected)
    assert "+".join(verdict.sources) == source


def test_when_no_source_answers_nothing_is_written(stored: Stored) -> None:
    for kind in ("value", "row_count"):
        verdict = klines_repaired(stored, {MONTHLY: DOWN, DAILY: DOWN, REST: DOWN}, kind).verdict
        assert not verdict.is_news


def test_an_answer_that_leaves_a_day_open_does_not_undo_a_settled_line(stored: Stored) -> None:
    gap = SymbolDay(SERIES[Dataset.KLINES], FEBRUARY, Status.CONFIRMED_GAP, "sources_agree", HOURS[:20], 24, "daily", 0.0)
    stored.fill([gap])
    same = klines_repaired(stored, {DAILY: rows(HOURS[:20]), REST: DOWN}, "aggregate").verdict
    assert (same.is_news, same.status) == (False, Status.INCOMPLETE)
    more = klines_repaired(stored, {DAILY: rows(HOURS[:21]), REST: DOWN}, "aggregate").verdict
    assert (more.is_news, more.status, len(more.rows)) == (True, Status.INCOMPLETE, 21)


def test_broken_rows_are_no_evidence_and_others_are(stored: Stored) -> None:
    stored.tamper(f"UPDATE kline_rows SET trades = -1 WHERE open_time = {HOURS[3][0]}", "UPDATE ledger SET status = 'fine'")
    lacking = [row for row in OTHER if row[0] not in (HOURS[3][0], HOURS[7][0])]
    verdict = klines_repaired(stored, {DAILY: rows(lacking), REST: rows(())}, "number_out_of_range").verdict
    assert (verdict.status, verdict.is_news) == (Status.CONFIRMED_GAP, True)
    expected = [HOURS[7] if row[0] == HOURS[7][0] else row for row in OTHER if row[0] != HOURS[3][0]]
    assert list(verdict.rows) == expected


@pytest.mark.parametrize("damage", ["DELETE FROM ledger", "UPDATE ledger SET rows = 23 WHERE rows = 24"])
def test_rows_that_were_never_written_give_way_to_a_settled_answer_alone(stored: Stored, damage: str) -> None:
    stored.tamper(damage)
    settled = klines_repaired(stored, {DAILY: rows(OTHER[:20]), REST: rows(OTHER[:20])}, "row_count").verdict
    assert (settled.is_news, settled.status, list(settled.rows)) == (True, Status.CONFIRMED_GAP, OTHER[:20])
    for answers in ({DAILY: rows(OTHER[:20]), REST: DOWN}, {DAILY: rows(()), REST: rows(())}):
        assert not klines_repaired(stored, answers, "row_count").verdict.is_news


def test_funding_rates_come_from_the_first_source_that_answers(stored: Stored) -> None:
    place = Place(SERIES[Dataset.FUNDING_RATES], FEBRUARY)
    stored.tamper(f"INSERT INTO funding_rows SELECT series_id, {RATES[0][0] + 9}, rate_type, 0.5, 1 FROM funding_rows LIMIT 1")
    asked, answered = repaired(stored.database, place, lambda _: rows(RATES), "row_count")
    assert asked == [REST]
    assert answered is not None
    assert (answered.verdict.status, list(answered.verdict.rows), answered.verdict.is_news) == (Status.COMPLETE, RATES, True)


@pytest.mark.parametrize("bars_off", [-1, 1])
def test_metrics_under_the_wrong_bar_are_replaced_as_a_whole(tmp_path: Path, bars_off: int) -> None:
    metrics, klines = hype()
    day = date(2025, 5, 30)
    place = Place(Series(Dataset.METRICS, "5m", "HYPEUSDT"), day)
    moved = [(row[0] + bars_off * BAR, *row[1:]) for row in metrics]
    with StoreWriter.open(tmp_path / "market.db") as store:
        for series, held in ((Series(Dataset.KLINES, "5m", "HYPEUSDT"), klines), (place.series, moved)):
            store.write([SymbolDay(series, day, Status.CONFIRMED_GAP, "labels_unproven", held, 288, "daily", 0.0)])
    # The file's labels start their bars, so its rows are keyed by label as they stand.
    asked, answered = repaired(tmp_path / "market.db", place, lambda _: rows(metrics), "metrics_misaligned")
    assert asked == [DAILY]
    assert answered is not None
    verdict = answered.verdict
    assert (verdict.is_news, verdict.status, list(verdict.rows)) == (True, Status.CONFIRMED_GAP, metrics)
    assert "labels_start_bars" in (verdict.reason or "")
    _, gone = repaired(tmp_path / "market.db", place, lambda _: GONE, "metrics_misaligned")
    assert gone is not None
    assert not gone.verdict.is_news, "without a file the rows stay"


def test_a_blank_or_a_row_of_one_source_overrules_nothing() -> None:
    blank, filled = (FEBRUARY_MS, 1.0, None), (FEBRUARY_MS, 1.0, 2.0)
    assert not overrules({DAILY: rows([blank]), REST: rows([filled])})
    assert not overrules({DAILY: rows([filled]), REST: rows([blank])})
    assert not overrules({DAILY: rows([filled]), REST: rows([])})
    assert not overrules({DAILY: rows([filled]), REST: DOWN})
    assert not overrules({REST: rows([filled])})
    assert overrules({MONTHLY: rows([(FEBRUARY_MS, 1.0, 3.0)]), DAILY: rows([filled]), REST: rows([filled])})


def test_places() -> None:
    def of(freq: str = "1h", symbol: str | None = "AUSDT", day: str = "2026-02-01", **details: str) -> list[Place]:
        return list(places_of(Difference("aggregate", Dataset.KLINES, freq, symbol, day, details)))

    hours, minutes = (Place(Series(Dataset.KLINES, freq, "AUSDT"), FEBRUARY) for freq in ("1h", "1m"))
    assert (of(), of(aggregated_freq="1m")) == ([hours], [hours, minutes])
    assert of("7m") == of(symbol=None) == of(day="99999999") == []
    assert place_of(Dataset.FUNDING_RATES, "", "AUSDT", "2026-02-01") == Place(
        Series(Dataset.FUNDING_RATES, "", "AUSDT"), FEBRUARY
    )


def test_symbol_days_become_jobs_by_month_and_klines_come_first(tmp_path: Path) -> None:
    places = [
        Place(Series(dataset, freq, "AUSDT"), date(2026, month, 1))
        for dataset, freq in ((Dataset.FUNDING_RATES, ""), (Dataset.METRICS, "5m"), (Dataset.KLINES, "1h"))
        for month in (3, 2)
    ]
    with StoreWriter.open(tmp_path / "market.db") as store:
        jobs = list(repair_jobs(store, dict.fromkeys(places, frozenset()), NOW, lambda: None, {}))
    assert [(job.series.dataset.value, [day.month for day in job.days]) for job in jobs] == [
        ("klines", [2]), ("klines", [3]), ("metrics", [2]), ("metrics", [3]), ("funding_rates", [2]), ("funding_rates", [3]),
    ]  # fmt: skip
