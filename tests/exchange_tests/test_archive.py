"""The archive host: objects, checksums, publication, label conventions."""

from __future__ import annotations

import hashlib
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.exchange import Market, ReplayExchange

from .client import DAY, FEBRUARY, MINUTE, Client, funding_key, kline_key, metrics_key, unzipped

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"


def instant(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=timezone.utc).timestamp() * 1000)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize("symbol", ["ALGOUSDT", "AVAXUSDT", "LINKUSDT"])
def test_the_monthly_1m_object_holds_the_recorded_text(client: Client, symbol: str) -> None:
    recorded = unzipped((RECORDINGS / "klines_1m" / f"{symbol}-1m-2026-02.zip").read_bytes())
    assert client.csv(kline_key(symbol, "1m", "2026-02")) == recorded


@pytest.mark.parametrize("interval", ["1m", "5m", "1d"])
@pytest.mark.parametrize("symbol", ["ALGOUSDT", "AAAUSDT"])
def test_the_monthly_object_is_its_daily_ones_in_a_row(market: Market, client: Client, symbol: str, interval: str) -> None:
    market.add_symbol("AAAUSDT", first_day=date(2026, 2, 10), last_day=date(2026, 2, 20))
    month = client.csv(kline_key(symbol, interval, "2026-02"))
    header = month.splitlines(keepends=True)[0]
    days = [client.vision(kline_key(symbol, interval, f"2026-02-{day:02d}")) for day in range(1, 29)]
    there = [unzipped(day.body) for day in days if day.status == 200]
    assert len(there) == (28 if symbol == "ALGOUSDT" else 11)
    assert month == header + "".join(text.removeprefix(header) for text in there)


def test_archive_and_rest_hold_the_same_bars(client: Client) -> None:
    lines = client.csv(kline_key("LINKUSDT", "15m", "2026-02-03")).splitlines()[1:]
    rows = client.klines("LINKUSDT", "15m", startTime=FEBRUARY + 2 * DAY, endTime=FEBRUARY + 3 * DAY - 1).json
    assert [",".join(map(str, row)) for row in rows] == lines


@pytest.mark.parametrize(
    "key",
    [kline_key("ALGOUSDT", "5m", "2026-02"), kline_key("ALGOUSDT", "1h", "2026-02-28"), metrics_key("ALGOUSDT", "2026-02-03"),
     funding_key("ALGOUSDT", "2026-02")],
)  # fmt: skip
def test_checksum_line_and_headers(client: Client, key: str) -> None:
    response = client.vision(key)
    line = client.vision(key + ".CHECKSUM").body.decode()
    assert line == f"{hashlib.sha256(response.body).hexdigest()}  {key.rsplit('/', 1)[-1]}\n"
    assert response.headers["server"] == "AmazonS3"
    assert response.headers["etag"] == f'"{hashlib.md5(response.body).hexdigest()}"'
    assert response.headers["last-modified"].endswith(" GMT")
    assert int(response.headers["content-length"]) == len(response.body)


def test_the_original_funding_object_is_served_as_published() -> None:
    with ReplayExchange() as exchange:
        client, key = Client(exchange), funding_key("BTCUSDT", "2026-04")
        original = RECORDINGS / "funding_rates" / "BTCUSDT-fundingRate-2026-04.zip"
        assert client.vision(key).body == original.read_bytes()
        assert client.vision(key + ".CHECKSUM").body == original.with_name(original.name + ".CHECKSUM").read_bytes()


def test_two_exchanges_serve_the_same_bytes() -> None:
    keys = [kline_key("AAAUSDT", "1m", "2024-03"), metrics_key("AAAUSDT", "2024-03-03"), funding_key("AAAUSDT", "2024-03"),
            kline_key("AVAXUSDT", "4h", "2026-02")]  # fmt: skip
    seen = []
    for _ in range(2):
        market = Market.recorded()
        market.add_symbol("AAAUSDT", first_day=date(2024, 1, 1))
        with ReplayExchange(market) as exchange:
            seen.append([Client(exchange).vision(key).body for key in keys])
    assert seen[0] == seen[1]


def test_synthetic_bytes_do_not_depend_on_the_process() -> None:
    market = Market.recorded()
    market.add_symbol("AAAUSDT", first_day=date(2024, 1, 1))
    rows = market.kline_rows("AAAUSDT", "1d", instant(2024, 5, 1), instant(2024, 5, 2))
    oi = market.metrics_rows("AAAUSDT", instant(2024, 5, 1), instant(2024, 5, 1) + 1)
    # Made by an earlier process: if these change on purpose, write the new ones here.
    assert rows[0][1:6] == ("496.58", "498.34", "494.61", "495.74", "352855.990")
    assert next(iter(oi.values()))[:2] == (144917.446, 71951511.939)


def test_what_is_not_published_is_an_s3_404(market: Market, exchange: ReplayExchange, client: Client) -> None:
    response = client.vision(kline_key("ALGOUSDT", "1m", "2026-01-31"))
    assert response.status == 404
    assert response.headers["content-type"] == "application/xml"
    assert b"<Code>NoSuchKey</Code>" in response.body
    assert client.vision(kline_key("NOSUCHUSDT", "1m", "2026-02-01")).status == 404
    exchange.now = lambda: FEBRUARY + 5 * DAY + 1
    assert client.vision(kline_key("ALGOUSDT", "1m", "2026-02-05")).status == 200
    assert client.vision(kline_key("ALGOUSDT", "1m", "2026-02-06")).status == 404
    assert client.vision(kline_key("ALGOUSDT", "1m", "2026-02")).status == 404
    exchange.now = None
    market.archive_until = date(2026, 2, 27)
    assert client.vision(metrics_key("ALGOUSDT", "2026-02-27")).status == 200
    assert client.vision(metrics_key("ALGOUSDT", "2026-02-28")).status == 404
    assert client.vision(kline_key("ALGOUSDT", "1m", "2026-02")).status == 404
    market.archive_until = date(2026, 2, 28)
    assert client.vision(kline_key("ALGOUSDT", "1m", "2026-02")).status == 200


def test_objects_can_be_withheld_emptied_and_replaced(market: Market, client: Client) -> None:
    gone, whole = kline_key("ALGOUSDT", "5m", "2026-02-03"), kline_key("ALGOUSDT", "5m", "2026-02-04")
    market.without_objects({gone})
    market.without_objects(lambda key: "LINKUSDT" in key)
    for key in (gone, gone + ".CHECKSUM", kline_key("LINKUSDT", "1m", "2026-02")):
        assert client.vision(key).status == 404
    market.without_objects({whole + ".CHECKSUM"})
    assert (client.vision(whole).status, client.vision(whole + ".CHECKSUM").status) == (200, 404)
    market.drop_klines("ALGOUSDT", FEBRUARY + 5 * DAY, FEBRUARY + 6 * DAY, sources=("daily",))
    assert client.vision(kline_key("ALGOUSDT", "1m", "2026-02-06")).status == 404
    market.replace_object(gone, b"by hand")
    assert client.vision(gone).body == b"by hand"
    assert client.vision(gone + ".CHECKSUM").body.split()[0].decode() == hashlib.sha256(b"by hand").hexdigest()
    market.replace_object(gone, b"by hand", checksum=b"nonsense")
    assert client.vision(gone + ".CHECKSUM").body == b"nonsense"


def test_the_old_style_has_no_header(market: Market, client: Client) -> None:
    key = kline_key("ALGOUSDT", "1m", "2026-02-01")
    with_header = client.csv(key)
    market.headerless = True
    assert client.csv(key) == with_header.split("\n", 1)[1]


def test_metrics_look_like_the_recorded_excerpt(client: Client) -> None:
    excerpt = (RECORDINGS / "metrics" / "HYPEUSDT-metrics-2025-05-30.excerpt.csv").read_text().splitlines()
    lines = client.csv(metrics_key("ALGOUSDT", "2026-02-03")).splitlines()
    assert lines[0] == excerpt[0]
    assert len(lines) == 289

    def decimals(line: str) -> list[int]:
        return [len(text.partition(".")[2]) for text in line.split(",")]

    assert {tuple(decimals(line)) for line in lines[1:]} == {tuple(decimals(excerpt[1]))}


@pytest.mark.parametrize(
    ("convention", "day", "first", "last"),
    [
        ("auto", "2026-02-03", "2026-02-03 00:05:00", "2026-02-04 00:00:00"),
        ("auto", "2026-06-24", "2026-06-24 00:05:00", "2026-06-25 00:00:00"),
        ("auto", "2026-06-25", "2026-06-25 00:00:00", "2026-06-25 23:55:00"),
        ("start", "2026-02-03", "2026-02-03 00:00:00", "2026-02-03 23:55:00"),
        ("end", "2026-06-25", "2026-06-25 00:00:00", "2026-06-25 23:55:00"),
        ("reaching_midnight", "2026-06-25", "2026-06-25 00:05:00", "2026-06-26 00:00:00"),
    ],
)
def test_metrics_labels_and_the_same_instants_over_rest(convention: str, day: str, first: str, last: str) -> None:
    """Under "end" the file begins with the last bar of the day before."""
    market = Market.recorded()
    market.metrics_convention = convention  # type: ignore[assignment]
    market.add_symbol("AAAUSDT", first_day=date(2026, 2, 1))
    start = instant(*map(int, day.split("-")))
    with ReplayExchange(market, now=lambda: start + 3 * DAY) as exchange:
        client = Client(exchange)
        lines = client.csv(metrics_key("AAAUSDT", day)).splitlines()[1:]
        assert (lines[0].split(",")[0], lines[-1].split(",")[0]) == (first, last)
        early = 5 * MINUTE if convention == "end" else 0
        in_file = market.metrics_rows("AAAUSDT", start - early, start + DAY - early)
        assert [tuple(map(float, line.split(",")[2:])) for line in lines] == list(in_file.values())
        truth = market.metrics_rows("AAAUSDT", start, start + DAY)
        assert list(truth) == list(range(start, start + DAY, 5 * MINUTE))

        def rest(name: str, shift: int) -> list[dict[str, str]]:
            window: dict[str, Any] = {"startTime": start + shift, "endTime": start + DAY - 1 + shift}
            found = client.api(f"/futures/data/{name}", symbol="AAAUSDT", period="5m", limit=500, **window)
            assert not any(header.startswith("x-mbx") for header in found.headers)
            assert [row["timestamp"] for row in found.json] == [t + shift for t in truth]
            return found.json  # type: ignore[no-any-return]

        interest = rest("openInterestHist", 5 * MINUTE)
        assert [float(row["sumOpenInterest"]) for row in interest] == [row.open_interest for row in truth.values()]
        assert [float(row["sumOpenInterestValue"]) for row in interest] == [row.open_interest_value for row in truth.values()]
        for name, column in (
            ("topLongShortAccountRatio", "top_trader_account_ratio"),
            ("topLongShortPositionRatio", "top_trader_position_ratio"),
            ("globalLongShortAccountRatio", "global_account_ratio"),
        ):
            ratios = [float(row["longShortRatio"]) for row in rest(name, 5 * MINUTE)]
            assert ratios == [getattr(row, column) for row in truth.values()]
        taker = rest("takerlongshortRatio", 0)
        assert [float(row["buySellRatio"]) for row in taker] == [row.taker_volume_ratio for row in truth.values()]
        assert "symbol" not in taker[0]


@pytest.mark.parametrize("symbol", ["ALGOUSDT", "AVAXUSDT", "LINKUSDT", "AAAUSDT"])
def test_metrics_agree_with_the_klines_of_their_bar(market: Market, symbol: str) -> None:
    """Exactly: value over open interest is the close, and the taker ratio is that of the volumes, to four decimals."""
    market.add_symbol("AAAUSDT", first_day=date(2026, 2, 1))
    start, end = FEBRUARY + 2 * DAY, FEBRUARY + 5 * DAY
    klines = market.kline_rows(symbol, "5m", start, end)
    found = market.metrics_rows(symbol, start, end)
    assert list(found) == [row[0] for row in klines]
    for row in klines:
        close, volume, bought = Decimal(row[4]), Decimal(row[5]), Decimal(row[9])
        of_bar = found[row[0]]
        assert Decimal(repr(of_bar.open_interest)) * close == pytest.approx(
            Decimal(repr(of_bar.open_interest_value)), rel=Decimal("1e-15")
        )
        assert of_bar.taker_volume_ratio == float(round(bought / (volume - bought), 4))
    assert len({row.open_interest for row in found.values()}) > 700


def test_quiet_markets(market: Market, client: Client) -> None:
    """A flat one says the same in every bar, a thin one has blanks where nothing is traded: no field, and no REST object."""
    for name in ("flat", "thin"):
        market.add_symbol(f"{name.upper()}USDT", first_day=date(2026, 2, 1), activity=name)  # type: ignore[arg-type]
    day = FEBRUARY + 2 * DAY
    flat = market.kline_rows("FLATUSDT", "5m", day, day + DAY)
    assert len({row[1:5] for row in flat}) == 1
    assert {row.taker_volume_ratio for row in market.metrics_rows("FLATUSDT", day, day + DAY).values()} == {1.0}
    traded = {row[0] for row in market.kline_rows("THINUSDT", "5m", day, day + DAY) if float(row[5]) > 0}
    assert 0 < len(traded) < 10
    found = market.metrics_rows("THINUSDT", day, day + DAY)
    assert {t for t, row in found.items() if row.taker_volume_ratio is not None} <= traded
    lines = client.csv(metrics_key("THINUSDT", "2026-02-03")).splitlines()[1:]
    assert len(lines) == 288
    assert sum(not line.endswith(",") for line in lines) == len(traded)


def test_takers_of_a_thin_market_over_rest() -> None:
    market = Market.recorded()
    market.add_symbol("THINUSDT", first_day=date(2026, 2, 1), activity="thin")
    day = FEBRUARY + 2 * DAY
    known = [t for t, row in market.metrics_rows("THINUSDT", day, day + DAY).items() if row.taker_volume_ratio is not None]
    with ReplayExchange(market, now=lambda: day + 3 * DAY) as exchange:
        window: dict[str, Any] = {"startTime": day, "endTime": day + DAY - 1}
        rows = Client(exchange).api("/futures/data/takerlongshortRatio", symbol="THINUSDT", period="5m", limit=500, **window).json
    assert [row["timestamp"] for row in rows] == known


def test_end_labels_put_the_last_bar_of_a_day_into_the_next_file(market: Market, client: Client) -> None:
    """The first file lacks the bar before the listing, and the last bar stands in a file of its own."""
    market.add_symbol("AAAUSDT", first_day=date(2026, 2, 3), last_day=date(2026, 2, 4))
    market.metrics_convention = "end"
    labels = {
        day: [line.split(",")[0] for line in client.csv(metrics_key("AAAUSDT", day)).splitlines()[1:]]
        for day in ("2026-02-03", "2026-02-04", "2026-02-05")
    }
    assert {day: (len(found), found[0], found[-1]) for day, found in labels.items()} == {
        "2026-02-03": (287, "2026-02-03 00:05:00", "2026-02-03 23:55:00"),
        "2026-02-04": (288, "2026-02-04 00:00:00", "2026-02-04 23:55:00"),
        "2026-02-05": (1, "2026-02-05 00:00:00", "2026-02-05 00:00:00"),
    }
    assert client.vision(metrics_key("AAAUSDT", "2026-02-06")).status == 404


def test_an_old_day_can_be_published_anew_with_other_labels(market: Market, client: Client) -> None:
    def first_label(symbol: str, day: str) -> str:
        return client.csv(metrics_key(symbol, day)).splitlines()[1].split(",")[0][-8:]

    days = ("2026-02-02", "2026-02-03", "2026-02-04", "2026-02-05")
    assert [first_label("ALGOUSDT", day) for day in days] == ["00:05:00"] * 4
    market.label_metrics("ALGOUSDT", date(2026, 2, 3), date(2026, 2, 4), "end")
    assert [first_label("ALGOUSDT", day) for day in days] == ["00:05:00", "00:00:00", "00:00:00", "00:05:00"]
    market.label_metrics("ALGOUSDT", date(2026, 2, 4), date(2026, 2, 4), "reaching_midnight")
    assert [first_label("ALGOUSDT", day) for day in days] == ["00:05:00", "00:00:00", "00:05:00", "00:05:00"]
    assert first_label("LINKUSDT", "2026-02-03") == "00:05:00", "another symbol's files stay as they are"


def test_metrics_holes(market: Market, client: Client) -> None:
    market.drop_metrics("ALGOUSDT", FEBRUARY + 20 * DAY, FEBRUARY + 20 * DAY + 10 * MINUTE, sources=("daily",))
    market.drop_metrics("ALGOUSDT", FEBRUARY + 21 * DAY, FEBRUARY + 21 * DAY + 10 * MINUTE, sources=("rest",))
    assert len(client.csv(metrics_key("ALGOUSDT", "2026-02-21")).splitlines()) == 1 + 286
    assert len(client.csv(metrics_key("ALGOUSDT", "2026-02-22")).splitlines()) == 1 + 288
    window: dict[str, Any] = {"startTime": FEBRUARY + 21 * DAY, "endTime": FEBRUARY + 21 * DAY + 20 * MINUTE}
    rows = client.api("/futures/data/takerlongshortRatio", symbol="ALGOUSDT", period="5m", **window).json
    assert [row["timestamp"] for row in rows] == [window["startTime"] + i * MINUTE for i in (10, 15, 20)]


def test_metrics_history_ends_after_thirty_days(exchange: ReplayExchange, client: Client) -> None:
    path, start = "/futures/data/openInterestHist", exchange.now_ms() - 30 * DAY
    response = client.api(path, symbol="ALGOUSDT", period="5m", startTime=start - 1, endTime=start + DAY)
    assert response.status == 400
    assert response.body == b"""{"msg":"parameter 'startTime' is invalid.","code":-1130}"""
    rows = client.api(path, symbol="ALGOUSDT", period="5m", startTime=start, endTime=start + 2 * DAY).json
    assert [row["timestamp"] for row in rows[:2]] == [start, start + 5 * MINUTE]
    assert len(rows) == 30
    newest = client.api(path, symbol="ALGOUSDT", period="5m", limit=2).json
    assert [row["timestamp"] for row in newest] == [FEBRUARY + 28 * DAY - 5 * MINUTE, FEBRUARY + 28 * DAY]


def test_funding_over_rest_and_in_the_archive(market: Market, client: Client) -> None:
    response = client.api("/fapi/v1/fundingRate", symbol="ALGOUSDT", startTime=1768262400007, endTime=1768291200009)
    assert response.json == [
        {"symbol": "ALGOUSDT", "fundingTime": 1768262400007, "fundingRate": "0.00001287", "markPrice": ""},
        {"symbol": "ALGOUSDT", "fundingTime": 1768291200009, "fundingRate": "0.00010000", "markPrice": ""},
    ]
    assert not any(header.startswith("x-mbx") for header in response.headers)
    lines = client.csv(funding_key("ALGOUSDT", "2026-02")).splitlines()
    assert lines[0] == "calc_time,funding_interval_hours,last_funding_rate"
    truth = market.funding_rows("ALGOUSDT", FEBRUARY, FEBRUARY + 28 * DAY)
    assert lines[1:] == [f"{row['fundingTime']},8,{row['fundingRate']}" for row in truth]
    assert len(client.api("/fapi/v1/fundingRate", symbol="ALGOUSDT", startTime=0, limit=3).json) == 3


def test_funding_of_synthetic_symbols_is_derived_and_can_be_added_to(market: Market, client: Client) -> None:
    market.add_symbol("AAAUSDT", first_day=date(2026, 1, 1))
    market.add_funding("AAAUSDT", [{"fundingTime": FEBRUARY + 3_600_000, "fundingRate": "0.00100000", "rateType": "Special"}])
    rows = client.api("/fapi/v1/fundingRate", symbol="AAAUSDT", startTime=FEBRUARY, endTime=FEBRUARY + DAY - 1).json
    assert rows == market.funding_rows("AAAUSDT", FEBRUARY, FEBRUARY + DAY)
    assert [row["rateType"] for row in rows] == ["Regular", "Special", "Regular", "Regular"]
    assert [round(row["fundingTime"] / 3_600_000) % 24 for row in rows] == [0, 1, 8, 16]
    assert len(client.csv(funding_key("AAAUSDT", "2026-02")).splitlines()) == 1 + 28 * 3
