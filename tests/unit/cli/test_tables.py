"""Tables for people, letter by letter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from cryptoservice.audit.provenance import DatasetProvenance, ProvenanceResult
from cryptoservice.audit.status import DatasetStatus, NextDownload, StatusResult, UnsettledReason
from cryptoservice.cli.tables import percent, plan_lines, provenance_lines, status_lines, symbols_lines, table
from cryptoservice.days import Window
from cryptoservice.define.symbol_list import ListedSymbol, SymbolList
from cryptoservice.download.forecast.duration import Bound, Cause
from cryptoservice.download.forecast.workload import Share
from cryptoservice.download.preview import PreviewResult
from cryptoservice.models import Dataset, Freq, MissingReason, SourceObject, Status
from cryptoservice.sources.alignment import Reading
from cryptoservice.sources.evidence import Source
from cryptoservice.universe.model import Listing

WINDOW = Window(date(2026, 2, 1), date(2026, 2, 28))
MISSING = {MissingReason.NOT_IN_CURRENT_TRADING_LIST: 28, MissingReason.NO_KLINE_ON_DATE: 1_000}


def text(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def status(*datasets: DatasetStatus, database: str | None = "market.db", **changes: object) -> StatusResult:
    values: dict[str, object] = {
        "universe_file": "universe.json", "db_path": database, "window": WINDOW, "requested_symbols": 1_200, "active_symbols": 3,
        "active_symbol_days": 84, "define_missing": MISSING, "datasets": datasets,
    }  # fmt: skip
    return StatusResult(**{**values, **changes})  # type: ignore[arg-type]


def test_a_table_sets_words_to_the_left_and_figures_to_the_right() -> None:
    assert list(table(("source", "rows"), [("API", "1,234"), ("archive", "5")])) == [
        "source    rows",
        "API      1,234",
        "archive      5",
    ]


def test_status_of_a_universe_alone() -> None:
    assert text(status_lines(status(database=None))) == (
        "universe universe.json: 2026-02-01 to 2026-02-28, 28 days\n"
        "3 of 1,200 symbols active, 84 symbol-days; not active: 28 not_in_current_trading_list, 1,000 no_kline_on_date\n"
    )
    one = Window(WINDOW.start, WINDOW.start)
    nothing_missing = dict.fromkeys(MissingReason, 0)
    small = status(
        database=None, window=one, requested_symbols=1, active_symbols=1, active_symbol_days=1, define_missing=nothing_missing
    )
    assert text(status_lines(small)) == (
        "universe universe.json: 2026-02-01 to 2026-02-01, 1 day\n1 of 1 symbol active, 1 symbol-day\n"
    )


def test_status_of_a_database_without_anything() -> None:
    assert text(status_lines(status())).splitlines()[2:] == ["database market.db: nothing has been downloaded into it yet"]


def test_status_of_datasets() -> None:
    klines = DatasetStatus(
        Dataset.KLINES, "5m", 60, 2, 10, 1, 11, 1_234_567, "2026-03-05T10:00:00+00:00",
        (UnsettledReason(Status.INCOMPLETE, "http_500", 10), UnsettledReason(Status.FAILED, None, 1)),
        NextDownload(22, {Source.MONTHLY: 11, Source.DAILY: 0, Source.REST: 10}),
    )  # fmt: skip
    funding = DatasetStatus(Dataset.FUNDING_RATES, "", 84, 0, 0, 0, 0, 252, None, (), NextDownload(0, {}))
    assert text(status_lines(status(klines, funding))).splitlines()[2:] == [
        "database market.db",
        "",
        "dataset        freq  settled  complete  gaps  incomplete  failed  never       rows  last checked",
        "klines         5m     73.8 %        60     2          10       1     11  1,234,567  2026-03-05T10:00:00+00:00",
        "funding_rates  -       100 %        84     0           0       0      0        252  never",
        "metrics        -           -         -     -           -       -      -          -  never",
        "total          -      86.9 %       144     2          10       1     11  1,234,819  2026-03-05T10:00:00+00:00",
        "",
        "next download of 5m klines: 22 symbol-days: first 11 from the monthly archive, 10 from the API, 1 without a request",
        "  incomplete, http_500: 10 symbol-days",
        "  failed, no reason known: 1 symbol-day",
        "next download of funding_rates: nothing to do, all is settled",
        "nothing has been downloaded of metrics; --download-market-metrics asks for more than klines",
    ]
    # One dataset needs no total; and a share that is not all of it is never 100 %.
    alone = DatasetStatus(Dataset.METRICS, "5m", 9_999, 0, 0, 0, 1, 0, None, (), NextDownload(1, {}))
    assert [line.split()[:3] for line in status_lines(status(alone))][4:] == [
        ["dataset", "freq", "settled"], ["metrics", "5m", "99.9"], ["klines", "-", "-"], ["funding_rates", "-", "-"], [],
        ["next", "download", "of"], ["nothing", "has", "been"],
    ]  # fmt: skip


def test_a_share_is_rounded_down() -> None:
    for part, whole, said in (
        (0, 0, "-"), (0, 7, "0 %"), (7, 7, "100 %"), (1, 1_000_000, "<0.1 %"), (999_999, 1_000_000, "99.9 %"), (1, 3, "33.3 %"),
        (1, 1_000, "0.1 %"), (1, 2, "50.0 %"),
    ):  # fmt: skip
        assert percent(part, whole) == said


def test_the_symbols_of_a_listing() -> None:
    found = (ListedSymbol("BTCUSDT", date(2019, 9, 8), None), ListedSymbol("币安人生USDT", None, date(2026, 1, 2)))
    assert list(symbols_lines(SymbolList(Listing.ARCHIVE, found))) == [
        "symbol    first day   last day",
        "BTCUSDT   2019-09-08  -",
        "币安人生USDT  -           2026-01-02",
        "2 symbols by the archive",
    ]


def test_where_the_values_of_a_symbol_day_come_from() -> None:
    origin = SourceObject(
        "data/futures/um/daily/metrics/x.zip", "ab" * 32, "Wed, 11 Feb 2026 08:00:00 GMT", "2026-03-05T10:00:00+00:00"
    )
    checked = "2026-03-05T10:00:00+00:00"
    values = (
        DatasetProvenance(
            Dataset.KLINES, "1m", Status.CONFIRMED_GAP, "sources_agree", 1_400, 1_440, checked, "daily+rest",
            {"daily": 1_399, "daily+rest": 1}, None, origin,
        ),
        DatasetProvenance(Dataset.KLINES, "5m", None, "not_downloaded", 0, None, None, None, {}, None, None),
        DatasetProvenance(
            Dataset.METRICS, "5m", Status.COMPLETE, "labels_end_bars", 288, 288, checked, "daily", {"daily": 288},
            Reading.ENDS_BARS, origin,
        ),
        DatasetProvenance(Dataset.FUNDING_RATES, "", Status.COMPLETE, None, 3, 3, checked, "rest", {"rest": 3}, None, None),
        DatasetProvenance(Dataset.FUNDING_RATES, "x", Status.FAILED, None, 0, 3, checked, None, {}, None, None),
    )  # fmt: skip
    result = ProvenanceResult("universe.json", "market.db", "LINKUSDT", WINDOW.start, None, values)
    assert (
        text(provenance_lines(result))
        == """\
LINKUSDT on 2026-02-01: active in universe universe.json
database market.db

dataset        freq  status           rows  expected  last checked
klines         1m    confirmed_gap   1,400     1,440  2026-03-05T10:00:00+00:00
klines         5m    not_downloaded      0         -  never
metrics        5m    complete          288       288  2026-03-05T10:00:00+00:00
funding_rates  -     complete            3         3  2026-03-05T10:00:00+00:00
funding_rates  x     failed              0         3  2026-03-05T10:00:00+00:00

1m klines
  reason     sources_agree
  source     1,399 from daily, 1 from daily+rest
  object     data/futures/um/daily/metrics/x.zip
  SHA-256    abababababababababababababababababababababababababababababababab
  published  Wed, 11 Feb 2026 08:00:00 GMT
  fetched    2026-03-05T10:00:00+00:00

5m metrics
  reason     labels_end_bars
  source     288 from daily
  labels     labels_end_bars
  object     data/futures/um/daily/metrics/x.zip
  SHA-256    abababababababababababababababababababababababababababababababab
  published  Wed, 11 Feb 2026 08:00:00 GMT
  fetched    2026-03-05T10:00:00+00:00

funding_rates
  source     3 from rest
"""
    )
    empty = ProvenanceResult("universe.json", "market.db", "LINKUSDT", WINDOW.start, MissingReason.NO_KLINE_ON_DATE, ())
    assert text(provenance_lines(empty)) == (
        "LINKUSDT on 2026-02-01: not active, no_kline_on_date in universe universe.json\n"
        "database market.db: nothing has been downloaded into it yet\n"
    )


def test_the_plan_of_a_download() -> None:
    shares = (
        Share(Dataset.KLINES, Source.MONTHLY, 84, 3, 6, 0, 120_960, 4_250_000),
        Share(Dataset.KLINES, Source.REST, 2, 2, 1_002, 10, 2_880, 300_000),
    )
    plan = planned(1_500, shares, 744.0, Bound(Cause.MACHINE, None, 220_000, 1.0))
    assert text(plan_lines(plan)) == (
        "dataset  source   symbol-days  requests  weight     rows   MB\n"
        "klines   monthly           84         6       0  120,960  4.2\n"
        "klines   rest               2     1,002      10    2,880  0.3\n"
        "1,500 symbol-days settled already\n"
        "1,008 requests, about 12 min 24 s, bound by: this machine, 220,000 rows/s\n"
        "disk: 11.6 MB needed, 4.2 GB free\n"
    )
    soon = planned(0, shares, 0.6, Bound(Cause.MACHINE, None, 220_000, 1.0))
    assert "\n1,008 requests, less than a second, bound by" in text(plan_lines(soon))
    assert text(plan_lines(planned(84, (), 0.0, None))).endswith("\n84 symbol-days settled already\nnothing to fetch\n")


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        (Bound(Cause.BUDGET, Dataset.METRICS, 900, 300.0), "metrics budget 900 in 5 min"),
        (Bound(Cause.BUDGET, Dataset.FUNDING_RATES, 450, 300.0), "funding_rates budget 450 in 5 min"),
        (Bound(Cause.BUDGET, Dataset.KLINES, 1_800, 60.0), "klines budget 1,800 weight in 1 min"),
        (Bound(Cause.ARCHIVE_LATENCY, None, 8, 0.1), "the archive at 0.1 s a request, 8 requests at once"),
        (Bound(Cause.API_LATENCY, None, 1, 0.25), "the API at 0.25 s a request, 1 request at once"),
        (Bound(Cause.ARCHIVE_DELAY, None, 1, 0.5), "0.5 s between two requests to the archive"),
    ],
)
def test_a_plan_says_what_binds(bound: Bound, words: str) -> None:
    shares = (Share(Dataset.METRICS, Source.REST, 500, 500, 2_500, 2_500, 144_000, 36_000_000),)
    lines = list(plan_lines(planned(0, shares, 616.0, bound)))
    assert lines[-2] == f"2,500 requests, about 10 min 16 s, bound by: {words}"


def test_a_plan_says_what_the_archive_has_probably_not_published() -> None:
    shares = (Share(Dataset.METRICS, Source.DAILY, 0, 500, 500, 0, 0, 0),)
    lines = list(plan_lines(planned(0, shares, 616.0, Bound(Cause.MACHINE, None, 1, 1.0), not_published=500)))
    assert lines[3] == ("500 metrics files of yesterday: probably not published before 09:00 UTC, so the API is asked as well")


def planned(
    settled: int, shares: tuple[Share, ...], seconds: float, bound: Bound | None, not_published: int = 0
) -> PreviewResult:
    return PreviewResult(WINDOW, Freq.m1, settled, 0, shares, seconds, bound, 0.1, not_published, 11_560_000, 4_200_000_000)
