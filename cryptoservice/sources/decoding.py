"""Decoding: what a fetch brought, as one answer for each of its days. Pure, so that it can run in a helper process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from cryptoservice.binance.archive_files import VerifiedZip, read_zip
from cryptoservice.binance.parsers.funding import MarketRates
from cryptoservice.binance.parsers.rows_by_day import InvalidData, RowsByDay
from cryptoservice.days import day_start_ms, utc_text
from cryptoservice.models import DAY_MS, SourceObject
from cryptoservice.sources.evidence import AnswerKind, SourceAnswer
from cryptoservice.sources.grouping import Fetch, MarketFetch

Answers = Mapping[date, SourceAnswer]
"""One answer for each day of a fetch."""


def decode_zips(fetched: Sequence[tuple[Fetch, VerifiedZip]]) -> list[Answers]:
    """The answers of some archive objects, one after the other."""
    return [decode_zip(fetch, archived) for fetch, archived in fetched]


def decode_zip(fetch: Fetch, archived: VerifiedZip) -> Answers:
    """The answers of an archive object, which is opened and parsed here."""
    origin = SourceObject(
        archived.source.key,
        archived.sha256,
        archived.last_modified,
        utc_text(archived.fetched_at),
        archived.etag,
        len(archived.body),
    )
    try:
        table = read_zip(archived)
    except InvalidData as invalid:
        return same_for_all(fetch, AnswerKind.DISTRUSTED, invalid.reason)
    return decode_rows(fetch, table, origin)


def decode_rows(fetch: Fetch, table: RowsByDay, origin: SourceObject | None = None) -> Answers:
    """The answers of checked rows; the reason of a day says which of its rows were left out."""
    return {
        day: SourceAnswer(AnswerKind.ROWS, table.days.get(day, ()), _left_out(fetch, table.left_out.get(day)), origin)
        for day in fetch.days
    }


def decode_market(fetch: MarketFetch, rates: MarketRates) -> Mapping[str, Answers]:
    """The answers for each wanted symbol, out of pages of all symbols. A day without rows has none: its symbol must be asked."""
    answers: dict[str, Answers] = {}
    for symbol in fetch.wanted:
        part, table = fetch.of_symbol(symbol), rates.of(symbol)
        is_known = {day for day in table.days if day_start_ms(day) + DAY_MS <= rates.known_until}
        answers[symbol] = {day: answer for day, answer in decode_rows(part, table).items() if day in is_known}
    return answers


def _left_out(fetch: Fetch, reasons: Mapping[str, int] | None) -> str | None:
    """Such as `daily: 2 rows left out (high_below_low, time_off_grid)`."""
    if not reasons:
        return None
    count = sum(reasons.values())
    return f"{fetch.source}: {count} row{'s' * (count > 1)} left out ({', '.join(sorted(reasons))})"


def same_for_all(fetch: Fetch, kind: AnswerKind, reason: str) -> Answers:
    """The same answer, one without rows, for all days of the fetch."""
    return dict.fromkeys(fetch.days, SourceAnswer(kind, reason=reason))
