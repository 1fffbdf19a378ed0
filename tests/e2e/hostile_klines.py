"""Klines as nobody should send them, in archive files and in responses of the API; made from good ones."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from tests.exchange import Market
from tests.exchange.archive import Archive

_FAR_FUTURE_MS = 4_000_000_000_000
FIRST_TIME = 1  # lines[0] is the header

Lines = list[str]
Change = Callable[[Lines], "Lines | None"]


def key(symbol: str, period: str, interval: str = "5m") -> str:
    """The archive's name of a day's or a month's klines."""
    span = "daily" if len(period) == 10 else "monthly"
    return f"data/futures/um/{span}/klines/{symbol}/{interval}/{symbol}-{interval}-{period}.zip"


def good_csv(market: Market, symbol: str, period: str, interval: str = "5m") -> str:
    """The text of the object that this market would publish."""
    body = Archive(market, lambda: _FAR_FUTURE_MS).body(key(symbol, period, interval))
    assert body is not None
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        return packed.read(packed.namelist()[0]).decode()


def packed(*members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as made:
        for name, content in members:
            made.writestr(name, content)
    return stream.getvalue()


def encrypted(body: bytes) -> bytes:
    """The same zip with the flag of an encrypted member."""
    changed = bytearray(body)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = changed.index(signature) + offset
        changed[at : at + 2] = struct.pack("<H", struct.unpack("<H", changed[at : at + 2])[0] | 1)
    return bytes(changed)


def corrupt(body: bytes) -> bytes:
    """The same zip with bytes flipped in the packed content."""
    changed = bytearray(body)
    for at in range(len(body) // 3, 2 * len(body) // 3, 97):
        changed[at] ^= 0x5A
    return bytes(changed)


def field(row: int, column: int, value: str | Callable[[str], str]) -> Change:
    """One field of one row (from 0) changed."""

    def change(lines: Lines) -> None:
        fields = lines[FIRST_TIME + row].split(",")
        fields[column] = value if isinstance(value, str) else value(fields[column])
        lines[FIRST_TIME + row] = ",".join(fields)

    return change


def column(*changes: tuple[int, Callable[[str], str]]) -> Change:
    """Columns changed in every row."""

    def change(lines: Lines) -> None:
        for number in range(FIRST_TIME, len(lines)):
            fields = lines[number].split(",")
            for at, value in changes:
                fields[at] = value(fields[at])
            lines[number] = ",".join(fields)

    return change


def every_row(change: Callable[[str], str]) -> Change:
    """Every row changed as a text."""
    return lambda lines: [lines[0], *map(change, lines[1:])]


def later(milliseconds: int) -> Callable[[str], str]:
    """A time moved."""
    return lambda text: str(int(text) + milliseconds)


def _doubled(lines: Lines) -> Lines:
    return [lines[0], *(line for line in lines[1:] for _ in range(2))]


def _conflicting(lines: Lines) -> Lines:
    fields = lines[7].split(",")
    fields[5] = "123456789"
    return [*lines, ",".join(fields)]


def _swapped_header(lines: Lines) -> None:
    names = lines[0].split(",")
    names[5], names[7] = names[7], names[5]
    lines[0] = ",".join(names)


def _moved(lines: Lines, days: int) -> Lines:
    change = column((0, later(days * 86_400_000)), (6, later(days * 86_400_000)))
    change(lines)
    return lines


# Text changes that keep the data what they are: the day must come out whole.
HARMLESS: dict[str, Change] = {
    "unsorted rows": lambda lines: [lines[0], *reversed(lines[1:])],
    "identical duplicates": _doubled,
    "microseconds": column((0, lambda text: text + "000"), (6, lambda text: text + "999")),
    "seconds": column((0, lambda text: text[:-3]), (6, lambda text: text[:-3])),
    "no header": lambda lines: lines[1:],
    "windows line ends": lambda lines: [line + "\r" for line in lines],
    "a byte order mark": field(-1, 0, lambda text: "\ufeff" + text),
    "mixed units": field(7, 0, lambda text: text + "000"),
    "an end before its start": field(7, 6, lambda text: str(int(text) - 300_000)),
    "a list for a number": field(6, 11, "[]"),
}

# Text changes that cost one row of a day, each with a word that the reason must hold.
ONE_ROW: dict[str, tuple[Change, str]] = {
    "a short row": (lambda lines: [*lines[:9], lines[9].rpartition(",")[0], *lines[10:]], "column"),
    "nan": (field(3, 5, "NaN"), "finite"),
    "infinity": (field(3, 2, "Infinity"), "finite"),
    "infinity by size": (field(3, 2, "1e999"), "range"),
    "a negative volume": (field(4, 5, "-0.5"), "range"),
    "negative trades": (field(4, 8, "-1"), "range"),
    "a huge price": (field(5, 2, "9" * 30), "range"),
    "ten thousand digits": (field(5, 7, "9" * 10_000), "number"),
    "high below low": (field(6, 2, "0.0000001"), "high"),
    "low above close": (field(6, 3, lambda text: str(float(text) * 10)), "high"),
    "half a trade": (field(6, 8, "1.5"), "whole"),
    "text for a number": (field(6, 1, "cheap"), "number"),
    "an empty field": (field(6, 1, ""), "number"),
    "hexadecimal": (field(6, 1, "0x10"), "number"),
    "conflicting duplicates": (_conflicting, "conflict"),
}

# Text changes that add a row which does not count; the day comes out whole, and its reason holds the word.
ONE_MORE: dict[str, tuple[Change, str]] = {
    "a row of tomorrow": (lambda lines: [*lines, _moved([lines[0], lines[1]], 1)[1]], "range"),
    "a row of yesterday": (lambda lines: [*lines, _moved([lines[0], lines[1]], -1)[1]], "range"),
    "a second header": (lambda lines: [*lines, lines[0]], ""),
}

# Text changes that make a day's file worthless.
WORTHLESS: dict[str, tuple[Change, str]] = {
    "one column less": (every_row(lambda line: line.rpartition(",")[0]), "column"),
    "one column more": (every_row(lambda line: line + ",0"), "column"),
    "a negative price": (column(*((at, lambda _: "-1") for at in (1, 2, 3, 4))), "range"),
    "a price of zero": (column(*((at, lambda _: "0") for at in (1, 2, 3, 4))), "positive"),
    "another day": (lambda lines: _moved(lines, 1), "range"),
    "times off the grid": (column((0, later(1)), (6, later(1))), ""),
    "a header in another order": (_swapped_header, "column"),
}


def spoiled_csv(text: str, change: Change) -> bytes:
    """A CSV after a change of its lines."""
    lines = text.rstrip("\n").split("\n")
    return ("\n".join(change(lines) or lines) + "\n").encode()


def spoiled_zips(member: str, text: str) -> dict[str, tuple[bytes, str]]:
    """Zip bodies that must be refused, each with a word of the reason."""
    content = text.encode()
    good = packed((member, content))
    return {
        "corrupted": (corrupt(good), "zip"),
        "truncated": (good[: len(good) // 2], "zip"),
        "two members": (packed((member, content), ("b.csv", content)), "member"),
        "no member": (packed(), "member"),
        "a climbing name": (packed((f"../../{member}", content)), "member"),
        "an absolute name": (packed((f"/tmp/{member}", content)), "member"),
        "a bomb": (packed((member, b"0" * 5_000_000)), "large"),
        "encrypted": (encrypted(good), "encrypted"),
        "another compression": (packed((member, content), compression=zipfile.ZIP_LZMA), "compression"),
        "no bytes": (b"", "zip"),
        "a page of html": (b"<!DOCTYPE html><html><body>Please sign in</body></html>", "zip"),
        "not utf-8": (packed((member, content[:400] + b"\xff\xfe" + content[400:])), "1 row"),
        "utf-16": (packed((member, text.encode("utf-16"))), "not_a_number"),
    }


def empty_zips(member: str, text: str) -> dict[str, bytes]:
    """Zip bodies that are sound and hold no row."""
    header = text.partition("\n")[0] + "\n"
    return {"an empty file": packed((member, b"")), "a header alone": packed((member, header.encode()))}


def rows_of(body: bytes) -> list[list[Any]]:
    """A klines response."""
    rows: list[list[Any]] = json.loads(body)
    return rows


def cell(row: int, at: int, value: Any) -> Callable[[bytes], bytes]:
    """A klines response with one field changed; a callable changes what is there."""

    def change(body: bytes) -> bytes:
        rows = rows_of(body)
        rows[row][at] = value(rows[row][at]) if callable(value) else value
        return json.dumps(rows).encode()

    return change


def rows(change: Callable[[list[Any]], Any]) -> Callable[[bytes], bytes]:
    """A list in a response changed as a list, in place or by what the change returns."""

    def rewrite(body: bytes) -> bytes:
        made = rows_of(body)
        return json.dumps(change(made) or made).encode()

    return rewrite


def raw(text: str | bytes) -> Callable[[bytes], bytes]:
    """Another body altogether."""
    return lambda _: text.encode() if isinstance(text, str) else text


def _shifted(rows: list[Any], milliseconds: int) -> None:
    for row in rows:
        row[0] += milliseconds
        row[6] += milliseconds


# Klines responses that cannot be trusted.
REST_KLINES: dict[str, Callable[[bytes], bytes]] = {
    "html": raw("<html>Please sign in</html>"),
    "nothing": raw(b""),
    "not utf-8": raw(b'[["\xff\xfe"]]'),
    "half a list": lambda body: body[: len(body) // 2],
    "an object": raw("{}"),
    "null": raw("null"),
    "a number of ten thousand digits": raw("9" * 10_000),
    "deep": raw("[" * 50_000),
    "deep and closed": raw("[" * 50_000 + "]" * 50_000),
    "an object for a row": rows(lambda rows: rows.__setitem__(3, {"open": "1"})),
    "a short row": rows(lambda rows: rows[3].pop()),
    "a bare nan": cell(3, 5, float("nan")),
    "a long row": rows(lambda rows: rows[3].append("0")),
    "off the grid": rows(lambda rows: _shifted(rows, 1)),
    "another day": rows(lambda rows: _shifted(rows, 86_400_000)),
    "rows from before the range": rows(lambda rows: _shifted(rows, -300_000)),
}

# Responses that cost one bar.
REST_ONE_ROW: dict[str, Callable[[bytes], bytes]] = {
    "nan": cell(3, 5, "NaN"),
    "infinity": cell(3, 2, "Infinity"),
    "infinity by size": cell(3, 2, "1e999"),
    "null in a row": cell(3, 5, None),
    "true in a row": cell(3, 8, True),
    "two numbers in one field": cell(3, 5, "1,2"),
    "a list in a field": cell(3, 5, [1]),
    "text": cell(3, 5, "much"),
    "negative volume": cell(3, 5, "-1"),
    "huge": cell(3, 2, "9" * 25),
    "high below low": cell(3, 2, "0.0000001"),
    "half a trade": cell(3, 8, 1.5),
    "conflicting rows": rows(lambda rows: rows.append([rows[-1][0], "9", "9", "9", "9", *rows[-1][5:]])),
}
