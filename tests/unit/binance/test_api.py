"""The endpoints of the API over a real socket: pages, bounds, weights, and what is done with a bad page."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from cryptoservice.binance.api import ApiLimits, FuturesApi, klines_weight
from cryptoservice.binance.http.limiter import LimitPolicy, RateLimiter
from cryptoservice.config import RetryConfig
from cryptoservice.days import Window
from cryptoservice.errors import HistoryEnded, SourceError, SymbolRefused
from cryptoservice.models import Freq
from tests.unit.binance.loopback import Loopback, Reply, Seen
from tests.unit.binance.wired import Wired, wired_to
from tests.unit.fakes import DAY, FEBRUARY, FEBRUARY_MS, MINUTE, RECORDINGS, FakeClock

FIVE, HOUR = 5 * MINUTE, 60 * MINUTE
ONE_DAY = Window(FEBRUARY, FEBRUARY)
TWO_DAYS = Window(FEBRUARY, FEBRUARY + timedelta(days=1))
NEXT = FEBRUARY + timedelta(days=1)
LATER = "Sun, 01 Mar 2026 00:00:00 GMT"
ERROR_1130 = Reply(400, b'{"msg": "parameter \'startTime\' is invalid.", "code": -1130}')

Params = dict[str, str]
Page = Callable[[str, Params], Any]


class Api:
    """The API of a server that answers with `page(path, params)`: any JSON, or a whole Reply."""

    def __init__(self, wired: Wired, calls: list[tuple[str, Params]]) -> None:
        self.wired = wired
        self.calls = calls
        self.limits = ApiLimits(*(RateLimiter(LimitPolicy(max_weight=5000), wired.gate, wired.clock) for _ in range(3)))
        self.futures = FuturesApi(wired.host, self.limits, wired.clock)


@contextlib.contextmanager
def api(page: Page, *, retries: int = 1, date_header: str = LATER, epoch: float = 1_780_000_000.0) -> Iterator[Api]:
    calls: list[tuple[str, Params]] = []

    def script(_: int, seen: Seen) -> Reply:
        parts = urlsplit(seen.target)
        params = dict(parse_qsl(parts.query))
        calls.append((parts.path, params))
        found = page(parts.path, params)
        return found if isinstance(found, Reply) else Reply(body=json.dumps(found).encode(), headers={"Date": date_header})

    retry = RetryConfig(max_retries=retries, jitter=False)
    with Loopback(script).running() as server, wired_to(server.url, retry=retry, clock=FakeClock(epoch)) as wired:
        yield Api(wired, calls)


def reason(fetch: Callable[[], object]) -> str:
    with pytest.raises(SourceError) as caught:
        fetch()
    return caught.value.reason


# -- klines --------------------------------------------------------------------------------------------------------


def kline(open_time: int, length: int = MINUTE, close: str = "10.75") -> list[Any]:
    return [open_time, "10.5", "11", "10.25", close, "100", open_time + length - 1, "1050", 7, "50", "525", "0"]


def as_row(open_time: int) -> tuple[float, ...]:
    return (open_time, 10.5, 11.0, 10.25, 10.75, 100.0, 1050.0, 7, 50.0, 525.0)


def serve_klines(_: str, params: Params) -> list[Any]:
    """Every minute from start to end, both inclusive, up to the limit."""
    start, end, limit = int(params["startTime"]), int(params["endTime"]), int(params["limit"])
    return [kline(at) for at in range(start, end + 1, MINUTE)][:limit]


@pytest.mark.parametrize(("limit", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)])
def test_weight_of_a_klines_page(limit: int, weight: int) -> None:
    assert klines_weight(limit) == weight


def test_klines_are_asked_for_in_pages_of_exact_bounds() -> None:
    with api(serve_klines) as made:
        table = made.futures.klines("BTCUSDT", Freq.m1, ONE_DAY)
        assert {path for path, _ in made.calls} == {"/fapi/v1/klines"}
        assert [params for _, params in made.calls] == [
            {"symbol": "BTCUSDT", "interval": "1m", "startTime": str(start), "endTime": str(end), "limit": str(limit)}
            for start, end, limit in (
                (FEBRUARY_MS, FEBRUARY_MS + 499 * MINUTE - 1, 499),
                (FEBRUARY_MS + 499 * MINUTE, FEBRUARY_MS + 998 * MINUTE - 1, 499),
                (FEBRUARY_MS + 998 * MINUTE, FEBRUARY_MS + DAY - 1, 442),
            )
        ]
        assert {day: list(rows) for day, rows in table.days.items()} == {
            FEBRUARY: [as_row(FEBRUARY_MS + bar * MINUTE) for bar in range(1440)]
        }
        assert table.left_out == {}
        assert made.wired.traffic.requests == {"klines": 3}


def test_a_klines_page_weighs_what_its_limit_says() -> None:
    with api(serve_klines) as made:
        made.limits = ApiLimits(*(RateLimiter(LimitPolicy(max_weight=6), made.wired.gate, made.wired.clock) for _ in range(3)))
        futures = FuturesApi(made.wired.host, made.limits, made.wired.clock)
        futures.klines("BTCUSDT", Freq.m1, ONE_DAY)
        assert made.wired.clock.sleeps == []
        futures.klines("BTCUSDT", Freq.m1, ONE_DAY)
        assert made.wired.clock.sleeps == [61.0]


def test_days_that_share_a_page_or_span_two_are_whole() -> None:
    with api(serve_klines) as made:
        table = made.futures.klines("BTCUSDT", Freq.m1, TWO_DAYS)
        assert [len(made.calls), *map(len, table.days.values())] == [6, 1440, 1440]
        assert list(table.days) == [FEBRUARY, NEXT]


def test_a_page_without_rows_is_no_error() -> None:
    with api(lambda _, __: []) as made:
        assert made.futures.klines("BTCUSDT", Freq.d1, ONE_DAY).days == {}
        assert len(made.calls) == 1


def first_page(*rows: list[Any]) -> Page:
    """These rows on the first page, none on the later ones."""
    return lambda _, params: rows if int(params["startTime"]) == FEBRUARY_MS else []


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(("clock", "finished"), [("00:01:30", 1), ("00:02:00", 1), ("00:02:01", 2)])
def test_the_unfinished_candle_is_left_out_by_the_clock_of_the_server(clock: str, finished: int, as_text: bool) -> None:
    rows = [kline(FEBRUARY_MS), kline(FEBRUARY_MS + MINUTE)]
    if as_text:
        rows = [[str(row[0]), *row[1:]] for row in rows]
    # Our own clock is months ahead: by it both candles are finished.
    with api(first_page(*rows), date_header=f"Sun, 01 Feb 2026 {clock} GMT") as made:
        table = made.futures.klines("BTCUSDT", Freq.m1, ONE_DAY)
        assert list(table.days[FEBRUARY]) == [as_row(FEBRUARY_MS), as_row(FEBRUARY_MS + MINUTE)][:finished]


def test_without_a_clock_of_the_server_ours_is_taken() -> None:
    rows = [kline(FEBRUARY_MS), kline(FEBRUARY_MS + MINUTE)]
    with api(first_page(*rows), date_header="", epoch=FEBRUARY_MS / 1000 + 90) as made:
        assert list(made.futures.klines("BTCUSDT", Freq.m1, ONE_DAY).days[FEBRUARY]) == [as_row(FEBRUARY_MS)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (["soon", *kline(FEBRUARY_MS + 9 * MINUTE)[1:]], "not_a_number"),
        (kline(FEBRUARY_MS + 9 * MINUTE + 3_000), "time_off_grid"),
        (kline(FEBRUARY_MS + 9 * MINUTE, close="12"), "high_below_low"),
        (kline(FEBRUARY_MS + 8 * MINUTE, close="10.5"), "conflicting_rows"),
    ],
)
def test_a_bad_kline_is_left_out_and_asked_for_no_second_time(bad: list[Any], reason: str) -> None:
    def page(path: str, params: Params) -> list[Any]:
        rows = serve_klines(path, params)
        return [*rows[:9], bad, *rows[10:]] if int(params["startTime"]) == FEBRUARY_MS else rows

    with api(page) as made:
        table = made.futures.klines("BTCUSDT", Freq.m1, ONE_DAY)
        bars = [bar for bar in range(1440) if bar != 9 and (bar != 8 or reason != "conflicting_rows")]
        assert list(table.days[FEBRUARY]) == [as_row(FEBRUARY_MS + bar * MINUTE) for bar in bars]
        assert table.left_out == {FEBRUARY: {reason: 2 if reason == "conflicting_rows" else 1}}
        assert len(made.calls) == 3


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ([kline(FEBRUARY_MS + DAY, MINUTE)], "row_outside_range"),
        ([kline(FEBRUARY_MS + 499 * MINUTE)], "row_outside_range"),
        ([kline(FEBRUARY_MS)[:-1]], "wrong_column_count"),
        ({"rows": []}, "wrong_column_count"),
        ([kline(FEBRUARY_MS - MINUTE)], "row_outside_range"),
        ([["soon", *kline(FEBRUARY_MS)[1:]]] * 2, "not_a_number"),
        ([kline(FEBRUARY_MS, close="12")] * 2, "high_below_low"),
        ([kline(FEBRUARY_MS), kline(FEBRUARY_MS, close="10.5")], "conflicting_rows"),
    ],
)
def test_a_bad_page_of_klines_is_asked_for_once_more(page: Any, expected: str) -> None:
    with api(lambda _, __: page) as made:
        assert reason(lambda: made.futures.klines("BTCUSDT", Freq.m1, ONE_DAY)) == expected
        assert len(made.calls) == 2
    pages = [page, [kline(FEBRUARY_MS)]]
    with api(lambda _, __: pages.pop(0) if pages else []) as made:
        assert list(made.futures.klines("BTCUSDT", Freq.m1, ONE_DAY).days[FEBRUARY]) == [as_row(FEBRUARY_MS)]


@pytest.mark.parametrize("code", [-1121, -1122])
def test_a_symbol_that_is_not_served_is_asked_for_once(code: int) -> None:
    with api(lambda _, __: Reply(400, json.dumps({"code": code, "msg": "Invalid symbol."}).encode())) as made:
        with pytest.raises(SymbolRefused):
            made.futures.klines("BTCUSDT", Freq.m1, ONE_DAY)
        assert len(made.calls) == 1


# -- funding rates -------------------------------------------------------------------------------------------------

HISTORY = [
    {"symbol": "BTCUSDT", "fundingTime": FEBRUARY_MS + at * MINUTE, "fundingRate": "0.0001", "markPrice": "", "rateType": kind}
    for at in range(1200)
    for kind in (("Regular", "Special") if at == 999 else ("Regular",))
]  # fmt: skip


def serve_funding(_: str, params: Params) -> list[Any]:
    start, end, limit = int(params["startTime"]), int(params["endTime"]), int(params["limit"])
    return [entry for entry in HISTORY if start <= entry["fundingTime"] <= end][:limit]


def test_funding_rates_page_on_from_the_last_moment_itself() -> None:
    with api(serve_funding) as made:
        table = made.futures.funding_rates("BTCUSDT", ONE_DAY)
        # The first page ends with the regular rate of the thousandth moment; the special one stands on the second page.
        assert [(path, params["startTime"], params["endTime"], params["limit"]) for path, params in made.calls] == [
            ("/fapi/v1/fundingRate", str(FEBRUARY_MS), str(FEBRUARY_MS + DAY - 1), "1000"),
            ("/fapi/v1/fundingRate", str(FEBRUARY_MS + 999 * MINUTE), str(FEBRUARY_MS + DAY - 1), "1000"),
        ]
        expected = [(entry["fundingTime"], 0.0001, None, entry["rateType"]) for entry in HISTORY]
        assert list(table.days[FEBRUARY]) == expected
        assert len(expected) == 1201
        assert made.wired.traffic.requests == {"funding_rates": 2}


def test_a_funding_page_that_is_not_full_is_the_last() -> None:
    with api(lambda _, __: HISTORY[:3]) as made:
        assert len(made.futures.funding_rates("BTCUSDT", TWO_DAYS).days[FEBRUARY]) == 3
        assert len(made.calls) == 1


def test_rows_sent_twice_do_not_make_a_full_page_the_last() -> None:
    pages = [[*HISTORY[:500], *HISTORY[:500]], HISTORY[499:502]]
    with api(lambda _, __: pages.pop(0)) as made:
        assert len(made.futures.funding_rates("BTCUSDT", ONE_DAY).days[FEBRUARY]) == 502


def test_a_full_page_of_one_moment_does_not_page_for_ever() -> None:
    def page(_: str, params: Params) -> list[Any]:
        return [entry for entry in [HISTORY[0]] * 1000 if int(params["startTime"]) <= entry["fundingTime"]]

    with api(page) as made:
        assert len(made.futures.funding_rates("BTCUSDT", ONE_DAY).days[FEBRUARY]) == 1
        assert [params["startTime"] for _, params in made.calls] == [str(FEBRUARY_MS), str(FEBRUARY_MS + 1)]


def test_a_server_that_ignores_the_start_is_given_up() -> None:
    with api(lambda _, __: HISTORY[:1000]) as made:
        assert reason(lambda: made.futures.funding_rates("BTCUSDT", ONE_DAY)) == "row_outside_range"
        assert len(made.calls) == 3


# -- market metrics ------------------------------------------------------------------------------------------------

FIELDS = {
    "openInterestHist": ("sumOpenInterest", "sumOpenInterestValue"),
    "topLongShortAccountRatio": ("longShortRatio",),
    "topLongShortPositionRatio": ("longShortRatio",),
    "globalLongShortAccountRatio": ("longShortRatio",),
    "takerlongshortRatio": ("buySellRatio",),
}
TAKER = "takerlongshortRatio"


def serve_metrics(path: str, params: Params) -> list[Any]:
    """Every five minutes from start to end; the value is the number of the bar since the start of February."""
    name = path.rpartition("/")[2]
    shift = 0 if name == TAKER else FIVE
    stamps = range(int(params["startTime"]), int(params["endTime"]) + 1, FIVE)
    page = [{"timestamp": at, **dict.fromkeys(FIELDS[name], f"{(at - shift - FEBRUARY_MS) // FIVE}.5")} for at in stamps]
    return page[: int(params["limit"])]


def ended_before(oldest: int, *names: str) -> Page:
    """Those endpoints keep nothing older than that, and refuse to be asked."""

    def page(path: str, params: Params) -> Any:
        is_old = path.rpartition("/")[2] in names and int(params["startTime"]) < oldest
        return ERROR_1130 if is_old else serve_metrics(path, params)

    return page


def test_metrics_are_asked_for_with_both_bounds_in_the_labels_of_each_endpoint() -> None:
    with api(serve_metrics) as made:
        table = made.futures.metrics("BTCUSDT", TWO_DAYS)
        assert len(made.calls) == 10
        for name in FIELDS:
            shift = 0 if name == TAKER else FIVE
            pages = [params for path, params in made.calls if path == f"/futures/data/{name}"]
            assert pages == [
                {
                    "symbol": "BTCUSDT",
                    "period": "5m",
                    "startTime": str(first + shift),
                    "endTime": str(last + shift),
                    "limit": limit,
                }
                for first, last, limit in (
                    (FEBRUARY_MS, FEBRUARY_MS + 499 * FIVE, "500"),
                    (FEBRUARY_MS + 500 * FIVE, FEBRUARY_MS + 575 * FIVE, "76"),
                )
            ]
        assert {day: list(rows) for day, rows in table.days.items()} == {
            day: [(FEBRUARY_MS + bar * FIVE, *[bar + 0.5] * 6) for bar in range(first, first + 288)]
            for day, first in ((FEBRUARY, 0), (NEXT, 288))
        }
        assert made.wired.traffic.requests == {"metrics": 10}


def test_the_days_after_the_end_of_history_are_served() -> None:
    with api(ended_before(FEBRUARY_MS + DAY, *FIELDS)) as made:
        table = made.futures.metrics("BTCUSDT", Window(FEBRUARY, FEBRUARY + timedelta(days=2)))
        assert [len(rows) for rows in table.days.values()] == [288, 288]
        assert list(table.days) == [NEXT, FEBRUARY + timedelta(days=2)]
        starts = [int(params["startTime"]) - FEBRUARY_MS for path, params in made.calls if path.endswith(TAKER)]
        assert starts == [0, DAY, 500 * FIVE]


def test_an_endpoint_without_such_old_data_leaves_its_column_blank() -> None:
    with api(ended_before(FEBRUARY_MS + 2 * DAY, TAKER)) as made:
        rows = made.futures.metrics("BTCUSDT", ONE_DAY).days[FEBRUARY]
        assert list(rows) == [(FEBRUARY_MS + bar * FIVE, *[bar + 0.5] * 5, None) for bar in range(288)]


@pytest.mark.parametrize("page", [ended_before(FEBRUARY_MS + 9 * DAY, *FIELDS), lambda _, __: []], ids=["refused", "empty"])
def test_no_metrics_at_all_are_the_end_of_history(page: Page) -> None:
    with api(page) as made, pytest.raises(HistoryEnded) as caught:
        made.futures.metrics("BTCUSDT", TWO_DAYS)
    assert caught.value.reason == "history_ended"
    assert "2026-02-01 to 2026-02-02" in caught.value.message


def test_metrics_outside_the_bounds_are_not_trusted() -> None:
    with api(lambda _, __: [{"timestamp": FEBRUARY_MS, "sumOpenInterest": "1", "sumOpenInterestValue": "1"}]) as made:
        # At the end of its period this label belongs to the last bar of January.
        assert reason(lambda: made.futures.metrics("BTCUSDT", ONE_DAY)) == "row_outside_range"


# -- trading list --------------------------------------------------------------------------------------------------


def entry(symbol: Any = "BTCUSDT", **changes: Any) -> dict[str, Any]:
    return {"symbol": symbol, "contractType": "PERPETUAL", "status": "TRADING", "quoteAsset": "USDT", **changes}


def test_the_recorded_exchange_information() -> None:
    body = gzip.decompress((RECORDINGS / "exchange_info" / "exchangeInfo.2026-07-03.json.gz").read_bytes())
    with api(lambda _, __: Reply(body=body, headers={"Date": "Fri, 03 Jul 2026 17:08:28 GMT"})) as made:
        found = made.futures.trading_list()
        assert len(found.symbols) == 530
        assert {"BTCUSDT", "币安人生USDT"} <= found.symbols
        assert "TSLAUSDT" not in found.symbols
        # `date -u -d '2026-07-03 17:08:28' +%s`
        assert found.server_time == 1_783_098_508.0
        assert made.calls == [("/fapi/v1/exchangeInfo", {})]
        # The exchange announces 2400 a minute, of which nine tenths are used.
        assert made.limits.weighted.budget() == 2160.0


def test_only_trading_perpetuals_in_usdt_are_listed() -> None:
    symbols = [
        entry(), entry("A", contractType="TRADIFI_PERPETUAL"), entry("B", contractType=""), entry("C", status="SETTLING"),
        entry("D", quoteAsset="USDC"), entry("E_250328", contractType="CURRENT_QUARTER"), entry("币USDT"), entry(7),
        {"symbol": "F"},
    ]  # fmt: skip
    with api(lambda _, __: {"symbols": symbols}, date_header="") as made:
        found = made.futures.trading_list()
        assert found.symbols == {"BTCUSDT", "币USDT"}
        assert found.server_time is None
        assert made.limits.weighted.budget() == 5000.0


@pytest.mark.parametrize("other", [{"contractType": "CURRENT_QUARTER"}, {"status": "SETTLING"}, {"quoteAsset": "USDC"}])
@pytest.mark.parametrize("comes_first", [True, False])
def test_a_name_that_is_listed_twice_trades_when_one_of_them_does(other: dict[str, str], comes_first: bool) -> None:
    symbols = [entry(**other), entry()] if comes_first else [entry(), entry(**other)]
    with api(lambda _, __: {"symbols": [*symbols, entry(["A"])]}) as made:
        found = made.futures.trading_list()
        assert found.symbols == set(found.contracts) == {"BTCUSDT"}
        assert found.contracts["BTCUSDT"].is_trading_perpetual


@pytest.mark.parametrize(
    "limit",
    [
        {"limit": True}, {"limit": "1000"}, {"limit": 0}, {"limit": 10**8}, {"limit": None}, {"interval": "SECOND"},
        {"intervalNum": 5}, {"rateLimitType": "ORDERS"},
    ],
)  # fmt: skip
def test_a_limit_that_makes_no_sense_is_passed_over(limit: dict[str, Any]) -> None:
    announced = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 1000}
    with api(lambda _, __: {"symbols": [entry()], "rateLimits": [{**announced, **limit}]}) as made:
        made.futures.trading_list()
        assert made.limits.weighted.budget() == 5000.0


@pytest.mark.parametrize(
    "record",
    [[], {}, None, {"symbols": None}, {"symbols": [7]}, {"symbols": []}, {"symbols": [entry(status="BREAK")]},
     {"symbols": [entry()], "rateLimits": [7]}],
)  # fmt: skip
def test_an_exchange_information_that_was_not_understood_is_no_list(record: Any) -> None:
    with api(lambda _, __: record) as made:
        assert reason(made.futures.trading_list) == "unexpected_answer"
        assert len(made.calls) == 2
