"""Responses of the API, klines apart, as nobody should send them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.e2e.hostile_klines import raw, rows

Rewrite = Callable[[bytes], bytes]


def put(name: str, value: Any, row: int = 1) -> Rewrite:
    """One field of one entry changed; a callable changes what is there."""

    def change(entries: list[Any]) -> None:
        entries[row][name] = value(entries[row][name]) if callable(value) else value

    return rows(change)


def bare(name: str, number: str, row: int = 1) -> Rewrite:
    """A number that Python's own writer would not write."""

    def change(body: bytes) -> bytes:
        entries = json.loads(body)
        entries[row][name] = "@@"
        return json.dumps(entries).replace('"@@"', number).encode()

    return change


def without(name: str) -> Rewrite:
    """One entry lacks a field."""
    return rows(lambda entries: entries[1].pop(name) and None)


COMMON: dict[str, Rewrite] = {
    "html": raw("<html>Please sign in</html>"),
    "nothing": raw(b""),
    "an object": raw("{}"),
    "a list of texts": raw('["a", "b"]'),
    "a list of lists": raw("[[1, 2, 3]]"),
    "deep": raw("[" * 50_000),
    "another symbol": put("symbol", "BTCUSDT"),
}

FUNDING: dict[str, Rewrite] = {
    **COMMON,
    "no rate": without("fundingRate"),
    "nan": put("fundingRate", "NaN"),
    "a bare nan": bare("fundingRate", "NaN"),
    "a bare infinity": bare("fundingRate", "-Infinity"),
    "infinity by size": bare("fundingRate", "1e999"),
    "a huge rate": put("fundingRate", "1000000"),
    "true": put("fundingRate", True),
    "null": put("fundingRate", None),
    "words": put("fundingRate", "low"),
    "two numbers": put("fundingRate", "1,2"),
    "a negative price": put("markPrice", "-1"),
    "a price that is nan": bare("markPrice", "NaN"),
    "seconds": put("fundingTime", lambda moment: moment // 1000),
    "microseconds": put("fundingTime", lambda moment: moment * 1000),
    "half a millisecond": put("fundingTime", lambda moment: moment + 0.5),
    "an endless time": bare("fundingTime", "1e999"),
    "another day": put("fundingTime", lambda moment: moment + 86_400_000),
    "a type with a comma": put("rateType", "Regular,1"),
    "a type that is a formula": put("rateType", "=1"),
    "a type that is a number": put("rateType", 7),
    "a long type": put("rateType", "R" * 5000),
    "half of a character pair": raw('[{"symbol":"\\ud800","fundingTime":1770681600000,"fundingRate":"1"}]'),
    "conflicting rows": rows(lambda entries: [*entries, {**entries[0], "fundingRate": "0.5"}]),
}

OPEN_INTEREST: dict[str, Rewrite] = {
    **COMMON,
    "no value": without("sumOpenInterestValue"),
    "nan": put("sumOpenInterest", "NaN"),
    "a bare nan": bare("sumOpenInterest", "NaN"),
    "infinity by size": bare("sumOpenInterest", "1e999"),
    "negative": put("sumOpenInterest", "-1"),
    "huge": put("sumOpenInterest", "9" * 30),
    "true": put("sumOpenInterest", True),
    "two numbers in one field": put("sumOpenInterest", "1,2"),
    "a comma for a point": put("sumOpenInterestValue", "1,5"),
    "a list in a text": put("sumOpenInterest", "[1]"),
    "an endless time": bare("timestamp", "1e999"),
    "a time that is nan": bare("timestamp", "NaN"),
    "no time": without("timestamp"),
    "a time that is null": put("timestamp", None),
    "off the grid": put("timestamp", lambda moment: int(moment) + 1),
    "half a millisecond": put("timestamp", lambda moment: int(moment) + 0.5),
    "seconds": put("timestamp", lambda moment: int(moment) // 1000),
    "conflicting rows": rows(lambda entries: [*entries, {**entries[0], "sumOpenInterest": "5"}]),
}

# Error bodies of the API that break whoever believes them.
ERRORS = {
    "half of a character pair": b'{"code":"\\ud800","msg":"\\udfff"}',
    "lines and colours": b'{"code":"\\u001b[2J\\nerror: x","msg":"\\u001b[31m\\nwarning: y"}',
    "a long code": b'{"code":' + b"9" * 4000 + b',"msg":"x"}',
    "a deep code": b'{"code":' + b"[" * 900 + b"]" * 900 + b',"msg":"x"}',
    "no words": b'{"code":null,"msg":null}',
    "a list": b"[-1121]",
}

# Heads of responses: status and headers.
HEADERS = {
    "a redirect to nowhere": ("302 Found", ["Location: http://[::1"]),
    "a redirect in another encoding": ("302 Found", ["Location: http://127.0.0.1:1/\xff\xfe"]),
    "a redirect to a file": ("302 Found", ["Location: file:///etc/passwd"]),
    "a length of 5000 digits": ("200 OK", ["Content-Length: " + "9" * 5000]),
    "a negative length": ("200 OK", ["Content-Length: -5"]),
    "two lengths": ("200 OK", ["Content-Length: 2", "Content-Length: 3"]),
    "no gzip": ("200 OK", ["Content-Encoding: gzip"]),
    "a broken chunk": ("200 OK", ["Transfer-Encoding: chunked", "Content-Length: 2"]),
    "an absurd date": ("200 OK", ["Date: Fri, 31 Dec 9999 23:59:59 -2359"]),
    "an absurd weight": ("404 Not Found", ["X-MBX-USED-WEIGHT-1M: " + "9" * 5000]),
}

# Bodies of exchangeInfo.
TRADING_LISTS = {
    "html": b"<html></html>",
    "no list": b"{}",
    "null": b'{"symbols":null}',
    "an object": b'{"symbols":{}}',
    "a text": b'{"symbols":""}',
    "an empty list": b'{"symbols":[]}',
    "numbers": b'{"symbols":[1,2]}',
    "a name that is none": b'{"symbols":[{"symbol":7,"contractType":"PERPETUAL","status":"TRADING","quoteAsset":"USDT"}]}',
    "nameless": b'{"symbols":[{"contractType":"PERPETUAL","status":"TRADING","quoteAsset":"USDT"}]}',
    "renamed fields": b'{"symbols":[{"symbol":"LINKUSDT","type":"PERPETUAL","status":"TRADING","quoteAsset":"USDT"}]}',
    "deep": b'{"symbols":' + b"[" * 50_000,
    "half": b'{"symbols":[{"symbol":"LINKUSDT",',
}
