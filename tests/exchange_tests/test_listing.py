"""The bucket listing: what S3 would answer, and nothing that the archive does not serve."""

from __future__ import annotations

import hashlib
import http.client
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import pytest

from tests.exchange import Fault, Market, ReplayExchange

from .client import DAY, UM, Client, Response, funding_key, kline_key, metrics_key
from .s3 import Listed, all_listed, model, page, pages, read

INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
CHINESE = "币安人生USDT"
JANUARY = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp() * 1000)
NOON = datetime(2026, 2, 4, 12, tzinfo=timezone.utc)
REPLACED = kline_key("AAAUSDT", "1d", "2026-01-29")
UNPUBLISHED = kline_key("AAAUSDT", "1d", "2026-02-03")
OF_NO_SYMBOL = kline_key("GONEUSDT", "1h", "2024-05")


@dataclass
class World:
    """A small market with all that can happen to objects, and what the download host serves of it."""

    market: Market
    exchange: ReplayExchange
    client: Client
    served: dict[str, Response]


def small_market() -> Market:
    """Few days around the turn of a month: whole ones, holes, aliases, settlements, and objects gone or made by hand."""
    market = Market()
    market.add_symbol("AAAUSDT", date(2026, 1, 15))
    market.add_symbol("AAAUSDT_260327", date(2026, 2, 1), date(2026, 2, 2))
    market.add_symbol("AAAUSDTSETTLED", date(2026, 1, 1), date(2026, 1, 3), fate="alias")
    market.add_symbol("DDDUSDT", date(2026, 1, 30), fate="settling", settled_at=datetime(2026, 1, 31, 9, tzinfo=timezone.utc))
    market.add_symbol(CHINESE, date(2026, 1, 25), date(2026, 2, 3), fate="removed")
    market.add_symbol("LATERUSDT", date(2026, 2, 4))
    market.add_symbol("HIDDENUSDT", date(2026, 1, 31), date(2026, 2, 1))
    market.add_symbol("NEWUSDT")
    market.archive_until = date(2026, 2, 2)
    market.without_objects(lambda key: "HIDDENUSDT" in key)
    market.without_objects({kline_key("AAAUSDT", "5m", "2026-02-02"), kline_key("AAAUSDT", "3m", "2026-02-02") + ".CHECKSUM"})
    # All of a day; all but its last five minutes, so that bars of five minutes and coarser ones stay; a whole metrics day.
    market.drop_klines("AAAUSDT", JANUARY + 31 * DAY, JANUARY + 32 * DAY, sources=("daily",))
    market.drop_klines("AAAUSDT", JANUARY + 30 * DAY, JANUARY + 31 * DAY - 300_000, sources=("daily", "monthly"))
    market.drop_klines("AAAUSDT_260327", JANUARY, JANUARY + 90 * DAY, sources=("monthly",))
    market.drop_metrics("AAAUSDT", JANUARY + 31 * DAY, JANUARY + 32 * DAY)
    market.drop_metrics(CHINESE, JANUARY + 31 * DAY, JANUARY + 32 * DAY - 300_000)
    market.label_metrics(CHINESE, date(2026, 1, 1), date(2026, 3, 1), "end")
    market.add_funding("OLDUSDT", [{"fundingTime": JANUARY - DAY, "fundingRate": "0.00010000"}])
    market.add_funding("SPECIALUSDT", [{"fundingTime": JANUARY - DAY, "fundingRate": "0.0001", "rateType": "Special"}])
    for number, key in enumerate((REPLACED, UNPUBLISHED, OF_NO_SYMBOL)):
        market.replace_object(key, b"by hand %d" % number, checksum=b"no line" if number else None)
    market.upload_in_parts({kline_key("AAAUSDT", "1d", "2026-01-30"), kline_key("AAAUSDT", "1h", "2026-01-30") + ".CHECKSUM"})
    market.checksums_without_newline({kline_key("AAAUSDT", "2h", "2026-01-30"), REPLACED})
    market.date_objects(lambda key: "AAAUSDT-4h-" in key, datetime(2026, 8, 1, 7, 40, 48, tzinfo=timezone.utc))
    return market


def candidates() -> Iterator[str]:
    """More keys than any symbol of the market can have."""
    symbols = dict.fromkeys(("AAAUSDT", "AAAUSDT_260327", "AAAUSDTSETTLED", "DDDUSDT", CHINESE), INTERVALS)
    symbols |= dict.fromkeys(
        ("LATERUSDT", "HIDDENUSDT", "NEWUSDT", "OLDUSDT", "SPECIALUSDT", "BTCUSDT", "GONEUSDT"), ("1m", "1h", "1d")
    )
    days = [date(2026, 1, 1) + timedelta(i) for i in (*range(4), *range(13, 37))]
    months = ["2024-05", "2025-12", "2026-01", "2026-02", "2026-03", "2026-04"]
    for symbol, intervals in symbols.items():
        for interval in intervals:
            yield from (kline_key(symbol, interval, day.isoformat()) for day in days)
            yield from (kline_key(symbol, interval, month) for month in months)
        yield from (metrics_key(symbol, day.isoformat()) for day in days)
        yield from (funding_key(symbol, month) for month in months)


def phantoms() -> Iterator[str]:
    for span in ("daily", "monthly"):
        for symbol in ("AAAUSDT", "AAAUSDT_260327", "AAAUSDTSETTLED", "DDDUSDT", CHINESE, "LATERUSDT", "HIDDENUSDT", "NEWUSDT"):
            yield f"{UM}/{span}/klines/{symbol}//"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    market = small_market()
    with ReplayExchange(market, now=lambda: NOON) as exchange:
        # Thousands of requests: over one connection.
        connection = http.client.HTTPConnection(exchange.vision_url.removeprefix("http://"), timeout=5)
        served = {}
        for key in [*phantoms(), *(key + ending for key in candidates() for ending in ("", ".CHECKSUM"))]:
            connection.request("GET", "/" + quote(key))
            response = connection.getresponse()
            body, headers = response.read(), {name.lower(): value for name, value in response.getheaders()}
            assert response.status in (200, 404)
            if response.status == 200:
                served[key] = Response(response.status, headers, body)
        connection.close()
        yield World(market, exchange, Client(exchange), served)


def test_an_object_is_listed_if_and_only_if_it_is_served(world: World) -> None:
    listed = all_listed(world.client)
    assert list(listed) == sorted(world.served, key=str.encode)
    assert len(listed) > 1000
    assert {UNPUBLISHED, OF_NO_SYMBOL, OF_NO_SYMBOL + ".CHECKSUM", funding_key("OLDUSDT", "2025-12")} <= set(listed)


def test_listed_objects_have_the_headers_of_the_download(world: World) -> None:
    for key, listed in all_listed(world.client).items():
        served = world.served[key]
        assert listed.etag == served.headers["etag"]
        assert listed.size == len(served.body)
        assert listed.modified.endswith(".000Z")
        assert datetime.fromisoformat(listed.modified[:-5] + "+00:00") == parsedate_to_datetime(served.headers["last-modified"])


def test_an_etag_is_the_md5_of_the_body_unless_it_came_in_parts(world: World) -> None:
    in_parts = {
        key for key, served in world.served.items() if served.headers["etag"] != f'"{hashlib.md5(served.body).hexdigest()}"'
    }
    assert in_parts == {kline_key("AAAUSDT", "1d", "2026-01-30"), kline_key("AAAUSDT", "1h", "2026-01-30") + ".CHECKSUM"}
    assert all(world.served[key].headers["etag"].endswith('-2"') for key in in_parts)


def test_the_md5_of_a_checksum_line_can_be_foretold(world: World) -> None:
    listed = all_listed(world.client)
    foretold = 0
    for key in [key for key in listed if key.endswith(".zip")]:
        checksum = listed.get(key + ".CHECKSUM")
        if checksum is None:
            assert key == kline_key("AAAUSDT", "3m", "2026-02-02")
            continue
        line = f"{hashlib.sha256(world.served[key].body).hexdigest()}  {key.rsplit('/', 1)[-1]}".encode()
        if key not in (kline_key("AAAUSDT", "2h", "2026-01-30"), REPLACED):
            line += b"\n"
        foretold += checksum[2:] == (f'"{hashlib.md5(line).hexdigest()}"', len(line))
    # One has an ETag of parts, two are no lines at all, one is not there.
    assert foretold == len([key for key in listed if key.endswith(".zip")]) - 4


def test_dates_of_objects_published_anew(world: World) -> None:
    dates = {listed.modified for key, listed in all_listed(world.client).items() if "AAAUSDT-4h-" in key}
    assert dates == {"2026-08-01T07:40:48.000Z"}
    by_hand = [page(world.client, prefix=key).contents[0].modified for key in (REPLACED, UNPUBLISHED, OF_NO_SYMBOL)]
    assert by_hand == sorted(set(by_hand))


def queries(keys: list[str]) -> Iterator[dict[str, Any]]:
    """Prefixes, markers and delimiters at and around keys."""
    rng = random.Random(4)
    for _ in range(200):
        key, other = rng.choice(keys), rng.choice(keys)
        prefix = rng.choice(["", f"{UM}/", key, key[: key.rindex("/") + 1], key[: rng.randrange(len(key))], f"{key}x"])
        near = rng.choice([other, key])
        marker = rng.choice(["", near, near[: near.rindex("/") + 1], near[: rng.randrange(len(near))], near + "0", prefix, "zzz"])
        yield {"prefix": prefix, "marker": marker, "delimiter": rng.choice(["", "/"])}


def test_pages_are_those_of_s3(world: World) -> None:
    rolled = 0
    for query in queries(list(world.served)):
        wanted = model(world.served, **query)
        found = page(world.client, **query)
        assert found.names == wanted[:1000], query
        assert found.truncated == (len(wanted) > 1000)
        rolled += bool(found.prefixes)
    assert rolled > 30


@pytest.mark.parametrize("most", [1, 2, 7, 999, 1000])
@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("prefix", [f"{UM}/daily/klines/", f"{UM}/monthly/klines/AAAUSDT", f"{UM}/daily/klines/AAAUSDT/1d/", "x"])
def test_pages_together_are_the_whole(world: World, prefix: str, delimiter: str, most: int) -> None:
    params = {"prefix": prefix, "delimiter": delimiter} if delimiter else {"prefix": prefix}
    wanted = model(world.served, **params)
    if len(wanted) > 100 * most:
        wanted, prefix = [name for name in wanted if "/1d/" in name], f"{prefix}AAAUSDT/1d/"
        params["prefix"] = prefix
        wanted = model(world.served, **params)
    found = pages(world.client, **params, max_keys=most)
    assert [name for each in found for name in each.names] == wanted
    assert len(found) == max(1, -(-len(wanted) // most))
    for each in found:
        assert each.fields["MaxKeys"] == str(most)
        assert ("NextMarker" in each.fields) == bool(delimiter and each.truncated)
        if "NextMarker" in each.fields:
            assert each.fields["NextMarker"] == each.names[-1]


def test_a_page_in_full(world: World) -> None:
    folder = f"{UM}/monthly/klines/AAAUSDTSETTLED/1d/"
    key = folder + "AAAUSDTSETTLED-1d-2026-01.zip"
    response = world.client.listing(prefix=folder)
    entries = ""
    for each, modified in ((key, "2026-02-01T08:00:00.000Z"), (key + ".CHECKSUM", "2026-02-01T08:00:00.000Z")):
        body = world.served[each].body
        entries += (
            f"<Contents><Key>{each}</Key><LastModified>{modified}</LastModified><ETag>&quot;{hashlib.md5(body).hexdigest()}&quot;"
            f"</ETag><Size>{len(body)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    assert response.body.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>data.binance.vision</Name><Prefix>{folder}</Prefix><Marker></Marker><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
    )
    assert response.headers["server"] == "AmazonS3"


def test_nothing_below_a_prefix_is_an_empty_page(world: World) -> None:
    found = page(world.client, delimiter="/", prefix=f"{UM}/monthly/klines/NOSUCHUSDT/", marker="a&b<c>")
    assert found.fields == {
        "Name": "data.binance.vision", "Prefix": f"{UM}/monthly/klines/NOSUCHUSDT/", "Marker": "a&b<c>", "MaxKeys": "1000",
        "Delimiter": "/", "IsTruncated": "false",
    }  # fmt: skip
    assert found.names == []


def test_symbols_are_folders_with_at_least_one_object(world: World) -> None:
    found = {}
    for kind in ("monthly/klines", "daily/metrics", "monthly/fundingRate"):
        prefix = f"{UM}/{kind}/"
        found[kind] = [name.removeprefix(prefix) for name in page(world.client, prefix=prefix, delimiter="/").prefixes]
    # Only January is over, so whoever began in February has no monthly object.
    assert found == {
        "monthly/klines": ["AAAUSDT/", "AAAUSDTSETTLED/", "DDDUSDT/", "GONEUSDT/", f"{CHINESE}/"],
        "daily/metrics": ["AAAUSDT/", "AAAUSDTSETTLED/", "AAAUSDT_260327/", "DDDUSDT/", f"{CHINESE}/"],
        "monthly/fundingRate": ["AAAUSDT/", "AAAUSDTSETTLED/", "DDDUSDT/", "OLDUSDT/", f"{CHINESE}/"],
    }
    assert page(world.client, prefix=f"{UM}/", delimiter="/").prefixes == [f"{UM}/daily/", f"{UM}/monthly/"]


def test_the_phantom_child(world: World) -> None:
    folder = f"{UM}/monthly/klines/AAAUSDT/"
    found = page(world.client, prefix=folder, delimiter="/")
    assert found.prefixes == sorted([f"{folder}/", *(f"{folder}{interval}/" for interval in INTERVALS)])
    assert page(world.client, prefix=f"{folder}/").contents == [
        Listed(f"{folder}/", "2020-09-13T12:26:40.000Z", f'"{hashlib.md5(b"").hexdigest()}"', 0)
    ]
    world.market.phantom_children = False
    try:
        assert page(world.client, prefix=folder, delimiter="/").prefixes == found.prefixes[1:]
        assert world.client.vision(f"{folder}/").status == 404
    finally:
        world.market.phantom_children = True


def test_a_listing_can_lag_behind_the_objects(market: Market, client: Client) -> None:
    market.add_symbol("AAAUSDT", date(2026, 1, 30), date(2026, 2, 28))
    market.add_symbol("YOUNGUSDT", date(2026, 2, 15))
    hidden = metrics_key("AAAUSDT", "2026-02-02")
    market.listed_until = date(2026, 2, 3)
    market.hide_from_listing(hidden)
    folder = f"{UM}/daily/metrics/"
    listed = [key for key in all_listed(client, prefix=folder + "AAAUSDT/") if key.endswith(".zip")]
    assert [key[-14:-4] for key in listed] == ["2026-01-30", "2026-01-31", "2026-02-01", "2026-02-03"]
    assert hidden + ".CHECKSUM" in all_listed(client, prefix=folder + "AAAUSDT/")
    assert folder + "YOUNGUSDT/" not in page(client, prefix=folder, delimiter="/").prefixes
    assert f"{UM}/daily/klines/YOUNGUSDT/" not in page(client, prefix=f"{UM}/daily/klines/", delimiter="/").prefixes
    for key in (hidden, metrics_key("AAAUSDT", "2026-02-04"), metrics_key("YOUNGUSDT", "2026-02-15")):
        assert client.vision(key).status == 200
    assert list(all_listed(client, prefix=f"{UM}/monthly/klines/AAAUSDT/1d/AAAUSDT-1d-2026-0")) == [
        kline_key("AAAUSDT", "1d", "2026-01"), kline_key("AAAUSDT", "1d", "2026-01") + ".CHECKSUM",
    ]  # fmt: skip
    market.listed_until = None
    assert folder + "YOUNGUSDT/" in page(client, prefix=folder, delimiter="/").prefixes


def test_an_object_published_anew_changes_in_listing_and_download_alike(market: Market, client: Client) -> None:
    key = kline_key("ALGOUSDT", "5m", "2026-02-03")
    seen = []
    for content in (None, b"first", b"the second"):
        if content is not None:
            market.replace_object(key, content)
        (listed,) = [each for each in page(client, prefix=key).contents if each.key == key]
        served = client.vision(key)
        assert (listed.etag, listed.size) == (served.headers["etag"], len(served.body))
        seen.append(listed)
    assert all(len({each[i] for each in seen}) == 3 for i in (1, 2, 3))
    market.replace_object(key, b"the second", modified=datetime(2027, 1, 1, tzinfo=timezone.utc))
    (listed,) = page(client, prefix=key, max_keys=1).contents
    assert (listed.modified, listed.etag) == ("2027-01-01T00:00:00.000Z", seen[-1].etag)
    market.label_metrics("ALGOUSDT", date(2026, 2, 3), date(2026, 2, 3), "end")
    again = metrics_key("ALGOUSDT", "2026-02-03")
    before = page(client, prefix=again).contents
    market.label_metrics("ALGOUSDT", date(2026, 2, 3), date(2026, 2, 3), "start")
    market.date_objects({again}, datetime(2026, 3, 9, tzinfo=timezone.utc))
    after = page(client, prefix=again).contents
    assert (after[0].modified, after[1].modified) == ("2026-03-09T00:00:00.000Z", before[1].modified)
    assert all(a.etag != b.etag for a, b in zip(after, before, strict=True))


def test_many_symbols_take_two_pages_and_little_time() -> None:
    market = Market()
    names = [f"S{number:04d}USDT" for number in range(1498)]
    for name in (*names, "ZZZUSDT", CHINESE):
        market.add_symbol(name, date(2024, 1, 1))
    with ReplayExchange(market, now=lambda: NOON) as exchange:
        client = Client(exchange)
        for kind in ("monthly/klines", "daily/klines", "daily/metrics", "monthly/fundingRate"):
            began = time.monotonic()
            first, second = pages(client, prefix=f"{UM}/{kind}/", delimiter="/")
            # Building only one object for each symbol would take many seconds.
            assert time.monotonic() - began < 3
            assert (len(first.prefixes), len(second.prefixes)) == (1000, 500)
            assert first.fields["NextMarker"] == f"{UM}/{kind}/S0999USDT/"
            assert second.prefixes[-2:] == [f"{UM}/{kind}/ZZZUSDT/", f"{UM}/{kind}/{CHINESE}/"]
        year = page(client, prefix=f"{UM}/daily/metrics/S0000USDT/S0000USDT-metrics-2025")
        assert len(year.contents) == 2 * 365
        five = pages(client, prefix=f"{UM}/daily/klines/{CHINESE}/1d/")
        assert [len(each.contents) for each in five] == [1000, 2 * (366 + 365 + 34) - 1000]
        assert [request.host for request in exchange.requests] == ["listing"] * 11


def test_both_styles_of_base_url_and_the_log(exchange: ReplayExchange, client: Client) -> None:
    assert exchange.listing_url.endswith("/data.binance.vision")
    query = {"prefix": f"{UM}/monthly/klines/", "delimiter": "/"}
    answers = [client.listing(path, **query) for path in ("/data.binance.vision", "/data.binance.vision/", "/", "")]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert read(answers[0].body).prefixes == [f"{UM}/monthly/klines/{name}/" for name in ("ALGOUSDT", "AVAXUSDT", "LINKUSDT")]
    record = exchange.requests[0]
    assert (record.host, record.path, record.params, record.status, record.weight) == (
        "listing", "/data.binance.vision", query, 200, 0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "method", "params"),
    [
        ("/data.binance.vision", "GET", {"list_type": "2"}),
        ("/data.binance.vision", "GET", {"encoding_type": "url"}),
        ("/data.binance.vision", "GET", {"delimiter": "-"}),
        ("/data.binance.vision", "GET", {"max_keys": "0"}),
        ("/data.binance.vision", "GET", {"max_keys": "many"}),
        ("/data.binance.vision", "HEAD", {}),
        (f"/data.binance.vision/{kline_key('ALGOUSDT', '1m', '2026-02')}", "GET", {}),
        ("/other.bucket", "GET", {"prefix": "data/"}),
    ],
)
def test_what_it_does_not_know_is_loud(path: str, method: str, params: dict[str, str]) -> None:
    with pytest.raises(AssertionError, match=f"{method} listing {path}"), ReplayExchange() as exchange:
        assert Client(exchange).listing(path, method, **params).status == 501


def test_the_download_host_answers_a_listing_with_a_page_for_people(exchange: ReplayExchange) -> None:
    connection = http.client.HTTPConnection(exchange.vision_url.removeprefix("http://"), timeout=5)
    connection.request("GET", f"/?prefix={UM}/monthly/klines/&delimiter=/")
    response = connection.getresponse()
    assert (response.status, response.getheader("content-type")) == (200, "text/html")
    assert response.read().startswith(b"<!DOCTYPE html>")
    connection.close()
    assert exchange.unknown_requests == []


def test_faults_of_the_listing_alone(exchange: ReplayExchange, client: Client) -> None:
    key = kline_key("ALGOUSDT", "1d", "2026-02")
    exchange.faults.add(
        Fault.slow_down(host="listing"), Fault.html(host="listing"), Fault.restricted_451(host="listing"),
        Fault.truncated(host="listing"), Fault.reset(host="listing"),
        Fault.server_error(500, host="listing", when=lambda request: "marker" in request.params),
    )  # fmt: skip
    slow, html, restricted = (client.listing(prefix=key) for _ in range(3))
    assert client.vision(key).status == client.klines().status == 200
    assert (slow.status, slow.headers["content-type"]) == (503, "application/xml")
    assert b"<Code>SlowDown</Code>" in slow.body
    assert (html.status, html.headers["content-type"]) == (200, "text/html")
    assert restricted.status == 451
    with pytest.raises(http.client.IncompleteRead):
        client.listing(prefix=key)
    with pytest.raises(ConnectionResetError):
        client.listing(prefix=key)
    assert (client.listing(prefix=key).status, client.listing(prefix=key, marker="a").status) == (200, 500)
    assert exchange.faults.struck == 6
    assert [request.status for request in exchange.requests if request.host == "listing"] == [503, 200, 451, 200, 0, 200, 500]
